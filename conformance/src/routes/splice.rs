//! `splice` twice, through a pipe; only once, if the sink is a pipe.

use super::carrier::{Carrier, Halt, Left, asked, moved};
use crate::lab::io;
use nocopy_splice::{Pipe, PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe2, splice};
use std::os::fd::{AsFd, BorrowedFd};
use syscalls::{Errno, Sysno};

/// A pipe between source and sink.
#[derive(Debug)]
pub(super) struct Through {
    pipe: Pipe,
    /// Bytes in it.
    queued: usize,
}

impl Through {
    /// None if the sink itself is a pipe.
    pub(super) fn unless_pipe(sink: BorrowedFd<'_>, size: usize) -> Result<Option<Self>, Errno> {
        if io::is_pipe(&sink)? {
            return Ok(None);
        }
        let pipe = pipe2(PipeFlags::CLOEXEC)?;
        if fcntl_getpipe_size(&pipe.write)? != size {
            fcntl_setpipe_size(&pipe.write, size)?;
        }
        Ok(Some(Self { pipe, queued: 0 }))
    }

    /// Fills the pipe with `fill` if it is empty, and moves at most `length` bytes of it to the sink.
    pub(super) fn step(
        &mut self,
        sink: BorrowedFd<'_>,
        length: usize,
        fill: impl FnOnce(BorrowedFd<'_>) -> Result<usize, Halt>,
    ) -> Result<usize, Halt> {
        if self.queued == 0 {
            self.queued = fill(AsFd::as_fd(&self.pipe.write))?;
        }
        let wanted = self.queued.min(length);
        let read = &self.pipe.read;
        let moved = asked(Sysno::splice, splice(read, None, sink, None, wanted, SpliceFlags::MOVE))?;
        self.queued -= moved;
        Ok(moved)
    }

    pub(super) const fn queued(&self) -> u64 {
        self.queued as u64
    }
}

#[derive(Debug)]
pub(super) struct Splice(Option<Through>);

impl Splice {
    pub(super) fn new(sink: BorrowedFd<'_>, pipe: usize) -> Result<Self, Errno> {
        Ok(Self(Through::unless_pipe(sink, pipe)?))
    }
}

impl Carrier for Splice {
    fn step(&mut self, source: BorrowedFd<'_>, sink: BorrowedFd<'_>, left: Left) -> Result<usize, Halt> {
        let mut offset = left.offset;
        let mut into = |pipe: BorrowedFd<'_>| {
            let flags = SpliceFlags::MOVE;
            let answer = splice(source, Some(&mut offset), pipe, None, left.length, flags);
            moved(Sysno::splice, answer, left.offset, offset)
        };
        match &mut self.0 {
            None => into(sink),
            Some(through) => through.step(sink, left.length, into),
        }
    }

    fn held(&self) -> u64 {
        self.0.as_ref().map_or(0, Through::queued)
    }
}
