//! Further behaviour of file mappings in manual pages: `mmap`, `mremap`, `msync`.

use super::mmap::{PAGE, PRIVATE, READ, SHARED, WRITE, is_mapped, map, map_with, note};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::io::{self, NO_FD, ask};
use crate::lab::{Lab, alias, map_file};
use crate::verdict::{Observation, Setup, Stop, Verdict};
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("mmap(2), man-pages 6.20");
const MSYNC: Source = Source::Man("msync(2), man-pages 6.20");
const MREMAP: Source = Source::Man("mremap(2), man-pages 6.20");
const MMAP: &[Sysno] = &[Sysno::mmap];
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::mmap);
const FIXED: usize = libc::MAP_FIXED as usize;
const NO_REPLACE: usize = libc::MAP_FIXED_NOREPLACE as usize;

/// A call fails where its statement says that it succeeds, or the reverse.
const REFUSED_OTHERWISE: &[Lie] = &[Lie::about(Sysno::mmap, What::OtherErrno(libc::ENOLINK))];

const SKIPPED: &[Exception] = &[Exception::Of(
    Sysno::msync,
    What::Skipped,
    "the file's pages are the same before and after they are written to the disk",
)];

/// More claims about mappings.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "EOVERFLOW of mmap() is for 32-bit architectures.",
        method: "On this 64-bit one, maps two pages of which the second would begin at 2^63, and a page at a negative offset.",
        sources: &[MAN, Source::Thread("gVisor mmap.cc, MapOffsetBeyondEnd and neighbours")],
        about: MMAP,
        lies: REFUSED_OTHERWISE,
        ..Claim::new("mmap.offset.eoverflow", mmap_offset_eoverflow, |seen| {
            let overflows = |fact| seen.failed_with(fact, Errno::EOVERFLOW);
            Verdict::holds_if(!overflows(ACROSS) && !overflows(NEGATIVE))
        })
    },
    Claim {
        statement: "A mapping may begin behind the end of its file, up to the last page but one that an offset can name.",
        sources: &[Source::Thread("gVisor mmap.cc"), Source::Measured],
        about: MMAP,
        lies: &[Lie::refused(Sysno::mmap, libc::EOVERFLOW)],
        ..Claim::of_answers(
            "mmap.offset.behind-the-end",
            mmap_offset_behind_the_end,
            &[
                ("mmap(file of one page, offset 1 GiB)", Answer::Says("mapped")),
                ("mmap(offset 2^63 - 8192, 4096)", Answer::Says("mapped")),
            ],
        )
    },
    Claim {
        statement: "A length beyond the address space fails with ENOMEM.",
        sources: &[MAN, Source::Thread("gVisor mmap.cc")],
        about: MMAP,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.errors.enomem",
            |lab| {
                let file = lab.file(&[0; PAGE])?;
                let mut seen = Observation::new();
                note(&mut seen, "mmap(length 2^62)", map(&file, 1 << 62, READ, PRIVATE, 0))?;
                Ok(seen)
            },
            &[("mmap(length 2^62)", Answer::Fails(Errno::ENOMEM))],
        )
    },
    Claim {
        statement: "MAP_FIXED at an address inside a page fails with EINVAL; a hint inside a page is taken.",
        sources: &[MAN, Source::Thread("gVisor mmap.cc, FixedAlignment and HintAlignment")],
        about: MMAP,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.fixed.alignment",
            mmap_fixed_alignment,
            &[
                ("mmap(page + 1, MAP_FIXED)", Answer::Fails(Errno::EINVAL)),
                ("mmap(page + 1 as a hint)", Answer::Says("mapped")),
            ],
        )
    },
    Claim {
        statement: "MAP_FIXED_NOREPLACE fails with EEXIST where something is mapped, and maps where nothing is.",
        sources: &[MAN, Source::Thread("LTP mmap17; gVisor mmap.cc")],
        about: MMAP,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.fixed.noreplace",
            mmap_fixed_noreplace,
            &[
                ("mmap(a mapping's page, MAP_FIXED_NOREPLACE)", Answer::Fails(Errno::EEXIST)),
                ("mmap(two pages over its second, MAP_FIXED_NOREPLACE)", Answer::Fails(Errno::EEXIST)),
                ("mmap(a free page, MAP_FIXED_NOREPLACE)", Answer::Says("mapped")),
            ],
        )
    },
    Claim {
        statement: "mmap() of a closed descriptor, or of one opened with O_PATH, fails with EBADF.",
        sources: &[MAN, Source::Thread("LTP mmap08; gVisor mmap.cc, BadFd and OPath")],
        about: MMAP,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.errors.ebadf",
            mmap_errors_ebadf,
            &[("mmap(-1)", Answer::Fails(Errno::EBADF)), ("mmap(O_PATH file)", Answer::Fails(Errno::EBADF))],
        )
    },
    Claim {
        statement: "What a mapping shows behind the end of its file, up to the page's end, are zeros.",
        sources: &[MAN, Source::Thread("LTP mmap01; gVisor mmap.cc")],
        about: &[Sysno::write],
        lies: &[Lie::bytes(Sysno::read, 0, b'x')],
        ..Claim::of_answers(
            "mmap.end.zeros",
            mmap_end_zeros,
            &[("bytes behind the end", Answer::Says("zeros")), ("bytes left in the pipe", Answer::Is(0))],
        )
    },
    Claim {
        statement: "What is stored behind the end of a file, in its last page, does not make it longer.",
        sources: &[MAN, Source::Thread("LTP mmap01")],
        about: &[Sysno::msync],
        lies: &[Lie::refused(Sysno::msync, libc::EIO)],
        exceptions: SKIPPED,
        ..Claim::of_answers(
            "mmap.end.stores",
            mmap_end_stores,
            &[("msync(MS_SYNC)", Answer::Is(0)), ("length of the file", Answer::Is(100))],
        )
    },
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

const ACROSS: &str = "mmap(offset 2^63 - 4096, 8192)";
const NEGATIVE: &str = "mmap(offset -4096, 8192)";

fn mmap_offset_eoverflow(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[0; PAGE])?;
    let mut seen = Observation::new();
    let end = 1 << 63;
    note(&mut seen, ACROSS, map(&file, 2 * PAGE, READ, PRIVATE, end - PAGE))?;
    let negative = 0_usize.wrapping_sub(PAGE);
    note(&mut seen, NEGATIVE, map(&file, 2 * PAGE, READ, PRIVATE, negative))?;
    Ok(seen)
}

fn mmap_offset_behind_the_end(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[0; PAGE])?;
    let mut seen = Observation::new();
    let far = map(&file, PAGE, READ, PRIVATE, 1 << 30);
    note(&mut seen, "mmap(file of one page, offset 1 GiB)", far)?;
    let last = map(&file, PAGE, READ, PRIVATE, (1 << 63) - 2 * PAGE);
    note(&mut seen, "mmap(offset 2^63 - 8192, 4096)", last)?;
    Ok(seen)
}

fn mmap_fixed_alignment(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[0; PAGE])?;
    let free = free_pages(lab, 1)?;
    let mut seen = Observation::new();
    // SAFETY: the page is free: there is nothing to replace.
    let fixed = unsafe { map_with(&file, free + 1, PAGE, READ, PRIVATE | FIXED, 0) };
    note(&mut seen, "mmap(page + 1, MAP_FIXED)", fixed)?;
    // SAFETY: a hint replaces nothing.
    let hint = unsafe { map_with(&file, free + 1, PAGE, READ, PRIVATE, 0) };
    note(&mut seen, "mmap(page + 1 as a hint)", hint)?;
    Ok(seen)
}

fn mmap_fixed_noreplace(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[0; 2 * PAGE])?;
    let free = free_pages(lab, 3)?;
    let map_at = |address, length| {
        // SAFETY: the pages were free, and nothing uses the mapping afterwards.
        unsafe { map_with(&file, address, length, READ, PRIVATE | NO_REPLACE, 0) }
    };
    aside(|| map_at(free + PAGE, PAGE)).setup("mmap")?;
    let mut seen = Observation::new();
    let over = map_at(free + PAGE, PAGE);
    note(&mut seen, "mmap(a mapping's page, MAP_FIXED_NOREPLACE)", over)?;
    let across = map_at(free, 2 * PAGE);
    note(&mut seen, "mmap(two pages over its second, MAP_FIXED_NOREPLACE)", across)?;
    let beside = map_at(free + 2 * PAGE, PAGE);
    note(&mut seen, "mmap(a free page, MAP_FIXED_NOREPLACE)", beside)?;
    Ok(seen)
}

fn mmap_errors_ebadf(lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    // SAFETY: at an address of the kernel's choice a mapping overlaps nothing.
    let none = unsafe { ask(Sysno::mmap, [0, PAGE, READ, PRIVATE, NO_FD, 0]) };
    note(&mut seen, "mmap(-1)", none)?;
    let path = Descriptor::open(lab, Fd::PathOnly)?;
    note(&mut seen, "mmap(O_PATH file)", map(&path, PAGE, READ, PRIVATE, 0))?;
    Ok(seen)
}

fn mmap_end_zeros(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[alias::OLD; 100])?;
    let mapping = map_file(&file, PAGE).setup("mmap")?;
    let pipe = super::tools::pipe()?;
    // SAFETY: the mapping outlives the call; no reference to it exists.
    unsafe { io::write_all_from(&pipe.write, mapping.as_ptr(), PAGE) }.setup("write")?;
    let mut bytes = vec![0; PAGE];
    io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
    let mut seen = Observation::new();
    let (file, behind) = bytes.split_at(100);
    if file != [alias::OLD; 100] {
        return Err(Stop::broken("the mapping does not show the file"));
    }
    let zeros = behind.iter().all(|byte| *byte == 0);
    seen.text("bytes behind the end", if zeros { "zeros" } else { "others" });
    super::tools::note_readable(&mut seen, "bytes left in the pipe", &pipe.read)?;
    Ok(seen)
}

fn mmap_end_stores(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[alias::OLD; 100])?;
    let page = aside(|| map(&file, PAGE, READ | WRITE, SHARED, 0)).setup("mmap")?;
    let behind = std::ptr::with_exposed_provenance_mut::<u8>(page + 100);
    // SAFETY: the page is mapped writable, and no reference to it exists.
    unsafe { behind.write_volatile(b'x') };
    let mut seen = Observation::new();
    seen.call("msync(MS_SYNC)", sync(page, PAGE, libc::MS_SYNC));
    super::tools::note_length(&mut seen, "length of the file", &file)?;
    Ok(seen)
}

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
