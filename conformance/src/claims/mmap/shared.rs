//! Shared mappings.

use super::{DONE, MAPPED, READ, SHARED, SeeMemory, WRITE, about_mmap, map, mapped, must_show, word_for};
use crate::claims::prelude::*;
use crate::lab::pages::{bytes, in_child, lettered, store};

const LARGE: usize = 4 << 20;

pub const CLAIMS: &[Claim] = &[
    claim("mmap.shared.shows-writes", "A shared mapping shows what pwrite() writes to its file.")
        .published(&[gvisor(
            "mmap.cc",
            "MMapFileTest.ReadSharedConsistentWithOverwrite, ReadSharedConsistentWithPartialOverwrite",
        )])
        .about(&[Sysno::pwrite64])
        .turned_by(&[Lie::bytes(Sysno::read, b'z', b'a')])
        .except(&[Exception::Of(Sysno::pwrite64, What::TooFew, "the last byte is written again, and is the same")])
        .tried(|lab, see| {
            let file = lettered(lab, 2)?;
            let area = mapped(&file, 2, READ, SHARED)?;
            must_show(area, "ab")?;
            let half = page() / 2;
            let zs = vec![b'z'; page()];
            let written = io::until_done(page(), |done| io::pwrite(&file, &zs[done..], (half + done) as u64));
            see.call("pwrite(file, a page, half a page)", written).is(page());
            let expected = [vec![b'a'; half], zs, vec![b'b'; half]].concat();
            let same = bytes(area, 2 * page())? == expected;
            see.text("bytes of the mapping", if same { "as written" } else { "others" }).says("as written");
            Ok(())
        }),
    claim(
        "mmap.shared.stores-are-read",
        "A store to a shared mapping is read from its file by pread() at once, without msync() or munmap().",
    )
    .published(&[
        MEASURED,
        man("msync(2)", "DESCRIPTION").leaves_open(),
        gvisor("mmap.cc", "MMapFileTest.WriteShared").leaves_open(),
    ])
    .about(&[Sysno::pread64])
    .turned_by(&[Lie::bytes(Sysno::pread64, b'z', b'a')])
    .tried(|lab, see| {
        let file = lettered(lab, 1)?;
        let area = mapped(&file, 1, READ | WRITE, SHARED)?;
        // SAFETY: the page belongs to this function, and lies in the file.
        unsafe { store(area, b'z') };
        let mut byte = [b'?'];
        see.call("pread(file, 1, 0)", io::pread(&file, &mut byte, 0)).is(1);
        see.text("byte of the file", char::from(byte[0])).says('z');
        Ok(())
    }),
    about_mmap(
        "mmap.shared.two-descriptors",
        "A file open for writing only by one descriptor can be mapped through another that is open for reading; its writes show.",
    )
    .published(&[
        gvisor("mmap.cc", "MMapNoFixtureTest.MapReadOnlyAfterCreateWriteOnly"),
        gvisor("mmap.cc", "MMapFileTest.ReadSharedConsistentWithOverwrite"),
    ])
    .about(&[Sysno::mmap, Sysno::pwrite64])
    .turned_by(&[Lie::refused(Sysno::mmap, libc::EACCES), Lie::bytes(Sysno::read, b'b', b'a')])
    .tried(|lab, see| {
        let file = lettered(lab, 1)?;
        let write_only = reopen(&file, File::options().write(true))?;
        let read_only = reopen(&file, File::options().read(true))?;
        drop(file);
        let area = map(&read_only, page(), READ, SHARED, 0);
        see.mapped("mmap(descriptor for reading)", area)?.says(MAPPED);
        see.call("pwrite(descriptor for writing, \"b\", 0)", io::pwrite(&write_only, b"b", 0)).is(1);
        see.letter("first byte of the mapping", area)?.says('b');
        Ok(())
    }),
    about_mmap(
        "mmap.shared.large",
        "All 4 MiB that a child stores through a shared mapping with PROT_WRITE alone are read from the file.",
    )
    .published(&[
        man("mmap(2)", "DESCRIPTION, MAP_SHARED"),
        ltp("mmap21.c", "run"),
        gvisor("mmap.cc", "MMapFileTest.Bug38498194"),
    ])
    .turned_by(&[Lie::about(Sysno::pread64, What::Garbled), Lie::bytes(Sysno::pread64, 250, 0)])
    .tried(|lab, see| {
        let (content, file) = (pattern(LARGE), lab.empty_file()?);
        aside(|| io::truncate(&file, LARGE as u64)).setup("ftruncate")?;
        let area = map(&file, LARGE, WRITE, SHARED, 0);
        see.mapped("mmap(4 MiB, PROT_WRITE, MAP_SHARED)", area)?.says(MAPPED);
        let target = std::ptr::with_exposed_provenance_mut::<u8>(area.setup("mmap")?);
        let ended = in_child(|| {
            for (index, byte) in content.iter().enumerate() {
                // SAFETY: the byte is in the mapping, to which no reference exists.
                unsafe { target.add(index).write_volatile(*byte) };
            }
        })?;
        see.text("stores to every byte", word_for(ended)).says(DONE);
        let mut read = vec![0; LARGE];
        let count = io::pread_full(&file, &mut read, 0).setup("pread")?;
        see.count("bytes read from the file", count as u64).is(LARGE);
        see.text("bytes of the file", if read == content { "as stored" } else { "others" }).says("as stored");
        Ok(())
    }),
];
