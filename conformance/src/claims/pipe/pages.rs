//! The pages of a pipe.

use super::{USER, bytes_until_full, pipe_of};
use crate::claims::prelude::*;
use nocopy_splice::PipeFlags;

pub const CLAIMS: &[Claim] = &[claim(
    "pipe.pages.small-writes",
    "Single bytes written one by one share the pages of a pipe: a pipe of one page takes a page of them.",
)
.published(&[
    kernel("fs/pipe.c", "anon_pipe_write"),
    man("F_GETPIPE_SZ(2const)", "DESCRIPTION, F_SETPIPE_SZ").leaves_open(),
])
.about(&[Sysno::write])
.turned_by(&[Lie::refused(Sysno::write, libc::EAGAIN).after(100)])
.sharing(USER)
.tried(|_lab, see| {
    let pipe = pipe_of(1, PipeFlags::NONBLOCK)?;
    let (taken, next) = bytes_until_full(&pipe)?;
    see.count("single bytes that a pipe of one page takes", taken as u64).is(page());
    see.call("the next write", next).fails(EAGAIN);
    see.readable("bytes in the pipe", &pipe.read)?.is(page());
    Ok(())
})];
