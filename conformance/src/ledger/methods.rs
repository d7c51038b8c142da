//! The ways of sending that the ledger and the benchmark compare: the routes with their parameters, and memory.

use super::sinks::Sink;
use crate::interpose::record::aside;
use crate::lab::alias::{self, Sharing};
use crate::lab::completions::Completions;
use crate::lab::{Lab, io, sockets};
use crate::routes::{Ended, Notified, Outcome, Route, Transfer, WHOLE};
use crate::verdict::{Setup, Stop};
use nocopy_msg_zerocopy::{SendFlags, enable, send_zerocopy};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use syscalls::Errno;

/// A way of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A file, by a route.
    Route(Route),
    /// Memory, by `write`: what a program does that has the bytes already.
    Memory {
        /// How much with one call.
        chunk: usize,
    },
    /// Memory, by `send` with `MSG_ZEROCOPY`, and every completion read.
    MemoryZerocopy {
        /// How much with one call.
        chunk: usize,
    },
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Every method with the name that users are told, in the order of the tables.
pub const ALL: &[(&str, Method)] = &[
    (
        "read+write 64 KiB",
        Method::Route(Route::ReadWrite { buffer: 64 * KIB }),
    ),
    (
        "read+write 1 MiB",
        Method::Route(Route::ReadWrite { buffer: MIB }),
    ),
    (
        "mmap+write",
        Method::Route(Route::MmapWrite { window: WHOLE }),
    ),
    (
        "mmap+write 1 MiB",
        Method::Route(Route::MmapWrite { window: MIB }),
    ),
    ("sendfile", Method::Route(Route::Sendfile)),
    (
        "splice, pipe 64 KiB",
        Method::Route(Route::Splice { pipe: 64 * KIB }),
    ),
    (
        "splice, pipe 1 MiB",
        Method::Route(Route::Splice { pipe: MIB }),
    ),
    (
        "vmsplice, pipe 1 MiB",
        Method::Route(Route::Vmsplice {
            window: WHOLE,
            pipe: MIB,
        }),
    ),
    (
        "MSG_ZEROCOPY, mapped",
        Method::Route(Route::MsgZerocopy {
            window: WHOLE,
            chunk: MIB,
        }),
    ),
    ("copy_file_range", Method::Route(Route::CopyFileRange)),
    ("write of memory", Method::Memory { chunk: MIB }),
    (
        "MSG_ZEROCOPY, memory",
        Method::MemoryZerocopy { chunk: MIB },
    ),
];

/// Why a method does not send to a sink.
#[derive(Debug)]
pub enum Refused {
    /// The kernel, in a word.
    By(String),
    /// The experiment cannot be made.
    Stop(Stop),
}

impl From<Stop> for Refused {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self::By(format!("{errno:?}"))
    }
}

impl Method {
    /// Whether it is meant for such a sink, or else why not, in a word.
    pub fn is_for(self, sink: Sink) -> Result<(), &'static str> {
        match self {
            Self::Route(Route::CopyFileRange) if sink != Sink::File => Err("no file"),
            Self::Route(Route::MsgZerocopy { .. }) | Self::MemoryZerocopy { .. }
                if !sink.is_socket() =>
            {
                Err("no socket")
            }
            _ => Ok(()),
        }
    }

    /// Makes ready to send all of `content`, which is the beginning of `source`.
    pub fn begin<'ends>(
        self,
        source: &'ends File,
        sink: &'ends OwnedFd,
        content: &'ends [u8],
    ) -> Result<Sending<'ends>, Stop> {
        self.ready(source, sink, content)
            .setup("make the method ready")
    }

    fn ready<'ends>(
        self,
        source: &'ends File,
        sink: &'ends OwnedFd,
        content: &'ends [u8],
    ) -> Result<Sending<'ends>, Errno> {
        let of_memory = |chunk| Memory {
            content,
            sink,
            chunk,
            is_zerocopy: false,
            notified: None,
        };
        Ok(match self {
            Self::Route(route) => {
                let length = content.len() as u64;
                Sending::Route(Transfer::begin(route, source, 0, length, sink)?, None)
            }
            Self::Memory { chunk } => Sending::Memory(of_memory(chunk)),
            Self::MemoryZerocopy { chunk } => {
                enable(sink.as_fd())?;
                Sending::Memory(Memory {
                    is_zerocopy: true,
                    ..of_memory(chunk)
                })
            }
        })
    }

    /// What became of the bytes at each hop on the way from the source to the sink.
    pub fn hops(self, lab: &Lab, sink: Sink) -> Result<Vec<Sharing>, Refused> {
        let mut hops = Vec::new();
        let file = alias::source(lab)?;
        let mut memory = alias::memory(alias::LENGTH)?;
        let is_through_buffer = matches!(self, Self::Route(Route::ReadWrite { .. }));
        if is_through_buffer {
            let count = io::pread_full(&file, &mut memory, 0).setup("read")?;
            alias::all_sent(count as u64)?;
            alias::change(&file)?;
            hops.push(Sharing::of(&memory)?);
            memory.fill(alias::OLD);
        }
        // The second hop of a buffer is that of memory.
        let method = if is_through_buffer {
            Self::Memory { chunk: MIB }
        } else {
            self
        };
        let ends = aside(|| sink.to_be_read().open(lab))?;
        {
            let mut sending = method.ready(&file, &ends.near, &memory)?;
            sending.drive()?;
            sending.end()?;
        }
        if let Some(far) = &ends.far {
            sockets::wait_for_arrival(far, alias::LENGTH)?;
        }
        match method {
            Self::Route(_) => alias::change(&file)?,
            Self::Memory { .. } | Self::MemoryZerocopy { .. } => memory.fill(alias::NEW),
        }
        let mut bytes = [0; alias::LENGTH];
        let count = match &ends.far {
            Some(far) => io::read_full(far, &mut bytes),
            None => io::pread_full(&ends.near, &mut bytes, 0),
        };
        alias::all_sent(count.setup("read at the receiver")? as u64)?;
        hops.push(Sharing::of(&bytes)?);
        Ok(hops)
    }
}

/// All of a content on its way.
pub enum Sending<'ends> {
    /// Of a file, and what has become of it.
    Route(Transfer<&'ends File, &'ends OwnedFd>, Option<Outcome>),
    /// Of memory.
    Memory(Memory<'ends>),
}

/// Memory on its way.
pub struct Memory<'ends> {
    content: &'ends [u8],
    sink: &'ends OwnedFd,
    chunk: usize,
    is_zerocopy: bool,
    notified: Option<Notified>,
}

impl Sending<'_> {
    /// Sends it to the end.
    pub fn drive(&mut self) -> Result<(), Errno> {
        match self {
            Self::Route(transfer, _) => {
                transfer.drive();
                Ok(())
            }
            Self::Memory(memory) if memory.is_zerocopy => memory.send_zerocopy(),
            Self::Memory(memory) => memory.write(),
        }
    }

    /// Whether all was sent, and what the completions say of it.
    pub fn end(self) -> Result<Option<Notified>, Stop> {
        match self {
            Self::Route(transfer, _) => {
                let outcome = transfer.outcome();
                match outcome.ended {
                    Ended::Complete => Ok(outcome.notified),
                    Ended::Failed(call, errno) => Err(Stop::from_setup(call.name(), errno)),
                    ended => Err(Stop::broken(format!("it ended early: {ended:?}"))),
                }
            }
            Self::Memory(memory) => Ok(memory.notified),
        }
    }
}

impl Memory<'_> {
    fn write(&self) -> Result<(), Errno> {
        for chunk in self.content.chunks(self.chunk) {
            io::write_all(self.sink, chunk)?;
        }
        Ok(())
    }

    fn send_zerocopy(&mut self) -> Result<(), Errno> {
        let socket = enable(self.sink.as_fd())?;
        let mut sends = 0;
        for chunk in self.content.chunks(self.chunk) {
            io::all_done(chunk.len(), |done| {
                // SAFETY: the content outlives the completions, which are read below.
                let sent = unsafe { send_zerocopy(socket, &chunk[done..], SendFlags::empty()) };
                sends += u64::from(sent.is_ok());
                sent
            })?;
        }
        let completions = Completions::wait(self.sink, sends)?;
        self.notified = Some(Notified {
            sends,
            copied: completions.copied(),
            outstanding: 0,
        });
        Ok(())
    }
}
