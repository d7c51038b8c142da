//! The commands that have a file of their own.

pub mod falsify;
#[cfg(feature = "vm")]
pub mod vm;
