//! `vmsplice` the file's mapping into a pipe, `splice` the pipe into the sink; only `vmsplice`, if the sink is a pipe.

use super::carrier::{Carrier, Halt, Left, asked};
use super::splice::Through;
use super::window::Window;
use crate::lab::io;
use nocopy_splice::{IoVec, SpliceFlags, vmsplice_to_pipe};
use std::os::fd::BorrowedFd;
use syscalls::{Errno, Sysno};

#[derive(Debug)]
pub(super) struct Vmsplice {
    window: Window,
    through: Option<Through>,
    /// For a sink that is a pipe: `vmsplice` ignores `O_NONBLOCK`.
    flags: SpliceFlags,
}

impl Vmsplice {
    pub(super) fn new(sink: BorrowedFd<'_>, window: usize, pipe: usize) -> Result<Self, Errno> {
        let through = Through::unless_pipe(sink, pipe)?;
        let flags =
            if through.is_none() && io::is_nonblocking(&sink)? { SpliceFlags::NONBLOCK } else { SpliceFlags::empty() };
        Ok(Self { window: Window::new(window), through, flags })
    }
}

impl Carrier for Vmsplice {
    fn step(&mut self, source: BorrowedFd<'_>, sink: BorrowedFd<'_>, left: Left) -> Result<usize, Halt> {
        let window = &mut self.window;
        let flags = self.flags;
        let mut into = |pipe: BorrowedFd<'_>| {
            let (address, length) = window.at(source, left)?;
            let part = [IoVec::from_raw(address, length)];
            // SAFETY: the pages are the file's, to which the kernel takes references: they stay when the mapping is removed, and are
            // never written through it. The descriptor is a pipe's write end.
            asked(Sysno::vmsplice, unsafe { vmsplice_to_pipe(pipe, &part, flags) })
        };
        match &mut self.through {
            None => into(sink),
            Some(through) => through.step(sink, left.length, into),
        }
    }

    fn held(&self) -> u64 {
        self.through.as_ref().map_or(0, Through::queued)
    }

    fn finish(&mut self, _sink: BorrowedFd<'_>) -> Result<(), Halt> {
        self.window.close();
        Ok(())
    }
}
