//! Functions to disassemble: each wrapper as `thin_*` beside the same call by hand as `asm_*`, wrappers that need more as
//! `counted_*`, and what the checker must refuse as `fat_*`.
//!
//! A wrapper and its reference have the same signature, so that arguments arrive and the result leaves in the same
//! places: what differs is the work in between.
#![no_std]

mod control;
pub mod copy_file_range;
pub mod mmap;
pub mod msg_zerocopy;
mod reference;
pub mod sendfile;
pub mod splice;
pub mod tcp_zerocopy_receive;
