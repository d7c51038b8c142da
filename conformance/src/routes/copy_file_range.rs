//! `copy_file_range`, from an explicit offset to the sink's file position.

use super::carrier::{Carrier, Halt, Left, moved};
use std::os::fd::{AsRawFd, BorrowedFd};
use syscalls::{Sysno, syscall};

#[derive(Debug)]
pub(super) struct CopyFileRange;

impl Carrier for CopyFileRange {
    fn step(&mut self, source: BorrowedFd<'_>, sink: BorrowedFd<'_>, left: Left) -> Result<usize, Halt> {
        let mut offset = left.offset;
        // SAFETY: the pointer is to the offset, which the kernel reads and writes during the call; the other is null.
        let copied = unsafe {
            syscall!(Sysno::copy_file_range, source.as_raw_fd(), &raw mut offset, sink.as_raw_fd(), 0, left.length, 0)
        };
        moved(Sysno::copy_file_range, copied, left.offset, offset)
    }
}
