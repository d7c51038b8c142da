//! The calls that a ring makes on its socket.

use crate::abi::{MsgHdr, SO_ERROR};
use crate::enable::{Enabled, socket_option};
use crate::error_queue::{Received, recv_error_queue};
use crate::fd::BorrowedFd;
use crate::flags::SendFlags;
use crate::owned_fd::OwnedFd;
use crate::send::{sendmsg_copied, sendmsg_zerocopy};
use core::time::Duration;
use libc::{c_int, c_short};
use syscalls::{Errno, Sysno, syscall1, syscall2, syscall3, syscall4, syscall5, syscall6};

/// What a ring can have its socket as: an [`OwnedFd`], a [`BorrowedFd`], or with the feature `std` anything that has a descriptor, such
/// as `Arc<TcpStream>`.
///
/// Sealed: the ring's memory depends on what these calls answer.
pub trait Socket: sealed::Socket {}

impl<T: sealed::Socket> Socket for T {}

/// What can be made an [`OwnedFd`] of: it, and with the feature `std` all that std's `OwnedFd` is made of, such as a `TcpStream`.
pub trait IntoSocket {
    /// Gives up the socket.
    fn into_socket(self) -> OwnedFd;
}

#[cfg(not(feature = "std"))]
impl IntoSocket for OwnedFd {
    fn into_socket(self) -> OwnedFd {
        self
    }
}

#[cfg(feature = "std")]
impl<T: Into<std::os::fd::OwnedFd>> IntoSocket for T {
    fn into_socket(self) -> OwnedFd {
        let owned: std::os::fd::OwnedFd = self.into();
        // SAFETY: it is open, and its only owner gives it away.
        unsafe { OwnedFd::from_raw(std::os::fd::IntoRawFd::into_raw_fd(owned)) }
    }
}

/// Which direction [`Ring::shutdown`](crate::Ring::shutdown) ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// `SHUT_RD`: reads return 0 once the buffer is empty. The peer is not told.
    Read,
    /// `SHUT_WR`: the peer reads to the end of what was sent, and then 0.
    Write,
    /// `SHUT_RDWR`.
    Both,
}

pub(crate) mod sealed {
    use super::{
        BorrowedFd, Duration, Enabled, Errno, MsgHdr, Received, SO_ERROR, SendFlags, c_int,
        c_short, disconnect, poll, recv_error_queue, sendmsg_copied, sendmsg_zerocopy,
        socket_option,
    };

    /// The kernel, unless a test answers in its place.
    pub trait Socket {
        fn fd(&self) -> BorrowedFd<'_>;

        /// # Safety
        ///
        /// As [`sendmsg_zerocopy`].
        unsafe fn send_zerocopy(
            &self,
            message: &MsgHdr<'_>,
            flags: SendFlags,
        ) -> Result<usize, Errno> {
            // SAFETY: as the caller has promised. `SO_ZEROCOPY` was on when the ring was made.
            unsafe { sendmsg_zerocopy(Enabled::assume(self.fd()), message, flags) }
        }

        /// The message has no control messages.
        fn send_copied(&self, message: &MsgHdr<'_>, flags: SendFlags) -> Result<usize, Errno> {
            // SAFETY: a ring's message has no control messages.
            unsafe { sendmsg_copied(self.fd(), message, flags) }
        }

        fn recv_error_queue(&self, control: &mut [u8]) -> Result<Received, Errno> {
            recv_error_queue(self.fd(), control)
        }

        fn disconnect(&self) -> Result<(), Errno> {
            disconnect(self.fd())
        }

        /// The error that the socket has kept, which is taken from it; 0 for none.
        fn take_error(&self) -> Result<c_int, Errno> {
            socket_option(self.fd(), SO_ERROR)
        }

        fn poll(&self, events: c_short, left: &mut Duration) -> Result<c_short, Errno> {
            poll(self.fd(), events, left)
        }
    }
}

impl sealed::Socket for BorrowedFd<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        *self
    }
}

#[cfg(not(feature = "std"))]
impl sealed::Socket for OwnedFd {
    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

#[cfg(feature = "std")]
impl<T: std::os::fd::AsFd> sealed::Socket for T {
    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd().into()
    }
}

/// `connect` to `AF_UNSPEC`: TCP resets the connection and drops what it had queued. One call.
fn disconnect(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // A `sockaddr` with the family 0.
    let address = [0_u8; 16];
    // SAFETY: `address` is readable for the length that is given; the kernel copies it during the call.
    unsafe {
        syscall3(
            Sysno::connect,
            fd.to_arg(),
            address.as_ptr().expose_provenance(),
            address.len(),
        )
    }
    .map(drop)
}

/// `recvfrom` without flags and address. One call.
pub(crate) fn receive(fd: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: `bytes` is writable for its length, and the kernel writes there during the call only. The address is null.
    unsafe {
        syscall6(
            Sysno::recvfrom,
            fd.to_arg(),
            bytes.as_mut_ptr().expose_provenance(),
            bytes.len(),
            0,
            0,
            0,
        )
    }
}

/// One call.
pub(crate) fn shutdown(fd: BorrowedFd<'_>, direction: Shutdown) -> Result<(), Errno> {
    let how = match direction {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: no pointer.
    unsafe { syscall2(Sysno::shutdown, fd.to_arg(), how.cast_unsigned() as usize) }.map(drop)
}

/// Waits for events; what came, 0 if nothing did. Takes from `left` what it has waited. One call.
fn poll(fd: BorrowedFd<'_>, events: c_short, left: &mut Duration) -> Result<c_short, Errno> {
    let mut fds = libc::pollfd {
        fd: fd.as_raw(),
        events,
        revents: 0,
    };
    // What the kernel takes for ever is less than what a duration can be.
    let mut limit = [
        i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        i64::from(left.subsec_nanos()),
    ];
    // SAFETY: one `pollfd` and one `timespec` (two 64-bit numbers), readable and writable; no signal mask. The kernel keeps no pointer.
    let ready = unsafe {
        syscall5(
            Sysno::ppoll,
            (&raw mut fds).expose_provenance(),
            1,
            limit.as_mut_ptr().expose_provenance(),
            0,
            0,
        )
    };
    let [seconds, nanoseconds] = limit;
    *left = Duration::new(
        u64::try_from(seconds).unwrap_or(0),
        u32::try_from(nanoseconds).unwrap_or(0),
    );
    ready.map(|_| fds.revents)
}

/// Waits for *news* of a socket whose state is reported for ever: both directions shut is `POLLHUP`, and a poll would not sleep.
pub(crate) struct News {
    epoll: OwnedFd,
}

impl News {
    /// Two calls: `epoll_create1`, `epoll_ctl`. What is true already counts as news once.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        // SAFETY: no pointer.
        let epoll = unsafe {
            syscall1(
                Sysno::epoll_create1,
                libc::EPOLL_CLOEXEC.cast_unsigned() as usize,
            )
        }?;
        let raw = c_int::try_from(epoll).map_err(|_| Errno::EMFILE)?;
        // SAFETY: just made, and nobody else's.
        let epoll = unsafe { OwnedFd::from_raw(raw) };
        let mut event = libc::epoll_event {
            events: libc::EPOLLET.cast_unsigned(),
            u64: 0,
        };
        // SAFETY: one readable `epoll_event`; the kernel copies it during the call.
        unsafe {
            syscall4(
                Sysno::epoll_ctl,
                epoll.as_fd().to_arg(),
                libc::EPOLL_CTL_ADD.cast_unsigned() as usize,
                fd.to_arg(),
                (&raw mut event).expose_provenance(),
            )
        }?;
        Ok(Self { epoll })
    }

    /// Two calls: `ppoll`, and `epoll_pwait` if there is news. Whether there was.
    pub(crate) fn wait(&self, left: &mut Duration) -> Result<bool, Errno> {
        let epoll = self.epoll.as_fd();
        if poll(epoll, libc::POLLIN, left)? == 0 {
            return Ok(false);
        }
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: one writable `epoll_event` and the number 1; it does not wait, and there is no signal mask.
        unsafe {
            syscall6(
                Sysno::epoll_pwait,
                epoll.to_arg(),
                (&raw mut event).expose_provenance(),
                1,
                0,
                0,
                0,
            )
        }
        .map(|count| count > 0)
    }
}
