//! The end of the file in a mapping, and pages past it.

use super::{
    DONE, MAPPED, PRIVATE, READ, SHARED, SIGBUS, SeeMemory, TYPES, WRITE, about_mmap, map, mapped, on_disks,
    read_zero_into, sync, truncate,
};
use crate::claims::prelude::*;
use crate::lab::filesystems::file_on;
use crate::lab::open::sealed_memfd;
use crate::lab::pages::{UNHARMED, in_child, letter, lettered, letters_of, store, touch, write_from};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};

/// A claim about what `ftruncate` does to bytes in the last page.
#[track_caller]
const fn about_extending(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(&[Sysno::ftruncate])
}

pub const CLAIMS: &[Claim] = &[
    claim("mmap.end.zeros", "In the last page of a mapping, the bytes past the end of the file are zeros.")
        .published(&[man("mmap(2)", "NOTES"), ltp("mmap01.c", "bytes past the end")])
        .about(&[Sysno::write])
        .turned_by(&[Lie::bytes(Sysno::read, 0, b'x')])
        .method("Writes a page of a mapping of 100 bytes, to which nothing has been stored, to a pipe.")
        .tried(|lab, see| {
            let (area, pipe) = (mapped(&lab.file(&[b'a'; 100])?, 1, READ, PRIVATE)?, pipe()?);
            let base = std::ptr::with_exposed_provenance(area);
            // SAFETY: the page is mapped until the experiment ends; no reference to it exists.
            unsafe { io::write_all_from(&pipe.write, base, page()) }.setup("write a mapping to a pipe")?;
            let mut bytes = vec![b'?'; page()];
            io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
            let (file, past) = bytes.split_at(100);
            see.text("bytes of the file", letters_of(file)).says('a');
            see.text("bytes past the end", letters_of(past)).says('0');
            see.readable("bytes left in the pipe", &pipe.read)?.is(0);
            Ok(())
        }),
    claim(
        "mmap.end.stores",
        "A store past the end of a file, in its last page, does not make the file longer, not even after msync(MS_SYNC).",
    )
    .published(&[
        man("mmap(2)", "NOTES"),
        ltp("mmap01.c", "check_file"),
        gvisor("mmap.cc", "MMapFileTest.WriteSharedBeyondEnd"),
    ])
    .about(&[Sysno::msync])
    .turned_by(&[Lie::refused(Sysno::msync, libc::EIO)])
    .except(&[Exception::Of(Sysno::msync, What::Skipped, "the file's length is the same before and after")])
    .tried(|lab, see| {
        let file = lab.file(&[b'a'; 100])?;
        let area = mapped(&file, 1, READ | WRITE, SHARED)?;
        // SAFETY: the page belongs to this function, and is the file's last page.
        unsafe { store(area + 100, b'x') };
        see.length("length of the file after the store", &file)?.is(100);
        see.call("msync(MS_SYNC)", sync(area, libc::MS_SYNC)).is(0);
        see.length("length of the file after msync()", &file)?.is(100);
        let mut bytes = vec![0; page()];
        let count = io::pread_full(&file, &mut bytes, 0).setup("pread")?;
        see.count("bytes read from the file", count as u64).is(100);
        see.text("bytes of the file", letters_of(&bytes[..count])).says('a');
        Ok(())
    }),
    about_extending(
        "mmap.end.memfd-keeps-stores",
        "A byte stored past the end of a memfd, in its last page, is in the file once ftruncate() extends it.",
    )
    .published(&[man("mmap(2)", "BUGS").leaves_open(), man("truncate(2)", "DESCRIPTION").denies()])
    .turned_by(&[Lie::bytes(Sysno::pread64, b'x', 0)])
    .tried(|_lab, see| {
        let file = File::from(sealed_memfd(0)?);
        stored_past_the_end(&file)?;
        extended(see, &file, "memfd", 'x')
    }),
    about_extending(
        "mmap.end.disk-drops-stores",
        "On ext4, a byte stored past the end of file reads as zero once ftruncate() extends the file.",
    )
    .published(&[man("truncate(2)", "DESCRIPTION"), man("mmap(2)", "BUGS").leaves_open()])
    .turned_by(&[Lie::bytes(Sysno::pread64, 0, b'x'), Lie::bytes(Sysno::pread64, b'x', 0)])
    .tried(|lab, see| {
        let (file, name) = file_on(lab, &["ext4"])?;
        stored_past_the_end(&file)?;
        extended(see, &file, &name, '0')
    }),
    about_extending(
        "mmap.end.disk-synced",
        "On ext4 or xfs, a byte stored past the end reads as zero after msync(MS_SYNC), also once ftruncate() extends the file.",
    )
    .published(&[man("truncate(2)", "DESCRIPTION"), man("mmap(2)", "BUGS").leaves_open()])
    .turned_by(&[Lie::bytes(Sysno::pread64, 0, b'x'), Lie::bytes(Sysno::read, 0, b'x')])
    .tried(|lab, see| {
        for (file, name) in on_disks(lab)? {
            let area = stored_past_the_end(&file)?;
            aside(|| sync(area, libc::MS_SYNC)).setup("msync")?;
            see.text(format!("byte of the mapping after msync(), {name}"), letter(area + PAST)?).says('0');
            extended(see, &file, &name, '0')?;
        }
        Ok(())
    }),
    about_extending(
        "mmap.end.memfd-synced",
        "A byte stored past the end of a memfd reads as zero after msync(MS_SYNC) and ftruncate() that extends the file.",
    )
    .published(&[man("truncate(2)", "DESCRIPTION"), man("mmap(2)", "BUGS").denies()])
    .turned_by(&[Lie::bytes(Sysno::pread64, b'x', 0), Lie::bytes(Sysno::pread64, 0, b'x')])
    .tried(|_lab, see| {
        let file = File::from(sealed_memfd(0)?);
        let area = stored_past_the_end(&file)?;
        aside(|| sync(area, libc::MS_SYNC)).setup("msync")?;
        see.text("byte of the mapping after msync(), memfd", letter(area + PAST)?);
        extended(see, &file, "memfd", '0')
    }),
    about_mmap(
        "mmap.end.sigbus",
        "A load from a page past the last page of the file raises SIGBUS; a load past the end in the last page does not.",
    )
    .published(&[
        man("mmap(2)", "ERRORS, SIGBUS"),
        ltp("mmap13.c", "a store to the second page"),
        gvisor("mmap.cc", "MMapFileParamTest.SigBusDeath, MMapFileParamTest.NoSigBusOnPageContainingEOF"),
    ])
    .turned_by(&[UNHARMED])
    .tried(|lab, see| {
        let file = lab.file(&[b'a'; 100])?;
        for (kind, flags) in TYPES {
            let area = map(&file, 2 * page(), READ, flags, 0);
            see.mapped(format!("mmap(two pages of a file of 100 bytes, {kind})"), area)?.says(MAPPED);
            let area = area.setup("mmap")?;
            see.load(format!("load from the last page, past the end, {kind}"), area + PAST)?.says(DONE);
            see.load(format!("load from the next page, {kind}"), area + page())?.says(SIGBUS);
        }
        Ok(())
    }),
    claim(
        "mmap.end.read-into",
        "read() from /dev/zero into a page past the end of its file fails with EFAULT; no signal is raised.",
    )
    .published(&[gvisor("mmap.cc", "MMapFileTest.InternalSigBusZeroing")])
    .about(&[Sysno::read])
    .turned_by(&Lie::otherwise(Sysno::read))
    .tried(|lab, see| {
        let area = mapped(&lab.file(&[b'a'; 100])?, 2, READ | WRITE, SHARED)?;
        see.call("read(/dev/zero, page past the end)", read_zero_into(area + page())?).fails(EFAULT);
        Ok(())
    }),
    claim(
        "mmap.end.grown-file",
        "A page past the end of the file can be loaded from once a write has made the file longer.",
    )
    .published(&[MEASURED, man("mmap(2)", "NOTES").leaves_open()])
    .about(&[Sysno::pwrite64])
    .turned_by(&[Lie::bytes(Sysno::read, b'b', 0)])
    .tried(|lab, see| {
        let file = lettered(lab, 1)?;
        let area = mapped(&file, 2, READ, SHARED)?;
        see.call("write(pipe, second page) before", touch(area + page())?).fails(EFAULT);
        let written = io::pwrite(&file, b"b", page() as u64);
        see.call("pwrite(file, \"b\", a page)", written).is(1);
        match touch(area + page())? {
            Ok(_) => see.letter("first byte of the second page", Ok(area + page()))?.says('b'),
            refused => see.call("first byte of the second page", refused).is(1),
        };
        Ok(())
    }),
    about_mmap(
        "mmap.end.mapped-behind",
        "A page can be mapped that begins at the end of its file, shared and private; a store to it raises SIGBUS.",
    )
    .published(&[gvisor("mmap.cc", "MMapFileTest.MapOffsetBeyondEnd"), man("mmap(2)", "ERRORS, SIGBUS")])
    .turned_by(&[UNHARMED, Lie::refused(Sysno::mmap, libc::EINVAL)])
    .tried(|lab, see| {
        let file = lettered(lab, 1)?;
        for (kind, flags) in TYPES {
            let area = map(&file, page(), READ | WRITE, flags, page());
            see.mapped(format!("mmap(offset of a page, {kind})"), area)?.says(MAPPED);
            see.store(format!("store to the {kind} page"), area.unwrap_or(io::NOWHERE), b'x')?.says(SIGBUS);
        }
        Ok(())
    }),
    about_mmap(
        "mmap.end.siginfo",
        "SIGBUS for a page past the end of its file has si_code BUS_ADRERR and, in si_addr, the address that was touched.",
    )
    .published(&[
        man("sigaction(2)", "DESCRIPTION, The siginfo_t argument to a SA_SIGINFO handler"),
        kernel("arch/x86/mm/fault.c", "do_sigbus"),
    ])
    .turned_by(&[Lie::bytes(Sysno::read, 2, 3), Lie::bytes(Sysno::read, 123, 0)])
    .method("A child stores to byte 123 of the page; its handler sends the parent what it was given.")
    .tried(|lab, see| {
        let byte = mapped(&lettered(lab, 1)?, 2, READ | WRITE, SHARED)? + page() + 123;
        let (read, write) = std::io::pipe().setup("pipe")?;
        PIPE.store(write.as_raw_fd(), Ordering::Relaxed);
        aside(|| in_child(|| store_and_report(byte)))?;
        drop(write);
        let mut report = [0; 16];
        if io::read_full(&read, &mut report).setup("read the pipe")? != report.len() {
            return Err(Stop::broken("the child has not reported a signal"));
        }
        let number = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|i| report[at + i]));
        let address = usize::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| report[8 + i]));
        see.count("signal", number(0).into()).is(libc::SIGBUS);
        see.count("si_code", number(4).into()).is(libc::BUS_ADRERR);
        see.text("si_addr", if address == byte { "the byte" } else { "another address" }).says("the byte");
        Ok(())
    }),
    claim(
        "mmap.end.write-from",
        "write() to a pipe from a page past the end of its file fails with EFAULT; no signal is raised.",
    )
    .published(&[gvisor("mmap.cc", "MMapFileTest.InternalSigBus")])
    .about(&[Sysno::write])
    .turned_by(&Lie::otherwise(Sysno::write))
    .tried(|lab, see| {
        let file = lab.file(&[b'a'; 100])?;
        for (kind, flags) in TYPES {
            let pages = mapped(&file, 2, READ, flags)?;
            let past = aside(|| map(&file, page(), READ, flags, page())).setup("mmap")?;
            see.call(format!("write(pipe, second page of two, {kind})"), write_from(pages + page())?).fails(EFAULT);
            see.call(format!("write(pipe, page mapped past the end, {kind})"), write_from(past)?).fails(EFAULT);
        }
        Ok(())
    }),
    about_extending(
        "mmap.end.grown-last-page",
        "Stores to the last page, within the file and, after ftruncate() has extended it, past its old end, are read from the file.",
    )
    .published(&[gvisor("mmap.cc", "MMapFileTest.WriteSharedTruncateUp"), man("mmap(2)", "NOTES").leaves_open()])
    .turned_by(&[
        Lie::skipped(Sysno::ftruncate),
        Lie::bytes(Sysno::pread64, b'x', b'a'),
        Lie::bytes(Sysno::pread64, b'y', 0),
    ])
    .tried(|lab, see| {
        let file = lab.file(&[b'a'; 100])?;
        let area = mapped(&file, 1, READ | WRITE, SHARED)?;
        // SAFETY: the page belongs to this function, and the byte lies in the file.
        unsafe { store(area + 50, b'x') };
        see.call("ftruncate(file, a page)", truncate(&file, page())).is(0);
        // SAFETY: the page belongs to this function, and is the file's last page.
        unsafe { store(area + PAST, b'y') };
        see.byte("byte stored within the file", &file, 50)?.says('x');
        see.byte("byte stored past the old end", &file, PAST as u64)?.says('y');
        Ok(())
    }),
];

/// The offset of a byte past the end.
const PAST: usize = 200;

/// Gives a file 100 bytes, maps it, and stores `x` past its end.
fn stored_past_the_end(file: &File) -> Result<usize, Stop> {
    aside(|| io::pwrite_all(file, &[b'a'; 100], 0)).setup("write the file")?;
    let area = mapped(file, 1, READ | WRITE, SHARED)?;
    // SAFETY: the page belongs to the experiment, and is the file's last page.
    unsafe { store(area + PAST, b'x') };
    Ok(area)
}

/// Makes a file a page long, and reads the byte that was past its end.
fn extended(see: &mut Observation, file: &File, name: &str, byte: char) -> Result<(), Stop> {
    see.call(format!("ftruncate({name}, a page)"), truncate(file, page())).is(0);
    see.byte(format!("byte past the old end, {name}"), file, PAST as u64)?.says(byte);
    Ok(())
}

/// The pipe to which [`report`] writes.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// A handler that sends its arguments to the parent, and ends the child.
extern "C" fn report(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: a handler with SA_SIGINFO is given a siginfo_t, and that of a fault has an address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().expose_provenance()) };
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&signal.to_ne_bytes());
    bytes[4..8].copy_from_slice(&code.to_ne_bytes());
    bytes[8..].copy_from_slice(&address.to_ne_bytes());
    // SAFETY: write and _exit may be called in a handler; the bytes are readable during the call.
    unsafe {
        libc::write(PIPE.load(Ordering::Relaxed), bytes.as_ptr().cast(), bytes.len());
        libc::_exit(0)
    }
}

/// Stores to a byte with [`report`] as the handler of `SIGBUS`.
fn store_and_report(address: usize) {
    // SAFETY: sigaction is plain data, for which zero is valid, and is read during the call.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = report as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
    // SAFETY: the child has no other thread. A store to a page that does not exist ends it.
    unsafe { store(address, b'x') };
}
