//! Sends the same memory to everybody who connects, from one thread: `cargo run --example broadcaster -- ADDRESS:PORT [MEGABYTES [SECONDS]]`.
//!
//! A peer that takes nothing for some seconds is given up. A line is printed for each peer.
//!
//! What an event loop over rings has to get right, and where it is below:
//! - epoll is edge-triggered (`EPOLLET`): a socket whose both directions are shut reports `EPOLLHUP` for ever, and a level would turn
//!   the loop for ever. An edge is told once, so a peer with more to do keeps a place in `ready`;
//! - completions are `EPOLLERR`, which is always reported, and no error of the socket: that is asked for (`take_error`);
//! - a peer gets one turn of bounded work (`TURN`), so that a fast one does not starve the others;
//! - the end is the last completion and no error: a connection that dies completes its sends, too;
//! - a peer that does not read keeps the memory: reset it (`abort`), by a clock that only progress sets back.

use nocopy_msg_zerocopy::{Errno, Ring, RingError, Shutdown};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, process};

/// Buffers in flight to one peer. Each is the same memory.
const PLACES: usize = 8;
/// Calls that send, in one turn of a peer.
const TURN: usize = 4;
const BUFFER_BYTES: usize = 256 * 1024;

fn main() {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(|it| it.to_string_lossy()).collect();
    let number = |at: usize, default| match arguments.get(at).map(|it| it.parse::<u32>()) {
        None => default,
        Some(Ok(number)) => number,
        Some(Err(_)) => usage(),
    };
    let (Some(address), 1..=3) = (arguments.first(), arguments.len()) else {
        usage()
    };
    let mut server = Server::new(address, number(1, 64), number(2, 10)).unwrap_or_else(|error| {
        eprintln!("broadcaster: {address}: {error}");
        process::exit(2);
    });
    let Err(error) = server.run();
    eprintln!("broadcaster: {error}");
    process::exit(1);
}

/// Nobody has to hear it.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn usage() -> ! {
    eprintln!("usage: broadcaster ADDRESS:PORT [MEGABYTES [SECONDS]]");
    process::exit(2);
}

struct Server {
    listener: TcpListener,
    epoll: Epoll,
    content: Arc<[u8]>,
    /// For each peer.
    bytes: u64,
    patience: Duration,
    peers: BTreeMap<RawFd, Peer>,
    /// Who may have something to do.
    ready: VecDeque<RawFd>,
}

impl Server {
    fn new(address: &str, megabytes: u32, seconds: u32) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        say(&format!("listening on {}", listener.local_addr()?));
        let epoll = Epoll::new()?;
        epoll.add(listener.as_raw_fd())?;
        Ok(Self {
            listener,
            epoll,
            content: vec![b'.'; BUFFER_BYTES].into(),
            bytes: u64::from(megabytes) * 1_000_000,
            patience: Duration::from_secs(seconds.into()),
            peers: BTreeMap::new(),
            ready: VecDeque::new(),
        })
    }

    fn run(&mut self) -> io::Result<Infallible> {
        loop {
            self.wait()?;
            // Those that become ready in a turn come after the next look at the sockets.
            for _ in 0..self.ready.len() {
                let Some(fd) = self.ready.pop_front() else {
                    break;
                };
                let Some(peer) = self.peers.get_mut(&fd) else {
                    self.accept();
                    continue;
                };
                match peer.turn(&self.content) {
                    Ok(Turn::Waits) => {}
                    Ok(Turn::HasMore) => self.ready.push_back(fd),
                    Ok(Turn::Ended) => self.end(fd, None),
                    Err(error) => self.end(fd, Some(error)),
                }
            }
            let now = Instant::now();
            let stalled =
                |(fd, peer): (&RawFd, &Peer)| (now >= peer.progress + self.patience).then_some(*fd);
            for fd in self.peers.iter().filter_map(stalled).collect::<Vec<_>>() {
                self.end(fd, Some(RingError::Stalled));
            }
        }
    }

    /// Sleeps until something has happened, at most until the first peer must be given up; not at all if somebody is ready.
    fn wait(&mut self) -> io::Result<()> {
        let oldest = self.peers.values().map(|peer| peer.progress).min();
        let limit = if self.ready.is_empty() {
            oldest.map(|it| (it + self.patience).saturating_duration_since(Instant::now()))
        } else {
            Some(Duration::ZERO)
        };
        for fd in self.epoll.wait(limit)? {
            if !self.ready.contains(&fd) {
                self.ready.push_back(fd);
            }
        }
        Ok(())
    }

    /// Takes everybody who waits: the edge is told once.
    fn accept(&mut self) {
        loop {
            let error = match self.listener.accept() {
                Ok((socket, name)) => match self.begin(socket, name) {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => error,
            };
            eprintln!("broadcaster: {error}");
            if error.raw_os_error() == Some(libc::EMFILE) {
                // When a peer has ended it goes on.
                return;
            }
        }
    }

    fn begin(&mut self, socket: TcpStream, name: SocketAddr) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let ring = Ring::with_capacity(socket, PLACES)?;
        let fd = ring.as_raw_fd();
        self.epoll.add(fd)?;
        let peer = Peer {
            ring,
            name,
            left: self.bytes,
            progress: Instant::now(),
        };
        self.peers.insert(fd, peer);
        self.ready.push_back(fd);
        Ok(())
    }

    /// Ends the connection; closing the socket takes it out of epoll.
    fn end(&mut self, fd: RawFd, why: Option<RingError>) {
        let Some(mut peer) = self.peers.remove(&fd) else {
            return;
        };
        self.ready.retain(|other| *other != fd);
        let (name, bytes) = (peer.name, self.bytes);
        match why {
            None => say(&format!("{name}: all {bytes} bytes are acknowledged")),
            Some(error) => {
                let aborted = peer.ring.abort();
                let in_flight = peer.ring.in_flight();
                say(&format!(
                    "{name}: given up: {error}; memory still in flight: {in_flight}"
                ));
                if let Err(error) = aborted {
                    eprintln!("broadcaster: {name}: {error}");
                }
            }
        }
        drop(peer);
        // There is a descriptor again for somebody who had to wait.
        self.ready.push_back(self.listener.as_raw_fd());
    }
}

enum Turn {
    /// Until there is news of its socket.
    Waits,
    HasMore,
    Ended,
}

struct Peer {
    ring: Ring<Arc<[u8]>>,
    name: SocketAddr,
    /// Bytes that have not been pushed.
    left: u64,
    /// When it last took or completed something.
    progress: Instant,
}

impl Peer {
    fn turn(&mut self, content: &Arc<[u8]>) -> Result<Turn, RingError> {
        for _ in 0..TURN {
            let reaped = self.ring.reap_all()?;
            while self.ring.finished().is_some() {}
            while self.left > 0 && self.ring.free() > 0 {
                let len = content
                    .len()
                    .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                if self.ring.push_part(content.clone(), 0..len).is_err() {
                    unreachable!("there is a free place");
                }
                self.left -= len as u64;
            }
            let taken = match self.ring.send_or_copy() {
                Ok(taken) => taken,
                Err(
                    RingError::Errno(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR)
                    | RingError::WindowFull,
                ) => 0,
                Err(error) => return Err(error),
            };
            if taken > 0 || reaped.sends > 0 {
                self.progress = Instant::now();
            }
            if taken == 0 {
                // A dead connection takes nothing and completes all that it had.
                if let Some(errno) = self.ring.take_error()? {
                    return Err(RingError::Errno(errno));
                }
                if self.left > 0 || self.ring.queued() > 0 || self.ring.in_flight() > 0 {
                    return Ok(Turn::Waits);
                }
                self.ring.shutdown(Shutdown::Write)?;
                return Ok(Turn::Ended);
            }
        }
        Ok(Turn::HasMore)
    }
}

struct Epoll(OwnedFd);

impl Epoll {
    fn new() -> io::Result<Self> {
        // SAFETY: no pointer.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was made by the call above, and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn add(&self, fd: RawFd) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: (libc::EPOLLET | libc::EPOLLIN | libc::EPOLLOUT).cast_unsigned(),
            u64: fd.cast_unsigned().into(),
        };
        // SAFETY: one `epoll_event`, which the kernel copies during the call.
        match unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event)
        } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The descriptors with news.
    fn wait(&self, limit: Option<Duration>) -> io::Result<Vec<RawFd>> {
        const MOST: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MOST];
        // A part of a millisecond is a whole one, or the loop would turn until it has passed.
        let milliseconds = limit.map_or(-1, |it| {
            i32::try_from(it.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
        });
        let room = i32::try_from(MOST).unwrap_or(i32::MAX);
        // SAFETY: as many events as are said are writable; the kernel keeps no pointer.
        let count = unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, milliseconds)
        };
        match usize::try_from(count) {
            Ok(count) => Ok(events[..count]
                .iter()
                .filter_map(|event| RawFd::try_from(event.u64).ok())
                .collect()),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
                error => Err(error),
            },
        }
    }
}
