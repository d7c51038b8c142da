//! Sends bulk data by the ring: `cargo run --example bulk_sender -- ADDRESS:PORT [MEGABYTES]`.
//!
//! Without an address it starts a receiver of its own over loopback. It says how many sends were really not copied: over
//! loopback none is, towards another machine all should be.
//!
//! What a sender has to get right, and where it is below:
//! - a slot is written only while no send of it is in flight: the ring sees to that (`Ring::take`);
//! - when nothing can be done, sleep until there is room or a completion, and give up on a dead peer (`wait`);
//! - `ENOBUFS` is no failure: completions give memory back, and with none in flight a copy helps (`send_or_copy`);
//! - the end is not the last send but the last completion: only then is the memory free (`main`'s last loop).

use nocopy_msg_zerocopy::{Errno, Ring, RingError};
use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::{env, process, thread};

/// A peer that takes nothing and completes nothing for this long is given up.
const STALL_MILLISECONDS: i32 = 10_000;
const SLOTS: usize = 16;
const SLOT_BYTES: usize = 256 * 1024;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (address, megabytes) = match &arguments[..] {
        [] => (None, "64"),
        [address] => (Some(address), "64"),
        [address, megabytes] => (Some(address), megabytes.as_str()),
        _ => usage(),
    };
    let Some(bytes) = megabytes
        .parse()
        .ok()
        .and_then(|it: u64| it.checked_mul(1_000_000))
    else {
        usage()
    };

    let mut receiver = None;
    let connected = match address {
        Some(address) => TcpStream::connect(address),
        None => own_receiver().and_then(|(address, thread)| {
            receiver = Some(thread);
            TcpStream::connect(address)
        }),
    };
    let socket = connected.unwrap_or_else(|error| {
        let address = address.map_or("loopback", String::as_str);
        eprintln!("bulk_sender: cannot connect to {address}: {error}");
        process::exit(2);
    });
    if let Err(error) = send(&socket, bytes) {
        eprintln!("bulk_sender: {error}");
        process::exit(1);
    }
    if let Some(receiver) = receiver {
        drop(socket);
        let total = receiver.join().expect("the receiver does not panic");
        println!("the receiver has read {total} bytes");
    }
}

fn usage() -> ! {
    eprintln!("usage: bulk_sender [ADDRESS:PORT [MEGABYTES]]");
    process::exit(2);
}

fn own_receiver() -> io::Result<(std::net::SocketAddr, thread::JoinHandle<u64>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let thread = thread::spawn(move || {
        let (mut total, mut buffer) = (0, vec![0; 1 << 20]);
        if let Ok((mut socket, _)) = listener.accept() {
            while let Ok(got @ 1..) = socket.read(&mut buffer) {
                total += got as u64;
            }
        }
        total
    });
    Ok((address, thread))
}

fn send(socket: &TcpStream, total: u64) -> Result<(), Box<dyn std::error::Error>> {
    socket.set_nonblocking(true)?;
    let region = vec![0; SLOTS * SLOT_BYTES].into_boxed_slice();
    let mut ring = Ring::<_, SLOTS, 16>::new(socket, region).map_err(|refused| refused.error)?;

    let mut left = total;
    while left > 0 || ring.queued() > 0 {
        while left > 0 {
            let Some(mut slot) = ring.take() else {
                break;
            };
            let bytes = slot.bytes_mut();
            let len = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            bytes[..len].fill(b'.');
            slot.commit(len);
            left -= len as u64;
        }
        match ring.send_or_copy() {
            // Every slot is in flight: only a completion helps. So it does for ENOBUFS and for too many sends.
            Ok(0) | Err(RingError::Errno(Errno::ENOBUFS) | RingError::TrackerFull) => {
                wait(socket, 0)?;
            }
            Ok(_) | Err(RingError::Errno(Errno::EINTR)) => {}
            Err(RingError::Errno(Errno::EAGAIN)) => wait(socket, libc::POLLOUT)?,
            Err(error) => return Err(error.into()),
        }
        ring.reap_all()?;
    }
    // The peer has our memory's bytes when it acknowledges them, and only then may the memory change. The end is said after that:
    // a socket whose both halves are shut is ready for ever (POLLHUP), and `wait` would not sleep.
    while !ring.is_idle() {
        wait(socket, 0)?;
        ring.reap_all()?;
    }
    socket.shutdown(Shutdown::Write)?;

    let stats = ring.stats();
    println!(
        "sent {total} bytes in {} zero-copy sends and {} plain ones; not copied: {} of {}",
        stats.zerocopy_sends,
        stats.plain_sends,
        stats.uncopied,
        stats.uncopied + stats.copied
    );
    Ok(())
}

/// Sleeps until the socket has what was asked for or an entry in its error queue, which is always reported.
fn wait(socket: &TcpStream, events: i16) -> io::Result<()> {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: one pollfd, writable during the call; the kernel does not keep the pointer.
    match unsafe { libc::poll(&raw mut poll, 1, STALL_MILLISECONDS) } {
        0 => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer is too slow",
        )),
        1 => {
            // A completion leaves no error on the socket; a dead connection does, and would turn the loop for ever.
            socket.take_error()?.map_or(Ok(()), Err)
        }
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        },
    }
}
