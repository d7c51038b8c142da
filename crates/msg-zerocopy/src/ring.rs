//! The safe layer: a ring owns its socket and its buffers, and gives a buffer back when the kernel no longer reads it.

use crate::abi::{IoVec, MsgHdr, SO_PROTOCOL};
use crate::buffer::Buffer;
use crate::control::{Message, Other, messages};
use crate::enable::{enable, is_enabled, socket_option};
use crate::error::{Full, Refused, RingError};
use crate::fd::BorrowedFd;
use crate::flags::{MsgFlags, SendFlags};
use crate::flight::{Done, Flight, Places, Ticket};
#[cfg(feature = "std")]
use crate::flight::{Place, is_number_of_places};
use crate::owned_fd::OwnedFd;
use crate::socket::{IntoSocket, News, Shutdown, Socket, receive, shutdown};
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use syscalls::{Errno, Sysno, syscall0};

/// Room for one entry of the error queue with everything that a socket can be asked to add: 432 bytes were measured.
const CONTROL_BYTES: usize = 1024;

/// How many buffers one call sends: the kernel copies a list of this length without allocating (`UIO_FASTIOV`).
const PIECES: usize = 8;

/// What a ring keeps its buffers in if it is not told otherwise.
#[cfg(feature = "std")]
pub type Boxed<B> = std::boxed::Box<[Place<B>]>;

/// Sends owned buffers over one TCP socket without a copy, in order, and gives each back when the kernel no longer reads it.
///
/// [`push`](Self::push) a buffer, [`send`](Self::send) what waits, [`reap`](Self::reap_all) completions, and take
/// [`finished`](Self::finished) buffers back:
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// use nocopy_msg_zerocopy::Ring;
/// use std::{net::TcpStream, time::Duration};
///
/// const PATIENCE: Duration = Duration::from_secs(10);
/// let socket = TcpStream::connect("192.0.2.1:9000")?;
/// let mut ring = Ring::<Vec<u8>>::with_capacity(socket, 16)?;
///
/// let mut send = || -> Result<(), Box<dyn std::error::Error>> {
///     for number in 0..100 {
///         while ring.free() == 0 {
///             ring.wait(PATIENCE)?; // sends, or sleeps until something completes
///             while let Some(done) = ring.finished() {
///                 drop(done.buffer); // or fill it again
///             }
///         }
///         ring.push(vec![number; 1 << 20])?;
///         ring.send_all(PATIENCE)?;
///     }
///     Ok(ring.wait_idle(PATIENCE)?)
/// };
/// if send().is_err() {
///     ring.abort()?; // a peer that does not read: reset the connection, get the memory back
///     ring.wait_idle(PATIENCE)?;
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A buffer is anything that implements [`Buffer`]. A send takes up to eight of them in one call and may take fewer bytes than
/// wait: the rest stays at the front, and a buffer is finished when all of it was taken and all of its sends are complete.
///
/// Where the buffers are kept, `P`, is given at the start, a box with `std` or an array: the ring never allocates. Eight
/// times as many sends as buffers can be in flight.
///
/// # Event loops
///
/// Only [`wait`](Self::wait), [`wait_idle`](Self::wait_idle) and [`send_all`](Self::send_all) sleep, each with a limit. On a blocking
/// socket [`read`](Self::read) and the sends do as well, without one; with `SO_LINGER` the drop does. [`wants`](Self::wants) says what to
/// wait for instead:
///
/// | | `poll`, `epoll` | mio | tokio's `AsyncFd` |
/// |---|---|---|---|
/// | [`Wants::Writable`] | `POLLOUT` | `Interest::WRITABLE` | `Interest::WRITABLE \| Interest::ERROR` |
/// | [`Wants::Completions`] | no event: `POLLERR` is always reported | any interest, `is_error()` | `Interest::ERROR` |
///
/// Then [`reap_all`](Self::reap_all), and send again. Edge-triggered loops lose nothing if they do both until the one
/// finds nothing and the other says `EAGAIN`. A dead connection reports `POLLERR` for ever and completes nothing: look at
/// [`take_error`](Self::take_error) when a wake-up brought nothing.
///
/// # What is leaked, and when
///
/// A ring that is dropped with sends in flight **leaks their buffers**: the kernel still reads them, and may retransmit from
/// them after the socket is closed. [`wait_idle`](Self::wait_idle) before; from a peer that does not read,
/// [`abort`](Self::abort) gets the memory back.
///
/// # Why only TCP
///
/// The ring relies on one id for each successful send and none for a failed one. TCP keeps to that, but for a socket in
/// `TCP_REPAIR` (a privilege), where a failed send takes an id. UDP does not: with `IP_RECVERR` set and a full device
/// queue the send fails with `ENOBUFS`, has taken an id, and is completed (measured on 6.18). Over vsock one call may take
/// several ids (claim `zerocopy.vsock.ids`).
///
/// # One user of the ids
///
/// Nothing else may send with `MSG_ZEROCOPY` on the socket, or read its error queue, while the ring lives: a completion of
/// another send would be taken for one of the ring's. So the ring owns the socket, gives no borrow of it, and is made only where
/// `SO_ZEROCOPY` was off, so that two rings of one socket are refused, in two threads at the same moment, too.
///
/// What remains is a *duplicate* of the descriptor: one that was made before (`try_clone`, `dup`, `SCM_RIGHTS`, a child process), and one
/// that is made later of the number that [`as_raw`](Self::as_raw) gives. Safe functions of other crates do that
/// (rustix's `pidfd_getfd`), take a number in place of a descriptor (nix's `send`, `sendmsg`, `close`), and send with any flag that
/// they are given (nix and rustix by `from_bits_retain`, `socket2::Socket::send_with_flags`). So **keep no duplicate of a socket that you give
/// to a ring, and give its number to `poll` and `epoll` only**. The ring notices a completion that it did not expect and stops for good; it
/// cannot notice every one. A duplicate that switches `SO_ZEROCOPY` off makes sends that never complete.
///
/// Two copies of this crate in one program would not see each other's rings: they do not link, also if one of them is another version
/// of which only the parser is used. Plugins with a copy each (`dlopen`) do load.
pub struct Ring<
    B: Buffer,
    #[cfg(feature = "std")] P: Places<B> = Boxed<B>,
    #[cfg(not(feature = "std"))] P: Places<B>,
    S: Socket = OwnedFd,
> {
    pub(crate) flight: Flight<B, P>,
    /// What the last send was refused for.
    refused: Option<RingError>,
    /// What is permanent.
    broken: Option<RingError>,
    stats: Stats,
    pub(crate) socket: S,
}

/// What a ring has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Sends with the flag that took bytes.
    pub zerocopy_sends: u64,
    /// Of these, complete and not copied.
    pub uncopied: u64,
    /// Of these, complete and copied by the kernel after all. On merged completions both are hints.
    pub copied: u64,
    /// Sends without the flag, by [`Ring::send_or_copy`] and [`Ring::send_copied`].
    pub plain_sends: u64,
}

/// What was read from the error queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reaped {
    /// Entries.
    pub entries: usize,
    /// Sends that are complete.
    pub sends: u64,
    /// Buffers that became finished.
    pub buffers: usize,
    /// Control messages that were not completions: a timestamp, an ICMP error.
    pub others: usize,
}

/// What lets a ring go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wants {
    /// Nothing: every buffer is sent and complete.
    Nothing,
    /// A call of [`Ring::send`]: buffers wait, and nothing is known to be in the way.
    Send,
    /// Room in the socket. Completions help as well, and are reported anyway.
    Writable,
    /// Completions: all is sent, or the kernel or the ring has no room for another send.
    Completions,
}

/// Without the buffers' bytes.
impl<B: Buffer, P: Places<B>, S: Socket> fmt::Debug for Ring<B, P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("socket", &self.as_raw())
            .field("free", &self.free())
            .field("queued", &self.queued())
            .field("in_flight", &self.in_flight())
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "std")]
impl<B: Buffer> Ring<B> {
    /// Makes a ring with room for `places` buffers: see [`Ring::new`].
    ///
    /// # Errors
    ///
    /// As [`Ring::new`].
    pub fn with_capacity(socket: impl IntoSocket, places: usize) -> Result<Self, Refused<OwnedFd>> {
        Ring::new(socket, boxed(places))
    }
}

/// Places in a box; none for a number that does not do, which is refused as such.
#[cfg(feature = "std")]
pub(crate) fn boxed<B>(places: usize) -> Boxed<B> {
    let places = if is_number_of_places(places) {
        places
    } else {
        0
    };
    (0..places).map(|_| Place::EMPTY).collect()
}

impl<B: Buffer, P: Places<B>> Ring<B, P> {
    /// Makes a ring of a TCP socket that has `SO_ZEROCOPY` off, and switches it on.
    ///
    /// The socket is given by value: see [One user of the ids](Self#one-user-of-the-ids) for what a duplicate of it can break.
    /// What is not asked of it later is set before: non-blocking, `TCP_NODELAY`, buffer sizes. Three system calls: the
    /// protocol, the option, the option on.
    ///
    /// # Errors
    ///
    /// Each with the socket:
    ///
    /// - [`RingError::NotTcp`]: MPTCP, UDP, vsock, `AF_UNIX`
    /// - [`RingError::AlreadyEnabled`]: see [`Ring::over`]
    /// - [`RingError::Places`]: none, or too many
    /// - [`RingError::Errno`]: as [`enable`]
    pub fn new(socket: impl IntoSocket, places: P) -> Result<Self, Refused<OwnedFd>> {
        let socket = socket.into_socket();
        let flight = match Flight::new(places, 0) {
            Some(flight) => enable_off(socket.as_fd()).map(|()| flight),
            None => Err(RingError::Places),
        };
        match flight {
            Ok(flight) => Ok(Self::build(socket, flight)),
            Err(error) => Err(Refused {
                error,
                given: socket,
            }),
        }
    }
}

fn enable_off(socket: BorrowedFd<'_>) -> Result<(), RingError> {
    if socket_option(socket, SO_PROTOCOL)? != libc::IPPROTO_TCP {
        return Err(RingError::NotTcp);
    }
    // Between the two calls another thread, with a duplicate, could find the option off as well. Both rings would then count from 0,
    // and one would take the other's completions for its own.
    let _alone = Alone::wait();
    if is_enabled(socket)? {
        return Err(RingError::AlreadyEnabled);
    }
    enable(socket)?;
    Ok(())
}

impl<B: Buffer, P: Places<B>, S: Socket> Ring<B, P, S> {
    /// Makes a ring of a socket that has `SO_ZEROCOPY` on, or that others hold as well (`&TcpStream`, `Arc<TcpStream>`).
    ///
    /// No system call. `next_id` is 0 for a socket that has not sent with the flag, as one from `accept` whose listener has the
    /// option on.
    ///
    /// # Errors
    ///
    /// [`RingError::Places`]: none, or too many.
    ///
    /// # Safety
    ///
    /// - The socket is TCP, `SO_ZEROCOPY` is on and stays so, none of its sends is in flight, its error queue has no completion, and the
    ///   next send with the flag takes the id `next_id`. `socket` always names the same one.
    /// - While the ring lives, and after it while its sends are in flight, nobody else sends with `MSG_ZEROCOPY` on the
    ///   socket, reads its error queue or makes a ring of it: not by this value, not by a duplicate, not by the safe functions
    ///   of other crates, not in another process.
    pub unsafe fn over(socket: S, next_id: u32, places: P) -> Result<Self, Refused<S>> {
        match Flight::new(places, next_id) {
            Some(flight) => Ok(Self::build(socket, flight)),
            None => Err(Refused {
                error: RingError::Places,
                given: socket,
            }),
        }
    }

    fn build(socket: S, flight: Flight<B, P>) -> Self {
        Self {
            flight,
            refused: None,
            broken: None,
            stats: Stats::default(),
            socket,
        }
    }

    /// How many buffers there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.flight.capacity()
    }

    /// How many buffers can be pushed now. A finished one keeps its place until it is taken.
    #[must_use]
    pub const fn free(&self) -> usize {
        self.flight.free()
    }

    /// How many buffers wait to be sent, in part or whole.
    #[must_use]
    pub const fn queued(&self) -> usize {
        self.flight.queued()
    }

    /// How many sends are in flight.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.flight.in_flight()
    }

    /// Whether the kernel reads none of the ring's memory.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.in_flight() == 0 && self.broken.is_none()
    }

    /// What the ring has done so far.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// What to wait for until the ring can go on: see [Event loops](Self#event-loops).
    #[must_use]
    pub fn wants(&self) -> Wants {
        let is_flying = self.in_flight() > 0;
        match self.refused {
            _ if self.queued() == 0 && !is_flying => Wants::Nothing,
            _ if self.queued() == 0 => Wants::Completions,
            Some(RingError::Errno(Errno::EAGAIN)) => Wants::Writable,
            Some(RingError::Errno(Errno::ENOBUFS) | RingError::WindowFull) if is_flying => {
                Wants::Completions
            }
            _ => Wants::Send,
        }
    }

    /// The socket's number, to be polled. It stays the ring's: see [One user of the ids](Self#one-user-of-the-ids).
    #[must_use]
    pub fn as_raw(&self) -> i32 {
        self.socket.fd().as_raw()
    }

    /// Puts a buffer at the end of what is to be sent. One of no bytes is finished at once.
    ///
    /// No system call.
    ///
    /// # Errors
    ///
    /// The buffer, if no place is free.
    pub fn push(&mut self, buffer: B) -> Result<Ticket, Full<B>> {
        let len = buffer.bytes().len();
        self.push_part(buffer, 0..len)
    }

    /// [`push`](Self::push), but only some bytes of the buffer are sent: those of the range that it has.
    ///
    /// # Errors
    ///
    /// The buffer, if no place is free.
    pub fn push_part(&mut self, buffer: B, part: Range<usize>) -> Result<Ticket, Full<B>> {
        let end = part.end.min(buffer.bytes().len());
        let start = part.start.min(end);
        self.flight.push(buffer, start..end).map_err(Full)
    }

    /// Sends from the front of what waits, up to eight buffers, without a copy.
    ///
    /// One system call, none if nothing waits. Returns the bytes taken: 0 if nothing waits, else more. May be fewer than
    /// wait; call again.
    ///
    /// # Errors
    ///
    /// - [`RingError::Errno`]: as [`send_zerocopy`](crate::send_zerocopy), and `EOPNOTSUPP` from a socket with kTLS or in a
    ///   sockmap; the buffers stay in the queue. `SIGPIPE` is not raised
    /// - [`RingError::WindowFull`]: eight times as many sends are in flight as the ring has places
    /// - the others: an earlier error that is permanent
    pub fn send(&mut self) -> Result<usize, RingError> {
        self.send_with(SendFlags::empty())
    }

    /// [`send`](Self::send) with flags: [`SendFlags::MORE`] if more will be pushed soon, [`SendFlags::DONTWAIT`].
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_with(&mut self, flags: SendFlags) -> Result<usize, RingError> {
        self.check()?;
        if self.queued() == 0 {
            return Ok(0);
        }
        if self.flight.is_full() {
            return Err(self.refuse(RingError::WindowFull));
        }
        let mut pieces = [IoVec::new(&[]); PIECES];
        let message = gather(&self.flight, &mut pieces);
        // SAFETY: the bytes are of buffers that the ring owns, and `Buffer` promises that they stay where and as they are until the
        // buffer is dropped, or for ever if it is forgotten. From here until the completion of this send was read these buffers have
        // a send in flight, so `finished` does not give them out and `Flight` does not drop them. Nothing can fail between the
        // call and the note of it: there is room. The completion is this send's because the ring alone takes ids (the caller
        // of `over` has promised it; for `new` whoever keeps a duplicate is told so), and TCP takes one for each success and none
        // for a failure. There are no control messages.
        let sent = unsafe {
            self.socket
                .send_zerocopy(&message, flags | SendFlags::NOSIGNAL)
        };
        let taken = sent.map_err(|errno| self.refuse(errno.into()))?;
        self.refused = None;
        // The kernel gives no id to a send of nothing, and there is none: what waits has bytes left.
        if taken > 0 {
            self.flight
                .sent(taken)
                .map_err(|error| self.broke(RingError::Mixed(error)))?;
            self.stats.zerocopy_sends += 1;
        }
        Ok(taken)
    }

    /// [`send`](Self::send), and if that is `ENOBUFS` with nothing in flight, the same bytes by copy.
    ///
    /// At most two system calls. With something in flight `ENOBUFS` means "wait for completions" and is returned. With
    /// nothing in flight no completion will ever come that could help, so waiting for one is a deadlock (grpc had it).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_or_copy(&mut self) -> Result<usize, RingError> {
        self.send_or_copy_with(SendFlags::empty())
    }

    fn send_or_copy_with(&mut self, flags: SendFlags) -> Result<usize, RingError> {
        match self.send_with(flags) {
            Err(RingError::Errno(Errno::ENOBUFS)) if self.in_flight() == 0 => {
                self.send_copied(flags)
            }
            result => result,
        }
    }

    /// Sends from the front of what waits by copy: for bytes that are too few to be pinned.
    ///
    /// One system call, none if nothing waits. Otherwise as [`send_with`](Self::send_with).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), but for [`RingError::WindowFull`].
    pub fn send_copied(&mut self, flags: SendFlags) -> Result<usize, RingError> {
        self.check()?;
        if self.queued() == 0 {
            return Ok(0);
        }
        let mut pieces = [IoVec::new(&[]); PIECES];
        let message = gather(&self.flight, &mut pieces);
        let sent = self
            .socket
            .send_copied(&message, flags | SendFlags::NOSIGNAL);
        let taken = sent.map_err(|errno| self.refuse(errno.into()))?;
        self.refused = None;
        self.stats.plain_sends += 1;
        self.flight.copied(taken);
        Ok(taken)
    }

    /// Takes one entry from the error queue. `None` if it is empty.
    ///
    /// One system call. An entry may be of something else, and then completes nothing.
    ///
    /// # Errors
    ///
    /// - [`RingError::Errno`]: as [`recv_error_queue`](crate::recv_error_queue) but for `EAGAIN`
    /// - the others, which are permanent
    pub fn reap(&mut self) -> Result<Option<Reaped>, RingError> {
        self.reap_with(|_| {})
    }

    /// [`reap`](Self::reap), and what is not a completion is given to `other`: [`Other::kind`](crate::Other) says what it is.
    ///
    /// # Errors
    ///
    /// As [`reap`](Self::reap).
    pub fn reap_with(&mut self, other: impl FnMut(Other<'_>)) -> Result<Option<Reaped>, RingError> {
        self.check()?;
        let mut control = [0; CONTROL_BYTES];
        let received = match self.socket.recv_error_queue(&mut control) {
            Ok(received) => received,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let control = control.get(..received.control_len).unwrap_or(&[]);
        self.apply(received.flags, control, other).map(Some)
    }

    /// [`reap`](Self::reap) until the error queue is empty: one system call for each entry and one more.
    ///
    /// # Errors
    ///
    /// As [`reap`](Self::reap); what came before the error was counted in [`stats`](Self::stats).
    pub fn reap_all(&mut self) -> Result<Reaped, RingError> {
        let mut all = Reaped::default();
        while let Some(one) = self.reap()? {
            all.entries += one.entries;
            all.sends += one.sends;
            all.buffers += one.buffers;
            all.others += one.others;
        }
        Ok(all)
    }

    /// A buffer that the kernel no longer reads, if there is one, in the order in which they became so.
    ///
    /// No system call: [`reap_all`](Self::reap_all) before. `None` as well after an error that is permanent.
    pub fn finished(&mut self) -> Option<Done<B>> {
        self.flight.finished()
    }

    /// One step towards an idle ring: sends if the ring [`wants`](Self::wants) that, by [`send_or_copy`](Self::send_or_copy) without blocking;
    /// else sleeps until what it wants may be there, at most for `limit`, and reaps. At once if it wants nothing.
    ///
    /// To sleep takes one `ppoll` and [`reap_all`](Self::reap_all). A socket whose both directions are shut takes a descriptor and eight calls
    /// more: `poll` reports it for ever. A signal ends the sleep, and that is `Ok`.
    ///
    /// # Errors
    ///
    /// - [`RingError::Stalled`]: nothing came
    /// - [`RingError::Errno`]: as [`send`](Self::send), but for what waiting helps against; or the socket's own error, such as
    ///   `ECONNRESET`, which is taken from it, if it completes nothing any more; `EMFILE`: no descriptor was left
    /// - as [`reap`](Self::reap)
    pub fn wait(&mut self, limit: Duration) -> Result<(), RingError> {
        self.step(self.wants(), limit, &mut limit.clone())
    }

    /// [`wait`](Self::wait) for something. Of `left` the time is taken that it slept; progress sets it back to `limit`, and a signal
    /// does not.
    fn step(
        &mut self,
        wants: Wants,
        limit: Duration,
        left: &mut Duration,
    ) -> Result<(), RingError> {
        let events = match wants {
            Wants::Nothing => return Ok(()),
            Wants::Send => {
                return match self.send_or_copy_with(SendFlags::DONTWAIT) {
                    Ok(_) => {
                        *left = limit;
                        Ok(())
                    }
                    Err(
                        RingError::Errno(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR)
                        | RingError::WindowFull,
                    ) => Ok(()),
                    Err(error) => Err(error),
                };
            }
            Wants::Writable => libc::POLLOUT,
            Wants::Completions => 0,
        };
        let revents = match self.socket.poll(events, left) {
            Ok(0) => return Err(RingError::Stalled),
            Ok(revents) => revents,
            // Something else for the caller to look at.
            Err(Errno::EINTR) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        let has_room = revents & libc::POLLOUT != 0;
        let reaped = self.reap_all()?;
        if reaped.sends > 0 {
            *left = limit;
        }
        if reaped.entries > 0 || has_room {
            self.refused = None;
            return Ok(());
        }
        if let error @ 1.. = self.socket.take_error()? {
            return Err(RingError::Errno(Errno::new(error)));
        }
        // Both directions are shut, which every poll reports at once: wait for what is new.
        let news = News::of(self.socket.fd())?;
        loop {
            match news.wait(left) {
                Ok(true) => {
                    let reaped = self.reap_all()?;
                    if reaped.sends > 0 {
                        *left = limit;
                    }
                    if reaped.entries > 0 {
                        return Ok(());
                    }
                }
                Ok(false) => return Err(RingError::Stalled),
                Err(Errno::EINTR) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Sends until nothing waits, and sleeps between, at most `limit` without progress: nothing taken, and nothing completed.
    ///
    /// In the steps of [`wait`](Self::wait), on a blocking socket as well. Buffers may still be in flight afterwards.
    ///
    /// # Errors
    ///
    /// - [`RingError::Stalled`]: the peer takes nothing
    /// - as [`wait`](Self::wait)
    pub fn send_all(&mut self, limit: Duration) -> Result<(), RingError> {
        let mut left = limit;
        while self.queued() > 0 {
            self.step(self.wants(), limit, &mut left)?;
        }
        Ok(())
    }

    /// Sleeps until nothing is in flight, at most `limit` without a completion.
    ///
    /// What waits to be sent is not sent.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_idle(&mut self, limit: Duration) -> Result<(), RingError> {
        let mut left = limit;
        self.reap_all()?;
        while self.in_flight() > 0 {
            self.step(Wants::Completions, limit, &mut left)?;
        }
        Ok(())
    }

    /// Resets the connection, and gets the memory back that it still reads: for a peer that does not.
    ///
    /// `connect` to `AF_UNSPEC`, `SO_ERROR` to take the error that this leaves, and [`reap_all`](Self::reap_all). The kernel drops what it
    /// had queued, the peer gets a reset, and buffers that wait are finished with fewer bytes taken than they have. The socket is
    /// unconnected then. Its ids go on.
    ///
    /// What only the socket had is complete at once (claim `zerocopy.abort.disconnect`). A device, or a queueing discipline before it,
    /// may still hold some pages for a moment: [`wait_idle`](Self::wait_idle).
    ///
    /// # Errors
    ///
    /// As [`reap`](Self::reap); nothing else is known to fail.
    pub fn abort(&mut self) -> Result<Reaped, RingError> {
        self.check()?;
        self.socket.disconnect()?;
        // The error of the disconnect itself is no news.
        self.socket.take_error()?;
        self.refused = None;
        self.flight.give_up_waiting();
        self.reap_all()
    }

    /// Reads from the socket: [`recv(2)`](https://man7.org/linux/man-pages/man2/recv.2.html) without flags, one call, never
    /// retried. 0 is the end.
    ///
    /// # Errors
    ///
    /// The kernel's own: `EAGAIN`, `ECONNRESET`, `EINTR`, `ENOTCONN`.
    pub fn read(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        receive(self.socket.fd(), bytes)
    }

    /// Ends a direction: [`shutdown(2)`](https://man7.org/linux/man-pages/man2/shutdown.2.html), one call. What waits in the
    /// ring has not been sent yet: [`send_all`](Self::send_all) before.
    ///
    /// # Errors
    ///
    /// - `ENOTCONN`: the connection is gone
    pub fn shutdown(&self, direction: Shutdown) -> Result<(), Errno> {
        shutdown(self.socket.fd(), direction)
    }

    /// Takes the error that the socket has kept (`SO_ERROR`), such as `ECONNRESET`. `None` if there is none.
    ///
    /// One call.
    ///
    /// # Errors
    ///
    /// `EBADF`, `ENOTSOCK`: not in a ring that [`new`](Self::new) made.
    pub fn take_error(&self) -> Result<Option<Errno>, Errno> {
        let error = self.socket.take_error()?;
        Ok((error != 0).then(|| Errno::new(error)))
    }

    /// Ends the ring and returns the socket, if nothing is in flight. Buffers in the ring are dropped.
    ///
    /// The socket has `SO_ZEROCOPY` on, and its next id is not 0.
    ///
    /// # Errors
    ///
    /// The ring itself: with [`RingError::WindowFull`] if sends are in flight, or with the error that is permanent.
    #[expect(clippy::result_large_err, reason = "the ring itself, to be used on")]
    pub fn into_socket(self) -> Result<S, Refused<Self>> {
        if self.is_idle() {
            return Ok(self.socket);
        }
        Err(Refused {
            error: self.broken.unwrap_or(RingError::WindowFull),
            given: self,
        })
    }

    #[cfg(test)]
    pub(crate) const fn socket(&self) -> &S {
        &self.socket
    }

    /// The place that the next buffer gets.
    pub(crate) const fn next_place(&self) -> Option<usize> {
        self.flight.next_place()
    }

    /// The error that is permanent.
    pub(crate) fn check(&self) -> Result<(), RingError> {
        self.broken.map_or(Ok(()), Err)
    }

    const fn refuse(&mut self, error: RingError) -> RingError {
        self.refused = Some(error);
        error
    }

    const fn broke(&mut self, error: RingError) -> RingError {
        self.flight.distrust();
        self.broken = Some(error);
        error
    }

    fn apply(
        &mut self,
        flags: MsgFlags,
        control: &[u8],
        mut other: impl FnMut(Other<'_>),
    ) -> Result<Reaped, RingError> {
        if !flags.contains(MsgFlags::ERRQUEUE) {
            return Err(self.broke(RingError::NotErrorQueue));
        }
        let done = self.flight.done();
        let mut reaped = Reaped {
            entries: 1,
            ..Reaped::default()
        };
        // An entry is about one thing. If that was read, what was cut off beside it is a timestamp or the like.
        let mut is_whole = !flags.contains(MsgFlags::CTRUNC);
        for message in messages(control) {
            let completion = match message {
                Ok(Message::Completion(completion)) => completion,
                Ok(Message::Other(message)) => {
                    is_whole |= message.extended_error().is_some();
                    continue;
                }
                Err(malformed) => return Err(self.broke(RingError::Malformed(malformed))),
            };
            is_whole = true;
            self.flight
                .complete(completion)
                .map_err(|error| self.broke(RingError::Mixed(error)))?;
            reaped.sends += completion.count();
            if completion.copied {
                self.stats.copied += completion.count();
            } else {
                self.stats.uncopied += completion.count();
            }
        }
        if !is_whole {
            return Err(self.broke(RingError::Truncated));
        }
        if reaped.sends > 0 {
            self.refused = None;
        }
        reaped.buffers = self.flight.done() - done;
        // Last, so that a panic of `other` loses no completion.
        for message in messages(control) {
            if let Ok(Message::Other(message)) = message {
                reaped.others += 1;
                other(message);
            }
        }
        Ok(reaped)
    }
}

/// The front of what waits, as one message.
fn gather<'flight, B: Buffer, P: Places<B>>(
    flight: &'flight Flight<B, P>,
    pieces: &'flight mut [IoVec<'flight>; PIECES],
) -> MsgHdr<'flight> {
    let mut count = 0;
    for (piece, (buffer, left)) in pieces.iter_mut().zip(flight.waiting()) {
        *piece = IoVec::new(&buffer.bytes()[left]);
        count += 1;
    }
    MsgHdr::new(&pieces[..count])
}

#[cfg(feature = "std")]
impl<B: Buffer, P: Places<B>, S: Socket> std::os::fd::AsRawFd for Ring<B, P, S> {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.as_raw()
    }
}

#[cfg(feature = "std")]
impl<B: Buffer, P: Places<B>, S: Socket> std::io::Read for Ring<B, P, S> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        Ok(Ring::read(self, bytes)?)
    }
}

/// While one lives, there is no other in the process.
struct Alone;

/// Of a program that has two copies of this crate the linker says that this is defined twice: a ring of the one copy would not
/// see that the other makes one of the same socket at the same moment.
#[unsafe(no_mangle)]
static NOCOPY_MSG_ZEROCOPY_RING_TAKEN: AtomicBool = AtomicBool::new(false);

impl Alone {
    /// Held for two system calls that do not sleep, while the others yield. A child that is forked meanwhile cannot make rings.
    fn wait() -> Self {
        while NOCOPY_MSG_ZEROCOPY_RING_TAKEN.swap(true, Ordering::Acquire) {
            // SAFETY: no argument.
            let _ = unsafe { syscall0(Sysno::sched_yield) };
        }
        Self
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        NOCOPY_MSG_ZEROCOPY_RING_TAKEN.store(false, Ordering::Release);
    }
}
