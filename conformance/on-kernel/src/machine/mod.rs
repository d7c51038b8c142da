//! One guest: its description, its start, and the judgement of its end.
//!
//! Nothing is written to a disk of the host: the archive is an anonymous memory file, console and results are pipes, and writes of a
//! guest to its disks are discarded at its end. QEMU dies with the thread that started it.

mod archive;
pub mod command;
pub mod description;
pub mod home;
mod probe;
pub mod run;
pub mod started;

pub use description::{Accelerator, Machine};
pub use run::Ran;
