//! `sendfile`: offsets, counts and errors in its manual page, and behaviour beyond it.

use super::tools::{note_length, note_readable, pipe, raised, reopen};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::io::{self, NO_FD, NOWHERE, argument, ask};
use crate::lab::open;
use crate::lab::sleeper::{Caller, returned};
use crate::lab::{Lab, alias, map_file, privilege, sockets};
use crate::verdict::{Lack, Observation, Setup, Stop};
use nocopy_mmap::{MapFlags, Mapping, Prot};
use nocopy_sendfile::sendfile;
use nocopy_splice::{PipeFlags, SpliceFlags, pipe2, splice};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("sendfile(2), man-pages 6.20");
const SENDFILE: &[Sysno] = &[Sysno::sendfile];
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::sendfile);

const WIRED_UP: Source = Source::Thread("Linux 5.11 to 5.19: random: wire up fops->splice_{read,write}_iter()");

/// The claim that `sendfile()` can read from a device.
macro_rules! device_source {
    ($id:literal, $kind:ident $name:literal, $source:expr, $finds:expr,) => {
        Claim {
            statement: concat!($name, " is a source of sendfile()."),
            sources: &[$source, Source::Measured],
            about: SENDFILE,
            lies: &[Lie::refused(Sysno::sendfile, libc::EINVAL).where_it(true), Lie::accepted(Sysno::sendfile)],
            ..Claim::of_answers(
                $id,
                |lab| sendfile_from(lab, Fd::$kind),
                &[(concat!("sendfile(file, ", $name, ")"), Answer::Is(1))],
            )
        }
    };
}

/// Claims about the results of `sendfile`.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "With an offset, sendfile() reads from there, sets it behind the last byte, and leaves the file position.",
        sources: &[MAN, Source::Thread("LTP sendfile02; gVisor sendfile.cc, SendOffset")],
        about: SENDFILE,
        lies: &[Lie::about(Sysno::sendfile, What::OffsetKept), Lie::refused(Sysno::sendfile, libc::EINVAL)],
        ..Claim::of_answers(
            "sendfile.offset.given",
            sendfile_offset_given,
            &[
                ("sendfile(file, file, 2, 1)", Answer::Is(1)),
                ("offset afterwards", Answer::Is(3)),
                ("position of the source", Answer::Is(0)),
                ("position of the target", Answer::Is(6)),
                ("target", Answer::Says("01234c")),
            ],
        )
    },
    Claim {
        statement: "With a null offset, sendfile() reads from the file position and moves it.",
        sources: &[MAN, Source::Thread("LTP sendfile06; gVisor sendfile.cc, SendTwice")],
        about: SENDFILE,
        lies: &[Lie::about(Sysno::sendfile, What::PositionKept), Lie::refused(Sysno::sendfile, libc::EINVAL)],
        ..Claim::of_answers(
            "sendfile.offset.null",
            sendfile_offset_null,
            &[
                ("first sendfile(file, file, NULL, 1)", Answer::Is(1)),
                ("second sendfile(file, file, NULL, 1)", Answer::Is(1)),
                ("position of the source", Answer::Is(2)),
                ("target", Answer::Says("ab")),
            ],
        )
    },
    Claim {
        statement: "A negative offset fails with EINVAL, even for no bytes.",
        sources: &[MAN, Source::Thread("LTP sendfile05; gVisor sendfile.cc, NegativeOffset")],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.offset.negative",
            sendfile_offset_negative,
            &[
                ("sendfile(file, file, -1, 1)", Answer::Fails(Errno::EINVAL)),
                ("sendfile(file, file, -1, 0)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "An offset whose address is bad fails with EFAULT.",
        sources: &[MAN, Source::Thread("LTP sendfile04")],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.offset.bad-address",
            sendfile_offset_bad_address,
            &[("sendfile(file, file, bad address, 1)", Answer::Fails(Errno::EFAULT))],
        )
    },
    Claim {
        statement: "sendfile() that fails with EFAULT has sent nothing.",
        method: "Sends with an offset that can be read and not written: the kernel writes it when the bytes are gone.",
        sources: &[MAN],
        about: SENDFILE,
        lies: &[Lie::returned(Sysno::lseek, 0)],
        ..Claim::of_answers(
            "sendfile.offset.read-only",
            sendfile_offset_read_only,
            &[
                ("sendfile(file, file, read-only offset, 1)", Answer::Fails(Errno::EFAULT)),
                ("position of the target", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "An offset for a source that cannot be sought fails with ESPIPE.",
        sources: &[MAN],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.offset.unseekable",
            sendfile_offset_unseekable,
            &[("sendfile(file, pipe, 0, 1)", Answer::Fails(Errno::ESPIPE))],
        )
    },
    Claim {
        statement: "Behind the end of the file, sendfile() returns 0.",
        sources: &[MAN, Source::Thread("gVisor sendfile.cc")],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.end.zero",
            sendfile_end_zero,
            &[
                ("sendfile(file, file of 3, 3, 1)", Answer::Is(0)),
                ("sendfile(file, file of 3, 1000, 1)", Answer::Is(0)),
                ("sendfile(file, empty file, 0, 1)", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "sendfile() of 0 bytes returns 0.",
        sources: &[MAN],
        about: SENDFILE,
        lies: &[Lie::refused(Sysno::sendfile, libc::EINVAL), Lie::returned(Sysno::sendfile, 1)],
        ..Claim::of_answers(
            "sendfile.count.zero",
            sendfile_count_zero,
            &[("sendfile(file, file, 0, 0)", Answer::Is(0))],
        )
    },
    Claim {
        statement: "A count that is negative as a signed number fails with EINVAL.",
        sources: &[MAN, Source::Thread("gVisor sendfile.cc")],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.count.negative",
            sendfile_count_negative,
            &[("sendfile(file, file, 0, SIZE_MAX)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "The largest count, SSIZE_MAX, is accepted from offset 0 and refused with EINVAL from offset 1.",
        sources: &[Source::Thread("Linux 7.3, fs/read_write.c, rw_verify_area"), Source::Measured],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.count.largest",
            sendfile_count_largest,
            &[
                ("sendfile(file, file of 1, 0, SSIZE_MAX)", Answer::Is(1)),
                ("sendfile(file, file of 1, 1, SSIZE_MAX)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "One sendfile() transfers at most 0x7ffff000 bytes.",
        method: "Sends a file of 3 GiB without blocks to /dev/null.",
        sources: &[MAN, Source::Thread("python/cpython#82500")],
        about: SENDFILE,
        lies: &[Lie::returned(Sysno::sendfile, 3 << 30), Lie::shortened(Sysno::sendfile)],
        ..Claim::of_answers(
            "sendfile.count.cap",
            sendfile_count_cap,
            &[("sendfile(/dev/null, file of 3 GiB, 0, 3 GiB)", Answer::Is(0x7fff_f000))],
        )
    },
    Claim {
        statement: "A descriptor that is not open, or not for reading or writing, fails with EBADF.",
        sources: &[MAN, Source::Thread("LTP sendfile03")],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.errors.ebadf",
            sendfile_errors_ebadf,
            &[
                ("sendfile(-1, file)", Answer::Fails(Errno::EBADF)),
                ("sendfile(file, -1)", Answer::Fails(Errno::EBADF)),
                ("sendfile(read-only file, file)", Answer::Fails(Errno::EBADF)),
                ("sendfile(file, write-only file)", Answer::Fails(Errno::EBADF)),
                ("sendfile(file, O_PATH)", Answer::Fails(Errno::EBADF)),
            ],
        )
    },
    Claim {
        statement: "A target opened with O_APPEND fails with EINVAL, with an offset or without.",
        sources: &[MAN, Source::Thread("rust-lang/rust#82410; gVisor sendfile.cc")],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.errors.append",
            sendfile_errors_append,
            &[
                ("sendfile(O_APPEND file, file, 0)", Answer::Fails(Errno::EINVAL)),
                ("sendfile(O_APPEND file, file, NULL)", Answer::Fails(Errno::EINVAL)),
                ("sendfile(file with O_APPEND set later, file)", Answer::Fails(Errno::EINVAL)),
                ("sendfile(file with O_APPEND cleared, file)", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "Whether the target can be written is asked before whether it appends.",
        sources: &[Source::Thread("gVisor sendfile.cc, AppendCheckOrdering"), Source::Measured],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.errors.append-order",
            sendfile_errors_append_order,
            &[("sendfile(read-only O_APPEND file, file)", Answer::Fails(Errno::EBADF))],
        )
    },
    Claim {
        statement: "Into a full pipe with O_NONBLOCK, sendfile() fails with EAGAIN.",
        sources: &[MAN, Source::Thread("LTP sendfile07; gVisor sendfile_socket.cc")],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.errors.eagain",
            sendfile_errors_eagain,
            &[("sendfile(full pipe, file)", Answer::Fails(Errno::EAGAIN))],
        )
    },
    Claim {
        statement: "Into a full AF_UNIX stream socket with O_NONBLOCK, sendfile() fails with EAGAIN.",
        method: "Fills a socket by write() until EAGAIN, then sends a byte of a file: where that is taken, it was added to the last \
                 buffer in the queue, whatever the limit.",
        sources: &[Source::Thread("LTP sendfile07"), Source::Measured],
        about: SENDFILE,
        lies: &[Lie::accepted(Sysno::sendfile), Lie::refused(Sysno::sendfile, libc::EAGAIN).where_it(false)],
        ..Claim::of_answers(
            "sendfile.errors.eagain-unix",
            sendfile_errors_eagain_unix,
            &[("sendfile(full AF_UNIX socket, file)", Answer::Fails(Errno::EAGAIN))],
        )
    },
    Claim {
        statement: "Into an empty pipe of 64 KiB, a blocking sendfile() of 1 MiB returns when the pipe is full.",
        method: "Sends 1 MiB to a blocking pipe that nobody reads, in a thread of its own, until that has returned or sleeps in the \
                 call with the pipe full.",
        sources: &[MAN, Source::Measured],
        about: SENDFILE,
        lies: &[
            Lie::returned(Sysno::sendfile, 1 << 20).where_it(true),
            Lie::about(Sysno::sendfile, What::Undone(65536)).where_it(false),
        ],
        exceptions: &[Exception::Of(Sysno::sendfile, What::Shortened, "half of 1 MiB is more than the pipe holds")],
        resources: &[crate::claim::Resource::UserPipePages],
        ..Claim::of_answers(
            "sendfile.count.pipe-room",
            sendfile_count_pipe_room,
            &[("sendfile(empty pipe, file of 1 MiB)", Answer::Says("returned 65536"))],
        )
    },
    Claim {
        statement: "sendfile() to a closed peer raises SIGPIPE and fails with EPIPE: there is no flag against it.",
        sources: &[Source::Measured],
        about: SENDFILE,
        lies: &[
            Lie::about(Sysno::sendfile, What::OtherErrno(libc::ENOLINK)),
            Lie::about(Sysno::sendfile, What::Swallowed(libc::SIGPIPE)),
        ],
        ..Claim::of_answers(
            "sendfile.errors.sigpipe",
            sendfile_errors_sigpipe,
            &[
                ("sendfile(AF_UNIX socket without peer, file)", Answer::Fails(Errno::EPIPE)),
                ("sendfile(pipe without readers, file)", Answer::Fails(Errno::EPIPE)),
                ("signals raised", Answer::Is(2)),
            ],
        )
    },
    Claim {
        statement: "Beyond RLIMIT_FSIZE, sendfile() sends what fits, then fails with EFBIG and raises SIGXFSZ.",
        sources: &[Source::Measured],
        about: SENDFILE,
        lies: &[
            Lie::refused(Sysno::sendfile, libc::EFBIG),
            Lie::about(Sysno::sendfile, What::Swallowed(libc::SIGXFSZ)),
        ],
        exceptions: &[Exception::Of(Sysno::sendfile, What::Shortened, "what fits is what is counted")],
        ..Claim::of_answers(
            "sendfile.errors.efbig",
            sendfile_errors_efbig,
            &[
                ("first sendfile(file limited to 4096, file of 8192)", Answer::Is(4096)),
                ("second sendfile(file limited to 4096, file of 8192)", Answer::Fails(Errno::EFBIG)),
                ("SIGXFSZ of the second", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "A memfd sealed against writing is refused as target with EPERM.",
        sources: &[Source::Measured],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.errors.sealed",
            sendfile_errors_sealed,
            &[("sendfile(memfd with F_SEAL_WRITE, file)", Answer::Fails(Errno::EPERM))],
        )
    },
    Claim {
        statement: "sendfile() from pipe to pipe works as splice() does, into which it is turned since Linux 5.12.",
        method: "Sends from one pipe to another, and splices the same, for contrast.",
        sources: &[MAN],
        about: &[Sysno::sendfile, Sysno::splice],
        lies: &[Lie::accepted(Sysno::sendfile)],
        ..Claim::of_answers(
            "sendfile.source.pipe-to-pipe",
            sendfile_source_pipe_to_pipe,
            &[("sendfile(pipe, other pipe)", Answer::Is(1)), ("splice(other pipe, pipe)", Answer::Is(1))],
        )
    },
    Claim {
        statement: "The source of sendfile() must support operations like mmap().",
        method: "Sends files of /proc that cannot be mapped.",
        sources: &[MAN],
        about: &[Sysno::sendfile, Sysno::mmap],
        lies: &[Lie::refused(Sysno::sendfile, libc::EINVAL)],
        ..Claim::of_answers(
            "sendfile.source.like-mmap",
            sendfile_source_like_mmap,
            &[
                ("mmap(/proc/version)", Answer::Fails(Errno::EIO)),
                ("sendfile(file, /proc/version)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    device_source!(
        "sendfile.source.urandom",
        DevUrandom "/dev/urandom",
        WIRED_UP,
        &[between((5, 10), (5, 10), false), between((6, 1), (7, 3), true)],
    ),
    device_source!(
        "sendfile.source.dev-random",
        DevRandom "/dev/random",
        WIRED_UP,
        &[between((5, 10), (5, 10), false), between((6, 1), (7, 3), true)],
    ),
    device_source!(
        "sendfile.source.dev-zero",
        DevZero "/dev/zero",
        Source::Thread("LTP splice08; Linux 6.7, commit 1b057bd800c3"),
        &[between((5, 10), (6, 1), false), between((6, 12), (7, 3), true)],
    ),
    device_source!(
        "sendfile.source.dev-full",
        DevFull "/dev/full",
        Source::Thread("LTP splice09; Linux 6.7, commit 1b057bd800c3"),
        &[between((5, 10), (6, 1), false), between((6, 12), (7, 3), true)],
    ),
    Claim {
        statement: "/dev/zero is a target of sendfile().",
        sources: &[Source::Thread("Linux 6.7, commit 1b057bd800c3"), Source::Measured],
        about: SENDFILE,
        lies: &[Lie::refused(Sysno::sendfile, libc::EINVAL).where_it(true), Lie::accepted(Sysno::sendfile)],
        ..Claim::of_answers(
            "sendfile.target.dev-zero",
            |lab| sendfile_to(lab, Fd::DevZero),
            &[("sendfile(/dev/zero, file)", Answer::Is(1))],
        )
    },
    Claim {
        statement: "/dev/full as a target of sendfile() gives ENOSPC, as write() does.",
        method: "Sends a byte there, and writes one, for contrast.",
        sources: &[Source::Man("full(4), man-pages 6.20"), Source::Thread("coreutils/coreutils#277")],
        about: SENDFILE,
        lies: &[Lie::about(Sysno::sendfile, What::OtherErrno(libc::ENOSPC))],
        ..Claim::of_answers(
            "sendfile.target.dev-full",
            sendfile_target_dev_full,
            &[
                ("sendfile(/dev/full, file)", Answer::Fails(Errno::ENOSPC)),
                ("write(/dev/full)", Answer::Fails(Errno::ENOSPC)),
            ],
        )
    },
    Claim {
        statement: "An eventfd takes no sendfile(): EINVAL.",
        sources: &[Source::Measured],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.target.eventfd",
            |lab| sendfile_to(lab, Fd::Eventfd),
            &[("sendfile(eventfd, file)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "To a UDP socket, sendfile() of more than a datagram holds fails with EMSGSIZE.",
        method: "Sends 200000 bytes to a connected UDP socket and looks for what arrives. Where sendfile() reports bytes as sent \
                 and nothing comes, they are lost in silence.",
        sources: &[Source::Measured, Source::Thread("Linux 6.5, MSG_SPLICE_PAGES")],
        about: SENDFILE,
        lies: &[
            Lie::returned(Sysno::sendfile, 61440).where_it(true),
            Lie::about(Sysno::sendfile, What::OtherErrno(libc::EIO)).where_it(true),
            Lie::refused(Sysno::sendfile, libc::EMSGSIZE).where_it(false),
        ],
        ..Claim::of_answers(
            "sendfile.udp.too-long",
            sendfile_udp_too_long,
            &[("sendfile(UDP socket, file of 200000)", Answer::Fails(Errno::EMSGSIZE))],
        )
    },
    Claim {
        statement: "To a UDP socket, one sendfile() is one datagram.",
        sources: &[Source::Measured],
        about: SENDFILE,
        lies: &[Lie::refused(Sysno::sendfile, libc::EINVAL), Lie::shortened(Sysno::sendfile)],
        ..Claim::of_answers(
            "sendfile.udp.one-datagram",
            sendfile_udp_one_datagram,
            &[
                ("sendfile(UDP socket, file of 10000)", Answer::Is(10000)),
                ("bytes of the first datagram", Answer::Is(10000)),
            ],
        )
    },
    Claim {
        statement: "On a socket with SO_ZEROCOPY, sendfile() has no completion: it is not MSG_ZEROCOPY.",
        method: "Sends a file over a socket with the option, waits until all is acknowledged, and looks at the error queue. A send \
                 with the flag on the same socket is the control.",
        sources: &[Source::Measured],
        about: &[Sysno::sendfile, Sysno::recvmsg],
        lies: &[Lie::about(Sysno::recvmsg, What::CompletionForged(0)).after(0)],
        ..Claim::of_answers(
            "sendfile.completion.none",
            sendfile_completion_none,
            &[("completions of sendfile()", Answer::Is(0)), ("completions of a send with the flag", Answer::Is(1))],
        )
    },
];

fn sendfile_offset_given(lab: &Lab) -> Result<Observation, Stop> {
    let mut source = lab.file(b"abcdef")?;
    let mut target = lab.file(b"01234")?;
    io::seek(&target, 5).setup("lseek")?;
    let mut offset = 2;
    let mut seen = Observation::new();
    seen.call("sendfile(file, file, 2, 1)", sendfile(&target, &source, Some(&mut offset), 1));
    seen.count("offset afterwards", offset)
        .count("position of the source", source.stream_position().setup("lseek")?)
        .count("position of the target", target.stream_position().setup("lseek")?);
    seen.text("target", content(&mut target)?);
    Ok(seen)
}

/// The whole content of a file of text.
fn content(file: &mut File) -> Result<String, Stop> {
    let mut text = String::new();
    aside(|| {
        file.rewind().setup("lseek")?;
        file.read_to_string(&mut text).setup("read the file")
    })?;
    Ok(text)
}

fn sendfile_offset_null(lab: &Lab) -> Result<Observation, Stop> {
    let mut source = lab.file(b"abcdef")?;
    let mut target = lab.empty_file()?;
    let mut seen = Observation::new();
    for which in ["first", "second"] {
        let sent = sendfile(&target, &source, None, 1);
        seen.call(format!("{which} sendfile(file, file, NULL, 1)"), sent);
    }
    seen.count("position of the source", source.stream_position().setup("lseek")?);
    seen.text("target", content(&mut target)?);
    Ok(seen)
}

fn sendfile_offset_negative(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abcdef")?, lab.empty_file()?);
    let mut seen = Observation::new();
    for count in [1, 0] {
        let mut offset = u64::MAX;
        let sent = sendfile(&target, &source, Some(&mut offset), count);
        seen.call(format!("sendfile(file, file, -1, {count})"), sent);
    }
    Ok(seen)
}

fn sendfile_offset_bad_address(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abcdef")?, lab.empty_file()?);
    let arguments = [argument(&target), argument(&source), NOWHERE, 1, 0, 0];
    // SAFETY: nothing is mapped at the offset's address.
    let sent = unsafe { ask(Sysno::sendfile, arguments) };
    let mut seen = Observation::new();
    seen.call("sendfile(file, file, bad address, 1)", sent);
    Ok(seen)
}

fn sendfile_offset_read_only(lab: &Lab) -> Result<Observation, Stop> {
    let (source, mut target) = (lab.file(b"abcdef")?, lab.empty_file()?);
    let page = Mapping::of_file(4096, Prot::READ, MapFlags::PRIVATE, &lab.file(&[0; 4096])?, 0)
        .map_err(|_| Stop::broken("no page could be mapped"))?;
    let offset = page.as_ptr().expose_provenance();
    // SAFETY: the kernel reads the offset, 0, and cannot write it.
    let sent = unsafe { ask(Sysno::sendfile, [argument(&target), argument(&source), offset, 1, 0, 0]) };
    let mut seen = Observation::new();
    seen.call("sendfile(file, file, read-only offset, 1)", sent);
    seen.count("position of the target", target.stream_position().setup("lseek")?);
    Ok(seen)
}

fn sendfile_offset_unseekable(lab: &Lab) -> Result<Observation, Stop> {
    let source = Descriptor::open(lab, Fd::PipeRead)?;
    let target = lab.empty_file()?;
    let mut seen = Observation::new();
    seen.call("sendfile(file, pipe, 0, 1)", sendfile(&target, &source, Some(&mut 0), 1));
    Ok(seen)
}

fn sendfile_end_zero(lab: &Lab) -> Result<Observation, Stop> {
    let (source, empty, target) = (lab.file(b"abc")?, lab.empty_file()?, lab.empty_file()?);
    let mut seen = Observation::new();
    for offset in [3, 1000] {
        let sent = sendfile(&target, &source, Some(&mut { offset }), 1);
        seen.call(format!("sendfile(file, file of 3, {offset}, 1)"), sent);
    }
    seen.call("sendfile(file, empty file, 0, 1)", sendfile(&target, &empty, Some(&mut 0), 1));
    Ok(seen)
}

fn sendfile_count_zero(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    let mut seen = Observation::new();
    seen.call("sendfile(file, file, 0, 0)", sendfile(&target, &source, Some(&mut 0), 0));
    Ok(seen)
}

fn sendfile_count_negative(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    let mut seen = Observation::new();
    seen.call("sendfile(file, file, 0, SIZE_MAX)", sendfile(&target, &source, Some(&mut 0), usize::MAX));
    Ok(seen)
}

fn sendfile_count_largest(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"a")?, lab.empty_file()?);
    let largest = isize::MAX.unsigned_abs();
    let mut seen = Observation::new();
    for offset in [0, 1] {
        let sent = sendfile(&target, &source, Some(&mut { offset }), largest);
        seen.call(format!("sendfile(file, file of 1, {offset}, SSIZE_MAX)"), sent);
    }
    note_length(&mut seen, "length of the target", &target)?;
    Ok(seen)
}

fn sendfile_count_cap(lab: &Lab) -> Result<Observation, Stop> {
    let null = Descriptor::open(lab, Fd::DevNull)?;
    // The same change made the holes of a file in memory one page of zeros, which is given again and again.
    let zero = Descriptor::open(lab, Fd::DevZero)?;
    if aside(|| sendfile(&null, &zero, None, 1)).is_err() {
        return Err(Stop::untestable(
            Lack::Kernel,
            "two GiB of holes would be two GiB of pages: this kernel cannot splice /dev/zero",
            "use Linux 6.7 or newer",
        ));
    }
    let source = lab.empty_file()?;
    io::truncate(&source, 3 << 30).setup("ftruncate")?;
    let mut seen = Observation::new();
    seen.call("sendfile(/dev/null, file of 3 GiB, 0, 3 GiB)", sendfile(&null, &source, Some(&mut 0), 3 << 30));
    Ok(seen)
}

fn sendfile_errors_ebadf(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    let read_only = reopen(&target, File::options().read(true))?;
    let write_only = reopen(&source, File::options().write(true))?;
    let path = Descriptor::open(lab, Fd::PathOnly)?;
    let call = |output: usize, input: usize| {
        // SAFETY: a null offset; the bytes go to a file of the experiment.
        unsafe { ask(Sysno::sendfile, [output, input, 0, 1, 0, 0]) }
    };
    let mut seen = Observation::new();
    seen.call("sendfile(-1, file)", call(NO_FD, argument(&source)))
        .call("sendfile(file, -1)", call(argument(&target), NO_FD))
        .call("sendfile(read-only file, file)", sendfile(&read_only, &source, None, 1))
        .call("sendfile(file, write-only file)", sendfile(&target, &write_only, None, 1))
        .call("sendfile(file, O_PATH)", sendfile(&target, &path, None, 1));
    Ok(seen)
}

fn sendfile_errors_append(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    let append = reopen(&target, File::options().append(true))?;
    let mut seen = Observation::new();
    seen.call("sendfile(O_APPEND file, file, 0)", sendfile(&append, &source, Some(&mut 0), 1))
        .call("sendfile(O_APPEND file, file, NULL)", sendfile(&append, &source, None, 1));
    open::set_status_flags(&target, libc::O_APPEND)?;
    seen.call("sendfile(file with O_APPEND set later, file)", sendfile(&target, &source, None, 1));
    open::set_status_flags(&target, 0)?;
    seen.call("sendfile(file with O_APPEND cleared, file)", sendfile(&target, &source, None, 1));
    note_length(&mut seen, "length of the target", &target)?;
    Ok(seen)
}

fn sendfile_errors_append_order(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    let read_only = reopen(&target, File::options().read(true))?;
    open::set_status_flags(&read_only, libc::O_APPEND)?;
    let mut seen = Observation::new();
    seen.call("sendfile(read-only O_APPEND file, file)", sendfile(&read_only, &source, None, 1));
    Ok(seen)
}

fn sendfile_errors_eagain(lab: &Lab) -> Result<Observation, Stop> {
    let source = alias::source(lab)?;
    let full = aside(|| -> Result<_, Stop> {
        let full = pipe2(PipeFlags::NONBLOCK).setup("pipe2")?;
        io::fill(&full.write, &[0; 4096]).setup("fill a pipe")?;
        Ok(full)
    })?;
    let mut seen = Observation::new();
    seen.call("sendfile(full pipe, file)", sendfile(&full.write, &source, Some(&mut 0), 1));
    Ok(seen)
}

fn sendfile_errors_eagain_unix(lab: &Lab) -> Result<Observation, Stop> {
    let source = alias::source(lab)?;
    let (near, _far) = UnixStream::pair().setup("socketpair")?;
    io::set_nonblocking(&near).setup("O_NONBLOCK")?;
    aside(|| io::fill(&near, &[0; 4096])).setup("fill a socket")?;
    let mut offset = 0;
    let mut seen = Observation::new();
    seen.call("sendfile(full AF_UNIX socket, file)", sendfile(&near, &source, Some(&mut offset), 1));
    seen.count("offset afterwards", offset);
    Ok(seen)
}

fn sendfile_count_pipe_room(lab: &Lab) -> Result<Observation, Stop> {
    let source = lab.file(&vec![0; 1 << 20])?;
    let pipe = pipe()?;
    let write = pipe.write;
    let sender = Caller::start(Sysno::sendfile, move || sendfile(&write, &source, Some(&mut 0), 1 << 20))?;
    let blocked = sender.sleeps_with(|| Ok(aside(|| sockets::readable(&pipe.read))? == 1 << 16))?;
    let mut seen = Observation::new();
    note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
    // The receiver reads now, so that the call ends.
    while !sender.has_returned() {
        aside(|| io::read(&pipe.read, &mut [0; 4096])).setup("read the pipe")?;
    }
    let returned = returned(sender.join()?);
    seen.text("in the end", &returned);
    let what = if blocked { "blocked" } else { &returned };
    seen.text("sendfile(empty pipe, file of 1 MiB)", what);
    Ok(seen)
}

fn sendfile_errors_sigpipe(lab: &Lab) -> Result<Observation, Stop> {
    let source = alias::source(lab)?;
    let (near, far) = UnixStream::pair().setup("socketpair")?;
    drop(far);
    let pipe = pipe()?;
    drop(pipe.read);
    let mut seen = Observation::new();
    let mut all = 0;
    for (name, target) in
        [("AF_UNIX socket without peer", near.as_fd()), ("pipe without readers", AsFd::as_fd(&pipe.write))]
    {
        let (sent, signals) = raised(libc::SIGPIPE, || sendfile(target, &source, Some(&mut 0), 1))?;
        seen.call(format!("sendfile({name}, file)"), sent);
        all += signals;
    }
    seen.count("signals raised", all);
    Ok(seen)
}

fn sendfile_errors_efbig(lab: &Lab) -> Result<Observation, Stop> {
    let source = lab.file(&[0; 8192])?;
    let target = lab.empty_file()?;
    privilege::limit_file_size(4096).setup("RLIMIT_FSIZE")?;
    let mut seen = Observation::new();
    let mut offset = 0;
    for which in ["first", "second"] {
        let (sent, signals) = raised(libc::SIGXFSZ, || sendfile(&target, &source, Some(&mut offset), 8192))?;
        seen.call(format!("{which} sendfile(file limited to 4096, file of 8192)"), sent);
        seen.count(format!("SIGXFSZ of the {which}"), signals);
    }
    Ok(seen)
}

fn sendfile_errors_sealed(lab: &Lab) -> Result<Observation, Stop> {
    let source = alias::source(lab)?;
    let sealed = open::sealed_memfd(libc::F_SEAL_WRITE)?;
    let mut seen = Observation::new();
    seen.call("sendfile(memfd with F_SEAL_WRITE, file)", sendfile(&sealed, &source, Some(&mut 0), 1));
    Ok(seen)
}

fn sendfile_source_pipe_to_pipe(lab: &Lab) -> Result<Observation, Stop> {
    let source = Descriptor::open(lab, Fd::PipeRead)?;
    let target = pipe()?;
    let mut seen = Observation::new();
    seen.call("sendfile(pipe, other pipe)", sendfile(&target.write, &source, None, 1));
    seen.call("splice(other pipe, pipe)", splice(&source, None, &target.write, None, 1, SpliceFlags::NONBLOCK));
    note_readable(&mut seen, "bytes in the pipe", &target.read)?;
    Ok(seen)
}

fn sendfile_source_like_mmap(lab: &Lab) -> Result<Observation, Stop> {
    let source = Descriptor::open(lab, Fd::ProcVersion)?;
    let target = lab.empty_file()?;
    let mut seen = Observation::new();
    let mapped = map_file(&source, 4096);
    seen.call("mmap(/proc/version)", mapped.map(|mapping| mapping.len()));
    seen.call("sendfile(file, /proc/version)", sendfile(&target, &source, None, 1));
    note_length(&mut seen, "length of the target", &target)?;
    Ok(seen)
}

fn sendfile_from(lab: &Lab, kind: Fd) -> Result<Observation, Stop> {
    let source = Descriptor::open(lab, kind)?;
    let target = lab.empty_file()?;
    let mut seen = Observation::new();
    seen.call(format!("sendfile(file, {kind})"), sendfile(&target, &source, None, 1));
    note_length(&mut seen, "length of the target", &target)?;
    Ok(seen)
}

fn sendfile_to(lab: &Lab, kind: Fd) -> Result<Observation, Stop> {
    let source = alias::source(lab)?;
    let target = Descriptor::open(lab, kind)?;
    let mut offset = 0;
    let mut seen = Observation::new();
    seen.call(format!("sendfile({kind}, file)"), sendfile(&target, &source, Some(&mut offset), 1));
    seen.count("offset afterwards", offset);
    Ok(seen)
}

fn sendfile_target_dev_full(lab: &Lab) -> Result<Observation, Stop> {
    let source = alias::source(lab)?;
    let full = Descriptor::open(lab, Fd::DevFull)?;
    let mut seen = Observation::new();
    seen.call("sendfile(/dev/full, file)", sendfile(&full, &source, Some(&mut 0), 1))
        .call("write(/dev/full)", io::write(&full, b"b"));
    Ok(seen)
}

fn sendfile_udp_too_long(lab: &Lab) -> Result<Observation, Stop> {
    let source = lab.file(&vec![0; 200_000])?;
    let (near, far) = sockets::udp()?;
    let mut seen = Observation::new();
    seen.call("sendfile(UDP socket, file of 200000)", sendfile(&near, &source, Some(&mut 0), 200_000));
    // A datagram sent after this one would arrive after it.
    aside(|| io::write_all(&near, b"last")).setup("write")?;
    sockets::wait_for_arrival(&far, 1)?;
    note_readable(&mut seen, "bytes of the first datagram that comes", &far)?;
    Ok(seen)
}

fn sendfile_udp_one_datagram(lab: &Lab) -> Result<Observation, Stop> {
    let source = lab.file(&vec![0; 10_000])?;
    let (near, far) = sockets::udp()?;
    let mut seen = Observation::new();
    seen.call("sendfile(UDP socket, file of 10000)", sendfile(&near, &source, Some(&mut 0), 10_000));
    aside(|| io::write_all(&near, b"last")).setup("write")?;
    sockets::wait_for_arrival(&far, 1)?;
    note_readable(&mut seen, "bytes of the first datagram", &far)?;
    Ok(seen)
}

fn sendfile_completion_none(lab: &Lab) -> Result<Observation, Stop> {
    use crate::lab::completions::Completions;
    use nocopy_msg_zerocopy::{SendFlags, send_zerocopy};
    let source = lab.file(b"b")?;
    let (near, far) = sockets::tcp()?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    let mut seen = Observation::new();
    let mut count = |what: &str| -> Result<(), Stop> {
        sockets::wait_for_arrival(&far, 1)?;
        io::read_full(&far, &mut [0; 1]).setup("read at the receiver")?;
        crate::lab::waiting::wait_until(|| Ok(sockets::unacknowledged(&near)? == 0))?;
        let completions = Completions::now(&near).setup("read the error queue")?;
        seen.count(format!("completions of {what}"), completions.count());
        Ok(())
    };
    if sendfile(&near, &source, Some(&mut 0), 1).setup("sendfile")? != 1 {
        return Err(Stop::broken("nothing was sent"));
    }
    count("sendfile()")?;
    // SAFETY: a static is never freed.
    io::again(|| unsafe { send_zerocopy(zerocopy, b"b", SendFlags::empty()) }).setup("send")?;
    count("a send with the flag")?;
    Ok(seen)
}
