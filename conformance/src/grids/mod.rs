//! Grids: what everything of a kind answers to every call, on the running kernel.
//!
//! A grid is data of a run, not a claim: each cell is what was seen. What every kernel of the matrix answered is kept in
//! [`records`]; cells that differ between kernels, or from what is documented, have claims in the registry, as [`cells`] says. A row is an experiment for the [runner](crate::runner), so it has a process of its
//! own, with its limits; each cell has a thread, so that a call that sleeps is seen to do so and holds up no other.

pub mod attempt;
pub mod cells;
pub mod fds;
pub mod fs;
pub mod grid;
pub mod records;
pub mod sheet;
