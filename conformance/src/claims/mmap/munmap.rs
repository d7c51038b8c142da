//! `munmap`.

use super::{
    GONE, MAPPED, PRIVATE, READ, SHARED, SIGSEGV, WRITE, load, map_anonymous, of_letters, protect, state,
    store_in_child, unmap,
};
use crate::claims::prelude::*;
use crate::lab::pages::{UNHARMED, letters};

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
        man("mmap(2)", "ERRORS, EINVAL"),
        man("mmap(2)", "DESCRIPTION, munmap()"),
        ltp("munmap03.c", "an unaligned address"),
    ])
    .except(&[Exception::Of(Sysno::munmap, What::Skipped, "of a page that is not mapped there is nothing to unmap")])
    .tried(|lab, see| {
        let (_file, area) = of_letters(lab, 1, READ, PRIVATE)?;
        see.call("munmap(page, 0)", unmap(area, 0)).fails(EINVAL);
        see.call("munmap(page + 1, a page)", unmap(area + 1, page())).fails(EINVAL);
        see.call("munmap(page, a page)", unmap(area, page())).is(0);
        see.text("the page", state(area)?).says(GONE);
        see.call("munmap(page, a page) once more", unmap(area, page())).is(0);
        Ok(())
    }),
    about_munmap("mmap.munmap.middle", "munmap() of one byte unmaps its page; the pages before and after it stay.")
        .published(&[man("mmap(2)", "DESCRIPTION, munmap()")])
        .turned_by(&[Lie::skipped(Sysno::munmap), Lie::bytes(Sysno::read, b'c', b'x')])
        .tried(|lab, see| {
            let (_file, area) = of_letters(lab, 3, READ, PRIVATE)?;
            see.call("munmap(second page of three, 1)", unmap(area + page(), 1)).is(0);
            see.text("second page", state(area + page())?).says(GONE);
            see.text("first page", letters(area, 1)?).says('a');
            see.text("third page", letters(area + 2 * page(), 1)?).says('c');
            Ok(())
        }),
    about_munmap("mmap.munmap.touched", "A load from a page that has been unmapped, and a store to it, raise SIGSEGV.")
        .published(&[man("mmap(2)", "DESCRIPTION, munmap()"), ltp("munmap01.c", "a store")])
        .turned_by(&[UNHARMED, Lie::skipped(Sysno::munmap)])
        .tried(|lab, see| {
            let (_file, area) = of_letters(lab, 1, READ | WRITE, SHARED)?;
            see.call("munmap(page, a page)", unmap(area, page())).is(0);
            see.text("load from the page", load(area)?).says(SIGSEGV);
            see.text("store to the page", store_in_child(area, b'x')?).says(SIGSEGV);
            Ok(())
        }),
    about_munmap("mmap.munmap.outside", "munmap() of a range that is or ends outside user memory fails with EINVAL.")
        .published(&[man("mmap(2)", "ERRORS, EINVAL"), gvisor("munmap.cc", "MunmapTest.LastPageRoundUp")])
        .tried(|lab, see| {
            let last = 0_usize.wrapping_sub(page());
            see.call("munmap(2^64 - a page, a page)", unmap(last, page())).fails(EINVAL);
            see.call("munmap(2^63, a page)", unmap(1 << 63, page())).fails(EINVAL);
            let (_file, area) = of_letters(lab, 1, READ, PRIVATE)?;
            see.call("munmap(page, 2^63)", unmap(area, 1 << 63)).fails(EINVAL);
            see.call("munmap(page, 2^64 - a page + 1)", unmap(area, last + 1)).fails(EINVAL);
            Ok(())
        }),
    about_munmap(
        "mmap.munmap.limit",
        "At the limit of mappings, munmap() of a mapping's middle page fails with ENOMEM, of its last page succeeds.",
    )
    .published(&[
        kernel("mm/vma.c", "vms_gather_munmap_vmas"),
        man("mmap(2)", "ERRORS, ENOMEM"),
        ltp("munmap04.c", "run").since("4.17"),
    ])
    .turned_by(&[Lie::accepted(Sysno::munmap), Lie::refused(Sysno::munmap, libc::ENOMEM).after(1)])
    .method("Gives every second page of an area another protection until that fails, then unmaps pages of a file.")
    .tried(|lab, see| {
        let (_file, area) = of_letters(lab, 3, READ, PRIVATE)?;
        let length = (aside(maximum)? + 2) * page();
        let many = aside(|| map_anonymous(length, 0, PRIVATE)).setup("mmap")?;
        let mut others = (many + page()..many + length).step_by(2 * page());
        let refused = aside(|| others.find_map(|other| protect(other, page(), READ).err()));
        if refused != Some(ENOMEM) {
            return Err(Stop::broken(format!("no limit of mappings: {refused:?}")));
        }
        let middle = (unmap(area + page(), page()), state(area + page())?);
        let last = unmap(area + 2 * page(), page());
        // The next steps may need mappings.
        aside(|| unmap(many, length)).setup("munmap")?;
        see.call("munmap(second page of three)", middle.0).fails(ENOMEM);
        see.text("second page", middle.1).says(MAPPED);
        see.call("munmap(third page of three)", last).is(0);
        see.text("third page", state(area + 2 * page())?).says(GONE);
        see.text("first page", letters(area, 1)?).says('a');
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
        let lack = format!("a process may have {} mappings", text.trim());
        Stop::untestable(Lack::Resource, lack, format!("sysctl vm.max_map_count={MOST}"))
    })
}
