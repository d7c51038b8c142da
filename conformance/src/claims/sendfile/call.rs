//! Whether there is `sendfile`.

use super::{about_sendfile, lie};
use crate::claims::prelude::*;
use nocopy_sendfile::{BorrowedFd, sendfile};

pub const CLAIMS: &[Claim] = &[about_sendfile("sendfile.call.present", "The kernel has sendfile().")
    .published(&[seed("1.1"), man("sendfile(2)", "HISTORY").since("2.2")])
    .turned_by(&[lie(What::OtherErrno(libc::ENOSYS))])
    .method("Calls it with descriptors that are not open. A kernel without the call reports ENOSYS.")
    .gated(&[gate("2.2", "the kernel has sendfile()", man("sendfile(2)", "HISTORY"))])
    .tried(|_lab, see| {
        // SAFETY: -1 was never open.
        let none = unsafe { BorrowedFd::borrow_raw(-1) };
        let absent = sendfile(none, none, None, 1);
        see.text("sendfile(-1, -1, NULL, 1)", returned(absent)).says("EBADF");
        Ok(())
    })];
