//! What nocopy's programs need of the machine they run on, and `std` does not have.
//!
//! - [`process`]: system calls about processes.
//! - [`programs`]: programs that are installed.
//! - [`interrupt`]: signals that end the program in order.
//! - [`input`] and [`replace`]: files that are read without waiting, and files that are replaced as a whole.
//! - [`kernel`]: the release of the running kernel.
//! - [`images`]: file systems in a file, made by the tools of their authors.
//! - [`interfaces`] and [`local`]: network interfaces, and sockets on this machine.

pub mod images;
pub mod input;
pub mod interfaces;
pub mod interrupt;
pub mod kernel;
pub mod local;
pub mod process;
pub mod programs;
pub mod replace;
