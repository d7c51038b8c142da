//! Observes a file that was given away by reference and changed before it was read.
//!
//! The changes are data, so that the grid of file systems and the claims make the same experiment and report it in the same
//! words.

#![forbid(unsafe_code)]

use super::alias::{LENGTH, OLD};
use super::{io, sockets};
use crate::interpose::record::aside;
use crate::verdict::{Setup, Stop, Value};
use nocopy_sendfile::sendfile;
use nocopy_splice::{SpliceFlags, splice};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use syscalls::Errno;

/// A change of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is truncated to this length.
    Truncated(u64),
    /// A hole is punched: this many bytes from this offset.
    Punched(u64, u64),
}

impl Change {
    /// Whether it removes whole pages only.
    pub fn is_of_whole_pages(&self) -> bool {
        match self {
            Self::Truncated(length) => length % 4096 == 0,
            Self::Punched(at, length) => at % 4096 == 0 && length % 4096 == 0,
        }
    }

    /// What arrives if the change clears a part of a page in place, and leaves the whole pages that were given.
    pub fn clears_parts(&self) -> String {
        match self {
            _ if self.is_of_whole_pages() => AS_GIVEN.to_owned(),
            Self::Truncated(length) => format!("zeros {length}-{}", length.next_multiple_of(4096) - 1),
            Self::Punched(at, length) => format!("zeros {at}-{}", at + length - 1),
        }
    }
}

/// Every change, with its name. A new line here adds a column to the grid.
pub const CHANGES: &[(&str, Change)] = &[
    ("truncated to 0", Change::Truncated(0)),
    ("truncated to 100", Change::Truncated(100)),
    ("truncated to 4096", Change::Truncated(4096)),
    ("truncated to 4196", Change::Truncated(4196)),
    ("truncated to 8192", Change::Truncated(8192)),
    ("second page punched", Change::Punched(4096, 4096)),
    ("half a page punched", Change::Punched(4096, 2048)),
];

/// The changes that make the file shorter.
pub fn truncations() -> impl Iterator<Item = &'static (&'static str, Change)> {
    let changes = CHANGES.iter();
    changes.filter(|(_, change)| matches!(change, Change::Truncated(_)))
}

/// The call and the sink by which the file's pages are given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// `sendfile` to a TCP socket.
    Tcp,
    /// `sendfile` to an `AF_UNIX` socket.
    Unix,
    /// `splice` into a pipe.
    Pipe,
}

impl Carrier {
    /// Every carrier, in the order of the grid.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Unix, Self::Pipe];

    /// The name of the carrier.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Unix => "AF_UNIX",
            Self::Pipe => "pipe",
        }
    }

    /// The name of a column or a fact: `TCP, truncated to 100`.
    pub fn with(self, change: &str) -> String {
        format!("{}, {change}", self.name())
    }

    /// Gives away the whole file, and returns the other end after all bytes have arrived there.
    fn give(self, file: &File) -> Result<(Result<usize, Errno>, OwnedFd), Stop> {
        let mut offset = 0;
        let (near, far): (OwnedFd, OwnedFd) = match self {
            Self::Tcp => {
                let (near, far) = sockets::tcp()?;
                (near.into(), far.into())
            }
            Self::Unix => {
                let (near, far) = aside(UnixStream::pair).setup("socketpair")?;
                (near.into(), far.into())
            }
            Self::Pipe => {
                let (reader, writer) = aside(std::io::pipe).setup("pipe")?;
                (writer.into(), reader.into())
            }
        };
        let given = io::until_done(LENGTH, |done| match self {
            Self::Tcp | Self::Unix => sendfile(&near, file, Some(&mut offset), LENGTH - done),
            Self::Pipe => splice(file, Some(&mut offset), &near, None, LENGTH - done, SpliceFlags::empty()),
        });
        // The other carriers have delivered the bytes when the call returns.
        if given == Ok(LENGTH) && self == Self::Tcp {
            aside(|| sockets::wait_for_arrival(&far, LENGTH))?;
        }
        Ok((given, far))
    }
}

/// Gives away a file of [`LENGTH`] bytes [`OLD`], changes it, and reads the bytes that were given.
///
/// A refused change is returned with the call and its errno. The errno is also `EIO` if the change cannot be read back.
pub fn observe(file: &File, carrier: Carrier, change: Change) -> Result<Result<Value, (&'static str, Errno)>, Stop> {
    let (given, far) = carrier.give(file)?;
    match given {
        Ok(LENGTH) => {}
        Ok(count) => return Ok(Ok(Value::Text(format!("{count} given")))),
        Err(errno) => return Ok(Ok(Value::Errno(errno.into_raw()))),
    }
    let done = aside(|| match change {
        Change::Truncated(length) => io::truncate(file, length).map_err(|errno| ("ftruncate", errno)),
        Change::Punched(at, length) => io::punch(file, at, length).map_err(|errno| ("fallocate", errno)),
    });
    if let Err(refused) = done {
        return Ok(Err(refused));
    }
    let mut bytes = vec![1; LENGTH];
    let count = io::read_full(&far, &mut bytes).setup("read what was given")?;
    Ok(Ok(Value::Text(words(&bytes[..count]))))
}

/// Describes the bytes: `as given`, or the ranges that are zeros.
pub fn words(bytes: &[u8]) -> String {
    if bytes.len() != LENGTH {
        return format!("{} bytes", bytes.len());
    }
    if bytes.iter().any(|byte| *byte != OLD && *byte != 0) {
        return "other bytes".to_owned();
    }
    let mut zeros: Vec<(usize, usize)> = Vec::new();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == 0) {
        match zeros.last_mut() {
            Some((_, last)) if *last + 1 == at => *last = at,
            _ => zeros.push((at, at)),
        }
    }
    if zeros.is_empty() {
        return AS_GIVEN.to_owned();
    }
    let zeros = zeros.iter().map(
        |(first, last)| {
            if last + 1 == LENGTH { format!("from {first}") } else { format!("{first}-{last}") }
        },
    );
    format!("zeros {}", zeros.collect::<Vec<_>>().join(", "))
}

/// The word for bytes that have not changed.
pub const AS_GIVEN: &str = "as given";

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[], "as given")]
    #[case(&[(0, LENGTH)], "zeros from 0")]
    #[case(&[(100, 4096)], "zeros 100-4095")]
    #[case(&[(4096, 8192), (12_288, LENGTH)], "zeros 4096-8191, from 12288")]
    fn zeros_are_named_by_their_places(#[case] zeros: &[(usize, usize)], #[case] expected: &str) {
        let mut bytes = vec![OLD; LENGTH];
        for (from, to) in zeros {
            bytes[*from..*to].fill(0);
        }
        assert_eq!(words(&bytes), expected);
    }

    #[test]
    fn what_is_missing_or_of_others_is_said() {
        assert_eq!(words(&[OLD; 10]), "10 bytes");
        let mut bytes = vec![OLD; LENGTH];
        bytes[7] = b'?';
        assert_eq!(words(&bytes), "other bytes");
    }

    #[test]
    fn whole_pages_are_those_without_a_part() {
        let whole = CHANGES.iter().filter(|(_, change)| change.is_of_whole_pages());
        let names: Vec<&str> = whole.map(|(name, _)| *name).collect();
        assert_eq!(names, ["truncated to 0", "truncated to 4096", "truncated to 8192", "second page punched"]);
    }
}
