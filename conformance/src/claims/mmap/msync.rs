//! `msync`.

use super::{READ, SHARED, WRITE, lock, mapped, of_letters, on_disks, sync, with_hole};
use crate::claims::prelude::*;
use crate::lab::pages::{letter, letters_of, store};
use libc::{MS_ASYNC, MS_INVALIDATE, MS_SYNC};

const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::msync);
const SAME_PAGES: &[Exception] =
    &[Exception::Of(Sysno::msync, What::Skipped, "file and mapping have the same pages, with the call and without it")];

#[track_caller]
const fn about_msync(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(&[Sysno::msync]).turned_by(OTHERWISE)
}

pub const CLAIMS: &[Claim] = &[
    about_msync(
        "mmap.msync.einval",
        "msync() fails with EINVAL for MS_SYNC|MS_ASYNC, for an unknown flag and for an unaligned address.",
    )
    .published(&[
        man("msync(2)", "ERRORS, EINVAL"),
        ltp("msync03.c", "both flags, an unknown flag, an unaligned address"),
        gvisor("msync.cc", "MsyncFullParamTest.UnalignedAddressFails"),
    ])
    .tried(|lab, see| {
        let (_file, area) = of_letters(lab, 2, READ, SHARED)?;
        see.call("msync(page, MS_SYNC|MS_ASYNC)", sync(area, MS_SYNC | MS_ASYNC)).fails(EINVAL);
        see.call("msync(page, 0x100)", sync(area, 0x100)).fails(EINVAL);
        see.call("msync(page + 1, MS_SYNC)", sync(area + 1, MS_SYNC)).fails(EINVAL);
        Ok(())
    }),
    about_msync(
        "mmap.msync.enomem",
        "msync() of an unmapped page, alone or after a mapped one, fails with ENOMEM; with length 0 it succeeds.",
    )
    .published(&[
        man("msync(2)", "ERRORS, ENOMEM"),
        ltp("msync03.c", "memory that is not mapped"),
        gvisor("msync.cc", "MsyncNoMappingTest.UnmappedAddressWithZeroLengthSucceeds"),
    ])
    .except(SAME_PAGES)
    .tried(|lab, see| {
        let area = with_hole(lab, 2, 1, READ, SHARED)?;
        // SAFETY: msync changes nothing in memory.
        let sync = |page, length| unsafe { ask(Sysno::msync, [page, length, MS_SYNC as usize, 0, 0, 0]) };
        see.call("msync(unmapped page)", sync(area + page(), page())).fails(ENOMEM);
        see.call("msync(page and unmapped page)", sync(area, 2 * page())).fails(ENOMEM);
        see.call("msync(unmapped page, length 0)", sync(area + page(), 0)).is(0);
        Ok(())
    }),
    about_msync("mmap.msync.locked", "msync(MS_INVALIDATE) of a locked page of a file fails with EBUSY.")
        .published(&[man("msync(2)", "ERRORS, EBUSY"), ltp("msync03.c", "MS_INVALIDATE of a locked page")])
        .sharing(&[Resource::UserMemlock])
        .except(SAME_PAGES)
        .tried(|lab, see| {
            let (_file, area) = of_letters(lab, 1, READ, SHARED)?;
            see.call("msync(page, MS_INVALIDATE)", sync(area, MS_INVALIDATE)).is(0);
            lock(area)?;
            see.call("msync(locked page, MS_INVALIDATE)", sync(area, MS_INVALIDATE)).fails(EBUSY);
            see.call("msync(locked page, MS_SYNC|MS_INVALIDATE)", sync(area, MS_SYNC | MS_INVALIDATE)).fails(EBUSY);
            see.call("msync(locked page, MS_SYNC)", sync(area, MS_SYNC));
            Ok(())
        }),
    about_msync(
        "mmap.msync.async",
        "msync(MS_ASYNC) of a shared mapping succeeds, and 256 bytes stored before it are read from the file.",
    )
    .published(&[ltp("msync01.c", "main"), man("msync(2)", "DESCRIPTION, MS_ASYNC").leaves_open()])
    .turned_by(&[Lie::refused(Sysno::msync, libc::EINVAL), Lie::bytes(Sysno::pread64, b'z', b'a')])
    .except(SAME_PAGES)
    .tried(|lab, see| {
        let (file, area) = of_letters(lab, 1, READ | WRITE, SHARED)?;
        // SAFETY: the page belongs to the experiment, and lies in the file.
        (area + 100..area + 356).for_each(|address| unsafe { store(address, b'z') });
        see.call("msync(MS_ASYNC)", sync(area, MS_ASYNC)).is(0);
        let mut bytes = [b'?'; 256];
        io::pread_full(&file, &mut bytes, 100).setup("pread")?;
        see.text("bytes 100 to 355 of the file", letters_of(&bytes)).says('z');
        Ok(())
    }),
    about_msync(
        "mmap.msync.invalidate",
        "msync(MS_INVALIDATE) of unlocked memory succeeds, and the mapping shows what was written to the file.",
    )
    .published(&[ltp("msync02.c", "main"), gvisor("msync.cc", "MsyncFullParamTest.InvalidateUnlockedSucceeds")])
    .turned_by(&[Lie::refused(Sysno::msync, libc::EBUSY), Lie::bytes(Sysno::read, b'z', b'a')])
    .except(SAME_PAGES)
    .tried(|lab, see| {
        let (file, area) = of_letters(lab, 1, READ | WRITE, SHARED)?;
        for (name, flag, byte) in
            [("alone", 0, b"x"), ("with MS_SYNC", MS_SYNC, b"y"), ("with MS_ASYNC", MS_ASYNC, b"z")]
        {
            aside(|| letter(area))?;
            aside(|| io::pwrite_all(&file, byte, 0)).setup("pwrite")?;
            see.call(format!("msync(MS_INVALIDATE) {name}"), sync(area, MS_INVALIDATE | flag)).is(0);
            see.text(format!("byte of the mapping, {name}"), letter(area)?).says(char::from(byte[0]));
        }
        Ok(())
    }),
    claim(
        "mmap.msync.clean",
        "msync(MS_SYNC) leaves a stored-to page of a file on ext4 or xfs (whichever is mounted) clean.",
    )
    .published(&[ltp("msync04.c", "verify_dirty"), man("msync(2)", "DESCRIPTION, MS_SYNC")])
    .about(&[Sysno::msync])
    .turned_by(&[Lie::skipped(Sysno::msync), Lie::refused(Sysno::msync, libc::EIO)])
    .method("Looks the page up in /proc/self/pagemap and /proc/kpageflags.")
    .tried(|lab, see| {
        for (file, name) in on_disks(lab)? {
            aside(|| io::pwrite_all(&file, &vec![b'a'; page()], 0)).setup("write the file")?;
            aside(|| file.sync_all()).setup("fsync")?;
            let area = mapped(&file, 1, READ | WRITE, SHARED)?;
            // SAFETY: the page belongs to the experiment, and lies in the file.
            unsafe { store(area, b'z') };
            see.text(format!("page after the store, {name}"), aside(|| dirtiness(area))?).says("dirty");
            see.call(format!("msync(MS_SYNC), {name}"), sync(area, MS_SYNC)).is(0);
            // A page that has been written back may have been unmapped, so it is read first.
            aside(|| letter(area))?;
            see.text(format!("page after msync(), {name}"), aside(|| dirtiness(area))?).says("clean");
        }
        Ok(())
    }),
];

/// Whether the page at an address must be written back: `dirty` or `clean`.
fn dirtiness(address: usize) -> Result<&'static str, Stop> {
    const PRESENT: u64 = 1 << 63;
    const FRAME: u64 = (1 << 55) - 1;
    const DIRTY: u64 = 1 << 4;
    let entry = number_of("/proc/self/pagemap", (address / page()) as u64)?;
    match entry & FRAME {
        _ if entry & PRESENT == 0 => Err(Stop::broken("the page is not in memory")),
        0 => Err(lack("/proc/self/pagemap hides where the page is".to_owned())),
        frame if number_of("/proc/kpageflags", frame)? & DIRTY == 0 => Ok("clean"),
        _ => Ok("dirty"),
    }
}

/// Reads the 64-bit number for a page from a file of `/proc` that has one for each page.
fn number_of(path: &str, page: u64) -> Result<u64, Stop> {
    let file = File::open(path).map_err(|error| lack(format!("{path}: {error}")))?;
    let mut number = [0; 8];
    io::pread_full(&file, &mut number, page * 8).setup(&format!("read {path}"))?;
    Ok(u64::from_ne_bytes(number))
}

fn lack(what: String) -> Stop {
    let remedy = "run as root, outside of user namespaces, on a kernel with CONFIG_PROC_PAGE_MONITOR";
    Stop::untestable(Lack::Privilege, what, remedy)
}
