//! Tools for the developers of nocopy: the graph of modules, and a check of the language of pages and comments.
//!
//! Every path counts: in `use` declarations, inline, and in the arguments of macros. Tests inside a file do not, since they may look
//! at what stands above it.

#![forbid(unsafe_code)]

pub mod cycles;
pub mod dialect;
pub mod man_pages;
pub mod modules;
