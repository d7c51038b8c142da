//! Completions: when they come, and in how many entries of the error queue.

use super::{ONE_SHIFTED, SENDS, completed, completing, document, enabled, have_ids, send, send_all, wait};
use crate::claims::prelude::*;
use crate::lab::completions::Completions;

pub const CLAIMS: &[Claim] = &[
    claim(
        "zerocopy.notify.every-send",
        "Each of three sends with MSG_ZEROCOPY over TCP loopback is completed exactly once.",
    )
    .published(&[seed("5.3"), document("Deferred copies")])
    .about(SENDS)
    .turned_by(&[
        Lie::refused(Sysno::recvmsg, libc::EAGAIN),
        Lie::about(Sysno::recvmsg, What::CompletionForged(3)).after(2),
    ])
    .tried(|_lab, see| {
        static BYTES: [u8; 1 << 12] = [b'b'; 1 << 12];
        let (near, far) = enabled()?;
        let mut sends = 0;
        for _ in 0..3 {
            sends += send_all(&near, &BYTES)?;
        }
        see.count("sends", sends);
        have_ids(see, &near, &far, sends)?;
        let more = Completions::now(&near).setup("read the error queue")?;
        see.count("completions after those", more.count()).is(0);
        Ok(())
    }),
    claim(
        "zerocopy.notify.not-enforced",
        "Over TCP loopback, 1000 sends of 100 bytes with MSG_ZEROCOPY succeed although no completion is read.",
    )
    .published(&[MEASURED])
    .about(&[Sysno::sendto])
    .method("Each send is received before the next one: the completions merge, and net.core.optmem_max is not used up.")
    .turned_by(&[Lie::refused(Sysno::sendto, libc::ENOBUFS).after(100)])
    .varying(&["entries of the error queue"])
    .tried(|_lab, see| {
        static BYTES: [u8; 100] = [b'b'; 100];
        let (near, far) = completing()?;
        let mut taken = 0;
        for _ in 0..1000 {
            let sent = send(&near, &BYTES);
            let Ok(count @ 1..) = sent else {
                see.call("the send that was not taken", sent);
                break;
            };
            taken += 1;
            sockets::wait_for_arrival(&far, count)?;
            if sockets::readable(&far)? != count || !arrived(&far, &BYTES[..count])? {
                return Err(Stop::broken(format!("not the {count} bytes came that were sent")));
            }
        }
        see.count("sends taken", taken).is(1000);
        see.count("entries of the error queue", wait(&near, taken)?.0.len() as u64);
        Ok(())
    }),
    claim(
        "zerocopy.notify.merged",
        "Fifty one-byte MSG_ZEROCOPY sends that wait for the peer's TCP window are completed by one error-queue entry.",
    )
    .published(&[document("Notification Batching")])
    .about(SENDS)
    .turned_by(ONE_SHIFTED)
    .tried(|_lab, see| {
        let (near, far) = completing()?;
        aside(|| {
            sockets::resize_buffer(&far, libc::SO_RCVBUF, 4096)?;
            sockets::resize_buffer(&near, libc::SO_SNDBUF, 1 << 18)?;
            io::set_nonblocking(&near).setup("O_NONBLOCK")
        })?;
        // The bytes past the window stay in the send queue, with everything that follows them.
        let filled = aside(|| io::write(&near, &vec![0; 1 << 16])).setup("write")?;
        if aside(|| sockets::unsent(&near))? == 0 {
            return Err(Stop::broken("the peer's window took all"));
        }
        let taken = (0..50).filter(|_| send(&near, b"b") == Ok(1)).count();
        see.count("sends taken", taken as u64).is(50);
        let bytes = [vec![0; filled], vec![b'b'; taken]].concat();
        see.receives("the receiver's bytes", &far, &bytes)?.says(AS_SENT);
        see.text("completions", completed(&near, &far)?.ranges()).says("[0, 49]");
        Ok(())
    }),
    claim(
        "zerocopy.notify.batch",
        "Two TCP sends completed one after the other before the error queue is read are one entry [0, 1].",
    )
    .published(&[
        selftest("net/packetdrill/tcp_zerocopy_batch.pkt", "recvmsg after two acknowledged sends"),
        document("Notification Batching"),
    ])
    .about(&[Sysno::recvmsg])
    .turned_by(ONE_SHIFTED)
    .tried(|_lab, see| {
        let (near, far) = completing()?;
        for _ in 0..2 {
            aside(|| {
                send_all(&near, b"b")?;
                sockets::wait_until_acknowledged(&near, &far)?;
                io::wait_for_error_queue(near.as_fd()).setup("poll")
            })?;
        }
        see.text("completions", completed(&near, &far)?.ranges()).says("[0, 1]");
        Ok(())
    }),
    claim(
        "zerocopy.notify.peer-closed",
        "Completions that are in a TCP socket's error queue can still be read after the peer has closed.",
    )
    .published(&[MEASURED])
    .about(&[Sysno::recvmsg])
    .method(
        "Three sends over TCP are completed before the peer closes: POLLERR shows that their completions are queued.",
    )
    .turned_by(&[Lie::refused(Sysno::recvmsg, libc::EAGAIN)])
    .tried(|_lab, see| {
        let (near, far) = completing()?;
        for _ in 0..3 {
            send_all(&near, b"b")?;
        }
        sockets::wait_until_acknowledged(&near, &far)?;
        aside(|| io::wait_for_error_queue(near.as_fd())).setup("poll")?;
        drop(far);
        let completions = Completions::now(&near).setup("read the completions")?;
        see.count("sends completed", completions.count()).is(3);
        Ok(())
    }),
];
