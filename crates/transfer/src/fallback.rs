//! After which errno of which call another route may be tried.
//!
//! A call of these that fails has moved nothing, so nothing is lost and the next route begins at the same byte. In the set are the
//! errnos that speak of the call and these two descriptors. Those that speak of the bytes or of the peer (`EPIPE`, `ECONNRESET`,
//! `ENOSPC`, `EDQUOT`, `EIO`, `ENOMEM`, `EFBIG`) are not: the kernel may report them once only, and a second call would succeed
//! and hide them.

#![forbid(unsafe_code)]

use nocopy_copy_file_range::Fallback;
use syscalls::{Errno, Sysno};

/// One line of the table: the call, an errno after which another route is tried, who gives it, and where that is proved.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// The call.
    pub call: Sysno,
    /// Its errno.
    pub errno: Errno,
    /// What is refused.
    pub why: &'static str,
    /// The claim or the grid that shows it, or a source.
    pub evidence: &'static str,
}

macro_rules! lines {
    ($($call:ident $errno:ident $why:literal $evidence:literal;)*) => {
        &[$(Line { call: Sysno::$call, errno: Errno::$errno, why: $why, evidence: $evidence },)*]
    };
}

/// The whole table. [`is_refusal`] reads it.
pub const TABLE: &[Line] = lines! {
    sendfile EINVAL "a source without splice, or a sink that appends" "grid `pairs`, `sendfile.errors.append`";
    sendfile ESPIPE "an offset for a pipe or a socket" "`sendfile.offset.unseekable`";
    sendfile EOPNOTSUPP "a file system or socket without it" "nothing measured: Go and Rust fall back, too";
    sendfile EOVERFLOW "an offset past the largest file" "`sendfile.offset.behind-the-largest`";
    sendfile EPERM "a filter of system calls, or a sealed sink: write decides" "`sendfile.errors.sealed`";
    sendfile EACCES "a security module: read and write decide" "not in the manual";
    sendfile ENOSYS "a filter of system calls" "the manual, NOTES";
    splice EINVAL "a source or sink without splice, or a sink that appends" "grid `pairs`, `splice.sink.append`";
    splice ESPIPE "an offset for a pipe or a socket" "`splice.offset.pipe`";
    splice EOPNOTSUPP "a file system or socket without it" "nothing measured";
    splice EPERM "a filter of system calls, or a sealed sink: write decides" "`splice.errors.sealed`";
    splice EACCES "a security module: read and write decide" "not in the manual";
    splice ENOSYS "a filter of system calls" "the manual, VERSIONS";
    ioctl EOPNOTSUPP "a file system without shared blocks" "grid `fs`";
    ioctl EXDEV "two file systems" "`FICLONE(2const)`";
    ioctl EINVAL "ranges that are no whole blocks, or files whose blocks cannot be shared" "`FICLONE(2const)`";
    ioctl EBADF "a file system without shared blocks: write decides" "`FICLONE(2const)`";
    ioctl ENOTTY "a kernel without the call" "`FICLONE(2const)`, VERSIONS";
    ioctl ENOSPC "no space for what describes shared blocks: a copy decides" "Linux 7.3, XFS";
    ioctl EPERM "a filter of system calls, or an immutable sink: write decides" "`FICLONE(2const)`";
    ioctl ETXTBSY "a swap file" "`FICLONE(2const)`";
    ioctl EOVERFLOW "an offset past the largest file" "nothing measured";
    ioctl EACCES "a security module: read and write decide" "not in the manual";
    ioctl ENOENT "a file server: read and write decide" "not in the manual";
    ioctl ENOSYS "a filter of system calls" "nothing measured";
    copy_file_range EINVAL "no regular files" "grid `pairs`, `copy-file-range.errors.kinds`";
    copy_file_range EBADF "a sink that appends" "grid `pairs`, `copy-file-range.errors.append`";
    copy_file_range EXDEV "two file systems" "grid `pairs`, `copy-file-range.errors.two-file-systems`";
    copy_file_range EOPNOTSUPP "a file system without it" "the manual, since 5.19";
    copy_file_range EPERM "a filter of system calls, or a sealed or immutable sink: write decides" "`copy-file-range.errors.sealed`";
    copy_file_range ETXTBSY "a swap file" "the manual";
    copy_file_range EOVERFLOW "an offset past the largest file" "`copy-file-range.offset.negative`";
    copy_file_range EACCES "a security module: read and write decide" "not in the manual";
    copy_file_range ENOENT "a file server: read and write decide" "not in the manual";
    copy_file_range ENOSYS "before Linux 4.5, or a filter of system calls" "the manual, HISTORY";
};

/// Whether another route may be tried after this errno: the call has moved nothing, and the errno is no news of the bytes.
#[must_use]
pub fn is_refusal(call: Sysno, errno: Errno) -> bool {
    match call {
        Sysno::copy_file_range | Sysno::ioctl => {
            let after = if call == Sysno::ioctl {
                Fallback::after_ficlone(errno)
            } else {
                Fallback::after_copy_file_range(errno)
            };
            matches!(after, Fallback::ByOtherMeans | Fallback::ByAppending)
        }
        _ => TABLE
            .iter()
            .any(|line| line.call == call && line.errno == errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_answer() {
        for number in 1..134 {
            let errno = Errno::new(number);
            for call in [
                Sysno::sendfile,
                Sysno::splice,
                Sysno::copy_file_range,
                Sysno::ioctl,
                Sysno::write,
            ] {
                let listed = TABLE
                    .iter()
                    .any(|line| line.call == call && line.errno == errno);
                assert_eq!(is_refusal(call, errno), listed, "{call}: {errno}");
            }
        }
    }
}
