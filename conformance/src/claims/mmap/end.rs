//! The end of the file in a mapping, and pages past it.

use super::{
    DONE, MAPPED, READ, SHARED, SIGBUS, SeeMapped, TYPES, WRITE, about_mmap, byte_of, load, map, mapped, on_disks,
    read_zero_into, store_in_child, sync, truncate, unmap,
};
use crate::claim::source::Source;
use crate::claims::prelude::*;
use crate::lab::filesystems::file_on;
use crate::lab::open::sealed_memfd;
use crate::lab::pages::{UNHARMED, bytes, in_child, letter, letters_of, store, touch, write_from};
use nocopy_host::process::Ended;
use std::sync::atomic::{AtomicUsize, Ordering};

const BUGS: Source = man("mmap(2)", "BUGS");
const ZEROS: Source = man("truncate(2)", "DESCRIPTION");
const NOTES: Source = man("mmap(2)", "NOTES").leaves_open();

pub const CLAIMS: &[Claim] = &[
    about_mmap(
        "mmap.end.zeros",
        "The last page of a mapping shows the end of the file, then zeros, if nothing was stored past the end.",
    )
    .published(&[man("mmap(2)", "NOTES"), ltp("mmap01.c", "bytes past the end")])
    .turned_by(&[Lie::bytes(Sysno::read, 0, b'x')])
    .tried(|lab, see| {
        let file = lab.file(&[b'a'; 100])?;
        for (kind, flags) in TYPES {
            let area = map(&file, page(), READ, flags, 0);
            see.mapped(format!("mmap(file of 100 bytes, a page, {kind})"), area)?.says(MAPPED);
            let shown = bytes(area.setup("mmap")?, page())?;
            let (file, past) = shown.split_at(100.min(shown.len()));
            see.text(format!("bytes of the file, {kind}"), letters_of(file)).says('a');
            see.text(format!("bytes past the end, {kind}"), letters_of(past)).says('0');
        }
        Ok(())
    }),
    claim(
        "mmap.end.stores",
        "A store past the end of a file, in its last page, changes neither its length nor its bytes, nor does \
         msync(MS_SYNC) then.",
    )
    .published(&[man("mmap(2)", "NOTES"), ltp("mmap01.c", "stores past the end, and msync()")])
    .about(&[Sysno::msync])
    .turned_by(&[Lie::refused(Sysno::msync, libc::EIO)])
    .except(&[Exception::Of(Sysno::msync, What::Skipped, "the file's length is the same before and after")])
    .tried(|lab, see| {
        let file = lab.empty_file()?;
        let area = stored_past_the_end(&file)?;
        see.length("length of the file after the store", &file)?.is(100);
        see.call("msync(MS_SYNC)", sync(area, libc::MS_SYNC)).is(0);
        see.length("length of the file after msync()", &file)?.is(100);
        let mut bytes = vec![0; page()];
        let count = io::pread_full(&file, &mut bytes, 0).setup("pread")?;
        see.count("bytes read from the file", count as u64).is(100);
        see.text("bytes of the file", letters_of(&bytes[..count])).says('a');
        Ok(())
    }),
    claim(
        "mmap.end.memfd-keeps-stores",
        "A byte stored past the end of a memfd, in its last page, is in the file once ftruncate() extends it.",
    )
    .published(&[BUGS.leaves_open(), NOTES, ZEROS.denies()])
    .about(&[Sysno::ftruncate])
    .turned_by(&[Lie::bytes(Sysno::pread64, b'x', 0)])
    .tried(|_lab, see| {
        let file = File::from(sealed_memfd(0)?);
        let area = stored_past_the_end(&file)?;
        extended(see, (&file, area), "memfd", 'x')
    }),
    claim(
        "mmap.end.disk-drops-stores",
        "On ext4, a byte stored past the end of the file reads as zero once ftruncate() extends the file.",
    )
    .published(&[ZEROS, NOTES, BUGS.leaves_open()])
    .about(&[Sysno::ftruncate])
    .turned_by(&[Lie::bytes(Sysno::pread64, 0, b'x'), Lie::bytes(Sysno::pread64, b'x', 0)])
    .tried(|lab, see| {
        let (file, name) = file_on(lab, &["ext4"])?;
        let area = stored_past_the_end(&file)?;
        extended(see, (&file, area), &name, '0')
    }),
    claim(
        "mmap.end.disk-synced",
        "On ext4 or xfs, a byte stored past the end is zero after msync(MS_SYNC), also once the file is extended.",
    )
    .published(&[
        kernel("fs/ext4/page-io.c", "ext4_bio_write_folio"),
        kernel("fs/iomap/buffered-io.c", "iomap_writeback_handle_eof"),
        ZEROS,
        NOTES,
        BUGS.leaves_open(),
    ])
    .about(&[Sysno::ftruncate])
    .turned_by(&[Lie::bytes(Sysno::pread64, 0, b'x'), Lie::bytes(Sysno::read, 0, b'x')])
    .tried(|lab, see| {
        for (file, name) in on_disks(lab)? {
            let (area, byte) = synced_past_the_end(&file)?;
            see.text(format!("byte of the mapping after msync(), {name}"), byte).says('0');
            extended(see, (&file, area), &name, '0')?;
        }
        Ok(())
    }),
    claim(
        "mmap.end.memfd-synced",
        "A byte stored past the end of a memfd is zero after msync(MS_SYNC) and ftruncate() that extends the file.",
    )
    .published(&[ZEROS, NOTES, BUGS.denies()])
    .about(&[Sysno::ftruncate])
    .turned_by(&[Lie::bytes(Sysno::pread64, b'x', 0), Lie::bytes(Sysno::pread64, 0, b'x')])
    .tried(|_lab, see| {
        let file = File::from(sealed_memfd(0)?);
        let (area, byte) = synced_past_the_end(&file)?;
        see.text("byte of the mapping after msync(), memfd", byte);
        extended(see, (&file, area), "memfd", '0')
    }),
    about_mmap(
        "mmap.end.sigbus",
        "A load from a page past the file's last page raises SIGBUS; a load past the end in the last page does not.",
    )
    .published(&[man("mmap(2)", "ERRORS, SIGBUS"), gvisor("mmap.cc", "MMapFileParamTest.NoSigBusOnPageContainingEOF")])
    .turned_by(&[UNHARMED])
    .tried(|lab, see| {
        let file = lab.file(&[b'a'; 100])?;
        for (kind, flags) in TYPES {
            let area = map(&file, 2 * page(), READ, flags, 0);
            see.mapped(format!("mmap(two pages of a file of 100 bytes, {kind})"), area)?.says(MAPPED);
            let area = area.setup("mmap")?;
            see.text(format!("load past the end in the last page, {kind}"), load(area + PAST)?).says(DONE);
            see.text(format!("load from the next page, {kind}"), load(area + page())?).says(SIGBUS);
        }
        Ok(())
    }),
    claim(
        "mmap.end.read-into",
        "read() from /dev/zero into a shared page past the end of its file fails with EFAULT; no signal is raised.",
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
        "A shared page past the end of the file can be read once a write has made the file longer, and not before.",
    )
    .published(&[kernel("mm/filemap.c", "filemap_fault"), NOTES])
    .about(&[Sysno::pwrite64])
    .turned_by(&[Lie::bytes(Sysno::read, b'b', 0)])
    .tried(|lab, see| {
        let file = lab.file(&vec![b'a'; page()])?;
        let second = mapped(&file, 2, READ, SHARED)? + page();
        see.call("write(pipe, second page) before", touch(second)?).fails(EFAULT);
        see.call("pwrite(file, \"b\", a page)", io::pwrite(&file, b"b", page() as u64)).is(1);
        let touched = touch(second)?;
        see.call("write(pipe, second page) afterwards", touched).is(1);
        see.text("first byte of the second page", touched.map_or(Ok(String::new()), |_| letter(second))?).says('b');
        Ok(())
    }),
    about_mmap(
        "mmap.end.mapped-behind",
        "A page can be mapped that begins at the end of its file, shared and private; a store to it raises SIGBUS.",
    )
    .published(&[
        gvisor("mmap.cc", "MMapFileTest.MapOffsetBeyondEnd, MapSecondToLastPositivePage"),
        man("mmap(2)", "ERRORS, SIGBUS"),
    ])
    .turned_by(&[UNHARMED, Lie::refused(Sysno::mmap, libc::EINVAL)])
    .tried(|lab, see| {
        let file = lab.file(&vec![b'a'; page()])?;
        for (kind, flags) in TYPES {
            let area = map(&file, page(), READ | WRITE, flags, page());
            see.mapped(format!("mmap(offset of a page, {kind})"), area)?.says(MAPPED);
            let stored = store_in_child(area.unwrap_or(io::NOWHERE), b'x')?;
            see.text(format!("store to the {kind} page"), stored).says(SIGBUS);
        }
        Ok(())
    }),
    about_mmap(
        "mmap.end.siginfo",
        "SIGBUS for a page past the end of its file has si_code BUS_ADRERR, and si_addr is the touched address.",
    )
    .published(&[
        man("sigaction(2)", "DESCRIPTION, The siginfo_t argument to a SA_SIGINFO handler"),
        kernel("arch/x86/mm/fault.c", "do_sigbus"),
    ])
    .turned_by(&[UNHARMED])
    .method("A child stores to the page; its handler of the signal ends it with a status of what it was given.")
    .tried(|lab, see| {
        let byte = mapped(&lab.file(&vec![b'a'; page()])?, 2, READ | WRITE, SHARED)? + page() + 123;
        BYTE.store(byte, Ordering::Relaxed);
        match in_child(|| store_and_report(byte))? {
            Ended::Exited(status) => {
                see.count("si_code", u64::from((status & !THERE).unsigned_abs())).is(libc::BUS_ADRERR);
                see.whether("si_addr is the byte's address", status & THERE != 0).says("yes");
            }
            ended => drop(see.text("the child", ended).says("ended by its handler")),
        }
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
            let second = mapped(&file, 2, READ, flags)? + page();
            let past = aside(|| map(&file, page(), READ, flags, page())).setup("mmap")?;
            see.call(format!("write(pipe, second page of two, {kind})"), write_from(second)?).fails(EFAULT);
            see.call(format!("write(pipe, page mapped past the end, {kind})"), write_from(past)?).fails(EFAULT);
        }
        Ok(())
    }),
    claim(
        "mmap.end.grown-last-page",
        "Stores to a file's last page, and past its old end once ftruncate() has extended it, are read from the file.",
    )
    .published(&[gvisor("mmap.cc", "MMapFileTest.WriteSharedTruncateUp"), NOTES])
    .about(&[Sysno::ftruncate])
    .turned_by(&[Lie::bytes(Sysno::pread64, b'x', b'a'), Lie::bytes(Sysno::pread64, b'y', 0)])
    .tried(|lab, see| {
        let file = lab.file(&[b'a'; 100])?;
        let area = mapped(&file, 1, READ | WRITE, SHARED)?;
        // SAFETY: the page belongs to this function, and the byte lies in the file.
        unsafe { store(area + 50, b'x') };
        see.call("ftruncate(file, a page)", truncate(&file, page())).is(0);
        // SAFETY: the page belongs to this function, and is the file's last page.
        unsafe { store(area + PAST, b'y') };
        see.text("byte stored within the file", byte_of(&file, 50)?).says('x');
        see.text("byte stored past the old end", byte_of(&file, PAST)?).says('y');
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

/// The same, then synchronizes. Returns the mapping and the byte that it shows.
fn synced_past_the_end(file: &File) -> Result<(usize, String), Stop> {
    let area = stored_past_the_end(file)?;
    aside(|| sync(area, libc::MS_SYNC)).setup("msync")?;
    Ok((area, letter(area + PAST)?))
}

/// Unmaps a file, makes it a page long, and reads the byte that was past its end.
fn extended(see: &mut Observation, (file, area): (&File, usize), name: &str, byte: char) -> Result<(), Stop> {
    aside(|| unmap(area, page())).setup("munmap")?;
    see.call(format!("ftruncate({name}, a page)"), truncate(file, page())).is(0);
    see.text(format!("byte past the old end, {name}"), byte_of(file, PAST)?).says(byte);
    Ok(())
}

/// The address to which [`store_and_report`] stores.
static BYTE: AtomicUsize = AtomicUsize::new(0);
/// The bit of the status of a child in which `si_addr` was that address.
const THERE: libc::c_int = 0x40;

/// A handler that ends the child with a status of what it was given.
extern "C" fn report(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: a handler with SA_SIGINFO is given a siginfo_t, and that of a fault has an address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().expose_provenance()) };
    let there = if address == BYTE.load(Ordering::Relaxed) { THERE } else { 0 };
    // SAFETY: _exit may be called in a handler.
    unsafe { libc::_exit(code | there) }
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
