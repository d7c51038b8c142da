//! `mmap` the file, `write` the mapping, `munmap`: as in the source document's section 3.1.

use super::until_done;
use crate::lab::{io, map_file};
use std::os::fd::AsFd;
use syscalls::Errno;

/// Sends the first `length` bytes of `file`, mapped as a whole.
pub fn send(file: &impl AsFd, sink: &impl AsFd, length: usize) -> Result<u64, Errno> {
    let mapping = map_file(file, length)?;
    until_done(length, |done| {
        // SAFETY: the range is inside the mapping, which lives until the end of this function; nobody holds a reference to it.
        unsafe { io::write_from(sink, mapping.as_ptr().add(done), length - done) }
    })
}
