//! `read` and `write`, with which the other calls are compared.

mod copies;
mod dma;
mod entries;
mod faults;
mod switches;
mod write;

use crate::claims::prelude::*;

/// Claims about `read` into a buffer and `write` from it.
pub const CLAIMS: &[&[Claim]] =
    &[copies::CLAIMS, dma::CLAIMS, entries::CLAIMS, switches::CLAIMS, write::CLAIMS, faults::CLAIMS];
