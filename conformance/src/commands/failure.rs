//! Why the program ends early.

use std::io;

/// Why the program ends early.
pub enum Failure {
    /// A sentence for the user; exit status 2.
    Usage(String),
    /// Why nothing is green, in a sentence; exit status 1.
    Red(String),
    /// Why the one claim is undecided, in a sentence; exit status 125, for which `git bisect run` skips a commit.
    Undecided(String),
    /// The exit status of a program that ran in a guest.
    #[cfg(feature = "vm")]
    Status(i32),
    /// The reader of our output is gone: there is nothing to report.
    NobodyReads,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::NobodyReads } else { Self::Usage(error.to_string()) }
    }
}
