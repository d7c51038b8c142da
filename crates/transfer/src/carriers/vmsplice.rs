//! `vmsplice` the file's mapping into a pipe, `splice` the pipe into the sink; only `vmsplice`, if the sink is a pipe.

use super::step::{Halt, Left, Side, asked};
use super::through::Through;
use super::window::Window;
use crate::sys;
use nocopy_splice::{IoVec, SpliceFlags, vmsplice_to_pipe};
use std::os::fd::BorrowedFd;
use syscalls::{Errno, Sysno};

#[derive(Debug)]
pub(crate) struct Vmsplice {
    window: Window,
    through: Option<Through>,
    /// For a sink that is a pipe: `vmsplice` ignores `O_NONBLOCK`.
    flags: SpliceFlags,
}

impl Vmsplice {
    pub(super) fn new(sink: BorrowedFd<'_>, window: usize, pipe: usize) -> Result<Self, Errno> {
        let through = if sys::is_pipe(sink)? {
            None
        } else {
            Some(Through::own(pipe)?)
        };
        let flags = if through.is_none() && sys::is_nonblocking(sink)? {
            SpliceFlags::NONBLOCK
        } else {
            SpliceFlags::empty()
        };
        Ok(Self {
            window: Window::new(window),
            through,
            flags,
        })
    }
}

impl Vmsplice {
    pub(super) fn step(
        &mut self,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        left: Left,
    ) -> Result<usize, Halt> {
        let window = &mut self.window;
        let flags = self.flags;
        let mut into = |pipe: BorrowedFd<'_>| {
            let (address, length) = window.at(source, left)?;
            let part = [IoVec::from_raw(address, length)];
            // SAFETY: the pages are the file's, to which the kernel takes references: they stay when the mapping is removed, and are
            // never written through it. The descriptor is a pipe's write end.
            asked(Sysno::vmsplice, Side::Sink, unsafe {
                vmsplice_to_pipe(pipe, &part, flags)
            })
        };
        match &mut self.through {
            None => into(sink),
            Some(through) => through.step(sink, left.length, |pipe, _| into(pipe)),
        }
    }

    pub(super) fn held(&self) -> u64 {
        self.through.as_ref().map_or(0, Through::held)
    }

    pub(super) fn finish(&mut self) {
        self.window.close();
    }
}
