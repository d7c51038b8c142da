//! Sends a file by `mmap` and `write`: `cargo run --example mmap_send -- FILE 127.0.0.1:8080`, with a listener there.
//!
//! What a program over a mapped file has to get right, and where it is below:
//! - the bytes go from the mapping into the system call and are not touched here: past the end of a file that somebody
//!   truncates, a touch is `SIGBUS`, and `write` answers `EFAULT` (`send`);
//! - no `&[u8]` over bytes that others can change: a pointer and a length (`send`);
//! - an empty file cannot be mapped, and has nothing to send (`run`);
//! - a short count is not the end; a signal is not an error; a peer that takes nothing is given up (`send`);
//! - a peer that vanishes must not kill the sender: `write` raises `SIGPIPE`, which Rust programs ignore, so that `EPIPE` and
//!   `ECONNRESET` arrive as errors.
//!
//! The receiver sees a truncated file as a short one: a protocol that says the length first lets it notice.

use nocopy_mmap::{Errno, MapFlags, Mapping, Prot};
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;
use std::{env, process};
use syscalls::{Sysno, syscall3};

/// Prints a line. Nobody has to hear it.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        drop(writeln!(std::io::stdout(), $($words)*));
    }};
}

/// A peer that takes nothing for this long is given up.
const STALL: Duration = Duration::from_secs(10);
/// The most bytes for one call: what a call has taken before it meets the end of the file may be lost to it.
const CHUNK: usize = 1 << 16;

fn main() {
    let mut arguments = env::args_os()
        .skip(1)
        .map(|it| it.to_string_lossy().into_owned());
    let (Some(path), Some(address), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: mmap_send FILE ADDRESS:PORT");
        process::exit(2);
    };
    let (file, size) = open(&path).unwrap_or_else(|error| {
        eprintln!("mmap_send: cannot open {path}: {error}");
        process::exit(2);
    });
    let socket = TcpStream::connect(&address).unwrap_or_else(|error| {
        eprintln!("mmap_send: cannot connect to {address}: {error}");
        process::exit(2);
    });
    match run(&file, size, &socket) {
        Ok(calls) => say!("sent {size} bytes in {calls} calls"),
        Err((sent, error)) => {
            eprintln!("mmap_send: {sent} of {size} bytes went out: {error}");
            process::exit(1);
        }
    }
}

fn open(path: &str) -> io::Result<(File, usize)> {
    // A FIFO would wait for its writer here, without O_NONBLOCK.
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    let size = usize::try_from(metadata.len()).expect("the crate is for 64-bit systems only");
    Ok((file, size))
}

/// Sends all of the file and tells how many calls it took, or how far it came.
fn run(file: &File, size: usize, socket: &TcpStream) -> Result<u64, (usize, io::Error)> {
    if size == 0 {
        return Ok(0);
    }
    socket
        .set_write_timeout(Some(STALL))
        .map_err(|error| (0, error))?;
    let mapping = Mapping::of_file(size, Prot::READ, MapFlags::PRIVATE, file, 0)
        .map_err(|error| (0, error.into()))?;
    let mut sent = 0;
    let mut calls = 0;
    while sent < size {
        calls += 1;
        match send(socket, &mapping, sent, CHUNK.min(size - sent)) {
            Ok(count) => sent += count,
            Err(Errno::EINTR) => {}
            Err(Errno::EFAULT) => {
                let now = file.metadata().map_or(0, |metadata| metadata.len());
                let what = format!("the file was truncated and has {now} bytes now (EFAULT)");
                return Err((sent, io::Error::new(io::ErrorKind::UnexpectedEof, what)));
            }
            // On a blocking socket with a send time-out EAGAIN means that the time is up.
            Err(Errno::EAGAIN) => {
                let what = "the peer is too slow";
                return Err((sent, io::Error::new(io::ErrorKind::TimedOut, what)));
            }
            Err(errno) => return Err((sent, errno.into())),
        }
    }
    Ok(calls)
}

/// `write(2)` of a part of the mapping: one call.
fn send(
    socket: &TcpStream,
    mapping: &Mapping,
    offset: usize,
    count: usize,
) -> Result<usize, Errno> {
    assert!(offset + count <= mapping.len());
    let start = mapping.as_ptr().wrapping_add(offset);
    let fd = socket.as_raw_fd().cast_unsigned() as usize;
    // SAFETY: the range is inside the mapping; the kernel reads it during the call, or answers EFAULT where the file has
    // ended, and does not keep the pointer.
    unsafe { syscall3(Sysno::write, fd, start.expose_provenance(), count) }
}
