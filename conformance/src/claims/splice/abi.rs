//! The arguments of `splice`.

use super::{NONBLOCK, about_splice};
use crate::claims::prelude::*;
use crate::lab::{FAR, FAR_OFFSET};
use nocopy_splice::splice;

pub const CLAIMS: &[Claim] = &[about_splice(
    "splice.abi.offset-64-bit",
    "The offsets of splice() are 64-bit, in and out: it reads and writes at 5 GiB, and advances the offset.",
)
.published(&[seed("7.3"), man("splice(2)", "SYNOPSIS"), man("splice(2)", "NOTES")])
.turned_by(&[
    Lie::about(Sysno::splice, What::OffsetKept),
    Lie::returned(Sysno::splice, 0),
    Lie::about(Sysno::read, What::Garbled),
])
.tried(|lab, see| {
    let (file, pipe) = (lab.far_file()?, pipe()?);
    let mut offset = FAR_OFFSET;
    let into = io::until_done(4, |done| splice(&file, Some(&mut offset), &pipe.write, None, 100 - done, NONBLOCK));
    see.call("splice(file at 5 GiB, pipe, 100)", into).is(4);
    see.count("offset in the source after that", offset).is(FAR_OFFSET + 4);
    see.holds("pipe's bytes", &pipe.read, FAR)?.says(AS_SENT);

    let (file, pipe) = (lab.empty_file()?, filled(FAR)?);
    let mut offset = FAR_OFFSET;
    let out = io::until_done(4, |done| splice(&pipe.read, None, &file, Some(&mut offset), 4 - done, NONBLOCK));
    see.call("splice(pipe, empty file at 5 GiB, 4)", out).is(4);
    see.count("offset in the target after that", offset).is(FAR_OFFSET + 4);
    let mut bytes = [0; 5];
    let count = io::pread_full(&file, &mut bytes, FAR_OFFSET).setup("read at 5 GiB")?;
    see.text("file's bytes at 5 GiB", as_sent(bytes[..count] == *FAR)).says(AS_SENT);
    see.length("length of the file", &file)?.is(FAR_OFFSET + 4);
    Ok(())
})];
