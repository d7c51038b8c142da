//! Whether the bytes are gone from where `splice` took them.

use super::{UNMOVED, about_splice, all, file_holds};
use crate::claims::prelude::*;
use nocopy_splice::splice;

pub const CLAIMS: &[Claim] = &[
    about_splice(
        "splice.moves.out-of-file",
        "splice() of a file into a pipe with SPLICE_F_MOVE leaves the bytes in the file.",
    )
    .published(&[MEASURED])
    .turned_by(&[Lie::about(Sysno::pread64, What::Garbled)])
    .tried(|lab, see| {
        let bytes = pattern(4 * page());
        let (file, pipe, mut offset) = (lab.file(&bytes)?, pipe()?, 0);
        let moved = io::until_done(bytes.len(), |done| {
            splice(&file, Some(&mut offset), &pipe.write, None, bytes.len() - done, SpliceFlags::MOVE)
        });
        see.call("splice(file, pipe, SPLICE_F_MOVE)", moved).is(bytes.len());
        see.holds("pipe's bytes", &pipe.read, &bytes)?.says(AS_SENT);
        file_holds(see, "file's bytes afterwards", &file, &bytes)
    }),
    about_splice(
        "splice.moves.out-of-pipe",
        "splice() from one pipe to another takes the bytes out of the first pipe.",
    )
    .published(&[seed("3.3"), man("splice(2)", "DESCRIPTION")])
    .turned_by(UNMOVED)
    .tried(|_lab, see| {
        let (from, to) = (filled(b"bytes")?, pipe()?);
        see.call("splice(pipe of 5, other pipe)", all(&from.read, &to.write, 5)).is(5);
        see.readable("bytes left in the first pipe", &from.read)?.is(0);
        see.holds("second pipe's bytes", &to.read, b"bytes")?.says(AS_SENT);
        Ok(())
    }),
    about_splice(
        "splice.moves.part-of-pipe",
        "splice() of half of a pipe's bytes into another pipe moves the first half; the second half stays.",
    )
    .published(&[gvisor("splice.cc", "SpliceTest.TwoPipes")])
    .turned_by(UNMOVED)
    .tried(|_lab, see| {
        let (bytes, half) = (pattern(page()), page() / 2);
        let (from, to) = (filled(&bytes)?, pipe()?);
        see.call("splice(pipe of a page, other pipe, half a page)", all(&from.read, &to.write, half)).is(half);
        see.holds("first pipe's half", &from.read, &bytes[half..])?.says(AS_SENT);
        see.holds("second pipe's half", &to.read, &bytes[..half])?.says(AS_SENT);
        Ok(())
    }),
];
