//! `SO_ZEROCOPY`.

use super::document;
use crate::claims::prelude::*;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

pub const CLAIMS: &[Claim] = &[
    claim("zerocopy.option.default-off", "SO_ZEROCOPY reads 0 on a new TCP socket, and 1 once it has been set.")
        .published(&[document("Socket Setup")])
        .about(&[Sysno::getsockopt])
        .turned_by(&[Lie::about(Sysno::getsockopt, What::Output { argument: 3, value: 1 })])
        .tried(|_lab, see| {
            let socket = new()?;
            see.call("SO_ZEROCOPY of a new TCP socket", option(&socket)).is(0);
            sockets::zerocopy_on(&socket)?;
            see.call("SO_ZEROCOPY after it has been set", option(&socket)).is(1);
            Ok(())
        }),
    claim(
        "zerocopy.option.values",
        "On a TCP socket SO_ZEROCOPY takes 0 and 1; 2, -1 and a one-byte value fail with EINVAL.",
    )
    .published(&[kernel("net/core/sock.c", "sk_setsockopt")])
    .about(&[Sysno::setsockopt])
    .turned_by(&Lie::otherwise(Sysno::setsockopt))
    .tried(|_lab, see| {
        let socket = new()?;
        for (value, result, after) in [(2, Err(EINVAL), 0), (-1, Err(EINVAL), 0), (1, Ok(0), 1), (0, Ok(0), 0)] {
            see.call(format!("SO_ZEROCOPY {value}"), set(&socket, value)).gives(result);
            let now = aside(|| option(&socket)).setup("getsockopt")?;
            see.count(format!("the option after {value}"), now as u64).is(after);
        }
        let short = sockets::set_bytes(&socket, libc::SOL_SOCKET, libc::SO_ZEROCOPY, &[1]);
        see.call("SO_ZEROCOPY of one byte", short.map(|()| 0)).fails(EINVAL);
        Ok(())
    }),
    claim(
        "zerocopy.option.inherited",
        "A TCP socket returned by accept() has the SO_ZEROCOPY setting of its listener.",
    )
    .published(&[selftest("net/packetdrill/tcp_zerocopy_basic.pkt", "setsockopt on the listener"), OLD_SETUP])
    .about(&[Sysno::setsockopt, Sysno::getsockopt, Sysno::accept4])
    .turned_by(&[Lie::about(Sysno::getsockopt, What::Output { argument: 3, value: 0 })])
    .tried(|_lab, see| {
        for value in [1, 0] {
            let listener = aside(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).setup("bind")?;
            if value == 1 {
                sockets::zerocopy_on(&listener)?;
            }
            let address = aside(|| listener.local_addr()).setup("getsockname")?;
            // The other way round, so that it cannot be taken for the accepted one.
            let near = aside(|| TcpStream::connect(address)).setup("connect over loopback")?;
            aside(|| set(&near, 1 - value)).setup("SO_ZEROCOPY")?;
            let (accepted, _) = listener.accept().setup("accept")?;
            see.call(format!("SO_ZEROCOPY of a socket accepted with {value}"), option(&accepted)).is(value);
        }
        Ok(())
    }),
    claim("zerocopy.option.connected", "SO_ZEROCOPY of a TCP socket that accept() has returned fails with EBUSY.")
        .published(&[OLD_SETUP, LIFTED.denies().since("4.17")])
        .about(&[Sysno::setsockopt])
        .turned_by(&[Lie::refused(Sysno::setsockopt, libc::EBUSY)])
        .gated(&[gate("4.17", "SO_ZEROCOPY may be set on a connected socket", LIFTED)])
        .tried(|_lab, see| {
            let (_near, far) = sockets::tcp()?;
            see.call("SO_ZEROCOPY 1 of an accepted socket", set(&far, 1)).fails(EBUSY);
            see.call("the option after that", aside(|| option(&far)));
            Ok(())
        }),
];

const OLD_SETUP: Source = document("Socket Setup").edition("Linux 4.16").until("4.16");
const LIFTED: Source = commit("ced68234b6a2", "sock: remove zerocopy sockopt restriction on closed tcp state");

fn new() -> Result<OwnedFd, Stop> {
    aside(|| sockets::socket(libc::AF_INET, libc::SOCK_STREAM, 0)).setup("socket")
}

fn set(socket: &impl AsFd, value: libc::c_int) -> Result<usize, Errno> {
    sockets::set_option(socket, libc::SOL_SOCKET, libc::SO_ZEROCOPY, value).map(|()| 0)
}

fn option(socket: &impl AsFd) -> Result<usize, Errno> {
    let value = sockets::get_option(socket, libc::SOL_SOCKET, libc::SO_ZEROCOPY)?;
    // A negative number is shown as a large one.
    Ok(usize::try_from(value).unwrap_or(usize::MAX))
}
