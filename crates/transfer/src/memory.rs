//! What this process has seen refused, so that it is not asked again.

#![forbid(unsafe_code)]

use crate::choice::Way;
use crate::kind::{SinkKind, SourceKind};
use std::sync::atomic::{AtomicU8, Ordering};
use syscalls::Errno;

/// Ways whose call the kernel or a filter does not have.
static MISSING: AtomicU8 = AtomicU8::new(0);

const KINDS: usize = 16;

/// Ways that were refused, by kind of source and kind of sink.
static REFUSED: [[AtomicU8; KINDS]; KINDS] = [const { [const { AtomicU8::new(0) }; KINDS] }; KINDS];

/// Remembers `ENOSYS` for every pair. Another errno is remembered for these two kinds, unless one of them is a file: there it may
/// come from the file system or from this file alone.
pub(crate) fn remember(way: Way, (source, sink): (SourceKind, SinkKind), errno: Errno) {
    let bit = 1 << way as u8;
    if errno == Errno::ENOSYS {
        MISSING.fetch_or(bit, Ordering::Relaxed);
    } else if source.is_stream()
        && matches!(
            sink,
            SinkKind::Tcp | SinkKind::Unix | SinkKind::Vsock | SinkKind::Pipe
        )
        && matches!(errno, Errno::EINVAL | Errno::EOPNOTSUPP)
    {
        REFUSED[source as usize][sink as usize].fetch_or(bit, Ordering::Relaxed);
    }
}

pub(crate) fn remembers(way: Way, kinds: Option<(SourceKind, SinkKind)>) -> bool {
    let bit = 1 << way as u8;
    let of_kinds = kinds.map_or(0, |(source, sink)| {
        REFUSED[source as usize][sink as usize].load(Ordering::Relaxed)
    });
    (MISSING.load(Ordering::Relaxed) | of_kinds) & bit != 0
}

/// Forgets everything: after the program has changed what it may call, and in tests.
pub fn forget_refusals() {
    MISSING.store(0, Ordering::Relaxed);
    REFUSED
        .iter()
        .flatten()
        .for_each(|ways| ways.store(0, Ordering::Relaxed));
}
