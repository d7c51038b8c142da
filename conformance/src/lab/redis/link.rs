//! One connection to a replica: it receives commands and sends answers, and never blocks.

#![forbid(unsafe_code)]

use crate::lab::redis::resp;
use crate::lab::redis::resp::Next;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

/// The size of one read.
const PIECE: usize = 16 << 10;
/// The limit for unread input: a command, with the bytes before it, is shorter.
const MOST: usize = 1 << 20;

/// A connection with its unread input and unsent output.
#[derive(Debug)]
pub struct Link {
    socket: Rc<TcpStream>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
}

impl Link {
    /// Takes a connected socket and makes it non-blocking.
    pub fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket: Rc::new(socket),
            incoming: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
        })
    }

    /// The socket, for sending.
    pub fn socket(&self) -> Rc<TcpStream> {
        Rc::clone(&self.socket)
    }

    /// Reads up to one piece of the available bytes. Returns false at the end of the stream.
    pub fn read(&mut self) -> io::Result<bool> {
        let mut piece = [0; PIECE];
        if self.incoming.len() > MOST {
            return Err(io::Error::other("a command does not end"));
        }
        match (&*self.socket).read(&mut piece) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.incoming.extend_from_slice(&piece[..count]);
                Ok(true)
            }
            Err(error) if is_later(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The next complete command.
    pub fn command(&mut self) -> Result<Option<Vec<Vec<u8>>>, resp::Bad> {
        loop {
            let (command, length) = match resp::next(&self.incoming)? {
                Next::Unfinished => return Ok(None),
                Next::Nothing(length) => (None, length),
                Next::Command(command, length) => (Some(command), length),
            };
            self.incoming.drain(..length);
            if command.is_some() {
                return Ok(command);
            }
        }
    }

    /// The received bytes that [`Link::command`] has not consumed: an answer, if they are not a command.
    pub fn came(&self) -> &[u8] {
        &self.incoming
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
