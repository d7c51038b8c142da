//! Completions of `MSG_ZEROCOPY` from a socket's error queue.
//!
//! Any other entry in the queue is `EBADMSG`: each entry must be one whole completion.

use crate::lab::io;
use nocopy_msg_zerocopy::{Completion, Message, MsgFlags, messages, recv_error_queue};
use std::fmt;
use std::os::fd::AsFd;
use syscalls::Errno;

/// Completions as they were read: a list of ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completions(pub Vec<Completion>);

impl Completions {
    /// Reads completions until they cover `sends`, and sleeps in `poll` between reads.
    pub fn wait(socket: &impl AsFd, sends: u64) -> Result<Self, Errno> {
        let mut completions = Self::default();
        completions.read_until(socket, sends)?;
        Ok(completions)
    }

    /// Reads more completions until they cover `sends` in all.
    pub fn read_until(&mut self, socket: &impl AsFd, sends: u64) -> Result<(), Errno> {
        while self.count() < sends {
            self.read_next(socket, sends)?;
        }
        Ok(())
    }

    /// Reads the next range of completions of `sends` in all, which may cover many of them.
    pub fn read_next(&mut self, socket: &impl AsFd, sends: u64) -> Result<(), Errno> {
        loop {
            match self.read_one(socket) {
                Err(Errno::EAGAIN) => io::wait_for_error_queue(socket.as_fd())?,
                // More sends are complete than were made: these are not our completions.
                Ok(()) if self.count() > sends => return Err(Errno::EBADMSG),
                done => return done,
            }
        }
    }

    /// Reads all completions that are in the queue now.
    pub fn now(socket: &impl AsFd) -> Result<Self, Errno> {
        let mut completions = Self::default();
        completions.read_now(socket)?;
        Ok(completions)
    }

    /// Reads all further completions that are in the queue now.
    pub fn read_now(&mut self, socket: &impl AsFd) -> Result<(), Errno> {
        loop {
            match self.read_one(socket) {
                Err(Errno::EAGAIN) => return Ok(()),
                done => done?,
            }
        }
    }

    fn read_one(&mut self, socket: &impl AsFd) -> Result<(), Errno> {
        let mut control = [0; 256];
        let received = io::again(|| recv_error_queue(socket.as_fd(), &mut control))?;
        let mut found = messages(&control[..received.control_len]);
        match (found.next(), found.next()) {
            (Some(Ok(Message::Completion(completion))), None)
                if received.flags.contains(MsgFlags::ERRQUEUE) && !received.flags.contains(MsgFlags::CTRUNC) =>
            {
                self.0.push(completion);
                Ok(())
            }
            _ => Err(Errno::EBADMSG),
        }
    }

    /// The number of sends that the ranges cover.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|completion| completion.count()).sum()
    }

    /// The first and the last id of the ranges. The ranges may be split in any way.
    pub fn ids(&self) -> String {
        let first = self.0.iter().map(|range| range.lo).min();
        let last = self.0.iter().map(|range| range.hi).max();
        first.zip(last).map_or_else(|| "none".to_owned(), |(first, last)| format!("{first} to {last}"))
    }

    /// The ranges as they were read, `[0, 1], [2, 2]`, whether they are marked as copied or not.
    pub fn ranges(&self) -> String {
        let ranges: Vec<String> = self.0.iter().map(|range| format!("[{}, {}]", range.lo, range.hi)).collect();
        if ranges.is_empty() { "none".to_owned() } else { ranges.join(", ") }
    }

    /// The number of sends in ranges that are marked as copied.
    pub fn copied(&self) -> u64 {
        self.0.iter().filter(|completion| completion.copied).map(|completion| completion.count()).sum()
    }
}

impl fmt::Display for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, completion) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let copied = if completion.copied { " copied" } else { " not copied" };
            write!(f, "{separator}[{}, {}]{copied}", completion.lo, completion.hi)?;
        }
        Ok(())
    }
}
