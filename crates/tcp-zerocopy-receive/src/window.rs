//! A window of addresses to which received pages are mapped, and the bytes in it until the next receive.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::slice;

use libc::c_int;
use syscalls::{Errno, Sysno, syscall2, syscall3, syscall6};

use crate::abi::TcpZerocopyReceive;
use crate::call::getsockopt_tcp_zerocopy_receive;
use crate::fd::BorrowedFd;

/// An `int` as a system call argument: sign-extended, as C passes it in a register.
const fn int(value: c_int) -> usize {
    (value as isize).cast_unsigned()
}

/// Addresses that are reserved by a mapping of a TCP socket, to which [`Window::receive`] maps pages.
///
/// The bytes of a receive are borrowed from the window, so the next receive cannot come before they are given up:
///
/// ```compile_fail,E0499
/// # use nocopy_tcp_zerocopy_receive::{Errno, Window};
/// # fn twice(window: &mut Window, socket: &std::net::TcpStream) -> Result<(), Errno> {
/// let first = window.receive_pages(socket)?;
/// let second = window.receive_pages(socket)?;
/// println!("{}", first.mapped.len());
/// # Ok(())
/// # }
/// ```
///
/// Pages stay mapped, and their memory in use, until a later receive maps to the same place, [`Window::release`], or the drop,
/// which makes one `munmap`. The receive buffer of the socket does not count them any more.
///
/// # The socket of the mapping
///
/// **A window keeps the socket that it was made of open.** While it lives, closing the last descriptor sends no FIN: the peer sees
/// nothing, and its bytes are acknowledged until the receive buffer is full. Drop the window first, call `shutdown`, or make the
/// window of another socket: the kernel takes a mapping of any TCP socket for any other one, so one that is never connected will
/// do, for all connections of a thread. A child that is forked has the mapping, too, until it calls `execve` or ends.
pub struct Window {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Window {}
// SAFETY: a shared reference gives the length, and nothing else.
unsafe impl Sync for Window {}

impl Window {
    /// Reserves addresses by mapping a TCP socket, for reading and shared. One
    /// [`mmap(2)`](https://man7.org/linux/man-pages/man2/mmap.2.html), never retried.
    ///
    /// | argument | unit | |
    /// |---|---|---|
    /// | `socket` | | a TCP socket in any state; it need not be the one to receive from. It stays open, see [above](Self#the-socket-of-the-mapping) |
    /// | `length` | bytes | not 0; whole pages are usable. One receive maps at most this much, and what a `u32` holds |
    ///
    /// # Errors
    ///
    /// - `EBADF`: not open
    /// - `EINVAL`: `length` 0
    /// - `ENODEV`: a socket that is not TCP (UDP, `AF_UNIX`, MPTCP), or a pipe. **A file that can be mapped is not refused**: a receive
    ///   then fails with `EINVAL` when there is a page to map; and of hugetlbfs, the drop cannot unmap a part of a huge page
    /// - `ENOMEM`: no such range of addresses, or too many mappings
    ///
    /// # Kernel
    ///
    /// Since Linux 4.18. The mapping cannot become writable (claim `zerocopy.recv.mapping-read-only`).
    ///
    /// # Example
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// use nocopy_tcp_zerocopy_receive::Window;
    ///
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// // For every connection that is accepted. The listener stays open as long as the window.
    /// let window = Window::new(&listener, 1 << 20)?;
    /// assert_eq!(window.len(), 1 << 20);
    /// # }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn new<'fd>(socket: impl Into<BorrowedFd<'fd>>, length: usize) -> Result<Self, Errno> {
        // SAFETY: without MAP_FIXED nothing is replaced, and the address goes nowhere but into the window.
        let address = unsafe {
            syscall6(
                Sysno::mmap,
                0,
                length,
                int(libc::PROT_READ),
                int(libc::MAP_SHARED),
                socket.into().to_arg(),
                0,
            )
        }?;
        let start = ptr::with_exposed_provenance_mut(address);
        let start = NonNull::new(start).ok_or(Errno::ENOMEM)?;
        Ok(Self { start, length })
    }

    /// How many bytes were asked for.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether the length is 0. The kernel maps no such window.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Maps what can be mapped of the next bytes, and copies bytes that cannot be mapped to `tail`.
    ///
    /// [`getsockopt_tcp_zerocopy_receive()`] with all fields: one call, never retried. It does not wait for data.
    ///
    /// | argument | unit | |
    /// |---|---|---|
    /// | `socket` | | the TCP connection to receive from; not MPTCP, see [the call](getsockopt_tcp_zerocopy_receive()) |
    /// | `tail` | bytes | room for bytes that cannot be mapped. **If all that is queued fits, all is copied and nothing mapped** (on 6.1 to 7.3): room for less than a page is usual. Empty: nothing is copied. It can get an urgent byte. What it holds after [`Received::copied`] bytes is not specified |
    ///
    /// Then read [`Received::recv_skip_hint`] bytes by `recv`. An answer of nothing at all
    /// ([`Received::is_nothing`]) does not tell an idle connection from one that is over, or from one whose next byte is urgent
    /// (`MSG_OOB`): wait by `poll`, ask again, and if the answer is nothing again, call `recv`.
    ///
    /// # Errors
    ///
    /// As the call, with `EINVAL` for a kernel before Linux 5.6, where [`Window::receive_pages`] works. `EIO` is the end of
    /// the stream.
    ///
    /// # Kernel
    ///
    /// Since Linux 5.6. `tail` is used since 5.11 and by later releases of 5.10; on a kernel that does not know it,
    /// [`Received::copied`] is 0.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # #[cfg(feature = "std")] {
    /// use nocopy_tcp_zerocopy_receive::{Errno, Window};
    /// use std::io::Read;
    ///
    /// # let mut socket: std::net::TcpStream = unimplemented!();
    /// let mut window = Window::new(&socket, 1 << 20)?;
    /// let (mut tail, mut rest) = ([0; 1000], [0; 1 << 16]);
    /// let mut is_ready = false;
    /// loop {
    ///     let received = match window.receive(&socket, &mut tail) {
    ///         Err(Errno::EIO) => break, // the end
    ///         received => received?,
    ///     };
    ///     // Here: 1. received.mapped, 2. tail[..received.copied]
    ///     if let Some(errno) = received.err {
    ///         return Err(errno.into()); // `read` would not report it again
    ///     }
    ///     let most = match (received.is_nothing(), received.recv_skip_hint) {
    ///         (false, 0) => continue, // more may be mapped
    ///         (false, hint) => hint.min(rest.len()),
    ///         (true, _) if is_ready => 1, // the end, or an urgent byte: `read` tells
    ///         (true, _) => {
    ///             socket.peek(&mut [0])?; // waits
    ///             is_ready = true;
    ///             continue;
    ///         }
    ///     };
    ///     is_ready = false;
    ///     match socket.read(&mut rest[..most])? {
    ///         0 => break,
    ///         _count => {} // 3. rest[.._count]
    ///     }
    /// }
    /// # }
    /// # #[cfg(feature = "std")]
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn receive<'fd>(
        &mut self,
        socket: impl Into<BorrowedFd<'fd>>,
        tail: &mut [u8],
    ) -> Result<Received<'_>, Errno> {
        let mut request = self.request();
        request.copybuf_address = tail.as_mut_ptr().expose_provenance() as u64;
        request.copybuf_len = i32::try_from(tail.len()).unwrap_or(i32::MAX);
        let mut size = TcpZerocopyReceive::SIZE_5_12;
        // SAFETY: the range is inside the window, which is ours; what was borrowed of it has ended, since `self` is borrowed
        // exclusively. The copy buffer is `tail`, or the beginning of it. Control messages have no room, and `size` is that of
        // the struct.
        unsafe { getsockopt_tcp_zerocopy_receive(socket, &mut request, &mut size) }?;
        Ok(Received::of(self, &request, size, tail.len()))
    }

    /// Maps what can be mapped of the next bytes, with the structure of Linux 4.18.
    ///
    /// [`getsockopt_tcp_zerocopy_receive()`] with [`SIZE_4_18`](TcpZerocopyReceive::SIZE_4_18): one call, never retried. It does not
    /// wait for data. Unlike [`Window::receive`] it copies nothing and leaves the error of the socket to `recv`, and
    /// [`Received::inq`] and [`Received::err`] are `None`.
    ///
    /// # Errors
    ///
    /// As the call. `EIO` is the end of the stream.
    ///
    /// # Kernel
    ///
    /// Since Linux 4.18 (claim `zerocopy.recv.tcp-zerocopy-receive`).
    ///
    /// # Example
    ///
    /// See [`Window::receive`].
    pub fn receive_pages<'fd>(
        &mut self,
        socket: impl Into<BorrowedFd<'fd>>,
    ) -> Result<Received<'_>, Errno> {
        let mut request = self.request();
        let mut size = TcpZerocopyReceive::SIZE_4_18;
        // SAFETY: the range is inside the window, which is ours; what was borrowed of it has ended, since `self` is borrowed
        // exclusively. Nothing is copied, and `size` is less than that of the struct.
        unsafe { getsockopt_tcp_zerocopy_receive(socket, &mut request, &mut size) }?;
        Ok(Received::of(self, &request, size, 0))
    }

    /// Gives all pages back, and keeps the addresses. One
    /// [`madvise(2)`](https://man7.org/linux/man-pages/man2/madvise.2.html) with `MADV_DONTNEED`, never retried.
    ///
    /// For a window that stays unused for a while. A receive removes pages only where it could map new ones: after fewer bytes,
    /// the pages further on stay.
    ///
    /// # Errors
    ///
    /// None is known. After one, the pages are as before.
    pub fn release(&mut self) -> Result<(), Errno> {
        // SAFETY: the range is the window, which is ours; what was borrowed of it has ended, since `self` is borrowed
        // exclusively.
        unsafe {
            syscall3(
                Sysno::madvise,
                self.start.as_ptr().expose_provenance(),
                self.length,
                int(libc::MADV_DONTNEED),
            )
        }?;
        Ok(())
    }

    /// Asks for pages in all of the window.
    fn request(&self) -> TcpZerocopyReceive {
        let length = u32::try_from(self.length).unwrap_or(u32::MAX);
        TcpZerocopyReceive::new(self.start.as_ptr(), length)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone, and what was borrowed of it is gone.
        let _ = unsafe {
            syscall2(
                Sysno::munmap,
                self.start.as_ptr().expose_provenance(),
                self.length,
            )
        };
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Window")
            .field("start", &self.start)
            .field("length", &self.length)
            .finish()
    }
}

/// What a receive has taken off the stream, and what it has left. The fields are in the order of the stream.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "the bytes are no longer in the receive queue"]
pub struct Received<'window> {
    /// First: whole pages, in the window.
    pub mapped: Mapped<'window>,
    /// Then: how many bytes were copied to the beginning of the buffer.
    pub copied: usize,
    /// Then: how many bytes cannot be mapped. They are still queued: read them by `recv`. With fewer read, the next answer has the
    /// rest. It is a hint: 0 does not promise a page.
    pub recv_skip_hint: usize,
    /// How many bytes are queued now, with those of the hint, and one more when the peer has shut down. `None`: not asked for.
    pub inq: Option<usize>,
    /// The error of the socket, which the socket then no longer has: `ECONNRESET`, for one. It can come with bytes.
    pub err: Option<Errno>,
}

impl<'window> Received<'window> {
    /// Whether no byte was taken and none is to be read: nothing is queued, or the connection is over. `recv` tells.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.mapped.length == 0 && self.copied == 0 && self.recv_skip_hint == 0
    }

    /// Reads the answer of the kernel. Its first `size` bytes are valid.
    fn of(window: &'window Window, answer: &TcpZerocopyReceive, size: u32, room: usize) -> Self {
        // TIPC ignores options of TCP: it answers with no bytes, and the structure is as it was.
        let is_answer = size >= TcpZerocopyReceive::SIZE_4_18;
        let length = if is_answer { answer.length } else { 0 };
        let recv_skip_hint = if is_answer { answer.recv_skip_hint } else { 0 };
        let has_copied = size >= TcpZerocopyReceive::COPYBUF_END;
        let copied = usize::try_from(answer.copybuf_len).unwrap_or(0);
        let has_err = size >= TcpZerocopyReceive::SIZE_5_6;
        Self {
            mapped: Mapped {
                start: window.start,
                length: (length as usize).min(window.length),
                window: PhantomData,
            },
            // A kernel that does not know the buffer leaves its length as it was.
            copied: if has_copied { copied.min(room) } else { 0 },
            recv_skip_hint: recv_skip_hint as usize,
            inq: has_err.then_some(answer.inq as usize),
            err: (has_err && answer.err != 0).then(|| Errno::new(answer.err.saturating_neg())),
        }
    }
}

/// Received pages in a [`Window`], until its next receive.
///
/// It is not a `&[u8]` and does not `Deref` to one, because **a sender on the same machine may still be able to write to the
/// pages**, and Rust may assume that the bytes of a `&[u8]` do not change. The kernel puts references into the receive queue,
/// not copies, when a sender splices a page from a pipe. It refuses to map a page that a file or ordinary memory has, and it copies
/// what was sent with `MSG_ZEROCOPY` (claim `zerocopy.recv.sharing`). But other pages exist that a program can write to, such as the ring
/// of a packet socket and the queues of an `io_uring`. The test `changing` of this crate writes to both after they were received, and
/// sees the received byte change (5.10 to 7.3, `io_uring` from 6.1 on). A page that its file has lost by truncation is mapped too, and
/// Linux before 6.8 maps pages of files.
///
/// So it gives the pointer and the length for system calls (`write`, `send`), copies out with [`Mapped::read_at`], and leaves
/// [`Mapped::as_slice`] to callers that know the sender. Check what was read, not what is read again later.
///
/// # Faults
///
/// The pages are there as long as this value lives. `SIGBUS` is possible for broken memory only.
#[derive(Clone, Copy)]
pub struct Mapped<'window> {
    start: NonNull<u8>,
    length: usize,
    window: PhantomData<&'window Window>,
}

// SAFETY: a mapping belongs to the process, not to a thread, and it is not writable.
unsafe impl Send for Mapped<'_> {}
// SAFETY: the memory is only copied out, by volatile reads, or used at the caller's own risk.
unsafe impl Sync for Mapped<'_> {}

impl<'window> Mapped<'window> {
    /// How many bytes there are: whole pages.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was mapped.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Where the bytes start, for system calls. Valid as long as this value lives.
    ///
    /// A read through it is at the caller's own risk: the bytes may change meanwhile. A write is `SIGSEGV`.
    #[must_use]
    pub const fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// Copies bytes out, from `offset` on, and returns how many: fewer than there is room for where the pages end, 0 past
    /// their end.
    ///
    /// While a sender changes the bytes, the copy can hold some of the old and some of the new ones. No reference to the
    /// memory is made.
    #[must_use = "the copy may be shorter than the room for it"]
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> usize {
        let count = self.length.saturating_sub(offset).min(into.len());
        if count > 0 {
            // SAFETY: `offset` is inside the mapped pages, and so are the `count` bytes from there on.
            unsafe { copy_out(self.as_ptr().add(offset), &mut into[..count]) };
        }
        count
    }

    /// The bytes as a slice.
    ///
    /// # Safety
    ///
    /// While the slice lives, the bytes do not change. This holds when the sender is on another machine, whose bytes a network
    /// device has written to pages that the kernel allocated for it; and when a sender on this machine has sent them by
    /// `write`, `send` or `MSG_ZEROCOPY`. It does not hold for a sender that can splice other pages to the connection, or
    /// send them through a local interface in another way: see [above](Self).
    #[must_use]
    pub const unsafe fn as_slice(&self) -> &'window [u8] {
        // SAFETY: mapped and readable until the window is used again, not null, and user addresses do not reach isize::MAX
        // bytes; that the bytes do not change, the caller vouches for.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl fmt::Debug for Mapped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Mapped")
            .field("start", &self.start)
            .field("length", &self.length)
            .finish()
    }
}

/// Copies bytes that may change at the same time: each is read once, in words where `from` is aligned.
///
/// # Safety
///
/// `from` is the start of `into.len()` bytes that are mapped, readable, present, and not part of an allocation of Rust.
unsafe fn copy_out(mut from: *const u8, into: &mut [u8]) {
    const WORD: usize = size_of::<u64>();
    let head = from.align_offset(WORD).min(into.len());
    let (head, rest) = into.split_at_mut(head);
    // SAFETY: each step stays within the `into.len()` bytes that the caller vouches for, and `from` is aligned to a word when
    // words are read: the head ends there, or at the end. Any bytes are a valid u64. The pages are present, so no read traps;
    // they are outside of Rust's allocations, where a volatile read may be of memory that others change.
    unsafe {
        for byte in head {
            *byte = from.read_volatile();
            from = from.add(1);
        }
        let mut words = rest.chunks_exact_mut(WORD);
        for word in &mut words {
            #[expect(clippy::cast_ptr_alignment, reason = "aligned by the head")]
            let value = from.cast::<u64>().read_volatile();
            word.copy_from_slice(&value.to_ne_bytes());
            from = from.add(WORD);
        }
        for byte in words.into_remainder() {
            *byte = from.read_volatile();
            from = from.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window that maps nothing, for reading answers.
    fn window(length: usize) -> core::mem::ManuallyDrop<Window> {
        core::mem::ManuallyDrop::new(Window {
            start: NonNull::dangling(),
            length,
        })
    }

    fn answer() -> TcpZerocopyReceive {
        TcpZerocopyReceive {
            length: 8192,
            recv_skip_hint: 10,
            inq: 11,
            err: -libc::ECONNRESET,
            copybuf_len: 7,
            ..TcpZerocopyReceive::default()
        }
    }

    #[test]
    fn a_short_answer_has_no_later_fields() {
        let window = window(1 << 20);
        // The kernel's size, and whether it has the error and the copy buffer.
        for (size, has_err, has_copied) in [
            (16, false, false),
            (20, false, false),
            (24, true, false),
            (32, true, false),
            (36, true, true),
            (40, true, true),
            (64, true, true),
        ] {
            let received = Received::of(&window, &answer(), size, 100);
            assert_eq!(received.mapped.len(), 8192);
            assert_eq!(received.recv_skip_hint, 10);
            assert_eq!(received.inq, has_err.then_some(11), "{size}");
            assert_eq!(received.err, has_err.then_some(Errno::ECONNRESET), "{size}");
            assert_eq!(received.copied, if has_copied { 7 } else { 0 }, "{size}");
        }
    }

    /// Else pages that are not there would be read.
    #[test]
    fn no_answer_is_nothing() {
        for size in [0, 12] {
            let window = window(1 << 20);
            let received = Received::of(&window, &answer(), size, 100);
            assert!(received.is_nothing(), "{received:?}");
            assert_eq!((received.inq, received.err), (None, None));
        }
    }

    #[test]
    fn no_answer_reaches_beyond_the_window_or_the_buffer() {
        let window = window(4096);
        let received = Received::of(&window, &answer(), 64, 3);
        assert_eq!((received.mapped.len(), received.copied), (4096, 3));
        let mut answer = answer();
        answer.copybuf_len = -libc::EFAULT;
        answer.err = i32::MIN;
        let received = Received::of(&window, &answer, 64, 3);
        assert_eq!(received.copied, 0);
        assert!(received.err.is_some());
    }

    #[test]
    fn nothing_is_nothing_of_all_three() {
        let window = window(8192);
        for (length, copied, hint) in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)] {
            let mut answer = answer();
            (answer.length, answer.copybuf_len, answer.recv_skip_hint) = (length, copied, hint);
            let received = Received::of(&window, &answer, 64, 100);
            assert_eq!(
                received.is_nothing(),
                length == 0 && copied == 0 && hint == 0
            );
        }
    }
}
