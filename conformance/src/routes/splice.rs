//! `splice` twice, through a pipe.

use super::until_done;
use nocopy_splice::{Pipe, SpliceFlags, splice};
use std::os::fd::AsFd;
use syscalls::Errno;

/// Sends the first `length` bytes of `file` through `pipe`, which is empty before and, after a success, again.
pub fn send(file: &impl AsFd, sink: &impl AsFd, length: usize, pipe: &Pipe) -> Result<u64, Errno> {
    let mut offset = 0;
    let mut queued = 0;
    until_done(length, |done| {
        if queued == 0 {
            queued = splice(
                file,
                Some(&mut offset),
                &pipe.write,
                None,
                length - done,
                SpliceFlags::MOVE,
            )?;
        }
        let count = splice(&pipe.read, None, sink, None, queued, SpliceFlags::MOVE)?;
        queued -= count;
        Ok(count)
    })
}
