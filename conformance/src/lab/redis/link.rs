//! One connection to a replica: commands in, answers out, and nobody waits.

#![forbid(unsafe_code)]

use crate::lab::redis::resp;
use crate::lab::redis::resp::Next;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

/// What is read at a time.
const PIECE: usize = 16 << 10;
/// A command is not longer, with what may be before it.
const MOST: usize = 1 << 20;

/// A connection with what has come and what is to go.
#[derive(Debug)]
pub struct Link {
    socket: Rc<TcpStream>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
}

impl Link {
    /// Of a connected socket, which does not block from now on.
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

    /// The socket, to send by.
    pub fn socket(&self) -> Rc<TcpStream> {
        Rc::clone(&self.socket)
    }

    /// Reads what is there, as far as it is a piece: whether there can be more.
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

    /// The next command that is all there.
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

    /// What has come and is no command: an answer.
    pub fn came(&self) -> &[u8] {
        &self.incoming
    }

    /// Has these bytes sent, behind what is to be sent already.
    pub fn say(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    /// Whether all is sent that was said.
    pub fn is_flushed(&self) -> bool {
        self.sent == self.outgoing.len()
    }

    /// How many bytes were said and are not sent.
    pub fn waiting(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// Sends what the socket takes: how many bytes.
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
