//! `mmap` the file and `send` the mapping with `MSG_ZEROCOPY`, until every completion has been read.

use super::step::{Halt, Left, Side, asked};
use super::window::Window;
use crate::outcome::Notified;
use nocopy_msg_zerocopy::{
    Completion, Enabled, Message, MsgFlags, SendFlags, enable, is_enabled, messages,
    recv_error_queue, send_copied, send_zerocopy,
};
use std::os::fd::BorrowedFd;
use syscalls::{Errno, Sysno};

#[derive(Debug)]
pub(crate) struct MsgZerocopy {
    window: Window,
    chunk: usize,
    /// The id of the first send: the kernel counts them per socket.
    first: u32,
    sends: u64,
    unpinned: u64,
    completed: u64,
    copied: u64,
}

impl MsgZerocopy {
    /// Enables `SO_ZEROCOPY`. `first` is the id of the next send, if it is known.
    pub(super) fn new(
        sink: BorrowedFd<'_>,
        window: usize,
        chunk: usize,
        first: Option<u32>,
    ) -> Result<Self, Errno> {
        // If it is enabled already, there may have been sends with the flag, whose completions could not be distinguished from ours.
        if first.is_none() && is_enabled(sink)? {
            return Err(Errno::EBUSY);
        }
        enable(sink)?;
        Ok(Self {
            window: Window::new(window),
            chunk: chunk.max(1),
            first: first.unwrap_or(0),
            sends: 0,
            unpinned: 0,
            completed: 0,
            copied: 0,
        })
    }

    fn outstanding(&self) -> u64 {
        self.sends.saturating_sub(self.completed)
    }

    /// Reads the available completions. Returns whether there were any of ours. Those of sends before ours belong to an earlier
    /// transfer.
    fn read_completions(&mut self, sink: BorrowedFd<'_>) -> Result<bool, Halt> {
        let before = self.completed;
        let failed = |errno| Halt::Call(Sysno::recvmsg, errno, Side::Sink);
        while let Some(completion) = next_completion(sink).map_err(failed)? {
            let ours = self.share(completion.lo, completion.hi).map_err(failed)?;
            self.completed += ours;
            self.copied += if completion.copied { ours } else { 0 };
        }
        if self.completed > self.sends {
            return Err(failed(Errno::EBADMSG)); // more completions than sends
        }
        Ok(self.completed > before)
    }

    /// How many ids from `low` to `high`, which may wrap around, belong to our sends. Ids past our last send are an error.
    fn share(&self, low: u32, high: u32) -> Result<u64, Errno> {
        // Negative before our first send.
        let place = |id: u32| i64::from(id.wrapping_sub(self.first).cast_signed());
        let (low, high) = (place(low), place(high));
        if high < low || u64::try_from(high).is_ok_and(|high| high >= self.sends) {
            return Err(Errno::EBADMSG);
        }
        Ok(u64::try_from(high + 1 - low.max(0)).unwrap_or(0))
    }
}

/// Ids are counted modulo 2^32.
#[expect(clippy::cast_possible_truncation, reason = "that is what is wanted")]
const fn low_half(count: u64) -> u32 {
    count as u32
}

impl MsgZerocopy {
    pub(super) fn step(
        &mut self,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        left: Left,
    ) -> Result<usize, Halt> {
        let (address, length) = self.window.at(source, left)?;
        let length = length.min(self.chunk);
        // SAFETY: the range is inside the window's mapping. The reference is only passed on and never read through, so it does no
        // harm if the source has become shorter and the kernel returns EFAULT.
        let part = unsafe { std::slice::from_raw_parts(address, length) };
        // SAFETY: the pages are the file's, to which the kernel takes references: they stay when the mapping is removed, and are
        // never written through it. Changes to the file by others are up to the caller, who learns when all sends are complete.
        match unsafe { send_zerocopy(Enabled::assume(sink.into()), part, SendFlags::NOSIGNAL) } {
            // Too much is pinned (RLIMIT_MEMLOCK) or queued (optmem_max): a completion makes room. With nothing in flight no
            // completion will arrive, so the bytes are copied.
            Err(Errno::ENOBUFS) => {
                if self.read_completions(sink)? {
                    Ok(0)
                } else if self.outstanding() > 0 {
                    Err(Halt::Completions)
                } else {
                    let taken = send_copied(sink, part, SendFlags::NOSIGNAL);
                    let count = asked(Sysno::sendto, Side::Sink, taken)?;
                    self.unpinned += 1;
                    Ok(count)
                }
            }
            Err(errno) => {
                // An unread completion keeps the socket ready, and the wait for room would not sleep.
                self.read_completions(sink)?;
                Err(Halt::Call(Sysno::sendto, errno, Side::Sink))
            }
            taken => {
                let count = asked(Sysno::sendto, Side::Sink, taken)?;
                self.sends += 1;
                Ok(count)
            }
        }
    }

    pub(super) fn finish(&mut self, sink: BorrowedFd<'_>) -> Result<(), Halt> {
        self.window.close();
        self.read_completions(sink)?;
        if self.outstanding() > 0 {
            return Err(Halt::Completions);
        }
        Ok(())
    }

    pub(super) fn notified(&self) -> Notified {
        Notified {
            sends: self.sends,
            copied: self.copied,
            outstanding: self.outstanding(),
            unpinned: self.unpinned,
            next_id: self.first.wrapping_add(low_half(self.sends)),
        }
    }
}

/// The next completion of the error queue, if there is one. Any other entry is `EBADMSG`.
fn next_completion(socket: BorrowedFd<'_>) -> Result<Option<Completion>, Errno> {
    let mut control = [0; 256];
    let received = loop {
        match recv_error_queue(socket, &mut control) {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            received => break received?,
        }
    };
    let mut found = messages(&control[..received.control_len]);
    match (found.next(), found.next()) {
        (Some(Ok(Message::Completion(completion))), None)
            if received.flags.contains(MsgFlags::ERRQUEUE)
                && !received.flags.contains(MsgFlags::CTRUNC) =>
        {
            Ok(Some(completion))
        }
        _ => Err(Errno::EBADMSG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ids_of_its_own_sends_count() {
        let cases = [
            (0, 10, (0, 9), Ok(10)),
            (0, 10, (3, 3), Ok(1)),
            (0, 10, (9, 10), Err(Errno::EBADMSG)),
            (5, 10, (0, 4), Ok(0)),
            (5, 10, (0, 7), Ok(3)),
            (5, 10, (5, 14), Ok(10)),
            (5, 10, (14, 15), Err(Errno::EBADMSG)),
            (5, 10, (7, 6), Err(Errno::EBADMSG)),
            (u32::MAX - 1, 4, (u32::MAX - 3, u32::MAX), Ok(2)),
            (u32::MAX - 1, 4, (u32::MAX, 1), Ok(3)),
            (u32::MAX - 1, 4, (1, 2), Err(Errno::EBADMSG)),
        ];
        for (first, sends, (low, high), expected) in cases {
            let carrier = MsgZerocopy {
                window: Window::new(1),
                chunk: 1,
                first,
                sends,
                unpinned: 0,
                completed: 0,
                copied: 0,
            };
            assert_eq!(
                carrier.share(low, high),
                expected,
                "{low} to {high}, after {first}"
            );
        }
    }
}
