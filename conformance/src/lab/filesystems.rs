//! Directories and their file systems.

use crate::interpose::record::aside;
use crate::lab::io::{argument, ask};
use crate::lab::sockets::last_errno;
use crate::lab::unnamed::unnamed_file;
use crate::lab::{Lab, netns};
use crate::verdict::{Lack, Setup, Stop};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use syscalls::Sysno;

/// A directory that can be written, and its file system's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub directory: PathBuf,
    /// The file system, as the mount table names it, or its magic number.
    pub filesystem: String,
}

/// Sets the time of a file's last change to one in 2001.
pub fn set_old_time(file: &File) -> Result<(), Stop> {
    let old = libc::timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
    let times = [old, old];
    // SAFETY: futimens reads two times.
    let done = aside(|| unsafe { libc::futimens(file.as_raw_fd(), times.as_ptr()) });
    if done == -1 {
        return Err(Stop::from_setup("futimens", last_errno()));
    }
    Ok(())
}

/// Waits until the clock from which files get their times is past this one.
pub fn wait_past(time: (i64, i64)) {
    // SAFETY: timespec is plain integers, for which zero is valid.
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    while (now.tv_sec, now.tv_nsec) <= time {
        std::thread::sleep(std::time::Duration::from_millis(1));
        // SAFETY: clock_gettime writes one time, during the call.
        unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut now) };
    }
}

/// The answer of `fstat` for a file. Each call overwrites the previous answer, so a kernel that does nothing leaves the previous
/// one.
#[derive(Debug)]
pub struct Status(libc::stat);

impl Default for Status {
    fn default() -> Self {
        // SAFETY: stat is plain integers, for which zero is valid.
        Self(unsafe { std::mem::zeroed() })
    }
}

impl Status {
    /// The time of the file's last change, in seconds and nanoseconds.
    pub fn last_change(&mut self, file: &File) -> Result<(i64, i64), Stop> {
        self.ask(file)?;
        Ok((self.0.st_mtime, self.0.st_mtime_nsec))
    }

    /// `st_mtime` and `st_ctime` of the file, in seconds and nanoseconds.
    pub fn times(&mut self, file: &File) -> Result<[(i64, i64); 2], Stop> {
        self.ask(file)?;
        Ok([(self.0.st_mtime, self.0.st_mtime_nsec), (self.0.st_ctime, self.0.st_ctime_nsec)])
    }

    /// The number of 512-byte blocks that the file takes.
    pub fn blocks(&mut self, file: &File) -> Result<u64, Stop> {
        self.ask(file)?;
        Ok(self.0.st_blocks.cast_unsigned())
    }

    fn ask(&mut self, file: &File) -> Result<(), Stop> {
        let pointer = (&raw mut self.0).expose_provenance();
        // SAFETY: fstat writes one stat, which belongs to this value.
        unsafe { ask(Sysno::fstat, [argument(file), pointer, 0, 0, 0, 0]) }.setup("fstat")?;
        Ok(())
    }
}

/// The space that a run needs in its scratch directory, in bytes.
const SCRATCH_BYTES: usize = 8 << 20;

/// Why a directory cannot be the scratch directory.
#[derive(Debug)]
pub struct NoScratch {
    /// The directory.
    pub directory: PathBuf,
    /// The error of the attempt to write there.
    pub error: io::Error,
}

/// Finds a directory for files. It is the requested one, or the first usable one of `$TMPDIR`, `/tmp`, `/var/tmp` and `/dev/shm`.
/// The directories that were passed over are returned with their errors.
pub fn find_scratch(asked: Option<&Path>) -> (Option<PathBuf>, Vec<NoScratch>) {
    let candidates: Vec<PathBuf> = match asked {
        Some(directory) => vec![directory.to_owned()],
        None => std::env::var_os("TMPDIR")
            .into_iter()
            .map(PathBuf::from)
            .chain(["/tmp", "/var/tmp", "/dev/shm"].map(PathBuf::from))
            .collect(),
    };
    let mut passed_over = Vec::new();
    for directory in candidates {
        match try_scratch(&directory) {
            Ok(()) => return (Some(directory), passed_over),
            Err(error) => passed_over.push(NoScratch { directory, error }),
        }
    }
    (None, passed_over)
}

fn try_scratch(directory: &Path) -> io::Result<()> {
    let mut file = unnamed_file(directory)?;
    file.write_all(&vec![0; SCRATCH_BYTES])
}

/// A directory on each kind of writable file system of this machine, `scratch` first. On a disposable machine this includes the
/// mounts below `/mnt`. On other machines the user's disks are left alone.
pub fn places(scratch: &Path) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    let usual = ["/dev/shm", "/var/tmp", "/run", "/tmp"].map(PathBuf::from);
    let below = |directory: &str| std::fs::read_dir(directory).into_iter().flatten();
    let mounted = netns::is_disposable().then(|| below("/mnt").filter_map(|entry| Some(entry.ok()?.path())));
    for directory in std::iter::once(scratch.to_owned()).chain(usual).chain(mounted.into_iter().flatten()) {
        let Ok(filesystem) = filesystem_of(&directory) else {
            continue;
        };
        if places.iter().all(|place| place.filesystem != filesystem) && try_scratch(&directory).is_ok() {
            places.push(Place { directory, filesystem });
        }
    }
    places
}

/// An empty unnamed file on a file system with one of these names, and the name that was found.
pub fn file_on(lab: &Lab, names: &[&str]) -> Result<(File, String), Stop> {
    let places = places(lab.scratch()?);
    let is_one = |place: &&Place| names.contains(&place.filesystem.as_str());
    let place = places.iter().find(is_one).ok_or_else(|| {
        Stop::untestable(
            Lack::Device,
            format!("no directory on {} can be written", names.join(" or ")),
            "name one with --scratch DIR",
        )
    })?;
    let file = aside(|| unnamed_file(&place.directory)).setup("create a file")?;
    Ok((file, place.filesystem.clone()))
}

/// The name of the file system that `path` is on.
pub fn filesystem_of(path: &Path) -> io::Result<String> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: statfs is plain integers, for which zero is valid.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends with a zero; `found` is a statfs that the kernel fills.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut found) } == -1 {
        return Err(io::Error::last_os_error());
    }
    let magic = found.f_type.cast_unsigned() & 0xffff_ffff;
    let name = MAGIC.iter().find(|(number, _)| *number == magic).map(|(_, name)| (*name).to_owned());
    Ok(name.unwrap_or_else(|| format!("file system {magic:#x}")))
}

/// Magic numbers of `include/uapi/linux/magic.h`, and of file systems that define theirs in their own sources.
const MAGIC: &[(u64, &str)] = &[
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0xf2f5_2010, "f2fs"),
    (0x4d44, "vfat"),
    (0x2011_bab0, "exfat"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x794c_7630, "overlay"),
    (0x7371_7368, "squashfs"),
    (0xe0f5_e1e2, "erofs"),
    (0x9660, "iso9660"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x6969, "nfs"),
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x2fc1_2fc1, "zfs"),
];

/// Whether a file system keeps its files on a disk, so that a read may cause a transfer.
pub fn is_on_disk(filesystem: &str) -> bool {
    matches!(filesystem, "ext4" | "xfs" | "btrfs" | "f2fs" | "vfat" | "exfat" | "overlay")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn an_unnamed_file_has_no_name() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = unnamed_file(directory.path()).expect("a file");
        assert_eq!(file.metadata().expect("fstat").nlink(), 0);
        assert_eq!(std::fs::read_dir(directory.path()).expect("readdir").count(), 0);
    }

    #[test]
    fn proc_is_proc() {
        assert_eq!(filesystem_of("/proc".as_ref()).expect("statfs"), "proc");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_passed_over_with_its_error() {
        let (found, passed_over) = find_scratch(Some("/proc".as_ref()));
        assert_eq!(found, None);
        assert_eq!(passed_over.len(), 1);
    }
}
