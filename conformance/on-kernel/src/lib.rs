//! Runs programs on other Linux kernels: it fetches them, boots them in QEMU, runs the programs there, and returns their output and
//! exit status.
//!
//! ```text
//! kernels.toml ─ packages ─> cache ─ image ─> vmlinux ┐
//!                              └ modules ─> .ko files ┤
//! the program that calls this, or `on-kernel` ── initramfs ───┴─ qemu ═══ guest (process 1) ─ any program
//!                                                                  ╚═ frames ═> output, exit status, end marker
//! ```

pub mod cache;
pub mod disks;
pub mod error;
pub mod frames;
pub mod guest;
pub mod gvisor;
pub mod image;
pub mod initramfs;
pub mod job;
pub mod keep;
pub mod kernels;
pub mod log;
pub mod machine;
pub mod modules;
pub mod named;
pub mod pack;
pub mod packages;
pub mod plan;
pub mod program;
pub mod project;
pub mod talk;

pub use error::Error;
