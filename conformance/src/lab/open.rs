//! Opens descriptors by a path, and makes files in memory.

use crate::interpose::record::aside;
use crate::lab::{danger, io, sockets};
use crate::verdict::{Lack, Setup, Stop};
use std::ffi::CString;
use std::fs::File;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
pub(super) fn open(path: &str, flags: libc::c_int) -> Result<OwnedFd, Stop> {
    let access = flags & libc::O_ACCMODE;
    let mut options = File::options();
    options.read(access != libc::O_WRONLY).write(access != libc::O_RDONLY).custom_flags(flags & !libc::O_ACCMODE);
    let provide = format!("provide {path}");
    open_present(path.as_ref(), &options, Lack::Device, &provide).map(OwnedFd::from)
}

/// Opens a file of `/proc`, `/sys` or `/dev`. If it does not exist, or no driver serves it, the machine lacks it.
pub fn open_present(path: &Path, options: &OpenOptions, lack: Lack, remedy: &str) -> Result<File, Stop> {
    let opened = aside(|| options.open(path));
    let errno = |error: &std::io::Error| error.raw_os_error();
    match opened {
        Err(error) if matches!(errno(&error), Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)) => {
            let what = format!("{} is not there", path.display());
            Err(Stop::untestable(lack, what, remedy))
        }
        other => other.setup(&format!("open {}", path.display())),
    }
}

/// `open(2)` of a path with any flags. The owner can read and write a file that is created.
pub fn open_with(path: &Path, flags: libc::c_int) -> Result<File, Stop> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| Stop::broken("a path with a zero"))?;
    let mode: libc::c_uint = 0o600;
    // SAFETY: the path ends with a zero.
    let fd = aside(|| unsafe { libc::open(name.as_ptr(), flags | libc::O_CLOEXEC, mode) });
    made(fd, &format!("open {}", path.display())).map(File::from)
}

/// Takes ownership of a descriptor from the call that made it.
pub(super) fn made(fd: libc::c_int, call: &str) -> Result<OwnedFd, Stop> {
    if fd == -1 {
        return Err(Stop::from_setup(call, sockets::last_errno()));
    }
    // SAFETY: the kernel has just made `fd` for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An empty memfd without seals.
pub fn memfd() -> Result<OwnedFd, Stop> {
    // SAFETY: the name ends with a zero, and the kernel copies it.
    made(unsafe { libc::memfd_create(c"nocopy".as_ptr(), libc::MFD_CLOEXEC) }, "memfd_create")
}

/// Sets the status flags of an open file (`O_APPEND`, `O_DIRECT`), for all its descriptors. Flags that are not named are cleared.
pub fn set_status_flags(file: &File, flags: libc::c_int) -> Result<(), Stop> {
    // SAFETY: F_SETFL takes its flags by value.
    if aside(|| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) }) == -1 {
        return Err(Stop::from_setup("F_SETFL", sockets::last_errno()));
    }
    // SAFETY: F_GETFL takes no pointer.
    match aside(|| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) }) {
        -1 => Err(Stop::from_setup("F_GETFL", sockets::last_errno())),
        there if there & flags == flags => Ok(()),
        there => Err(Stop::broken(format!("the status flags are {there:#o} after F_SETFL"))),
    }
}

/// A file whose memory is visible only to processes that map it (since Linux 5.14, if enabled).
pub fn memfd_secret() -> Result<OwnedFd, Stop> {
    aside(|| {
        // SAFETY: memfd_secret takes flags by value.
        let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, 0) };
        made(fd.try_into().unwrap_or(-1), "memfd_secret")
    })
}

/// An empty memfd with these seals.
pub fn sealed_memfd(seals: libc::c_int) -> Result<OwnedFd, Stop> {
    danger::SEALS.avoid()?;
    aside(|| {
        // SAFETY: the name ends with a zero, and the kernel copies it.
        let fd = unsafe { libc::memfd_create(c"nocopy".as_ptr(), libc::MFD_ALLOW_SEALING) };
        let memfd = made(fd, "memfd_create")?;
        io::seal(&memfd, seals).setup("F_ADD_SEALS")?;
        Ok(memfd)
    })
}
