//! Pipes.

pub(super) mod close;
pub(super) mod count;
pub(super) mod ends;
pub(super) mod errors;
pub(super) mod flags;
pub(super) mod packets;
pub(super) mod pages;
pub(super) mod poll;
pub(super) mod read;
pub(super) mod size;
pub(super) mod user;
pub(super) mod write;

use crate::claims::prelude::*;
use nocopy_splice::{PipeFlags, pipe2};

const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::fcntl);
const USER: &[Resource] = &[Resource::UserPipePages];

/// A claim about the answers of `fcntl`.
#[track_caller]
const fn about_fcntl(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(&[Sysno::fcntl]).turned_by(OTHERWISE).sharing(USER)
}

/// A pipe with these flags, if the kernel has them. gVisor's pipes have no packet mode.
fn made(flags: PipeFlags) -> Result<Pipe, Stop> {
    match pipe2(flags) {
        Err(EINVAL) if flags.contains(PipeFlags::DIRECT) => Err(Stop::untestable(
            Lack::Kernel,
            "pipe2(O_DIRECT): EINVAL",
            "use a kernel whose pipes have a packet mode",
        )),
        made => made.setup("pipe2"),
    }
}

/// A pipe of `pages` pages, with these flags.
fn pipe_of(pages: usize, flags: PipeFlags) -> Result<Pipe, Stop> {
    aside(|| {
        let pipe = made(flags)?;
        io::resize_pipe(&pipe.write, pages * page()).setup("F_SETPIPE_SZ")?;
        Ok(pipe)
    })
}

/// Writes bytes to a pipe's write end.
fn put(to: &impl AsFd, bytes: &[u8]) -> Result<(), Stop> {
    aside(|| io::write_all(to, bytes)).setup("write to a pipe")
}

/// The result of a call whose value is not a number.
fn done<T>(made: &Result<T, Errno>) -> Result<usize, Errno> {
    made.as_ref().map_or_else(|errno| Err(*errno), |_| Ok(0))
}

/// Writes single bytes until a write fails, or too many are taken. Returns their number and the last result.
fn bytes_until_full(pipe: &Pipe) -> Result<(usize, Result<usize, Errno>), Stop> {
    let most = pipe_size(pipe)?;
    let mut taken = 0;
    loop {
        match io::again(|| io::write(&pipe.write, b"b")) {
            Ok(1) if taken <= most => taken += 1,
            last => return Ok((taken, last)),
        }
    }
}

/// `pipe2` with any flags: its result, and the array for the descriptors, which stay open. It was filled with -1.
fn raw_pipe2(flags: libc::c_int) -> (Result<usize, Errno>, [libc::c_int; 2]) {
    let mut ends = [-1; 2];
    let array = ends.as_mut_ptr().expose_provenance();
    // SAFETY: pipe2 writes two ints through its pointer.
    let done = unsafe { ask(Sysno::pipe2, [array, flags.cast_unsigned() as usize, 0, 0, 0, 0]) };
    (done, ends)
}
