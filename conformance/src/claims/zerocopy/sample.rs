//! The source document's sample of a send with `MSG_ZEROCOPY`.

use super::{completed, completing, document, send_all};
use crate::claims::prelude::*;
use crate::lab::completions::Completions;

pub const CLAIMS: &[Claim] = &[
    claim(
        "zerocopy.sample.flag-only",
        "sendmsg() with MSG_ZEROCOPY on a TCP socket without SO_ZEROCOPY is completed like a zero-copy send.",
    )
    .published(&[seed("3.4"), seed("5.3"), seed("7.2"), document("Socket Setup").denies()])
    .about(&[Sysno::sendmsg, Sysno::recvmsg])
    .turned_by(&[Lie::about(Sysno::recvmsg, What::CompletionForged(0)).after(0)])
    .tried(|_lab, see| {
        let (near, far) = sockets::tcp()?;
        let completions_of_one = || -> Result<u64, Stop> {
            // SAFETY: a static never changes and is never freed.
            let step = |_| unsafe { io::sendmsg(&near, b"b", libc::MSG_ZEROCOPY) };
            io::all_done(1, step).map_err(refused)?;
            all_arrived(arrived(&far, b"b")?)?;
            Ok(completed(&near, &far)?.count())
        };
        see.count("completions without SO_ZEROCOPY", completions_of_one()?).at_least(1);
        sockets::zerocopy_on(&near)?;
        let control = completions_of_one()?;
        if control != 1 {
            return Err(Stop::broken(format!("with SO_ZEROCOPY there were {control} completions, not 1")));
        }
        see.count("completions with SO_ZEROCOPY", control);
        Ok(())
    }),
    claim(
        "zerocopy.sample.errqueue-lost",
        "recvmsg(MSG_ERRQUEUE) with msg_control set and a msg_controllen of 0 returns the completion.",
    )
    .published(&[seed("5.3"), man("recv(2)", "DESCRIPTION, MSG_CTRUNC").denies()])
    .about(&[Sysno::recvmsg])
    .method("The sample does not initialise its struct msghdr: a msg_controllen of 0 is the best case.")
    .except(&[Exception::Lacking("no lie fills a buffer of no bytes")])
    .tried(|_lab, see| {
        let (near, far) = completing()?;
        for size in [0, 8] {
            send_all(&near, b"b")?;
            sockets::wait_until_acknowledged(&near, &far)?;
            io::wait_for_error_queue(near.as_fd()).setup("poll")?;
            let mut control = vec![0; size];
            let received = io::again(|| io::recvmsg(&near, &mut [], &mut control, libc::MSG_ERRQUEUE));
            let received = received.setup("recvmsg")?;
            let bytes = see.count(format!("control bytes in a buffer of {size}"), received.control as u64);
            if size == 0 {
                bytes.at_least(1);
            }
            let left = aside(|| Completions::now(&near)).setup("read the error queue")?.count();
            see.count(format!("completions left after a buffer of {size}"), left);
            let cut_off =
                see.whether(format!("MSG_CTRUNC with a buffer of {size}"), received.flags & libc::MSG_CTRUNC != 0);
            if size == 0 {
                cut_off.says("no");
            }
        }
        Ok(())
    }),
    claim(
        "zerocopy.sample.enobufs-without-option",
        "A send with MSG_ZEROCOPY on a TCP socket without SO_ZEROCOPY fails with ENOBUFS.",
    )
    .published(&[
        document("Transmission").edition("Linux 5.10").until("6.2"),
        commit("bce904599373", "docs: net: fix inaccuracies in msg_zerocopy.rst").denies(),
        commit("76851d1212c1", "sock: add SOCK_ZEROCOPY sockopt").denies().since("4.14"),
    ])
    .about(&[Sysno::sendmsg])
    .turned_by(&[Lie::refused(Sysno::sendmsg, libc::ENOBUFS)])
    .tried(|_lab, see| {
        let (near, far) = sockets::tcp()?;
        // SAFETY: a static never changes and is never freed.
        let sent = io::again(|| unsafe { io::sendmsg(&near, b"b", libc::MSG_ZEROCOPY) });
        see.call("sendmsg(socket without SO_ZEROCOPY, MSG_ZEROCOPY)", sent).fails(ENOBUFS);
        sockets::wait_for_arrival(&far, sent.unwrap_or(0))?;
        see.readable("bytes at the receiver", &far)?;
        Ok(())
    }),
];

/// A `sendmsg` that failed because of its flag. Linux ignores unknown flags; gVisor refuses them.
fn refused(errno: Errno) -> Stop {
    let what = "sendmsg() refuses MSG_ZEROCOPY: EINVAL";
    match errno {
        EINVAL => Stop::untestable(Lack::Kernel, what, "use a kernel that knows the flag"),
        _ => Stop::from_setup("sendmsg", errno),
    }
}
