//! The ends of a pipe, each a type of its own, so that the direction is known before a call.

use core::fmt;

use libc::c_int;
use syscalls::{Errno, Sysno, syscall2};

use crate::fd::BorrowedFd;
use crate::owned_fd::OwnedFd;
use crate::size::fcntl_getpipe_size;

/// The end of a pipe that bytes come out of: open for reading, and not for writing. Closed when it is dropped.
///
/// [`pipe2()`](crate::pipe2()) makes one, and [`PipeReader::check`] makes one of a descriptor. Every wrapper takes `&reader`.
#[derive(Debug)]
#[repr(transparent)]
pub struct PipeReader {
    fd: OwnedFd,
}

/// The end of a pipe that bytes go into: open for writing. Closed when it is dropped.
///
/// [`pipe2()`](crate::pipe2()) makes one, and [`PipeWriter::check`] makes one of a descriptor. Every wrapper takes `&writer`, and
/// [`vmsplice_static`](crate::vmsplice_static) takes nothing else.
///
/// A FIFO that is open for reading and writing is a writer: `vmsplice` goes into such a descriptor.
#[derive(Debug)]
#[repr(transparent)]
pub struct PipeWriter {
    fd: OwnedFd,
}

impl PipeReader {
    /// A reader of a descriptor that is one.
    ///
    /// Two calls of [`fcntl(2)`](https://man7.org/linux/man-pages/man2/fcntl.2.html), `F_GETPIPE_SZ` and `F_GETFL`, never
    /// retried. With `std`, `PipeReader::try_from` does the same with `std`'s `OwnedFd`, and so with whatever converts into it.
    ///
    /// # Errors
    ///
    /// [`EndError`], which gives the descriptor back:
    ///
    /// - [`WrongEnd::NotAPipe`]: neither a pipe nor a FIFO, or open with `O_PATH`
    /// - [`WrongEnd::OtherEnd`]: open for writing, or for both
    /// - [`WrongEnd::Errno`]: the kernel's own, for example of a seccomp filter
    ///
    /// # Example
    ///
    /// ```
    /// use nocopy_splice::{OwnedFd, PipeFlags, PipeReader, WrongEnd, pipe2};
    ///
    /// let pipe = pipe2(PipeFlags::CLOEXEC)?;
    /// let refused = PipeReader::check(OwnedFd::from(pipe.write)).expect_err("the other end");
    /// assert_eq!(refused.reason(), WrongEnd::OtherEnd);
    /// # Ok::<(), nocopy_splice::Errno>(())
    /// ```
    pub fn check(fd: OwnedFd) -> Result<Self, EndError> {
        checked(fd, |mode| mode == READ).map(|fd| Self { fd })
    }

    /// Of a descriptor that is known to be one.
    pub(crate) const fn of(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Borrows the descriptor.
    #[must_use]
    pub const fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The descriptor's number.
    #[must_use]
    pub const fn as_raw(&self) -> c_int {
        self.fd.as_raw()
    }
}

impl PipeWriter {
    /// A writer of a descriptor that is one.
    ///
    /// Two calls of [`fcntl(2)`](https://man7.org/linux/man-pages/man2/fcntl.2.html), `F_GETPIPE_SZ` and `F_GETFL`, never
    /// retried. With `std`, `PipeWriter::try_from` does the same with `std`'s `OwnedFd`, and so with whatever converts into it: the
    /// standard input of a child, `std::io::PipeWriter`, a FIFO that `File` has opened. The types of `std` themselves promise no
    /// direction, because safe code makes them of any descriptor.
    ///
    /// # Errors
    ///
    /// [`EndError`], which gives the descriptor back:
    ///
    /// - [`WrongEnd::NotAPipe`]: neither a pipe nor a FIFO, or open with `O_PATH`
    /// - [`WrongEnd::OtherEnd`]: not open for writing
    /// - [`WrongEnd::Errno`]: the kernel's own, for example of a seccomp filter
    ///
    /// # Example
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// use nocopy_splice::{PipeWriter, SpliceFlags, vmsplice_static};
    /// use std::os::fd::OwnedFd;
    /// use std::process::{Command, Stdio};
    ///
    /// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    /// let input = OwnedFd::from(child.stdin.take().expect("piped"));
    /// let writer = PipeWriter::try_from(input)?;
    /// vmsplice_static(&writer, b"hello", SpliceFlags::empty())?;
    /// drop(writer);
    /// assert_eq!(child.wait_with_output()?.stdout, b"hello");
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(fd: OwnedFd) -> Result<Self, EndError> {
        checked(fd, |mode| mode == WRITE || mode == BOTH).map(|fd| Self { fd })
    }

    /// Of a descriptor that is known to be one.
    pub(crate) const fn of(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Borrows the descriptor.
    #[must_use]
    pub const fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The descriptor's number.
    #[must_use]
    pub const fn as_raw(&self) -> c_int {
        self.fd.as_raw()
    }
}

/// Why a descriptor is not the end that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WrongEnd {
    /// It is neither a pipe nor a FIFO.
    NotAPipe,
    /// It is a pipe, open for the other direction.
    OtherEnd,
    /// The kernel did not answer.
    Errno(Errno),
}

/// A descriptor that is not the end that was asked for, and why.
#[derive(Debug)]
pub struct EndError {
    fd: OwnedFd,
    reason: WrongEnd,
}

impl EndError {
    /// Why it was refused.
    #[must_use]
    pub const fn reason(&self) -> WrongEnd {
        self.reason
    }

    /// The descriptor, still open.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl fmt::Display for EndError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.fd.as_raw();
        match self.reason {
            WrongEnd::NotAPipe => write!(f, "descriptor {number} is not a pipe"),
            WrongEnd::OtherEnd => write!(f, "descriptor {number} is the other end of a pipe"),
            WrongEnd::Errno(errno) => write!(f, "descriptor {number}: {errno}"),
        }
    }
}

impl core::error::Error for EndError {}

/// The descriptor, if it is a pipe's and its access mode is right.
fn checked(fd: OwnedFd, is_right: impl Fn(usize) -> bool) -> Result<OwnedFd, EndError> {
    let reason = match (fcntl_getpipe_size(fd.as_fd()), access_mode(fd.as_fd())) {
        (Err(Errno::EBADF), _) => WrongEnd::NotAPipe,
        (Err(errno), _) | (Ok(_), Err(errno)) => WrongEnd::Errno(errno),
        (Ok(_), Ok(mode)) if is_right(mode) => return Ok(fd),
        (Ok(_), Ok(_)) => WrongEnd::OtherEnd,
    };
    Err(EndError { fd, reason })
}

/// The access modes, as `F_GETFL` returns them.
const READ: usize = libc::O_RDONLY.cast_unsigned() as usize;
const WRITE: usize = libc::O_WRONLY.cast_unsigned() as usize;
const BOTH: usize = libc::O_RDWR.cast_unsigned() as usize;

/// Whether a descriptor is open for reading, for writing or for both. It stays so: `F_SETFL` does not change it.
fn access_mode(fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    // SAFETY: nothing is a pointer.
    let flags = unsafe {
        syscall2(
            Sysno::fcntl,
            fd.to_arg(),
            (libc::F_GETFL as isize).cast_unsigned(),
        )
    }?;
    Ok(flags & libc::O_ACCMODE.cast_unsigned() as usize)
}

impl From<PipeReader> for OwnedFd {
    #[inline]
    fn from(end: PipeReader) -> Self {
        end.fd
    }
}

impl From<PipeWriter> for OwnedFd {
    #[inline]
    fn from(end: PipeWriter) -> Self {
        end.fd
    }
}

// With `std` these conversions come from `AsFd`.
#[cfg(not(feature = "std"))]
impl<'fd> From<&'fd PipeReader> for BorrowedFd<'fd> {
    #[inline]
    fn from(end: &'fd PipeReader) -> Self {
        end.as_fd()
    }
}

#[cfg(not(feature = "std"))]
impl<'fd> From<&'fd PipeWriter> for BorrowedFd<'fd> {
    #[inline]
    fn from(end: &'fd PipeWriter) -> Self {
        end.as_fd()
    }
}

/// What the types of `std` need.
#[cfg(feature = "std")]
mod with_std {
    use super::{EndError, OwnedFd, PipeReader, PipeWriter};
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};

    impl AsFd for PipeReader {
        #[inline]
        fn as_fd(&self) -> BorrowedFd<'_> {
            AsFd::as_fd(&self.fd)
        }
    }

    impl AsFd for PipeWriter {
        #[inline]
        fn as_fd(&self) -> BorrowedFd<'_> {
            AsFd::as_fd(&self.fd)
        }
    }

    impl AsRawFd for PipeReader {
        #[inline]
        fn as_raw_fd(&self) -> RawFd {
            self.fd.as_raw()
        }
    }

    impl AsRawFd for PipeWriter {
        #[inline]
        fn as_raw_fd(&self) -> RawFd {
            self.fd.as_raw()
        }
    }

    impl From<PipeReader> for std::os::fd::OwnedFd {
        #[inline]
        fn from(end: PipeReader) -> Self {
            end.fd.into()
        }
    }

    impl From<PipeWriter> for std::os::fd::OwnedFd {
        #[inline]
        fn from(end: PipeWriter) -> Self {
            end.fd.into()
        }
    }

    /// As [`PipeReader::check`].
    impl TryFrom<std::os::fd::OwnedFd> for PipeReader {
        type Error = EndError;

        fn try_from(fd: std::os::fd::OwnedFd) -> Result<Self, EndError> {
            Self::check(taken(fd))
        }
    }

    /// As [`PipeWriter::check`].
    impl TryFrom<std::os::fd::OwnedFd> for PipeWriter {
        type Error = EndError;

        fn try_from(fd: std::os::fd::OwnedFd) -> Result<Self, EndError> {
            Self::check(taken(fd))
        }
    }

    fn taken(fd: std::os::fd::OwnedFd) -> OwnedFd {
        // SAFETY: open, as std's type is; `into_raw_fd` gives it away, so nobody else closes it.
        unsafe { OwnedFd::from_raw(fd.into_raw_fd()) }
    }
}
