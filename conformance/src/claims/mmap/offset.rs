//! The offset of a mapping.

use super::{MAPPED, PRIVATE, READ, SHARED, SeeMemory, about_mmap, map};
use crate::claims::prelude::*;

const MIDDLE: usize = 1 << 63;

pub const CLAIMS: &[Claim] = &[
    about_mmap(
        "mmap.offset.eoverflow",
        "On a 64-bit kernel, mmap() of a file fails with EOVERFLOW for the page at 2^63 minus one page and at negative offsets.",
    )
    .published(&[
        gvisor(
            "mmap.cc",
            "MMapFileTest.MapLastPositivePage, MapFirstNegativePage, MapSecondToLastNegativePage, MapLastNegativePage",
        ),
        kernel("mm/mmap.c", "file_mmap_ok"),
        man("mmap(2)", "ERRORS, EOVERFLOW").leaves_open(),
    ])
    .tried(|lab, see| {
        let file = lab.file(b"bytes")?;
        let page = page();
        for (name, offset, pages, flags) in [
            ("2^63 - a page, shared", MIDDLE - page, 1, SHARED),
            ("2^63 - a page, private", MIDDLE - page, 1, PRIVATE),
            ("2^63 - a page, two pages", MIDDLE - page, 2, PRIVATE),
            ("-2^63", MIDDLE, 1, PRIVATE),
            ("-2 pages", 0_usize.wrapping_sub(2 * page), 1, PRIVATE),
            ("-1 page", 0_usize.wrapping_sub(page), 1, PRIVATE),
            ("-1 page, two pages", 0_usize.wrapping_sub(page), 2, PRIVATE),
        ] {
            see.mapped(format!("mmap(offset {name})"), map(&file, pages * page, READ, flags, offset))?.fails(EOVERFLOW);
        }
        Ok(())
    }),
    about_mmap(
        "mmap.offset.behind-the-end",
        "mmap() may begin past the end of the file: at 1 GiB, and at the last offset but one, 2^63 minus two pages.",
    )
    .published(&[gvisor("mmap.cc", "MMapFileTest.MapOffsetBeyondEnd, MMapFileTest.MapSecondToLastPositivePage")])
    .turned_by(&[Lie::refused(Sysno::mmap, libc::EOVERFLOW)])
    .tried(|lab, see| {
        let file = lab.file(b"bytes")?;
        for (name, offset) in [("1 GiB", 1 << 30), ("2^63 - two pages", MIDDLE - 2 * page())] {
            see.mapped(format!("mmap(offset {name})"), map(&file, page(), READ, PRIVATE, offset))?.says(MAPPED);
        }
        Ok(())
    }),
];
