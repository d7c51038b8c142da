//! From and to a pipe, and from pipe to pipe.

use core::ptr;

use syscalls::{Errno, Sysno, syscall4, syscall6};

use crate::fd::BorrowedFd;
use crate::flags::SpliceFlags;

/// Moves bytes between a pipe and another descriptor without passing them through user memory.
///
/// [`splice(2)`](https://man7.org/linux/man-pages/man2/splice.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd_in` | | where from; a pipe, or `fd_out` is one |
/// | `off_in` | bytes | in: where to start; out: the byte after the last one moved. `None`: the file position, which moves. Always `None` for a pipe |
/// | `fd_out` | | where to; not open with `O_APPEND` |
/// | `off_out` | bytes | the same for `fd_out` |
/// | `len` | bytes | how many at most. One call moves at most what the free slots of the pipe take |
/// | `flags` | | [`SpliceFlags`]; most do less than their name says |
///
/// Returns the bytes moved. Fewer than `len` is a success: 1 MiB of a file into a pipe of 64 KiB gives 65536. `0` means
/// end of input (end of file, a pipe without writers, a peer that has shut down), `len` 0, **or the urgent mark of a TCP
/// connection that is open** (`MSG_OOB`): a blocking `splice` stops there and answers `0` again and again, though more has come,
/// on 5.10 to 7.3. `recv` goes past the mark and tells the two apart (example `tcp_proxy`). `len` 0 is answered before
/// anything is looked at, descriptors and flags included. Some files that have a size of 0 (FUSE with `direct_io`) give
/// 0 although they can be read.
///
/// Without a copy is a promise about some pairs only. A file's pages go into the pipe as references (claim
/// `splice.copies.pipe`) and from there to TCP and to `AF_UNIX` stream sockets (claims `splice.copies.tcp`,
/// `splice.copies.unix`): **a change of the file after the return can change what the reader gets**. From a pipe to a regular
/// file the bytes are copied (claim `splice.copies.file`).
///
/// # Errors
///
/// - `EAGAIN`: [`SpliceFlags::NONBLOCK`] or a non-blocking descriptor, and the pipe is empty or full, or the other end would
///   wait. The errno does not say which end it was
/// - `EBADF`: one is not open (or `O_PATH`), `fd_in` is not open for reading, or `fd_out` not for writing; the wrong end of a
///   pipe is this too
/// - `EFBIG`: `fd_out` is at `RLIMIT_FSIZE` (with `SIGXFSZ`); the bytes stay in the pipe
/// - `EINTR`: a signal came before a byte was moved
/// - `EINVAL`: neither is a pipe; both are the same pipe; `fd_out` has `O_APPEND`; an unknown flag; one of the two does not
///   support it (event descriptors, directories, many files of `/proc`; claim `splice.ends.any-descriptor`, which is
///   refuted); an offset for a socket or terminal; an offset or its end above `i64::MAX`; or `len` above
///   `isize::MAX` (see below)
/// - `ENOMEM`: no memory
/// - `ENOSPC`: `fd_out` is on a full file system
/// - `ENOTCONN`: `fd_in` is a TCP socket without a connection (`AF_UNIX`: `EINVAL`)
/// - `EPERM`: `fd_out` is a memfd with `F_SEAL_WRITE`; the bytes stay in the pipe
/// - `EPIPE`: the peer or the reader is gone. **`SIGPIPE` comes with it**
/// - `ESPIPE`: an offset was given for a pipe
///
/// # Kernel
///
/// Since Linux 2.6.17; pipe to pipe since 2.6.31. One end must be a pipe on all kernels measured, 5.10 to 7.3 (claim
/// `splice.ends.pipe-needed`). `len` above `isize::MAX` into a pipe is accepted on 5.10 and 6.1 and is `EINVAL` on 6.12 and
/// later (claim `splice.length.beyond-ssize-max`); out of a pipe to a file or socket it is `EINVAL` on all; pipe to pipe accepts
/// it on all. `/dev/zero` is `EINVAL` on 5.10 and 6.1 and works on 6.12 and later. With [`SpliceFlags::NONBLOCK`] a blocking TCP
/// socket still blocks (claim `splice.flags.nonblock-tcp`); an empty `AF_UNIX` stream answers `EAGAIN`.
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// # use nocopy_splice::{PipeFlags, SpliceFlags, pipe2, splice};
/// # let file: std::fs::File = unimplemented!();
/// let pipe = pipe2(PipeFlags::CLOEXEC)?;
/// let mut offset = 4096;
/// let moved = splice(&file, Some(&mut offset), &pipe.write, None, 1 << 20, SpliceFlags::empty())?;
/// assert_eq!(offset, 4096 + moved as u64);
/// # }
/// # Ok::<(), nocopy_splice::Errno>(())
/// ```
#[inline]
pub fn splice<'input, 'output>(
    fd_in: impl Into<BorrowedFd<'input>>,
    off_in: Option<&mut u64>,
    fd_out: impl Into<BorrowedFd<'output>>,
    off_out: Option<&mut u64>,
    len: usize,
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    let off_in = off_in.map_or(ptr::null_mut(), ptr::from_mut);
    let off_out = off_out.map_or(ptr::null_mut(), ptr::from_mut);
    let (fd_in, fd_out) = (fd_in.into(), fd_out.into());
    // SAFETY: `off_in` and `off_out` are each null or an exclusive reference to 8 bytes, the size of a loff_t; the kernel
    // reads and writes them during the call and does not keep the pointers. Nothing else is a pointer.
    unsafe {
        syscall6(
            Sysno::splice,
            fd_in.to_arg(),
            off_in.cast::<libc::loff_t>().expose_provenance(),
            fd_out.to_arg(),
            off_out.cast::<libc::loff_t>().expose_provenance(),
            len,
            flags.bits() as usize,
        )
    }
}

/// Gives a second pipe the bytes of a first one, which keeps them.
///
/// [`tee(2)`](https://man7.org/linux/man-pages/man2/tee.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd_in` | | the read end of a pipe |
/// | `fd_out` | | the write end of another pipe |
/// | `len` | bytes | how many at most. One call gives at most what the free slots of `fd_out` take |
/// | `flags` | | [`SpliceFlags::NONBLOCK`]; the others do nothing |
///
/// Returns the bytes given, always from the first byte in `fd_in`: after a short count the rest cannot be had until the
/// first part has been taken out of `fd_in`. `0` means that `fd_in` is empty and has no writers, or `len` 0.
///
/// Nothing is copied: both pipes refer to the same pages, and who can still change those changes both.
///
/// # Errors
///
/// - `EAGAIN`: [`SpliceFlags::NONBLOCK`] or a non-blocking descriptor, and `fd_in` is empty or `fd_out` full
/// - `EBADF`: one is not open (or `O_PATH`), or the wrong end of its pipe. The manual does not name it
/// - `EINTR`: a signal came before a byte was given
/// - `EINVAL`: one is not a pipe; both are the same pipe; or an unknown flag, with `len` 0 too (unlike [`splice()`])
/// - `ENOMEM`: no memory
/// - `EPIPE`: `fd_out` has no reader. **`SIGPIPE` comes with it**
///
/// # Kernel
///
/// Since Linux 2.6.17. The same on all kernels measured, 5.10 to 7.3.
///
/// # Example
///
/// ```
/// # use nocopy_splice::{IoVec, PipeFlags, SpliceFlags, pipe2, tee, vmsplice_to_pipe};
/// let (first, second) = (pipe2(PipeFlags::CLOEXEC)?, pipe2(PipeFlags::CLOEXEC)?);
/// // SAFETY: the write end of a pipe, and memory that never changes.
/// unsafe { vmsplice_to_pipe(&first.write, &[IoVec::new(b"hello")], SpliceFlags::empty())? };
/// assert_eq!(tee(&first.read, &second.write, 100, SpliceFlags::empty())?, 5);
/// # Ok::<(), nocopy_splice::Errno>(())
/// ```
#[inline]
pub fn tee<'input, 'output>(
    fd_in: impl Into<BorrowedFd<'input>>,
    fd_out: impl Into<BorrowedFd<'output>>,
    len: usize,
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    let (fd_in, fd_out) = (fd_in.into(), fd_out.into());
    // SAFETY: nothing is a pointer.
    unsafe {
        syscall4(
            Sysno::tee,
            fd_in.to_arg(),
            fd_out.to_arg(),
            len,
            flags.bits() as usize,
        )
    }
}
