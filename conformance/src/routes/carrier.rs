//! The parts of every route: the position, why it stops, and one step.

use std::fmt;
use std::os::fd::BorrowedFd;
use syscalls::Errno;
use syscalls::Sysno;
/// The rest of the range in the source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// Why a step sent nothing to the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    Call(Sysno, Errno),
    /// A call returned 0 at this offset.
    Nothing(Sysno),
    /// A call's count differs from the distance that its offset moved.
    Disagrees(Sysno),
    Completions,
}

/// The result of `call`, as the result of a step.
pub(super) fn asked(call: Sysno, answer: Result<usize, Errno>) -> Result<usize, Halt> {
    match answer {
        Ok(0) => Err(Halt::Nothing(call)),
        Ok(count) => Ok(count),
        Err(errno) => Err(Halt::Call(call, errno)),
    }
}

/// The same for a call that has moved an offset. The count and the distance must be equal.
pub(super) fn moved(call: Sysno, answer: Result<usize, Errno>, from: u64, to: u64) -> Result<usize, Halt> {
    match asked(call, answer)? {
        count if from.checked_add(count as u64) == Some(to) => Ok(count),
        _ => Err(Halt::Disagrees(call)),
    }
}

/// The work of a route, one or two calls at a time.
pub(super) trait Carrier: fmt::Debug + Send {
    /// Sends some of the rest to the sink. Returns the bytes that the sink has taken, or 0 if they have only left the source. `held`
    /// bytes left the source before, so a step may only send these. After a failure, the step can be repeated.
    fn step(&mut self, source: BorrowedFd<'_>, sink: BorrowedFd<'_>, left: Left) -> Result<usize, Halt>;

    /// Bytes that have left the source and not reached the sink: in a buffer or a pipe.
    fn held(&self) -> u64 {
        0
    }

    /// After all bytes are in the sink: releases unneeded resources.
    fn finish(&mut self, _sink: BorrowedFd<'_>) -> Result<(), Halt> {
        Ok(())
    }

    /// The kernel's reports about the sends.
    fn notified(&self) -> Option<Notified> {
        None
    }
}

/// The kernel's reports about `MSG_ZEROCOPY` sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notified {
    /// Sends that took bytes.
    pub sends: u64,
    /// Sends whose completion reports that their bytes were copied after all.
    pub copied: u64,
    /// Sends without a completion so far: the kernel still holds the file's pages.
    pub outstanding: u64,
    /// Sends that were made without the flag, because not even one could be pinned (`RLIMIT_MEMLOCK`) or queued.
    pub unpinned: u64,
    /// The id that the socket's next send with the flag will have: for `Transfer::begin_after`.
    pub next_id: u32,
}
