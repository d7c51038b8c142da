//! The content of mapped pages, and the effect of `mmap`, `munmap`, `mremap` and `mprotect` on pages.

use super::mmap::{PRIVATE, READ, SHARED, WRITE, is_mapped, map, map_with};
use super::mmap_manual::{free_pages, note};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception, gate};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::Lab;
use crate::lab::io::ask;
use crate::lab::pages::{PAGE, letter, lettered, letters, store};
use crate::verdict::{Observation, Setup, Stop, Verdict};
use std::fs::File;
use std::os::fd::AsFd;
use syscalls::{Errno, Sysno};

const MREMAP: Source = Source::Man("mremap(2), man-pages 6.20");
const REMAP: &[Sysno] = &[Sysno::mremap];
const REMAP_OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::mremap);
const NO_REPLACE: usize = libc::MAP_FIXED_NOREPLACE as usize;
const MAY_MOVE: usize = libc::MREMAP_MAYMOVE as usize;
const TO_FIXED: usize = libc::MREMAP_FIXED as usize;
const DONT_UNMAP: usize = libc::MREMAP_DONTUNMAP as usize;

/// Claims about mapped pages.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "With MREMAP_MAYMOVE a mapping that has no room grows elsewhere, and shows more of its file.",
        sources: &[MREMAP, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mremap/mremap01.c")],
        about: REMAP,
        lies: &[Lie::refused(Sysno::mremap, libc::ENOMEM), Lie::bytes(Sysno::read, b'c', b'x')],
        ..Claim::of_answers(
            "mmap.mremap.moves",
            mmap_mremap_moves,
            &[
                ("mremap(page, 4096, 12288, MREMAP_MAYMOVE)", Answer::Says("mapped")),
                ("pages at the new address", Answer::Says("abc")),
                ("the old page", Answer::Says("gone")),
            ],
        )
    },
    Claim {
        statement: "Without MREMAP_MAYMOVE a mapping grows where it is, or, before another one, fails with ENOMEM.",
        sources: &[MREMAP, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mremap/mremap04.c")],
        about: REMAP,
        lies: REMAP_OTHERWISE,
        ..Claim::of_answers(
            "mmap.mremap.in-place",
            mmap_mremap_in_place,
            &[
                ("mremap(page before another, 4096, 8192)", Answer::Fails(Errno::ENOMEM)),
                ("mremap(page before nothing, 4096, 8192)", Answer::Says("in place")),
                ("pages there", Answer::Says("ab")),
            ],
        )
    },
    Claim {
        statement: "mremap() to a smaller length unmaps the rest, and leaves the beginning where it is.",
        sources: &[MREMAP],
        about: REMAP,
        lies: &[Lie::skipped(Sysno::mremap)],
        ..Claim::of_answers(
            "mmap.mremap.shrinks",
            mmap_mremap_shrinks,
            &[
                ("mremap(three pages, 12288, 4096)", Answer::Says("in place")),
                ("first page", Answer::Says("a")),
                ("second page", Answer::Says("gone")),
            ],
        )
    },
    Claim {
        statement: "mremap() of memory that is not mapped, or that a grown range would not be of one mapping, fails with EFAULT.",
        sources: &[MREMAP, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mremap/mremap03.c")],
        about: REMAP,
        lies: REMAP_OTHERWISE,
        ..Claim::of_answers(
            "mmap.mremap.efault",
            mmap_mremap_efault,
            &[
                ("mremap(unmapped page, 4096, 8192)", Answer::Fails(Errno::EFAULT)),
                ("mremap(page and a hole, 8192, 12288)", Answer::Fails(Errno::EFAULT)),
            ],
        )
    },
    Claim {
        statement: "MREMAP_FIXED without MREMAP_MAYMOVE, to an address inside a page or inside the old range, fails with EINVAL.",
        sources: &[MREMAP, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mremap/mremap05.c")],
        about: REMAP,
        lies: REMAP_OTHERWISE,
        ..Claim::of_answers(
            "mmap.mremap.fixed-einval",
            mmap_mremap_fixed_einval,
            &[
                ("mremap(MREMAP_FIXED alone)", Answer::Fails(Errno::EINVAL)),
                ("mremap(to page + 1)", Answer::Fails(Errno::EINVAL)),
                ("mremap(to its second page)", Answer::Fails(Errno::EINVAL)),
                ("unknown flag", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "With MREMAP_FIXED the mapping is moved to the address, and what was mapped there is gone.",
        sources: &[MREMAP, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mremap/mremap05.c")],
        about: REMAP,
        lies: &[Lie::refused(Sysno::mremap, libc::EINVAL), Lie::bytes(Sysno::read, b'b', b'x')],
        ..Claim::of_answers(
            "mmap.mremap.fixed-moves",
            mmap_mremap_fixed_moves,
            &[
                ("mremap(second page, over the first)", Answer::Says("there")),
                ("the page there", Answer::Says("b")),
                ("the old page", Answer::Says("gone")),
            ],
        )
    },
    Claim {
        statement: "mremap() from no bytes of a shared mapping makes a second mapping of the same pages.",
        sources: &[MREMAP],
        about: REMAP,
        lies: &[Lie::refused(Sysno::mremap, libc::EINVAL), Lie::bytes(Sysno::read, b'z', b'a')],
        ..Claim::of_answers(
            "mmap.mremap.duplicates",
            mmap_mremap_duplicates,
            &[
                ("mremap(shared page, 0, 4096, MREMAP_MAYMOVE)", Answer::Says("mapped")),
                ("the old page", Answer::Says("mapped")),
                ("stored in the old one, seen in the new one", Answer::Says("z")),
            ],
        )
    },
    Claim {
        statement: "With MREMAP_DONTUNMAP a file's mapping is moved, and its old range stays mapped.",
        sources: &[MREMAP, Source::Thread("Linux 5.13, commit a4609387859f")],
        gates: &[
            gate("5.7", "private anonymous memory can be moved with MREMAP_DONTUNMAP", MREMAP),
            gate("5.13", "other mappings can, too", Source::Thread("Linux 5.13, commit a4609387859f")),
        ],
        about: REMAP,
        lies: &[
            Lie::refused(Sysno::mremap, libc::EINVAL).where_it(true),
            Lie::bytes(Sysno::read, b'a', b'x').where_it(true),
        ],
        exceptions: &[Exception::Lacking("no lie moves a page and leaves its old range mapped")],
        ..Claim::of_answers(
            "mmap.mremap.dontunmap",
            mmap_mremap_dontunmap,
            &[
                ("mremap(page, MREMAP_DONTUNMAP)", Answer::Says("there")),
                ("the page there", Answer::Says("a")),
                ("the old page", Answer::Says("mapped")),
            ],
        )
    },
    Claim {
        statement: "mremap() that moves and does not resize takes a range of several mappings.",
        method: "Moves two pages of different protection in one call.",
        sources: &[MREMAP],
        gates: &[gate("6.17", "a pure move may span several mappings", MREMAP)],
        about: REMAP,
        lies: &[
            Lie::refused(Sysno::mremap, libc::EFAULT).where_it(true),
            Lie::bytes(Sysno::read, b'b', b'x').where_it(true),
            Lie::about(Sysno::mremap, What::OtherErrno(libc::ENOLINK)).where_it(false),
        ],
        ..Claim::new("mmap.mremap.several", mmap_mremap_several, |seen| {
            let moved = seen.is("pages of the target", "ab");
            Verdict::holds_if(!seen.failed_with(SEVERAL, Errno::EFAULT) && (moved || seen.failed(SEVERAL)))
        })
    },
];

const SEVERAL: &str = "mremap(two mappings, to other pages)";
/// Maps a file for an experiment about another call.
pub(super) fn mapped(file: &impl AsFd, pages: usize, protection: usize, flags: usize) -> Result<usize, Stop> {
    aside(|| map(file, pages * PAGE, protection, flags, 0)).setup("mmap")
}

/// Maps a page of a file at a free address.
pub(super) fn mapped_at(address: usize, file: &File, page: usize, protection: usize) -> Result<usize, Stop> {
    let flags = PRIVATE | NO_REPLACE;
    // SAFETY: with MAP_FIXED_NOREPLACE nothing is replaced.
    aside(|| unsafe { map_with(file, address, PAGE, protection, flags, page * PAGE) }).setup("mmap")
}

/// The result of `look` if there is a mapping. Otherwise it is `no mapping`.
pub(super) fn of_mapped(
    address: Result<usize, Errno>,
    look: impl FnOnce(usize) -> Result<String, Stop>,
) -> Result<String, Stop> {
    match address {
        Ok(address) if is_mapped(address)? => look(address),
        _ => Ok("no mapping".to_owned()),
    }
}

/// Notes whether a page is mapped.
pub(super) fn note_page(seen: &mut Observation, fact: &str, address: usize) -> Result<(), Stop> {
    seen.text(fact, if is_mapped(address)? { "mapped" } else { "gone" });
    Ok(())
}

/// Notes whether an address is the requested one.
pub(super) fn note_place(seen: &mut Observation, fact: &str, moved: Result<usize, Errno>, wanted: usize, word: &str) {
    match moved {
        Ok(address) if address == wanted => seen.text(fact, word),
        Ok(_) => seen.text(fact, "elsewhere"),
        Err(errno) => seen.call(fact, Err(errno)),
    };
}

/// Calls `mremap`, which may remove mappings of the experiment.
pub(super) fn remap(address: usize, from: usize, to: usize, flags: usize, target: usize) -> Result<usize, Errno> {
    // SAFETY: no reference exists to memory that is mapped for an experiment, and targets are pages of the experiment.
    unsafe { ask(Sysno::mremap, [address, from, to, flags, target, 0]) }
}

/// Calls `mprotect` on pages of the experiment.
pub(super) fn protect(address: usize, length: usize, protection: usize) -> Result<usize, Errno> {
    // SAFETY: no reference exists to memory that is mapped for an experiment.
    unsafe { ask(Sysno::mprotect, [address, length, protection, 0, 0, 0]) }
}

fn mmap_mremap_moves(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 3)?;
    let area = free_pages(lab, 2)?;
    let page = mapped_at(area, &file, 0, READ)?;
    mapped_at(area + PAGE, &lettered(lab, 1)?, 0, READ)?;
    let mut seen = Observation::new();
    let moved = remap(page, PAGE, 3 * PAGE, MAY_MOVE, 0);
    note(&mut seen, "mremap(page, 4096, 12288, MREMAP_MAYMOVE)", moved)?;
    let pages = of_mapped(moved, |pages| letters(pages, 3))?;
    seen.text("pages at the new address", pages);
    note_page(&mut seen, "the old page", page)?;
    Ok(seen)
}

fn mmap_mremap_in_place(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 2)?;
    let area = free_pages(lab, 4)?;
    let before_another = mapped_at(area, &file, 0, READ)?;
    let before_nothing = mapped_at(area + PAGE, &lettered(lab, 2)?, 0, READ)?;
    let mut seen = Observation::new();
    let grown = remap(before_another, PAGE, 2 * PAGE, 0, 0);
    note(&mut seen, "mremap(page before another, 4096, 8192)", grown)?;
    let grown = remap(before_nothing, PAGE, 2 * PAGE, 0, 0);
    let fact = "mremap(page before nothing, 4096, 8192)";
    note_place(&mut seen, fact, grown, before_nothing, "in place");
    let pages = of_mapped(grown, |pages| letters(pages, 2))?;
    seen.text("pages there", pages);
    Ok(seen)
}

fn mmap_mremap_shrinks(lab: &Lab) -> Result<Observation, Stop> {
    let area = mapped(&lettered(lab, 3)?, 3, READ, PRIVATE)?;
    let mut seen = Observation::new();
    let shrunk = remap(area, 3 * PAGE, PAGE, 0, 0);
    note_place(&mut seen, "mremap(three pages, 12288, 4096)", shrunk, area, "in place");
    seen.text("first page", letters(area, 1)?);
    note_page(&mut seen, "second page", area + PAGE)?;
    Ok(seen)
}

fn mmap_mremap_efault(lab: &Lab) -> Result<Observation, Stop> {
    let area = free_pages(lab, 2)?;
    let mut seen = Observation::new();
    let nothing = remap(area, PAGE, 2 * PAGE, MAY_MOVE, 0);
    note(&mut seen, "mremap(unmapped page, 4096, 8192)", nothing)?;
    let page = mapped_at(area, &lettered(lab, 1)?, 0, READ)?;
    let hole = remap(page, 2 * PAGE, 3 * PAGE, MAY_MOVE, 0);
    note(&mut seen, "mremap(page and a hole, 8192, 12288)", hole)?;
    Ok(seen)
}

fn mmap_mremap_fixed_einval(lab: &Lab) -> Result<Observation, Stop> {
    const UNKNOWN: usize = 8;
    let area = mapped(&lettered(lab, 2)?, 2, READ, PRIVATE)?;
    let target = free_pages(lab, 3)?;
    let mut seen = Observation::new();
    for (fact, flags, target) in [
        ("mremap(MREMAP_FIXED alone)", TO_FIXED, target),
        ("mremap(to page + 1)", MAY_MOVE | TO_FIXED, target + 1),
        ("mremap(to its second page)", MAY_MOVE | TO_FIXED, area + PAGE),
        ("unknown flag", MAY_MOVE | UNKNOWN, 0),
    ] {
        note(&mut seen, fact, remap(area, 2 * PAGE, 2 * PAGE, flags, target))?;
    }
    Ok(seen)
}

fn mmap_mremap_fixed_moves(lab: &Lab) -> Result<Observation, Stop> {
    let area = mapped(&lettered(lab, 2)?, 2, READ, PRIVATE)?;
    let mut seen = Observation::new();
    let moved = remap(area + PAGE, PAGE, PAGE, MAY_MOVE | TO_FIXED, area);
    note_place(&mut seen, "mremap(second page, over the first)", moved, area, "there");
    seen.text("the page there", letters(area, 1)?);
    note_page(&mut seen, "the old page", area + PAGE)?;
    Ok(seen)
}

fn mmap_mremap_duplicates(lab: &Lab) -> Result<Observation, Stop> {
    let page = mapped(&lettered(lab, 1)?, 1, READ | WRITE, SHARED)?;
    let mut seen = Observation::new();
    let second = remap(page, 0, PAGE, MAY_MOVE, 0);
    note(&mut seen, "mremap(shared page, 0, 4096, MREMAP_MAYMOVE)", second)?;
    note_page(&mut seen, "the old page", page)?;
    // SAFETY: the page belongs to this function, and lies in the file.
    unsafe { store(page, b'z') };
    let byte = of_mapped(second, letter)?;
    seen.text("stored in the old one, seen in the new one", byte);
    Ok(seen)
}

fn mmap_mremap_dontunmap(lab: &Lab) -> Result<Observation, Stop> {
    let page = mapped(&lettered(lab, 1)?, 1, READ, PRIVATE)?;
    let target = free_pages(lab, 1)?;
    let mut seen = Observation::new();
    let moved = remap(page, PAGE, PAGE, MAY_MOVE | TO_FIXED | DONT_UNMAP, target);
    note_place(&mut seen, "mremap(page, MREMAP_DONTUNMAP)", moved, target, "there");
    let there = of_mapped(Ok(target), |page| letters(page, 1))?;
    seen.text("the page there", there);
    note_page(&mut seen, "the old page", page)?;
    Ok(seen)
}

fn mmap_mremap_several(lab: &Lab) -> Result<Observation, Stop> {
    let area = mapped(&lettered(lab, 2)?, 2, READ, PRIVATE)?;
    aside(|| protect(area, PAGE, READ | WRITE)).setup("mprotect")?;
    let target = mapped(&lettered(lab, 1)?, 2, READ, PRIVATE)?;
    let mut seen = Observation::new();
    let moved = remap(area, 2 * PAGE, 2 * PAGE, MAY_MOVE | TO_FIXED, target);
    note_place(&mut seen, SEVERAL, moved, target, "there");
    // A kernel that refuses the call may have unmapped the target before.
    let pages = if moved.is_ok() { 2 } else { 1 };
    let there = of_mapped(Ok(target), |address| letters(address, pages))?;
    seen.text("pages of the target", there);
    note_page(&mut seen, "the first page where it was", area)?;
    Ok(seen)
}
