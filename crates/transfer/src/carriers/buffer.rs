//! The classic route: `read` or `pread` into a buffer, `write` from it.

#![forbid(unsafe_code)]

use super::step::{Halt, Left, Side, asked};
use crate::pool::{BUFFER, Pool, zeros};
use crate::sys;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use syscalls::Sysno;

#[derive(Debug)]
pub(crate) struct Buffer {
    /// The largest size of the buffer.
    most: usize,
    /// Where large buffers come from and go to.
    pool: Option<Arc<Pool>>,
    how: Writing,
    bytes: Vec<u8>,
    /// The part that has been read and not been written.
    filled: Range<usize>,
    /// A message that is not whole yet: more is read before it is written.
    is_part: bool,
}

/// How the sink is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// By `write`.
    Write,
    /// By `send`, without a signal if the peer is gone.
    Send,
    /// By `send`, in messages of this size; the last one may be shorter.
    Messages(usize),
}

impl Buffer {
    /// A buffer of its own.
    pub(super) fn own(size: usize) -> Self {
        Self {
            most: size.max(1),
            pool: None,
            how: Writing::Write,
            // Before the first call, as the caller expects of a route. Of more than there is, only what the range needs is asked for.
            bytes: zeros(size.max(1)).unwrap_or_default(),
            filled: 0..0,
            is_part: false,
        }
    }

    /// A buffer of the pool, whenever there are bytes.
    pub(super) const fn of(pool: Arc<Pool>, most: usize, how: Writing) -> Self {
        let most = match how {
            Writing::Messages(size) => size,
            Writing::Write | Writing::Send => most,
        };
        Self {
            most,
            pool: Some(pool),
            how,
            bytes: Vec::new(),
            filled: 0..0,
            is_part: false,
        }
    }

    pub(super) fn step(
        &mut self,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        left: Left,
    ) -> Result<usize, Halt> {
        if self.filled.is_empty() || self.is_part {
            self.read(source, left)?;
        }
        let end = self
            .filled
            .end
            .min(self.filled.start.saturating_add(left.length));
        let count = write(sink, &self.bytes[self.filled.start..end], self.how)?;
        self.filled.start += count;
        Ok(count)
    }

    fn read(&mut self, source: BorrowedFd<'_>, left: Left) -> Result<(), Halt> {
        let wanted = self.most.min(left.length);
        if !self.is_part {
            self.filled = 0..0;
        }
        if self.bytes.len() < wanted {
            // The first part of a message goes along.
            let mut bytes = match &self.pool {
                Some(pool) => pool.buffer(wanted),
                None => zeros(wanted),
            }
            .map_err(|errno| Halt::Call(Sysno::mmap, errno, Side::Source))?;
            let read = self.filled.end;
            bytes[..read].copy_from_slice(&self.bytes[..read]);
            self.bytes = bytes;
        }
        loop {
            let read = self.filled.end;
            let into = &mut self.bytes[read..wanted];
            let (call, answer) = match left.offset {
                Some(offset) => (
                    Sysno::pread64,
                    sys::pread(source, into, offset + read as u64),
                ),
                None => (Sysno::read, sys::read(source, into)),
            };
            match asked(call, Side::Source, answer) {
                Ok(count) => self.filled.end += count,
                // The last message is shorter.
                Err(Halt::Nothing(_)) if read > 0 => {}
                Err(halt) => return Err(halt),
            }
            let is_whole = self.filled.end == wanted || self.filled.end == read;
            self.is_part = matches!(self.how, Writing::Messages(_)) && !is_whole;
            if !self.is_part {
                return Ok(());
            }
        }
    }

    /// Bytes that have left the source and not reached the sink.
    pub(crate) fn held(&self) -> u64 {
        self.filled.len() as u64
    }

    /// Lets go of the buffer, unless it has bytes that the source has not any more. Of a range of a file, what the sink did not take
    /// is read again, and less of it.
    pub(super) fn rest(&mut self, is_in_file: bool) {
        if is_in_file && !self.filled.is_empty() {
            self.filled = 0..0;
            self.is_part = false;
            if !matches!(self.how, Writing::Messages(_)) {
                self.most = (self.most / 2).max(64 << 10);
            }
        }
        if self.bytes.len() == BUFFER
            && let Some(pool) = &self.pool
        {
            // What a stream has given is kept, in a buffer of its size.
            let kept = self.bytes[self.filled.clone()].to_vec();
            self.filled = 0..kept.len();
            pool.take_buffer(std::mem::replace(&mut self.bytes, kept));
        }
    }

    /// The bytes that have left the source.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        let filled = std::mem::take(&mut self.filled);
        self.bytes[filled].to_vec()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.take_buffer(std::mem::take(&mut self.bytes));
        }
    }
}

/// Sends some of the bytes.
pub(super) fn write(sink: BorrowedFd<'_>, bytes: &[u8], how: Writing) -> Result<usize, Halt> {
    match how {
        Writing::Write => asked(Sysno::write, Side::Sink, sys::write_bytes(sink, bytes)),
        Writing::Send | Writing::Messages(_) => {
            asked(Sysno::sendto, Side::Sink, sys::send(sink, bytes, 0))
        }
    }
}
