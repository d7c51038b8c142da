//! What experiments are made with: files, file systems, sockets, descriptors of every kind, namespaces.
//!
//! What the machine lacks stops the experiment as `untestable`, what should have worked as `broken`. Nothing here leaves a
//! trace: files have no name, sockets no path, namespaces end with the process.

pub mod alias;
pub mod attributes;
pub mod changed;
pub mod completions;
pub mod copied;
pub mod danger;
pub mod ext4;
pub mod fds;
pub mod filesystems;
pub mod fuse;
pub mod handover;
pub mod images;
pub mod io;
pub mod loops;
pub mod mounts;
pub mod netlink;
pub mod netns;
pub mod nfs;
pub mod open;
pub mod pages;
pub mod privilege;
pub mod redis;
pub mod settings;
pub mod sinks;
pub mod sleeper;
pub mod sockets;
pub mod unnamed;
pub mod usage;
pub mod volumes;
pub mod waiting;
pub mod watch;

use crate::interpose::record::{self, aside};
use crate::verdict::{Lack, Setup, Stop, Value};
use nocopy_mmap::{MapError, MapFlags, Mapping, Prot};
use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use syscalls::Errno;

/// Handed to every experiment.
#[derive(Debug, Default)]
pub struct Lab {
    /// The experiment's directory for unnamed files, in which nothing may be left; none if no directory could be written.
    scratch: Option<PathBuf>,
    /// How many stretches have been marked for the interposer.
    stretches: Cell<usize>,
}

impl Lab {
    /// A lab whose files are made in `scratch`.
    pub fn new(scratch: Option<PathBuf>) -> Self {
        Self {
            scratch,
            stretches: Cell::new(0),
        }
    }

    /// The directory for unnamed files.
    pub fn scratch(&self) -> Result<&PathBuf, Stop> {
        self.scratch.as_ref().ok_or_else(|| {
            Stop::untestable(
                Lack::Resource,
                "no directory with space for files",
                "name a writable one with --scratch DIR",
            )
        })
    }

    /// An empty file without a name, open for reading and writing, in the scratch directory.
    pub fn empty_file(&self) -> Result<File, Stop> {
        let scratch = self.scratch()?;
        aside(|| unnamed::unnamed_file(scratch))
            .setup(&format!("create a file in {}", scratch.display()))
    }

    /// A file without a name that holds `content` in the page cache, at position 0.
    pub fn file(&self, content: &[u8]) -> Result<File, Stop> {
        let mut file = self.empty_file()?;
        aside(|| {
            file.write_all(content).setup("write the file")?;
            io::seek(&file, 0).setup("lseek")
        })?;
        Ok(file)
    }

    /// A sparse file with [`FAR`] at [`FAR_OFFSET`], where 32 bits do not reach.
    pub fn far_file(&self) -> Result<File, Stop> {
        let mut file = self.empty_file()?;
        aside(|| {
            io::seek(&file, FAR_OFFSET).setup("lseek")?;
            file.write_all(FAR).setup("write behind 5 GiB")
        })?;
        Ok(file)
    }

    /// Runs `stretch` with its kernel entries counted by the interposer, if the claim is `traced`.
    pub fn entries<T>(&self, stretch: impl FnOnce() -> T) -> (Value, T) {
        let index = self.stretches.replace(self.stretches.get() + 1);
        record::begin(index);
        let result = stretch();
        record::end(index);
        (Value::Traced(index), result)
    }
}

/// Where the content of [`Lab::far_file`] stands.
pub const FAR_OFFSET: u64 = 5 << 30;
/// The content of [`Lab::far_file`].
pub const FAR: &[u8; 4] = b"far!";

/// The bytes of a pattern that differs at every position of any window that a test would mix up.
pub fn pattern(length: usize) -> Vec<u8> {
    // A byte per position that does not repeat with any power of two: 251 is the largest prime below 256.
    // The next row is the same row one further: no division, which an emulated processor takes long for.
    const ROW: u8 = 251;
    let mut bytes = Vec::with_capacity(length);
    let mut first = 0;
    while bytes.len() < length {
        bytes.extend((first..ROW).chain(0..first).take(length - bytes.len()));
        first = (first + 1) % ROW;
    }
    bytes
}

/// Maps the first `length` bytes of a file as the source document does: for reading, private.
pub fn map_file(file: &impl AsFd, length: usize) -> Result<Mapping, Errno> {
    Mapping::of_file(length, Prot::READ, MapFlags::PRIVATE, file, 0).map_err(|error| match error {
        MapError::Kernel(errno) => errno,
        // What else is checked (an empty or anonymous mapping, seals) is EINVAL to the kernel.
        _ => Errno::EINVAL,
    })
}
