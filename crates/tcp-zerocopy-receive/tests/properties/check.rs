//! Runs properties on random input, and counts the hard cases.

use quickcheck::{Arbitrary, Gen, QuickCheck, Testable};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs a property on this many inputs, whose lists have at most `size` elements.
pub fn check(property: impl Testable, cases: u64, size: usize) {
    QuickCheck::new()
        .rng(Gen::new(size))
        .tests(cases)
        .quickcheck(property);
}

/// How often a hard case was met.
pub struct Met(AtomicUsize, &'static str);

impl Met {
    pub const fn new(what: &'static str) -> Self {
        Self(AtomicUsize::new(0), what)
    }

    pub fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn note_if(&self, met: bool) {
        if met {
            self.note();
        }
    }
}

/// All of these were met, else the property shows nothing about them.
#[track_caller]
pub fn were_met<const N: usize>(all: [&Met; N]) {
    for Met(count, what) in all {
        assert!(count.load(Ordering::Relaxed) > 0, "never met: {what}");
    }
}

/// A random number below `bound`.
pub fn below(g: &mut Gen, bound: u64) -> u64 {
    u64::arbitrary(g) % bound
}

/// The same, as an index.
pub fn index_below(g: &mut Gen, bound: usize) -> usize {
    usize::arbitrary(g) % bound
}
