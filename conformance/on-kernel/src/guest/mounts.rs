//! The file systems of the guest.

use nocopy_host::images;
use std::ffi::CString;
use std::io;
use std::path::Path;

/// Mounts the usual file systems. One that the kernel does not have is left out: claims are then untestable, not broken.
pub fn mount_all() {
    for (kind, at, options) in [
        ("proc", "/proc", ""),
        ("sysfs", "/sys", ""),
        ("devtmpfs", "/dev", ""),
        ("tmpfs", "/tmp", ""),
        ("tmpfs", "/run", ""),
        ("tracefs", "/sys/kernel/tracing", ""),
        ("debugfs", "/sys/kernel/debug", ""),
    ] {
        let _ = mount("none", at, kind, options);
    }
    for (kind, at, options) in [
        ("devpts", "/dev/pts", "ptmxmode=666,mode=620"),
        ("tmpfs", "/dev/shm", ""),
    ] {
        let _ = std::fs::create_dir(at);
        let _ = mount("none", at, kind, options);
    }
    let _ = std::os::unix::fs::symlink("/proc/self/fd", "/dev/fd");
}

fn mount(source: &str, at: &str, kind: &str, options: &str) -> io::Result<()> {
    mount_with(0, source, at, kind, options)
}

fn mount_with(
    flags: libc::c_ulong,
    source: &str,
    at: &str,
    kind: &str,
    options: &str,
) -> io::Result<()> {
    let [source, at, kind, options] =
        [source, at, kind, options].map(|text| CString::new(text).expect("no zero inside"));
    // SAFETY: four strings that end with a zero, read during the call.
    let done = unsafe {
        libc::mount(
            source.as_ptr(),
            at.as_ptr(),
            kind.as_ptr(),
            flags,
            options.as_ptr().cast(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Mounts the disk whose serial number is the file system's name.
pub fn mount_disk(filesystem: &str) -> io::Result<()> {
    let is_it = |controller: &Path| {
        let serial = std::fs::read_to_string(controller.join("serial")).unwrap_or_default();
        serial.trim() == filesystem
    };
    let controllers = std::fs::read_dir("/sys/class/nvme")?;
    let controller = controllers
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|controller| is_it(controller))
        .ok_or_else(|| io::Error::other("there is no such disk"))?;
    let name = controller
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let at = if filesystem == "ext4" {
        "/var/tmp".to_owned()
    } else {
        format!("/mnt/{filesystem}")
    };
    std::fs::create_dir_all(&at)?;
    let flags = match images::find(filesystem) {
        Some(known) if !known.is_writable() => libc::MS_RDONLY,
        _ => 0,
    };
    mount_with(flags, &format!("/dev/{name}n1"), &at, filesystem, "")?;
    open_to_all(&[&at]);
    Ok(())
}

/// Lets every user create files in these directories.
pub fn open_to_all(directories: &[&str]) {
    use std::os::unix::fs::PermissionsExt;
    for directory in directories {
        let _ = std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o1777));
    }
}

/// Moves files to the places that they have without this directory, which a mount had hidden.
pub fn place(later: &Path) -> io::Result<()> {
    if later.is_dir() {
        place_all(later, Path::new("/"))?;
    }
    Ok(())
}

fn place_all(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let at = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&at)?;
            place_all(&entry.path(), &at)?;
        } else {
            std::fs::copy(entry.path(), &at)?; // with its permissions
            std::fs::remove_file(entry.path())?; // it is in memory
        }
    }
    Ok(())
}
