//! `mmap`, `munmap`, and what a mapping shows.

pub(super) mod anonymous;
pub(super) mod dev_zero;
pub(super) mod end;
pub(super) mod errors;
pub(super) mod fixed;
pub(super) mod flags;
pub(super) mod full;
pub(super) mod life;
pub(super) mod locked;
pub(super) mod madvise;
pub(super) mod maps;
pub(super) mod mincore;
pub(super) mod mremap;
pub(super) mod msync;
pub(super) mod munmap;
pub(super) mod offset;
pub(super) mod populate;
pub(super) mod private;
pub(super) mod protection;
pub(super) mod sealed;
pub(super) mod self_;
pub(super) mod shared;
pub(super) mod socket;
pub(super) mod sync;
pub(super) mod times;
pub(super) mod truncated;

use crate::claims::prelude::*;
use crate::lab::filesystems::file_on;
use crate::lab::open::sealed_memfd;
use crate::lab::pages::{self, letter, lettered, letters};
use nocopy_host::process::Ended;
use std::os::fd::AsRawFd;

pub(super) const READ: usize = libc::PROT_READ as usize;
pub(super) const WRITE: usize = libc::PROT_WRITE as usize;
const EXECUTE: usize = libc::PROT_EXEC as usize;
pub(super) const SHARED: usize = libc::MAP_SHARED as usize;
pub(super) const PRIVATE: usize = libc::MAP_PRIVATE as usize;
const VALIDATE: usize = libc::MAP_SHARED_VALIDATE as usize;
const ANONYMOUS: usize = libc::MAP_ANONYMOUS as usize;
/// Both types, with their names.
const TYPES: [(&str, usize); 2] = [("shared", SHARED), ("private", PRIVATE)];

const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::mmap);

const MAPPED: &str = "mapped";
const GONE: &str = "gone";
const DONE: &str = "done";
const SIGBUS: &str = "SIGBUS";
const SIGSEGV: &str = "SIGSEGV";

/// A claim about the answers of `mmap`.
#[track_caller]
const fn about_mmap(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(&[Sysno::mmap]).turned_by(OTHERWISE)
}

/// The address of a mapping, or the error of the call.
type Area = Result<usize, Errno>;

/// `mmap` with these arguments. The mapping stays until the experiment ends.
pub(super) fn map(file: &impl AsFd, length: usize, protection: usize, flags: usize, offset: usize) -> Area {
    // SAFETY: at an address of the kernel's choice a mapping overlaps nothing.
    unsafe { map_with(file, 0, length, protection, flags, offset) }
}

/// The same, at an address.
///
/// # Safety
///
/// If the flags allow the mapping to replace others, nothing may use the replaced mapping afterwards.
pub(super) unsafe fn map_with(
    file: &impl AsFd,
    address: usize,
    length: usize,
    protection: usize,
    flags: usize,
    offset: usize,
) -> Area {
    // SAFETY: by this function's condition nothing uses a mapping that is replaced.
    unsafe { ask(Sysno::mmap, [address, length, protection, flags, argument(file), offset]) }
}

/// Maps memory of no file.
fn map_anonymous(length: usize, protection: usize, flags: usize) -> Area {
    // SAFETY: at an address of the kernel's choice a mapping overlaps nothing.
    unsafe { ask(Sysno::mmap, [0, length, protection, flags | ANONYMOUS, NO_FD, 0]) }
}

/// Maps a file for an experiment about another call.
fn mapped(file: &impl AsFd, pages: usize, protection: usize, flags: usize) -> Result<usize, Stop> {
    aside(|| map(file, pages * page(), protection, flags, 0)).setup("mmap")
}

/// `munmap` of pages of the experiment, or of unmapped ones.
fn unmap(address: usize, length: usize) -> Result<usize, Errno> {
    // SAFETY: no reference exists to memory that is mapped for an experiment.
    unsafe { ask(Sysno::munmap, [address, length, 0, 0, 0, 0]) }
}

/// `mprotect` of pages of the experiment.
fn protect(address: usize, length: usize, protection: usize) -> Result<usize, Errno> {
    // SAFETY: no reference exists to memory that is mapped for an experiment.
    unsafe { ask(Sysno::mprotect, [address, length, protection, 0, 0, 0]) }
}

/// `msync` of a page.
fn sync(address: usize, flags: libc::c_int) -> Result<usize, Errno> {
    // SAFETY: msync changes nothing in memory.
    unsafe { ask(Sysno::msync, [address, page(), flags.cast_unsigned() as usize, 0, 0, 0]) }
}

/// `ftruncate` to any length.
fn truncate(file: &File, length: usize) -> Result<usize, Errno> {
    // SAFETY: ftruncate takes no pointer.
    unsafe { ask(Sysno::ftruncate, [argument(file), length, 0, 0, 0, 0]) }
}

/// `read` of `/dev/zero` into memory that may not be writable.
fn read_zero_into(address: usize) -> Result<Result<usize, Errno>, Stop> {
    let zero = aside(|| File::open("/dev/zero")).setup("open /dev/zero")?;
    // SAFETY: the kernel checks every access, and no reference exists to memory that is mapped for an experiment.
    Ok(io::again(|| unsafe { ask(Sysno::read, [argument(&zero), address, 1, 0, 0, 0]) }))
}

/// The address of consecutive free pages: they have just been mapped and unmapped.
fn free_pages(lab: &Lab, pages: usize) -> Result<usize, Stop> {
    let address = mapped(&lab.file(b"bytes")?, pages, READ, PRIVATE)?;
    aside(|| unmap(address, pages * page())).setup("munmap")?;
    if is_mapped(address)? { Err(Stop::broken("munmap() left the page")) } else { Ok(address) }
}

/// Whether a page is mapped. `ENOMEM` of `mincore` means that it is not. Any other errno is an error of the experiment.
pub(super) fn is_mapped(address: usize) -> Result<bool, Stop> {
    let mut resident = [0_u8; 1];
    let resident = resident.as_mut_ptr().expose_provenance();
    // SAFETY: mincore writes one byte for the one page.
    match aside(|| unsafe { ask(Sysno::mincore, [address, 1, resident, 0, 0, 0]) }) {
        Err(ENOMEM) => Ok(false),
        answer => answer.setup("mincore").map(|_| true),
    }
}

/// Whether a page is mapped, in a word.
fn state(address: usize) -> Result<&'static str, Stop> {
    Ok(if is_mapped(address)? { MAPPED } else { GONE })
}

/// Locks a page in memory.
fn lock(address: usize) -> Result<usize, Stop> {
    // SAFETY: mlock changes nothing in memory.
    aside(|| unsafe { ask(Sysno::mlock, [address, page(), 0, 0, 0, 0]) }).setup("mlock")
}

/// A file with a letter on each page, and a mapping of it.
fn of_letters(lab: &Lab, pages: u8, protection: usize, flags: usize) -> Result<(File, usize), Stop> {
    let file = lettered(lab, pages)?;
    let area = mapped(&file, pages.into(), protection, flags)?;
    Ok((file, area))
}

/// The same, with one page unmapped again.
fn with_hole(lab: &Lab, pages: u8, hole: usize, protection: usize, flags: usize) -> Result<usize, Stop> {
    let (_file, area) = of_letters(lab, pages, protection, flags)?;
    aside(|| unmap(area + hole * page(), page())).setup("munmap")?;
    Ok(area)
}

/// A file with a letter on each page, whose pages have been read through a mapping.
fn of_read_letters(lab: &Lab, pages: u8, flags: usize) -> Result<(File, usize), Stop> {
    let (file, area) = of_letters(lab, pages, READ, flags)?;
    let shown = aside(|| letters(area, pages.into()))?;
    if "abc".starts_with(&shown) { Ok((file, area)) } else { Err(Stop::broken("the mapping does not show the file")) }
}

/// A memfd of `pages` pages, of which none is in memory.
fn unwritten(pages: usize) -> Result<File, Stop> {
    let file = File::from(sealed_memfd(0)?);
    aside(|| io::truncate(&file, (pages * page()) as u64)).setup("ftruncate")?;
    Ok(file)
}

/// An empty file on each of ext4 and xfs that is mounted, with the name of the file system.
fn on_disks(lab: &Lab) -> Result<Vec<(File, String)>, Stop> {
    let found: Vec<_> = ["ext4", "xfs"].iter().filter_map(|name| file_on(lab, &[name]).ok()).collect();
    if found.is_empty() { Ok(vec![file_on(lab, &["ext4", "xfs"])?]) } else { Ok(found) }
}

/// Writes a file back, and drops what is not mapped of it from the page cache.
fn drop_cache(file: &File) -> Result<(), Stop> {
    file.sync_all().setup("fsync")?;
    // SAFETY: posix_fadvise takes no pointer.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        errno => Err(Stop::from_setup("posix_fadvise", Errno::new(errno))),
    }
}

/// How a load ends, in a child: `done`, or the signal.
fn load(address: usize) -> Result<String, Stop> {
    pages::load(address).map(word_for)
}

/// How a store ends, in a child.
fn store_in_child(address: usize, byte: u8) -> Result<String, Stop> {
    pages::store_in_child(address, byte).map(word_for)
}

fn word_for(ended: Ended) -> String {
    match ended {
        Ended::Exited(0) => DONE.to_owned(),
        Ended::Signalled(libc::SIGBUS) => SIGBUS.to_owned(),
        Ended::Signalled(libc::SIGSEGV) => SIGSEGV.to_owned(),
        ended => ended.to_string(),
    }
}

/// The first byte of a mapping, as a letter.
fn first_of(area: Area) -> Result<String, Stop> {
    match area {
        Ok(area) if is_mapped(area)? => letter(area),
        _ => Ok("no mapping".to_owned()),
    }
}

/// The byte of a file at an offset, as a letter.
fn byte_of(file: &File, offset: usize) -> Result<char, Stop> {
    let mut byte = [b'?'];
    io::pread_full(file, &mut byte, offset as u64).setup("pread")?;
    Ok(if byte == [0] { '0' } else { char::from(byte[0]) })
}

trait SeeMapped {
    /// Notes whether a call has made a mapping: `mapped`, or its errno.
    fn mapped(&mut self, fact: impl Into<String>, area: Area) -> Result<Noted<'_>, Stop>;
}

impl SeeMapped for Observation {
    fn mapped(&mut self, fact: impl Into<String>, area: Area) -> Result<Noted<'_>, Stop> {
        Ok(match area {
            Ok(area) if is_mapped(area)? => self.text(fact, MAPPED),
            Ok(_) => self.text(fact, "no mapping at the address"),
            Err(errno) => self.call(fact, Err(errno)),
        })
    }
}
