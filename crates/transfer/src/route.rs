//! Routes: the ways to bring bytes from a source to a sink.

#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

/// A way to send a source's bytes to a sink. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// `read` or `pread` into a buffer, `write` from it (where the route is chosen, `send` to a TCP, `AF_UNIX`, vsock or UDP socket).
    ReadWrite {
        /// The buffer's size.
        buffer: usize,
    },
    /// `mmap`, `write` of the mapping, `munmap`.
    MmapWrite {
        /// The size of one mapping.
        window: usize,
    },
    /// `sendfile`.
    Sendfile,
    /// `splice` into a pipe and out of it; only once, if the sink is a pipe.
    Splice {
        /// The capacity of the pipe in between.
        pipe: usize,
    },
    /// `mmap`, `vmsplice` of the mapping into a pipe, `splice` out of it; only `vmsplice`, if the sink is a pipe.
    Vmsplice {
        /// The size of one mapping.
        window: usize,
        /// The capacity of the pipe in between.
        pipe: usize,
    },
    /// `mmap`, `send` of the mapping with `MSG_ZEROCOPY`; reads every completion.
    MsgZerocopy {
        /// The size of one mapping.
        window: usize,
        /// The number of bytes of one send.
        chunk: usize,
    },
    /// `copy_file_range`, to a file.
    CopyFileRange,
    /// `FICLONERANGE`, to a file: whole blocks only, and of one file system that shares blocks.
    Clone,
}

/// Without a limit: a window of the whole range, or a chunk of any size.
pub const WHOLE: usize = usize::MAX;

impl Route {
    /// Every route that takes any range, with usual parameters for a first try.
    pub const ALL: &[Self] = &[
        Self::ReadWrite { buffer: 64 << 10 },
        Self::MmapWrite { window: WHOLE },
        Self::Sendfile,
        Self::Splice { pipe: 64 << 10 },
        Self::Vmsplice {
            window: WHOLE,
            pipe: 64 << 10,
        },
        Self::MsgZerocopy {
            window: WHOLE,
            chunk: 64 << 10,
        },
        Self::CopyFileRange,
    ];

    /// Its name on a command line.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ReadWrite { .. } => "read-write",
            Self::MmapWrite { .. } => "mmap-write",
            Self::Sendfile => "sendfile",
            Self::Splice { .. } => "splice",
            Self::Vmsplice { .. } => "vmsplice",
            Self::MsgZerocopy { .. } => "msg-zerocopy",
            Self::CopyFileRange => "copy-file-range",
            Self::Clone => "clone",
        }
    }

    /// Whether the sink has a copy when a call returns. With the other routes the sink may hold the file's pages, and sees later
    /// changes to the file.
    #[must_use]
    pub const fn takes_a_copy(&self) -> bool {
        matches!(
            self,
            Self::ReadWrite { .. } | Self::CopyFileRange | Self::Clone
        )
    }

    /// Whether the source is read through a mapping: past the end of the file, the mapping has zeros or gives `EFAULT`.
    pub(crate) const fn maps(self) -> bool {
        matches!(
            self,
            Self::MmapWrite { .. } | Self::Vmsplice { .. } | Self::MsgZerocopy { .. }
        )
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Route {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|route| route.name() == name);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(Self::name).collect();
            format!("unknown route `{name}`: use one of {}", names.join(", "))
        })
    }
}
