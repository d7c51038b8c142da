use nocopy_tcp_zerocopy_receive::{
    BorrowedFd, Errno, Received, TcpZerocopyReceive, Window, getsockopt_tcp_zerocopy_receive,
};

use crate::reference::by_hand;

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn thin_getsockopt_tcp_zerocopy_receive(
    sockfd: BorrowedFd<'_>,
    optval: &mut TcpZerocopyReceive,
    optlen: &mut u32,
) -> Result<(), Errno> {
    // SAFETY: the caller's.
    unsafe { getsockopt_tcp_zerocopy_receive(sockfd, optval, optlen) }
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn asm_getsockopt_tcp_zerocopy_receive(
    sockfd: BorrowedFd<'_>,
    optval: &mut TcpZerocopyReceive,
    optlen: &mut u32,
) -> Result<(), Errno> {
    by_hand!(
        getsockopt,
        "rdi" = sockfd.as_raw(),
        "rsi" = libc::IPPROTO_TCP,
        "rdx" = 35, // TCP_ZEROCOPY_RECEIVE
        "r10" = core::ptr::from_mut(optval),
        "r8" = core::ptr::from_mut(optlen),
    )
    .map(|_| ())
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_window_new(
    socket: BorrowedFd<'_>,
    length: usize,
) -> Result<Window, Errno> {
    Window::new(socket, length)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_window_receive<'window>(
    window: &'window mut Window,
    socket: BorrowedFd<'_>,
    tail: &mut [u8],
) -> Result<Received<'window>, Errno> {
    window.receive(socket, tail)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_window_receive_pages<'window>(
    window: &'window mut Window,
    socket: BorrowedFd<'_>,
) -> Result<Received<'window>, Errno> {
    window.receive_pages(socket)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_window_release(window: &mut Window) -> Result<(), Errno> {
    window.release()
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_drop_window(window: Window) {
    drop(window);
}
