//! Receives a TCP stream without copying what can be mapped: `cargo run --example receiver -- LISTEN_ADDRESS:PORT [FILE]` takes one
//! connection, writes the bytes to FILE, which must not exist, and reports how many of them could not be mapped.
//!
//! Without an address it starts two senders over loopback: the first sends memory by `MSG_ZEROCOPY`, the second a file by `sendfile`.
//! The pages of the memory are mapped. A page of a file is
//! not mapped, since Linux 6.8 (and late releases of older series).
//!
//! What a receiver has to get right, and where it is below:
//! - the order: the pages, the copied tail, then what `recv` reads (`receive`);
//! - what cannot be mapped is read by `recv`, and no more than the hint, so that what follows can be mapped again (`receive`);
//! - an answer of nothing is not the end: wait by `poll` and ask again. If the answer is nothing again, call `recv`, which goes past an
//!   urgent byte and reports an end without `EIO` (`receive`);
//! - MPTCP is not always refused, and loses bytes then (`connection`);
//! - an urgent byte can come with the tail: a protocol that has one gives no room for a tail;
//! - the error of the socket is reported once, and may come with bytes (`receive`);
//! - a peer that stalls: a limit since the last byte, and not for each wait (`wait`);
//! - the window is gone before the connection is closed, or the peer would not see the close (`connection`);
//! - the mapped bytes may change while they are used, so they go to `write` by pointer, and there is no slice of them (`Target`);
//! - segments of whole pages, where the peer is on this machine (`listen`).

use nocopy_tcp_zerocopy_receive::{Errno, Window};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, process, ptr, thread};

/// A peer that sends nothing for this long is given up.
const STALL: Duration = Duration::from_secs(10);
/// How much one call can map.
const WINDOW: usize = 1 << 20;
/// Room for what cannot be mapped after the pages: less than a page, since what fits is copied even if it could be mapped.
const TAIL: usize = 2048;
/// How much is read at most by one `recv`.
const REST: usize = 256 * 1024;
/// How much each of the two senders sends.
const OWN: usize = 16 << 20;

fn main() {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let done = match &arguments[..] {
        [] => own_senders(),
        [address] => one_connection(&listener(&address.to_string_lossy()), None),
        [address, file] => {
            let listener = listener(&address.to_string_lossy());
            one_connection(&listener, Some(new_file(Path::new(file))))
        }
        _ => refuse("usage: receiver [LISTEN_ADDRESS:PORT [FILE]]"),
    };
    if let Err(error) = done {
        eprintln!("receiver: {error}");
        process::exit(1);
    }
}

fn refuse(why: &str) -> ! {
    eprintln!("{why}");
    process::exit(2);
}

fn listener(address: &str) -> TcpListener {
    listen(address).unwrap_or_else(|error| refuse(&format!("receiver: {address}: {error}")))
}

/// A file that was not there: nothing is overwritten, and no FIFO is waited for.
fn new_file(path: &Path) -> File {
    let file = File::create_new(path);
    file.unwrap_or_else(|error| refuse(&format!("receiver: {}: {error}", path.display())))
}

/// Listens, with segments of whole pages: a page that lies in two segments cannot be mapped. The usual segment over loopback has 65483
/// bytes, and one page in sixteen is then not mapped.
fn listen(address: &str) -> io::Result<TcpListener> {
    /// What a segment has less when it has time stamps, as usual.
    const TIME_STAMPS: usize = 12;
    /// The kernel takes no more.
    const LARGEST: usize = 32_767;
    let listener = TcpListener::bind(address)?;
    let size = (LARGEST - TIME_STAMPS) / page() * page() + TIME_STAMPS;
    // Pages may be larger than segments.
    if size > TIME_STAMPS {
        let size = libc::c_int::try_from(size).expect("small");
        set_option(&listener, libc::IPPROTO_TCP, libc::TCP_MAXSEG, size)?;
    }
    Ok(listener)
}

fn one_connection(listener: &TcpListener, file: Option<File>) -> io::Result<()> {
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    let (socket, peer) = listener.accept()?;
    let tally = connection(&socket, &mut Target(file))?;
    writeln!(io::stdout(), "{peer}: {tally}")
}

/// Receives from one sender after the other.
fn own_senders() -> io::Result<()> {
    /// Returns what has to be kept until all is received: a page that its file has lost by truncation is mapped.
    type Sender = fn(SocketAddr) -> io::Result<Option<File>>;
    let senders: [(&str, Sender); 2] = [("MSG_ZEROCOPY", send_memory), ("sendfile", send_file)];
    for (name, send) in senders {
        let listener = listen("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let sender = thread::spawn(move || send(address));
        let (socket, _) = listener.accept()?;
        let tally = connection(&socket, &mut Target(None))?;
        sender.join().expect("a sender does not panic")?;
        writeln!(io::stdout(), "{name}: {tally}")?;
    }
    Ok(())
}

/// How the bytes of a stream came.
#[derive(Default)]
struct Tally {
    mapped: usize,
    copied: usize,
    read: usize,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            mapped,
            copied,
            read,
        } = self;
        let total = mapped + copied + read;
        let not_mapped = copied + read;
        write!(
            formatter,
            "received {total} bytes; not mapped: {not_mapped} ({copied} copied with the pages, {read} read)"
        )
    }
}

/// Where the bytes go, or nowhere.
struct Target(Option<File>);

impl Target {
    /// Writes mapped bytes by their address: the kernel copies them from where they are.
    fn write_mapped(&mut self, start: *const u8, length: usize) -> io::Result<()> {
        let Some(file) = &self.0 else { return Ok(()) };
        let mut done = 0;
        while done < length {
            // SAFETY: `done` is below the length of what is mapped, and the kernel reads the rest during the call.
            let written = unsafe {
                let rest = start.add(done).cast();
                libc::write(file.as_raw_fd(), rest, length - done)
            };
            match usize::try_from(written) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(_) => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    error => return Err(error),
                },
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Some(file) => file.write_all(bytes),
            None => Ok(()),
        }
    }
}

/// Receives until the end. The window is dropped here, before the caller can close the socket: it keeps the socket open.
fn connection(socket: &TcpStream, target: &mut Target) -> io::Result<Tally> {
    let mut protocol: libc::c_int = 0;
    let mut size = libc::socklen_t::try_from(size_of_val(&protocol)).expect("4");
    // SAFETY: room for an int and its size, which the kernel writes during the call.
    let done = unsafe {
        let (value, size) = ((&raw mut protocol).cast(), &raw mut size);
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PROTOCOL,
            value,
            size,
        )
    };
    if done != 0 || protocol != libc::IPPROTO_TCP {
        return Err(io::Error::other("the connection is not TCP"));
    }
    socket.set_nonblocking(true)?;
    let mut window = Window::new(socket, WINDOW)?;
    receive(socket, &mut window, target)
}

fn receive(mut socket: &TcpStream, window: &mut Window, target: &mut Target) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let (mut tail, mut rest) = ([0; TAIL], vec![0; REST]);
    let mut progress = Instant::now();
    // Whether `poll` has reported something since the last answer that was not nothing.
    let mut is_ready = false;
    loop {
        let received = match window.receive(socket, &mut tail) {
            Ok(received) => received,
            // The end of the stream, and every byte before it was taken.
            Err(Errno::EIO) => return Ok(tally),
            Err(errno) => return Err(errno.into()),
        };
        let (mapped, copied) = (received.mapped.len(), received.copied);
        target.write_mapped(received.mapped.as_ptr(), mapped)?;
        target.write(&tail[..copied])?;
        tally.mapped += mapped;
        tally.copied += copied;
        if let Some(errno) = received.err {
            // `recv` would not report it again.
            return Err(errno.into());
        }
        if mapped + copied > 0 {
            progress = Instant::now();
            is_ready = false;
        }
        let most = match received.recv_skip_hint {
            0 if mapped + copied > 0 => continue, // more may be queued
            0 if is_ready => 1,                   // one byte, so that pages after it stay whole
            0 => {
                wait(socket, progress)?;
                is_ready = true;
                continue;
            }
            hint => hint.min(REST),
        };
        is_ready = false;
        match socket.read(&mut rest[..most]) {
            Ok(0) => return Ok(tally),
            Ok(count) => {
                target.write(&rest[..count])?;
                tally.read += count;
                progress = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // `poll` was wrong, or others read from the socket: it must not be asked again for ever.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if progress.elapsed() > STALL {
                    return Err(too_slow());
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Sleeps until there is something to receive, at most until [`STALL`] after the last progress.
fn wait(socket: &TcpStream, progress: Instant) -> io::Result<()> {
    loop {
        let left = STALL.saturating_sub(progress.elapsed());
        let mut poll = libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let milliseconds = libc::c_int::try_from(left.as_millis()).expect("short");
        // SAFETY: one pollfd, writable during the call; the kernel does not keep the pointer.
        match unsafe { libc::poll(&raw mut poll, 1, milliseconds) } {
            0 => return Err(too_slow()),
            1 => return Ok(()),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the peer is too slow")
}

fn page() -> usize {
    // SAFETY: sysconf takes no pointer.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("a page has a size")
}

fn set_option(socket: &impl AsRawFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<i32>()).expect("4");
    // SAFETY: the kernel reads 4 bytes of `value` during the call.
    let done = unsafe {
        let value = (&raw const value).cast();
        libc::setsockopt(socket.as_raw_fd(), level, option, value, size)
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The first sender: memory by `MSG_ZEROCOPY`. It is never freed and never changes, so no code has to wait for completions.
fn send_memory(address: SocketAddr) -> io::Result<Option<File>> {
    let socket = TcpStream::connect(address)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1)?;
    let (prot, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: new memory, where the kernel likes.
    let memory = unsafe { libc::mmap(ptr::null_mut(), OWN, prot, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the memory is ours and as long as this; it is zeroed, and never unmapped.
    let memory = unsafe { std::slice::from_raw_parts_mut(memory.cast::<u8>(), OWN) };
    memory.fill(b'.');
    let (mut left, mut zerocopy) = (&*memory, libc::MSG_ZEROCOPY);
    while !left.is_empty() {
        let most = left.len().min(1 << 20);
        let flags = libc::MSG_NOSIGNAL | zerocopy;
        // SAFETY: the kernel reads the memory, during the call and later: it stays as it is.
        let sent = unsafe { libc::send(socket.as_raw_fd(), left.as_ptr().cast(), most, flags) };
        match usize::try_from(sent) {
            Ok(sent) => (left, zerocopy) = (&left[sent..], libc::MSG_ZEROCOPY),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                // Too much memory is in flight: the next piece is sent as a copy.
                error if error.raw_os_error() == Some(libc::ENOBUFS) && zerocopy != 0 => {
                    zerocopy = 0;
                }
                error => return Err(error),
            },
        }
    }
    socket.shutdown(Shutdown::Write)?;
    Ok(None)
}

/// The second sender: a file by `sendfile`.
fn send_file(address: SocketAddr) -> io::Result<Option<File>> {
    let socket = TcpStream::connect(address)?;
    let path = env::temp_dir().join(format!("nocopy-receiver-{}", process::id()));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    file.write_all(&vec![b'.'; OWN])?;
    file.rewind()?;
    let mut left = OWN;
    while left > 0 {
        let (to, from) = (socket.as_raw_fd(), file.as_raw_fd());
        // SAFETY: no offset, so no pointer.
        let sent = unsafe { libc::sendfile(to, from, ptr::null_mut(), left) };
        match usize::try_from(sent) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(sent) => left -= sent,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    socket.shutdown(Shutdown::Write)?;
    Ok(Some(file))
}
