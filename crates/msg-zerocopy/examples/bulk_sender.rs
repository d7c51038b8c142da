//! Sends bulk data by the ring: `cargo run --example bulk_sender -- ADDRESS:PORT [MEGABYTES]`.
//!
//! Without an address it starts a receiver of its own over loopback. It says how many sends were really not copied: over
//! loopback none is, towards another machine all should be.
//!
//! What a sender has to get right, and where it is below:
//! - memory is written again only when no send of it is in flight: the ring gives it back then (`finished`);
//! - when nothing can be done, sleep until there is room or a completion (`poll` for what the ring `wants`), and give up a peer
//!   that takes nothing for a while, by a clock that only progress sets back: a socket whose both directions are shut reports `POLLHUP`
//!   for ever, and a poll of it does not sleep;
//! - `ENOBUFS` is no failure: completions give memory back, and with none in flight a copy helps (`send_or_copy`);
//! - the end is not the last send but the last completion: only then is the memory free (`wait_idle`);
//! - a peer that does not read keeps the memory: reset the connection to get it back (`abort`).

use nocopy_msg_zerocopy::{Errno, Pages, Ring, RingError, Shutdown, Wants};
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};
use std::{env, process, thread};

/// Prints a line. Nobody has to hear it.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        drop(writeln!(std::io::stdout(), $($words)*));
    }};
}

/// A peer that takes nothing and completes nothing for this long is given up.
const PATIENCE: Duration = Duration::from_secs(10);
const BUFFERS: usize = 16;
const BUFFER_BYTES: usize = 256 * 1024;

fn main() {
    let arguments: Vec<String> = env::args_os()
        .skip(1)
        .map(|it| it.to_string_lossy().into_owned())
        .collect();
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
    if let Err(error) = send(socket, bytes) {
        eprintln!("bulk_sender: {error}");
        process::exit(1);
    }
    if let Some(receiver) = receiver {
        let total = receiver.join().expect("the receiver does not panic");
        say!("the receiver has read {total} bytes");
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

fn send(socket: TcpStream, total: u64) -> Result<(), Box<dyn std::error::Error>> {
    socket.set_nonblocking(true)?;
    let mut ring = Ring::<Pages>::with_capacity(socket, BUFFERS)?;
    let sent = send_all_of_it(&mut ring, total);
    if sent.is_err() && !ring.is_idle() {
        ring.abort()?;
        eprintln!(
            "bulk_sender: reset the connection; memory still in flight: {}",
            ring.in_flight()
        );
    }
    sent?;
    let stats = ring.stats();
    say!(
        "sent {total} bytes in {} zero-copy sends and {} plain ones; not copied: {} of {}",
        stats.zerocopy_sends,
        stats.plain_sends,
        stats.uncopied,
        stats.uncopied + stats.copied
    );
    // Idle, so the socket comes back. Here it is closed.
    drop(OwnedFd::from(ring.into_socket()?));
    Ok(())
}

fn send_all_of_it(ring: &mut Ring<Pages>, total: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut spare = Vec::new();
    for _ in 0..BUFFERS {
        spare.push(Pages::new(BUFFER_BYTES)?);
    }
    let mut left = total;
    let mut progress = Instant::now();
    while left > 0 || ring.queued() > 0 {
        while left > 0 {
            let Some(mut buffer) = spare.pop() else {
                break;
            };
            let len = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            buffer[..len].fill(b'.');
            if ring.push_part(buffer, 0..len).is_err() {
                unreachable!("there are as many places as buffers");
            }
            left -= len as u64;
        }
        let taken = match ring.send_or_copy() {
            Ok(taken) => taken,
            // What to wait for, `wants` says.
            Err(
                RingError::Errno(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR)
                | RingError::WindowFull,
            ) => 0,
            Err(error) => return Err(error.into()),
        };
        if taken > 0 || ring.reap_all()?.sends > 0 {
            progress = Instant::now();
        } else {
            wait(ring, progress + PATIENCE)?;
        }
        while let Some(done) = ring.finished() {
            spare.push(done.buffer);
        }
    }
    // The peer has the bytes when it acknowledges them, and only then may the memory change. The end is said after that.
    ring.wait_idle(PATIENCE)?;
    ring.shutdown(Shutdown::Write)?;
    Ok(())
}

/// Sleeps until the socket has what the ring wants, at most until the deadline. A program with several connections gives the
/// same to `epoll`, `mio` or `tokio`.
fn wait(ring: &Ring<Pages>, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(RingError::Stalled.into());
    }
    let mut poll = libc::pollfd {
        fd: ring.as_raw_fd(),
        events: match ring.wants() {
            Wants::Writable => libc::POLLOUT,
            // Completions are `POLLERR`, which is always reported.
            Wants::Completions => 0,
            _ => return Ok(()),
        },
        revents: 0,
    };
    let milliseconds = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).max(1);
    // SAFETY: one pollfd, writable during the call; the kernel does not keep the pointer.
    match unsafe { libc::poll(&raw mut poll, 1, milliseconds) } {
        0 => Ok(()),
        1 => {
            // A completion leaves no error on the socket; a dead connection does, and would turn the loop for ever.
            match ring.take_error()? {
                Some(errno) => Err(io::Error::from_raw_os_error(errno.into_raw())),
                None => Ok(()),
            }
        }
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        },
    }
}
