//! Shared mappings.

use super::{MAPPED, READ, SHARED, SeeMapped, WRITE, about_mmap, first_of, map, of_letters, of_read_letters};
use crate::claims::prelude::*;
use crate::lab::pages::{bytes, in_child, lettered, store};

const LARGE: usize = 4 << 20;

pub const CLAIMS: &[Claim] = &[
    claim("mmap.shared.shows-writes", "A shared mapping shows what pwrite() writes to its file.")
        .published(&[gvisor("mmap.cc", "MMapFileTest.ReadSharedConsistentWithPartialOverwrite")])
        .about(&[Sysno::pwrite64])
        .turned_by(&[Lie::bytes(Sysno::read, b'z', b'a')])
        .except(&[Exception::Of(Sysno::pwrite64, What::TooFew, "the last byte is written again, and is the same")])
        .tried(|lab, see| {
            let (file, area) = of_read_letters(lab, 2, SHARED)?;
            let (half, zs) = (page() / 2, vec![b'z'; page()]);
            let written = io::until_done(page(), |done| io::pwrite(&file, &zs[done..], (half + done) as u64));
            see.call("pwrite(file, a page, half a page)", written).is(page());
            let same = bytes(area, 2 * page())? == [vec![b'a'; half], zs, vec![b'b'; half]].concat();
            see.whether("both pages of the mapping are as written", same).says("yes");
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
        let (file, area) = of_letters(lab, 1, READ | WRITE, SHARED)?;
        // SAFETY: the page belongs to this function, and lies in the file.
        unsafe { store(area, b'z') };
        let mut byte = [b'?'];
        see.call("pread(file, 1, 0)", io::pread(&file, &mut byte, 0)).is(1);
        see.text("byte of the file", char::from(byte[0])).says('z');
        Ok(())
    }),
    about_mmap(
        "mmap.shared.two-descriptors",
        "A file that is open for writing can be mapped through another descriptor, for reading; later writes show.",
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
        see.text("first byte of the mapping", first_of(area)?).says('b');
        Ok(())
    }),
    about_mmap(
        "mmap.shared.large",
        "All 4 MiB that a child stores through a shared mapping with PROT_WRITE alone are in the file after msync().",
    )
    .published(&[man("mmap(2)", "DESCRIPTION, MAP_SHARED"), ltp("mmap21.c", "run")])
    .turned_by(&[Lie::about(Sysno::pread64, What::Garbled), Lie::bytes(Sysno::pread64, 250, 0)])
    .tried(|lab, see| {
        let (content, file) = (pattern(LARGE), lab.empty_file()?);
        aside(|| io::truncate(&file, LARGE as u64)).setup("ftruncate")?;
        let area = map(&file, LARGE, WRITE, SHARED, 0);
        see.mapped("mmap(4 MiB, PROT_WRITE, MAP_SHARED)", area)?.says(MAPPED);
        let area = area.setup("mmap")?;
        let target = std::ptr::with_exposed_provenance_mut::<u8>(area);
        let ended = in_child(|| {
            for (index, byte) in content.iter().enumerate() {
                // SAFETY: the byte is in the mapping, to which no reference exists.
                unsafe { target.add(index).write_volatile(*byte) };
            }
        })?;
        see.text("the child that stores", ended).says("exit status 0");
        // SAFETY: msync changes nothing in memory.
        aside(|| unsafe { ask(Sysno::msync, [area, LARGE, libc::MS_SYNC as usize, 0, 0, 0]) }).setup("msync")?;
        let mut read = vec![0; LARGE];
        let count = io::pread_full(&file, &mut read, 0).setup("pread")?;
        see.count("bytes read from the file", count as u64).is(LARGE);
        see.whether("bytes are as stored", read == content).says("yes");
        Ok(())
    }),
];
