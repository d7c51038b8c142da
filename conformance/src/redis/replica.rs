//! A replica, as its master sees it: its reports, the events that it waits for, and its end.

#![forbid(unsafe_code)]

use super::rdb::{self, Server as Version};
use crate::lab::redis::link::Link;
use crate::routes::carrier::Notified;
use crate::routes::{Ended, State, Transfer, Wait};
use rustix::rand::GetRandomFlags;
use serde::Serialize;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Instant;

/// The result for a replica that got the file, or did not.
#[derive(Clone, Debug, Serialize)]
pub struct Served {
    /// Its address.
    pub peer: String,
    /// Whether it sent a command of a replica (`REPLCONF`, `PSYNC`, `SYNC`).
    pub is_replica: bool,
    /// Bytes of the file that its socket has taken.
    pub bytes: u64,
    /// The number of steps for them. Each step is one or two calls.
    pub steps: u64,
    /// Seconds from the announcement to the last byte.
    pub seconds: f64,
    /// `MSG_ZEROCOPY` sends.
    pub sends: u64,
    /// Sends that were copied after all.
    pub copied: u64,
    /// Sends without the flag, because not even one could be pinned.
    pub unpinned: u64,
    /// The number of bytes after the file that it has acknowledged.
    pub acknowledged: Option<u64>,
    /// The error, if there was one.
    pub error: Option<String>,
}

/// The phase of a replica.
pub enum Phase {
    /// It has connected, and sends its greeting.
    Greeting,
    /// It is asked, over another connection, for its version, which decides what it can load.
    Asked(Link, Instant),
    /// It waits until this time for the file.
    Delayed(Instant),
    /// It gets the file. The transfer may wait for an event.
    Sending(Box<Transfer<Rc<File>, Rc<TcpStream>>>, Option<Wait>),
    /// It has the file, and gets the commands.
    Streaming,
    /// Nothing more is sent, and it is to close the connection.
    Ending,
}

/// The properties that a replica reports.
pub struct Said {
    /// The port on which it listens.
    pub port: Option<u16>,
    pub version: Option<Version>,
    /// `redis-cli --rdb`, which stores the file and does not load it.
    pub stores_only: bool,
    pub knows_mark: bool,
}

pub struct Replica {
    pub link: Link,
    pub peer: SocketAddr,
    pub phase: Phase,
    pub said: Said,
    pub is_known: bool,
    /// Whether it acknowledges what it gets.
    pub acknowledges: bool,
    pub mark: String,
    /// The number of bytes of the commands that were sent.
    pub passed: usize,
    pub is_done: bool,
    pub heard: Instant,
    pub began: Instant,
    pub served: Served,
}

/// How a connection ends.
pub enum End {
    /// The replica closed it, and nothing is missing.
    Orderly,
    /// There was an error, with this message.
    Wrong(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Wrong(error.to_string())
    }
}

impl Said {
    /// Notes a property from `REPLCONF`.
    pub fn note(&mut self, name: &[u8], value: &[u8]) {
        let value = String::from_utf8_lossy(value);
        match name.to_ascii_lowercase().as_slice() {
            b"listening-port" => self.port = value.parse().ok(),
            b"capa" => self.knows_mark |= value == "eof",
            b"rdb-only" => self.stores_only = value == "1",
            // Valkey sends this; Redis does not.
            b"version" => {
                let version = rdb::version(&value);
                let program = rdb::Format::Valkey;
                self.version = version.map(|version| Version { program, version });
            }
            _ => {}
        }
    }
}

impl Replica {
    /// A replica that has connected. With `is_known`, it does not need a password.
    pub fn new(
        link: Link,
        peer: SocketAddr,
        version: Option<Version>,
        is_known: bool,
    ) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            link,
            peer,
            phase: Phase::Greeting,
            said: Said {
                port: None,
                version,
                stores_only: false,
                knows_mark: false,
            },
            is_known,
            acknowledges: false,
            mark: identity()?,
            passed: 0,
            is_done: false,
            heard: now,
            began: now,
            served: Served {
                peer: peer.to_string(),
                is_replica: false,
                bytes: 0,
                steps: 0,
                seconds: 0.0,
                sends: 0,
                copied: 0,
                unpinned: 0,
                acknowledged: None,
                error: None,
            },
        })
    }

    /// Notes that the replica has acknowledged this offset.
    pub fn acknowledge(&mut self, offset: Option<u64>) {
        if matches!(self.phase, Phase::Streaming | Phase::Ending) {
            self.served.acknowledged = offset;
        }
    }

    /// Whether it has acknowledged this many bytes after the file.
    pub fn has_all(&self, commands: usize) -> bool {
        let acknowledged = self.served.acknowledged;
        acknowledged.is_some_and(|offset| offset >= commands as u64)
    }

    /// The transfer has ended: all bytes of the file are in the socket, or there was an error.
    pub fn finish(&mut self) -> Result<(), End> {
        let Phase::Sending(transfer, _) = std::mem::replace(&mut self.phase, Phase::Streaming)
        else {
            return Ok(());
        };
        let outcome = transfer.outcome();
        self.note(outcome.notified);
        match (outcome.ended, outcome.shrank_to) {
            (Ended::Complete, None) => {}
            (Ended::Complete, Some(size)) => {
                return Err(End::Wrong(format!(
                    "the file was truncated to {size} bytes while it was sent: the replica may have other bytes"
                )));
            }
            (Ended::SourceEnded, _) => {
                return Err(End::Wrong(format!(
                    "the file was truncated while it was sent: {} announced bytes are missing",
                    outcome.bytes
                )));
            }
            (Ended::Failed(call, errno), _) => {
                return Err(End::Wrong(format!(
                    "{} after {} bytes: {errno:?}",
                    call.name(),
                    outcome.bytes
                )));
            }
            (ended, _) => return Err(End::Wrong(format!("it ended early: {ended:?}"))),
        }
        let mark = std::mem::take(&mut self.mark);
        self.link.say(mark.as_bytes());
        self.heard = Instant::now();
        self.link.flush()?;
        Ok(())
    }

    /// The replica sends nothing more. A replica that has the whole file may close the connection before the kernel has reported all
    /// completions. The kernel reports those when it drops the data of the connection.
    pub fn hang_up(&mut self, length: u64) -> Result<(), End> {
        let Phase::Sending(transfer, _) = &mut self.phase else {
            return Ok(());
        };
        // A mark would still have to follow the file.
        if transfer.taken() < length || !self.mark.is_empty() {
            return Ok(());
        }
        if transfer.advance(0) == State::Ended {
            return self.finish();
        }
        let notified = transfer.notified();
        self.note(notified);
        self.phase = Phase::Streaming;
        Ok(())
    }

    /// Nothing more is sent. Notes the bytes that were sent until now.
    pub fn stop(&mut self) {
        if let Phase::Sending(transfer, _) = &self.phase {
            let notified = transfer.notified();
            self.note(notified);
        }
    }

    /// Notes the duration, and the kernel's reports.
    pub fn note(&mut self, notified: Option<Notified>) {
        self.served.seconds = self.began.elapsed().as_secs_f64();
        if let Some(notified) = notified {
            self.served.sends = notified.sends;
            self.served.copied = notified.copied;
            self.served.unpinned = notified.unpinned;
        }
    }

    /// The connection has ended in this way. Returns whether that is an error.
    pub fn closed(&self, how: &str) -> End {
        match self.phase {
            Phase::Greeting | Phase::Streaming | Phase::Ending => End::Orderly,
            Phase::Sending(..) => End::Wrong(format!("{how} after {} bytes", self.served.bytes)),
            Phase::Asked(..) | Phase::Delayed(_) => {
                End::Wrong(format!("{how} before it got the file"))
            }
        }
    }
}

/// 40 random hexadecimal digits. They are not read from a file, because all descriptors may be in use.
pub fn identity() -> io::Result<String> {
    let mut bytes = [0; 20];
    let mut got = 0;
    while got < bytes.len() {
        got += rustix::rand::getrandom(&mut bytes[got..], GetRandomFlags::empty())?;
    }
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    Ok(digits.collect())
}
