//! The routes from a file to a sink, one file per route, built on the crates.
//!
//! A [`Transfer`] is one range of a file that is sent to a sink by a [`Route`]. It continues after a short count and after `EINTR`.
//! It stops at the end of a budget, when it must wait for the sink or for completions, and at its end. So many transfers can share
//! one event loop. A program with a single transfer calls [`send`].
//!
//! The source is read at an explicit offset, and its file position does not change. A transfer that ended early can be resumed by
//! any route at the range's start plus [`Outcome::bytes`]; by `MSG_ZEROCOPY` again, use [`Transfer::begin_after`]. Writing to a peer
//! that is gone raises `SIGPIPE`. Only `MSG_ZEROCOPY` has a flag against that, so the program ignores the signal (a Rust program
//! does).

pub mod carrier;
mod copy_file_range;
pub mod delivery;
mod mmap_write;
mod msg_zerocopy;
mod read_write;
mod sendfile;
mod splice;
mod vmsplice;
mod window;

use crate::lab::io;
use carrier::{Carrier, Halt, Left, Notified};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::str::FromStr;
use std::time::Duration;
use syscalls::{Errno, Sysno};

/// A way to send a file's bytes to a sink. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `pread` into a buffer, `write` from it.
    ReadWrite {
        /// The buffer's size.
        buffer: usize,
    },
    /// `mmap`, `write` of the mapping, `munmap`.
    MmapWrite {
        /// The size of one mapping.
        window: usize,
    },
    /// `sendfile`.
    Sendfile,
    /// `splice` into a pipe and out of it; only once, if the sink is a pipe.
    Splice {
        /// The capacity of the pipe in between.
        pipe: usize,
    },
    /// `mmap`, `vmsplice` of the mapping into a pipe, `splice` out of it; only `vmsplice`, if the sink is a pipe.
    Vmsplice {
        /// The size of one mapping.
        window: usize,
        /// The capacity of the pipe in between.
        pipe: usize,
    },
    /// `mmap`, `send` of the mapping with `MSG_ZEROCOPY`; reads every completion.
    MsgZerocopy {
        /// The size of one mapping.
        window: usize,
        /// The number of bytes of one send.
        chunk: usize,
    },
    /// `copy_file_range`, to a file.
    CopyFileRange,
}

/// Without a limit: a window of the whole range, or a chunk of any size.
pub const WHOLE: usize = usize::MAX;

impl Route {
    /// Every route, with usual parameters for a first try.
    pub const ALL: &[Self] = &[
        Self::ReadWrite { buffer: 64 << 10 },
        Self::MmapWrite { window: WHOLE },
        Self::Sendfile,
        Self::Splice { pipe: 64 << 10 },
        Self::Vmsplice { window: WHOLE, pipe: 64 << 10 },
        Self::MsgZerocopy { window: WHOLE, chunk: 64 << 10 },
        Self::CopyFileRange,
    ];

    /// Its name on a command line.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ReadWrite { .. } => "read-write",
            Self::MmapWrite { .. } => "mmap-write",
            Self::Sendfile => "sendfile",
            Self::Splice { .. } => "splice",
            Self::Vmsplice { .. } => "vmsplice",
            Self::MsgZerocopy { .. } => "msg-zerocopy",
            Self::CopyFileRange => "copy-file-range",
        }
    }

    /// Whether the sink has a copy when a call returns. With the other routes the sink may hold the file's pages, and sees later
    /// changes to the file.
    pub const fn takes_a_copy(&self) -> bool {
        matches!(self, Self::ReadWrite { .. } | Self::CopyFileRange)
    }

    /// Whether the source is read through a mapping: past the end of the file, the mapping has zeros or gives `EFAULT`.
    const fn maps(&self) -> bool {
        matches!(self, Self::MmapWrite { .. } | Self::Vmsplice { .. } | Self::MsgZerocopy { .. })
    }

    /// `next_id` is the id of the next `MSG_ZEROCOPY` send, if it is known.
    fn carrier(self, sink: BorrowedFd<'_>, next_id: Option<u32>) -> Result<Box<dyn Carrier>, Errno> {
        Ok(match self {
            Self::ReadWrite { buffer } => Box::new(read_write::ReadWrite::new(buffer)),
            Self::MmapWrite { window } => Box::new(mmap_write::MmapWrite::new(window)),
            Self::Sendfile => Box::new(sendfile::Sendfile),
            Self::Splice { pipe } => Box::new(splice::Splice::new(sink, pipe)?),
            Self::Vmsplice { window, pipe } => Box::new(vmsplice::Vmsplice::new(sink, window, pipe)?),
            Self::MsgZerocopy { window, chunk } => {
                Box::new(msg_zerocopy::MsgZerocopy::new(sink, window, chunk, next_id)?)
            }
            Self::CopyFileRange => Box::new(copy_file_range::CopyFileRange),
        })
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Route {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|route| route.name() == name);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(Self::name).collect();
            format!("unknown route `{name}`: use one of {}", names.join(", "))
        })
    }
}

/// The state of a transfer after [`Transfer::advance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The budget is used up.
    Budget,
    /// It can continue after this event.
    Waits(Wait),
    /// It has ended.
    Ended,
}

/// An event that a transfer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The sink can take more: `POLLOUT`.
    Sink,
    /// A completion is in the sink's error queue: `POLLERR`, which `poll` always reports.
    Completions,
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The sink has taken the whole range.
    Complete,
    /// The source ended before the range did.
    SourceEnded,
    /// A call moved nothing, although the source has more.
    Stuck(Sysno),
    /// A call returned a count that does not match the offset that it left.
    Disagrees(Sysno),
    /// A call failed. `EAGAIN` is the timeout of a blocking sink (`SO_SNDTIMEO`).
    Failed(Sysno, Errno),
    /// The caller took the outcome before the end.
    Abandoned,
}

/// The result of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes that the sink has taken, from the beginning of the range.
    pub bytes: u64,
    /// How it ended.
    pub ended: Ended,
    /// Bytes after these that had left the source, and were dropped with their buffer or pipe. The file still has them.
    pub held: u64,
    /// The source's size, if it is now smaller than the end of the sent range. With a route that sends the file's pages, bytes past
    /// this size may have become zeros before they were sent.
    pub shrank_to: Option<u64>,
    /// The reports about `MSG_ZEROCOPY` sends.
    pub notified: Option<Notified>,
}

impl Outcome {
    /// Bytes taken, or the errno of the call that failed, like the result of a system call.
    pub const fn result(&self) -> Result<u64, Errno> {
        match self.ended {
            Ended::Failed(_, errno) => Err(errno),
            _ => Ok(self.bytes),
        }
    }
}

/// A range of a file that is sent to a sink. Both may be descriptors or references to descriptors.
#[derive(Debug)]
pub struct Transfer<Source, Sink> {
    source: Source,
    sink: Sink,
    carrier: Box<dyn Carrier>,
    takes_a_copy: bool,
    /// Whether the sink returns `EAGAIN` instead of blocking.
    is_nonblocking: bool,
    start: u64,
    length: u64,
    taken: u64,
    steps: u64,
    maps: bool,
    /// The source's size at the beginning, if it is a file.
    size_before: Option<u64>,
    /// For a source that is mapped: its size, if that is known to be less than the end of the range.
    limit: Option<u64>,
    /// Why no more is sent, while completions may still be outstanding.
    ending: Option<Ended>,
    ended: Option<Ended>,
}

impl<Source: AsFd, Sink: AsFd> Transfer<Source, Sink> {
    /// Prepares the route; nothing is sent. Fails with the kernel's errno: for example, if the pipe cannot have this capacity, or if
    /// the socket does not support `SO_ZEROCOPY`.
    ///
    /// With `MSG_ZEROCOPY` it fails with `EBUSY` if the socket has the option already: completions of earlier sends could be taken
    /// for those of this transfer.
    pub fn begin(route: Route, source: Source, start: u64, length: u64, sink: Sink) -> Result<Self, Errno> {
        Self::begin_at(route, source, start, length, sink, None)
    }

    /// The same on a socket on which `earlier` was the last to send with `MSG_ZEROCOPY`, however that transfer ended. Its
    /// outstanding completions are read and not counted.
    pub fn begin_after(
        earlier: &Outcome,
        route: Route,
        source: Source,
        start: u64,
        length: u64,
        sink: Sink,
    ) -> Result<Self, Errno> {
        let next_id = earlier.notified.map(|notified| notified.next_id);
        Self::begin_at(route, source, start, length, sink, next_id)
    }

    fn begin_at(
        route: Route,
        source: Source,
        start: u64,
        length: u64,
        sink: Sink,
        next_id: Option<u32>,
    ) -> Result<Self, Errno> {
        let mut transfer = Self {
            carrier: route.carrier(sink.as_fd(), next_id)?,
            maps: route.maps(),
            size_before: None,
            limit: None,
            ending: None,
            takes_a_copy: route.takes_a_copy(),
            is_nonblocking: io::is_nonblocking(&sink)?,
            source,
            sink,
            start,
            length,
            taken: 0,
            steps: 0,
            ended: None,
        };
        transfer.size_before = transfer.size();
        transfer.look_at_size();
        Ok(transfer)
    }

    /// Sends until the sink has taken `budget` more bytes, or until it must stop. The last call may sleep, if the sink is blocking.
    pub fn advance(&mut self, budget: u64) -> State {
        let goal = self.taken.saturating_add(budget).min(self.length);
        while self.ended.is_none() {
            if self.ending.is_none() && self.taken == self.length {
                self.ending = Some(Ended::Complete);
            }
            let done = if let Some(ending) = self.ending {
                let finished = self.carrier.finish(self.sink.as_fd());
                finished.map(|()| self.ended = Some(ending))
            } else if self.limit.is_some_and(|limit| limit <= self.at()) {
                self.ending = self.is_behind_the_end().then_some(Ended::SourceEnded);
                Ok(())
            } else if self.taken == goal {
                return State::Budget;
            } else {
                self.step(goal).map(|count| self.taken += count as u64)
            };
            if let Err(halt) = done
                && let Some(wait) = self.halted(halt)
            {
                return State::Waits(wait);
            }
        }
        State::Ended
    }

    fn step(&mut self, goal: u64) -> Result<usize, Halt> {
        self.steps += 1;
        let offset = self.at();
        let end = self.limit.unwrap_or(u64::MAX).min(self.start + goal);
        let left = Left { offset, length: usize::try_from(end - offset).unwrap_or(usize::MAX) };
        self.carrier.step(self.source.as_fd(), self.sink.as_fd(), left)
    }

    /// The event to wait for, if there is one. Without an event, the transfer continues or has ended.
    fn halted(&mut self, halt: Halt) -> Option<Wait> {
        match halt {
            Halt::Call(_, Errno::EINTR) => {}
            Halt::Call(_, Errno::EAGAIN) if self.is_nonblocking => return Some(Wait::Sink),
            Halt::Completions => return Some(Wait::Completions),
            Halt::Nothing(_) if self.is_behind_the_end() => self.ending = Some(Ended::SourceEnded),
            // A write that reaches the end of the mapping may take no bytes, not even those before the end.
            Halt::Call(_, Errno::EFAULT) if self.look_at_size() => {}
            Halt::Nothing(call) => self.give_up(Ended::Stuck(call)),
            Halt::Disagrees(call) => self.give_up(Ended::Disagrees(call)),
            Halt::Call(call, errno) => self.give_up(Ended::Failed(call, errno)),
        }
        None
    }

    fn give_up(&mut self, ended: Ended) {
        // The completions that have arrived are read; it does not wait for more.
        let _ = self.carrier.finish(self.sink.as_fd());
        self.ended = Some(ended);
    }

    /// The current offset in the source.
    const fn at(&self) -> u64 {
        self.start + self.taken
    }

    /// Whether the source has no bytes past those that were taken, by its current size. A source without a size (`/proc`) has no
    /// more bytes.
    fn is_behind_the_end(&mut self) -> bool {
        self.look_at_size();
        let at = self.at() + self.carrier.held();
        self.size().is_none_or(|size| size <= at)
    }

    /// Updates the limit from the source's size. Returns whether the limit changed.
    fn look_at_size(&mut self) -> bool {
        let end = self.start.saturating_add(self.length);
        let limit = self.size().filter(|size| self.maps && *size < end);
        std::mem::replace(&mut self.limit, limit) != limit
    }

    fn size(&self) -> Option<u64> {
        let status = io::status(&self.source).ok()?;
        let is_file = status.st_mode & libc::S_IFMT == libc::S_IFREG;
        u64::try_from(status.st_size).ok().filter(|_| is_file)
    }

    /// Bytes of the range that the sink has taken so far.
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    /// The number of steps of the route so far. Each step is one or two calls.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The kernel's reports about `MSG_ZEROCOPY` sends so far.
    pub fn notified(&self) -> Option<Notified> {
        self.carrier.notified()
    }

    /// The source.
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// The sink.
    pub const fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Sleeps until the event has happened.
    pub fn wait(&self, wait: Wait) -> Result<(), Errno> {
        let events = match wait {
            Wait::Sink => libc::POLLOUT,
            Wait::Completions => 0, // POLLERR is always reported
        };
        let (answer, happened) = io::ppoll(&self.sink, events, -1);
        answer?;
        // A connection that has ended is always ready; its last completions arrive when the kernel drops the queued data.
        if wait == Wait::Completions && happened & libc::POLLHUP != 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Sends to the end, sleeps where it must wait, and returns the result. The sink's `O_NONBLOCK` must be as it was at the
    /// beginning.
    pub fn run(mut self) -> Outcome {
        self.drive();
        self.outcome()
    }

    /// Sends to the end, and sleeps where it must wait.
    pub fn drive(&mut self) {
        loop {
            match self.advance(u64::MAX) {
                State::Ended => return,
                State::Budget => {}
                State::Waits(wait) => {
                    if let Err(errno) = self.wait(wait) {
                        self.ended = Some(Ended::Failed(Sysno::ppoll, errno));
                    }
                }
            }
        }
    }

    /// The result, at any point of the transfer. Held bytes are dropped.
    pub fn outcome(self) -> Outcome {
        let shrank_to = || {
            let has_shrunk = |size: &u64| *size < self.at() && Some(*size) < self.size_before;
            self.size().filter(has_shrunk)
        };
        Outcome {
            bytes: self.taken,
            ended: self.ended.unwrap_or(Ended::Abandoned),
            held: self.carrier.held(),
            shrank_to: if self.takes_a_copy || self.taken == 0 { None } else { shrank_to() },
            notified: self.carrier.notified(),
        }
    }
}

/// Sends the first `length` bytes of `source` by `route`, to the end.
pub fn send(route: Route, source: &impl AsFd, sink: &impl AsFd, length: usize) -> Result<Outcome, Errno> {
    Ok(Transfer::begin(route, source, 0, length as u64, sink)?.run())
}
