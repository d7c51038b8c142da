//! `copy_file_range`: the related call to which other calls fall back.

use super::tools::{note_length, pipe, reopen};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim};
use crate::interpose::lie::{Lie, What};
use crate::lab::Lab;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::io::{argument, ask, copy_file_range};
use crate::lab::open;
use crate::verdict::{Observation, Setup, Stop};
use std::fs::File;
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("copy_file_range(2), man-pages 6.20");
const CALL: &[Sysno] = &[Sysno::copy_file_range];
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::copy_file_range);

/// Claims about `copy_file_range`.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "copy_file_range() copies between two files of one file system, and moves both positions.",
        sources: &[MAN, Source::Thread("LTP copy_file_range01")],
        about: CALL,
        lies: &[Lie::refused(Sysno::copy_file_range, libc::EXDEV), Lie::about(Sysno::lseek, What::Returned(0))],
        ..Claim::of_answers(
            "copy-file-range.call.copies",
            copies,
            &[
                ("copy_file_range(file, other file, 1)", Answer::Is(1)),
                ("position of the source", Answer::Is(1)),
                ("length of the target", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "Flags other than 0 fail with EINVAL.",
        sources: &[MAN, Source::Thread("LTP copy_file_range02")],
        about: CALL,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "copy-file-range.flags.none",
            flags,
            &[("copy_file_range(file, other file, flags 1)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "A target with O_APPEND fails with EBADF, where sendfile() and splice() fail with EINVAL.",
        sources: &[MAN, Source::Thread("rust-lang/rust#82410; LTP copy_file_range02")],
        about: CALL,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "copy-file-range.errors.append",
            append,
            &[("copy_file_range(file, O_APPEND file)", Answer::Fails(Errno::EBADF))],
        )
    },
    Claim {
        statement: "A directory fails with EISDIR; a pipe, a socket and a device fail with EINVAL.",
        sources: &[MAN, Source::Thread("LTP copy_file_range02")],
        about: CALL,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "copy-file-range.errors.kinds",
            kinds,
            &[
                ("copy_file_range(directory, file)", Answer::Fails(Errno::EISDIR)),
                ("copy_file_range(pipe, read end, file)", Answer::Fails(Errno::EINVAL)),
                ("copy_file_range(TCP socket, file)", Answer::Fails(Errno::EINVAL)),
                ("copy_file_range(/dev/zero, file)", Answer::Fails(Errno::EINVAL)),
                ("copy_file_range(file, pipe)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "Ranges of one file that overlap fail with EINVAL, others are copied; at the end of the file it is 0.",
        sources: &[MAN, Source::Thread("LTP copy_file_range02")],
        about: CALL,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "copy-file-range.same-file.overlap",
            overlap,
            &[
                ("copy_file_range(file at 0, same file at 1, 2)", Answer::Fails(Errno::EINVAL)),
                ("copy_file_range(file at 0, same file at 4, 1)", Answer::Is(1)),
                ("copy_file_range(file at its end, same file at 0, 1)", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "Between file systems of two kinds copy_file_range() fails with EXDEV since Linux 5.19; before, it copied.",
        method: "Copies from a file to a memfd. Stable kernels of before may have the change, too.",
        sources: &[MAN, Source::Thread("golang/go#44272; LTP copy_file_range")],
        about: CALL,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "copy-file-range.errors.two-file-systems",
            two_file_systems,
            &[("copy_file_range(/proc/version, memfd)", Answer::Fails(Errno::EXDEV))],
        )
    },
    Claim {
        statement: "copy_file_range() from a file of /proc reports success and copies nothing.",
        sources: &[MAN, Source::Thread("golang/go#44272; rust-lang/rust#75446")],
        about: CALL,
        lies: &[Lie::returned(Sysno::copy_file_range, 0)],
        ..Claim::of_answers(
            "copy-file-range.proc.silent",
            two_file_systems,
            &[("copy_file_range(/proc/version, memfd)", Answer::Is(0))],
        )
    },
    Claim {
        statement: "A source not opened for reading, or a target not for writing, fails with EBADF.",
        sources: &[MAN, Source::Thread("LTP copy_file_range02")],
        about: CALL,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "copy-file-range.errors.ebadf",
            modes,
            &[
                ("copy_file_range(write-only file, file)", Answer::Fails(Errno::EBADF)),
                ("copy_file_range(file, read-only file)", Answer::Fails(Errno::EBADF)),
            ],
        )
    },
];

fn copies(lab: &Lab) -> Result<Observation, Stop> {
    use std::io::Seek;
    let (mut source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    let mut seen = Observation::new();
    seen.call("copy_file_range(file, other file, 1)", copy_file_range(&source, &target, 1));
    seen.count("position of the source", source.stream_position().setup("lseek")?);
    note_length(&mut seen, "length of the target", &target)?;
    Ok(seen)
}

fn flags(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    // SAFETY: both offsets are null.
    let done = unsafe { ask(Sysno::copy_file_range, [argument(&source), 0, argument(&target), 0, 1, 1]) };
    let mut seen = Observation::new();
    seen.call("copy_file_range(file, other file, flags 1)", done);
    Ok(seen)
}

fn append(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    let append = reopen(&target, File::options().append(true))?;
    let mut seen = Observation::new();
    seen.call("copy_file_range(file, O_APPEND file)", copy_file_range(&source, &append, 1));
    Ok(seen)
}

fn kinds(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"abc")?;
    let mut seen = Observation::new();
    for kind in [Fd::Directory, Fd::PipeRead, Fd::TcpSocket, Fd::DevZero] {
        let source = Descriptor::open(lab, kind)?;
        seen.call(format!("copy_file_range({kind}, file)"), copy_file_range(&source, &file, 1));
    }
    let pipe = pipe()?;
    seen.call("copy_file_range(file, pipe)", copy_file_range(&file, &pipe.write, 1));
    Ok(seen)
}

fn overlap(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"abc")?;
    let mut seen = Observation::new();
    for (name, from, to, length) in [("at 0", 0_i64, 1_i64, 2), ("at 0", 0, 4, 1), ("at its end", 5, 0, 1)] {
        let (mut input, mut output) = (from, to);
        let arguments = [
            argument(&file),
            (&raw mut input).expose_provenance(),
            argument(&file),
            (&raw mut output).expose_provenance(),
            length,
            0,
        ];
        // SAFETY: both offsets belong to this iteration, and are written during the call.
        let done = unsafe { ask(Sysno::copy_file_range, arguments) };
        seen.call(format!("copy_file_range(file {name}, same file at {to}, {length})"), done);
    }
    note_length(&mut seen, "length of the file", &file)?;
    Ok(seen)
}

fn two_file_systems(lab: &Lab) -> Result<Observation, Stop> {
    let source = Descriptor::open(lab, Fd::ProcVersion)?;
    let memfd = open::sealed_memfd(0)?;
    let mut seen = Observation::new();
    seen.call("copy_file_range(/proc/version, memfd)", copy_file_range(&source, &memfd, 1));
    Ok(seen)
}

fn modes(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    let write_only = reopen(&source, File::options().write(true))?;
    let read_only = reopen(&target, File::options().read(true))?;
    let mut seen = Observation::new();
    seen.call("copy_file_range(write-only file, file)", copy_file_range(&write_only, &target, 1))
        .call("copy_file_range(file, read-only file)", copy_file_range(&source, &read_only, 1));
    Ok(seen)
}
