//! The lab: files, file systems, sockets, descriptors of every kind and namespaces for experiments.
//!
//! If the machine lacks something, the experiment stops as `untestable`. If a step fails that should have worked, it stops as
//! `broken`. The lab leaves no trace: files have no name, sockets have no path, and namespaces end with the process.

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
pub mod refusal;
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

/// The argument of every experiment.
#[derive(Debug, Default)]
pub struct Lab {
    /// The experiment's directory for unnamed files, which must stay empty. `None` if no directory could be written.
    scratch: Option<PathBuf>,
    /// The number of stretches that have been marked for the interposer.
    stretches: Cell<usize>,
}

impl Lab {
    /// A lab whose files are made in `scratch`.
    pub fn new(scratch: Option<PathBuf>) -> Self {
        Self { scratch, stretches: Cell::new(0) }
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

    /// An empty unnamed file in the scratch directory, open for reading and writing.
    pub fn empty_file(&self) -> Result<File, Stop> {
        let scratch = self.scratch()?;
        aside(|| unnamed::unnamed_file(scratch)).setup(&format!("create a file in {}", scratch.display()))
    }

    /// An unnamed file that holds `content` in the page cache, at position 0.
    pub fn file(&self, content: &[u8]) -> Result<File, Stop> {
        let mut file = self.empty_file()?;
        aside(|| {
            file.write_all(content).setup("write the file")?;
            io::seek(&file, 0).setup("lseek")
        })?;
        Ok(file)
    }

    /// A sparse file with [`FAR`] at [`FAR_OFFSET`], which 32 bits cannot address.
    pub fn far_file(&self) -> Result<File, Stop> {
        let mut file = self.empty_file()?;
        aside(|| {
            io::seek(&file, FAR_OFFSET).setup("lseek")?;
            file.write_all(FAR).setup("write at 5 GiB")
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

/// The offset of the content of [`Lab::far_file`].
pub const FAR_OFFSET: u64 = 5 << 30;
/// The content of [`Lab::far_file`].
pub const FAR: &[u8; 4] = b"far!";

/// A pattern that differs at every position of any window that a test could mix up.
pub fn pattern(length: usize) -> Vec<u8> {
    // The bytes do not repeat at any power of two: 251 is the largest prime below 256. The next row is the same row shifted by one.
    // Rows are copied: a division is slow on an emulated processor, and a loop over bytes in a debug build.
    const ROW: usize = 251;
    const TWO_ROWS: [u8; 2 * ROW] = {
        let mut bytes = [0_u8; 2 * ROW];
        let mut at = 1;
        while at < bytes.len() {
            bytes[at] = if at == ROW { 0 } else { bytes[at - 1] + 1 };
            at += 1;
        }
        bytes
    };
    let mut bytes = Vec::with_capacity(length);
    let mut first = 0;
    while bytes.len() < length {
        let count = ROW.min(length - bytes.len());
        bytes.extend_from_slice(&TWO_ROWS[first..first + count]);
        first = (first + 1) % ROW;
    }
    bytes
}

/// Maps the first `length` bytes of a file as the source document does: readable and private.
pub fn map_file(file: &impl AsFd, length: usize) -> Result<Mapping, Errno> {
    Mapping::of_file(length, Prot::READ, MapFlags::PRIVATE, file, 0).map_err(|error| match error {
        MapError::Kernel(errno) => errno,
        // The other checks (an empty or anonymous mapping, seals) are EINVAL in the kernel.
        _ => Errno::EINVAL,
    })
}
