//! Flags in both directions. Bits without a name are kept: the kernel decides.

#![forbid(unsafe_code)]

use crate::bits::flags;

flags! {
    /// Flags of a send.
    ///
    /// `MSG_ZEROCOPY` is not among them: [`send_zerocopy`](crate::send_zerocopy) and
    /// [`sendmsg_zerocopy`](crate::sendmsg_zerocopy) add it, [`send_copied`](crate::send_copied) clears it.
    SendFlags(u32) {
        /// `MSG_DONTROUTE`, since Linux 2.0: to directly connected hosts only.
        DONTROUTE = 0x4;
        /// `MSG_DONTWAIT`, since Linux 2.2: this call does not block.
        DONTWAIT = 0x40;
        /// `MSG_EOR`, since Linux 2.2: the record ends here, where the protocol has records.
        EOR = 0x80;
        /// `MSG_CONFIRM`, since Linux 2.3.15: the neighbour answered, do not probe it.
        CONFIRM = 0x800;
        /// `MSG_NOSIGNAL`, since Linux 2.2: `EPIPE` without `SIGPIPE`.
        NOSIGNAL = 0x4000;
        /// `MSG_MORE`, since Linux 2.4.4: more will follow, do not send a partial segment yet.
        MORE = 0x8000;
    }
}

flags! {
    /// `msg_flags`, as `recvmsg` returns them.
    MsgFlags(u32) {
        /// `MSG_CTRUNC`: the control buffer was too small. What did not fit is lost.
        CTRUNC = 0x8;
        /// `MSG_TRUNC`: the queued packet's bytes did not fit. Usual here, since none are asked for.
        TRUNC = 0x20;
        /// `MSG_ERRQUEUE`: this did come from the error queue.
        ERRQUEUE = 0x2000;
        /// `MSG_CMSG_CLOEXEC`: as it was asked for; the kernel repeats it.
        CMSG_CLOEXEC = 0x4000_0000;
    }
}
