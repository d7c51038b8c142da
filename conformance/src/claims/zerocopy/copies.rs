//! Which sends with `MSG_ZEROCOPY` the CPU copies all the same.

use super::{SENDS, completing, document, send, send_all, wait};
use crate::claims::prelude::*;
use crate::lab::alias::{LENGTH, NEW, OLD};
use crate::lab::netns::{self, DATAGRAM};
use crate::lab::sinks::{Kind, Sink};
use nocopy_msg_zerocopy::enable;
use std::os::unix::net::UnixStream;

const COPIED: &str = "completions marked as copied";
const IFB: &str = "Where the kernel has no dummy device, an ifb device, which drops its packets as well.";
const SENDMSG: &[Sysno] = &[Sysno::sendmsg, Sysno::recvmsg];
const DATAGRAMS: &[Exception] = &[Exception::Of(Sysno::sendto, What::Shortened, "a datagram is sent whole or not")];
const ENABLED: Source = commit("f214f915e7db", "tcp: enable MSG_ZEROCOPY").since("4.14");
const VSOCK: Source = commit("581512a6dc93", "vsock/virtio: MSG_ZEROCOPY flag support").since("6.7");

pub const CLAIMS: &[Claim] = &[
    claim("zerocopy.copies.tcp", "Over TCP loopback, a send with MSG_ZEROCOPY is not copied by the CPU.")
        .published(&[seed("6.1"), document("Loopback").denies(), ENABLED.denies()])
        .about(SENDMSG)
        .turned_by(&[Lie::bytes(Sysno::read, OLD, NEW)])
        .varying(&["completions"])
        .tried(|_lab, see| {
            let (near, far) = completing()?;
            let arrived = |count| sockets::wait_for_arrival(&far, count);
            changed_after_sending(see, &near, &far, arrived, Sharing::Shared)
        }),
    claim(
        "zerocopy.copies.unix",
        "On an AF_UNIX stream socket, sendmsg() ignores MSG_ZEROCOPY: the receiver gets a copy.",
    )
    .published(&[MEASURED])
    .about(&[Sysno::sendmsg])
    .turned_by(&[Lie::bytes(Sysno::read, OLD, NEW)])
    .tried(|_lab, see| {
        let (near, far) = UnixStream::pair().setup("socketpair")?;
        see.call("SO_ZEROCOPY of an AF_UNIX socket, set", enable(&near).map(|_| 0));
        changed_after_sending(see, &near, &far, |_| Ok(()), Sharing::Copied)?;
        see.readable("more bytes at the receiver", &far)?.is(0);
        Ok(())
    }),
    claim("zerocopy.copies.pipe", "sendmsg() with MSG_ZEROCOPY on the write end of a pipe fails with ENOTSOCK.")
        .published(&[man("send(2)", "ERRORS, ENOTSOCK")])
        .about(&[Sysno::sendmsg])
        .turned_by(&Lie::otherwise(Sysno::sendmsg))
        .tried(|lab, see| no_socket(lab, see, Kind::Pipe)),
    claim("zerocopy.copies.file", "sendmsg() with MSG_ZEROCOPY on a regular file fails with ENOTSOCK.")
        .published(&[man("send(2)", "ERRORS, ENOTSOCK")])
        .about(&[Sysno::sendmsg])
        .turned_by(&Lie::otherwise(Sysno::sendmsg))
        .method("The file is on the file system of the scratch directory.")
        .tried(|lab, see| no_socket(lab, see, Kind::File)),
    claim(
        "zerocopy.copies.dropping-device",
        "8 KiB UDP datagrams sent with MSG_ZEROCOPY out of a dummy device complete as not copied.",
    )
    .published(&[
        seed("6.1"),
        selftest("net/msg_zerocopy.sh", "do_test, tx-only"),
        document("Deferred copies").leaves_open(),
    ])
    .about(SENDS)
    .turned_by(&[Lie::completion(Field::Code, 1)])
    .except(DATAGRAMS)
    .varying(&["completions"])
    .modules(&["dummy"])
    .method(IFB)
    .tried(|_lab, see| {
        static BYTES: [u8; DATAGRAM] = [b'd'; DATAGRAM];
        let socket = netns::udp_into_nothing()?;
        sockets::zerocopy_on(&socket)?;
        let sends = (0..4).filter(|_| send(&socket, &BYTES) == Ok(DATAGRAM)).count() as u64;
        see.count("datagrams sent", sends).is(4);
        are_copied(see, &socket, sends)
    }),
    claim(
        "zerocopy.copies.veth",
        "Over TCP on a veth pair to another network namespace, a send with MSG_ZEROCOPY is not copied by the CPU.",
    )
    .published(&[seed("6.1"), document("Testing").denies(), selftest("net/msg_zerocopy.sh", "do_test, tx-rx").denies()])
    .about(SENDS)
    .turned_by(&[Lie::completion(Field::Code, 0)])
    .varying(&["completions"])
    .modules(&["veth"])
    .tried(|_lab, see| over(see, &netns::tcp_over_veth()?)),
    claim(
        "zerocopy.copies.network-card",
        "Over TCP between two vmxnet3 network cards, sends with MSG_ZEROCOPY complete as not copied.",
    )
    .published(&[seed("6.1"), ENABLED, document("Deferred copies").leaves_open()])
    .about(SENDS)
    .turned_by(&[Lie::completion(Field::Code, 1)])
    .varying(&["completions"])
    .sharing(&[Resource::Machine])
    .modules(&["vmxnet3"])
    .tried(|_lab, see| over(see, &netns::tcp_over_cards()?)),
    claim(
        "zerocopy.copies.vsock-loopback",
        "Over vsock loopback a send with MSG_ZEROCOPY is not copied: the receiver reads the sender's own pages.",
    )
    .published(&[document("Loopback").since("6.7"), VSOCK])
    .about(SENDMSG)
    .turned_by(&[Lie::bytes(Sysno::read, NEW, OLD)])
    .gated(&[gate("6.7", "a vsock socket takes SO_ZEROCOPY", VSOCK)])
    .varying(&["completions"])
    .modules(&["vsock_loopback"])
    .tried(|_lab, see| {
        let (near, far) = sockets::vsock()?;
        sockets::zerocopy_on(&near)?;
        let arrived = |_| io::wait_for(far.as_fd(), libc::POLLIN).setup("poll");
        changed_after_sending(see, &near, &far, arrived, Sharing::Shared)
    }),
    claim(
        "zerocopy.copies.fragments",
        "Out of a dummy device of MTU 9000, a 4 KiB UDP datagram with MSG_ZEROCOPY is not copied; one of 32 KiB is.",
    )
    .published(&[kernel("net/ipv4/ip_output.c", "__ip_append_data")])
    .about(SENDS)
    .turned_by(&[Lie::completion(Field::Code, 0)])
    .except(DATAGRAMS)
    .modules(&["dummy"])
    .method(IFB)
    .tried(|_lab, see| {
        static BYTES: [u8; 1 << 15] = [b'd'; 1 << 15];
        let socket = netns::udp_into_nothing()?;
        aside(|| sockets::resize_buffer(&socket, libc::SO_SNDBUF, 1 << 20))?;
        sockets::zerocopy_on(&socket)?;
        for (length, word) in [(1 << 12, "[0, 0] not copied"), (1 << 15, "[1, 1] copied")] {
            if send(&socket, &BYTES[..length]).setup("send")? != length {
                return Err(Stop::broken("a datagram was sent in part"));
            }
            see.text(format!("completion of {length} bytes"), wait(&socket, 1)?).says(word);
        }
        Ok(())
    }),
];

/// Sends 16 KiB with the flag, changes the memory after they have arrived, and notes what the receiver then reads.
fn changed_after_sending(
    see: &mut Observation,
    near: &impl AsFd,
    far: &impl AsFd,
    arrived: impl FnOnce(usize) -> Result<(), Stop>,
    expected: Sharing,
) -> Result<(), Stop> {
    let memory = Box::leak(Box::new(alias::memory(LENGTH)?));
    let mut sends = 0;
    let sent = io::until_done(LENGTH, |done| {
        // SAFETY: the memory is leaked, so it is never freed.
        unsafe { io::sendmsg(near, &memory[done..], libc::MSG_ZEROCOPY) }.inspect(|_| sends += 1)
    });
    see.call("sendmsg(16 KiB, MSG_ZEROCOPY)", sent).is(LENGTH);
    arrived(sent.unwrap_or(0))?;
    memory.fill(NEW);
    let mut bytes = vec![0; sent.unwrap_or(0)];
    if io::read_full(far, &mut bytes).setup("read at the receiver")? < bytes.len() {
        return Err(Stop::broken("the receiver got fewer bytes"));
    }
    see.text("memory changed after sendmsg(), receiver's bytes", Sharing::of(&bytes)?).says(expected);
    if expected == Sharing::Shared {
        see.count("sends", sends).text("completions", wait(near, sends)?);
    }
    Ok(())
}

fn no_socket(lab: &Lab, see: &mut Observation, kind: Kind) -> Result<(), Stop> {
    let sink = Sink::open(lab, kind)?;
    // SAFETY: a static never changes and is never freed.
    let sent = io::again(|| unsafe { io::sendmsg(&sink, b"static", libc::MSG_ZEROCOPY) });
    see.call(format!("sendmsg({kind}, MSG_ZEROCOPY)"), sent).fails(Errno::ENOTSOCK);
    Ok(())
}

/// Sends 16 KiB four times to a peer that reads, and notes how many sends were copied.
fn over(see: &mut Observation, remote: &netns::Remote) -> Result<(), Stop> {
    static BYTES: [u8; LENGTH] = [b'b'; LENGTH];
    sockets::zerocopy_on(&remote.socket)?;
    let mut sends = 0;
    for _ in 0..4 {
        sends += send_all(&remote.socket, &BYTES)?;
    }
    see.count("sends", sends);
    are_copied(see, &remote.socket, sends)
}

/// Waits for the completions of these sends, and notes how many of them are marked as copied.
fn are_copied(see: &mut Observation, socket: &impl AsFd, sends: u64) -> Result<(), Stop> {
    let completions = wait(socket, sends)?;
    see.text("completions", &completions).count(COPIED, completions.copied()).is(0);
    Ok(())
}
