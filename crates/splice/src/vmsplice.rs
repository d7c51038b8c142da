//! User memory to a pipe and back: one system call, two functions, and a safe one for what never changes.
//!
//! The kernel chooses the direction by how the descriptor is open, not by an argument. Two functions make the caller say
//! it, because the wrong one would let the kernel write through a `&[u8]`.

use syscalls::{Errno, Sysno, syscall4};

use crate::ends::PipeWriter;
use crate::fd::BorrowedFd;
use crate::flags::SpliceFlags;
use crate::iovec::{IoVec, IoVecMut};

/// The most ranges that one `vmsplice` takes: `UIO_MAXIOV` of the kernel. One more is `EINVAL`.
pub const MAX_IOVECS: usize = 1024;

/// Puts references to user memory into a pipe.
///
/// [`vmsplice(2)`](https://man7.org/linux/man-pages/man2/vmsplice.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd` | | the **write end** of a pipe |
/// | `iov` | | the ranges to read from, at most [`MAX_IOVECS`]; a range of any alignment, a mapping too ([`IoVec::from_raw`]) |
/// | `flags` | | [`SpliceFlags::NONBLOCK`], [`SpliceFlags::GIFT`]; the others do nothing |
///
/// Returns the bytes put in. Fewer than asked is a success: 192 KiB into an empty pipe of 64 KiB gives 65536, also when
/// blocking. `0` means that there was nothing to put in; then `fd` need not be a pipe.
///
/// Only [`SpliceFlags::NONBLOCK`] keeps it from waiting for a full pipe. **`O_NONBLOCK` on the pipe is not looked at** (claim
/// `vmsplice.flags.o-nonblock`), unlike in [`splice()`](crate::splice()) and [`tee()`](crate::tee()).
///
/// # Errors
///
/// - `EAGAIN`: [`SpliceFlags::NONBLOCK`], and the pipe is full
/// - `EBADF`: `fd` is not open (or `O_PATH`), or not a pipe
/// - `EFAULT`: a range is not readable memory, or not memory that the kernel can hold: past the end of a mapped file, or
///   of `memfd_secret`
/// - `EINTR`: a signal came before a byte was put in
/// - `EINVAL`: more than [`MAX_IOVECS`] ranges; a range longer than `isize::MAX`; or an unknown flag. Memory that is not aligned
///   is no error, with [`SpliceFlags::GIFT`] neither, although the manual says so
/// - `ENOMEM`: no memory
/// - `EPIPE`: the pipe has no reader. **`SIGPIPE` comes with it**
///
/// # Safety
///
/// - `fd` is not a descriptor that is open for reading only. The kernel takes the direction from it: on a read end this call is
///   [`vmsplice_from_pipe`] and writes to the ranges.
/// - Each range is readable, or one that the kernel refuses.
/// - The pipe refers to the memory **after the return**, and so does whatever the bytes are spliced or teed to. A later store is
///   seen by the reader; memory that is freed and used again shows its new content. Until all of them have been read, nobody
///   writes to the memory or frees it; there is no notification that this is so. `munmap` is allowed: the pages live
///   on in the pipe.
/// - With [`SpliceFlags::GIFT`] the memory is never written again.
///
/// # Kernel
///
/// Since Linux 2.6.17. The same on all kernels measured, 5.10 to 7.3. Spliced on to TCP the bytes are still not copied. A gift spliced
/// with [`SpliceFlags::MOVE`] into a file is copied (claim `splice.flags.move-copies-into-file`).
///
/// # Example
///
/// ```
/// # use nocopy_splice::{IoVec, PipeFlags, SpliceFlags, pipe2, vmsplice_to_pipe};
/// static HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
/// let pipe = pipe2(PipeFlags::CLOEXEC)?;
/// // SAFETY: the write end of a pipe, and memory that never changes.
/// let put = unsafe { vmsplice_to_pipe(&pipe.write, &[IoVec::new(HEAD)], SpliceFlags::empty())? };
/// assert_eq!(put, HEAD.len());
/// # Ok::<(), nocopy_splice::Errno>(())
/// ```
#[inline]
pub unsafe fn vmsplice_to_pipe<'fd>(
    fd: impl Into<BorrowedFd<'fd>>,
    iov: &[IoVec<'_>],
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    let fd = fd.into();
    // SAFETY: `iov` is valid for `iov.len()` elements of the layout of struct iovec; the kernel reads them during the call
    // and does not keep the pointer. It reads the ranges and keeps their pages: the caller vouches for them and for the
    // direction.
    unsafe {
        syscall4(
            Sysno::vmsplice,
            fd.to_arg(),
            iov.as_ptr().expose_provenance(),
            iov.len(),
            flags.bits() as usize,
        )
    }
}

/// Copies bytes out of a pipe into user memory.
///
/// [`vmsplice(2)`](https://man7.org/linux/man-pages/man2/vmsplice.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd` | | the **read end** of a pipe |
/// | `iov` | | the ranges to write to, at most [`MAX_IOVECS`] |
/// | `flags` | | [`SpliceFlags::NONBLOCK`]; the others do nothing |
///
/// Returns the bytes copied, and takes them out of the pipe. `0` means that the pipe is empty and has no writers, or that there
/// was no room. It is a copy, as `readv` makes it: this direction saves nothing.
///
/// # Errors
///
/// - `EAGAIN`: [`SpliceFlags::NONBLOCK`], and the pipe is empty
/// - `EBADF`: `fd` is not open (or `O_PATH`), or not a pipe
/// - `EFAULT`: a range is not writable memory
/// - `EINTR`: a signal came before a byte was copied
/// - `EINVAL`: more than [`MAX_IOVECS`] ranges; a range longer than `isize::MAX`; or an unknown flag
/// - `ENOMEM`: no memory
///
/// # Safety
///
/// - `fd` is not open for writing. The kernel takes the direction from it: on a write end this call is
///   [`vmsplice_to_pipe`], and the pipe keeps references to the ranges after the return.
/// - Each range is writable and exclusive, as [`IoVecMut::new`] has it, or one that the kernel refuses.
///
/// # Kernel
///
/// Since Linux 2.6.23. The same on all kernels measured, 5.10 to 7.3.
///
/// # Example
///
/// ```
/// # use nocopy_splice::{IoVec, IoVecMut, PipeFlags, SpliceFlags, pipe2, vmsplice_from_pipe, vmsplice_to_pipe};
/// let pipe = pipe2(PipeFlags::CLOEXEC)?;
/// // SAFETY: the write end of a pipe, and memory that never changes.
/// unsafe { vmsplice_to_pipe(&pipe.write, &[IoVec::new(b"hello")], SpliceFlags::empty())? };
/// let mut bytes = [0; 16];
/// // SAFETY: the read end of a pipe, and memory that is borrowed for the call.
/// let got = unsafe { vmsplice_from_pipe(&pipe.read, &mut [IoVecMut::new(&mut bytes)], SpliceFlags::empty())? };
/// assert_eq!(&bytes[..got], b"hello");
/// # Ok::<(), nocopy_splice::Errno>(())
/// ```
#[inline]
pub unsafe fn vmsplice_from_pipe<'fd>(
    fd: impl Into<BorrowedFd<'fd>>,
    iov: &mut [IoVecMut<'_>],
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    let fd = fd.into();
    // SAFETY: `iov` is valid for `iov.len()` elements of the layout of struct iovec; the kernel reads them during the call
    // and does not keep the pointer. It writes to the ranges during the call: the caller vouches for them and for the
    // direction.
    unsafe {
        syscall4(
            Sysno::vmsplice,
            fd.to_arg(),
            iov.as_mut_ptr().expose_provenance(),
            iov.len(),
            flags.bits() as usize,
        )
    }
}

/// Puts references to bytes that never change into a pipe: [`vmsplice_to_pipe`] without its `unsafe`.
///
/// [`vmsplice(2)`](https://man7.org/linux/man-pages/man2/vmsplice.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd` | | the end that bytes go into |
/// | `bytes` | bytes | what nobody writes to and nobody frees, as the type has it: a `static`, a constant, a leaked box |
/// | `flags` | | [`SpliceFlags::NONBLOCK`], [`SpliceFlags::GIFT`]; the others do nothing |
///
/// Returns the bytes put in, as [`vmsplice_to_pipe`]: fewer than given is a success, and `0` only for no bytes.
///
/// The direction is a type, so the kernel cannot write to the bytes. There is no such function for other memory: nothing reports
/// when the last reader has read it, so no borrow but `'static` is long enough.
///
/// # Errors
///
/// - `EAGAIN`: [`SpliceFlags::NONBLOCK`], and the pipe is full
/// - `EFAULT`: not memory that the kernel can hold, such as that of `memfd_secret`
/// - `EINTR`: a signal came before a byte was put in
/// - `EINVAL`: an unknown flag
/// - `ENOMEM`: no memory
/// - `EPIPE`: the pipe has no reader. **`SIGPIPE` comes with it**
///
/// # Kernel
///
/// As [`vmsplice_to_pipe`]. Bytes that are unmapped later, with the library that has them, stay in the pipe as they were (claim
/// `vmsplice.memory.unmapped`).
///
/// # Example
///
/// ```
/// use nocopy_splice::{PipeFlags, SpliceFlags, pipe2, vmsplice_static};
///
/// static HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
/// let pipe = pipe2(PipeFlags::CLOEXEC)?;
/// assert_eq!(vmsplice_static(&pipe.write, HEAD, SpliceFlags::empty())?, HEAD.len());
/// # Ok::<(), nocopy_splice::Errno>(())
/// ```
///
/// The other end has another type, and so has memory that is freed:
///
/// ```compile_fail,E0308
/// # use nocopy_splice::{PipeFlags, SpliceFlags, pipe2, vmsplice_static};
/// # let pipe = pipe2(PipeFlags::CLOEXEC)?;
/// vmsplice_static(&pipe.read, b"hello", SpliceFlags::empty())?;
/// # Ok::<(), nocopy_splice::Errno>(())
/// ```
///
/// ```compile_fail,E0597
/// # use nocopy_splice::{PipeFlags, SpliceFlags, pipe2, vmsplice_static};
/// # let pipe = pipe2(PipeFlags::CLOEXEC)?;
/// let bytes = [0; 100];
/// vmsplice_static(&pipe.write, &bytes, SpliceFlags::empty())?;
/// # Ok::<(), nocopy_splice::Errno>(())
/// ```
#[inline]
pub fn vmsplice_static(
    fd: &PipeWriter,
    bytes: &'static [u8],
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    // SAFETY: a `PipeWriter` is open for writing, so the kernel only reads the bytes; they are readable, and for ever nobody
    // writes or frees them.
    unsafe { vmsplice_to_pipe(fd.as_fd(), &[IoVec::new(bytes)], flags) }
}
