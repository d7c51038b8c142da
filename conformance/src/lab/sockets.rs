//! Connected pairs of sockets, and what stands in their queues.

use crate::lab::wait_until;
use crate::verdict::{Setup, Stop};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use syscalls::Errno;

/// Two ends of a TCP connection over IPv4 loopback. Small writes are sent at once.
pub fn tcp() -> Result<(TcpStream, TcpStream), Stop> {
    connect(&TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).setup("bind a TCP socket to 127.0.0.1")?)
}

/// Two ends of a TCP connection over IPv6 loopback.
pub fn tcp6() -> Result<(TcpStream, TcpStream), Stop> {
    connect(&TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).setup("bind a TCP socket to ::1")?)
}

fn connect(listener: &TcpListener) -> Result<(TcpStream, TcpStream), Stop> {
    let near = TcpStream::connect(listener.local_addr().setup("getsockname")?)
        .setup("connect over loopback")?;
    let (far, _) = listener.accept().setup("accept")?;
    near.set_nodelay(true).setup("TCP_NODELAY")?;
    Ok((near, far))
}

/// A UDP socket connected to another over loopback.
pub fn udp() -> Result<(UdpSocket, UdpSocket), Stop> {
    let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).setup("bind a UDP socket to 127.0.0.1")?;
    let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).setup("bind a UDP socket to 127.0.0.1")?;
    near.connect(far.local_addr().setup("getsockname")?)
        .setup("connect a UDP socket")?;
    Ok((near, far))
}

/// A socket of any family and type.
pub fn socket(
    domain: libc::c_int,
    kind: libc::c_int,
    protocol: libc::c_int,
) -> io::Result<OwnedFd> {
    // SAFETY: socket takes no pointer.
    let fd = unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made `fd` for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Bytes that can be read from a socket or pipe without waiting (`FIONREAD`).
pub fn readable(fd: &impl AsFd) -> Result<usize, Stop> {
    ioctl_count(fd, libc::FIONREAD, "FIONREAD")
}

/// Bytes that TCP has accepted and the peer has not acknowledged (`SIOCOUTQ`).
pub fn unacknowledged(fd: &impl AsFd) -> Result<usize, Stop> {
    ioctl_count(fd, libc::TIOCOUTQ, "SIOCOUTQ")
}

fn ioctl_count(fd: &impl AsFd, request: libc::Ioctl, name: &str) -> Result<usize, Stop> {
    let mut count: libc::c_int = 0;
    // SAFETY: both requests write one int through the pointer.
    let done = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request, &raw mut count) };
    if done == -1 {
        return Err(Stop::from_setup(name, last_errno()));
    }
    usize::try_from(count).map_err(|_| Stop::broken(format!("{name} says {count}")))
}

/// Waits until `count` bytes stand in the receive queue: then the sender's part is over, and nothing is on the way.
pub fn wait_for_arrival(fd: &impl AsFd, count: usize) -> Result<(), Stop> {
    wait_until(|| Ok(readable(fd)? >= count))
}

/// Sets an integer option.
pub fn set_option(
    fd: &impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> Result<(), Errno> {
    // SAFETY: the pointer is to an int of the length given, read during the call.
    let done = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            4, // bytes of an int
        )
    };
    if done == -1 {
        Err(last_errno())
    } else {
        Ok(())
    }
}

/// What the last libc call of this thread failed with.
pub fn last_errno() -> Errno {
    Errno::new(io::Error::last_os_error().raw_os_error().unwrap_or(0))
}
