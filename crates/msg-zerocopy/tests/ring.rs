//! The ring over real sockets.

use nocopy_msg_zerocopy::{Enabled, Errno, Ring, RingError, enable};
use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Barrier;
use std::thread;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    (near, listener.accept().expect("accept").0)
}

fn region(len: usize) -> Box<[u8]> {
    vec![0; len].into_boxed_slice()
}

/// Waits for `events` or an entry in the error queue; a limit, not a measure.
fn wait(socket: &TcpStream, events: i16) {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: one pollfd, writable during the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 30_000) };
    assert_eq!(ready, 1, "neither room nor completion came");
}

/// The byte of the stream at a position: no period that a slot's or page's size divides.
fn byte(position: u64) -> u8 {
    let mixed = position.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_le_bytes()[6]
}

#[test]
fn every_byte_arrives_in_order_through_partial_sends_and_reused_slots() {
    const TOTAL: u64 = 8_000_000;
    let (near, mut far) = pair();
    let receiver = thread::spawn(move || {
        let mut position = 0;
        let mut buffer = vec![0; 100_000];
        loop {
            let got = far.read(&mut buffer).expect("read");
            if got == 0 {
                return position;
            }
            for received in &buffer[..got] {
                assert_eq!(*received, byte(position), "at {position}");
                position += 1;
            }
        }
    });

    near.set_nonblocking(true).expect("fcntl");
    let small: i32 = 128 * 1024;
    // SAFETY: 4 readable bytes, as long as is said.
    let set = unsafe {
        libc::setsockopt(
            near.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDBUF,
            (&raw const small).cast(),
            4,
        )
    };
    assert_eq!(set, 0);
    let mut ring = Ring::<_, 3, 4>::new(&near, region(3 * 700_001)).expect("TCP has it");
    assert_eq!(ring.slot_size(), 700_001);
    let (mut filled, mut partial) = (0, 0);
    while filled < TOTAL || ring.queued() > 0 || !ring.is_idle() {
        let slot = if filled < TOTAL { ring.take() } else { None };
        if let Some(mut slot) = slot {
            let bytes = slot.bytes_mut();
            let len = bytes
                .len()
                .min(usize::try_from(TOTAL - filled).expect("64 bits"));
            for at in &mut bytes[..len] {
                *at = byte(filled);
                filled += 1;
            }
            slot.commit(len);
        }
        let waiting = ring.queued();
        match ring.send_or_copy() {
            Ok(0) | Err(RingError::Errno(Errno::ENOBUFS) | RingError::TrackerFull) => {
                wait(&near, 0);
            }
            Ok(_) => partial += usize::from(ring.queued() == waiting),
            Err(RingError::Errno(Errno::EAGAIN)) => wait(&near, libc::POLLOUT),
            Err(error) => panic!("{error}"),
        }
        ring.reap_all().expect("only our completions");
    }
    let stats = ring.stats();
    assert!(
        partial > 0,
        "the buffer is smaller than a slot, so sends are partial"
    );
    assert_eq!(stats.copied + stats.uncopied, stats.zerocopy_sends);
    assert_eq!(ring.into_region().expect("idle").len(), 3 * 700_001);
    drop(near);
    assert_eq!(receiver.join().expect("every byte is right"), TOTAL);
}

#[test]
fn a_slot_that_is_not_committed_is_free_and_an_empty_one_sends_nothing() {
    let (near, _far) = pair();
    let mut ring = Ring::<_, 2, 1>::new(&near, region(20)).expect("TCP has it");
    assert_eq!(ring.take().expect("free").index(), 0);
    ring.take().expect("free").commit(0);
    assert_eq!(ring.queued(), 0);
    assert_eq!(ring.send(), Ok(0));
    ring.take().expect("free").commit(10);
    assert_eq!(ring.take().expect("free").index(), 1, "0 waits");
    ring.take().expect("free").commit(10);
    assert!(ring.take().is_none());
}

#[test]
#[should_panic(expected = "more bytes than the slot has")]
fn a_slot_cannot_commit_more_than_it_has() {
    let (near, _far) = pair();
    let mut ring = Ring::<_, 2, 1>::new(&near, region(20)).expect("TCP has it");
    ring.take().expect("free").commit(11);
}

#[test]
fn what_is_not_tcp_or_has_the_option_already_is_refused_with_its_region() {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let refused = Ring::<_, 2, 1>::new(&udp, region(20)).expect_err("UDP");
    assert_eq!(
        (refused.error, refused.region.len()),
        (RingError::NotTcp, 20)
    );
    let (unix, _) = UnixStream::pair().expect("socketpair");
    let refused = Ring::<_, 2, 1>::new(&unix, region(20)).expect_err("AF_UNIX");
    assert_eq!(refused.error, RingError::NotTcp);

    let (near, _far) = pair();
    let first = Ring::<_, 2, 1>::new(&near, region(20)).expect("TCP has it");
    let refused = Ring::<_, 2, 1>::new(&near, region(20)).expect_err("the second ring");
    assert_eq!(refused.error, RingError::AlreadyEnabled);
    drop(first);
}

#[test]
fn a_ring_goes_over_an_accepted_socket_and_a_static_region() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    enable(&listener).expect("TCP has it");
    let mut far = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    let (near, _) = listener.accept().expect("accept");
    let socket = Enabled::check(&near).expect("a socket").expect("inherited");
    let region: &'static mut [u8] = Box::leak(region(20));
    // SAFETY: just accepted: nothing has been sent, and nobody else has the socket.
    let mut ring = unsafe { Ring::<_, 2, 1>::over(socket, 0, region) };
    let mut slot = ring.take().expect("free");
    slot.bytes_mut()[..5].copy_from_slice(b"hello");
    slot.commit(5);
    assert_eq!(ring.send(), Ok(5));
    assert_eq!(ring.take().expect("the other").index(), 1);
    let mut got = [0; 5];
    far.read_exact(&mut got).expect("read");
    assert_eq!(&got, b"hello");
    while !ring.is_idle() {
        wait(&near, 0);
        ring.reap_all().expect("only our completions");
    }
    assert_eq!(ring.stats().copied, 1, "loopback copies");
    assert_eq!(ring.take().expect("free again").index(), 0);
}

#[test]
fn of_two_threads_that_make_a_ring_of_one_socket_one_does() {
    // Often enough that two rings are seen where `Ring::new` does not keep the threads apart.
    for _ in 0..2000 {
        let socket = TcpListener::bind("127.0.0.1:0").expect("listen");
        let start = Barrier::new(2);
        let make = || {
            start.wait();
            Ring::<_, 1, 1>::new(&socket, region(1)).map_err(|refused| refused.error)
        };
        let (one, other) = thread::scope(|scope| {
            let one = scope.spawn(make);
            let other = make();
            (one.join().expect("no panic"), other)
        });
        let refused = [one, other].into_iter().filter_map(Result::err);
        assert_eq!(refused.collect::<Vec<_>>(), [RingError::AlreadyEnabled]);
    }
}
