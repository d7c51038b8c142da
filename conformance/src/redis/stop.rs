//! The signals by which a program is told to end, to be waited for with everything else.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};

/// `SIGINT` and `SIGTERM`, which end nothing any more but can be read.
#[derive(Debug)]
pub struct Signals(File);

impl Signals {
    /// Takes them, for this thread and those that it starts.
    pub fn take() -> io::Result<Self> {
        // SAFETY: the set is plain integers, emptied and filled by the calls below and read by the kernel; the descriptor that it makes is
        // ours alone.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGINT);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) == -1 {
                return Err(io::Error::last_os_error());
            }
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(File::from_raw_fd(fd)))
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
