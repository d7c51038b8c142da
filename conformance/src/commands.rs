//! The commands that have a file of their own.

pub mod bench;
pub mod coverage;
pub mod diff;
pub mod falsify;
pub mod grid;
pub mod list;
pub mod record;
pub mod redis;
pub mod report;
pub mod soak;
#[cfg(feature = "vm")]
pub mod vm;
