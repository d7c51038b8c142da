//! The flags of the call. Unknown bits are kept: the kernel decides.

#![forbid(unsafe_code)]

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

use crate::abi;

/// `flags` of [`TcpZerocopyReceive`](crate::TcpZerocopyReceive).
///
/// No kernel up to 7.3 refuses a bit that it does not know.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct ReceiveFlags(u32);

impl ReceiveFlags {
    /// `TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT`, Linux 5.11: the range has no pages, as after `MADV_DONTNEED`, so the kernel
    /// need not remove any. It is a hint: a page that is there after all is removed.
    pub const TLB_CLEAN_HINT: Self = Self(abi::TLB_CLEAN_HINT);

    /// No flag.
    #[must_use]
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Any bits, known here or not.
    #[must_use]
    pub const fn from_bits_retain(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits as the kernel gets them.
    #[must_use]
    pub const fn bits(self) -> u32 {
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

impl BitOr for ReceiveFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for ReceiveFlags {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl fmt::Debug for ReceiveFlags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReceiveFlags(")?;
        let rest = self.0 & !abi::TLB_CLEAN_HINT;
        match (self.contains(Self::TLB_CLEAN_HINT), rest) {
            (true, 0) => formatter.write_str("TLB_CLEAN_HINT")?,
            (true, rest) => write!(formatter, "TLB_CLEAN_HINT | {rest:#x}")?,
            (false, rest) => write!(formatter, "{rest:#x}")?,
        }
        formatter.write_str(")")
    }
}
