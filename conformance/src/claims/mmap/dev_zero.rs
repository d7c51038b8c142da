//! Mappings of `/dev/zero`.

use super::{READ, TYPES, WRITE, about_mmap, first_of, is_mapped, map, mapped};
use crate::claims::prelude::*;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::pages::{letter, letters, store};

pub const CLAIMS: &[Claim] = &[
    about_mmap(
        "mmap.dev-zero.zeros",
        "/dev/zero can be mapped, shared and private, from 1 byte to 16 pages, and shows zeros until a store.",
    )
    .published(&[gvisor(
        "mmap.cc",
        "MMapTest.MapDevZeroUnaligned, MapDevZeroNoPersistence, MapDevZeroSharedMultiplePages",
    )])
    .turned_by(&[Lie::refused(Sysno::mmap, libc::ENODEV), Lie::bytes(Sysno::read, 0, b'x')])
    .method("Notes a letter for each page (0: zeros), then those of the first and the last page after stores to them.")
    .tried(|lab, see| {
        let zero = Descriptor::open(lab, Fd::DevZero)?;
        let lengths = [("1", 1), ("a page", page()), ("16 pages - 1", 16 * page() - 1), ("16 pages", 16 * page())];
        for (kind, flags) in TYPES {
            for (name, length) in lengths {
                let pages = length.div_ceil(page());
                let shown = match map(&zero, length, READ | WRITE, flags, 0) {
                    Ok(area) if is_mapped(area)? => before_and_after(area, pages)?,
                    other => format!("{other:?}"),
                };
                see.text(format!("mmap(/dev/zero, {name}, {kind})"), shown).says("0".repeat(pages) + " zz");
            }
        }
        Ok(())
    }),
    about_mmap(
        "mmap.dev-zero.apart",
        "Each mapping of /dev/zero has its own pages: a store does not show in another, even of the same descriptor.",
    )
    .published(&[gvisor("mmap.cc", "MMapTest.MapDevZeroSharedFdNoPersistence, MapDevZeroNoPersistence")])
    .turned_by(&[Lie::bytes(Sysno::read, 0, b'z')])
    .tried(|lab, see| {
        let (zero, other) = (Descriptor::open(lab, Fd::DevZero)?, Descriptor::open(lab, Fd::DevZero)?);
        for (kind, flags) in TYPES {
            let first = mapped(&zero, 1, READ | WRITE, flags)?;
            let (second, third) = (map(&zero, page(), READ, flags, 0), map(&other, page(), READ, flags, 0));
            // SAFETY: the page belongs to this function.
            unsafe { store(first, b'z') };
            let later = map(&zero, page(), READ, flags, 0);
            see.text(format!("stored to, {kind}"), letter(first)?).says('z');
            see.text(format!("of the same descriptor, {kind}"), first_of(second)?).says('0');
            see.text(format!("mapped afterwards, {kind}"), first_of(later)?).says('0');
            see.text(format!("of another descriptor, {kind}"), first_of(third)?).says('0');
        }
        Ok(())
    }),
];

/// The letters of pages, and those of the first and the last one after a store to each.
fn before_and_after(area: usize, pages: usize) -> Result<String, Stop> {
    let (before, last) = (letters(area, pages)?, area + (pages - 1) * page());
    for address in [area, last] {
        // SAFETY: the page belongs to the experiment.
        unsafe { store(address, b'z') };
    }
    Ok(format!("{before} {}{}", letter(area)?, letter(last)?))
}
