//! The length that `splice` is asked for, and the length that it moves.

use super::{NONBLOCK, about_splice, once, raw};
use crate::claims::prelude::*;
use nocopy_splice::splice;

pub const CLAIMS: &[Claim] = &[
    about_splice(
        "splice.length.zero",
        "splice() of 0 bytes returns 0, even for descriptors that are not open and for an unknown flag.",
    )
    .published(&[kernel("fs/splice.c", "SYSCALL_DEFINE6(splice)")])
    .tried(|_lab, see| {
        see.call("splice(-1, -1, 0, 0)", raw(NO_FD, NO_FD, 0, 0)).is(0);
        see.call("splice(-1, -1, 0, unknown flag)", raw(NO_FD, NO_FD, 0, 0x10)).is(0);
        Ok(())
    }),
    about_splice(
        "splice.length.beyond-ssize-max",
        "Into a pipe, splice() takes a length above SSIZE_MAX and moves what the file has.",
    )
    .published(&[
        thread("Hanaasagi/tokio-splice#2", "a length of usize::MAX works on 6.5.0").since("6.5").until("6.5"),
        thread("Hanaasagi/tokio-splice#2", "a length of usize::MAX fails with EINVAL on 6.8.0").denies().since("6.8"),
        kernel("fs/read_write.c", "rw_verify_area").denies(),
    ])
    .turned_by(&[Lie::refused(Sysno::splice, libc::EINVAL).where_it(true)])
    .except(&[Exception::Lacking("no lie moves the bytes")])
    .gated(&[gate(
        "6.8",
        "into a pipe, splice() refuses a length above SSIZE_MAX",
        thread("Hanaasagi/tokio-splice#2", "a length of usize::MAX fails with EINVAL on 6.8.0"),
    )])
    .tried(|lab, see| {
        let bytes = pattern(16);
        let file = lab.file(&bytes)?;
        for (name, length) in LENGTHS {
            let (pipe, mut offset) = (pipe()?, 0);
            let moved = io::until_done(16, |_| splice(&file, Some(&mut offset), &pipe.write, None, length, NONBLOCK));
            see.call(format!("splice(file of 16, pipe, {name})"), moved).is(16);
            see.count(format!("{name}, offset afterwards"), offset).is(16);
            see.holds(&format!("{name}, pipe's bytes"), &pipe.read, &bytes)?.says(AS_SENT);
        }
        Ok(())
    }),
    about_splice(
        "splice.length.beyond-ssize-max-out",
        "splice() from a pipe into a file fails with EINVAL for a length above SSIZE_MAX, and the byte stays in the \
         pipe.",
    )
    .published(&[kernel("fs/read_write.c", "rw_verify_area")])
    .tried(|lab, see| {
        let (file, pipe) = (lab.empty_file()?, filled(b"b")?);
        for (name, length) in &LENGTHS[1..] {
            see.call(format!("splice(pipe, file, {name})"), once(&pipe.read, &file, *length)).fails(EINVAL);
        }
        see.readable("bytes in the pipe", &pipe.read)?.is(1);
        see.call("splice(pipe, file, SSIZE_MAX)", once(&pipe.read, &file, LENGTHS[0].1)).is(1);
        see.length("length of the file", &file)?.is(1);
        Ok(())
    }),
    about_splice(
        "splice.length.beyond-ssize-max-pipes",
        "splice() from pipe to pipe takes a length above SSIZE_MAX and moves what the first pipe has.",
    )
    .published(&[kernel("fs/splice.c", "do_splice")])
    .turned_by(&[Lie::refused(Sysno::splice, libc::EINVAL)])
    .tried(|_lab, see| {
        for (name, length) in LENGTHS {
            let (from, to) = (filled(b"b")?, pipe()?);
            see.call(format!("splice(pipe of 1, other pipe, {name})"), once(&from.read, &to.write, length)).is(1);
            see.holds(&format!("{name}, other pipe's byte"), &to.read, b"b")?.says(AS_SENT);
        }
        Ok(())
    }),
    about_splice(
        "splice.length.pipe-room",
        "One splice() of a cached file moves as much as the empty pipe has room for: 16 pages, or 1 MiB.",
    )
    .published(&[
        man("pipe(7)", "DESCRIPTION, Pipe capacity").leaves_open().since("2.6.35"),
        kernel("fs/splice.c", "do_splice_read"),
    ])
    .turned_by(&[Lie::shortened(Sysno::splice).after(1), Lie::refused(Sysno::splice, libc::EINVAL)])
    .sharing(&[Resource::UserPipePages])
    .tried(|lab, see| {
        let bytes = pattern((1 << 20) + 16 * page());
        let file = lab.file(&bytes)?;
        for (name, size) in [("16 pages, the default", 16 * page()), ("1 MiB", 1 << 20)] {
            let pipe = pipe()?;
            let size = aside(|| io::resize_pipe(&pipe.write, size)).setup("F_SETPIPE_SZ")?;
            let moved = splice(&file, Some(&mut 0), &pipe.write, None, bytes.len(), NONBLOCK);
            see.call(format!("splice(file, pipe of {name})"), moved).is(size);
            see.holds(&format!("bytes in the pipe of {name}"), &pipe.read, &bytes[..size])?.says(AS_SENT);
        }
        Ok(())
    }),
    about_splice(
        "splice.length.single-bytes",
        "Single bytes of a file, spliced one by one, fill a pipe of 16 pages after 16 calls.",
    )
    .published(&[
        gvisor("splice.cc", "SpliceTest.TwoPipesCircular, its comment"),
        man("F_GETPIPE_SZ(2const)", "DESCRIPTION, F_SETPIPE_SZ").leaves_open(),
    ])
    .turned_by(&[Lie::refused(Sysno::splice, libc::EAGAIN).after(8)])
    .sharing(&[Resource::UserPipePages])
    .tried(|lab, see| {
        let (file, pipe) = (lab.file(b"f")?, pipe()?);
        aside(|| io::resize_pipe(&pipe.write, 16 * page())).setup("F_SETPIPE_SZ")?;
        let mut taken = 0;
        let next = loop {
            match splice(&file, Some(&mut 0), &pipe.write, None, 1, NONBLOCK) {
                Ok(1) if taken < 10_000 => taken += 1,
                full => break full,
            }
        };
        see.count("single bytes that a pipe of 16 pages takes", taken).is(16);
        see.call("the next splice()", next).fails(EAGAIN);
        see.holds("pipe's bytes", &pipe.read, &[b'f'; 16])?.says(AS_SENT);
        Ok(())
    }),
    about_splice(
        "splice.length.one-slot",
        "splice() of two pages from a pipe into a pipe with one free slot moves one page.",
    )
    .published(&[gvisor("splice.cc", "SpliceTest.TwoPipesPartialWrite")])
    .turned_by(&[Lie::about(Sysno::splice, What::TooMany), Lie::refused(Sysno::splice, libc::EAGAIN)])
    .except(&[Exception::Of(Sysno::splice, What::Shortened, "half of two pages is what there is room for")])
    .sharing(&[Resource::UserPipePages])
    .tried(|_lab, see| {
        let page = page();
        let bytes = [vec![b's'; page], vec![b'S'; page]].concat();
        let (from, to) = (filled(&bytes)?, pipe()?);
        let slots = pipe_size(&to)? / page;
        let before = vec![b't'; (slots - 1) * page];
        aside(|| io::write_all(&to.write, &before)).setup("fill a pipe")?;
        see.call("splice(pipe of two pages, pipe with a free slot)", once(&from.read, &to.write, 2 * page)).is(page);
        see.holds("first pipe's bytes", &from.read, &bytes[page..])?.says(AS_SENT);
        see.holds("second pipe's bytes", &to.read, &[&before, &bytes[..page]].concat())?.says(AS_SENT);
        Ok(())
    }),
];

/// The largest length that is a number with a sign, and two above it.
const LENGTHS: [(&str, usize); 3] =
    [("SSIZE_MAX", usize::MAX >> 1), ("SSIZE_MAX + 1", (usize::MAX >> 1) + 1), ("SIZE_MAX", usize::MAX)];
