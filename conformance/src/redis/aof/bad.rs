//! Errors of append-only files.

use std::fmt;
use std::io;
use std::path::Path;
use std::path::PathBuf;
/// An error.
#[derive(Debug)]
pub enum Bad {
    /// This file, and the reason.
    File(PathBuf, String),
    /// A call on this file.
    Io(PathBuf, io::Error),
    /// A signal to end the program was received.
    Stopped,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Stopped => f.write_str("stopped by a signal, nothing was changed"),
        }
    }
}

/// Names the file of an error.
pub(super) trait At<T> {
    fn at(self, path: &Path) -> Result<T, Bad>;
}

pub(super) fn bad(path: &Path, why: impl fmt::Display) -> Bad {
    Bad::File(path.to_owned(), why.to_string())
}
