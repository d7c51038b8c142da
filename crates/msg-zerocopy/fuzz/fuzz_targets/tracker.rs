//! Any sequence of sends and completions: the tracker agrees with a set of the ids in flight, and a refusal changes
//! nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nocopy_msg_zerocopy::{Completion, Tracker, TrackerError};
use std::collections::BTreeSet;

fuzz_target!(|script: &[u8]| {
    let Some((first, script)) = script.split_first_chunk::<4>() else {
        return;
    };
    let first = u32::from_le_bytes(*first);
    let mut tracker = Tracker::<1>::starting_at(first);
    // By their distance from the first, so that the order is right over the wrap.
    let mut flying = BTreeSet::new();
    let mut sent = 0_u32;
    for step in script.chunks(3) {
        match *step {
            [0..=127, start, len] => {
                let lo = flying.first().copied().unwrap_or(sent);
                let lo = first
                    .wrapping_add(lo)
                    .wrapping_add(u32::from(start))
                    .wrapping_sub(8);
                let hi = lo.wrapping_add(u32::from(len)).wrapping_sub(1);
                let ids =
                    || (0..=hi.wrapping_sub(lo)).map(|at| lo.wrapping_sub(first).wrapping_add(at));
                let bad = ids().find(|id| !flying.contains(id));
                let got = tracker.complete(Completion {
                    lo,
                    hi,
                    copied: false,
                });
                match bad {
                    None => {
                        assert_eq!(got, Ok(()));
                        for id in ids() {
                            flying.remove(&id);
                        }
                    }
                    Some(id) => {
                        let name = first.wrapping_add(id);
                        let want = if id < sent || id > u32::MAX - 300 {
                            TrackerError::AlreadyComplete(name)
                        } else {
                            TrackerError::NotSent(name)
                        };
                        assert_eq!(got, Err(want));
                    }
                }
            }
            [sends, ..] => {
                let sends = sends % 128;
                for _ in 0..sends {
                    let full = flying.first().is_some_and(|oldest| sent - oldest >= 64);
                    assert_eq!(tracker.is_full(), full);
                    if full {
                        assert_eq!(tracker.sent(), Err(TrackerError::Full));
                        break;
                    }
                    assert_eq!(tracker.sent(), Ok(first.wrapping_add(sent)));
                    flying.insert(sent);
                    sent += 1;
                }
            }
            [] => {}
        }
        assert_eq!(tracker.in_flight() as usize, flying.len());
        let oldest = flying.first().map(|id| first.wrapping_add(*id));
        assert_eq!(tracker.oldest(), oldest);
    }
});
