//! `MAP_FIXED`, `MAP_FIXED_NOREPLACE`, and addresses as hints.

use super::{Area, MAPPED, PRIVATE, READ, SeeMapped, about_mmap, free_pages, map_with, of_letters};
use crate::claims::prelude::*;
use crate::lab::pages::{lettered, letters};

const FIXED: usize = libc::MAP_FIXED as usize;
const NO_REPLACE: usize = libc::MAP_FIXED_NOREPLACE as usize;

pub const CLAIMS: &[Claim] = &[
    about_mmap(
        "mmap.fixed.alignment",
        "MAP_FIXED at an unaligned address fails with EINVAL; as a hint it maps free pages from a boundary beside it.",
    )
    .published(&[
        man("mmap(2)", "ERRORS, EINVAL"),
        man("mmap(2)", "DESCRIPTION"),
        gvisor("mmap.cc", "MMapTest.FixedAlignment"),
    ])
    .tried(|lab, see| {
        let (file, free) = (lettered(lab, 1)?, free_pages(lab, 3)?);
        let second = free + page();
        see.mapped("mmap(page + 1, MAP_FIXED)", at(&file, second + 1, 1, FIXED))?.fails(EINVAL);
        let hinted = at(&file, second + 1, 1, 0);
        see.mapped("mmap(page + 1 as a hint)", hinted)?.says(MAPPED);
        let beside = hinted.is_ok_and(|area| [second, second + page()].contains(&area));
        see.whether("it begins at a page boundary beside the hint", beside).says("yes");
        Ok(())
    }),
    about_mmap(
        "mmap.fixed.noreplace",
        "MAP_FIXED_NOREPLACE fails with EEXIST where a page of the range is mapped, and maps there where none is.",
    )
    .published(&[
        man("mmap(2)", "DESCRIPTION, MAP_FIXED_NOREPLACE").since("4.17"),
        ltp("mmap17.c", "test_mmap").since("4.17"),
    ])
    .tried(|lab, see| {
        let (old, new) = (lettered(lab, 2)?, lab.file(&vec![b'z'; 2 * page()])?);
        let free = free_pages(lab, 3)?;
        let taken = aside(|| at(&old, free + page(), 1, NO_REPLACE)).setup("mmap")?;
        see.mapped("mmap(a mapping's page)", at(&new, taken, 1, NO_REPLACE))?.fails(EEXIST);
        see.mapped("mmap(two pages over its second)", at(&new, free, 2, NO_REPLACE))?.fails(EEXIST);
        see.text("the page", letters(taken, 1)?).says('a');
        let beside = taken + page();
        let there = at(&new, beside, 1, NO_REPLACE).map(|area| area.wrapping_sub(beside));
        see.call("mmap(a free page) - its address", there).is(0);
        Ok(())
    }),
    about_mmap(
        "mmap.fixed.replaces",
        "mmap(MAP_FIXED) over the second of three mapped pages replaces this page and leaves the others.",
    )
    .published(&[man("mmap(2)", "DESCRIPTION, MAP_FIXED")])
    .turned_by(&[Lie::bytes(Sysno::read, b'a', b'b'), Lie::bytes(Sysno::read, b'c', b'x')])
    .tried(|lab, see| {
        let (file, area) = of_letters(lab, 3, READ, PRIVATE)?;
        let second = area + page();
        let there = at(&file, second, 1, FIXED).map(|area| area.wrapping_sub(second));
        see.call("mmap(second page, MAP_FIXED) - its address", there).is(0);
        see.text("pages of the area", letters(area, 3)?).says("aac");
        Ok(())
    }),
    about_mmap("mmap.fixed.noreplace-alignment", "MAP_FIXED_NOREPLACE at an unaligned address fails with EINVAL.")
        .published(&[
            man("mmap(2)", "ERRORS, EINVAL").since("4.17"),
            gvisor("mmap.cc", "MMapTest.MapFixedNoReplaceAlignment").since("4.19"),
        ])
        .tried(|lab, see| {
            let ((file, area), free) = (of_letters(lab, 1, READ, PRIVATE)?, free_pages(lab, 2)?);
            see.mapped("mmap(free page + 1)", at(&file, free + 1, 1, NO_REPLACE))?.fails(EINVAL);
            see.mapped("mmap(mapped page + 1)", at(&file, area + 1, 1, NO_REPLACE))?.fails(EINVAL);
            Ok(())
        }),
    about_mmap(
        "mmap.fixed.noreplace-and-fixed",
        "MAP_FIXED|MAP_FIXED_NOREPLACE over a mapped page fails with EEXIST, and the page stays.",
    )
    .published(&[
        man("mmap(2)", "DESCRIPTION, MAP_FIXED_NOREPLACE").since("4.17"),
        gvisor("mmap.cc", "MMapTest.MapFixedNoReplaceWithMapFixed").since("4.19"),
    ])
    .turned_by(&[
        Lie::accepted(Sysno::mmap),
        Lie::about(Sysno::mmap, What::OtherErrno(libc::EINVAL)),
        Lie::bytes(Sysno::read, b'a', b'z'),
    ])
    .tried(|lab, see| {
        let (_old, area) = of_letters(lab, 1, READ, PRIVATE)?;
        let new = lab.file(&vec![b'z'; page()])?;
        see.mapped("mmap(mapped page)", at(&new, area, 1, FIXED | NO_REPLACE))?.fails(EEXIST);
        see.text("the page", letters(area, 1)?).says('a');
        Ok(())
    }),
    about_mmap(
        "mmap.fixed.outside",
        "MAP_FIXED at an address outside user memory (the last page of all, or 2^63) fails with ENOMEM.",
    )
    .published(&[
        man("mmap(2)", "ERRORS, ENOMEM"),
        man("mmap(2)", "ERRORS, EINVAL").denies(),
        ltp("mmap15.c", "run").leaves_open(),
    ])
    .tried(|lab, see| {
        let file = lettered(lab, 1)?;
        see.mapped("mmap(2^64 - a page)", at(&file, 0_usize.wrapping_sub(page()), 1, FIXED))?.fails(ENOMEM);
        see.mapped("mmap(2^63)", at(&file, 1 << 63, 1, FIXED))?.fails(ENOMEM);
        Ok(())
    }),
];

/// Maps the first pages of a file privately, at an address where there are pages of the experiment or none.
fn at(file: &File, address: usize, pages: usize, flags: usize) -> Area {
    // SAFETY: no reference exists to memory that is mapped for an experiment.
    unsafe { map_with(file, address, pages * page(), READ, PRIVATE | flags, 0) }
}
