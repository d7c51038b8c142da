//! What goes wrong with an append-only file.

use std::fmt;
use std::io;
use std::path::Path;
use std::path::PathBuf;
/// What goes wrong.
#[derive(Debug)]
pub enum Bad {
    /// This file, and why.
    File(PathBuf, String),
    /// A call.
    Io(PathBuf, io::Error),
    /// A signal has come that ends the program.
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

/// Says which file it was.
pub(super) trait At<T> {
    fn at(self, path: &Path) -> Result<T, Bad>;
}

pub(super) fn bad(path: &Path, why: impl fmt::Display) -> Bad {
    Bad::File(path.to_owned(), why.to_string())
}
