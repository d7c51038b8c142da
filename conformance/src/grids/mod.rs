//! Grids: the answers of the running kernel to every call, for all descriptors, file systems or methods.
//!
//! A grid is the data of a run, not a claim: each cell is one observation. [`records`] keeps the answers of every kernel of the
//! matrix. A cell that differs between kernels, or from a document, has a claim in the registry, which [`cells`] names.
//!
//! A row is an experiment for the [runner](crate::runner), so it runs in a separate process with limits. Each cell runs in a
//! separate thread, so that a sleeping call is detected and does not delay the others.

pub mod attempt;
pub mod cells;
pub mod fds;
pub mod fs;
pub mod grid;
pub mod pairs;
pub mod records;
pub mod sheet;
