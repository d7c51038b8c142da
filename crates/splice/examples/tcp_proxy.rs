//! A TCP proxy: `cargo run --example tcp_proxy -- 127.0.0.1:8080 127.0.0.1:80 COPY`. The bytes of both directions go through
//! pipes and never through this program's memory; what the clients send is also appended to COPY, if it is given.
//!
//! What a proxy over `splice` has to get right, and where it is below:
//! - a half close goes on: the end of one direction is a shutdown of the other side's writing, and the way back stays
//!   open (`forward`);
//! - the pipe is drained before the shutdown: what it still holds would be lost (`forward`);
//! - a short count is not the end, of `splice` and of `tee`; `tee` starts at the first byte each time, so what was teed must
//!   leave the pipe before the rest can be (`forward`);
//! - a peer that vanishes must not kill the proxy: `splice` raises `SIGPIPE`, which Rust programs ignore, so that `EPIPE`
//!   and `ECONNRESET` arrive as errors; both connections are then broken off, so that the other direction ends too
//!   (`connection`);
//! - a peer that vanishes in silence: a time limit for a write that stalls and for a connection that idles (`pass`);
//! - 0 is not always the end: `splice` answers so at an urgent byte, too, and never goes past it (`past_mark`);
//! - no `SPLICE_F_MORE`: the last piece is not known as such, and with the flag it would be held back;
//! - a copy that fails (disk full) must not stop the proxy (`forward`).

use nocopy_splice::{Errno, Pipe, PipeFlags, SpliceFlags, pipe2, splice, tee};
use std::fs::File;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, process, thread};

/// Prints a line. Nobody has to hear it.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        drop(writeln!(std::io::stdout(), $($words)*));
    }};
}

/// A peer that takes nothing for this long is given up.
const STALL: Duration = Duration::from_secs(30);
/// A connection on which nothing moves for this long, in either direction, is given up.
const IDLE: Duration = Duration::from_secs(600);
/// A target that does not answer for this long is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// The most bytes that are asked for at once; the pipe decides how many come.
const CHUNK: usize = 1 << 20;

fn main() {
    let mut arguments = env::args_os()
        .skip(1)
        .map(|it| it.to_string_lossy().into_owned());
    let (Some(listen), Some(target), copy, None) = (
        arguments.next(),
        arguments.next(),
        arguments.next(),
        arguments.next(),
    ) else {
        fail("usage: tcp_proxy LISTEN_ADDRESS:PORT TARGET_ADDRESS:PORT [COPY_FILE]");
    };
    let target = target
        .to_socket_addrs()
        .and_then(|mut found| found.next().ok_or(io::ErrorKind::NotFound.into()))
        .unwrap_or_else(|error| fail(&format!("tcp_proxy: no address {target}: {error}")));
    let copy = copy.map(|path| {
        Copy::open(&path)
            .unwrap_or_else(|error| fail(&format!("tcp_proxy: cannot write {path}: {error}")))
    });
    let listener = TcpListener::bind(&listen)
        .unwrap_or_else(|error| fail(&format!("tcp_proxy: cannot listen on {listen}: {error}")));
    // The bound address, so that port 0 can be asked for.
    say!(
        "listening on {}",
        listener
            .local_addr()
            .expect("a bound socket has an address")
    );

    let copy = Arc::new(copy.map(Mutex::new));
    for client in listener.incoming() {
        let (client, copy) = match client {
            Ok(client) => (client, Arc::clone(&copy)),
            // Out of descriptors, or the client gave up before we accepted: the next one may do better.
            Err(error) => {
                eprintln!("accept: {error}");
                thread::sleep(Duration::from_millis(10));
                continue;
            }
        };
        thread::spawn(move || {
            let peer = client
                .peer_addr()
                .map_or_else(|_| "?".into(), |peer| peer.to_string());
            match connection(&client, target, copy.as_ref().as_ref()) {
                Ok((up, down)) => say!("{peer} {up} bytes to the target, {down} back"),
                Err(error) => say!("{peer} gave up: {error}"),
            }
        });
    }
}

fn fail(line: &str) -> ! {
    eprintln!("{line}");
    process::exit(2);
}

/// Where the copies of all connections go, in the order of their pieces.
struct Copy {
    file: File,
    /// The end of the copy. The file is not open with `O_APPEND`, because `splice` refuses that.
    end: u64,
}

impl Copy {
    fn open(path: &str) -> io::Result<Self> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let end = file.metadata()?.len();
        Ok(Self { file, end })
    }
}

/// Forwards both directions until both have ended, and tells how many bytes each had.
fn connection(
    client: &TcpStream,
    target: SocketAddr,
    copy: Option<&Mutex<Copy>>,
) -> io::Result<(u64, u64)> {
    let server = &TcpStream::connect_timeout(&target, CONNECT)?;
    for socket in [client, server] {
        socket.set_read_timeout(Some(IDLE))?;
        socket.set_write_timeout(Some(STALL))?;
    }
    let moved = &AtomicU64::new(0);
    let one_way = |from: &TcpStream, to: &TcpStream, copy: Option<&Mutex<Copy>>| {
        forward(from, to, copy, moved).inspect_err(|_| {
            // Nobody is left to hear the other direction, or to say more in it: it ends as well.
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        })
    };
    let (up, down) = thread::scope(|scope| {
        let up = scope.spawn(|| one_way(client, server, copy));
        let down = one_way(server, client, None);
        (up.join().expect("forward does not panic"), down)
    });
    Ok((up?, down?))
}

/// Forwards one direction until its end, passes the end on, and tells how many bytes there were.
fn forward(
    from: &TcpStream,
    to: &TcpStream,
    copy: Option<&Mutex<Copy>>,
    moved: &AtomicU64,
) -> io::Result<u64> {
    let pipe = pipe2(PipeFlags::CLOEXEC)?;
    let mut side = copy.map(|_| pipe2(PipeFlags::CLOEXEC)).transpose()?;
    let mut total = 0;
    loop {
        // The pipe is empty here: all that is taken in is passed on below, before the end is.
        let mut held = take(from, &pipe, moved)?;
        if held == 0 {
            held = past_mark(from, to, &pipe, moved)?;
        }
        if held == 0 {
            break;
        }
        while held > 0 {
            let mut piece = held;
            if let (Some(copy), Some(branch)) = (copy, &side) {
                match keep(copy, &pipe, branch, held) {
                    Ok(kept) => piece = kept,
                    // What is left of the copy's pipe goes with it.
                    Err(error) => {
                        eprintln!("no more copies of this connection: {error}");
                        side = None;
                    }
                }
            }
            pass(&pipe, to, piece)?;
            held -= piece;
            total += piece as u64;
            moved.fetch_add(piece as u64, Ordering::Relaxed);
        }
    }
    match to.shutdown(Shutdown::Write) {
        // The peer was faster and has closed all of it.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
        result => result?,
    }
    Ok(total)
}

/// Takes what has come into the empty pipe. 0 is the end, or an urgent byte.
fn take(from: &TcpStream, pipe: &Pipe, moved: &AtomicU64) -> io::Result<usize> {
    patiently(moved, || {
        Ok(splice(
            from,
            None,
            &pipe.write,
            None,
            CHUNK,
            SpliceFlags::empty(),
        )?)
    })
}

/// Waits as long as anything moves, in either direction.
fn patiently(moved: &AtomicU64, mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        let before = moved.load(Ordering::Relaxed);
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // On a blocking socket with a receive time-out EAGAIN means that the time is up. That this direction is silent
            // while the other one moves is no reason to end.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if moved.load(Ordering::Relaxed) == before {
                    return Err(timed_out("nothing moves"));
                }
            }
            done => return done,
        }
    }
}

/// After a `splice` that gave 0: passes an urgent byte on, if there is one, and takes what follows it into the empty pipe. 0 is the
/// end, for sure.
fn past_mark(
    mut from: &TcpStream,
    to: &TcpStream,
    pipe: &Pipe,
    moved: &AtomicU64,
) -> io::Result<usize> {
    let mut urgent = 0_u8;
    let byte = (&raw mut urgent).cast();
    // SAFETY: the kernel writes at most one byte to `urgent`, during the call.
    let got = unsafe { libc::recv(from.as_raw_fd(), byte, 1, libc::MSG_OOB) };
    // EINVAL: there is none. All that came before it is with the peer: the pipe is empty.
    if got == 1 {
        let flags = libc::MSG_OOB | libc::MSG_NOSIGNAL;
        // SAFETY: the kernel reads one byte of `urgent`, during the call.
        if unsafe { libc::send(to.as_raw_fd(), byte, 1, flags) } != 1 {
            return Err(io::Error::last_os_error());
        }
        moved.fetch_add(1, Ordering::Relaxed);
    }
    // An ordinary read goes past the mark. What it takes is less than an empty pipe holds.
    let mut bytes = [0; 4096];
    let count = patiently(moved, || from.read(&mut bytes))?;
    let mut left = &bytes[..count];
    while !left.is_empty() {
        // SAFETY: the kernel reads `left` during the call and does not keep the pointer.
        let written =
            unsafe { libc::write(pipe.write.as_raw_fd(), left.as_ptr().cast(), left.len()) };
        match usize::try_from(written) {
            Ok(written) => left = &left[written..],
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(count)
}

/// Appends a copy of at most `held` bytes of the pipe to the file; tells of how many.
fn keep(copy: &Mutex<Copy>, pipe: &Pipe, side: &Pipe, held: usize) -> io::Result<usize> {
    let kept = loop {
        match tee(&pipe.read, &side.write, held, SpliceFlags::empty()) {
            Err(Errno::EINTR) => {}
            result => break result?,
        }
    };
    let mut copy = copy.lock().expect("no thread panics with the lock");
    let Copy { file, end } = &mut *copy;
    let mut left = kept;
    while left > 0 {
        match splice(
            &side.read,
            None,
            &*file,
            Some(end),
            left,
            SpliceFlags::empty(),
        ) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => left -= count,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(kept)
}

/// Passes exactly `count` bytes of the pipe on.
fn pass(pipe: &Pipe, to: &TcpStream, mut count: usize) -> io::Result<()> {
    while count > 0 {
        match splice(&pipe.read, None, to, None, count, SpliceFlags::empty()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(passed) => count -= passed,
            Err(Errno::EINTR) => {}
            // On a blocking socket with a send time-out EAGAIN means that the time is up.
            Err(Errno::EAGAIN) => return Err(timed_out("the peer is too slow")),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}
