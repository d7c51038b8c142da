//! Private mappings.

use super::{DONE, MAPPED, PRIVATE, READ, SeeMemory, WRITE, about_mmap, map, mapped, must_show};
use crate::claims::prelude::*;
use crate::lab::pages::{lettered, store};

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
        see.store("store to the page in a child", area.unwrap_or(io::NOWHERE), b'z')?.says(DONE);
        see.letter("byte of the parent's mapping", area)?.says('a');
        see.byte("byte of the file", &file, 0)?.says('a');
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
    .method("The first page was read through the mapping before, the second one was not touched.")
    .tried(|lab, see| {
        let file = lettered(lab, 2)?;
        let area = mapped(&file, 2, READ | WRITE, PRIVATE)?;
        must_show(area, "a")?;
        let zs = vec![b'z'; 2 * page()];
        let written = io::until_done(zs.len(), |done| io::pwrite(&file, &zs[done..], done as u64));
        see.call("pwrite(file, two pages, 0)", written).is(2 * page());
        see.letters("page that was read before", area, 1)?.says('z');
        see.letters("page that was not touched", area + page(), 1)?.says('z');
        Ok(())
    }),
    claim(
        "mmap.private.copy-on-store",
        "A store to a private mapping is not in its file, and the page does not show what is written to the file later.",
    )
    .published(&[
        man("mmap(2)", "DESCRIPTION, MAP_PRIVATE"),
        gvisor("mmap.cc", "MMapFileTest.WritePrivate"),
    ])
    .about(&[Sysno::pread64, Sysno::pwrite64])
    .turned_by(&[Lie::bytes(Sysno::pread64, b'a', b'b'), Lie::bytes(Sysno::read, b'b', b'c')])
    .tried(|lab, see| {
        let file = lettered(lab, 1)?;
        let area = mapped(&file, 1, READ | WRITE, PRIVATE)?;
        // SAFETY: the page belongs to this function, and lies in the file.
        unsafe { store(area, b'b') };
        for (when, byte) in [("after the store", b'a'), ("after pwrite()", b'c')] {
            if byte == b'c' {
                see.call("pwrite(file, \"c\", 0)", io::pwrite(&file, b"c", 0)).is(1);
            }
            let mut there = [b'?'];
            see.call(format!("pread(file, 1, 0) {when}"), io::pread(&file, &mut there, 0)).is(1);
            see.text(format!("byte of the file {when}"), char::from(there[0])).says(char::from(byte));
        }
        see.letter("byte of the mapping after pwrite()", Ok(area))?.says('b');
        Ok(())
    }),
];
