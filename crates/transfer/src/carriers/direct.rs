//! Routes of one call: `sendfile`, `copy_file_range`, and `splice` where an end is a pipe.

#![forbid(unsafe_code)]

use super::step::{Halt, Left, Side, moved};
use nocopy_copy_file_range::{CopyFileRangeFlags, copy_file_range};
use nocopy_sendfile::sendfile;
use nocopy_splice::{SpliceFlags, splice};
use std::os::fd::BorrowedFd;
use syscalls::Sysno;

pub(crate) fn by_sendfile(
    source: BorrowedFd<'_>,
    sink: BorrowedFd<'_>,
    left: Left,
) -> Result<usize, Halt> {
    let mut offset = left.offset;
    let answer = sendfile(sink, source, offset.as_mut(), left.length);
    moved(Sysno::sendfile, Side::Sink, answer, left.offset, offset)
}

/// To the sink's file position.
pub(super) fn by_copy_file_range(
    source: BorrowedFd<'_>,
    sink: BorrowedFd<'_>,
    left: Left,
) -> Result<usize, Halt> {
    let mut offset = left.offset;
    let flags = CopyFileRangeFlags::empty();
    let answer = copy_file_range(source, offset.as_mut(), sink, None, left.length, flags);
    moved(
        Sysno::copy_file_range,
        Side::Sink,
        answer,
        left.offset,
        offset,
    )
}

/// Into a pipe, or out of one.
pub(super) fn by_splice(
    source: BorrowedFd<'_>,
    sink: BorrowedFd<'_>,
    left: Left,
    side: Side,
) -> Result<usize, Halt> {
    let mut offset = left.offset;
    let answer = splice(
        source,
        offset.as_mut(),
        sink,
        None,
        left.length,
        SpliceFlags::MOVE,
    );
    moved(Sysno::splice, side, answer, left.offset, offset)
}
