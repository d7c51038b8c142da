//! Sources and sinks of every kind that needs no privilege, with bytes in them and a reader behind them.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::thread::{self, JoinHandle};

/// Bytes of which no two neighbouring blocks are alike.
pub fn pattern(length: usize) -> Vec<u8> {
    let words = (0..length as u64).step_by(8);
    let mut bytes: Vec<_> = words
        .flat_map(|word| word.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
        .collect();
    bytes.truncate(length);
    bytes
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    File,
    Memfd,
    Pipe,
    Tcp,
    Unix,
}

pub const SOURCES: [From; 5] = [From::File, From::Memfd, From::Pipe, From::Tcp, From::Unix];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Tcp,
    Unix,
    Pipe,
    File,
    Append,
    Terminal,
    Null,
    Datagrams,
}

pub const SINKS: [To; 8] = [
    To::Tcp,
    To::Unix,
    To::Pipe,
    To::File,
    To::Append,
    To::Terminal,
    To::Null,
    To::Datagrams,
];

/// The size of a message to [`To::Datagrams`].
pub const MESSAGE: usize = 1000;

pub fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
    (near, listener.accept().expect("accepted").0)
}

/// A file without a name, in the folder for temporary files.
pub fn file(content: &[u8]) -> File {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(std::env::temp_dir())
        .expect("a file");
    file.write_all(content).expect("room");
    file.rewind().expect("a file");
    file
}

/// A memfd; before Linux 3.17, which has none, a file.
pub fn memfd(content: &[u8]) -> File {
    let made = rustix::fs::memfd_create("source", rustix::fs::MemfdFlags::ALLOW_SEALING);
    if matches!(made, Err(rustix::io::Errno::NOSYS)) {
        return file(content);
    }
    let mut file = File::from(made.expect("a memfd"));
    file.write_all(content).expect("room");
    file.rewind().expect("a file");
    file
}

/// A source with this content. A stream is written by a thread, which closes its end then.
pub fn source(from: From, content: &[u8]) -> OwnedFd {
    let fed = |near: OwnedFd, mut far: File| {
        let content = content.to_vec();
        thread::spawn(move || far.write_all(&content));
        near
    };
    match from {
        From::File => file(content).into(),
        From::Memfd => memfd(content).into(),
        From::Pipe => {
            let (read, write) = std::io::pipe().expect("a pipe");
            fed(read.into(), OwnedFd::from(write).into())
        }
        From::Tcp => {
            let (near, far) = tcp();
            fed(near.into(), OwnedFd::from(far).into())
        }
        From::Unix => {
            let (near, far) = UnixStream::pair().expect("a pair");
            fed(near.into(), OwnedFd::from(far).into())
        }
    }
}

/// Where the bytes of a sink can be read.
pub enum Far {
    Reader(JoinHandle<Vec<u8>>),
    File(File),
    Nowhere,
}

/// A sink, and its reader, which reads until the sink is closed; `length` bytes of a terminal.
pub fn sink(to: To, length: usize) -> (OwnedFd, Far) {
    let read = |mut far: File| {
        Far::Reader(thread::spawn(move || {
            let mut bytes = vec![0; length];
            let mut at = 0;
            // A terminal has no end.
            while to != To::Terminal || at < length {
                bytes.resize(bytes.len().max(at + 1), 0);
                match far.read(&mut bytes[at..]) {
                    Ok(count @ 1..) => at += count,
                    _ => break, // a reset, or the end of a terminal, ends it, too
                }
            }
            bytes.truncate(at);
            bytes
        }))
    };
    match to {
        To::Tcp => {
            let (near, far) = tcp();
            (near.into(), read(OwnedFd::from(far).into()))
        }
        To::Unix => {
            let (near, far) = UnixStream::pair().expect("a pair");
            (near.into(), read(OwnedFd::from(far).into()))
        }
        To::Pipe => {
            let (far, near) = std::io::pipe().expect("a pipe");
            (near.into(), read(OwnedFd::from(far).into()))
        }
        To::File | To::Append => {
            let whole = file(b"");
            let near = File::options()
                .write(true)
                .append(to == To::Append)
                .open(format!("/proc/self/fd/{}", whole.as_raw_fd()))
                .expect("the file again");
            (near.into(), Far::File(whole))
        }
        To::Terminal => {
            use rustix::pty;
            let flags = pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY;
            let far = pty::openpt(flags).expect("a terminal");
            pty::grantpt(&far).expect("its other end");
            pty::unlockpt(&far).expect("its other end");
            let near = pty::ioctl_tiocgptpeer(&far, flags).expect("its other end");
            let mut attributes = rustix::termios::tcgetattr(&near).expect("a terminal");
            attributes.make_raw();
            let now = rustix::termios::OptionalActions::Now;
            rustix::termios::tcsetattr(&near, now, &attributes).expect("a terminal");
            (near, read(far.into()))
        }
        To::Null => (
            File::options()
                .write(true)
                .open("/dev/null")
                .expect("it is there")
                .into(),
            Far::Nowhere,
        ),
        To::Datagrams => {
            let (near, far) = UnixDatagram::pair().expect("a pair");
            let reader = thread::spawn(move || {
                let mut bytes = Vec::new();
                let mut message = [0; 2 * MESSAGE];
                while bytes.len() < length {
                    let count = far.recv(&mut message).expect("a message");
                    let is_last = bytes.len() + count == length;
                    assert!(count == MESSAGE || is_last, "a message of {count} bytes");
                    bytes.extend(&message[..count]);
                }
                bytes
            });
            (near.into(), Far::Reader(reader))
        }
    }
}

impl Far {
    /// What arrived, once the sink is closed. None if nobody can tell.
    pub fn received(self, near: OwnedFd) -> Option<Vec<u8>> {
        drop(near);
        match self {
            Self::Reader(reader) => Some(reader.join().expect("the reader")),
            Self::File(mut file) => {
                let mut bytes = Vec::new();
                file.seek(SeekFrom::Start(0)).expect("a file");
                file.read_to_end(&mut bytes).expect("a file");
                Some(bytes)
            }
            Self::Nowhere => None,
        }
    }
}

pub fn set_nonblocking(fd: &OwnedFd) {
    let flags = rustix::fs::fcntl_getfl(fd).expect("flags");
    rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK).expect("O_NONBLOCK");
}
