//! The ways to bring a file's bytes to a sink, a file per route, over the crates.
//!
//! A [`Transfer`] is one range of a file on its way to a sink by a [`Route`]. It goes on after a short count and after
//! `EINTR`, and stops where it must: at the end of a budget, where the sink or the completions must be waited for, at the end. So
//! many of them can share one event loop, and a program with one of them calls [`send`].
//!
//! The source is read at an explicit offset: its file position stays as it is, and a transfer that ended early can be resumed at the
//! range's start plus [`Outcome::bytes`], by any route; by `MSG_ZEROCOPY` once more with [`Transfer::begin_after`]. Writing to a peer that is gone raises `SIGPIPE`; only `MSG_ZEROCOPY` has
//! a flag against it, so the program ignores the signal (a Rust program does).

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

/// A way to bring a file's bytes to a sink. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `pread` into a buffer, `write` from it.
    ReadWrite {
        /// The buffer's size.
        buffer: usize,
    },
    /// `mmap`, `write` of the mapping, `munmap`.
    MmapWrite {
        /// How much is mapped at a time.
        window: usize,
    },
    /// `sendfile`.
    Sendfile,
    /// `splice` into a pipe and out of it; once, where the sink is a pipe.
    Splice {
        /// The capacity of the pipe between.
        pipe: usize,
    },
    /// `mmap`, `vmsplice` of the mapping into a pipe, `splice` out of it; `vmsplice` alone, where the sink is a pipe.
    Vmsplice {
        /// How much is mapped at a time.
        window: usize,
        /// The capacity of the pipe between.
        pipe: usize,
    },
    /// `mmap`, `send` of the mapping with `MSG_ZEROCOPY`, and every completion read.
    MsgZerocopy {
        /// How much is mapped at a time.
        window: usize,
        /// How much is sent with one call.
        chunk: usize,
    },
    /// `copy_file_range`, to a file.
    CopyFileRange,
}

/// As much as is asked for: a window of the whole range, a chunk without limit.
pub const WHOLE: usize = usize::MAX;

impl Route {
    /// Every route, with the parameters that a program would begin with.
    pub const ALL: &[Self] = &[
        Self::ReadWrite { buffer: 64 << 10 },
        Self::MmapWrite { window: WHOLE },
        Self::Sendfile,
        Self::Splice { pipe: 64 << 10 },
        Self::Vmsplice {
            window: WHOLE,
            pipe: 64 << 10,
        },
        Self::MsgZerocopy {
            window: WHOLE,
            chunk: 64 << 10,
        },
        Self::CopyFileRange,
    ];

    /// What it is called on a command line.
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

    /// Whether the sink has its own copy when a call returns. By the other routes it may still be given the file's pages, and what
    /// is done to the file meanwhile.
    pub const fn takes_a_copy(&self) -> bool {
        matches!(self, Self::ReadWrite { .. } | Self::CopyFileRange)
    }

    /// Whether the source is read through a mapping: what is behind its end there is zeros or `EFAULT`.
    const fn maps(&self) -> bool {
        matches!(
            self,
            Self::MmapWrite { .. } | Self::Vmsplice { .. } | Self::MsgZerocopy { .. }
        )
    }

    /// `next_id` is that of the next `MSG_ZEROCOPY` send, if it is known.
    fn carrier(
        self,
        sink: BorrowedFd<'_>,
        next_id: Option<u32>,
    ) -> Result<Box<dyn Carrier>, Errno> {
        Ok(match self {
            Self::ReadWrite { buffer } => Box::new(read_write::ReadWrite::new(buffer)),
            Self::MmapWrite { window } => Box::new(mmap_write::MmapWrite::new(window)),
            Self::Sendfile => Box::new(sendfile::Sendfile),
            Self::Splice { pipe } => Box::new(splice::Splice::new(sink, pipe)?),
            Self::Vmsplice { window, pipe } => {
                Box::new(vmsplice::Vmsplice::new(sink, window, pipe)?)
            }
            Self::MsgZerocopy { window, chunk } => Box::new(msg_zerocopy::MsgZerocopy::new(
                sink, window, chunk, next_id,
            )?),
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
            format!(
                "there is no route `{name}`: it is one of {}",
                names.join(", ")
            )
        })
    }
}

/// Where a transfer stands after [`Transfer::advance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The budget is used up.
    Budget,
    /// It goes on once this has happened.
    Waits(Wait),
    /// It has ended.
    Ended,
}

/// What a transfer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The sink takes more: `POLLOUT`.
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
    /// A call moves nothing, though the source has more.
    Stuck(Sysno),
    /// A call says that it moved so much, and left an offset behind that says otherwise.
    Disagrees(Sysno),
    /// A call failed. `EAGAIN` is the timeout of a blocking sink (`SO_SNDTIMEO`).
    Failed(Sysno, Errno),
    /// Nobody let it end.
    Abandoned,
}

/// What has become of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes that the sink has taken, of the range's beginning.
    pub bytes: u64,
    /// How it ended.
    pub ended: Ended,
    /// Bytes behind these that had left the source, and were dropped with the buffer or pipe that they stood in. They are in the
    /// file as before.
    pub held: u64,
    /// The source's size, where it is now smaller than what was sent: by a route that sends the file's pages, bytes beyond it may
    /// have become zeros before they were sent.
    pub shrank_to: Option<u64>,
    /// Of `MSG_ZEROCOPY`.
    pub notified: Option<Notified>,
}

impl Outcome {
    /// Bytes taken, or the errno of the call that failed, as the calls themselves answer.
    pub const fn result(&self) -> Result<u64, Errno> {
        match self.ended {
            Ended::Failed(_, errno) => Err(errno),
            _ => Ok(self.bytes),
        }
    }
}

/// A range of a file on its way to a sink. Either may be a descriptor or a reference to one.
#[derive(Debug)]
pub struct Transfer<Source, Sink> {
    source: Source,
    sink: Sink,
    carrier: Box<dyn Carrier>,
    takes_a_copy: bool,
    /// Whether the sink says `EAGAIN` where it would have to be waited for.
    is_nonblocking: bool,
    start: u64,
    length: u64,
    taken: u64,
    steps: u64,
    maps: bool,
    /// The source's size at the beginning, if it is a file.
    size_before: Option<u64>,
    /// Of a source that is mapped: its size, as far as it is known to be less than the range.
    limit: Option<u64>,
    /// Why nothing more is sent, while completions may be waited for.
    ending: Option<Ended>,
    ended: Option<Ended>,
}

impl<Source: AsFd, Sink: AsFd> Transfer<Source, Sink> {
    /// Makes ready what the route needs; nothing is sent. Fails with what the kernel says to that: a pipe that may not be as large,
    /// a socket without `SO_ZEROCOPY`. By `MSG_ZEROCOPY` it fails with `EBUSY`, if the socket has the option already: there may
    /// have been sends whose completions would be taken for this transfer's.
    pub fn begin(
        route: Route,
        source: Source,
        start: u64,
        length: u64,
        sink: Sink,
    ) -> Result<Self, Errno> {
        Self::begin_at(route, source, start, length, sink, None)
    }

    /// The same on a socket to which nothing but `earlier` has sent with `MSG_ZEROCOPY` last, however that transfer ended.
    /// Completions of its sends that are still outstanding are read and not counted.
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

    /// Goes on until `budget` bytes more are with the sink, or as far as it can. The last call may sleep, if the sink is blocking.
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
        let left = Left {
            offset,
            length: usize::try_from(end - offset).unwrap_or(usize::MAX),
        };
        self.carrier
            .step(self.source.as_fd(), self.sink.as_fd(), left)
    }

    /// What is to be waited for, if anything: otherwise it goes on or ends.
    fn halted(&mut self, halt: Halt) -> Option<Wait> {
        match halt {
            Halt::Call(_, Errno::EINTR) => {}
            Halt::Call(_, Errno::EAGAIN) if self.is_nonblocking => return Some(Wait::Sink),
            Halt::Completions => return Some(Wait::Completions),
            Halt::Nothing(_) if self.is_behind_the_end() => self.ending = Some(Ended::SourceEnded),
            // A write that meets the end of the mapping may take nothing of what is before it.
            Halt::Call(_, Errno::EFAULT) if self.look_at_size() => {}
            Halt::Nothing(call) => self.give_up(Ended::Stuck(call)),
            Halt::Disagrees(call) => self.give_up(Ended::Disagrees(call)),
            Halt::Call(call, errno) => self.give_up(Ended::Failed(call, errno)),
        }
        None
    }

    fn give_up(&mut self, ended: Ended) {
        // The completions that are there are read; nobody waits for more.
        let _ = self.carrier.finish(self.sink.as_fd());
        self.ended = Some(ended);
    }

    /// Where in the source it is.
    const fn at(&self) -> u64 {
        self.start + self.taken
    }

    /// Whether the source has nothing beyond what was taken, with its size looked at again. A source without one (`/proc`) has
    /// nothing.
    fn is_behind_the_end(&mut self) -> bool {
        self.look_at_size();
        let at = self.at() + self.carrier.held();
        self.size().is_none_or(|size| size <= at)
    }

    /// Whether the source's size shows the limit to be another one than was thought.
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

    /// How often the route was asked to bring something to the sink: each time is a call or two.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// What the kernel has said about `MSG_ZEROCOPY` sends so far.
    pub fn notified(&self) -> Option<Notified> {
        self.carrier.notified()
    }

    /// Where it comes from.
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// Where it goes.
    pub const fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Sleeps until what it waits for has happened.
    pub fn wait(&self, wait: Wait) -> Result<(), Errno> {
        let events = match wait {
            Wait::Sink => libc::POLLOUT,
            Wait::Completions => 0, // POLLERR is always reported
        };
        let (answer, happened) = io::poll(&self.sink, events, -1);
        answer?;
        // A connection that has ended is ready for ever; its last completions come when the kernel drops what it has queued.
        if wait == Wait::Completions && happened & libc::POLLHUP != 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Goes on to the end, sleeping where it must wait, and says what has become of it. `O_NONBLOCK` of the sink is as it was at
    /// the beginning.
    pub fn run(mut self) -> Outcome {
        self.drive();
        self.outcome()
    }

    /// Goes on to the end, sleeping where it must wait.
    pub fn drive(&mut self) {
        loop {
            match self.advance(u64::MAX) {
                State::Ended => return,
                State::Budget => {}
                State::Waits(wait) => {
                    if let Err(errno) = self.wait(wait) {
                        self.ended = Some(Ended::Failed(Sysno::poll, errno));
                    }
                }
            }
        }
    }

    /// What has become of it, at whatever point. What is held is dropped.
    pub fn outcome(self) -> Outcome {
        let shrank_to = || {
            let has_shrunk = |size: &u64| *size < self.at() && Some(*size) < self.size_before;
            self.size().filter(has_shrunk)
        };
        Outcome {
            bytes: self.taken,
            ended: self.ended.unwrap_or(Ended::Abandoned),
            held: self.carrier.held(),
            shrank_to: if self.takes_a_copy || self.taken == 0 {
                None
            } else {
                shrank_to()
            },
            notified: self.carrier.notified(),
        }
    }
}

/// Sends the first `length` bytes of `source` by `route`, to the end.
pub fn send(
    route: Route,
    source: &impl AsFd,
    sink: &impl AsFd,
    length: usize,
) -> Result<Outcome, Errno> {
    Ok(Transfer::begin(route, source, 0, length as u64, sink)?.run())
}
