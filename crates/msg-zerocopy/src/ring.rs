//! The safe layer: slots that cannot be written while the kernel still reads them.

use crate::control::{Malformed, Message, messages};
use crate::enable::{Enabled, enable, is_enabled, socket_option};
use crate::error_queue::recv_error_queue;
use crate::fd::BorrowedFd;
use crate::flags::{MsgFlags, SendFlags};
use crate::region::Region;
use crate::send::{send_copied, send_zerocopy};
use crate::slots::Slots;
use crate::tracker::TrackerError;
use core::fmt;
use core::hint::spin_loop;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, Ordering};
use libc::c_int;
use syscalls::Errno;

/// `SO_PROTOCOL`: `include/uapi/asm-generic/socket.h`.
#[cfg(not(any(target_arch = "sparc64", target_arch = "sparc")))]
const SO_PROTOCOL: c_int = 38;
/// `SO_PROTOCOL`: `arch/sparc/include/uapi/asm/socket.h`.
#[cfg(any(target_arch = "sparc64", target_arch = "sparc"))]
const SO_PROTOCOL: c_int = 0x28;

/// Room for one entry of the error queue with everything that a socket can be asked to add.
const CONTROL_BYTES: usize = 512;

/// `SLOTS` buffers that are sent over one TCP socket without a copy, in order, and become free when they are complete.
///
/// Take a slot, fill it, commit it; [`send`](Self::send) what is committed; [`reap`](Self::reap) to get slots back:
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// use nocopy_msg_zerocopy::Ring;
/// # let socket: std::net::TcpStream = unimplemented!();
/// let region = vec![0; 4 << 20].into_boxed_slice();
/// let mut ring = Ring::<_, 4, 2>::new(&socket, region).map_err(|refused| refused.error)?;
///
/// if let Some(mut slot) = ring.take() {
///     slot.bytes_mut()[..5].copy_from_slice(b"hello");
///     slot.commit(5);
/// }
/// while ring.queued() > 0 {
///     ring.send_or_copy()?;
/// }
/// ring.reap_all()?;
/// # }
/// # Ok::<(), nocopy_msg_zerocopy::RingError>(())
/// ```
///
/// A send may take fewer bytes than the slot has. The rest stays at the front of the queue, the next send
/// continues there, and the slot is free when all of its sends are complete. Up to `64 * WORDS` sends can be in
/// flight (see [`Tracker`](crate::Tracker)).
///
/// The ring never waits. On a non-blocking socket that is full [`send`](Self::send) gives `EAGAIN`: poll for `POLLOUT`. For
/// completions poll; `POLLERR` is always reported, even if nothing was asked for.
///
/// A ring that is dropped with sends in flight **leaks its region**: the kernel still reads it, and may
/// retransmit from it after the socket is closed. Reap until [`is_idle`](Self::is_idle) to get it back.
///
/// # Why only TCP
///
/// The ring relies on one id for each successful send and none for a failed one. TCP keeps to that. UDP does
/// not: with `IP_RECVERR` set and a full device queue the send fails with `ENOBUFS`, has taken an id, and is completed
/// (measured on 6.18). Over vsock one call may take several ids (claim `zerocopy.vsock.ids`).
///
/// # One user of the ids
///
/// Nothing else may send with `MSG_ZEROCOPY` on the socket or read its error queue while the ring lives. Ordinary sends,
/// reads and polls are free to go on. [`Ring::new`] asks for a socket that has the option off and switches it on, so a second
/// ring on the same socket is refused, also to a second thread at the same moment. What can get past that is outside of this
/// process or this crate: another process that has the socket, and raw calls. What the ring notices, it answers with an error for
/// good, and its region is leaked.
#[derive(Debug)]
pub struct Ring<'fd, R: Region, const SLOTS: usize, const WORDS: usize> {
    socket: Enabled<'fd>,
    region: ManuallyDrop<R>,
    slot_size: usize,
    slots: Slots<SLOTS, WORDS>,
    broken: Option<RingError>,
    stats: Stats,
}

/// What a ring has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sends with the flag that took bytes.
    pub zerocopy_sends: u64,
    /// Of these, complete and not copied.
    pub uncopied: u64,
    /// Of these, complete and copied by the kernel after all. On merged completions both are hints.
    pub copied: u64,
    /// Sends without the flag, by [`Ring::send_or_copy`].
    pub plain_sends: u64,
}

/// What one entry of the error queue brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Sends that are complete.
    pub sends: u64,
    /// Slots that became free.
    pub slots: usize,
    /// Control messages that were not completions; they are gone.
    pub others: usize,
}

/// Why a ring could not go on. All but [`Errno`](Self::Errno) and [`TrackerFull`](Self::TrackerFull) stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// The kernel's own error; nothing has changed.
    Errno(Errno),
    /// The socket is not TCP.
    NotTcp,
    /// `SO_ZEROCOPY` is on already: its ids may have another user. See [`Ring::over`].
    AlreadyEnabled,
    /// Too many sends are in flight; nothing was sent. Reap first.
    TrackerFull,
    /// A completion does not fit the sends: something else uses the ids.
    Mixed(TrackerError),
    /// Control messages that cannot be read.
    Malformed(Malformed),
    /// The control messages did not fit: completions may be lost.
    Truncated,
    /// The socket answered from elsewhere than the error queue.
    NotErrorQueue,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => errno.fmt(f),
            Self::NotTcp => f.write_str("the socket is not TCP"),
            Self::AlreadyEnabled => f.write_str("SO_ZEROCOPY is on already"),
            Self::TrackerFull => f.write_str("too many sends in flight"),
            Self::Mixed(error) => error.fmt(f),
            Self::Malformed(error) => error.fmt(f),
            Self::Truncated => f.write_str("completions may be lost: control messages cut off"),
            Self::NotErrorQueue => f.write_str("the answer is not from the error queue"),
        }
    }
}

impl core::error::Error for RingError {}

impl From<Errno> for RingError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// A ring that was not made, and its region.
#[derive(Debug)]
pub struct Refused<R> {
    /// Why.
    pub error: RingError,
    /// The region, untouched.
    pub region: R,
}

/// A free slot, to be filled. Dropped without [`commit`](Self::commit) it is free again.
#[derive(Debug)]
pub struct Slot<'ring, 'fd, R: Region, const SLOTS: usize, const WORDS: usize> {
    ring: &'ring mut Ring<'fd, R, SLOTS, WORDS>,
    index: usize,
}

impl<R: Region, const SLOTS: usize, const WORDS: usize> Slot<'_, '_, R, SLOTS, WORDS> {
    /// The slot's bytes. They hold what they held when the slot was last used.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.ring.slot_bytes(self.index)
    }

    /// Which slot this is, from 0.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Puts the first `len` bytes at the end of the queue of what is to be sent. With 0 the slot is free again.
    ///
    /// # Panics
    ///
    /// If `len` is more than the slot has.
    pub fn commit(self, len: usize) {
        let Self { ring, index } = self;
        assert!(len <= ring.slot_size, "more bytes than the slot has");
        ring.slots.commit(index, len);
    }
}

impl<'fd, R: Region, const SLOTS: usize, const WORDS: usize> Ring<'fd, R, SLOTS, WORDS> {
    /// Makes a ring over a TCP socket that has `SO_ZEROCOPY` off, and switches it on.
    ///
    /// Three system calls: the protocol, the option, the option on. No two threads of a process make the last two at the same
    /// time: the second one spins meanwhile. The region is cut into `SLOTS` equal parts; parts of whole pages, aligned to
    /// pages, pin no page twice.
    ///
    /// # Errors
    ///
    /// Each with the region:
    ///
    /// - [`RingError::NotTcp`]: MPTCP, UDP, vsock, `AF_UNIX`
    /// - [`RingError::AlreadyEnabled`]: see [`Ring::over`]
    /// - [`RingError::Errno`]: as [`enable`]
    pub fn new(socket: impl Into<BorrowedFd<'fd>>, region: R) -> Result<Self, Refused<R>> {
        match Self::enable_off(socket.into()) {
            Ok(socket) => Ok(Self::build(socket, 0, region)),
            Err(error) => Err(Refused { error, region }),
        }
    }

    fn enable_off(socket: BorrowedFd<'fd>) -> Result<Enabled<'fd>, RingError> {
        if socket_option(socket, SO_PROTOCOL)? != libc::IPPROTO_TCP {
            return Err(RingError::NotTcp);
        }
        // Between the two calls another thread could find the option off as well. Both rings would then count from 0, and
        // one would take the other's completions for its own.
        let _alone = Alone::wait();
        if is_enabled(socket)? {
            return Err(RingError::AlreadyEnabled);
        }
        Ok(enable(socket)?)
    }

    /// Makes a ring over a socket that has `SO_ZEROCOPY` on, as one from `accept` has it of its listener.
    ///
    /// No system call. `next_id` is 0 for a socket that has not sent with the flag.
    ///
    /// # Safety
    ///
    /// The socket is TCP, the next send with the flag takes the id `next_id`, none is in flight, and while the ring lives
    /// nothing else sends with the flag.
    #[must_use]
    pub unsafe fn over(socket: Enabled<'fd>, next_id: u32, region: R) -> Self {
        Self::build(socket, next_id, region)
    }

    fn build(socket: Enabled<'fd>, next_id: u32, mut region: R) -> Self {
        Self {
            socket,
            // First, so that a number of slots that cannot be does not compile.
            slots: Slots::new(next_id),
            slot_size: region.bytes_mut().len() / SLOTS,
            region: ManuallyDrop::new(region),
            broken: None,
            stats: Stats::default(),
        }
    }

    /// How many bytes a slot has.
    #[must_use]
    pub const fn slot_size(&self) -> usize {
        self.slot_size
    }

    /// How many slots wait to be sent, in part or whole.
    #[must_use]
    pub const fn queued(&self) -> usize {
        self.slots.queued()
    }

    /// How many sends are in flight.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.slots.tracker().in_flight()
    }

    /// Whether nothing is in flight, so that the region is the ring's alone.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.slots.tracker().is_idle() && self.broken.is_none()
    }

    /// What the ring has done so far.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// A slot that neither waits nor is in flight, if there is one.
    ///
    /// None as well after an error that stays: it is not known any more what the kernel still reads.
    #[must_use]
    pub fn take(&mut self) -> Option<Slot<'_, 'fd, R, SLOTS, WORDS>> {
        if self.broken.is_some() {
            return None;
        }
        let index = self.slots.free()?;
        Some(Slot { ring: self, index })
    }

    /// Sends the front of the queue, what is left of one slot, without a copy.
    ///
    /// One system call, none if the queue is empty. Returns the bytes taken: 0 for an empty queue, else more. May be
    /// fewer than the slot has left; call again.
    ///
    /// # Errors
    ///
    /// - [`RingError::Errno`]: as [`send_zerocopy`]; the slot stays in the queue. `SIGPIPE` is not raised
    /// - [`RingError::TrackerFull`]: too many sends in flight
    /// - the others: an earlier error that stays
    pub fn send(&mut self) -> Result<usize, RingError> {
        self.check()?;
        if self.slots.tracker().is_full() {
            return Err(RingError::TrackerFull);
        }
        let socket = self.socket;
        let Some(left) = self.left() else {
            return Ok(0);
        };
        // SAFETY: the bytes are in the region, which the ring owns and whose bytes stay where they are. From here until
        // `reap` has seen the completion the slot has a send in flight: `take` does not give it out, nothing else writes it,
        // and neither `drop` nor `into_region` lets the region go. Nothing can fail between the call and the note of it:
        // the window has room. The completion is this send's because the ring alone takes ids (`new` or the caller of
        // `over`), and TCP takes one for each success and none for a failure.
        let taken = unsafe { send_zerocopy(socket, left, SendFlags::NOSIGNAL) }?;
        // The kernel gives no id to a send of nothing, and there is none: a queued slot has bytes left.
        if taken > 0 {
            self.slots
                .sent(taken)
                .map_err(|error| self.broke(RingError::Mixed(error)))?;
            self.stats.zerocopy_sends += 1;
        }
        Ok(taken)
    }

    /// [`send`](Self::send), and if that is `ENOBUFS` with nothing in flight, the same bytes by copy.
    ///
    /// At most two system calls. With something in flight `ENOBUFS` means "reap first" and is returned. With nothing in
    /// flight no completion will ever come that could help, so waiting for one is a deadlock (grpc had it).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_or_copy(&mut self) -> Result<usize, RingError> {
        match self.send() {
            Err(RingError::Errno(Errno::ENOBUFS)) if self.slots.tracker().is_idle() => {
                let fd = self.socket.fd();
                let Some(left) = self.left() else {
                    return Ok(0);
                };
                let taken = send_copied(fd, left, SendFlags::NOSIGNAL)?;
                self.stats.plain_sends += 1;
                self.slots.advance(taken);
                Ok(taken)
            }
            result => result,
        }
    }

    /// Takes one entry from the error queue and frees the slots that it completes.
    ///
    /// One system call. `None` if the queue is empty. An entry may be of something else, and then completes nothing.
    ///
    /// # Errors
    ///
    /// - [`RingError::Errno`]: as [`recv_error_queue`] but for `EAGAIN`
    /// - the others, and they stay: what is in flight is not known any more, so no slot is given out again, and the region
    ///   is leaked
    pub fn reap(&mut self) -> Result<Option<Reaped>, RingError> {
        self.check()?;
        let mut control = [0; CONTROL_BYTES];
        let received = match recv_error_queue(self.socket.fd(), &mut control) {
            Ok(received) => received,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let control = control.get(..received.control_len).unwrap_or(&[]);
        self.apply(received.flags, control).map(Some)
    }

    /// [`reap`](Self::reap) until the error queue is empty: one system call for each entry and one more.
    ///
    /// # Errors
    ///
    /// As [`reap`](Self::reap); what came before the error has been counted in [`stats`](Self::stats).
    pub fn reap_all(&mut self) -> Result<Reaped, RingError> {
        let mut all = Reaped::default();
        while let Some(one) = self.reap()? {
            all.sends += one.sends;
            all.slots += one.slots;
            all.others += one.others;
        }
        Ok(all)
    }

    /// Ends the ring and returns the region, if nothing is in flight; else the ring. What waits in the queue is lost.
    ///
    /// # Errors
    ///
    /// The ring itself, with sends in flight or after an error that stays.
    pub fn into_region(self) -> Result<R, Self> {
        if !self.is_idle() {
            return Err(self);
        }
        let mut this = ManuallyDrop::new(self);
        // SAFETY: taken once: `this` is not used and not dropped afterwards.
        Ok(unsafe { ManuallyDrop::take(&mut this.region) })
    }

    fn check(&self) -> Result<(), RingError> {
        self.broken.map_or(Ok(()), Err)
    }

    const fn broke(&mut self, error: RingError) -> RingError {
        self.broken = Some(error);
        error
    }

    fn slot_bytes(&mut self, index: usize) -> &mut [u8] {
        let size = self.slot_size;
        &mut self.region.bytes_mut()[index * size..][..size]
    }

    /// What is left to send of the slot at the front of the queue.
    fn left(&mut self) -> Option<&[u8]> {
        let (index, left) = self.slots.front()?;
        Some(&self.slot_bytes(index)[left])
    }

    fn apply(&mut self, flags: MsgFlags, control: &[u8]) -> Result<Reaped, RingError> {
        if !flags.contains(MsgFlags::ERRQUEUE) {
            return Err(self.broke(RingError::NotErrorQueue));
        }
        if flags.contains(MsgFlags::CTRUNC) {
            return Err(self.broke(RingError::Truncated));
        }
        let mut reaped = Reaped::default();
        for message in messages(control) {
            let completion = match message {
                Ok(Message::Completion(completion)) => completion,
                Ok(Message::Other(_)) => {
                    reaped.others += 1;
                    continue;
                }
                Err(malformed) => return Err(self.broke(RingError::Malformed(malformed))),
            };
            match self.slots.complete(completion) {
                Ok(freed) => reaped.slots += freed,
                Err(error) => return Err(self.broke(RingError::Mixed(error))),
            }
            reaped.sends += completion.count();
            if completion.copied {
                self.stats.copied += completion.count();
            } else {
                self.stats.uncopied += completion.count();
            }
        }
        Ok(reaped)
    }
}

/// While one lives, there is no other in the process.
struct Alone;

static TAKEN: AtomicBool = AtomicBool::new(false);

impl Alone {
    fn wait() -> Self {
        while TAKEN.swap(true, Ordering::Acquire) {
            spin_loop();
        }
        Self
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

impl<R: Region, const SLOTS: usize, const WORDS: usize> Drop for Ring<'_, R, SLOTS, WORDS> {
    fn drop(&mut self) {
        if self.is_idle() {
            // SAFETY: dropped once, here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.region) };
        }
    }
}

#[cfg(test)]
#[cfg(feature = "std")]
mod tests {
    use super::*;
    use crate::abi::{IP_RECVERR, SOL_IP};
    use crate::control::{Completion, ExtendedError, put_message};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::vec;
    use std::vec::Vec;

    /// A region that counts how often it is dropped.
    struct Counted(Vec<u8>, Arc<AtomicUsize>);

    // SAFETY: the vector is never resized, so its bytes stay where they are until the drop.
    unsafe impl Region for Counted {
        fn bytes_mut(&mut self) -> &mut [u8] {
            &mut self.0
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
        (near, listener.accept().expect("accept").0)
    }

    fn control(lo: u32, hi: u32) -> Vec<u8> {
        let error = ExtendedError::of_completion(Completion {
            lo,
            hi,
            copied: false,
        });
        let mut out = [0; 64];
        let len = put_message(&mut out, SOL_IP, IP_RECVERR, &error.to_bytes()).expect("room");
        out[..len].to_vec()
    }

    fn ring<'fd>(
        socket: &'fd TcpStream,
        drops: &Arc<AtomicUsize>,
        next_id: u32,
    ) -> Ring<'fd, Counted, 3, 1> {
        let enabled = enable(socket).expect("TCP has it");
        // SAFETY: the ids are not the kernel's here; the test feeds completions itself and the region outlives them.
        unsafe { Ring::over(enabled, next_id, Counted(vec![0; 300], drops.clone())) }
    }

    /// Commits and sends a byte of the first free slot.
    fn one<const S: usize, const W: usize>(ring: &mut Ring<'_, Counted, S, W>) -> usize {
        let slot = ring.take().expect("a free slot");
        let index = slot.index();
        slot.commit(1);
        assert_eq!(ring.send(), Ok(1));
        index
    }

    #[test]
    fn a_slot_is_busy_until_its_completion_in_any_order_and_over_the_wrap() {
        let (near, _far) = pair();
        let drops = Arc::new(AtomicUsize::new(0));
        let mut ring = ring(&near, &drops, u32::MAX);
        assert_eq!([one(&mut ring), one(&mut ring), one(&mut ring)], [0, 1, 2]);
        assert!(ring.take().is_none());
        // The ids are MAX, 0 and 1; the last completes first.
        let reaped = ring
            .apply(MsgFlags::ERRQUEUE, &control(1, 1))
            .expect("in flight");
        assert_eq!((reaped.sends, reaped.slots), (1, 1));
        assert_eq!(ring.take().expect("free").index(), 2);
        let reaped = ring
            .apply(MsgFlags::ERRQUEUE, &control(u32::MAX, 0))
            .expect("in flight");
        assert_eq!((reaped.sends, reaped.slots), (2, 2));
        assert!(ring.is_idle());
        assert!(ring.into_region().is_ok());
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_drop_in_flight_leaks_the_region_and_an_idle_one_does_not() {
        let (near, _far) = pair();
        let drops = Arc::new(AtomicUsize::new(0));
        let mut busy = ring(&near, &drops, 0);
        one(&mut busy);
        let busy = busy.into_region().map(drop).expect_err("in flight");
        drop(busy);
        assert_eq!(drops.load(Ordering::Relaxed), 0);

        drop(ring(&near, &drops, 0));
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_completion_of_nothing_breaks_the_ring_for_good() {
        let (near, _far) = pair();
        let drops = Arc::new(AtomicUsize::new(0));
        let mut ring = ring(&near, &drops, 0);
        one(&mut ring);
        let error = RingError::Mixed(TrackerError::NotSent(1));
        assert_eq!(ring.apply(MsgFlags::ERRQUEUE, &control(0, 1)), Err(error));
        assert!(ring.take().is_none());
        assert_eq!(ring.send(), Err(error));
        assert_eq!(ring.reap(), Err(error));
        drop(ring);
        assert_eq!(drops.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_malformed_entry_breaks_the_ring() {
        let (near, _far) = pair();
        let drops = Arc::new(AtomicUsize::new(0));
        let mut ring = ring(&near, &drops, 0);
        let cut = &control(0, 0)[..20];
        assert_eq!(
            ring.apply(MsgFlags::ERRQUEUE, cut),
            Err(RingError::Malformed(Malformed::DataCut))
        );
        assert!(!ring.is_idle());
    }

    #[test]
    fn an_entry_that_is_cut_or_from_elsewhere_breaks_the_ring() {
        for (flags, error) in [
            (MsgFlags::ERRQUEUE | MsgFlags::CTRUNC, RingError::Truncated),
            (MsgFlags::empty(), RingError::NotErrorQueue),
        ] {
            let (near, _far) = pair();
            let drops = Arc::new(AtomicUsize::new(0));
            let mut ring = ring(&near, &drops, 0);
            one(&mut ring);
            assert_eq!(ring.apply(flags, &control(0, 0)), Err(error));
            assert!(ring.take().is_none());
        }
    }

    #[test]
    fn a_full_window_refuses_before_the_send() {
        let (near, _far) = pair();
        let drops = Arc::new(AtomicUsize::new(0));
        let enabled = enable(&near).expect("TCP has it");
        let region = Counted(vec![0; 100], drops.clone());
        // SAFETY: as in `ring`.
        let mut ring = unsafe { Ring::<_, 100, 1>::over(enabled, 0, region) };
        for _ in 0..64 {
            one(&mut ring);
        }
        ring.take().expect("free").commit(1);
        assert_eq!(ring.send(), Err(RingError::TrackerFull));
        assert_eq!(ring.queued(), 1);
        ring.apply(MsgFlags::ERRQUEUE, &control(0, 0))
            .expect("in flight");
        assert_eq!(ring.send(), Ok(1));
    }
}
