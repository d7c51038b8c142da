//! Two calls with a pipe between them.

#![forbid(unsafe_code)]

use super::buffer::{Writing, write};
use super::step::{Halt, Side, asked};
use crate::pool::{Lent, Pool};
use crate::sys;
use nocopy_splice::{Pipe, SpliceFlags, splice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use syscalls::{Errno, Sysno};

/// A pipe between source and sink, and the bytes in it.
#[derive(Debug)]
pub(crate) struct Through {
    /// None while it is empty, if it is the pool's.
    lent: Option<Lent>,
    pool: Option<Arc<Pool>>,
    /// Bytes in the pipe.
    queued: usize,
    /// How the sink is written to, if it takes no splice.
    how: Writing,
    /// After the sink has refused `splice`: bytes that were read from the pipe, and how many of them the sink has taken.
    copying: Option<(Vec<u8>, usize)>,
}

impl Through {
    /// With a pipe of its own.
    pub(super) fn own(size: usize) -> Result<Self, Errno> {
        Ok(Self {
            lent: Some(Lent::own(size)?),
            pool: None,
            queued: 0,
            how: Writing::Write,
            copying: None,
        })
    }

    /// With a pipe of the pool, whenever there are bytes.
    pub(super) const fn of(pool: Arc<Pool>, how: Writing) -> Self {
        Self {
            lent: None,
            pool: Some(pool),
            queued: 0,
            how,
            copying: None,
        }
    }

    /// Fills the pipe with `fill` if it is empty, and moves at most `length` bytes of it to the sink. `fill` gets the pipe and the
    /// bytes that it can take.
    pub(super) fn step(
        &mut self,
        sink: BorrowedFd<'_>,
        length: usize,
        fill: impl FnOnce(BorrowedFd<'_>, usize) -> Result<usize, Halt>,
    ) -> Result<usize, Halt> {
        if self.copying.is_some() {
            return self.copy(sink, length);
        }
        if self.queued == 0 {
            let (pipe, size) = self.pipe()?;
            self.queued = match fill(pipe, size) {
                // It is not known what is in the pipe.
                Err(Halt::Disagrees(call, _)) => {
                    self.lent = None;
                    return Err(Halt::Disagrees(call, 0));
                }
                filled => filled?,
            };
        }
        let wanted = self.queued.min(length);
        let Some(Pipe { read, .. }) = self.lent.as_ref().and_then(Lent::pipe) else {
            return Err(Halt::NoPipe);
        };
        let answer = splice(read, None, sink, None, wanted, SpliceFlags::MOVE);
        let moved = asked(Sysno::splice, Side::Sink, answer)?;
        self.queued -= moved;
        Ok(moved)
    }

    /// The writer's end and the capacity of the pipe, which is borrowed now if there was none.
    fn pipe(&mut self) -> Result<(BorrowedFd<'_>, usize), Halt> {
        if self.lent.is_none() {
            let Some(pool) = &self.pool else {
                return Err(Halt::NoPipe);
            };
            let lent = pool.pipe().map_err(|errno| match errno {
                // A copy needs no descriptor.
                Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM => Halt::NoPipe,
                errno => Halt::Call(Sysno::pipe2, errno, Side::Sink),
            })?;
            self.lent = Some(lent.ok_or(Halt::NoPipe)?);
        }
        let lent = self
            .lent
            .as_ref()
            .and_then(|lent| Some((lent.pipe()?, lent.size())));
        lent.map(|(pipe, size)| (AsFd::as_fd(&pipe.write), size))
            .ok_or(Halt::NoPipe)
    }

    /// The sink takes no splice: what is in the pipe will be read and written. False if nothing is.
    pub(super) fn copy_the_rest(&mut self) -> bool {
        if self.queued > 0 && self.copying.is_none() {
            self.copying = Some((Vec::new(), 0));
        }
        self.copying.is_some()
    }

    fn copy(&mut self, sink: BorrowedFd<'_>, length: usize) -> Result<usize, Halt> {
        let Some((buffer, written)) = &mut self.copying else {
            return Ok(0);
        };
        if *written == buffer.len() {
            let Some(Pipe { read, .. }) = self.lent.as_ref().and_then(Lent::pipe) else {
                return Err(Halt::NoPipe);
            };
            buffer.resize(self.queued.min(64 << 10), 0);
            *written = buffer.len();
            let got = asked(
                Sysno::read,
                Side::Source,
                sys::read(AsFd::as_fd(read), buffer),
            )?;
            buffer.truncate(got);
            *written = 0;
            self.queued -= got;
        }
        let part = &buffer[*written..];
        let part = &part[..part.len().min(length)];
        let taken = write(sink, part, self.how)?;
        *written += taken;
        Ok(taken)
    }

    /// Bytes that have left the source and not reached the sink.
    pub(crate) fn held(&self) -> u64 {
        let copied = self
            .copying
            .as_ref()
            .map_or(0, |(buffer, written)| buffer.len() - written);
        (self.queued + copied) as u64
    }

    /// Gives an empty pipe back to its pool. Of a range of a file, one with bytes is closed: they are read again.
    pub(super) fn rest(&mut self, is_in_file: bool) {
        if is_in_file && self.pool.is_some() && self.held() > 0 {
            self.lent = None;
            self.queued = 0;
            self.copying = None;
        }
        if self.queued == 0 && self.lent.as_ref().is_some_and(Lent::is_of_pool) {
            self.lent.take().into_iter().for_each(Lent::give_back);
        }
    }

    /// The bytes that were read from the pipe, and those in it.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        let copying = self.copying.take();
        let mut bytes =
            copying.map_or_else(Vec::new, |(buffer, written)| buffer[written..].to_vec());
        if let Some(Pipe { read, .. }) = self.lent.as_ref().and_then(Lent::pipe) {
            let end = bytes.len() + self.queued;
            while bytes.len() < end {
                let at = bytes.len();
                bytes.resize(end, 0);
                let got = sys::read(AsFd::as_fd(read), &mut bytes[at..]);
                bytes.truncate(at + got.unwrap_or(0));
                match got {
                    Ok(count @ 1..) => self.queued -= count,
                    Err(Errno::EINTR) => {}
                    // Whoever counts finds fewer bytes than were held.
                    _ => break,
                }
            }
        }
        bytes
    }
}

impl Drop for Through {
    /// An empty pipe goes back to its pool; one with bytes is closed.
    fn drop(&mut self) {
        self.rest(false);
    }
}
