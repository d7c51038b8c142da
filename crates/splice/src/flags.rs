//! The flags of each call. Unknown bits are kept: the kernel decides.

#![forbid(unsafe_code)]

use libc::{c_int, c_uint};

use crate::abi;
use crate::bits::flags;

flags! {
    /// Flags of [`splice()`](crate::splice()), [`tee()`](crate::tee()) and the two directions of `vmsplice`.
    ///
    /// All four calls know the same bits and answer `EINVAL` to any other one.
    SpliceFlags(c_uint) {
        /// `SPLICE_F_MOVE`, Linux 2.6.17: accepted, and without effect since 2.6.21 (the FUSE device excepted). A pipe spliced
        /// into a file is copied with it as without it (claim `splice.flags.move-copies-into-file`).
        MOVE = libc::SPLICE_F_MOVE;
        /// `SPLICE_F_NONBLOCK`, Linux 2.6.17: does not wait for the **pipe**. The other end waits as its own mode says: a
        /// blocking TCP socket still blocks.
        NONBLOCK = libc::SPLICE_F_NONBLOCK;
        /// `SPLICE_F_MORE`, Linux 2.6.17: more data follows. To a socket it is `MSG_MORE`: on the last piece it holds the
        /// bytes back, for about 200 ms on TCP.
        MORE = libc::SPLICE_F_MORE;
        /// `SPLICE_F_GIFT`, Linux 2.6.17: for `vmsplice` to a pipe, the pages are a gift that the caller never touches again.
        /// They need not be aligned, and none was seen to move into a file.
        GIFT = libc::SPLICE_F_GIFT;
    }
}

flags! {
    /// Flags of [`pipe2()`](crate::pipe2()).
    PipeFlags(c_int) {
        /// `O_CLOEXEC`, Linux 2.6.27: both descriptors are closed by `execve`.
        CLOEXEC = libc::O_CLOEXEC;
        /// `O_NONBLOCK`, Linux 2.6.27: neither end waits. `vmsplice` does not look at it.
        NONBLOCK = libc::O_NONBLOCK;
        /// `O_DIRECT`, Linux 3.4: packet mode, each write is one packet for one read. Of the write end only.
        DIRECT = libc::O_DIRECT;
        /// `O_NOTIFICATION_PIPE`, Linux 5.8: for the kernel's notifications (`watch_queue`). It cannot be spliced, and
        /// `pipe2` answers `ENOPKG` where the kernel is built without `CONFIG_WATCH_QUEUE`.
        NOTIFICATION = abi::O_NOTIFICATION_PIPE;
    }
}
