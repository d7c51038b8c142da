//! Pages whose bytes identify them, and what a mapping shows of them.
//!
//! Memory is read by `write()` into a pipe. A missing page is then an errno, and the interposer can lie about the bytes from the
//! pipe.

use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::{Lab, io};
use crate::verdict::{Lack, Setup, Stop};
use nocopy_host::process::{self, Ended};
use std::fs::File;
use std::ops::Range;
use syscalls::{Errno, Sysno};

/// The size of a page of this machine, in bytes.
pub fn page() -> usize {
    // SAFETY: sysconf takes no pointer.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("every machine has pages")
}

/// A lie: `wait4` reports that the child exited normally.
pub const UNHARMED: Lie = Lie::about(Sysno::wait4, What::Output { argument: 1, value: 0 });

/// A file of `pages` pages: the first full of `a`, the second of `b`, and so on.
pub fn lettered(lab: &Lab, pages: u8) -> Result<File, Stop> {
    let content: Vec<u8> = (b'a'..b'a' + pages).flat_map(|letter| vec![letter; page()]).collect();
    lab.file(&content)
}

/// The letters of `pages` consecutive pages, in the form of [`letters_of`].
pub fn letters(address: usize, pages: usize) -> Result<String, Stop> {
    Ok(letters_of(&bytes(address, pages * page())?))
}

/// A letter per page: the one of its bytes, `0` for zeros, `?` for bytes that differ.
pub fn letters_of(bytes: &[u8]) -> String {
    let letter = |page: &[u8]| match page {
        [first, rest @ ..] if rest.iter().all(|byte| byte == first) => shown(*first),
        _ => '?',
    };
    bytes.chunks(page()).map(letter).collect()
}

/// The byte at an address, as a letter.
pub fn letter(address: usize) -> Result<String, Stop> {
    Ok(bytes(address, 1)?.iter().map(|byte| shown(*byte)).collect())
}

fn shown(byte: u8) -> char {
    if byte == 0 { '0' } else { char::from(byte) }
}

/// Reads memory, 64 KiB at most.
pub fn bytes(address: usize, length: usize) -> Result<Vec<u8>, Stop> {
    let (read, write) = std::io::pipe().setup("pipe")?;
    let base = std::ptr::with_exposed_provenance(address);
    // SAFETY: the kernel checks every access; no reference exists to memory that is mapped for an experiment.
    unsafe { io::write_all_from(&write, base, length) }.setup("write a mapping to a pipe")?;
    let mut bytes = vec![0; length];
    let read = io::read_full(&read, &mut bytes).setup("read the pipe")?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes one byte of a page to a pipe. The result is `EFAULT` if the page is not mapped or not accessible. Any other error is
/// about the pipe, and stops the experiment.
pub fn touch(address: usize) -> Result<Result<usize, Errno>, Stop> {
    match write_from(address)? {
        Err(Errno::EFAULT) => Ok(Err(Errno::EFAULT)),
        written => written.setup("write a page to a pipe").map(Ok),
    }
}

/// The same, with any result of the kernel.
pub fn write_from(address: usize) -> Result<Result<usize, Errno>, Stop> {
    let (_read, write) = std::io::pipe().setup("pipe")?;
    let base = std::ptr::with_exposed_provenance(address);
    // SAFETY: the kernel checks the access; no reference exists to memory that is mapped for an experiment.
    Ok(io::again(|| unsafe { io::write_from(&write, base, 1) }))
}

/// Does `work` in a child, and returns how the child ended. A child that another process has stopped shows nothing about `work`.
pub fn in_child(work: impl FnOnce()) -> Result<Ended, Stop> {
    let child = process::fork(work).setup("fork")?;
    match process::wait(child) {
        Ended::Stopped => {
            process::kill(child);
            process::wait(child);
            Err(Stop::broken("another process has stopped a child of the experiment"))
        }
        Ended::Unknown => Err(Stop::broken("wait4() does not report how a child has ended")),
        ended => Ok(ended),
    }
}

/// Loads the byte at an address in a child.
pub fn load(address: usize) -> Result<Ended, Stop> {
    let byte = std::ptr::with_exposed_provenance::<u8>(address);
    in_child(|| {
        // SAFETY: the child has no other thread. A load from a page that does not exist ends it.
        unsafe { byte.read_volatile() };
    })
}

/// Stores to the byte at an address in a child.
pub fn store_in_child(address: usize, letter: u8) -> Result<Ended, Stop> {
    let byte = std::ptr::with_exposed_provenance_mut::<u8>(address);
    in_child(|| {
        // SAFETY: the child has no other thread, and no reference exists to the memory that is mapped for an experiment.
        unsafe { byte.write_volatile(letter) };
    })
}

/// Stores to the byte at an address.
///
/// # Safety
///
/// The address must be in a writable mapping that belongs to the experiment, inside its file. No reference to it may exist.
pub unsafe fn store(address: usize, letter: u8) {
    // SAFETY: the caller's promise.
    unsafe { std::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(letter) };
}

/// The number of pages in memory, of `pages` consecutive ones, by `mincore`.
pub fn resident(address: usize, pages: usize) -> Result<u64, Stop> {
    let mut found = vec![0_u8; pages];
    let pointer = found.as_mut_ptr().expose_provenance();
    // SAFETY: mincore writes a byte for each page.
    unsafe { io::ask(Sysno::mincore, [address, pages * page(), pointer, 0, 0, 0]) }.setup("mincore")?;
    Ok(found.iter().filter(|page| **page & 1 == 1).count() as u64)
}

/// A line of `/proc/self/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The range of addresses.
    pub range: Range<usize>,
    /// Its permissions and type: `rw-p`.
    pub access: String,
}

impl Mapping {
    /// Parses a line.
    fn of(line: &str) -> Option<Self> {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        Some(Self { range: address(start)?..address(end)?, access: rest.split_whitespace().next()?.to_owned() })
    }
}

/// The mapping that contains an address, if there is one.
pub fn mapping_at(address: usize) -> Result<Option<Mapping>, Stop> {
    let text = std::fs::read_to_string("/proc/self/maps").setup("read /proc/self/maps")?;
    let mut mappings = text.lines().filter_map(Mapping::of);
    Ok(mappings.find(|mapping| mapping.range.contains(&address)))
}

/// A field of the `/proc/self/smaps` entry of the mapping that starts at an address: the text after the colon.
pub fn account(address: usize, field: &str) -> Result<String, Stop> {
    let lack = |what: String| Stop::untestable(Lack::Kernel, what, "use a kernel with CONFIG_PROC_PAGE_MONITOR");
    let text = aside(|| std::fs::read_to_string("/proc/self/smaps"))
        .map_err(|error| lack(format!("/proc/self/smaps: {error}")))?;
    let head = format!("{address:x}-");
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&head));
    lines
        .find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
        .ok_or_else(|| lack(format!("/proc/self/smaps has no {field} of the mapping")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_per_page() {
        let mut bytes = [vec![b'a'; page()], vec![0; page()], vec![b'c'; page()]].concat();
        assert_eq!(letters_of(&bytes), "a0c");
        bytes[page()] = b'x';
        assert_eq!(letters_of(&bytes), "a?c");
    }

    #[test]
    fn a_line_of_maps_is_taken_apart() {
        let line = "7f0000001000-7f0000003000 r-xp 00001000 fe:01 12   /a file";
        let mapping = Mapping { range: 0x7f00_0000_1000..0x7f00_0000_3000, access: "r-xp".to_owned() };
        assert_eq!(Mapping::of(line), Some(mapping));
        assert_eq!(Mapping::of("nothing of the kind"), None);
    }
}
