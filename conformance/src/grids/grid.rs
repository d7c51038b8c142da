//! The definition of a grid.

use super::sheet::Sheet;
use crate::claim::Claim;
use crate::verdict::Observation;

/// A grid.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// The command that makes it.
    pub name: &'static str,
    /// The kind of its rows, for its title.
    pub what: &'static str,
    /// One experiment for each row. Its facts are the cells, and its statement is the row's name.
    pub rows: &'static [Claim],
    /// Whether a guest needs a disk with every file system.
    pub on_disks: bool,
    /// Called before its experiments are started.
    pub prepare: fn(),
    /// Whether a column differs from run to run. Such a column is left out of records and comparisons.
    pub varies: fn(&str) -> bool,
    /// Rewrites the facts of a row.
    pub tidy: fn(&Observation) -> Observation,
    /// Finds contradictions inside the grid, one sentence each.
    pub disagreements: fn(&Sheet) -> Vec<String>,
    /// The records, as they were when the program was built: the kernels, oldest first, with the stored form of each.
    pub records: &'static [(&'static str, &'static str)],
}

impl Grid {
    /// The names of its rows. Consecutive experiments may fill one row.
    pub fn row_names(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.rows.iter().map(|row| row.statement).collect();
        names.dedup();
        names
    }
}
