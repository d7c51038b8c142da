//! [`sendfile(2)`](https://man7.org/linux/man-pages/man2/sendfile.2.html) as one raw system call.
//!
//! [`sendfile()`] has the C name, the C argument order and the C meaning. It makes exactly one system call,
//! returns the kernel's own number or errno, and never retries, loops or clamps. There is no allocation, no libc
//! function and, without the feature `std`, no `std`.
//!
//! ```no_run
//! # #[cfg(feature = "std")] {
//! use std::{fs::File, net::TcpStream};
//!
//! let file = File::open("index.html")?;
//! let socket = TcpStream::connect("127.0.0.1:8080")?;
//! let size = file.metadata()?.len();
//!
//! let mut offset = 0;
//! while offset < size {
//!     let left = usize::try_from(size - offset).unwrap_or(nocopy_sendfile::MAX_COUNT);
//!     match nocopy_sendfile::sendfile(&socket, &file, Some(&mut offset), left) {
//!         Ok(0) => break, // the file is shorter than it was
//!         Ok(_) | Err(nocopy_sendfile::Errno::EINTR) => {}
//!         Err(errno) => return Err(errno.into()),
//!     }
//! }
//! # }
//! # #[cfg(feature = "std")]
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! 64-bit Linux only. What has been run is x86-64.
//!
//! A claim that is named in this documentation, such as `sendfile.copies.pipe`, is an experiment of this crate's repository: `conformance show
//! sendfile.copies.pipe` prints how it is decided and what each kernel does.
#![no_std]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "nocopy-sendfile is for 64-bit Linux. On 32 bits the call has another number (sendfile64), and nobody has run it there, nor on Android, whose kernel is the same"
);

#[cfg(feature = "std")]
extern crate std;

mod fd;

pub use fd::BorrowedFd;
pub use syscalls::Errno;
use syscalls::{Sysno, syscall4};

/// The most bytes that one call moves with pages of 4 KiB: 2 GiB less one page, `MAX_RW_COUNT` of the kernel.
///
/// With larger pages it is less, `0x7fff_0000` with 64 KiB, so count on what the call returns. A larger `count`, up to `isize::MAX`, is not an error: it is a short count. Above `isize::MAX` it is `EINVAL`.
pub const MAX_COUNT: usize = 0x7fff_f000;

/// Sends bytes of a file to another descriptor without passing them through user memory.
///
/// [`sendfile(2)`](https://man7.org/linux/man-pages/man2/sendfile.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `out_fd` | | where to: a socket, and since Linux 2.6.33 any file that is not open with `O_APPEND` |
/// | `in_fd` | | where from: a file that can seek; never a socket or pipe, but for a pipe as `out_fd` |
/// | `offset` | bytes | in: where to start; out: the byte after the last one sent. `None`: the file position, which moves, for every descriptor that shares it |
/// | `count` | bytes | how many at most, up to `isize::MAX`. Compute it before the call, which borrows the offset (E0503 otherwise). One call moves at most [`MAX_COUNT`]. Ask a TCP socket for no more than the file has: where more is asked for, Linux 5.10 holds the last bytes back as with `MSG_MORE` |
///
/// Returns the bytes sent. Fewer than `count` is a success: the file ended, a non-blocking `out_fd` is full, a pipe
/// is full, a signal came, or the limit of one call was reached. `0` means end of file, or `count` 0.
///
/// Without a copy is a promise about user memory only. To TCP and `AF_UNIX` stream sockets the kernel sends
/// references to the page cache, and **a change of the file after the return can change what the peer reads**; to a
/// regular file it copies.
///
/// # Errors
///
/// - `EAGAIN`: `out_fd` is non-blocking and nothing could be written
/// - `EBADF`: `in_fd` is not open for reading, `out_fd` not for writing, or one is not open (or `O_PATH`)
/// - `EFBIG`: `out_fd` is at `RLIMIT_FSIZE` (with `SIGXFSZ`)
/// - `EINTR`: a signal came before a byte was sent
/// - `EINVAL`: `out_fd` has `O_APPEND`; `in_fd` cannot be a source (socket, pipe, directory, event descriptor); `count` is above
///   `isize::MAX`, `offset` or `offset + count` above `i64::MAX`; or a descriptor is locked
/// - `EIO`: the file could not be read
/// - `EMSGSIZE`: a datagram socket cannot take the count as one datagram (before Linux 6.5 or so: lost in silence)
/// - `ENOMEM`: no memory to read
/// - `ENOSPC`: `out_fd` is on a full file system
/// - `EOVERFLOW`: `offset` is beyond the largest file that one of the file systems has
/// - `EPERM`: `out_fd` is a memfd with `F_SEAL_WRITE`
/// - `EPIPE`: the peer or the reader is gone. **`SIGPIPE` comes with it**: there is no `MSG_NOSIGNAL` for this call
/// - `ESPIPE`: `offset` was given and `in_fd` cannot seek
///
/// # Kernel
///
/// Since Linux 2.2. Targets other than sockets since 2.6.33 (claim `sendfile.target.only-sockets`, which refutes the
/// contrary). A file sent to a pipe is shared, not copied, since 5.12 (claim `sendfile.copies.pipe`). `O_APPEND` is
/// refused on all kernels measured, 5.10 to 7.3 (claim `redis.aof.sendfile`).
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// # let (file, socket): (std::fs::File, std::net::TcpStream) = unimplemented!();
/// let mut offset = 4096;
/// let sent = nocopy_sendfile::sendfile(&socket, &file, Some(&mut offset), 1 << 20)?;
/// assert_eq!(offset, 4096 + sent as u64);
/// # }
/// # Ok::<(), nocopy_sendfile::Errno>(())
/// ```
#[inline]
pub fn sendfile<'output, 'input>(
    out_fd: impl Into<BorrowedFd<'output>>,
    in_fd: impl Into<BorrowedFd<'input>>,
    offset: Option<&mut u64>,
    count: usize,
) -> Result<usize, Errno> {
    let offset = offset.map_or(core::ptr::null_mut(), core::ptr::from_mut);
    let offset = offset.cast::<libc::loff_t>();
    let (out_fd, in_fd) = (out_fd.into(), in_fd.into());
    // SAFETY: `offset` is null or an exclusive reference to 8 bytes, the size of a loff_t; the kernel reads and writes
    // them during the call and does not keep the pointer. Nothing else is a pointer.
    unsafe {
        syscall4(
            Sysno::sendfile,
            out_fd.to_arg(),
            in_fd.to_arg(),
            offset.expose_provenance(),
            count,
        )
    }
}
