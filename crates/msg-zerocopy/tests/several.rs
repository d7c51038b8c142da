//! Several messages by one call, what comes beside completions, and sends that become several datagrams, on real sockets. Nothing here
//! decides by time: each wait is for an event, with a generous limit.

use nocopy_msg_zerocopy::abi::{SCM_TIMESTAMPING_NEW, SCM_TIMESTAMPING_OLD, SOL_SOCKET};
use nocopy_msg_zerocopy::{
    BorrowedFd, Completion, Enabled, Errno, ErrorEntry, Icmp, IoVec, MMsgHdr, Message, MsgFlags,
    MsgHdr, SendFlags, Stage, Stamped, Timestamps, Tracker, enable, messages, recvmmsg_error_queue,
    sendmmsg_zerocopy, sendmsg_zerocopy, udp_segment,
};
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

/// Sent by reference, so it never changes.
static BYTES: [u8; 200_000] = {
    let mut bytes = [0; 200_000];
    let (mut at, mut byte) = (0, 0_u8);
    while at < bytes.len() {
        bytes[at] = byte;
        byte = (byte + 1) % 251;
        at += 1;
    }
    bytes
};

fn udp(address: &str) -> UdpSocket {
    UdpSocket::bind(address).expect("bind")
}

/// Two UDP sockets, the first connected to the second.
fn pair() -> (UdpSocket, UdpSocket) {
    let (near, far) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    near.connect(far.local_addr().expect("bound"))
        .expect("connect");
    (near, far)
}

/// The address as the kernel has it.
fn sockaddr(socket: &UdpSocket) -> [u8; 16] {
    let SocketAddr::V4(to) = socket.local_addr().expect("bound") else {
        panic!("bound to IPv4");
    };
    let mut address = [0; 16];
    address[..2].copy_from_slice(&2_u16.to_ne_bytes());
    address[2..4].copy_from_slice(&to.port().to_be_bytes());
    address[4..8].copy_from_slice(&to.ip().octets());
    address
}

fn set(socket: &impl AsRawFd, level: i32, option: i32, value: i32) {
    // SAFETY: an int of our own, read during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            4,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
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
    assert_eq!((ready, poll.revents), (1, libc::POLLERR), "no entry came");
}

fn send(socket: Enabled<'_>, messages: &mut [MMsgHdr<'_>]) -> Result<usize, Errno> {
    // SAFETY: all tests send an immutable static, which never changes and is never freed, and no control message of theirs names
    // memory.
    unsafe { sendmmsg_zerocopy(socket, messages, SendFlags::NOSIGNAL) }
}

/// What the entries of an error queue say.
#[derive(Debug, Default)]
struct Seen {
    completions: Vec<Completion>,
    icmp: Vec<Icmp>,
    times: Vec<(Timestamps, Stamped)>,
    calls: usize,
    entries: usize,
}

/// Reads the queue until `is_enough`, with four entries a call.
fn seen(socket: &impl AsFd, is_enough: impl Fn(&Seen) -> bool) -> Seen {
    let mut seen = Seen::default();
    let mut buffers = [[0; 512]; 4];
    let mut entries = buffers.each_mut().map(|buffer| ErrorEntry::new(buffer));
    while !is_enough(&seen) {
        wait_for_error(socket);
        let came = recvmmsg_error_queue(socket, &mut entries).expect("what poll has promised");
        assert!(came > 0);
        seen.calls += 1;
        seen.entries += came;
        for entry in &entries[..came] {
            let flags = MsgFlags::ERRQUEUE | MsgFlags::CMSG_CLOEXEC;
            assert_eq!(entry.received().flags - MsgFlags::TRUNC, flags);
            assert_eq!(entry.received().control_len, entry.control().len());
            let mut times = None;
            for message in messages(entry.control()) {
                match message.expect("well-formed") {
                    Message::Completion(completion) => seen.completions.push(completion),
                    Message::Other(other) => {
                        times = times.or(other.timestamps());
                        seen.icmp.extend(other.icmp());
                        if let Some(stamped) = other.stamped() {
                            seen.times.push((times.expect("before it"), stamped));
                        }
                    }
                }
            }
        }
        for entry in &entries[came..] {
            assert!(entry.control().is_empty(), "of an earlier call");
        }
    }
    let empty = recvmmsg_error_queue(socket, &mut entries);
    assert_eq!(empty, Err(Errno::EAGAIN));
    assert!(entries.iter().all(|entry| entry.control().is_empty()));
    seen
}

/// Whether the completions are those of this many sends, each once.
fn are_of(completions: &[Completion], sends: u32) -> bool {
    let mut tracker = Tracker::<8>::new();
    for _ in 0..sends {
        tracker.sent().expect("room");
    }
    for completion in completions {
        tracker.complete(*completion).expect("each id once");
    }
    tracker.is_idle()
}

#[test]
fn each_message_goes_to_its_address_and_takes_one_id() {
    let (one, two, near) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    let socket = enable(&near).expect("UDP has it");
    let addresses = [sockaddr(&one), sockaddr(&two)];
    let pieces: Vec<_> = (0..5)
        .map(|at| [IoVec::new(&BYTES[..10]), IoVec::new(&BYTES[..at])])
        .collect();
    let mut messages: Vec<_> = pieces
        .iter()
        .enumerate()
        .map(|(at, pieces)| MMsgHdr::new(MsgHdr::new(pieces).to(&addresses[at % 2])))
        .collect();
    assert!(messages.iter().all(|message| message.sent() == 0));
    assert_eq!(send(socket, &mut messages), Ok(5));
    let sent: Vec<_> = messages.iter().map(MMsgHdr::sent).collect();
    assert_eq!(sent, [10, 11, 12, 13, 14]);
    for at in 0..5 {
        let mut got = [0; 100];
        let from = if at % 2 == 0 { &one } else { &two };
        assert_eq!(from.recv(&mut got).expect("recv"), 10 + at);
        assert_eq!(got[..10], BYTES[..10]);
        assert_eq!(got[10..10 + at], BYTES[..at]);
    }
    seen(&near, |seen| are_of(&seen.completions, 5));
}

#[test]
fn an_error_after_the_first_message_is_a_count_and_the_next_call_has_the_error() {
    let (near, far) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    let socket = enable(&near).expect("UDP has it");
    let address = sockaddr(&far);
    let pieces = [IoVec::new(&BYTES[..10])];
    let good = MMsgHdr::new(MsgHdr::new(&pieces).to(&address));
    let bad = MMsgHdr::new(MsgHdr::new(&pieces).to(&address[..3]));
    let mut messages = [good, good, bad, good];
    assert_eq!(send(socket, &mut messages), Ok(2));
    assert_eq!(messages.map(|message| message.sent()), [10, 10, 0, 0]);
    assert!(near.take_error().expect("SO_ERROR").is_none(), "not stored");
    assert_eq!(send(socket, &mut messages[2..]), Err(Errno::EINVAL));
    assert_eq!(send(socket, &mut messages[3..]), Ok(1));
    for _ in 0..3 {
        assert_eq!(far.recv(&mut [0; 100]).expect("recv"), 10);
    }
    seen(&near, |seen| are_of(&seen.completions, 3));
}

#[test]
fn a_stream_ends_it_after_a_message_that_was_taken_in_part() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    let (mut far, _) = listener.accept().expect("accept");
    let socket = enable(&near).expect("TCP has it");
    near.set_nonblocking(true).expect("fcntl");
    let pieces = [IoVec::new(&BYTES)];
    let message = MMsgHdr::new(MsgHdr::new(&pieces));
    let (mut sends, mut total) = (0, 0);
    // Until the socket is full: the count has what was taken, the message in part included.
    let (errno, partial) = loop {
        let mut messages = [message; 8];
        match send(socket, &mut messages) {
            Ok(count) => {
                let sent = messages.map(|message| message.sent());
                assert!(count > 0 && sent[count..].iter().all(|sent| *sent == 0));
                assert!(sent[..count - 1].iter().all(|sent| *sent == BYTES.len()));
                assert!(sent[count - 1] > 0);
                sends += u32::try_from(count).expect("8 at most");
                total += sent.iter().sum::<usize>();
            }
            Err(errno) => break (errno, total % BYTES.len() != 0),
        }
    };
    assert_eq!(errno, Errno::EAGAIN);
    assert!(partial, "200,000 bytes do not divide any socket's memory");
    let mut got = vec![0; total];
    far.read_exact(&mut got).expect("read");
    seen(&near, |seen| are_of(&seen.completions, sends));
}

#[test]
fn over_udp_an_empty_message_is_a_datagram_and_has_an_id() {
    let (near, far) = pair();
    let socket = enable(&near).expect("UDP has it");
    let mut messages = [MMsgHdr::new(MsgHdr::new(&[])); 3];
    assert_eq!(send(socket, &mut messages), Ok(3));
    for _ in 0..3 {
        assert_eq!(far.recv(&mut [0; 100]).expect("recv"), 0);
    }
    seen(&near, |seen| are_of(&seen.completions, 3));
}

#[test]
fn over_tcp_an_empty_message_has_no_id_and_the_kernel_takes_1024() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    let socket = enable(&near).expect("TCP has it");
    let pieces = [IoVec::new(&BYTES[..1])];
    let (empty, byte) = (MsgHdr::new(&[]), MsgHdr::new(&pieces));
    let mut messages = [empty, byte, empty, byte].map(MMsgHdr::new);
    assert_eq!(send(socket, &mut messages), Ok(4));
    let mut messages = vec![MMsgHdr::new(empty); 1025];
    assert_eq!(send(socket, &mut messages), Ok(1024));
    assert_eq!(send(socket, &mut []), Ok(0));
    let (mut far, _) = listener.accept().expect("accept");
    far.read_exact(&mut [0; 2]).expect("read");
    seen(&near, |seen| are_of(&seen.completions, 2));
}

#[test]
fn a_refused_first_message_and_a_wrong_descriptor_are_the_kernels_error() {
    let (near, far) = pair();
    let socket = enable(&near).expect("UDP has it");
    let pieces = [IoVec::new(&BYTES[..65_508])];
    let mut messages = [MMsgHdr::new(MsgHdr::new(&pieces)); 2];
    assert_eq!(send(socket, &mut messages), Err(Errno::EMSGSIZE));
    drop(far);
    let file = File::open("/dev/null").expect("open");
    let mut entries = [ErrorEntry::new(&mut [])];
    assert_eq!(
        recvmmsg_error_queue(&file, &mut entries),
        Err(Errno::ENOTSOCK)
    );
    assert_eq!(
        recvmmsg_error_queue(&near, &mut entries),
        Err(Errno::EAGAIN)
    );
    // No room for an entry: old kernels have a number of their own for it.
    let nothing = recvmmsg_error_queue(&near, &mut []);
    assert!([Ok(0), Err(Errno::EBADF)].contains(&nothing), "{nothing:?}");
    println!("no room: {nothing:?}");
    let not_enabled = Enabled::assume((&file).into());
    assert_eq!(send(not_enabled, &mut messages), Err(Errno::ENOTSOCK));
}

/// Sends one byte to each of these, by one call.
fn send_one_to_each<const N: usize>(socket: Enabled<'_>, to: [&[u8]; N]) -> Result<usize, Errno> {
    let pieces = [IoVec::new(&BYTES[..1])];
    let mut messages = to.map(|to| MMsgHdr::new(MsgHdr::new(&pieces).to(to)));
    send(socket, &mut messages)
}

#[test]
fn icmp_errors_are_data_beside_completions_and_one_call_takes_several_entries() {
    let (near, far) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    set(&near, libc::SOL_IP, libc::IP_RECVERR, 1);
    let socket = enable(&near).expect("UDP has it");
    let open = sockaddr(&far);
    let closed = sockaddr(&udp("127.0.0.1:0"));
    let mut sent = 0;
    // A pending error of the socket fails a send, which then takes no id.
    for _ in 0..3 {
        for to in [&closed, &open] {
            while let Err(errno) = send_one_to_each(socket, [to]) {
                assert_eq!(errno, Errno::ECONNREFUSED);
            }
            sent += 1;
        }
    }
    let seen = seen(&near, |seen| {
        seen.icmp.len() == 3 && are_of(&seen.completions, sent)
    });
    for icmp in &seen.icmp {
        assert_eq!(
            (icmp.errno, icmp.is_v6, icmp.kind, icmp.code),
            (111, false, 3, 3)
        );
        let offender = icmp.offender.expect("an address");
        assert_eq!(offender, "127.0.0.1:0".parse().expect("an address"));
    }
    assert!(seen.entries > seen.calls, "several by one call: {seen:?}");
}

#[test]
fn an_icmp_error_of_ipv6_has_its_address_too() {
    let (near, closed) = (udp("[::1]:0"), udp("[::1]:0"));
    let to = closed.local_addr().expect("bound");
    drop(closed);
    set(&near, libc::SOL_IPV6, libc::IPV6_RECVERR, 1);
    near.send_to(b"x", to).expect("send");
    let seen = seen(&near, |seen| !seen.icmp.is_empty());
    let [icmp] = seen.icmp[..] else {
        panic!("{seen:?}")
    };
    // Destination unreachable, the port.
    assert_eq!(
        (icmp.errno, icmp.is_v6, icmp.kind, icmp.code),
        (111, true, 1, 4)
    );
    let offender = icmp.offender.expect("an address").ip();
    assert_eq!(offender, "::1".parse::<IpAddr>().expect("an address"));
}

fn timestamps_come(option: i32) {
    const FLAGS: i32 = (libc::SOF_TIMESTAMPING_TX_SOFTWARE
        | libc::SOF_TIMESTAMPING_SOFTWARE
        | libc::SOF_TIMESTAMPING_OPT_ID
        | libc::SOF_TIMESTAMPING_OPT_TSONLY)
        .cast_signed();
    let (near, far) = pair();
    set(&near, SOL_SOCKET, option, FLAGS);
    let socket = enable(&near).expect("UDP has it");
    let pieces = [IoVec::new(&BYTES[..10])];
    let mut messages = [MMsgHdr::new(MsgHdr::new(&pieces)); 3];
    assert_eq!(send(socket, &mut messages), Ok(3));
    for _ in 0..3 {
        assert_eq!(far.recv(&mut [0; 100]).expect("recv"), 10);
    }
    let seen = seen(&near, |seen| {
        seen.times.len() == 3 && are_of(&seen.completions, 3)
    });
    for (id, (times, stamped)) in (0..).zip(&seen.times) {
        assert_eq!((stamped.stage, stamped.id), (Stage::Sent, id));
        let time = times.software;
        assert!(!time.is_unset() && (0..1_000_000_000).contains(&time.nanoseconds));
        assert!(times.legacy.is_unset() && times.hardware.is_unset());
    }
    let all = seen.times.iter().map(|(times, _)| times.software);
    assert!(all.is_sorted(), "{seen:?}");
}

#[test]
fn timestamps_are_data_beside_completions() {
    timestamps_come(SCM_TIMESTAMPING_OLD);
}

#[test]
fn timestamps_of_2038_are_the_same() {
    timestamps_come(SCM_TIMESTAMPING_NEW);
}

#[test]
fn a_small_buffer_loses_its_own_entry_only_and_is_whole_again_for_the_next_call() {
    let (near, far) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    set(&near, libc::SOL_IP, libc::IP_RECVERR, 1);
    let socket = enable(&near).expect("UDP has it");
    let to_open = sockaddr(&far);
    let to_closed = sockaddr(&udp("127.0.0.1:0"));
    let round = || {
        // Completions around an ICMP error do not merge.
        let pieces = [IoVec::new(&BYTES[..1])];
        let mut sent = 0;
        for message in [
            MsgHdr::new(&pieces).to(&to_open),
            MsgHdr::new(&pieces).to(&to_closed),
            MsgHdr::new(&pieces).to(&to_open),
        ] {
            while send(socket, &mut [MMsgHdr::new(message)]).is_err() {}
            sent += 1;
        }
        sent
    };
    let (mut small, mut large) = ([0; 8], [[0; 512]; 8]);
    let [first, rest @ ..] = large.each_mut();
    let mut entries: Vec<_> = [&mut small[..], &mut first[..]]
        .into_iter()
        .chain(rest.into_iter().map(|buffer| &mut buffer[..]))
        .map(ErrorEntry::new)
        .collect();
    for _ in 0..3 {
        assert_eq!(round(), 3);
        wait_for_error(&near);
        let came = recvmmsg_error_queue(&near, &mut entries).expect("entries");
        assert!(came > 1, "{entries:?}");
        for (at, entry) in entries[..came].iter().enumerate() {
            let received = entry.received();
            assert_eq!(received.flags.contains(MsgFlags::CTRUNC), at == 0);
            assert_eq!(messages(entry.control()).count(), usize::from(at != 0));
            assert!(received.flags.contains(MsgFlags::ERRQUEUE));
        }
        while recvmmsg_error_queue(&near, &mut entries).is_ok() {}
    }
}

#[test]
fn a_send_of_many_datagrams_takes_one_id() {
    let (near, far) = pair();
    let socket = enable(&near).expect("UDP has it");
    let control = udp_segment(1000);
    let pieces = [
        IoVec::new(&BYTES[..5_000]),
        IoVec::new(&BYTES[5_000..10_500]),
    ];
    let message = MsgHdr::new(&pieces).control(&control);
    // SAFETY: an immutable static never changes and is never freed, and the control message names no memory.
    let one = unsafe { sendmsg_zerocopy(socket, &message, SendFlags::empty()) };
    assert_eq!(one, Ok(10_500));
    assert_eq!(send(socket, &mut [MMsgHdr::new(message); 2]), Ok(2));
    for _ in 0..3 {
        let mut got = [0; 2000];
        for datagram in BYTES[..10_500].chunks(1000) {
            let length = far.recv(&mut got).expect("recv");
            assert_eq!(got[..length], *datagram);
        }
    }
    let seen = seen(&near, |seen| are_of(&seen.completions, 3));
    println!("33 datagrams, 3 ids: {:?}", seen.completions);

    // Of 0 there is one datagram.
    let none = udp_segment(0);
    let pieces = [IoVec::new(&BYTES[..2000])];
    let mut message = [MMsgHdr::new(MsgHdr::new(&pieces).control(&none))];
    assert_eq!(send(socket, &mut message), Ok(1));
    assert_eq!(far.recv(&mut [0; 3000]).expect("recv"), 2000);
}

#[test]
fn one_send_makes_64_datagrams_at_most_or_128() {
    let (near, _far) = pair();
    let socket = enable(&near).expect("UDP has it");
    let control = udp_segment(1);
    let sends = [64, 65, 128, 129].map(|datagrams| {
        let pieces = [IoVec::new(&BYTES[..datagrams])];
        send(
            socket,
            &mut [MMsgHdr::new(MsgHdr::new(&pieces).control(&control))],
        )
    });
    let refused = Err(Errno::EINVAL);
    let old = [Ok(1), refused, refused, refused];
    let new = [Ok(1), Ok(1), Ok(1), refused];
    assert!(sends == old || sends == new, "{sends:?}");
    // The kernel finds out late: a refused send has an id, too, and it completes.
    seen(&near, |seen| are_of(&seen.completions, 4));
    println!("datagrams of one send: {sends:?}");
}
