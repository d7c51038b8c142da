//! `sendfile` and `splice` with sockets: behaviour that tests of other projects check for connections that end, encryption and
//! datagrams.

use super::tools::{AS_SENT, RECEIVED, arrived, filled, note_bytes, pipe, raised};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::pages::PAGE;
use crate::lab::sleeper::Caller;
use crate::lab::{Lab, alias, io, pattern, sockets};
use crate::verdict::{Observation, Setup, Stop};
use nocopy_sendfile::sendfile;
use nocopy_splice::{IoVec, SpliceFlags, splice, vmsplice_to_pipe};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use syscalls::{Errno, Sysno};

const TLS: Source = Source::Thread("Linux 7.3, tools/testing/selftests/net/tls.c");
const BLOCKING: SpliceFlags = SpliceFlags::empty();

const NOBODY_KNOWS: &str = "how much was sent before a reset, nobody else can say";

/// Claims about sockets.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "Over TLS in the kernel, sendfile() sends after write(), and any part of a file.",
        method: "Writes ten bytes, sends three parts of a file with offsets and lengths of no page, and compares what is decrypted.",
        sources: &[TLS],
        about: &[Sysno::sendfile],
        modules: sockets::KTLS_MODULES,
        lies: &[Lie::skipped(Sysno::sendfile)],
        ..Claim::of_answers(
            "sendfile.target.ktls-parts",
            sendfile_target_ktls_parts,
            &[(RECEIVED, Answer::Says(AS_SENT))],
        )
    },
    Claim {
        statement: "Over TLS in the kernel, splice() from a pipe sends after write(), and with SPLICE_F_MORE.",
        method: "Writes ten bytes, splices 5000 with SPLICE_F_MORE and 700 without, and compares what is decrypted.",
        sources: &[TLS],
        about: &[Sysno::splice],
        modules: sockets::KTLS_MODULES,
        lies: &[Lie::skipped(Sysno::splice)],
        ..Claim::of_answers("splice.sink.ktls-more", splice_sink_ktls_more, &[(RECEIVED, Answer::Says(AS_SENT))])
    },
    Claim {
        statement: "splice() of a TLS record that is no data fails with EINVAL.",
        sources: &[TLS],
        about: &[Sysno::splice],
        modules: sockets::KTLS_MODULES,
        lies: &Lie::otherwise(Sysno::splice),
        ..Claim::of_answers(
            "splice.source.ktls-record",
            splice_source_ktls_record,
            &[("splice(kTLS socket, pipe)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "splice() moves a pipe's bytes into a multipath TCP connection.",
        sources: &[Source::Thread("Linux 7.3, tools/testing/selftests/net/mptcp/mptcp_connect.c, its mode splice")],
        about: &[Sysno::splice],
        lies: &[Lie::skipped(Sysno::splice)],
        ..Claim::of_answers(
            "splice.sink.mptcp",
            |_lab| {
                let content = pattern(20_000);
                let (near, far) = sockets::mptcp()?;
                let pipe = filled(&content)?;
                let mut seen = Observation::new();
                let moved = io::until_done(content.len(), |done| {
                    splice(&pipe.read, None, &near, None, content.len() - done, BLOCKING)
                });
                seen.call("splice(pipe, multipath TCP socket)", moved);
                aside(|| near.shutdown(Shutdown::Write)).setup("shutdown")?;
                note_bytes(&mut seen, arrived(&far, &content)?);
                Ok(seen)
            },
            &[("splice(pipe, multipath TCP socket)", Answer::Is(20_000)), (RECEIVED, Answer::Says(AS_SENT))],
        )
    },
    Claim {
        statement: "When a TCP peer resets the connection while sendfile() waits, it returns what it has sent; the next one fails with \
                    EPIPE and raises SIGPIPE.",
        method: "Sends a file larger than the buffers in a thread, resets the connection once that sleeps, and sends again.",
        sources: &[Source::Thread("gVisor @3c5eee1, test/syscalls/linux/sendfile_socket.cc"), Source::Measured],
        about: &[Sysno::sendfile],
        lies: &[Lie::refused(Sysno::sendfile, libc::ECONNRESET), Lie::accepted(Sysno::sendfile)],
        exceptions: &[
            Exception::asked(Sysno::sendfile),
            Exception::Of(Sysno::sendfile, What::TooMany, NOBODY_KNOWS),
            Exception::Of(Sysno::sendfile, What::TooFew, NOBODY_KNOWS),
        ],
        ..Claim::of_answers(
            "sendfile.errors.reset",
            sendfile_errors_reset,
            &[
                ("sendfile() during which the peer resets", Answer::Says("short")),
                ("sendfile() afterwards", Answer::Fails(Errno::EPIPE)),
                ("SIGPIPE", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "Pieces of any length, spliced into a UDP socket under SPLICE_F_MORE, are one datagram, whole.",
        method: "Splices a pipe of 1, 4095 and 100 bytes with SPLICE_F_MORE, then 777 bytes without, by IPv4 and IPv6, and compares.",
        sources: &[Source::Thread("Linux 7.3, tools/testing/selftests/net/udp_splice_checksum.c"), Source::Measured],
        about: &[Sysno::splice],
        lies: &[
            Lie::skipped(Sysno::splice).where_it(true),
            Lie::about(Sysno::ioctl, What::Output { argument: 2, value: 4973 }).where_it(false),
        ],
        exceptions: &[
            Exception::Of(
                Sysno::splice,
                What::Shortened,
                "the rest of a piece is a datagram of its own if it is the last one",
            ),
            Exception::Of(Sysno::splice, What::Skipped, "where no datagram comes, none is missing"),
        ],
        ..Claim::of_answers(
            "splice.sink.udp-odd-pieces",
            |_lab| udp_pieces(&[1, 4095, 100], 777),
            &[("bytes to be read", Answer::Is(2 * 4973)), ("datagrams of other bytes", Answer::Is(0))],
        )
    },
    Claim {
        statement: "Pieces of even lengths, spliced into a UDP socket under SPLICE_F_MORE, are one datagram, whole.",
        method: "Splices a pipe of 100, 4096 and 700 bytes with SPLICE_F_MORE, then 2 bytes without, by IPv4 and IPv6, and compares.",
        sources: &[Source::Thread("Linux 7.3, tools/testing/selftests/net/udp_splice_checksum.c"), Source::Measured],
        about: &[Sysno::splice],
        lies: &[
            Lie::skipped(Sysno::splice).where_it(true),
            Lie::about(Sysno::ioctl, What::Output { argument: 2, value: 4898 }).where_it(false),
        ],
        exceptions: &[Exception::Of(
            Sysno::splice,
            What::Shortened,
            "the rest of a piece is a datagram of its own if it is the last one",
        )],
        ..Claim::of_answers(
            "splice.sink.udp-even-pieces",
            |_lab| udp_pieces(&[100, 4096, 700], 2),
            &[("bytes to be read", Answer::Is(2 * 4898)), ("datagrams of other bytes", Answer::Is(0))],
        )
    },
];

fn sendfile_target_ktls_parts(lab: &Lab) -> Result<Observation, Stop> {
    let content = pattern(50_000);
    let file = lab.file(&content)?;
    let (near, far) = sockets::ktls()?;
    aside(|| io::write_all(&near, b"ten bytes.")).setup("write")?;
    let mut expected = b"ten bytes.".to_vec();
    let mut seen = Observation::new();
    for (offset, length) in [(0, 1), (4093, 20_000), (33_333, 7)] {
        let mut at = offset as u64;
        let sent = io::until_done(length, |done| sendfile(&near, &file, Some(&mut at), length - done));
        seen.call(format!("sendfile(file at {offset}, {length})"), sent);
        expected.extend_from_slice(&content[offset..offset + length]);
    }
    drop(near);
    note_bytes(&mut seen, whole(&far, &expected)?);
    Ok(seen)
}

/// Whether exactly these bytes arrive before the end.
fn whole(far: &impl AsFd, expected: &[u8]) -> Result<bool, Stop> {
    let mut bytes = vec![0; expected.len() + 1];
    let mut count = 0;
    while count < bytes.len() {
        match io::again(|| io::read(far, &mut bytes[count..])) {
            Ok(more) if more > 0 => count += more,
            // Without a closing record, TLS reports the end as an error.
            Ok(_) | Err(Errno::EIO | Errno::EBADMSG) => break,
            Err(errno) => return Err(Stop::from_setup("read at the receiver", errno)),
        }
    }
    Ok(bytes[..count] == *expected)
}

fn splice_sink_ktls_more(_lab: &Lab) -> Result<Observation, Stop> {
    let content = pattern(5700);
    let (near, far) = sockets::ktls()?;
    aside(|| io::write_all(&near, b"ten bytes.")).setup("write")?;
    let pipe = filled(&content)?;
    for (length, flags) in [(5000, SpliceFlags::MORE), (700, BLOCKING)] {
        io::until_done(length, |done| splice(&pipe.read, None, &near, None, length - done, flags)).setup("splice")?;
    }
    drop(near);
    let expected = [b"ten bytes.".as_slice(), &content].concat();
    let mut seen = Observation::new();
    note_bytes(&mut seen, whole(&far, &expected)?);
    Ok(seen)
}

/// Sends a record whose type is neither data nor one that TLS itself uses.
fn send_record(socket: &impl AsFd, bytes: &[u8]) -> Result<(), Stop> {
    /// The value in `include/uapi/linux/tls.h`.
    const TLS_SET_RECORD_TYPE: libc::c_int = 1;
    let mut control = [0_u8; 24];
    control[..8].copy_from_slice(&17_usize.to_ne_bytes());
    control[8..12].copy_from_slice(&sockets::SOL_TLS.to_ne_bytes());
    control[12..16].copy_from_slice(&TLS_SET_RECORD_TYPE.to_ne_bytes());
    control[16] = 100;
    let mut piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: msghdr is plain integers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.len() as _;
    // SAFETY: the message describes the bytes and the control message, which are read during the call.
    let sent = unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &raw const message, 0) };
    if sent == -1 {
        return Err(Stop::from_setup("sendmsg(record)", sockets::last_errno()));
    }
    Ok(())
}

fn splice_source_ktls_record(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = sockets::ktls()?;
    aside(|| send_record(&near, b"no data"))?;
    let pipe = pipe()?;
    let mut seen = Observation::new();
    let done = io::again(|| splice(&far, None, &pipe.write, None, 7, BLOCKING));
    seen.call("splice(kTLS socket, pipe)", done);
    Ok(seen)
}

fn sendfile_errors_reset(lab: &Lab) -> Result<Observation, Stop> {
    const LENGTH: usize = 64 << 20;
    let file = Arc::new(lab.empty_file()?);
    aside(|| io::truncate(&file, LENGTH as u64)).setup("ftruncate")?;
    let (near, far) = sockets::tcp()?;
    let near = Arc::new(near);
    let (sink, source) = (Arc::clone(&near), Arc::clone(&file));
    let ((first, second), signals) = raised(libc::SIGPIPE, || {
        let first = reset_while_sending(far, move || sendfile(&*sink, &*source, Some(&mut 0), LENGTH));
        let second = io::again(|| sendfile(&*near, &*file, Some(&mut 0), 1));
        (first, second)
    })?;
    let mut seen = Observation::new();
    let how = match first? {
        Ok(sent) if sent > 0 && sent < LENGTH => "short".to_owned(),
        Ok(sent) => format!("{sent}"),
        Err(errno) => format!("{errno:?}"),
    };
    seen.text("sendfile() during which the peer resets", how);
    seen.call("sendfile() afterwards", second);
    seen.count("SIGPIPE", signals);
    Ok(seen)
}

/// Makes the call in a thread. When the call sleeps, the peer resets the connection.
fn reset_while_sending(
    far: std::net::TcpStream,
    call: impl FnMut() -> Result<usize, Errno> + Send + 'static,
) -> Result<Result<usize, Errno>, Stop> {
    let mut call = call;
    let caller = Caller::start(Sysno::sendfile, move || io::again(&mut call))?;
    if !caller.sleeps()? {
        return caller.join();
    }
    aside(|| {
        let linger = [1_i32.to_ne_bytes(), 0_i32.to_ne_bytes()];
        sockets::set_bytes(&far, libc::SOL_SOCKET, libc::SO_LINGER, linger.as_flattened()).setup("SO_LINGER")
    })?;
    drop(far);
    caller.join()
}

/// Splices pieces into a UDP socket as one datagram, the last one by a separate call. Notes what arrives over IPv4 and over IPv6.
fn udp_pieces(pieces: &[usize], last: usize) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    let (mut to_be_read, mut others) = (0, 0);
    // Each piece gets a separate page, so that each is a separate buffer of the pipe.
    let mut memory = alias::memory((pieces.len() + 1) * PAGE)?;
    let content = pattern(memory.len());
    memory.copy_from_slice(&content);
    let lengths = pieces.iter().chain([&last]);
    let parts: Vec<&[u8]> = memory.chunks(PAGE).zip(lengths).map(|(page, length)| &page[..*length]).collect();
    let (behind, before) = parts.split_last().expect("a last piece");
    for (name, address) in [("IPv4", IpAddr::from(Ipv4Addr::LOCALHOST)), ("IPv6", IpAddr::from(Ipv6Addr::LOCALHOST))] {
        let (near, far) = aside(|| sockets::udp_of(address))?;
        splice_parts(before, &near, SpliceFlags::MORE)?;
        splice_parts(&[behind], &near, BLOCKING)?;
        let expected = parts.concat();
        // The receiver's kernel checks the checksum on this request.
        let there = sockets::readable(&far)?;
        to_be_read += there as u64;
        let mut bytes = vec![0; 1 << 16];
        aside(|| io::set_nonblocking(&far)).setup("O_NONBLOCK")?;
        let what = match aside(|| io::read(&far, &mut bytes)) {
            Ok(count) if bytes[..count] == expected => "those of the pipes".to_owned(),
            Ok(count) => {
                others += 1;
                format!("{count}, which are others")
            }
            Err(errno) => format!("{errno:?}"),
        };
        seen.text(format!("bytes by {name}"), what);
    }
    seen.count("bytes to be read", to_be_read).count("datagrams of other bytes", others);
    Ok(seen)
}

/// Splices parts of memory into a socket in one call.
fn splice_parts(parts: &[&[u8]], socket: &impl AsFd, flags: SpliceFlags) -> Result<(), Stop> {
    let pipe = pipe()?;
    let length = parts.iter().map(|part| part.len()).sum();
    let vectors: Vec<IoVec> = parts.iter().map(|part| IoVec::new(part)).collect();
    // SAFETY: the memory is not changed, and freed when the process ends.
    let filled = aside(|| unsafe { vmsplice_to_pipe(&pipe.write, &vectors, BLOCKING) });
    if filled.setup("vmsplice")? != length {
        return Err(Stop::broken("the pipe has not taken the parts"));
    }
    let moved = io::again(|| splice(&pipe.read, None, socket, None, length, flags));
    if moved.setup("splice")? != length {
        return Err(Stop::broken("a part was not taken"));
    }
    Ok(())
}
