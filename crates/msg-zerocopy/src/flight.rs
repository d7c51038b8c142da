//! The ring's bookkeeping: which buffers wait, which the kernel still reads, and which are done. The ring's `unsafe`
//! relies on it, so it is plain computation.

#![forbid(unsafe_code)]

use crate::control::Completion;
use crate::tracker::{Ids, TrackerError};
use core::fmt;
use core::mem::forget;
use core::ops::Range;

/// Room for one buffer and for eight sends: what a ring is given at the start, since it never allocates.
pub struct Place<B> {
    buffer: Option<B>,
    /// Which of the buffer's bytes are to be sent.
    start: usize,
    end: usize,
    /// How many of them the kernel has taken.
    taken: usize,
    /// How many sends of them are not complete.
    in_flight: u32,
    ticket: Ticket,
    copied: bool,
    /// The next place of the list that this one is on: free, in order of sending, or done.
    next: u32,
    /// Sends that are noted here. They have nothing to do with the buffer.
    sends: [Send; SENDS],
}

/// How many sends there is room for with each buffer: a large buffer takes many, since a socket takes it in parts.
const SENDS: usize = 8;

/// A send in flight: which buffers it is of.
#[derive(Clone, Copy)]
struct Send {
    in_flight: bool,
    /// The first buffer's place; the others follow by `next`.
    first: u32,
    count: u32,
}

impl Send {
    const EMPTY: Self = Self {
        in_flight: false,
        first: NONE,
        count: 0,
    };
}

impl<B> Place<B> {
    /// Room with nothing in it: `[const { Place::EMPTY }; 64]`.
    pub const EMPTY: Self = Self {
        buffer: None,
        start: 0,
        end: 0,
        taken: 0,
        in_flight: 0,
        ticket: 0,
        copied: false,
        next: NONE,
        sends: [Send::EMPTY; SENDS],
    };
}

/// Without the buffer.
impl<B> fmt::Debug for Place<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("is_used", &self.buffer.is_some())
            .finish_non_exhaustive()
    }
}

/// Where a ring keeps its buffers and what it knows of its sends: an array, a static slice, or with `std` a box.
///
/// Sealed: the ring relies on what it has written there.
pub trait Places<B>: sealed::Places<B> {}

impl<B, T: sealed::Places<B>> Places<B> for T {}

pub(crate) mod sealed {
    use super::Place;

    /// Always the same places.
    pub trait Places<B> {
        fn all(&self) -> &[Place<B>];
        fn all_mut(&mut self) -> &mut [Place<B>];
    }

    impl<B, const N: usize> Places<B> for [Place<B>; N] {
        fn all(&self) -> &[Place<B>] {
            self
        }
        fn all_mut(&mut self) -> &mut [Place<B>] {
            self
        }
    }

    impl<B> Places<B> for &'static mut [Place<B>] {
        fn all(&self) -> &[Place<B>] {
            self
        }
        fn all_mut(&mut self) -> &mut [Place<B>] {
            self
        }
    }

    #[cfg(feature = "std")]
    impl<B> Places<B> for std::boxed::Box<[Place<B>]> {
        fn all(&self) -> &[Place<B>] {
            self
        }
        fn all_mut(&mut self) -> &mut [Place<B>] {
            self
        }
    }
}

/// The end of a list.
const NONE: u32 = u32::MAX;

/// A list through the places' `next`.
#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
    len: usize,
}

impl List {
    const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
        len: 0,
    };

    fn push<B>(&mut self, places: &mut [Place<B>], index: u32) {
        places[at(index)].next = NONE;
        if self.len == 0 {
            self.first = index;
        } else {
            places[at(self.last)].next = index;
        }
        self.last = index;
        self.len += 1;
    }

    fn pop<B>(&mut self, places: &[Place<B>]) -> Option<u32> {
        self.len = self.len.checked_sub(1)?;
        let index = self.first;
        self.first = places[at(index)].next;
        Some(index)
    }
}

/// Which buffer: counted from 0 in the order of [`Ring::push`](crate::Ring::push).
pub type Ticket = u64;

/// A buffer that the kernel no longer reads.
#[non_exhaustive]
pub struct Done<B> {
    /// The buffer.
    pub buffer: B,
    /// What [`Ring::push`](crate::Ring::push) returned for it.
    pub ticket: Ticket,
    /// How many of its bytes the kernel has taken: all, unless the ring was aborted. Taken is not received: of a
    /// connection that was reset the last ones did not arrive.
    pub taken: usize,
    /// Whether any of them were copied after all. Of merged completions this is a hint.
    pub copied: bool,
}

/// Without the buffer.
impl<B> fmt::Debug for Done<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done")
            .field("ticket", &self.ticket)
            .field("taken", &self.taken)
            .field("copied", &self.copied)
            .finish_non_exhaustive()
    }
}

/// The buffers of a ring and its sends.
///
/// A buffer leaves by [`finished`](Self::finished), once nothing of it waits and every send of it is complete. Dropped before that it is
/// forgotten: the kernel may still read it.
pub(crate) struct Flight<B, P: sealed::Places<B>> {
    places: P,
    free: List,
    waiting: List,
    done: List,
    ids: Ids,
    /// The oldest id in flight or the next one, and where in the window its send is noted.
    base: u32,
    base_at: usize,
    flying: u32,
    next_ticket: Ticket,
    is_trusted: bool,
    buffer: core::marker::PhantomData<B>,
}

impl<B, P: sealed::Places<B>> Flight<B, P> {
    /// All free, and the id that the next send takes. `None` for a number of places that [does not do](is_number_of_places).
    pub(crate) fn new(mut places: P, next_id: u32) -> Option<Self> {
        let all = places.all_mut();
        if !is_number_of_places(all.len()) {
            return None;
        }
        let mut free = List::EMPTY;
        for index in 0..all.len() {
            all[index] = Place::EMPTY;
            free.push(all, narrow(index));
        }
        Some(Self {
            places,
            free,
            waiting: List::EMPTY,
            done: List::EMPTY,
            ids: Ids::starting_at(next_id),
            base: next_id,
            base_at: 0,
            flying: 0,
            next_ticket: 0,
            is_trusted: true,
            buffer: core::marker::PhantomData,
        })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.places.all().len()
    }

    pub(crate) const fn free(&self) -> usize {
        self.free.len
    }

    /// How many buffers have bytes that wait.
    pub(crate) const fn queued(&self) -> usize {
        self.waiting.len
    }

    /// How many buffers can be taken back.
    pub(crate) const fn done(&self) -> usize {
        self.done.len
    }

    pub(crate) const fn in_flight(&self) -> u32 {
        self.flying
    }

    /// Whether a send more could not be noted.
    pub(crate) fn is_full(&self) -> bool {
        self.ids.next().wrapping_sub(self.base) as usize >= self.window()
    }

    /// How many ids can be between the oldest one in flight and the newest.
    fn window(&self) -> usize {
        self.capacity() * SENDS
    }

    /// The place that the next buffer gets.
    pub(crate) const fn next_place(&self) -> Option<usize> {
        if self.free.len == 0 {
            None
        } else {
            Some(at(self.free.first))
        }
    }

    /// Puts a part of a buffer at the end of what waits; the caller has seen that it has these bytes. Gives its ticket, or the buffer if
    /// no place is free.
    pub(crate) fn push(&mut self, buffer: B, part: Range<usize>) -> Result<Ticket, B> {
        let Some(index) = self.free.pop(self.places.all()) else {
            return Err(buffer);
        };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let places = self.places.all_mut();
        let sends = places[at(index)].sends;
        let is_empty = part.is_empty();
        places[at(index)] = Place {
            buffer: Some(buffer),
            start: part.start,
            end: part.end,
            ticket,
            sends,
            ..Place::EMPTY
        };
        if is_empty {
            self.done.push(places, index);
        } else {
            self.waiting.push(places, index);
        }
        Ok(ticket)
    }

    /// What waits, in order: each buffer and which of its bytes are left, at least one.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (&B, Range<usize>)> {
        let places = self.places.all();
        let mut index = self.waiting.first;
        (0..self.waiting.len).filter_map(move |_| {
            let place = &places[at(index)];
            index = place.next;
            let left = place.start + place.taken..place.end;
            place.buffer.as_ref().map(|buffer| (buffer, left))
        })
    }

    /// Notes a send that has taken an id and `taken` bytes of what waits, at least one.
    ///
    /// # Errors
    ///
    /// - [`TrackerError::Full`]: there is no room to note it, and nothing was
    pub(crate) fn sent(&mut self, taken: usize) -> Result<(), TrackerError> {
        if self.is_full() {
            return Err(TrackerError::Full);
        }
        let first = self.waiting.first;
        let count = self.advance(taken, true);
        let (place, nth) = self.send_at(self.ids.next());
        self.places.all_mut()[place].sends[nth] = Send {
            in_flight: true,
            first,
            count,
        };
        self.ids.take();
        self.flying += 1;
        Ok(())
    }

    /// Notes that `taken` bytes of what waits are sent by copy.
    pub(crate) fn copied(&mut self, taken: usize) {
        self.advance(taken, false);
    }

    /// How many buffers these bytes are of; those that are sent to the end wait no longer.
    fn advance(&mut self, mut taken: usize, by_reference: bool) -> u32 {
        let mut count = 0;
        while taken > 0 && self.waiting.len > 0 {
            let index = self.waiting.first;
            let places = self.places.all_mut();
            let place = &mut places[at(index)];
            let left = place.end - place.start - place.taken;
            let here = left.min(taken);
            place.taken += here;
            place.in_flight += u32::from(by_reference);
            place.copied |= !by_reference;
            taken -= here;
            count += 1;
            if here == left {
                let is_done = place.in_flight == 0;
                self.waiting.pop(places);
                if is_done {
                    self.done.push(places, index);
                }
            }
        }
        count
    }

    /// Notes that sends are complete.
    ///
    /// # Errors
    ///
    /// As [`Tracker::complete`](crate::Tracker::complete), and nothing was noted.
    pub(crate) fn complete(&mut self, completion: Completion) -> Result<(), TrackerError> {
        let Completion { lo, hi, copied } = completion;
        // Ends at the first id that is not in flight, so after as many steps as there are places, however long the range is.
        let mut id = lo;
        loop {
            if !self.is_in_flight(id) {
                return Err(self.ids.why_not(id));
            }
            if id == hi {
                break;
            }
            id = id.wrapping_add(1);
        }
        let mut id = lo;
        loop {
            self.end_send(id, copied);
            if id == hi {
                break;
            }
            id = id.wrapping_add(1);
        }
        while self.base != self.ids.next() && !self.is_in_flight(self.base) {
            self.base = self.base.wrapping_add(1);
            self.base_at = (self.base_at + 1) % self.window();
        }
        Ok(())
    }

    fn end_send(&mut self, id: u32, copied: bool) {
        let (place, nth) = self.send_at(id);
        let places = self.places.all_mut();
        let Send { first, count, .. } = places[place].sends[nth];
        places[place].sends[nth].in_flight = false;
        self.flying -= 1;
        let mut index = first;
        for _ in 0..count {
            let place = &mut places[at(index)];
            // Before `done` changes it.
            let next = place.next;
            place.in_flight -= 1;
            place.copied |= copied;
            if place.in_flight == 0 && place.start + place.taken == place.end {
                self.done.push(places, index);
            }
            index = next;
        }
    }

    /// What was noted may be wrong: a buffer of which anything was sent is never given out or dropped again.
    pub(crate) const fn distrust(&mut self) {
        self.is_trusted = false;
    }

    /// Takes what waits out of the order: it is not sent any more.
    pub(crate) fn give_up_waiting(&mut self) {
        while let Some(index) = self.waiting.pop(self.places.all()) {
            let places = self.places.all_mut();
            let place = &mut places[at(index)];
            place.end = place.start + place.taken;
            if place.in_flight == 0 {
                self.done.push(places, index);
            }
        }
    }

    /// A buffer that the kernel no longer reads, and its place is free.
    pub(crate) fn finished(&mut self) -> Option<Done<B>> {
        if !self.is_trusted {
            return None;
        }
        let index = self.done.pop(self.places.all())?;
        let places = self.places.all_mut();
        let place = &mut places[at(index)];
        let (ticket, taken, copied) = (place.ticket, place.taken, place.copied);
        let buffer = place.buffer.take();
        self.free.push(places, index);
        buffer.map(|buffer| Done {
            buffer,
            ticket,
            taken,
            copied,
        })
    }

    fn is_in_flight(&self, id: u32) -> bool {
        let (place, nth) = self.send_at(id);
        id.wrapping_sub(self.base) < self.ids.next().wrapping_sub(self.base)
            && self.places.all()[place].sends[nth].in_flight
    }

    /// Where the send with an id of the window is noted: in which place, and there.
    fn send_at(&self, id: u32) -> (usize, usize) {
        let index = (self.base_at + id.wrapping_sub(self.base) as usize) % self.window();
        (index / SENDS, index % SENDS)
    }
}

impl<B, P: sealed::Places<B>> Drop for Flight<B, P> {
    /// Forgets what the kernel may still read, and drops the other buffers.
    fn drop(&mut self) {
        let is_trusted = self.is_trusted;
        // All of these first: the drop of another buffer may panic, and then what is left in the places is dropped.
        for place in self.places.all_mut() {
            let was_given = place.in_flight > 0 || !is_trusted && place.taken > 0;
            if was_given && let Some(buffer) = place.buffer.take() {
                forget(buffer);
            }
        }
        for place in self.places.all_mut() {
            place.buffer = None;
        }
    }
}

/// Whether a ring can have so many: ids that are further apart than the sends of 2^27 places would be taken for past ones.
pub(crate) const fn is_number_of_places(places: usize) -> bool {
    places > 0 && places <= 1 << 27
}

const fn at(index: u32) -> usize {
    index as usize
}

/// The index of a place as it is stored.
const fn narrow(index: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "there are at most 2^27")]
    let index = index as u32;
    index
}
