//! The ways to bring a file's bytes to a sink, a file per route, over the crates.
//!
//! Each is the plain loop that a program would write: it goes on after a short count and after `EINTR`, and stops at an error
//! or at the end of the file. All begin at offset 0 and return the bytes that the sink has taken.

pub mod mmap_write;
pub mod msg_zerocopy;
pub mod read_write;
pub mod sendfile;
pub mod splice;
pub mod vmsplice;

use crate::lab::io;
use syscalls::Errno;

/// [`io::until_done`], as the bytes that the sink has taken.
fn until_done(
    length: usize,
    step: impl FnMut(usize) -> Result<usize, Errno>,
) -> Result<u64, Errno> {
    io::until_done(length, step).map(|done| done as u64)
}
