//! Connected pairs of sockets, and the state of their queues.

use crate::interpose::record::aside;
use crate::kernel::to_have;
use crate::lab::io::count_of;
use crate::lab::waiting::wait_until;
use crate::verdict::{Lack, Setup, Stop};
use nocopy_msg_zerocopy::Enabled;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use syscalls::Errno;

/// Two ends of a TCP connection over IPv4 loopback. Nagle's algorithm is off at the first one.
pub fn tcp() -> Result<(TcpStream, TcpStream), Stop> {
    aside(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        connect(&listener.setup("bind a TCP socket to 127.0.0.1")?)
    })
}

fn connect(listener: &TcpListener) -> Result<(TcpStream, TcpStream), Stop> {
    let near = TcpStream::connect(listener.local_addr().setup("getsockname")?).setup("connect over loopback")?;
    let far = accept_of(listener, &near)?;
    set_nodelay(&near)?;
    Ok((near, far))
}

/// Accepts the connection that this socket has made, and no other: a port that an experiment has just got may be one to which
/// somebody else still connects.
fn accept_of(listener: &TcpListener, near: &TcpStream) -> Result<TcpStream, Stop> {
    let own = aside(|| near.local_addr()).setup("getsockname")?;
    loop {
        let (far, peer) = listener.accept().setup("accept")?;
        if peer == own {
            return Ok(far);
        }
    }
}

/// Two ends of a TCP connection. This socket, which must not be connected yet, becomes the first one.
pub fn tcp_from(socket: OwnedFd) -> Result<(TcpStream, TcpStream), Stop> {
    aside(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        connect_from(socket, &listener.setup("bind a TCP socket to 127.0.0.1")?)
    })
}

/// Two ends of a multipath TCP connection over loopback.
pub fn mptcp() -> Result<(TcpStream, TcpStream), Stop> {
    let make = || of_protocol(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP);
    aside(|| {
        let listener = make()?;
        let (address, length) = loopback_address(0);
        // SAFETY: the pointer is to a sockaddr_in of `length` bytes, read during the call; listen takes none.
        let done = unsafe {
            let bound = libc::bind(listener.as_raw_fd(), (&raw const address).cast(), length);
            bound | libc::listen(listener.as_raw_fd(), 1)
        };
        if done == -1 {
            return Err(Stop::from_setup("bind and listen", last_errno()));
        }
        let (near, before) = (make()?, multipath_handshakes());
        let ends = connect_from(near, &TcpListener::from(listener))?;
        if !is_multipath(&ends.0, before)? {
            return Err(Stop::broken("the connection has fallen back to plain TCP"));
        }
        Ok(ends)
    })
}

/// Whether a connection has not fallen back to plain TCP. `before` is the count of handshakes before it was made.
fn is_multipath(socket: &TcpStream, before: u64) -> Result<bool, Stop> {
    // `SOL_MPTCP`, and of `include/uapi/linux/mptcp.h`: `MPTCP_INFO`, `mptcpi_flags` and `MPTCP_INFO_FLAG_FALLBACK`.
    const LEVEL: libc::c_int = 284;
    const INFO: libc::c_int = 1;
    const FLAGS: usize = 8;
    const FALLBACK: u32 = 1;
    match get_bytes::<12>(socket, LEVEL, INFO) {
        Ok(info) => Ok(u32::from_ne_bytes(info[FLAGS..].try_into().expect("four bytes")) & FALLBACK == 0),
        // Plain TCP refuses the option. So does every kernel before Linux 5.16.
        Err(Errno::EOPNOTSUPP | Errno::ENOPROTOOPT) => Ok(multipath_handshakes() > before),
        Err(errno) => Err(Stop::from_setup("MPTCP_INFO", errno)),
    }
}

/// The number of connections that have been accepted with the options of multipath TCP in this network namespace.
fn multipath_handshakes() -> u64 {
    let text = std::fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    let mut lines = text.lines().filter(|line| line.starts_with("MPTcpExt:")).map(str::split_whitespace);
    let (names, values) = (lines.next(), lines.next());
    let mut counters = names.into_iter().flatten().zip(values.into_iter().flatten());
    let found = counters.find(|(name, _)| *name == "MPCapableACKRX");
    found.and_then(|(_, count)| count.parse().ok()).unwrap_or(0)
}

/// The address of a port of IPv4 loopback, and its length.
pub fn loopback_address(port: u16) -> (libc::sockaddr_in, libc::socklen_t) {
    // SAFETY: sockaddr_in is plain integers, for which zero is valid.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::sa_family_t::try_from(libc::AF_INET).expect("a small number");
    address.sin_port = port.to_be();
    address.sin_addr.s_addr = u32::from(Ipv4Addr::LOCALHOST).to_be();
    let length = libc::socklen_t::try_from(size_of_val(&address)).expect("a small structure");
    (address, length)
}

/// Two ends of a TCP connection to a listener. The congestion control, if one is named, is set before they are connected, because
/// BBR does not stop pacing a connection once it has started.
pub fn tcp_to(listener: &TcpListener, congestion: &[u8]) -> Result<(TcpStream, TcpStream), Stop> {
    let near = of_protocol(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    if !congestion.is_empty() {
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_CONGESTION);
        set_bytes(&near, level, name, congestion).setup("TCP_CONGESTION")?;
    }
    connect_from(near, listener)
}

fn connect_from(socket: OwnedFd, listener: &TcpListener) -> Result<(TcpStream, TcpStream), Stop> {
    let IpAddr::V4(host) = listener.local_addr().setup("getsockname")?.ip() else {
        return Err(Stop::broken("the listener is not one of IPv4"));
    };
    let port = listener.local_addr().setup("getsockname")?.port();
    let (mut address, length) = loopback_address(port);
    address.sin_addr.s_addr = u32::from(host).to_be();
    // SAFETY: the pointer is to a sockaddr_in of `length` bytes, read during the call.
    let done = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if done == -1 {
        return Err(Stop::from_setup("connect", last_errno()));
    }
    let near = TcpStream::from(socket);
    let far = accept_of(listener, &near)?;
    set_nodelay(&near)?;
    Ok((near, far))
}

/// A UDP socket connected to another over loopback.
pub fn udp() -> Result<(UdpSocket, UdpSocket), Stop> {
    udp_of(Ipv4Addr::LOCALHOST.into())
}

/// The same, with this loopback address.
pub fn udp_of(address: IpAddr) -> Result<(UdpSocket, UdpSocket), Stop> {
    let bind = || UdpSocket::bind((address, 0)).setup("bind a UDP socket to loopback");
    let (near, far) = (bind()?, bind()?);
    near.connect(far.local_addr().setup("getsockname")?).setup("connect a UDP socket")?;
    Ok((near, far))
}

/// Two ends of a vsock connection from this machine to itself.
pub fn vsock() -> Result<(OwnedFd, OwnedFd), Stop> {
    vsock_of(libc::SOCK_STREAM)
}

/// The same, with sockets of this type.
pub fn vsock_of(kind: libc::c_int) -> Result<(OwnedFd, OwnedFd), Stop> {
    aside(|| connect_vsock(kind))
}

fn connect_vsock(kind: libc::c_int) -> Result<(OwnedFd, OwnedFd), Stop> {
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_vm>()).expect("a small structure");
    // SAFETY: sockaddr_vm is plain integers, for which zero is valid.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = libc::sa_family_t::try_from(libc::AF_VSOCK).expect("a small number");
    address.svm_cid = libc::VMADDR_CID_LOCAL;
    address.svm_port = libc::VMADDR_PORT_ANY;
    let done = |result: libc::c_int| {
        if result == -1 { Err(last_errno()) } else { Ok(result) }
    };
    let listener = socket(libc::AF_VSOCK, kind, 0).setup("socket(AF_VSOCK)")?;
    let near = socket(libc::AF_VSOCK, kind, 0).setup("socket(AF_VSOCK)")?;
    let name = (&raw mut address).cast::<libc::sockaddr>();
    let mut size = length;
    // SAFETY: `name` is a sockaddr_vm of `length` bytes, read by bind and connect and written by getsockname; the descriptor
    // that accept makes is owned here only.
    unsafe {
        done(libc::bind(listener.as_raw_fd(), name, length)).map_err(|errno| {
            Stop::untestable(
                Lack::Device,
                format!("vsock has no loopback here: bind to CID 1: {errno:?}"),
                to_have("CONFIG_VSOCKETS_LOOPBACK", "vsock_loopback"),
            )
        })?;
        done(libc::listen(listener.as_raw_fd(), 1)).setup("listen")?;
        done(libc::getsockname(listener.as_raw_fd(), name, &raw mut size)).setup("getsockname")?;
        done(libc::connect(near.as_raw_fd(), name, length)).setup("connect to vsock CID 1")?;
        let far =
            done(libc::accept(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut())).setup("accept")?;
        Ok((near, OwnedFd::from_raw_fd(far)))
    }
}

/// The modules that [`ktls`] needs unless they are built in.
pub const KTLS_MODULES: &[&str] = &["tls", "gcm", "ctr", "ghash_generic", "aes_generic"];

/// A TCP connection over loopback with TLS in the kernel (AES-128-GCM by software, TLS 1.2): the near end encrypts what is
/// written, the far end decrypts what is read.
pub fn ktls() -> Result<(TcpStream, TcpStream), Stop> {
    let (near, far) = tcp()?;
    aside(|| encrypt(&near, &far))?;
    Ok((near, far))
}

/// The value in `include/linux/socket.h`. `libc` does not have it for this target.
pub const SOL_TLS: libc::c_int = 282;

fn encrypt(near: &TcpStream, far: &TcpStream) -> Result<(), Stop> {
    const TLS_TX: libc::c_int = 1;
    const TLS_RX: libc::c_int = 2;
    /// `struct tls12_crypto_info_aes_gcm_128` of include/uapi/linux/tls.h: version 1.2, cipher 51, then nonce, key, salt and
    /// record number, which only have to be the same at both ends.
    const KEYS: [u8; 40] = {
        let mut keys = [7; 40];
        [keys[0], keys[1]] = 0x0303_u16.to_ne_bytes();
        [keys[2], keys[3]] = 51_u16.to_ne_bytes();
        keys
    };
    for (socket, direction) in [(near, TLS_TX), (far, TLS_RX)] {
        set_bytes(socket, libc::SOL_TCP, libc::TCP_ULP, b"tls").map_err(|errno| {
            Stop::untestable(
                Lack::Kernel,
                format!("the kernel has no TLS: TCP_ULP: {errno:?}"),
                to_have("CONFIG_TLS", "tls"),
            )
        })?;
        // gVisor accepts the option, and then sends plain text.
        if !has_tls(socket) {
            return Err(Stop::untestable(
                Lack::Kernel,
                "the kernel has no TLS: TCP_ULP is accepted, and not there when it is read back",
                "use a kernel with CONFIG_TLS",
            ));
        }
        set_bytes(socket, SOL_TLS, direction, &KEYS).map_err(|errno| {
            Stop::untestable(
                Lack::Kernel,
                format!("the kernel's TLS has no AES-128-GCM: {errno:?}"),
                to_have("CONFIG_CRYPTO_GCM and CONFIG_CRYPTO_AES", "-a gcm aes"),
            )
        })?;
        let keys = get_bytes::<40>(socket, SOL_TLS, direction).setup("read the keys of TLS back")?;
        if keys[..4] != KEYS[..4] {
            return Err(Stop::broken("the keys of TLS are not set"));
        }
    }
    Ok(())
}

/// Whether a socket uses TLS above TCP.
fn has_tls(socket: &TcpStream) -> bool {
    get_bytes::<16>(socket, libc::SOL_TCP, libc::TCP_ULP).is_ok_and(|name| name.starts_with(b"tls\0"))
}

/// A socket of any family and type.
pub fn socket(domain: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> Result<OwnedFd, Errno> {
    // SAFETY: socket takes no pointer.
    let fd = unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd == -1 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made `fd` for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A socket of a protocol that a kernel may lack. gVisor reports that with EINVAL.
pub fn of_protocol(domain: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> Result<OwnedFd, Stop> {
    match socket(domain, kind, protocol) {
        Err(Errno::EINVAL) => Err(Stop::untestable(
            Lack::Kernel,
            format!("there is no socket of protocol {protocol}: EINVAL"),
            "use a kernel with this protocol",
        )),
        made => made.setup("socket"),
    }
}

/// The number of bytes that can be read from a socket or pipe without waiting (`FIONREAD`).
pub fn readable(fd: &impl AsFd) -> Result<usize, Stop> {
    ioctl_count(fd, libc::FIONREAD, "FIONREAD")
}

/// The number of bytes that TCP has accepted and the peer has not acknowledged (`SIOCOUTQ`).
pub fn unacknowledged(fd: &impl AsFd) -> Result<usize, Stop> {
    ioctl_count(fd, libc::TIOCOUTQ, "SIOCOUTQ")
}

/// The value in `include/uapi/linux/sockios.h`.
pub const SIOCOUTQNSD: libc::Ioctl = 0x894b;

/// The number of bytes that TCP has accepted and not sent, because the peer's window is full (`SIOCOUTQNSD`).
pub fn unsent(fd: &impl AsFd) -> Result<usize, Stop> {
    match ioctl_count(fd, SIOCOUTQNSD, "SIOCOUTQNSD") {
        Err(Stop::Broken(what)) if what.contains("ENOTTY") => {
            Err(Stop::untestable(Lack::Kernel, what, "use a kernel that knows this request"))
        }
        count => count,
    }
}

fn ioctl_count(fd: &impl AsFd, request: libc::Ioctl, name: &str) -> Result<usize, Stop> {
    let count = count_of(fd, request).setup(name)?;
    usize::try_from(count).map_err(|_| Stop::broken(format!("{name} says {count}")))
}

/// Waits until the near end's kernel knows that the far end has received everything. After that the near end holds no data for
/// which a completion could come later.
///
/// It uses `SIOCOUTQ`. If the kernel does not support that (gVisor), it closes the connection in order. The far end closes after
/// it has read everything, so its last segment acknowledges all data. The connection cannot be used after that.
pub fn wait_until_acknowledged(near: &TcpStream, far: &TcpStream) -> Result<(), Stop> {
    match unacknowledged(near) {
        Ok(_) => {
            wait_until(|| Ok(unacknowledged(near)? == 0))?;
            // Setting an option takes the socket's lock, so the kernel has finished with the last acknowledgement after that.
            return aside(|| set_nodelay(near));
        }
        Err(Stop::Untestable(_)) => {}
        Err(stop) => return Err(stop),
    }
    let end_of = |socket: &TcpStream| {
        let mut bytes = [0; 4096];
        while crate::lab::io::again(|| crate::lab::io::read(socket, &mut bytes)).setup("read")? > 0 {}
        Ok::<(), Stop>(())
    };
    near.shutdown(Shutdown::Write).setup("shutdown")?;
    end_of(far)?;
    far.shutdown(Shutdown::Write).setup("shutdown")?;
    end_of(near)
}

/// Waits until `count` bytes are in the receive queue. The sender has then finished, and nothing is in transit.
pub fn wait_for_arrival(fd: &impl AsFd, count: usize) -> Result<(), Stop> {
    wait_until(|| Ok(readable(fd)? >= count))
}

/// Sets an integer option.
pub fn set_option(fd: &impl AsFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
    set_bytes(fd, level, name, &value.to_ne_bytes())
}

/// Turns `SO_ZEROCOPY` on. Untestable if the option reads back as off: the kernel would ignore the flag, and send no completion.
pub fn zerocopy_on<Socket: AsFd>(socket: &Socket) -> Result<Enabled<'_>, Stop> {
    let enabled = nocopy_msg_zerocopy::enable(socket).setup("SO_ZEROCOPY")?;
    match aside(|| get_option(socket, libc::SOL_SOCKET, libc::SO_ZEROCOPY)).setup("SO_ZEROCOPY")? {
        1 => Ok(enabled),
        other => Err(Stop::untestable(
            Lack::Kernel,
            format!("SO_ZEROCOPY is accepted, and {other} when it is read back"),
            "use a kernel with MSG_ZEROCOPY, 4.14 or later",
        )),
    }
}

/// Requests another size of a socket's buffer, by `SO_SNDBUF` or `SO_RCVBUF`. The kernel may choose another size.
pub fn resize_buffer(fd: &impl AsFd, name: libc::c_int, size: libc::c_int) -> Result<(), Stop> {
    let now = || get_option(fd, libc::SOL_SOCKET, name).setup("the size of a socket's buffer");
    let before = now()?;
    set_option(fd, libc::SOL_SOCKET, name, size).setup("set the size of a socket's buffer")?;
    let after = now()?;
    // Linux doubles the requested size.
    if after == before && after != size && after != size.saturating_mul(2) {
        return Err(Stop::broken("a socket's buffer has the size that it had"));
    }
    Ok(())
}

/// The number of bytes that a vsock socket holds for its reader: `SO_VM_SOCKETS_BUFFER_SIZE` of
/// `include/uapi/linux/vm_sockets.h`.
pub fn vsock_buffer(fd: &impl AsFd) -> Result<u64, Stop> {
    const BUFFER_SIZE: libc::c_int = 0;
    let size = aside(|| get_bytes(fd, libc::AF_VSOCK, BUFFER_SIZE)).setup("the size of a vsock buffer")?;
    Ok(u64::from_ne_bytes(size))
}

/// Turns Nagle's algorithm off, so that small writes are sent at once.
pub fn set_nodelay(socket: &TcpStream) -> Result<(), Stop> {
    socket.set_nodelay(true).setup("TCP_NODELAY")?;
    if socket.nodelay().setup("TCP_NODELAY")? {
        Ok(())
    } else {
        Err(Stop::broken("TCP_NODELAY is off when it is read back"))
    }
}

/// Reads an integer option. The result is -1 if the kernel does not write it.
pub fn get_option(fd: &impl AsFd, level: libc::c_int, name: libc::c_int) -> Result<libc::c_int, Errno> {
    get_bytes(fd, level, name).map(libc::c_int::from_ne_bytes)
}

/// Reads the first `N` bytes of an option. Bytes that the kernel does not write are 0xff.
pub fn get_bytes<const N: usize>(fd: &impl AsFd, level: libc::c_int, name: libc::c_int) -> Result<[u8; N], Errno> {
    let mut value = [0xff_u8; N];
    let mut length = libc::socklen_t::try_from(N).expect("a short option");
    // SAFETY: the pointers are to an array of `length` bytes and to `length`, written during the call.
    let done =
        unsafe { libc::getsockopt(fd.as_fd().as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length) };
    if done == -1 { Err(last_errno()) } else { Ok(value) }
}

/// Sets an option of any type.
pub fn set_bytes(fd: &impl AsFd, level: libc::c_int, name: libc::c_int, value: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(value.len()).expect("a short option");
    // SAFETY: the pointer is to `length` bytes, read during the call.
    let done = unsafe { libc::setsockopt(fd.as_fd().as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    if done == -1 { Err(last_errno()) } else { Ok(()) }
}

/// The error of the last libc call in this thread.
pub fn last_errno() -> Errno {
    Errno::new(io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// Somebody else has connected to the port before.
    #[test]
    fn a_pair_is_of_one_connection() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let _stray = TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
        for made in [connect(&listener), tcp_to(&listener, b"")] {
            let (mut near, mut far) = made.expect("a pair");
            far.write_all(b"x").expect("room");
            let mut byte = [0];
            near.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("set");
            near.read_exact(&mut byte).expect("what the other end has sent");
        }
    }
}
