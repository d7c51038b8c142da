//! Whether the peer has read the bytes that a sink took: a call that sends returns when the kernel has the bytes, not when the peer
//! has.

use crate::lab::{io, sockets};
use std::os::fd::AsFd;
use std::time::Duration;
use syscalls::{Errno, Sysno, syscall};

/// The fate of the bytes that the sink took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The peer has read all of them.
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
pub fn confirm(sink: &impl AsFd) -> Result<Delivery, Errno> {
    match io::status(sink)?.st_mode & libc::S_IFMT {
        libc::S_IFSOCK => end_of_connection(sink),
        libc::S_IFIFO => end_of_pipe(sink),
        _ => Ok(Delivery::All),
    }
}

fn end_of_connection(socket: &impl AsFd) -> Result<Delivery, Errno> {
    // SAFETY: shutdown takes no pointer.
    let shut = unsafe { syscall!(Sysno::shutdown, io::argument(socket), libc::SHUT_WR) };
    match shut {
        Ok(_) | Err(Errno::ENOTCONN) => {}
        Err(errno) => return Err(errno),
    }
    if shut.is_err() {
        return Ok(Delivery::Broken(Errno::ENOTCONN));
    }
    let mut bytes = [0; 4096];
    loop {
        match io::again(|| io::read(socket, &mut bytes)) {
            Ok(0) => return Ok(acknowledged(socket)),
            Ok(_) => {}
            Err(Errno::EAGAIN) => io::wait_for(socket.as_fd(), libc::POLLIN)?,
            Err(errno) => return Ok(Delivery::Broken(errno)),
        }
    }
}

/// A TCP peer that has closed may still get bytes, and answers them with a reset. This waits until all is acknowledged, or until the
/// connection has ended.
fn acknowledged(socket: &impl AsFd) -> Delivery {
    /// From `include/net/tcp_states.h`.
    const TCP_CLOSE: libc::c_int = 7;
    loop {
        let Some(state) = tcp_state(socket) else {
            return Delivery::All; // not TCP: nothing is in flight
        };
        match io::count_of(socket, libc::TIOCOUTQ) {
            Ok(0) => return Delivery::All,
            Err(errno) => return Delivery::Broken(errno),
            Ok(_) if state == TCP_CLOSE => return Delivery::Broken(Errno::ECONNRESET),
            Ok(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// The connection's state, the first byte of `struct tcp_info`.
fn tcp_state(socket: &impl AsFd) -> Option<libc::c_int> {
    let value = sockets::get_option(socket, libc::IPPROTO_TCP, libc::TCP_INFO).ok()?;
    Some(value & 0xff)
}

fn end_of_pipe(pipe: &impl AsFd) -> Result<Delivery, Errno> {
    loop {
        // The state of the readers first: once they are gone, unread bytes stay unread.
        let (polled, events) = io::ppoll(pipe, 0, 0);
        polled?;
        let gone = events & libc::POLLERR != 0;
        match io::count_of(pipe, libc::FIONREAD)? {
            0 => return Ok(Delivery::All),
            unread if gone => return Ok(Delivery::Unread(unread)),
            _ => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}
