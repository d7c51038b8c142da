//! `tee`.

pub(super) mod copies;
pub(super) mod end;
pub(super) mod ends;
pub(super) mod errors;
pub(super) mod flags;
pub(super) mod input;
pub(super) mod length;
pub(super) mod waits;

use crate::claims::prelude::*;

const NONBLOCK: SpliceFlags = SpliceFlags::NONBLOCK;
const BLOCKING: SpliceFlags = SpliceFlags::empty();

const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::tee);

/// A claim about the answers of `tee`.
#[track_caller]
const fn about_tee(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(&[Sysno::tee]).turned_by(OTHERWISE)
}

/// `tee` with these four numbers.
fn raw(input: usize, output: usize, length: usize, flags: usize) -> Result<usize, Errno> {
    // SAFETY: tee takes no pointer.
    unsafe { ask(Sysno::tee, [input, output, length, flags, 0, 0]) }
}
