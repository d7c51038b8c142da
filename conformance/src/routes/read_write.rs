//! The classic way: `read` into a buffer, `write` from it.

use super::until_done;
use crate::lab::io;
use std::os::fd::AsFd;
use syscalls::Errno;

/// Sends `length` bytes of `file` through `buffer`.
pub fn send(
    file: &impl AsFd,
    sink: &impl AsFd,
    length: usize,
    buffer: &mut [u8],
) -> Result<u64, Errno> {
    let mut filled = 0..0;
    until_done(length, |done| {
        if filled.is_empty() {
            let wanted = buffer.len().min(length - done);
            filled = 0..io::read(file, &mut buffer[..wanted])?;
        }
        let count = io::write(sink, &buffer[filled.clone()])?;
        filled.start += count;
        Ok(count)
    })
}
