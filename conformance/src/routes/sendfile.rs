//! `sendfile`, with an offset of its own.

use super::until_done;
use nocopy_sendfile::sendfile;
use std::os::fd::AsFd;
use syscalls::Errno;

/// Sends the first `length` bytes of `file`.
pub fn send(file: &impl AsFd, sink: &impl AsFd, length: usize) -> Result<u64, Errno> {
    let mut offset = 0;
    until_done(length, |done| {
        sendfile(sink, file, Some(&mut offset), length - done)
    })
}
