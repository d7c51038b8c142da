//! Kinds of descriptors: what the choice of a route depends on.

#![forbid(unsafe_code)]

use crate::sys;
use std::fs::File;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::rc::Rc;
use std::sync::Arc;
use syscalls::Errno;

/// A kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceKind {
    /// A regular file, also a memfd.
    File,
    /// A block device.
    BlockDevice,
    /// A pipe or FIFO.
    Pipe,
    /// A TCP socket.
    Tcp,
    /// A stream socket of `AF_UNIX`.
    Unix,
    /// A socket with messages. It is refused: a read that is shorter than a message loses the rest of it.
    Datagram,
    /// Anything else: a terminal, a device, another socket.
    Other,
}

/// A kind of sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SinkKind {
    /// A TCP socket.
    Tcp,
    /// A TCP socket that the kernel encrypts (kTLS).
    Tls,
    /// A stream socket of `AF_UNIX`.
    Unix,
    /// A stream socket of `AF_VSOCK`.
    Vsock,
    /// A socket with messages: UDP, `AF_UNIX` datagrams, `SOCK_SEQPACKET`.
    Datagram,
    /// A pipe or FIFO.
    Pipe,
    /// A regular file without `O_APPEND`.
    File,
    /// A regular file with `O_APPEND`.
    Append,
    /// A terminal.
    Terminal,
    /// Another character device, such as `/dev/null`.
    Device,
    /// Anything else: a block device, another socket.
    Other,
}

impl SourceKind {
    /// Every kind, in the order of the table of choices.
    pub const ALL: &[Self] = &[
        Self::File,
        Self::BlockDevice,
        Self::Pipe,
        Self::Tcp,
        Self::Unix,
        Self::Datagram,
        Self::Other,
    ];

    /// The kind of `fd`, by `fstat` and, of a socket, `getsockopt`.
    ///
    /// # Errors
    ///
    /// The errno of such a call.
    pub fn of(fd: impl AsFd) -> Result<Self, Errno> {
        let fd = fd.as_fd();
        Ok(match sys::status(fd)?.kind {
            libc::S_IFREG => Self::File,
            libc::S_IFBLK => Self::BlockDevice,
            libc::S_IFIFO => Self::Pipe,
            libc::S_IFSOCK => match sys::socket(fd)? {
                sys::Socket::Tcp => Self::Tcp,
                sys::Socket::Unix => Self::Unix,
                sys::Socket::Datagram => Self::Datagram,
                _ => Self::Other,
            },
            _ => Self::Other,
        })
    }

    /// Whether it has an end that other descriptors write to, and no offsets.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Pipe | Self::Tcp | Self::Unix)
    }

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "regular file",
            Self::BlockDevice => "block device",
            Self::Pipe => "pipe",
            Self::Tcp => "TCP socket",
            Self::Unix => "AF_UNIX socket",
            Self::Datagram => "socket with messages",
            Self::Other => "other",
        }
    }
}

impl SinkKind {
    /// Every kind, in the order of the table of choices.
    pub const ALL: &[Self] = &[
        Self::Tcp,
        Self::Tls,
        Self::Unix,
        Self::Vsock,
        Self::Datagram,
        Self::Pipe,
        Self::File,
        Self::Append,
        Self::Terminal,
        Self::Device,
        Self::Other,
    ];

    /// The kind of `fd`, by `fstat`, `fcntl(F_GETFL)` of a file, and `getsockopt` of a socket.
    ///
    /// # Errors
    ///
    /// The errno of such a call.
    pub fn of(fd: impl AsFd) -> Result<Self, Errno> {
        let fd = fd.as_fd();
        Ok(match sys::status(fd)?.kind {
            libc::S_IFREG if sys::appends(fd)? => Self::Append,
            libc::S_IFREG => Self::File,
            libc::S_IFIFO => Self::Pipe,
            libc::S_IFCHR if rustix::termios::isatty(fd) => Self::Terminal,
            libc::S_IFCHR => Self::Device,
            libc::S_IFSOCK => match sys::socket(fd)? {
                sys::Socket::Tcp if sys::has_tls(fd) => Self::Tls,
                sys::Socket::Tcp => Self::Tcp,
                sys::Socket::Unix => Self::Unix,
                sys::Socket::Vsock => Self::Vsock,
                sys::Socket::Datagram => Self::Datagram,
                sys::Socket::Other => Self::Other,
            },
            _ => Self::Other,
        })
    }

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP socket",
            Self::Tls => "TLS socket",
            Self::Unix => "AF_UNIX socket",
            Self::Vsock => "vsock socket",
            Self::Datagram => "UDP socket",
            Self::Pipe => "pipe",
            Self::File => "regular file",
            Self::Append => "O_APPEND file",
            Self::Terminal => "terminal",
            Self::Device => "/dev/null",
            Self::Other => "other",
        }
    }
}

/// What the kernel says that the ends are.
pub(crate) fn ask(source: impl AsFd, sink: impl AsFd) -> Result<(SourceKind, SinkKind), Errno> {
    Ok((SourceKind::of(source)?, SinkKind::of(sink)?))
}

/// What the type of a descriptor says about its kind, without a system call. Only a small range of a file is sent on its word, by one
/// call; else the kernel is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// It may be anything: `fstat` is asked before the first byte.
    Unknown,
    /// It is probably a regular file.
    File,
    /// It is a TCP socket.
    Tcp,
    /// It is a stream socket of `AF_UNIX`.
    Unix,
    /// It is a socket with messages.
    Datagram,
    /// It is a pipe.
    Pipe,
}

impl Hint {
    pub(crate) const fn source(self) -> Option<SourceKind> {
        match self {
            Self::Unknown => None,
            Self::File => Some(SourceKind::File),
            Self::Tcp => Some(SourceKind::Tcp),
            Self::Unix => Some(SourceKind::Unix),
            Self::Datagram => Some(SourceKind::Datagram),
            Self::Pipe => Some(SourceKind::Pipe),
        }
    }

    pub(crate) const fn sink(self) -> Option<SinkKind> {
        match self {
            Self::Unknown => None,
            Self::File => Some(SinkKind::File),
            Self::Tcp => Some(SinkKind::Tcp),
            Self::Unix => Some(SinkKind::Unix),
            Self::Datagram => Some(SinkKind::Datagram),
            Self::Pipe => Some(SinkKind::Pipe),
        }
    }
}

/// A source or a sink: a descriptor whose type may say what it is.
///
/// For a type of your own, `impl Endpoint for MySocket {}` is enough; or pass `my_socket.as_fd()`.
pub trait Endpoint: AsFd {
    /// What the type says.
    fn hint(&self) -> Hint {
        Hint::Unknown
    }
}

macro_rules! endpoints {
    ($($hint:ident: $($kind:ty),*;)*) => {
        $($(impl Endpoint for $kind {
            fn hint(&self) -> Hint {
                Hint::$hint
            }
        })*)*
    };
}
endpoints! {
    File: File;
    Tcp: TcpStream;
    Unix: UnixStream;
    Datagram: UdpSocket, UnixDatagram;
    Pipe: std::io::PipeReader, std::io::PipeWriter, ChildStdin, ChildStdout, ChildStderr;
    Unknown: OwnedFd, BorrowedFd<'_>, std::io::Stdin, std::io::Stdout, std::io::Stderr;
}

#[cfg(feature = "mio")]
endpoints! {
    Tcp: mio::net::TcpStream;
    Unix: mio::net::UnixStream;
    Datagram: mio::net::UdpSocket, mio::net::UnixDatagram;
    Pipe: mio::unix::pipe::Sender, mio::unix::pipe::Receiver;
}

macro_rules! pointers {
    ($($kind:ty),*) => {
        $(impl<T: Endpoint + ?Sized> Endpoint for $kind
        where
            Self: AsFd,
        {
            fn hint(&self) -> Hint {
                (**self).hint()
            }
        })*
    };
}
pointers!(&'_ T, &'_ mut T, Box<T>, Rc<T>, Arc<T>);
