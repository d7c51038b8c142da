//! `splice`.

mod end;
mod errors;
mod faults;
mod flags;
mod length;
mod moves;
mod offset;
mod sample;
mod sharing;
mod waits;

use crate::claims::prelude::*;
use nocopy_splice::splice;
use std::net::TcpStream;

/// Claims about `splice`.
pub const CLAIMS: &[&[Claim]] = &[
    end::CLAIMS,
    errors::CLAIMS,
    faults::CLAIMS,
    flags::CLAIMS,
    length::CLAIMS,
    moves::CLAIMS,
    offset::CLAIMS,
    sample::CLAIMS,
    sharing::CLAIMS,
    waits::CLAIMS,
];

const NONBLOCK: SpliceFlags = SpliceFlags::NONBLOCK;
const BLOCKING: SpliceFlags = SpliceFlags::empty();

const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::splice);
/// The lies of a kernel that moves nothing.
const UNMOVED: &[Lie] = &[Lie::skipped(Sysno::splice), Lie::refused(Sysno::splice, libc::EINVAL)];

/// A claim about the answers of `splice`.
#[track_caller]
const fn about_splice(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(&[Sysno::splice]).turned_by(OTHERWISE)
}

/// `splice` with these four numbers, and without offsets.
fn raw(input: usize, output: usize, length: usize, flags: usize) -> Result<usize, Errno> {
    // SAFETY: both offsets are null.
    unsafe { ask(Sysno::splice, [input, 0, output, 0, length, flags]) }
}

/// `splice` without offsets, with `SPLICE_F_NONBLOCK`.
fn once(from: &impl AsFd, to: &impl AsFd, length: usize) -> Result<usize, Errno> {
    splice(from, None, to, None, length, NONBLOCK)
}

/// The same, repeated until the length is reached.
fn all(from: &impl AsFd, to: &impl AsFd, length: usize) -> Result<usize, Errno> {
    io::until_done(length, |done| once(from, to, length - done))
}

/// `splice` in a thread, without offsets, which may sleep.
fn sleeper<From, To>(from: From, to: To, length: usize, flags: SpliceFlags) -> Result<Caller, Stop>
where
    From: AsFd + Send + 'static,
    To: AsFd + Send + 'static,
{
    Caller::start(Sysno::splice, move || splice(&from, None, &to, None, length, flags))
}

/// Notes that a file holds exactly these bytes.
fn file_holds(see: &mut Observation, fact: &str, file: &File, bytes: &[u8]) -> Result<(), Stop> {
    let mut held = vec![0; bytes.len() + 1];
    let length = io::pread_full(file, &mut held, 0).setup("read the file")?;
    see.text(fact, if held[..length] == *bytes { AS_SENT } else { "others" }).says(AS_SENT);
    Ok(())
}

/// Bytes, a pipe that holds them, and a TCP connection whose buffers hold less.
fn more_than_fits() -> Result<(Vec<u8>, Pipe, TcpStream, TcpStream), Stop> {
    const SIZE: usize = 1 << 20;
    let (bytes, pipe, (near, far)) = (pattern(SIZE), pipe()?, sockets::tcp()?);
    aside(|| {
        io::resize_pipe(&pipe.write, SIZE).setup("F_SETPIPE_SZ")?;
        io::write_all(&pipe.write, &bytes).setup("fill a pipe")?;
        sockets::resize_buffer(&far, libc::SO_RCVBUF, 1 << 16)?;
        sockets::resize_buffer(&near, libc::SO_SNDBUF, 1 << 16)
    })?;
    Ok((bytes, pipe, near, far))
}
