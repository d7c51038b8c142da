//! Files that live in memory, and the seals that keep them as they are.

use core::ffi::CStr;

use libc::c_int;
use syscalls::{Errno, Sysno, syscall2, syscall3};

use crate::fd::BorrowedFd;
use crate::flags::{MemfdFlags, Seals};
use crate::owned_fd::OwnedFd;

/// Makes a file that lives in memory and has no path.
///
/// [`memfd_create(2)`](https://man7.org/linux/man-pages/man2/memfd_create.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `name` | | what `/proc` shows after `memfd:`; need not be unique; at most 249 bytes |
/// | `flags` | | [`MemfdFlags`] |
///
/// Returns a descriptor for reading and writing. The file has a size of 0.
///
/// # Errors
///
/// - `EACCES`: neither [`MemfdFlags::NOEXEC_SEAL`] nor [`MemfdFlags::EXEC`], or the latter, where `vm.memfd_noexec` is 2
/// - `EINVAL`: an unknown flag, flags that do not go together, or `name` too long
/// - `EMFILE`: the process has too many open files
/// - `ENFILE`: the system has too many open files
/// - `ENODEV`: [`MemfdFlags::HUGETLB`] with a page size that the machine does not have
/// - `ENOMEM`: no memory
///
/// # Kernel
///
/// Since Linux 3.17; each flag has its own version.
///
/// # Example
///
/// ```
/// use nocopy_mmap::{MemfdFlags, memfd_create};
///
/// let file = memfd_create(c"scratch", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
/// # #[cfg(feature = "std")]
/// let file = std::fs::File::from(std::os::fd::OwnedFd::from(file));
/// # Ok::<(), nocopy_mmap::Errno>(())
/// ```
#[inline]
pub fn memfd_create(name: &CStr, flags: MemfdFlags) -> Result<OwnedFd, Errno> {
    // SAFETY: `name` ends with a zero byte; the kernel reads it up to there during the call and does not keep the
    // pointer.
    let raw = unsafe {
        syscall2(
            Sysno::memfd_create,
            name.as_ptr().expose_provenance(),
            flags.bits() as usize,
        )
    }?;
    // SAFETY: the kernel has just opened it, and nobody else knows the number.
    Ok(unsafe { OwnedFd::from_raw(int(raw)) })
}

/// Forbids changes of a memfd, to everybody and for ever.
///
/// [`fcntl(2)`](https://man7.org/linux/man-pages/man2/F_ADD_SEALS.2const.html) with `F_ADD_SEALS`: one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd` | | a memfd, open for writing |
/// | `seals` | | [`Seals`] to add; those that are there stay |
///
/// # Errors
///
/// - `EBADF`: `fd` is not open (or `O_PATH`)
/// - `EBUSY`: [`Seals::WRITE`], and a shared mapping that can be written exists, or a write into the file's pages is on its way
/// - `EINVAL`: `fd` is nothing that can have seals, or an unknown seal
/// - `EPERM`: `fd` is not open for writing, or the file has [`Seals::SEAL`]; it has from the start without
///   [`MemfdFlags::ALLOW_SEALING`]
///
/// # Kernel
///
/// Since Linux 3.17; each seal has its own version.
///
/// # Example
///
/// ```
/// # use nocopy_mmap::{MemfdFlags, Seals, fcntl_add_seals, fcntl_get_seals, memfd_create};
/// let file = memfd_create(c"sealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
/// fcntl_add_seals(&file, Seals::SHRINK | Seals::WRITE)?;
/// assert!(fcntl_get_seals(&file)?.contains(Seals::WRITE));
/// # Ok::<(), nocopy_mmap::Errno>(())
/// ```
#[inline]
pub fn fcntl_add_seals<'fd>(fd: impl Into<BorrowedFd<'fd>>, seals: Seals) -> Result<(), Errno> {
    let fd = fd.into();
    // SAFETY: nothing is a pointer.
    unsafe {
        syscall3(
            Sysno::fcntl,
            fd.to_arg(),
            (libc::F_ADD_SEALS as isize).cast_unsigned(),
            (seals.bits() as isize).cast_unsigned(),
        )
    }?;
    Ok(())
}

/// Returns which changes of a memfd are forbidden.
///
/// [`fcntl(2)`](https://man7.org/linux/man-pages/man2/F_GET_SEALS.2const.html) with `F_GET_SEALS`: one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd` | | a memfd, or a file on tmpfs or hugetlbfs, which has [`Seals::SEAL`] and no other |
///
/// Returns the seals. More can be added at any time unless [`Seals::SEAL`] is among them; none goes away.
///
/// # Errors
///
/// - `EBADF`: `fd` is not open (or `O_PATH`)
/// - `EINVAL`: `fd` is nothing that can have seals
///
/// # Kernel
///
/// Since Linux 3.17.
///
/// # Example
///
/// See [`fcntl_add_seals()`].
#[inline]
pub fn fcntl_get_seals<'fd>(fd: impl Into<BorrowedFd<'fd>>) -> Result<Seals, Errno> {
    let fd = fd.into();
    // SAFETY: nothing is a pointer.
    let bits = unsafe {
        syscall2(
            Sysno::fcntl,
            fd.to_arg(),
            (libc::F_GET_SEALS as isize).cast_unsigned(),
        )
    }?;
    Ok(Seals::from_bits_retain(int(bits)))
}

/// What the kernel returned from a function whose result is an `int`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the kernel's own value is an int"
)]
const fn int(returned: usize) -> c_int {
    returned as c_int
}
