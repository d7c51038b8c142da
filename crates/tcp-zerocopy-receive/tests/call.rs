//! What the call itself promises, and what its documentation has of the kernel's answers.

mod connection;

use connection::{
    connection, letters, page, pages, reset, send_zerocopy, unconnected, wait_for, wait_for_arrival,
};
use nocopy_tcp_zerocopy_receive::{
    BorrowedFd, Errno, ReceiveFlags, TcpZerocopyReceive, getsockopt_tcp_zerocopy_receive,
};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

const WINDOW_PAGES: usize = 16;

/// Pages of a TCP socket, for tests that look at them by pointer. They stay mapped.
fn map(socket: &impl AsRawFd) -> *mut u8 {
    let (length, fd) = (WINDOW_PAGES * page(), socket.as_raw_fd());
    let null = std::ptr::null_mut();
    // SAFETY: a new mapping where the kernel likes, which nothing else knows.
    let address = unsafe { libc::mmap(null, length, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
    assert_ne!(address, libc::MAP_FAILED, "mmap of a TCP socket");
    address.cast()
}

/// A request for all of it.
fn request(address: *mut u8) -> TcpZerocopyReceive {
    TcpZerocopyReceive::new(
        address,
        u32::try_from(WINDOW_PAGES * page()).expect("small"),
    )
}

/// Makes the call with this many bytes of the request, and returns the size afterwards.
fn ask<'fd>(
    socket: impl Into<BorrowedFd<'fd>>,
    request: &mut TcpZerocopyReceive,
    mut size: u32,
) -> Result<u32, Errno> {
    // SAFETY: no test keeps a reference to what it has mapped, the buffers are the test's own, and the sizes are not above that of
    // the struct.
    unsafe { getsockopt_tcp_zerocopy_receive(socket, request, &mut size) }.map(|()| size)
}

/// The first byte of each of this many pages.
fn first_bytes(address: *mut u8, count: usize) -> String {
    // SAFETY: that many pages are mapped.
    let byte = |at: usize| unsafe { address.add(at * page()).read_volatile() };
    (0..count).map(|at| char::from(byte(at))).collect()
}

/// A connection with this many lettered pages in the receive queue.
fn with_pages(count: u8) -> (TcpStream, TcpStream) {
    let (near, far) = connection();
    let memory = pages(&letters(count));
    send_zerocopy(&far, memory);
    wait_for_arrival(&near, memory.len());
    (near, far)
}

#[test]
fn every_size_of_the_structure_maps_the_pages_and_answers_in_its_own_fields() {
    for (size, has_hint, has_inq, has_err) in [
        (12, false, false, false),
        (TcpZerocopyReceive::SIZE_4_18, true, false, false),
        (20, true, true, false),
        (TcpZerocopyReceive::SIZE_5_6, true, true, true),
        (TcpZerocopyReceive::SIZE_5_11, true, true, true),
        (TcpZerocopyReceive::SIZE_5_12, true, true, true),
    ] {
        let (near, mut far) = with_pages(4);
        far.write_all(b"tail").expect("write");
        wait_for_arrival(&near, 4 * page() + 4);
        let address = map(&near);
        let mut request = request(address);
        request.length = u32::try_from(4 * page()).expect("small");
        request.recv_skip_hint = u32::MAX;
        (request.inq, request.err) = (u32::MAX, i32::MAX);
        let after = ask(&near, &mut request, size).expect("taken");
        assert!(
            after == size || size == 64 && after == 40,
            "{size}: {after}"
        );
        assert_eq!(request.length as usize, 4 * page(), "{size}");
        assert_eq!(first_bytes(address, 4), "abcd", "{size}");
        assert_eq!(request.recv_skip_hint == 0, has_hint, "{size}");
        assert_eq!(request.inq == 4, has_inq, "{size}");
        assert_eq!(request.err == 0, has_err, "{size}");
    }
}

#[test]
fn a_length_of_the_structure_below_12_is_refused() {
    let (near, _far) = with_pages(1);
    let mut request = request(map(&near));
    assert_eq!(ask(&near, &mut request, 11), Err(Errno::EINVAL));
    assert_eq!(ask(&near, &mut request, 12), Ok(12));
}

#[test]
fn an_error_is_the_kernels_own_and_leaves_the_structure() {
    let (near, _far) = with_pages(4);
    let window = map(&near);
    let misaligned = window.wrapping_add(1);
    let anonymous = pages(&[0]).as_ptr().cast_mut();
    // SAFETY: -1 was never open.
    let never_open = unsafe { BorrowedFd::borrow_raw(-1) };
    let (udp, unix) = (
        UdpSocket::bind("127.0.0.1:0").expect("bind"),
        UnixStream::pair().expect("socketpair").0,
    );
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let [pipe, _] = connection::pipe();
    let connected = BorrowedFd::from(&near);
    for (what, socket, address, errno) in [
        ("never open", never_open, window, Errno::EBADF),
        ("a pipe", BorrowedFd::from(&pipe), window, Errno::ENOTSOCK),
        ("UDP", BorrowedFd::from(&udp), window, Errno::EOPNOTSUPP),
        (
            "AF_UNIX",
            BorrowedFd::from(&unix),
            window,
            Errno::EOPNOTSUPP,
        ),
        (
            "listening",
            BorrowedFd::from(&listener),
            window,
            Errno::ENOTCONN,
        ),
        ("misaligned", connected, misaligned, Errno::EINVAL),
        ("anonymous memory", connected, anonymous, Errno::EINVAL),
        ("null", connected, std::ptr::null_mut(), Errno::EINVAL),
    ] {
        let mut request = request(address);
        let before = request;
        assert_eq!(ask(socket, &mut request, 16), Err(errno), "{what}");
        assert_eq!(request, before, "{what}");
    }
    let mut request = request(window);
    request.reserved = 1;
    let answer = ask(&near, &mut request, 64);
    // 5.10 has no such field, and does not look at what it cuts off.
    assert!(matches!(answer, Err(Errno::EINVAL) | Ok(40)), "{answer:?}");
}

#[test]
fn nothing_is_a_success_without_a_connection_too() {
    let (near, _far) = connection();
    let fresh = unconnected();
    let (shut, _peer) = connection();
    shut.shutdown(Shutdown::Read).expect("shutdown");
    for (what, socket) in [
        ("idle", BorrowedFd::from(&near)),
        ("never connected", BorrowedFd::from(&fresh)),
        ("shut for reading", BorrowedFd::from(&shut)),
    ] {
        let mut request = request(map(&fresh));
        assert_eq!(ask(socket, &mut request, 16), Ok(16), "{what}");
        assert_eq!((request.length, request.recv_skip_hint), (0, 0), "{what}");
    }
}

#[test]
fn the_end_of_the_stream_is_eio_and_only_after_the_last_byte() {
    let (mut near, mut far) = connection();
    let window = map(&near);
    far.write_all(b"last").expect("write");
    drop(far);
    wait_for(&near, libc::POLLRDHUP);
    let mut request = self::request(window);
    assert!(ask(&near, &mut request, 24).is_ok());
    assert_eq!((request.length, request.recv_skip_hint), (0, 4));
    assert_eq!(request.inq, 5, "four bytes and the end");
    near.read_exact(&mut [0; 4]).expect("read");
    assert_eq!(ask(&near, &mut self::request(window), 24), Err(Errno::EIO));
    assert_eq!(near.read(&mut [0]).expect("read"), 0);
}

#[test]
fn a_reset_is_reported_once_by_the_call_or_else_by_recv() {
    // With `err`, beside bytes that came before the reset.
    let (mut near, far) = with_pages(4);
    let window = map(&near);
    reset(far);
    wait_for(&near, libc::POLLERR);
    let mut request = self::request(window);
    assert!(ask(&near, &mut request, 24).is_ok());
    assert_eq!(request.length as usize, 4 * page());
    assert_eq!(request.err, -libc::ECONNRESET);
    let mut request = self::request(window);
    assert!(ask(&near, &mut request, 24).is_ok(), "and no EIO");
    assert_eq!((request.length, request.recv_skip_hint), (0, 0));
    assert_eq!(request.err, 0);
    assert_eq!(near.read(&mut [0]).expect("no error is left"), 0);
    // Without it.
    let (mut near, far) = connection();
    reset(far);
    wait_for(&near, libc::POLLERR);
    let mut request = self::request(window);
    assert_eq!(ask(&near, &mut request, 16), Ok(16));
    assert_eq!((request.length, request.recv_skip_hint), (0, 0));
    let error = near.read(&mut [0]).expect_err("the reset");
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
}

#[test]
fn a_mapping_of_any_tcp_socket_is_taken() {
    let (near, _far) = with_pages(4);
    let closed = map(&unconnected());
    let listener = map(&TcpListener::bind("[::1]:0").expect("IPv6"));
    for (address, letter) in [(closed, "a"), (listener, "b"), (map(&near), "c")] {
        let mut request = request(address);
        request.length = u32::try_from(page()).expect("small");
        assert_eq!(ask(&near, &mut request, 16), Ok(16));
        assert_eq!(request.length as usize, page());
        assert_eq!(first_bytes(address, 1), letter);
    }
}

/// The mapping ends where it ends: the call does not go into what is mapped after it.
#[test]
fn the_length_is_cut_to_the_mapping() {
    let (near, _far) = with_pages(7);
    let window = map(&near);
    // SAFETY: the pages from the third one on are ours, and nothing refers to them.
    unsafe {
        let at = window.add(2 * page()).cast();
        let (prot, flags) = (
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
        );
        let other = libc::mmap(at, page(), prot, flags, -1, 0);
        assert_eq!(other, at, "mmap");
    }
    let mut request = request(window);
    assert_eq!(ask(&near, &mut request, 16), Ok(16));
    assert_eq!(request.length as usize, 2 * page());
    assert_eq!(first_bytes(window, 3), "ab\0");
}

/// A copy buffer for a request.
fn copying(request: &mut TcpZerocopyReceive, buffer: &mut [u8], length: i32) {
    request.copybuf_address = buffer.as_mut_ptr().expose_provenance() as u64;
    request.copybuf_len = length;
}

/// 5.10 has 40 bytes of the structure, and an earlier form of the copy buffer.
const SIZE_5_10: u32 = 40;

#[test]
fn the_copy_buffer_is_used_in_the_cases_that_are_documented() {
    let one_page = i32::try_from(page()).expect("small");
    let mut buffer = vec![0; 2 * page()];
    // All that is queued fits: nothing is mapped. 5.10 maps.
    let (near, far) = with_pages(1);
    let window = map(&near);
    let mut request = self::request(window);
    copying(&mut request, &mut buffer, 2 * one_page);
    let size = ask(&near, &mut request, 64).expect("taken");
    let taken = (request.length.cast_signed(), request.copybuf_len);
    if size == SIZE_5_10 {
        assert_eq!(taken, (one_page, 0));
    } else {
        assert_eq!(taken, (0, one_page));
        assert!(buffer[..page()].iter().all(|byte| *byte == b'a'));
    }
    // Less than a page, more than the buffer: it is not used. 5.10 uses it.
    (&far).write_all(&[b'x'; 100]).expect("write");
    wait_for_arrival(&near, 100);
    let mut request = self::request(window);
    copying(&mut request, &mut buffer, 10);
    assert_eq!(ask(&near, &mut request, 64), Ok(size));
    let copied = if size == SIZE_5_10 { 10 } else { 0 };
    assert_eq!(request.copybuf_len, copied);
    assert_eq!(request.recv_skip_hint.cast_signed(), 100 - copied);
    // A page or more is queued: as much as fits.
    send_zerocopy(&far, pages(&letters(4)));
    let left = 100 + 4 * page() - usize::try_from(copied).expect("10");
    wait_for_arrival(&near, left);
    let mut request = self::request(window);
    copying(&mut request, &mut buffer, 10);
    assert_eq!(ask(&near, &mut request, 64), Ok(size));
    assert_eq!((request.length, request.copybuf_len), (0, 10));
    assert_eq!(buffer[..10], *b"xxxxxxxxxx");
    assert!(request.recv_skip_hint >= 80, "{request:?}");
}

/// Why the contract has it that the length of the copy buffer is not negative.
#[test]
fn a_negative_length_of_the_copy_buffer_is_no_limit() {
    let (near, _far) = with_pages(4);
    let mut buffer = vec![0; 4 * page()];
    let mut request = request(map(&near));
    request.length = u32::try_from(page()).expect("small");
    // The buffer has room for all that is queued.
    copying(&mut request, &mut buffer, -1);
    assert!(ask(&near, &mut request, 64).is_ok());
    assert_eq!(request.length as usize, page());
    assert!(
        request.copybuf_len > 0,
        "the contract can be weaker on this kernel: {request:?}"
    );
    assert_eq!(buffer[0], b'b');
}

#[test]
fn from_a_copy_buffer_that_cannot_be_written_nothing_is_taken() {
    let (mut near, mut far) = connection();
    far.write_all(b"hello").expect("write");
    wait_for_arrival(&near, 5);
    let mut request = request(map(&near));
    (request.copybuf_address, request.copybuf_len) = (16, 100);
    match ask(&near, &mut request, 64) {
        Err(errno) => assert_eq!(errno, Errno::EFAULT),
        Ok(size) => assert_eq!((size, request.copybuf_len), (SIZE_5_10, -libc::EFAULT)),
    }
    let mut bytes = [0; 5];
    near.read_exact(&mut bytes).expect("read");
    assert_eq!(&bytes, b"hello");
}

/// The flag is a hint: pages that are there after all do not stay.
#[test]
fn the_flag_about_a_clean_range_may_be_wrong() {
    let (near, far) = with_pages(4);
    let window = map(&near);
    assert_eq!(ask(&near, &mut request(window), 16), Ok(16));
    assert_eq!(first_bytes(window, 4), "abcd");
    let other: Vec<u8> = letters(8)[4 * page()..].to_vec();
    send_zerocopy(&far, pages(&other));
    wait_for_arrival(&near, 4 * page());
    let mut request = request(window);
    request.flags = ReceiveFlags::TLB_CLEAN_HINT;
    assert!(ask(&near, &mut request, 64).is_ok());
    assert_eq!(request.length as usize, 4 * page());
    assert_eq!(first_bytes(window, 4), "efgh");
}

#[test]
fn the_flags_keep_every_bit() {
    let unknown = ReceiveFlags::from_bits_retain(0xf0);
    let both = ReceiveFlags::TLB_CLEAN_HINT | unknown;
    assert_eq!(ReceiveFlags::TLB_CLEAN_HINT.bits(), 1);
    assert_eq!(both.bits(), 0xf1);
    assert_eq!(both, ReceiveFlags::TLB_CLEAN_HINT.union(unknown));
    assert!(both.contains(unknown) && !unknown.contains(both));
    assert!(ReceiveFlags::empty().is_empty() && !unknown.is_empty());
    assert_eq!(ReceiveFlags::default(), ReceiveFlags::empty());
    let mut same = unknown;
    same |= ReceiveFlags::TLB_CLEAN_HINT;
    assert_eq!(same, both);
    let names = [
        ReceiveFlags::empty(),
        ReceiveFlags::TLB_CLEAN_HINT,
        unknown,
        both,
    ];
    assert_eq!(
        names.map(|flags| format!("{flags:?}")),
        [
            "ReceiveFlags()",
            "ReceiveFlags(TLB_CLEAN_HINT)",
            "ReceiveFlags(0xf0)",
            "ReceiveFlags(TLB_CLEAN_HINT | 0xf0)"
        ]
    );
}

#[test]
fn every_way_to_name_a_descriptor_is_the_same_descriptor() {
    let socket: OwnedFd = unconnected();
    let ours: BorrowedFd<'_> = (&socket).into();
    let from_std: BorrowedFd<'_> = socket.as_fd().into();
    // SAFETY: `socket` is open until the end of the test.
    let by_number = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    assert_eq!(ours, from_std);
    assert_eq!(ours, by_number);
}
