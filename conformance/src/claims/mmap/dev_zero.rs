//! Mappings of `/dev/zero`.

use super::{READ, SeeMemory, TYPES, WRITE, about_mmap, is_mapped, map, mapped};
use crate::claims::prelude::*;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::pages::{letter, letters, store};

pub const CLAIMS: &[Claim] = &[
    about_mmap(
        "mmap.dev-zero.zeros",
        "/dev/zero can be mapped, shared and private, from 1 byte to 16 pages, and shows zeros until something is stored.",
    )
    .published(&[gvisor(
        "mmap.cc",
        "MMapTest.MapDevZeroShared, MapDevZeroPrivate, MapDevZeroUnaligned, MapDevZeroSharedMultiplePages",
    )])
    .turned_by(&[
        Lie::refused(Sysno::mmap, libc::ENODEV),
        Lie::bytes(Sysno::read, 0, b'x'),
        Lie::bytes(Sysno::read, b'z', 0),
    ])
    .method("Notes a letter for each page (0: zeros), then those of the first and the last page after stores to them.")
    .tried(|lab, see| {
        let zero = Descriptor::open(lab, Fd::DevZero)?;
        for (kind, flags) in TYPES {
            for (name, length) in
                [("1", 1), ("a page", page()), ("16 pages - 1", 16 * page() - 1), ("16 pages", 16 * page())]
            {
                let pages = length.div_ceil(page());
                let shown = match map(&zero, length, READ | WRITE, flags, 0) {
                    Ok(area) if is_mapped(area)? => shown(area, pages)?,
                    other => format!("{other:?}"),
                };
                see.text(format!("mmap(/dev/zero, {name}, {kind})"), shown).says("0".repeat(pages) + " zz");
            }
        }
        Ok(())
    }),
    about_mmap(
        "mmap.dev-zero.apart",
        "Each mapping of /dev/zero has its own pages: a store to one does not show in another, even of the same descriptor.",
    )
    .published(&[gvisor("mmap.cc", "MMapTest.MapDevZeroNoPersistence, MMapTest.MapDevZeroSharedFdNoPersistence")])
    .turned_by(&[Lie::bytes(Sysno::read, 0, b'z')])
    .tried(|lab, see| {
        let (zero, other) = (Descriptor::open(lab, Fd::DevZero)?, Descriptor::open(lab, Fd::DevZero)?);
        for (kind, flags) in TYPES {
            let first = mapped(&zero, 1, READ | WRITE, flags)?;
            let second = map(&zero, page(), READ, flags, 0);
            let third = map(&other, page(), READ, flags, 0);
            // SAFETY: the page belongs to this function.
            unsafe { store(first, b'z') };
            let later = map(&zero, page(), READ, flags, 0);
            see.letter(format!("stored to, {kind}"), Ok(first))?.says('z');
            see.letter(format!("of the same descriptor, {kind}"), second)?.says('0');
            see.letter(format!("mapped afterwards, {kind}"), later)?.says('0');
            see.letter(format!("of another descriptor, {kind}"), third)?.says('0');
        }
        Ok(())
    }),
];

/// The letters of pages, and those of the first and the last one after a store to each.
fn shown(area: usize, pages: usize) -> Result<String, Stop> {
    let (before, last) = (letters(area, pages)?, area + (pages - 1) * page());
    for address in [area, last] {
        // SAFETY: the page belongs to the experiment.
        unsafe { store(address, b'z') };
    }
    Ok(format!("{before} {}{}", letter(area)?, letter(last)?))
}
