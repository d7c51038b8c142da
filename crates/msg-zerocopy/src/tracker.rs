//! Which sends are in flight: a window of ids, one bit for each.

#![forbid(unsafe_code)]

use crate::control::Completion;
use core::fmt;

/// The ids in flight on one socket, at most `64 * WORDS` from the oldest to the newest.
///
/// Ids start at 0, count the successful sends with the flag that were not empty, and wrap after `u32::MAX`. They may
/// complete in any order, and a completion names an inclusive range. The tracker takes no part in the I/O: say
/// [`sent`](Self::sent) after each send, and give it each [`Completion`].
///
/// An operation that fails changes nothing.
///
/// ```
/// use nocopy_msg_zerocopy::{Completion, Tracker};
///
/// let mut tracker = Tracker::<1>::new();
/// for id in 0..3 {
///     assert_eq!(tracker.sent(), Ok(id));
/// }
/// tracker.complete(Completion { lo: 1, hi: 2, copied: true })?;
/// assert_eq!((tracker.in_flight(), tracker.oldest()), (1, Some(0)));
/// # Ok::<(), nocopy_msg_zerocopy::TrackerError>(())
/// ```
///
/// `WORDS` is a power of two up to 2^24, else it does not compile: ids wrap at 2^32, and a window that does not
/// divide that would jump there.
#[derive(Clone, Debug)]
pub struct Tracker<const WORDS: usize> {
    ids: Ids,
    /// The oldest id in flight, or the next one.
    base: u32,
    in_flight: u32,
    /// The bit of an id, by its remainder, is set while it is in flight.
    bits: [u64; WORDS],
}

/// The ids that were taken: from the first one on, wrapping after `u32::MAX`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids {
    first: u32,
    /// The id that the next send takes.
    next: u32,
    /// Whether as many ids were taken as there are, so that every one is in the past.
    has_wrapped: bool,
}

impl Ids {
    pub(crate) const fn starting_at(next: u32) -> Self {
        Self {
            first: next,
            next,
            has_wrapped: false,
        }
    }

    pub(crate) const fn next(self) -> u32 {
        self.next
    }

    /// Takes the next one.
    pub(crate) const fn take(&mut self) -> u32 {
        let id = self.next;
        self.next = id.wrapping_add(1);
        self.has_wrapped |= self.next == self.first;
        id
    }

    /// Why an id that is not in flight is none.
    pub(crate) const fn why_not(self, id: u32) -> TrackerError {
        let ago = self.next.wrapping_sub(id).wrapping_sub(1);
        let ever = self.next.wrapping_sub(self.first);
        if ago < 1 << 31 && (self.has_wrapped || ago < ever) {
            TrackerError::AlreadyComplete(id)
        } else {
            TrackerError::NotSent(id)
        }
    }
}

/// Why the tracker refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackerError {
    /// The window is full: no id can be taken until the oldest one in flight completes.
    Full,
    /// A completion names an id that no send has taken: something else sends on this socket.
    NotSent(u32),
    /// A completion names an id that is complete already. (One from before the first, or more than 2^31 behind, counts as not sent.)
    AlreadyComplete(u32),
}

impl fmt::Display for TrackerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("too many sends in flight"),
            Self::NotSent(id) => write!(f, "send {id} completed but was not sent"),
            Self::AlreadyComplete(id) => write!(f, "send {id} completed twice"),
        }
    }
}

impl core::error::Error for TrackerError {}

impl<const WORDS: usize> Default for Tracker<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const WORDS: usize> Tracker<WORDS> {
    /// How many ids fit between the oldest and the newest in flight.
    pub const CAPACITY: u32 = {
        assert!(
            WORDS.is_power_of_two() && WORDS <= 1 << 24,
            "WORDS is a power of two up to 2^24"
        );
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^30")]
        let capacity = (WORDS * 64) as u32;
        capacity
    };

    /// For a socket that has not sent with the flag yet: the first id is 0.
    #[must_use]
    pub const fn new() -> Self {
        Self::starting_at(0)
    }

    /// For a socket whose next id is known.
    #[must_use]
    pub const fn starting_at(next: u32) -> Self {
        let _ = Self::CAPACITY;
        Self {
            ids: Ids::starting_at(next),
            base: next,
            in_flight: 0,
            bits: [0; WORDS],
        }
    }

    /// How many sends are in flight.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Whether none is.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// Whether [`sent`](Self::sent) would fail. Ask before the send: after it the id is taken.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.ids.next().wrapping_sub(self.base) >= Self::CAPACITY
    }

    /// The id that the next send takes.
    #[must_use]
    pub const fn next_id(&self) -> u32 {
        self.ids.next()
    }

    /// The oldest id in flight.
    #[must_use]
    pub const fn oldest(&self) -> Option<u32> {
        if self.is_idle() {
            None
        } else {
            Some(self.base)
        }
    }

    /// Whether this id is in flight.
    #[must_use]
    pub const fn is_in_flight(&self, id: u32) -> bool {
        let (word, bit) = Self::place(id);
        id.wrapping_sub(self.base) < self.ids.next().wrapping_sub(self.base)
            && self.bits[word] & bit != 0
    }

    /// Notes a successful send with the flag that was not empty, and returns the id that it has taken.
    ///
    /// # Errors
    ///
    /// - [`TrackerError::Full`]: the window is full
    pub const fn sent(&mut self) -> Result<u32, TrackerError> {
        if self.is_full() {
            return Err(TrackerError::Full);
        }
        let id = self.ids.take();
        let (word, bit) = Self::place(id);
        self.bits[word] |= bit;
        self.in_flight += 1;
        Ok(id)
    }

    /// Notes that the sends of a range are complete.
    ///
    /// # Errors
    ///
    /// - [`TrackerError::NotSent`], [`TrackerError::AlreadyComplete`]: the first id of the range that is not in flight
    pub const fn complete(&mut self, completion: Completion) -> Result<(), TrackerError> {
        let Completion { lo, hi, copied: _ } = completion;
        // Ends at `next` at the latest, so after at most CAPACITY steps, however long the range is.
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
            let (word, bit) = Self::place(id);
            self.bits[word] &= !bit;
            self.in_flight -= 1;
            if id == hi {
                break;
            }
            id = id.wrapping_add(1);
        }
        while self.base != self.ids.next() && !self.is_in_flight(self.base) {
            self.base = self.base.wrapping_add(1);
        }
        Ok(())
    }

    const fn place(id: u32) -> (usize, u64) {
        let index = id % Self::CAPACITY;
        ((index / 64) as usize, 1 << (index % 64))
    }
}
