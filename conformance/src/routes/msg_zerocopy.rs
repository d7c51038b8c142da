//! `mmap` the file and `sendmsg` the mapping with `MSG_ZEROCOPY`, until every completion has come back.

use super::until_done;
use crate::lab::completions::Completions;
use crate::lab::map_file;
use nocopy_msg_zerocopy::{SendFlags, enable, send_zerocopy};
use std::os::fd::AsFd;
use syscalls::Errno;

/// What was sent, and what the kernel said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes that the socket has taken.
    pub bytes: u64,
    /// Sends that took bytes.
    pub sends: u64,
    /// Sends of which the kernel says that it copied them after all.
    pub copied: u64,
}

/// Sends the first `length` bytes of `file`, at most `chunk` with one call, and waits for the completions.
pub fn send(
    file: &impl AsFd,
    socket: &impl AsFd,
    length: usize,
    chunk: usize,
) -> Result<Sent, Errno> {
    let mapping = map_file(file, length)?;
    let zerocopy = enable(socket)?;
    let mut sends = 0;
    let mut completions = Completions::default();
    let bytes = until_done(length, |done| {
        // SAFETY: the mapping lives until every completion has come back (or, after an error, its pages stay with the
        // kernel's references). The source is a file that nobody changes or truncates during the transfer.
        let all = unsafe { mapping.as_slice() };
        let part = &all[done..(done + chunk).min(length)];
        loop {
            // SAFETY: as above.
            match unsafe { send_zerocopy(zerocopy, part, SendFlags::NOSIGNAL) } {
                // Too much is pinned (RLIMIT_MEMLOCK) or queued (optmem_max): a completion makes room. With nothing in
                // flight none will come.
                Err(Errno::ENOBUFS) if completions.count() < sends => {
                    completions.read_next(socket, sends)?;
                }
                Ok(count) => {
                    sends += 1;
                    return Ok(count);
                }
                Err(errno) => return Err(errno),
            }
        }
    })?;
    completions.read_until(socket, sends)?;
    Ok(Sent {
        bytes,
        sends,
        copied: completions.copied(),
    })
}
