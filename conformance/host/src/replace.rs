//! Files of the user: replaced as a whole, or left unchanged.
//!
//! The new content is written to a file without a name (`O_TMPFILE`) and synced. It gets the name by a rename. A process that is
//! killed at any moment leaves either the old file or the new one: the kernel frees a file that never had a name. Between the two
//! calls that name it, and on a file system without `O_TMPFILE`, it stands beside its target as `.NAME.nocopy-PID`. The next
//! replacement of the same file removes such a file, once its process has ended.

use rustix::fs::{Access, AtFlags, CWD};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// New content for a file. The file keeps its old content until [`commit`](Self::commit).
#[derive(Debug)]
pub struct Replacement {
    /// The file to replace, with symbolic links resolved.
    target: PathBuf,
    beside: PathBuf,
    file: File,
    /// Whether the file already has the name `beside`.
    has_name: bool,
}

impl Replacement {
    /// Begins to replace the file at `path`, or to create it.
    ///
    /// # Errors
    ///
    /// Errors of the system calls: no such directory, no right to write there, no space.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let target = resolved(path)?;
        let directory = directory_of(&target);
        let name = target
            .file_name()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EISDIR))?;
        if target.is_dir() {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        let known = fs::metadata(&target).ok();
        if known.is_some() {
            // As with a write in place: a user that cannot write the file cannot replace it.
            rustix::fs::access(&target, Access::WRITE_OK)?;
        }
        remove_abandoned(directory, name);
        let mut beside = prefix(name);
        beside.push(std::process::id().to_string());
        let beside = directory.join(beside);
        let unnamed = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_TMPFILE)
            .mode(0o666)
            .open(directory);
        let (file, has_name) = match unnamed {
            Ok(file) => (file, false),
            Err(error) if is_unsupported(&error) => {
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(&beside)?;
                (file, true)
            }
            Err(error) => return Err(of_directory(directory, error)),
        };
        if let Some(known) = known {
            // Root keeps the owner. A user that cannot give files away becomes the owner, with the same permissions.
            let _ = std::os::unix::fs::fchown(&file, Some(known.uid()), Some(known.gid()));
            file.set_permissions(fs::Permissions::from_mode(
                known.permissions().mode() & 0o777,
            ))?;
        }
        Ok(Self {
            target,
            beside,
            file,
            has_name,
        })
    }

    /// Syncs the new content to the disk, and gives it the name of the old.
    ///
    /// # Errors
    ///
    /// Errors of the system calls. The old file is then unchanged, and nothing is left beside it.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        if !self.has_name {
            give_name(&self.file, &self.beside)?;
            self.has_name = true;
        }
        fs::rename(&self.beside, &self.target)?;
        self.has_name = false; // it has the target's name now, and stays
        // On some network file systems a directory cannot be synced. The file is there nevertheless.
        let _ = File::open(directory_of(&self.target)).and_then(|directory| directory.sync_all());
        Ok(())
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if self.has_name {
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// Replaces a file with these bytes.
///
/// # Errors
///
/// Those of [`Replacement`].
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = Replacement::begin(path)?;
    new.write_all(bytes)?;
    new.commit()
}

/// Whether the file at `path` can be replaced: it is a regular file, or does not exist. Devices, pipes and sockets are written in
/// place.
pub fn is_replaceable(path: &Path) -> bool {
    let Ok(known) = fs::metadata(path) else {
        return true;
    };
    let kind = known.file_type();
    !(kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket())
}

/// The file that a path leads to; the path itself, if nothing is there yet.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Ok(found) => Ok(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_link(path) {
            // A link to a file that is to be created.
            Ok(to) => Ok(directory_of(path).join(to)),
            Err(_) => Ok(path.to_owned()),
        },
        Err(error) => Err(error),
    }
}

/// Names the directory in a refusal that is about the directory: a writable file can be in a directory that is not writable.
fn of_directory(directory: &Path, error: io::Error) -> io::Error {
    let why = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => {
            "the new content is written beside the file, into"
        }
        _ => return error,
    };
    let what = format!("{error} ({why} {})", directory.display());
    io::Error::new(error.kind(), what)
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The beginning of the names of files beside `name`; the number of a process follows.
fn prefix(name: &OsStr) -> OsString {
    let bytes = [b".", name.as_bytes(), b".nocopy-"].concat();
    OsString::from_vec(bytes)
}

/// Removes the files that a killed process has left beside the file.
fn remove_abandoned(directory: &Path, name: &OsStr) {
    let prefix = prefix(name);
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let found = entry.file_name();
        let number = found
            .as_bytes()
            .strip_prefix(prefix.as_bytes())
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| digits.parse::<libc::pid_t>().ok());
        // SAFETY: kill takes no pointer, and signal 0 asks only whether there is such a process.
        let is_alive = |pid| unsafe { libc::kill(pid, 0) } == 0
            || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH);
        if number.is_some_and(|pid| pid > 0 && !is_alive(pid)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Errors of file systems without unnamed files. A kernel that does not know the flag opens the directory instead.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)
    )
}

/// Links a file that has no name yet.
fn give_name(file: &File, path: &Path) -> io::Result<()> {
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, from, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory").flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_old_content_stays_until_the_new_is_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, "old").expect("written");
        let mut new = Replacement::begin(&path).expect("begun");
        new.write_all(b"half").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"old");
        drop(new);
        assert_eq!(fs::read(&path).expect("read"), b"old");
        assert_eq!(names(directory.path()), ["file"]);
        write(&path, b"new").expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(names(directory.path()), ["file"]);
    }

    #[test]
    fn a_link_stays_a_link_and_its_target_is_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        fs::write(at("target"), "old").expect("written");
        std::os::unix::fs::symlink("target", at("link")).expect("linked");
        write(&at("link"), b"new").expect("replaced");
        assert!(at("link").is_symlink());
        assert_eq!(fs::read(at("target")).expect("read"), b"new");
    }

    #[test]
    fn permissions_are_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        write(&path, b"new").expect("replaced");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_other_files_are_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        // This program, which lists tests and ends: a guest has no other.
        let program = std::env::current_exe().expect("a path");
        let mut command = std::process::Command::new(program);
        let listing = command.arg("--list").stdout(std::process::Stdio::null());
        let mut child = listing.spawn().expect("this program");
        let gone = child.id();
        child.wait().expect("waited for");
        let (ours, alive) = (format!(".file.nocopy-{gone}"), ".file.nocopy-1".to_owned());
        for name in [&ours, &alive, ".file.nocopy-", ".file.nocopy-x", "other"] {
            fs::write(at(name), "left").expect("written");
        }
        write(&at("file"), b"new").expect("replaced");
        assert_eq!(
            names(directory.path()),
            [".file.nocopy-", &alive, ".file.nocopy-x", "file", "other"]
        );
    }

    #[test]
    fn a_directory_is_not_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = Replacement::begin(directory.path()).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(libc::EISDIR));
    }
}
