//! The flags of each call. Unknown bits are kept: the kernel decides. "All versions" means older than Linux 2.6.

#![forbid(unsafe_code)]

use libc::{c_int, c_uint};

use crate::abi;
use crate::bits::flags;

flags! {
    /// What may be done with the memory of a mapping.
    Prot(c_int) {
        /// `PROT_NONE`, all versions: nothing.
        NONE = libc::PROT_NONE;
        /// `PROT_READ`, all versions.
        READ = libc::PROT_READ;
        /// `PROT_WRITE`, all versions.
        WRITE = libc::PROT_WRITE;
        /// `PROT_EXEC`, all versions: `EPERM` on a file system that is mounted `noexec`.
        EXEC = libc::PROT_EXEC;
    }
}

flags! {
    /// Flags of [`mmap()`](crate::mmap()). Exactly one of the first three, or `DROPPABLE`, must be there.
    ///
    /// `SHARED | PRIVATE` is no error for a file: it is the number of `SHARED_VALIDATE`.
    MapFlags(c_int) {
        /// `MAP_SHARED`, all versions: stores go to the file. Flags that the kernel does not know are ignored.
        SHARED = libc::MAP_SHARED;
        /// `MAP_PRIVATE`, all versions: a page that is written becomes a copy of one's own. **A page that is not still shows the
        /// file's changes.**
        PRIVATE = libc::MAP_PRIVATE;
        /// `MAP_SHARED_VALIDATE`, Linux 4.15: as `SHARED`, but unknown flags are `EOPNOTSUPP`.
        SHARED_VALIDATE = libc::MAP_SHARED_VALIDATE;
        /// `MAP_DROPPABLE`, Linux 6.11: anonymous memory whose pages the kernel may drop and show as zero.
        DROPPABLE = abi::MAP_DROPPABLE;
        /// `MAP_FIXED`, all versions: at exactly this address, **in place of what is there**.
        FIXED = libc::MAP_FIXED;
        /// `MAP_FIXED_NOREPLACE`, Linux 4.17: at exactly this address, or `EEXIST`. Older kernels take it for a hint.
        FIXED_NOREPLACE = libc::MAP_FIXED_NOREPLACE;
        /// `MAP_ANONYMOUS`, all versions: zeroed memory without a file.
        ANONYMOUS = libc::MAP_ANONYMOUS;
        /// `MAP_GROWSDOWN`, all versions: grows as a stack does.
        GROWSDOWN = libc::MAP_GROWSDOWN;
        /// `MAP_STACK`, Linux 2.6.27: suits a thread's stack; no effect so far.
        STACK = libc::MAP_STACK;
        /// `MAP_LOCKED`, Linux 2.5.37: locked in memory, as far as that succeeds.
        LOCKED = libc::MAP_LOCKED;
        /// `MAP_NORESERVE`, all versions: no swap space is reserved.
        NORESERVE = libc::MAP_NORESERVE;
        /// `MAP_POPULATE`, Linux 2.5.46: the pages are there when the call returns. Pages past the end of the file are not an error.
        /// **Of a page that cannot be read (`EIO`) the call never returns** and ends by `SIGKILL` only: measured with a FUSE server
        /// on 5.10, 6.1, 6.12, 6.18 and 7.3. `mlock` does the same.
        POPULATE = libc::MAP_POPULATE;
        /// `MAP_NONBLOCK`, Linux 2.5.46: with `POPULATE`, no reading; since 2.6.23 nothing is populated then.
        NONBLOCK = libc::MAP_NONBLOCK;
        /// `MAP_SYNC`, Linux 4.15: with `SHARED_VALIDATE`, for files on memory that persists (DAX); elsewhere `EOPNOTSUPP`.
        SYNC = libc::MAP_SYNC;
        /// `MAP_HUGETLB`, Linux 2.6.32: huge pages.
        HUGETLB = libc::MAP_HUGETLB;
        /// `MAP_HUGE_2MB`, Linux 3.8: with `HUGETLB`, pages of 2 MiB.
        HUGE_2MB = libc::MAP_HUGE_2MB;
        /// `MAP_HUGE_1GB`, Linux 3.8: with `HUGETLB`, pages of 1 GiB.
        HUGE_1GB = libc::MAP_HUGE_1GB;
    }
}

flags! {
    /// Flags of [`msync()`](crate::msync()).
    MsyncFlags(c_int) {
        /// `MS_ASYNC`, all versions: does nothing since Linux 2.6.19, the kernel keeps track of changed pages by itself.
        ASYNC = libc::MS_ASYNC;
        /// `MS_INVALIDATE`, all versions: only reports memory that is locked, as `EBUSY`.
        INVALIDATE = libc::MS_INVALIDATE;
        /// `MS_SYNC`, all versions: returns when the changed pages are written.
        SYNC = libc::MS_SYNC;
    }
}

flags! {
    /// Flags of [`mremap()`](crate::mremap()).
    MremapFlags(c_int) {
        /// `MREMAP_MAYMOVE`, all versions: the mapping may get another address.
        MAYMOVE = libc::MREMAP_MAYMOVE;
        /// `MREMAP_FIXED`, all versions, with `MAYMOVE`: at exactly `new_address`, **in place of what is there**.
        FIXED = libc::MREMAP_FIXED;
        /// `MREMAP_DONTUNMAP`, Linux 5.7, with `MAYMOVE`: the old range stays mapped, without its pages.
        DONTUNMAP = libc::MREMAP_DONTUNMAP;
    }
}

flags! {
    /// Flags of [`memfd_create()`](crate::memfd_create()).
    MemfdFlags(c_uint) {
        /// `MFD_CLOEXEC`, Linux 3.17: closed by `execve`.
        CLOEXEC = libc::MFD_CLOEXEC;
        /// `MFD_ALLOW_SEALING`, Linux 3.17: without it the file has [`Seals::SEAL`] from the start.
        ALLOW_SEALING = libc::MFD_ALLOW_SEALING;
        /// `MFD_HUGETLB`, Linux 4.14: huge pages; with `ALLOW_SEALING` since 4.16.
        HUGETLB = libc::MFD_HUGETLB;
        /// `MFD_HUGE_2MB`, Linux 4.14: with `HUGETLB`, pages of 2 MiB.
        HUGE_2MB = libc::MFD_HUGE_2MB;
        /// `MFD_HUGE_1GB`, Linux 4.14: with `HUGETLB`, pages of 1 GiB.
        HUGE_1GB = libc::MFD_HUGE_1GB;
        /// `MFD_NOEXEC_SEAL`, Linux 6.3: not executable, sealed so; allows sealing too.
        NOEXEC_SEAL = libc::MFD_NOEXEC_SEAL;
        /// `MFD_EXEC`, Linux 6.3: executable.
        EXEC = libc::MFD_EXEC;
    }
}

flags! {
    /// What can no longer be done to a memfd, by anybody.
    Seals(c_int) {
        /// `F_SEAL_SEAL`, Linux 3.17: no further seals.
        SEAL = libc::F_SEAL_SEAL;
        /// `F_SEAL_SHRINK`, Linux 3.17: the file does not get shorter.
        SHRINK = libc::F_SEAL_SHRINK;
        /// `F_SEAL_GROW`, Linux 3.17: the file does not get longer.
        GROW = libc::F_SEAL_GROW;
        /// `F_SEAL_WRITE`, Linux 3.17: the bytes do not change. `EBUSY` while a shared mapping that can be written exists.
        WRITE = libc::F_SEAL_WRITE;
        /// `F_SEAL_FUTURE_WRITE`, Linux 5.1: no `write` and no new writable mapping. **The mappings that exist still change the
        /// bytes.**
        FUTURE_WRITE = libc::F_SEAL_FUTURE_WRITE;
        /// `F_SEAL_EXEC`, Linux 6.3: the execute bits of the mode do not change.
        EXEC = abi::F_SEAL_EXEC;
    }
}

/// What [`madvise()`](crate::madvise()) is told: one number, not bits.
///
/// A number without a constant here can be given with [`Advice::from_raw`]: the kernel decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Advice(c_int);

impl Advice {
    /// `MADV_NORMAL`, all versions.
    pub const NORMAL: Self = Self(libc::MADV_NORMAL);
    /// `MADV_RANDOM`, all versions: no reading ahead.
    pub const RANDOM: Self = Self(libc::MADV_RANDOM);
    /// `MADV_SEQUENTIAL`, all versions: aggressive readahead.
    pub const SEQUENTIAL: Self = Self(libc::MADV_SEQUENTIAL);
    /// `MADV_WILLNEED`, all versions: read it soon.
    pub const WILLNEED: Self = Self(libc::MADV_WILLNEED);
    /// `MADV_DONTNEED`, all versions: **drops the pages at once**; private memory is zero, or the file's again.
    pub const DONTNEED: Self = Self(libc::MADV_DONTNEED);
    /// `MADV_FREE`, Linux 4.5: private anonymous pages may be dropped later, unless they are written before.
    pub const FREE: Self = Self(libc::MADV_FREE);
    /// `MADV_REMOVE`, Linux 2.6.16: punches a hole into the file.
    pub const REMOVE: Self = Self(libc::MADV_REMOVE);
    /// `MADV_DONTFORK`, Linux 2.6.16: a child does not have the range.
    pub const DONTFORK: Self = Self(libc::MADV_DONTFORK);
    /// `MADV_DOFORK`, Linux 2.6.16: undoes `DONTFORK`.
    pub const DOFORK: Self = Self(libc::MADV_DOFORK);
    /// `MADV_MERGEABLE`, Linux 2.6.32: equal pages may become one (KSM).
    pub const MERGEABLE: Self = Self(libc::MADV_MERGEABLE);
    /// `MADV_UNMERGEABLE`, Linux 2.6.32: undoes `MERGEABLE`.
    pub const UNMERGEABLE: Self = Self(libc::MADV_UNMERGEABLE);
    /// `MADV_HUGEPAGE`, Linux 2.6.38: transparent huge pages.
    pub const HUGEPAGE: Self = Self(libc::MADV_HUGEPAGE);
    /// `MADV_NOHUGEPAGE`, Linux 2.6.38: no transparent huge pages.
    pub const NOHUGEPAGE: Self = Self(libc::MADV_NOHUGEPAGE);
    /// `MADV_DONTDUMP`, Linux 3.4: not in a core dump.
    pub const DONTDUMP: Self = Self(libc::MADV_DONTDUMP);
    /// `MADV_DODUMP`, Linux 3.4: undoes `DONTDUMP`.
    pub const DODUMP: Self = Self(libc::MADV_DODUMP);
    /// `MADV_WIPEONFORK`, Linux 4.14: zero in a child.
    pub const WIPEONFORK: Self = Self(libc::MADV_WIPEONFORK);
    /// `MADV_KEEPONFORK`, Linux 4.14: undoes `WIPEONFORK`.
    pub const KEEPONFORK: Self = Self(libc::MADV_KEEPONFORK);
    /// `MADV_COLD`, Linux 5.4: among the first to be reclaimed.
    pub const COLD: Self = Self(libc::MADV_COLD);
    /// `MADV_PAGEOUT`, Linux 5.4: reclaimed now.
    pub const PAGEOUT: Self = Self(libc::MADV_PAGEOUT);
    /// `MADV_POPULATE_READ`, Linux 5.14: faults the pages in for reading; past the end of the file `EFAULT`, where a touch
    /// would be `SIGBUS`. Of a page that cannot be read (`EIO`) it is `EFAULT` on 6.12 and later; **on 6.1 it never returns**.
    pub const POPULATE_READ: Self = Self(libc::MADV_POPULATE_READ);
    /// `MADV_POPULATE_WRITE`, Linux 5.14: faults the pages in for writing.
    pub const POPULATE_WRITE: Self = Self(libc::MADV_POPULATE_WRITE);
    /// `MADV_DONTNEED_LOCKED`, Linux 5.18: as `DONTNEED`, for locked pages too.
    pub const DONTNEED_LOCKED: Self = Self(libc::MADV_DONTNEED_LOCKED);
    /// `MADV_COLLAPSE`, Linux 6.1: makes transparent huge pages now.
    pub const COLLAPSE: Self = Self(abi::MADV_COLLAPSE);
    /// `MADV_HWPOISON`, Linux 2.6.32: treats the pages as broken memory, for tests; needs `CAP_SYS_ADMIN`.
    pub const HWPOISON: Self = Self(libc::MADV_HWPOISON);
    /// `MADV_GUARD_INSTALL`, Linux 6.13: a touch of the range is `SIGSEGV`.
    pub const GUARD_INSTALL: Self = Self(abi::MADV_GUARD_INSTALL);
    /// `MADV_GUARD_REMOVE`, Linux 6.13: undoes `GUARD_INSTALL`.
    pub const GUARD_REMOVE: Self = Self(abi::MADV_GUARD_REMOVE);

    /// Any number, known here or not.
    #[must_use]
    pub const fn from_raw(raw: c_int) -> Self {
        Self(raw)
    }

    /// The number as the kernel gets it.
    #[must_use]
    pub const fn as_raw(self) -> c_int {
        self.0
    }

    /// Whether the bytes stay as they are, and every touch that was allowed stays so.
    pub(crate) const fn is_harmless(self) -> bool {
        matches!(
            self,
            Self::NORMAL
                | Self::RANDOM
                | Self::SEQUENTIAL
                | Self::WILLNEED
                | Self::HUGEPAGE
                | Self::NOHUGEPAGE
                | Self::MERGEABLE
                | Self::UNMERGEABLE
                | Self::DONTDUMP
                | Self::DODUMP
                | Self::COLD
                | Self::PAGEOUT
                | Self::POPULATE_READ
                | Self::COLLAPSE
        )
    }
}
