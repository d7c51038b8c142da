//! The system calls that belong to no primitive. Those on memory that may change are raw, the others by `rustix`.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{OFlags, SeekFrom};
use rustix::net::{AddressFamily, SocketType, ipproto, sockopt};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;
use syscalls::{Errno, Sysno, syscall};

/// The kernel's number.
fn errno(error: rustix::io::Errno) -> Errno {
    Errno::new(error.raw_os_error())
}

pub(crate) fn argument(fd: BorrowedFd<'_>) -> usize {
    // An open descriptor is not negative.
    usize::try_from(fd.as_raw_fd()).unwrap_or(usize::MAX)
}

pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most the buffer's length to it, during the call.
    unsafe {
        syscall!(
            Sysno::read,
            argument(fd),
            buffer.as_mut_ptr().expose_provenance(),
            buffer.len()
        )
    }
}

pub(crate) fn pread(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let start = buffer.as_mut_ptr().expose_provenance();
    // SAFETY: the kernel writes at most the buffer's length to it, during the call.
    unsafe { syscall!(Sysno::pread64, argument(fd), start, buffer.len(), offset) }
}

/// `write`, from memory that need not be readable.
///
/// # Safety
///
/// `start` and `length` are memory that is the caller's or unmapped for the time of the call.
pub(crate) unsafe fn write(
    fd: BorrowedFd<'_>,
    start: *const u8,
    length: usize,
) -> Result<usize, Errno> {
    // SAFETY: the kernel reads at most `length` bytes during the call, and returns EFAULT for those that cannot be read.
    unsafe {
        syscall!(
            Sysno::write,
            argument(fd),
            start.expose_provenance(),
            length
        )
    }
}

pub(crate) fn write_bytes(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: a slice.
    unsafe { write(fd, bytes.as_ptr(), bytes.len()) }
}

/// `send` with `MSG_NOSIGNAL` and these flags: a peer that is gone is `EPIPE`, without a `SIGPIPE`.
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8], flags: libc::c_int) -> Result<usize, Errno> {
    let start = bytes.as_ptr().expose_provenance();
    // SAFETY: the kernel reads at most the slice's length, during the call. The address is null.
    unsafe {
        syscall!(
            Sysno::sendto,
            argument(fd),
            start,
            bytes.len(),
            libc::MSG_NOSIGNAL | flags,
            0,
            0
        )
    }
}

/// What `fstat` reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    /// The file type of `st_mode`.
    pub(crate) kind: u32,
    /// `st_size`.
    pub(crate) size: u64,
    /// `st_blksize`: a multiple of the file system's block size.
    pub(crate) block: u64,
    /// `st_dev` and `st_ino`.
    pub(crate) file: (u64, u64),
}

pub(crate) fn status(fd: BorrowedFd<'_>) -> Result<Status, Errno> {
    let status = rustix::fs::fstat(fd).map_err(errno)?;
    Ok(Status {
        kind: status.st_mode & libc::S_IFMT,
        size: u64::try_from(status.st_size).unwrap_or(0),
        block: u64::try_from(status.st_blksize).unwrap_or(0),
        file: (status.st_dev, status.st_ino),
    })
}

/// The size of a regular file.
pub(crate) fn file_size(fd: BorrowedFd<'_>) -> Option<u64> {
    status(fd)
        .ok()
        .filter(|status| status.kind == libc::S_IFREG)
        .map(|status| status.size)
}

fn flags(fd: BorrowedFd<'_>) -> Result<OFlags, Errno> {
    rustix::fs::fcntl_getfl(fd).map_err(errno)
}

pub(crate) fn is_nonblocking(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    flags(fd).map(|flags| flags.contains(OFlags::NONBLOCK))
}

pub(crate) fn appends(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    flags(fd).map(|flags| flags.contains(OFlags::APPEND))
}

pub(crate) fn is_pipe(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    status(fd).map(|status| status.kind == libc::S_IFIFO)
}

/// Whether `length` bytes from `from` of the source, and as many at the sink's place, are of one file and overlap. Without `from`, the
/// source's position counts.
pub(crate) fn overlaps(
    source: BorrowedFd<'_>,
    from: Option<u64>,
    length: u64,
    sink: BorrowedFd<'_>,
) -> Result<bool, Errno> {
    let (one, other) = (status(source)?, status(sink)?);
    if one.file != other.file || one.kind != libc::S_IFREG {
        return Ok(one.file == other.file && one.kind == libc::S_IFIFO);
    }
    let from = from.map_or_else(|| position(source), Ok)?;
    let to = if appends(sink)? {
        other.size
    } else {
        position(sink)?
    };
    let there = one.size.saturating_sub(from).min(length);
    Ok(if to < from {
        to.saturating_add(there) > from
    } else {
        // What is written can make the file longer, and be read then.
        there > 0 && to < from.saturating_add(length)
    })
}

pub(crate) fn position(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    rustix::fs::tell(fd).map_err(errno)
}

pub(crate) fn set_position(fd: BorrowedFd<'_>, position: u64) -> Result<(), Errno> {
    rustix::fs::seek(fd, SeekFrom::Start(position))
        .map(drop)
        .map_err(errno)
}

/// Moves the position of a regular file or block device back, so that it has these bytes again. False for what has none: a stream, and
/// a character device, whose position may mean nothing.
pub(crate) fn has_taken_back(fd: BorrowedFd<'_>, bytes: u64) -> bool {
    let has_position =
        status(fd).is_ok_and(|status| matches!(status.kind, libc::S_IFREG | libc::S_IFBLK));
    let back = i64::try_from(bytes).map(|bytes| SeekFrom::Current(-bytes));
    has_position && back.is_ok_and(|back| rustix::fs::seek(fd, back).is_ok())
}

/// A kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Socket {
    Tcp,
    Unix,
    Vsock,
    Datagram,
    Other,
}

pub(crate) fn socket(fd: BorrowedFd<'_>) -> Result<Socket, Errno> {
    if sockopt::socket_type(fd).map_err(errno)? != SocketType::STREAM {
        return Ok(Socket::Datagram);
    }
    Ok(match sockopt::socket_domain(fd).map_err(errno)? {
        AddressFamily::UNIX => Socket::Unix,
        AddressFamily::VSOCK => Socket::Vsock,
        AddressFamily::INET | AddressFamily::INET6 => {
            match sockopt::socket_protocol(fd).map_err(errno)? {
                Some(ipproto::TCP) => Socket::Tcp,
                _ => Socket::Other,
            }
        }
        _ => Socket::Other,
    })
}

/// Whether the TCP socket has the upper layer protocol `tls`.
pub(crate) fn has_tls(fd: BorrowedFd<'_>) -> bool {
    let mut name = [0_u8; 16];
    let mut length: libc::socklen_t = 16;
    // SAFETY: the kernel writes at most `length` bytes to `name`, and the new length, during the call.
    let got = unsafe {
        syscall!(
            Sysno::getsockopt,
            argument(fd),
            libc::IPPROTO_TCP,
            libc::TCP_ULP,
            name.as_mut_ptr().expose_provenance(),
            (&raw mut length).expose_provenance()
        )
    };
    got.is_ok() && name.starts_with(b"tls\0")
}

/// An option or ioctl that is an `int`.
pub(crate) fn count(fd: BorrowedFd<'_>, request: u64) -> Result<u64, Errno> {
    let mut value: libc::c_int = 0;
    // SAFETY: such a request (FIONREAD, TIOCOUTQ) writes one int, during the call.
    unsafe {
        syscall!(
            Sysno::ioctl,
            argument(fd),
            request,
            (&raw mut value).expose_provenance()
        )?
    };
    Ok(u64::try_from(value).unwrap_or(0))
}

/// The connection's state, the first byte of `struct tcp_info`. None if it is not a TCP socket.
pub(crate) fn tcp_state(fd: BorrowedFd<'_>) -> Option<u8> {
    let mut state = 0_u8;
    let mut length: libc::socklen_t = 1;
    // SAFETY: the kernel writes at most `length` bytes to `state`, and the new length, during the call.
    let got = unsafe {
        syscall!(
            Sysno::getsockopt,
            argument(fd),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).expose_provenance(),
            (&raw mut length).expose_provenance()
        )
    };
    got.ok().map(|_| state)
}

/// Ends the sending direction. False if the socket is not connected any more.
pub(crate) fn shutdown_write(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    match rustix::net::shutdown(fd, rustix::net::Shutdown::Write) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOTCONN) => Ok(false),
        Err(error) => Err(errno(error)),
    }
}

/// Sleeps until an event has happened, at most for `limit`. Returns the events, which are empty at the limit and after a signal.
pub(crate) fn poll(
    fd: BorrowedFd<'_>,
    events: PollFlags,
    limit: Option<Duration>,
) -> Result<PollFlags, Errno> {
    let mut polled = [PollFd::from_borrowed_fd(fd, events)];
    let limit = limit.map(|limit| Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    match rustix::event::poll(&mut polled, limit.as_ref()) {
        Ok(_) => Ok(polled[0].revents()),
        Err(rustix::io::Errno::INTR) => Ok(PollFlags::empty()),
        Err(error) => Err(errno(error)),
    }
}
