//! Constants and structs of the kernel's interface that `libc` lacks, in its oldest version that will do or for one of
//! the C libraries.

#![forbid(unsafe_code)]

use libc::c_int;

/// `include/uapi/linux/mman.h`
pub(crate) const MAP_DROPPABLE: c_int = 0x08;
/// `include/uapi/asm-generic/mman-common.h`
pub(crate) const MADV_COLLAPSE: c_int = 25;
/// `include/uapi/asm-generic/mman-common.h`
pub(crate) const MADV_GUARD_INSTALL: c_int = 102;
/// `include/uapi/asm-generic/mman-common.h`
pub(crate) const MADV_GUARD_REMOVE: c_int = 103;

/// `include/uapi/linux/fcntl.h`
pub(crate) const F_SEAL_EXEC: c_int = 0x20;

/// `include/uapi/linux/stat.h`
pub(crate) const STATX_SIZE: usize = 0x200;

/// `struct statx` of `include/uapi/linux/stat.h`, with the one field that is used.
#[repr(C)]
pub(crate) struct Statx {
    before: [u64; 5],
    pub(crate) size: u64,
    after: [u64; 26],
}

impl Statx {
    pub(crate) const fn zeroed() -> Self {
        Self {
            before: [0; 5],
            size: 0,
            after: [0; 26],
        }
    }
}

// The kernel writes all of it, so its size is a matter of soundness.
const _: () = assert!(size_of::<Statx>() == 256 && core::mem::offset_of!(Statx, size) == 40);
