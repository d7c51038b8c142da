//! The tracker against a model that cannot be wrong: a list of all sends ever made, with a mark on each.

use nocopy_msg_zerocopy::{Completion, Tracker, TrackerError};

struct Model {
    first: u32,
    /// For each send: in flight.
    sends: Vec<bool>,
}

impl Model {
    fn index(&self, id: u32) -> usize {
        id.wrapping_sub(self.first) as usize
    }

    fn id(&self, index: usize) -> u32 {
        self.first.wrapping_add(u32::try_from(index).expect("few"))
    }

    fn oldest(&self) -> Option<usize> {
        self.sends.iter().position(|flying| *flying)
    }

    fn is_full(&self, capacity: usize) -> bool {
        self.oldest()
            .is_some_and(|oldest| self.sends.len() - oldest >= capacity)
    }

    fn complete(&mut self, lo: u32, hi: u32) -> Result<(), TrackerError> {
        let mut id = lo;
        loop {
            match self.sends.get(self.index(id)) {
                Some(true) => {}
                Some(false) => return Err(TrackerError::AlreadyComplete(id)),
                None => return Err(TrackerError::NotSent(id)),
            }
            if id == hi {
                break;
            }
            id = id.wrapping_add(1);
        }
        let (from, to) = (self.index(lo), self.index(hi));
        self.sends[from..=to].fill(false);
        Ok(())
    }
}

struct XorShift(u64);

impl XorShift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}

fn against_the_model<const WORDS: usize>(first: u32, seed: u64) -> [usize; 3] {
    let mut random = XorShift(seed);
    let mut tracker = Tracker::<WORDS>::starting_at(first);
    let mut model = Model {
        first,
        sends: Vec::new(),
    };
    let mut refused = [0; 3];
    for _ in 0..3000 {
        if random.below(5) < 3 {
            let want = if model.is_full(WORDS * 64) {
                refused[0] += 1;
                Err(TrackerError::Full)
            } else {
                model.sends.push(true);
                Ok(model.id(model.sends.len() - 1))
            };
            assert_eq!(tracker.sent(), want);
        } else {
            // Mostly around the oldest, sometimes past either end.
            let start = model.oldest().unwrap_or(model.sends.len());
            let lo = model
                .id(start)
                .wrapping_add(u32::try_from(random.below(12)).expect("few"))
                .wrapping_sub(u32::try_from(random.below(6)).expect("few"));
            let hi = lo.wrapping_add(u32::try_from(random.below(9)).expect("few"));
            let want = model.complete(lo, hi);
            match want {
                Err(TrackerError::NotSent(_)) => refused[1] += 1,
                Err(TrackerError::AlreadyComplete(_)) => refused[2] += 1,
                _ => {}
            }
            let copied = random.below(2) == 0;
            assert_eq!(tracker.complete(Completion { lo, hi, copied }), want);
        }
        let flying = model.sends.iter().filter(|flying| **flying).count();
        assert_eq!(tracker.in_flight() as usize, flying);
        assert_eq!(tracker.is_idle(), flying == 0);
        assert_eq!(tracker.is_full(), model.is_full(WORDS * 64));
        assert_eq!(tracker.oldest(), model.oldest().map(|at| model.id(at)));
        assert_eq!(tracker.next_id(), model.id(model.sends.len()));
        for back in 0..model.sends.len().min(WORDS * 64 + 3) {
            let at = model.sends.len() - 1 - back;
            assert_eq!(tracker.is_in_flight(model.id(at)), model.sends[at]);
        }
        assert!(!tracker.is_in_flight(tracker.next_id()));
    }
    refused
}

#[test]
fn it_agrees_with_the_model_at_the_start_and_over_the_wrap() {
    let mut refused = [0; 3];
    for seed in 1..8 {
        for first in [0, 1, u32::MAX, u32::MAX - 700, 1 << 31] {
            let one = against_the_model::<1>(first, seed * 7919);
            let two = against_the_model::<2>(first, seed * 104_729);
            for at in 0..3 {
                refused[at] += one[at] + two[at];
            }
        }
    }
    // The walk has been to each kind of refusal, else it shows nothing about them.
    assert!(refused.iter().all(|count| *count > 0), "{refused:?}");
}

#[test]
fn a_range_of_every_id_is_refused_and_changes_nothing() {
    let mut tracker = Tracker::<1>::new();
    for _ in 0..10 {
        tracker.sent().expect("room");
    }
    let all = Completion {
        lo: 3,
        hi: 2,
        copied: false,
    };
    assert_eq!(tracker.complete(all), Err(TrackerError::NotSent(10)));
    assert_eq!((tracker.in_flight(), tracker.oldest()), (10, Some(0)));
}

#[test]
fn a_hole_keeps_the_window_until_it_closes() {
    let mut tracker = Tracker::<1>::new();
    for _ in 0..64 {
        tracker.sent().expect("room");
    }
    assert_eq!(tracker.sent(), Err(TrackerError::Full));
    let done = |lo, hi| Completion {
        lo,
        hi,
        copied: true,
    };
    tracker.complete(done(1, 63)).expect("in flight");
    assert!(tracker.is_full());
    assert_eq!(tracker.in_flight(), 1);
    tracker.complete(done(0, 0)).expect("in flight");
    assert_eq!(tracker.sent(), Ok(64));
}

#[test]
fn an_id_before_the_first_was_not_sent() {
    for first in [0, 7, u32::MAX] {
        let mut tracker = Tracker::<1>::starting_at(first);
        let before = first.wrapping_sub(1);
        let one = |id| Completion {
            lo: id,
            hi: id,
            copied: false,
        };
        assert_eq!(
            tracker.complete(one(before)),
            Err(TrackerError::NotSent(before))
        );
        assert_eq!(tracker.sent(), Ok(first));
        assert_eq!(tracker.complete(one(first)), Ok(()));
        assert_eq!(
            tracker.complete(one(first)),
            Err(TrackerError::AlreadyComplete(first))
        );
        assert_eq!(
            tracker.complete(one(before)),
            Err(TrackerError::NotSent(before))
        );
    }
}
