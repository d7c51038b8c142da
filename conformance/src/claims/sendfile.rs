//! `sendfile`.

use super::tools::{
    AFTER_CHANGE, ZERO, all_arrived, arrived, carry, copies, count_copies, entries_of, note_length, note_readable,
    read_write_hops,
};
use crate::claim::source::{Source, seed};
use crate::claim::{Claim, Gate, gate};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::fds::{self, Descriptor, Kind as Fd};
use crate::lab::sinks::{Kind, Sink};
use crate::lab::{FAR, FAR_OFFSET, Lab, alias, io, pattern, sockets};
use crate::routes::{Route, send};
use crate::verdict::{Lack, Observation, Reason, Setup, Stop, Value, Verdict};
use nocopy_sendfile::sendfile;
use std::io::Seek;
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("sendfile(2), man-pages 6.20");

/// The claim that `sendfile` to one kind of sink makes no CPU copy.
macro_rules! copies_claim {
    ($id:literal, $kind:expr, $sink:literal, $finds:expr) => {
        copies_claim!($id, $kind, $sink, $finds, &[])
    };
    ($id:literal, $kind:expr, $sink:literal, $finds:expr, $gates:expr) => {
        Claim {
            statement: concat!("From a file to ", $sink, ", sendfile() makes no CPU copy."),
            method: "Sends a file, changes the file when all has arrived, and looks at what the receiver reads. New bytes are \
                     the file's own pages, old ones were copied.",
            sources: &[seed("3.2"), seed("6.1")],
            gates: $gates,
            about: &[Sysno::sendfile],
            lies: alias::SHARING_LIES,
            ..Claim::new($id, |lab| send_copies(lab, $kind), |seen| Verdict::holds_if(seen.is(AFTER_CHANGE, "shared")))
        }
    };
}

fn send_copies(lab: &Lab, kind: Kind) -> Result<Observation, Stop> {
    copies(lab, kind, |file, sink| carry(Route::Sendfile, file, sink, alias::LENGTH))
}

/// The change that makes `sendfile` to a pipe share the file's pages, and take a socket as its source.
const PIPES: Gate = gate("5.12", "to a pipe, sendfile() does as splice() does", MAN);

/// Claims about `sendfile`.
pub const CLAIMS: &[Claim] = &[
    copies_claim!("sendfile.copies.tcp", Kind::Tcp, "a TCP socket", always(true)),
    copies_claim!("sendfile.copies.unix", Kind::Unix, "an AF_UNIX socket", always(true)),
    copies_claim!("sendfile.copies.pipe", Kind::Pipe, "a pipe", SHARED_WITH_PIPES, &[PIPES]),
    copies_claim!("sendfile.copies.file", Kind::File, "another file", always(false)),
    Claim {
        statement: "sendfile() sends a file over a connection with TLS in the kernel.",
        method: "Sends a file over a TCP connection whose ends have TLS by software; the receiver checks every byte.",
        sources: &[Source::Doc("Documentation/networking/tls.rst, Linux 7.3"), Source::Measured],
        about: &[Sysno::sendfile],
        lies: REFUSED,
        modules: sockets::KTLS_MODULES,
        gates: &[gate(
            "4.13",
            "TCP has TLS in the kernel",
            Source::Thread("the series \"net: kernel TLS\" of Linux 4.13"),
        )],
        ..Claim::new("sendfile.target.ktls", sendfile_target_ktls, |seen| {
            Verdict::holds_if(seen.is(RECEIVED, "the file's"))
        })
    },
    Claim {
        statement: "From a file to a connection with TLS in the kernel, sendfile() makes no CPU copy.",
        method: "Sends a file over TLS by software, changes the file, and looks at what the receiver decrypts: encryption writes \
                 a second version of the data, made at the time of the call.",
        sources: &[Source::Doc("Documentation/networking/tls.rst, Linux 7.3"), Source::Measured],
        about: &[Sysno::sendfile],
        lies: alias::SHARING_LIES,
        modules: sockets::KTLS_MODULES,
        ..Claim::new("sendfile.copies.ktls", sendfile_copies_ktls, |seen| {
            Verdict::holds_if(seen.is(AFTER_CHANGE, "shared"))
        })
    },
    Claim {
        statement: "sendfile() makes two CPU copies fewer than read() and write().",
        method: "Counts the CPU copies of both ways from a file to a TCP socket, hop by hop, by changing the source of each hop.",
        sources: &[seed("3.2"), seed("6.1")],
        about: &[Sysno::sendfile, Sysno::read, Sysno::write],
        lies: alias::SHARING_LIES,
        ..Claim::new("sendfile.copies.two-fewer", sendfile_copies_two_fewer, |seen| {
            Verdict::holds_if(
                seen.counted("CPU copies of read and write") == seen.counted("CPU copies of sendfile") + 2,
            )
        })
    },
    Claim {
        statement: "On its way to the network, sendfile() copies the data from the kernel's buffer into the socket's buffer.",
        method: "Sends a file to a TCP socket, sees all of it stand in the receive queue unread, changes the file, and reads: \
                 a queue that holds copies does not change.",
        sources: &[seed("3.2")],
        about: &[Sysno::sendfile],
        lies: alias::SHARING_LIES,
        gates: &[gate(
            "6.5",
            "a socket is given a file's pages by MSG_SPLICE_PAGES",
            Source::Thread("the series \"splice, net: Replace sendpage with sendmsg(MSG_SPLICE_PAGES)\" of Linux 6.5"),
        )],
        ..Claim::new("sendfile.path.socket-buffer", sendfile_path_socket_buffer, |seen| {
            Verdict::holds_if(!seen.is(AFTER_CHANGE, "shared"))
        })
    },
    Claim {
        statement: "sendfile() works inside the kernel alone: the data does not pass through the caller.",
        method: "The interposer shows that one sendfile() is the only kernel entry between a file and the receiver, to which no \
                 address of the caller is passed; the receiver checks every byte.",
        sources: &[seed("3.2")],
        about: &[Sysno::sendfile],
        traced: true,
        lies: &[Lie::refused(Sysno::sendfile, libc::EINVAL), Lie::shortened(Sysno::sendfile)],
        ..Claim::new("sendfile.path.in-kernel", sendfile_path_in_kernel, |seen| {
            Verdict::holds_if(
                seen.entries("50000 bytes", "sendfile") == 1
                    && seen.counted("50000 bytes") == 1
                    && seen.is("bytes at the receiver", "the file's"),
            )
        })
    },
    Claim {
        statement: "sendfile() sends a file with one system call, two crossings between user and kernel.",
        method: "The interposer counts the kernel entries of sending 1 MiB to a blocking TCP socket whose peer reads.",
        sources: &[seed("3.2"), seed("6.1")],
        about: &[Sysno::sendfile],
        traced: true,
        lies: &[Lie::shortened(Sysno::sendfile)],
        ..Claim::new("sendfile.entries.one-call", sendfile_entries_one_call, |seen| {
            Verdict::holds_if(seen.counted("1 MiB to a blocking socket") == 1)
        })
    },
    Claim {
        statement: "One sendfile() with the file's size as count sends the whole file, whatever the socket.",
        method: "Sends 16 MiB to a non-blocking TCP socket whose peer does not read, until the socket is full.",
        sources: &[seed("3.2"), seed("4.3"), MAN],
        about: &[Sysno::sendfile],
        lies: &[Lie::returned(Sysno::sendfile, 16 << 20).after(0)],
        varies: &["first sendfile(non-blocking socket, 16 MiB file)", "offset then"],
        ..Claim::new("sendfile.entries.non-blocking", sendfile_entries_non_blocking, |seen| {
            Verdict::holds_if(
                seen.returned("first sendfile(non-blocking socket, 16 MiB file)") == Some(NON_BLOCKING_LENGTH),
            )
        })
    },
    Claim {
        statement: "sendfile(socket, file, NULL, size), as in the sample, sends a file.",
        method: "Makes the call with the sample's arguments for a file of four pages and reads what arrives.",
        sources: &[seed("3.2"), seed("7.1")],
        about: &[Sysno::sendfile],
        lies: &[Lie::refused(Sysno::sendfile, libc::EINVAL), Lie::shortened(Sysno::sendfile)],
        ..Claim::new("sendfile.sample.file-to-socket", sendfile_sample_file_to_socket, |seen| {
            Verdict::holds_if(
                seen.returned("sendfile(socket, file, NULL, 16384)") == Some(alias::LENGTH as u64)
                    && seen.is("bytes at the receiver", "the file's"),
            )
        })
    },
    Claim {
        statement: "With a null offset, sendfile() moves the file position, which all duplicates of the descriptor share.",
        method: "Sends from a duplicate with a null offset, then asks the original for its position.",
        sources: &[MAN],
        about: &[Sysno::sendfile],
        lies: &[Lie::returned(Sysno::lseek, 0), Lie::about(Sysno::sendfile, What::PositionKept)],
        ..Claim::new("sendfile.offset.shared-position", sendfile_offset_shared_position, |seen| {
            let sent = seen.returned("sendfile(socket, duplicate, NULL, 4096)");
            let position = seen.counted("position of the original");
            Verdict::holds_if(position > 0 && sent == Some(position))
        })
    },
    Claim {
        statement: "The target of sendfile() must be a socket; any other is refused.",
        method: "Sends a few bytes of a file to a descriptor of each kind.",
        sources: &[seed("3.2"), seed("5.1")],
        about: &[Sysno::sendfile],
        lies: REFUSED,
        gates: &[gate("2.6.33", "sendfile() takes any file as target", MAN)],
        ..Claim::new("sendfile.target.only-sockets", sendfile_target_only_sockets, |seen| {
            let others = TARGETS.iter().filter(|kind| !SOCKETS.contains(kind));
            Verdict::holds_if(!others.into_iter().any(|kind| seen.succeeded(&target_fact(*kind))))
        })
    },
    Claim {
        statement: "sendfile() from a file to a file is an error, because the target is no socket.",
        method: "Makes the call of the document's error example: with one descriptor as both ends, and with two files.",
        sources: &[seed("5.1")],
        about: &[Sysno::sendfile],
        lies: REFUSED,
        ..Claim::new("sendfile.sample.file-to-file", sendfile_sample_file_to_file, |seen| {
            Verdict::holds_if(
                !seen.succeeded("sendfile(file, same file)") && !seen.succeeded("sendfile(other file, file)"),
            )
        })
    },
    Claim {
        statement: "The source of sendfile() must be a regular file.",
        method: "Sends a few bytes from a descriptor of each kind to a file and, for a socket as source, to a pipe.",
        sources: &[seed("5.1"), MAN],
        about: &[Sysno::sendfile],
        lies: &[Lie::refused(Sysno::sendfile, libc::EINVAL)],
        modules: &["loop"],
        gates: &[PIPES, ZERO],
        ..Claim::new("sendfile.source.must-be-file", sendfile_source_must_be_file, |seen| {
            let other =
                SOURCES.iter().filter(|kind| **kind != Fd::RegularFile).any(|kind| seen.succeeded(&source_fact(*kind)));
            let block_device = source_fact(Fd::BlockDevice);
            let works = seen.succeeded(&source_fact(Fd::RegularFile));
            match seen.value(&block_device) {
                // A block device is a source on every kernel, so the claim is undecided if it could not be tried.
                Value::Text(_) if works && !other && !seen.succeeded(SOCKET_TO_PIPE) => {
                    Verdict::Untestable(Reason::new(
                        Lack::Privilege,
                        "a block device is a source on every kernel, and could not be tried",
                        "run as root, with loop devices",
                    ))
                }
                _ => Verdict::holds_if(!other && !seen.succeeded(SOCKET_TO_PIPE)),
            }
        })
    },
    Claim {
        statement: "The kernel has sendfile().",
        method: "Calls it with descriptors that are not open: EBADF comes from the call, ENOSYS from its absence.",
        sources: &[seed("1.1"), seed("9.2"), MAN],
        about: &[Sysno::sendfile],
        lies: &[Lie::about(Sysno::sendfile, What::OtherErrno(libc::ENOSYS))],
        gates: &[gate("2.2", "the kernel has sendfile()", MAN)],
        ..Claim::new("sendfile.call.present", sendfile_call_present, |seen| {
            Verdict::holds_if(seen.failed_with("sendfile(-1, -1, NULL, 1)", Errno::EBADF))
        })
    },
    Claim {
        statement: "The offset of sendfile() is a 64-bit number, in and out.",
        method: "Sends from behind 5 GiB of a sparse file and looks at the bytes and at the offset afterwards.",
        sources: &[seed("7.1"), MAN],
        about: &[Sysno::sendfile],
        lies: &[
            Lie::about(Sysno::sendfile, What::OffsetKept),
            Lie::returned(Sysno::sendfile, 0),
            Lie::about(Sysno::read, What::Garbled),
        ],
        ..Claim::new("sendfile.abi.offset-64-bit", sendfile_abi_offset_64_bit, |seen| {
            Verdict::holds_if(
                seen.counted("offset afterwards") == FAR_OFFSET + 4 && seen.is("bytes at the receiver", "the file's"),
            )
        })
    },
];

const REFUSED: &[Lie] = &[Lie::refused(Sysno::sendfile, libc::EINVAL)];
const RECEIVED: &str = "bytes at the receiver";

fn sendfile_target_ktls(lab: &Lab) -> Result<Observation, Stop> {
    let content = pattern(alias::LENGTH);
    let file = lab.file(&content)?;
    let (near, far) = sockets::ktls()?;
    let sent = send(Route::Sendfile, &file, &near, content.len()).and_then(|outcome| outcome.result());
    let mut seen = Observation::new();
    seen.call("sendfile(socket with TLS, file)", sent.map(|_| content.len()));
    let same = sent == Ok(content.len() as u64) && arrived(&far, &content)?;
    seen.text(RECEIVED, if same { "the file's" } else { "others" });
    Ok(seen)
}

fn sendfile_copies_ktls(lab: &Lab) -> Result<Observation, Stop> {
    let file = alias::source(lab)?;
    let (near, far) = sockets::ktls()?;
    alias::all_sent(carry(Route::Sendfile, &file, &near, alias::LENGTH)?)?;
    alias::change(&file)?;
    let mut bytes = vec![0; alias::LENGTH];
    io::read_full(&far, &mut bytes).setup("read at the receiver")?;
    let mut seen = Observation::new();
    seen.text(AFTER_CHANGE, alias::Sharing::of(&bytes)?);
    note_readable(&mut seen, "bytes beyond the file", &far)?;
    Ok(seen)
}

fn sendfile_copies_two_fewer(lab: &Lab) -> Result<Observation, Stop> {
    let hop = alias::after_sending(lab, Kind::Tcp, |file, sink| carry(Route::Sendfile, file, sink, alias::LENGTH))?;
    let mut seen = Observation::new();
    seen.count("CPU copies of read and write", count_copies(&read_write_hops(lab, Kind::Tcp)?));
    seen.count("CPU copies of sendfile", count_copies(&[hop]));
    Ok(seen)
}

fn sendfile_path_socket_buffer(lab: &Lab) -> Result<Observation, Stop> {
    let file = alias::source(lab)?;
    let (near, far) = sockets::tcp()?;
    alias::all_sent(carry(Route::Sendfile, &file, &near, alias::LENGTH)?)?;
    sockets::wait_for_arrival(&far, alias::LENGTH)?;
    let mut seen = Observation::new();
    seen.count("bytes in the receive queue", sockets::readable(&far)? as u64);
    alias::change(&file)?;
    let mut bytes = vec![0; alias::LENGTH];
    io::read_full(&far, &mut bytes).setup("read at the receiver")?;
    seen.text(AFTER_CHANGE, alias::Sharing::of(&bytes)?);
    Ok(seen)
}

fn sendfile_path_in_kernel(lab: &Lab) -> Result<Observation, Stop> {
    let content = pattern(50_000);
    let file = lab.file(&content)?;
    let (near, far) = sockets::tcp()?;
    let (entries, sent) = lab.entries(|| sendfile(&near, &file, None, content.len()));
    let mut seen = Observation::new();
    seen.call("sendfile(socket, file, NULL, 50000)", sent).push("50000 bytes", entries);
    let same = sent == Ok(content.len()) && arrived(&far, &content)?;
    seen.text("bytes at the receiver", if same { "the file's" } else { "others" });
    Ok(seen)
}

fn sendfile_entries_one_call(lab: &Lab) -> Result<Observation, Stop> {
    let (entries, _, arrived) = entries_of(lab, Route::Sendfile)?;
    all_arrived(arrived)?;
    let mut seen = Observation::new();
    seen.push("1 MiB to a blocking socket", entries);
    Ok(seen)
}

const NON_BLOCKING_LENGTH: u64 = 16 << 20;

fn sendfile_entries_non_blocking(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.empty_file()?;
    io::truncate(&file, NON_BLOCKING_LENGTH).setup("ftruncate")?;
    let (near, far) = sockets::tcp()?;
    // Less than the file, whatever the system's defaults are.
    sockets::resize_buffer(&near, libc::SO_SNDBUF, 1 << 18)?;
    sockets::resize_buffer(&far, libc::SO_RCVBUF, 1 << 18)?;
    io::set_nonblocking(&near).setup("O_NONBLOCK")?;
    let mut seen = Observation::new();
    let length = usize::try_from(NON_BLOCKING_LENGTH).expect("64-bit");
    let mut offset = 0;
    let first = sendfile(&near, &file, Some(&mut offset), length);
    seen.call("first sendfile(non-blocking socket, 16 MiB file)", first);
    let mut reported = first.unwrap_or(0) as u64;
    // The kernel may make more room when it moves bytes to the receiver's queue. The loop ends when both queues are full.
    let full = loop {
        match sendfile(&near, &file, Some(&mut offset), length) {
            Ok(count) if count > 0 && reported < NON_BLOCKING_LENGTH => reported += count as u64,
            result => break result,
        }
    };
    let same = if reported == offset { "the same" } else { "others" };
    seen.text("bytes reported and bytes that the offset moved", same);
    seen.call("sendfile() when the socket is full", full).count("offset then", offset);
    Ok(seen)
}

fn sendfile_sample_file_to_socket(lab: &Lab) -> Result<Observation, Stop> {
    let content = pattern(alias::LENGTH);
    let file = lab.file(&content)?;
    let (near, far) = sockets::tcp()?;
    let mut seen = Observation::new();
    let sent = sendfile(&near, &file, None, content.len());
    seen.call("sendfile(socket, file, NULL, 16384)", sent);
    let same = sent == Ok(content.len()) && arrived(&far, &content)?;
    seen.text("bytes at the receiver", if same { "the file's" } else { "others" });
    Ok(seen)
}

fn sendfile_offset_shared_position(lab: &Lab) -> Result<Observation, Stop> {
    let mut file = alias::source(lab)?;
    let duplicate = file.try_clone().setup("dup")?;
    let sink = Sink::open(lab, Kind::Tcp)?;
    let mut seen = Observation::new();
    seen.count("position before", file.stream_position().setup("lseek")?);
    seen.call("sendfile(socket, duplicate, NULL, 4096)", sendfile(&sink, &duplicate, None, 4096));
    seen.count("position of the original", file.stream_position().setup("lseek")?);
    Ok(seen)
}

const TARGETS: &[Fd] = &[
    Fd::TcpSocket,
    Fd::UdpSocket,
    Fd::UnixStream,
    Fd::RegularFile,
    Fd::Memfd,
    Fd::PipeWrite,
    Fd::DevNull,
    Fd::Terminal,
];
const SOCKETS: &[Fd] = &[Fd::TcpSocket, Fd::UdpSocket, Fd::UnixStream];

fn target_fact(kind: Fd) -> String {
    format!("sendfile({kind}, file)")
}

fn source_fact(kind: Fd) -> String {
    format!("sendfile(file, {kind})")
}

fn sendfile_target_only_sockets(lab: &Lab) -> Result<Observation, Stop> {
    let file = alias::source(lab)?;
    let mut seen = Observation::new();
    let send = |target: &Descriptor| sendfile(target, &file, Some(&mut 0), 16);
    fds::each(lab, TARGETS, &mut seen, target_fact, send, Descriptor::written)?;
    Ok(seen)
}

fn sendfile_sample_file_to_file(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"0123456789")?;
    let other = lab.empty_file()?;
    let mut seen = Observation::new();
    seen.call("sendfile(other file, file)", sendfile(&other, &file, Some(&mut 0), 10));
    note_length(&mut seen, "length of the other file", &other)?;
    // The write goes to position 0. The read is the source document's, from the same position.
    seen.call("sendfile(file, same file)", sendfile(&file, &file, None, 10));
    let position = aside(|| (&file).stream_position()).setup("lseek")?;
    seen.count("position of the file", position);
    Ok(seen)
}

const SOURCES: &[Fd] = &[
    Fd::RegularFile,
    Fd::BlockDevice,
    Fd::DevUrandom,
    Fd::DevZero,
    Fd::PipeRead,
    Fd::TcpSocket,
    Fd::UnixStream,
    Fd::Eventfd,
    Fd::Directory,
];
const SOCKET_TO_PIPE: &str = "sendfile(pipe, TCP socket)";

fn sendfile_source_must_be_file(lab: &Lab) -> Result<Observation, Stop> {
    let target = lab.empty_file()?;
    let mut seen = Observation::new();
    let mut position = 0;
    fds::each(
        lab,
        SOURCES,
        &mut seen,
        source_fact,
        |source| sendfile(&target, source, None, 4),
        |_source, _reported| {
            let before = std::mem::replace(&mut position, (&target).stream_position().setup("lseek")?);
            Ok(Some(position - before))
        },
    )?;
    let socket = Descriptor::open(lab, Fd::TcpSocket)?;
    let pipe = Descriptor::open(lab, Fd::PipeWrite)?;
    let sent = sendfile(&pipe, &socket, None, 4);
    seen.call(SOCKET_TO_PIPE, sent);
    let came = aside(|| pipe.written(sent.unwrap_or(0)))?.unwrap_or(0);
    seen.count("bytes in the pipe", came);
    Ok(seen)
}

fn sendfile_call_present(_lab: &Lab) -> Result<Observation, Stop> {
    // SAFETY: -1 was never open.
    let none = unsafe { nocopy_sendfile::BorrowedFd::borrow_raw(-1) };
    let mut seen = Observation::new();
    seen.call("sendfile(-1, -1, NULL, 1)", sendfile(none, none, None, 1));
    Ok(seen)
}

fn sendfile_abi_offset_64_bit(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.far_file()?;
    let sink = Sink::open(lab, Kind::Unix)?;
    let mut offset = FAR_OFFSET;
    let mut seen = Observation::new();
    let sent = sendfile(&sink, &file, Some(&mut offset), 100);
    seen.call("sendfile(socket, file, 5 GiB, 100)", sent).count("offset afterwards", offset);
    let same = sent == Ok(4) && sink.take(4)? == FAR;
    seen.text("bytes at the receiver", if same { "the file's" } else { "others" });
    Ok(seen)
}
