use nocopy_sendfile::{BorrowedFd, Errno, sendfile};

use crate::reference::by_hand;

#[unsafe(no_mangle)]
pub extern "Rust" fn thin_sendfile(
    out_fd: BorrowedFd<'_>,
    in_fd: BorrowedFd<'_>,
    offset: Option<&mut u64>,
    count: usize,
) -> Result<usize, Errno> {
    sendfile(out_fd, in_fd, offset, count)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn asm_sendfile(
    out_fd: BorrowedFd<'_>,
    in_fd: BorrowedFd<'_>,
    offset: Option<&mut u64>,
    count: usize,
) -> Result<usize, Errno> {
    let offset = offset.map_or(core::ptr::null_mut(), core::ptr::from_mut);
    by_hand!(
        sendfile,
        "rdi" = out_fd.as_raw(),
        "rsi" = in_fd.as_raw(),
        "rdx" = offset,
        "r10" = count,
    )
}
