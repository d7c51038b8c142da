//! No memory to pin, and nothing in flight that could give some back. Alone in its process: it changes a limit.

use nocopy_msg_zerocopy::{Errno, Ring, RingError, Wants};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Nothing may be pinned from here on: the limit is 0, and the capability that lifts it is gone (of this thread).
fn pin_nothing() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // `struct __user_cap_header_struct`, version 3, and two `__user_cap_data_struct` without a bit.
    let header = [0x2008_0522_u32, 0];
    let data = [0_u32; 6];
    // SAFETY: the structures are as long as their calls read, and are only read (the header is writable if the version
    // is wrong, and it is not).
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const none), 0);
        let dropped = libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr());
        assert_eq!(dropped, 0);
    }
}

#[test]
fn enobufs_is_answered_by_a_copy_only_with_nothing_in_flight() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    let (mut far, _) = listener.accept().expect("accept");
    let mut ring = Ring::<Vec<u8>>::with_capacity(near, 2).expect("TCP has it");
    ring.push(vec![7; 1000]).expect("a place");
    assert_eq!(ring.send(), Ok(1000));

    pin_nothing();
    ring.push(vec![7; 1000]).expect("a place");
    let enobufs = RingError::Errno(Errno::ENOBUFS);
    // The first is not reaped: its completion could help, so it is not the time to copy.
    assert_eq!(ring.send_or_copy(), Err(enobufs));
    assert_eq!((ring.queued(), ring.in_flight()), (1, 1));
    assert_eq!(ring.wants(), Wants::Completions);
    ring.wait(Duration::from_secs(30)).expect("a completion");
    assert_eq!((ring.in_flight(), ring.wants()), (0, Wants::Send));

    assert_eq!(ring.send(), Err(enobufs));
    assert_eq!((ring.queued(), ring.in_flight()), (1, 0));
    assert_eq!(ring.wants(), Wants::Send);
    assert_eq!(ring.send_or_copy(), Ok(1000));
    assert_eq!((ring.queued(), ring.in_flight()), (0, 0));
    let mut got = [0; 2000];
    far.read_exact(&mut got).expect("read");
    assert_eq!(got, [7; 2000]);
    let stats = ring.stats();
    assert_eq!((stats.zerocopy_sends, stats.plain_sends), (1, 1));
    assert_eq!(ring.reap(), Ok(None));
    let done = [ring.finished(), ring.finished()].map(|it| it.expect("both").taken);
    assert_eq!(done, [1000, 1000]);
}
