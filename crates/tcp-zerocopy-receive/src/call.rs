//! The call, as it is.

use syscalls::{Errno, Sysno, syscall5};

use crate::abi::{TCP_ZEROCOPY_RECEIVE, TcpZerocopyReceive};
use crate::fd::BorrowedFd;

/// Maps received pages into a mapping of a TCP socket, takes them off the receive queue, and copies what is left over.
///
/// [`getsockopt(2)`](https://man7.org/linux/man-pages/man2/getsockopt.2.html) with `IPPROTO_TCP` and `TCP_ZEROCOPY_RECEIVE`: one
/// call, never retried. It never waits for data, whatever the mode of the socket.
///
/// | argument | unit | |
/// |---|---|---|
/// | `sockfd` | | a TCP socket, IPv4 or IPv6 |
/// | `optval` | | in: where to map to and copy to; out: what was done. After an error it is as it was |
/// | `optlen` | bytes | in: how much of `optval` the kernel reads and writes; out: how much it has. See [`TcpZerocopyReceive`] |
///
/// The next bytes of the stream are in this order: `length` bytes that are mapped at `address`, `copybuf_len` bytes in the copy buffer,
/// `recv_skip_hint` bytes that are still queued and have to be read by `recv`. What each kind of answer means:
///
/// | `length` | copied | `recv_skip_hint` | |
/// |---|---|---|---|
/// | more than 0 | any | any | pages were mapped |
/// | 0 | more than 0 | any | all that was queued was copied, or bytes before the next page |
/// | 0 | 0 | more than 0 | nothing was taken: read this much by `recv`, then ask again |
/// | 0 | 0 | 0 | **nothing is queued, or the connection is over**: it was reset, this end has shut down its reading, or there never was one. Only `recv` tells these apart: `EAGAIN`, its error, or 0 |
///
/// A page can be mapped when it is a whole page of the receive queue that the kernel or a driver has allocated alone: not a
/// part of a page, and no page of a huge page, a file or ordinary memory of a program. Sent by `write` over loopback no page can, as
/// long as the kernel allocates several pages at once for it, which is the default (`net.core.high_order_alloc_disable` 0; claim
/// `zerocopy.recv.loopback`). Sent with `MSG_ZEROCOPY` every whole page of a segment can (claim `zerocopy.recv.from-zerocopy`). `recv_skip_hint` ends at the next
/// such page of the same buffer of the queue, or at the end of this buffer. **0 after pages does not mean that
/// nothing more is queued**: when all that could be whole pages is mapped, the kernel does not look at the rest. Ask again.
///
/// The copy buffer is used in two cases: all that is queued fits into it, and then nothing is mapped; or a page or more is
/// queued, and then it gets bytes that are before the next page. In between, fewer bytes than a page but more than the buffer, it
/// is not used. So on 6.1 to 7.3; 5.10 maps first in every case, and copies a part of less than a page too. Bytes of the buffer
/// after those that are reported can have been written (on 5.10 and 6.1 they were seen to be).
///
/// **An urgent byte** (`MSG_OOB`) that lies between pages and the next page is copied with the tail, although `recv` does not return it
/// in the stream (seen on 5.10 to 7.3). With no copy buffer it is left to `recv`.
///
/// `err` is taken off the socket: a reset that is reported here is not reported by `recv` or `SO_ERROR` again. With
/// [`SIZE_4_18`](TcpZerocopyReceive::SIZE_4_18) the socket keeps it.
///
/// # Errors
///
/// - `EBADF`, `ENOTSOCK`: not open, or not a socket
/// - `EFAULT`: the copy buffer cannot be written, and all was to be copied to it. Nothing is taken. After pages, and on 5.10, the
///   call succeeds instead, and `copybuf_len` is the negated errno
/// - `EINVAL`: `address` is not a multiple of the page size (claim `zerocopy.recv.unaligned`); a page or more is queued and
///   `address` is not inside a mapping of a TCP socket (claim `zerocopy.recv.no-mapping`; with fewer bytes queued only 5.10
///   looks, claim `zerocopy.recv.few-bytes`); `optlen` is too short, before Linux 5.6 also too long; `reserved` or a bit of
///   `msg_flags` or of what is cut off is not 0
/// - `EIO`: the peer has shut down, and all that it sent was taken (claim `zerocopy.recv.closed`). **This is the end of the
///   stream, not a failure**: `recv` returns 0
/// - `ENOPROTOOPT`: a kernel before Linux 4.18, or without `CONFIG_MMU`
/// - `ENOTCONN`: a listening socket (claim `zerocopy.recv.listening`). A socket that was never connected is a success, with
///   nothing
/// - `EOPNOTSUPP`: not a TCP socket: UDP, `AF_UNIX`, raw, MPTCP that listens or is not connected
///
/// **A connected MPTCP socket is not always refused, and loses bytes**: if the peer speaks plain TCP, the call goes to the TCP socket
/// inside, beside what MPTCP has taken from it already. Bytes are missing and out of order, without an error (6.1 to 7.3; claim
/// `zerocopy.recv.mptcp-passed-through`). If the program did not make the socket itself, ask for `SO_PROTOCOL`: it must be `IPPROTO_TCP`.
///
/// # Safety
///
/// - **The pages of the range are removed and replaced.** Take the `length` bytes from `address` on, cut to the mapping that
///   `address` is in, if it is a mapping of a TCP socket. No reference to these bytes is used after the call begins: no slice over
///   bytes of an earlier call, no read by another thread. It need not be a mapping of `sockfd`: the kernel accepts a mapping of any
///   TCP socket. It checks this, and touches no other memory.
/// - `copybuf_address` is the start of `copybuf_len` bytes that may be written, and `copybuf_len` is not negative: the kernel takes
///   a negative number for a very large one, on all kernels tried (5.10, 6.1, 6.12, 6.18, 7.3). If it is 0, the address is not
///   used.
/// - The same for `msg_control` and `msg_controllen`.
/// - `*optlen` is at most the size of a [`TcpZerocopyReceive`].
///
/// What the mapped bytes are used for afterwards is under [`Mapped`](crate::Mapped): others may be able to change them.
///
/// # Kernel
///
/// Since Linux 4.18 (claim `zerocopy.recv.tcp-zerocopy-receive`); the fields came later, see [`TcpZerocopyReceive`]. A page
/// that a file has is not mapped since Linux 6.8 (commit 577e4432f3ac), nor by the late releases of 5.10 and 6.1 that were tried.
/// Before, a page that was sent by `sendfile` over loopback could be. A page that its file has lost by truncation is mapped.
///
/// # Example
///
/// [`Window`](crate::Window) owns a mapping and makes this call. By hand:
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// use nocopy_tcp_zerocopy_receive::{TcpZerocopyReceive, getsockopt_tcp_zerocopy_receive};
/// # let (socket, mapping): (std::net::TcpStream, *mut u8) = unimplemented!();
///
/// let mut request = TcpZerocopyReceive::new(mapping, 1 << 20);
/// let mut size = TcpZerocopyReceive::SIZE_4_18;
/// // SAFETY: `mapping` is 1 MiB of a mapping of a TCP socket, to which nothing refers yet; nothing is to be copied.
/// unsafe { getsockopt_tcp_zerocopy_receive(&socket, &mut request, &mut size) }?;
/// println!("{} bytes mapped, then read {}", request.length, request.recv_skip_hint);
/// # }
/// # Ok::<(), nocopy_tcp_zerocopy_receive::Errno>(())
/// ```
#[inline]
pub unsafe fn getsockopt_tcp_zerocopy_receive<'fd>(
    sockfd: impl Into<BorrowedFd<'fd>>,
    optval: &mut TcpZerocopyReceive,
    optlen: &mut u32,
) -> Result<(), Errno> {
    // SAFETY: `optlen` is an exclusive reference to 4 bytes, the size of a socklen_t, and `optval` to a struct of the kernel's
    // layout (asserted) that is at least as long as `*optlen`, which the caller vouches for. The kernel reads and writes both
    // during the call and keeps neither pointer; any bytes are valid integers. That the pages of the range and the buffers
    // named in `optval` may be replaced and written, the caller vouches for.
    unsafe {
        syscall5(
            Sysno::getsockopt,
            sockfd.into().to_arg(),
            libc::IPPROTO_TCP.cast_unsigned() as usize,
            TCP_ZEROCOPY_RECEIVE,
            core::ptr::from_mut(optval).expose_provenance(),
            core::ptr::from_mut(optlen).expose_provenance(),
        )
    }?;
    Ok(())
}
