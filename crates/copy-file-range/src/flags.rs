//! The flags of `copy_file_range`. Unknown bits are kept: the kernel decides.

#![forbid(unsafe_code)]

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

use libc::c_uint;

/// Flags of [`copy_file_range()`](crate::copy_file_range()). No flag exists so far.
///
/// The kernel answers `EINVAL` to every bit, on all kernels measured, 5.10 to 7.3 (claim `copy-file-range.flags.none`). The type is
/// there for a flag to come.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct CopyFileRangeFlags(c_uint);

impl CopyFileRangeFlags {
    /// No flag.
    #[must_use]
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Any bits, known here or not.
    #[must_use]
    pub const fn from_bits_retain(bits: c_uint) -> Self {
        Self(bits)
    }

    /// The bits as the kernel gets them.
    #[must_use]
    pub const fn bits(self) -> c_uint {
        self.0
    }

    /// Whether no bit is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOr for CopyFileRangeFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for CopyFileRangeFlags {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

/// No bit has a name so far: the number.
impl fmt::Debug for CopyFileRangeFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CopyFileRangeFlags({:#x})", self.0)
    }
}
