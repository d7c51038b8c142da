use core::ptr;

use nocopy_splice::{
    BorrowedFd, EndError, Errno, IoVec, IoVecMut, OwnedFd, Pipe, PipeFlags, PipeWriter,
    SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe2, splice, tee, vmsplice_from_pipe,
    vmsplice_static, vmsplice_to_pipe,
};

use crate::reference::by_hand;

#[unsafe(no_mangle)]
pub extern "Rust" fn thin_splice(
    fd_in: BorrowedFd<'_>,
    off_in: Option<&mut u64>,
    fd_out: BorrowedFd<'_>,
    off_out: Option<&mut u64>,
    len: usize,
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    splice(fd_in, off_in, fd_out, off_out, len, flags)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn asm_splice(
    fd_in: BorrowedFd<'_>,
    off_in: Option<&mut u64>,
    fd_out: BorrowedFd<'_>,
    off_out: Option<&mut u64>,
    len: usize,
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    let off_in = off_in.map_or(ptr::null_mut(), ptr::from_mut);
    let off_out = off_out.map_or(ptr::null_mut(), ptr::from_mut);
    by_hand!(
        splice,
        "rdi" = fd_in.as_raw(),
        "rsi" = off_in,
        "rdx" = fd_out.as_raw(),
        "r10" = off_out,
        "r8" = len,
        "r9" = flags.bits(),
    )
}

#[unsafe(no_mangle)]
pub extern "Rust" fn thin_tee(
    fd_in: BorrowedFd<'_>,
    fd_out: BorrowedFd<'_>,
    len: usize,
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    tee(fd_in, fd_out, len, flags)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn asm_tee(
    fd_in: BorrowedFd<'_>,
    fd_out: BorrowedFd<'_>,
    len: usize,
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    by_hand!(
        tee,
        "rdi" = fd_in.as_raw(),
        "rsi" = fd_out.as_raw(),
        "rdx" = len,
        "r10" = flags.bits(),
    )
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn thin_vmsplice_to_pipe(
    fd: BorrowedFd<'_>,
    iov: &[IoVec<'_>],
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    // SAFETY: the caller's.
    unsafe { vmsplice_to_pipe(fd, iov, flags) }
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn asm_vmsplice_to_pipe(
    fd: BorrowedFd<'_>,
    iov: &[IoVec<'_>],
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    by_hand!(
        vmsplice,
        "rdi" = fd.as_raw(),
        "rsi" = iov.as_ptr(),
        "rdx" = iov.len(),
        "r10" = flags.bits(),
    )
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn thin_vmsplice_from_pipe(
    fd: BorrowedFd<'_>,
    iov: &mut [IoVecMut<'_>],
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    // SAFETY: the caller's.
    unsafe { vmsplice_from_pipe(fd, iov, flags) }
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn asm_vmsplice_from_pipe(
    fd: BorrowedFd<'_>,
    iov: &mut [IoVecMut<'_>],
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    by_hand!(
        vmsplice,
        "rdi" = fd.as_raw(),
        "rsi" = iov.as_mut_ptr(),
        "rdx" = iov.len(),
        "r10" = flags.bits(),
    )
}

#[unsafe(no_mangle)]
pub extern "Rust" fn thin_fcntl_getpipe_size(fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    fcntl_getpipe_size(fd)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn asm_fcntl_getpipe_size(fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    by_hand!(fcntl, "rdi" = fd.as_raw(), "rsi" = libc::F_GETPIPE_SZ)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn thin_fcntl_setpipe_size(
    fd: BorrowedFd<'_>,
    size: usize,
) -> Result<usize, Errno> {
    fcntl_setpipe_size(fd, size)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn asm_fcntl_setpipe_size(
    fd: BorrowedFd<'_>,
    size: usize,
) -> Result<usize, Errno> {
    by_hand!(
        fcntl,
        "rdi" = fd.as_raw(),
        "rsi" = libc::F_SETPIPE_SZ,
        "rdx" = size,
    )
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_pipe2(flags: PipeFlags) -> Result<Pipe, Errno> {
    pipe2(flags)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_drop_pipe(pipe: Pipe) {
    drop(pipe);
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_vmsplice_static(
    fd: &PipeWriter,
    bytes: &'static [u8],
    flags: SpliceFlags,
) -> Result<usize, Errno> {
    vmsplice_static(fd, bytes, flags)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_pipe_writer_check(fd: OwnedFd) -> Result<PipeWriter, EndError> {
    PipeWriter::check(fd)
}
