//! `vmsplice` memory into a pipe, `splice` the pipe into the sink.

use super::until_done;
use nocopy_splice::{IoVec, Pipe, SpliceFlags, splice, vmsplice_to_pipe};
use std::os::fd::AsFd;
use syscalls::Errno;

/// Sends `bytes` through `pipe`, which is empty before and, after a success, again.
///
/// # Safety
///
/// The kernel keeps references to the pages of `bytes` after the return, for as long as the data is in a queue, and tells
/// nobody when it is done: the memory must not be freed before the receiver has read all (changing it is what an experiment
/// may be about).
pub unsafe fn send(bytes: &[u8], sink: &impl AsFd, pipe: &Pipe) -> Result<u64, Errno> {
    let mut queued = 0;
    until_done(bytes.len(), |done| {
        if queued == 0 {
            let rest = [IoVec::new(&bytes[done..])];
            // SAFETY: the write end of a pipe; the caller keeps the memory.
            queued = unsafe { vmsplice_to_pipe(&pipe.write, &rest, SpliceFlags::empty()) }?;
        }
        let count = splice(&pipe.read, None, sink, None, queued, SpliceFlags::empty())?;
        queued -= count;
        Ok(count)
    })
}
