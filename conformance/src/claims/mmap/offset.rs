//! The offset of a mapping.

use super::{MAPPED, PRIVATE, READ, SHARED, SeeMapped, about_mmap, map};
use crate::claims::prelude::*;

const MIDDLE: usize = 1 << 63;

pub const CLAIMS: &[Claim] = &[
    about_mmap(
        "mmap.offset.eoverflow",
        "On a 64-bit kernel, mmap() of a file at 2^63 minus one page or at a negative offset fails with EOVERFLOW.",
    )
    .published(&[
        gvisor("mmap.cc", "MMapFileTest.MapLastPositivePage, MapFirstNegativePage"),
        man("mmap(2)", "ERRORS, EOVERFLOW").leaves_open(),
        man("mmap(2)", "ERRORS, EINVAL").denies(),
    ])
    .tried(|lab, see| {
        let (file, page) = (lab.file(b"bytes")?, page());
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
    .published(&[gvisor("mmap.cc", "MMapFileTest.MapOffsetBeyondEnd, MapSecondToLastPositivePage")])
    .turned_by(&[Lie::refused(Sysno::mmap, libc::EOVERFLOW)])
    .tried(|lab, see| {
        let file = lab.file(b"bytes")?;
        see.mapped("mmap(offset 1 GiB)", map(&file, page(), READ, PRIVATE, 1 << 30))?.says(MAPPED);
        let last = map(&file, page(), READ, PRIVATE, MIDDLE - 2 * page());
        see.mapped("mmap(offset 2^63 - two pages)", last)?.says(MAPPED);
        Ok(())
    }),
];
