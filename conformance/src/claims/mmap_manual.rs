//! Further behaviour of file mappings in manual pages: `mmap`, `mremap`, `msync`.

use super::mmap::{PRIVATE, READ, SHARED, is_mapped, map, map_with};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::Lab;
use crate::lab::io::ask;
use crate::lab::pages::PAGE;
use crate::verdict::{Observation, Setup, Stop};
use syscalls::{Errno, Sysno};

const MSYNC: Source = Source::Man("msync(2), man-pages 6.20");
const MREMAP: Source = Source::Man("mremap(2), man-pages 6.20");
const NO_REPLACE: usize = libc::MAP_FIXED_NOREPLACE as usize;

const SKIPPED: &[Exception] = &[Exception::Of(
    Sysno::msync,
    What::Skipped,
    "the file's pages are the same before and after they are written to the disk",
)];

/// More claims about mappings.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "msync() refuses MS_SYNC with MS_ASYNC, an unknown flag and an address inside a page with EINVAL.",
        sources: &[MSYNC, Source::Thread("LTP msync03; gVisor msync.cc")],
        about: &[Sysno::msync],
        lies: &Lie::otherwise(Sysno::msync),
        ..Claim::of_answers(
            "mmap.msync.einval",
            |lab| {
                msync(
                    lab,
                    &[
                        ("msync(MS_SYNC | MS_ASYNC)", 0, PAGE, libc::MS_SYNC | libc::MS_ASYNC),
                        ("msync(0x100)", 0, PAGE, 0x100),
                        ("msync(page + 1)", 1, PAGE, libc::MS_SYNC),
                    ],
                )
            },
            &[
                ("msync(MS_SYNC | MS_ASYNC)", Answer::Fails(Errno::EINVAL)),
                ("msync(0x100)", Answer::Fails(Errno::EINVAL)),
                ("msync(page + 1)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "msync() of memory that is not mapped fails with ENOMEM; of none of it, it succeeds.",
        sources: &[MSYNC, Source::Thread("LTP msync03; gVisor msync.cc")],
        about: &[Sysno::msync],
        lies: &Lie::otherwise(Sysno::msync),
        exceptions: SKIPPED,
        ..Claim::of_answers(
            "mmap.msync.enomem",
            |lab| {
                msync(
                    lab,
                    &[
                        ("msync(unmapped page)", PAGE, PAGE, libc::MS_SYNC),
                        ("msync(unmapped page, 0)", PAGE, 0, libc::MS_SYNC),
                    ],
                )
            },
            &[("msync(unmapped page)", Answer::Fails(Errno::ENOMEM)), ("msync(unmapped page, 0)", Answer::Is(0))],
        )
    },
    Claim {
        statement: "msync(MS_INVALIDATE) of locked memory fails with EBUSY.",
        sources: &[MSYNC, Source::Thread("LTP msync03")],
        about: &[Sysno::msync],
        lies: &Lie::otherwise(Sysno::msync),
        resources: &[crate::claim::Resource::UserMemlock],
        exceptions: SKIPPED,
        ..Claim::of_answers(
            "mmap.msync.locked",
            mmap_msync_locked,
            &[
                ("msync(MS_INVALIDATE) of the locked page", Answer::Fails(Errno::EBUSY)),
                ("msync(MS_SYNC) of the locked page", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "mremap() to no bytes, or from no bytes of a private mapping, fails with EINVAL.",
        sources: &[MREMAP, Source::Thread("LTP mremap02; Linux 4.14, commit dba58d3b8c50")],
        about: &[Sysno::mremap],
        lies: &Lie::otherwise(Sysno::mremap),
        ..Claim::of_answers(
            "mmap.mremap.einval",
            mmap_mremap_einval,
            &[
                ("mremap(page, 4096, 0)", Answer::Fails(Errno::EINVAL)),
                ("mremap(private page, 0, 4096, MREMAP_MAYMOVE)", Answer::Fails(Errno::EINVAL)),
                ("mremap(page + 1, 4096, 8192)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
];

/// Calls `msync` on a page of a shared mapping, before a page that is not mapped.
fn msync(lab: &Lab, calls: &[(&str, usize, usize, libc::c_int)]) -> Result<Observation, Stop> {
    let file = lab.file(&[0; PAGE])?;
    let page = free_pages(lab, 2)?;
    // SAFETY: the page is free: there is nothing to replace.
    let mapped = aside(|| unsafe { map_with(&file, page, PAGE, READ, SHARED | NO_REPLACE, 0) });
    let fixed = mapped.setup("mmap")?;
    let mut seen = Observation::new();
    for (fact, offset, length, flags) in calls {
        seen.call(*fact, sync(fixed + offset, *length, *flags));
    }
    Ok(seen)
}

/// Calls `msync` once, with any address.
pub(super) fn sync(address: usize, length: usize, flags: libc::c_int) -> Result<usize, Errno> {
    let flags = flags.cast_unsigned() as usize;
    // SAFETY: msync changes nothing in memory.
    unsafe { ask(Sysno::msync, [address, length, flags, 0, 0, 0]) }
}

fn mmap_msync_locked(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[0; PAGE])?;
    let page = aside(|| map(&file, PAGE, READ, SHARED, 0)).setup("mmap")?;
    // SAFETY: the page belongs to this function.
    aside(|| unsafe { ask(Sysno::mlock, [page, PAGE, 0, 0, 0, 0]) }).setup("mlock")?;
    let mut seen = Observation::new();
    for (fact, flags) in [
        ("msync(MS_INVALIDATE) of the locked page", libc::MS_INVALIDATE),
        ("msync(MS_SYNC) of the locked page", libc::MS_SYNC),
    ] {
        seen.call(fact, sync(page, PAGE, flags));
    }
    Ok(seen)
}

fn mmap_mremap_einval(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[0; 2 * PAGE])?;
    let page = aside(|| map(&file, PAGE, READ, PRIVATE, 0)).setup("mmap")?;
    let may_move = libc::MREMAP_MAYMOVE.cast_unsigned() as usize;
    let mut seen = Observation::new();
    for (fact, address, old, new) in [
        ("mremap(page, 4096, 0)", page, PAGE, 0),
        ("mremap(private page, 0, 4096, MREMAP_MAYMOVE)", page, 0, PAGE),
        ("mremap(page + 1, 4096, 8192)", page + 1, PAGE, 2 * PAGE),
    ] {
        // SAFETY: no reference to the page exists, whatever the call does with it.
        let moved = unsafe { ask(Sysno::mremap, [address, old, new, may_move, 0, 0]) };
        note(&mut seen, fact, moved)?;
    }
    Ok(seen)
}

/// The address of `pages` consecutive free pages: they have just been mapped and unmapped.
pub(super) fn free_pages(lab: &Lab, pages: usize) -> Result<usize, Stop> {
    let file = lab.file(&[0; PAGE])?;
    let address = aside(|| map(&file, pages * PAGE, READ, PRIVATE, 0)).setup("mmap")?;
    // SAFETY: the pages belong to this function.
    aside(|| unsafe { ask(Sysno::munmap, [address, pages * PAGE, 0, 0, 0, 0]) }).setup("munmap")?;
    if is_mapped(address)? {
        return Err(Stop::broken("munmap() left the page"));
    }
    Ok(address)
}

/// Notes whether there is a mapping, and not its address.
pub(super) fn note(seen: &mut Observation, fact: &str, mapped: Result<usize, Errno>) -> Result<(), Stop> {
    match mapped {
        Ok(address) if is_mapped(address)? => seen.text(fact, "mapped"),
        Ok(_) => seen.text(fact, "no mapping at the address"),
        Err(errno) => seen.call(fact, Err(errno)),
    };
    Ok(())
}
