use core::ptr;

use nocopy_copy_file_range::abi::{FICLONE, FICLONERANGE, FileCloneRange};
use nocopy_copy_file_range::{
    BorrowedFd, CopyFileRangeFlags, Errno, copy_file_range, ficlone, ficlonerange,
};

use crate::reference::by_hand;

#[unsafe(no_mangle)]
pub extern "Rust" fn thin_copy_file_range(
    fd_in: BorrowedFd<'_>,
    off_in: Option<&mut u64>,
    fd_out: BorrowedFd<'_>,
    off_out: Option<&mut u64>,
    len: usize,
    flags: CopyFileRangeFlags,
) -> Result<usize, Errno> {
    copy_file_range(fd_in, off_in, fd_out, off_out, len, flags)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn asm_copy_file_range(
    fd_in: BorrowedFd<'_>,
    off_in: Option<&mut u64>,
    fd_out: BorrowedFd<'_>,
    off_out: Option<&mut u64>,
    len: usize,
    flags: CopyFileRangeFlags,
) -> Result<usize, Errno> {
    let off_in = off_in.map_or(ptr::null_mut(), ptr::from_mut);
    let off_out = off_out.map_or(ptr::null_mut(), ptr::from_mut);
    by_hand!(
        copy_file_range,
        "rdi" = fd_in.as_raw(),
        "rsi" = off_in,
        "rdx" = fd_out.as_raw(),
        "r10" = off_out,
        "r8" = len,
        "r9" = flags.bits(),
    )
}

#[unsafe(no_mangle)]
pub extern "Rust" fn thin_ficlone(dest: BorrowedFd<'_>, src: BorrowedFd<'_>) -> Result<(), Errno> {
    ficlone(dest, src)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn asm_ficlone(dest: BorrowedFd<'_>, src: BorrowedFd<'_>) -> Result<(), Errno> {
    by_hand!(
        ioctl,
        "rdi" = dest.as_raw(),
        "rsi" = FICLONE,
        "rdx" = src.as_raw(),
    )
    .map(|_| ())
}

#[unsafe(no_mangle)]
pub extern "Rust" fn thin_ficlonerange(
    dest: BorrowedFd<'_>,
    src: BorrowedFd<'_>,
    src_offset: u64,
    src_length: u64,
    dest_offset: u64,
) -> Result<(), Errno> {
    ficlonerange(dest, src, src_offset, src_length, dest_offset)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn asm_ficlonerange(
    dest: BorrowedFd<'_>,
    src: BorrowedFd<'_>,
    src_offset: u64,
    src_length: u64,
    dest_offset: u64,
) -> Result<(), Errno> {
    let range = FileCloneRange {
        src_fd: src.as_raw().into(),
        src_offset,
        src_length,
        dest_offset,
    };
    by_hand!(
        ioctl,
        "rdi" = dest.as_raw(),
        "rsi" = FICLONERANGE,
        "rdx" = &raw const range,
    )
    .map(|_| ())
}
