//! `tee`.

use super::tools::{filled, note_readable, pipe, raised, two};
use crate::claim::{Answer, Claim, Exception, Resource, Source, always};
use crate::interpose::lie::{Lie, What};
use crate::lab::alias::{self, LENGTH, NEW, OLD, Sharing};
use crate::lab::io::{self, NO_FD, argument, ask};
use crate::lab::{Lab, sockets};
use crate::verdict::{Observation, Setup, Stop};
use nocopy_splice::{SpliceFlags, splice, tee};
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("tee(2), man-pages 6.20");
const TEE: &[Sysno] = &[Sysno::tee];
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::tee);

/// Claims about `tee`.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "tee() fails with EINVAL if one of its ends is no pipe.",
        sources: &[MAN, Source::Thread("LTP tee02; gVisor splice.cc, TeeNonPipe")],
        finds: always(true),
        about: TEE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "tee.ends.both-pipes",
            tee_ends_both_pipes,
            &[
                ("tee(file, pipe)", Answer::Fails(Errno::EINVAL)),
                ("tee(pipe, file)", Answer::Fails(Errno::EINVAL)),
                ("tee(AF_UNIX socket, pipe)", Answer::Fails(Errno::EINVAL)),
                ("tee(pipe, other pipe)", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "tee() of a pipe into itself fails with EINVAL.",
        sources: &[MAN, Source::Thread("LTP tee02; gVisor splice.cc, TeeSamePipe")],
        finds: always(true),
        about: TEE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "tee.ends.same-pipe",
            tee_ends_same_pipe,
            &[("tee(pipe, same pipe)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "With SPLICE_F_NONBLOCK, tee() of an empty pipe, or into a full one, fails with EAGAIN.",
        sources: &[MAN, Source::Thread("gVisor splice.cc, TeeNonBlocking")],
        finds: always(true),
        about: TEE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "tee.flags.nonblock",
            |_lab| tee_would_block(SpliceFlags::NONBLOCK, false),
            &[
                ("tee(empty pipe, pipe)", Answer::Fails(Errno::EAGAIN)),
                ("tee(pipe, full pipe)", Answer::Fails(Errno::EAGAIN)),
            ],
        )
    },
    Claim {
        statement: "tee() honours O_NONBLOCK of its pipes as it does SPLICE_F_NONBLOCK.",
        sources: &[Source::Thread("Linux 5.1, commit ee5e001196d1; LTP"), Source::Measured],
        finds: always(true),
        about: TEE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "tee.flags.o-nonblock",
            |_lab| tee_would_block(SpliceFlags::empty(), true),
            &[
                ("tee(empty pipe, pipe)", Answer::Fails(Errno::EAGAIN)),
                ("tee(pipe, full pipe)", Answer::Fails(Errno::EAGAIN)),
            ],
        )
    },
    Claim {
        statement: "tee() returns 0 when the input is empty and has no writer.",
        sources: &[MAN],
        finds: always(true),
        about: TEE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "tee.end.no-writers",
            tee_end_no_writers,
            &[("tee(empty pipe without writers, pipe)", Answer::Is(0))],
        )
    },
    Claim {
        statement: "tee() leaves its input in the pipe, and can be repeated.",
        sources: &[MAN],
        finds: always(true),
        about: TEE,
        lies: &[
            Lie::about(Sysno::ioctl, What::Output { argument: 2, value: 0 }),
            Lie::refused(Sysno::tee, libc::EINVAL),
        ],
        ..Claim::of_answers(
            "tee.input.left",
            tee_input_left,
            &[
                ("first tee(pipe, other pipe)", Answer::Is(1)),
                ("second tee(pipe, other pipe)", Answer::Is(1)),
                ("bytes in the first pipe", Answer::Is(1)),
                ("bytes in the second pipe", Answer::Is(2)),
            ],
        )
    },
    Claim {
        statement: "EBADF is no error of tee(): its manual page lists EAGAIN, EINVAL and ENOMEM.",
        sources: &[MAN, Source::Thread("Linux 7.3, fs/splice.c, do_tee")],
        finds: always(false),
        about: TEE,
        lies: &[Lie::about(Sysno::tee, What::OtherErrno(libc::EINVAL))],
        ..Claim::of_answers(
            "tee.errors.ebadf-undocumented",
            tee_errors_ebadf,
            &[
                ("tee(-1, pipe)", Answer::Fails(Errno::EINVAL)),
                ("tee(write end, pipe)", Answer::Fails(Errno::EINVAL)),
                ("tee(pipe, read end)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "tee() looks at the direction of its descriptors before it asks whether they are pipes.",
        sources: &[Source::Thread("Linux 7.3, fs/splice.c, do_tee"), Source::Measured],
        finds: always(true),
        about: TEE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "tee.errors.mode-first",
            tee_errors_mode_first,
            &[
                ("tee(write-only file, pipe)", Answer::Fails(Errno::EBADF)),
                ("tee(file, pipe)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "tee() of 0 bytes checks its flags and nothing else.",
        sources: &[Source::Thread("Linux 7.3, fs/splice.c, tee"), Source::Measured],
        finds: always(true),
        about: TEE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "tee.length.zero",
            tee_length_zero,
            &[("tee(-1, -1, 0, 0)", Answer::Is(0)), ("tee(-1, -1, 0, unknown flag)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "tee() with an unknown flag fails with EINVAL.",
        sources: &[Source::Thread("Linux 7.3, fs/splice.c, tee"), Source::Measured],
        finds: always(true),
        about: TEE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "tee.flags.unknown",
            tee_flags_unknown,
            &[
                ("tee(pipe, other pipe, 0x10)", Answer::Fails(Errno::EINVAL)),
                ("tee(pipe, other pipe, 0xf)", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "tee() into a pipe without readers raises SIGPIPE and fails with EPIPE.",
        sources: &[Source::Measured],
        finds: always(true),
        about: TEE,
        lies: &[
            Lie::about(Sysno::tee, What::OtherErrno(libc::EINVAL)),
            Lie::about(Sysno::tee, What::Swallowed(libc::SIGPIPE)),
        ],
        ..Claim::of_answers(
            "tee.errors.sigpipe",
            tee_errors_sigpipe,
            &[("tee(pipe, pipe without readers)", Answer::Fails(Errno::EPIPE)), ("signals raised", Answer::Is(1))],
        )
    },
    Claim {
        statement: "tee() copies no bytes: both pipes refer to the same pages.",
        method: "Splices a file into a pipe and tees that into another, changes the file, and reads both.",
        sources: &[MAN],
        finds: always(true),
        about: TEE,
        lies: alias::SHARING_LIES,
        ..Claim::of_answers(
            "tee.copies.none",
            tee_copies_none,
            &[
                ("file changed after tee(), first pipe's bytes", Answer::Says("shared")),
                ("file changed after tee(), second pipe's bytes", Answer::Says("shared")),
            ],
        )
    },
    Claim {
        statement: "tee() into a pipe in which one slot is free gives one page, though it was asked for two.",
        sources: &[Source::Thread("gVisor @3c5eee1, test/syscalls/linux/splice.cc")],
        finds: always(true),
        about: TEE,
        lies: &[Lie::returned(Sysno::tee, 8192).with(2, 8192), Lie::refused(Sysno::tee, libc::EAGAIN)],
        exceptions: &[Exception::Of(Sysno::tee, What::Shortened, "half of two pages is what there is room for")],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "tee.length.one-slot",
            |_lab| {
                let (source, target) = (filled(&[b's'; 8192])?, filled(&[b't'; 15 * 4096])?);
                let given = io::again(|| tee(&source.read, &target.write, 8192, SpliceFlags::NONBLOCK));
                let mut seen = Observation::new();
                seen.call("tee(pipe of two pages, pipe with a slot, 8192)", given);
                note_readable(&mut seen, "bytes in the first", &source.read)?;
                note_readable(&mut seen, "bytes in the second", &target.read)?;
                Ok(seen)
            },
            &[
                ("tee(pipe of two pages, pipe with a slot, 8192)", Answer::Is(4096)),
                ("bytes in the first", Answer::Is(8192)),
                ("bytes in the second", Answer::Is(1 << 16)),
            ],
        )
    },
];

fn tee_ends_both_pipes(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"bytes")?;
    let (near, _far) = std::os::unix::net::UnixStream::pair().setup("socketpair")?;
    let (first, second) = two()?;
    io::write_all(&first.write, b"bytes").setup("write to a pipe")?;
    let none = SpliceFlags::NONBLOCK;
    let mut seen = Observation::new();
    seen.call("tee(file, pipe)", tee(&file, &second.write, 5, none))
        .call("tee(pipe, file)", tee(&first.read, &file, 5, none))
        .call("tee(AF_UNIX socket, pipe)", tee(&near, &second.write, 5, none))
        .call("tee(pipe, other pipe)", tee(&first.read, &second.write, 1, none));
    note_readable(&mut seen, "bytes in the other pipe", &second.read)?;
    Ok(seen)
}

fn tee_ends_same_pipe(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe()?;
    io::write_all(&pipe.write, b"bytes").setup("write to a pipe")?;
    let mut seen = Observation::new();
    seen.call("tee(pipe, same pipe)", tee(&pipe.read, &pipe.write, 5, SpliceFlags::NONBLOCK));
    Ok(seen)
}

fn tee_would_block(flags: SpliceFlags, o_nonblock: bool) -> Result<Observation, Stop> {
    let kind = if o_nonblock { nocopy_splice::PipeFlags::NONBLOCK } else { nocopy_splice::PipeFlags::CLOEXEC };
    let make = || nocopy_splice::pipe2(kind).setup("pipe2");
    let (empty, full, some, room) = (make()?, make()?, make()?, make()?);
    io::write_all(&full.write, &vec![0; 1 << 16]).setup("fill a pipe")?;
    io::write_all(&some.write, b"bytes").setup("write to a pipe")?;
    let mut seen = Observation::new();
    seen.call("tee(empty pipe, pipe)", tee(&empty.read, &room.write, 5, flags));
    seen.call("tee(pipe, full pipe)", tee(&some.read, &full.write, 5, flags));
    Ok(seen)
}

fn tee_end_no_writers(_lab: &Lab) -> Result<Observation, Stop> {
    let (first, second) = two()?;
    drop(first.write);
    let mut seen = Observation::new();
    seen.call("tee(empty pipe without writers, pipe)", tee(&first.read, &second.write, 5, SpliceFlags::empty()));
    Ok(seen)
}

fn tee_input_left(_lab: &Lab) -> Result<Observation, Stop> {
    let (first, second) = two()?;
    io::write_all(&first.write, b"b").setup("write to a pipe")?;
    let mut seen = Observation::new();
    for which in ["first", "second"] {
        let copied = tee(&first.read, &second.write, 1, SpliceFlags::NONBLOCK);
        seen.call(format!("{which} tee(pipe, other pipe)"), copied);
    }
    seen.count("bytes in the first pipe", sockets::readable(&first.read)? as u64);
    seen.count("bytes in the second pipe", sockets::readable(&second.read)? as u64);
    Ok(seen)
}

fn tee_errors_ebadf(_lab: &Lab) -> Result<Observation, Stop> {
    let (first, second) = two()?;
    io::write_all(&first.write, b"bytes").setup("write to a pipe")?;
    let none = SpliceFlags::NONBLOCK;
    let mut seen = Observation::new();
    // SAFETY: tee takes no pointer.
    let bad = unsafe { ask(Sysno::tee, [NO_FD, argument(&second.write), 5, 2, 0, 0]) };
    seen.call("tee(-1, pipe)", bad)
        .call("tee(write end, pipe)", tee(&first.write, &second.write, 5, none))
        .call("tee(pipe, read end)", tee(&first.read, &second.read, 5, none));
    Ok(seen)
}

fn tee_errors_mode_first(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"bytes")?;
    let write_only = super::tools::reopen(&file, std::fs::File::options().write(true))?;
    let pipe = pipe()?;
    let none = SpliceFlags::NONBLOCK;
    let mut seen = Observation::new();
    seen.call("tee(write-only file, pipe)", tee(&write_only, &pipe.write, 5, none))
        .call("tee(file, pipe)", tee(&file, &pipe.write, 5, none));
    Ok(seen)
}

fn tee_length_zero(_lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    for (name, flags) in [("0", 0), ("unknown flag", 0x10)] {
        // SAFETY: tee takes no pointer.
        let done = unsafe { ask(Sysno::tee, [NO_FD, NO_FD, 0, flags, 0, 0]) };
        seen.call(format!("tee(-1, -1, 0, {name})"), done);
    }
    Ok(seen)
}

fn tee_flags_unknown(_lab: &Lab) -> Result<Observation, Stop> {
    let (first, second) = two()?;
    io::write_all(&first.write, b"bytes").setup("write to a pipe")?;
    let mut seen = Observation::new();
    for flags in [0x10, 0xf] {
        let arguments = [argument(&first.read), argument(&second.write), 1, flags, 0, 0];
        // SAFETY: tee takes no pointer.
        let done = unsafe { ask(Sysno::tee, arguments) };
        seen.call(format!("tee(pipe, other pipe, {flags:#x})"), done);
    }
    note_readable(&mut seen, "bytes in the other pipe", &second.read)?;
    Ok(seen)
}

fn tee_errors_sigpipe(_lab: &Lab) -> Result<Observation, Stop> {
    let (first, second) = two()?;
    io::write_all(&first.write, b"bytes").setup("write to a pipe")?;
    drop(second.read);
    let mut seen = Observation::new();
    let (done, signals) = raised(libc::SIGPIPE, || tee(&first.read, &second.write, 5, SpliceFlags::empty()))?;
    seen.call("tee(pipe, pipe without readers)", done).count("signals raised", signals);
    Ok(seen)
}

fn tee_copies_none(lab: &Lab) -> Result<Observation, Stop> {
    let file = alias::source(lab)?;
    let (first, second) = two()?;
    let mut offset = 0;
    alias::send_all(|done| splice(&file, Some(&mut offset), &first.write, None, LENGTH - done, SpliceFlags::empty()))
        .setup("splice")?;
    let copied = tee(&first.read, &second.write, LENGTH, SpliceFlags::NONBLOCK).setup("tee")?;
    alias::change(&file)?;
    let mut seen = Observation::new();
    seen.count("bytes teed", copied as u64);
    for (name, pipe, length) in [("first", &first, LENGTH), ("second", &second, copied)] {
        let mut bytes = vec![0; length];
        let count = io::read_full(&pipe.read, &mut bytes).setup("read a pipe")?;
        debug_assert!(bytes.iter().all(|byte| [OLD, NEW].contains(byte)));
        seen.text(format!("file changed after tee(), {name} pipe's bytes"), Sharing::of(&bytes[..count])?);
    }
    Ok(seen)
}
