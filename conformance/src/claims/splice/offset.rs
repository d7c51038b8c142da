//! The offsets of `splice`.

use super::{NONBLOCK, about_splice, file_holds, once};
use crate::claims::prelude::*;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::io::NOWHERE;
use nocopy_splice::splice;

pub const CLAIMS: &[Claim] = &[
    about_splice("splice.offset.pipe", "An offset for an end of splice() that is a pipe fails with ESPIPE.")
        .published(&[
            man("splice(2)", "ERRORS, ESPIPE"),
            ltp("splice03.c", "the last two cases"),
            man("splice(2)", "ERRORS, EINVAL").denies(),
        ])
        .tried(|lab, see| {
            let (file, from, to) = (lab.file(b"abc")?, filled(b"b")?, pipe()?);
            let into = splice(&file, None, &to.write, Some(&mut 0), 1, NONBLOCK);
            see.call("splice(file, pipe at 0)", into).fails(ESPIPE);
            let out = splice(&from.read, Some(&mut 0), &file, None, 1, NONBLOCK);
            see.call("splice(pipe at 0, file)", out).fails(ESPIPE);
            let first = splice(&from.read, Some(&mut 0), &to.write, None, 1, NONBLOCK);
            see.call("splice(pipe at 0, other pipe)", first).fails(ESPIPE);
            let second = splice(&from.read, None, &to.write, Some(&mut 0), 1, NONBLOCK);
            see.call("splice(pipe, other pipe at 0)", second).fails(ESPIPE);
            Ok(())
        }),
    about_splice(
        "splice.offset.unseekable",
        "splice() from or into a TCP socket or a terminal with an offset fails with EINVAL.",
    )
    .published(&[man("splice(2)", "ERRORS, EINVAL")])
    .tried(|lab, see| {
        let (from, to) = (filled(b"b")?, pipe()?);
        for (name, kind) in [("TCP socket", Fd::TcpSocket), ("terminal", Fd::Terminal)] {
            let other = Descriptor::open(lab, kind)?;
            let source = splice(&other, Some(&mut 0), &to.write, None, 1, NONBLOCK);
            see.call(format!("splice({name} at 0, pipe)"), source).fails(EINVAL);
            let sink = splice(&from.read, None, &other, Some(&mut 0), 1, NONBLOCK);
            see.call(format!("splice(pipe, {name} at 0)"), sink).fails(EINVAL);
        }
        Ok(())
    }),
    about_splice(
        "splice.offset.bad",
        "splice() from a file fails with EINVAL for an offset of -1, and with EFAULT for an unmapped offset pointer.",
    )
    .published(&[kernel("fs/read_write.c", "rw_verify_area"), kernel("fs/splice.c", "__do_splice")])
    .tried(|lab, see| {
        let (file, pipe) = (lab.file(b"abc")?, pipe()?);
        let negative = splice(&file, Some(&mut { u64::MAX }), &pipe.write, None, 1, NONBLOCK);
        see.call("splice(file at -1, pipe)", negative).fails(EINVAL);
        let arguments = [argument(&file), NOWHERE, argument(&pipe.write), 0, 1, 2];
        // SAFETY: nothing is mapped at the offset's address.
        let unmapped = unsafe { ask(Sysno::splice, arguments) };
        see.call("splice(file at unmapped pointer, pipe)", unmapped).fails(EFAULT);
        Ok(())
    }),
    about_splice(
        "splice.offset.position",
        "With an offset for a file, its source or target, splice() sets the offset and keeps the file position; \
         without, it moves the position.",
    )
    .published(&[
        man("splice(2)", "DESCRIPTION"),
        gvisor("splice.cc", "SpliceTest.FromPipeOffset, the position of a target"),
        gvisor("splice.cc", "SpliceTest.FromPipe, the position of a target"),
    ])
    .turned_by(&[
        Lie::about(Sysno::splice, What::OffsetKept),
        Lie::about(Sysno::splice, What::PositionKept),
        Lie::refused(Sysno::splice, libc::EINVAL),
    ])
    .tried(|lab, see| {
        let (file, from, to) = (lab.file(b"abcdef")?, filled(b"xy")?, pipe()?);
        let position = |file: &File| aside(|| io::position(file)).setup("lseek");
        let mut offset = 2;
        let source = splice(&file, Some(&mut offset), &to.write, None, 1, NONBLOCK);
        see.call("splice(file at 2, pipe)", source).is(1).count("offset of the source", offset).is(3);
        see.count("position of the source", position(&file)?).is(0);
        see.call("splice(file, pipe)", once(&file, &to.write, 1)).is(1);
        see.count("position of the source without offset", position(&file)?).is(1);
        see.holds("pipe's bytes, the third and the first", &to.read, b"ca")?.says(AS_SENT);
        let file = lab.file(b"abcdef")?;
        let mut offset = 2;
        let target = splice(&from.read, None, &file, Some(&mut offset), 1, NONBLOCK);
        see.call("splice(pipe, file at 2)", target).is(1).count("offset of the target", offset).is(3);
        see.count("position of the target", position(&file)?).is(0);
        see.call("splice(pipe, file)", once(&from.read, &file, 1)).is(1);
        see.count("position of the target without offset", position(&file)?).is(1);
        file_holds(see, "target's bytes", &file, b"ybxdef")
    }),
    about_splice(
        "splice.offset.hole",
        "splice() to an offset past the end of a file leaves zeros before the bytes, advances the offset and keeps the \
         file position.",
    )
    .published(&[gvisor("splice.cc", "SpliceTest.FromPipeOffset"), man("splice(2)", "DESCRIPTION")])
    .turned_by(&[Lie::skipped(Sysno::splice), Lie::about(Sysno::splice, What::OffsetKept)])
    .tried(|lab, see| {
        let (file, pipe, mut offset) = (lab.empty_file()?, filled(b"bytes")?, 5000);
        let done = io::until_done(5, |done| splice(&pipe.read, None, &file, Some(&mut offset), 5 - done, NONBLOCK));
        see.call("splice(pipe, empty file at 5000)", done).is(5).count("offset afterwards", offset).is(5005);
        see.count("position afterwards", aside(|| io::position(&file)).setup("lseek")?).is(0);
        file_holds(see, "file's bytes, zeros and those", &file, &[&[0; 5000][..], b"bytes"].concat())
    }),
    about_splice(
        "splice.offset.bad-target",
        "splice() into a file at -1, or at an offset that overflows with the length, fails with EINVAL; the bytes stay \
         in the pipe.",
    )
    .published(&[
        gvisor("splice.cc", "SpliceTest.NegativeOffset, SpliceTest.WriteOverflow"),
        kernel("fs/read_write.c", "rw_verify_area"),
    ])
    .tried(|lab, see| {
        let (file, pipe) = (lab.empty_file()?, filled(b"abc")?);
        for (name, offset) in [("-1", u64::MAX), ("2^63 - 2", i64::MAX.cast_unsigned() - 1)] {
            let done = splice(&pipe.read, None, &file, Some(&mut { offset }), 3, NONBLOCK);
            see.call(format!("splice(pipe, file at {name}, 3)"), done).fails(EINVAL);
        }
        see.holds("pipe's bytes", &pipe.read, b"abc")?.says(AS_SENT);
        Ok(())
    }),
];
