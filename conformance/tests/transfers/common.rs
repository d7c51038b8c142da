//! The receiver of a transfer, and the lab of the grids.

use conformance::lab::filesystems::find_scratch;
use conformance::lab::{Lab, io, sockets};
use std::fs::File;
use std::io::Seek;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;
use syscalls::Errno;

/// A lab of this thread's own. The directory is looked for once.
pub fn lab() -> Lab {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    let scratch = SCRATCH.get_or_init(|| {
        let (found, passed_over) = find_scratch(None);
        found.unwrap_or_else(|| panic!("no directory for files: {passed_over:?}"))
    });
    Lab::new(Some(scratch.clone()))
}

/// Where the next `read` or `write` of a file takes place.
pub fn position(mut file: &File) -> u64 {
    file.stream_position().expect("lseek")
}

/// Bytes of a page, which is a slot of a pipe.
pub fn page_size() -> usize {
    // SAFETY: sysconf takes no pointer.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("a page has a size")
}

/// Makes calls on a descriptor return instead of waiting.
pub fn set_nonblocking(fd: &impl AsFd) {
    conformance::lab::io::set_nonblocking(fd).expect("F_SETFL");
}

/// The receiver's end of a stream, and all that it has read.
pub struct Receiver {
    far: OwnedFd,
    /// In the order of arrival.
    pub bytes: Vec<u8>,
}

impl Receiver {
    pub fn new(far: impl Into<OwnedFd>) -> Self {
        let far = far.into();
        set_nonblocking(&far);
        Self {
            far,
            bytes: Vec::new(),
        }
    }

    /// Reads what is there, and returns how much that was.
    pub fn take(&mut self) -> usize {
        let before = self.bytes.len();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match io::read(&self.far, &mut buffer) {
                Ok(0) | Err(Errno::EAGAIN) => return self.bytes.len() - before,
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(Errno::EINTR) => {}
                Err(errno) => panic!("read at the receiver: {errno:?}"),
            }
        }
    }

    /// Reads until `count` bytes have come in all. They are there or on their way: if the sender has nothing left and they are
    /// not there, they were lost.
    pub fn take_until(&mut self, count: usize, near: &impl AsFd) {
        while self.bytes.len() < count {
            // Asked before looking. A pipe cannot be asked, and hands over at once.
            let all_arrived = sockets::unacknowledged(near).map_or(true, |left| left == 0);
            if self.take() == 0 {
                assert!(!all_arrived, "{} bytes of {count} came", self.bytes.len());
                std::thread::yield_now();
            }
        }
    }

    /// Nothing comes after the sender has gone.
    pub fn ends_after(mut self, near: OwnedFd) -> Vec<u8> {
        drop(near);
        let mut more = [0];
        loop {
            match io::read(&self.far, &mut more) {
                Ok(0) => return self.bytes,
                Ok(_) => self.bytes.push(more[0]),
                Err(Errno::EAGAIN) => wait_for(&self.far, libc::POLLIN),
                Err(errno) => panic!("read at the receiver: {errno:?}"),
            }
        }
    }
}

/// Waits for a poll event. What is waited for is on its way: the system's work, never another thread of the test.
pub fn wait_for(fd: &impl AsFd, events: libc::c_short) {
    let mut polled = libc::pollfd {
        fd: fd.as_fd().as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: one pollfd, which the kernel reads and writes during the call.
    let ready = unsafe { libc::poll(&raw mut polled, 1, -1) };
    assert_eq!(ready, 1, "poll");
}
