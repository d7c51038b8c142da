//! `MSG_ZEROCOPY`.

use super::tools::{all_arrived, arrived, entries_of};
use crate::claim::source::{Source, seed};
use crate::claim::{Claim, Exception, Gate, Resource, gate};
use crate::interpose::lie::{Field, Lie, What};
use crate::interpose::record::aside;
use crate::lab::alias::{self, LENGTH, NEW, OLD, Sharing};
use crate::lab::completions::Completions;
use crate::lab::sinks::{Kind, Sink};
use crate::lab::waiting::wait_until;
use crate::lab::{Lab, io, netns, privilege, sockets};
use crate::routes::{Route, WHOLE};
use crate::verdict::{Lack, Observation, Setup, Stop, Verdict};
use nocopy_msg_zerocopy::{Enabled, SendFlags, enable, send_zerocopy};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use syscalls::{Errno, Sysno};

const DOC: Source = Source::Doc("Documentation/networking/msg_zerocopy.rst, Linux 7.3");
const COPIED: &str = "completions marked as copied";

/// Lies about a kernel that copies: its completions report no copy.
const NOT_COPIED: &[Lie] = &[Lie::completion(Field::Code, 0)];
/// Lies about a kernel that does not copy: its completions report a copy.
const COPIED_INSTEAD: &[Lie] = &[Lie::completion(Field::Code, 1)];
const DATAGRAMS: &[Exception] = &[Exception::Of(Sysno::sendto, What::Shortened, "a datagram is sent whole or not")];

/// The change that allows vsock to take the option.
const VSOCK: Gate = gate(
    "6.7",
    "a vsock socket takes SO_ZEROCOPY",
    Source::Thread("the series \"vsock/virtio: continue MSG_ZEROCOPY support\" of Linux 6.7"),
);

/// Claims about `MSG_ZEROCOPY`.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "A TCP socket takes SO_ZEROCOPY (since Linux 4.14).",
        method: "Sets the option and reads it back.",
        sources: &[seed("1.1"), seed("3.4"), seed("5.3"), DOC],
        about: &[Sysno::setsockopt],
        lies: &[Lie::refused(Sysno::setsockopt, libc::ENOPROTOOPT), Lie::skipped(Sysno::setsockopt)],
        gates: &[gate("4.14", "a TCP socket takes SO_ZEROCOPY", seed("1.1"))],
        ..Claim::new("zerocopy.socket.tcp", zerocopy_socket_tcp, |seen| {
            Verdict::holds_if(is_set(seen, "SO_ZEROCOPY of a TCP socket, set"))
        })
    },
    Claim {
        statement: "With Linux 4.14 MSG_ZEROCOPY came to sockets of every kind.",
        method: "Sets SO_ZEROCOPY on a socket of each family that an unprivileged user can make.",
        sources: &[seed("1.1"), seed("3.4")],
        about: &[Sysno::setsockopt],
        lies: &[Lie::accepted(Sysno::setsockopt)],
        gates: &[gate(
            "5.0",
            "a UDP socket takes SO_ZEROCOPY",
            Source::Thread("the series \"udp msg_zerocopy\" of Linux 5.0"),
        )],
        ..Claim::new("zerocopy.socket.every-kind", zerocopy_socket_every_kind, |seen| {
            Verdict::holds_if(seen.facts().iter().all(|fact| seen.succeeded(&fact.fact)))
        })
    },
    Claim {
        statement: "sendmsg() with MSG_ZEROCOPY, as in the sample, is a zero-copy send: a completion comes for it.",
        method: "Makes the sample's call on a socket without SO_ZEROCOPY and, when the peer has read and acknowledged all, \
                 looks for a completion. The same with SO_ZEROCOPY is the control: there one comes.",
        sources: &[seed("3.4"), seed("5.3"), seed("7.2")],
        about: &[Sysno::sendmsg, Sysno::recvmsg],
        lies: &[Lie::about(Sysno::recvmsg, What::CompletionForged(0)).after(0)],
        ..Claim::new("zerocopy.sample.flag-only", zerocopy_sample_flag_only, |seen| {
            Verdict::holds_if(seen.counted("completions without SO_ZEROCOPY") > 0)
        })
    },
    Claim {
        statement: "From user memory to a TCP socket over loopback, MSG_ZEROCOPY makes no CPU copy.",
        method: "Reads from the completion whether the kernel copied; changes the memory when all has arrived and looks at what \
                 the receiver reads.",
        sources: &[seed("3.4"), seed("6.1")],
        about: &[Sysno::sendto, Sysno::recvmsg],
        lies: NOT_COPIED,
        varies: &["completions"],
        ..Claim::new("zerocopy.copies.tcp", zerocopy_copies_tcp, |seen| Verdict::holds_if(seen.counted(COPIED) == 0))
    },
    Claim {
        statement: "From user memory to an AF_UNIX socket, MSG_ZEROCOPY makes no CPU copy.",
        method: "Sets SO_ZEROCOPY, sends with the flag in any case, changes the memory, and looks at what the receiver reads.",
        sources: &[seed("3.4"), seed("6.1")],
        about: &[Sysno::setsockopt, Sysno::sendmsg],
        lies: alias::SHARING_LIES,
        ..Claim::new("zerocopy.copies.unix", zerocopy_copies_unix, |seen| {
            Verdict::holds_if(seen.is("memory changed after sendmsg(), receiver's bytes", "shared"))
        })
    },
    Claim {
        statement: "MSG_ZEROCOPY sends into a pipe without a CPU copy.",
        method: "Calls sendmsg() with the flag on the write end of a pipe.",
        sources: &[seed("3.4")],
        about: &[Sysno::sendmsg],
        lies: &[Lie::accepted(Sysno::sendmsg)],
        ..Claim::new(
            "zerocopy.copies.pipe",
            |lab| zerocopy_no_socket(lab, Kind::Pipe),
            |seen| Verdict::holds_if(seen.succeeded("sendmsg(pipe, MSG_ZEROCOPY)")),
        )
    },
    Claim {
        statement: "MSG_ZEROCOPY writes into a file without a CPU copy.",
        method: "Calls sendmsg() with the flag on a file.",
        sources: &[seed("3.4")],
        about: &[Sysno::sendmsg],
        lies: &[Lie::accepted(Sysno::sendmsg)],
        ..Claim::new(
            "zerocopy.copies.file",
            |lab| zerocopy_no_socket(lab, Kind::File),
            |seen| Verdict::holds_if(seen.succeeded("sendmsg(file, MSG_ZEROCOPY)")),
        )
    },
    Claim {
        statement: "Out of a device that hands nothing back to this machine, MSG_ZEROCOPY makes no CPU copy.",
        method: "Sends UDP datagrams out of a device that drops them (dummy or ifb, in a network namespace) and reads from the \
                 completions whether the kernel copied.",
        sources: &[seed("3.4"), seed("6.1"), DOC],
        about: &[Sysno::sendto, Sysno::recvmsg],
        modules: &["dummy"],
        lies: COPIED_INSTEAD,
        exceptions: DATAGRAMS,
        varies: &["completions"],
        ..Claim::new("zerocopy.copies.dropping-device", zerocopy_copies_dropping_device, |seen| {
            Verdict::holds_if(seen.counted(COPIED) == 0)
        })
    },
    Claim {
        statement: "To another network namespace, over veth, MSG_ZEROCOPY makes no CPU copy.",
        method: "Sends over TCP to a peer in another namespace and reads from the completions whether the kernel copied.",
        sources: &[seed("3.4"), DOC],
        about: &[Sysno::sendto, Sysno::recvmsg],
        modules: &["veth"],
        lies: NOT_COPIED,
        varies: &["completions"],
        ..Claim::new(
            "zerocopy.copies.veth",
            |_lab| over(&netns::tcp_over_veth()?),
            |seen| Verdict::holds_if(seen.counted(COPIED) == 0),
        )
    },
    Claim {
        statement: "Out of a network card that gathers and checksums, MSG_ZEROCOPY over TCP makes no CPU copy.",
        method: "In a guest with two cards wired to each other: sends over TCP to a peer in another namespace and reads from the \
                 completions whether the kernel copied.",
        sources: &[DOC, Source::Measured],
        about: &[Sysno::sendto, Sysno::recvmsg],
        modules: &["vmxnet3"],
        resources: &[Resource::Machine],
        lies: COPIED_INSTEAD,
        varies: &["completions"],
        ..Claim::new(
            "zerocopy.copies.network-card",
            |_lab| over(&netns::tcp_over_cards()?),
            |seen| Verdict::holds_if(seen.counted(COPIED) == 0),
        )
    },
    Claim {
        statement: "A vsock socket takes SO_ZEROCOPY.",
        method: "Sets the option on a stream socket of the family.",
        sources: &[DOC],
        about: &[Sysno::setsockopt],
        modules: &["vsock_loopback"],
        lies: &[Lie::refused(Sysno::setsockopt, libc::EOPNOTSUPP).where_it(true), Lie::accepted(Sysno::setsockopt)],
        gates: &[VSOCK],
        ..Claim::new("zerocopy.socket.vsock", zerocopy_socket_vsock, |seen| {
            Verdict::holds_if(seen.succeeded("SO_ZEROCOPY of a vsock socket, set"))
        })
    },
    Claim {
        statement: "Over vsock loopback, MSG_ZEROCOPY makes no CPU copy: the receiver reads the sender's own pages.",
        method: "Sends to the own machine (CID 1), changes the memory when something has arrived, and looks at what the receiver \
                 reads and what the completion says.",
        sources: &[DOC, Source::Measured],
        about: &[Sysno::sendto, Sysno::recvmsg],
        modules: &["vsock_loopback"],
        lies: alias::SHARING_LIES,
        varies: &["completions"],
        gates: &[VSOCK],
        ..Claim::new("zerocopy.copies.vsock-loopback", zerocopy_copies_vsock_loopback, |seen| {
            Verdict::holds_if(seen.is("memory changed after sendmsg(), receiver's bytes", "shared"))
        })
    },
    Claim {
        statement: "MSG_ZEROCOPY is for sending: as a flag of recvmsg() it does nothing.",
        method: "Receives with the flag on a socket with SO_ZEROCOPY and compares with a plain receive of the same bytes; no \
                 completion comes at either end.",
        sources: &[seed("3.4"), seed("5.3")],
        about: &[Sysno::recvmsg],
        lies: &[Lie::about(Sysno::recvmsg, What::Garbled).after(0)],
        ..Claim::new("zerocopy.recv.flag", zerocopy_recv_flag, |seen| {
            Verdict::holds_if(
                seen.is("bytes received with the flag", "copied into the buffer") && seen.counted("completions") == 0,
            )
        })
    },
    Claim {
        statement: "Linux has no zero-copy for receiving from a socket.",
        method: "Asks a TCP socket for TCP_ZEROCOPY_RECEIVE. An option that no kernel has is the control: ENOPROTOOPT.",
        sources: &[seed("5.3")],
        about: &[Sysno::getsockopt],
        lies: &[Lie::refused(Sysno::getsockopt, libc::ENOPROTOOPT)],
        gates: &[gate(
            "4.18",
            "a TCP socket has TCP_ZEROCOPY_RECEIVE",
            Source::Thread("the commit \"tcp: add TCP_ZEROCOPY_RECEIVE support for zerocopy receive\" of Linux 4.18"),
        )],
        ..Claim::new("zerocopy.recv.tcp-zerocopy-receive", zerocopy_recv_tcp_zerocopy_receive, |seen| {
            Verdict::holds_if(seen.failed_with("getsockopt(TCP_ZEROCOPY_RECEIVE)", Errno::ENOPROTOOPT))
        })
    },
    Claim {
        statement: "Every send with MSG_ZEROCOPY has its completion, which the sender must wait for.",
        method: "Sends three times and reads completions until they cover three sends; then there are no more.",
        sources: &[seed("5.3"), DOC],
        about: &[Sysno::sendto, Sysno::recvmsg],
        lies: &[
            Lie::refused(Sysno::recvmsg, libc::EAGAIN),
            Lie::about(Sysno::recvmsg, What::CompletionForged(3)).after(3),
        ],
        varies: &["completions"],
        ..Claim::new("zerocopy.notify.every-send", zerocopy_notify_every_send, |seen| {
            Verdict::holds_if(
                seen.counted("sends completed") == seen.counted("sends")
                    && seen.counted("completions after those") == 0,
            )
        })
    },
    Claim {
        statement: "The kernel lets a sender go on that reads no completion.",
        method: "Sends 1000 times 100 bytes, the peer reading them, without a look at the error queue; then reads it.",
        sources: &[Source::Measured],
        about: &[Sysno::sendto],
        lies: &[Lie::refused(Sysno::sendto, libc::ENOBUFS).after(100)],
        varies: &["ranges in the error queue"],
        ..Claim::new("zerocopy.notify.not-enforced", zerocopy_notify_not_enforced, |seen| {
            Verdict::holds_if(seen.counted("sends taken") == 1000 && seen.counted("sends completed") == 1000)
        })
    },
    Claim {
        statement: "The sample's recvmsg(), which sets msg_control but not msg_controllen, brings the completion.",
        method: "Reads a completion with a control buffer of length 0, as the sample's zeroed or unset field has it at best, then \
                 another with a buffer of 8 bytes, and looks for what is left.",
        sources: &[seed("5.3")],
        about: &[Sysno::recvmsg],
        lies: &[Lie::skipped(Sysno::recvmsg).with(2, 0x2000)],
        ..Claim::new("zerocopy.sample.errqueue-lost", zerocopy_sample_errqueue_lost, |seen| {
            Verdict::holds_if(
                seen.counted("control bytes, buffer of 0") > 0
                    || seen.is("entry afterwards, buffer of 0", "still there"),
            )
        })
    },
    Claim {
        statement: "Sending with MSG_ZEROCOPY is one system call, two crossings.",
        method: "The interposer counts the kernel entries of sending 1 MiB in chunks of 16 KiB, completions included.",
        sources: &[seed("6.1")],
        about: &[Sysno::sendto, Sysno::recvmsg],
        traced: true,
        exceptions: &[Exception::Controls(
            "no lie makes the route not read completions; that they come is what zerocopy.notify.every-send turns on",
        )],
        varies: &["1 MiB in chunks of 16 KiB, completions read"],
        ..Claim::new("zerocopy.entries.notifications", zerocopy_entries_notifications, |seen| {
            Verdict::holds_if(seen.entries("1 MiB in chunks of 16 KiB, completions read", "recvmsg") == 0)
        })
    },
    Claim {
        statement: "Beyond the kernel version, the direction and the completions, MSG_ZEROCOPY has no limit.",
        method: "With a limit of locked memory of 0 and without CAP_IPC_LOCK, sends one byte with and without the flag.",
        sources: &[seed("5.3")],
        about: &[Sysno::sendto],
        resources: &[Resource::UserMemlock],
        lies: &[Lie::accepted(Sysno::sendto)],
        ..Claim::new("zerocopy.limit.memlock", zerocopy_limit_memlock, |seen| {
            Verdict::holds_if(seen.succeeded("send(1 byte, MSG_ZEROCOPY), RLIMIT_MEMLOCK 0"))
        })
    },
    Claim {
        statement: "SO_ZEROCOPY is off on a new socket.",
        method: "Reads the option of a new TCP socket.",
        sources: &[DOC],
        about: &[Sysno::getsockopt],
        lies: &[Lie::about(Sysno::getsockopt, What::Output { argument: 3, value: 1 })],
        ..Claim::new("zerocopy.option.default-off", zerocopy_option_default_off, |seen| {
            Verdict::holds_if(
                seen.returned("SO_ZEROCOPY of a new TCP socket") == Some(0)
                    && is_set(seen, "SO_ZEROCOPY when it has been set"),
            )
        })
    },
    Claim {
        statement: "An accepted socket has the SO_ZEROCOPY of its listener.",
        method: "Sets the option on a listener and reads it on the socket that accept() returns; without, for contrast.",
        sources: &[
            Source::Thread("Linux 7.3, tools/testing/selftests/net/packetdrill/tcp_zerocopy_basic.pkt"),
            Source::Measured,
        ],
        about: &[Sysno::setsockopt, Sysno::getsockopt, Sysno::accept4],
        lies: &[Lie::about(Sysno::getsockopt, What::Output { argument: 3, value: 0 })],
        ..Claim::new("zerocopy.option.inherited", zerocopy_option_inherited, |seen| {
            Verdict::holds_if(
                seen.returned("SO_ZEROCOPY of an accepted socket, listener 1") == Some(1)
                    && seen.returned("SO_ZEROCOPY of an accepted socket, listener 0") == Some(0),
            )
        })
    },
    Claim {
        statement: "Completions name sends by a number per socket: it starts at 0 and counts the calls with MSG_ZEROCOPY that \
                    took bytes, whatever their length.",
        method: "Sends once, then 100, 4096 and 1 bytes with the flag and once without, and reads the ranges.",
        sources: &[DOC],
        about: &[Sysno::sendto, Sysno::recvmsg],
        lies: &[Lie::about(Sysno::recvmsg, What::IdsShifted(1))],
        ..Claim::new("zerocopy.ids.count-flagged-calls", zerocopy_ids_count_flagged_calls, |seen| {
            let same = |a, b| seen.value(a) == seen.value(b);
            Verdict::holds_if(
                same("ids of the first send", "first ids by the calls that took bytes")
                    && same("ids of the next three", "next ids by the calls that took bytes"),
            )
        })
    },
    Claim {
        statement: "On an AF_UNIX socket recvmsg() ignores MSG_ERRQUEUE: it takes ordinary data.",
        method: "Puts five bytes into the queue and reads with MSG_ERRQUEUE; the same on a TCP socket, for contrast.",
        sources: &[Source::Measured],
        about: &[Sysno::recvmsg],
        lies: &[Lie::refused(Sysno::recvmsg, libc::EAGAIN), Lie::accepted(Sysno::recvmsg)],
        ..Claim::new("zerocopy.queue.unix-ignores-errqueue", zerocopy_queue_unix_ignores_errqueue, |seen| {
            Verdict::holds_if(
                seen.returned("recvmsg(AF_UNIX socket, MSG_ERRQUEUE)") == Some(5)
                    && seen.failed_with("recvmsg(TCP socket, MSG_ERRQUEUE)", Errno::EAGAIN),
            )
        })
    },
];

/// Sets the option. Returns the result of the call, and after a success the value of the option: 1 if it is set.
fn set_zerocopy(socket: &impl AsFd) -> Result<Result<usize, Errno>, Stop> {
    match enable(socket.as_fd()) {
        Err(errno) => Ok(Err(errno)),
        Ok(_) => aside(|| option(socket)).setup("read SO_ZEROCOPY back").map(Ok),
    }
}

/// Whether the option was set and reads back as set.
fn is_set(seen: &Observation, fact: &str) -> bool {
    seen.returned(fact) == Some(1)
}

/// Sends all of `bytes` with the flag. Returns the number of calls.
///
/// # Safety
///
/// As for [`send_zerocopy`].
unsafe fn send_all(zerocopy: Enabled<'_>, bytes: &[u8]) -> Result<u64, Stop> {
    let (mut done, mut calls) = (0, 0);
    while done < bytes.len() {
        // SAFETY: a part of the caller's bytes, under the caller's promise.
        let sent = io::again(|| unsafe { send_zerocopy(zerocopy, &bytes[done..], SendFlags::empty()) });
        done += sent.setup("send")?;
        calls += 1;
    }
    Ok(calls)
}

/// Checks that completions arrive at all. Call this before a wait for a completion, so that the wait ends.
///
/// A kernel may accept the option and the flag, and implement neither, as gVisor does. This sends a byte with the flag over a
/// separate connection, and waits until no later completion is possible.
pub(super) fn completions_come() -> Result<(), Stop> {
    let (near, far) = sockets::tcp()?;
    let came = aside(|| {
        let zerocopy = sockets::zerocopy_on(&near)?;
        // SAFETY: a static never changes and is never freed.
        unsafe { send_all(zerocopy, b"1") }?;
        sockets::wait_for_arrival(&far, 1)?;
        sockets::wait_until_acknowledged(&near, &far)?;
        Completions::now(&near).setup("read the error queue")
    })?;
    if came.count() == 1 {
        Ok(())
    } else {
        Err(Stop::untestable(
            Lack::Kernel,
            "SO_ZEROCOPY and MSG_ZEROCOPY are accepted, and no completion comes: who waits for one waits for ever",
            "use a kernel that completes such sends",
        ))
    }
}

/// A call that failed because of its flag. Linux ignores unknown flags; gVisor's `sendmsg` refuses them.
fn flag_refused(call: &str, errno: Errno) -> Stop {
    if errno == Errno::EINVAL {
        Stop::untestable(
            Lack::Kernel,
            format!("{call}() refuses MSG_ZEROCOPY: EINVAL"),
            "use a kernel that knows the flag",
        )
    } else {
        Stop::from_setup(call, errno)
    }
}

fn zerocopy_socket_tcp(_lab: &Lab) -> Result<Observation, Stop> {
    let socket = sockets::socket(libc::AF_INET, libc::SOCK_STREAM, 0).setup("socket")?;
    let mut seen = Observation::new();
    seen.call("SO_ZEROCOPY of a TCP socket, set", set_zerocopy(&socket)?);
    Ok(seen)
}

fn zerocopy_socket_every_kind(_lab: &Lab) -> Result<Observation, Stop> {
    let kinds = [
        ("TCP", libc::AF_INET, libc::SOCK_STREAM),
        ("TCP over IPv6", libc::AF_INET6, libc::SOCK_STREAM),
        ("UDP", libc::AF_INET, libc::SOCK_DGRAM),
        ("AF_UNIX stream", libc::AF_UNIX, libc::SOCK_STREAM),
        ("AF_UNIX datagram", libc::AF_UNIX, libc::SOCK_DGRAM),
        ("netlink", libc::AF_NETLINK, libc::SOCK_RAW),
    ];
    let mut seen = Observation::new();
    for (name, domain, kind) in kinds {
        match sockets::socket(domain, kind, 0) {
            Ok(socket) => seen.call(format!("SO_ZEROCOPY of a {name} socket, set"), set_zerocopy(&socket)?),
            // A kernel without IPv6, for example, shows nothing about zero-copy.
            Err(_) => continue,
        };
    }
    Ok(seen)
}

fn zerocopy_sample_flag_only(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = sockets::tcp()?;
    let mut memory = alias::memory(LENGTH)?;
    let send_and_settle = || -> Result<u64, Stop> {
        // SAFETY: the memory lives until the process ends.
        let sent = io::again(|| unsafe { io::sendmsg(&near, &memory, libc::MSG_ZEROCOPY) });
        let sent = sent.map_err(|errno| flag_refused("sendmsg", errno))?;
        sockets::wait_for_arrival(&far, sent)?;
        let came = sockets::readable(&far)?;
        if sent == 0 || came != sent || !arrived(&far, &[OLD; LENGTH][..came])? {
            return Err(Stop::broken(format!("{came} bytes came of {sent}, or other ones")));
        }
        // Everything is acknowledged: the socket holds no data for which a completion could arrive later.
        wait_until(|| Ok(sockets::unacknowledged(&near)? == 0))?;
        Ok(Completions::now(&near).setup("read the error queue")?.count())
    };
    let mut seen = Observation::new();
    seen.count("completions without SO_ZEROCOPY", send_and_settle()?);
    sockets::zerocopy_on(&near)?;
    let control = send_and_settle()?;
    if control != 1 {
        return Err(Stop::broken(format!("with SO_ZEROCOPY there were {control} completions, not 1")));
    }
    seen.count("completions with SO_ZEROCOPY", control);
    memory.fill(NEW);
    Ok(seen)
}

fn zerocopy_copies_tcp(_lab: &Lab) -> Result<Observation, Stop> {
    completions_come()?;
    let (near, far) = sockets::tcp()?;
    let mut memory = alias::memory(LENGTH)?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    // SAFETY: the memory is freed after the completion.
    let sends = unsafe { send_all(zerocopy, &memory) }?;
    sockets::wait_for_arrival(&far, LENGTH)?;
    memory.fill(NEW);
    let mut bytes = vec![0; LENGTH];
    io::read_full(&far, &mut bytes).setup("read at the receiver")?;
    let completions = Completions::wait(&near, sends).setup("read the completions")?;
    let mut seen = Observation::new();
    seen.text("completions", &completions).count(COPIED, completions.copied());
    seen.text("memory changed after send(), receiver's bytes", Sharing::of(&bytes)?);
    Ok(seen)
}

fn zerocopy_copies_unix(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = UnixStream::pair().setup("socketpair")?;
    let mut memory = alias::memory(LENGTH)?;
    let mut seen = Observation::new();
    seen.call("SO_ZEROCOPY of an AF_UNIX socket, set", set_zerocopy(&near)?);
    // SAFETY: the memory lives until the process ends.
    alias::send_all(|done| unsafe { io::sendmsg(&near, &memory[done..], libc::MSG_ZEROCOPY) })
        .map_err(|errno| flag_refused("sendmsg", errno))?;
    memory.fill(NEW);
    let mut bytes = vec![0; LENGTH];
    let count = io::read_full(&far, &mut bytes).setup("read at the receiver")?;
    let more = aside(|| sockets::readable(&far))?;
    seen.count("bytes at the receiver", (count + more) as u64);
    seen.text("memory changed after sendmsg(), receiver's bytes", Sharing::of(&bytes)?);
    Ok(seen)
}

fn zerocopy_no_socket(lab: &Lab, kind: Kind) -> Result<Observation, Stop> {
    let sink = Sink::open(lab, kind)?;
    let mut seen = Observation::new();
    // SAFETY: a static never goes away.
    let sent = io::again(|| unsafe { io::sendmsg(&sink, b"static", libc::MSG_ZEROCOPY) });
    seen.call(format!("sendmsg({kind}, MSG_ZEROCOPY)"), sent);
    Ok(seen)
}

fn zerocopy_copies_dropping_device(_lab: &Lab) -> Result<Observation, Stop> {
    let socket = netns::udp_into_nothing()?;
    let memory = alias::memory(LENGTH)?;
    let zerocopy = sockets::zerocopy_on(&socket)?;
    for _ in 0..4 {
        // SAFETY: the memory is freed after the completions.
        let sent = io::again(|| unsafe { send_zerocopy(zerocopy, &memory[..netns::DATAGRAM], SendFlags::empty()) });
        if sent.setup("send")? != netns::DATAGRAM {
            return Err(Stop::broken("a datagram was sent in part"));
        }
    }
    let completions = Completions::wait(&socket, 4).setup("read the completions")?;
    let mut seen = Observation::new();
    seen.text("completions", &completions).count(COPIED, completions.copied());
    Ok(seen)
}

/// Sends four pages four times to a peer that reads, and notes the completions.
fn over(remote: &netns::Remote) -> Result<Observation, Stop> {
    let memory = alias::memory(LENGTH)?;
    let zerocopy = sockets::zerocopy_on(&remote.socket)?;
    let mut sends = 0;
    for _ in 0..4 {
        // SAFETY: the memory is freed after the completions.
        sends += unsafe { send_all(zerocopy, &memory) }?;
    }
    let completions = Completions::wait(&remote.socket, sends).setup("read the completions")?;
    let mut seen = Observation::new();
    seen.text("completions", &completions).count("sends", sends).count(COPIED, completions.copied());
    Ok(seen)
}

fn zerocopy_socket_vsock(_lab: &Lab) -> Result<Observation, Stop> {
    let socket = sockets::socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0).setup("socket(AF_VSOCK)")?;
    let mut seen = Observation::new();
    seen.call("SO_ZEROCOPY of a vsock socket, set", set_zerocopy(&socket)?);
    Ok(seen)
}

fn zerocopy_copies_vsock_loopback(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = sockets::vsock()?;
    let mut memory = alias::memory(LENGTH)?;
    let mut seen = Observation::new();
    let enabled = set_zerocopy(&near)?;
    seen.call("SO_ZEROCOPY of a vsock socket, set", enabled);
    // SAFETY: the memory is freed after the completion, if there is to be one.
    let mut sends = 0;
    alias::send_all(|done| {
        // SAFETY: the memory is freed after the completions, if there are to be any.
        let sent = unsafe { io::sendmsg(&near, &memory[done..], libc::MSG_ZEROCOPY) };
        sends += u64::from(sent.is_ok());
        sent
    })
    .setup("sendmsg")?;
    io::wait_for(far.as_fd(), libc::POLLIN).setup("poll")?;
    memory.fill(NEW);
    let mut bytes = vec![0; LENGTH];
    if io::read_full(&far, &mut bytes).setup("read at the receiver")? != LENGTH {
        return Err(Stop::broken("the receiver got fewer bytes"));
    }
    if enabled.is_ok() {
        let completions = Completions::wait(&near, sends).setup("read the completions")?;
        seen.text("completions", completions);
    }
    seen.text("memory changed after sendmsg(), receiver's bytes", Sharing::of(&bytes)?);
    Ok(seen)
}

fn zerocopy_recv_flag(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = sockets::tcp()?;
    sockets::zerocopy_on(&near)?;
    sockets::zerocopy_on(&far)?;
    io::write_all(&far, &[OLD; LENGTH]).setup("write")?;
    sockets::wait_for_arrival(&near, LENGTH)?;
    let mut buffer = [0; LENGTH];
    let (mut received, mut flags) = (0, 0);
    while received < LENGTH {
        let rest = &mut buffer[received..];
        let part = io::again(|| io::recvmsg(&near, rest, &mut [], libc::MSG_ZEROCOPY));
        let part = part.map_err(|errno| flag_refused("recvmsg", errno))?;
        flags |= part.flags;
        match part.bytes {
            0 => break,
            count => received += count,
        }
    }
    wait_until(|| Ok(sockets::unacknowledged(&far)? == 0))?;
    let completions = Completions::now(&near).setup("read the error queue")?.count()
        + Completions::now(&far).setup("read the error queue")?.count();
    let mut seen = Observation::new();
    let copied = received == LENGTH && buffer == [OLD; LENGTH];
    seen.text("bytes received with the flag", if copied { "copied into the buffer" } else { "elsewhere" });
    seen.count("completions", completions).text("msg_flags", format!("{flags:#x}"));
    Ok(seen)
}

fn zerocopy_recv_tcp_zerocopy_receive(_lab: &Lab) -> Result<Observation, Stop> {
    /// `TCP_ZEROCOPY_RECEIVE` of include/uapi/linux/tcp.h.
    const TCP_ZEROCOPY_RECEIVE: libc::c_int = 35;
    /// No option of TCP has this number.
    const NO_OPTION: libc::c_int = 9999;
    /// The position of `recv_skip_hint`.
    const HINT: std::ops::Range<usize> = 12..16;
    let (near, _far) = sockets::tcp()?;
    let get = |option: libc::c_int| {
        // struct tcp_zerocopy_receive begins with address (u64), length (u32), recv_skip_hint (u32).
        let mut request = [0_u8; 64];
        request[HINT].fill(0xff);
        let mut length: libc::socklen_t = 16;
        // SAFETY: the pointers are to a buffer of at least `length` bytes and to `length`, written during the call.
        let done = unsafe {
            libc::getsockopt(near.as_raw_fd(), libc::IPPROTO_TCP, option, request.as_mut_ptr().cast(), &raw mut length)
        };
        if done == -1 {
            return Err(sockets::last_errno());
        }
        // Without data to receive, the kernel reports how many bytes must be read by ordinary calls: none.
        Ok(request[HINT].iter().chain(&request[..8]).filter(|byte| **byte != 0).count())
    };
    if get(NO_OPTION) != Err(Errno::ENOPROTOOPT) {
        return Err(Stop::broken("an option that does not exist is not ENOPROTOOPT"));
    }
    let mut seen = Observation::new();
    seen.call("getsockopt(TCP_ZEROCOPY_RECEIVE)", get(TCP_ZEROCOPY_RECEIVE));
    seen.call("getsockopt(no such option)", get(NO_OPTION));
    Ok(seen)
}

fn zerocopy_notify_every_send(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = sockets::tcp()?;
    let memory = alias::memory(LENGTH)?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    let mut sends = 0;
    for _ in 0..3 {
        // SAFETY: the memory is freed after the completions.
        sends += unsafe { send_all(zerocopy, &memory[..4096]) }?;
    }
    sockets::wait_for_arrival(&far, 3 * 4096)?;
    // Everything is acknowledged: the socket holds no data for which a completion could arrive later.
    sockets::wait_until_acknowledged(&near, &far)?;
    let completions = Completions::now(&near).setup("read the completions")?;
    let mut seen = Observation::new();
    seen.text("completions", &completions).count("sends", sends).count("sends completed", completions.count());
    seen.count("completions after those", Completions::now(&near).setup("read the error queue")?.count());
    Ok(seen)
}

fn zerocopy_notify_not_enforced(_lab: &Lab) -> Result<Observation, Stop> {
    completions_come()?;
    let (near, far) = sockets::tcp()?;
    let memory = alias::memory(LENGTH)?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    let mut taken = 0;
    let mut seen = Observation::new();
    for _ in 0..1000 {
        // SAFETY: the memory is freed after the completions (or, after an error, with the process).
        let sent = io::again(|| unsafe { send_zerocopy(zerocopy, &memory[..100], SendFlags::empty()) });
        let Ok(count @ 1..) = sent else {
            seen.call("the send that was not taken", sent);
            break;
        };
        taken += 1;
        sockets::wait_for_arrival(&far, count)?;
        if sockets::readable(&far)? != count || !arrived(&far, &[OLD; 100][..count])? {
            return Err(Stop::broken(format!("not the {count} bytes came that were sent")));
        }
    }
    let completions = Completions::wait(&near, taken).setup("read the completions")?;
    seen.count("sends taken", taken).count("sends completed", completions.count());
    seen.count("ranges in the error queue", completions.0.len() as u64);
    Ok(seen)
}

fn zerocopy_sample_errqueue_lost(_lab: &Lab) -> Result<Observation, Stop> {
    completions_come()?;
    let (near, far) = sockets::tcp()?;
    let memory = alias::memory(LENGTH)?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    let mut seen = Observation::new();
    for size in [0, 8] {
        // SAFETY: the memory is freed after the completion: POLLERR is seen below.
        let sends = unsafe { send_all(zerocopy, &memory[..4096]) }?;
        if sends != 1 {
            return Err(Stop::broken(format!("four KiB took {sends} sends")));
        }
        sockets::wait_for_arrival(&far, 4096)?;
        io::read_full(&far, &mut [0; 4096]).setup("read at the receiver")?;
        wait_until(|| Ok(sockets::unacknowledged(&near)? == 0))?;
        io::wait_for_error_queue(near.as_fd()).setup("poll")?;
        let mut control = vec![0; size];
        let received = io::again(|| io::recvmsg(&near, &mut [], &mut control, libc::MSG_ERRQUEUE)).setup("recvmsg")?;
        let truncated = received.flags & libc::MSG_CTRUNC != 0;
        seen.count(format!("control bytes, buffer of {size}"), received.control as u64);
        seen.text(format!("msg_flags, buffer of {size}"), if truncated { "MSG_CTRUNC" } else { "no MSG_CTRUNC" });
        let left = Completions::now(&near).setup("read the error queue")?.count();
        seen.text(format!("entry afterwards, buffer of {size}"), if left > 0 { "still there" } else { "gone" });
    }
    Ok(seen)
}

fn zerocopy_entries_notifications(lab: &Lab) -> Result<Observation, Stop> {
    completions_come()?;
    let route = Route::MsgZerocopy { window: WHOLE, chunk: 1 << 14 };
    let (entries, sent, arrived) = entries_of(lab, route)?;
    all_arrived(arrived)?;
    let sends = sent.notified.map_or(0, |notified| notified.sends);
    let mut seen = Observation::new();
    seen.push("1 MiB in chunks of 16 KiB, completions read", entries).count("sends", sends);
    Ok(seen)
}

fn zerocopy_limit_memlock(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, _far) = sockets::tcp()?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    privilege::drop_ipc_lock().setup("drop CAP_IPC_LOCK")?;
    privilege::limit_locked_memory(0).setup("RLIMIT_MEMLOCK")?;
    let mut seen = Observation::new();
    // SAFETY: a static never changes and is never freed.
    let sent = unsafe { send_zerocopy(zerocopy, b"1", SendFlags::empty()) };
    seen.call("send(1 byte, MSG_ZEROCOPY), RLIMIT_MEMLOCK 0", sent);
    seen.call("write(1 byte), RLIMIT_MEMLOCK 0", io::write(&near, b"1"));
    Ok(seen)
}

pub(super) fn option(socket: &impl AsFd) -> Result<usize, Errno> {
    let value = sockets::get_option(socket, libc::SOL_SOCKET, libc::SO_ZEROCOPY)?;
    // A negative number is shown as a large one.
    Ok(usize::try_from(value).unwrap_or(usize::MAX))
}

fn zerocopy_option_default_off(_lab: &Lab) -> Result<Observation, Stop> {
    let socket = sockets::socket(libc::AF_INET, libc::SOCK_STREAM, 0).setup("socket")?;
    let mut seen = Observation::new();
    seen.call("SO_ZEROCOPY of a new TCP socket", option(&socket));
    sockets::zerocopy_on(&socket)?;
    seen.call("SO_ZEROCOPY when it has been set", option(&socket));
    Ok(seen)
}

fn zerocopy_option_inherited(_lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    for value in [1, 0] {
        let listener = aside(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).setup("bind")?;
        if value == 1 && set_zerocopy(&listener)?.setup("SO_ZEROCOPY")? != 1 {
            return Err(Stop::broken("the option of the listener is not set"));
        }
        let address = listener.local_addr().setup("getsockname")?;
        let _near = TcpStream::connect(address).setup("connect over loopback")?;
        let (accepted, _) = listener.accept().setup("accept")?;
        if accepted.local_addr().setup("getsockname")? != address {
            return Err(Stop::broken("what was accepted is another socket"));
        }
        seen.call(format!("SO_ZEROCOPY of an accepted socket, listener {value}"), option(&accepted));
    }
    Ok(seen)
}

fn zerocopy_ids_count_flagged_calls(_lab: &Lab) -> Result<Observation, Stop> {
    completions_come()?;
    let (near, _far) = sockets::tcp()?;
    let memory = alias::memory(LENGTH)?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    // SAFETY: the memory is freed after the completions.
    let send = |length: usize| unsafe { send_all(zerocopy, &memory[..length]) };
    let mut seen = Observation::new();
    let sends = send(4096)?;
    let first = Completions::wait(&near, sends).setup("read the completions")?;
    let mut more = 0;
    for length in [100, 4096] {
        more += send(length)?;
    }
    io::write_all(&near, b"without the flag").setup("write")?;
    more += send(1)?;
    let next = Completions::wait(&near, more).setup("read the completions")?;
    let last = sends + more - 1;
    seen.text("ids of the first send", first.ids()).text("ids of the next three", next.ids());
    seen.text("first ids by the calls that took bytes", format!("0 to {}", sends - 1))
        .text("next ids by the calls that took bytes", format!("{sends} to {last}"));
    Ok(seen)
}

fn zerocopy_queue_unix_ignores_errqueue(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = UnixStream::pair().setup("socketpair")?;
    let (tcp_near, tcp_far) = sockets::tcp()?;
    io::write_all(&far, b"bytes").setup("write")?;
    io::write_all(&tcp_far, b"bytes").setup("write")?;
    sockets::wait_for_arrival(&tcp_near, 5)?;
    let receive = |socket: std::os::fd::BorrowedFd<'_>| {
        let mut bytes = [0; 16];
        let received = io::again(|| io::recvmsg(&socket, &mut bytes, &mut [0; 256], libc::MSG_ERRQUEUE))?;
        // Other bytes than those sent count as none. So does a message whose control data was cut off.
        let whole = bytes[..received.bytes] == *b"bytes" && received.flags & libc::MSG_CTRUNC == 0;
        Ok(if whole { received.bytes } else { 0 })
    };
    let mut seen = Observation::new();
    seen.call("recvmsg(AF_UNIX socket, MSG_ERRQUEUE)", receive(near.as_fd()));
    seen.call("recvmsg(TCP socket, MSG_ERRQUEUE)", receive(tcp_near.as_fd()));
    Ok(seen)
}
