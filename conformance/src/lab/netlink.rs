//! Network devices: created and moved by rtnetlink, and configured by ioctl. This replaces `ip link` and `ip address`.

use crate::lab::{io, sockets};
use nocopy_host::interfaces;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use syscalls::Errno;

// include/uapi/linux/if_link.h, veth.h and netlink.h.
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const NLMSG_ERROR: u16 = 2;
/// `struct ifinfomsg`: any family, no index, no flags.
const NO_DEVICE: [u8; 16] = [0; 16];

/// `ip link add NAME type KIND`.
pub fn create(name: &str, kind: &str) -> Result<(), Errno> {
    let mut info = Vec::new();
    put(&mut info, IFLA_INFO_KIND, kind.as_bytes());
    let mut message = NO_DEVICE.to_vec();
    put(&mut message, IFLA_IFNAME, &name_bytes(name));
    put(&mut message, IFLA_LINKINFO, &info);
    new_link(&message, libc::NLM_F_CREATE | libc::NLM_F_EXCL)
}

/// `ip link add NAME type veth peer name PEER netns PID`.
pub fn create_veth(name: &str, peer: &str, pid: libc::pid_t) -> Result<(), Errno> {
    let mut other = NO_DEVICE.to_vec();
    put(&mut other, IFLA_IFNAME, &name_bytes(peer));
    put(&mut other, IFLA_NET_NS_PID, &pid.to_ne_bytes());
    let mut data = Vec::new();
    put(&mut data, VETH_INFO_PEER, &other);
    let mut info = Vec::new();
    put(&mut info, IFLA_INFO_KIND, b"veth");
    put(&mut info, IFLA_INFO_DATA, &data);
    let mut message = NO_DEVICE.to_vec();
    put(&mut message, IFLA_IFNAME, &name_bytes(name));
    put(&mut message, IFLA_LINKINFO, &info);
    new_link(&message, libc::NLM_F_CREATE | libc::NLM_F_EXCL)
}

/// `ip link set NAME netns PID`.
pub fn give_to(name: &str, pid: libc::pid_t) -> Result<(), Errno> {
    let mut message = NO_DEVICE.to_vec();
    put(&mut message, IFLA_IFNAME, &name_bytes(name));
    put(&mut message, IFLA_NET_NS_PID, &pid.to_ne_bytes());
    new_link(&message, 0)
}

fn name_bytes(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

/// One `RTM_NEWLINK` request and its acknowledgement.
fn new_link(message: &[u8], flags: libc::c_int) -> Result<(), Errno> {
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags;
    let length = u32::try_from(16 + message.len()).expect("a short request");
    let mut request = length.to_ne_bytes().to_vec(); // struct nlmsghdr
    request.extend(libc::RTM_NEWLINK.to_ne_bytes());
    request.extend(u16::try_from(flags).expect("16 bits by the header").to_ne_bytes());
    request.extend([0; 8]); // sequence and port: one request, one answer
    request.extend(message);

    let netlink = sockets::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    io::write_whole(&netlink, &request)?;
    let mut answer = [0; 1024];
    let count = io::read(&netlink, &mut answer)?;
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
fn put(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).expect("a short attribute");
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Assigns an address in a /24 network to a device and sets it up. `mtu` is set if it is given.
pub fn configure(name: &str, own: Ipv4Addr, mtu: Option<libc::c_int>) -> Result<(), Errno> {
    let control = sockets::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut request = request(name);
    request.ifr_ifru.ifru_addr = address(own);
    ioctl(&control, libc::SIOCSIFADDR, &mut request)?;
    request.ifr_ifru.ifru_netmask = address(Ipv4Addr::new(255, 255, 255, 0));
    ioctl(&control, libc::SIOCSIFNETMASK, &mut request)?;
    if let Some(mtu) = mtu {
        request.ifr_ifru.ifru_mtu = mtu;
        ioctl(&control, libc::SIOCSIFMTU, &mut request)?;
    }
    up(name)
}

/// `ip link set NAME up`.
pub fn up(name: &str) -> Result<(), Errno> {
    let errno = |error: std::io::Error| Errno::new(error.raw_os_error().unwrap_or(libc::EIO));
    interfaces::up(name).map_err(errno)
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: ifreq is plain bytes, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from.cast_signed();
    }
    request
}

fn address(address: Ipv4Addr) -> libc::sockaddr {
    let [a, b, c, d] = address.octets().map(u8::cast_signed);
    let mut data = [0; 14];
    data[2..6].copy_from_slice(&[a, b, c, d]); // the port comes first
    libc::sockaddr { sa_family: libc::sa_family_t::try_from(libc::AF_INET).expect("a small number"), sa_data: data }
}

fn ioctl(fd: &OwnedFd, request: libc::Ioctl, argument: &mut libc::ifreq) -> Result<(), Errno> {
    // SAFETY: these requests read and write one ifreq through the pointer during the call.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(argument)) };
    if done == -1 { Err(sockets::last_errno()) } else { Ok(()) }
}
