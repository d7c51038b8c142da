//! Clones: two files that share blocks until one of them is written.

use core::ptr;

use syscalls::{Errno, Sysno, syscall3};

use crate::abi::{FICLONE, FICLONERANGE, FileCloneRange};
use crate::fd::BorrowedFd;

/// Makes a file share all blocks of another one: a copy that takes no space until one of the two is written.
///
/// [`ioctl(dest, FICLONE, src)`](https://man7.org/linux/man-pages/man2/FICLONE.2const.html): one call, never retried.
///
/// | argument | |
/// |---|---|
/// | `dest` | a regular file that is open for writing, without `O_APPEND` |
/// | `src` | a regular file of the same file system that is open for reading |
///
/// Bytes of `dest` past the end of `src` stay, if `src` ends at a whole block; else the call fails (measured on btrfs and xfs, Linux
/// 6.18): the destination of a copy is empty. Holes stay
/// holes. No file position is used or moved.
///
/// The clone is of one moment: writes to `src` come before it or after it. It is not durable until `fsync`.
///
/// # Errors
///
/// No claim is about this call: the causes are those of `FICLONE(2const)` (man-pages 6.20), and of Linux 7.3 (`fs/remap_range.c`)
/// where it says so. [`Fallback::after_ficlone`](crate::Fallback::after_ficlone) says what a copy does next.
///
/// - `EBADF`: `dest` is not open for writing or has `O_APPEND`; `src` is not open for reading; one is not open (or `O_PATH`). The
///   manual also has it for a file system without shared blocks; Linux 7.3 answers `EOPNOTSUPP`
/// - `EFBIG`: `dest` may not have a byte (`RLIMIT_FSIZE`; `SIGXFSZ` comes, too). If it may have some, and too few, it is `EINVAL`
/// - `EINVAL`: both are pipes, or one is a pipe, a socket or a device of the same file system; both are the same file; `dest` is longer
///   than a `src` that does not end at a whole block; or the file system cannot share the blocks of these two files
/// - `EISDIR`: one of them is a directory of the same file system
/// - `ENOSPC`: no space for what describes shared blocks. XFS answers it in a part of the disk that is nearly full, where a copy
///   still has space
/// - `ENOTTY`: the kernel does not know the call (before Linux 4.5, or it is not Linux)
/// - `EOPNOTSUPP`: the file system has no shared blocks (ext4, tmpfs)
/// - `EPERM`: `dest` is immutable
/// - `ETXTBSY`: one of them is a swap file
/// - `EXDEV`: they are on two file systems, which is looked at before their kinds: a pipe, a socket, a device of devtmpfs. Linux 7.3 compares file systems and not mounts: two mounts of one file system are no error
///
/// # Kernel
///
/// Since Linux 4.5; btrfs alone had it before, by the same number (the manual). In Linux 7.3 btrfs,
/// NFS 4.2, OCFS2, overlay, SMB and XFS have it; for NFS, SMB and overlay it depends on the file system below.
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// # use std::fs::File;
/// use nocopy_copy_file_range::{Fallback, ficlone};
///
/// let (from, to) = (File::open("image")?, File::create_new("image.new")?);
/// match ficlone(&to, &from) {
///     Ok(()) => println!("shared"),
///     Err(errno) if Fallback::after_ficlone(errno) == Fallback::ByOtherMeans => println!("to be copied"),
///     Err(errno) => return Err(errno.into()),
/// }
/// # }
/// # #[cfg(feature = "std")]
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn ficlone<'dest, 'src>(
    dest: impl Into<BorrowedFd<'dest>>,
    src: impl Into<BorrowedFd<'src>>,
) -> Result<(), Errno> {
    let (dest, src) = (dest.into(), src.into());
    // SAFETY: no argument is a pointer. Since Linux 4.5 the kernel takes this request before a driver could read it as another one;
    // before, the argument is a small number, which is no address of this program.
    unsafe { syscall3(Sysno::ioctl, dest.to_arg(), FICLONE as usize, src.to_arg()) }?;
    Ok(())
}

/// Makes a range of a file share the blocks of a range of another one, or of the same one.
///
/// [`ioctl(dest, FICLONERANGE, &range)`](https://man7.org/linux/man-pages/man2/FICLONERANGE.2const.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `dest` | | as in [`ficlone()`] |
/// | `src` | | as in [`ficlone()`]; it may be the same file, if the ranges do not overlap |
/// | `src_offset` | bytes | a multiple of the file system's block size |
/// | `src_length` | bytes | such a multiple, or up to the end of `src` exactly. **0 is up to the end of `src`**, not nothing |
/// | `dest_offset` | bytes | a multiple of the block size |
///
/// All of the range is shared, or the call fails. After an error a part may be shared (XFS goes extent by extent), so that the
/// whole range is to be copied.
///
/// # Errors
///
/// Those of [`ficlone()`], and:
///
/// - `EINVAL`: an offset or the length is not a multiple of the block size; the range ends past the end of `src`, or begins there with a length;
///   the ranges overlap; an offset is above `i64::MAX`, or an offset and the length are together; a last block that is not whole
///   would lie in the middle of `dest`; or the range passes `RLIMIT_FSIZE`
/// - `EFBIG`: `dest_offset` is at `RLIMIT_FSIZE` (with `SIGXFSZ`) or at the largest file that the file system has
///
/// # Kernel
///
/// As [`ficlone()`].
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// # let (from, to): (std::fs::File, std::fs::File) = unimplemented!();
/// // The second MiB of one file becomes the first of the other.
/// nocopy_copy_file_range::ficlonerange(&to, &from, 1 << 20, 1 << 20, 0)?;
/// # }
/// # Ok::<(), nocopy_copy_file_range::Errno>(())
/// ```
#[inline]
pub fn ficlonerange<'dest, 'src>(
    dest: impl Into<BorrowedFd<'dest>>,
    src: impl Into<BorrowedFd<'src>>,
    src_offset: u64,
    src_length: u64,
    dest_offset: u64,
) -> Result<(), Errno> {
    let (dest, src) = (dest.into(), src.into());
    let range = FileCloneRange {
        src_fd: src.as_raw().into(),
        src_offset,
        src_length,
        dest_offset,
    };
    // SAFETY: `range` is on this stack and has the layout of `struct file_clone_range` (asserted); the kernel reads it during the
    // call and does not keep the pointer. Nothing else is a pointer.
    unsafe {
        syscall3(
            Sysno::ioctl,
            dest.to_arg(),
            FICLONERANGE as usize,
            ptr::from_ref(&range).expose_provenance(),
        )
    }?;
    Ok(())
}
