//! The sinks of transfers, with the receiver's end.

use crate::interpose::record::aside;
use crate::lab::{Lab, io, sockets};
use crate::verdict::{Setup, Stop};
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Kinds of sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP over loopback.
    Tcp,
    /// An `AF_UNIX` stream socket.
    Unix,
    /// A pipe of 64 KiB.
    Pipe,
    /// A regular file.
    File,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP socket",
            Self::Unix => "AF_UNIX socket",
            Self::Pipe => "pipe",
            Self::File => "file",
        })
    }
}

/// A sink of some kind. A program sends into it by writing to its descriptor ([`AsFd`]).
#[derive(Debug)]
pub struct Sink {
    near: OwnedFd,
    far: Far,
}

#[derive(Debug)]
enum Far {
    Stream(OwnedFd),
    /// The file itself. The written bytes are read at their offset.
    File(File),
}

impl Sink {
    /// Opens a new, empty sink.
    pub fn open(lab: &Lab, kind: Kind) -> Result<Self, Stop> {
        aside(|| Self::make(lab, kind))
    }

    fn make(lab: &Lab, kind: Kind) -> Result<Self, Stop> {
        let (near, far): (OwnedFd, OwnedFd) = match kind {
            Kind::Tcp => sockets::tcp().map(|(near, far)| (near.into(), far.into()))?,
            Kind::Unix => UnixStream::pair().map(|(near, far)| (near.into(), far.into())).setup("socketpair")?,
            Kind::Pipe => std::io::pipe().map(|(read, write)| (write.into(), read.into())).setup("pipe")?,
            Kind::File => {
                let file = lab.empty_file()?;
                let near = file.try_clone().setup("dup")?;
                return Ok(Self { near: near.into(), far: Far::File(file) });
            }
        };
        Ok(Self { near, far: Far::Stream(far) })
    }

    /// Waits until `count` bytes are at the receiver's end, unread.
    pub fn settle(&self, count: usize) -> Result<(), Stop> {
        match &self.far {
            Far::Stream(far) => sockets::wait_for_arrival(far, count),
            Far::File(_) => Ok(()),
        }
    }

    /// Reads exactly `count` bytes at the receiver's end: everything that was sent. For a file it reads from the beginning.
    pub fn take(&self, count: usize) -> Result<Vec<u8>, Stop> {
        let mut bytes = vec![0; count];
        let read = match &self.far {
            Far::Stream(far) => io::read_full(far, &mut bytes),
            Far::File(file) => io::pread_full(file, &mut bytes, 0),
        };
        let read = read.setup("read at the receiver")?;
        if read != count {
            return Err(Stop::broken(format!("the receiver got {read} bytes of {count}")));
        }
        let more = aside(|| match &self.far {
            Far::Stream(far) => sockets::readable(far).map(|more| more > 0),
            Far::File(file) => {
                let metadata = file.metadata().setup("fstat")?;
                Ok(metadata.len() > count as u64)
            }
        })?;
        if more {
            return Err(Stop::broken(format!("the receiver got more than {count} bytes")));
        }
        Ok(bytes)
    }

    /// Both ends, so that another thread can read the receiver's end of a stream. A file has no second end.
    pub fn into_ends(self) -> (OwnedFd, Option<OwnedFd>) {
        match self.far {
            Far::Stream(far) => (self.near, Some(far)),
            Far::File(_) => (self.near, None),
        }
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.near.as_fd()
    }
}
