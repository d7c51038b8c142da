//! The ids of completions: which sends take one.

use super::{ONE_SHIFTED, SENDS, completing, completions_come, document, have_ids, send, send_all, send_at};
use crate::claims::prelude::*;
use crate::lab::netns;
use std::io::IoSlice;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

const FASTOPEN: Source = commit("f859a4484703", "tcp: allow zerocopy with fastopen").since("5.1");
const CLOSE_WAIT: Source =
    commit("13d7f46386e0", "tcp: allow MSG_ZEROCOPY transmission also in CLOSE_WAIT state").since("5.0");

/// A claim about the ids of sends.
#[track_caller]
const fn about_ids(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(SENDS).turned_by(ONE_SHIFTED)
}

pub const CLAIMS: &[Claim] = &[
    about_ids(
        "zerocopy.ids.count-flagged-calls",
        "Ids count a TCP socket's successful MSG_ZEROCOPY sends from 0; sends without the flag take none.",
    )
    .published(&[document("Notifications"), selftest("net/packetdrill/tcp_zerocopy_basic.pkt", "ee_info")])
    .tried(|_lab, see| {
        static BYTES: [u8; 1 << 12] = [b'b'; 1 << 12];
        let (near, far) = completing()?;
        let mut sends = 0;
        for length in [4096, 100, 4096, 1] {
            sends += send_all(&near, &BYTES[..length])?;
            io::write_all(&near, b"without the flag").setup("write")?;
        }
        have_ids(see, &near, &far, sends)
    }),
    about_ids(
        "zerocopy.ids.failed-and-empty",
        "Outside TCP_REPAIR, a TCP send with MSG_ZEROCOPY of no bytes, or one that fails with EFAULT, takes no id.",
    )
    .published(&[
        document("Notifications"),
        thread("alibaba/PhotonLibOS#1264", "it counted failed sends and waited for completions that never came"),
    ])
    .tried(|_lab, see| {
        let (near, far) = completing()?;
        // SAFETY: at this address nothing can be read, or nothing is to be.
        let [bad, none] = [1, 0].map(|length| unsafe { send_at(&near, io::NOWHERE, length) });
        see.call("send(bad address, MSG_ZEROCOPY)", bad).fails(EFAULT);
        see.call("send(no bytes, MSG_ZEROCOPY)", none).is(0);
        see.call("send(1 byte, MSG_ZEROCOPY)", send(&near, b"b")).is(1);
        have_ids(see, &near, &far, 1)
    }),
    about_ids(
        "zerocopy.ids.half-closed",
        "After a TCP peer has shut down its sending side, a send with MSG_ZEROCOPY succeeds and is completed as id 0.",
    )
    .published(&[CLOSE_WAIT])
    .gated(&[gate("5.0", "MSG_ZEROCOPY sends after the peer's half has been closed", CLOSE_WAIT)])
    .tried(|_lab, see| {
        let (near, far) = completing()?;
        aside(|| far.shutdown(Shutdown::Write)).setup("shutdown")?;
        if io::again(|| io::read(&near, &mut [0])).setup("read")? != 0 {
            return Err(Stop::broken("the peer's half is not closed"));
        }
        see.call("send(1 byte, MSG_ZEROCOPY)", send(&near, b"b")).is(1);
        have_ids(see, &near, &far, 1)
    }),
    about_ids(
        "zerocopy.ids.before-connect",
        "A MSG_ZEROCOPY send on an unconnected TCP socket fails with EPIPE and takes no id.",
    )
    .published(&[
        selftest("net/packetdrill/tcp_zerocopy_closed.pkt", "send before connect, id after it"),
        FASTOPEN,
        man("send(2)", "ERRORS, ENOTCONN").denies(),
        man("send(2)", "BUGS").leaves_open(),
    ])
    .tried(|_lab, see| {
        completions_come()?;
        let socket = aside(|| sockets::socket(libc::AF_INET, libc::SOCK_STREAM, 0)).setup("socket")?;
        sockets::zerocopy_on(&socket)?;
        see.call("send(not connected, MSG_ZEROCOPY)", send(&socket, b"b")).fails(EPIPE);
        let (near, far) = aside(|| sockets::tcp_from(socket))?;
        see.call("send(1 byte, MSG_ZEROCOPY)", send(&near, b"b")).is(1);
        have_ids(see, &near, &far, 1)
    }),
    about_ids(
        "zerocopy.ids.many-pieces",
        "A sendmsg() of 18 or of 64 one-byte pieces with MSG_ZEROCOPY over TCP takes one id.",
    )
    .published(&[
        selftest("net/packetdrill/tcp_zerocopy_maxfrags.pkt", "sendmsg of 18 and of 64 elements"),
        document("Notifications"),
    ])
    .about(&[Sysno::sendmsg, Sysno::recvmsg])
    .tried(|_lab, see| {
        static BYTES: [u8; 64] = [b'p'; 64];
        let (near, far) = completing()?;
        let mut sends = 0;
        for count in [18, 64] {
            let step = |done: usize| {
                let pieces: Vec<IoSlice<'_>> = BYTES[done..count].chunks(1).map(IoSlice::new).collect();
                // SAFETY: a static never changes and is never freed.
                unsafe { io::sendmsg_of(&near, &pieces, libc::MSG_ZEROCOPY) }.inspect(|_| sends += 1)
            };
            io::all_done(count, step).setup("sendmsg")?;
        }
        see.receives("the receiver's bytes", &far, &[b'p'; 18 + 64])?.says(AS_SENT);
        see.readable("more bytes at the receiver", &far)?.is(0);
        have_ids(see, &near, &far, sends)
    }),
    about_ids(
        "zerocopy.ids.fastopen-client",
        "Data sent with MSG_FASTOPEN | MSG_ZEROCOPY in the SYN is completed as id 0.",
    )
    .published(&[selftest("net/packetdrill/tcp_zerocopy_fastopen-client.pkt", "second socket"), FASTOPEN])
    .tried(|_lab, see| {
        let Some((near, far, sent)) = fast_open(see, libc::MSG_ZEROCOPY)? else { return Ok(()) };
        see.receives("bytes with the SYN", &far, &FIRST[..sent])?.says(AS_SENT);
        have_ids(see, &near, &far, 1)
    }),
    about_ids(
        "zerocopy.ids.fastopen-server",
        "A connection accepted by TCP fast open completes its first MSG_ZEROCOPY send as id 0.",
    )
    .published(&[selftest("net/packetdrill/tcp_zerocopy_fastopen-server.pkt", "accepted socket"), FASTOPEN])
    .tried(|_lab, see| {
        let Some((near, far, _)) = fast_open(see, 0)? else { return Ok(()) };
        sockets::zerocopy_on(&far)?;
        see.call("send(1 byte, MSG_ZEROCOPY)", send(&far, b"b")).is(1);
        have_ids(see, &far, &near, 1)
    }),
];

static FIRST: [u8; 500] = [b'f'; 500];

/// Connects by TCP fast open, with [`FIRST`] in the SYN. Returns the client, the server and the number of bytes,
/// or nothing if the send failed.
fn fast_open(see: &mut Observation, flags: libc::c_int) -> Result<Option<(TcpStream, TcpStream, usize)>, Stop> {
    /// `TCPI_OPT_SYN_DATA` of `include/uapi/linux/tcp.h`.
    const SYN_DATA: u8 = 32;
    completions_come()?;
    // In a network namespace that needs no cookie: 1 and 4 are for the client, 2 and 0x200 for the server.
    netns::alone(&[("net/ipv4/tcp_fastopen", "519")])?;
    let (listener, near) = aside(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).setup("bind")?;
        sockets::set_option(&listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 5).setup("TCP_FASTOPEN")?;
        let near = sockets::socket(libc::AF_INET, libc::SOCK_STREAM, 0).setup("socket")?;
        sockets::zerocopy_on(&near)?;
        Ok::<_, Stop>((listener, near))
    })?;
    let (address, length) = sockets::loopback_address(listener.local_addr().setup("getsockname")?.port());
    let [bytes, to] = [FIRST.as_ptr().expose_provenance(), (&raw const address).expose_provenance()];
    let all = (flags | libc::MSG_FASTOPEN).cast_unsigned() as usize;
    // SAFETY: the bytes are a static, which never changes and is never freed; the address is read during the call.
    let sent =
        io::again(|| unsafe { ask(Sysno::sendto, [argument(&near), bytes, FIRST.len(), all, to, length as usize]) });
    see.call(if flags == 0 { "send(MSG_FASTOPEN)" } else { "send(MSG_FASTOPEN | MSG_ZEROCOPY)" }, sent).at_least(1);
    let Ok(sent) = sent else { return Ok(None) };
    let (far, near) = (aside(|| listener.accept()).setup("accept")?.0, TcpStream::from(near));
    aside(|| sockets::set_nodelay(&near))?;
    let options = aside(|| sockets::get_bytes::<8>(&far, libc::IPPROTO_TCP, libc::TCP_INFO)).setup("TCP_INFO")?;
    // They are the sixth byte of `struct tcp_info`.
    let has_data = options[5] & SYN_DATA != 0;
    if has_data { Ok(Some((near, far, sent))) } else { Err(Stop::broken("the SYN had no data")) }
}
