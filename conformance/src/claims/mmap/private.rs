//! Private mappings.

use super::{
    DONE, MAPPED, PRIVATE, READ, SeeMapped, WRITE, about_mmap, byte_of, first_of, map, of_letters, store_in_child,
};
use crate::claims::prelude::*;
use crate::lab::pages::{letter, lettered, letters, store};

pub const CLAIMS: &[Claim] = &[
    about_mmap(
        "mmap.private.read-only-file",
        "A file that is open for reading only can be mapped with PROT_WRITE and MAP_PRIVATE, and stored to.",
    )
    .published(&[gvisor("mmap.cc", "MMapFileTest.WritePrivateOnReadOnlyFd")])
    .turned_by(&[Lie::refused(Sysno::mmap, libc::EACCES).with(3, PRIVATE as u64)])
    .tried(|lab, see| {
        let file = reopen(&lettered(lab, 1)?, File::options().read(true))?;
        let area = map(&file, page(), READ | WRITE, PRIVATE, 0);
        see.mapped("mmap(read-only file, PROT_READ|PROT_WRITE, MAP_PRIVATE)", area)?.says(MAPPED);
        see.text("store in a child", store_in_child(area.unwrap_or(io::NOWHERE), b'z')?).says(DONE);
        see.text("byte of the parent's mapping", first_of(area)?).says('a');
        see.text("byte of the file", byte_of(&file, 0)?).says('a');
        Ok(())
    }),
    claim(
        "mmap.private.shows-writes",
        "A private mapping shows what pwrite() writes to its file after mmap(), in a page that it has not stored to.",
    )
    .published(&[MEASURED, man("mmap(2)", "DESCRIPTION, MAP_PRIVATE").leaves_open()])
    .about(&[Sysno::pwrite64])
    .turned_by(&[Lie::bytes(Sysno::read, b'z', b'a'), Lie::bytes(Sysno::read, b'z', b'b')])
    .except(&[Exception::Of(Sysno::pwrite64, What::TooFew, "the last byte is written again, and is the same")])
    .tried(|lab, see| {
        let (file, area) = of_letters(lab, 2, READ | WRITE, PRIVATE)?;
        see.text("page that is read before", letters(area, 1)?).says('a');
        let zs = vec![b'z'; 2 * page()];
        let written = io::until_done(zs.len(), |done| io::pwrite(&file, &zs[done..], done as u64));
        see.call("pwrite(file, two pages, 0)", written).is(2 * page());
        see.text("page that was read before", letters(area, 1)?).says('z');
        see.text("page that was not touched", letters(area + page(), 1)?).says('z');
        Ok(())
    }),
    claim(
        "mmap.private.copy-on-store",
        "A store to a private mapping is not in its file, and the page does not show what is written there later.",
    )
    .published(&[kernel("mm/memory.c", "do_cow_fault"), man("mmap(2)", "DESCRIPTION, MAP_PRIVATE").leaves_open()])
    .about(&[Sysno::pread64, Sysno::pwrite64])
    .turned_by(&[Lie::bytes(Sysno::pread64, b'a', b'b'), Lie::bytes(Sysno::read, b'b', b'c')])
    .tried(|lab, see| {
        let (file, area) = of_letters(lab, 1, READ | WRITE, PRIVATE)?;
        // SAFETY: the page belongs to this function, and lies in the file.
        unsafe { store(area, b'b') };
        let mut byte = [b'?'];
        see.call("pread(file, 1, 0)", io::pread(&file, &mut byte, 0)).is(1);
        see.text("byte of the file", char::from(byte[0])).says('a');
        see.call("pwrite(file, \"c\", 0)", io::pwrite(&file, b"c", 0)).is(1);
        see.call("pread(file, 1, 0) after pwrite()", io::pread(&file, &mut byte, 0)).is(1);
        see.text("byte of the file after pwrite()", char::from(byte[0])).says('c');
        see.text("byte of the mapping after pwrite()", letter(area)?).says('b');
        Ok(())
    }),
];
