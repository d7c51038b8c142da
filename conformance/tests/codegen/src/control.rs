//! What the checker must refuse, each for one reason. The reference of all is `asm_tee`.

use nocopy_splice::{BorrowedFd, Errno, SpliceFlags, tee};

#[inline(never)]
fn out_of_line(
    fd_in: BorrowedFd<'_>,
    fd_out: BorrowedFd<'_>,
    len: usize,
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    tee(fd_out, fd_in, len, flags)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn fat_two_system_calls(
    fd_in: BorrowedFd<'_>,
    fd_out: BorrowedFd<'_>,
    len: usize,
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    // As a wrapper that tries again would be.
    match tee(fd_in, fd_out, len, flags) {
        Err(Errno::EINTR) => tee(fd_in, fd_out, len, flags),
        other => other,
    }
}

#[unsafe(no_mangle)]
pub extern "Rust" fn fat_call(
    fd_in: BorrowedFd<'_>,
    fd_out: BorrowedFd<'_>,
    len: usize,
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    let moved = tee(fd_in, fd_out, len, flags)?;
    Ok(moved + out_of_line(fd_in, fd_out, len, flags)?)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn fat_jump_away(
    fd_in: BorrowedFd<'_>,
    fd_out: BorrowedFd<'_>,
    len: usize,
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    let _ = tee(fd_in, fd_out, len, flags);
    out_of_line(fd_in, fd_out, len, flags)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn fat_instructions(
    fd_in: BorrowedFd<'_>,
    fd_out: BorrowedFd<'_>,
    len: usize,
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    // As a wrapper that clamps would be, and invents an errno.
    if len == 0 || flags.bits() > 15 {
        return Err(Errno::EINVAL);
    }
    tee(fd_in, fd_out, len.min(1 << 20), flags)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn fat_no_system_call(len: usize) -> usize {
    len
}
