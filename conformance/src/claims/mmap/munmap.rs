//! `munmap`.

use super::{
    GONE, MAPPED, PRIVATE, READ, SHARED, SIGSEGV, SeeMemory, WRITE, is_mapped, map_anonymous, mapped, protect, unmap,
};
use crate::claims::prelude::*;
use crate::lab::pages::{UNHARMED, lettered};

const OTHERWISE: &[Lie] = &[Lie::about(Sysno::munmap, What::OtherErrno(libc::ENOLINK)), Lie::accepted(Sysno::munmap)];

/// A claim about the answers of `munmap`.
#[track_caller]
const fn about_munmap(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(&[Sysno::munmap]).turned_by(OTHERWISE)
}

pub const CLAIMS: &[Claim] = &[
    about_munmap(
        "mmap.munmap.errors",
        "munmap() fails with EINVAL for length 0 or an unaligned address, and succeeds for a page that is not mapped.",
    )
    .published(&[
        man("mmap(2)", "DESCRIPTION, munmap()"),
        ltp("munmap03.c", "length 0, and an unaligned address"),
        gvisor("munmap.cc", "MunmapTest.ZeroLength"),
    ])
    .except(&[Exception::Of(Sysno::munmap, What::Skipped, "of a page that is not mapped there is nothing to unmap")])
    .tried(|lab, see| {
        let address = mapped(&lettered(lab, 1)?, 1, READ, PRIVATE)?;
        see.call("munmap(page, 0)", unmap(address, 0)).fails(EINVAL);
        see.call("munmap(page + 1, a page)", unmap(address + 1, page())).fails(EINVAL);
        see.call("munmap(page, a page)", unmap(address, page())).is(0);
        see.page("the page", address)?.says(GONE);
        see.call("munmap(page, a page) once more", unmap(address, page())).is(0);
        Ok(())
    }),
    about_munmap("mmap.munmap.middle", "munmap() of one byte unmaps the whole page; the pages before and after it stay.")
        .published(&[man("mmap(2)", "DESCRIPTION, munmap()")])
        .turned_by(&[Lie::skipped(Sysno::munmap), Lie::bytes(Sysno::read, b'c', b'x')])
        .tried(|lab, see| {
            let area = mapped(&lettered(lab, 3)?, 3, READ, PRIVATE)?;
            see.call("munmap(second page of three, 1)", unmap(area + page(), 1)).is(0);
            see.page("second page", area + page())?.says(GONE);
            see.letters("first page", area, 1)?.says('a');
            see.letters("third page", area + 2 * page(), 1)?.says('c');
            Ok(())
        }),
    about_munmap("mmap.munmap.touched", "A load from a page that has been unmapped, and a store to it, raise SIGSEGV.")
        .published(&[
            man("mmap(2)", "DESCRIPTION, munmap()"),
            ltp("munmap01.c", "a store"),
            gvisor("mmap.cc", "MMapTest.MapDevZeroSegfaultAfterUnmap"),
        ])
        .turned_by(&[UNHARMED, Lie::skipped(Sysno::munmap)])
        .tried(|lab, see| {
            let address = mapped(&lettered(lab, 1)?, 1, READ | WRITE, SHARED)?;
            see.call("munmap(page, a page)", unmap(address, page())).is(0);
            see.load("load from the page", address)?.says(SIGSEGV);
            see.store("store to the page", address, b'x')?.says(SIGSEGV);
            Ok(())
        }),
    about_munmap(
        "mmap.munmap.outside",
        "munmap() of a range that is or ends outside user memory fails with EINVAL, and leaves the page where it begins.",
    )
    .published(&[
        man("mmap(2)", "ERRORS, EINVAL"),
        ltp("munmap03.c", "an address that exceeds the limit"),
        gvisor("munmap.cc", "MunmapTest.LastPageRoundUp"),
    ])
    .tried(|lab, see| {
        let last = 0_usize.wrapping_sub(page());
        see.call("munmap(2^64 - a page, a page)", unmap(last, page())).fails(EINVAL);
        see.call("munmap(2^63, a page)", unmap(1 << 63, page())).fails(EINVAL);
        let address = mapped(&lettered(lab, 1)?, 1, READ, PRIVATE)?;
        see.call("munmap(page, 2^63)", unmap(address, 1 << 63)).fails(EINVAL);
        see.call("munmap(page, 2^64 - a page + 1)", unmap(address, last + 1)).fails(EINVAL);
        see.page("the page", address)?.says(MAPPED);
        Ok(())
    }),
    about_munmap(
        "mmap.munmap.limit",
        "At the limit of mappings, munmap() fails with ENOMEM for a mapping's middle page and succeeds for its last page.",
    )
    .published(&[man("mmap(2)", "ERRORS, ENOMEM"), ltp("munmap04.c", "run").since("4.17"), kernel("mm/vma.c", "vms_gather_munmap_vmas")])
    .turned_by(&[
        Lie::accepted(Sysno::munmap),
        Lie::about(Sysno::munmap, What::OtherErrno(libc::EINVAL)),
        Lie::refused(Sysno::munmap, libc::ENOMEM).after(1),
    ])
    .method("Gives every second page of an area another protection until mprotect() fails, then unmaps pages of a file.")
    .tried(|lab, see| {
        let pages = mapped(&lettered(lab, 3)?, 3, READ, PRIVATE)?;
        let length = (aside(maximum)? + 2) * page();
        let area = aside(|| map_anonymous(length, 0, PRIVATE)).setup("mmap")?;
        let mut others = (area + page()..area + length).step_by(2 * page());
        let refused = aside(|| others.find_map(|other| protect(other, page(), READ).err()));
        if refused != Some(ENOMEM) {
            return Err(Stop::broken(format!("no limit of mappings: {refused:?}")));
        }
        let middle = unmap(pages + page(), page());
        let kept = is_mapped(pages + page())?;
        let last = unmap(pages + 2 * page(), page());
        // The next steps may need mappings.
        aside(|| unmap(area, length)).setup("munmap")?;
        see.call("munmap(second page of three)", middle).fails(ENOMEM);
        see.text("second page", if kept { MAPPED } else { GONE }).says(MAPPED);
        see.call("munmap(third page of three)", last).is(0);
        see.page("third page", pages + 2 * page())?.says(GONE);
        see.letters("first page", pages, 1)?.says('a');
        Ok(())
    }),
];

/// The maximum number of mappings of a process.
fn maximum() -> Result<usize, Stop> {
    const PATH: &str = "/proc/sys/vm/max_map_count";
    /// More mappings would exceed the time limit of a claim.
    const MOST: usize = 100_000;
    let text = std::fs::read_to_string(PATH).setup(&format!("read {PATH}"))?;
    let number = text.trim().parse().ok();
    number.filter(|number| *number <= MOST).ok_or_else(|| {
        Stop::untestable(
            Lack::Resource,
            format!("a process may have {} mappings", text.trim()),
            format!("sysctl vm.max_map_count={MOST}"),
        )
    })
}
