//! Reading the error queue, where completions arrive.

use crate::abi::MsgHdr;
use crate::fd::BorrowedFd;
use crate::flags::MsgFlags;
use syscalls::Errno;
use syscalls::{Sysno, syscall3};

/// What one read of the error queue returned beside the control bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// How many bytes of the control buffer were written.
    pub control_len: usize,
    /// `msg_flags`. Without [`MsgFlags::ERRQUEUE`] this is not from the error queue; with [`MsgFlags::CTRUNC`] something
    /// did not fit and is lost.
    pub flags: MsgFlags,
}

/// Takes one entry from a socket's error queue: its control messages, for [`messages`](crate::messages).
///
/// [`recvmsg(2)`](https://man7.org/linux/man-pages/man2/recvmsg.2.html) with `MSG_ERRQUEUE | MSG_DONTWAIT |
/// MSG_CMSG_CLOEXEC` and no room for bytes: one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd` | | the socket that sent |
/// | `control` | bytes | where the control messages go; 128 hold a completion, 512 also timestamps and addresses |
///
/// Returns how much of `control` was written, and the flags. Both flags matter:
///
/// - [`MsgFlags::ERRQUEUE`] missing: this socket has no error queue and **ordinary data was taken or looked for**
///   (`AF_UNIX`, and vsock on 5.10). Nothing in `control` is a completion. Asked of a datagram socket of that kind,
///   the call loses a datagram. An `AF_UNIX` peer's `SCM_RIGHTS` opens descriptors in this process (closed by `execve`), which stay
///   open until somebody closes them: do not ask a socket of unknown kind.
/// - [`MsgFlags::CTRUNC`] set: `control` was too small. The entry is gone from the queue and the completion in it is lost.
///
/// One entry may complete many sends, and more entries may wait: read until `EAGAIN`. When to read: `poll` always reports
/// `POLLERR`, even if it was not requested. There is no `MSG_PEEK`, because on the error queue it removes the entry anyway.
///
/// # Errors
///
/// - `EAGAIN`: the queue is empty
/// - `EBADF`, `ENOTSOCK`: not open, or not a socket
///
/// # Kernel
///
/// Never blocks on TCP and UDP, blocking sockets included; `AF_UNIX` ignores `MSG_ERRQUEUE`, so `MSG_DONTWAIT` is added
/// (claim `zerocopy.queue.unix-ignores-errqueue`). A small buffer loses the entry on all kernels measured, 5.10 to 7.3
/// (claim `zerocopy.sample.errqueue-lost`).
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// use nocopy_msg_zerocopy::{Message, messages, recv_error_queue};
/// # let socket: std::net::TcpStream = unimplemented!();
/// let mut control = [0; 512];
/// let received = recv_error_queue(&socket, &mut control)?;
/// for message in messages(&control[..received.control_len]) {
///     if let Ok(Message::Completion(completion)) = message {
///         println!("{} to {} done", completion.lo, completion.hi);
///     }
/// }
/// # }
/// # Ok::<(), nocopy_msg_zerocopy::Errno>(())
/// ```
#[inline]
pub fn recv_error_queue<'fd>(
    fd: impl Into<BorrowedFd<'fd>>,
    control: &mut [u8],
) -> Result<Received, Errno> {
    let fd = fd.into();
    let mut header = MsgHdr::new(&[]);
    header.control = control.as_mut_ptr();
    header.control_len = control.len();
    // SAFETY: `header` is a writable user_msghdr: no name, no pieces, and `control`, which is writable for its length. The
    // kernel writes the lengths and flags of the header and at most that many control bytes, and keeps no pointer.
    unsafe {
        syscall3(
            Sysno::recvmsg,
            fd.to_arg(),
            (&raw mut header).expose_provenance(),
            (libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC).cast_unsigned()
                as usize,
        )
    }?;
    Ok(Received {
        control_len: header.control_len,
        flags: MsgFlags::from_bits_retain(header.flags),
    })
}
