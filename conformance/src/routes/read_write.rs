//! The classic route: `pread` into a buffer, `write` from it.

use super::carrier::{Carrier, Halt, Left, asked};
use crate::lab::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use syscalls::Sysno;

#[derive(Debug)]
pub(super) struct ReadWrite {
    buffer: Vec<u8>,
    /// The part that has been read and not been written.
    filled: Range<usize>,
}

impl ReadWrite {
    pub(super) fn new(buffer: usize) -> Self {
        Self { buffer: vec![0; buffer.max(1)], filled: 0..0 }
    }
}

impl Carrier for ReadWrite {
    fn step(&mut self, source: BorrowedFd<'_>, sink: BorrowedFd<'_>, left: Left) -> Result<usize, Halt> {
        if self.filled.is_empty() {
            let wanted = self.buffer.len().min(left.length);
            let read = io::pread(&source, &mut self.buffer[..wanted], left.offset);
            self.filled = 0..asked(Sysno::pread64, read)?;
        }
        let end = self.filled.end.min(self.filled.start.saturating_add(left.length));
        let count = asked(Sysno::write, io::write(&sink, &self.buffer[self.filled.start..end]))?;
        self.filled.start += count;
        Ok(count)
    }

    fn held(&self) -> u64 {
        self.filled.len() as u64
    }
}
