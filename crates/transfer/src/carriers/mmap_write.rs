//! `mmap` the file, `write` the mapping, `munmap`: as in the source document's section 3.1.

use super::step::{Halt, Left, Side, asked};
use super::window::Window;
use crate::sys;
use std::os::fd::BorrowedFd;
use syscalls::Sysno;

#[derive(Debug)]
pub(crate) struct MmapWrite(Window);

impl MmapWrite {
    pub(super) const fn new(window: usize) -> Self {
        Self(Window::new(window))
    }

    pub(super) fn step(
        &mut self,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        left: Left,
    ) -> Result<usize, Halt> {
        let (address, length) = self.0.at(source, left)?;
        // SAFETY: the range is inside the window's mapping, to which no reference exists.
        asked(Sysno::write, Side::Sink, unsafe {
            sys::write(sink, address, length)
        })
    }

    pub(super) fn finish(&mut self) {
        self.0.close();
    }
}
