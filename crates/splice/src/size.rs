//! How many bytes a pipe can hold.

use syscalls::{Errno, Sysno, syscall2, syscall3};

use crate::fd::BorrowedFd;

/// Returns how many bytes a pipe can hold.
///
/// [`fcntl(2)`](https://man7.org/linux/man-pages/man2/F_GETPIPE_SZ.2const.html) with `F_GETPIPE_SZ`: one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd` | | either end of a pipe, or a FIFO |
///
/// Returns the capacity in bytes: slots times page size. A slot can hold less than a page: 1-byte splices fill a 64 KiB
/// pipe after 16 of them.
///
/// # Errors
///
/// - `EBADF`: `fd` is not open, or not a pipe
///
/// # Kernel
///
/// Since Linux 2.6.35.
///
/// # Example
///
/// ```
/// # use nocopy_splice::{PipeFlags, fcntl_getpipe_size, pipe2};
/// let pipe = pipe2(PipeFlags::CLOEXEC)?;
/// assert!(fcntl_getpipe_size(&pipe.write)?.is_power_of_two());
/// # Ok::<(), nocopy_splice::Errno>(())
/// ```
#[inline]
pub fn fcntl_getpipe_size<'fd>(fd: impl Into<BorrowedFd<'fd>>) -> Result<usize, Errno> {
    let fd = fd.into();
    // SAFETY: nothing is a pointer.
    unsafe {
        syscall2(
            Sysno::fcntl,
            fd.to_arg(),
            (libc::F_GETPIPE_SZ as isize).cast_unsigned(),
        )
    }
}

/// Changes how many bytes a pipe can hold.
///
/// [`fcntl(2)`](https://man7.org/linux/man-pages/man2/F_GETPIPE_SZ.2const.html) with `F_SETPIPE_SZ`: one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd` | | either end of a pipe, or a FIFO |
/// | `size` | bytes | at least; the kernel takes the next power of two of whole pages: 0 becomes 4096, 4097 becomes 8192 |
///
/// Returns the capacity that the pipe has now. One splice moves at most this, so it decides how many calls a file takes:
/// 16 MiB are 512 calls with 64 KiB (claim `splice.entries.pipe-64k`) and 32 with 1 MiB (claim `splice.entries.pipe-1m`).
///
/// # Errors
///
/// - `EBADF`: `fd` is not open, or not a pipe
/// - `EBUSY`: the pipe holds more than that, or it is a notification pipe
/// - `EINVAL`: `size` is above 2 GiB
/// - `ENOMEM`: no memory for the slots
/// - `EPERM`: no `CAP_SYS_RESOURCE`, and `size` is above `/proc/sys/fs/pipe-max-size` (1 MiB) or the user's pipes are above
///   their limit. In a container root has this too
///
/// # Kernel
///
/// Since Linux 2.6.35. A `size` that does not fit 32 bits (`0x1_0000_1000`) is `EINVAL` on 5.10 and 6.1 and is cut to its lower
/// 32 bits (4096) on 6.12 and later; the wrapper passes all 64.
///
/// # Example
///
/// ```
/// # use nocopy_splice::{PipeFlags, fcntl_setpipe_size, pipe2};
/// let pipe = pipe2(PipeFlags::CLOEXEC)?;
/// // Not every user may: more calls with the pipe as it is are no error.
/// let capacity = fcntl_setpipe_size(&pipe.write, 1 << 20).or_else(|_| nocopy_splice::fcntl_getpipe_size(&pipe.write))?;
/// assert!(capacity > 0);
/// # Ok::<(), nocopy_splice::Errno>(())
/// ```
#[inline]
pub fn fcntl_setpipe_size<'fd>(
    fd: impl Into<BorrowedFd<'fd>>,
    size: usize,
) -> Result<usize, Errno> {
    let fd = fd.into();
    // SAFETY: nothing is a pointer.
    unsafe {
        syscall3(
            Sysno::fcntl,
            fd.to_arg(),
            (libc::F_SETPIPE_SZ as isize).cast_unsigned(),
            size,
        )
    }
}
