//! What carries the bytes: one type per route, and what all of them can be asked.

mod buffer;
mod direct;
mod mmap_write;
mod msg_zerocopy;
pub(crate) mod step;
mod through;
mod vmsplice;
mod window;

pub(crate) use buffer::Writing;
pub(crate) use direct::by_sendfile;

use crate::outcome::Notified;
use crate::pool::Pool;
use crate::route::Route;
use crate::sys;
use buffer::Buffer;
use mmap_write::MmapWrite;
use msg_zerocopy::MsgZerocopy;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use step::{Halt, Left, Side};
use syscalls::Errno;
use through::Through;
use vmsplice::Vmsplice;

/// The work of a route, one or two calls at a time.
#[derive(Debug)]
pub(crate) enum Carrier {
    Buffer(Buffer),
    MmapWrite(MmapWrite),
    Sendfile,
    CopyFileRange,
    Clone,
    /// One splice, because an end is a pipe.
    Splice(Side),
    Through(Through),
    Vmsplice(Vmsplice),
    MsgZerocopy(MsgZerocopy),
}

impl Carrier {
    /// By this route and no other. `next_id` is the id of the next `MSG_ZEROCOPY` send, if it is known.
    pub(crate) fn of(
        route: Route,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        next_id: Option<u32>,
    ) -> Result<Self, Errno> {
        Ok(match route {
            Route::ReadWrite { buffer } => Self::Buffer(Buffer::own(buffer)),
            Route::MmapWrite { window } => Self::MmapWrite(MmapWrite::new(window)),
            Route::Sendfile => Self::Sendfile,
            Route::Splice { .. } if sys::is_pipe(sink)? => Self::into_pipe(source)?,
            Route::Splice { pipe } => Self::Through(Through::own(pipe)?),
            Route::Vmsplice { window, pipe } => Self::Vmsplice(Vmsplice::new(sink, window, pipe)?),
            Route::MsgZerocopy { window, chunk } => {
                Self::MsgZerocopy(MsgZerocopy::new(sink, window, chunk, next_id)?)
            }
            Route::CopyFileRange => Self::CopyFileRange,
            Route::Clone => Self::Clone,
        })
    }

    /// One splice into a pipe. A file is always ready, so only a pipe or a socket can make it wait.
    fn into_pipe(source: BorrowedFd<'_>) -> Result<Self, Errno> {
        let can_wait = matches!(
            sys::status(source)?.kind,
            libc::S_IFIFO | libc::S_IFSOCK | libc::S_IFCHR
        );
        Ok(Self::Splice(if can_wait {
            Side::Either
        } else {
            Side::Sink
        }))
    }

    /// Through a pipe of the pool.
    pub(crate) const fn through(pool: Arc<Pool>, how: Writing) -> Self {
        Self::Through(Through::of(pool, how))
    }

    /// Through a buffer of the pool, of at most this size.
    pub(crate) const fn buffer(pool: Arc<Pool>, most: usize, how: Writing) -> Self {
        Self::Buffer(Buffer::of(pool, most, how))
    }

    /// Sends some of the rest to the sink. Returns the bytes that the sink has taken, or 0 if they have only left the source.
    /// [`Self::held`] bytes left the source before, so a step may only send these. After a failure, the step can be repeated.
    pub(crate) fn step(
        &mut self,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        left: Left,
    ) -> Result<usize, Halt> {
        match self {
            Self::Buffer(buffer) => buffer.step(source, sink, left),
            Self::MmapWrite(mapped) => mapped.step(source, sink, left),
            Self::Sendfile => direct::by_sendfile(source, sink, left),
            Self::CopyFileRange => direct::by_copy_file_range(source, sink, left),
            Self::Clone => direct::by_clone(source, sink, left),
            Self::Splice(side) => direct::by_splice(source, sink, left, *side),
            Self::Through(through) => through.step(sink, left.length, |pipe, size| {
                let left = Left {
                    length: left.length.min(size),
                    ..left
                };
                direct::by_splice(source, pipe, left, Side::Source)
            }),
            Self::Vmsplice(mapped) => mapped.step(source, sink, left),
            Self::MsgZerocopy(sender) => sender.step(source, sink, left),
        }
    }

    /// Bytes that have left the source and not reached the sink: in a buffer or a pipe.
    pub(crate) fn held(&self) -> u64 {
        match self {
            Self::Buffer(buffer) => buffer.held(),
            Self::Through(through) => through.held(),
            Self::Vmsplice(mapped) => mapped.held(),
            _ => 0,
        }
    }

    /// After all bytes are in the sink: releases unneeded resources.
    pub(crate) fn finish(&mut self, sink: BorrowedFd<'_>) -> Result<(), Halt> {
        match self {
            Self::MmapWrite(mapped) => mapped.finish(),
            Self::Vmsplice(mapped) => mapped.finish(),
            Self::MsgZerocopy(sender) => sender.finish(sink)?,
            Self::Buffer(_)
            | Self::Sendfile
            | Self::CopyFileRange
            | Self::Clone
            | Self::Splice(_)
            | Self::Through(_) => {}
        }
        Ok(())
    }

    /// Between two calls of `advance`: gives pipes and buffers back, if they are of the pool and have nothing that is not in the file.
    pub(crate) fn rest(&mut self, is_in_file: bool) {
        match self {
            Self::Buffer(buffer) => buffer.rest(is_in_file),
            Self::Through(through) => through.rest(is_in_file),
            _ => {}
        }
    }

    /// The sink has refused the route. What has left the source will be read and written; false if nothing has.
    pub(crate) fn copy_the_rest(&mut self) -> bool {
        match self {
            Self::Through(through) => through.copy_the_rest(),
            _ => false,
        }
    }

    /// The kernel's reports about the sends.
    pub(crate) fn notified(&self) -> Option<Notified> {
        match self {
            Self::MsgZerocopy(sender) => Some(sender.notified()),
            _ => None,
        }
    }

    /// The bytes that have left the source, in their order.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Buffer(buffer) => buffer.into_bytes(),
            Self::Through(through) => through.into_bytes(),
            _ => Vec::new(),
        }
    }
}
