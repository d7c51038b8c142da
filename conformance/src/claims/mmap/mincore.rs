//! `mincore`.

use super::{PRIVATE, READ, SHARED, mapped, of_letters, unmap, unwritten, with_hole};
use crate::claims::prelude::*;
use crate::lab::pages::{letter, resident};

#[track_caller]
const fn about_mincore(id: &'static str, statement: &'static str) -> Claim {
    const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::mincore);
    claim(id, statement).about(&[Sysno::mincore]).turned_by(OTHERWISE)
}

pub const CLAIMS: &[Claim] = &[
    about_mincore(
        "mmap.mincore.errors",
        "mincore() fails with EINVAL for an unaligned address, and with EFAULT for a vector at a bad address.",
    )
    .published(&[
        man("mincore(2)", "ERRORS, EINVAL"),
        man("mincore(2)", "ERRORS, EFAULT"),
        ltp("mincore01.c", "an unaligned address, and a bad vector"),
    ])
    .tried(|lab, see| {
        let (_file, area) = of_letters(lab, 2, READ, PRIVATE)?;
        see.call("mincore(page + 1, a page)", mincore(area + 1, page())).fails(EINVAL);
        // SAFETY: nothing is mapped at the address of the vector.
        let done = unsafe { ask(Sysno::mincore, [area, page(), io::NOWHERE, 0, 0, 0]) };
        see.call("mincore(page, bad vector)", done).fails(EFAULT);
        Ok(())
    }),
    about_mincore(
        "mmap.mincore.unmapped",
        "mincore() fails with ENOMEM if its only, first or second page is not mapped, or if it ends past user memory.",
    )
    .published(&[
        man("mincore(2)", "ERRORS, ENOMEM"),
        ltp("mincore01.c", "unmapped memory, and a length past user memory"),
        gvisor("mincore.cc", "MincoreTest.InvalidLengthFails"),
    ])
    .tried(|lab, see| {
        let area = with_hole(lab, 3, 0, READ, PRIVATE)?;
        aside(|| unmap(area + 2 * page(), page())).setup("munmap")?;
        see.call("mincore(unmapped page)", mincore(area, page())).fails(ENOMEM);
        see.call("mincore(unmapped page and page)", mincore(area, 2 * page())).fails(ENOMEM);
        see.call("mincore(page and unmapped page)", mincore(area + page(), 2 * page())).fails(ENOMEM);
        see.call("mincore(page, 2^63)", mincore(area + page(), 1 << 63)).fails(ENOMEM);
        Ok(())
    }),
    about_mincore(
        "mmap.mincore.other-mapping",
        "mincore() reports a page of a memfd as resident once another mapping of the file has loaded it.",
    )
    .published(&[man("mmap(2)", "NOTES"), man("mincore(2)", "DESCRIPTION"), ltp("mincore04.c", "test_mincore")])
    .turned_by(&[
        Lie::skipped(Sysno::mincore).after(1),
        Lie::about(Sysno::mincore, What::Output { argument: 2, value: 0 }),
    ])
    .except(&[Exception::Of(Sysno::mincore, What::Skipped, "the vector has zeros for pages that are not in memory")])
    .tried(|_lab, see| {
        let file = unwritten(1)?;
        let (area, other) = (mapped(&file, 1, READ, SHARED)?, mapped(&file, 1, READ, SHARED)?);
        see.count("pages in memory before", resident(area, 1)?).is(0);
        aside(|| letter(other))?;
        see.count("pages in memory afterwards", resident(area, 1)?).is(1);
        Ok(())
    }),
];

/// `mincore` of a range of which at most two pages from its start are mapped.
fn mincore(address: usize, length: usize) -> Result<usize, Errno> {
    let mut vector = [0_u8; 2];
    // SAFETY: mincore writes a byte for each page up to the first unmapped one, at most two bytes.
    unsafe { ask(Sysno::mincore, [address, length, vector.as_mut_ptr().expose_provenance(), 0, 0, 0]) }
}
