//! An owned file descriptor, since `core` has none.
//!
//! This file is the same, byte for byte, in every crate of nocopy that creates descriptors.

use libc::c_int;
use syscalls::{Sysno, syscall1};

use crate::fd::BorrowedFd;

/// A file descriptor that is closed when it is dropped.
///
/// `&owned` is taken by every wrapper, with and without the feature `std`. With `std` it converts into
/// `std::os::fd::OwnedFd`, and from there into `File`, `TcpStream` and so on.
///
/// Dropping makes one [`close(2)`](https://man7.org/linux/man-pages/man2/close.2.html), never retried: Linux has freed
/// the number even where `close` reports `EINTR`. The result is not seen; code that needs it calls `close` on
/// [`OwnedFd::into_raw`].
#[derive(Debug)]
#[repr(transparent)]
pub struct OwnedFd {
    raw: c_int,
}

impl OwnedFd {
    /// Takes over a descriptor by its number.
    ///
    /// # Safety
    ///
    /// `raw` is open, no other code closes it, and `close` is the right way to.
    #[must_use]
    pub const unsafe fn from_raw(raw: c_int) -> Self {
        Self { raw }
    }

    /// Gives the number away: the descriptor stays open.
    #[must_use]
    pub const fn into_raw(self) -> c_int {
        let raw = self.raw;
        core::mem::forget(self);
        raw
    }

    /// The descriptor's number.
    #[must_use]
    pub const fn as_raw(&self) -> c_int {
        self.raw
    }

    /// Borrows the descriptor.
    #[must_use]
    pub const fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the borrow of `self` keeps the descriptor open.
        unsafe { BorrowedFd::borrow_raw(self.raw) }
    }
}

impl Drop for OwnedFd {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: no pointer; the number is ours alone (`from_raw`, and `into_raw` skips this) and is not used again.
        let _ = unsafe { syscall1(Sysno::close, self.as_fd().to_arg()) };
    }
}

// With `std` this conversion comes from `AsFd`.
#[cfg(not(feature = "std"))]
impl<'fd> From<&'fd OwnedFd> for BorrowedFd<'fd> {
    #[inline]
    fn from(owner: &'fd OwnedFd) -> Self {
        owner.as_fd()
    }
}

#[cfg(feature = "std")]
impl std::os::fd::AsFd for OwnedFd {
    #[inline]
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        // SAFETY: the borrow of `self` keeps the descriptor open, and an open descriptor is not -1.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(self.raw) }
    }
}

#[cfg(feature = "std")]
impl std::os::fd::AsRawFd for OwnedFd {
    #[inline]
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.raw
    }
}

#[cfg(feature = "std")]
impl From<OwnedFd> for std::os::fd::OwnedFd {
    #[inline]
    fn from(owned: OwnedFd) -> Self {
        // SAFETY: it is open, so it is not -1, and `close` is all that it needs; `owned` was the only owner and gives it away.
        unsafe { std::os::fd::FromRawFd::from_raw_fd(owned.into_raw()) }
    }
}
