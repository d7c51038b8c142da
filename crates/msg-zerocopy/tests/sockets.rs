//! The raw calls on real sockets. Nothing here decides by time: each wait is for an event, with a generous limit.

use nocopy_msg_zerocopy::abi::{IP_RECVERR, IPV6_RECVERR, SOL_IP, SOL_IPV6};
use nocopy_msg_zerocopy::{
    BorrowedFd, Completion, Enabled, Errno, IoVec, Message, MsgFlags, MsgHdr, SendFlags, Tracker,
    disable, enable, is_enabled, messages, put_message, recv_error_queue, send_copied,
    send_zerocopy, sendmsg_copied, sendmsg_zerocopy,
};
use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

/// Sent by reference, so it never changes.
static BYTES: [u8; 40_000] = [0x5a; 40_000];

fn pair(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).expect("listen");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    (near, listener.accept().expect("accept").0)
}

/// Waits until the error queue has an entry.
fn wait_for_error<'fd>(fd: impl Into<BorrowedFd<'fd>>) {
    let mut poll = libc::pollfd {
        fd: fd.into().as_raw(),
        events: 0,
        revents: 0,
    };
    // SAFETY: one pollfd, writable during the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 30_000) };
    assert_eq!(
        (ready, poll.revents),
        (1, libc::POLLERR),
        "no completion came"
    );
}

/// One entry of the queue: its level and type, and its completion.
fn next_entry<'fd>(fd: impl Into<BorrowedFd<'fd>>) -> Result<(i32, i32, Completion), Errno> {
    let mut control = [0; 512];
    let received = recv_error_queue(fd, &mut control)?;
    let flags = MsgFlags::ERRQUEUE | MsgFlags::CMSG_CLOEXEC;
    assert_eq!(received.flags, flags, "exactly these flags");
    let control = &control[..received.control_len];
    let mut walk = messages(control);
    let Some(Ok(Message::Completion(completion))) = walk.next() else {
        panic!("no completion in {control:?}");
    };
    assert_eq!(walk.next(), None);
    let number = |at: usize| i32::from_ne_bytes(control[at..at + 4].try_into().expect("4 bytes"));
    Ok((number(8), number(12), completion))
}

/// Reads entries until `sends` are complete, each once, and the queue is empty.
fn complete_all(socket: Enabled<'_>, sends: u32) -> Vec<(i32, i32, Completion)> {
    let mut tracker = Tracker::<16>::new();
    for _ in 0..sends {
        tracker.sent().expect("room");
    }
    let mut entries = Vec::new();
    while !tracker.is_idle() {
        wait_for_error(socket.fd());
        let entry = next_entry(socket.fd()).expect("what poll has promised");
        tracker.complete(entry.2).expect("each id once");
        entries.push(entry);
    }
    assert_eq!(next_entry(socket.fd()), Err(Errno::EAGAIN));
    entries
}

fn send_static(socket: Enabled<'_>, bytes: &'static [u8]) -> Result<usize, Errno> {
    // SAFETY: an immutable static never changes and is never freed.
    unsafe { send_zerocopy(socket, bytes, SendFlags::NOSIGNAL) }
}

fn tcp_completes(address: &str, level: i32, kind: i32) {
    let (near, mut far) = pair(address);
    assert_eq!(is_enabled(&near), Ok(false));
    let socket = enable(&near).expect("TCP has it");
    assert_eq!(is_enabled(&near), Ok(true));
    let mut total = 0;
    for _ in 0..3 {
        total += send_static(socket, &BYTES).expect("sent");
    }
    let mut got = vec![0; total];
    far.read_exact(&mut got).expect("read");
    assert!(got.iter().all(|byte| *byte == 0x5a));
    for entry in complete_all(socket, 3) {
        assert_eq!((entry.0, entry.1), (level, kind));
        assert!(entry.2.copied, "loopback always copies");
    }
}

#[test]
fn tcp_over_ipv4_completes_every_send_once_and_copied() {
    tcp_completes("127.0.0.1:0", SOL_IP, IP_RECVERR);
}

#[test]
fn tcp_over_ipv6_completes_every_send_once_and_copied() {
    tcp_completes("[::1]:0", SOL_IPV6, IPV6_RECVERR);
}

#[test]
fn an_accepted_socket_inherits_the_option() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    enable(&listener).expect("a listener takes it");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    let (far, _) = listener.accept().expect("accept");
    assert!(Enabled::check(&far).expect("a socket").is_some());
    assert!(Enabled::check(&near).expect("a socket").is_none());
}

#[test]
fn a_family_without_zero_copy_refuses_with_its_own_number() {
    let (near, _far) = UnixStream::pair().expect("socketpair");
    let errno = enable(&near).map(drop).expect_err("AF_UNIX has none");
    // 524 is ENOTSUPP, which has no name in user space: old kernels.
    assert!(
        [libc::EOPNOTSUPP, 524].contains(&errno.into_raw()),
        "{errno}"
    );
    assert_eq!(is_enabled(&near), Ok(false));
}

#[test]
fn what_is_not_a_socket_is_the_kernels_error() {
    let file = File::open("/dev/null").expect("open");
    assert_eq!(enable(&file).map(drop), Err(Errno::ENOTSOCK));
    assert_eq!(is_enabled(&file), Err(Errno::ENOTSOCK));
    assert_eq!(recv_error_queue(&file, &mut []), Err(Errno::ENOTSOCK));
    // SAFETY: -1 was never open.
    let never_open = unsafe { BorrowedFd::borrow_raw(-1) };
    assert_eq!(enable(never_open).map(drop), Err(Errno::EBADF));
    assert_eq!(
        send_copied(never_open, b"x", SendFlags::empty()),
        Err(Errno::EBADF)
    );
}

#[test]
fn ids_count_only_sends_with_the_flag_that_took_bytes() {
    let (near, mut far) = pair("127.0.0.1:0");
    let socket = enable(&near).expect("TCP has it");
    let flag = SendFlags::from_bits_retain(nocopy_msg_zerocopy::abi::MSG_ZEROCOPY);
    assert_eq!(send_static(socket, b"one"), Ok(3));
    assert_eq!(
        send_copied(&near, b"two", flag),
        Ok(3),
        "the flag is cleared"
    );
    assert_eq!(send_static(socket, b""), Ok(0));
    assert_eq!(send_static(socket, b"three"), Ok(5));
    let mut got = [0; 11];
    far.read_exact(&mut got).expect("read");
    assert_eq!(&got, b"onetwothree");
    complete_all(socket, 2);
}

#[test]
fn a_send_that_fails_takes_no_id_over_tcp() {
    let (near, mut far) = pair("127.0.0.1:0");
    let socket = enable(&near).expect("TCP has it");
    near.set_nonblocking(true).expect("fcntl");
    let (mut sends, mut total) = (0, 0);
    let errno = loop {
        match send_static(socket, &BYTES) {
            Ok(taken) => {
                sends += 1;
                total += taken;
            }
            Err(errno) => break errno,
        }
    };
    assert_eq!(errno, Errno::EAGAIN);
    assert_eq!(send_static(socket, &BYTES), Err(Errno::EAGAIN));
    far.read_exact(&mut vec![0; total]).expect("read");
    near.set_nonblocking(false).expect("fcntl");
    assert_eq!(send_static(socket, b"last"), Ok(4));
    far.read_exact(&mut [0; 4]).expect("read");
    // Every id is complete once: the failed ones have left no gap.
    complete_all(socket, sends + 1);
}

#[test]
fn a_closed_socket_for_writing_is_epipe_without_a_signal_and_takes_no_id() {
    let (near, _far) = pair("127.0.0.1:0");
    let socket = enable(&near).expect("TCP has it");
    near.shutdown(std::net::Shutdown::Write).expect("shutdown");
    assert_eq!(send_static(socket, &BYTES), Err(Errno::EPIPE));
    assert_eq!(next_entry(&near), Err(Errno::EAGAIN));
}

#[test]
fn several_pieces_are_one_id() {
    static LINES: [u8; 5] = *b"piece";
    let (near, mut far) = pair("127.0.0.1:0");
    let socket = enable(&near).expect("TCP has it");
    let pieces = [IoVec::new(&LINES); 20];
    // SAFETY: an immutable static never changes and is never freed.
    let taken = unsafe { sendmsg_zerocopy(socket, &MsgHdr::new(&pieces), SendFlags::empty()) };
    assert_eq!(taken, Ok(100));
    let mut got = [0; 100];
    far.read_exact(&mut got).expect("read");
    assert!(got.chunks(5).all(|piece| piece == LINES));
    complete_all(socket, 1);
}

#[test]
fn a_message_goes_to_its_address_with_its_control_bytes() {
    let far = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let near = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let SocketAddr::V4(to) = far.local_addr().expect("bound") else {
        panic!("bound to IPv4");
    };
    let mut address = [0; 16];
    // A sockaddr_in: AF_INET, then port and address in network order.
    address[..2].copy_from_slice(&2_u16.to_ne_bytes());
    address[2..4].copy_from_slice(&to.port().to_be_bytes());
    address[4..8].copy_from_slice(&to.ip().octets());
    let socket = enable(&near).expect("UDP has it");
    let pieces = [IoVec::new(&BYTES[..100])];
    let message = MsgHdr::new(&pieces).to(&address);
    // SAFETY: an immutable static never changes and is never freed.
    let send =
        |message: &MsgHdr<'_>| unsafe { sendmsg_zerocopy(socket, message, SendFlags::empty()) };
    assert_eq!(send(&message), Ok(100));
    let mut got = [0; 200];
    assert_eq!(far.recv(&mut got).expect("received"), 100);
    complete_all(socket, 1);

    // IP_TTL takes an int: 4 bytes are right, 3 are refused. So the bytes do reach the kernel.
    let mut control = [0; 24];
    for (ttl, want) in [
        (&[9, 0, 0, 0][..], Ok(100)),
        (&[9, 0, 0], Err(Errno::EINVAL)),
    ] {
        let len = nocopy_msg_zerocopy::put_message(&mut control, SOL_IP, libc::IP_TTL, ttl);
        assert_eq!(len, Some(24));
        assert_eq!(send(&message.control(&control)), want);
    }
    // Too short an address is the kernel's to refuse.
    assert_eq!(
        send(&MsgHdr::new(&pieces).to(&address[..3])),
        Err(Errno::EINVAL)
    );
}

#[test]
fn a_small_control_buffer_shows_ctrunc_and_loses_the_entry() {
    for room in [0, 8, 24] {
        let (near, mut far) = pair("127.0.0.1:0");
        let socket = enable(&near).expect("TCP has it");
        assert_eq!(send_static(socket, b"x"), Ok(1));
        far.read_exact(&mut [0]).expect("read");
        wait_for_error(&near);
        let mut control = [0; 24];
        let received = recv_error_queue(&near, &mut control[..room]).expect("an entry");
        assert!(received.flags.contains(MsgFlags::CTRUNC), "room {room}");
        assert!(received.flags.contains(MsgFlags::ERRQUEUE), "room {room}");
        let completions = messages(&control[..received.control_len])
            .filter(|message| matches!(message, Ok(Message::Completion(_))))
            .count();
        assert_eq!(completions, 0, "room {room}");
        assert_eq!(next_entry(&near), Err(Errno::EAGAIN), "room {room}");
    }
}

#[test]
fn a_unix_socket_answers_without_the_error_queue_flag() {
    let (near, far) = UnixDatagram::pair().expect("socketpair");
    far.send(b"ordinary").expect("send");
    let received = recv_error_queue(&near, &mut [0; 64]).expect("the datagram");
    assert!(!received.flags.contains(MsgFlags::ERRQUEUE));
    assert_eq!(received.control_len, 0);
    // And the datagram is gone, as the documentation of the wrapper warns.
    near.set_nonblocking(true).expect("fcntl");
    let error = near.recv(&mut [0; 64]).expect_err("nothing left");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn switched_off_nothing_completes_any_more() {
    let (near, _far) = pair("127.0.0.1:0");
    let token = enable(&near).expect("TCP has it");
    disable(&near).expect("TCP has it");
    assert_eq!(is_enabled(&near), Ok(false));
    // SAFETY: a static never changes and is never freed.
    let sent = unsafe { send_zerocopy(token, b"copied in silence", SendFlags::NOSIGNAL) };
    assert_eq!(sent, Ok(17));
    assert_eq!(
        recv_error_queue(&near, &mut [0; 128]).expect_err("nothing"),
        Errno::EAGAIN
    );
}

/// A descriptor that an `AF_UNIX` peer sends is not for the programs that are started later.
#[test]
fn a_descriptor_that_comes_instead_is_closed_by_execve() {
    let (near, far) = UnixStream::pair().expect("socketpair");
    let mut control = [0; 24];
    let number = near.as_raw_fd().to_ne_bytes();
    let len = put_message(&mut control, libc::SOL_SOCKET, libc::SCM_RIGHTS, &number).expect("room");
    let pieces = [IoVec::new(b"x")];
    let message = MsgHdr::new(&pieces).control(&control[..len]);
    // SAFETY: the control message names a descriptor and no memory.
    unsafe { sendmsg_copied(&far, &message, SendFlags::empty()) }.expect("sent");
    let mut control = [0; 128];
    let received = recv_error_queue(&near, &mut control).expect("AF_UNIX ignores MSG_ERRQUEUE");
    assert!(!received.flags.contains(MsgFlags::ERRQUEUE));
    let Some(Ok(Message::Other(other))) = messages(&control[..received.control_len]).next() else {
        panic!("no descriptor");
    };
    let number = i32::from_ne_bytes(other.data.try_into().expect("one"));
    // SAFETY: nothing is a pointer.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    assert_eq!(flags, libc::FD_CLOEXEC);
}
