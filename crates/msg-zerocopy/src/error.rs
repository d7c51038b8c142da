//! What goes wrong in a ring.

#![forbid(unsafe_code)]

use crate::control::Malformed;
use crate::tracker::TrackerError;
use core::fmt;
use syscalls::Errno;

/// Why a ring could not go on.
///
/// [`Errno`](Self::Errno), [`WindowFull`](Self::WindowFull) and [`Stalled`](Self::Stalled) pass. The others are permanent: it is
/// not known any more what the kernel still reads, the ring returns the same error from then on, and every buffer of which
/// anything was sent is leaked, finished ones that were not taken back as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// The kernel's own error, or that of the socket. What waits still waits.
    Errno(Errno),
    /// The socket is not TCP.
    NotTcp,
    /// `SO_ZEROCOPY` is on already: its ids may have another user. See [`Ring::over`](crate::Ring::over).
    AlreadyEnabled,
    /// The ring was given no places, or more than 2^27.
    Places,
    /// Eight times as many sends are in flight as there are places; nothing was sent. Wait for completions.
    WindowFull,
    /// Nothing was sent and nothing completed for as long as the caller would wait. A send completes when the peer has acknowledged its
    /// last byte, so a peer that takes 2 KiB a second needs 500 s for a send of 1 MiB.
    Stalled,
    /// A completion does not fit the sends: something else uses the ids.
    Mixed(TrackerError),
    /// Control messages that cannot be read.
    Malformed(Malformed),
    /// The control messages did not fit: completions may be lost.
    Truncated,
    /// The socket answered from elsewhere than the error queue.
    NotErrorQueue,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => errno.fmt(f),
            Self::NotTcp => f.write_str("the socket is not TCP"),
            Self::AlreadyEnabled => f.write_str("SO_ZEROCOPY is on already"),
            Self::Places => f.write_str("a ring needs 1 to 2^27 places"),
            Self::WindowFull => f.write_str("too many sends in flight"),
            Self::Stalled => f.write_str("nothing was sent or completed within the limit"),
            Self::Mixed(_) => f.write_str("something else sends with MSG_ZEROCOPY on this socket"),
            Self::Malformed(_) => f.write_str("an entry of the error queue cannot be read"),
            Self::Truncated => f.write_str("completions may be lost: control messages cut off"),
            Self::NotErrorQueue => f.write_str("the answer is not from the error queue"),
        }
    }
}

impl core::error::Error for RingError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Mixed(error) => Some(error),
            Self::Malformed(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Errno> for RingError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

#[cfg(feature = "std")]
impl From<RingError> for std::io::Error {
    fn from(error: RingError) -> Self {
        use std::io::{Error, ErrorKind};
        match error {
            RingError::Errno(errno) => Error::from_raw_os_error(errno.into_raw()),
            RingError::Stalled => Error::new(ErrorKind::TimedOut, error),
            RingError::NotTcp | RingError::AlreadyEnabled | RingError::Places => {
                Error::new(ErrorKind::InvalidInput, error)
            }
            _ => Error::other(error),
        }
    }
}

/// What was not taken, and why: a socket of which no ring was made, or a ring that is not idle.
pub struct Refused<T> {
    /// Why.
    pub error: RingError,
    /// What was given, untouched.
    pub given: T,
}

/// Without what was given, which may hold the bytes to be sent.
impl<T> fmt::Debug for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> core::error::Error for Refused<T> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        core::error::Error::source(&self.error)
    }
}

impl<T> From<Refused<T>> for RingError {
    fn from(refused: Refused<T>) -> Self {
        refused.error
    }
}

#[cfg(feature = "std")]
impl<T> From<Refused<T>> for std::io::Error {
    fn from(refused: Refused<T>) -> Self {
        refused.error.into()
    }
}

/// A buffer for which the ring has no place: take finished ones out, or wait for completions.
pub struct Full<B>(pub B);

/// Without the buffer.
impl<B> fmt::Debug for Full<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full(..)")
    }
}

impl<B> fmt::Display for Full<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ring has no free place")
    }
}

impl<B> core::error::Error for Full<B> {}
