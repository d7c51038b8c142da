//! The error queue: its entries, reading it, and how `poll` and `epoll` report it.

use super::{completing, completions_come, document, send_all};
use crate::claims::prelude::*;
use crate::lab::completions::Completions;
use nocopy_msg_zerocopy::{Message, messages};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::UnixStream;

const RECVMSG: &[Sysno] = &[Sysno::recvmsg];
const ASKED: &[Exception] = &[Exception::asked(Sysno::recvmsg)];
const NOT_EMPTY: &[Lie] = &[
    Lie::about(Sysno::recvmsg, What::OtherErrno(libc::ENOLINK)).where_it(true),
    Lie::accepted(Sysno::recvmsg).where_it(true),
    Lie::refused(Sysno::recvmsg, libc::EAGAIN).where_it(false),
];

/// A file of the kernel's packetdrill tests, and a case in it.
macro_rules! packetdrill {
    ($file:literal, $case:literal) => {
        selftest(concat!("net/packetdrill/tcp_zerocopy_", $file, ".pkt"), $case)
    };
}

/// A claim about what `epoll` reports with these flags. `epoll_wait` is called as `epoll_pwait`.
macro_rules! epoll {
    ($id:literal => $statement:literal, [$($source:expr),+], $flags:expr, $waits:expr) => {
        claim(concat!("zerocopy.queue.epoll-", $id), $statement)
            .published(&[$($source),+])
            .about(&[Sysno::epoll_pwait])
            .turned_by(&[Lie::returned(Sysno::epoll_pwait, 1), Lie::returned(Sysno::epoll_pwait, 0)])
            .except(&[
                Exception::asked(Sysno::epoll_pwait),
                Exception::Of(Sysno::epoll_pwait, What::Skipped, "a wait that is not made reports nothing"),
            ])
            .tried(|_lab, see| epoll(see, $flags, $waits))
    };
}

pub const CLAIMS: &[Claim] = &[
    claim(
        "zerocopy.queue.never-blocks",
        "recvmsg(MSG_ERRQUEUE) on a blocking TCP socket with an empty error queue fails with EAGAIN.",
    )
    .published(&[
        document("Notification Reception"),
        doc("networking/timestamping.rst", "2.1.1.5 Blocking Read"),
        thread("bloomberg/ntf-core#114", "the call can block, and can return 0").denies().since("3.10").until("3.10"),
    ])
    .about(RECVMSG)
    .turned_by(NOT_EMPTY)
    .except(ASKED)
    .tried(|_lab, see| {
        let (near, _far) = sockets::tcp()?;
        see.call("recvmsg(blocking TCP socket, MSG_ERRQUEUE)", read(&near, libc::MSG_ERRQUEUE).0).fails(EAGAIN);
        Ok(())
    }),
    claim(
        "zerocopy.queue.vsock-empty",
        "recvmsg(MSG_ERRQUEUE) on a blocking vsock socket with an empty error queue fails with EAGAIN.",
    )
    .published(&[
        document("Notification Reception").since("6.7"),
        commit("49dbe25adac4", "vsock: read from socket's error queue").since("6.7"),
        selftest("../vsock/vsock_test_zerocopy.c", "test_stream_msgzcopy_empty_errq_client: any errno").leaves_open(),
    ])
    .about(RECVMSG)
    .turned_by(NOT_EMPTY)
    .except(ASKED)
    .modules(&["vsock_loopback"])
    .tried(|_lab, see| {
        let (near, far) = sockets::vsock()?;
        // If the kernel does not know the flag, this is an ordinary read, which would wait.
        aside(|| io::write_all(&far, b"b")).setup("write")?;
        io::wait_for(near.as_fd(), libc::POLLIN).setup("poll")?;
        let (received, data, flags) = read(&near, libc::MSG_ERRQUEUE);
        see.text("data", data)
            .count("msg_flags", flags)
            .call("recvmsg(vsock socket, MSG_ERRQUEUE)", received)
            .fails(EAGAIN);
        Ok(())
    }),
    claim(
        "zerocopy.queue.unix-ignores-errqueue",
        "recvmsg(MSG_ERRQUEUE) on an AF_UNIX stream socket reads ordinary data.",
    )
    .published(&[MEASURED])
    .about(RECVMSG)
    .turned_by(&[Lie::refused(Sysno::recvmsg, libc::EAGAIN)])
    .tried(|_lab, see| {
        let (near, far) = UnixStream::pair().setup("socketpair")?;
        let (tcp_near, tcp_far) = sockets::tcp()?;
        aside(|| io::write_all(&far, b"bytes").and_then(|()| io::write_all(&tcp_far, b"bytes"))).setup("write")?;
        sockets::wait_for_arrival(&tcp_near, 5)?;
        let (received, data, flags) = read(&near, libc::MSG_ERRQUEUE);
        see.call("recvmsg(AF_UNIX socket, MSG_ERRQUEUE)", received).is(5);
        see.text("data", data).says("bytes").count("msg_flags", flags);
        see.call("recvmsg(TCP socket, MSG_ERRQUEUE)", read(&tcp_near, libc::MSG_ERRQUEUE).0).fails(EAGAIN);
        Ok(())
    }),
    claim("zerocopy.queue.peek", "recvmsg(MSG_ERRQUEUE | MSG_PEEK) takes a TCP completion off the error queue.")
        .published(&[
            man("recv(2)", "DESCRIPTION, MSG_PEEK").leaves_open(),
            kernel("net/ipv4/ip_sockglue.c", "ip_recv_error"),
        ])
        .about(RECVMSG)
        .turned_by(&[Lie::about(Sysno::recvmsg, What::CompletionForged(0)).after(1)])
        .tried(|_lab, see| {
            let (near, far) = completing()?;
            complete(&near, &far)?;
            let (_, error) = entry(see, "recvmsg(MSG_ERRQUEUE | MSG_PEEK)", &near, libc::MSG_PEEK);
            see.text("ee_errno, ee_origin, ee_code", &error);
            see.whether("ee_origin is 5", error.starts_with("[0, 5,")).says("yes");
            let left = Completions::now(&near).setup("read the error queue")?;
            see.count("completions after the look", left.count()).is(0);
            Ok(())
        }),
    claim(
        "zerocopy.queue.entry",
        "Over loopback a TCP completion has ee_errno 0, ee_origin 5 (ZEROCOPY) and ee_code 1 (COPIED).",
    )
    .published(&[
        document("Notification Parsing"),
        document("Deferred copies"),
        document("Loopback"),
        packetdrill!("basic", "recvmsg after the first send"),
    ])
    .about(RECVMSG)
    .turned_by(&[Lie::completion(Field::Code, 0), Lie::completion(Field::Origin, 2)])
    .tried(|_lab, see| {
        let (near, far) = completing()?;
        complete(&near, &far)?;
        let (header, error) = entry(see, "recvmsg(MSG_ERRQUEUE)", &near, 0);
        see.text("ee_errno, ee_origin, ee_code", error).says("[0, 5, 1]").text("level and type", header);
        Ok(())
    }),
    claim(
        "zerocopy.queue.ipv6-entry",
        "On a TCP socket over IPv6 a completion is a control message SOL_IPV6 (41), IPV6_RECVERR (25).",
    )
    .published(&[
        document("Notification Parsing").leaves_open(),
        selftest("net/msg_zerocopy.c", "do_recv_completion: IPv4's is accepted too").leaves_open(),
        kernel("net/ipv6/datagram.c", "ipv6_recv_error"),
    ])
    .about(RECVMSG)
    .turned_by(&[Lie::completion(Field::Origin, 2)])
    .tried(|_lab, see| {
        let (near, far) = aside(|| {
            let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).setup("bind a TCP socket to ::1")?;
            let near = TcpStream::connect(listener.local_addr().setup("getsockname")?).setup("connect to ::1")?;
            Ok::<_, Stop>((near, listener.accept().setup("accept")?.0))
        })?;
        completions_come()?;
        sockets::zerocopy_on(&near)?;
        complete(&near, &far)?;
        let (header, error) = entry(see, "recvmsg(MSG_ERRQUEUE)", &near, 0);
        see.text("level and type", header).says("[41, 25]").text("ee_errno, ee_origin, ee_code", &error);
        see.whether("ee_origin is 5", error.starts_with("[0, 5,")).says("yes");
        Ok(())
    }),
    claim(
        "zerocopy.queue.time-stamps",
        "With SOF_TIMESTAMPING_TX_SOFTWARE and SOF_TIMESTAMPING_SOFTWARE, the error queue of a socket holds send time \
         stamps beside completions.",
    )
    .published(&[
        document("Notifications").leaves_open(),
        doc("networking/timestamping.rst", "2.1.1 Transmit timestamps with MSG_ERRQUEUE"),
        thread("bloomberg/ntf-core#96", "the library reads both from the queue and tests how they mix"),
    ])
    .about(RECVMSG)
    .turned_by(&[Lie::skipped(Sysno::setsockopt).with(2, libc::SO_TIMESTAMPING as u64)])
    .tried(|_lab, see| {
        /// `SOF_TIMESTAMPING_TX_SOFTWARE` and `SOF_TIMESTAMPING_SOFTWARE` of `include/uapi/linux/net_tstamp.h`.
        const SENT: libc::c_int = (1 << 1) | (1 << 4);
        let (near, far) = completing()?;
        sockets::set_option(&near, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, SENT).setup("SO_TIMESTAMPING")?;
        complete(&near, &far)?;
        let (mut completed, mut stamped) = (0, 0);
        let mut control = [0; 256];
        loop {
            let received = match io::again(|| io::recvmsg(&near, &mut [], &mut control, libc::MSG_ERRQUEUE)) {
                Err(EAGAIN) => break,
                received => received.setup("recvmsg(MSG_ERRQUEUE)")?,
            };
            if received.flags & libc::MSG_ERRQUEUE == 0 || received.flags & libc::MSG_CTRUNC != 0 {
                return Err(Stop::broken("not a whole entry of the error queue"));
            }
            let (mut is_stamp, mut has_time) = (false, false);
            for message in messages(&control[..received.control]) {
                match message.map_err(|error| Stop::broken(format!("a control message: {error}")))? {
                    Message::Completion(completion) => completed += completion.count(),
                    Message::Other(other) => {
                        is_stamp |= other.extended_error().is_some_and(|error| error.origin == TIMESTAMPING);
                        has_time |= (other.level, other.kind) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING);
                    }
                }
            }
            stamped += u64::from(is_stamp && has_time);
        }
        see.count("completions", completed).is(1);
        see.count("entries with a time and origin SO_EE_ORIGIN_TIMESTAMPING", stamped).at_least(1);
        Ok(())
    }),
    claim(
        "zerocopy.queue.pollerr",
        "A TCP completion raises POLLERR without being asked for, leaves SO_ERROR 0 and does not block write().",
    )
    .published(&[document("Notification Reception")])
    .about(&[Sysno::ppoll, Sysno::getsockopt])
    .turned_by(&[
        Lie::about(Sysno::getsockopt, What::Output { argument: 3, value: libc::EIO }),
        Lie::refused(Sysno::write, libc::EIO),
    ])
    .tried(|_lab, see| {
        let (near, far) = completing()?;
        complete(&near, &far)?;
        let (ready, events) = io::ppoll(&near, 0, -1);
        see.call("ppoll(no events)", ready).is(1);
        see.text("events", format!("{events:#x}")).says(format!("{:#x}", libc::POLLERR));
        let error = sockets::get_option(&near, libc::SOL_SOCKET, libc::SO_ERROR).setup("SO_ERROR")?;
        see.count("SO_ERROR", u64::try_from(error).unwrap_or(u64::MAX)).is(0);
        see.call("write(1 byte)", io::again(|| io::write(&near, b"b"))).is(1);
        Ok(())
    }),
    epoll!("edge" => "With EPOLLET, epoll_wait() reports EPOLLERR once for a completion, and again for the next one.",
        [packetdrill!("epoll_edge", "epoll_wait after two sends and after the third"), EDGE_AND_LEVEL],
        libc::EPOLLET, ONCE_EACH),
    epoll!("exclusive" =>
        "With EPOLLET | EPOLLEXCLUSIVE, epoll_wait() reports EPOLLERR once for a completion, and again for the next.",
        [packetdrill!("epoll_exclusive", "epoll_wait after two sends and after the third")],
        libc::EPOLLET | libc::EPOLLEXCLUSIVE, ONCE_EACH),
    epoll!("level" => "Without EPOLLET, epoll_wait() reports EPOLLERR until the error queue has been read.",
    [EDGE_AND_LEVEL, man("epoll_ctl(2)", "DESCRIPTION, EPOLLERR"),
        packetdrill!("epoll_edge", "comment: EPOLLERR is not level-triggered either").denies()], 0, &[
        (&[Complete], "first wait", ERROR),
        (&[], "second wait", ERROR),
        (&[Read], "wait after the queue was read", NOTHING),
    ]),
    epoll!("oneshot" =>
    "With EPOLLONESHOT, epoll_wait() reports a completion once, then nothing until it is armed again.",
    [packetdrill!("epoll_oneshot", "epoll_wait after the sends and after EPOLL_CTL_MOD"),
        man("epoll_ctl(2)", "DESCRIPTION, EPOLLONESHOT")], libc::EPOLLONESHOT, &[
        (&[Complete], "first wait", ERROR),
        (&[], "second wait", NOTHING),
        (&[Read, Complete], "wait after another completion", NOTHING),
        (&[Arm], "wait after it was armed again", ERROR),
    ]),
];

const EDGE_AND_LEVEL: Source = man("epoll(7)", "DESCRIPTION, Level-triggered and edge-triggered");

/// `SO_EE_ORIGIN_TIMESTAMPING` of `include/uapi/linux/errqueue.h`.
const TIMESTAMPING: u8 = 4;

/// Sends a byte with the flag and waits until its completion is in the queue.
fn complete(near: &TcpStream, far: &TcpStream) -> Result<(), Stop> {
    aside(|| {
        send_all(near, b"b")?;
        sockets::wait_until_acknowledged(near, far)?;
        io::wait_for_error_queue(near.as_fd()).setup("poll")
    })
}

/// Reads by `recvmsg`. Returns its result, the bytes in words, and `msg_flags`.
fn read(socket: &impl AsFd, flags: libc::c_int) -> (Result<usize, Errno>, String, u64) {
    let mut data = [0; 16];
    let received = io::again(|| io::recvmsg(socket, &mut data, &mut [0; 256], flags));
    let (count, flags) = received.map_or((0, 0), |one| (one.bytes.min(data.len()), one.flags));
    let words = data[..count].escape_ascii().to_string();
    (received.map(|one| one.bytes), words, u64::from(flags.cast_unsigned()))
}

/// Reads an entry of the error queue: `struct cmsghdr`, then `struct sock_extended_err`. Notes the call and the ids.
/// Returns the level and type, and `ee_errno`, `ee_origin` and `ee_code`.
fn entry(see: &mut Observation, call: &str, near: &TcpStream, flags: libc::c_int) -> (String, String) {
    let mut control = [0; 256];
    let flags = libc::MSG_ERRQUEUE | flags;
    let received = io::again(|| io::recvmsg(near, &mut [0; 16], &mut control, flags));
    let number = |at: usize| u32::from_ne_bytes(control[at..at + 4].try_into().expect("four bytes"));
    let flags = received.map_or(0, |one| one.flags);
    see.call(call, received.map(|one| one.bytes)).text("msg_flags", format!("{flags:#x}"));
    see.text("ee_type, ee_info, ee_data", format!("{}, {}, {}", control[21], number(24), number(28)));
    let error = [number(16), control[20].into(), control[22].into()];
    (format!("{:?}", [number(8), number(12)]), format!("{error:?}"))
}

/// What is done before a wait.
#[derive(Clone, Copy)]
enum Step {
    /// A send is completed.
    Complete,
    /// The error queue is read.
    Read,
    /// The descriptor is armed again by `EPOLL_CTL_MOD`.
    Arm,
}
use Step::{Arm, Complete, Read};

/// What is done, the wait after it, and what the wait reports.
type Wait = (&'static [Step], &'static str, &'static str);
const ERROR: &str = "EPOLLERR";
const NOTHING: &str = "nothing";
const ONCE_EACH: &[Wait] = &[
    (&[Complete], "first wait", ERROR),
    (&[], "second wait", NOTHING),
    (&[Complete], "wait after another completion, the first one unread", ERROR),
    (&[Read, Complete], "wait after another completion, the others read", ERROR),
];

/// Notes what each wait reports, which does not wait: its time limit is 0.
fn epoll(see: &mut Observation, flags: libc::c_int, waits: &[Wait]) -> Result<(), Stop> {
    let (near, far) = completing()?;
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
        if done == -1 { Err(Stop::from_setup("epoll_ctl", sockets::last_errno())) } else { Ok(()) }
    };
    control(libc::EPOLL_CTL_ADD)?;
    for (steps, when, events) in waits {
        for step in *steps {
            match step {
                Complete => complete(&near, &far)?,
                Read => drop(aside(|| Completions::now(&near)).setup("read the completions")?),
                Arm => control(libc::EPOLL_CTL_MOD)?,
            }
        }
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let address = (&raw mut event).expose_provenance();
        // SAFETY: the pointer is to one event, written during the call; no signal mask.
        let ready = unsafe { ask(Sysno::epoll_pwait, [argument(&epoll), address, 1, 0, 0, 0]) };
        let reported = std::hint::black_box(event).events;
        let word = match ready {
            Ok(0) => NOTHING.to_owned(),
            Ok(1) if reported == libc::EPOLLERR.cast_unsigned() => ERROR.to_owned(),
            other => format!("{}, {reported:#x}", returned(other)),
        };
        see.text(*when, word).says(events);
    }
    Ok(())
}
