//! Errors of kernels and guests. Each message states what to do.

use std::fmt;
use std::io;
use std::path::Path;

/// A message for the user, who can mend all but errors of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Something on the host is missing, misnamed or unusable.
    Host(String),
    /// The distribution no longer has it.
    Gone(String),
    /// It cannot be run on this machine: it is not installed, or something that it needs is refused.
    NotRun(String),
    /// The guest was started, and failed.
    Guest(String),
}

impl Error {
    /// An error on the host's side.
    pub fn host(message: impl Into<String>) -> Self {
        Self::Host(message.into())
    }

    /// An error of the guest.
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

/// Names the file or the step of an error on the host.
pub trait Context<T> {
    /// `what` is a clause such as `write target/kernels/6.1/vmlinux`.
    fn context(self, what: impl fmt::Display) -> Result<T, Error>;
    /// Names the file of the error.
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
