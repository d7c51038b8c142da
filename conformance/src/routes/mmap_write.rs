//! `mmap` the file, `write` the mapping, `munmap`: as in the source document's section 3.1.

use super::carrier::{Carrier, Halt, Left, asked};
use super::window::Window;
use crate::lab::io;
use std::os::fd::BorrowedFd;
use syscalls::Sysno;

#[derive(Debug)]
pub(super) struct MmapWrite(Window);

impl MmapWrite {
    pub(super) const fn new(window: usize) -> Self {
        Self(Window::new(window))
    }
}

impl Carrier for MmapWrite {
    fn step(&mut self, source: BorrowedFd<'_>, sink: BorrowedFd<'_>, left: Left) -> Result<usize, Halt> {
        let (address, length) = self.0.at(source, left)?;
        // SAFETY: the range is inside the window's mapping, to which no reference exists.
        asked(Sysno::write, unsafe { io::write_from(&sink, address, length) })
    }

    fn finish(&mut self, _sink: BorrowedFd<'_>) -> Result<(), Halt> {
        self.0.close();
        Ok(())
    }
}
