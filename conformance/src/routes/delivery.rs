//! Whether what a sink has taken has been read: a call that sends returns when the kernel has the bytes, not the peer.

use crate::lab::{io, sockets};
use std::os::fd::AsFd;
use std::time::Duration;
use syscalls::{Errno, Sysno, syscall};

/// What became of the bytes that the sink has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The peer has read all of them.
    All,
    /// The pipe's readers have gone and left so many.
    Unread(u64),
    /// The connection broke with this: nobody knows how many were read.
    Broken(Errno),
}

/// Ends the sink's stream and waits for the peer to have read all or to be gone. A regular file has what it has taken.
///
/// A socket is shut down for writing and read to its end, which the peer makes by closing it: with bytes unread it breaks the
/// connection (`ECONNRESET`), over TCP and `AF_UNIX`. A pipe keeps what is unread and says how much it is.
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

/// A TCP peer that has closed may still be sent what it will answer with a reset: all is acknowledged, or the connection is no more.
fn acknowledged(socket: &impl AsFd) -> Delivery {
    /// Of `include/net/tcp_states.h`.
    const TCP_CLOSE: libc::c_int = 7;
    loop {
        let Some(state) = tcp_state(socket) else {
            return Delivery::All; // not TCP: nothing is on the way
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
        // The readers' end first: what is unread after that stays so.
        let (polled, events) = io::poll(pipe, 0, 0);
        polled?;
        let gone = events & libc::POLLERR != 0;
        match io::count_of(pipe, libc::FIONREAD)? {
            0 => return Ok(Delivery::All),
            unread if gone => return Ok(Delivery::Unread(unread)),
            _ => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}
