//! The ways of sending that the ledger and the benchmark compare: the routes with their parameters, and memory.

use crate::interpose::record::aside;
use crate::lab::alias::{self, Sharing};
use crate::lab::completions::Completions;
use crate::lab::{Lab, io, sockets};
use crate::verdict::{Setup, Stop};
use crate::ways::sinks::Sink;
use crate::ways::uring::{Request, Uring};
use nocopy_mmap::PrivateAnonymous;
use nocopy_msg_zerocopy::{SendFlags, enable, send_zerocopy};
use nocopy_transfer::{
    Ended, Endpoint, Error, Hint, Notified, Outcome, Request as Copy, Route, Stability, State, Transfer, WHOLE,
};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use syscalls::Errno;

/// A way of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A file, by a route.
    Route(Route),
    /// A file, by a route that sends at most `most` bytes at a time, as in an event loop.
    Capped {
        /// The route.
        route: Route,
        /// The maximum for one step, in bytes.
        most: usize,
    },
    /// A file, by the route that `nocopy-transfer` chooses for a sink whose type says so much.
    Chosen(Stability, Hint),
    /// Memory, by `write`, as in a program that already has the bytes.
    Memory {
        /// The number of bytes in one call.
        chunk: usize,
        /// The pages that hold the bytes.
        pages: Pages,
    },
    /// Memory, by `send` with `MSG_ZEROCOPY`. Every completion is read.
    MemoryZerocopy {
        /// The number of bytes in one call.
        chunk: usize,
        /// The pages that hold the bytes.
        pages: Pages,
    },
    /// By `io_uring`: a file or memory.
    Uring(Request),
}

/// The kind of pages of the memory that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// The pages that the content is already in.
    Any,
    /// Pages of 4 KiB.
    Small,
    /// Pages of 2 MiB: transparent huge pages.
    Huge,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Every method with the name that is printed, in the order of the tables.
pub const ALL: &[(&str, Method)] = &[
    ("read+write 64 KiB", Method::Route(Route::ReadWrite { buffer: 64 * KIB })),
    ("read+write 1 MiB", Method::Route(Route::ReadWrite { buffer: MIB })),
    ("mmap+write", Method::Route(Route::MmapWrite { window: WHOLE })),
    ("mmap+write 1 MiB", Method::Route(Route::MmapWrite { window: MIB })),
    ("sendfile", Method::Route(Route::Sendfile)),
    ("splice, pipe 64 KiB", Method::Route(Route::Splice { pipe: 64 * KIB })),
    ("splice, pipe 1 MiB", Method::Route(Route::Splice { pipe: MIB })),
    ("vmsplice, pipe 1 MiB", Method::Route(Route::Vmsplice { window: WHOLE, pipe: MIB })),
    ("MSG_ZEROCOPY, mapped", Method::Route(Route::MsgZerocopy { window: WHOLE, chunk: MIB })),
    ("copy_file_range", Method::Route(Route::CopyFileRange)),
    ("write of memory", Method::Memory { chunk: MIB, pages: Pages::Any }),
    ("MSG_ZEROCOPY, memory", Method::MemoryZerocopy { chunk: MIB, pages: Pages::Any }),
    ("io_uring splice, pipe 1 MiB", Method::Uring(Request::Splice { pipe: MIB })),
    ("io_uring SEND_ZC, memory", Method::Uring(Request::SendZerocopy { chunk: MIB })),
];

/// The choice of `nocopy-transfer`, which is always one of the routes above: for the benchmark.
pub const CHOSEN: &[(&str, Method)] = &[
    ("chosen, shared", Method::Chosen(Stability::Shared, Hint::Unknown)),
    ("chosen, snapshot", Method::Chosen(Stability::Snapshot, Hint::Unknown)),
];

/// The reason why a method does not send to a sink.
#[derive(Debug)]
pub enum Refused {
    /// The kernel refuses, with the errno.
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
    /// Whether it is meant for this sink. If not, the error is the reason in a word or two.
    pub fn is_for(self, sink: Sink) -> Result<(), &'static str> {
        match (self, sink) {
            (Self::Route(Route::CopyFileRange), sink) if sink != Sink::File => Err("no file"),
            (Self::Route(Route::MsgZerocopy { .. }) | Self::MemoryZerocopy { .. }, Sink::Vsock) => {
                // Completions do not count sends there: see the claim zerocopy.vsock.ids.
                Err("other ids")
            }
            // The notification comes only after everything is received, and the data is read only after that: each would wait for
            // the other.
            (Self::Uring(Request::SendZerocopy { .. }), Sink::Vsock) => Err("on receipt"),
            (
                Self::Route(Route::MsgZerocopy { .. })
                | Self::MemoryZerocopy { .. }
                | Self::Uring(Request::SendZerocopy { .. }),
                sink,
            ) if !sink.is_socket() => Err("no socket"),
            // These calls send what fits into a pipe, not what fits into a datagram.
            (
                Self::Route(Route::Sendfile | Route::Splice { .. } | Route::Vmsplice { .. })
                | Self::Uring(Request::Splice { .. }),
                Sink::Udp,
            ) => Err("no datagrams"),
            _ => Ok(()),
        }
    }

    /// The same method, with calls that send at most as many bytes as the sink takes, and for a descriptor of the sink's type.
    #[must_use]
    pub fn within(self, sink: Sink) -> Self {
        let most = sink.limit();
        match self {
            Self::Route(Route::ReadWrite { buffer }) => Self::Route(Route::ReadWrite { buffer: buffer.min(most) }),
            Self::Route(Route::MmapWrite { window }) => Self::Route(Route::MmapWrite { window: window.min(most) }),
            Self::Route(Route::MsgZerocopy { window, chunk }) => {
                Self::Route(Route::MsgZerocopy { window, chunk: chunk.min(most) })
            }
            Self::Memory { chunk, pages } => Self::Memory { chunk: chunk.min(most), pages },
            Self::MemoryZerocopy { chunk, pages } => Self::MemoryZerocopy { chunk: chunk.min(most), pages },
            Self::Uring(Request::SendZerocopy { chunk }) => {
                Self::Uring(Request::SendZerocopy { chunk: chunk.min(most) })
            }
            Self::Chosen(stability, _) => Self::Chosen(stability, sink.hint()),
            other => other,
        }
    }

    /// Prepares to send all of `content`, which must be the beginning of `source`.
    pub fn begin<'ends>(
        self,
        source: &'ends File,
        sink: &'ends OwnedFd,
        content: &'ends [u8],
    ) -> Result<Sending<'ends>, Stop> {
        self.begin_after(None, source, sink, content)
    }

    /// The same after an earlier transfer to the same sink: its completions are not counted again.
    pub fn begin_after<'ends>(
        self,
        earlier: Option<&Outcome>,
        source: &'ends File,
        sink: &'ends OwnedFd,
        content: &'ends [u8],
    ) -> Result<Sending<'ends>, Stop> {
        self.ready(earlier, source, sink, content).setup("make the method ready")
    }

    fn ready<'ends>(
        self,
        earlier: Option<&Outcome>,
        source: &'ends File,
        sink: &'ends OwnedFd,
        content: &'ends [u8],
    ) -> Result<Sending<'ends>, Errno> {
        let of_memory = |chunk, pages, is_zerocopy| {
            Ok(Sending::Memory(Memory {
                held: Held::of(content, pages)?,
                length: content.len(),
                sink,
                chunk,
                is_zerocopy,
                notified: None,
            }))
        };
        let typed = |hint| Typed { fd: sink, hint };
        let of_route = |route, most: usize| {
            let sink = typed(Hint::Unknown);
            let length = content.len() as u64;
            let transfer = match earlier {
                Some(earlier) => Transfer::by_after(earlier, route, source, 0, length, sink),
                None => Transfer::by(route, source, 0, length, sink),
            }?;
            Ok(Sending::Route(Box::new(transfer), most as u64))
        };
        match self {
            Self::Route(route) => of_route(route, WHOLE),
            Self::Capped { route, most } => of_route(route, most),
            Self::Chosen(stability, hint) => {
                let request = Copy::new(stability).range(0, content.len() as u64).messages(Sink::Udp.limit());
                let begun = request.begin(source, typed(hint));
                let errno = |error: Error| error.errno().unwrap_or(Errno::EINVAL);
                Ok(Sending::Route(Box::new(begun.map_err(errno)?), WHOLE as u64))
            }
            Self::Memory { chunk, pages } => of_memory(chunk, pages, false),
            Self::MemoryZerocopy { chunk, pages } => {
                enable(sink.as_fd())?;
                of_memory(chunk, pages, true)
            }
            Self::Uring(request) => {
                let uring = Uring::new(request, source, sink, content)?;
                Ok(Sending::Uring(Box::new(uring)))
            }
        }
    }

    /// Whether it sends memory rather than a file.
    const fn is_of_memory(self) -> bool {
        matches!(self, Self::Memory { .. } | Self::MemoryZerocopy { .. } | Self::Uring(Request::SendZerocopy { .. }))
    }

    /// Whether each hop from the source to the sink shared or copied the bytes, for the hops that can be observed.
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
        // The second hop of a route through a buffer is the hop of memory.
        let method = if is_through_buffer { Self::Memory { chunk: MIB, pages: Pages::Any } } else { self };
        let ends = aside(|| sink.to_be_read().open(lab))?;
        {
            let mut sending = method.ready(None, &file, &ends.near, &memory)?;
            sending.drive()?;
            sending.end()?;
        }
        if sink.is_lost() {
            return Ok(hops);
        }
        match &ends.far {
            // Not every kernel reports how much can be read from vsock. The data is complete there as soon as any of it can be
            // read.
            Some(far) if sink == Sink::Vsock => {
                io::wait_for(far.as_fd(), libc::POLLIN).setup("poll")?;
            }
            Some(far) => sockets::wait_for_arrival(far, alias::LENGTH)?,
            None => {}
        }
        if method.is_of_memory() {
            memory.fill(alias::NEW);
        } else {
            alias::change(&file)?;
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

/// The transfer of a content.
pub enum Sending<'ends> {
    /// From a file, with the maximum for one step.
    Route(Box<Transfer<&'ends File, Typed<'ends>>>, u64),
    /// From memory.
    Memory(Memory<'ends>),
    /// By `io_uring`.
    Uring(Box<Uring<'ends>>),
}

/// A sink, as a program has it: in a type of its kind.
pub struct Typed<'ends> {
    fd: &'ends OwnedFd,
    hint: Hint,
}

impl AsFd for Typed<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Endpoint for Typed<'_> {
    fn hint(&self) -> Hint {
        self.hint
    }
}

/// The transfer of memory.
pub struct Memory<'ends> {
    held: Held<'ends>,
    length: usize,
    sink: &'ends OwnedFd,
    chunk: usize,
    is_zerocopy: bool,
    notified: Option<Notified>,
}

/// The bytes that are sent.
enum Held<'ends> {
    /// The caller's bytes.
    There(&'ends [u8]),
    /// A copy in pages of one kind, which starts at this offset.
    Here(PrivateAnonymous, usize),
}

/// The number of bytes of this process's memory in huge pages.
fn huge_bytes() -> Result<u64, Errno> {
    let failed = |error: std::io::Error| Errno::new(error.raw_os_error().unwrap_or(libc::EIO));
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").map_err(failed)?;
    let line = text.lines().find(|line| line.starts_with("AnonHugePages:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or(Errno::ENODATA)
}

/// The size of a huge page.
const HUGE: usize = 2 << 20;

impl<'ends> Held<'ends> {
    fn of(content: &'ends [u8], pages: Pages) -> Result<Self, Errno> {
        let advice = match pages {
            Pages::Any => return Ok(Self::There(content)),
            Pages::Small => libc::MADV_NOHUGEPAGE,
            Pages::Huge => libc::MADV_HUGEPAGE,
        };
        let before = huge_bytes()?;
        // The extra huge page allows the copy to start at an aligned address.
        let mut memory = PrivateAnonymous::new(content.len().next_multiple_of(HUGE) + HUGE)?;
        let (start, length) = (memory.as_mut_ptr(), memory.len());
        // SAFETY: the range lies in the mapping, and the advice changes no byte of it.
        if unsafe { libc::madvise(start.cast(), length, advice) } == -1 {
            return Err(sockets::last_errno());
        }
        let begin = start.align_offset(HUGE);
        memory[begin..][..content.len()].copy_from_slice(content);
        let is_huge = huge_bytes()? >= before + content.len() as u64 / 2;
        if is_huge == (pages == Pages::Huge) { Ok(Self::Here(memory, begin)) } else { Err(Errno::EOPNOTSUPP) }
    }

    /// The first `length` bytes.
    fn bytes(&self, length: usize) -> &[u8] {
        match self {
            Self::There(content) => &content[..length],
            Self::Here(memory, begin) => &memory[*begin..][..length],
        }
    }
}

impl Sending<'_> {
    /// Sends all of it.
    pub fn drive(&mut self) -> Result<(), Errno> {
        match self {
            Self::Route(transfer, most) => loop {
                match transfer.advance(*most) {
                    State::Ended => return Ok(()),
                    State::Budget => {}
                    State::Waits(_) => {
                        transfer.drive();
                        return Ok(());
                    }
                }
            },
            Self::Memory(memory) if memory.is_zerocopy => memory.send_zerocopy(),
            Self::Memory(memory) => memory.write(),
            Self::Uring(uring) => uring.drive(),
        }
    }

    /// Fails if not everything was sent. Returns the summary of the completions, if there is one.
    pub fn end(self) -> Result<Option<Notified>, Stop> {
        match self {
            Self::Memory(memory) => Ok(memory.notified),
            Self::Uring(uring) => Ok(uring.notified()),
            route @ Self::Route(..) => Ok(route.outcome()?.and_then(|outcome| outcome.notified)),
        }
    }

    /// Fails if not everything was sent. Returns the outcome of a transfer.
    pub fn outcome(self) -> Result<Option<Outcome>, Stop> {
        let Self::Route(transfer, _) = self else { return Ok(None) };
        let outcome = transfer.outcome();
        match outcome.ended {
            Ended::Complete => Ok(Some(outcome)),
            Ended::Failed(call, errno) => Err(Stop::from_setup(call.name(), errno)),
            ended => Err(Stop::broken(format!("it ended early: {ended:?}"))),
        }
    }
}

impl Memory<'_> {
    fn write(&self) -> Result<(), Errno> {
        for chunk in self.held.bytes(self.length).chunks(self.chunk) {
            io::write_all(self.sink, chunk)?;
        }
        Ok(())
    }

    fn send_zerocopy(&mut self) -> Result<(), Errno> {
        let socket = enable(self.sink.as_fd())?;
        let mut sends = 0;
        for chunk in self.held.bytes(self.length).chunks(self.chunk) {
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
            unpinned: 0,
            next_id: u32::try_from(sends).expect("few sends"),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::sockets;
    use std::io::{Read, Write};

    /// Small files are sent over one connection, again and again.
    #[test]
    fn a_second_file_goes_the_same_way() {
        let mut source = tempfile::tempfile().expect("a file");
        source.write_all(&[7; 5000]).expect("room");
        for (name, method) in ALL.iter().chain(CHOSEN).filter(|(_, method)| method.is_for(Sink::Tcp).is_ok()) {
            if matches!(method, Method::Uring(_)) {
                continue;
            }
            let (near, mut far) = sockets::tcp().expect("a connection");
            let near = OwnedFd::from(near);
            let reader = std::thread::spawn(move || {
                let mut bytes = Vec::new();
                far.read_to_end(&mut bytes).map(|_| bytes)
            });
            let mut earlier = None;
            for _ in 0..3 {
                let mut sending = method.begin_after(earlier.as_ref(), &source, &near, &[7; 5000]).expect(name);
                sending.drive().expect(name);
                earlier = sending.outcome().expect(name);
            }
            drop(near);
            let bytes = reader.join().expect("the reader").expect("bytes");
            assert_eq!(bytes, [7; 15_000], "{name}");
        }
    }
}
