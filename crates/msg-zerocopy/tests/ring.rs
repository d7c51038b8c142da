//! The ring over real sockets.

use nocopy_msg_zerocopy::{
    Buffer, Enabled, Errno, OwnedBytes, Pages, Place, Ring, RingError, Shutdown, Slots, Wants,
    enable,
};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

/// A limit, not a measure.
const PATIENCE: Duration = Duration::from_secs(30);
const NOW: Duration = Duration::ZERO;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    (near, listener.accept().expect("accept").0)
}

fn set(socket: &impl AsRawFd, option: i32, value: i32) {
    // SAFETY: 4 readable bytes, as long as is said.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            4,
        )
    };
    assert_eq!(set, 0);
}

/// A connection that takes only a little if nobody reads, and does not block.
fn narrow_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    // Several segments of the loopback device, which has 64 KiB: into a window that is smaller than one, TCP sends 2 KiB every 200 ms.
    set(&listener, libc::SO_RCVBUF, 256 << 10);
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    set(&near, libc::SO_SNDBUF, 256 << 10);
    near.set_nonblocking(true).expect("fcntl");
    (near, listener.accept().expect("accept").0)
}

/// Sends until the socket takes no more: something is in flight, and stays so.
fn fill<B: Buffer>(ring: &mut Ring<B>) {
    loop {
        match ring.send() {
            Ok(1..) => {}
            Ok(0) => panic!("all of it fits"),
            Err(RingError::Errno(Errno::EAGAIN)) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(ring.in_flight() > 0);
}

/// The byte of the stream at a position: no period that a buffer's or page's size divides.
fn byte(position: u64) -> u8 {
    let mixed = position.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_le_bytes()[6]
}

fn check_stream(mut far: TcpStream) -> u64 {
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
}

#[test]
fn every_byte_arrives_in_order_through_partial_sends_and_reused_buffers() {
    const TOTAL: u64 = 8_000_000;
    let (near, far) = pair();
    let receiver = thread::spawn(move || check_stream(far));
    near.set_nonblocking(true).expect("fcntl");
    set(&near, libc::SO_SNDBUF, 128 * 1024);
    let mut ring = Ring::<Vec<u8>>::with_capacity(near, 3).expect("TCP has it");
    let (mut filled, mut partial) = (0, 0);
    let mut spare = vec![vec![0; 700_001]; 3];
    while filled < TOTAL || ring.queued() > 0 || !ring.is_idle() {
        if filled < TOTAL {
            if let Some(mut bytes) = spare.pop() {
                let len = usize::try_from(TOTAL - filled).expect("64 bits");
                bytes.truncate(len);
                for at in &mut bytes {
                    *at = byte(filled);
                    filled += 1;
                }
                ring.push(bytes).expect("as many places as buffers");
            }
        }
        let waiting = ring.queued();
        match ring.send_or_copy() {
            Ok(0) => ring.wait(PATIENCE).expect("a completion"),
            Ok(_) => partial += usize::from(ring.queued() == waiting),
            Err(RingError::Errno(Errno::EAGAIN | Errno::ENOBUFS) | RingError::WindowFull) => {
                ring.wait(PATIENCE).expect("room or a completion");
            }
            Err(error) => panic!("{error}"),
        }
        ring.reap_all().expect("only our completions");
        while let Some(done) = ring.finished() {
            assert_eq!(done.taken, done.buffer.len());
            spare.push(done.buffer);
        }
    }
    assert!(
        partial > 0,
        "the socket's buffer is smaller than ours, so sends are partial"
    );
    let stats = ring.stats();
    assert_eq!(stats.copied + stats.uncopied, stats.zerocopy_sends);
    assert_eq!(spare.len(), 3);
    drop(ring);
    assert_eq!(receiver.join().expect("every byte is right"), TOTAL);
}

#[test]
fn several_buffers_of_every_kind_go_out_in_one_call() {
    let (near, mut far) = pair();
    let mut ring = Ring::<OwnedBytes>::with_capacity(near, 8).expect("TCP has it");
    let shared: Arc<[u8]> = (*b"shared ").into();
    let mut pages = Pages::new(6).expect("memory");
    pages.copy_from_slice(b"pages ");
    assert_eq!(pages.as_ptr().addr() % 4096, 0);
    let tickets = [
        ring.push(OwnedBytes::Static(b"static ")),
        ring.push(b"vec ".to_vec().into()),
        ring.push(OwnedBytes::Boxed((*b"boxed ").into())),
        ring.push(shared.clone().into()),
        ring.push_part(pages.into(), 1..usize::MAX),
        ring.push(Vec::new().into()),
    ];
    assert_eq!(tickets.map(|it| it.expect("a place")), [0, 1, 2, 3, 4, 5]);
    assert_eq!(ring.send().expect("sent"), 29);
    assert_eq!((ring.queued(), ring.in_flight()), (0, 1));
    assert_eq!(ring.finished().expect("it has no bytes").ticket, 5);
    let mut got = [0; 29];
    far.read_exact(&mut got).expect("read");
    assert_eq!(&got, b"static vec boxed shared ages ");
    ring.wait_idle(PATIENCE).expect("the peer has read");
    let back: Vec<_> = std::iter::from_fn(|| ring.finished()).collect();
    assert_eq!(
        back.iter().map(|it| it.ticket).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
    assert!(back.iter().all(|it| it.copied), "loopback copies");
    assert_eq!(Arc::strong_count(&shared), 2);
    drop(back);
    assert_eq!(Arc::strong_count(&shared), 1);
}

#[test]
fn a_peer_that_does_not_read_stalls_and_an_abort_gets_the_memory_back() {
    let (near, mut far) = narrow_pair();
    let mut ring = Ring::<Vec<u8>>::with_capacity(near, 4).expect("TCP has it");
    for _ in 0..4 {
        ring.push(vec![b'x'; 4 << 20]).expect("a place");
    }
    fill(&mut ring);
    assert_eq!(ring.wants(), Wants::Writable);
    assert_eq!(ring.wait(NOW), Err(RingError::Stalled));
    assert_eq!(ring.wait_idle(NOW), Err(RingError::Stalled));
    assert_eq!(ring.send_all(NOW), Err(RingError::Stalled));
    let refused = ring.into_socket().map(drop).expect_err("in flight");
    assert_eq!(refused.error, RingError::WindowFull);
    let mut ring = refused.given;

    ring.abort().expect("nothing else");
    assert!(ring.is_idle());
    assert_eq!((ring.queued(), ring.wants()), (0, Wants::Nothing));
    let back: Vec<_> = std::iter::from_fn(|| ring.finished()).collect();
    assert_eq!(back.len(), 4);
    assert!(back.iter().any(|it| it.taken < it.buffer.len()));
    let mut rest = Vec::new();
    let error = far.read_to_end(&mut rest).expect_err("reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(ring.free(), 4);
    ring.push(vec![0; 10]).expect("a place");
    assert_eq!(ring.take_error(), Ok(None), "the reset is our own");
    assert_eq!(ring.send(), Err(RingError::Errno(Errno::EPIPE)));
    assert_eq!(ring.wait(PATIENCE), Err(RingError::Errno(Errno::EPIPE)));
}

/// With a limit on a blocking socket, too, and signals do not set it back.
#[test]
fn a_limit_holds_on_a_blocking_socket_and_under_signals() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: zeroes are an empty mask and no flags; the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(
            libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()),
            0
        );
    }
    let (near, _far) = narrow_pair();
    near.set_nonblocking(false).expect("fcntl");
    let mut ring = Ring::<Vec<u8>>::with_capacity(near, 4).expect("TCP has it");
    for _ in 0..4 {
        ring.push(vec![b'x'; 4 << 20]).expect("a place");
    }
    // SAFETY: no pointer.
    let waiter = unsafe { libc::pthread_self() };
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let signals = thread::spawn(move || {
        // Each is sooner than the limit.
        let pause = Duration::from_millis(20);
        while is_done.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            // SAFETY: the thread waits for this one before it ends.
            unsafe { libc::pthread_kill(waiter, libc::SIGUSR1) };
        }
    });
    let limit = Duration::from_millis(200);
    assert_eq!(ring.send_all(limit), Err(RingError::Stalled));
    assert_eq!(ring.wait_idle(limit), Err(RingError::Stalled));
    drop(done);
    signals.join().expect("no panic");
    ring.abort().expect("nothing else");
    assert_eq!(ring.wait_idle(PATIENCE), Ok(()), "after an abort as well");
}

/// The loop of the example: it sleeps, or it sends.
#[test]
fn waiting_for_a_place_sends_what_waits() {
    let (near, far) = pair();
    let mut ring = Ring::<Vec<u8>>::with_capacity(near, 2).expect("TCP has it");
    let reader = thread::spawn(move || check_stream(far));
    let mut position = 0;
    for _ in 0..20 {
        while ring.free() == 0 {
            ring.wait(PATIENCE).expect("the peer reads");
            while ring.finished().is_some() {}
        }
        ring.push((position..position + 100_000).map(byte).collect())
            .expect("a place");
        position += 100_000;
    }
    ring.send_all(PATIENCE).expect("the peer reads");
    ring.wait_idle(PATIENCE).expect("the peer reads");
    drop(ring);
    assert_eq!(reader.join().expect("every byte is right"), position);
}

#[test]
fn a_hundred_stalled_peers_leak_nothing() {
    for _ in 0..100 {
        let (near, _far) = narrow_pair();
        let owned: Arc<[u8]> = vec![0; 4 << 20].into();
        let mut ring = Ring::<Arc<[u8]>>::with_capacity(near, 1).expect("TCP has it");
        ring.push(owned.clone()).expect("a place");
        fill(&mut ring);
        ring.abort().expect("nothing else");
        drop(ring);
        assert_eq!(Arc::strong_count(&owned), 1);
    }
}

#[test]
fn dropped_in_flight_it_leaks_its_buffers() {
    let (near, _far) = narrow_pair();
    let owned: Arc<[u8]> = vec![0; 4 << 20].into();
    let mut ring = Ring::<Arc<[u8]>>::with_capacity(near, 2).expect("TCP has it");
    ring.push(owned.clone()).expect("a place");
    fill(&mut ring);
    ring.push(owned.clone()).expect("a place");
    drop(ring);
    // The second one was never sent.
    assert_eq!(Arc::strong_count(&owned), 2);
}

#[test]
fn a_peer_that_is_gone_is_an_error_and_not_a_spin() {
    let (near, far) = narrow_pair();
    let mut ring = Ring::<Vec<u8>>::with_capacity(near, 1).expect("TCP has it");
    ring.push(vec![0; 4 << 20]).expect("a place");
    fill(&mut ring);
    // With unread bytes the close is a reset.
    drop(far);
    ring.wait_idle(PATIENCE)
        .expect("a reset completes what was in flight");
    let error = ring.send_all(PATIENCE).expect_err("nobody is there");
    assert!(
        matches!(error, RingError::Errno(Errno::ECONNRESET | Errno::EPIPE)),
        "{error}"
    );
    assert!(ring.is_idle());
}

#[test]
fn a_peer_that_half_closes_and_stops_reading_does_not_make_it_spin() {
    let (near, far) = narrow_pair();
    let mut ring = Ring::<Vec<u8>>::with_capacity(near, 1).expect("TCP has it");
    ring.push(vec![0; 4 << 20]).expect("a place");
    fill(&mut ring);
    far.shutdown(std::net::Shutdown::Write).expect("connected");
    ring.shutdown(Shutdown::Write).expect("connected");
    // Both directions are shut: POLLHUP for ever.
    assert_eq!(
        ring.wait_idle(Duration::from_millis(50)),
        Err(RingError::Stalled)
    );
    let reader = thread::spawn(move || {
        let mut far = far;
        io::copy(&mut far, &mut io::sink()).expect("read")
    });
    ring.wait_idle(PATIENCE).expect("the peer reads again");
    assert!(reader.join().expect("no panic") > 0);
}

#[test]
fn it_reads_too_and_says_what_to_wait_for() {
    let (near, mut far) = pair();
    let mut ring = Ring::<&'static [u8]>::with_capacity(near, 2).expect("TCP has it");
    assert_eq!(ring.wants(), Wants::Nothing);
    ring.push(b"ping").expect("a place");
    assert_eq!(ring.wants(), Wants::Send);
    assert_eq!(ring.send().expect("sent"), 4);
    assert_eq!(ring.wants(), Wants::Completions);
    let mut got = [0; 4];
    far.read_exact(&mut got).expect("read");
    far.write_all(b"pong").expect("write");
    ring.read_exact(&mut got).expect("read");
    assert_eq!(&got, b"pong");
    ring.wait_idle(PATIENCE).expect("the peer has read");
    assert_eq!(ring.wants(), Wants::Nothing);
    ring.shutdown(Shutdown::Write).expect("connected");
    assert_eq!(far.read(&mut got).expect("read"), 0);
    assert_eq!(ring.take_error(), Ok(None));
    let socket = TcpStream::from(OwnedFd::from(ring.into_socket().expect("idle")));
    drop(far);
    assert_eq!((&socket).read(&mut got).expect("read"), 0);
}

#[test]
fn it_lives_in_a_struct_and_moves_to_another_thread() {
    struct Connection {
        ring: Ring<Vec<u8>>,
        sent: u64,
    }
    let (near, mut far) = pair();
    let mut connection = Connection {
        ring: Ring::with_capacity(near, 2).expect("TCP has it"),
        sent: 0,
    };
    let thread = thread::spawn(move || {
        connection.ring.push(b"hello".to_vec()).expect("a place");
        connection.ring.send_all(PATIENCE).expect("sent");
        connection.ring.wait_idle(PATIENCE).expect("the peer reads");
        connection.sent += 5;
        connection.sent
    });
    let mut got = [0; 5];
    far.read_exact(&mut got).expect("read");
    assert_eq!(thread.join().expect("no panic"), 5);
}

#[test]
fn a_place_is_taken_until_its_buffer_was_taken_back() {
    let (near, mut far) = pair();
    let places = [const { Place::EMPTY }; 2];
    let mut ring = Ring::<&'static [u8], _>::new(near, places).expect("TCP has it");
    ring.push(b"a").expect("a place");
    ring.push(b"a").expect("a place");
    assert_eq!(ring.send(), Ok(2));
    assert_eq!(ring.push(b"a").expect_err("no place").0, b"a");
    let mut got = [0; 2];
    far.read_exact(&mut got).expect("read");
    ring.wait_idle(PATIENCE).expect("the peer has read");
    assert_eq!(ring.free(), 0, "finished ones keep their places");
    assert!(ring.finished().is_some() && ring.finished().is_some() && ring.finished().is_none());
    assert_eq!(ring.free(), 2);
}

#[test]
fn slots_are_cut_of_a_region_and_used_again() {
    let (near, mut far) = pair();
    let region: &'static mut [u8] = Box::leak(vec![0; 20].into_boxed_slice());
    let mut slots = Slots::with_capacity(near, region, 2).expect("TCP has it");
    assert_eq!(slots.slot_size(), 10);
    assert_eq!(slots.take().expect("free").index(), 0);
    slots.take().expect("free").commit(0);
    assert_eq!(slots.send(), Ok(0));
    let mut slot = slots.take().expect("free");
    slot[..5].copy_from_slice(b"hello");
    slot.commit(5);
    slots.take().expect("the other").commit(usize::MAX);
    assert!(slots.take().is_none());
    assert_eq!(slots.send(), Ok(15));
    let mut got = [0; 15];
    far.read_exact(&mut got).expect("read");
    assert_eq!(&got, b"hello\0\0\0\0\0\0\0\0\0\0");
    slots.wait_idle(PATIENCE).expect("the peer has read");
    assert_eq!(slots.free(), 2);
    assert_eq!(&slots.take().expect("free")[..5], b"hello");
    assert_eq!(slots.into_region().expect("idle").len(), 20);
}

#[test]
fn slots_come_back_from_a_stalled_peer_by_an_abort() {
    let (near, _far) = narrow_pair();
    let pages = Pages::new(8 << 20).expect("memory");
    let mut slots = Slots::with_capacity(near, pages, 2).expect("TCP has it");
    slots.take().expect("free").commit(usize::MAX);
    while slots.send().is_ok() {}
    let refused = slots.into_region().expect_err("in flight");
    assert_eq!(refused.error, RingError::WindowFull);
    let mut slots = refused.given;
    slots.abort().expect("nothing else");
    assert_eq!(slots.free(), 2);
    assert_eq!(slots.into_region().expect("idle").len(), 8 << 20);
}

#[test]
fn what_is_not_tcp_or_has_the_option_already_is_refused_with_its_socket() {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let number = udp.as_raw_fd();
    let refused = Ring::<Vec<u8>>::with_capacity(udp, 2).expect_err("UDP");
    assert_eq!(
        (refused.error, refused.given.as_raw()),
        (RingError::NotTcp, number)
    );
    let (unix, _) = UnixStream::pair().expect("socketpair");
    let refused = Slots::with_capacity(unix, vec![1; 20], 2).expect_err("AF_UNIX");
    assert_eq!(
        (refused.error, refused.given.1),
        (RingError::NotTcp, vec![1; 20])
    );

    for places in [0, (1 << 27) + 1, usize::MAX] {
        let (near, _far) = pair();
        let number = near.as_raw_fd();
        let refused = Ring::<Vec<u8>>::with_capacity(near, places).expect_err("the number");
        assert_eq!(
            (refused.error, refused.given.as_raw()),
            (RingError::Places, number)
        );
    }

    let (near, _far) = pair();
    let duplicate = near.try_clone().expect("dup");
    let _first = Ring::<Vec<u8>>::with_capacity(near, 2).expect("TCP has it");
    let refused = Ring::<Vec<u8>>::with_capacity(duplicate, 2).expect_err("the second ring");
    assert_eq!(refused.error, RingError::AlreadyEnabled);
    assert_eq!(io::Error::from(refused).kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn neither_a_refusal_nor_a_ring_shows_the_bytes() {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let refused = Slots::with_capacity(udp, vec![b'S'; 1 << 20], 2).expect_err("UDP");
    let (near, _far) = pair();
    let mut ring = Ring::<Vec<u8>>::with_capacity(near, 1).expect("TCP has it");
    ring.push(vec![b'S'; 1 << 20]).expect("a place");
    let full = ring.push(vec![b'S'; 1 << 20]).expect_err("no place");
    let shown = format!("{refused:?} {ring:?} {full:?}");
    assert!(shown.len() < 500 && !shown.contains("83, 83"), "{shown}");
}

#[test]
fn over_an_accepted_socket_that_others_hold_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    enable(&listener).expect("TCP has it");
    let mut far = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    let near = Arc::new(listener.accept().expect("accept").0);
    assert!(
        Enabled::check(&*near).expect("a socket").is_some(),
        "inherited"
    );
    let places = [const { Place::EMPTY }; 2];
    // SAFETY: just accepted: nothing has been sent with the flag, and the other owner only reads.
    let ring = unsafe { Ring::<&'static [u8], _, _>::over(near.clone(), 0, places) };
    let mut ring = ring.expect("two places");
    ring.push(b"hello").expect("a place");
    assert_eq!(ring.send(), Ok(5));
    let mut got = [0; 5];
    far.read_exact(&mut got).expect("read");
    far.write_all(b"world").expect("write");
    (&*near).read_exact(&mut got).expect("read");
    assert_eq!(&got, b"world");
    ring.wait_idle(PATIENCE).expect("the peer has read");
    assert_eq!(ring.stats().copied, 1, "loopback copies");
}

#[test]
fn of_two_threads_that_make_a_ring_of_one_socket_one_does() {
    // Often enough that two rings are seen where `Ring::new` does not keep the threads apart.
    for _ in 0..2000 {
        let socket = TcpListener::bind("127.0.0.1:0").expect("listen");
        let duplicate = socket.try_clone().expect("dup");
        let start = Barrier::new(2);
        let make = |socket| {
            start.wait();
            Ring::<Vec<u8>>::with_capacity(socket, 1).map_err(|refused| refused.error)
        };
        let (one, other) = thread::scope(|scope| {
            let one = scope.spawn(|| make(socket));
            let other = make(duplicate);
            (one.join().expect("no panic"), other)
        });
        let refused = [one, other].into_iter().filter_map(Result::err);
        assert_eq!(refused.collect::<Vec<_>>(), [RingError::AlreadyEnabled]);
    }
}

#[test]
fn pages_are_aligned_zeroed_and_refused_as_documented() {
    let pages = Pages::new(100_000).expect("memory");
    assert_eq!((pages.len(), pages.as_ptr().addr() % 4096), (100_000, 0));
    assert!(pages.iter().all(|byte| *byte == 0));
    assert!(format!("{pages:?}").contains("100000 bytes"));
    assert_eq!(Pages::new(0).expect_err("nothing"), Errno::EINVAL);
    assert_eq!(Pages::new(usize::MAX).expect_err("too much"), Errno::ENOMEM);
    assert_eq!(Pages::huge(1, 64).expect_err("no such size"), Errno::EINVAL);
    assert_eq!(Pages::huge(1, 0).expect_err("not said"), Errno::EINVAL);
    // Huge pages are there or they are not.
    match Pages::huge(100, 21) {
        Ok(pages) => assert_eq!(pages.as_ptr().addr() % (2 << 20), 0),
        Err(errno) => assert_eq!(errno, Errno::ENOMEM),
    }
}
