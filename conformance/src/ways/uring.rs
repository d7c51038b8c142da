//! Sending by `io_uring`, one request at a time, for a comparison with the plain calls.
//!
//! It measures the cost of one request. It does not use what would make it faster: several requests in flight, and registered
//! buffers.

use crate::lab::io;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use nocopy_splice::fcntl_setpipe_size;
use nocopy_transfer::Notified;
use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use syscalls::Errno;

/// The kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `IORING_OP_SPLICE`, through a pipe of this capacity. If the sink is a pipe, no other pipe is used.
    Splice {
        /// The capacity in bytes.
        pipe: usize,
    },
    /// `IORING_OP_SEND_ZC` of memory. Every notification is awaited.
    SendZerocopy {
        /// The number of bytes in one request.
        chunk: usize,
    },
}

/// `IORING_SEND_ZC_REPORT_USAGE`, since Linux 6.2: the notification says whether the bytes were copied.
const REPORT_USAGE: u16 = 1 << 3;
/// `IORING_NOTIF_USAGE_ZC_COPIED`.
const COPIED: i32 = i32::MIN;
/// The offset for a pipe or a socket.
const NONE: i64 = -1;

/// The transfer of a content.
pub struct Uring<'ends> {
    ring: IoUring,
    request: Request,
    source: &'ends File,
    sink: &'ends OwnedFd,
    content: &'ends [u8],
    /// The pipe between source and sink. `None` if the sink is a pipe, or if memory is sent.
    pipe: Option<(PipeReader, PipeWriter)>,
    notified: Option<Notified>,
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::new(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Whether this process may make a ring: sandboxes and settings refuse it.
pub fn is_there() -> Result<(), Errno> {
    IoUring::new(4).map(drop).map_err(|error| errno(&error))
}

impl<'ends> Uring<'ends> {
    /// Makes the ring and, if needed, the pipe.
    pub fn new(
        request: Request,
        source: &'ends File,
        sink: &'ends OwnedFd,
        content: &'ends [u8],
    ) -> Result<Self, Errno> {
        let pipe = match request {
            Request::Splice { pipe } if !io::is_pipe(sink)? => {
                let (read, write) = std::io::pipe().map_err(|error| errno(&error))?;
                fcntl_setpipe_size(&write, pipe)?;
                Some((read, write))
            }
            _ => None,
        };
        Ok(Self {
            ring: IoUring::new(4).map_err(|error| errno(&error))?,
            request,
            source,
            sink,
            content,
            pipe,
            notified: None,
        })
    }

    /// Sends all of it.
    pub fn drive(&mut self) -> Result<(), Errno> {
        match self.request {
            Request::Splice { pipe } => self.splice_all(pipe),
            Request::SendZerocopy { chunk } => self.send_all(chunk),
        }
    }

    /// The summary of the notifications. `None` if they do not report copies.
    pub const fn notified(&self) -> Option<Notified> {
        self.notified
    }

    fn splice_all(&mut self, most: usize) -> Result<(), Errno> {
        let (source, sink) = (self.source.as_raw_fd(), self.sink.as_raw_fd());
        let pipe = self.pipe.as_ref();
        let pipe = pipe.map(|(read, write)| (read.as_raw_fd(), write.as_raw_fd()));
        let mut done = 0;
        while done < self.content.len() {
            let most = most.min(self.content.len() - done);
            let offset = i64::try_from(done).map_err(|_| Errno::EOVERFLOW)?;
            let Some((read, write)) = pipe else {
                done += self.splice((source, offset), sink, most)?;
                continue;
            };
            let taken = self.splice((source, offset), write, most)?;
            let mut left = taken;
            while left > 0 {
                left -= self.splice((read, NONE), sink, left)?;
            }
            done += taken;
        }
        Ok(())
    }

    fn splice(&mut self, from: (RawFd, i64), to: RawFd, most: usize) -> Result<usize, Errno> {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let (from, offset) = from;
        let request = opcode::Splice::new(types::Fd(from), offset, types::Fd(to), NONE, most);
        // SAFETY: the request refers to no memory.
        let answered = unsafe { self.ask(&request.build()) }?;
        match usize::try_from(answered.result()) {
            // The file ended early, or the sink took nothing.
            Ok(0) => Err(Errno::EIO),
            Ok(count) => Ok(count),
            Err(_) => Err(Errno::new(-answered.result())),
        }
    }

    fn send_all(&mut self, chunk: usize) -> Result<(), Errno> {
        let mut notified = Notified::default();
        let mut flags = REPORT_USAGE;
        let content = self.content;
        for chunk in content.chunks(chunk) {
            let mut done = 0;
            while done < chunk.len() {
                match self.send(&chunk[done..], flags) {
                    Err(Errno::EINVAL) if flags == REPORT_USAGE && notified.sends == 0 => flags = 0,
                    Err(Errno::EINTR) => {}
                    answer => {
                        let (count, is_copied) = answer?;
                        done += count;
                        notified.sends += 1;
                        notified.copied += u64::from(is_copied);
                    }
                }
            }
        }
        self.notified = (flags == REPORT_USAGE).then_some(notified);
        Ok(())
    }

    /// Makes one request and waits for its notification. Returns the number of bytes sent, and whether they are reported as
    /// copied.
    fn send(&mut self, bytes: &[u8], flags: u16) -> Result<(usize, bool), Errno> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let request = opcode::SendZc::new(types::Fd(self.sink.as_raw_fd()), bytes.as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .zc_flags(flags)
            .build();
        // SAFETY: the bytes are borrowed until the notification has come, after which the kernel does not look at them; without one
        // the request has failed.
        let answered = unsafe { self.ask(&request) }?;
        let mut is_copied = false;
        if cqueue::more(answered.flags()) {
            is_copied = self.notification()?.result() == COPIED;
        }
        let count = usize::try_from(answered.result());
        count.map_or_else(
            |_| Err(Errno::new(-answered.result())),
            |count| match count {
                0 => Err(Errno::EIO),
                count => Ok((count, is_copied)),
            },
        )
    }

    /// Submits a request and waits for its first completion entry.
    ///
    /// # Safety
    ///
    /// The memory that the request refers to must be valid until the kernel has finished with it.
    unsafe fn ask(&mut self, request: &squeue::Entry) -> Result<cqueue::Entry, Errno> {
        // SAFETY: as the caller says.
        unsafe { self.ring.submission().push(request) }.map_err(|_| Errno::EBUSY)?;
        self.next()
    }

    /// Waits for the notification by `poll`, as for the completions of `MSG_ZEROCOPY`. The number of these calls depends on the
    /// receiver, so it is not counted as a cost of sending.
    fn notification(&mut self) -> Result<cqueue::Entry, Errno> {
        loop {
            if let Some(entry) = self.ring.completion().next() {
                return Ok(entry);
            }
            // SAFETY: the descriptor belongs to the ring, which lives as long as this.
            let ring = unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) };
            io::wait_for(ring, libc::POLLIN)?;
        }
    }

    fn next(&mut self) -> Result<cqueue::Entry, Errno> {
        loop {
            if let Some(entry) = self.ring.completion().next() {
                return Ok(entry);
            }
            match self.ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if errno(&error) == Errno::EINTR => {}
                Err(error) => return Err(errno(&error)),
            }
        }
    }
}
