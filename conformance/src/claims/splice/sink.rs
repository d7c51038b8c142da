//! What `splice` brings bytes into.

use super::{BLOCKING, LACKING, NONBLOCK, UNMOVED, about_splice, all, connected, lengths, note_scratch, once, rest};
use crate::claims::prelude::*;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::open::{open_present, set_status_flags};
use nocopy_splice::{IoVec, splice, vmsplice_to_pipe};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// The claim that `splice` moves bytes from a pipe into a kind of descriptor.
macro_rules! row {
    ($kind:literal => $name:literal, $try:ident($($argument:expr),*), [$($source:expr),*]) => {
        about_splice(
            concat!("splice.sink.", $kind),
            concat!("splice() moves bytes from a pipe into ", $name, "."),
        )
        .published(&[$($source),*])
        .turned_by(UNMOVED)
        .tried(|lab, see| $try(lab, see, $($argument),*))
    };
}

const WHOLE_DATAGRAM: Exception =
    Exception::Of(Sysno::splice, What::Shortened, "half of the bytes are a datagram of their own");

pub const CLAIMS: &[Claim] = &[
    row!("regular-file" => "a regular file", into_file(Fd::RegularFile), [man("splice(2)", "EXAMPLES"),
        ltp("splice02.c", "do_child"), gvisor("splice.cc", "SpliceTest.FromPipe")]),
    row!("memfd" => "a memfd", into_file(Fd::Memfd), [kernel("mm/shmem.c", "shmem_file_operations")]),
    row!("tcp" => "a TCP socket", into_stream(Fd::TcpSocket, &lengths()), [doc("filesystems/splice.rst", "splice API"),
        gvisor("socket_ip_tcp_generic.cc", "TCPSocketPairTest.LargeSpliceFromPipe")]),
    row!("unix-stream" => "an AF_UNIX stream socket", into_stream(Fd::UnixStream, &lengths()),
        [ltp("splice05.c", "pipe_socket, from a pipe into the socket")]),
    row!("terminal" => "a pseudo-terminal in raw mode", into_stream(Fd::Terminal, &[("1", 1), ("2000", 2000)]),
        [MEASURED]),
    row!("mptcp" => "a multipath TCP socket", into_stream(Fd::MptcpSocket, &[("20000", 20_000)]),
        [selftest("net/mptcp/mptcp_connect.c", "do_splice")]),
    row!("dev-null" => "/dev/null", into_device(Fd::DevNull), [ltp("splice09.c", "/dev/null").since("6.7"),
        gvisor("splice.cc", "SpliceTest.FromPipeWithWriterToDevNull")]),
    row!("urandom" => "/dev/urandom", into_device(Fd::DevUrandom), [kernel("drivers/char/random.c", "urandom_fops")]),
    row!("dev-zero" => "/dev/zero", into_device(Fd::DevZero), [ltp("splice09.c", "/dev/zero").since("6.7")])
        .except(LACKING)
        .gated(&[ZERO]),
    about_splice("splice.sink.udp", "splice() moves bytes from a pipe into a UDP socket as one datagram.")
        .published(&[
            selftest("net/udp_splice_checksum.c", "run_case").leaves_open(),
            doc("filesystems/splice.rst", "splice API").leaves_open(),
            MEASURED,
        ])
        .turned_by(UNMOVED)
        .except(&[WHOLE_DATAGRAM])
        .tried(|lab, see| {
            // A datagram is shorter than the pages of some machines.
            for length in [1, 4095, 4096, 4097, 9000] {
                let ((near, far), bytes) = (connected(lab, Fd::UdpSocket)?, pattern(length));
                let pipe = filled(&bytes)?;
                see.call(format!("splice(pipe, UDP socket, {length})"), once(&pipe.read, &near, length)).is(length);
                see.readable(&format!("{length}: bytes left in the pipe"), &pipe.read)?.is(0);
                see.text(format!("{length}: datagram"), as_sent(datagram(&near, &far)? == bytes)).says(AS_SENT);
            }
            Ok(())
        }),
    about_splice("splice.sink.eventfd", "splice() from a pipe into an eventfd fails with EINVAL.")
        .published(&[
            ltp("splice07.c", "a pipe into TST_FD_EVENTFD: EBADF or EINVAL").leaves_open(),
            gvisor("eventfd.cc", "EventfdTest.SpliceReturnsEINVAL, its comment").since("5.10"),
            kernel("fs/splice.c", "do_splice_from"),
        ])
        .tried(|lab, see| {
            // write() takes 8 bytes, and no fewer.
            let (sink, pipe) = (Descriptor::open(lab, Fd::Eventfd)?, filled(&1_u64.to_ne_bytes())?);
            see.call("splice(pipe, eventfd)", once(&pipe.read, &sink, 8)).fails(EINVAL);
            see.readable("bytes left in the pipe", &pipe.read)?.is(8);
            Ok(())
        }),
    about_splice("splice.sink.dev-full", "splice() from a pipe into /dev/full fails with ENOSPC, as write() does.")
        .published(&[
            thread("coreutils/coreutils#277", "errors of write() come through splice(), as /dev/full shows"),
            thread("coreutils/coreutils#277", "on 7.0.10 splice() to it fails with EINVAL").denies().since("7.0"),
            thread("uutils/coreutils#11745", "cat to /dev/full: splice() fails with EINVAL").denies(),
        ])
        .about(&[Sysno::splice, Sysno::write])
        .turned_by(&[Lie::about(Sysno::splice, What::OtherErrno(libc::ENOSPC))])
        .tried(|lab, see| {
            let (sink, pipe) = (Descriptor::open(lab, Fd::DevFull)?, filled(b"b")?);
            see.call("splice(pipe, /dev/full)", once(&pipe.read, &sink, 1)).fails(ENOSPC);
            see.readable("bytes left in the pipe", &pipe.read)?.is(1);
            see.call("write(/dev/full)", io::again(|| io::write(&sink, b"b"))).fails(ENOSPC);
            Ok(())
        }),
    about_splice(
        "splice.sink.append",
        "splice() from a pipe into a file that is open with O_APPEND fails with EINVAL.",
    )
    .published(&[
        man("splice(2)", "ERRORS, EINVAL"),
        ltp("splice03.c", "a file that is open with O_APPEND"),
        thread("mre/fcat#10", "fcat fails with EINVAL when its output is a file opened by >>"),
    ])
    .tried(|lab, see| {
        let (file, pipe) = (lab.empty_file()?, filled(b"b")?);
        let append = reopen(&file, File::options().append(true))?;
        let into = |file: &File| once(&pipe.read, file, 1);
        see.call("splice(pipe, O_APPEND file)", into(&append)).fails(EINVAL);
        see.call("splice(pipe, the same file without O_APPEND)", into(&file)).is(1);
        see.length("length of the file", &file)?.is(1);
        Ok(())
    }),
    about_splice(
        "splice.sink.append-by-another",
        "O_APPEND set through a duplicated descriptor makes splice() into a file or terminal fail with EINVAL.",
    )
    .published(&[
        thread("axboe/liburing#291", "make sets O_APPEND on the shared terminal; IORING_OP_SPLICE into it fails then"),
        man("open(2)", "NOTES, Open file descriptions"),
        man("splice(2)", "ERRORS, EINVAL"),
    ])
    .tried(|lab, see| {
        let (terminal, master) = connected(lab, Fd::Terminal)?;
        for (name, file) in [("file", lab.empty_file()?), ("terminal", File::from(terminal))] {
            let (another, pipe) = (aside(|| file.try_clone()).setup("dup")?, filled(b"bb")?);
            let call = || once(&pipe.read, &file, 1);
            see.call(format!("splice(pipe, {name}) before"), call()).is(1);
            set_status_flags(&another, libc::O_APPEND)?;
            see.call(format!("splice(pipe, {name}) afterwards"), call()).fails(EINVAL);
            see.readable(&format!("{name}: bytes left in the pipe"), &pipe.read)?.is(1);
        }
        drop(master);
        Ok(())
    }),
    about_splice(
        "splice.sink.udp-pieces",
        "One splice() of a pipe with three buffers into a UDP socket sends one datagram.",
    )
    .published(&[kernel("fs/splice.c", "splice_to_socket")])
    .turned_by(UNMOVED)
    .except(&[WHOLE_DATAGRAM])
    .method("Splices three pipes into one, so that their bytes are separate buffers there, and that into the socket.")
    .tried(|_lab, see| {
        let (pipe, (near, far)) = (pipe()?, aside(sockets::udp)?);
        let content = pattern(1 + 777 + 4096);
        for range in [0..1, 1..778, 778..content.len()] {
            let (length, piece) = (range.len(), filled(&content[range])?);
            let step = |done| splice(&piece.read, None, &pipe.write, None, length - done, NONBLOCK);
            aside(|| io::all_done(length, step)).setup("splice")?;
        }
        see.call("splice(pipe of three buffers, UDP socket)", once(&pipe.read, &near, content.len())).is(content.len());
        see.readable("bytes left in the pipe", &pipe.read)?.is(0);
        see.text("datagram", as_sent(datagram(&near, &far)? == content)).says(AS_SENT);
        Ok(())
    }),
    about_splice(
        "splice.sink.dev-null-empties",
        "After splice() into /dev/null, the pipe is empty: the next one with SPLICE_F_NONBLOCK fails with EAGAIN.",
    )
    .published(&[
        gvisor("splice.cc", "SpliceTest.FromPipeWithWriterToDevNull"),
        thread("google/gvisor#9736", "in gVisor, grep into /dev/null failed at random").leaves_open(),
    ])
    .tried(|lab, see| {
        let (null, pipe) = (Descriptor::open(lab, Fd::DevNull)?, filled(b"bytes")?);
        for (which, expected) in [("first", Ok(5)), ("second", Err(EAGAIN))] {
            let done = once(&pipe.read, &null, 100);
            see.call(format!("{which} splice(pipe of 5, /dev/null, 100)"), done).gives(expected);
        }
        see.readable("bytes left in the pipe", &pipe.read)?.is(0);
        Ok(())
    }),
    about_splice("splice.sink.sysctl", "splice() from a pipe into /proc/sys/kernel/domainname sets the name.")
        .published(&[ltp("splice06.c", "splice_write_str").since("5.11")])
        .turned_by(UNMOVED)
        .method("In a UTS namespace of its own, splices a name into the file and reads it.")
        .except(&[Exception::Of(Sysno::splice, What::Shortened, "half of a name is another name")])
        .tried(|_lab, see| {
            const NAME: &str = "nocopy.test";
            let path = Path::new("/proc/sys/kernel/domainname");
            aside(|| privilege::unshare(libc::CLONE_NEWUTS)).map_err(|errno| match errno {
                EIO => Stop::from_setup("unshare", errno),
                _ => {
                    Stop::untestable(Lack::Privilege, format!("no UTS namespace can be made: {errno:?}"), "run as root")
                }
            })?;
            let file = open_present(path, File::options().write(true), Lack::Kernel, "use a kernel with this file")?;
            let pipe = filled(NAME.as_bytes())?;
            see.call("splice(pipe, domainname)", io::again(|| once(&pipe.read, &file, NAME.len()))).is(NAME.len());
            let name = aside(|| std::fs::read_to_string(path)).setup("read domainname")?;
            see.text("domain name", name.trim_end()).says(NAME);
            Ok(())
        }),
    about_splice(
        "splice.sink.ktls",
        "splice() from a pipe into a kTLS socket sends the bytes, and the other end decrypts them.",
    )
    .published(&[selftest("net/tls.c", "tls.splice_from_pipe"), selftest("net/tls.c", "tls.splice_from_pipe2")])
    .turned_by(UNMOVED)
    .modules(sockets::KTLS_MODULES)
    .tried(|lab, see| into_stream(lab, see, Fd::TlsSender, &lengths())),
    about_splice(
        "splice.sink.ktls-more",
        "After write(), splice() into a kTLS socket, with SPLICE_F_MORE and without, sends every byte in order.",
    )
    .published(&[selftest("net/tls.c", "tls.send_and_splice"), selftest("net/tls.c", "tls.splice_onto_full_record")])
    .turned_by(UNMOVED)
    .modules(sockets::KTLS_MODULES)
    .tried(|_lab, see| {
        let ((near, far), content) = (sockets::ktls()?, pattern(5710));
        aside(|| io::write_all(&near, &content[..10])).setup("write")?;
        let pipe = filled(&content[10..])?;
        for (name, length, flags) in [("5000, SPLICE_F_MORE", 5000, SpliceFlags::MORE), ("700, 0", 700, BLOCKING)] {
            let step = |done| splice(&pipe.read, None, &near, None, length - done, flags);
            see.call(format!("splice(pipe, kTLS socket, {name})"), io::until_done(length, step)).is(length);
        }
        drop(near);
        see.text(RECEIVED, as_sent(rest(&far)? == content)).says(AS_SENT);
        Ok(())
    }),
    about_splice(
        "splice.sink.udp-odd-pieces",
        "Pieces of odd length, spliced into a UDP socket with SPLICE_F_MORE, arrive as one intact datagram.",
    )
    .published(&[selftest("net/udp_splice_checksum.c", "odd-fragments, odd-prefix-three-fragments").since("7.3")])
    .turned_by(&[Lie::skipped(Sysno::splice).where_it(true)])
    .except(&[
        WHOLE_DATAGRAM,
        Exception::Lacking("no lie mends a checksum"),
        Exception::Of(Sysno::splice, What::Skipped, "where no datagram comes, none is missing"),
    ])
    .varying(&[CHECKSUMS])
    .tried(|_lab, see| udp_pieces(see, &[1, 4095, 101], 777)),
    about_splice(
        "splice.sink.udp-even-pieces",
        "Pieces of even length, spliced into a UDP socket with SPLICE_F_MORE, arrive as one intact datagram.",
    )
    .published(&[selftest("net/udp_splice_checksum.c", "even-fragments").since("7.3")])
    .turned_by(&[Lie::skipped(Sysno::splice)])
    .except(&[WHOLE_DATAGRAM])
    .varying(&[CHECKSUMS])
    .tried(|_lab, see| udp_pieces(see, &[100, 4096, 700], 2)),
];

/// Splices pipes into a file, one after the other.
fn into_file(lab: &Lab, see: &mut Observation, kind: Fd) -> Result<(), Stop> {
    if kind == Fd::RegularFile {
        note_scratch(lab, see)?;
    }
    let (file, mut at) = (File::from(Descriptor::open(lab, kind)?.into_ends().0), 0);
    for (name, length) in lengths() {
        let (bytes, mut found) = (pattern(length), vec![0; length]);
        into(see, kind, name, &bytes, &file)?;
        let count = io::pread_full(&file, &mut found, at).setup("read the file")?;
        see.text(format!("{name}: bytes in the file"), as_sent(found[..count] == bytes)).says(AS_SENT);
        at += length as u64;
    }
    Ok(())
}

/// Splices a pipe into a connection and closes that, once for each length.
fn into_stream(lab: &Lab, see: &mut Observation, kind: Fd, lengths: &[(&str, usize)]) -> Result<(), Stop> {
    for (name, length) in lengths {
        let ((near, far), bytes) = (connected(lab, kind)?, pattern(*length));
        into(see, kind, name, &bytes, &near)?;
        drop(near);
        see.text(format!("{name}: bytes at the other end"), as_sent(rest(&far)? == bytes)).says(AS_SENT);
    }
    Ok(())
}

/// Splices a pipe into a device that keeps nothing.
fn into_device(lab: &Lab, see: &mut Observation, kind: Fd) -> Result<(), Stop> {
    let sink = Descriptor::open(lab, kind)?;
    lengths().iter().try_for_each(|(name, length)| into(see, kind, name, &pattern(*length), &sink))
}

/// Splices a pipe with these bytes into a sink. It is empty afterwards.
fn into(see: &mut Observation, kind: Fd, name: &str, bytes: &[u8], sink: &impl AsFd) -> Result<(), Stop> {
    let (pipe, length) = (filled(bytes)?, bytes.len());
    see.call(format!("splice(pipe, {kind}, {name})"), all(&pipe.read, sink, length)).is(length);
    see.readable(&format!("{name}: bytes left in the pipe"), &pipe.read)?.is(0);
    Ok(())
}

/// The first datagram that arrives. If none does, it is one of two that are sent here.
fn datagram(near: &impl AsFd, far: &impl AsFd) -> Result<Vec<u8>, Stop> {
    for _ in 0..2 {
        aside(|| io::write_whole(near, b"the end")).setup("write")?;
    }
    let mut bytes = vec![0; 1 << 16];
    let count = io::again(|| io::read(far, &mut bytes)).setup("read a datagram")?;
    bytes.truncate(count);
    Ok(bytes)
}

const CHECKSUMS: &str = "datagrams of the machine that were dropped for their checksum";

/// Splices pieces into a UDP socket as one datagram, the last one by a separate call, over IPv4 and over IPv6.
fn udp_pieces(see: &mut Observation, pieces: &[usize], last: usize) -> Result<(), Stop> {
    // Each piece gets a separate page, so that each is a separate buffer of the pipe.
    let mut memory = alias::memory((pieces.len() + 1) * page())?;
    let content = pattern(memory.len());
    memory.copy_from_slice(&content);
    let lengths = pieces.iter().chain([&last]);
    let parts: Vec<&[u8]> = memory.chunks(page()).zip(lengths).map(|(page, length)| &page[..*length]).collect();
    let (behind, before) = parts.split_last().expect("a last piece");
    let dropped = bad_checksums();
    for (name, address) in [("IPv4", IpAddr::from(Ipv4Addr::LOCALHOST)), ("IPv6", IpAddr::from(Ipv6Addr::LOCALHOST))] {
        let (near, far) = aside(|| sockets::udp_of(address))?;
        for (which, parts, flags) in
            [("pieces, SPLICE_F_MORE", before, SpliceFlags::MORE), ("last, 0", &[*behind], BLOCKING)]
        {
            let (pipe, length) = (pipe()?, parts.iter().map(|part| part.len()).sum());
            let vectors: Vec<IoVec> = parts.iter().map(|part| IoVec::new(part)).collect();
            // SAFETY: the memory is not changed, and freed when the process ends.
            let filled = aside(|| unsafe { vmsplice_to_pipe(&pipe.write, &vectors, BLOCKING) }).setup("vmsplice")?;
            if filled != length {
                return Err(Stop::broken("the pipe has not taken the parts"));
            }
            let moved = io::again(|| splice(&pipe.read, None, &near, None, length, flags));
            see.call(format!("splice(pipe, UDP socket by {name}, {which})"), moved).is(length);
        }
        see.text(format!("datagram by {name}"), as_sent(datagram(&near, &far)? == parts.concat())).says(AS_SENT);
    }
    see.count(CHECKSUMS, bad_checksums().saturating_sub(dropped));
    Ok(())
}

/// The kernel's count of datagrams with a wrong checksum.
fn bad_checksums() -> u64 {
    let read = |path| aside(|| std::fs::read_to_string(path)).unwrap_or_default();
    let (fourth, sixth) = (read("/proc/net/snmp"), read("/proc/net/snmp6"));
    let mut lines = fourth.lines().filter(|line| line.starts_with("Udp:")).map(str::split_whitespace);
    let (names, values) = (lines.next(), lines.next());
    let named = names.into_iter().flatten().zip(values.into_iter().flatten());
    let every = named.chain(sixth.lines().filter_map(|line| line.split_once(char::is_whitespace)));
    let counts = every.filter(|(name, _)| matches!(*name, "InCsumErrors" | "Udp6InCsumErrors"));
    counts.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
}
