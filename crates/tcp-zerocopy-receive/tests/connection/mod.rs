//! TCP connections over loopback whose bytes can be mapped, and what sends them.

#![allow(dead_code, reason = "each test has its own part of this")]

use std::io::{Error, Result};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;
use std::thread::yield_now;
use std::time::{Duration, Instant};

/// What comes at all comes long before this.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of a page.
pub fn page() -> usize {
    // SAFETY: sysconf takes no pointer.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("a page has a size")
}

/// The result of a call of libc.
pub fn done(result: libc::c_int) -> Result<()> {
    if result == -1 {
        Err(Error::last_os_error())
    } else {
        Ok(())
    }
}

pub fn set_option(socket: &impl AsRawFd, level: i32, option: i32, value: i32) {
    let size = libc::socklen_t::try_from(size_of::<i32>()).expect("4");
    // SAFETY: the kernel reads 4 bytes of `value`.
    let result = unsafe {
        let value = (&raw const value).cast();
        libc::setsockopt(socket.as_raw_fd(), level, option, value, size)
    };
    done(result).expect("setsockopt");
}

fn option(socket: &impl AsRawFd, level: i32, option: i32) -> i32 {
    let (mut value, mut size) = (0_i32, 4);
    // SAFETY: the kernel writes at most 4 bytes to `value`, and their number to `size`.
    let result = unsafe {
        let value = (&raw mut value).cast();
        libc::getsockopt(socket.as_raw_fd(), level, option, value, &raw mut size)
    };
    done(result).expect("getsockopt");
    value
}

/// A receiver and a sender. Segments are whole pages: a page that lies in two segments cannot be mapped, and over loopback the
/// usual segment has 65483 bytes.
pub fn connection() -> (TcpStream, TcpStream) {
    // A segment with time stamps has 12 bytes less.
    for options in [12, 0] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        // So that small pieces, each of which takes more room than its bytes, do not close the window.
        set_option(&listener, libc::SOL_SOCKET, libc::SO_RCVBUF, 1 << 20);
        // The kernel takes no more than 32767.
        let pages = (32_767 - options) / page();
        let size = i32::try_from(pages * page() + options).expect("small");
        if pages > 0 {
            set_option(&listener, libc::IPPROTO_TCP, libc::TCP_MAXSEG, size);
        }
        let address = listener.local_addr().expect("bound");
        let far = TcpStream::connect(address).expect("connect");
        let (near, _) = listener.accept().expect("accept");
        let segment = option(&far, libc::IPPROTO_TCP, libc::TCP_MAXSEG);
        if usize::try_from(segment)
            .expect("a size")
            .is_multiple_of(page())
        {
            far.set_nodelay(true).expect("TCP_NODELAY");
            return (near, far);
        }
    }
    panic!("no segments of whole pages over loopback");
}

/// Waits until this many bytes are queued.
pub fn wait_for_arrival(near: &TcpStream, bytes: usize) {
    let start = Instant::now();
    while queued(near) < bytes {
        assert!(start.elapsed() < PATIENCE, "{bytes} bytes do not arrive");
        yield_now();
    }
}

/// How many bytes can be read.
pub fn queued(near: &TcpStream) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes an int.
    done(unsafe { libc::ioctl(near.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })
        .expect("FIONREAD");
    usize::try_from(bytes).expect("a number of bytes")
}

/// Waits until `poll` reports one of these, or an error, and returns what it reports.
pub fn wait_for(socket: &TcpStream, events: i16) -> i16 {
    let reported = poll(
        socket,
        events,
        i32::try_from(PATIENCE.as_millis()).expect("short"),
    );
    assert_ne!(reported, 0, "nothing happens");
    reported
}

pub fn poll(socket: &TcpStream, events: i16, milliseconds: i32) -> i16 {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: one pollfd, writable during the call.
    done(unsafe { libc::poll(&raw mut poll, 1, milliseconds) }).expect("poll");
    poll.revents
}

/// Memory of whole pages at the beginning of a page, that is never freed. No code writes to it while it is sent.
pub fn pages(bytes: &[u8]) -> &'static [u8] {
    let length = bytes.len().max(1).next_multiple_of(page());
    let (prot, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: new memory, of which nobody else knows; it is as long as the bytes, and never unmapped.
    unsafe {
        let memory = libc::mmap(null_mut(), length, prot, flags, -1, 0);
        assert_ne!(memory, libc::MAP_FAILED, "mmap");
        let memory = memory.cast::<u8>();
        memory.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        std::slice::from_raw_parts(memory, bytes.len())
    }
}

/// Sends by `MSG_ZEROCOPY`.
pub fn send_zerocopy(far: &TcpStream, memory: &'static [u8]) {
    set_option(far, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1);
    let mut left = memory;
    while !left.is_empty() {
        let flags = libc::MSG_ZEROCOPY | libc::MSG_NOSIGNAL;
        // SAFETY: the kernel reads `left`, during the call and later: it is never freed and never changes.
        let sent = unsafe { libc::send(far.as_raw_fd(), left.as_ptr().cast(), left.len(), flags) };
        let sent = usize::try_from(sent).map_err(|_| Error::last_os_error());
        left = &left[sent.expect("send")..];
    }
}

/// The number of pages, each full of its letter.
pub fn letters(count: u8) -> Vec<u8> {
    (b'a'..b'a' + count)
        .flat_map(|letter| vec![letter; page()])
        .collect()
}

/// A pipe: the end to read from, and the one to write to.
pub fn pipe() -> [OwnedFd; 2] {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two ints.
    done(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }).expect("pipe2");
    // SAFETY: the kernel has just opened them, and nobody else knows them.
    ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) })
}

/// Moves bytes from a pipe to a connection.
pub fn splice(pipe: &OwnedFd, far: &TcpStream, mut length: usize) {
    while length > 0 {
        let (from, to) = (pipe.as_raw_fd(), far.as_raw_fd());
        // SAFETY: no offset, so no pointer.
        let moved = unsafe { libc::splice(from, null_mut(), to, null_mut(), length, 0) };
        let moved = usize::try_from(moved).map_err(|_| Error::last_os_error());
        length -= moved.expect("splice");
    }
}

/// Sends an urgent byte.
pub fn send_urgent(far: &TcpStream, byte: u8) {
    // SAFETY: the kernel reads one byte.
    let sent = unsafe { libc::send(far.as_raw_fd(), (&raw const byte).cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1, "send");
}

/// Ends a connection by a reset.
pub fn reset(far: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let size = libc::socklen_t::try_from(size_of_val(&linger)).expect("8");
    // SAFETY: the kernel reads a `linger`.
    let result = unsafe {
        let linger = (&raw const linger).cast();
        libc::setsockopt(
            far.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            linger,
            size,
        )
    };
    done(result).expect("SO_LINGER");
    drop(far);
}

/// A TCP socket that is not connected.
pub fn unconnected() -> OwnedFd {
    // SAFETY: no pointer; the kernel has just opened it, and nobody else knows it.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        done(socket).expect("socket");
        OwnedFd::from_raw_fd(socket)
    }
}
