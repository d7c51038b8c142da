//! `splice`: ends, offsets, flags and errors in its manual page, and behaviour beyond it.

use super::tools::{filled, note_readable, pipe, raised, reopen, two};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception, Resource};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::io::{self, NO_FD, NOWHERE, argument, ask};
use crate::lab::{Lab, alias, open, privilege, sockets};
use crate::verdict::{Observation, Setup, Stop};
use nocopy_splice::{Pipe, PipeFlags, SpliceFlags, pipe2, splice};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("splice(2), man-pages 6.20");
const SPLICE: &[Sysno] = &[Sysno::splice];
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::splice);
const NONBLOCK: SpliceFlags = SpliceFlags::NONBLOCK;

const TAKEN: &[Lie] = &[Lie::refused(Sysno::splice, libc::EINVAL)];

/// Claims about the results of `splice`.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "An offset for an end that is a pipe fails with ESPIPE.",
        sources: &[MAN],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.offset.pipe",
            splice_offset_pipe,
            &[
                ("splice(file, pipe at 0)", Answer::Fails(Errno::ESPIPE)),
                ("splice(pipe at 0, file)", Answer::Fails(Errno::ESPIPE)),
                ("splice(pipe at 0, other pipe)", Answer::Fails(Errno::ESPIPE)),
                ("splice(pipe, other pipe at 0)", Answer::Fails(Errno::ESPIPE)),
            ],
        )
    },
    Claim {
        statement: "An offset for a device that cannot be sought, a pipe say, fails with EINVAL.",
        sources: &[MAN],
        about: SPLICE,
        lies: &[Lie::about(Sysno::splice, What::OtherErrno(libc::EINVAL))],
        ..Claim::of_answers(
            "splice.offset.pipe-einval",
            splice_offset_pipe,
            &[
                ("splice(file, pipe at 0)", Answer::Fails(Errno::EINVAL)),
                ("splice(pipe at 0, file)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "An offset for a socket or a terminal fails with EINVAL.",
        sources: &[MAN],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.offset.unseekable",
            splice_offset_unseekable,
            &[
                ("splice(TCP socket at 0, pipe)", Answer::Fails(Errno::EINVAL)),
                ("splice(terminal at 0, pipe)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "A negative offset fails with EINVAL, one whose address is bad with EFAULT.",
        sources: &[Source::Thread("LTP splice03; gVisor splice.cc"), Source::Measured],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.offset.bad",
            splice_offset_bad,
            &[
                ("splice(file at -1, pipe)", Answer::Fails(Errno::EINVAL)),
                ("splice(file at bad address, pipe)", Answer::Fails(Errno::EFAULT)),
            ],
        )
    },
    Claim {
        statement: "With an offset, splice() leaves the file position and sets the offset; without, it moves the position.",
        sources: &[MAN, Source::Thread("LTP splice02; gVisor splice.cc")],
        about: SPLICE,
        lies: &[
            Lie::about(Sysno::splice, What::OffsetKept),
            Lie::refused(Sysno::splice, libc::EINVAL),
            Lie::returned(Sysno::lseek, 0).after(1),
        ],
        ..Claim::of_answers(
            "splice.offset.position",
            splice_offset_position,
            &[
                ("splice(file at 2, pipe)", Answer::Is(1)),
                ("offset afterwards", Answer::Is(3)),
                ("position afterwards", Answer::Is(0)),
                ("splice(file, pipe)", Answer::Is(1)),
                ("position after that", Answer::Is(1)),
                ("bytes", Answer::Says("ca")),
            ],
        )
    },
    Claim {
        statement: "A descriptor that is not open, or not for reading or writing, fails with EBADF.",
        sources: &[MAN, Source::Thread("LTP splice03")],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.errors.ebadf",
            splice_errors_ebadf,
            &[
                ("splice(-1, pipe)", Answer::Fails(Errno::EBADF)),
                ("splice(pipe, -1)", Answer::Fails(Errno::EBADF)),
                ("splice(write end, file)", Answer::Fails(Errno::EBADF)),
                ("splice(file, read end)", Answer::Fails(Errno::EBADF)),
                ("splice(write-only file, pipe)", Answer::Fails(Errno::EBADF)),
                ("splice(pipe, read-only file)", Answer::Fails(Errno::EBADF)),
                ("splice(O_PATH, pipe)", Answer::Fails(Errno::EBADF)),
            ],
        )
    },
    Claim {
        statement: "With SPLICE_F_NONBLOCK, or O_NONBLOCK of the pipe, an empty or full pipe fails with EAGAIN.",
        sources: &[MAN, Source::Thread("gVisor splice.cc; Linux 5.1, commit ee5e001196d1")],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.flags.nonblock",
            splice_flags_nonblock,
            &[
                ("splice(empty pipe, file, SPLICE_F_NONBLOCK)", Answer::Fails(Errno::EAGAIN)),
                ("splice(file, full pipe, SPLICE_F_NONBLOCK)", Answer::Fails(Errno::EAGAIN)),
                ("splice(empty pipe with O_NONBLOCK, file)", Answer::Fails(Errno::EAGAIN)),
                ("splice(file, full pipe with O_NONBLOCK)", Answer::Fails(Errno::EAGAIN)),
            ],
        )
    },
    Claim {
        statement: "An empty AF_UNIX socket that blocks fails with EAGAIN under SPLICE_F_NONBLOCK.",
        sources: &[Source::Measured],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.flags.nonblock-unix",
            splice_flags_nonblock_unix,
            &[("splice(empty AF_UNIX socket, pipe, SPLICE_F_NONBLOCK)", Answer::Fails(Errno::EAGAIN))],
        )
    },
    Claim {
        statement: "splice() returns 0 at the end of its input: a file's end, a pipe without writers, a connection that is shut.",
        sources: &[MAN, Source::Thread("gVisor splice.cc")],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.end.zero",
            splice_end_zero,
            &[
                ("splice(file at its end, pipe)", Answer::Is(0)),
                ("splice(pipe without writers, file)", Answer::Is(0)),
                ("splice(AF_UNIX socket that is shut, pipe)", Answer::Is(0)),
                ("splice(TCP socket that is shut, pipe)", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "splice() of 0 bytes returns 0 before anything is checked.",
        sources: &[Source::Thread("Linux 7.3, fs/splice.c, splice"), Source::Measured],
        about: SPLICE,
        lies: &[Lie::refused(Sysno::splice, libc::EBADF)],
        ..Claim::of_answers(
            "splice.length.zero",
            splice_length_zero,
            &[("splice(-1, -1, 0, 0)", Answer::Is(0)), ("splice(-1, -1, 0, unknown flag)", Answer::Is(0))],
        )
    },
    Claim {
        statement: "splice() with an unknown flag fails with EINVAL.",
        sources: &[Source::Thread("Linux 7.3, fs/splice.c, splice"), Source::Measured],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.flags.unknown",
            splice_flags_unknown,
            &[("splice(file, pipe, 0x10)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "All four flags are accepted, whether they mean anything or not.",
        sources: &[MAN],
        about: SPLICE,
        lies: TAKEN,
        ..Claim::of_answers(
            "splice.flags.known",
            splice_flags_known,
            &[("splice(file, pipe, MOVE|NONBLOCK|MORE|GIFT)", Answer::Is(1))],
        )
    },
    Claim {
        statement: "A length beyond SSIZE_MAX is accepted when splicing into a pipe: the pipe's room limits it.",
        sources: &[Source::Thread("Hanaasagi/tokio-splice#2; Linux 7.3, fs/splice.c"), Source::Measured],
        about: SPLICE,
        lies: &[Lie::refused(Sysno::splice, libc::EINVAL).where_it(true), Lie::returned(Sysno::splice, 1)],
        ..Claim::of_answers(
            "splice.length.beyond-ssize-max",
            splice_length_beyond,
            &[("splice(file of 1, pipe, SIZE_MAX)", Answer::Is(1))],
        )
    },
    Claim {
        statement: "A length beyond SSIZE_MAX fails with EINVAL when splicing out of a pipe into a file.",
        sources: &[Source::Thread("Linux 7.3, fs/splice.c"), Source::Measured],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.length.beyond-ssize-max-out",
            splice_length_beyond_out,
            &[("splice(pipe, file, SIZE_MAX)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "A length beyond SSIZE_MAX is accepted from pipe to pipe.",
        sources: &[Source::Thread("Linux 7.3, fs/splice.c"), Source::Measured],
        about: SPLICE,
        lies: TAKEN,
        ..Claim::of_answers(
            "splice.length.beyond-ssize-max-pipes",
            splice_length_beyond_pipes,
            &[("splice(pipe of 1, other pipe, SIZE_MAX)", Answer::Is(1))],
        )
    },
    Claim {
        statement: "One splice() into a pipe moves as much as the pipe has room for: 65536 bytes by default, 1 MiB in a pipe of 1 MiB.",
        sources: &[Source::Man("pipe(7), man-pages 6.20"), Source::Thread("rust-lang/rust#155859")],
        about: SPLICE,
        lies: &[Lie::shortened(Sysno::splice).after(1), Lie::refused(Sysno::splice, libc::EINVAL)],
        exceptions: &[Exception::Of(Sysno::splice, What::Shortened, "how much one call moves is what is claimed")],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "splice.length.pipe-room",
            splice_length_pipe_room,
            &[
                ("splice(file of 1 MiB, pipe of 65536)", Answer::Is(65536)),
                ("splice(file of 1 MiB, pipe of 1048576)", Answer::Is(1 << 20)),
            ],
        )
    },
    Claim {
        statement: "Pieces of one byte each fill a pipe of 64 KiB: the pages of a file are counted, not the bytes.",
        method: "Splices single bytes of a file into a pipe of 16 pages until there is no room.",
        sources: &[Source::Thread("gVisor splice.cc"), Source::Measured],
        about: SPLICE,
        lies: &[Lie::refused(Sysno::splice, libc::EAGAIN).after(8)],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "splice.length.single-bytes",
            splice_length_single_bytes,
            &[
                ("single bytes that a pipe of 65536 takes", Answer::Is(16)),
                ("the next splice()", Answer::Fails(Errno::EAGAIN)),
            ],
        )
    },
    Claim {
        statement: "splice() into a pipe without readers, or into a socket without peer, raises SIGPIPE and fails with EPIPE.",
        sources: &[Source::Measured],
        about: SPLICE,
        lies: &[
            Lie::about(Sysno::splice, What::OtherErrno(libc::ENOLINK)),
            Lie::about(Sysno::splice, What::Swallowed(libc::SIGPIPE)),
        ],
        ..Claim::of_answers(
            "splice.errors.sigpipe",
            splice_errors_sigpipe,
            &[
                ("splice(file, pipe without readers)", Answer::Fails(Errno::EPIPE)),
                ("splice(pipe, AF_UNIX socket without peer)", Answer::Fails(Errno::EPIPE)),
                ("signals raised", Answer::Is(2)),
            ],
        )
    },
    Claim {
        statement: "Into a memfd sealed against writing splice() fails with EPERM, and what was in the pipe stays there.",
        sources: &[Source::Measured],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.errors.sealed",
            splice_errors_sealed,
            &[
                ("splice(pipe, memfd with F_SEAL_WRITE)", Answer::Fails(Errno::EPERM)),
                ("bytes in the pipe", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "Beyond RLIMIT_FSIZE splice() fails with EFBIG, and what was in the pipe stays there.",
        sources: &[Source::Measured],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.errors.efbig",
            splice_errors_efbig,
            &[("splice(pipe, file limited to 0)", Answer::Fails(Errno::EFBIG)), ("bytes in the pipe", Answer::Is(1))],
        )
    },
    Claim {
        statement: "A TCP socket that is not connected fails as source with ENOTCONN, an AF_UNIX socket with EINVAL.",
        sources: &[Source::Measured],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.errors.unconnected",
            splice_errors_unconnected,
            &[
                ("splice(unconnected TCP socket, pipe)", Answer::Fails(Errno::ENOTCONN)),
                ("splice(unconnected AF_UNIX socket, pipe)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "splice() refers to the pages of a file: a change of the file while its bytes are in the pipe changes them.",
        sources: &[Source::Thread("rust-lang/rust#116451; systemd/systemd#29044")],
        about: SPLICE,
        lies: alias::SHARING_LIES,
        ..Claim::of_answers(
            "splice.sharing.in-the-pipe",
            splice_sharing_in_the_pipe,
            &[("file changed, pipe's bytes", Answer::Says("shared"))],
        )
    },
];

fn splice_offset_pipe(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"abc")?;
    let (first, second) = (filled(b"b")?, pipe()?);
    let mut seen = Observation::new();
    seen.call("splice(file, pipe at 0)", splice(&file, None, &second.write, Some(&mut 0), 1, NONBLOCK))
        .call("splice(pipe at 0, file)", splice(&first.read, Some(&mut 0), &file, None, 1, NONBLOCK))
        .call("splice(pipe at 0, other pipe)", splice(&first.read, Some(&mut 0), &second.write, None, 1, NONBLOCK))
        .call("splice(pipe, other pipe at 0)", splice(&first.read, None, &second.write, Some(&mut 0), 1, NONBLOCK));
    Ok(seen)
}

fn splice_offset_unseekable(lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe()?;
    let mut seen = Observation::new();
    for (name, kind) in [("TCP socket", Fd::TcpSocket), ("terminal", Fd::Terminal)] {
        let source = Descriptor::open(lab, kind)?;
        seen.call(format!("splice({name} at 0, pipe)"), splice(&source, Some(&mut 0), &pipe.write, None, 1, NONBLOCK));
    }
    Ok(seen)
}

fn splice_offset_bad(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"abc")?;
    let pipe = pipe()?;
    let mut seen = Observation::new();
    seen.call("splice(file at -1, pipe)", splice(&file, Some(&mut { u64::MAX }), &pipe.write, None, 1, NONBLOCK));
    let arguments = [argument(&file), NOWHERE, argument(&pipe.write), 0, 1, 2];
    // SAFETY: nothing is mapped at the offset's address.
    let done = unsafe { ask(Sysno::splice, arguments) };
    seen.call("splice(file at bad address, pipe)", done);
    Ok(seen)
}

fn splice_offset_position(lab: &Lab) -> Result<Observation, Stop> {
    use std::io::Seek;
    let mut file = lab.file(b"abcdef")?;
    let pipe = pipe()?;
    let mut offset = 2;
    let mut seen = Observation::new();
    seen.call("splice(file at 2, pipe)", splice(&file, Some(&mut offset), &pipe.write, None, 1, NONBLOCK));
    seen.count("offset afterwards", offset).count("position afterwards", file.stream_position().setup("lseek")?);
    seen.call("splice(file, pipe)", splice(&file, None, &pipe.write, None, 1, NONBLOCK));
    seen.count("position after that", file.stream_position().setup("lseek")?);
    let count = aside(|| sockets::readable(&pipe.read))?;
    let mut bytes = vec![0; count];
    io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
    seen.text("bytes", String::from_utf8_lossy(&bytes));
    Ok(seen)
}

fn splice_errors_ebadf(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"abc")?;
    let read_only = reopen(&file, File::options().read(true))?;
    let write_only = reopen(&file, File::options().write(true))?;
    let path = Descriptor::open(lab, Fd::PathOnly)?;
    let (full, empty) = (filled(b"b")?, pipe()?);
    let call = |input: usize, output: usize| {
        // SAFETY: both offsets are null.
        unsafe { ask(Sysno::splice, [input, 0, output, 0, 1, 2]) }
    };
    let mut seen = Observation::new();
    seen.call("splice(-1, pipe)", call(NO_FD, argument(&empty.write)))
        .call("splice(pipe, -1)", call(argument(&full.read), NO_FD))
        .call("splice(write end, file)", splice(&full.write, None, &file, None, 1, NONBLOCK))
        .call("splice(file, read end)", splice(&file, None, &empty.read, None, 1, NONBLOCK))
        .call("splice(write-only file, pipe)", splice(&write_only, None, &empty.write, None, 1, NONBLOCK))
        .call("splice(pipe, read-only file)", splice(&full.read, None, &read_only, None, 1, NONBLOCK))
        .call("splice(O_PATH, pipe)", splice(&path, None, &empty.write, None, 1, NONBLOCK));
    Ok(seen)
}

fn splice_flags_nonblock(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"abc")?;
    let full = |flags: PipeFlags| -> Result<Pipe, Stop> {
        let pipe = pipe2(flags).setup("pipe2")?;
        aside(|| io::write_all(&pipe.write, &vec![0; 1 << 16])).setup("fill a pipe")?;
        Ok(pipe)
    };
    let mut seen = Observation::new();
    let empty = pipe()?;
    seen.call("splice(empty pipe, file, SPLICE_F_NONBLOCK)", splice(&empty.read, None, &file, None, 1, NONBLOCK));
    seen.call(
        "splice(file, full pipe, SPLICE_F_NONBLOCK)",
        splice(&file, None, &full(PipeFlags::CLOEXEC)?.write, None, 1, NONBLOCK),
    );
    let empty = pipe2(PipeFlags::NONBLOCK).setup("pipe2")?;
    seen.call(
        "splice(empty pipe with O_NONBLOCK, file)",
        splice(&empty.read, None, &file, None, 1, SpliceFlags::empty()),
    );
    seen.call(
        "splice(file, full pipe with O_NONBLOCK)",
        splice(&file, None, &full(PipeFlags::NONBLOCK)?.write, None, 1, SpliceFlags::empty()),
    );
    Ok(seen)
}

fn splice_flags_nonblock_unix(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, _far) = UnixStream::pair().setup("socketpair")?;
    let pipe = pipe()?;
    let mut seen = Observation::new();
    seen.call(
        "splice(empty AF_UNIX socket, pipe, SPLICE_F_NONBLOCK)",
        splice(&near, None, &pipe.write, None, 1, NONBLOCK),
    );
    Ok(seen)
}

fn splice_end_zero(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"abc")?;
    let (empty, into) = two()?;
    let mut seen = Observation::new();
    seen.call("splice(file at its end, pipe)", splice(&file, Some(&mut 3), &into.write, None, 1, NONBLOCK));
    drop(empty.write);
    seen.call("splice(pipe without writers, file)", splice(&empty.read, None, &file, None, 1, NONBLOCK));
    let (near, far) = UnixStream::pair().setup("socketpair")?;
    drop(far);
    seen.call("splice(AF_UNIX socket that is shut, pipe)", splice(&near, None, &into.write, None, 1, NONBLOCK));
    let (near, far) = sockets::tcp()?;
    drop(far);
    io::wait_for(near.as_fd(), libc::POLLIN).setup("poll")?;
    seen.call("splice(TCP socket that is shut, pipe)", splice(&near, None, &into.write, None, 1, NONBLOCK));
    Ok(seen)
}

fn splice_length_zero(_lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    for (name, flags) in [("0", 0), ("unknown flag", 0x10)] {
        // SAFETY: both offsets are null.
        let done = unsafe { ask(Sysno::splice, [NO_FD, 0, NO_FD, 0, 0, flags]) };
        seen.call(format!("splice(-1, -1, 0, {name})"), done);
    }
    Ok(seen)
}

fn splice_flags_unknown(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"abc")?;
    let pipe = pipe()?;
    // SAFETY: both offsets are null.
    let done = unsafe { ask(Sysno::splice, [argument(&file), 0, argument(&pipe.write), 0, 1, 0x10]) };
    let mut seen = Observation::new();
    seen.call("splice(file, pipe, 0x10)", done);
    Ok(seen)
}

fn splice_flags_known(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"abc")?;
    let pipe = pipe()?;
    // SAFETY: both offsets are null.
    let done = unsafe { ask(Sysno::splice, [argument(&file), 0, argument(&pipe.write), 0, 1, 0xf]) };
    let mut seen = Observation::new();
    seen.call("splice(file, pipe, MOVE|NONBLOCK|MORE|GIFT)", done);
    note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
    Ok(seen)
}

fn splice_length_beyond(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"a")?;
    let pipe = pipe()?;
    let mut seen = Observation::new();
    seen.call(
        "splice(file of 1, pipe, SIZE_MAX)",
        splice(&file, Some(&mut 0), &pipe.write, None, usize::MAX, NONBLOCK),
    );
    note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
    Ok(seen)
}

fn splice_length_beyond_out(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.empty_file()?;
    let pipe = filled(b"b")?;
    let mut seen = Observation::new();
    seen.call("splice(pipe, file, SIZE_MAX)", splice(&pipe.read, None, &file, None, usize::MAX, NONBLOCK));
    Ok(seen)
}

fn splice_length_beyond_pipes(_lab: &Lab) -> Result<Observation, Stop> {
    let (first, second) = (filled(b"b")?, pipe()?);
    let mut seen = Observation::new();
    seen.call(
        "splice(pipe of 1, other pipe, SIZE_MAX)",
        splice(&first.read, None, &second.write, None, usize::MAX, NONBLOCK),
    );
    note_readable(&mut seen, "bytes in the other pipe", &second.read)?;
    Ok(seen)
}

fn splice_length_pipe_room(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&vec![0; 1 << 20])?;
    let mut seen = Observation::new();
    for size in [1 << 16, 1 << 20] {
        let pipe = pipe()?;
        aside(|| io::resize_pipe(&pipe.write, size)).setup("F_SETPIPE_SZ")?;
        seen.call(
            format!("splice(file of 1 MiB, pipe of {size})"),
            splice(&file, Some(&mut 0), &pipe.write, None, 1 << 20, NONBLOCK),
        );
        note_readable(&mut seen, &format!("bytes in the pipe of {size}"), &pipe.read)?;
    }
    Ok(seen)
}

fn splice_length_single_bytes(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[0; 4096])?;
    let pipe = pipe()?;
    let mut taken = 0;
    let full = loop {
        match splice(&file, Some(&mut { 0 }), &pipe.write, None, 1, NONBLOCK) {
            Ok(1) if taken < 10_000 => taken += 1,
            full => break full,
        }
    };
    let mut seen = Observation::new();
    seen.count("single bytes that a pipe of 65536 takes", taken).call("the next splice()", full);
    note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
    Ok(seen)
}

fn splice_errors_sigpipe(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"abc")?;
    let empty = pipe()?;
    drop(empty.read);
    let full = filled(b"b")?;
    let (near, far) = UnixStream::pair().setup("socketpair")?;
    drop(far);
    let mut seen = Observation::new();
    let (into, first) = raised(libc::SIGPIPE, || splice(&file, None, &empty.write, None, 1, SpliceFlags::empty()))?;
    let (out, second) = raised(libc::SIGPIPE, || splice(&full.read, None, &near, None, 1, SpliceFlags::empty()))?;
    seen.call("splice(file, pipe without readers)", into)
        .call("splice(pipe, AF_UNIX socket without peer)", out)
        .count("signals raised", first + second);
    Ok(seen)
}

fn splice_errors_sealed(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = filled(b"b")?;
    let sealed = open::sealed_memfd(libc::F_SEAL_WRITE)?;
    let mut seen = Observation::new();
    seen.call("splice(pipe, memfd with F_SEAL_WRITE)", splice(&pipe.read, None, &sealed, None, 1, NONBLOCK));
    note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
    Ok(seen)
}

fn splice_errors_efbig(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.empty_file()?;
    let pipe = filled(b"b")?;
    privilege::limit_file_size(0).setup("RLIMIT_FSIZE")?;
    let mut seen = Observation::new();
    let (done, signals) = raised(libc::SIGXFSZ, || splice(&pipe.read, None, &file, None, 1, NONBLOCK))?;
    seen.call("splice(pipe, file limited to 0)", done).count("signals raised", signals);
    note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
    Ok(seen)
}

fn splice_errors_unconnected(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe()?;
    let mut seen = Observation::new();
    for (name, domain) in [("TCP", libc::AF_INET), ("AF_UNIX", libc::AF_UNIX)] {
        let socket = aside(|| sockets::socket(domain, libc::SOCK_STREAM, 0)).setup("socket")?;
        seen.call(
            format!("splice(unconnected {name} socket, pipe)"),
            splice(&socket, None, &pipe.write, None, 1, NONBLOCK),
        );
    }
    Ok(seen)
}

fn splice_sharing_in_the_pipe(lab: &Lab) -> Result<Observation, Stop> {
    let file = alias::source(lab)?;
    let pipe = pipe()?;
    let mut offset = 0;
    alias::send_all(|done| splice(&file, Some(&mut offset), &pipe.write, None, alias::LENGTH - done, NONBLOCK))
        .setup("splice")?;
    alias::change(&file)?;
    let mut bytes = vec![0; alias::LENGTH];
    let count = io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
    let mut seen = Observation::new();
    seen.text("file changed, pipe's bytes", alias::Sharing::of(&bytes[..count])?);
    Ok(seen)
}
