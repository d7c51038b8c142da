//! Why a copy did not end well.

#![forbid(unsafe_code)]

use crate::outcome::{Ended, Outcome, name};
use std::fmt;
use std::io;
use syscalls::{Errno, Sysno};

/// Why a copy did not begin, or stopped before its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A call before the first byte failed.
    Call(Sysno, Errno),
    /// The sink has messages, and no size was named for them: `Request::messages`.
    NeedsMessageSize,
    /// The source has messages: how long they are is not known, and a read that is too short loses bytes.
    SourceHasMessages,
    /// It stopped in the middle.
    Stopped(Box<Stopped>),
}

/// A copy that stopped in the middle.
#[derive(Debug)]
pub struct Stopped {
    /// What became of the bytes: what the sink took, how it ended.
    pub outcome: Outcome,
    /// The bytes that had left the source after those, in their order: of a stream, nobody else has them.
    pub held: Vec<u8>,
}

impl Error {
    /// The errno of a runtime that waits.
    #[cfg(feature = "tokio")]
    pub(crate) fn errno_of(error: &io::Error) -> Errno {
        let unsupported = error.kind() == io::ErrorKind::Unsupported;
        let other = if unsupported {
            libc::EOPNOTSUPP
        } else {
            libc::EIO
        };
        Errno::new(error.raw_os_error().unwrap_or(other))
    }

    /// The errno of the call that failed, if one did.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call(_, errno) => Some(*errno),
            Self::NeedsMessageSize | Self::SourceHasMessages => None,
            Self::Stopped(stopped) => match stopped.outcome.ended {
                Ended::Failed(_, errno) => Some(errno),
                Ended::Overlaps => Some(Errno::EINVAL),
                _ => None,
            },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(call, errno) => write!(f, "{call}: {}", name(*errno)),
            Self::NeedsMessageSize => f.write_str("the sink has messages: name their size"),
            Self::SourceHasMessages => {
                f.write_str("the source has messages: receive them one by one")
            }
            Self::Stopped(stopped) => write!(f, "{}", stopped.outcome),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::NeedsMessageSize | Error::SourceHasMessages => io::ErrorKind::InvalidInput,
            _ => error.errno().map_or(io::ErrorKind::Other, |errno| {
                Self::from_raw_os_error(errno.into_raw()).kind()
            }),
        };
        Self::new(kind, error)
    }
}
