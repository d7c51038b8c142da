//! The kinds of sockets that take `SO_ZEROCOPY`.

use super::document;
use crate::claims::prelude::*;
use libc::{AF_ALG, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, AF_VSOCK};
use libc::{IPPROTO_EGP, IPPROTO_MPTCP, IPPROTO_RAW, IPPROTO_UDP, IPPROTO_UDPLITE};
use libc::{SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM};

/// The claim that a kind of socket does not take the option. It is tried on each of these sockets.
macro_rules! refused {
    ($id:literal => $name:literal, [$(($domain:ident, $kind:ident, $protocol:tt)),+], [$($source:expr),+]) => {
        claim(
            concat!("zerocopy.socket.", $id),
            concat!("setsockopt(SO_ZEROCOPY) on ", $name, " fails with EOPNOTSUPP."),
        )
        .published(&[$($source),+])
        .about(&[Sysno::setsockopt])
        .turned_by(&[
            Lie::about(Sysno::setsockopt, What::OtherErrno(ENOTSUPP)).where_it(true),
            Lie::about(Sysno::setsockopt, What::OtherErrno(libc::EOPNOTSUPP)).where_it(false),
            Lie::accepted(Sysno::setsockopt).where_it(true),
        ])
        .tried(|_lab, see| {
            $(
                let socket = aside(|| sockets::of_protocol($domain, $kind, $protocol))?;
                let of = concat!(stringify!($domain), ", ", stringify!($kind), ", ", stringify!($protocol));
                see.call(format!("setsockopt(socket({of}), SO_ZEROCOPY, 1)"), set(&socket)).fails(EOPNOTSUPP);
            )+
            Ok(())
        })
    };
}

/// The answer of Linux 5.10, which no program knows.
const ENOTSUPP: i32 = 524;
const CODE: Source = kernel("net/core/sock.c", "sk_setsockopt");
const SELFTEST: Source = selftest("net/msg_zerocopy.c", "do_setup_tx, with -z").denies().since("4.14");
const MADE: &[Exception] = &[Exception::asked(Sysno::socket), Exception::Lacking("no lie makes a socket")];
const UDP: Source = commit("b5947e5d1e71", "udp: msg_zerocopy").since("5.0");
const VSOCK: Source = commit("e0718bd82e27", "vsock: enable setting SO_ZEROCOPY").since("6.7");
const SEQPACKET: Source = commit("5aa3bd9bc19e", "Merge branch 'virtio-vsock-seqpacket'").since("5.14");

pub const CLAIMS: &[Claim] = &[
    taken("zerocopy.socket.tcp", "A TCP socket takes SO_ZEROCOPY.")
        .published(&[seed("1.1"), seed("5.3"), document("Intro")])
        .gated(&[gate("4.14", "a TCP socket takes SO_ZEROCOPY", document("Intro"))])
        .tried(|_lab, see| both_take(see, "a TCP socket", SOCK_STREAM)),
    taken("zerocopy.socket.udp", "A UDP socket takes SO_ZEROCOPY.")
        .published(&[document("Intro").since("5.0"), UDP])
        .gated(&[gate("5.0", "a UDP socket takes SO_ZEROCOPY", UDP)])
        .tried(|_lab, see| both_take(see, "a UDP socket", SOCK_DGRAM)),
    taken("zerocopy.socket.vsock", "An unconnected vsock stream socket takes SO_ZEROCOPY.")
        .published(&[document("Intro").since("6.7"), VSOCK])
        .except(&[Exception::Lacking("no lie gives a socket the option")])
        .modules(&["vsock_loopback"])
        .gated(&[gate("6.7", "a vsock socket takes SO_ZEROCOPY", VSOCK)])
        .tried(|_lab, see| {
            takes(see, "an unconnected vsock socket", &new(AF_VSOCK, SOCK_STREAM)?);
            // Without a loopback, the option of a connected socket is left out.
            if let Ok((near, _far)) = sockets::vsock() {
                see.call("SO_ZEROCOPY of a connected vsock socket, set", set(&near));
                see.call("SO_ZEROCOPY of a connected vsock socket, read", value(&near));
            }
            Ok(())
        }),
    refused!("unix-stream" => "an AF_UNIX stream socket", [(AF_UNIX, SOCK_STREAM, 0)], [CODE]),
    refused!("unix-datagram" => "an AF_UNIX datagram socket", [(AF_UNIX, SOCK_DGRAM, 0)], [CODE]),
    refused!("unix-seqpacket" => "an AF_UNIX SOCK_SEQPACKET socket", [(AF_UNIX, SOCK_SEQPACKET, 0)], [CODE]),
    refused!("alg" => "an AF_ALG socket (kernel crypto)", [(AF_ALG, SOCK_SEQPACKET, 0)], [CODE]).modules(&["af_alg"]),
    refused!("netlink" => "a netlink socket", [(AF_NETLINK, SOCK_RAW, 0)], [CODE]),
    refused!("raw" => "a raw IPv4 socket", [(AF_INET, SOCK_RAW, IPPROTO_UDP), (AF_INET, SOCK_RAW, IPPROTO_EGP),
        (AF_INET, SOCK_RAW, IPPROTO_RAW)], [CODE, SELFTEST]),
    refused!("packet" => "a packet socket", [(AF_PACKET, SOCK_DGRAM, 0), (AF_PACKET, SOCK_RAW, 0)], [CODE, SELFTEST]),
    refused!("mptcp" => "a multipath TCP socket", [(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)],
        [kernel("net/mptcp/sockopt.c", "mptcp_setsockopt_sol_socket")]),
    refused!("udplite" => "a UDP-Lite socket", [(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE)], [MEASURED]),
    claim("zerocopy.socket.udplite-made", "socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE) makes a UDP-Lite socket.")
        .published(&[
            man("udplite(7)", "SYNOPSIS").since("2.6.20"),
            doc("networking/udplite.rst", "2. Programming API").since("7.3"),
        ])
        .about(&[Sysno::socket])
        .turned_by(&[Lie::refused(Sysno::socket, libc::EPROTONOSUPPORT).where_it(true)])
        .except(MADE)
        .tried(|_lab, see| {
            let made = sockets::socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE);
            see.call("socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE)", zero(&made)).succeeds();
            has(see, "its SO_PROTOCOL", made, libc::SO_PROTOCOL, IPPROTO_UDPLITE)
        }),
    claim("zerocopy.socket.vsock-seqpacket", "A vsock socket of type SOCK_SEQPACKET can be made.")
        .published(&[man("vsock(7)", "ERRORS, ESOCKTNOSUPPORT").denies(), SEQPACKET])
        .about(&[Sysno::socket])
        .turned_by(&[Lie::refused(Sysno::socket, libc::ESOCKTNOSUPPORT).where_it(true)])
        .except(MADE)
        .modules(&["vsock_loopback"])
        .gated(&[gate("5.14", "vsock has SOCK_SEQPACKET", SEQPACKET)])
        .tried(|_lab, see| {
            // The existence of vsock is another question.
            drop(new(AF_VSOCK, SOCK_STREAM)?);
            let made = sockets::socket(AF_VSOCK, SOCK_SEQPACKET, 0);
            see.call("socket(AF_VSOCK, SOCK_SEQPACKET, 0)", zero(&made)).succeeds();
            has(see, "its SO_TYPE", made, libc::SO_TYPE, SOCK_SEQPACKET)
        }),
];

/// A claim that a kind of socket takes the option.
#[track_caller]
const fn taken(id: &'static str, statement: &'static str) -> Claim {
    const NOT_TAKEN: &[Lie] = &[
        Lie::refused(Sysno::setsockopt, libc::EOPNOTSUPP).where_it(true),
        Lie::skipped(Sysno::setsockopt).where_it(true),
    ];
    claim(id, statement).about(&[Sysno::setsockopt, Sysno::getsockopt]).turned_by(NOT_TAKEN)
}

/// Notes that a socket takes the option, and that it reads back as set.
fn takes(see: &mut Observation, name: &str, socket: &impl AsFd) {
    see.call(format!("SO_ZEROCOPY of {name}, set"), set(socket)).is(0);
    see.call(format!("SO_ZEROCOPY of {name}, read"), value(socket)).is(1);
}

/// Notes the same of a socket of IPv4 and, if the kernel has it, of IPv6.
fn both_take(see: &mut Observation, name: &str, kind: libc::c_int) -> Result<(), Stop> {
    takes(see, name, &new(AF_INET, kind)?);
    match aside(|| sockets::socket(AF_INET6, kind, 0)) {
        Err(Errno::EAFNOSUPPORT) => {}
        socket => takes(see, &format!("{name} of IPv6"), &socket.setup("socket(AF_INET6)")?),
    }
    Ok(())
}

fn value(socket: &impl AsFd) -> Result<usize, Errno> {
    let value = sockets::get_option(socket, libc::SOL_SOCKET, libc::SO_ZEROCOPY);
    // A negative number is shown as a large one.
    value.map(|value| usize::try_from(value).unwrap_or(usize::MAX))
}

/// Notes an option of a socket that has been made.
fn has(
    see: &mut Observation,
    fact: &str,
    made: Result<OwnedFd, Errno>,
    option: libc::c_int,
    value: libc::c_int,
) -> Result<(), Stop> {
    let Ok(socket) = made else { return Ok(()) };
    let found = aside(|| sockets::get_option(&socket, libc::SOL_SOCKET, option)).setup(fact)?;
    see.count(fact, u64::try_from(found).unwrap_or(u64::MAX)).is(value);
    Ok(())
}

/// The success of a call without the number, which differs from run to run.
fn zero<T>(made: &Result<T, Errno>) -> Result<usize, Errno> {
    made.as_ref().map(|_| 0).map_err(|errno| *errno)
}

fn new(domain: libc::c_int, kind: libc::c_int) -> Result<OwnedFd, Stop> {
    aside(|| sockets::socket(domain, kind, 0)).setup("socket")
}

fn set(socket: &impl AsFd) -> Result<usize, Errno> {
    sockets::set_option(socket, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1).map(|()| 0)
}
