//! Numbers of the kernel's interface, for code that makes the calls itself.

#![forbid(unsafe_code)]

use core::mem::offset_of;

/// `_IOW` of `include/uapi/asm-generic/ioctl.h`; three architectures have another layout of their own.
const fn iow(kind: u32, number: u32, size: usize) -> u32 {
    let own_layout = cfg!(any(
        target_arch = "mips64",
        target_arch = "mips64r6",
        target_arch = "powerpc64",
        target_arch = "sparc64"
    ));
    let (write, direction_shift) = if own_layout { (4, 29) } else { (1, 30) };
    #[expect(clippy::cast_possible_truncation, reason = "4 or 32")]
    let size = size as u32;
    write << direction_shift | size << 16 | kind << 8 | number
}

/// `FICLONE` of `include/uapi/linux/fs.h`: the request of [`ficlone()`](crate::ficlone()).
pub const FICLONE: u32 = iow(0x94, 9, size_of::<libc::c_int>());

/// `FICLONERANGE` of `include/uapi/linux/fs.h`: the request of [`ficlonerange()`](crate::ficlonerange()).
pub const FICLONERANGE: u32 = iow(0x94, 13, size_of::<FileCloneRange>());

/// `struct file_clone_range` of `include/uapi/linux/fs.h`: the argument of [`FICLONERANGE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(
    clippy::exhaustive_structs,
    reason = "the layout is the kernel's and cannot grow"
)]
pub struct FileCloneRange {
    /// The descriptor of the source.
    pub src_fd: i64,
    /// Where the range begins in the source, in bytes.
    pub src_offset: u64,
    /// The length of the range in bytes; 0 is up to the end of the source.
    pub src_length: u64,
    /// Where the range begins in the destination, in bytes.
    pub dest_offset: u64,
}

// The kernel reads all of it, so its layout is a matter of soundness.
const _: () = assert!(
    size_of::<FileCloneRange>() == 32
        && offset_of!(FileCloneRange, src_fd) == 0
        && offset_of!(FileCloneRange, src_offset) == 8
        && offset_of!(FileCloneRange, src_length) == 16
        && offset_of!(FileCloneRange, dest_offset) == 24
);
