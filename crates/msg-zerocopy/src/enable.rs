//! `SO_ZEROCOPY`: without it the kernel ignores `MSG_ZEROCOPY` and nothing ever completes, so sending asks for a token.

use crate::abi::SO_ZEROCOPY;
use crate::fd::BorrowedFd;
use libc::c_int;
use syscalls::Errno;
use syscalls::{Sysno, syscall5};

/// A token that says "`SO_ZEROCOPY` is on", and the socket that has it.
///
/// On a socket without the option `MSG_ZEROCOPY` is ignored in silence: the bytes are copied, no notification
/// comes, and a program that waits for one waits for ever (claim `zerocopy.sample.flag-only`). [`disable`] and
/// [`Enabled::assume`] can make the token wrong, which is no danger to memory.
#[derive(Clone, Copy, Debug)]
pub struct Enabled<'fd> {
    fd: BorrowedFd<'fd>,
}

impl<'fd> Enabled<'fd> {
    /// The token for a socket that has the option already, as one from `accept` has it of its listener.
    ///
    /// [`getsockopt(2)`](https://man7.org/linux/man-pages/man2/getsockopt.2.html): one call, never retried. `None` if
    /// the option is off.
    ///
    /// # Errors
    ///
    /// As [`is_enabled`].
    #[inline]
    pub fn check(fd: impl Into<BorrowedFd<'fd>>) -> Result<Option<Self>, Errno> {
        let fd = fd.into();
        Ok(is_enabled(fd)?.then_some(Self { fd }))
    }

    /// The token for a socket on which the caller knows the option to be on. Use this when the socket's owner cannot also hold a
    /// borrow of it, for example in a struct that stores both.
    ///
    /// No call is made. Where the option is off, the bytes are copied in silence and no notification ever comes.
    #[must_use]
    #[inline]
    pub const fn assume(fd: BorrowedFd<'fd>) -> Self {
        Self { fd }
    }

    /// The socket.
    #[must_use]
    pub const fn fd(self) -> BorrowedFd<'fd> {
        self.fd
    }
}

/// Switches `SO_ZEROCOPY` on, and returns a token that says so.
///
/// [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd` | | a TCP or UDP socket over IPv4 or IPv6, RDS, or a vsock socket since Linux 6.7 |
///
/// Returns the token that [`send_zerocopy`](crate::send_zerocopy) asks for. Switching on what is on is a success.
///
/// # Errors
///
/// - `EBADF`: not an open descriptor
/// - `ENOPROTOOPT`: a kernel before Linux 4.14
/// - `ENOTSOCK`: not a socket
/// - `EOPNOTSUPP`, or 524 (`ENOTSUPP`, a number without a name in user space) on old kernels: this protocol has no
///   zero-copy sends (`AF_UNIX`, netlink, raw, packet, MPTCP, UDP-Lite)
///
/// # Kernel
///
/// TCP since Linux 4.14, UDP since 5.0, vsock after 6.1. On an unsupported protocol 5.10 gives 524, 6.1 and later
/// `EOPNOTSUPP` (claim `zerocopy.socket.unix-stream`). Accepted sockets inherit the option (claim
/// `zerocopy.option.inherited`).
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// let socket = std::net::TcpStream::connect("127.0.0.1:9")?;
/// let zerocopy = nocopy_msg_zerocopy::enable(&socket)?;
/// # let _ = zerocopy;
/// # }
/// # #[cfg(feature = "std")]
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn enable<'fd>(fd: impl Into<BorrowedFd<'fd>>) -> Result<Enabled<'fd>, Errno> {
    let fd = fd.into();
    set(fd, 1)?;
    Ok(Enabled { fd })
}

/// Switches `SO_ZEROCOPY` off: from then on sends with the flag are copied in silence, and complete nothing.
///
/// [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd` | | as for [`enable`] |
///
/// What is in flight completes as before.
///
/// # Errors
///
/// As [`enable`].
///
/// # Kernel
///
/// As [`enable`] (claim `zerocopy.option.values`).
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// # let socket: std::net::TcpStream = unimplemented!();
/// nocopy_msg_zerocopy::disable(&socket)?;
/// # }
/// # Ok::<(), nocopy_msg_zerocopy::Errno>(())
/// ```
#[inline]
pub fn disable<'fd>(fd: impl Into<BorrowedFd<'fd>>) -> Result<(), Errno> {
    set(fd.into(), 0)
}

#[inline]
fn set(fd: BorrowedFd<'_>, value: c_int) -> Result<(), Errno> {
    // SAFETY: `value` is 4 readable bytes, as long as is said; the kernel reads them during the call and does not keep the
    // pointer. Nothing else is a pointer.
    unsafe {
        syscall5(
            Sysno::setsockopt,
            fd.to_arg(),
            libc::SOL_SOCKET.cast_unsigned() as usize,
            SO_ZEROCOPY.cast_unsigned() as usize,
            (&raw const value).expose_provenance(),
            size_of::<c_int>(),
        )
    }
    .map(drop)
}

/// Whether `SO_ZEROCOPY` is on.
///
/// [`getsockopt(2)`](https://man7.org/linux/man-pages/man2/getsockopt.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd` | | a socket of any kind |
///
/// Returns `false` for a socket that cannot have it as well. [`Enabled::check`] returns the token instead.
///
/// # Errors
///
/// - `EBADF`: not an open descriptor
/// - `ENOPROTOOPT`: a kernel before Linux 4.14
/// - `ENOTSOCK`: not a socket
///
/// # Kernel
///
/// Since Linux 4.14; off by default (claim `zerocopy.option.default-off`).
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// assert!(!nocopy_msg_zerocopy::is_enabled(&listener)?);
/// # }
/// # #[cfg(feature = "std")]
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn is_enabled<'fd>(fd: impl Into<BorrowedFd<'fd>>) -> Result<bool, Errno> {
    socket_option(fd.into(), SO_ZEROCOPY).map(|value| value != 0)
}

/// One number out of `SOL_SOCKET`.
pub(crate) fn socket_option(fd: BorrowedFd<'_>, option: c_int) -> Result<c_int, Errno> {
    let mut value: c_int = 0;
    #[expect(clippy::cast_possible_truncation, reason = "it is 4")]
    let mut len = size_of::<c_int>() as u32;
    // SAFETY: `value` is 4 writable bytes and `len` says so; the kernel writes at most that many, reads and writes `len`
    // (a u32), and keeps neither pointer.
    unsafe {
        syscall5(
            Sysno::getsockopt,
            fd.to_arg(),
            libc::SOL_SOCKET.cast_unsigned() as usize,
            option.cast_unsigned() as usize,
            (&raw mut value).expose_provenance(),
            (&raw mut len).expose_provenance(),
        )
    }?;
    Ok(value)
}
