//! Mounts for one experiment. They are not in a mount tree, and end with their last descriptor.

use crate::interpose::record::aside;
use crate::lab::io::{self, argument, ask};
use crate::lab::privilege;
use crate::verdict::{Lack, Setup, Stop};
use nocopy_host::process;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use syscalls::{Errno, Sysno};

/// `MOUNT_ATTR_NOEXEC` of include/uapi/linux/mount.h.
pub const NOEXEC: usize = 8;

/// An empty unnamed file on a new tmpfs with these mount attributes.
///
/// The calling process may be in a new user and mount namespace afterwards.
pub fn empty_file(attributes: usize) -> Result<File, Stop> {
    on_tmpfs(&[], attributes)
}

/// The same, on a tmpfs with room for this many bytes: the option `size`.
pub fn empty_file_within(size: &CStr) -> Result<File, Stop> {
    on_tmpfs(&[(c"size", Some(size))], 0)
}

fn on_tmpfs(options: &[(&CStr, Option<&CStr>)], attributes: usize) -> Result<File, Stop> {
    aside(|| {
        let mount = as_allowed(|| mounted(c"tmpfs", options, attributes))?;
        unnamed_file(&mount).setup("create a file on the new mount")
    })
}

/// Calls `mount`. If this is not permitted, it enters a new user and mount namespace and calls `mount` again, so `mount` has to
/// open and make everything once more there.
pub(super) fn as_allowed<T>(mut mount: impl FnMut() -> Result<T, Errno>) -> Result<T, Stop> {
    let mounted = mount().or_else(|errno| match errno {
        Errno::EPERM => {
            enter_user_namespace()?;
            mount()
        }
        other => Err(other),
    });
    mounted.map_err(|errno| match errno {
        // The kernel lacks the calls.
        Errno::ENOSYS => Stop::from_setup("fsopen", errno),
        Errno::ENODEV => Stop::from_setup("mount a file system that the kernel lacks", errno),
        Errno::EIO => Stop::from_setup("mount a file system", errno),
        _ => Stop::untestable(
            Lack::Privilege,
            format!("no file system can be mounted here: {errno:?}"),
            "run as root, or allow user namespaces: sysctl user.max_user_namespaces=1000",
        ),
    })
}

/// A new mount of a file system with these options: `fsopen`, `fsconfig` and `fsmount`, since Linux 5.2.
pub(super) fn mounted(
    filesystem: &CStr,
    options: &[(&CStr, Option<&CStr>)],
    attributes: usize,
) -> Result<OwnedFd, Errno> {
    // `enum fsconfig_command` of include/uapi/linux/mount.h.
    const SET_FLAG: usize = 0;
    const SET_STRING: usize = 1;
    const CREATE: usize = 6;
    let address = |text: &CStr| text.as_ptr().expose_provenance();
    // SAFETY: fsopen reads a string that ends with a zero, and makes a descriptor.
    let context = unsafe { made(ask(Sysno::fsopen, [address(filesystem), 0, 0, 0, 0, 0]))? };
    let configure = |command, key, value| {
        let arguments = [argument(&context), command, key, value, 0, 0];
        // SAFETY: key and value are strings that end with a zero, or null where the command takes none.
        unsafe { ask(Sysno::fsconfig, arguments) }
    };
    for (key, value) in options {
        match value {
            Some(value) => configure(SET_STRING, address(key), address(value))?,
            None => configure(SET_FLAG, address(key), 0)?,
        };
    }
    configure(CREATE, 0, 0)?;
    // SAFETY: fsmount takes no pointer, and makes a descriptor.
    unsafe { made(ask(Sysno::fsmount, [argument(&context), 0, attributes, 0, 0, 0])) }
}

/// Attaches a mount to the tree at this directory, in a mount namespace that only this process uses. `EIO` if the kernel reports
/// success and the mount is not there.
pub(super) fn attach(mount: &OwnedFd, directory: &str) -> Result<(), Errno> {
    /// `MOVE_MOUNT_F_EMPTY_PATH` of include/uapi/linux/mount.h.
    const EMPTY_PATH: usize = 4;
    process::mounts_of_its_own().map_err(|error| Errno::new(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let directory = CString::new(directory).map_err(|_| Errno::EINVAL)?;
    let [from, to] = [c"", &*directory].map(|path| path.as_ptr().expose_provenance());
    let here = (libc::AT_FDCWD as isize).cast_unsigned();
    // SAFETY: both paths end with a zero.
    unsafe { ask(Sysno::move_mount, [argument(mount), from, here, to, EMPTY_PATH, 0]) }?;
    let there = File::open(OsStr::from_bytes(directory.to_bytes()))
        .map_err(|error| Errno::new(error.raw_os_error().unwrap_or(libc::EIO)))?;
    if io::status(&there)?.st_dev == io::status(mount)?.st_dev { Ok(()) } else { Err(Errno::EIO) }
}

/// An unnamed file on a mount.
pub fn unnamed_file(directory: &OwnedFd) -> Result<File, Errno> {
    const HERE: &CStr = c".";
    let flags = (libc::O_TMPFILE | libc::O_RDWR | libc::O_CLOEXEC).cast_unsigned() as usize;
    let path = HERE.as_ptr().expose_provenance();
    // SAFETY: openat reads a path that ends with a zero, and makes a descriptor.
    unsafe { made(ask(Sysno::openat, [argument(directory), path, flags, 0o600, 0, 0])) }.map(File::from)
}

/// Takes ownership of a descriptor from the call that made it.
///
/// # Safety
///
/// The number must be a descriptor that nothing else owns.
unsafe fn made(number: Result<usize, Errno>) -> Result<OwnedFd, Errno> {
    let raw = libc::c_int::try_from(number?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the caller's promise.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Enters a new user namespace, with the current user, and a new mount namespace.
fn enter_user_namespace() -> Result<(), Errno> {
    let (user, group) = (process::effective_user(), process::effective_group());
    privilege::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
    // A new file needs an owner that is mapped in the namespace.
    for (path, map) in [
        ("/proc/self/uid_map", format!("{user} {user} 1")),
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/gid_map", format!("{group} {group} 1")),
    ] {
        let file = File::options().write(true).open(path);
        let file = file.map_err(|error| Errno::new(error.raw_os_error().unwrap_or(libc::EIO)))?;
        io::write_all(&file, map.as_bytes())?;
    }
    Ok(())
}
