//! A copy that the kernel makes.

use core::ptr;

use syscalls::{Errno, Sysno, syscall6};

use crate::fd::BorrowedFd;
use crate::flags::CopyFileRangeFlags;

/// The most bytes of one call where the kernel itself copies, with pages of 4 KiB: [`max_count`]`(4096)`, 2 GiB less one page.
pub const MAX_COUNT: usize = max_count(4096);

/// The most bytes of one call where the kernel itself copies, by the size of a page: `MAX_RW_COUNT`, which is `INT_MAX & PAGE_MASK`.
///
/// A larger `len` is not an error: it is a short count. File systems that have a copy of their own are not held to the limit (in
/// Linux 7.3 Ceph, FUSE, NFS 4.2, overlay and SMB), so a call can return more than this if it was asked for more.
///
/// ```
/// # use nocopy_copy_file_range::{MAX_COUNT, max_count};
/// assert_eq!(max_count(4 << 10), MAX_COUNT);
/// assert_eq!(max_count(64 << 10), 0x7fff_0000); // aarch64 may have these
/// ```
#[must_use]
pub const fn max_count(page_size: usize) -> usize {
    // A page size is a power of two, whose negative is the mask of what is above it.
    0x7fff_ffff & page_size.wrapping_neg()
}

/// Copies bytes from one file to another inside the kernel, or lets the file system share or copy them.
///
/// [`copy_file_range(2)`](https://man7.org/linux/man-pages/man2/copy_file_range.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `fd_in` | | a regular file that is open for reading |
/// | `off_in` | bytes | in: where to start; out: the byte after the last one copied. `None`: the file position, which moves, for every descriptor that shares it |
/// | `fd_out` | | a regular file that is open for writing, without `O_APPEND`, and on the same file system |
/// | `off_out` | bytes | the same for `fd_out` |
/// | `len` | bytes | how many at most. Ask for no more than [`MAX_COUNT`]: then an offset and `len` cannot overflow |
/// | `flags` | | [`CopyFileRangeFlags::empty()`] |
///
/// Returns the bytes copied. Fewer than `len` is a success: the source ended, `RLIMIT_FSIZE` is near, the limit of one call
/// was reached ([`max_count`]), or the file system shares whole blocks and leaves the rest to the next call (btrfs and XFS: 4096 of
/// 4097 bytes that are there, measured on Linux 6.18). `0` means the end of the source, `len` 0, **or a file whose size is not known before it is read**
/// (`/proc`): `read` tells them apart, see [`Fallback`](crate::Fallback).
///
/// Nothing is promised about sharing. btrfs and XFS share whole blocks and copy the rest; ext4 and tmpfs copy. A hole of the source
/// becomes zeros that take space (ext4, claim `copy-file-range.content.hole`); [`ficlone()`](crate::ficlone()) keeps holes.
///
/// The bytes are not durable until `fsync`. Bytes that others write meanwhile may be in the copy, in part.
///
/// # Errors
///
/// [`Fallback::after_copy_file_range`](crate::Fallback::after_copy_file_range) says what a copy does next.
///
/// - `EBADF`: `fd_out` has `O_APPEND`; `fd_in` is not open for reading, `fd_out` not for writing; one is not open (or `O_PATH`)
/// - `EFBIG`: `off_out` is at `RLIMIT_FSIZE` (with `SIGXFSZ`) or at the largest file that the file system has
/// - `EINTR`: a signal came before a byte was copied, where the file system waits for another machine or process
/// - `EINVAL`: one of them is a pipe, a socket or a device; the file system is hugetlbfs; the ranges overlap in one file; a
///   flag; or an offset above `i64::MAX` (see below)
/// - `EIO`: the file could not be read or written
/// - `EISDIR`: one of them is a directory
/// - `ENOMEM`: no memory
/// - `ENOSPC`: no space for the bytes
/// - `ENOSYS`: before Linux 4.5, or a filter refuses the call
/// - `EOPNOTSUPP`: the file system does not support it
/// - `EOVERFLOW`: an offset and `len` together are above `u64::MAX`
/// - `EPERM`: `fd_out` is immutable, or a memfd with `F_SEAL_WRITE`, or with `F_SEAL_GROW` and at its end; or a filter refuses
///   the call
/// - `ETXTBSY`: one of them is a swap file
/// - `EXDEV`: they are on two file systems
///
/// # Kernel
///
/// Since Linux 4.5, and with these rules since 5.3 (the manual). Between two file systems, and between two mounts of tmpfs,
/// `EXDEV` on all kernels measured, 5.10 to 7.3 (claims `copy-file-range.errors.two-file-systems`, `copy-file-range.ends.two-mounts`);
/// 5.3 to 5.18 copied, unless they had the correction of 5.19. NFS and SMB may copy between two mounts (the manual).
///
/// **Offsets above `i64::MAX`** are negative for the kernel: `EOVERFLOW` if the range reaches `u64::MAX + 1`, and `EINVAL` if it ends
/// before, on 5.10 to 7.3 (claim `copy-file-range.offset.negative`). The sum of an offset and `len` may be above `i64::MAX`: the range
/// is cut at the end of the source (claim `copy-file-range.length.overflow`, which refutes the manual). A target offset of `i64::MAX` is
/// `EFBIG` (claim `copy-file-range.errors.efbig`).
///
/// Into a FUSE file, Linux 7.3 cuts `len` to 32 bits of whole pages, since the answer of the server has 32 bits.
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// # use nocopy_copy_file_range::{CopyFileRangeFlags, copy_file_range};
/// # let (input, output): (std::fs::File, std::fs::File) = unimplemented!();
/// let (mut from, mut to) = (4096, 0);
/// let copied = copy_file_range(&input, Some(&mut from), &output, Some(&mut to), 1 << 20, CopyFileRangeFlags::empty())?;
/// assert_eq!((from, to), (4096 + copied as u64, copied as u64));
/// # }
/// # Ok::<(), nocopy_copy_file_range::Errno>(())
/// ```
#[inline]
pub fn copy_file_range<'input, 'output>(
    fd_in: impl Into<BorrowedFd<'input>>,
    off_in: Option<&mut u64>,
    fd_out: impl Into<BorrowedFd<'output>>,
    off_out: Option<&mut u64>,
    len: usize,
    flags: CopyFileRangeFlags,
) -> Result<usize, Errno> {
    let off_in = off_in.map_or(ptr::null_mut(), ptr::from_mut);
    let off_out = off_out.map_or(ptr::null_mut(), ptr::from_mut);
    let (fd_in, fd_out) = (fd_in.into(), fd_out.into());
    // SAFETY: `off_in` and `off_out` are each null or an exclusive reference to 8 bytes, the size of a loff_t; the kernel
    // reads and writes them during the call and does not keep the pointers. Nothing else is a pointer.
    unsafe {
        syscall6(
            Sysno::copy_file_range,
            fd_in.to_arg(),
            off_in.cast::<libc::loff_t>().expose_provenance(),
            fd_out.to_arg(),
            off_out.cast::<libc::loff_t>().expose_provenance(),
            len,
            flags.bits() as usize,
        )
    }
}
