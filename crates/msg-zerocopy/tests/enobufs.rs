//! No memory to pin, and nothing in flight that could give some back. Alone in its process: it changes a limit.

use nocopy_msg_zerocopy::{Errno, Ring, RingError};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

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

/// Waits until the error queue has an entry; a limit, not a measure.
fn wait_for_error(socket: &TcpStream) {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: 0,
        revents: 0,
    };
    // SAFETY: one pollfd, writable during the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 30_000) };
    assert_eq!(ready, 1, "no completion came");
}

#[test]
fn enobufs_is_answered_by_a_copy_only_with_nothing_in_flight() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    let (mut far, _) = listener.accept().expect("accept");
    let region = vec![7; 2000].into_boxed_slice();
    let mut ring = Ring::<_, 2, 1>::new(&near, region).expect("TCP has it");
    ring.take().expect("free").commit(1000);
    assert_eq!(ring.send(), Ok(1000));

    pin_nothing();
    ring.take().expect("free").commit(1000);
    let enobufs = RingError::Errno(Errno::ENOBUFS);
    // The first is not reaped: its completion could help, so it is not the time to copy.
    assert_eq!(ring.send_or_copy(), Err(enobufs));
    assert_eq!((ring.queued(), ring.in_flight()), (1, 1));
    wait_for_error(&near);
    assert_eq!(ring.reap_all().map(|reaped| reaped.sends), Ok(1));

    assert_eq!(ring.send(), Err(enobufs));
    assert_eq!((ring.queued(), ring.in_flight()), (1, 0));
    assert_eq!(ring.send_or_copy(), Ok(1000));
    assert_eq!((ring.queued(), ring.in_flight()), (0, 0));
    let mut got = [0; 2000];
    far.read_exact(&mut got).expect("read");
    assert_eq!(got, [7; 2000]);
    let stats = ring.stats();
    assert_eq!((stats.zerocopy_sends, stats.plain_sends), (1, 1));
    assert_eq!(ring.reap(), Ok(None));
    assert_eq!(ring.take().expect("free at once").index(), 0);
}
