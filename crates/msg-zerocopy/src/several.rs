//! Several messages by one call: `sendmmsg` with the flag, and `recvmmsg` on the error queue.

use crate::abi::{MSG_ZEROCOPY, MsgHdr};
use crate::enable::Enabled;
use crate::error_queue::Received;
use crate::fd::BorrowedFd;
use crate::flags::{MsgFlags, SendFlags};
use core::fmt;
use core::marker::PhantomData;
use syscalls::Errno;
use syscalls::{Sysno, syscall4, syscall5};

/// A message of [`sendmmsg_zerocopy`], and how much of it was sent: `struct mmsghdr` of `include/linux/socket.h`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct MMsgHdr<'bytes> {
    header: MsgHdr<'bytes>,
    len: u32,
}

impl<'bytes> MMsgHdr<'bytes> {
    /// A message, not sent yet.
    #[must_use]
    pub const fn new(message: MsgHdr<'bytes>) -> Self {
        Self {
            header: message,
            len: 0,
        }
    }

    /// How many bytes of it the kernel took. 0 before the call, and if the call did not come to it.
    #[must_use]
    pub const fn sent(&self) -> usize {
        self.len as usize
    }
}

/// Sends several messages by reference, each to its own address and with its own control messages if wanted.
///
/// [`sendmmsg(2)`](https://man7.org/linux/man-pages/man2/sendmmsg.2.html) with `MSG_ZEROCOPY`: one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `socket` | | a token that says that `SO_ZEROCOPY` is on |
/// | `messages` | | what to send, in this order; the kernel takes the first 1024 |
/// | `flags` | | for every message; `MSG_ZEROCOPY` is added |
///
/// Returns **how many messages** were sent, from the first on; [`MMsgHdr::sent`] has the bytes of each. Each of them
/// takes one id, in order, as by [`sendmsg_zerocopy`](crate::sendmsg_zerocopy) (over TCP an empty one takes none): 3 messages are 3
/// ids, which one completion may report together.
///
/// It ends early in two ways, and the count is a success in both:
///
/// - After a message that was taken in part. It counts, has its id, and its [`MMsgHdr::sent`] is short. Only a stream does this.
/// - At an error after the first message. **The error is dropped**: it is not returned and not stored. Call again from the message
///   at that number, and the call returns it if it is still there. Over UDP the message that failed may have taken an id, as in
///   [`send_zerocopy`](crate::send_zerocopy), and here nothing reports that it did but its completion.
///
/// # Errors
///
/// Of the first message only, as [`sendmsg_zerocopy`](crate::sendmsg_zerocopy).
///
/// # Safety
///
/// As [`sendmsg_zerocopy`](crate::sendmsg_zerocopy), for every message: the bytes of its pieces stay as they are until its own id is
/// complete, no [`Ring`](crate::Ring) sends on the socket, and no control message makes the kernel use other memory. Messages
/// past the one at the count were not looked at: their bytes are free. Those of the one at the count, which failed, are free too over
/// TCP; over UDP it may have taken an id, and then they are free at its completion.
///
/// # Kernel
///
/// `sendmmsg` since Linux 3.0, with the flag as [`send_zerocopy`](crate::send_zerocopy). What is said of counts, ids and the dropped
/// error has been measured on 5.10, 6.1, 6.12, 6.18 and 7.3, by this crate's tests.
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// use nocopy_msg_zerocopy::{IoVec, MMsgHdr, MsgHdr, SendFlags, enable, sendmmsg_zerocopy};
/// # let socket: std::net::UdpSocket = unimplemented!();
/// static FRAMES: [[u8; 1400]; 2] = [[7; 1400]; 2];
/// let zerocopy = enable(&socket)?;
/// let pieces = FRAMES.each_ref().map(|frame| [IoVec::new(frame)]);
/// let mut messages = pieces.each_ref().map(|pieces| MMsgHdr::new(MsgHdr::new(pieces)));
/// // SAFETY: an immutable static never changes and is never freed.
/// let sent = unsafe { sendmmsg_zerocopy(zerocopy, &mut messages, SendFlags::empty()) }?;
/// for message in &messages[..sent] {
///     println!("{} bytes, one id", message.sent());
/// }
/// # }
/// # Ok::<(), nocopy_msg_zerocopy::Errno>(())
/// ```
#[inline]
pub unsafe fn sendmmsg_zerocopy(
    socket: Enabled<'_>,
    messages: &mut [MMsgHdr<'_>],
    flags: SendFlags,
) -> Result<usize, Errno> {
    // SAFETY: `messages` are valid mmsghdrs, exclusively borrowed; the kernel reads at most that many and writes the length of
    // each, during the call. All other pointers come from live slices with their lengths, or are null; it only reads there, and
    // keeps none but the pages of the pieces, until their completions, which the caller has promised to wait for. The caller has
    // promised that no control message names other memory.
    unsafe {
        syscall4(
            Sysno::sendmmsg,
            socket.fd().to_arg(),
            messages.as_mut_ptr().expose_provenance(),
            messages.len(),
            (flags.bits() | MSG_ZEROCOPY) as usize,
        )
    }
}

/// Room for the control messages of one entry of the error queue, and what came: `struct mmsghdr` of `include/linux/socket.h`,
/// with its buffer.
#[repr(C)]
pub struct ErrorEntry<'control> {
    header: MsgHdr<'static>,
    len: u32,
    /// How many bytes the buffer has. The kernel's structure has padding here.
    room: u32,
    buffer: PhantomData<&'control mut [u8]>,
}

// SAFETY: it is an exclusive slice of bytes and numbers: it may go to another thread as the slice may.
unsafe impl Send for ErrorEntry<'_> {}
// SAFETY: a shared reference only reads the bytes.
unsafe impl Sync for ErrorEntry<'_> {}

impl<'control> ErrorEntry<'control> {
    /// Empty, with this buffer: 128 bytes hold a completion, 512 also timestamps and addresses.
    ///
    /// Of a buffer of more than 4 GiB only so much is used.
    #[must_use]
    pub fn new(control: &'control mut [u8]) -> Self {
        let mut header = MsgHdr::new(&[]);
        header.control = control.as_mut_ptr();
        Self {
            header,
            len: 0,
            room: u32::try_from(control.len()).unwrap_or(u32::MAX),
            buffer: PhantomData,
        }
    }

    /// The control messages, for [`messages`](crate::messages). None before the call, and if the queue had no more entries.
    #[must_use]
    pub const fn control(&self) -> &[u8] {
        let room = self.room as usize;
        let came = self.header.control_len;
        let len = if came < room { came } else { room };
        // SAFETY: `control` is the start of a buffer of at least `room` bytes, which are initialized, borrowed for `'control`, and
        // written by a call with `&mut self` only.
        unsafe { core::slice::from_raw_parts(self.header.control, len) }
    }

    /// What came with them: how many bytes, and the flags. See [`recv_error_queue`](crate::recv_error_queue), both flags matter.
    #[must_use]
    pub const fn received(&self) -> Received {
        Received {
            control_len: self.header.control_len,
            flags: MsgFlags::from_bits_retain(self.header.flags),
        }
    }
}

/// What came, without the bytes.
impl fmt::Debug for ErrorEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorEntry")
            .field("room", &self.room)
            .field("received", &self.received())
            .finish()
    }
}

/// Takes entries from a socket's error queue, one into each of `entries`, by one call.
///
/// [`recvmmsg(2)`](https://man7.org/linux/man-pages/man2/recvmmsg.2.html) with `MSG_ERRQUEUE | MSG_DONTWAIT |
/// MSG_CMSG_CLOEXEC`, no time limit and no room for bytes: one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd` | | the socket that sent |
/// | `entries` | | where the entries go; those of an earlier call are emptied first |
///
/// Returns how many entries came: `entries[..n]` have them, the others are empty. Fewer than there is room for means that the queue was
/// empty by then. As many as there is room for: there may be more, call again. Completions of neighbouring sends merge into one entry, so
/// where there is nothing else one call of [`recv_error_queue`](crate::recv_error_queue) often is enough. Timestamps and ICMP errors have
/// entries of their own, and the completions before and after one do not merge.
///
/// Of each entry [`MsgFlags::ERRQUEUE`] and [`MsgFlags::CTRUNC`] matter, as [`recv_error_queue`](crate::recv_error_queue) says, and its
/// warning about other kinds of socket counts as often as there are entries.
///
/// # Errors
///
/// Of the first entry only:
///
/// - `EAGAIN`: the queue is empty
/// - `EBADF`, `ENOTSOCK`: not open, or not a socket. `EBADF` too without `entries`, on Linux 5.10 and 6.1; 6.12
///   and later return 0
///
/// # Kernel
///
/// Since Linux 2.6.33. An error after the first entry ends the call with a count. If it is not `EAGAIN`, the kernel stores it in the
/// socket, for the next call that looks at `SO_ERROR`.
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// use nocopy_msg_zerocopy::{ErrorEntry, Message, messages, recvmmsg_error_queue};
/// # let socket: std::net::UdpSocket = unimplemented!();
/// let mut buffers = [[0; 512]; 16];
/// let mut entries = buffers.each_mut().map(|buffer| ErrorEntry::new(buffer));
/// let came = recvmmsg_error_queue(&socket, &mut entries)?;
/// for message in entries[..came].iter().flat_map(|entry| messages(entry.control())) {
///     if let Ok(Message::Completion(completion)) = message {
///         println!("{} to {} done", completion.lo, completion.hi);
///     }
/// }
/// # }
/// # Ok::<(), nocopy_msg_zerocopy::Errno>(())
/// ```
#[inline]
pub fn recvmmsg_error_queue<'fd>(
    fd: impl Into<BorrowedFd<'fd>>,
    entries: &mut [ErrorEntry<'_>],
) -> Result<usize, Errno> {
    let fd = fd.into();
    for entry in &mut *entries {
        entry.header.control_len = entry.room as usize;
        entry.header.flags = 0;
    }
    // SAFETY: `entries` are valid mmsghdrs, exclusively borrowed: no names, no pieces, and buffers that are writable for the length
    // that was just set. The kernel writes at most that many control bytes and the lengths and flags of the headers, and
    // keeps no pointer. The time limit is null.
    let came = unsafe {
        syscall5(
            Sysno::recvmmsg,
            fd.to_arg(),
            entries.as_mut_ptr().expose_provenance(),
            entries.len(),
            (libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC).cast_unsigned()
                as usize,
            0,
        )
    };
    // What did not come has no bytes: the rest of its buffer is of an earlier call.
    for entry in entries.iter_mut().skip(came.unwrap_or(0)) {
        entry.header.control_len = 0;
    }
    came
}

// The kernel takes arrays of these, so their layout is a matter of soundness.
const _: () = assert!(
    size_of::<MMsgHdr<'_>>() == 64
        && core::mem::offset_of!(MMsgHdr<'_>, header) == 0
        && core::mem::offset_of!(MMsgHdr<'_>, len) == 56
        && size_of::<ErrorEntry<'_>>() == 64
        && core::mem::offset_of!(ErrorEntry<'_>, header) == 0
        && core::mem::offset_of!(ErrorEntry<'_>, len) == 56
        && core::mem::offset_of!(ErrorEntry<'_>, room) == 60
);

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn the_structures_are_laid_out_as_libc_has_them() {
        assert_eq!(size_of::<MMsgHdr<'_>>(), size_of::<libc::mmsghdr>());
        assert_eq!(
            offset_of!(MMsgHdr<'_>, len),
            offset_of!(libc::mmsghdr, msg_len)
        );
        assert_eq!(size_of::<ErrorEntry<'_>>(), size_of::<libc::mmsghdr>());
        assert_eq!(align_of::<ErrorEntry<'_>>(), align_of::<libc::mmsghdr>());
        // The room is in the padding, which the kernel does not write.
        assert!(offset_of!(ErrorEntry<'_>, room) >= offset_of!(libc::mmsghdr, msg_len) + 4);
    }
}
