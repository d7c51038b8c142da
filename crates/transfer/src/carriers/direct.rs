//! Routes of one call: `sendfile`, `copy_file_range`, a clone, and `splice` where an end is a pipe.

#![forbid(unsafe_code)]

use super::step::{Halt, Left, Side, moved};
use crate::sys;
use nocopy_copy_file_range::{CopyFileRangeFlags, copy_file_range, ficlonerange};
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

/// To the sink's file position: the whole blocks of what is left, or all of it up to the end of the source. The call moves no
/// position, so this does.
pub(super) fn by_clone(
    source: BorrowedFd<'_>,
    sink: BorrowedFd<'_>,
    left: Left,
) -> Result<usize, Halt> {
    let failed = |call| move |errno| Halt::Call(call, errno, Side::Sink);
    let position = |fd| sys::position(fd).map_err(failed(Sysno::lseek));
    let (from, to) = (
        left.offset.map_or_else(|| position(source), Ok)?,
        position(sink)?,
    );
    let status = sys::status(source).map_err(failed(Sysno::fstat))?;
    let rest = status.size.saturating_sub(from);
    let mut length = rest.min(left.length as u64);
    if length == 0 {
        return Err(Halt::Nothing(Sysno::ioctl));
    }
    let sink_size = sys::status(sink).map_err(failed(Sysno::fstat))?.size;
    // A part of a block can only be the end of both. Less than a block is for the kernel to refuse.
    let part = length % status.block.max(1);
    if part < length && (length < rest || to + length < sink_size) {
        length -= part;
    }
    ficlonerange(sink, source, from, length, to).map_err(failed(Sysno::ioctl))?;
    sys::set_position(sink, to + length).map_err(failed(Sysno::lseek))?;
    if left.offset.is_none() {
        sys::set_position(source, from + length).map_err(failed(Sysno::lseek))?;
    }
    Ok(usize::try_from(length).unwrap_or(usize::MAX))
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
