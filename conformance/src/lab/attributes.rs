//! Attributes that `chattr` sets.

use super::sockets::last_errno;
use crate::interpose::record::aside;
use crate::verdict::{Lack, Stop};
use std::fs::File;
use std::os::fd::AsRawFd;
use syscalls::Errno;

/// An attribute of a file, of include/uapi/linux/fs.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// `FS_IMMUTABLE_FL`, `chattr +i`.
    Immutable,
    /// `FS_APPEND_FL`, `chattr +a`.
    AppendOnly,
}

impl Attribute {
    const fn bit(self) -> libc::c_int {
        match self {
            Self::Immutable => 0x10,
            Self::AppendOnly => 0x20,
        }
    }

    /// Sets or clears the attribute, and checks that the file reports it.
    ///
    /// # Errors
    ///
    /// Untestable without the privilege, or on a file system without attributes.
    pub fn set(self, file: &File, on: bool) -> Result<(), Stop> {
        let refused = |call: &str| match last_errno() {
            Errno::ENOTTY | Errno::EOPNOTSUPP => Stop::untestable(
                Lack::Device,
                "the file system has no attributes of files",
                "name a directory on ext4 with --scratch DIR",
            ),
            errno => Stop::from_setup(call, errno),
        };
        let wanted = if on { self.bit() } else { 0 };
        let read = || {
            let mut flags: libc::c_int = 0;
            // SAFETY: FS_IOC_GETFLAGS writes an int through its pointer, during the call.
            let got = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_GETFLAGS, &raw mut flags) };
            if got == -1 { Err(refused("FS_IOC_GETFLAGS")) } else { Ok(flags) }
        };
        aside(|| {
            let flags = (read()? & !self.bit()) | wanted;
            // SAFETY: FS_IOC_SETFLAGS reads an int through its pointer, during the call.
            let set = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS, &raw const flags) };
            if set == -1 {
                return Err(refused("FS_IOC_SETFLAGS"));
            }
            if read()? & self.bit() == wanted {
                Ok(())
            } else {
                Err(Stop::broken("FS_IOC_SETFLAGS reports success and sets nothing"))
            }
        })
    }
}
