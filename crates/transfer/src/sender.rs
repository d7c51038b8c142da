//! Memory as a source: owned buffers, sent by `MSG_ZEROCOPY` where that is worth it.

#![forbid(unsafe_code)]

use crate::sys;
use nocopy_msg_zerocopy::{Buffer, Ring, RingError, SendFlags, Ticket, Wants};
use rustix::event::PollFlags;
use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use syscalls::Errno;

/// From this number of bytes on, a send is made with `MSG_ZEROCOPY`: below it, pinning pages and reading the completion cost more
/// than the copy. The kernel's documentation (`msg_zerocopy.rst`) says "around 10 KB"; measured to a device that drops, 1,472 bytes
/// were slower (0.86 times) and 8,972 faster (1.27 times).
pub const LEAST: usize = 10 << 10;

/// The buffers that can be on their way at once.
const PLACES: usize = 64;
/// The buffers that one send takes at most.
const PIECES: usize = 8;

/// Sends owned buffers in their order, without a copy where the kernel can, and gives each back when it is free.
///
/// - to a TCP socket, [`LEAST`] bytes and more by `MSG_ZEROCOPY`; less by `send`
/// - once a completion says that the kernel has copied after all, as it does over loopback, by `send` from then on
/// - to anything else, and with kTLS, by `send` or `write`
///
/// ```no_run
/// use nocopy_transfer::Sender;
/// # let socket = std::net::TcpStream::connect("192.0.2.1:9000")?;
/// let mut sender = Sender::new(socket)?;
/// for number in 0..100 {
///     while let Err(buffer) = sender.push(vec![number; 1 << 20]) {
///         drop(buffer); // full: this example makes it again
///         sender.wait(std::time::Duration::from_secs(10))?;
///         while let Some(sent) = sender.finished() {
///             drop(sent.buffer); // or fill it again
///         }
///     }
/// }
/// sender.flush(std::time::Duration::from_secs(10))?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// After an error that waiting does not help against, and for a peer that does not read, [`abort`](Self::abort) gives the buffers back.
///
/// The socket is given by value: nobody else may send with `MSG_ZEROCOPY` on it (see [`Ring`]).
pub struct Sender<B: Buffer> {
    line: Line<B>,
    /// The buffers that wait: what `push` returned, and the bytes left.
    waiting: VecDeque<(Ticket, usize)>,
    /// Buffers of which some bytes went without `MSG_ZEROCOPY`.
    plain: Vec<Ticket>,
    /// Why every byte is copied, if it is.
    copies: Option<Copies>,
    counts: Counts,
}

enum Line<B: Buffer> {
    Ring(Box<Ring<B>>),
    Plain(Plain<B>),
}

/// A sink without `MSG_ZEROCOPY`.
struct Plain<B> {
    sink: OwnedFd,
    is_socket: bool,
    /// After an abort: a later byte would come after a gap.
    is_aborted: bool,
    /// Buffers and the bytes that were taken of each.
    queue: VecDeque<(Ticket, B, usize)>,
    done: VecDeque<Sent<B>>,
    next: Ticket,
}

/// Why all bytes are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Copies {
    /// The sink has no `MSG_ZEROCOPY`: why no ring could be made of it.
    NotPossible(RingError),
    /// A send was refused with `EOPNOTSUPP`: kTLS, a sockmap.
    Refused,
    /// A completion said that the kernel had copied.
    Reported,
}

/// A buffer that is free again.
#[non_exhaustive]
pub struct Sent<B> {
    /// The buffer.
    pub buffer: B,
    /// What [`Sender::push`] returned for it.
    pub ticket: Ticket,
    /// The bytes that the sink took: all, unless the connection broke.
    pub taken: usize,
    /// Whether some of them were copied: by a send without the flag, or by the kernel after all.
    pub is_copied: bool,
}

/// What a sender has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Bytes that the sink took.
    pub bytes: u64,
    /// Sends with `MSG_ZEROCOPY`.
    pub zerocopy: u64,
    /// Of these, those whose completion said that the bytes were copied.
    pub reported_copied: u64,
    /// Sends and writes without it.
    pub plain: u64,
}

impl<B: Buffer> fmt::Debug for Sender<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("waiting", &self.waiting.len())
            .field("copies", &self.copies)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for Sent<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent")
            .field("taken", &self.taken)
            .field("is_copied", &self.is_copied)
            .finish_non_exhaustive()
    }
}

impl<B: Buffer> Sender<B> {
    /// Makes a sender of a socket or another sink.
    ///
    /// # Errors
    ///
    /// The errno of `fstat`, if the sink cannot have `MSG_ZEROCOPY`.
    pub fn new(sink: impl Into<OwnedFd>) -> Result<Self, Errno> {
        let (line, copies) = match Ring::with_capacity(sink.into(), PLACES) {
            Ok(ring) => (Line::Ring(Box::new(ring)), None),
            Err(refused) => {
                let sink = OwnedFd::from(refused.given);
                let is_socket = sys::status(sink.as_fd())?.kind == libc::S_IFSOCK;
                let plain = Plain {
                    sink,
                    is_socket,
                    is_aborted: false,
                    queue: VecDeque::new(),
                    done: VecDeque::new(),
                    next: 0,
                };
                (Line::Plain(plain), Some(Copies::NotPossible(refused.error)))
            }
        };
        Ok(Self {
            line,
            waiting: VecDeque::new(),
            plain: Vec::new(),
            copies,
            counts: Counts::default(),
        })
    }

    /// Puts a buffer at the end of what is to be sent.
    ///
    /// # Errors
    ///
    /// The buffer, if 64 are on their way: [`wait`](Self::wait), and take [`finished`](Self::finished) ones.
    pub fn push(&mut self, buffer: B) -> Result<Ticket, B> {
        let length = buffer.bytes().len();
        let ticket = match &mut self.line {
            Line::Ring(ring) => ring.push(buffer).map_err(|full| full.0)?,
            Line::Plain(plain) => plain.push(buffer)?,
        };
        if length > 0 {
            self.waiting.push_back((ticket, length));
        }
        Ok(ticket)
    }

    /// Makes one send of what waits. Returns the bytes that the sink took: 0 if nothing waits.
    ///
    /// # Errors
    ///
    /// [`RingError::Errno`] with `EAGAIN` from a sink that does not block, `ENOBUFS` if completions must come first, and other errnos
    /// of `send` and `write`; the buffers stay. The others are permanent.
    pub fn send(&mut self) -> Result<usize, RingError> {
        self.send_with(SendFlags::empty())
    }

    fn send_with(&mut self, flags: SendFlags) -> Result<usize, RingError> {
        let (taken, is_plain) = match &mut self.line {
            Line::Plain(plain) => (plain.write(flags)?, true),
            Line::Ring(ring) => {
                let stats = ring.stats();
                // Until the first report it is not known whether the flag is of any use.
                if stats.copied + stats.uncopied == 0 && ring.in_flight() > 0 {
                    ring.reap_all()?;
                    if ring.stats().copied > 0 {
                        self.copies = self.copies.or(Some(Copies::Reported));
                    }
                }
                let next: usize = self.waiting.iter().take(PIECES).map(|(_, left)| left).sum();
                let is_worth_it = self.copies.is_none() && next >= LEAST;
                let before = ring.stats().zerocopy_sends;
                let sent = if is_worth_it {
                    ring.send_with(flags)
                } else {
                    ring.send_copied(flags)
                };
                let taken = match sent {
                    Err(RingError::Errno(Errno::EOPNOTSUPP)) if is_worth_it => {
                        self.copies = Some(Copies::Refused);
                        ring.send_copied(flags)?
                    }
                    // With nothing in flight no completion will come that makes room.
                    Err(RingError::Errno(Errno::ENOBUFS)) if ring.in_flight() == 0 => {
                        ring.send_copied(flags)?
                    }
                    sent => sent?,
                };
                (taken, ring.stats().zerocopy_sends == before)
            }
        };
        self.took(taken, is_plain);
        self.look_at_reports();
        Ok(taken)
    }

    fn took(&mut self, mut taken: usize, is_plain: bool) {
        if taken == 0 {
            return;
        }
        self.counts.bytes += taken as u64;
        if is_plain {
            self.counts.plain += 1;
        } else {
            self.counts.zerocopy += 1;
        }
        while taken > 0
            && let Some((ticket, left)) = self.waiting.front_mut()
        {
            let part = taken.min(*left);
            *left -= part;
            taken -= part;
            if is_plain && self.plain.last() != Some(ticket) {
                self.plain.push(*ticket);
            }
            if *left == 0 {
                self.waiting.pop_front();
            }
        }
    }

    /// Counts what completions have said, and stops asking for what the kernel does not do.
    fn look_at_reports(&mut self) {
        let Line::Ring(ring) = &self.line else { return };
        self.counts.reported_copied = ring.stats().copied;
        if self.counts.reported_copied > 0 && self.copies.is_none() {
            self.copies = Some(Copies::Reported);
            event!(DEBUG, "the kernel copies what was sent by MSG_ZEROCOPY");
        }
    }

    /// One step: sends, or sleeps until the sink can take more or a completion has come, at most for `limit`. A pipe or file that
    /// blocks is written to without a limit.
    ///
    /// # Errors
    ///
    /// [`RingError::Stalled`]: nothing happened. Others as [`send`](Self::send), but for what waiting helps against.
    pub fn wait(&mut self, limit: Duration) -> Result<(), RingError> {
        if !self.waiting.is_empty() {
            match self.send_with(SendFlags::DONTWAIT) {
                Err(
                    RingError::Errno(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR)
                    | RingError::WindowFull,
                ) => {}
                done => return done.map(drop),
            }
        }
        match &mut self.line {
            Line::Ring(ring) => {
                // What waits was just tried; what is left to wait for is room or completions.
                if ring.wants() != Wants::Send {
                    ring.wait(limit)?;
                }
                ring.reap_all()?;
            }
            Line::Plain(plain) if plain.queue.is_empty() => {}
            Line::Plain(plain) => {
                if sys::poll(plain.sink.as_fd(), PollFlags::OUT, Some(limit))?.is_empty() {
                    return Err(RingError::Stalled);
                }
            }
        }
        self.look_at_reports();
        Ok(())
    }

    /// Sends everything, and waits until every buffer is free, at most `limit` without progress.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn flush(&mut self, limit: Duration) -> Result<(), RingError> {
        while !self.waiting.is_empty() {
            self.wait(limit)?;
        }
        if let Line::Ring(ring) = &mut self.line {
            ring.wait_idle(limit)?;
        }
        self.look_at_reports();
        Ok(())
    }

    /// Gives up, after a failure or for a peer that does not read: nothing more is sent, and every buffer is [`finished`](Self::finished)
    /// with the bytes that the sink took of it. [`flush`](Self::flush) waits for those that a device still reads.
    ///
    /// A socket with `MSG_ZEROCOPY` is disconnected ([`Ring::abort`]), since only that makes the kernel drop the memory it still
    /// reads: the peer gets a reset. Any other sink keeps what it has taken. What is pushed afterwards is not sent either: `EPIPE`, and another
    /// `abort` gives it back.
    ///
    /// # Errors
    ///
    /// As [`Ring::abort`].
    pub fn abort(&mut self) -> Result<(), RingError> {
        match &mut self.line {
            Line::Ring(ring) => {
                ring.abort()?;
            }
            Line::Plain(plain) => plain.give_up(),
        }
        self.waiting.clear();
        self.look_at_reports();
        Ok(())
    }

    /// A buffer that is free, if there is one, in the order in which they became so.
    pub fn finished(&mut self) -> Option<Sent<B>> {
        let mut sent = match &mut self.line {
            Line::Ring(ring) => {
                let done = ring.finished()?;
                Sent {
                    buffer: done.buffer,
                    ticket: done.ticket,
                    taken: done.taken,
                    is_copied: done.copied,
                }
            }
            Line::Plain(plain) => plain.done.pop_front()?,
        };
        if let Some(at) = self.plain.iter().position(|ticket| *ticket == sent.ticket) {
            self.plain.remove(at);
            sent.is_copied = true;
        }
        Some(sent)
    }

    /// Why every byte is copied, if it is.
    #[must_use]
    pub const fn copies(&self) -> Option<Copies> {
        self.copies
    }

    /// What it has done so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }
}

impl<B: Buffer> Plain<B> {
    fn push(&mut self, buffer: B) -> Result<Ticket, B> {
        if self.queue.len() + self.done.len() >= PLACES {
            return Err(buffer);
        }
        let ticket = self.next;
        self.next += 1;
        if buffer.bytes().is_empty() {
            self.done.push_back(Sent {
                buffer,
                ticket,
                taken: 0,
                is_copied: false,
            });
        } else {
            self.queue.push_back((ticket, buffer, 0));
        }
        Ok(ticket)
    }

    /// What waits is done.
    fn give_up(&mut self) {
        self.is_aborted = true;
        let waiting = self.queue.drain(..).map(|(ticket, buffer, taken)| Sent {
            buffer,
            ticket,
            taken,
            is_copied: taken > 0,
        });
        self.done.extend(waiting);
    }

    fn write(&mut self, flags: SendFlags) -> Result<usize, Errno> {
        if self.is_aborted {
            return Err(Errno::EPIPE);
        }
        let Some((_, buffer, at)) = self.queue.front_mut() else {
            return Ok(0);
        };
        let bytes = &buffer.bytes()[*at..];
        let sink = self.sink.as_fd();
        let taken = if self.is_socket {
            sys::send(sink, bytes, flags.bits().cast_signed())?
        } else {
            sys::write_bytes(sink, bytes)?
        };
        *at += taken;
        if *at == buffer.bytes().len()
            && let Some((ticket, buffer, taken)) = self.queue.pop_front()
        {
            self.done.push_back(Sent {
                buffer,
                ticket,
                taken,
                is_copied: true,
            });
        }
        Ok(taken)
    }
}
