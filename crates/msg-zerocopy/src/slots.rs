//! The ring's book-keeping: which slot is free, waits or is in flight. The ring's `unsafe` relies on it, so it is plain
//! computation.

#![forbid(unsafe_code)]

use crate::control::Completion;
use crate::tracker::{Tracker, TrackerError};
use core::ops::Range;

/// A slot is free if it is not queued and has no sends in flight.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    queued: bool,
    /// How many bytes are committed, and how many of them are sent.
    len: usize,
    sent: usize,
    in_flight: u32,
}

impl State {
    const fn is_free(self) -> bool {
        !self.queued && self.in_flight == 0
    }
}

/// `SLOTS` slots, the queue of those that are committed, and whose sends are in flight.
#[derive(Debug)]
pub(crate) struct Slots<const SLOTS: usize, const WORDS: usize> {
    states: [State; SLOTS],
    /// The slots that are committed and not sent to the end: a circle of indices, in order.
    queue: [u16; SLOTS],
    queue_start: usize,
    queue_len: usize,
    tracker: Tracker<WORDS>,
    /// The slot of each id in the window, by the id's remainder.
    owners: [[u16; 64]; WORDS],
}

impl<const SLOTS: usize, const WORDS: usize> Slots<SLOTS, WORDS> {
    const SLOTS_FIT: () = assert!(SLOTS > 0 && SLOTS <= 1 << 16, "SLOTS is from 1 to 65536");

    /// All free, and the id that the next send takes.
    pub(crate) const fn new(next_id: u32) -> Self {
        let () = Self::SLOTS_FIT;
        Self {
            states: [State {
                queued: false,
                len: 0,
                sent: 0,
                in_flight: 0,
            }; SLOTS],
            queue: [0; SLOTS],
            queue_start: 0,
            queue_len: 0,
            tracker: Tracker::starting_at(next_id),
            owners: [[0; 64]; WORDS],
        }
    }

    /// The sends in flight.
    pub(crate) const fn tracker(&self) -> &Tracker<WORDS> {
        &self.tracker
    }

    /// How many slots wait.
    pub(crate) const fn queued(&self) -> usize {
        self.queue_len
    }

    /// A slot that neither waits nor is in flight.
    pub(crate) fn free(&self) -> Option<usize> {
        self.states.iter().position(|slot| slot.is_free())
    }

    /// Puts the first `len` bytes of a free slot at the end of the queue; 0 leaves it free.
    pub(crate) fn commit(&mut self, index: usize, len: usize) {
        if len == 0 {
            return;
        }
        self.states[index] = State {
            queued: true,
            len,
            sent: 0,
            in_flight: 0,
        };
        // A queued slot is not free, so there are never more than SLOTS in the queue.
        let end = (self.queue_start + self.queue_len) % SLOTS;
        self.queue[end] = narrow(index);
        self.queue_len += 1;
    }

    /// The slot at the front of the queue, and which of its bytes are left to send: at least one.
    pub(crate) fn front(&self) -> Option<(usize, Range<usize>)> {
        let index = (self.queue_len > 0).then(|| usize::from(self.queue[self.queue_start]))?;
        let State { len, sent, .. } = self.states[index];
        Some((index, sent..len))
    }

    /// Notes a send of bytes of the front slot that has taken an id. `taken` is what the kernel has taken of them, at least one.
    ///
    /// # Errors
    ///
    /// - [`TrackerError::Full`]: the window is full, and nothing was noted
    pub(crate) fn sent(&mut self, taken: usize) -> Result<(), TrackerError> {
        let id = self.tracker.sent()?;
        // Without a slot, which does not happen, the id stays in flight: rather a leak than memory given out too early.
        let Some((index, _)) = self.front() else {
            return Ok(());
        };
        let (word, bit) = Self::place(id);
        self.owners[word][bit] = narrow(index);
        self.states[index].in_flight += 1;
        self.advance(taken);
        Ok(())
    }

    /// Notes that bytes of the front slot are sent, and takes it off the queue if they were the last.
    pub(crate) fn advance(&mut self, taken: usize) {
        let Some((index, _)) = self.front() else {
            return;
        };
        let slot = &mut self.states[index];
        slot.sent += taken;
        if slot.sent == slot.len {
            slot.queued = false;
            self.queue_start = (self.queue_start + 1) % SLOTS;
            self.queue_len -= 1;
        }
    }

    /// Notes that sends are complete, and returns how many slots became free.
    ///
    /// # Errors
    ///
    /// As [`Tracker::complete`], and nothing was noted.
    pub(crate) fn complete(&mut self, completion: Completion) -> Result<usize, TrackerError> {
        self.tracker.complete(completion)?;
        let mut freed = 0;
        // Every id of the range was in flight, so there are no more than the window has.
        let mut id = completion.lo;
        loop {
            let (word, bit) = Self::place(id);
            let slot = &mut self.states[usize::from(self.owners[word][bit])];
            slot.in_flight -= 1;
            freed += usize::from(slot.is_free());
            if id == completion.hi {
                return Ok(freed);
            }
            id = id.wrapping_add(1);
        }
    }

    const fn place(id: u32) -> (usize, usize) {
        let index = (id % Tracker::<WORDS>::CAPACITY) as usize;
        (index / 64, index % 64)
    }
}

/// The index of a slot as it is stored.
const fn narrow(index: usize) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "SLOTS is at most 2^16")]
    let index = index as u16;
    index
}

#[cfg(test)]
#[cfg(feature = "std")]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, VecDeque};
    use std::vec::Vec;

    /// Numbers without a pattern that matters (xorshift).
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 33).expect("31 bits") % limit
        }
    }

    /// What matters for memory: a slot that is given out as free has no send in flight and does not wait.
    #[test]
    fn any_order_of_commits_sends_and_completions_agrees_with_a_model() {
        for (seed, first) in [(1, 0), (2, u32::MAX - 40), (3, 1 << 31), (4, u32::MAX)] {
            let mut numbers = Numbers(seed);
            let mut slots = Slots::<5, 1>::new(first);
            let mut waiting: VecDeque<(usize, Range<usize>)> = VecDeque::new();
            let mut flying: BTreeMap<u32, usize> = BTreeMap::new(); // by the distance from the first id
            let (mut next, mut freed) = (0_u32, 0);
            for _ in 0..100_000 {
                match numbers.below(4) {
                    0 => {
                        if let Some(index) = slots.free() {
                            let len = numbers.below(4);
                            slots.commit(index, len);
                            if len > 0 {
                                waiting.push_back((index, 0..len));
                            }
                        }
                    }
                    1 | 2 if !waiting.is_empty() => {
                        let (index, left) = waiting.front_mut().expect("not empty");
                        let taken = numbers.below(left.len()) + 1;
                        let oldest = flying.first_key_value().map_or(next, |(id, _)| *id);
                        let copied = numbers.below(8) == 0;
                        if copied {
                            slots.advance(taken);
                        } else if next - oldest >= 64 {
                            assert_eq!(slots.sent(taken), Err(TrackerError::Full));
                            continue;
                        } else {
                            assert_eq!(slots.sent(taken), Ok(()));
                            flying.insert(next, *index);
                            next += 1;
                        }
                        left.start += taken;
                        if left.start == left.end {
                            waiting.pop_front();
                        }
                    }
                    3 if !flying.is_empty() => {
                        let lo = *flying.keys().nth(numbers.below(flying.len())).expect("one");
                        let hi = lo + u32::try_from(numbers.below(3)).expect("small");
                        let completion = Completion {
                            lo: first.wrapping_add(lo),
                            hi: first.wrapping_add(hi),
                            copied: false,
                        };
                        let before: Vec<usize> = flying.values().copied().collect();
                        let done = slots.complete(completion);
                        if (lo..=hi).all(|id| flying.contains_key(&id)) {
                            flying.retain(|id, _| !(lo..=hi).contains(id));
                            let is_busy = |index: &usize| {
                                flying.values().any(|it| it == index)
                                    || waiting.iter().any(|(it, _)| it == index)
                            };
                            let mut now_free = before;
                            now_free.retain(|index| !is_busy(index));
                            now_free.sort_unstable();
                            now_free.dedup();
                            assert_eq!(done, Ok(now_free.len()));
                            freed += now_free.len();
                        } else {
                            assert!(done.is_err());
                        }
                    }
                    _ => {}
                }
                let is_busy = |index: usize| {
                    flying.values().any(|it| *it == index)
                        || waiting.iter().any(|(it, _)| *it == index)
                };
                assert_eq!(slots.free(), (0..5).find(|index| !is_busy(*index)));
                assert_eq!(slots.front(), waiting.front().cloned());
                assert_eq!(slots.queued(), waiting.len());
                assert_eq!(slots.tracker().in_flight() as usize, flying.len());
            }
            assert!(freed > 1000 && next > 1000, "{freed} of {next}");
        }
    }
}
