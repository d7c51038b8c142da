//! The flags of the call. Unknown bits are kept: the kernel decides.

#![forbid(unsafe_code)]

use crate::bits::flags;

flags! {
    /// `flags` of [`TcpZerocopyReceive`](crate::TcpZerocopyReceive).
    ///
    /// No kernel up to 7.3 refuses a bit that it does not know.
    ReceiveFlags(u32) {
        /// `TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT` of `include/uapi/linux/tcp.h`, Linux 5.11: the range has no pages, as after
        /// `MADV_DONTNEED`, so the kernel need not remove any. It is a hint: a page that is there after all is removed.
        TLB_CLEAN_HINT = 1;
    }
}
