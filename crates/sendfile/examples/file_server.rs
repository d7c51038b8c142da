//! A static file server: `cargo run --example file_server -- 127.0.0.1:8080 DIR`, then `curl` any file of DIR.
//!
//! What a server over `sendfile` has to get right, and where it is below:
//! - a slow client must not hold the others: a thread each, and a time limit for every stall (`send`);
//! - a client that vanishes must not kill the server: `sendfile` raises `SIGPIPE`, which Rust programs ignore, so
//!   that `EPIPE` and `ECONNRESET` arrive as errors (`main`; a program in C must ignore it itself);
//! - a short count is not the end, and 0 is not always success: a file that shrinks ends early (`send`);
//! - the offset is the connection's own: the file position is shared by every user of the descriptor.

use nocopy_sendfile::{Errno, sendfile};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;
use std::{env, process, thread};

/// A client that takes nothing for this long is given up.
const STALL: Duration = Duration::from_secs(10);
/// The longest request head that is read.
const HEAD_BYTES: u64 = 8192;

fn main() {
    let mut arguments = env::args().skip(1);
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
    println!(
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
            match serve(&socket, &root) {
                Ok(line) => println!("{peer} {line}"),
                Err(error) => println!("{peer} gave up: {error}"),
            }
        });
    }
}

/// Answers one request; the line that it returns is for the log.
fn serve(mut socket: &TcpStream, root: &Path) -> io::Result<String> {
    socket.set_read_timeout(Some(STALL))?;
    socket.set_write_timeout(Some(STALL))?;
    let mut request = BufReader::new(socket.take(HEAD_BYTES));
    let mut first = String::new();
    request.read_line(&mut first)?;
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }

    let target = match first.split_whitespace().collect::<Vec<_>>()[..] {
        ["GET", target, _version] => below(root, target),
        _ => return refuse(socket, "400 Bad Request"),
    };
    let Some((file, size)) = target.and_then(|path| open(&path).ok()) else {
        return refuse(socket, "404 Not Found");
    };
    // The head waits in the socket until the body's first segment (MSG_MORE would do the same for raw sockets).
    write!(
        socket,
        "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
    )?;
    let calls = send(socket, &file, size)?;
    Ok(format!(
        "{} {size} bytes in {calls} calls",
        first.trim_end()
    ))
}

fn refuse(mut socket: &TcpStream, status: &str) -> io::Result<String> {
    write!(
        socket,
        "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    Ok(status.to_owned())
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
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    // A directory opens too, and sendfile from it is EINVAL.
    metadata
        .is_file()
        .then_some((file, metadata.len()))
        .ok_or(io::ErrorKind::NotFound.into())
}

/// Sends `size` bytes and returns how many calls it took.
fn send(socket: &TcpStream, file: &File, size: u64) -> io::Result<u64> {
    let mut offset = 0;
    let mut calls = 0;
    while offset < size {
        calls += 1;
        let left = usize::try_from(size - offset).unwrap_or(usize::MAX);
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
