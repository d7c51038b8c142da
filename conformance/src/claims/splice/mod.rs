//! `splice`.

pub(super) mod abi;
pub(super) mod call;
pub(super) mod copies;
pub(super) mod end;
pub(super) mod ends;
pub(super) mod entries;
pub(super) mod errors;
pub(super) mod faults;
pub(super) mod flags;
pub(super) mod fs;
pub(super) mod length;
pub(super) mod moves;
pub(super) mod o_direct;
pub(super) mod offset;
pub(super) mod path;
pub(super) mod sample;
pub(super) mod sharing;
pub(super) mod sink;
pub(super) mod source;
pub(super) mod waits;

use crate::claims::prelude::*;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::filesystems::filesystem_of;
use nocopy_splice::splice;
use std::net::TcpStream;

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

/// For a claim that does not hold on every kernel.
const LACKING: &[Exception] = &[Exception::Lacking("no lie moves bytes")];

/// Lengths around a page, and one that ends inside a page, with names in pages.
fn lengths() -> [(&'static str, usize); 5] {
    let page = page();
    [("1", 1), ("page - 1", page - 1), ("page", page), ("page + 1", page + 1), ("2 pages + 808", 2 * page + 808)]
}

/// A connection or terminal that holds nothing to read: the end of this kind, and the other end.
fn connected(lab: &Lab, kind: Fd) -> Result<(OwnedFd, OwnedFd), Stop> {
    let (near, far) = Descriptor::open(lab, kind)?.into_ends();
    aside(|| io::read_full(&near, &mut [0; 16])).setup("empty a descriptor")?;
    Ok((near, far.ok_or_else(|| Stop::broken("it has no other end"))?))
}

/// What arrives before the end. A closed terminal, and TLS without a closing record, report the end as an error.
fn rest(far: &impl AsFd) -> Result<Vec<u8>, Stop> {
    let mut bytes = vec![0; 1 << 18];
    let mut count = 0;
    loop {
        match io::again(|| io::read(far, &mut bytes[count..])) {
            Ok(0) | Err(EIO | Errno::EBADMSG) => break,
            Ok(more) => count += more,
            Err(errno) => return Err(Stop::from_setup("read at the other end", errno)),
        }
    }
    bytes.truncate(count);
    Ok(bytes)
}

/// Notes the file system on which the lab makes files.
fn note_scratch(lab: &Lab, see: &mut Observation) -> Result<(), Stop> {
    see.text("file system of the file", aside(|| filesystem_of(lab.scratch()?).setup("statfs"))?);
    Ok(())
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
    see.text(fact, as_sent(held[..length] == *bytes)).says(AS_SENT);
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
