//! A copy of one file: `cargo run --example copy_file -- SOURCE TARGET`.
//!
//! What a copy has to get right, and where it is below:
//! - the file system shares blocks if it can, then the kernel copies, and the rest is read and written: after the errnos of
//!   `Fallback`, and no other (`copy_bytes`);
//! - no byte is copied twice, and none is left out, when the call changes in the middle: one offset for all of them (`copy_bytes`);
//! - 0 is not always the end: files of `/proc` give 0 to `copy_file_range` and bytes to `read` (`read_and_write`);
//! - a source that shrinks is an error, not a shorter copy; of one that grows the copy has the size that was there at first, so
//!   that a log that is written all the time has an end. One of size 0 is read to its end, as files of `/proc` are (`copy_bytes`);
//! - opening a FIFO would wait for its writer, without a time limit: `O_NONBLOCK` does not (`open`);
//! - the target is the old one or the new one at every moment, also after SIGKILL: the copy is made beside it, synced and renamed
//!   (`copy_file`). After a kill its part remains, as `.NAME.PID.N.part`;
//! - a target that is a directory, a FIFO or a device is not replaced; a symbolic link stays, and its file is replaced (`replaced`).
//!
//! What it does not do: owner, times, ACLs and extended attributes are those of a new file, and other hard links of the target keep
//! the old content. A hole of the source becomes zeros that take space, unless blocks are shared. To keep holes, ask `lseek` for
//! `SEEK_DATA` and `SEEK_HOLE`, and copy the ranges of data.

use nocopy_copy_file_range::{
    CopyFileRangeFlags, Errno, Fallback, MAX_COUNT, copy_file_range, ficlone,
};
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{env, process};

/// The most bytes of one call, so that a signal handler does not wait for a whole file.
pub(crate) const PIECE: usize = 16 << 20;
const _: () = assert!(PIECE <= MAX_COUNT);

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Bytes whose blocks are shared.
    pub(crate) shared: u64,
    /// Bytes that the kernel has copied.
    pub(crate) in_kernel: u64,
    /// Bytes that were read and written.
    pub(crate) by_hand: u64,
    /// The source was written meanwhile: the copy may be of no single moment.
    pub(crate) changed: bool,
}

fn main() {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let (Some(source), Some(target), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: copy_file SOURCE TARGET");
        process::exit(2);
    };
    match copy_file(&source, &target) {
        Ok(copied) => {
            let Copied {
                shared,
                in_kernel,
                by_hand,
                ..
            } = copied;
            // The copy is made, whether or not somebody hears of it.
            let _ = writeln!(
                io::stdout(),
                "{shared} bytes shared, {in_kernel} copied, {by_hand} read and written"
            );
            if copied.changed {
                eprintln!("copy_file: {} was changed meanwhile", source.display());
            }
        }
        Err(error) => {
            let (source, target) = (source.display(), target.display());
            eprintln!("copy_file: {source} to {target}: {error}");
            process::exit(if error.is_of_input { 2 } else { 1 });
        }
    }
}

/// Why there is no copy.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: io::Error,
    /// Whether the source or the target is not what can be copied.
    is_of_input: bool,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self {
            error,
            is_of_input: false,
        }
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(formatter)
    }
}

/// Makes `target` a copy of `source`, or leaves it as it is.
pub(crate) fn copy_file(source: &Path, target: &Path) -> Result<Copied, Failed> {
    let (input, before, part, target) = prepare(source, target).map_err(|error| Failed {
        error,
        is_of_input: true,
    })?;
    let copied = copy_bytes(&input, &before, &part.file)?;
    part.replace(&target)?;
    Ok(copied)
}

/// Opens the source, and an empty file beside the target.
fn prepare(source: &Path, target: &Path) -> io::Result<(File, Metadata, Part, PathBuf)> {
    let input = open(source)?;
    let before = input.metadata()?;
    let (target, old) = replaced(target)?;
    if old
        .as_ref()
        .is_some_and(|old| (old.dev(), old.ino()) == (before.dev(), before.ino()))
    {
        return Err(io::Error::other("source and target are the same file"));
    }
    // A new target has the mode of the source, without the bits of the umask. A replaced one has the mode that it had, and the part has
    // it from the start: whoever could not read the old target cannot open the part.
    let mode = old.as_ref().unwrap_or(&before).mode() & 0o777;
    let part = Part::beside(&target, mode)?;
    if old.is_some() {
        part.file
            .set_permissions(fs::Permissions::from_mode(mode))?;
    }
    Ok((input, before, part, target))
}

/// Copies into an empty file what is in `input`, whose metadata were `before`.
pub(crate) fn copy_bytes(input: &File, before: &Metadata, output: &File) -> io::Result<Copied> {
    let mut copied = Copied::default();
    loop {
        match ficlone(output, input) {
            Ok(()) => {
                copied.shared = output.metadata()?.len();
                return Ok(copied);
            }
            Err(errno) => match Fallback::after_ficlone(errno) {
                Fallback::Again => {}
                Fallback::ByOtherMeans => break,
                _ => return Err(errno.into()),
            },
        }
    }
    // A part may be shared, and the source may be shorter by now.
    output.set_len(0)?;

    // Files of /proc have a size of 0, and end where reading ends.
    let size = before.len();
    let until = if size == 0 { u64::MAX } else { size };
    let mut at = copy_in_kernel(input, output, until)?;
    copied.in_kernel = at;
    copied.by_hand = read_and_write(input, output, at, until)?;
    at += copied.by_hand;

    let after = input.metadata()?;
    let written = |metadata: &Metadata| {
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        (metadata.len(), seconds, nanoseconds)
    };
    copied.changed = written(&after) != written(before);
    // A file of /sys is shorter than its size, although it was not written.
    if at < size && copied.changed {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("the source shrank: {at} of {size} bytes are left"),
        ));
    }
    Ok(copied)
}

/// Copies by `copy_file_range` until the end, or until it refuses. Returns the offset that it has reached.
fn copy_in_kernel(input: &File, output: &File, until: u64) -> Result<u64, Errno> {
    let (mut from, mut to) = (0, 0);
    while from < until {
        let piece = usize::try_from(until - from).map_or(PIECE, |left| left.min(PIECE));
        let flags = CopyFileRangeFlags::empty();
        match copy_file_range(input, Some(&mut from), output, Some(&mut to), piece, flags) {
            Ok(0) => break,
            Ok(_) => {}
            Err(errno) => match Fallback::after_copy_file_range(errno) {
                Fallback::Again => {}
                Fallback::ByOtherMeans => break,
                // `ByAppending` as well: the part beside the target has no O_APPEND.
                _ => return Err(errno),
            },
        }
    }
    Ok(to)
}

/// Copies the rest, from the same offset in both files. Returns the number of bytes.
fn read_and_write(input: &File, output: &File, begin: u64, until: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 128 << 10];
    let mut at = begin;
    while at < until {
        let most = usize::try_from(until - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        match input.read_at(&mut buffer[..most], at) {
            Ok(0) => break,
            Ok(count) => {
                output.write_all_at(&buffer[..count], at)?;
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at - begin)
}

/// Opens a regular file, and waits for nothing.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    regular(&file.metadata()?, "the source")?;
    Ok(file)
}

fn regular(metadata: &Metadata, which: &str) -> io::Result<()> {
    let kind = metadata.file_type();
    let is = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(io::Error::other(format!(
        "{which} is {is}, not a regular file"
    )))
}

/// The name of the target without symbolic links, and the file that it names now.
fn replaced(target: &Path) -> io::Result<(PathBuf, Option<Metadata>)> {
    match fs::canonicalize(target) {
        Ok(path) => {
            let old = fs::metadata(&path)?;
            regular(&old, "the target")?;
            Ok((path, Some(old)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::symlink_metadata(target).is_ok() {
                return Err(io::Error::other("the target is a link to nothing"));
            }
            Ok((target.to_owned(), None))
        }
        Err(error) => Err(error),
    }
}

/// The copy while it is made. It is removed if it does not take the target's place.
struct Part {
    path: PathBuf,
    file: File,
    is_in_place: bool,
}

impl Part {
    /// A new file in the target's directory, since only a file of the same file system can be renamed to it.
    fn beside(target: &Path, mode: u32) -> io::Result<Self> {
        let name = target
            .file_name()
            .ok_or_else(|| io::Error::other("the target has no name"))?;
        for number in 0_u32.. {
            let mut own = std::ffi::OsString::from(".");
            own.push(name);
            own.push(format!(".{}.{number}.part", process::id()));
            let path = target.with_file_name(own);
            let mut options = File::options();
            // Never a file of another program: this fails if one is there.
            match options.write(true).create_new(true).mode(mode).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => {
                    let is_in_place = false;
                    return opened.map(|file| Self {
                        path,
                        file,
                        is_in_place,
                    });
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Gives the copy the target's name, when its bytes are on the disk. At the end the name is, too.
    fn replace(mut self, target: &Path) -> io::Result<()> {
        let directory = target.parent().filter(|path| *path != Path::new(""));
        let directory = File::open(directory.unwrap_or(Path::new(".")))?;
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        self.is_in_place = true;
        directory.sync_all()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_in_place {
            let _ = fs::remove_file(&self.path);
        }
    }
}
