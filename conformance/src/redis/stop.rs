//! The signals that ask a program to end, as a descriptor that can be polled with others.

#![forbid(unsafe_code)]

use nocopy_host::process;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `SIGINT` and `SIGTERM`. They are blocked, and can be read.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks them, for this thread and the threads that it starts.
    pub fn take() -> io::Result<Self> {
        process::signals(&[libc::SIGINT, libc::SIGTERM]).map(Self)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
