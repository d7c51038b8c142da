//! What an owned mapping can fail with: the kernel's errors, and four that are ours.

#![forbid(unsafe_code)]

use core::fmt;

use syscalls::Errno;

use crate::flags::{Advice, MapFlags, Prot, Seals};

/// Why there is no mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// The kernel said no.
    Kernel(Errno),
    /// A safe mapping cannot have these flags.
    Flags(MapFlags),
    /// A mapping that can be read has [`Prot::READ`].
    Prot(Prot),
    /// Not for memory that is used at the same time.
    Advice(Advice),
    /// The file lacks these seals.
    NotSealed(Seals),
}

impl From<Errno> for MapError {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(errno) => errno.fmt(formatter),
            Self::Flags(flags) => write!(formatter, "not for a safe mapping: {flags:?}"),
            Self::Prot(prot) => write!(formatter, "not readable: {prot:?}"),
            Self::Advice(advice) => write!(formatter, "not for a safe mapping: {advice:?}"),
            Self::NotSealed(seals) => write!(formatter, "the file is not sealed: {seals:?}"),
        }
    }
}

impl core::error::Error for MapError {}

#[cfg(feature = "std")]
impl From<MapError> for std::io::Error {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Kernel(errno) => errno.into(),
            other => Self::new(std::io::ErrorKind::InvalidInput, other),
        }
    }
}
