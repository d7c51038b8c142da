//! [`copy_file_range(2)`](https://man7.org/linux/man-pages/man2/copy_file_range.2.html) and
//! [`ioctl(FICLONE)`](https://man7.org/linux/man-pages/man2/FICLONE.2const.html) as raw system calls, and what their errors mean
//! for a copy.
//!
//! Each wrapper has the C name, the C argument order and the C meaning. It makes exactly one system call, returns the
//! kernel's own number or errno, and never retries, loops or clamps. There is no allocation, no libc function and, without
//! the feature `std`, no `std`.
//!
//! These calls refuse more than they do: other file systems, pipes, devices, `O_APPEND`. [`Fallback`] says after which errno
//! the bytes are to be read and written, and after which they are not.
//!
//! ```no_run
//! # #[cfg(feature = "std")] {
//! use nocopy_copy_file_range::{CopyFileRangeFlags, Fallback, MAX_COUNT, copy_file_range};
//! use std::fs::File;
//! use std::io::{self, Seek, SeekFrom};
//!
//! let (mut input, mut output) = (File::open("image")?, File::create_new("image.new")?);
//! let (mut from, mut to) = (0, 0);
//! loop {
//!     let flags = CopyFileRangeFlags::empty();
//!     match copy_file_range(&input, Some(&mut from), &output, Some(&mut to), MAX_COUNT, flags) {
//!         Ok(0) => break, // the end, or a file of /proc: reading tells
//!         Ok(_) => {}
//!         Err(errno) => match Fallback::after_copy_file_range(errno) {
//!             Fallback::Again => {}
//!             Fallback::ByOtherMeans => break,
//!             _ => return Err(errno.into()),
//!         },
//!     }
//! }
//! // What is left, from where the loop has stopped.
//! input.seek(SeekFrom::Start(from))?;
//! output.seek(SeekFrom::Start(to))?;
//! io::copy(&mut input, &mut output)?;
//! # }
//! # #[cfg(feature = "std")]
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A claim (`copy-file-range.errors.append`) is a sentence that the project's conformance suite has decided on kernels from 5.10 to
//! 7.3: `conformance show ID` prints it with its evidence.
//!
//! 64-bit Linux only. What has been run is x86-64.
#![no_std]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "nocopy-copy-file-range is for 64-bit Linux. On 32 bits the calls are the same; nobody has run it there, nor on Android, whose kernel is the same"
);

#[cfg(feature = "std")]
extern crate std;

pub mod abi;
mod bits;
mod cloning;
mod copying;
mod fallback;
mod fd;
mod flags;

pub use cloning::{ficlone, ficlonerange};
pub use copying::{MAX_COUNT, copy_file_range, max_count};
pub use fallback::Fallback;
pub use fd::BorrowedFd;
pub use flags::CopyFileRangeFlags;
pub use syscalls::Errno;
