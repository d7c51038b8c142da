//! `splice`: the owner of spliced pages, the bytes that arrive, and the bytes left in the pipe after an error.

use super::sendfile_content::{HOLED, holed, holed_bytes};
use super::tools::{arrived, filled, note_readable, pipe};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::filesystems::{is_on_disk, places};
use crate::lab::open;
use crate::lab::unnamed;
use crate::lab::waiting::wait_until;
use crate::lab::{Lab, alias, io, sockets};
use crate::verdict::{Lack, Observation, Setup, Stop};
use nocopy_splice::{SpliceFlags, splice};
use std::os::fd::AsRawFd;
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("splice(2), man-pages 6.20");
const SPLICE: &[Sysno] = &[Sysno::splice];
const NONBLOCK: SpliceFlags = SpliceFlags::NONBLOCK;
const MOVED: &[Lie] = &[Lie::skipped(Sysno::splice), Lie::refused(Sysno::splice, libc::EINVAL)];

/// Claims about the bytes that `splice` moves.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "The holes of a file are spliced as zeros.",
        sources: &[
            Source::Thread("openzfs/zfs#15163: a page of zeros that comes again and again was taken for one"),
            Source::Measured,
        ],
        about: SPLICE,
        lies: &[Lie::bytes(Sysno::read, 0, b'f')],
        ..Claim::of_answers(
            "splice.source.holes",
            |_lab| {
                let file = holed()?;
                let pipe = pipe()?;
                let mut offset = 0;
                io::all_done(HOLED, |done| splice(&file, Some(&mut offset), &pipe.write, None, HOLED - done, NONBLOCK))
                    .setup("splice")?;
                let mut bytes = vec![1; HOLED];
                let count = io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
                let mut seen = Observation::new();
                seen.text("pipe's bytes", if bytes[..count] == holed_bytes() { "the file's" } else { "others" });
                Ok(seen)
            },
            &[("pipe's bytes", Answer::Says("the file's"))],
        )
    },
    Claim {
        statement: "splice() from a TCP socket stops before urgent data.",
        method: "Sends three bytes, an urgent one and two more, and splices again and again.",
        sources: &[Source::Thread(
            "Linux 7.3, tools/testing/selftests/net/packetdrill/tcp_splice_tcp_splice_loop_test.pkt",
        )],
        about: SPLICE,
        lies: &[Lie::returned(Sysno::splice, 5), Lie::refused(Sysno::splice, libc::EAGAIN)],
        ..Claim::of_answers(
            "splice.source.tcp-urgent",
            splice_source_tcp_urgent,
            &[("first splice(TCP socket, pipe, 99)", Answer::Is(3)), ("bytes in the pipe", Answer::Is(3))],
        )
    },
    Claim {
        statement: "The pieces of a pipe go into a UDP socket as one datagram, by one splice().",
        method: "Writes 1, 777 and 4096 bytes into a pipe, splices it into a UDP socket, and reads a datagram.",
        sources: &[Source::Thread("Linux 7.3, tools/testing/selftests/net/udp_splice_checksum.c"), Source::Measured],
        about: SPLICE,
        lies: MOVED,
        exceptions: &[Exception::Of(Sysno::splice, What::Shortened, "a datagram is sent whole or not")],
        ..Claim::of_answers(
            "splice.sink.udp-pieces",
            |_lab| {
                let content = crate::lab::pattern(1 + 777 + 4096);
                let pipe = pipe()?;
                for piece in [0..1, 1..778, 778..content.len()] {
                    aside(|| io::write_all(&pipe.write, &content[piece])).setup("write to a pipe")?;
                }
                let (near, far) = aside(sockets::udp)?;
                let mut seen = Observation::new();
                seen.call(
                    "splice(pipe of three pieces, UDP socket)",
                    splice(&pipe.read, None, &near, None, content.len(), NONBLOCK),
                );
                aside(|| io::write_all(&near, b"last")).setup("write")?;
                let mut bytes = vec![0; 1 << 16];
                let count = aside(|| io::read(&far, &mut bytes)).setup("read the datagram")?;
                seen.count("bytes of the first datagram", count as u64);
                seen.text("datagram", if bytes[..count] == content { "the pipe's bytes" } else { "others" });
                Ok(seen)
            },
            &[
                ("splice(pipe of three pieces, UDP socket)", Answer::Is(4874)),
                ("datagram", Answer::Says("the pipe's bytes")),
            ],
        )
    },
    Claim {
        statement: "After a pipe was spliced into /dev/null it is empty: the next splice() is EAGAIN.",
        sources: &[Source::Thread("google/gvisor#9736; LTP @6958277, testcases/kernel/syscalls/splice/splice09.c")],
        about: SPLICE,
        lies: &Lie::otherwise(Sysno::splice),
        exceptions: &[Exception::asked(Sysno::splice)],
        ..Claim::of_answers(
            "splice.sink.dev-null-empties",
            |lab| {
                let null = Descriptor::open(lab, Fd::DevNull)?;
                let pipe = filled(b"bytes")?;
                let mut seen = Observation::new();
                for which in ["first", "second"] {
                    let done = splice(&pipe.read, None, &null, None, 100, NONBLOCK);
                    seen.call(format!("{which} splice(pipe of 5, /dev/null, 100)"), done);
                }
                note_readable(&mut seen, "bytes left in the pipe", &pipe.read)?;
                Ok(seen)
            },
            &[
                ("first splice(pipe of 5, /dev/null, 100)", Answer::Is(5)),
                ("second splice(pipe of 5, /dev/null, 100)", Answer::Fails(Errno::EAGAIN)),
                ("bytes left in the pipe", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "A pipe can be filled by splice() from a multipath TCP connection.",
        sources: &[Source::Thread("Linux 7.3, tools/testing/selftests/net/mptcp/mptcp_connect.c, its mode splice")],
        about: SPLICE,
        lies: MOVED,
        ..Claim::of_answers(
            "splice.source.mptcp",
            |_lab| {
                let (near, far) = sockets::mptcp()?;
                let pipe = pipe()?;
                aside(|| io::write_all(&far, b"bytes")).setup("write")?;
                sockets::wait_for_arrival(&near, 5)?;
                let done = io::until_done(5, |done| splice(&near, None, &pipe.write, None, 5 - done, NONBLOCK));
                let mut seen = Observation::new();
                seen.call("splice(multipath TCP socket, pipe)", done);
                note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
                Ok(seen)
            },
            &[("splice(multipath TCP socket, pipe)", Answer::Is(5)), ("bytes in the pipe", Answer::Is(5))],
        )
    },
    Claim {
        statement: "A pipe is spliced into a connection with TLS in the kernel, and comes out of the other end.",
        sources: &[Source::Thread("Linux 7.3, tools/testing/selftests/net/tls.c, its splice tests")],
        about: SPLICE,
        modules: sockets::KTLS_MODULES,
        lies: MOVED,
        ..Claim::of_answers(
            "splice.sink.ktls",
            |lab| {
                let (near, far) = sockets::ktls()?;
                let file = alias::source(lab)?;
                let pipe = pipe()?;
                let mut offset = 0;
                aside(|| {
                    alias::send_all(|done| {
                        splice(&file, Some(&mut offset), &pipe.write, None, alias::LENGTH - done, NONBLOCK)
                    })
                })
                .setup("splice")?;
                let sent = io::until_done(alias::LENGTH, |done| {
                    splice(&pipe.read, None, &near, None, alias::LENGTH - done, NONBLOCK)
                });
                let mut seen = Observation::new();
                seen.call("splice(pipe, kTLS socket)", sent);
                drop(near);
                let same = arrived(&far, &[alias::OLD; alias::LENGTH])?;
                seen.text("receiver's bytes", if same { "the file's" } else { "others" });
                Ok(seen)
            },
            &[
                ("splice(pipe, kTLS socket)", Answer::Is(alias::LENGTH as u64)),
                ("receiver's bytes", Answer::Says("the file's")),
            ],
        )
    },
    Claim {
        statement: "A pipe can be filled by splice() from a connection with TLS in the kernel: the bytes are in the clear there.",
        sources: &[Source::Thread("Linux 7.3, tools/testing/selftests/net/tls.c, its splice tests")],
        about: SPLICE,
        modules: sockets::KTLS_MODULES,
        lies: MOVED,
        ..Claim::of_answers(
            "splice.source.ktls",
            |_lab| {
                let (near, far) = sockets::ktls()?;
                aside(|| io::write_all(&near, b"bytes")).setup("write")?;
                let pipe = pipe()?;
                let done =
                    io::until_done(5, |done| splice(&far, None, &pipe.write, None, 5 - done, SpliceFlags::empty()));
                let mut seen = Observation::new();
                seen.call("splice(kTLS socket, pipe)", done);
                drop(pipe.write);
                let mut bytes = [0; 5];
                let count = io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
                seen.text("pipe's bytes", if bytes[..count] == *b"bytes" { "in the clear" } else { "others" });
                Ok(seen)
            },
            &[("splice(kTLS socket, pipe)", Answer::Is(5)), ("pipe's bytes", Answer::Says("in the clear"))],
        )
    },
    Claim {
        statement: "From a file that is open with O_DIRECT, splice() gives the pages of the page cache, as without.",
        method: "Splices a file on a disk by a descriptor with O_DIRECT into a pipe, changes the file, and looks at the pipe's bytes.",
        sources: &[MAN, Source::Thread("Linux 6.5, the series \"splice, net: ...\": copy_splice_read() for O_DIRECT")],
        about: SPLICE,
        lies: alias::SHARING_LIES,
        ..Claim::of_answers(
            "splice.o-direct.shares",
            splice_o_direct_shares,
            &[("file changed, pipe's bytes", Answer::Says("shared"))],
        )
    },
];

fn splice_source_tcp_urgent(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = sockets::tcp()?;
    let send = |bytes: &[u8], flags: libc::c_int| {
        // SAFETY: the pointer and length are of `bytes`, which is read during the call.
        let sent = aside(|| unsafe { libc::send(far.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) });
        if usize::try_from(sent) == Ok(bytes.len()) {
            Ok(())
        } else {
            Err(Stop::from_setup("send", sockets::last_errno()))
        }
    };
    send(b"abc", 0)?;
    send(b"u", libc::MSG_OOB)?;
    send(b"de", 0)?;
    wait_until(|| Ok(sockets::unacknowledged(&far)? == 0))?;
    let pipe = pipe()?;
    let mut seen = Observation::new();
    let first = io::again(|| splice(&near, None, &pipe.write, None, 99, NONBLOCK));
    seen.call("first splice(TCP socket, pipe, 99)", first);
    note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
    aside(|| io::set_nonblocking(&near)).setup("O_NONBLOCK")?;
    let second = aside(|| splice(&near, None, &pipe.write, None, 99, NONBLOCK));
    seen.call("second splice(TCP socket, pipe, 99)", second);
    Ok(seen)
}

fn splice_o_direct_shares(lab: &Lab) -> Result<Observation, Stop> {
    let places = places(lab.scratch()?);
    let Some(place) = places.iter().find(|place| is_on_disk(&place.filesystem)) else {
        return Err(Stop::untestable(
            Lack::Device,
            "no scratch directory is on a disk",
            "name a directory on a local disk with --scratch DIR",
        ));
    };
    let file = unnamed::unnamed_file(&place.directory).setup("create a file")?;
    aside(|| io::pwrite_all(&file, &[alias::OLD; alias::LENGTH], 0)).setup("write the file")?;
    aside(|| file.sync_all()).setup("fsync")?;
    open::set_status_flags(&file, libc::O_DIRECT)?;
    let pipe = pipe()?;
    let mut offset = 0;
    alias::send_all(|done| splice(&file, Some(&mut offset), &pipe.write, None, alias::LENGTH - done, NONBLOCK))
        .setup("splice")?;
    open::set_status_flags(&file, 0)?;
    alias::change(&file)?;
    let mut bytes = vec![0; alias::LENGTH];
    let count = io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
    let mut seen = Observation::new();
    seen.text("file system", &place.filesystem);
    seen.text("file changed, pipe's bytes", alias::Sharing::of(&bytes[..count])?);
    Ok(seen)
}
