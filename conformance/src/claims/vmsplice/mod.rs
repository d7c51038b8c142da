//! `vmsplice`.

pub(super) mod copies;
pub(super) mod errors;
pub(super) mod flags;
pub(super) mod gift;
pub(super) mod length;
pub(super) mod memory;
pub(super) mod moves;
pub(super) mod read_end;
pub(super) mod vectors;
pub(super) mod waits;

use crate::claims::prelude::*;
use nocopy_mmap::PrivateAnonymous;
use nocopy_splice::{IoVec, IoVecMut, vmsplice_from_pipe, vmsplice_to_pipe};

const NONBLOCK: SpliceFlags = SpliceFlags::NONBLOCK;
const BLOCKING: SpliceFlags = SpliceFlags::empty();

const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::vmsplice);

/// A claim about the answers of `vmsplice`.
#[track_caller]
const fn about_vmsplice(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(&[Sysno::vmsplice]).turned_by(OTHERWISE)
}

/// Gives memory to a pipe, with one call. The pipe keeps the pages, also after the memory is unmapped.
fn give(to: &impl AsFd, memory: &[u8], flags: SpliceFlags) -> Result<usize, Errno> {
    // SAFETY: no descriptor is open for reading only, and no page is used for anything else before the pipe is read.
    unsafe { vmsplice_to_pipe(to.as_fd(), &[IoVec::new(memory)], flags) }
}

/// Gives all of the memory.
fn give_all(to: &Pipe, memory: &[u8]) -> Result<(), Stop> {
    io::all_done(memory.len(), |done| give(&to.write, &memory[done..], NONBLOCK)).setup("vmsplice")
}

/// Gives a byte to a pipe full of zeros, reads a page when the call sleeps, and looks at the pipe's bytes.
fn sleeps_into(see: &mut Observation, call: &str, Pipe { read, write }: Pipe) -> Result<(), Stop> {
    let rest = aside(|| sockets::readable(&read))? - page();
    let caller = Caller::start(Sysno::vmsplice, move || io::again(|| give(&write, b"b", BLOCKING)))?;
    see.sleeps(call, caller, |_| read_page(&read))?.is(1);
    see.holds("the full pipe's bytes", &read, &[vec![0; rest], vec![b'b']].concat())?.says(AS_SENT);
    Ok(())
}

/// Takes bytes out of a pipe into memory, with one call. The descriptor must not be open for writing.
fn take(from: &impl AsFd, memory: &mut [u8], flags: SpliceFlags) -> Result<usize, Errno> {
    // SAFETY: the kernel writes the buffer during the call.
    unsafe { vmsplice_from_pipe(from.as_fd(), &mut [IoVecMut::new(memory)], flags) }
}

/// Gives what a vector of addresses and lengths names, with any flags.
fn give_named(to: &impl AsFd, vector: &[usize], flags: usize) -> Result<usize, Errno> {
    let arguments = [argument(to), vector.as_ptr().expose_provenance(), vector.len() / 2, flags, 0, 0];
    // SAFETY: as for `give`; experiments name memory of their own.
    unsafe { ask(Sysno::vmsplice, arguments) }
}

/// Anonymous memory with these bytes.
fn memory_of(bytes: &[u8]) -> Result<PrivateAnonymous, Stop> {
    let mut memory = PrivateAnonymous::new(bytes.len()).setup("mmap")?;
    memory.copy_from_slice(bytes);
    Ok(memory)
}
