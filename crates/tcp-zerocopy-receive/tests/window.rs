//! What the window itself promises.

mod connection;

use connection::{
    connection, letters, page, pages, pipe, poll, queued, reset, send_urgent, send_zerocopy,
    splice, unconnected, wait_for, wait_for_arrival,
};
use nocopy_tcp_zerocopy_receive::{BorrowedFd, Errno, Mapped, Window};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

/// All bytes of the mapped pages.
fn bytes(mapped: &Mapped<'_>) -> Vec<u8> {
    let mut bytes = vec![0; mapped.len()];
    assert_eq!(mapped.read_at(0, &mut bytes), mapped.len());
    bytes
}

/// How many mappings of this socket the process has.
fn mapped(socket: u64) -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .expect("maps")
        .lines()
        .filter(|line| line.ends_with(&format!("socket:[{socket}]")))
        .count()
}

/// The number of the socket in `/proc`.
fn number(socket: &impl AsRawFd) -> u64 {
    let link = format!("/proc/self/fd/{}", socket.as_raw_fd());
    let link = std::fs::read_link(link).expect("a link");
    let digits = |byte: char| !byte.is_ascii_digit();
    let text = link.to_str().expect("text").replace(digits, "");
    text.parse().expect("a number")
}

/// Which pages are there, from an address on.
fn present(start: usize, count: usize) -> Vec<bool> {
    let file = File::open("/proc/self/pagemap").expect("pagemap");
    let entry = |at: usize| {
        let mut entry = [0; 8];
        let place = (start / page() + at) * 8;
        file.read_exact_at(&mut entry, place as u64)
            .expect("an entry");
        u64::from_ne_bytes(entry) >> 63 == 1
    };
    (0..count).map(entry).collect()
}

/// A connection with this many lettered pages, and then these bytes, in the receive queue.
fn with_pages(count: u8, then: &[u8]) -> (TcpStream, TcpStream) {
    let (near, mut far) = connection();
    let memory = pages(&letters(count));
    send_zerocopy(&far, memory);
    far.write_all(then).expect("write");
    wait_for_arrival(&near, memory.len() + then.len());
    (near, far)
}

#[test]
fn the_three_parts_are_the_stream_in_this_order() {
    let (mut near, _far) = with_pages(4, b"tail and rest");
    let mut window = Window::new(&near, 16 * page()).expect("mmap");
    let mut tail = [0; 4];
    let received = window.receive(&near, &mut tail).expect("taken");
    assert_eq!(bytes(&received.mapped), letters(4));
    assert_eq!((received.copied, &tail), (4, b"tail"));
    // All whole pages of the queue are mapped: the kernel does not look further, though more is queued.
    assert_eq!(received.recv_skip_hint, 0);
    assert_eq!((received.inq, received.err), (Some(9), None));
    assert!(!received.is_nothing());
    let received = window.receive(&near, &mut tail).expect("taken");
    // Less than a page, more than the room: copied on 5.10, not copied by later kernels.
    let copied = received.copied;
    assert!(matches!(copied, 0 | 4), "{received:?}");
    assert_eq!(received.recv_skip_hint, 9 - copied);
    let mut rest = tail[..copied].to_vec();
    rest.resize(9, 0);
    near.read_exact(&mut rest[copied..]).expect("read");
    assert_eq!(&rest, b" and rest");
    let received = window.receive(&near, &mut tail).expect("taken");
    assert!(received.is_nothing(), "{received:?}");
    assert_eq!(received.inq, Some(0));
}

#[test]
fn receive_pages_copies_nothing_and_asks_for_no_more() {
    let (mut near, _far) = with_pages(4, b"tail");
    let mut window = Window::new(&near, 16 * page()).expect("mmap");
    let received = window.receive_pages(&near).expect("taken");
    assert_eq!(bytes(&received.mapped), letters(4));
    assert_eq!((received.copied, received.recv_skip_hint), (0, 0));
    assert_eq!((received.inq, received.err), (None, None));
    let received = window.receive_pages(&near).expect("taken");
    assert_eq!((received.mapped.len(), received.recv_skip_hint), (0, 4));
    let mut rest = [0; 4];
    near.read_exact(&mut rest).expect("read");
    assert_eq!(&rest, b"tail");
}

#[test]
fn a_window_is_used_again_and_holds_no_more_than_its_length() {
    let (near, _far) = with_pages(7, b"");
    // A part of a page is of no use.
    let mut window = Window::new(&near, 2 * page() + 1).expect("mmap");
    assert_eq!(window.len(), 2 * page() + 1);
    let mut all = Vec::new();
    for pages in [2, 2, 2, 1] {
        let received = window.receive_pages(&near).expect("taken");
        assert_eq!(received.mapped.len(), pages * page());
        all.extend(bytes(&received.mapped));
    }
    assert_eq!(all, letters(7));
}

#[test]
fn a_window_of_less_than_a_page_maps_nothing_and_takes_nothing() {
    let (mut near, _far) = with_pages(1, b"");
    let mut window = Window::new(&near, 100).expect("mmap");
    let received = window.receive_pages(&near).expect("taken");
    assert!(received.mapped.is_empty() && !received.is_nothing());
    assert_eq!(received.recv_skip_hint, 100);
    let mut bytes = vec![0; page()];
    near.read_exact(&mut bytes).expect("read");
    assert_eq!(bytes, letters(1));
}

#[test]
fn old_pages_stay_until_they_are_replaced_or_released() {
    let (near, far) = with_pages(4, b"");
    let mut window = Window::new(&near, 4 * page()).expect("mmap");
    let received = window.receive_pages(&near).expect("taken");
    let start = received.mapped.as_ptr().addr();
    assert_eq!(received.mapped.len(), 4 * page());
    assert_eq!(present(start, 4), [true; 4]);
    send_zerocopy(&far, pages(&letters(1)));
    wait_for_arrival(&near, page());
    let received = window.receive_pages(&near).expect("taken");
    assert_eq!(received.mapped.as_ptr().addr(), start);
    assert_eq!(bytes(&received.mapped), letters(1));
    assert_eq!(present(start, 4), [true; 4], "three of them are old");
    window.release().expect("madvise");
    assert_eq!(present(start, 4), [false; 4]);
    // And it can be used afterwards.
    send_zerocopy(&far, pages(&letters(2)));
    wait_for_arrival(&near, 2 * page());
    let received = window.receive_pages(&near).expect("taken");
    assert_eq!(bytes(&received.mapped), letters(2));
}

#[test]
fn dropping_unmaps() {
    let (near, _far) = with_pages(2, b"");
    let number = number(&near);
    let mut window = Window::new(&near, 2 * page()).expect("mmap");
    assert_eq!(mapped(number), 1);
    let received = window.receive_pages(&near).expect("taken");
    assert_eq!(received.mapped.len(), 2 * page());
    drop(window);
    assert_eq!(mapped(number), 0);
}

/// The trap that the documentation is about.
#[test]
fn a_window_keeps_its_connection_open_and_one_of_another_socket_does_not() {
    let (near, far) = connection();
    let window = Window::new(&near, page()).expect("mmap");
    drop(near);
    assert_eq!(poll(&far, libc::POLLRDHUP, 0), 0, "still open");
    drop(window);
    assert_ne!(wait_for(&far, libc::POLLRDHUP) & libc::POLLRDHUP, 0);

    let (near, far) = with_pages(1, b"");
    let mut window = Window::new(&unconnected(), page()).expect("mmap");
    let received = window.receive_pages(&near).expect("taken");
    assert_eq!(bytes(&received.mapped), letters(1));
    drop(near);
    assert_ne!(wait_for(&far, libc::POLLRDHUP) & libc::POLLRDHUP, 0);
    assert_eq!(window.len(), page(), "it is still there");
}

#[test]
fn shutdown_ends_a_connection_that_a_window_keeps_open() {
    let (near, far) = connection();
    let window = Window::new(&near, page()).expect("mmap");
    near.shutdown(Shutdown::Both).expect("shutdown");
    drop(near);
    assert_ne!(wait_for(&far, libc::POLLRDHUP) & libc::POLLRDHUP, 0);
    drop(window);
}

#[test]
fn one_window_serves_several_connections_and_threads() {
    let mut window = Window::new(&unconnected(), 4 * page()).expect("mmap");
    for count in [1, 4, 2] {
        let (near, _far) = with_pages(count, b"");
        window = std::thread::spawn(move || {
            let received = window.receive_pages(&near).expect("taken");
            let mapped = received.mapped;
            // Two threads look at the same pages.
            std::thread::scope(|scope| {
                scope.spawn(|| assert_eq!(bytes(&mapped), letters(count)));
                assert_eq!(bytes(&mapped), letters(count));
            });
            window
        })
        .join()
        .expect("join");
    }
}

#[test]
fn what_is_no_tcp_socket_cannot_be_mapped() {
    // SAFETY: -1 was never open.
    let never_open = unsafe { BorrowedFd::borrow_raw(-1) };
    let (udp, unix) = (
        UdpSocket::bind("127.0.0.1:0").expect("bind"),
        UnixStream::pair().expect("socketpair").0,
    );
    let [pipe, _] = pipe();
    let tcp = unconnected();
    let error = |socket: BorrowedFd<'_>, length| Window::new(socket, length).err();
    assert_eq!(error(never_open, page()), Some(Errno::EBADF));
    assert_eq!(error((&udp).into(), page()), Some(Errno::ENODEV));
    assert_eq!(error((&unix).into(), page()), Some(Errno::ENODEV));
    assert_eq!(error((&pipe).into(), page()), Some(Errno::ENODEV));
    assert_eq!(error((&tcp).into(), 0), Some(Errno::EINVAL));
    assert_eq!(error((&tcp).into(), usize::MAX), Some(Errno::ENOMEM));
    assert_eq!(error((&tcp).into(), page()), None);
    let mut window = Window::new(&tcp, page()).expect("mmap");
    let errno = window.receive_pages(&udp).err();
    assert_eq!(errno, Some(Errno::EOPNOTSUPP));
}

#[test]
fn the_end_and_a_reset_are_told_apart_from_silence_as_documented() {
    let mut window = Window::new(&unconnected(), page()).expect("mmap");
    let mut tail = [0; 16];
    // The end, with a byte before it.
    let (near, mut far) = connection();
    far.write_all(b"x").expect("write");
    drop(far);
    wait_for(&near, libc::POLLRDHUP);
    let received = window.receive(&near, &mut tail).expect("taken");
    assert_eq!((received.copied, received.inq), (1, Some(1)), "the end");
    assert_eq!(window.receive(&near, &mut tail).err(), Some(Errno::EIO));
    assert_eq!(window.receive_pages(&near).err(), Some(Errno::EIO));
    // A reset: once, and then as if the connection were idle. `recv` then has no error either, but 0.
    let (mut near, far) = connection();
    reset(far);
    wait_for(&near, libc::POLLERR);
    let received = window.receive(&near, &mut tail).expect("taken");
    assert!(received.is_nothing());
    assert_eq!(received.err, Some(Errno::ECONNRESET));
    let received = window.receive(&near, &mut tail).expect("taken");
    assert!(received.is_nothing());
    assert_eq!(received.err, None);
    assert_eq!(near.read(&mut tail).expect("no error is left"), 0);
    // `receive_pages` leaves it there.
    let (mut near, far) = connection();
    reset(far);
    wait_for(&near, libc::POLLERR);
    assert!(window.receive_pages(&near).expect("taken").is_nothing());
    let error = near.read(&mut tail).expect_err("the reset");
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
}

/// Why "nothing" is no reason to wait again when `poll` reports bytes.
#[test]
fn at_an_urgent_byte_nothing_comes_until_recv_goes_past_it() {
    let (mut near, far) = connection();
    let mut window = Window::new(&unconnected(), 4 * page()).expect("mmap");
    send_urgent(&far, b'!');
    send_zerocopy(&far, pages(&letters(2)));
    wait_for(&near, libc::POLLPRI);
    // The urgent byte does not count.
    wait_for_two_pages(&far);
    for _ in 0..3 {
        assert!(window.receive_pages(&near).expect("taken").is_nothing());
        assert_ne!(poll(&near, libc::POLLIN, 0) & libc::POLLIN, 0);
    }
    let mut first = [0; 1];
    near.read_exact(&mut first).expect("read");
    assert_eq!(&first, b"a");
    let mut rest = first.to_vec();
    while rest.len() < 2 * page() {
        let received = window.receive_pages(&near).expect("taken");
        rest.extend(bytes(&received.mapped));
        let mut read = vec![0; received.recv_skip_hint];
        near.read_exact(&mut read).expect("read");
        rest.extend(read);
    }
    assert_eq!(rest, letters(2));
}

/// Waits until all is acknowledged.
fn wait_for_two_pages(far: &TcpStream) {
    let mut bytes: libc::c_int = 1;
    while bytes > 0 {
        std::thread::yield_now();
        // SAFETY: the kernel writes an int.
        let result = unsafe { libc::ioctl(far.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        connection::done(result).expect("SIOCOUTQ");
    }
}

#[test]
fn read_at_copies_every_range_of_every_alignment() {
    let (near, far) = connection();
    let content: Vec<u8> = (0..page()).map(|at| (at % 251).to_le_bytes()[0]).collect();
    let [from, to] = pipe();
    File::from(to).write_all(&content).expect("write");
    splice(&from, &far, page());
    wait_for_arrival(&near, page());
    let mut window = Window::new(&near, page()).expect("mmap");
    let received = window.receive_pages(&near).expect("taken");
    let mapped = received.mapped;
    assert_eq!(mapped.len(), page(), "what was written to a pipe is mapped");
    for offset in (0..20).chain(page() - 20..=page()) {
        for room in 0..40 {
            let expected = &content[offset..page().min(offset + room)];
            let mut bytes = [0xff; 40];
            let count = mapped.read_at(offset, &mut bytes[..room]);
            assert_eq!(&bytes[..count], expected, "{room} from {offset}");
            assert!(bytes[count..].iter().all(|byte| *byte == 0xff));
        }
    }
    assert_eq!(mapped.read_at(page() + 1, &mut [0]), 0);
    assert_eq!(mapped.read_at(usize::MAX, &mut [0]), 0);
    // SAFETY: the page was in a pipe of this test, and nobody writes to it.
    assert_eq!(unsafe { mapped.as_slice() }, content);
    let mut target = Vec::new();
    // SAFETY: the same.
    target
        .write_all(unsafe { mapped.as_slice() })
        .expect("write");
    assert_eq!(target, content);
}

#[test]
fn the_pointer_is_for_system_calls() {
    let (near, _far) = with_pages(2, b"");
    let mut window = Window::new(&near, 2 * page()).expect("mmap");
    let received = window.receive_pages(&near).expect("taken");
    let (near, mut far) = UnixStream::pair().expect("socketpair");
    let (start, length) = (received.mapped.as_ptr(), received.mapped.len());
    // SAFETY: the kernel reads the pages during the call.
    let written = unsafe { libc::write(near.as_raw_fd(), start.cast(), length) };
    assert_eq!(written.cast_unsigned(), 2 * page());
    let mut bytes = vec![0; length];
    far.read_exact(&mut bytes).expect("read");
    assert_eq!(bytes, letters(2));
}

#[test]
fn bytes_are_not_in_a_debug_line() {
    let (near, _far) = with_pages(2, b"");
    let mut window = Window::new(&near, 2 * page()).expect("mmap");
    let received = window.receive_pages(&near).expect("taken");
    let line = format!("{received:?}");
    assert!(
        line.contains("recv_skip_hint: 0") && line.len() < 300,
        "{line}"
    );
    assert!(format!("{window:?}").starts_with("Window { start: 0x"));
    assert_eq!(queued(&near), 0);
}
