//! Sockets between processes of this machine, by calls that `std` does not have.

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Connects to a socket with an abstract name, without waiting for its owner. The stream is nonblocking.
///
/// # Errors
///
/// Those of socket and connect, such as `EAGAIN` if the owner has too many connections that it has not accepted; a name that is too
/// long.
pub fn connect_now(name: &str) -> io::Result<UnixStream> {
    // SAFETY: sockaddr_un is plain integers, for which zero is valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::sa_family_t::try_from(libc::AF_UNIX).expect("1");
    // An abstract name follows a zero byte.
    let place = address
        .sun_path
        .get_mut(1..=name.len())
        .ok_or(io::ErrorKind::InvalidInput)?;
    for (to, from) in place.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let length = offset_of!(libc::sockaddr_un, sun_path) + 1 + name.len();
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket takes no pointer.
    let fd = unsafe { libc::socket(libc::AF_UNIX, kind, 0) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and ours.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the pointer is to an address of at least `length` bytes, which the kernel reads during the call.
    let connected = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            length_of(length),
        )
    };
    match connected {
        0 => Ok(socket.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The effective user of the process that made the other end.
///
/// # Errors
///
/// Those of getsockopt.
pub fn peer_user(socket: &UnixStream) -> io::Result<libc::uid_t> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: libc::uid_t::MAX,
        gid: libc::gid_t::MAX,
    };
    let mut length = length_of(size_of::<libc::ucred>());
    // SAFETY: the pointers are to a ucred and its length, which the kernel writes during the call.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    match got {
        0 => Ok(peer.uid),
        _ => Err(io::Error::last_os_error()),
    }
}

fn length_of(bytes: usize) -> libc::socklen_t {
    bytes.try_into().expect("at most that of an address")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    #[test]
    fn an_abstract_name_is_found_and_its_owner_known() {
        let name = format!("nocopy-host-test-{}", std::process::id());
        let refused = connect_now(&name).map_err(|error| error.kind());
        assert_eq!(refused.err(), Some(io::ErrorKind::ConnectionRefused));
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listener = UnixListener::bind_addr(&address).expect("bound");
        let socket = connect_now(&name).expect("connected");
        assert_eq!(peer_user(&socket).ok(), Some(process::effective_user()));
        listener.accept().expect("accepted");
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let longest = "x".repeat(107);
        let refused = |name: &str| connect_now(name).map_err(|error| error.kind()).err();
        assert_eq!(refused(&longest), Some(io::ErrorKind::ConnectionRefused));
        let longer = longest + "x";
        assert_eq!(refused(&longer), Some(io::ErrorKind::InvalidInput));
    }
}
