//! Completions of `MSG_ZEROCOPY` from a socket's error queue.

use crate::lab::io;
use nocopy_msg_zerocopy::{Completion, Message, messages, recv_error_queue};
use std::fmt;
use std::os::fd::AsFd;
use syscalls::Errno;

/// Completions as they were read, range by range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completions(pub Vec<Completion>);

impl Completions {
    /// Reads completions until they cover `sends`, sleeping in `poll` between.
    pub fn wait(socket: &impl AsFd, sends: u64) -> Result<Self, Errno> {
        let mut completions = Self::default();
        completions.read_until(socket, sends)?;
        Ok(completions)
    }

    /// Reads more completions until they cover `sends` in all.
    pub fn read_until(&mut self, socket: &impl AsFd, sends: u64) -> Result<(), Errno> {
        while self.count() < sends {
            match self.read_one(socket) {
                Err(Errno::EAGAIN) => io::wait_for_error_queue(socket.as_fd())?,
                done => done?,
            }
        }
        Ok(())
    }

    /// Reads all that are there now.
    pub fn now(socket: &impl AsFd) -> Result<Self, Errno> {
        let mut completions = Self::default();
        loop {
            match completions.read_one(socket) {
                Err(Errno::EAGAIN) => return Ok(completions),
                done => done?,
            }
        }
    }

    fn read_one(&mut self, socket: &impl AsFd) -> Result<(), Errno> {
        let mut control = [0; 256];
        let received = recv_error_queue(socket.as_fd(), &mut control)?;
        for message in messages(&control[..received.control_len]) {
            if let Ok(Message::Completion(completion)) = message {
                self.0.push(completion);
            }
        }
        Ok(())
    }

    /// How many sends they cover.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|completion| completion.count()).sum()
    }

    /// How many sends are in ranges marked as copied.
    pub fn copied(&self) -> u64 {
        self.0
            .iter()
            .filter(|completion| completion.copied)
            .map(|completion| completion.count())
            .sum()
    }
}

impl fmt::Display for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, completion) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let copied = if completion.copied {
                " copied"
            } else {
                " not copied"
            };
            write!(
                f,
                "{separator}[{}, {}]{copied}",
                completion.lo, completion.hi
            )?;
        }
        Ok(())
    }
}
