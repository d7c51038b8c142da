//! Sends over vsock.
//!
//! Where vsock does not take `SO_ZEROCOPY` (before Linux 6.7), the flag has no effect.

use super::are_sent;
use crate::claims::prelude::*;
use crate::lab::completions::Completions;
use std::io::IoSlice;
use std::thread;

const MODULES: &[&str] = &["vsock_loopback"];
const SENDMSG: &[Sysno] = &[Sysno::sendmsg, Sysno::recvmsg];
const COPIED: &[Lie] = &[Lie::completion(Field::Code, 1)];
const HALF: &[Exception] = &[Exception::Of(Sysno::sendmsg, What::Shortened, "the receiver has room for half of it")];
/// More than the receiver's buffer, which [`send`] checks.
const BEYOND: usize = 400 << 10;

/// A case of the kernel's test. It came with the feature, in Linux 6.7.
const fn test(case: &'static str) -> Source {
    selftest("../vsock/vsock_test_zerocopy.c", case).since("6.7")
}

#[track_caller]
const fn about_sends(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(SENDMSG).modules(MODULES)
}

pub const CLAIMS: &[Claim] = &[
    about_sends(
        "zerocopy.vsock.pieces",
        "A vsock sendmsg(MSG_ZEROCOPY) of unaligned pieces arrives whole and completes as not copied.",
    )
    .published(&[test("test_data_array[3], of three pieces")])
    .turned_by(COPIED)
    .tried(|_lab, see| {
        let lengths = [1, page() - 1, page() + 1, 5000];
        let areas = bytes(8 * page()).chunks(2 * page());
        let pieces: Vec<&[u8]> = lengths.into_iter().zip(areas).map(|(length, area)| &area[7..7 + length]).collect();
        is_not_copied(see, "4 pieces", libc::SOCK_STREAM, &pieces)
    }),
    about_sends(
        "zerocopy.vsock.large",
        "A vsock send of 192 KiB with MSG_ZEROCOPY arrives whole and completes once, as not copied.",
    )
    .published(&[test("test_data_array[2]")])
    .turned_by(COPIED)
    .tried(|_lab, see| {
        let all = bytes(192 << 10);
        is_not_copied(see, "1 piece", libc::SOCK_STREAM, &[all])?;
        is_not_copied(see, "3 pieces", libc::SOCK_STREAM, &all.chunks(64 << 10).collect::<Vec<_>>())
    }),
    about_sends(
        "zerocopy.vsock.seqpacket",
        "A 16 KiB vsock SOCK_SEQPACKET message sent with MSG_ZEROCOPY arrives whole and completes as not copied.",
    )
    .published(&[test("test_seqpacket_msgzcopy_client")])
    .turned_by(COPIED)
    .except(&[Exception::Of(Sysno::sendmsg, What::Shortened, "half of a message is another one")])
    .tried(|_lab, see| is_not_copied(see, "1 piece", libc::SOCK_SEQPACKET, &[bytes(16 << 10)])),
    about_sends(
        "zerocopy.vsock.beyond-buffer",
        "A vsock send of 400 KiB with MSG_ZEROCOPY, more than the receiver's buffer, completes as copied.",
    )
    .published(&[test("test_data_array[6]")])
    .turned_by(&[Lie::completion(Field::Code, 0)])
    .except(HALF)
    .varying(&["1 piece, completions"])
    .tried(|_lab, see| {
        let completions = send(see, "1 piece", libc::SOCK_STREAM, &[bytes(BEYOND)])?;
        see.text("1 piece, completions", &completions).text("1 piece, ids", ids(&completions));
        see.whether("a completion came", completions.count() > 0).says("yes");
        see.count("ids not marked as copied", completions.count() - completions.copied()).is(0);
        Ok(())
    }),
    about_sends(
        "zerocopy.vsock.ids",
        "One vsock sendmsg() with MSG_ZEROCOPY takes one id, also when it is larger than the receiver's buffer.",
    )
    .published(&[
        doc("networking/msg_zerocopy.rst", "Notifications").since("6.7"),
        kernel("net/vmw_vsock/virtio_transport_common.c", "virtio_transport_send_pkt_info").denies(),
    ])
    .turned_by(&[Lie::completion(Field::High, 0)])
    .except(HALF)
    .varying(&["400 KiB, completions"])
    .tried(|_lab, see| {
        for (what, length) in [("16 KiB", 16 << 10), ("400 KiB", BEYOND)] {
            let completions = send(see, what, libc::SOCK_STREAM, &[bytes(length)])?;
            see.text(format!("{what}, completions"), &completions);
            see.text(format!("{what}, ids"), ids(&completions)).says("one from 0");
        }
        Ok(())
    }),
    claim(
        "zerocopy.vsock.unmapped",
        "A vsock sendmsg(MSG_ZEROCOPY) whose second piece is not mapped fails with ENOMEM.",
    )
    .published(&[test("test_data_array[4], of three pieces"), man("send(2)", "ERRORS, EFAULT").leaves_open()])
    .about(&[Sysno::sendmsg])
    .modules(MODULES)
    .turned_by(&Lie::otherwise(Sysno::sendmsg))
    .except(&[Exception::asked(Sysno::sendmsg)])
    .tried(|_lab, see| {
        let (near, _far) = sockets::vsock()?;
        sockets::zerocopy_on(&near)?;
        let pieces = [bytes(page()).as_ptr().expose_provenance(), page(), io::NOWHERE, page()];
        // SAFETY: msghdr is plain integers and pointers, for which zero is valid.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = (&raw const pieces).cast_mut().cast(); // two pairs of address and length
        message.msg_iovlen = 2;
        let flags = libc::MSG_ZEROCOPY.cast_unsigned() as usize;
        let message = (&raw const message).expose_provenance();
        // SAFETY: the kernel reads the message and a page that is never freed; at the other address nothing is mapped.
        let sent = unsafe { ask(Sysno::sendmsg, [argument(&near), message, flags, 0, 0, 0]) };
        see.call("sendmsg(page, unmapped page; MSG_ZEROCOPY)", sent).fails(ENOMEM);
        Ok(())
    }),
    claim(
        "zerocopy.vsock.flag-only",
        "A vsock send with MSG_ZEROCOPY on a socket without SO_ZEROCOPY arrives and no completion comes.",
    )
    .published(&[test("struct vsock_test_data, so_zerocopy")])
    .about(&[Sysno::sendmsg, Sysno::ppoll])
    .modules(MODULES)
    .turned_by(&[Lie::refused(Sysno::sendmsg, libc::EINVAL)])
    .except(&[Exception::Of(Sysno::ppoll, What::Skipped, "a poll that is not made reports nothing")])
    .method("Where the socket takes SO_ZEROCOPY, the same send with it is the control: it waits for POLLERR.")
    .tried(|_lab, see| {
        let bytes = bytes(4096);
        let send = |see: &mut Observation, near: &OwnedFd, far: &OwnedFd| {
            let mut sends = 0;
            let sent = io::until_done(bytes.len(), |done| {
                // SAFETY: the bytes are never freed.
                unsafe { io::sendmsg(near, &bytes[done..], libc::MSG_ZEROCOPY) }.inspect(|_| sends += 1)
            });
            see.call("sendmsg(MSG_ZEROCOPY)", sent).is(bytes.len()).count("calls", sends);
            see.receives(RECEIVED, far, &bytes[..sent.unwrap_or(0)])?.says(AS_SENT);
            Ok(())
        };
        let (near, far) = sockets::vsock()?;
        send(see, &near, &far)?;
        let (ready, events) = io::ppoll(&near, 0, 0);
        let events = if ready.setup("ppoll")? == 0 { 0 } else { events };
        see.count("events afterwards", u64::from(events.cast_unsigned())).is(0);
        aside(|| {
            let (near, far) = sockets::vsock()?;
            if set(&near).is_ok() {
                send(&mut Observation::new(), &near, &far)?;
                io::wait_for_error_queue(near.as_fd()).setup("poll")?;
            }
            Ok(())
        })
    }),
];

/// Bytes that are never freed.
fn bytes(length: usize) -> &'static [u8] {
    pattern(length).leak()
}

fn set(socket: &OwnedFd) -> Result<usize, Errno> {
    sockets::set_option(socket, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1).map(|()| 0)
}

/// How many ids are completed, in words, and the first one.
fn ids(completions: &Completions) -> String {
    let many = match completions.count() {
        0 => "none",
        1 => "one",
        2..=100 => "several",
        _ => "more than packets",
    };
    let first = completions.0.iter().map(|range| range.lo).min();
    first.map_or(many.to_owned(), |first| format!("{many} from {first}"))
}

/// Sends pieces, and notes that one completion comes, which is not marked as copied.
fn is_not_copied(see: &mut Observation, what: &str, kind: libc::c_int, pieces: &[&'static [u8]]) -> Result<(), Stop> {
    let completions = send(see, what, kind, pieces)?;
    see.text(format!("{what}, completions"), completions).says("[0, 0] not copied");
    Ok(())
}

/// Sends pieces with the flag, in one call if the kernel takes all. Notes what arrives, and returns the completions.
fn send(see: &mut Observation, what: &str, kind: libc::c_int, pieces: &[&'static [u8]]) -> Result<Completions, Stop> {
    let (near, far) = sockets::vsock_of(kind)?;
    sockets::zerocopy_on(&near)?;
    let expected = pieces.concat();
    if expected.len() == BEYOND && sockets::vsock_buffer(&far)? >= BEYOND as u64 {
        return Err(Stop::broken("the receiver's buffer holds all"));
    }
    let mut buffer = vec![0; expected.len()];
    let reader = thread::spawn(move || {
        // A message is read by one call.
        let message = kind == libc::SOCK_SEQPACKET;
        let read = if message { io::again(|| io::read(&far, &mut buffer)) } else { io::read_full(&far, &mut buffer) };
        read.map(|count| (far, buffer, count))
    });
    let pieces: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    // SAFETY: the bytes are never freed.
    let sent = io::again(|| unsafe { io::sendmsg_of(&near, &pieces, libc::MSG_ZEROCOPY) });
    see.call(format!("sendmsg({what}, MSG_ZEROCOPY)"), sent).at_least(1);
    let Ok(sent) = sent else { return Ok(Completions::default()) };
    aside(|| io::write_all(&near, &expected[sent.min(expected.len())..])).setup("write the rest")?;
    let read = reader.join().map_err(|_| Stop::broken("the receiver panicked"))?;
    let (far, buffer, count) = read.setup("read at the receiver")?;
    are_sent(see, format!("{what}, {RECEIVED}"), buffer[..count] == expected);
    io::wait_for_error_queue(near.as_fd()).setup("poll")?;
    drop(far); // with whatever of the message it still holds
    Completions::now(&near).setup("read the completions")
}
