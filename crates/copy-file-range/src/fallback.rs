//! What an errno means for a program that wants the bytes copied, by this call or by another one.

#![forbid(unsafe_code)]

use syscalls::Errno;

/// What to do after a call of this crate has failed, where the aim is a copy.
///
/// The rule: **read and write the rest wherever that can succeed**. If `read` or `write` fails, its errno is at least as exact. An error is
/// final only if a second attempt would repeat it.
///
/// Bytes that were copied before the error stay copied, and the offsets (or file positions) stand after them: go on from there. After
/// [`ficlone()`](crate::ficlone()) or [`ficlonerange()`](crate::ficlonerange()) begin at the beginning.
///
/// # The value 0 is not an error
///
/// `copy_file_range` returns 0 at the end of the source (claim `copy-file-range.end.zero`), and also for files whose size is not known
/// before they are read: from one file of `/proc` to another it returns 0 and copies nothing, on all kernels measured, 5.10 to 7.3
/// (claim `copy-file-range.proc.silent`). On Linux 5.3 to 5.18 without the correction of 5.19, a copy from some virtual file
/// systems to a disk was 0, too (the manual, BUGS; [golang/go#44272](https://github.com/golang/go/issues/44272)). So **after 0, read**: if `read` returns 0
/// as well, it is the end.
///
/// # After `copy_file_range`
///
/// "Manual" is `copy_file_range(2)` of man-pages 6.20. The claims hold on 5.10 to 7.3, with three exceptions: pidfds are `EXDEV` from 6.12
/// on, block devices could not be tried on 6.19 to 7.1, and `copy-file-range.length.overflow` is refuted on all.
///
/// | errno | answer | why | decided by |
/// |---|---|---|---|
/// | `EINTR` | [`Again`](Self::Again) | a signal came before a byte was copied (network file systems, FUSE) | not in the manual |
/// | `EXDEV` | [`ByOtherMeans`](Self::ByOtherMeans) | two file systems, also two of one type | `copy-file-range.errors.two-file-systems`, `copy-file-range.ends.two-mounts` |
/// | `EINVAL` | `ByOtherMeans` | a pipe, a socket, a device, on 5.10 and 6.1 a pidfd; a file of hugetlbfs. **Not after** an overlap within one file, see below | `copy-file-range.errors.kinds`, `copy-file-range.errors.target-kinds`, `copy-file-range.errors.block-device`, `copy-file-range.errors.pidfd` |
/// | `EOPNOTSUPP` | `ByOtherMeans` | the file system does not support it | the manual, since 5.19 |
/// | `ENOSYS` | `ByOtherMeans` | before Linux 4.5, or a filter refuses the call | the manual, HISTORY |
/// | `EPERM` | `ByOtherMeans` | a filter of system calls refuses it ([golang/go#40893](https://github.com/golang/go/issues/40893), [rust-lang/rust#51266](https://github.com/rust-lang/rust/issues/51266)); or the target is sealed or immutable: `write` decides | `copy-file-range.errors.sealed`, `copy-file-range.errors.immutable` |
/// | `ETXTBSY` | `ByOtherMeans` | a swap file: as a source it can be read, as a target `write` fails too | the manual |
/// | `EOVERFLOW` | `ByOtherMeans` | an offset and the length are above `u64::MAX` together. With offsets up to `i64::MAX` and at most [`MAX_COUNT`](crate::MAX_COUNT) bytes it does not occur | `copy-file-range.length.overflow` (its facts), `copy-file-range.offset.negative` |
/// | `EACCES`, `ENOENT` | `ByOtherMeans` | a security module or a file server may refuse this call alone: `read` and `write` decide | not in the manual |
/// | `EBADF` | [`ByAppending`](Self::ByAppending) | the target has `O_APPEND`; or a descriptor is not open, or not for this, and then `read` or `write` fails too | `copy-file-range.errors.append`, `copy-file-range.errors.ebadf`, `copy-file-range.errors.not-open` |
/// | `EISDIR` | [`NotAtAll`](Self::NotAtAll) | a directory | `copy-file-range.errors.kinds`, `copy-file-range.errors.target-kinds` |
/// | `EFBIG` | `NotAtAll` | the largest file, or `RLIMIT_FSIZE` (and `SIGXFSZ` has come already) | `copy-file-range.errors.efbig`, `copy-file-range.errors.size-limit` |
/// | `ENOSPC`, `ENOMEM` | `NotAtAll` | no space, no memory | the manual |
/// | `EIO` | `NotAtAll` | the disk or the server failed. An old kernel (3.10) had it for SMB in general ([golang/go#42334](https://github.com/golang/go/issues/42334)): a program for that may read and write after it | the manual |
/// | any other | `NotAtAll` | `EDQUOT`, `EROFS`, `ESTALE`, ... | |
///
/// **`EINVAL` within one file.** If source and target are the same file and the ranges overlap, the errno is `EINVAL` as well (claim
/// `copy-file-range.same-file.overlap`), and a loop of `read` and `write` from the beginning would read what it has just written. It
/// is `EINVAL`, too, for flags (claim `copy-file-range.flags.none`) and for an offset above `i64::MAX` (claim
/// `copy-file-range.offset.negative`). The answer is for two different files, no flags, and offsets below.
///
/// # Example
///
/// The loop in the crate's documentation, and `examples/copy_file.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fallback {
    /// Make the same call again.
    Again,
    /// Use another call: after a clone `copy_file_range`, then `read` and `write`.
    ByOtherMeans,
    /// As [`ByOtherMeans`](Self::ByOtherMeans), but only if the end of the target is where the bytes belong: it may be open with
    /// `O_APPEND`, and then `write`, and **also `pwrite`**, put them there whatever the offset is.
    ByAppending,
    /// Report the error: another call would fail as well.
    NotAtAll,
}

impl Fallback {
    /// After [`copy_file_range()`](crate::copy_file_range()) has failed: see the table of [`Fallback`].
    #[must_use]
    pub const fn after_copy_file_range(errno: Errno) -> Self {
        match errno {
            Errno::EINTR => Self::Again,
            Errno::EXDEV
            | Errno::EINVAL
            | Errno::EOPNOTSUPP
            | Errno::ENOSYS
            | Errno::EPERM
            | Errno::EACCES
            | Errno::ENOENT
            | Errno::ETXTBSY
            | Errno::EOVERFLOW => Self::ByOtherMeans,
            Errno::EBADF => Self::ByAppending,
            _ => Self::NotAtAll,
        }
    }

    /// After [`ficlone()`](crate::ficlone()) or [`ficlonerange()`](crate::ficlonerange()) has failed. The next means is
    /// [`copy_file_range()`](crate::copy_file_range()), from the beginning: a part may be shared.
    ///
    /// As after `copy_file_range` (the causes are those of `FICLONE(2const)`, man-pages 6.20), and further:
    ///
    /// | errno | answer | why |
    /// |---|---|---|
    /// | `ENOTTY` | `ByOtherMeans` | the call is not known |
    /// | `ENOSPC` | `ByOtherMeans` | no space for what describes shared blocks; the kernel itself copies then, inside of `copy_file_range` |
    ///
    /// `EINVAL` is `ByOtherMeans` for a range of a wrong length or place, too. Overlapping ranges of one file are the exception, as above.
    #[must_use]
    pub const fn after_ficlone(errno: Errno) -> Self {
        match errno {
            Errno::ENOTTY | Errno::ENOSPC => Self::ByOtherMeans,
            _ => Self::after_copy_file_range(errno),
        }
    }
}
