//! A borrowed file descriptor, since `core` has none.
//!
//! This file is the same, byte for byte, in every crate of nocopy.

use core::marker::PhantomData;

use libc::c_int;

/// A file descriptor number that stays open for at least `'fd`.
///
/// With the feature `std`, every `&'fd T` where `T` is std's `AsFd` converts into it, so the wrappers take `&file`, `&socket` and
/// `std`'s own `BorrowedFd` as they are.
///
/// Each crate of nocopy has a type of this name, since none depends on another. Without `std`, a descriptor of one crate passes to
/// another's wrapper by [`BorrowedFd::borrow_raw`] of its number, for as long as its owner is borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct BorrowedFd<'fd> {
    raw: c_int,
    owner: PhantomData<&'fd c_int>,
}

impl BorrowedFd<'_> {
    /// Borrows a descriptor by its number.
    ///
    /// # Safety
    ///
    /// While the returned value lives, `raw` is not closed by its owner and its number is not given to
    /// another file. A number that was never open (`-1`) is allowed: the kernel answers `EBADF`.
    #[must_use]
    pub const unsafe fn borrow_raw(raw: c_int) -> Self {
        Self {
            raw,
            owner: PhantomData,
        }
    }

    /// The descriptor's number.
    #[must_use]
    pub const fn as_raw(self) -> c_int {
        self.raw
    }

    /// The number as a system call argument: sign-extended, as C passes an `int` in a register.
    #[inline]
    #[allow(
        dead_code,
        reason = "the file is the same in crates that pass it differently"
    )]
    pub(crate) const fn to_arg(self) -> usize {
        (self.raw as isize).cast_unsigned()
    }
}

#[cfg(feature = "std")]
impl<'fd, T: std::os::fd::AsFd> From<&'fd T> for BorrowedFd<'fd> {
    #[inline]
    fn from(owner: &'fd T) -> Self {
        owner.as_fd().into()
    }
}

#[cfg(feature = "std")]
impl<'fd> From<std::os::fd::BorrowedFd<'fd>> for BorrowedFd<'fd> {
    #[inline]
    fn from(fd: std::os::fd::BorrowedFd<'fd>) -> Self {
        Self {
            raw: std::os::fd::AsRawFd::as_raw_fd(&fd),
            owner: PhantomData,
        }
    }
}
