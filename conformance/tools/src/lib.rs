//! The graph of a package's modules, read from its sources.
//!
//! Every path counts: in `use` declarations, inline, and in the arguments of macros. Tests inside a file do not, since they may look
//! at what stands above it.

#![forbid(unsafe_code)]

pub mod cycles;
pub mod modules;
