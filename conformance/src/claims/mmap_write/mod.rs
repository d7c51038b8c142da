//! `mmap` and `write`.

mod copies;
mod entries;
mod sample;
mod zerocopy;

use crate::claims::prelude::*;

/// Claims about writing from a mapping.
pub const CLAIMS: &[&[Claim]] = &[copies::CLAIMS, sample::CLAIMS, entries::CLAIMS, zerocopy::CLAIMS];
