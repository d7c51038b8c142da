//! The signals by which a program is told to end, to be waited for with everything else.

#![forbid(unsafe_code)]

use crate::process;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `SIGINT` and `SIGTERM`, which end nothing any more but can be read.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Takes them, for this thread and those that it starts.
    pub fn take() -> io::Result<Self> {
        process::signals(&[libc::SIGINT, libc::SIGTERM]).map(Self)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
