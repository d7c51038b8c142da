//! [`splice(2)`](https://man7.org/linux/man-pages/man2/splice.2.html),
//! [`tee(2)`](https://man7.org/linux/man-pages/man2/tee.2.html),
//! [`vmsplice(2)`](https://man7.org/linux/man-pages/man2/vmsplice.2.html) and the pipes between them, as raw system calls.
//!
//! Each wrapper has the C name, the C argument order and the C meaning. It makes exactly one system call, returns the
//! kernel's own number or errno, and never retries, loops or clamps. There is no allocation, no libc function and, without
//! the feature `std`, no `std`. `vmsplice` is two functions, one for each direction, and a safe third for memory that never changes:
//! [`vmsplice_static`], which takes the direction from the type [`PipeWriter`].
//!
//! One end of a splice must be a pipe (claim `splice.ends.pipe-needed`), so a file goes to a socket in two steps:
//!
//! ```no_run
//! # #[cfg(feature = "std")] {
//! use nocopy_splice::{Errno, PipeFlags, SpliceFlags, pipe2, splice};
//! use std::{fs::File, net::TcpStream};
//!
//! let file = File::open("index.html")?;
//! let socket = TcpStream::connect("127.0.0.1:8080")?;
//! let pipe = pipe2(PipeFlags::CLOEXEC)?;
//!
//! let mut offset = 0;
//! loop {
//!     let mut held = match splice(&file, Some(&mut offset), &pipe.write, None, 1 << 20, SpliceFlags::empty()) {
//!         Ok(0) => break, // end of file
//!         Ok(moved) => moved,
//!         Err(Errno::EINTR) => continue,
//!         Err(errno) => return Err(errno.into()),
//!     };
//!     while held > 0 {
//!         match splice(&pipe.read, None, &socket, None, held, SpliceFlags::empty()) {
//!             Ok(moved) => held -= moved,
//!             Err(Errno::EINTR) => {}
//!             Err(errno) => return Err(errno.into()),
//!         }
//!     }
//! }
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! 64-bit Linux only. What has been run is x86-64.
//!
//! A claim that is named in this documentation, such as `splice.copies.pipe`, is an experiment of this crate's repository: `conformance show
//! splice.copies.pipe` prints how it is decided and what each kernel does.
#![no_std]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "nocopy-splice is for 64-bit Linux. On 32 bits the calls are the same and the pieces of memory half as large; nobody has run it there, nor on Android, whose kernel is the same"
);

#[cfg(feature = "std")]
extern crate std;

mod abi;
mod bits;
mod ends;
mod fd;
mod flags;
mod iovec;
mod owned_fd;
mod pipe;
mod size;
mod splicing;
mod vmsplice;

pub use ends::{EndError, PipeReader, PipeWriter, WrongEnd};
pub use fd::BorrowedFd;
pub use flags::{PipeFlags, SpliceFlags};
pub use iovec::{IoVec, IoVecMut};
pub use owned_fd::OwnedFd;
pub use pipe::{PIPE_BUF, Pipe, pipe2};
pub use size::{fcntl_getpipe_size, fcntl_setpipe_size};
pub use splicing::{splice, tee};
pub use syscalls::Errno;
pub use vmsplice::{MAX_IOVECS, vmsplice_from_pipe, vmsplice_static, vmsplice_to_pipe};
