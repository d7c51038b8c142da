//! `mmap` the file and `send` the mapping with `MSG_ZEROCOPY`, until every completion has come back.

use super::window::Window;
use super::{Carrier, Halt, Left, Notified, asked};
use crate::lab::completions::Completions;
use nocopy_msg_zerocopy::{Enabled, SendFlags, enable, send_copied, send_zerocopy};
use std::os::fd::BorrowedFd;
use syscalls::{Errno, Sysno};

#[derive(Debug)]
pub(super) struct MsgZerocopy {
    window: Window,
    chunk: usize,
    sends: u64,
    unpinned: u64,
    completions: Completions,
}

impl MsgZerocopy {
    /// Switches `SO_ZEROCOPY` on.
    pub(super) fn new(sink: BorrowedFd<'_>, window: usize, chunk: usize) -> Result<Self, Errno> {
        enable(sink)?;
        Ok(Self {
            window: Window::new(window),
            chunk: chunk.max(1),
            sends: 0,
            unpinned: 0,
            completions: Completions::default(),
        })
    }

    fn outstanding(&self) -> u64 {
        self.sends.saturating_sub(self.completions.count())
    }

    /// Reads what completions there are: whether there were any.
    fn read_completions(&mut self, sink: BorrowedFd<'_>) -> Result<bool, Halt> {
        let before = self.outstanding();
        let failed = |errno| Halt::Call(Sysno::recvmsg, errno);
        self.completions.read_now(&sink).map_err(failed)?;
        if self.completions.count() > self.sends {
            return Err(failed(Errno::EBADMSG)); // these are no completions of ours
        }
        Ok(self.outstanding() < before)
    }
}

impl Carrier for MsgZerocopy {
    fn step(
        &mut self,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        left: Left,
    ) -> Result<usize, Halt> {
        let (address, length) = self.window.at(source, left)?;
        let length = length.min(self.chunk);
        // SAFETY: the range is inside the window's mapping. The reference is only handed on: nobody reads through it, so it does no
        // harm where the source has become shorter and the kernel answers EFAULT.
        let part = unsafe { std::slice::from_raw_parts(address, length) };
        // SAFETY: the pages are the file's, to which the kernel takes references: they stay when the mapping goes, and nobody
        // writes them through it. What others do to the file is the caller's business, who is told when all is complete.
        match unsafe { send_zerocopy(Enabled::assume(sink.into()), part, SendFlags::NOSIGNAL) } {
            // Too much is pinned (RLIMIT_MEMLOCK) or queued (optmem_max): a completion makes room. With nothing in flight
            // none will come, and what is left is to have it copied.
            Err(Errno::ENOBUFS) => {
                if self.read_completions(sink)? {
                    Ok(0)
                } else if self.outstanding() > 0 {
                    Err(Halt::Completions)
                } else {
                    let taken = send_copied(sink, part, SendFlags::NOSIGNAL);
                    let count = asked(Sysno::sendto, taken)?;
                    self.unpinned += 1;
                    Ok(count)
                }
            }
            Err(errno) => {
                // A completion that is not read makes the socket ready for ever, and no sleep of the wait for room.
                self.read_completions(sink)?;
                Err(Halt::Call(Sysno::sendto, errno))
            }
            taken => {
                let count = asked(Sysno::sendto, taken)?;
                self.sends += 1;
                Ok(count)
            }
        }
    }

    fn finish(&mut self, sink: BorrowedFd<'_>) -> Result<(), Halt> {
        self.window.close();
        self.read_completions(sink)?;
        if self.outstanding() > 0 {
            return Err(Halt::Completions);
        }
        Ok(())
    }

    fn notified(&self) -> Option<Notified> {
        Some(Notified {
            sends: self.sends,
            copied: self.completions.copied(),
            outstanding: self.outstanding(),
            unpinned: self.unpinned,
        })
    }
}
