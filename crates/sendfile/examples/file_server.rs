//! A static file server: `cargo run --example file_server -- 127.0.0.1:8080 DIR`, then `curl` any file of DIR, or a part of
//! it: `curl --range 100-199`.
//!
//! What a server over `sendfile` has to get right, and where it is below:
//! - a slow client must not hold the others: a thread each, and a time limit for every stall (`send`);
//! - a client that vanishes must not kill the server: `sendfile` raises `SIGPIPE`, which Rust programs ignore, so
//!   that `EPIPE` and `ECONNRESET` arrive as errors (`main`; a program in C must ignore it itself);
//! - a short count is not the end, and 0 is not always success: a file that shrinks ends early (`send`);
//! - the offset is the connection's own: the file position is shared by every user of the descriptor;
//! - a part of a file is the same call with another offset and end: the client's numbers are checked against the size first (`part`);
//! - the head and the beginning of the file are one segment: `MSG_MORE` says that more follows (`send_head`);
//! - opening a FIFO would wait for its writer, without a time limit: `O_NONBLOCK` does not (`open`);
//! - `close` with unread bytes resets the connection, and the peer loses what it has not read yet: the end is said first, and
//!   what the client still sends is read (`linger`).

use nocopy_sendfile::{Errno, MAX_COUNT, sendfile};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, process, thread};

/// Prints a line. Nobody has to hear it.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        drop(writeln!(std::io::stdout(), $($words)*));
    }};
}

/// A client that takes nothing for this long is given up.
const STALL: Duration = Duration::from_secs(10);
/// The longest request head that is read.
const HEAD_BYTES: u64 = 8192;

fn main() {
    let mut arguments = env::args_os()
        .skip(1)
        .map(|it| it.to_string_lossy().into_owned());
    let (Some(address), Some(root), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: file_server ADDRESS:PORT DIRECTORY");
        process::exit(2);
    };
    let root = PathBuf::from(root);
    if !root.is_dir() {
        eprintln!("file_server: {} is not a directory", root.display());
        process::exit(2);
    }
    let listener = TcpListener::bind(&address).unwrap_or_else(|error| {
        eprintln!("file_server: cannot listen on {address}: {error}");
        process::exit(2);
    });
    // The bound address, so that port 0 can be asked for.
    say!(
        "listening on {}",
        listener
            .local_addr()
            .expect("a bound socket has an address")
    );

    for socket in listener.incoming() {
        let (socket, root) = match socket {
            Ok(socket) => (socket, root.clone()),
            // Out of descriptors, or the client gave up before we accepted: the next one may do better.
            Err(error) => {
                eprintln!("accept: {error}");
                thread::sleep(Duration::from_millis(10));
                continue;
            }
        };
        thread::spawn(move || {
            let peer = socket
                .peer_addr()
                .map_or_else(|_| "?".into(), |peer| peer.to_string());
            match serve(&socket, &root).and_then(|line| linger(&socket).map(|()| line)) {
                Ok(line) => say!("{peer} {line}"),
                Err(error) => say!("{peer} gave up: {error}"),
            }
        });
    }
}

/// Answers one request; the line that it returns is for the log.
fn serve(socket: &TcpStream, root: &Path) -> io::Result<String> {
    socket.set_read_timeout(Some(STALL))?;
    socket.set_write_timeout(Some(STALL))?;
    let mut request = BufReader::new(socket.take(HEAD_BYTES));
    let mut first = String::new();
    request.read_line(&mut first)?;
    let mut line = first.clone();
    let mut range = None;
    while line.ends_with('\n') && line.len() > 2 {
        line.clear();
        request.read_line(&mut line)?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("range")
        {
            range = Some(value.trim().to_owned());
        }
    }
    if !line.ends_with('\n') && request.get_ref().limit() == 0 {
        return refuse(socket, "431 Request Header Fields Too Large");
    }

    let target = match first.split_whitespace().collect::<Vec<_>>()[..] {
        ["GET", target, _version] => below(root, target),
        _ => return refuse(socket, "400 Bad Request"),
    };
    let Some((file, size)) = target.and_then(|path| open(&path).ok()) else {
        return refuse(socket, "404 Not Found");
    };
    let part = range.and_then(|range| part(&range, size));
    let (status, about) = match &part {
        None => ("200 OK", String::new()),
        Some(none) if none.is_empty() => (
            "416 Range Not Satisfiable",
            format!("Content-Range: bytes */{size}\r\n"),
        ),
        Some(Range { start, end }) => (
            "206 Partial Content",
            format!("Content-Range: bytes {start}-{}/{size}\r\n", end - 1),
        ),
    };
    let bytes = part.unwrap_or(0..size);
    let length = bytes.end - bytes.start;
    send_head(socket, status, length, &about)?;
    let calls = send(socket, &file, bytes)?;
    Ok(format!(
        "{} {length} bytes in {calls} calls",
        first.trim_end()
    ))
}

/// The bytes that one range of a `Range` header names, none if the file has none of them. `None`: the header is of another kind, and all of the
/// file is sent.
fn part(range: &str, size: u64) -> Option<Range<u64>> {
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| !text.starts_with('+'));
    match (number(start), number(end)) {
        // The last bytes of the file.
        (None, Some(last)) if start.is_empty() => Some(size.saturating_sub(last)..size),
        (Some(start), None) if end.is_empty() => Some(start.min(size)..size),
        (Some(start), Some(end)) if start <= end => {
            Some(start.min(size)..size.min(end.saturating_add(1)))
        }
        _ => None,
    }
}

fn refuse(socket: &TcpStream, status: &str) -> io::Result<String> {
    send_head(socket, status, 0, "")?;
    Ok(status.to_owned())
}

/// Sends the head of an answer, which waits in the socket for the body's first bytes.
fn send_head(socket: &TcpStream, status: &str, size: u64, about: &str) -> io::Result<()> {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{about}Connection: close\r\n\r\n");
    let more = if size > 0 { libc::MSG_MORE } else { 0 };
    let mut left = head.as_bytes();
    while !left.is_empty() {
        // SAFETY: the kernel reads `left` during the call and does not keep the pointer.
        let sent = unsafe {
            libc::send(
                socket.as_raw_fd(),
                left.as_ptr().cast(),
                left.len(),
                more | libc::MSG_NOSIGNAL,
            )
        };
        match usize::try_from(sent) {
            Ok(sent) => left = &left[sent..],
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

/// Says that nothing more comes, and reads what the client still sends, so that closing does not reset the connection.
fn linger(mut socket: &TcpStream) -> io::Result<()> {
    match socket.shutdown(Shutdown::Write) {
        // The client was faster and has closed all of it.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
        result => result?,
    }
    let begun = Instant::now();
    let mut buffer = [0; 1 << 12];
    while begun.elapsed() < STALL {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // All was sent: a client that resets the connection now has had its answer, or does not want it.
            Err(_) => break,
        }
    }
    Ok(())
}

/// The file that a request target names, if it is below `root`.
fn below(root: &Path, target: &str) -> Option<PathBuf> {
    let relative = Path::new(target.trim_start_matches('/'));
    relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
        .then(|| root.join(relative))
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    // A directory opens too, and sendfile from it is EINVAL.
    metadata
        .is_file()
        .then_some((file, metadata.len()))
        .ok_or(io::ErrorKind::NotFound.into())
}

/// Sends a part of the file and returns how many calls it took.
fn send(socket: &TcpStream, file: &File, bytes: Range<u64>) -> io::Result<u64> {
    let mut offset = bytes.start;
    let mut calls = 0;
    while offset < bytes.end {
        calls += 1;
        // Before the call, which borrows the offset.
        let left =
            usize::try_from(bytes.end - offset).map_or(MAX_COUNT, |left| left.min(MAX_COUNT));
        match sendfile(socket, file, Some(&mut offset), left) {
            // The length is promised already: all that is left is to break the connection off.
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file shrank",
                ));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            // On a blocking socket with a send time-out EAGAIN means that the time is up.
            Err(Errno::EAGAIN) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client is too slow",
                ));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(calls)
}
