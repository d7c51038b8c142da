//! The commands that have a file of their own.

pub mod falsify;
pub mod report;
#[cfg(feature = "vm")]
pub mod vm;
