//! `copy_file_range`: offsets, counts and errors in its manual page.

use super::tools::{note_length, raised};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, gate};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::attributes::Attribute;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::filesystems::{Status, file_on, set_old_time};
use crate::lab::io::{self, NO_FD, argument, ask};
use crate::lab::open::sealed_memfd;
use crate::lab::pages::PAGE;
use crate::lab::{Lab, loops, mounts, pattern, privilege};
use crate::verdict::{Observation, Setup, Stop};
use std::fs::File;
use std::io::Seek;
use std::os::fd::AsFd;
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("copy_file_range(2), man-pages 6.20");
const LTP01: Source = Source::Thread("LTP @6958277, testcases/kernel/syscalls/copy_file_range/copy_file_range01.c");
const LTP02: Source = Source::Thread("LTP @6958277, testcases/kernel/syscalls/copy_file_range/copy_file_range02.c");
const CALL: &[Sysno] = &[Sysno::copy_file_range];
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::copy_file_range);

/// More claims about `copy_file_range`.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "With offsets, copy_file_range() copies from there to there, moves them, and leaves both positions.",
        sources: &[MAN, LTP01],
        about: CALL,
        lies: &[
            Lie::about(Sysno::copy_file_range, What::OffsetKept),
            Lie::refused(Sysno::copy_file_range, libc::EINVAL),
        ],
        ..Claim::of_answers(
            "copy-file-range.offset.given",
            offset_given,
            &[
                ("copy_file_range(file at 2, file at 1, 1)", Answer::Is(1)),
                ("offset of the source", Answer::Is(3)),
                ("offset of the target", Answer::Is(2)),
                ("position of the source", Answer::Is(0)),
                ("position of the target", Answer::Is(0)),
                ("target", Answer::Says("0c2")),
            ],
        )
    },
    Claim {
        statement: "Without offsets, a second copy_file_range() goes on where the first has ended, at both sides.",
        sources: &[MAN, LTP01],
        about: CALL,
        lies: &[
            Lie::about(Sysno::copy_file_range, What::PositionKept),
            Lie::refused(Sysno::copy_file_range, libc::EINVAL),
        ],
        ..Claim::of_answers(
            "copy-file-range.offset.null",
            offset_null,
            &[
                ("first copy_file_range(file, file, 1)", Answer::Is(1)),
                ("second copy_file_range(file, file, 1)", Answer::Is(1)),
                ("position of the target", Answer::Is(2)),
                ("target", Answer::Says("ab")),
            ],
        )
    },
    Claim {
        statement: "One offset may be given and the other not: each side goes by its own.",
        sources: &[MAN, LTP01],
        about: CALL,
        lies: &[
            Lie::about(Sysno::copy_file_range, What::OffsetKept),
            Lie::refused(Sysno::copy_file_range, libc::EINVAL),
        ],
        ..Claim::of_answers(
            "copy-file-range.offset.one",
            offset_one,
            &[
                ("copy_file_range(file at 2, file, 1)", Answer::Is(1)),
                ("offset of the source", Answer::Is(3)),
                ("position of the source", Answer::Is(0)),
                ("position of the target", Answer::Is(1)),
                ("target", Answer::Says("c")),
            ],
        )
    },
    Claim {
        statement: "At the end of the source and behind it copy_file_range() returns 0, and the target stays as it is.",
        sources: &[MAN],
        about: CALL,
        lies: &[Lie::refused(Sysno::copy_file_range, libc::EINVAL), Lie::returned(Sysno::copy_file_range, 1)],
        ..Claim::of_answers(
            "copy-file-range.end.zero",
            end_zero,
            &[
                ("copy_file_range(file at 3 of 3, file, 1)", Answer::Is(0)),
                ("copy_file_range(file at 4 of 3, file, 1)", Answer::Is(0)),
                ("length of the target", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "A length beyond the end of the source, SIZE_MAX even, copies what is there.",
        sources: &[MAN, LTP02],
        about: CALL,
        lies: &[
            Lie::refused(Sysno::copy_file_range, libc::EOVERFLOW),
            Lie::refused(Sysno::copy_file_range, libc::EINVAL),
        ],
        ..Claim::of_answers(
            "copy-file-range.length.beyond-the-end",
            length_beyond_the_end,
            &[("copy_file_range(file of 3, file, 2^64 - 1)", Answer::Is(3)), ("length of the target", Answer::Is(3))],
        )
    },
    Claim {
        statement: "copy_file_range() of no bytes returns 0.",
        sources: &[Source::Thread("Linux 7.3, fs/read_write.c, vfs_copy_file_range"), Source::Measured],
        about: CALL,
        lies: &[Lie::refused(Sysno::copy_file_range, libc::EINVAL), Lie::returned(Sysno::copy_file_range, 1)],
        ..Claim::of_answers(
            "copy-file-range.length.zero",
            length_zero,
            &[("copy_file_range(file, file, 0)", Answer::Is(0)), ("length of the target", Answer::Is(0))],
        )
    },
    Claim {
        statement: "A negative offset fails with EOVERFLOW at either side, where sendfile() fails with EINVAL.",
        sources: &[LTP02, Source::Measured],
        about: CALL,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "copy-file-range.offset.negative",
            offset_negative,
            &[
                ("copy_file_range(file at -1, file, 1)", Answer::Fails(Errno::EOVERFLOW)),
                ("copy_file_range(file, file at -1, 1)", Answer::Fails(Errno::EOVERFLOW)),
            ],
        )
    },
    Claim {
        statement: "A range too large for the type of offsets fails with EOVERFLOW.",
        method: "Asks for ranges that begin at 1 and end at 2^63, and at 2^64: the kernel compares with 64 bits, not 63.",
        sources: &[MAN],
        about: CALL,
        lies: &[Lie::refused(Sysno::copy_file_range, libc::EOVERFLOW)],
        ..Claim::of_answers(
            "copy-file-range.length.overflow",
            length_overflow,
            &[
                ("copy_file_range(file at 1, file, 2^63 - 1)", Answer::Fails(Errno::EOVERFLOW)),
                ("copy_file_range(file at 1, file, 2^64 - 1)", Answer::Fails(Errno::EOVERFLOW)),
            ],
        )
    },
    Claim {
        statement: "A target at the largest offset that there is fails with EFBIG.",
        sources: &[MAN, LTP02],
        about: CALL,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "copy-file-range.errors.efbig",
            errors_efbig,
            &[("copy_file_range(file, file at 2^63 - 1, 1)", Answer::Fails(Errno::EFBIG))],
        )
    },
    Claim {
        statement: "Beyond RLIMIT_FSIZE copy_file_range() raises SIGXFSZ and fails with EFBIG.",
        sources: &[MAN],
        about: CALL,
        lies: &[
            Lie::about(Sysno::copy_file_range, What::OtherErrno(libc::EINVAL)),
            Lie::about(Sysno::copy_file_range, What::Swallowed(libc::SIGXFSZ)),
        ],
        ..Claim::of_answers(
            "copy-file-range.errors.size-limit",
            errors_size_limit,
            &[
                ("copy_file_range(file, file at its limit, 1)", Answer::Fails(Errno::EFBIG)),
                ("signals raised", Answer::Is(1)),
                ("length of the target", Answer::Is(2)),
            ],
        )
    },
    Claim {
        statement: "Into a memfd sealed against writing, or behind the end of one sealed against growing, it fails with EPERM.",
        sources: &[Source::Man("F_ADD_SEALS(2const), man-pages 6.20"), Source::Measured],
        about: CALL,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "copy-file-range.errors.sealed",
            errors_sealed,
            &[
                ("copy_file_range(memfd, memfd with F_SEAL_WRITE, 1)", Answer::Fails(Errno::EPERM)),
                ("copy_file_range(memfd, memfd with F_SEAL_GROW, 1)", Answer::Fails(Errno::EPERM)),
            ],
        )
    },
    Claim {
        statement: "Into an immutable file copy_file_range() fails with EPERM, though it was opened for writing before.",
        sources: &[MAN, LTP02],
        about: CALL,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "copy-file-range.errors.immutable",
            errors_immutable,
            &[
                ("copy_file_range(file, immutable file, 1)", Answer::Fails(Errno::EPERM)),
                ("length of the target", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "A descriptor that is not open, or was opened with O_PATH, fails with EBADF at either side.",
        sources: &[MAN, LTP02],
        about: CALL,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "copy-file-range.errors.not-open",
            errors_not_open,
            &[
                ("copy_file_range(-1, file)", Answer::Fails(Errno::EBADF)),
                ("copy_file_range(file, -1)", Answer::Fails(Errno::EBADF)),
                ("copy_file_range(O_PATH, file)", Answer::Fails(Errno::EBADF)),
                ("copy_file_range(file, O_PATH)", Answer::Fails(Errno::EBADF)),
            ],
        )
    },
    Claim {
        statement: "The target has the source's bytes, over the ends of pages that the two sides do not have in common.",
        sources: &[MAN, LTP01],
        about: CALL,
        lies: &[Lie::refused(Sysno::copy_file_range, libc::EINVAL), Lie::about(Sysno::pread64, What::Garbled)],
        ..Claim::of_answers(
            "copy-file-range.content.unaligned",
            content_unaligned,
            &[("bytes copied", Answer::Is(9000)), ("target", Answer::Says("the file's"))],
        )
    },
    Claim {
        statement: "A hole of the source may be filled: on ext4 the target has blocks for it.",
        method: "Copies a page of data and a hole of 16 pages between two files on ext4 and counts the blocks of the target.",
        sources: &[MAN],
        about: CALL,
        lies: &[Lie::skipped(Sysno::fstat)],
        ..Claim::of_answers(
            "copy-file-range.content.hole",
            content_hole,
            &[
                ("bytes copied", Answer::Is(17 * 4096)),
                ("target", Answer::Says("the file's")),
                ("target's blocks of the hole", Answer::Says("all")),
            ],
        )
    },
    Claim {
        statement: "copy_file_range() changes the time of the target's last change.",
        sources: &[Source::Thread("LTP @6958277, testcases/kernel/syscalls/copy_file_range/copy_file_range03.c")],
        about: CALL,
        lies: &[Lie::skipped(Sysno::fstat).after(1)],
        ..Claim::of_answers(
            "copy-file-range.times.target",
            times_target,
            &[
                ("copy_file_range(file, file, 1)", Answer::Is(1)),
                ("time of the target's last change", Answer::Says("updated")),
            ],
        )
    },
    Claim {
        statement: "Lengths and offsets around the size of a page bring the bytes that they name, and no others.",
        method: "Lengths of 11, a page, one less and one more, from and to offsets of as many kinds: after each copy the whole target is \
                 compared.",
        sources: &[LTP01],
        about: CALL,
        lies: &[Lie::skipped(Sysno::copy_file_range), Lie::refused(Sysno::copy_file_range, libc::EINVAL)],
        ..Claim::of_answers(
            "copy-file-range.moves.around-page",
            around_page,
            &[
                ("last copy_file_range(file, file)", Answer::Is(PAGE as u64 + 1)),
                ("copies of whole length", Answer::Is(64)),
                ("targets as a copy of bytes", Answer::Is(64)),
            ],
        )
    },
    Claim {
        statement: "Files of two mounted file systems of one kind can be copied.",
        method: "Copies between files of two mounts of tmpfs that it has made.",
        sources: &[
            LTP01,
            Source::Thread(
                "Linux 5.3, commit 5dae222a5ff0, which allowed it; Linux 5.19, commit 868f9f2f8e00, and stable kernels of before, \
                 which refuse it where the file system does not copy itself",
            ),
        ],
        about: CALL,
        lies: &[Lie::accepted(Sysno::copy_file_range)],
        ..Claim::of_answers(
            "copy-file-range.ends.two-mounts",
            |_lab| {
                let (source, target) = (mounts::empty_file(0)?, mounts::empty_file(0)?);
                aside(|| io::write_all(&source, b"b")).setup("write the file")?;
                let mut seen = Observation::new();
                seen.call(
                    "copy_file_range(file, file of another mount, 1)",
                    io::again(|| copy((&source, Some(&mut 0)), (&target, None), 1)),
                );
                note_content(&mut seen, "target", &target)?;
                Ok(seen)
            },
            &[("copy_file_range(file, file of another mount, 1)", Answer::Is(1))],
        )
    },
    Claim {
        statement: "A directory as the target fails with EISDIR, a character device with EINVAL.",
        sources: &[LTP02],
        about: CALL,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "copy-file-range.errors.target-kinds",
            |lab| {
                let file = lab.file(b"abc")?;
                let mut seen = Observation::new();
                for kind in [Fd::Directory, Fd::DevZero, Fd::DevNull] {
                    let target = Descriptor::open(lab, kind)?;
                    seen.call(format!("copy_file_range(file, {kind})"), copy((&file, None), (&target, None), 1));
                }
                Ok(seen)
            },
            &[
                ("copy_file_range(file, directory)", Answer::Fails(Errno::EISDIR)),
                ("copy_file_range(file, /dev/zero)", Answer::Fails(Errno::EINVAL)),
                ("copy_file_range(file, /dev/null)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "A pidfd, as the target or as the source, fails with EINVAL, as all that is no regular file.",
        method: "Copies from one and to one. On pidfs they are regular files, so what is left to refuse is the other file system: EXDEV.",
        sources: &[MAN, Source::Measured],
        about: CALL,
        gates: &[gate(
            "6.9",
            "pidfds have a file system of their own, pidfs",
            Source::Thread("the commit \"pidfd: add pidfs\""),
        )],
        lies: &[
            Lie::about(Sysno::copy_file_range, What::OtherErrno(libc::EXDEV)).where_it(true),
            Lie::about(Sysno::copy_file_range, What::OtherErrno(libc::EINVAL)).where_it(false),
        ],
        ..Claim::of_answers(
            "copy-file-range.errors.pidfd",
            |lab| {
                let file = lab.file(b"abc")?;
                let pidfd = Descriptor::open(lab, Fd::Pidfd)?;
                let mut seen = Observation::new();
                seen.call("copy_file_range(pidfd, file)", copy((&pidfd, None), (&file, None), 1));
                seen.call("copy_file_range(file, pidfd)", copy((&file, None), (&pidfd, None), 1));
                Ok(seen)
            },
            &[
                ("copy_file_range(pidfd, file)", Answer::Fails(Errno::EINVAL)),
                ("copy_file_range(file, pidfd)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "A block device, as the target or as the source, fails with EINVAL.",
        method: "A loop device over a memfd, and a file.",
        sources: &[LTP02, MAN],
        about: CALL,
        lies: OTHERWISE,
        modules: &["loop"],
        ..Claim::of_answers(
            "copy-file-range.errors.block-device",
            |lab| {
                let file = lab.file(b"abc")?;
                let disk = File::from(sealed_memfd(0)?);
                aside(|| io::truncate(&disk, 1 << 16)).setup("ftruncate")?;
                let (device, _path) = loops::device_over(&disk)?;
                let mut seen = Observation::new();
                seen.call("copy_file_range(file, block device)", copy((&file, None), (&device, None), 1));
                seen.call("copy_file_range(block device, file)", copy((&device, None), (&file, None), 1));
                Ok(seen)
            },
            &[
                ("copy_file_range(file, block device)", Answer::Fails(Errno::EINVAL)),
                ("copy_file_range(block device, file)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
];

/// One `copy_file_range`, with an offset for the sides that have one.
fn copy(
    input: (&impl AsFd, Option<&mut i64>),
    output: (&impl AsFd, Option<&mut i64>),
    length: usize,
) -> Result<usize, Errno> {
    let pointer = |offset: Option<&mut i64>| offset.map_or(0, |offset| std::ptr::from_mut(offset).expose_provenance());
    let arguments = [argument(input.0), pointer(input.1), argument(output.0), pointer(output.1), length, 0];
    // SAFETY: each offset is null, or belongs to the caller during the call, which writes it.
    unsafe { ask(Sysno::copy_file_range, arguments) }
}

/// Notes the whole content of a short file.
fn note_content(seen: &mut Observation, fact: &str, file: &File) -> Result<(), Stop> {
    let mut bytes = [0; 16];
    let read = aside(|| io::pread_full(file, &mut bytes, 0)).setup("pread")?;
    seen.text(fact, bytes[..read].escape_ascii());
    Ok(())
}

fn note_position(seen: &mut Observation, fact: &str, file: &mut File) -> Result<(), Stop> {
    seen.count(fact, aside(|| file.stream_position()).setup("lseek")?);
    Ok(())
}

fn note_offset(seen: &mut Observation, fact: &str, offset: i64) {
    seen.count(fact, offset.cast_unsigned());
}

fn offset_given(lab: &Lab) -> Result<Observation, Stop> {
    let (mut source, mut target) = (lab.file(b"abcde")?, lab.file(b"012")?);
    let (mut from, mut to) = (2, 1);
    let copied = copy((&source, Some(&mut from)), (&target, Some(&mut to)), 1);
    let mut seen = Observation::new();
    seen.call("copy_file_range(file at 2, file at 1, 1)", copied);
    note_offset(&mut seen, "offset of the source", from);
    note_offset(&mut seen, "offset of the target", to);
    note_position(&mut seen, "position of the source", &mut source)?;
    note_position(&mut seen, "position of the target", &mut target)?;
    note_content(&mut seen, "target", &target)?;
    Ok(seen)
}

fn offset_null(lab: &Lab) -> Result<Observation, Stop> {
    let (source, mut target) = (lab.file(b"abc")?, lab.empty_file()?);
    let mut seen = Observation::new();
    for which in ["first", "second"] {
        let copied = copy((&source, None), (&target, None), 1);
        seen.call(format!("{which} copy_file_range(file, file, 1)"), copied);
    }
    note_position(&mut seen, "position of the target", &mut target)?;
    note_content(&mut seen, "target", &target)?;
    Ok(seen)
}

fn offset_one(lab: &Lab) -> Result<Observation, Stop> {
    let (mut source, mut target) = (lab.file(b"abc")?, lab.empty_file()?);
    let mut from = 2;
    let copied = copy((&source, Some(&mut from)), (&target, None), 1);
    let mut seen = Observation::new();
    seen.call("copy_file_range(file at 2, file, 1)", copied);
    note_offset(&mut seen, "offset of the source", from);
    note_position(&mut seen, "position of the source", &mut source)?;
    note_position(&mut seen, "position of the target", &mut target)?;
    note_content(&mut seen, "target", &target)?;
    Ok(seen)
}

fn end_zero(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    let mut seen = Observation::new();
    for from in [3, 4] {
        let copied = copy((&source, Some(&mut { from })), (&target, None), 1);
        seen.call(format!("copy_file_range(file at {from} of 3, file, 1)"), copied);
    }
    note_length(&mut seen, "length of the target", &target)?;
    Ok(seen)
}

fn length_beyond_the_end(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    let mut seen = Observation::new();
    seen.call("copy_file_range(file of 3, file, 2^64 - 1)", copy((&source, None), (&target, None), usize::MAX));
    note_length(&mut seen, "length of the target", &target)?;
    Ok(seen)
}

fn length_zero(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    let mut seen = Observation::new();
    seen.call("copy_file_range(file, file, 0)", copy((&source, None), (&target, None), 0));
    note_length(&mut seen, "length of the target", &target)?;
    Ok(seen)
}

fn offset_negative(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    let mut seen = Observation::new();
    for (name, mut from, mut to) in [("file at -1, file", -1, 0), ("file, file at -1", 0, -1)] {
        let copied = copy((&source, Some(&mut from)), (&target, Some(&mut to)), 1);
        seen.call(format!("copy_file_range({name}, 1)"), copied);
    }
    Ok(seen)
}

fn length_overflow(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    let mut seen = Observation::new();
    for (name, length) in [("2^63 - 1", usize::MAX >> 1), ("2^64 - 1", usize::MAX)] {
        seen.call(
            format!("copy_file_range(file at 1, file, {name})"),
            copy((&source, Some(&mut 1)), (&target, Some(&mut 0)), length),
        );
    }
    note_length(&mut seen, "length of the target", &target)?;
    Ok(seen)
}

fn errors_efbig(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
    let mut seen = Observation::new();
    seen.call(
        "copy_file_range(file, file at 2^63 - 1, 1)",
        copy((&source, None), (&target, Some(&mut { i64::MAX })), 1),
    );
    Ok(seen)
}

fn errors_size_limit(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.file(b"01")?);
    aside(|| privilege::limit_file_size(2)).setup("RLIMIT_FSIZE")?;
    let mut seen = Observation::new();
    let (copied, signals) = raised(libc::SIGXFSZ, || copy((&source, None), (&target, Some(&mut 2)), 1))?;
    seen.call("copy_file_range(file, file at its limit, 1)", copied);
    seen.count("signals raised", signals);
    note_length(&mut seen, "length of the target", &target)?;
    Ok(seen)
}

fn errors_sealed(_lab: &Lab) -> Result<Observation, Stop> {
    let source = File::from(sealed_memfd(0)?);
    aside(|| io::pwrite_all(&source, b"abc", 0)).setup("write a memfd")?;
    let mut seen = Observation::new();
    for (name, seal) in [("F_SEAL_WRITE", libc::F_SEAL_WRITE), ("F_SEAL_GROW", libc::F_SEAL_GROW)] {
        let target = File::from(sealed_memfd(seal)?);
        let fact = format!("copy_file_range(memfd, memfd with {name}, 1)");
        seen.call(fact, copy((&source, None), (&target, None), 1));
    }
    Ok(seen)
}

fn errors_immutable(lab: &Lab) -> Result<Observation, Stop> {
    let (target, name) = file_on(lab, &["ext4", "xfs", "btrfs", "f2fs"])?;
    let (source, _) = file_on(lab, &[&name])?;
    aside(|| io::pwrite_all(&source, b"abc", 0)).setup("write the file")?;
    Attribute::Immutable.set(&target, true)?;
    let mut seen = Observation::new();
    seen.call("copy_file_range(file, immutable file, 1)", copy((&source, None), (&target, None), 1));
    note_length(&mut seen, "length of the target", &target)?;
    // The attribute is removed again. Otherwise a file that has a name after all could not be removed by root.
    Attribute::Immutable.set(&target, false)?;
    Ok(seen)
}

fn errors_not_open(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"abc")?;
    let path = Descriptor::open(lab, Fd::PathOnly)?;
    let (file, path) = (argument(&file), argument(&path));
    let mut seen = Observation::new();
    for (name, from, to) in [
        ("-1, file", NO_FD, file),
        ("file, -1", file, NO_FD),
        ("O_PATH, file", path, file),
        ("file, O_PATH", file, path),
    ] {
        // SAFETY: both offsets are null.
        let copied = unsafe { ask(Sysno::copy_file_range, [from, 0, to, 0, 1, 0]) };
        seen.call(format!("copy_file_range({name})"), copied);
    }
    Ok(seen)
}

/// Copies a whole range, and notes whether the target has the source's bytes.
fn note_copy(
    seen: &mut Observation,
    (source, mut from): (&File, i64),
    (target, mut to): (&File, i64),
    length: usize,
) -> Result<(), Stop> {
    let (source_at, target_at) = (from.cast_unsigned(), to.cast_unsigned());
    let copied = io::until_done(length, |done| copy((source, Some(&mut from)), (target, Some(&mut to)), length - done));
    seen.call("bytes copied", copied);
    let (mut expected, mut bytes) = (vec![1; length], vec![2; length]);
    aside(|| io::pread_full(source, &mut expected, source_at)).setup("pread")?;
    io::pread_full(target, &mut bytes, target_at).setup("pread")?;
    let same = bytes == expected;
    seen.text("target", if same { "the file's" } else { "others" });
    Ok(())
}

fn content_unaligned(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(&pattern(20_000))?, lab.empty_file()?);
    let mut seen = Observation::new();
    note_copy(&mut seen, (&source, 4095), (&target, 17), 9000)?;
    note_length(&mut seen, "length of the target", &target)?;
    Ok(seen)
}

fn content_hole(lab: &Lab) -> Result<Observation, Stop> {
    let ((source, _), (target, _)) = (file_on(lab, &["ext4"])?, file_on(lab, &["ext4"])?);
    aside(|| {
        io::pwrite_all(&source, &[b'a'; PAGE], 0).setup("write the file")?;
        io::truncate(&source, 17 * PAGE as u64).setup("ftruncate")
    })?;
    let mut seen = Observation::new();
    note_copy(&mut seen, (&source, 0), (&target, 0), 17 * PAGE)?;
    aside(|| target.sync_all()).setup("fsync")?;
    // A block is 512 bytes, and the page of data has eight.
    let blocks = Status::default().blocks(&target)?;
    let word = if blocks > 16 * 8 { "all" } else { "none" };
    seen.text("target's blocks of the hole", word);
    Ok(seen)
}

fn times_target(lab: &Lab) -> Result<Observation, Stop> {
    let (source, target) = (lab.file(b"abc")?, lab.file(b"0")?);
    set_old_time(&target)?;
    let mut status = Status::default();
    let before = status.last_change(&target)?;
    let mut seen = Observation::new();
    seen.call("copy_file_range(file, file, 1)", copy((&source, None), (&target, None), 1));
    let kept = status.last_change(&target)? == before;
    let word = if kept { "as before" } else { "updated" };
    seen.text("time of the target's last change", word);
    note_content(&mut seen, "target", &target)?;
    Ok(seen)
}

fn around_page(lab: &Lab) -> Result<Observation, Stop> {
    const AROUND: [usize; 4] = [11, PAGE - 1, PAGE, PAGE + 1];
    const WHOLE: usize = 3 * PAGE;
    let content = pattern(WHOLE);
    let source = lab.file(&content)?;
    let (mut whole, mut same, mut last) = (0, 0, Ok(0));
    for (length, from, to) in AROUND.iter().flat_map(|length| {
        let pairs = AROUND.iter().flat_map(|from| AROUND.map(|to| (*from, to)));
        pairs.map(|(from, to)| (*length, from, to))
    }) {
        let target = lab.file(&[b't'; WHOLE])?;
        let offset = |at: usize| i64::try_from(at).expect("a few pages");
        let (mut input, mut output) = (offset(from), offset(to));
        let done = io::until_done(length, |done| {
            copy((&source, Some(&mut input)), (&target, Some(&mut output)), length - done)
        });
        last = done;
        whole += u64::from(done == Ok(length));
        let mut expected = [b't'; WHOLE];
        expected[to..to + length].copy_from_slice(&content[from..from + length]);
        let mut bytes = [0; WHOLE];
        let count = io::pread_full(&target, &mut bytes, 0).setup("read the target")?;
        same += u64::from(bytes[..count] == expected);
    }
    let mut seen = Observation::new();
    seen.call("last copy_file_range(file, file)", last)
        .count("copies of whole length", whole)
        .count("targets as a copy of bytes", same);
    Ok(seen)
}
