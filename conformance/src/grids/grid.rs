//! What a grid is.

use super::sheet::Sheet;
use crate::claim::Claim;
use crate::verdict::Observation;

/// A grid.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// The command by which it is made.
    pub name: &'static str,
    /// What is in the rows, for its title.
    pub what: &'static str,
    /// An experiment per row, whose facts are the cells. The row's name is its statement.
    pub rows: &'static [Claim],
    /// Whether a guest needs a disk of every kind.
    pub on_disks: bool,
    /// What is done before its experiments are started.
    pub prepare: fn(),
    /// Which columns differ from run to run: they are no part of a record, and their differences are none.
    pub varies: fn(&str) -> bool,
    /// What is made of the facts of a row.
    pub tidy: fn(&Observation) -> Observation,
    /// Where what is in it does not agree with itself, a sentence each.
    pub disagreements: fn(&Sheet) -> Vec<String>,
    /// The records, as they were when the program was built: kernels, oldest first, each with its stored form.
    pub records: &'static [(&'static str, &'static str)],
}

impl Grid {
    /// The names of its rows. Several experiments after each other may fill one row.
    pub fn row_names(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.rows.iter().map(|row| row.statement).collect();
        names.dedup();
        names
    }
}

/// The records of a grid, by its name.
macro_rules! recorded {
    ($grid:literal) => {
        $crate::grids::grid::recorded!($grid, "5.10" "6.1" "6.12" "6.16" "6.17" "6.18" "6.19" "7.0" "7.1" "7.2" "7.3")
    };
    ($grid:literal, $($kernel:literal)*) => {
        &[$((
            $kernel,
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"), "/../fixtures/grids/", $grid, "/", $kernel, ".jsonl"
            )),
        )),*]
    };
}
pub(crate) use recorded;
