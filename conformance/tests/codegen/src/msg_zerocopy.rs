use nocopy_msg_zerocopy::abi::MSG_ZEROCOPY;
use nocopy_msg_zerocopy::{
    BorrowedFd, Enabled, Errno, ErrorEntry, MMsgHdr, MsgHdr, Received, SendFlags, enable,
    is_enabled, recv_error_queue, recvmmsg_error_queue, send_copied, send_zerocopy,
    sendmmsg_zerocopy, sendmsg_zerocopy,
};

use crate::reference::by_hand;

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn thin_send_zerocopy(
    socket: Enabled<'_>,
    bytes: &[u8],
    flags: SendFlags,
) -> Result<usize, Errno> {
    // SAFETY: the caller's.
    unsafe { send_zerocopy(socket, bytes, flags) }
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn asm_send_zerocopy(
    socket: Enabled<'_>,
    bytes: &[u8],
    flags: SendFlags,
) -> Result<usize, Errno> {
    by_hand!(
        sendto,
        "rdi" = socket.fd().as_raw(),
        "rsi" = bytes.as_ptr(),
        "rdx" = bytes.len(),
        "r10" = flags.bits() | MSG_ZEROCOPY,
        "r8" = 0_usize,
        "r9" = 0,
    )
}

#[unsafe(no_mangle)]
pub extern "Rust" fn thin_send_copied(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    flags: SendFlags,
) -> Result<usize, Errno> {
    send_copied(fd, bytes, flags)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn asm_send_copied(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    flags: SendFlags,
) -> Result<usize, Errno> {
    by_hand!(
        sendto,
        "rdi" = fd.as_raw(),
        "rsi" = bytes.as_ptr(),
        "rdx" = bytes.len(),
        "r10" = flags.bits() & !MSG_ZEROCOPY,
        "r8" = 0_usize,
        "r9" = 0,
    )
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_enable(fd: BorrowedFd<'_>) -> Result<Enabled<'_>, Errno> {
    enable(fd)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_is_enabled(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    is_enabled(fd)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_enabled_check(
    fd: BorrowedFd<'_>,
) -> Result<Option<Enabled<'_>>, Errno> {
    Enabled::check(fd)
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn counted_sendmsg_zerocopy(
    socket: Enabled<'_>,
    message: &MsgHdr<'_>,
    flags: SendFlags,
) -> Result<usize, Errno> {
    // SAFETY: the caller's.
    unsafe { sendmsg_zerocopy(socket, message, flags) }
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_recv_error_queue(
    fd: BorrowedFd<'_>,
    control: &mut [u8],
) -> Result<Received, Errno> {
    recv_error_queue(fd, control)
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn thin_sendmmsg_zerocopy(
    socket: Enabled<'_>,
    messages: &mut [MMsgHdr<'_>],
    flags: SendFlags,
) -> Result<usize, Errno> {
    // SAFETY: the caller's.
    unsafe { sendmmsg_zerocopy(socket, messages, flags) }
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn asm_sendmmsg_zerocopy(
    socket: Enabled<'_>,
    messages: &mut [MMsgHdr<'_>],
    flags: SendFlags,
) -> Result<usize, Errno> {
    by_hand!(
        sendmmsg,
        "rdi" = socket.fd().as_raw(),
        "rsi" = messages.as_mut_ptr(),
        "rdx" = messages.len(),
        "r10" = flags.bits() | MSG_ZEROCOPY,
    )
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_recvmmsg_error_queue(
    fd: BorrowedFd<'_>,
    entries: &mut [ErrorEntry<'_>],
) -> Result<usize, Errno> {
    recvmmsg_error_queue(fd, entries)
}
