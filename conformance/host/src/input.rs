//! Files that a user names as input: they are opened without waiting for another process.

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, fstatfs};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// `PIPEFS_MAGIC` of the kernel's linux/magic.h: the file system of pipes without a name.
const PIPEFS: i64 = 0x5049_5045;

/// Opens a regular file, or a pipe that a shell has put in its place (`<(command)`). Other files are refused: opening a named pipe,
/// or reading from a device, may never end.
///
/// # Errors
///
/// Errors of the system calls, and any other kind of file.
pub fn open(path: &Path) -> io::Result<File> {
    let file = open_at_once(path)?;
    let kind = file.metadata()?.file_type();
    let is_of_a_shell = || fstatfs(&file).is_ok_and(|system| system.f_type == PIPEFS);
    if kind.is_file() || kind.is_fifo() && is_of_a_shell() {
        wait_again(&file)?;
        return Ok(file);
    }
    let what = if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_dir() {
        "a directory"
    } else {
        "a device or socket"
    };
    Err(io::Error::other(format!(
        "it is {what}, and must be a regular file"
    )))
}

/// Opens a regular file for reading. Does not wait for the other end of a FIFO. Any other kind of file is refused.
///
/// # Errors
///
/// Errors of the system calls, and any other kind of file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    is_regular(open_at_once(path)?)
}

/// Returns the file, if it is a regular one.
pub fn is_regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        let why = "not a regular file";
        Err(io::Error::new(io::ErrorKind::InvalidInput, why))
    }
}

/// Opens any kind of file, without waiting for the other end of a FIFO.
fn open_at_once(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Clears `O_NONBLOCK`, so that calls on the file wait again.
///
/// # Errors
///
/// Errors of the system calls.
pub fn wait_again(file: &File) -> io::Result<()> {
    let flags = fcntl_getfl(file)?;
    Ok(fcntl_setfl(file, flags - OFlags::NONBLOCK)?)
}

/// The first of `inputs` that is the same file as `output`, by any name. Such an output would be read as input, or overwrite it.
pub fn same_file<'path>(
    output: &Path,
    inputs: impl IntoIterator<Item = &'path PathBuf>,
) -> Option<&'path PathBuf> {
    let identity = |path: &Path| {
        let known = std::fs::metadata(path).ok()?;
        Some((known.dev(), known.ino()))
    };
    let output = identity(output)?;
    inputs
        .into_iter()
        .find(|path| identity(path) == Some(output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, pipe};
    use std::os::fd::AsRawFd;

    #[test]
    fn what_could_be_waited_for_is_refused_and_a_shells_pipe_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("fifo");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            mode | rustix::fs::Mode::WUSR,
            0,
        )
        .expect("a named pipe");
        for (path, what) in [
            (fifo.as_path(), "a named pipe"),
            (Path::new("/dev/zero"), "a device or socket"),
            (directory.path(), "a directory"),
        ] {
            let error = open(path).expect_err("refused").to_string();
            assert!(error.contains(what), "{error}");
        }
        let (reader, writer) = pipe().expect("a pipe");
        let shell = format!("/proc/self/fd/{}", reader.as_raw_fd());
        let mut opened = open(Path::new(&shell)).expect("a pipe of a shell");
        let sender = std::thread::spawn(move || {
            use std::io::Write;
            std::thread::yield_now();
            let mut writer = writer;
            writer.write_all(b"whole").expect("written");
        });
        let mut text = String::new();
        opened.read_to_string(&mut text).expect("waited for");
        assert_eq!(text, "whole");
        sender.join().expect("no panic");
    }

    #[test]
    fn a_file_is_known_by_another_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "text").expect("written");
        std::fs::hard_link(at("file"), at("hard")).expect("linked");
        std::os::unix::fs::symlink("file", at("soft")).expect("linked");
        let inputs = [at("none"), at("file")];
        for name in ["file", "hard", "soft"] {
            assert_eq!(same_file(&at(name), &inputs), Some(&inputs[1]));
        }
        assert_eq!(same_file(&at("none"), &inputs), None);
    }
}
