//! `sendfile`, with an explicit offset.

use super::carrier::{Carrier, Halt, Left, moved};
use nocopy_sendfile::sendfile;
use std::os::fd::BorrowedFd;
use syscalls::Sysno;

#[derive(Debug)]
pub(super) struct Sendfile;

impl Carrier for Sendfile {
    fn step(&mut self, source: BorrowedFd<'_>, sink: BorrowedFd<'_>, left: Left) -> Result<usize, Halt> {
        let mut offset = left.offset;
        let answer = sendfile(sink, source, Some(&mut offset), left.length);
        moved(Sysno::sendfile, answer, left.offset, offset)
    }
}
