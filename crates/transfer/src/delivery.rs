//! Whether the peer has read the bytes that a sink took: a call that sends returns when the kernel has the bytes, not when the peer
//! has.

#![forbid(unsafe_code)]

use crate::sys;
use rustix::event::PollFlags;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use syscalls::Errno;

/// The fate of the bytes that the sink took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The peer has read all of them and closed. Of a TCP peer that has ended its own direction early, and of an `AF_UNIX` one: they
    /// have reached it; whether it has read them, only an answer of its own can say.
    All,
    /// The pipe's readers have closed it, and this many bytes are unread.
    Unread(u64),
    /// The connection broke with this errno: it is unknown how many bytes were read.
    Broken(Errno),
}

/// Ends the sink's stream, and waits until the peer has read all or is gone. For a regular file there is nothing to wait for.
///
/// A socket is shut down for writing, and read until the peer closes it. A peer that closes with unread bytes breaks the connection
/// (`ECONNRESET`), over TCP and `AF_UNIX`. A pipe keeps unread bytes, and reports their number.
///
/// # Errors
///
/// The errno of a call that is about the sink itself; `EOPNOTSUPP` for a socket with messages, which has no end.
pub fn confirm(sink: &impl AsFd) -> Result<Delivery, Errno> {
    let sink = sink.as_fd();
    match sys::status(sink)?.kind {
        libc::S_IFSOCK if sys::socket(sink)? == sys::Socket::Datagram => Err(Errno::EOPNOTSUPP),
        libc::S_IFSOCK => end_of_connection(sink),
        libc::S_IFIFO => end_of_pipe(sink),
        _ => Ok(Delivery::All),
    }
}

/// The bytes that a TCP socket has sent or queued and the peer has not acknowledged; of an `AF_UNIX` socket, the memory that unread
/// bytes take (`SIOCOUTQ`).
///
/// # Errors
///
/// The errno of the ioctl.
pub fn unacknowledged(socket: &impl AsFd) -> Result<u64, Errno> {
    sys::count(socket.as_fd(), libc::TIOCOUTQ)
}

fn end_of_connection(socket: BorrowedFd<'_>) -> Result<Delivery, Errno> {
    if !sys::shutdown_write(socket)? {
        return Ok(Delivery::Broken(Errno::ENOTCONN));
    }
    let mut bytes = [0; 4096];
    loop {
        match sys::read(socket, &mut bytes) {
            Ok(0) => return Ok(acknowledged(socket)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => sys::poll(socket, PollFlags::IN, None).map(drop)?,
            Err(errno) => return Ok(Delivery::Broken(errno)),
        }
    }
}

/// A TCP peer that has closed may still get bytes, and answers them with a reset. This waits until all is acknowledged, or until the
/// connection has ended.
fn acknowledged(socket: BorrowedFd<'_>) -> Delivery {
    /// From `include/net/tcp_states.h`.
    const TCP_CLOSE: u8 = 7;
    loop {
        let Some(state) = sys::tcp_state(socket) else {
            return Delivery::All; // not TCP: nothing is in flight
        };
        match sys::count(socket, libc::TIOCOUTQ) {
            Ok(0) => return Delivery::All,
            Err(errno) => return Delivery::Broken(errno),
            Ok(_) if state == TCP_CLOSE => return Delivery::Broken(Errno::ECONNRESET),
            Ok(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}

fn end_of_pipe(pipe: BorrowedFd<'_>) -> Result<Delivery, Errno> {
    loop {
        // The state of the readers first: once they are gone, unread bytes stay unread.
        let gone =
            sys::poll(pipe, PollFlags::empty(), Some(Duration::ZERO))?.contains(PollFlags::ERR);
        match sys::count(pipe, libc::FIONREAD)? {
            0 => return Ok(Delivery::All),
            unread if gone => return Ok(Delivery::Unread(unread)),
            _ => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}
