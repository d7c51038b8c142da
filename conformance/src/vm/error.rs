//! What can go wrong with kernels and guests, each with what to do.

use std::fmt;
use std::io;
use std::path::Path;

/// A sentence for the user. Exit status 2 for what the user can mend, 1 for what a guest did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Something is missing, named wrongly or cannot be used on the host.
    Host(String),
    /// The distribution does not have it any more.
    Gone(String),
    /// It cannot be run on this machine, for this reason: it is not installed, or what it needs is refused.
    NotRun(String),
    /// The guest was started, and did not do what it should.
    Guest(String),
}

impl Error {
    /// A failure of the host's side.
    pub fn host(message: impl Into<String>) -> Self {
        Self::Host(message.into())
    }

    /// A failure of the guest.
    pub fn guest(message: impl Into<String>) -> Self {
        Self::Guest(message.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(message)
            | Self::Gone(message)
            | Self::NotRun(message)
            | Self::Guest(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

/// Names the file or the step that an error of the host is about.
pub trait Context<T> {
    /// `what` is a clause such as `write target/kernels/6.1/vmlinux`.
    fn context(self, what: impl fmt::Display) -> Result<T, Error>;
    /// The error is about this file.
    fn at(self, path: &Path) -> Result<T, Error>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: impl fmt::Display) -> Result<T, Error> {
        self.map_err(|error| Error::host(format!("cannot {what}: {error}")))
    }

    fn at(self, path: &Path) -> Result<T, Error> {
        self.map_err(|error| Error::host(format!("{}: {error}", path.display())))
    }
}
