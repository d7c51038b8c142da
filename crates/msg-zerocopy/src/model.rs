//! The ring against a kernel of our own, which completes sends in any order, merges, wraps, refuses, takes parts and dies: no
//! buffer comes back while that kernel still reads it. Without system calls, so that Miri can run it.

#![cfg(test)]

use crate::abi::MsgHdr;
use crate::control::{Completion, ExtendedError, Malformed, put_message};
use crate::error::RingError;
use crate::error_queue::Received;
use crate::fd::BorrowedFd;
use crate::flags::{MsgFlags, SendFlags};
use crate::flight::Place;
use crate::ring::{Boxed, Ring, Wants};
use crate::slots::Slots;
use crate::socket::sealed::Socket;
use crate::tracker::TrackerError;
use core::cell::RefCell;
use core::time::Duration;
use libc::{c_int, c_short};
use std::boxed::Box;
use std::collections::{BTreeMap, VecDeque};
use std::vec;
use std::vec::Vec;
use syscalls::Errno;

/// Numbers without a pattern that matters (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }

    fn is_one_of(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// Memory that the kernel reads, and what it held when it was given.
struct Given {
    first: *const u8,
    bytes: Vec<u8>,
}

struct Kernel {
    numbers: Numbers,
    /// By how many ids it comes after the first.
    flying: BTreeMap<u32, Vec<Given>>,
    first_id: u32,
    next: u32,
    /// The error queue: control bytes and flags.
    queue: VecDeque<(Vec<u8>, MsgFlags)>,
    /// All that was taken, in order.
    stream: Vec<u8>,
    refuses: bool,
    /// Takes a byte of each send.
    is_narrow: bool,
}

struct Model(RefCell<Kernel>);

impl Model {
    fn new(seed: u64, first_id: u32) -> Self {
        Self(RefCell::new(Kernel {
            numbers: Numbers(seed),
            flying: BTreeMap::new(),
            first_id,
            next: 0,
            queue: VecDeque::new(),
            stream: Vec::new(),
            refuses: true,
            is_narrow: false,
        }))
    }

    /// Completes some sends: one range, whose memory must be as it was given.
    fn complete_some(&self) {
        let mut kernel = self.0.borrow_mut();
        let count = kernel.flying.len();
        if count == 0 {
            return;
        }
        let nth = kernel.numbers.below(count);
        let lo = *kernel.flying.keys().nth(nth).expect("one of them");
        let longest = kernel.numbers.below(4);
        let mut hi = lo;
        while hi - lo < u32::try_from(longest).expect("small")
            && kernel.flying.contains_key(&(hi + 1))
        {
            hi += 1;
        }
        kernel.complete(lo, hi);
    }

    fn reads(&self, bytes: &[u8]) -> bool {
        let (start, end) = (bytes.as_ptr().addr(), bytes.as_ptr().addr() + bytes.len());
        let kernel = self.0.borrow();
        let mut given = kernel.flying.values().flatten();
        given.any(|it| it.first.addr() < end && it.first.addr() + it.bytes.len() > start)
    }
}

impl Kernel {
    fn complete(&mut self, lo: u32, hi: u32) {
        for id in lo..=hi {
            for Given { first, bytes } in self.flying.remove(&id).expect("in flight") {
                // SAFETY: the ring keeps this memory until it has read the completion that is made here.
                let now = unsafe { core::slice::from_raw_parts(first, bytes.len()) };
                assert_eq!(now, bytes, "changed while the kernel read it");
            }
        }
        self.notify(lo, hi);
    }

    fn notify(&mut self, lo: u32, hi: u32) {
        let completion = Completion {
            lo: self.first_id.wrapping_add(lo),
            hi: self.first_id.wrapping_add(hi),
            copied: self.numbers.is_one_of(2),
        };
        let error = ExtendedError::of_completion(completion).to_bytes();
        let mut out = [0; 64];
        let len = put_message(&mut out, crate::abi::SOL_IP, crate::abi::IP_RECVERR, &error);
        let control = out[..len.expect("room")].to_vec();
        self.queue.push_back((control, MsgFlags::ERRQUEUE));
    }

    /// A part of the message's bytes, as given.
    fn take(&mut self, message: &MsgHdr<'_>) -> Vec<Given> {
        // SAFETY: a message names a list of that length, and each piece its bytes.
        let pieces = unsafe { core::slice::from_raw_parts(message.iov, message.iov_len) };
        let total: usize = pieces.iter().map(|piece| piece.len).sum();
        let mut left = 1 + if self.is_narrow {
            0
        } else {
            self.numbers.below(total)
        };
        let mut given = Vec::new();
        for piece in pieces {
            let len = piece.len.min(left);
            left -= len;
            if len > 0 {
                // SAFETY: as above.
                let bytes = unsafe { core::slice::from_raw_parts(piece.base, len) }.to_vec();
                self.stream.extend(&bytes);
                given.push(Given {
                    first: piece.base,
                    bytes,
                });
            }
        }
        given
    }
}

impl Socket for Model {
    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: a number that was never open.
        unsafe { BorrowedFd::borrow_raw(-1) }
    }

    unsafe fn send_zerocopy(&self, message: &MsgHdr<'_>, flags: SendFlags) -> Result<usize, Errno> {
        assert!(flags.contains(SendFlags::NOSIGNAL));
        let mut kernel = self.0.borrow_mut();
        if kernel.refuses && kernel.numbers.is_one_of(4) {
            let errnos = [Errno::EAGAIN, Errno::ENOBUFS, Errno::EINTR, Errno::EFAULT];
            return Err(errnos[kernel.numbers.below(errnos.len())]);
        }
        let given = kernel.take(message);
        let taken = given.iter().map(|it| it.bytes.len()).sum();
        let id = kernel.next;
        kernel.flying.insert(id, given);
        kernel.next += 1;
        Ok(taken)
    }

    fn send_copied(&self, message: &MsgHdr<'_>, _: SendFlags) -> Result<usize, Errno> {
        let given = self.0.borrow_mut().take(message);
        Ok(given.iter().map(|it| it.bytes.len()).sum())
    }

    fn recv_error_queue(&self, control: &mut [u8]) -> Result<Received, Errno> {
        let mut kernel = self.0.borrow_mut();
        let (bytes, flags) = kernel.queue.pop_front().ok_or(Errno::EAGAIN)?;
        control[..bytes.len()].copy_from_slice(&bytes);
        Ok(Received {
            control_len: bytes.len(),
            flags,
        })
    }

    fn disconnect(&self) -> Result<(), Errno> {
        let mut kernel = self.0.borrow_mut();
        while let Some((&id, _)) = kernel.flying.first_key_value() {
            kernel.complete(id, id);
        }
        Ok(())
    }

    fn take_error(&self) -> Result<c_int, Errno> {
        Ok(0)
    }

    fn poll(&self, events: c_short, _: &mut Duration) -> Result<c_short, Errno> {
        self.complete_some();
        Ok(events | libc::POLLERR)
    }
}

type Modelled = Ring<Vec<u8>, Boxed<Vec<u8>>, Model>;

fn ring(seed: u64, first_id: u32, places: usize) -> Modelled {
    let places = (0..places).map(|_| Place::EMPTY).collect();
    // SAFETY: the model is this ring's alone.
    unsafe { Ring::over(Model::new(seed, first_id), first_id, places) }.expect("1 or more places")
}

/// Bytes that no other buffer has.
fn buffer(number: u64, len: usize) -> Vec<u8> {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    (0..len)
        .map(|at| mixed[at % 8] ^ at.to_le_bytes()[0])
        .collect()
}

const STEPS: usize = if cfg!(miri) { 300 } else { 200_000 };

#[test]
fn no_buffer_comes_back_while_the_kernel_reads_it() {
    for (seed, first_id, places) in [
        (1, 0, 5),
        (2, u32::MAX - 40, 3),
        (3, 1 << 31, 1),
        (4, u32::MAX, 16),
        (5, 7, 64),
    ] {
        let mut numbers = Numbers(seed + 100);
        let mut ring = ring(seed, first_id, places);
        let mut out: BTreeMap<u64, (Vec<u8>, usize)> = BTreeMap::new();
        let (mut back, mut aborts) = (0, 0);
        for step in 0..STEPS {
            match numbers.below(9) {
                0 | 1 => {
                    let bytes = buffer(step as u64, numbers.below(20));
                    let (start, end) = (
                        numbers.below(4),
                        bytes.len().saturating_sub(numbers.below(3)),
                    );
                    let part = bytes.get(start..end).unwrap_or(&[]).to_vec();
                    let free = ring.free();
                    match ring.push_part(bytes.clone(), start..end) {
                        Ok(ticket) => {
                            out.insert(ticket, (bytes, part.len()));
                        }
                        Err(full) => assert_eq!((full.0, free), (bytes, 0)),
                    }
                }
                2 | 3 => {
                    let queued = ring.queued();
                    match ring.send() {
                        Ok(taken) => assert_eq!(taken == 0, queued == 0),
                        Err(RingError::WindowFull) => {
                            assert!(ring.in_flight() > 0);
                        }
                        Err(RingError::Errno(_)) => assert_eq!(ring.queued(), queued),
                        Err(error) => panic!("{error}"),
                    }
                }
                4 => drop(ring.send_copied(SendFlags::MORE).expect("copies")),
                5 => ring.socket().complete_some(),
                6 => drop(ring.reap().expect("only our completions")),
                7 => match ring.wait(Duration::ZERO) {
                    Ok(()) | Err(RingError::Errno(_)) => {}
                    Err(error) => panic!("{error}"),
                },
                _ if numbers.is_one_of(40) => {
                    ring.abort().expect("only our completions");
                    assert_eq!((ring.queued(), ring.in_flight()), (0, 0));
                    aborts += 1;
                }
                _ => {
                    if let Some(done) = ring.finished() {
                        assert!(!ring.socket().reads(&done.buffer), "given back too early");
                        let (bytes, len) = out.remove(&done.ticket).expect("once");
                        assert_eq!(done.buffer, bytes);
                        assert!(done.taken == len || aborts > 0);
                        back += 1;
                    }
                }
            }
            if ring.wants() == Wants::Nothing {
                assert_eq!((ring.queued(), ring.in_flight()), (0, 0));
            }
            assert_eq!(ring.is_idle(), ring.in_flight() == 0);
            let flying = ring.socket().0.borrow().flying.len();
            assert!(
                ring.in_flight() as usize >= flying,
                "more in flight than was noted"
            );
        }
        assert!(back > STEPS / 40, "{back} came back with {places} places");
    }
}

#[test]
fn every_byte_goes_out_once_and_in_order() {
    for seed in 1..20 {
        let mut ring = ring(seed, u32::MAX - 3, 6);
        let mut wanted = Vec::new();
        for number in 0..STEPS.div_ceil(200) {
            let bytes = buffer(number as u64, 5 + number % 33);
            let part = number % 5..bytes.len() - number % 3;
            wanted.extend(&bytes[part.clone()]);
            while ring.free() == 0 {
                match ring.finished() {
                    Some(_) => {}
                    None => match ring.send_all(Duration::ZERO) {
                        Ok(()) => ring.wait_idle(Duration::ZERO).expect("the model wakes"),
                        Err(RingError::Errno(Errno::EFAULT)) => {}
                        Err(error) => panic!("{error}"),
                    },
                }
            }
            ring.push_part(bytes, part).expect("a place is free");
        }
        ring.socket().0.borrow_mut().refuses = false;
        ring.send_all(Duration::ZERO).expect("nothing is refused");
        assert!(ring.socket().0.borrow().stream == wanted);
        ring.wait_idle(Duration::ZERO).expect("the model wakes");
        assert!(ring.into_socket().is_ok());
    }
}

#[test]
fn what_is_dropped_in_flight_stays_as_it_was() {
    for seed in 1..100 {
        let mut ring = ring(seed, 0, 4);
        ring.socket().0.borrow_mut().refuses = false;
        for number in 0..3 {
            ring.push(buffer(number, 30)).expect("a place is free");
        }
        ring.send().expect("nothing is refused");
        ring.send().expect("nothing is refused");
        let Ring { flight, socket, .. } = ring;
        drop(flight);
        drop(vec![0xff_u8; 30]);
        // Compares.
        socket.disconnect().expect("it is the model");
    }
}

/// A ring with one buffer of 10 bytes in flight as the id 0.
fn with_one_in_flight() -> Modelled {
    let mut ring = ring(1, 0, 4);
    ring.socket().0.borrow_mut().refuses = false;
    ring.push(buffer(1, 10)).expect("a place is free");
    while ring.queued() > 0 {
        ring.send().expect("nothing is refused");
    }
    ring
}

#[test]
fn eight_sends_for_each_place_are_in_flight_and_no_more() {
    for (places, first_id) in [(1, u32::MAX - 4), (3, 0)] {
        let mut ring = ring(1, first_id, places);
        ring.socket().0.borrow_mut().refuses = false;
        ring.socket().0.borrow_mut().is_narrow = true;
        ring.push(buffer(1, 8 * places + 1))
            .expect("a place is free");
        for _ in 0..8 * places {
            assert_eq!(ring.send(), Ok(1));
        }
        assert_eq!(ring.send(), Err(RingError::WindowFull));
        assert_eq!(ring.wants(), Wants::Completions);
        // Not the oldest: the window does not move.
        ring.socket().0.borrow_mut().complete(1, 1);
        ring.reap_all().expect("only our completions");
        assert_eq!(ring.send(), Err(RingError::WindowFull));
        ring.socket().0.borrow_mut().complete(0, 0);
        ring.reap_all().expect("only our completions");
        assert_eq!(ring.send(), Ok(1));
        ring.wait_idle(Duration::ZERO).expect("the model wakes");
        assert_eq!(ring.finished().expect("complete").taken, 8 * places + 1);
    }
}

#[test]
fn a_completion_of_another_send_stops_the_ring_for_good() {
    let mut ring = with_one_in_flight();
    let foreign = ring.socket().0.borrow().next;
    ring.socket().0.borrow_mut().notify(0, foreign);
    let error = RingError::Mixed(TrackerError::NotSent(foreign));
    assert_eq!(ring.reap(), Err(error));
    assert_eq!(ring.send(), Err(error));
    assert_eq!(ring.reap(), Err(error));
    assert_eq!(ring.abort(), Err(error));
    assert!(ring.finished().is_none() && !ring.is_idle());
    let refused = ring.into_socket().map(drop).expect_err("not idle");
    assert_eq!(refused.error, error);
    assert!(std::error::Error::source(&refused).is_some());
}

#[test]
fn after_a_foreign_completion_nothing_that_was_finished_is_given_out() {
    let mut ring = with_one_in_flight();
    let next = ring.socket().0.borrow().next;
    for id in 0..next {
        ring.socket().0.borrow_mut().complete(id, id);
    }
    ring.reap_all().expect("ours");
    ring.socket().0.borrow_mut().notify(next, next);
    assert!(matches!(ring.reap(), Err(RingError::Mixed(_))));
    assert!(ring.finished().is_none());
}

#[test]
fn what_cannot_be_read_stops_the_ring() {
    let header = MsgFlags::ERRQUEUE;
    let completion = |ring: &Modelled| {
        ring.socket().0.borrow_mut().notify(0, 0);
        ring.socket()
            .0
            .borrow_mut()
            .queue
            .pop_front()
            .expect("just put there")
            .0
    };
    for (cut, flags, error) in [
        (20, header, RingError::Malformed(Malformed::DataCut)),
        (0, header | MsgFlags::CTRUNC, RingError::Truncated),
        (32, MsgFlags::empty(), RingError::NotErrorQueue),
    ] {
        let mut ring = with_one_in_flight();
        let control = completion(&ring)[..cut].to_vec();
        ring.socket()
            .0
            .borrow_mut()
            .queue
            .push_back((control, flags));
        assert_eq!(ring.reap(), Err(error));
        assert!(!ring.is_idle());
    }
    // What was cut off beside a whole completion does not matter.
    let mut ring = with_one_in_flight();
    let control = completion(&ring);
    ring.socket()
        .0
        .borrow_mut()
        .queue
        .push_back((control, header | MsgFlags::CTRUNC));
    assert_eq!(ring.reap().expect("whole").expect("an entry").sends, 1);
}

#[test]
fn what_is_not_a_completion_is_handed_on() {
    let mut ring = with_one_in_flight();
    let mut out = [0; 64];
    let len = put_message(&mut out, libc::SOL_SOCKET, 37, &[1; 48]).expect("room");
    let entry = (out[..len].to_vec(), MsgFlags::ERRQUEUE);
    ring.socket().0.borrow_mut().queue.push_back(entry);
    let mut kinds = Vec::new();
    let reaped = ring.reap_with(|other| kinds.push((other.kind, other.data.len())));
    assert_eq!(reaped.expect("read").expect("an entry").others, 1);
    assert_eq!(kinds, [(37, 48)]);
}

#[test]
fn a_slot_is_written_only_when_the_kernel_does_not_read_it() {
    for seed in 1..6 {
        let places: Boxed<_> = (0..3).map(|_| Place::EMPTY).collect();
        let model = Model::new(seed, u32::MAX - 10);
        // SAFETY: the model is this ring's alone.
        let ring = unsafe { Ring::over(model, u32::MAX - 10, places) }.expect("three places");
        let mut slots = Slots::of(ring, vec![0_u8; 100].into_boxed_slice());
        let (mut numbers, mut taken) = (Numbers(seed + 7), 0);
        for step in 0..STEPS / 4 {
            match numbers.below(4) {
                0 => {
                    if let Some(mut slot) = slots.take() {
                        assert_eq!(slot.len(), 33);
                        let bytes = buffer(step as u64, 33);
                        slot.copy_from_slice(&bytes);
                        slot.commit(numbers.below(50));
                        taken += 1;
                    }
                }
                1 => drop(slots.send()),
                2 => slots.socket().complete_some(),
                _ => drop(slots.reap_all().expect("only our completions")),
            }
        }
        assert!(taken > STEPS / 100, "{taken} slots");
        slots.abort().expect("only our completions");
        assert_eq!(slots.into_region().expect("idle").len(), 100);
    }
}

#[test]
fn a_region_in_flight_is_leaked_and_an_idle_one_is_dropped() {
    use std::rc::Rc;
    struct Counted(
        Box<[u8]>,
        #[expect(dead_code, reason = "counts its drops")] Rc<()>,
    );
    // SAFETY: as for the box.
    unsafe impl crate::Region for Counted {
        fn bytes_mut(&mut self) -> &mut [u8] {
            &mut self.0
        }
    }
    for is_busy in [false, true] {
        let alive = Rc::new(());
        let places: Boxed<_> = (0..2).map(|_| Place::EMPTY).collect();
        let model = Model::new(1, 0);
        model.0.borrow_mut().refuses = false;
        // SAFETY: the model is this ring's alone.
        let ring = unsafe { Ring::over(model, 0, places) }.expect("two places");
        let mut slots = Slots::of(ring, Counted(vec![0; 100].into(), alive.clone()));
        slots.take().expect("free").commit(50);
        if is_busy {
            slots.send().expect("nothing is refused");
        }
        drop(slots);
        assert_eq!(Rc::strong_count(&alive), if is_busy { 2 } else { 1 });
    }
}

/// A buffer whose drop panics must not take along those that the kernel still reads.
#[test]
fn a_drop_that_panics_frees_nothing_in_flight() {
    use std::rc::Rc;
    struct Bomb(Vec<u8>, Option<Rc<()>>);
    // SAFETY: as for the vector.
    unsafe impl crate::Buffer for Bomb {
        fn bytes(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(self.1.is_some(), "as planned");
        }
    }
    let flies = Rc::new(());
    let model = Model::new(1, 0);
    model.0.borrow_mut().refuses = false;
    let places: Boxed<_> = (0..3).map(|_| Place::EMPTY).collect();
    // SAFETY: the model is this ring's alone.
    let mut ring = unsafe { Ring::over(model, 0, places) }.expect("three places");
    // The bomb's place is before that of the buffer in flight, and finished.
    assert!(ring.push(Bomb(Vec::new(), None)).is_ok());
    assert!(ring.push(Bomb(buffer(1, 10), Some(flies.clone()))).is_ok());
    while ring.queued() > 0 {
        ring.send().expect("nothing is refused");
    }
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(ring)));
    assert!(dropped.is_err());
    assert_eq!(Rc::strong_count(&flies), 2, "the one in flight was freed");
}

#[test]
fn neither_ring_nor_what_it_returns_shows_the_bytes() {
    let mut ring = with_one_in_flight();
    let secret = std::format!("{:?}", buffer(1, 10));
    ring.push(buffer(1, 10)).expect("a place is free");
    let shown = std::format!("{ring:?}") + &std::format!("{:?}", ring.into_socket().map(drop));
    assert!(
        shown.contains("in_flight") && !shown.contains(&secret[1..12]),
        "{shown}"
    );
}
