//! One connection to a replica: it receives bytes and sends bytes, and never blocks.

#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

/// The size of one read.
const PIECE: usize = 16 << 10;

/// A connection with its unsent output.
#[derive(Debug)]
pub struct Link {
    socket: Rc<TcpStream>,
    outgoing: Vec<u8>,
    sent: usize,
}

impl Link {
    /// Takes a connected socket and makes it non-blocking.
    pub fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(Self { socket: Rc::new(socket), outgoing: Vec::new(), sent: 0 })
    }

    /// The socket, for sending.
    pub fn socket(&self) -> Rc<TcpStream> {
        Rc::clone(&self.socket)
    }

    /// Reads up to one piece of the available bytes, which may be none. Returns `None` at the end of the stream.
    pub fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let mut piece = vec![0; PIECE];
        match (&*self.socket).read(&mut piece) {
            Ok(0) => Ok(None),
            Ok(count) => {
                piece.truncate(count);
                Ok(Some(piece))
            }
            Err(error) if is_later(&error) => Ok(Some(Vec::new())),
            Err(error) => Err(error),
        }
    }

    /// Appends these bytes to the output.
    pub fn say(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    /// Whether the whole output has been sent.
    pub fn is_flushed(&self) -> bool {
        self.sent == self.outgoing.len()
    }

    /// The number of bytes of output that have not been sent.
    pub fn waiting(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// Sends as much as the socket takes. Returns the number of bytes.
    pub fn flush(&mut self) -> io::Result<usize> {
        let before = self.sent;
        while !self.is_flushed() {
            match (&*self.socket).write(&self.outgoing[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        let sent = self.sent - before;
        if self.is_flushed() {
            self.outgoing.clear();
            self.sent = 0;
        }
        Ok(sent)
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
