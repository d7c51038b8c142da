//! `MSG_ZEROCOPY`: the option, the error queue and completions in the kernel's document, and behaviour beyond it.

use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Field, Lie, What};
use crate::interpose::record::aside;
use crate::lab::completions::Completions;
use crate::lab::io::{self};
use crate::lab::{Lab, sockets};
use crate::verdict::{Observation, Setup, Stop};
use nocopy_msg_zerocopy::{SendFlags, send_zerocopy};
use std::net::TcpStream;
use std::os::fd::AsFd;
use syscalls::{Errno, Sysno};

const DOC: Source = Source::Doc("Documentation/networking/msg_zerocopy.rst, Linux 7.3");
/// Claims about the results of `MSG_ZEROCOPY` and its error queue.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "MSG_PEEK leaves the entry in the error queue, as it leaves data in the receive queue.",
        sources: &[Source::Man("recv(2), man-pages 6.20")],
        about: &[Sysno::recvmsg],
        lies: &[Lie::about(Sysno::recvmsg, What::CompletionForged(0)).after(1)],
        ..Claim::of_answers(
            "zerocopy.queue.peek",
            zerocopy_queue_peek,
            &[("completions after a look with MSG_PEEK", Answer::Is(1))],
        )
    },
    Claim {
        statement: "Reading the error queue never blocks: it is EAGAIN when it is empty, on a socket that blocks too.",
        sources: &[DOC],
        about: &[Sysno::recvmsg],
        lies: &[Lie::about(Sysno::recvmsg, What::OtherErrno(libc::ENOLINK)), Lie::accepted(Sysno::recvmsg)],
        exceptions: &[Exception::asked(Sysno::recvmsg)],
        ..Claim::of_answers(
            "zerocopy.queue.never-blocks",
            |_lab| {
                let (near, _far) = sockets::tcp()?;
                let mut seen = Observation::new();
                let received = io::recvmsg(&near, &mut [0; 16], &mut [0; 256], libc::MSG_ERRQUEUE);
                seen.call("recvmsg(blocking TCP socket, MSG_ERRQUEUE)", received.map(|one| one.bytes));
                Ok(seen)
            },
            &[("recvmsg(blocking TCP socket, MSG_ERRQUEUE)", Answer::Fails(Errno::EAGAIN))],
        )
    },
    Claim {
        statement: "A completion raises POLLERR and is no error of the socket: SO_ERROR is 0, and sending goes on.",
        sources: &[DOC],
        about: &[Sysno::poll, Sysno::getsockopt],
        lies: &[
            Lie::about(Sysno::getsockopt, What::Output { argument: 3, value: libc::EIO }),
            Lie::refused(Sysno::write, libc::EIO),
        ],
        exceptions: &[Exception::Of(Sysno::poll, What::Interrupted, "the wait goes on")],
        ..Claim::of_answers(
            "zerocopy.queue.pollerr",
            zerocopy_queue_pollerr,
            &[
                ("poll(no events)", Answer::Says("POLLERR")),
                ("SO_ERROR", Answer::Is(0)),
                ("write() afterwards", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "A completion has errno 0, origin 5 (SO_EE_ORIGIN_ZEROCOPY) and, over loopback, code 1 (COPIED).",
        sources: &[DOC],
        about: &[Sysno::recvmsg],
        lies: &[Lie::completion(Field::Code, 0), Lie::completion(Field::Origin, 2)],
        ..Claim::of_answers(
            "zerocopy.queue.entry",
            zerocopy_queue_entry,
            &[
                ("bytes received", Answer::Is(0)),
                ("msg_flags", Answer::Is(libc::MSG_ERRQUEUE as u64)),
                ("level and type", Answer::Says("0, 11")),
                ("errno, origin, type, code", Answer::Says("0, 5, 0, 1")),
                ("first and last id", Answer::Says("0, 0")),
            ],
        )
    },
];

/// Sends a byte with the flag and waits until its completion is in the queue.
fn complete_one() -> Result<(TcpStream, TcpStream), Stop> {
    super::zerocopy_old::completions_come()?;
    let (near, far) = sockets::tcp()?;
    aside(|| {
        let zerocopy = sockets::zerocopy_on(&near)?;
        // SAFETY: a static is never freed.
        unsafe { send_zerocopy(zerocopy, b"b", SendFlags::empty()) }.setup("send")?;
        io::wait_for_error_queue(near.as_fd()).setup("poll")
    })?;
    Ok((near, far))
}

fn zerocopy_queue_peek(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, _far) = complete_one()?;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_PEEK;
    let mut seen = Observation::new();
    let mut control = [0; 256];
    let looked = io::again(|| io::recvmsg(&near, &mut [], &mut control, flags));
    let looked = looked.setup("recvmsg(MSG_PEEK)")?;
    seen.count("control bytes of the look", looked.control as u64)
        .text("msg_flags of the look", format!("{:#x}", looked.flags));
    seen.text("struct sock_extended_err of the look", format!("{:?}", &control[16..32]));
    let left = Completions::now(&near).setup("read the error queue")?;
    seen.count("completions after a look with MSG_PEEK", left.count());
    Ok(seen)
}

fn zerocopy_queue_pollerr(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, _far) = complete_one()?;
    let (ready, revents) = io::poll(&near, 0, -1);
    let mut seen = Observation::new();
    seen.call("descriptors with events", ready);
    let what = if revents == libc::POLLERR { "POLLERR".into() } else { format!("{revents:#x}") };
    seen.text("poll(no events)", what);
    let error = sockets::get_option(&near, libc::SOL_SOCKET, libc::SO_ERROR).setup("SO_ERROR")?;
    seen.count("SO_ERROR", u64::try_from(error).unwrap_or(u64::MAX));
    seen.call("write() afterwards", io::again(|| io::write(&near, b"b")));
    Ok(seen)
}

fn zerocopy_queue_entry(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, _far) = complete_one()?;
    let mut control = [0_u8; 256];
    let received = io::again(|| io::recvmsg(&near, &mut [0; 16], &mut control, libc::MSG_ERRQUEUE));
    let received = received.setup("recvmsg(MSG_ERRQUEUE)")?;
    // struct cmsghdr: length, level, type; then struct sock_extended_err.
    let number = |at: usize| u32::from_ne_bytes(control[at..at + 4].try_into().expect("four bytes"));
    let mut seen = Observation::new();
    seen.count("bytes received", received.bytes as u64)
        .count("msg_flags", u64::from(received.flags.cast_unsigned()))
        .text("level and type", format!("{}, {}", number(8), number(12)))
        .text("errno, origin, type, code", format!("{}, {}, {}, {}", number(16), control[20], control[21], control[22]))
        .text("first and last id", format!("{}, {}", number(24), number(28)));
    Ok(seen)
}
