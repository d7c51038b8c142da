//! Which route for which pair of kinds: data, with the measurement behind each row.
//!
//! The rows are held against the grid `pairs` by a test of the conformance suite: on each kernel of the matrix, the first route of a
//! pair moves bytes, each route that stands under `snapshot` copies, and each errno in the grid is one of the fall-back set.

#![forbid(unsafe_code)]

use crate::kind::{SinkKind, SourceKind};

/// What the sink may get if the source changes after the call. There is no default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stability {
    /// The sink gets the bytes as they were when the call returned: routes that copy, also where others would be faster. A source
    /// that cannot change (a memfd sealed against writing and shrinking, a file of erofs or squashfs) is sent as by
    /// [`Shared`](Self::Shared).
    Snapshot,
    /// The fastest route. The sink may hold pages of the source, so until the receiver has read them:
    ///
    /// - a write to the source shows at the receiver (claims `sendfile.copies.tcp`, `sendfile.sharing.pages-ext4` and their like)
    /// - a truncation or a punched hole shows as zeros, or as what was there (claim `sendfile.sharing.truncated-later`)
    /// - over UDP, a change between the call and the receiver's read can lose the datagram (claim `sendfile.udp.changed-later`)
    Shared,
}

/// A way of [`Row`]: a route without its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Way {
    /// `FICLONERANGE`: the file system shares the blocks until one of the files is written (a reflink). One call for any size.
    Clone,
    /// `copy_file_range`, which shares the blocks of the file system where that can, up to 2 GiB in a call.
    CopyFileRange,
    /// `sendfile`.
    Sendfile,
    /// `splice`: once, if an end is a pipe, else twice through a pipe of the pool.
    Splice,
    /// `read` and `write`.
    ReadWrite,
}

impl Way {
    /// The name of its [`Route`](crate::Route).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::CopyFileRange => "copy-file-range",
            Self::Sendfile => "sendfile",
            Self::Splice => "splice",
            Self::ReadWrite => "read-write",
        }
    }
}

/// A way, and the number of bytes from which on it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The way.
    pub way: Way,
    /// It is passed over while fewer bytes are left.
    pub least: u64,
}

/// The ways for some kinds of source and sink, in the order in which they are tried.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// These sources,
    pub sources: &'static [SourceKind],
    /// to these sinks.
    pub sinks: &'static [SinkKind],
    /// The ways for [`Stability::Shared`].
    pub shared: &'static [Step],
    /// The ways for [`Stability::Snapshot`].
    pub snapshot: &'static [Step],
    /// Where the order was measured.
    pub evidence: &'static str,
}

/// For more bytes than this, two calls of `splice` through a 1 MiB pipe are faster to a socket than `sendfile`, which has a pipe
/// of 64 KiB inside.
pub const LARGE: u64 = 1 << 20;

/// From this number of bytes on, a file is cloned where the file system can: one call in place of one for each GiB. A refusal costs
/// one call, which is nothing beside a copy of so many bytes.
pub const CLONED: u64 = 16 << 20;

const fn any(way: Way) -> Step {
    Step { way, least: 0 }
}

const LARGE_SPLICE: Step = Step {
    way: Way::Splice,
    least: LARGE + 1,
};
const CLONE: Step = Step {
    way: Way::Clone,
    least: CLONED,
};
const COPY_RANGE: Step = any(Way::CopyFileRange);
const SENDFILE: Step = any(Way::Sendfile);
const SPLICE: Step = any(Way::Splice);
const COPY: Step = any(Way::ReadWrite);

use SinkKind as To;
use SourceKind as From;

const FILES: &[From] = &[From::File, From::BlockDevice];
const STREAMS: &[From] = &[From::Pipe, From::Tcp, From::Unix];

/// The table. The last way of each row is read and write, which every pair has.
pub const TABLE: &[Row] = &[
    Row {
        sources: FILES,
        sinks: &[To::Tcp, To::Unix],
        shared: &[LARGE_SPLICE, SENDFILE, SPLICE, COPY],
        snapshot: &[COPY],
        evidence: "grid `pairs`; bench: TCP, TCP dropped, veth, AF_UNIX, pipe sizes, file sizes",
    },
    Row {
        sources: FILES,
        sinks: &[To::Tls, To::Vsock, To::Terminal, To::Device],
        shared: &[SENDFILE, COPY],
        snapshot: &[SENDFILE, COPY],
        evidence: "grid `pairs`: `sendfile` copies there, on every kernel",
    },
    Row {
        sources: FILES,
        sinks: &[To::Pipe],
        shared: &[SPLICE, SENDFILE, COPY],
        snapshot: &[COPY],
        evidence: "grid `pairs`; `sendfile.copies.pipe` (5.10 copies); bench: pipe",
    },
    Row {
        sources: &[From::File],
        sinks: &[To::File],
        shared: &[CLONE, COPY_RANGE, SENDFILE, COPY],
        snapshot: &[CLONE, COPY_RANGE, SENDFILE, COPY],
        evidence: "grids `pairs` and `fs`; bench: file",
    },
    Row {
        sources: &[From::BlockDevice],
        sinks: &[To::File],
        shared: &[SENDFILE, COPY],
        snapshot: &[SENDFILE, COPY],
        evidence: "grid `pairs`; `copy-file-range.errors.block-device`",
    },
    Row {
        sources: STREAMS,
        sinks: &[To::Tcp, To::Unix, To::Pipe],
        shared: &[SPLICE, COPY],
        snapshot: &[COPY],
        evidence: "grid `pairs`",
    },
    Row {
        sources: STREAMS,
        sinks: &[To::Tls, To::Vsock, To::File, To::Terminal, To::Device],
        shared: &[SPLICE, COPY],
        snapshot: &[SPLICE, COPY],
        evidence: "grid `pairs`: `splice` copies there, on every kernel",
    },
    Row {
        sources: From::ALL,
        sinks: &[To::Append, To::Datagram],
        shared: &[COPY],
        snapshot: &[COPY],
        evidence: "grid `pairs`: an O_APPEND file refuses all others; a datagram has a size",
    },
    Row {
        sources: From::ALL,
        sinks: To::ALL,
        shared: &[COPY],
        snapshot: &[COPY],
        evidence: "no experiment: what every descriptor has",
    },
];

/// The row of a pair: the first one that names it.
#[must_use]
pub fn row(source: SourceKind, sink: SinkKind) -> &'static Row {
    let names = |row: &&Row| row.sources.contains(&source) && row.sinks.contains(&sink);
    // The last row names every pair.
    TABLE.iter().find(names).unwrap_or(&TABLE[TABLE.len() - 1])
}

impl Row {
    /// The ways for this stability.
    #[must_use]
    pub const fn ways(&self, stability: Stability) -> &'static [Step] {
        match stability {
            Stability::Shared => self.shared,
            Stability::Snapshot => self.snapshot,
        }
    }

    /// Whether a way leaves pages of the source with the sink: it stands under `shared` and not under `snapshot`.
    #[must_use]
    pub fn shares(&self, way: Way) -> bool {
        !self.snapshot.iter().any(|step| step.way == way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_a_row_that_ends_in_a_copy() {
        for source in SourceKind::ALL {
            for sink in SinkKind::ALL {
                let row = row(*source, *sink);
                for ways in [row.shared, row.snapshot] {
                    assert_eq!(ways.last(), Some(&COPY), "{source:?} to {sink:?}");
                }
                assert!(
                    row.snapshot.iter().all(|step| row.shared.contains(step)),
                    "{source:?} to {sink:?}"
                );
            }
        }
    }
}
