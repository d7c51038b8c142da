//! What every route is made of: how far it has come, why it stops, and one step.

use std::fmt;
use std::os::fd::BorrowedFd;
use syscalls::Errno;
use syscalls::Sysno;
/// What is left to take from the source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// Why a step took nothing to the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    Call(Sysno, Errno),
    /// A call says that there is nothing more at this offset.
    Nothing(Sysno),
    /// A call's count is not how far its offset went.
    Disagrees(Sysno),
    Completions,
}

/// What `call` answered, as a step's result.
pub(super) fn asked(call: Sysno, answer: Result<usize, Errno>) -> Result<usize, Halt> {
    match answer {
        Ok(0) => Err(Halt::Nothing(call)),
        Ok(count) => Ok(count),
        Err(errno) => Err(Halt::Call(call, errno)),
    }
}

/// The same of a call that has moved an offset: by its count, or one of the two is not so.
pub(super) fn moved(
    call: Sysno,
    answer: Result<usize, Errno>,
    from: u64,
    to: u64,
) -> Result<usize, Halt> {
    match asked(call, answer)? {
        count if from.checked_add(count as u64) == Some(to) => Ok(count),
        _ => Err(Halt::Disagrees(call)),
    }
}

/// What a route does, a call or two at a time.
pub(super) trait Carrier: fmt::Debug + Send {
    /// Brings some of what is left to the sink: the bytes that it has taken, 0 where they have only left the source. `held`
    /// bytes have left it before, so a step may be made with nothing but these. After a failure it can be made again.
    fn step(
        &mut self,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        left: Left,
    ) -> Result<usize, Halt>;

    /// Bytes that have left the source and not reached the sink: in a buffer or a pipe.
    fn held(&self) -> u64 {
        0
    }

    /// Once all is with the sink: gives back what is not needed any more.
    fn finish(&mut self, _sink: BorrowedFd<'_>) -> Result<(), Halt> {
        Ok(())
    }

    /// What the kernel has said about the sends.
    fn notified(&self) -> Option<Notified> {
        None
    }
}

/// What the kernel said about `MSG_ZEROCOPY` sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notified {
    /// Sends that took bytes.
    pub sends: u64,
    /// Sends whose completion says that their bytes were copied after all.
    pub copied: u64,
    /// Sends without a completion so far: the kernel still holds the file's pages.
    pub outstanding: u64,
    /// Sends that were made without the flag, because not even one could be pinned (`RLIMIT_MEMLOCK`) or queued.
    pub unpinned: u64,
    /// The id that the socket's next send with the flag will have: for `Transfer::begin_after`.
    pub next_id: u32,
}
