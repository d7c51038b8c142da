//! A network namespace of the experiment's own, with a device that transmits into nothing.
//!
//! Over loopback and veth the kernel must copy what `MSG_ZEROCOPY` pinned, since the receiver would get the user's pages.
//! Out of a `dummy` (or an `ifb` to which nothing redirects) the packet is dropped by the driver after "transmission", so
//! the completion comes back as from a real network card: not copied.

use crate::lab::{Lab, sockets};
use crate::verdict::{Lack, Setup, Stop};
use std::ffi::c_int;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use syscalls::Errno;

/// The device's address, of the block for documentation (RFC 5737). It exists in the namespace only.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The peer that nobody is.
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// A datagram of this many bytes fits into one packet of the device.
pub const DATAGRAM: usize = 8192;
const DEVICE: &[u8] = b"nocopy0";

/// A UDP socket whose datagrams leave by a device that drops them.
///
/// The calling process is in a new network namespace (and, without privilege, a new user namespace) afterwards.
pub fn udp_into_nothing(_lab: &Lab) -> Result<UdpSocket, Stop> {
    enter()?;
    create_device()?;
    let control = sockets::socket(libc::AF_INET, libc::SOCK_DGRAM, 0).setup("socket")?;
    configure(&control).setup("configure the device")?;
    let socket = UdpSocket::bind((ADDRESS, 0)).setup("bind to the device's address")?;
    socket
        .connect((PEER, 9))
        .setup("connect to the device's peer")?;
    Ok(socket)
}

/// Enters a new network namespace, by way of a user namespace where that is needed.
fn enter() -> Result<(), Stop> {
    let unshare = |flags: c_int| {
        // SAFETY: unshare takes no pointer; an experiment has one thread until it starts more.
        if unsafe { libc::unshare(flags) } == -1 {
            Err(sockets::last_errno())
        } else {
            Ok(())
        }
    };
    unshare(libc::CLONE_NEWNET)
        .or_else(|_| unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET))
        .map_err(|errno| {
            Stop::untestable(
                Lack::Privilege,
                format!("no network namespace can be made here: unshare {errno:?}"),
                "run as root, or allow user namespaces: sysctl user.max_user_namespaces=1000",
            )
        })
}

/// Creates the device by rtnetlink, as the first kind that the kernel has.
fn create_device() -> Result<(), Stop> {
    let mut refused = Vec::new();
    for kind in ["dummy", "ifb"] {
        match new_link(kind) {
            Ok(()) => return Ok(()),
            Err(errno) => refused.push(format!("{kind} {errno:?}")),
        }
    }
    Err(Stop::untestable(
        Lack::Device,
        format!(
            "no device that drops what it sends can be made: {}",
            refused.join(", ")
        ),
        "load its module as root: modprobe dummy",
    ))
}

/// `ip link add nocopy0 type KIND`: one `RTM_NEWLINK` request and its acknowledgement.
fn new_link(kind: &str) -> Result<(), Errno> {
    const IFLA_IFNAME: u16 = 3;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;
    const NLMSG_ERROR: u16 = 2;
    let mut request = vec![0; 16]; // struct nlmsghdr, filled in below
    request.extend([0; 16]); // struct ifinfomsg: any family, no index, no flags
    put_attribute(&mut request, IFLA_IFNAME, &[DEVICE, b"\0"].concat());
    let mut info = Vec::new();
    put_attribute(&mut info, IFLA_INFO_KIND, kind.as_bytes());
    put_attribute(&mut request, IFLA_LINKINFO, &info);
    let length = u32::try_from(request.len()).expect("a short request");
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let flags = u16::try_from(flags).expect("16 bits by the header");
    request[0..4].copy_from_slice(&length.to_ne_bytes());
    request[4..6].copy_from_slice(&libc::RTM_NEWLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&flags.to_ne_bytes());

    let errno = |error: io::Error| Errno::new(error.raw_os_error().unwrap_or(0));
    let netlink =
        sockets::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE).map_err(errno)?;
    super::io::write(&netlink, &request)?;
    let mut answer = [0; 1024];
    let count = super::io::read(&netlink, &mut answer)?;
    // struct nlmsghdr (type at 4), then struct nlmsgerr, whose first field is 0 or the errno, negative.
    if count < 20 || u16::from_ne_bytes([answer[4], answer[5]]) != NLMSG_ERROR {
        return Err(Errno::EBADMSG);
    }
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        error => Err(Errno::new(-error)),
    }
}

/// Appends a netlink attribute: length, type, value, padding to four bytes.
fn put_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).expect("a short attribute");
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Gives the device its address and brings it up.
fn configure(control: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: ifreq is plain bytes, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(DEVICE) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_addr = address(ADDRESS);
    ioctl(control, libc::SIOCSIFADDR, &mut request)?;
    request.ifr_ifru.ifru_netmask = address(Ipv4Addr::new(255, 255, 255, 0));
    ioctl(control, libc::SIOCSIFNETMASK, &mut request)?;
    request.ifr_ifru.ifru_mtu = 9000;
    ioctl(control, libc::SIOCSIFMTU, &mut request)?;
    let flags = libc::IFF_UP | libc::IFF_NOARP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).expect("low bits");
    ioctl(control, libc::SIOCSIFFLAGS, &mut request)
}

fn address(address: Ipv4Addr) -> libc::sockaddr {
    let [a, b, c, d] = address.octets().map(u8::cast_signed);
    let mut data = [0; 14];
    data[2..6].copy_from_slice(&[a, b, c, d]); // the port comes first
    libc::sockaddr {
        sa_family: libc::sa_family_t::try_from(libc::AF_INET).expect("a small number"),
        sa_data: data,
    }
}

fn ioctl(fd: &OwnedFd, request: libc::Ioctl, argument: &mut libc::ifreq) -> Result<(), Errno> {
    // SAFETY: these requests read and write one ifreq through the pointer during the call.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(argument)) };
    if done == -1 {
        Err(sockets::last_errno())
    } else {
        Ok(())
    }
}
