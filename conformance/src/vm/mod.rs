//! The same program on other kernels: it fetches them, boots them in QEMU, runs as their only process, and collects the results.
//!
//! ```text
//! kernels.toml ─ packages ─> cache ─ image ─> vmlinux ┐
//!                              └ modules ─> .ko files ┤
//! this program ───────────────────────── initramfs ───┴─ qemu ═══ guest (process 1) ─ check, or any static binary
//!                                                          ╚═ frames ═> results, end marker, exit status
//! ```

pub mod disks;
pub mod error;
pub mod frames;
pub mod guest;
pub mod gvisor;
pub mod image;
pub mod initramfs;
pub mod kernels;
pub mod matrix;
pub mod modules;
pub mod packages;
pub mod programs;
pub mod qemu;
pub mod talk;
pub mod workspace;

pub use error::Error;
