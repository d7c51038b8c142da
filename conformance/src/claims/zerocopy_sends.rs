//! `MSG_ZEROCOPY`: the sends that take an id, their limits of memory and space, and how `epoll` reports their completions.

use super::zerocopy::{completions_come, option};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception, Resource, gate};
use crate::interpose::lie::{Field, Lie, What};
use crate::interpose::record::aside;
use crate::lab::alias;
use crate::lab::completions::Completions;
use crate::lab::io::{self, argument, ask};
use crate::lab::open;
use crate::lab::settings::Setting;
use crate::lab::waiting::wait_until;
use crate::lab::{Lab, danger, netns, privilege, sockets};
use crate::verdict::{Lack, Observation, Setup, Stop, Verdict};
use nocopy_msg_zerocopy::{Message, MsgFlags, SendFlags, messages, recv_error_queue, send_zerocopy};
use std::io::IoSlice;
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use syscalls::{Errno, Sysno};

const DOC: Source = Source::Doc("Documentation/networking/msg_zerocopy.rst, Linux 7.3");
const SENDS: &[Sysno] = &[Sysno::sendto, Sysno::recvmsg];
const EPOLL: &[Sysno] = &[Sysno::epoll_wait];
const EPOLL_EXCEPTIONS: &[Exception] = &[
    Exception::asked(Sysno::epoll_wait),
    Exception::Of(Sysno::epoll_wait, What::Skipped, "a wait that is not made tells of nothing, as a true one may"),
];
const ONE_SHIFTED: &[Lie] = &[Lie::about(Sysno::recvmsg, What::IdsShifted(1))];

/// A file of the kernel's packetdrill tests of this interface.
macro_rules! packetdrill {
    ($file:literal) => {
        Source::Thread(concat!("Linux 7.3, tools/testing/selftests/net/packetdrill/tcp_zerocopy_", $file, ".pkt"))
    };
}

pub(super) use packetdrill;

/// Claims about sends with the flag.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "SO_ZEROCOPY of a socket that accept() has returned fails with EBUSY: it must be set before the connection is there.",
        sources: &[Source::Doc("Documentation/networking/msg_zerocopy.rst, Linux 4.16")],
        about: &[Sysno::setsockopt],
        lies: &[Lie::refused(Sysno::setsockopt, libc::EBUSY)],
        gates: &[gate(
            "4.17",
            "SO_ZEROCOPY may be set on a connected socket",
            Source::Thread("the commit \"sock: remove zerocopy sockopt restriction on closed tcp state\""),
        )],
        ..Claim::of_answers(
            "zerocopy.option.connected",
            |_lab| {
                let (_near, far) = sockets::tcp()?;
                let mut seen = Observation::new();
                let set = sockets::set_option(&far, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1);
                seen.call("setsockopt(accepted socket, SO_ZEROCOPY)", set.map(|()| 0));
                seen.call("SO_ZEROCOPY afterwards", aside(|| option(&far)));
                Ok(seen)
            },
            &[("setsockopt(accepted socket, SO_ZEROCOPY)", Answer::Fails(Errno::EBUSY))],
        )
    },
    Claim {
        statement: "When the peer has closed its half, sends with MSG_ZEROCOPY are taken and completed as before.",
        sources: &[Source::Thread("the commit \"tcp: allow MSG_ZEROCOPY transmission also in CLOSE_WAIT state\"")],
        about: SENDS,
        lies: ONE_SHIFTED,
        gates: &[gate(
            "5.0",
            "MSG_ZEROCOPY sends after the peer's half has been closed",
            Source::Thread("the commit \"tcp: allow MSG_ZEROCOPY transmission also in CLOSE_WAIT state\""),
        )],
        ..Claim::of_answers(
            "zerocopy.ids.half-closed",
            |_lab| {
                completions_come()?;
                let (near, far) = sockets::tcp()?;
                aside(|| far.shutdown(Shutdown::Write)).setup("shutdown")?;
                if io::again(|| io::read(&near, &mut [0])).setup("read")? != 0 {
                    return Err(Stop::broken("the peer's half is not closed"));
                }
                let mut seen = Observation::new();
                send_byte_and_note(&mut seen, &near, &far)?;
                Ok(seen)
            },
            &[("send(1 byte, MSG_ZEROCOPY)", Answer::Is(1)), ("completions", Answer::Says("[0, 0] copied"))],
        )
    },
    Claim {
        statement: "A send with the flag before the connection is there fails with EPIPE and takes no id: the first of the connection is 0.",
        sources: &[packetdrill!("closed")],
        about: SENDS,
        lies: ONE_SHIFTED,
        ..Claim::of_answers(
            "zerocopy.ids.before-connect",
            zerocopy_ids_before_connect,
            &[
                ("send(not connected, MSG_ZEROCOPY)", Answer::Fails(Errno::EPIPE)),
                ("send(1 byte, MSG_ZEROCOPY)", Answer::Is(1)),
                ("completions", Answer::Says("[0, 0] copied")),
            ],
        )
    },
    Claim {
        statement: "A send of more pieces than a packet can have fragments (17) is cut into several packets and has one id.",
        method: "Sends 18 and 64 pieces by one sendmsg() each, then reads the bytes and the completions.",
        sources: &[packetdrill!("maxfrags")],
        about: &[Sysno::sendmsg, Sysno::recvmsg],
        lies: ONE_SHIFTED,
        ..Claim::of_answers(
            "zerocopy.ids.many-pieces",
            zerocopy_ids_many_pieces,
            &[
                (super::tools::RECEIVED, Answer::Says(super::tools::AS_SENT)),
                ("ids", Answer::Says("one per sendmsg()")),
            ],
        )
    },
    Claim {
        statement: "The largest UDP datagram, 65507 bytes, can be sent with the flag; one byte more fails with EMSGSIZE and takes no id.",
        sources: &[Source::Man("udp(7), man-pages 6.20"), Source::Measured],
        about: &[Sysno::sendto, Sysno::recvmsg],
        lies: ONE_SHIFTED,
        exceptions: &[Exception::Of(Sysno::sendto, What::Shortened, "a datagram is sent whole or not")],
        ..Claim::of_answers(
            "zerocopy.udp.largest",
            zerocopy_udp_largest,
            &[
                ("send(65508 bytes, MSG_ZEROCOPY)", Answer::Fails(Errno::EMSGSIZE)),
                ("send(65507 bytes, MSG_ZEROCOPY)", Answer::Is(65507)),
                ("bytes of the datagram", Answer::Is(65507)),
                ("completions", Answer::Says("[0, 0] copied")),
            ],
        )
    },
    Claim {
        statement: "A datagram of one packet leaves a device uncopied; one that is cut into fragments is copied.",
        method: "Sends 4 KiB and 32 KiB out of a device of MTU 9000 that drops what it sends, and reads the completions.",
        sources: &[
            Source::Thread("Linux 7.3, tools/testing/selftests/net/msg_zerocopy.sh, its option -Z"),
            Source::Measured,
        ],
        about: &[Sysno::sendto, Sysno::recvmsg],
        lies: &[Lie::completion(Field::Code, 0)],
        exceptions: &[Exception::Of(Sysno::sendto, What::Shortened, "a datagram is sent whole or not")],
        modules: &["dummy"],
        ..Claim::of_answers(
            "zerocopy.copies.fragments",
            zerocopy_copies_fragments,
            &[
                ("completion of 4096 bytes", Answer::Says("[0, 0] not copied")),
                ("completion of 32768 bytes", Answer::Says("[1, 1] copied")),
            ],
        )
    },
    Claim {
        statement: "Sends with the flag that MSG_MORE puts into one UDP datagram are completed each.",
        method: "Sends two parts of a datagram with MSG_MORE and a third without, all with the flag, and counts completions.",
        sources: &[Source::Thread("Linux 7.3, tools/testing/selftests/net/msg_zerocopy.c, its mode UDP_CORK")],
        about: &[Sysno::sendto, Sysno::recvmsg],
        lies: ONE_SHIFTED,
        exceptions: &[Exception::Of(Sysno::sendto, What::Shortened, "a datagram is sent whole or not")],
        ..Claim::of_answers(
            "zerocopy.udp.corked",
            zerocopy_udp_corked,
            &[("bytes of the datagram", Answer::Is(300)), ("ids", Answer::Says("0 to 2"))],
        )
    },
    Claim {
        statement: "A send that would pin more than RLIMIT_MEMLOCK fails with ENOBUFS; one that fits is taken.",
        method: "With a limit of 64 KiB and without CAP_IPC_LOCK, sends 100000 and 30000 bytes.",
        sources: &[DOC],
        about: &[Sysno::sendto],
        resources: &[Resource::UserMemlock],
        lies: &[Lie::about(Sysno::sendto, What::OtherErrno(libc::ENOMEM)), Lie::accepted(Sysno::sendto)],
        exceptions: &[
            Exception::Of(Sysno::sendto, What::Shortened, "half of the bytes may be within the limit"),
            Exception::asked(Sysno::sendto),
        ],
        ..Claim::of_answers(
            "zerocopy.limit.pinned-bytes",
            zerocopy_limit_pinned_bytes,
            &[
                ("send(100000 bytes, MSG_ZEROCOPY)", Answer::Fails(Errno::ENOBUFS)),
                ("send(30000 bytes, MSG_ZEROCOPY)", Answer::Is(30_000)),
                ("bytes at the receiver", Answer::Is(30_000)),
            ],
        )
    },
    Claim {
        statement: "When a socket has used up net.core.optmem_max, a send with MSG_ZEROCOPY fails with ENOBUFS and takes nothing: a plain \
                    one is taken.",
        method: "Sets the limit to 0, in a guest or in a network namespace that has one of its own, and sends with and without the flag.",
        sources: &[DOC],
        about: &[Sysno::sendto, Sysno::write],
        resources: &[Resource::Machine],
        lies: &[Lie::about(Sysno::sendto, What::OtherErrno(libc::ENOMEM)), Lie::accepted(Sysno::sendto)],
        ..Claim::of_answers(
            "zerocopy.limit.optmem",
            zerocopy_limit_optmem,
            &[
                ("send(1 byte, MSG_ZEROCOPY)", Answer::Fails(Errno::ENOBUFS)),
                ("write(1 byte)", Answer::Is(1)),
                ("bytes at the receiver", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "After ENOBUFS a completion or POLLERR comes, for which to wait before the next try.",
        method: "With a limit of locked memory of 0 and nothing outstanding, sends with the flag and asks poll() and the error queue.",
        sources: &[Source::Thread("grpc/grpc#30320, which waited for it")],
        about: &[Sysno::sendto, Sysno::recvmsg],
        resources: &[Resource::UserMemlock],
        lies: &[Lie::about(Sysno::recvmsg, What::CompletionForged(0))],
        ..Claim::of_answers(
            "zerocopy.limit.no-pollerr",
            zerocopy_limit_no_pollerr,
            &[("recvmsg(MSG_ERRQUEUE) after ENOBUFS", Answer::Succeeds)],
        )
    },
    Claim {
        statement: "Sends that wait together for the peer's window are completed by one entry of the error queue, however many.",
        method: "Fills the window of a peer that does not read, sends fifty bytes by as many calls, lets the peer read, and reads the \
                 error queue.",
        sources: &[DOC, Source::Measured],
        about: SENDS,
        lies: ONE_SHIFTED,
        ..Claim::of_answers(
            "zerocopy.notify.merged",
            zerocopy_notify_merged,
            &[("sends taken", Answer::Is(50)), ("completions", Answer::Says("[0, 49] copied"))],
        )
    },
    Claim {
        statement: "The default of net.core.optmem_max is 131072 bytes.",
        sources: &[Source::Doc("Documentation/admin-guide/sysctl/net.rst, Linux 7.3")],
        about: &[Sysno::read],
        gates: &[gate(
            "6.8",
            "net.core.optmem_max is 131072 by default",
            Source::Thread("the commit \"net: increase optmem_max default value\""),
        )],
        lies: &[Lie::bytes(Sysno::read, b'1', b'7').where_it(true), Lie::bytes(Sysno::read, b'2', b'7').where_it(true)],
        exceptions: &[
            Exception::Of(Sysno::read, What::TooFew, "what is missing then is the newline"),
            Exception::Lacking("a lie changes digits, not how many there are"),
        ],
        ..Claim::of_answers(
            "zerocopy.limit.optmem-default",
            |_lab| {
                let file =
                    aside(|| std::fs::File::open("/proc/sys/net/core/optmem_max")).setup("open net.core.optmem_max")?;
                let mut text = [0; 32];
                let length = io::read_full(&file, &mut text).setup("read net.core.optmem_max")?;
                let mut seen = Observation::new();
                let text = String::from_utf8_lossy(&text[..length]);
                seen.text("net.core.optmem_max", text.trim_end());
                Ok(seen)
            },
            &[("net.core.optmem_max", Answer::Says("131072"))],
        )
    },
    Claim {
        statement: "Memory of memfd_secret() fails with EFAULT when it is sent with the flag.",
        sources: &[Source::Thread("Linux 7.3, tools/testing/selftests/mm/memfd_secret.c"), Source::Measured],
        about: &[Sysno::sendto, Sysno::write],
        lies: &[Lie::about(Sysno::sendto, What::OtherErrno(libc::ENOLINK)), Lie::accepted(Sysno::sendto)],
        exceptions: &[Exception::asked(Sysno::sendto)],
        ..Claim::of_answers(
            "zerocopy.memory.secret",
            |_lab| {
                let secret = secret_page()?;
                let (near, far) = sockets::tcp()?;
                sockets::zerocopy_on(&near)?;
                let mut seen = Observation::new();
                let flags = usize::try_from(libc::MSG_ZEROCOPY).expect("a small number");
                // SAFETY: the page stays mapped until the process ends.
                let sent = unsafe { ask(Sysno::sendto, [argument(&near), secret, 1, flags, 0, 0]) };
                seen.call("send(secret memory, MSG_ZEROCOPY)", sent);
                // SAFETY: as above; write() copies and keeps nothing.
                let written = io::again(|| unsafe { ask(Sysno::write, [argument(&near), secret, 1, 0, 0, 0]) });
                seen.call("write(secret memory)", written);
                if written.is_ok() {
                    sockets::wait_for_arrival(&far, 1)?;
                }
                Ok(seen)
            },
            &[
                ("send(secret memory, MSG_ZEROCOPY)", Answer::Fails(Errno::EFAULT)),
                ("write(secret memory)", Answer::Is(1)),
            ],
        )
    },
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
    Claim {
        statement: "A vsock socket of type SOCK_SEQPACKET can be made.",
        sources: &[Source::Man("vsock(7), man-pages 6.20"), Source::Measured],
        about: &[Sysno::socket],
        gates: &[gate(
            "5.14",
            "vsock has SOCK_SEQPACKET",
            Source::Thread("the series \"virtio/vsock: introduce SOCK_SEQPACKET support\""),
        )],
        lies: &[Lie::refused(Sysno::socket, libc::ESOCKTNOSUPPORT).where_it(true)],
        exceptions: &[Exception::asked(Sysno::socket), Exception::Lacking("no lie makes a socket")],
        modules: &["vsock_loopback"],
        ..Claim::of_answers(
            "zerocopy.socket.vsock-seqpacket",
            |_lab| {
                // The existence of vsock is another question.
                aside(|| sockets::socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)).setup("socket(AF_VSOCK)")?;
                let mut seen = Observation::new();
                let made = sockets::socket(libc::AF_VSOCK, libc::SOCK_SEQPACKET, 0);
                let kind = |socket: &OwnedFd| aside(|| sockets::get_option(socket, libc::SOL_SOCKET, libc::SO_TYPE));
                seen.text(
                    "type of the socket",
                    match &made {
                        Err(errno) => format!("Err({errno:?})"),
                        Ok(socket) => match kind(socket).setup("SO_TYPE")? {
                            libc::SOCK_SEQPACKET => "SOCK_SEQPACKET".to_owned(),
                            other => format!("Ok(Ok({other}))"),
                        },
                    },
                );
                Ok(seen)
            },
            &[("type of the socket", Answer::Says("SOCK_SEQPACKET"))],
        )
    },
];

/// Sends a byte with the flag, waits until no later completion is possible, and notes the completions.
pub(super) fn send_byte_and_note(seen: &mut Observation, near: &TcpStream, far: &TcpStream) -> Result<(), Stop> {
    let zerocopy = sockets::zerocopy_on(near)?;
    // SAFETY: a static is never freed.
    let sent = io::again(|| unsafe { send_zerocopy(zerocopy, b"b", SendFlags::empty()) });
    seen.call("send(1 byte, MSG_ZEROCOPY)", sent);
    sockets::wait_for_arrival(far, sent.unwrap_or(0))?;
    wait_until(|| Ok(sockets::unacknowledged(near)? == 0))?;
    aside(|| sockets::set_nodelay(near))?;
    let completions = Completions::now(near).setup("read the completions")?;
    seen.text("completions", completions);
    Ok(())
}

fn zerocopy_ids_before_connect(_lab: &Lab) -> Result<Observation, Stop> {
    completions_come()?;
    let socket = aside(|| sockets::socket(libc::AF_INET, libc::SOCK_STREAM, 0)).setup("socket")?;
    let zerocopy = sockets::zerocopy_on(&socket)?;
    let mut seen = Observation::new();
    // SAFETY: a static is never freed.
    let early = io::again(|| unsafe { send_zerocopy(zerocopy, b"b", SendFlags::NOSIGNAL) });
    seen.call("send(not connected, MSG_ZEROCOPY)", early);
    let (near, far) = aside(|| sockets::tcp_from(socket))?;
    send_byte_and_note(&mut seen, &near, &far)?;
    Ok(seen)
}

/// Calls `sendmsg` with the flag and `pieces` pieces of one byte each, all of the same page.
fn send_pieces(socket: &TcpStream, page: &'static [u8], pieces: usize) -> Result<usize, Errno> {
    let pieces: Vec<IoSlice> = page.chunks(1).take(pieces).map(IoSlice::new).collect();
    // SAFETY: the bytes are a static, which is never freed.
    io::again(|| unsafe { io::sendmsg_of(socket, &pieces, libc::MSG_ZEROCOPY) })
}

fn zerocopy_ids_many_pieces(_lab: &Lab) -> Result<Observation, Stop> {
    static PAGE: [u8; 4096] = [b'p'; 4096];
    completions_come()?;
    let (near, far) = sockets::tcp()?;
    sockets::zerocopy_on(&near)?;
    let (mut sends, mut bytes) = (0, 0);
    for pieces in [18, 64] {
        let mut done = 0;
        while done < pieces {
            done += send_pieces(&near, &PAGE, pieces - done).setup("sendmsg")?;
            sends += 1;
        }
        bytes += pieces;
    }
    sockets::wait_for_arrival(&far, bytes)?;
    let mut seen = Observation::new();
    let whole = sockets::readable(&far)? == bytes && super::tools::arrived(&far, &vec![b'p'; bytes])?;
    super::tools::note_bytes(&mut seen, whole);
    sockets::wait_until_acknowledged(&near, &far)?;
    let completions = Completions::now(&near).setup("read the completions")?;
    let one_each = completions.ids() == format!("0 to {}", sends - 1) && completions.count() == sends;
    seen.text("ids", if one_each { "one per sendmsg()".to_owned() } else { completions.to_string() });
    Ok(seen)
}

fn zerocopy_udp_largest(_lab: &Lab) -> Result<Observation, Stop> {
    static BYTES: [u8; 65508] = [b'd'; 65508];
    completions_come()?;
    let (near, far) = aside(sockets::udp)?;
    aside(|| sockets::resize_buffer(&near, libc::SO_SNDBUF, 1 << 20))?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    let mut seen = Observation::new();
    for length in [65508, 65507] {
        // SAFETY: a static is never freed.
        let sent = io::again(|| unsafe { send_zerocopy(zerocopy, &BYTES[..length], SendFlags::empty()) });
        seen.call(format!("send({length} bytes, MSG_ZEROCOPY)"), sent);
    }
    let mut buffer = vec![0; 1 << 16];
    io::wait_for(far.as_fd(), libc::POLLIN).setup("poll")?;
    let read = io::again(|| io::read(&far, &mut buffer)).setup("read the datagram")?;
    seen.count("bytes of the datagram", read as u64);
    let completions = Completions::wait(&near, 1).setup("read the completions")?;
    seen.text("completions", completions);
    Ok(seen)
}

fn zerocopy_copies_fragments(_lab: &Lab) -> Result<Observation, Stop> {
    let socket = netns::udp_into_nothing()?;
    let memory = alias::memory(1 << 15)?;
    aside(|| sockets::resize_buffer(&socket, libc::SO_SNDBUF, 1 << 20))?;
    let zerocopy = sockets::zerocopy_on(&socket)?;
    let mut seen = Observation::new();
    for length in [1 << 12, 1 << 15] {
        // SAFETY: the memory is freed after the completions.
        let sent = io::again(|| unsafe { send_zerocopy(zerocopy, &memory[..length], SendFlags::empty()) });
        if sent.setup("send")? != length {
            return Err(Stop::broken("a datagram was sent in part"));
        }
        let completions = Completions::wait(&socket, 1).setup("read the completions")?;
        seen.text(format!("completion of {length} bytes"), completions);
    }
    Ok(seen)
}

fn zerocopy_udp_corked(_lab: &Lab) -> Result<Observation, Stop> {
    static BYTES: [u8; 100] = [b'd'; 100];
    completions_come()?;
    let (near, far) = aside(sockets::udp)?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    for flags in [SendFlags::MORE, SendFlags::MORE, SendFlags::empty()] {
        // SAFETY: a static is never freed.
        let sent = io::again(|| unsafe { send_zerocopy(zerocopy, &BYTES, flags) });
        if sent.setup("send")? != BYTES.len() {
            return Err(Stop::broken("a datagram was sent in part"));
        }
    }
    io::wait_for(far.as_fd(), libc::POLLIN).setup("poll")?;
    let mut buffer = vec![0; 1 << 16];
    let read = io::again(|| io::read(&far, &mut buffer)).setup("read the datagram")?;
    let mut seen = Observation::new();
    seen.count("bytes of the datagram", read as u64);
    let completions = Completions::wait(&near, 3).setup("read the completions")?;
    seen.text("ids", completions.ids());
    Ok(seen)
}

fn zerocopy_limit_pinned_bytes(_lab: &Lab) -> Result<Observation, Stop> {
    static BYTES: [u8; 100_000] = [b'd'; 100_000];
    let (near, far) = sockets::tcp()?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    privilege::drop_ipc_lock().setup("drop CAP_IPC_LOCK")?;
    privilege::limit_locked_memory(1 << 16).setup("RLIMIT_MEMLOCK")?;
    let mut seen = Observation::new();
    for length in [100_000, 30_000] {
        // SAFETY: a static is never freed.
        let sent = unsafe { send_zerocopy(zerocopy, &BYTES[..length], SendFlags::empty()) };
        seen.call(format!("send({length} bytes, MSG_ZEROCOPY)"), sent);
    }
    wait_until(|| Ok(sockets::unacknowledged(&near)? == 0))?;
    super::tools::note_readable(&mut seen, "bytes at the receiver", &far)?;
    Ok(seen)
}

fn zerocopy_limit_optmem(_lab: &Lab) -> Result<Observation, Stop> {
    const LIMIT: &str = "/proc/sys/net/core/optmem_max";
    let _setting = if netns::is_disposable() {
        Some(Setting::change(LIMIT, "0")?)
    } else {
        netns::alone(&[])?;
        if !Path::new(LIMIT).exists() {
            return Err(Stop::untestable(
                Lack::Device,
                "net.core.optmem_max is of the whole machine, which is not disposable",
                "run it in a guest: conformance vm run --kernel 6.1",
            ));
        }
        aside(|| std::fs::write(LIMIT, "0")).setup(LIMIT)?;
        None
    };
    let (near, far) = sockets::tcp()?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    let mut seen = Observation::new();
    // SAFETY: a static is never freed.
    let sent = io::again(|| unsafe { send_zerocopy(zerocopy, b"z", SendFlags::empty()) });
    seen.call("send(1 byte, MSG_ZEROCOPY)", sent);
    seen.call("write(1 byte)", io::again(|| io::write(&near, b"w")));
    wait_until(|| Ok(sockets::unacknowledged(&near)? == 0))?;
    super::tools::note_readable(&mut seen, "bytes at the receiver", &far)?;
    Ok(seen)
}

fn zerocopy_limit_no_pollerr(_lab: &Lab) -> Result<Observation, Stop> {
    completions_come()?;
    let (near, far) = sockets::tcp()?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    privilege::drop_ipc_lock().setup("drop CAP_IPC_LOCK")?;
    privilege::limit_locked_memory(0).setup("RLIMIT_MEMLOCK")?;
    // SAFETY: a static is never freed.
    let sent = io::again(|| unsafe { send_zerocopy(zerocopy, b"1", SendFlags::empty()) });
    if sent != Err(Errno::ENOBUFS) {
        return Err(Stop::broken(format!("a send beyond the limit: {sent:?}")));
    }
    let mut seen = Observation::new();
    let received = io::again(|| io::recvmsg(&near, &mut [], &mut [0; 256], libc::MSG_ERRQUEUE));
    seen.call("recvmsg(MSG_ERRQUEUE) after ENOBUFS", received.map(|one| one.bytes));
    let again = aside(|| io::write(&near, b"1"));
    seen.call("write() in its place", again);
    sockets::wait_for_arrival(&far, 1)?;
    Ok(seen)
}

fn zerocopy_notify_merged(_lab: &Lab) -> Result<Observation, Stop> {
    completions_come()?;
    let (near, far) = sockets::tcp()?;
    aside(|| {
        sockets::resize_buffer(&far, libc::SO_RCVBUF, 4096)?;
        sockets::resize_buffer(&near, libc::SO_SNDBUF, 1 << 18)?;
        io::set_nonblocking(&near).setup("O_NONBLOCK")
    })?;
    // The data past the window stays in the send queue, with everything that follows it.
    let filled = aside(|| io::write(&near, &vec![0; 1 << 16])).setup("write")?;
    let window_is_full = || Ok::<bool, Stop>(aside(|| sockets::unsent(&near))? > 0);
    if !window_is_full()? {
        return Err(Stop::broken("the peer's window took all"));
    }
    let zerocopy = sockets::zerocopy_on(&near)?;
    let mut taken = 0;
    for _ in 0..50 {
        // SAFETY: a static is never freed.
        let sent = io::again(|| unsafe { send_zerocopy(zerocopy, b"b", SendFlags::empty()) });
        taken += sent.setup("send")?;
    }
    let mut seen = Observation::new();
    seen.count("sends taken", taken as u64);
    let mut bytes = vec![0; filled + taken];
    let read = aside(|| io::read_full(&far, &mut bytes)).setup("read at the receiver")?;
    if read != bytes.len() || bytes[filled..] != vec![b'b'; taken] {
        return Err(Stop::broken("the receiver got other bytes"));
    }
    wait_until(|| Ok(sockets::unacknowledged(&near)? == 0))?;
    aside(|| sockets::set_nodelay(&near))?;
    let completions = Completions::now(&near).setup("read the completions")?;
    seen.text("completions", completions);
    Ok(seen)
}

/// A page of memory that only this process can access. Returns its address. It stays mapped.
pub(super) fn secret_page() -> Result<usize, Stop> {
    let secret = open::memfd_secret()?;
    danger::SECRET_MEMORY.avoid()?;
    aside(|| {
        // SAFETY: ftruncate takes no pointer.
        if unsafe { libc::ftruncate(secret.as_raw_fd(), 4096) } == -1 {
            return Err(Stop::from_setup("ftruncate", sockets::last_errno()));
        }
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping where the kernel likes, which nothing else knows.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, secret.as_raw_fd(), 0) };
        if page == libc::MAP_FAILED {
            return Err(Stop::from_setup("mmap", sockets::last_errno()));
        }
        // SAFETY: the page is ours, and writable.
        unsafe { page.cast::<u8>().write(b's') };
        Ok(page.expose_provenance())
    })
}

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
