//! `mremap`.

use super::{
    Area, GONE, MAPPED, PRIVATE, READ, SHARED, SeeMapped, WRITE, first_of, free_pages, is_mapped, mapped, of_letters,
    protect, state, unmap, with_hole,
};
use crate::claim::Gate;
use crate::claims::prelude::*;
use crate::lab::open::sealed_memfd;
use crate::lab::pages::{letters, mapping_at, store};

const MAY_MOVE: usize = libc::MREMAP_MAYMOVE as usize;
const FIXED: usize = libc::MREMAP_FIXED as usize;
/// The flags of a move to an address.
const TO: usize = MAY_MOVE | FIXED;

const NO_LIE: &[Exception] = &[Exception::Lacking("no lie moves pages that the kernel does not move")];
const FIXED_PAGE: Source = man("mremap(2)", "DESCRIPTION, MREMAP_FIXED");
const DONTUNMAP_PAGE: Source = man("mremap(2)", "DESCRIPTION, MREMAP_DONTUNMAP");
const OF_SHMEM: Source = selftest("mm/mremap_dontunmap.c", "mremap_dontunmap_simple_shmem").since("7.3");
const OTHER_MAPPINGS: Source = commit("a4609387859f", "mm: extend MREMAP_DONTUNMAP to non-anonymous mappings");
const DONTUNMAP: &[Gate] = &[
    gate("5.7", "private anonymous memory can be moved with MREMAP_DONTUNMAP", DONTUNMAP_PAGE),
    gate("5.13", "other mappings can be moved with it, too", OTHER_MAPPINGS),
];

#[track_caller]
const fn about_mremap(id: &'static str, statement: &'static str) -> Claim {
    const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::mremap);
    claim(id, statement).about(&[Sysno::mremap]).turned_by(OTHERWISE)
}

pub const CLAIMS: &[Claim] = &[
    about_mremap(
        "mmap.mremap.einval",
        "mremap() fails with EINVAL for new size 0, an unaligned address, and old size 0 of a private mapping.",
    )
    .published(&[
        man("mremap(2)", "ERRORS, EINVAL"),
        man("mremap(2)", "BUGS").since("4.14"),
        ltp("mremap02.c", "an unaligned address"),
    ])
    .tried(|lab, see| {
        let (_file, area) = of_letters(lab, 2, READ, PRIVATE)?;
        see.mapped("mremap(page, to size 0)", remap(area, 1, 0, MAY_MOVE, 0))?.fails(EINVAL);
        see.mapped("mremap(private page, from size 0)", remap(area, 0, 1, MAY_MOVE, 0))?.fails(EINVAL);
        see.mapped("mremap(page + 1, to two pages)", remap(area + 1, 1, 2, MAY_MOVE, 0))?.fails(EINVAL);
        Ok(())
    }),
    about_mremap(
        "mmap.mremap.moves",
        "With MREMAP_MAYMOVE, a file mapping that has no room to grow is moved and shows more of its file.",
    )
    .published(&[kernel("mm/mremap.c", "expand_vma"), man("mremap(2)", "DESCRIPTION, MREMAP_MAYMOVE").leaves_open()])
    .turned_by(&[Lie::refused(Sysno::mremap, libc::ENOMEM), Lie::bytes(Sysno::read, b'c', b'x')])
    .tried(|lab, see| {
        let area = three(lab)?;
        let grown = remap(area, 1, 3, MAY_MOVE, 0);
        see.mapped("mremap(page before another, to three pages)", grown)?.says(MAPPED);
        see.text("pages at the new address", content(grown, 3)?).says("abc");
        see.text("old page", state(area)?).says(GONE);
        Ok(())
    }),
    about_mremap(
        "mmap.mremap.in-place",
        "Without MREMAP_MAYMOVE, a mapping grows in place; if another mapping follows, mremap() fails with ENOMEM.",
    )
    .published(&[man("mremap(2)", "ERRORS, ENOMEM"), gvisor("mremap.cc", "MremapParamTest.InPlace_ExpansionSuccess")])
    .tried(|lab, see| {
        let area = three(lab)?;
        aside(|| unmap(area + 2 * page(), page())).setup("munmap")?;
        see.mapped("mremap(page before another, to two pages)", remap(area, 1, 2, 0, 0))?.fails(ENOMEM);
        let last = area + page();
        let grown = remap(last, 1, 2, 0, 0);
        see.call("mremap(page before nothing, to two pages) - its address", minus(grown, last)).is(0);
        see.text("pages there", content(grown, 2)?).says("bc");
        Ok(())
    }),
    about_mremap(
        "mmap.mremap.shrinks",
        "mremap() to a smaller size unmaps the pages past it and leaves the first page where it is.",
    )
    .published(&[man("mremap(2)", "DESCRIPTION"), gvisor("mremap.cc", "MremapParamTest.InPlace_ShrinkingWholeVMA")])
    .turned_by(&[Lie::skipped(Sysno::mremap)])
    .tried(|lab, see| {
        let (_file, area) = of_letters(lab, 3, READ, PRIVATE)?;
        see.call("mremap(three pages, to one) - their address", minus(remap(area, 3, 1, 0, 0), area)).is(0);
        see.text("pages there", content(Ok(area), 3)?).says("a--");
        Ok(())
    }),
    about_mremap(
        "mmap.mremap.efault",
        "mremap() that grows a range fails with EFAULT if a page of it is not mapped, or if it is of two mappings.",
    )
    .published(&[man("mremap(2)", "ERRORS, EFAULT"), man("mremap(2)", "DESCRIPTION"), ltp("mremap03.c", "unmapped")])
    .tried(|lab, see| {
        let area = with_hole(lab, 4, 1, READ, PRIVATE)?;
        let third = area + 2 * page();
        aside(|| protect(third, page(), READ | WRITE)).setup("mprotect")?;
        see.mapped("mremap(unmapped page, to two)", remap(area + page(), 1, 2, MAY_MOVE, 0))?.fails(EFAULT);
        see.mapped("mremap(page and unmapped page, to three)", remap(area, 2, 3, MAY_MOVE, 0))?.fails(EFAULT);
        see.mapped("mremap(writable and other page, to three)", remap(third, 2, 3, MAY_MOVE, 0))?.fails(EFAULT);
        Ok(())
    }),
    about_mremap(
        "mmap.mremap.fixed-einval",
        "mremap() fails with EINVAL for MREMAP_FIXED without MREMAP_MAYMOVE, an unaligned new address, and flag 8.",
    )
    .published(&[man("mremap(2)", "ERRORS, EINVAL"), ltp("mremap05.c", "MREMAP_FIXED alone, and an unaligned address")])
    .tried(|lab, see| {
        let (_file, area) = of_letters(lab, 2, READ, PRIVATE)?;
        let target = free_pages(lab, 3)?;
        see.mapped("mremap(pages, MREMAP_FIXED)", remap(area, 2, 2, FIXED, target))?.fails(EINVAL);
        see.mapped("mremap(pages, to page + 1)", remap(area, 2, 2, TO, target + 1))?.fails(EINVAL);
        see.mapped("mremap(pages, MREMAP_MAYMOVE|8)", remap(area, 2, 2, MAY_MOVE | 8, 0))?.fails(EINVAL);
        Ok(())
    }),
    about_mremap(
        "mmap.mremap.fixed-moves",
        "With MREMAP_FIXED a mapping is moved to the new address, and what was mapped there is replaced.",
    )
    .published(&[
        FIXED_PAGE,
        ltp("mremap05.c", "a mapped new address"),
        gvisor("mremap.cc", "MremapParamTest.Fixed_SameSize_Unmapping"),
    ])
    .turned_by(&[Lie::refused(Sysno::mremap, libc::EINVAL), Lie::bytes(Sysno::read, b'b', b'x')])
    .tried(|lab, see| {
        let (_file, area) = of_letters(lab, 2, READ, PRIVATE)?;
        see.call("mremap(second page, to the first) - the first", moved(area + page(), 1, area, TO)).is(0);
        see.text("pages of the area", content(Ok(area), 2)?).says("b-");
        Ok(())
    }),
    about_mremap(
        "mmap.mremap.overlap",
        "mremap(MREMAP_FIXED) to a range that overlaps the old one, or is the old one, fails with EINVAL.",
    )
    .published(&[
        man("mremap(2)", "ERRORS, EINVAL"),
        ltp("mremap05.c", "the old address"),
        gvisor("mremap.cc", "MremapParamTest.Fixed_SourceAndDestinationCannotOverlap"),
    ])
    .tried(|lab, see| {
        let (_file, area) = of_letters(lab, 3, READ, PRIVATE)?;
        let next = area + page();
        see.mapped("mremap(first two pages, to the second)", remap(area, 2, 2, TO, next))?.fails(EINVAL);
        see.mapped("mremap(last two pages, to the first)", remap(next, 2, 2, TO, area))?.fails(EINVAL);
        see.mapped("mremap(first two pages, to the first)", remap(area, 2, 2, TO, area))?.fails(EINVAL);
        see.text("pages of the area", content(Ok(area), 3)?).says("abc");
        Ok(())
    }),
    about_mremap(
        "mmap.mremap.duplicates",
        "mremap() with an old size of 0 of a shared file mapping makes a second mapping of the same pages.",
    )
    .published(&[man("mremap(2)", "DESCRIPTION")])
    .turned_by(&[Lie::refused(Sysno::mremap, libc::EINVAL), Lie::bytes(Sysno::read, b'z', b'a')])
    .tried(|lab, see| {
        let (_file, area) = of_letters(lab, 1, READ | WRITE, SHARED)?;
        let second = remap(area, 0, 1, MAY_MOVE, 0);
        see.mapped("mremap(shared page, from size 0)", second)?.says(MAPPED);
        see.whether("it is another address", second != Ok(area)).says("yes");
        see.text("old page", state(area)?).says(MAPPED);
        if is_mapped(area)? {
            // SAFETY: the page belongs to the experiment, and lies in the file.
            unsafe { store(area, b'z') };
        }
        see.text("byte stored in the old page, in the new one", first_of(second)?).says('z');
        Ok(())
    }),
    about_mremap(
        "mmap.mremap.dontunmap",
        "With MREMAP_DONTUNMAP a file mapping, private or shared (a memfd), is moved; its old range stays mapped.",
    )
    .published(&[DONTUNMAP_PAGE.since("5.13"), man("mremap(2)", "ERRORS, EINVAL").denies().until("5.12")])
    .gated(DONTUNMAP)
    .turned_by(&[
        Lie::refused(Sysno::mremap, libc::EINVAL).where_it(true),
        Lie::bytes(Sysno::read, b'a', b'x').where_it(true),
    ])
    .except(NO_LIE)
    .tried(|lab, see| {
        for (kind, area) in files(lab)? {
            let (target, _) = kept(lab, see, kind, area)?;
            see.text(format!("page there, {kind}"), content(Ok(target), 1)?).says('a');
            see.text(format!("old page, {kind}"), state(area)?).says(MAPPED);
        }
        Ok(())
    }),
    about_mremap(
        "mmap.mremap.dontunmap-zeros",
        "After MREMAP_DONTUNMAP of a file mapping, private or shared (a memfd), its old range reads as zeros.",
    )
    .published(&[DONTUNMAP_PAGE.since("5.13"), OF_SHMEM.denies()])
    .gated(DONTUNMAP)
    .turned_by(&[Lie::bytes(Sysno::read, b'a', 0)])
    .except(NO_LIE)
    .tried(|lab, see| {
        for (kind, area) in files(lab)? {
            // Where the call is refused, no range is old.
            if kept(lab, see, kind, area)?.1 {
                see.text(format!("old page, {kind}"), content(Ok(area), 1)?).says('0');
            }
        }
        Ok(())
    }),
    about_mremap(
        "mmap.mremap.several",
        "mremap() that does not resize moves a range of several mappings, also with an unmapped page between them.",
    )
    .published(&[FIXED_PAGE.since("6.17"), selftest("mm/mremap_test.c", "mremap_move_multiple_vmas").since("7.3")])
    .gated(&[gate("6.17", "a simple move may span several mappings", FIXED_PAGE)])
    .turned_by(&[
        Lie::refused(Sysno::mremap, libc::EFAULT).where_it(true),
        Lie::bytes(Sysno::read, b'c', b'x').where_it(true),
    ])
    .except(NO_LIE)
    .tried(|lab, see| {
        for (pages, area) in [("abc", three(lab)?), ("a-c", with_hole(lab, 3, 1, READ, PRIVATE)?)] {
            let target = free_pages(lab, 3)?;
            see.call(format!("mremap(pages {pages}, to target) - target"), moved(area, 3, target, TO)).is(0);
            see.text(format!("pages of the target, of {pages}"), content(Ok(target), 3)?).says(pages);
            see.text(format!("old pages, of {pages}"), content(Ok(area), 3)?).says("---");
        }
        Ok(())
    }),
    about_mremap(
        "mmap.mremap.merged",
        "A shared page moved away and back merges with neighbours of its protection and shows its part of the file.",
    )
    .published(&[
        kernel("mm/vma.c", "copy_vma"),
        ltp("mremap06.c", "do_test"),
        commit("7e7757876f25", "mm/mremap: fix vm_pgoff in vma_merge() case 3"),
    ])
    .turned_by(&[Lie::bytes(Sysno::read, b'b', b'a'), Lie::skipped(Sysno::mremap).after(0)])
    .method("Before the middle of three pages is moved back, the protection of none, the last or the first changes.")
    .tried(|lab, see| {
        for (name, other, merged) in [("all alike", None, 3), ("other last", Some(2), 2), ("other first", Some(0), 2)] {
            let (_file, area) = of_letters(lab, 4, READ | WRITE, SHARED)?;
            let (middle, away) = (area + page(), area + 3 * page());
            see.call(format!("mremap(middle, away) - away, {name}"), moved(middle, 1, away, TO)).is(0);
            if let Some(other) = other {
                aside(|| protect(area + other * page(), page(), READ)).setup("mprotect")?;
            }
            see.call(format!("mremap(away, middle) - middle, {name}"), moved(away, 1, middle, TO)).is(0);
            let length = aside(|| mapping_at(middle))?.map_or(0, |mapping| mapping.range.len());
            see.count(format!("pages of its mapping, {name}"), (length / page()) as u64).is(merged);
            see.text(format!("pages, {name}"), content(Ok(area), 3)?).says("abc");
        }
        Ok(())
    }),
];

/// `mremap` of pages of the experiment, with sizes in pages.
fn remap(address: usize, from: usize, to: usize, flags: usize, target: usize) -> Area {
    // SAFETY: no reference exists to memory that is mapped for an experiment, and targets are pages of the experiment.
    unsafe { ask(Sysno::mremap, [address, from * page(), to * page(), flags, target, 0]) }
}

/// Moves pages. Returns how far the address is from the target.
fn moved(address: usize, pages: usize, target: usize, flags: usize) -> Area {
    minus(remap(address, pages, pages, flags, target), target)
}

fn minus(area: Area, wanted: usize) -> Area {
    area.map(|area| area.wrapping_sub(wanted))
}

/// Three private pages of a file, the second of them with another protection: three mappings.
fn three(lab: &Lab) -> Result<usize, Stop> {
    let (_file, area) = of_letters(lab, 3, READ, PRIVATE)?;
    aside(|| protect(area + page(), page(), READ | WRITE)).setup("mprotect")?;
    Ok(area)
}

/// A private page of a file, and a shared one of a memfd.
fn files(lab: &Lab) -> Result<[(&'static str, usize); 2], Stop> {
    let memfd = sealed_memfd(0)?;
    aside(|| io::pwrite_all(&memfd, &vec![b'a'; page()], 0)).setup("pwrite")?;
    let private = of_letters(lab, 1, READ, PRIVATE)?.1;
    Ok([("private", private), ("shared memfd", mapped(&memfd, 1, READ, SHARED)?)])
}

/// Moves a page with `MREMAP_DONTUNMAP`. Returns the new address, and whether the kernel has moved it.
fn kept(lab: &Lab, see: &mut Observation, kind: &str, area: usize) -> Result<(usize, bool), Stop> {
    let target = free_pages(lab, 1)?;
    let done = moved(area, 1, target, TO | libc::MREMAP_DONTUNMAP as usize);
    see.call(format!("mremap({kind} page, MREMAP_DONTUNMAP, to target) - target"), done).is(0);
    Ok((target, done.is_ok()))
}

/// The letters of pages, with `-` for an unmapped page.
fn content(area: Area, pages: usize) -> Result<String, Stop> {
    let Ok(area) = area else { return Ok("no mapping".to_owned()) };
    let of_page = |page| if is_mapped(page)? { letters(page, 1) } else { Ok("-".to_owned()) };
    (0..pages).map(|index| of_page(area + index * page())).collect()
}
