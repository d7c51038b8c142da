//! The flags of `copy_file_range`. Unknown bits are kept: the kernel decides.

#![forbid(unsafe_code)]
#![expect(unused_mut, reason = "of the macro: no bit has a name so far")]

use libc::c_uint;

use crate::bits::flags;

flags! {
    /// Flags of [`copy_file_range()`](crate::copy_file_range()). No flag exists so far.
    ///
    /// The kernel answers `EINVAL` to every bit, on all kernels measured, 5.10 to 7.3 (claim `copy-file-range.flags.none`). The type is
    /// there for a flag to come.
    CopyFileRangeFlags(c_uint) {}
}
