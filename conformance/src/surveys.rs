//! Every grid of this program: descriptors, pairs of them, file systems, the ledger.

#![forbid(unsafe_code)]

use crate::claim::Claim;
use crate::grids::fds::FDS;
use crate::grids::fs::FS;
use crate::grids::grid::Grid;
use crate::grids::pairs::PAIRS;
use crate::ledger::LEDGER;

/// Every grid.
pub const ALL: &[Grid] = &[FDS, PAIRS, FS, LEDGER];

/// The grid of this name.
pub fn find(name: &str) -> Option<&'static Grid> {
    ALL.iter().find(|grid| grid.name == name)
}

/// The experiments of all grids, for the supervisor.
pub fn rows() -> impl Iterator<Item = &'static Claim> {
    ALL.iter().flat_map(|grid| grid.rows)
}
