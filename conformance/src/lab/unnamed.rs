//! Files without a name.

#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// An unnamed file. It disappears with its last descriptor, however the process ends.
pub fn unnamed_file(directory: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true);
    match options.clone().custom_flags(libc::O_TMPFILE).open(directory) {
        // EISDIR: a kernel older than 3.11, which takes the flag for O_DIRECTORY.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT)) => {
            name_removed(directory, options.create_new(true))
        }
        opened => opened,
    }
}

/// The same where the file system or the kernel needs a name.
fn name_removed(directory: &Path, options: &OpenOptions) -> io::Result<File> {
    loop {
        let path = directory.join(format!(".nocopy-{}-{}", std::process::id(), unique()));
        match options.open(&path) {
            // A process of another PID namespace may have the same number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => {
                let file = opened?;
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
        }
    }
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
