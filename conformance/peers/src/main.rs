//! Sends standard input, a file or a socket, to standard output, a socket, in the way of one library: a peer of `conformance bench`.
//!
//! `nocopy-peers NAME LENGTH`. It reads a byte from descriptor 3 before it begins, and writes to descriptor 4 when it has: when it
//! began and ended by the monotonic clock, its CPU time between, in nanoseconds, and the bytes: four 64-bit numbers. Each library is
//! used as its documentation shows, for a blocking socket.

mod relays;

use nocopy_transfer::Stability;
use relays::RELAYS;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll, Waker};

/// What the program was started with.
struct Ends {
    source: File,
    sink: TcpStream,
    go: File,
    report: File,
}

impl Ends {
    fn take() -> io::Result<Self> {
        for fd in 0..5 {
            // SAFETY: F_GETFD takes nothing and changes nothing.
            if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: they are open, as has just been asked, and nothing else in this program has them: the standard streams are not used.
        unsafe {
            Ok(Self {
                source: File::from_raw_fd(0),
                sink: TcpStream::from_raw_fd(1),
                go: File::from_raw_fd(3),
                report: File::from_raw_fd(4),
            })
        }
    }
}

/// A way to send so many bytes.
type Way = fn(&File, &TcpStream, u64) -> io::Result<u64>;

const WAYS: &[(&str, Way)] = &[
    ("nocopy", with_nocopy),
    ("nocopy-transfer, shared", |source, sink, length| {
        with_transfer(source, sink, length, Stability::Shared)
    }),
    ("nocopy-transfer, snapshot", |source, sink, length| {
        with_transfer(source, sink, length, Stability::Snapshot)
    }),
    ("nocopy-transfer, tokio", with_transfer_tokio),
    ("libc", with_libc),
    ("rustix", with_rustix),
    ("nix", with_nix),
    ("sendfile crate", with_sendfile),
    ("std::io::copy", |mut source, mut sink, _| {
        io::copy(&mut source, &mut sink)
    }),
    ("tokio::io::copy", with_tokio),
];

fn left(length: u64, offset: u64) -> usize {
    usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX)
}

fn with_nocopy(source: &File, sink: &TcpStream, length: u64) -> io::Result<u64> {
    let mut offset = 0;
    while offset < length {
        let left = left(length, offset);
        match nocopy_sendfile::sendfile(sink, source, Some(&mut offset), left) {
            Ok(0) => break,
            Ok(_) | Err(nocopy_sendfile::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(offset)
}

fn with_transfer(
    source: &File,
    sink: &TcpStream,
    length: u64,
    stability: Stability,
) -> io::Result<u64> {
    let outcome = nocopy_transfer::copy_range(source, 0, length, sink, stability)?;
    Ok(outcome.bytes)
}

fn with_transfer_tokio(source: &File, sink: &TcpStream, length: u64) -> io::Result<u64> {
    sink.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let mut source = tokio::fs::File::from_std(source.try_clone()?);
        let mut sink = tokio::net::TcpStream::from_std(sink.try_clone()?)?;
        let shared = Stability::Shared;
        let copied = nocopy_transfer::tokio::copy_range(&mut source, 0, length, &mut sink, shared);
        Ok(copied.await?.bytes)
    })
}

fn with_libc(source: &File, sink: &TcpStream, length: u64) -> io::Result<u64> {
    let mut offset: libc::off_t = 0;
    while offset.cast_unsigned() < length {
        let left = left(length, offset.cast_unsigned());
        // SAFETY: both are open, and the offset is ours.
        match unsafe { libc::sendfile(sink.as_raw_fd(), source.as_raw_fd(), &raw mut offset, left) }
        {
            0 => break,
            -1 => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            _ => {}
        }
    }
    Ok(offset.cast_unsigned())
}

fn with_rustix(source: &File, sink: &TcpStream, length: u64) -> io::Result<u64> {
    let mut offset = 0;
    while offset < length {
        let left = left(length, offset);
        match rustix::fs::sendfile(sink, source, Some(&mut offset), left) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(offset)
}

fn with_nix(source: &File, sink: &TcpStream, length: u64) -> io::Result<u64> {
    let mut offset: libc::off64_t = 0;
    while offset.cast_unsigned() < length {
        let left = left(length, offset.cast_unsigned());
        let sent = nix::sys::sendfile::sendfile64(sink, source, Some(&mut offset), left);
        match sent {
            Ok(0) => break,
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(offset.cast_unsigned())
}

fn with_sendfile(source: &File, sink: &TcpStream, length: u64) -> io::Result<u64> {
    // SAFETY: a regular file and a TCP socket.
    let mut sending = unsafe { sendfile::send_file(source.as_raw_fd(), sink.as_raw_fd()) };
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match Pin::new(&mut sending).poll(&mut context) {
            Poll::Ready(Ok(())) => return Ok(sending.written() as u64),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending if sending.written() as u64 >= length => return Ok(length),
            Poll::Pending => {}
        }
    }
}

fn with_tokio(source: &File, sink: &TcpStream, _length: u64) -> io::Result<u64> {
    sink.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let mut source = tokio::fs::File::from_std(source.try_clone()?);
        let mut sink = tokio::net::TcpStream::from_std(sink.try_clone()?)?;
        tokio::io::copy(&mut source, &mut sink).await
    })
}

fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

fn send(way: impl Fn(&File, &TcpStream) -> io::Result<u64>) -> io::Result<()> {
    let mut ends = Ends::take()?;
    ends.go.read_exact(&mut [0])?;
    let cpu = nanoseconds(libc::CLOCK_PROCESS_CPUTIME_ID);
    let began = nanoseconds(libc::CLOCK_MONOTONIC);
    let sent = way(&ends.source, &ends.sink)?;
    // So that the receiver has its end.
    drop(ends.sink);
    let ended = nanoseconds(libc::CLOCK_MONOTONIC);
    let cpu = nanoseconds(libc::CLOCK_PROCESS_CPUTIME_ID) - cpu;
    let words = [began, ended, cpu, sent].map(u64::to_ne_bytes);
    ends.report.write_all(words.as_flattened())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let known = || {
        let relays = RELAYS.iter().map(|(name, _)| *name);
        let names: Vec<&str> = WAYS.iter().map(|(name, _)| *name).chain(relays).collect();
        names.join(", ")
    };
    let [name, length] = &arguments[..] else {
        eprintln!(
            "nocopy-peers NAME LENGTH: started by `conformance bench --peers`; it knows {}",
            known()
        );
        return ExitCode::from(2);
    };
    let found = WAYS.iter().find(|(other, _)| other == name);
    let relay = RELAYS.iter().find(|(other, _)| other == name);
    let sent = match (found, relay, length.parse()) {
        (Some((_, way)), _, Ok(length)) => send(|source, sink| way(source, sink, length)),
        (_, Some((_, relay)), Ok(_)) => send(|source, sink| {
            let source = TcpStream::from(OwnedFd::from(source.try_clone()?));
            relay(&source, sink)
        }),
        _ => {
            eprintln!(
                "nocopy-peers: no {name} of {length} bytes: it knows {}",
                known()
            );
            return ExitCode::from(2);
        }
    };
    match sent {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nocopy-peers: {name}: {error}");
            ExitCode::FAILURE
        }
    }
}
