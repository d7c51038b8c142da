//! What most files of claims use: `use crate::claims::prelude::*`.

#![allow(unused_imports, dead_code, reason = "no interface uses all of it")]

pub(super) use super::tools::*;
pub(super) use crate::claim::source::{
    MEASURED, Source, commit, doc, gvisor, kernel, liburing, ltp, man, program, seed, selftest, thread,
};
pub(super) use crate::claim::{Claim, Exception, Resource, claim, gate};
pub(super) use crate::interpose::lie::{Field, Lie, What};
pub(super) use crate::interpose::record::aside;
pub(super) use crate::lab::alias::{self, Sharing};
pub(super) use crate::lab::io::{self, NO_FD, argument, ask};
pub(super) use crate::lab::pages::page;
pub(super) use crate::lab::sleeper::{Caller, returned};
pub(super) use crate::lab::{Lab, pattern, privilege, sockets};
pub(super) use crate::verdict::{Lack, Noted, Observation, Setup, Stop, Value};
pub(super) use nocopy_splice::{Pipe, SpliceFlags};
pub(super) use std::fs::File;
pub(super) use std::os::fd::{AsFd, OwnedFd};
pub(super) use std::sync::Arc;
pub(super) use syscalls::{Errno, Sysno};

/// The errnos by their own names.
macro_rules! errnos {
    ($($name:ident)*) => { $(pub(super) const $name: Errno = Errno::$name;)* };
}
errnos!(EACCES EAGAIN EBADF EBUSY EDEADLK EDESTADDRREQ EEXIST EFAULT EFBIG EHOSTUNREACH EINTR EINVAL EIO EISDIR EMFILE);
errnos!(EMSGSIZE ENOBUFS ENODEV ENOENT ENOLINK ENOMEM ENOSPC ENOSYS ENOTCONN ENXIO EOPNOTSUPP EOVERFLOW EPERM);
errnos!(EPIPE EROFS ESPIPE ETIMEDOUT ETXTBSY EXDEV);
