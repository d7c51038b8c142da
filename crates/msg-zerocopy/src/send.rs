//! The sends: `send` and `sendmsg` with the flag, and `send` without it.

use crate::abi::{MSG_ZEROCOPY, MsgHdr};
use crate::enable::Enabled;
use crate::fd::BorrowedFd;
use crate::flags::SendFlags;
use syscalls::Errno;
use syscalls::{Sysno, syscall3, syscall6};

/// Sends bytes by reference: the kernel pins their pages and reads them later.
///
/// [`send(2)`](https://man7.org/linux/man-pages/man2/send.2.html) with `MSG_ZEROCOPY`: one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `socket` | | a token that says that `SO_ZEROCOPY` is on |
/// | `bytes` | bytes | what to send; under about 10 KB copying is cheaper |
/// | `flags` | | `MSG_ZEROCOPY` is added |
///
/// Returns the bytes taken. Fewer than given is a success of a stream socket. Every success of more than 0 bytes takes
/// the next id of the socket, counted from 0 and wrapping after `u32::MAX`: give it to
/// [`Tracker::sent`](crate::Tracker::sent). Over TCP an empty send takes none, and neither does a failed one (claim
/// `zerocopy.ids.failed-and-empty`). Over UDP an empty datagram **takes one**, and so does a send that fails late, which completes all the
/// same: `ENOBUFS` from the device queue (seen with `IP_RECVERR` set), `EINVAL` for more segments than the kernel makes
/// ([`udp_segment`](crate::udp_segment)).
/// Over vsock a call that waits for the receiver to make room takes an id for each part (claim `zerocopy.vsock.ids`): a
/// [`Tracker`](crate::Tracker) that counts calls does not fit there.
/// One send that the kernel cuts into datagrams takes one id, however many they are.
///
/// The flag is a hint. Over loopback, to a local receiver, past a packet capture or in fragments the kernel copies after
/// all and says so in the notification ([`Completion::copied`](crate::Completion)).
///
/// # Errors
///
/// - `EAGAIN`: the socket is non-blocking and full
/// - `EBADF`, `ENOTSOCK`: not open, or not a socket
/// - `ECONNRESET`, `EPIPE`: the peer is gone (`EPIPE` with `SIGPIPE`, unless [`SendFlags::NOSIGNAL`])
/// - `EFAULT`: the pages cannot be pinned: past the end of a mapped file, or `memfd_secret`
/// - `EINTR`: a signal came before a byte was taken
/// - `EMSGSIZE`: too long for one datagram
/// - `ENOBUFS`: over `RLIMIT_MEMLOCK` or the socket's `optmem_max`. Reap completions and try again; with nothing in
///   flight that never helps, use [`send_copied`]
/// - `ENOMEM`: what is `EFAULT` elsewhere, over vsock (claim `zerocopy.vsock.unmapped`)
/// - `ENOTCONN`: no peer
///
/// # Safety
///
/// From the call until the completion of its id has been received, `bytes` are neither written nor given back to
/// an allocator nor unmapped and replaced, however long that takes and whatever becomes of the reference. Otherwise
/// the peer receives whatever is there by then, a retransmission too. Closing the socket does not end it: then the end is
/// not reported at all.
///
/// No [`Ring`](crate::Ring) sends on this socket, by any descriptor of it: the ring would take this send's completion for one
/// of its own, and give memory back that is still read.
///
/// # Kernel
///
/// TCP since Linux 4.14, UDP since 5.0, vsock since 6.7 (claims `zerocopy.socket.tcp`, `zerocopy.socket.vsock`). Copied over loopback at every size on all kernels
/// measured, 5.10 to 7.3 (claim `zerocopy.copies.tcp`).
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// use nocopy_msg_zerocopy::{SendFlags, enable, send_zerocopy};
/// # let socket: std::net::TcpStream = unimplemented!();
/// static PAGE: [u8; 65536] = [7; 65536];
/// let zerocopy = enable(&socket)?;
/// // SAFETY: an immutable static never changes and is never freed.
/// let taken = unsafe { send_zerocopy(zerocopy, &PAGE, SendFlags::NOSIGNAL) }?;
/// # let _ = taken;
/// # }
/// # Ok::<(), nocopy_msg_zerocopy::Errno>(())
/// ```
#[inline]
pub unsafe fn send_zerocopy(
    socket: Enabled<'_>,
    bytes: &[u8],
    flags: SendFlags,
) -> Result<usize, Errno> {
    // SAFETY: `bytes` is readable for its length; the kernel only reads it, and keeps its pages after the return until
    // the completion, which the caller has promised to wait for. The address is null, of length 0.
    unsafe {
        syscall6(
            Sysno::sendto,
            socket.fd().to_arg(),
            bytes.as_ptr().expose_provenance(),
            bytes.len(),
            (flags.bits() | MSG_ZEROCOPY) as usize,
            0,
            0,
        )
    }
}

/// Sends several pieces by reference, to an address and with control messages if wanted.
///
/// [`sendmsg(2)`](https://man7.org/linux/man-pages/man2/sendmsg.2.html) with `MSG_ZEROCOPY`: one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `socket` | | a token that says that `SO_ZEROCOPY` is on |
/// | `message` | | at most 1024 pieces; only they are sent by reference, address and control bytes are copied in the call |
/// | `flags` | | `MSG_ZEROCOPY` is added |
///
/// Returns the bytes taken, and ids are taken as by [`send_zerocopy`]: one for the call, however many pieces.
///
/// # Errors
///
/// As [`send_zerocopy`], and:
///
/// - `EINVAL`: a malformed control message, or an address that is too short or too long
/// - `EISCONN`: an address for a connected stream socket
/// - `EMSGSIZE`: more than 1024 pieces
///
/// # Safety
///
/// - As [`send_zerocopy`], for the bytes of every piece, and no ring sends on the socket. The pieces' list, the address and the control bytes are free when
///   the call returns.
/// - No control message makes the kernel use other memory. Over TCP, UDP and vsock there is none that could; over RDS some
///   carry addresses, which it writes to (`RDS_CMSG_RDMA_ARGS`, the atomic operations).
///
/// # Kernel
///
/// As [`send_zerocopy`].
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// use nocopy_msg_zerocopy::{IoVec, MsgHdr, SendFlags, enable, sendmsg_zerocopy};
/// # let socket: std::net::TcpStream = unimplemented!();
/// static BODY: [u8; 65536] = [7; 65536];
/// let zerocopy = enable(&socket)?;
/// let pieces = [IoVec::new(b"head\r\n"), IoVec::new(&BODY)];
/// // SAFETY: immutable statics never change and are never freed.
/// let taken = unsafe { sendmsg_zerocopy(zerocopy, &MsgHdr::new(&pieces), SendFlags::empty()) }?;
/// # let _ = taken;
/// # }
/// # Ok::<(), nocopy_msg_zerocopy::Errno>(())
/// ```
#[inline]
pub unsafe fn sendmsg_zerocopy(
    socket: Enabled<'_>,
    message: &MsgHdr<'_>,
    flags: SendFlags,
) -> Result<usize, Errno> {
    // SAFETY: `message` is a valid user_msghdr whose pointers come from live slices with their lengths, or are null. The
    // kernel only reads there; it keeps none of the pointers but the pages of the pieces, until the completion, which the
    // caller has promised to wait for. The caller has
    // promised that no control message names other memory.
    unsafe {
        syscall3(
            Sysno::sendmsg,
            socket.fd().to_arg(),
            core::ptr::from_ref(message).expose_provenance(),
            (flags.bits() | MSG_ZEROCOPY) as usize,
        )
    }
}

/// Sends bytes by copy, as every send without the flag does: the answer to `ENOBUFS` with nothing in flight.
///
/// [`send(2)`](https://man7.org/linux/man-pages/man2/send.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd` | | a socket, with `SO_ZEROCOPY` or without |
/// | `bytes` | bytes | what to send; free when the call returns |
/// | `flags` | | `MSG_ZEROCOPY` is cleared: this is the call that never takes it |
///
/// Returns the bytes taken; fewer than given is a success of a stream socket. Takes no id.
///
/// # Errors
///
/// As [`send_zerocopy`], without its `ENOBUFS` for pinned memory and without its `EFAULT`.
///
/// # Kernel
///
/// May be mixed with [`send_zerocopy`] on one socket: order is kept, ids count only the calls with the flag (claim
/// `zerocopy.ids.count-flagged-calls`).
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// # let socket: std::net::TcpStream = unimplemented!();
/// nocopy_msg_zerocopy::send_copied(&socket, b"small", nocopy_msg_zerocopy::SendFlags::empty())?;
/// # }
/// # Ok::<(), nocopy_msg_zerocopy::Errno>(())
/// ```
#[inline]
pub fn send_copied<'fd>(
    fd: impl Into<BorrowedFd<'fd>>,
    bytes: &[u8],
    flags: SendFlags,
) -> Result<usize, Errno> {
    let fd = fd.into();
    // SAFETY: `bytes` is readable for its length; the kernel only reads it, during the call, and without the flag keeps
    // nothing of it. The address is null, of length 0.
    unsafe {
        syscall6(
            Sysno::sendto,
            fd.to_arg(),
            bytes.as_ptr().expose_provenance(),
            bytes.len(),
            (flags.bits() & !MSG_ZEROCOPY) as usize,
            0,
            0,
        )
    }
}

/// Sends several pieces by copy.
///
/// [`sendmsg(2)`](https://man7.org/linux/man-pages/man2/sendmsg.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd` | | a socket, with `SO_ZEROCOPY` or without |
/// | `message` | | at most 1024 pieces |
/// | `flags` | | `MSG_ZEROCOPY` is cleared |
///
/// Returns the bytes taken; fewer than given is a success of a stream socket. Takes no id.
///
/// # Errors
///
/// As [`sendmsg_zerocopy`], without its `ENOBUFS` for pinned memory and without its `EFAULT`.
///
/// # Safety
///
/// No control message makes the kernel use other memory: see [`sendmsg_zerocopy`].
///
/// # Kernel
///
/// As [`send_copied`].
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// use nocopy_msg_zerocopy::{IoVec, MsgHdr, SendFlags, sendmsg_copied};
/// # let socket: std::net::TcpStream = unimplemented!();
/// let pieces = [IoVec::new(b"head\r\n"), IoVec::new(b"body")];
/// // SAFETY: there are no control messages.
/// unsafe { sendmsg_copied(&socket, &MsgHdr::new(&pieces), SendFlags::empty()) }?;
/// # }
/// # Ok::<(), nocopy_msg_zerocopy::Errno>(())
/// ```
#[inline]
pub unsafe fn sendmsg_copied<'fd>(
    fd: impl Into<BorrowedFd<'fd>>,
    message: &MsgHdr<'_>,
    flags: SendFlags,
) -> Result<usize, Errno> {
    let fd = fd.into();
    // SAFETY: as in `sendmsg_zerocopy`, and without the flag the kernel keeps nothing of the pieces.
    unsafe {
        syscall3(
            Sysno::sendmsg,
            fd.to_arg(),
            core::ptr::from_ref(message).expose_provenance(),
            (flags.bits() & !MSG_ZEROCOPY) as usize,
        )
    }
}
