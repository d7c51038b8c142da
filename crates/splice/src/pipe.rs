//! Making a pipe, and how much it holds.

use libc::c_int;
use syscalls::{Errno, Sysno, syscall2};

use crate::ends::{PipeReader, PipeWriter};
use crate::flags::PipeFlags;
use crate::owned_fd::OwnedFd;

/// A `write` of at most this many bytes goes into a pipe as one piece or not at all (claim `pipe.write.whole`):
/// `include/uapi/linux/limits.h`.
///
/// It says nothing about [`splice()`](crate::splice()) and `vmsplice`, whose pieces other writers may come between.
pub const PIPE_BUF: usize = 4096;

/// The two ends of a pipe. Each is closed when it is dropped.
#[derive(Debug)]
pub struct Pipe {
    /// Where bytes come out: `fd_in` of a splice.
    pub read: PipeReader,
    /// Where bytes go in: `fd_out` of a splice.
    pub write: PipeWriter,
}

/// Makes a pipe.
///
/// [`pipe2(2)`](https://man7.org/linux/man-pages/man2/pipe2.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `flags` | | [`PipeFlags`] |
///
/// Returns both ends. A pipe has 16 slots of a page each, 64 KiB, unless its user has many pipes: above
/// `/proc/sys/fs/pipe-user-pages-soft` (16384 pages) a new one has 2 slots.
///
/// # Errors
///
/// - `EINVAL`: an unknown flag
/// - `EMFILE`: the process has too many open files
/// - `ENFILE`: the system has too many open files, or the user is above `pipe-user-pages-hard`
/// - `ENOPKG`: [`PipeFlags::NOTIFICATION`] and the kernel is built without `CONFIG_WATCH_QUEUE`
///
/// # Kernel
///
/// Since Linux 2.6.27; each flag has its own version. 2 slots above the soft limit on all kernels measured, 5.10 to 7.3
/// (the manual has one slot before 5.14).
///
/// # Example
///
/// ```
/// use nocopy_splice::{PipeFlags, fcntl_getpipe_size, pipe2};
///
/// let pipe = pipe2(PipeFlags::CLOEXEC)?;
/// assert!(fcntl_getpipe_size(&pipe.read)? > 0);
/// # Ok::<(), nocopy_splice::Errno>(())
/// ```
#[inline]
pub fn pipe2(flags: PipeFlags) -> Result<Pipe, Errno> {
    let mut fds: [c_int; 2] = [-1; 2];
    // SAFETY: `fds` is ours and as large as the two ints that the kernel writes during the call; it does not keep the
    // pointer.
    unsafe {
        syscall2(
            Sysno::pipe2,
            (&raw mut fds).expose_provenance(),
            (flags.bits() as isize).cast_unsigned(),
        )
    }?;
    let [read, write] = fds;
    // SAFETY: the kernel has just opened both, and nobody else knows the numbers.
    let (read, write) = unsafe { (OwnedFd::from_raw(read), OwnedFd::from_raw(write)) };
    Ok(Pipe {
        read: PipeReader::of(read),
        write: PipeWriter::of(write),
    })
}
