//! Mappings that extend past the end of their file, or whose file is truncated or grows: behaviour that other test suites check.

use super::mmap::{PRIVATE, READ, SHARED, WRITE, map, note};
use super::mmap_pages::{mapped, truncate};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim};
use crate::interpose::lie::Lie;
use crate::interpose::record::aside;
use crate::lab::alias::OLD;
use crate::lab::pages::{
    PAGE, UNHARMED, bytes, in_child, letter, lettered, letters, letters_of, load, store, store_in_child, touch,
    write_from,
};
use crate::lab::{Lab, ext4, io, mounts};
use crate::verdict::{Observation, Setup, Stop};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("mmap(2), man-pages 6.20");
const GVISOR: Source = Source::Thread("gVisor @3c5eee1, test/syscalls/linux/mmap.cc");
const MMAP: &[Sysno] = &[Sysno::mmap];
const TRUNCATE: &[Sysno] = &[Sysno::ftruncate];
const SIGBUS: &str = "signal 7";

/// Claims about the end of the file.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "A file can be mapped from behind its end; a store there raises SIGBUS.",
        method: "Maps the second page of a file of one, shared and private; a child stores to each.",
        sources: &[MAN, GVISOR],
        about: MMAP,
        lies: &[UNHARMED, Lie::refused(Sysno::mmap, libc::EINVAL)],
        ..Claim::of_answers(
            "mmap.end.mapped-behind",
            mmap_end_mapped_behind,
            &[
                ("mmap(offset 4096, shared)", Answer::Says("mapped")),
                ("store to the shared page", Answer::Says(SIGBUS)),
                ("mmap(offset 4096, private)", Answer::Says("mapped")),
                ("store to the private page", Answer::Says(SIGBUS)),
            ],
        )
    },
    Claim {
        statement: "SIGBUS for a page behind the end of its file comes with BUS_ADRERR and the address that was touched.",
        method: "A child stores to byte 123 of the page; its handler of the signal tells what it was given.",
        sources: &[Source::Man("sigaction(2), man-pages 6.20"), GVISOR],
        about: MMAP,
        lies: &[Lie::bytes(Sysno::read, 2, 3), Lie::bytes(Sysno::read, 123, 0)],
        ..Claim::of_answers(
            "mmap.end.siginfo",
            mmap_end_siginfo,
            &[
                ("signal", Answer::Is(libc::SIGBUS as u64)),
                ("si_code", Answer::Is(libc::BUS_ADRERR as u64)),
                ("si_addr", Answer::Says("the byte")),
            ],
        )
    },
    Claim {
        statement: "write() to a pipe from a page behind the end of its file fails with EFAULT: no signal is raised.",
        method: "Maps two pages of a file of 100 bytes, and the second one alone, too.",
        sources: &[GVISOR],
        about: &[Sysno::write],
        lies: &Lie::otherwise(Sysno::write),
        ..Claim::of_answers(
            "mmap.end.write-from",
            mmap_end_write_from,
            &[
                ("write(pipe, second page of a mapping of two)", Answer::Fails(Errno::EFAULT)),
                ("write(pipe, page mapped behind the end)", Answer::Fails(Errno::EFAULT)),
            ],
        )
    },
    Claim {
        statement: "What is stored in the last page, up to where the file has been made longer, is in the file.",
        method: "Stores a byte inside a file of 100 bytes, makes the file a page long, and stores one behind the old end.",
        sources: &[MAN, GVISOR],
        about: TRUNCATE,
        lies: &[
            Lie::skipped(Sysno::ftruncate),
            Lie::bytes(Sysno::pread64, b'x', OLD),
            Lie::bytes(Sysno::pread64, b'y', 0),
        ],
        ..Claim::of_answers(
            "mmap.end.grown-last-page",
            mmap_end_grown_last_page,
            &[
                ("ftruncate(file, 4096)", Answer::Is(0)),
                ("byte stored before", Answer::Says("x")),
                ("byte stored afterwards", Answer::Says("y")),
            ],
        )
    },
    Claim {
        statement: "A file that is mapped can be made shorter, longer and empty.",
        sources: &[Source::Thread("LTP @6958277, testcases/kernel/syscalls/mmap/mmap09.c")],
        about: TRUNCATE,
        lies: &[Lie::refused(Sysno::ftruncate, libc::ETXTBSY), Lie::skipped(Sysno::ftruncate)],
        ..Claim::of_answers(
            "mmap.truncated.resized",
            mmap_truncated_resized,
            &[
                ("ftruncate(file, 4096)", Answer::Is(0)),
                ("length after ftruncate(file, 4096)", Answer::Is(4096)),
                ("ftruncate(file, 16384)", Answer::Is(0)),
                ("length after ftruncate(file, 16384)", Answer::Is(16384)),
                ("ftruncate(file, 0)", Answer::Is(0)),
                ("length after ftruncate(file, 0)", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "When the file has been truncated, a store into the pages that it has lost raises SIGBUS.",
        method: "Stores to both pages of a shared mapping, truncates the file to one, and stores to both again, in children.",
        sources: &[MAN, GVISOR],
        about: TRUNCATE,
        lies: &[UNHARMED, Lie::skipped(Sysno::ftruncate)],
        ..Claim::of_answers(
            "mmap.truncated.store",
            mmap_truncated_store,
            &[
                ("ftruncate(file, 4096)", Answer::Is(0)),
                ("store to the first page", Answer::Says("exit status 0")),
                ("store to the second page", Answer::Says(SIGBUS)),
            ],
        )
    },
    Claim {
        statement: "When the file has been truncated inside a page, a mapping of it shows zeros in the rest of the page.",
        method: "Truncates a file of one page, all letters and loaded through the mapping, to 100 bytes.",
        sources: &[MAN, GVISOR],
        about: TRUNCATE,
        lies: &[Lie::skipped(Sysno::ftruncate), Lie::bytes(Sysno::read, 0, b'a')],
        ..Claim::of_answers(
            "mmap.truncated.rest-of-page",
            mmap_truncated_rest_of_page,
            &[
                ("ftruncate(file, 100)", Answer::Is(0)),
                ("bytes that the file has", Answer::Says("a")),
                ("bytes that it has lost", Answer::Says("0")),
            ],
        )
    },
    Claim {
        statement: "A private page that was stored to is gone with its part of the file: a load raises SIGBUS.",
        method: "Stores to both pages of a private mapping, truncates the file to one, and loads from both.",
        sources: &[GVISOR],
        about: TRUNCATE,
        lies: &[UNHARMED, Lie::skipped(Sysno::ftruncate)],
        ..Claim::of_answers(
            "mmap.truncated.private",
            mmap_truncated_private,
            &[
                ("ftruncate(file, 4096)", Answer::Is(0)),
                ("first byte of the first page", Answer::Says("z")),
                ("load from the second page", Answer::Says(SIGBUS)),
                ("write(pipe, the second page)", Answer::Fails(Errno::EFAULT)),
            ],
        )
    },
    Claim {
        statement: "A store into a hole of a file on a full ext4 with blocks of 1 KiB raises SIGBUS: it is not taken and lost.",
        method: "Maps a file of one block, stores to it, makes it a page long, fills the file system, and stores behind the first block. \
                 Then there is room again: stores once more, and reads what is on the disk. With delayed allocation, and without.",
        sources: &[Source::Thread(
            "LTP @6958277, testcases/kernel/syscalls/mmap/mmap16.c; Linux, commits 90a8020 and d6320cb",
        )],
        about: MMAP,
        lies: &[UNHARMED, Lie::bytes(Sysno::pread64, b'z', 0)],
        modules: &["loop", "ext4"],
        ..Claim::of_answers(
            "mmap.full.hole",
            mmap_full_hole,
            &[
                ("pwrite() when full, delalloc", Answer::Fails(Errno::ENOSPC)),
                ("store into the hole, delalloc", Answer::Says(SIGBUS)),
                ("store with room, delalloc", Answer::Says("exit status 0")),
                ("byte on the disk, delalloc", Answer::Says("z")),
                ("pwrite() when full, nodelalloc", Answer::Fails(Errno::ENOSPC)),
                ("store into the hole, nodelalloc", Answer::Says(SIGBUS)),
                ("store with room, nodelalloc", Answer::Says("exit status 0")),
                ("byte on the disk, nodelalloc", Answer::Says("z")),
            ],
        )
    },
];

fn mmap_end_mapped_behind(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let mut seen = Observation::new();
    for (kind, flags) in [("shared", SHARED), ("private", PRIVATE)] {
        let page = map(&file, PAGE, READ | WRITE, flags, PAGE);
        note(&mut seen, &format!("mmap(offset 4096, {kind})"), page)?;
        // If there is no mapping, the store of the child to an unmapped address reports that.
        let stored = store_in_child(page.unwrap_or(io::NOWHERE), b'x')?;
        seen.text(format!("store to the {kind} page"), stored);
    }
    Ok(seen)
}

/// The pipe to which [`tell`] writes.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// A handler that reports its arguments to the parent, and ends the child.
extern "C" fn tell(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: a handler with SA_SIGINFO is given a siginfo_t, and that of a fault has an address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().expose_provenance()) };
    let mut told = [0; 16];
    told[..4].copy_from_slice(&signal.to_ne_bytes());
    told[4..8].copy_from_slice(&code.to_ne_bytes());
    told[8..].copy_from_slice(&address.to_ne_bytes());
    // SAFETY: write and _exit may be called in a handler; the bytes are readable during the call.
    unsafe {
        libc::write(PIPE.load(Ordering::Relaxed), told.as_ptr().cast(), told.len());
        libc::_exit(0)
    }
}

/// Stores to a byte with [`tell`] as the handler of `SIGBUS`.
fn store_and_tell(address: usize) {
    // SAFETY: sigaction is plain data, for which zero is valid, and is read during the call.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = tell as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
    // SAFETY: the child has no other thread. A store to a page that does not exist ends it.
    unsafe { store(address, b'x') };
}

fn mmap_end_siginfo(lab: &Lab) -> Result<Observation, Stop> {
    let page = mapped(&lettered(lab, 1)?, 2, READ | WRITE, SHARED)?;
    let byte = page + PAGE + 123;
    let (read, write) = std::io::pipe().setup("pipe")?;
    PIPE.store(write.as_raw_fd(), Ordering::Relaxed);
    aside(|| in_child(|| store_and_tell(byte)))?;
    drop(write);
    let mut told = [0; 16];
    let length = told.len();
    if io::read_full(&read, &mut told).setup("read the pipe")? != length {
        return Err(Stop::broken("the child has not told what signal came"));
    }
    let number = |at: usize| u64::from(u32::from_ne_bytes([0, 1, 2, 3].map(|i| told[at + i])));
    let address = usize::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| told[8 + i]));
    let mut seen = Observation::new();
    seen.count("signal", number(0));
    seen.count("si_code", number(4));
    let word = if address == byte { "the byte" } else { "another" };
    seen.text("si_addr", word);
    Ok(seen)
}

fn mmap_end_write_from(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[OLD; 100])?;
    let pages = mapped(&file, 2, READ, SHARED)?;
    let behind = aside(|| map(&file, PAGE, READ, SHARED, PAGE)).setup("mmap")?;
    let mut seen = Observation::new();
    seen.call("write(pipe, second page of a mapping of two)", write_from(pages + PAGE)?);
    seen.call("write(pipe, page mapped behind the end)", write_from(behind)?);
    Ok(seen)
}

fn mmap_end_grown_last_page(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[OLD; 100])?;
    let page = mapped(&file, 1, READ | WRITE, SHARED)?;
    let mut seen = Observation::new();
    // SAFETY: the page belongs to this function, and the byte lies in the file.
    unsafe { store(page + 50, b'x') };
    seen.call("ftruncate(file, 4096)", truncate(&file, PAGE));
    // SAFETY: the page belongs to this function, and the byte lies in the file's last page.
    unsafe { store(page + 200, b'y') };
    for (when, offset) in [("before", 50), ("afterwards", 200)] {
        let mut byte = [0];
        let word = match io::pread(&file, &mut byte, offset) {
            Ok(1) => char::from(byte[0]).to_string(),
            other => format!("pread: {other:?}"),
        };
        seen.text(format!("byte stored {when}"), word);
    }
    Ok(seen)
}

fn mmap_truncated_resized(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 2)?;
    let pages = mapped(&file, 2, READ, SHARED)?;
    if aside(|| letters(pages, 2))? != "ab" {
        return Err(Stop::broken("the mapping does not show the file"));
    }
    let mut seen = Observation::new();
    for length in [PAGE, 4 * PAGE, 0] {
        let fact = format!("ftruncate(file, {length})");
        seen.call(fact.as_str(), truncate(&file, length));
        super::tools::note_length(&mut seen, &format!("length after {fact}"), &file)?;
    }
    Ok(seen)
}

/// A mapping of two pages, with `z` stored to both. The file is then truncated to the first page.
fn stored_and_truncated(lab: &Lab, flags: usize) -> Result<(usize, Observation), Stop> {
    let file = lettered(lab, 2)?;
    let pages = mapped(&file, 2, READ | WRITE, flags)?;
    for page in [pages, pages + PAGE] {
        // SAFETY: the page belongs to the experiment, and lies in the file.
        unsafe { store(page, b'z') };
    }
    let mut seen = Observation::new();
    seen.call("ftruncate(file, 4096)", truncate(&file, PAGE));
    Ok((pages, seen))
}

fn mmap_truncated_store(lab: &Lab) -> Result<Observation, Stop> {
    let (pages, mut seen) = stored_and_truncated(lab, SHARED)?;
    for (which, page) in [("first", pages), ("second", pages + PAGE)] {
        let stored = store_in_child(page, b'x')?;
        seen.text(format!("store to the {which} page"), stored);
    }
    Ok(seen)
}

fn mmap_truncated_rest_of_page(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let page = mapped(&file, 1, READ, SHARED)?;
    if aside(|| letters(page, 1))? != "a" {
        return Err(Stop::broken("the mapping does not show the file"));
    }
    let mut seen = Observation::new();
    seen.call("ftruncate(file, 100)", truncate(&file, 100));
    let shown = bytes(page, PAGE)?;
    let (kept, lost) = shown.split_at(100.min(shown.len()));
    seen.text("bytes that the file has", letters_of(kept));
    seen.text("bytes that it has lost", letters_of(lost));
    Ok(seen)
}

fn mmap_truncated_private(lab: &Lab) -> Result<Observation, Stop> {
    let (pages, mut seen) = stored_and_truncated(lab, PRIVATE)?;
    seen.text("first byte of the first page", letter(pages)?);
    seen.text("load from the second page", load(pages + PAGE)?);
    seen.call("write(pipe, the second page)", touch(pages + PAGE)?);
    Ok(seen)
}

/// Writes blocks until there is no room even after everything has been written back. Returns the result of the last write.
fn fill(filler: &File) -> Result<Result<usize, Errno>, Stop> {
    let block = [b'f'; ext4::BLOCK];
    let mut end = 0;
    loop {
        let before = end;
        let last = loop {
            match io::pwrite(filler, &block, end) {
                Ok(count @ 1..) => end += count as u64,
                Err(errno @ (Errno::EPERM | Errno::EIO)) => {
                    return Err(Stop::from_setup("fill the file system", errno));
                }
                other => break other,
            }
        };
        filler.sync_all().setup("fsync")?;
        if end == before {
            return Ok(last);
        }
    }
}

fn mmap_full_hole(_lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    for option in [c"delalloc", c"nodelalloc"] {
        let name = option.to_string_lossy();
        let mount = ext4::mount(&[option])?;
        let unnamed = || aside(|| mounts::unnamed_file(&mount)).setup("create a file");
        let (file, filler) = (unnamed()?, unnamed()?);
        aside(|| io::pwrite_all(&file, &[b'a'; ext4::BLOCK], 0)).setup("write the file")?;
        let page = mapped(&file, 1, READ | WRITE, SHARED)?;
        // SAFETY: the page belongs to this function, and the byte lies in the file.
        unsafe { store(page, b'b') };
        aside(|| io::truncate(&file, PAGE as u64)).setup("ftruncate")?;
        let full = aside(|| fill(&filler))?;
        seen.call(format!("pwrite() when full, {name}"), full);
        let hole = page + ext4::BLOCK;
        seen.text(format!("store into the hole, {name}"), store_in_child(hole, b'z')?);
        aside(|| io::truncate(&filler, 0)).setup("ftruncate")?;
        aside(|| filler.sync_all()).setup("fsync")?;
        seen.text(format!("store with room, {name}"), store_in_child(hole, b'z')?);
        aside(|| drop_pages(page, &file))?;
        let mut byte = [b'?'];
        io::pread_full(&file, &mut byte, ext4::BLOCK as u64).setup("pread")?;
        let shown = if byte == [0] { '0' } else { char::from(byte[0]) };
        seen.text(format!("byte on the disk, {name}"), shown);
    }
    Ok(seen)
}

/// Unmaps a file's only page, writes it back, and drops it from the page cache.
fn drop_pages(page: usize, file: &File) -> Result<(), Stop> {
    // SAFETY: the page belongs to the experiment.
    unsafe { io::ask(Sysno::munmap, [page, PAGE, 0, 0, 0, 0]) }.setup("munmap")?;
    file.sync_all().setup("fsync")?;
    // SAFETY: posix_fadvise takes no pointer.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        errno => Err(Stop::from_setup("posix_fadvise", Errno::new(errno))),
    }
}
