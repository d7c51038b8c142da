//! Whether there is `splice`.

use super::{BLOCKING, about_splice};
use crate::claims::prelude::*;
use nocopy_splice::{BorrowedFd, splice};

pub const CLAIMS: &[Claim] = &[about_splice("splice.call.present", "The kernel has splice().")
    .published(&[man("splice(2)", "HISTORY").since("2.6.17"), seed("1.1"), seed("5.2")])
    .turned_by(&[Lie::about(Sysno::splice, What::OtherErrno(libc::ENOSYS))])
    .gated(&[gate("2.6.17", "the kernel has splice()", man("splice(2)", "HISTORY"))])
    .method("Calls it with descriptors that are not open: without the call, the kernel answers ENOSYS.")
    .tried(|_lab, see| {
        // SAFETY: -1 was never open.
        let none = unsafe { BorrowedFd::borrow_raw(-1) };
        let called = splice(none, None, none, None, 1, BLOCKING);
        let answer = called.map_or_else(|errno| format!("{errno:?}"), |count| count.to_string());
        see.text("splice(-1, NULL, -1, NULL, 1, 0)", answer).says_not("ENOSYS");
        Ok(())
    })];
