//! Datagrams.

use super::{ONE_SHIFTED, SENDS, are_sent, completions_come, document, send, wait};
use crate::claims::prelude::*;
use crate::lab::netns;
use nocopy_msg_zerocopy::{Enabled, SendFlags, send_copied, send_zerocopy};
use std::io::IoSlice;
use std::net::UdpSocket;

const WHOLE_OR_NOT: &str = "a datagram is sent whole or not";

/// A claim about datagrams that are sent by `send`.
#[track_caller]
const fn datagrams(id: &'static str, statement: &'static str) -> Claim {
    const EXCEPTIONS: &[Exception] = &[Exception::Of(Sysno::sendto, What::Shortened, WHOLE_OR_NOT)];
    claim(id, statement).about(SENDS).turned_by(ONE_SHIFTED).except(EXCEPTIONS)
}

pub const CLAIMS: &[Claim] = &[
    datagrams(
        "zerocopy.udp.largest",
        "A UDP/IPv4 send of 65507 bytes with MSG_ZEROCOPY succeeds; one of 65508 fails with EMSGSIZE and takes no id.",
    )
    .published(&[
        man("send(2)", "ERRORS, EMSGSIZE"),
        document("Notifications").since("5.0"),
        kernel("net/ipv4/ip_output.c", "__ip_append_data"),
    ])
    .tried(|_lab, see| {
        let bytes: &'static [u8] = pattern(65508).leak();
        let (near, far) = completing()?;
        aside(|| sockets::resize_buffer(&near, libc::SO_SNDBUF, 1 << 20))?;
        see.call("send(65508 bytes, MSG_ZEROCOPY)", send(&near, bytes)).fails(EMSGSIZE);
        let sent = send(&near, &bytes[..65507]);
        see.call("send(65507 bytes, MSG_ZEROCOPY)", sent).is(65507);
        arrives(see, "datagram", &far, sent, &bytes[..65507])?;
        have_ids(see, "ids", &near, u64::from(sent.is_ok()), 1)
    }),
    datagrams(
        "zerocopy.udp.corked",
        "Three MSG_ZEROCOPY sends joined into one UDP datagram by MSG_MORE are completed as three ids.",
    )
    .published(&[
        selftest("net/msg_zerocopy.c", "do_sendmsg_corked, -c: by UDP_CORK").leaves_open(),
        document("Notifications").since("5.0"),
    ])
    .tried(|_lab, see| corked(see, "three flagged parts", None)),
    datagrams(
        "zerocopy.udp.corked-mixed",
        "A UDP datagram of three MSG_MORE parts, the first or second without MSG_ZEROCOPY, arrives whole with ids 0 \
         and 1.",
    )
    .published(&[
        selftest("net/msg_zerocopy.c", "do_sendmsg_corked, -m: by UDP_CORK").leaves_open(),
        document("Mixing copy avoidance and copying").since("5.0"),
        document("Notifications").since("5.0"),
    ])
    .tried(|_lab, see| {
        corked(see, "second part without the flag", Some(1))?;
        corked(see, "first part without the flag", Some(0))
    }),
    claim(
        "zerocopy.udp.pieces",
        "A UDP datagram of four pieces sent by sendmsg(MSG_ZEROCOPY) arrives whole, also joined to another by \
         MSG_MORE; each call takes an id.",
    )
    .published(&[document("Notifications").since("5.0"), man("send(2)", "DESCRIPTION, MSG_MORE")])
    .about(&[Sysno::sendmsg, Sysno::recvmsg])
    .turned_by(&[Lie::refused(Sysno::sendmsg, libc::EMSGSIZE)])
    .except(&[Exception::Of(Sysno::sendmsg, What::Shortened, WHOLE_OR_NOT)])
    .tried(|_lab, see| {
        static PIECES: [&[u8]; 4] = [b"1", &[b'2'; 100], &[b'3'; 4096], &[b'4'; 3001]];
        let (near, far) = completing()?;
        let pieces = PIECES.map(IoSlice::new);
        let whole = PIECES.concat();
        let mut sends = 0;
        let mut send = |see: &mut Observation, call: &str, flags| {
            // SAFETY: statics never change and are never freed.
            let sent = io::again(|| unsafe { io::sendmsg_of(&near, &pieces, libc::MSG_ZEROCOPY | flags) });
            sends += u64::from(sent.is_ok());
            see.call(call, sent).is(whole.len());
            sent
        };
        let sent = send(see, "sendmsg(4 pieces, MSG_ZEROCOPY)", 0);
        arrives(see, "datagram", &far, sent, &whole)?;
        let first = send(see, "sendmsg(4 pieces, MSG_ZEROCOPY | MSG_MORE)", libc::MSG_MORE);
        let second = send(see, "sendmsg(4 more, MSG_ZEROCOPY)", 0);
        arrives(see, "datagram of two sends", &far, first.and(second), &[whole.as_slice(), &whole].concat())?;
        have_ids(see, "ids", &near, sends, 3)
    }),
    datagrams(
        "zerocopy.udp.veth",
        "Over veth, a UDP datagram sent with MSG_ZEROCOPY arrives whole and completes as copied.",
    )
    .published(&[selftest("net/msg_zerocopy.sh", "do_test, tx-rx"), document("Loopback").since("5.0")])
    .modules(&["veth"])
    .tried(|_lab, see| {
        static BYTES: [u8; 1000] = [b'd'; 1000];
        completions_come()?;
        let (near, _peer) = netns::udp_over_veth()?;
        sockets::zerocopy_on(&near)?;
        let sent = send(&near, &BYTES);
        see.call("send(1000 bytes, MSG_ZEROCOPY)", sent).is(1000);
        arrives(see, "datagram that came back", &near, sent, &BYTES)?;
        see.text("completions", wait(&near, u64::from(sent.is_ok()))?).says("[0, 0] copied");
        Ok(())
    }),
];

/// Two UDP sockets, the first with `SO_ZEROCOPY`, on a kernel on which completions come.
fn completing() -> Result<(UdpSocket, UdpSocket), Stop> {
    completions_come()?;
    let (near, far) = aside(sockets::udp)?;
    sockets::zerocopy_on(&near)?;
    Ok((near, far))
}

/// Sends three parts of one datagram, all or all but one with the flag. Notes the datagram and the ids.
fn corked(see: &mut Observation, what: &str, plain: Option<usize>) -> Result<(), Stop> {
    static PARTS: [[u8; 100]; 3] = [[b'a'; 100], [b'b'; 100], [b'c'; 100]];
    let (near, far) = completing()?;
    let zerocopy = Enabled::assume(near.as_fd().into());
    let mut sent = Ok(0);
    let mut sends = 0;
    for (at, part) in PARTS.iter().enumerate() {
        let more = if at < 2 { SendFlags::MORE } else { SendFlags::empty() };
        let taken = io::again(|| match plain {
            Some(plain) if plain == at => send_copied(&near, part, more),
            // SAFETY: a static never changes and is never freed.
            _ => unsafe { send_zerocopy(zerocopy, part, more) },
        });
        see.call(format!("{what}, send of part {}", at + 1), taken).is(part.len());
        sends += u64::from(taken.is_ok() && plain != Some(at));
        sent = sent.and(taken);
    }
    arrives(see, &format!("{what}, datagram"), &far, sent, PARTS.as_flattened())?;
    have_ids(see, &format!("{what}, ids"), &near, sends, if plain.is_none() { 3 } else { 2 })
}

/// Notes whether the next datagram is these bytes. One that was not sent does not arrive.
fn arrives(
    see: &mut Observation,
    fact: &str,
    socket: &UdpSocket,
    sent: Result<usize, Errno>,
    bytes: &[u8],
) -> Result<(), Stop> {
    let mut buffer = vec![0; 1 << 16];
    let mut count = 0;
    if sent.is_ok() {
        io::wait_for(socket.as_fd(), libc::POLLIN).setup("poll")?;
        count = io::again(|| io::read(socket, &mut buffer)).setup("read the datagram")?;
    }
    are_sent(see, fact, buffer[..count] == *bytes);
    Ok(())
}

/// Notes which ids are completed after this number of sends: those of `wanted` sends.
fn have_ids(see: &mut Observation, fact: &str, near: &UdpSocket, sends: u64, wanted: u64) -> Result<(), Stop> {
    see.text(fact, wait(near, sends)?.ids()).says(format!("0 to {}", wanted - 1));
    Ok(())
}
