//! What most files of claims use: `use crate::claims::prelude::*`.

pub use super::tools::*;
pub use crate::claim::source::{
    MEASURED, Source, commit, doc, gvisor, kernel, liburing, ltp, man, program, seed, selftest, thread,
};
pub use crate::claim::{Claim, Exception, Resource, claim, gate};
pub use crate::interpose::lie::{Field, Lie, What};
pub use crate::interpose::record::aside;
pub use crate::lab::alias::{self, Sharing};
pub use crate::lab::io::{self, NO_FD, argument, ask};
pub use crate::lab::pages::page;
pub use crate::lab::sleeper::{Caller, returned};
pub use crate::lab::{Lab, pattern, privilege, sockets};
pub use crate::verdict::{Lack, Noted, Observation, Setup, Stop, Value};
pub use nocopy_splice::{Pipe, SpliceFlags};
pub use std::fs::File;
pub use std::os::fd::{AsFd, OwnedFd};
pub use std::sync::Arc;
pub use syscalls::{Errno, Sysno};

/// The errnos by their own names.
macro_rules! errnos {
    ($($name:ident)*) => { $(#[doc = concat!("`", stringify!($name), "`.")] pub const $name: Errno = Errno::$name;)* };
}
errnos!(EACCES EAGAIN EBADF EBUSY EDEADLK EDESTADDRREQ EEXIST EFAULT EFBIG EHOSTUNREACH EINTR EINVAL EIO EISDIR EMFILE);
errnos!(EMSGSIZE ENOBUFS ENODEV ENOENT ENOLINK ENOMEM ENOSPC ENOSYS ENOTCONN ENXIO EOPNOTSUPP EOVERFLOW EPERM);
errnos!(EPIPE EROFS ESPIPE ETIMEDOUT ETXTBSY EXDEV);
