//! `MSG_ZEROCOPY`: the sends that take an id, their limits of memory and space, and how `epoll` reports their completions.

use super::zerocopy_old::completions_come;
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Field, Lie, What};
use crate::interpose::record::aside;
use crate::lab::completions::Completions;
use crate::lab::io::{self, argument, ask};
use crate::lab::waiting::wait_until;
use crate::lab::{Lab, sockets};
use crate::verdict::{Observation, Setup, Stop, Verdict};
use nocopy_msg_zerocopy::{Message, MsgFlags, SendFlags, messages, recv_error_queue, send_zerocopy};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use syscalls::{Errno, Sysno};

const DOC: Source = Source::Doc("Documentation/networking/msg_zerocopy.rst, Linux 7.3");
const EPOLL: &[Sysno] = &[Sysno::epoll_wait];
const EPOLL_EXCEPTIONS: &[Exception] = &[
    Exception::asked(Sysno::epoll_wait),
    Exception::Of(Sysno::epoll_wait, What::Skipped, "a wait that is not made tells of nothing, as a true one may"),
];
/// A file of the kernel's packetdrill tests of this interface.
macro_rules! packetdrill {
    ($file:literal) => {
        Source::Thread(concat!("Linux 7.3, tools/testing/selftests/net/packetdrill/tcp_zerocopy_", $file, ".pkt"))
    };
}

/// Claims about sends with the flag.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "With EPOLLET, epoll tells of a completion once, and again when the next one comes.",
        sources: &[packetdrill!("epoll_edge")],
        about: EPOLL,
        lies: &[Lie::returned(Sysno::epoll_wait, 1), Lie::returned(Sysno::epoll_wait, 0)],
        exceptions: EPOLL_EXCEPTIONS,
        ..Claim::of_answers(
            "zerocopy.queue.epoll-edge",
            |_lab| epoll(libc::EPOLLET),
            &[
                ("first wait", Answer::Says("EPOLLERR")),
                ("second wait", Answer::Says("nothing")),
                ("after another completion", Answer::Says("EPOLLERR")),
            ],
        )
    },
    Claim {
        statement: "Without EPOLLET, epoll tells of a completion until the error queue has been read.",
        sources: &[Source::Man("epoll(7), man-pages 6.20"), DOC],
        about: EPOLL,
        lies: &[Lie::returned(Sysno::epoll_wait, 1), Lie::returned(Sysno::epoll_wait, 0)],
        exceptions: EPOLL_EXCEPTIONS,
        ..Claim::of_answers(
            "zerocopy.queue.epoll-level",
            |_lab| epoll(0),
            &[
                ("first wait", Answer::Says("EPOLLERR")),
                ("second wait", Answer::Says("EPOLLERR")),
                ("after the queue was read", Answer::Says("nothing")),
            ],
        )
    },
    Claim {
        statement: "With EPOLLONESHOT, epoll tells of a completion once, and of later ones not before it is armed again.",
        sources: &[packetdrill!("epoll_oneshot")],
        about: EPOLL,
        lies: &[Lie::returned(Sysno::epoll_wait, 1), Lie::returned(Sysno::epoll_wait, 0)],
        exceptions: EPOLL_EXCEPTIONS,
        ..Claim::of_answers(
            "zerocopy.queue.epoll-oneshot",
            |_lab| epoll(libc::EPOLLONESHOT),
            &[
                ("first wait", Answer::Says("EPOLLERR")),
                ("second wait", Answer::Says("nothing")),
                ("after another completion", Answer::Says("nothing")),
                ("armed again", Answer::Says("EPOLLERR")),
            ],
        )
    },
    Claim {
        statement: "With EPOLLET and EPOLLEXCLUSIVE, epoll tells of a completion once, and again when the next one comes.",
        sources: &[packetdrill!("epoll_exclusive")],
        about: EPOLL,
        lies: &[Lie::returned(Sysno::epoll_wait, 1), Lie::returned(Sysno::epoll_wait, 0)],
        exceptions: EPOLL_EXCEPTIONS,
        ..Claim::of_answers(
            "zerocopy.queue.epoll-exclusive",
            |_lab| epoll(libc::EPOLLET | libc::EPOLLEXCLUSIVE),
            &[
                ("first wait", Answer::Says("EPOLLERR")),
                ("second wait", Answer::Says("nothing")),
                ("after another completion", Answer::Says("EPOLLERR")),
            ],
        )
    },
    Claim {
        statement: "On an IPv6 socket a completion is a control message of level SOL_IPV6 (41) and type IPV6_RECVERR (25).",
        sources: &[DOC, Source::Thread("Linux 7.3, tools/testing/selftests/net/msg_zerocopy.c")],
        about: &[Sysno::recvmsg],
        lies: &[Lie::completion(Field::Origin, 2)],
        ..Claim::of_answers(
            "zerocopy.queue.ipv6-entry",
            zerocopy_queue_ipv6_entry,
            &[
                ("level and type", Answer::Says("41, 25")),
                ("origin", Answer::Is(5)),
                ("first and last id", Answer::Says("0, 0")),
                ("msg_flags", Answer::Is(libc::MSG_ERRQUEUE as u64)),
            ],
        )
    },
    Claim {
        statement: "What the error queue of a socket with SO_ZEROCOPY has is completions.",
        method: "Asks for time stamps of sends (SO_TIMESTAMPING), too, sends with the flag, and reads all entries.",
        sources: &[Source::Thread("bloomberg/ntf-core#96, which read both")],
        about: &[Sysno::recvmsg],
        lies: &[Lie::skipped(Sysno::setsockopt).with(2, libc::SO_TIMESTAMPING as u64)],
        ..Claim::new("zerocopy.queue.time-stamps", zerocopy_queue_time_stamps, |seen| {
            Verdict::holds_if(seen.counted("completions") > 0 && seen.counted("entries that are none") == 0)
        })
    },
    Claim {
        statement: "Reading the error queue of a vsock socket never blocks: it is EAGAIN when it is empty.",
        sources: &[DOC],
        about: &[Sysno::recvmsg],
        lies: &[
            Lie::about(Sysno::recvmsg, What::OtherErrno(libc::ENOLINK)).where_it(true),
            Lie::accepted(Sysno::recvmsg).where_it(true),
            Lie::refused(Sysno::recvmsg, libc::EAGAIN).where_it(false),
        ],
        exceptions: &[Exception::asked(Sysno::recvmsg)],
        modules: &["vsock_loopback"],
        ..Claim::of_answers(
            "zerocopy.queue.vsock-empty",
            |_lab| {
                let (near, far) = sockets::vsock()?;
                // If the kernel does not know the flag, this is an ordinary read, which would wait.
                aside(|| io::write_all(&far, b"b")).setup("write")?;
                io::wait_for(near.as_fd(), libc::POLLIN).setup("poll")?;
                let mut seen = Observation::new();
                let mut data = [b'-'; 16];
                let received = io::recvmsg(&near, &mut data, &mut [0; 256], libc::MSG_ERRQUEUE);
                let flags = received.map_or(0, |one| one.flags);
                seen.text("data", data[0].escape_ascii()).text("its flags", format!("{flags:#x}"));
                seen.call("recvmsg(vsock socket, MSG_ERRQUEUE)", received.map(|one| one.bytes));
                Ok(seen)
            },
            &[("recvmsg(vsock socket, MSG_ERRQUEUE)", Answer::Fails(Errno::EAGAIN))],
        )
    },
];

/// Sends a byte with the flag, without the interposer, and waits until its completion is in the queue. `bytes` is the number of
/// bytes sent over the connection by then.
pub(super) fn complete(near: &TcpStream, far: &TcpStream, bytes: usize) -> Result<(), Stop> {
    aside(|| {
        let zerocopy = sockets::zerocopy_on(near)?;
        // SAFETY: a static is never freed.
        unsafe { send_zerocopy(zerocopy, b"b", SendFlags::empty()) }.setup("send")?;
        sockets::wait_for_arrival(far, bytes)?;
        wait_until(|| Ok(sockets::unacknowledged(near)? == 0))?;
        sockets::set_nodelay(near)?;
        io::wait_for_error_queue(near.as_fd()).setup("poll")
    })
}

/// Notes when `epoll_wait` reports a completion: at once, a second time, after another completion, after the queue was read, and
/// armed again.
fn epoll(flags: libc::c_int) -> Result<Observation, Stop> {
    completions_come()?;
    let (near, far) = sockets::tcp()?;
    // SAFETY: epoll_create1 takes no pointer.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if epoll == -1 {
        return Err(Stop::from_setup("epoll_create1", sockets::last_errno()));
    }
    // SAFETY: the kernel has just made the descriptor for us alone.
    let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
    let control = |operation: libc::c_int| {
        let mut event = libc::epoll_event { events: flags.cast_unsigned(), u64: 0 };
        // SAFETY: the event is read during the call.
        let done = aside(|| unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, near.as_raw_fd(), &raw mut event) });
        if done == -1 {
            return Err(Stop::from_setup("epoll_ctl", sockets::last_errno()));
        }
        Ok(())
    };
    let wait = || {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let address = (&raw mut event).expose_provenance();
        // SAFETY: the pointer is to one event, written during the call.
        let told = unsafe { ask(Sysno::epoll_wait, [argument(&epoll), address, 1, 0, 0, 0]) };
        let events = std::hint::black_box(event).events;
        match told {
            Ok(0) => "nothing".to_owned(),
            Ok(1) if events == libc::EPOLLERR.cast_unsigned() => "EPOLLERR".to_owned(),
            other => format!("{other:?}, {events:#x}"),
        }
    };
    control(libc::EPOLL_CTL_ADD)?;
    let mut seen = Observation::new();
    complete(&near, &far, 1)?;
    seen.text("first wait", wait());
    seen.text("second wait", wait());
    if flags == 0 {
        aside(|| Completions::now(&near)).setup("read the completions")?;
        seen.text("after the queue was read", wait());
        return Ok(seen);
    }
    aside(|| Completions::now(&near)).setup("read the completions")?;
    complete(&near, &far, 2)?;
    seen.text("after another completion", wait());
    if flags == libc::EPOLLONESHOT {
        control(libc::EPOLL_CTL_MOD)?;
        seen.text("armed again", wait());
    }
    Ok(seen)
}

fn zerocopy_queue_ipv6_entry(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = aside(|| {
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).setup("bind a TCP socket to ::1")?;
        let address = listener.local_addr().setup("getsockname")?;
        let near = TcpStream::connect(address).setup("connect over loopback")?;
        let (far, _) = listener.accept().setup("accept")?;
        Ok::<_, Stop>((near, far))
    })?;
    completions_come()?;
    complete(&near, &far, 1)?;
    let mut control = [0_u8; 256];
    let received = io::again(|| io::recvmsg(&near, &mut [], &mut control, libc::MSG_ERRQUEUE));
    let received = received.setup("recvmsg(MSG_ERRQUEUE)")?;
    let number = |at: usize| u32::from_ne_bytes(control[at..at + 4].try_into().expect("four bytes"));
    let mut seen = Observation::new();
    seen.text("level and type", format!("{}, {}", number(8), number(12)));
    seen.count("origin", u64::from(control[20]));
    seen.text("first and last id", format!("{}, {}", number(24), number(28)));
    seen.count("msg_flags", u64::from(received.flags.cast_unsigned()));
    Ok(seen)
}

fn zerocopy_queue_time_stamps(_lab: &Lab) -> Result<Observation, Stop> {
    /// `SOF_TIMESTAMPING_TX_SOFTWARE` and `SOF_TIMESTAMPING_SOFTWARE` of `include/uapi/linux/net_tstamp.h`.
    const SENT: libc::c_int = (1 << 1) | (1 << 4);
    completions_come()?;
    let (near, far) = sockets::tcp()?;
    sockets::set_option(&near, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, SENT).setup("SO_TIMESTAMPING")?;
    complete(&near, &far, 1)?;
    let (mut completed, mut stamped) = (0, 0);
    let mut control = [0; 256];
    loop {
        let received = match io::again(|| recv_error_queue(near.as_fd(), &mut control)) {
            Err(Errno::EAGAIN) => break,
            received => received.setup("recvmsg(MSG_ERRQUEUE)")?,
        };
        let flags = received.flags;
        if !flags.contains(MsgFlags::ERRQUEUE) || flags.contains(MsgFlags::CTRUNC) {
            return Err(Stop::broken("what came is no whole entry of the error queue"));
        }
        let mut is_completion = false;
        for message in messages(&control[..received.control_len]) {
            match message {
                Ok(Message::Completion(completion)) => {
                    is_completion = true;
                    completed += completion.count();
                }
                Ok(_) => {}
                Err(error) => return Err(Stop::broken(format!("a control message: {error}"))),
            }
        }
        stamped += u64::from(!is_completion);
    }
    let mut seen = Observation::new();
    seen.count("completions", completed).count("entries that are none", stamped);
    Ok(seen)
}
