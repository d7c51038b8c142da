//! A replica as its master knows it: what it has said of itself, what it waits for, and how it ends.

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

/// What is known of a replica that got the file, or did not.
#[derive(Clone, Debug, Serialize)]
pub struct Served {
    /// Its address.
    pub peer: String,
    /// Whether it has said that it is a replica (`REPLCONF`, `PSYNC`, `SYNC`).
    pub is_replica: bool,
    /// Bytes of the file that its socket has taken.
    pub bytes: u64,
    /// How often a call or two were made for them.
    pub steps: u64,
    /// Seconds from the announcement to the last byte.
    pub seconds: f64,
    /// `MSG_ZEROCOPY` sends.
    pub sends: u64,
    /// Those that were copied after all.
    pub copied: u64,
    /// Sends without the flag, where not even one could be pinned.
    pub unpinned: u64,
    /// What it has said that it has, behind the file.
    pub acknowledged: Option<u64>,
    /// What went wrong, if anything.
    pub error: Option<String>,
}

/// What a replica waits for.
pub enum Phase {
    /// It says who it is.
    Greeting,
    /// It is asked, over another connection, what it can load.
    Asked(Link, Instant),
    /// It waits for the file until then.
    Delayed(Instant),
    /// It gets the file, and what that waits for.
    Sending(Box<Transfer<Rc<File>, Rc<TcpStream>>>, Option<Wait>),
    /// It has the file, and gets the commands.
    Streaming,
    /// Nothing more is sent, and it is to end.
    Ending,
}

/// What a replica says of itself.
pub struct Said {
    /// Where it listens.
    pub port: Option<u16>,
    pub version: Option<Version>,
    /// `redis-cli --rdb`, which stores the file and loads nothing.
    pub stores_only: bool,
    pub knows_mark: bool,
}

pub struct Replica {
    pub link: Link,
    pub peer: SocketAddr,
    pub phase: Phase,
    pub said: Said,
    pub is_known: bool,
    /// Whether it says what it has got.
    pub acknowledges: bool,
    pub mark: String,
    /// Bytes of the commands that were said.
    pub passed: usize,
    pub is_done: bool,
    pub heard: Instant,
    pub began: Instant,
    pub served: Served,
}

/// Who ends a connection.
pub enum End {
    /// The replica, and nothing is missing.
    Orderly,
    /// Something is wrong, in a sentence.
    Wrong(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Wrong(error.to_string())
    }
}

impl Said {
    /// What `REPLCONF` says.
    pub fn note(&mut self, name: &[u8], value: &[u8]) {
        let value = String::from_utf8_lossy(value);
        match name.to_ascii_lowercase().as_slice() {
            b"listening-port" => self.port = value.parse().ok(),
            b"capa" => self.knows_mark |= value == "eof",
            b"rdb-only" => self.stores_only = value == "1",
            // Valkey says this, and Redis nothing.
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
    /// One that has connected. `is_known` if it need not say a password.
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

    /// It says that it has got so much.
    pub fn acknowledge(&mut self, offset: Option<u64>) {
        if matches!(self.phase, Phase::Streaming | Phase::Ending) {
            self.served.acknowledged = offset;
        }
    }

    /// Whether it has said that it has so many bytes behind the file.
    pub fn has_all(&self, commands: usize) -> bool {
        let acknowledged = self.served.acknowledged;
        acknowledged.is_some_and(|offset| offset >= commands as u64)
    }

    /// The file is with the socket, or is not to be.
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
                    "the file was cut off to {size} bytes while it was sent: what the replica has may not be what it was"
                )));
            }
            (Ended::SourceEnded, _) => {
                return Err(End::Wrong(format!(
                    "the file was cut off while it was sent: {} bytes were announced that are not there",
                    outcome.bytes
                )));
            }
            (Ended::Failed(call, errno), _) => {
                return Err(End::Wrong(format!(
                    "{} behind {} bytes: {errno:?}",
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

    /// It sends nothing more. Whoever has the whole file may go before the kernel has said that it is done with it, which it does
    /// when it has dropped what was for the connection.
    pub fn hang_up(&mut self, length: u64) -> Result<(), End> {
        let Phase::Sending(transfer, _) = &mut self.phase else {
            return Ok(());
        };
        // A mark would still have to follow.
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

    /// Nothing more is sent: what was sent until now is noted.
    pub fn stop(&mut self) {
        if let Phase::Sending(transfer, _) = &self.phase {
            let notified = transfer.notified();
            self.note(notified);
        }
    }

    /// How long it took, and what the kernel has said of it.
    pub fn note(&mut self, notified: Option<Notified>) {
        self.served.seconds = self.began.elapsed().as_secs_f64();
        if let Some(notified) = notified {
            self.served.sends = notified.sends;
            self.served.copied = notified.copied;
            self.served.unpinned = notified.unpinned;
        }
    }

    /// The connection has ended, in this way: whether it may.
    pub fn closed(&self, how: &str) -> End {
        match self.phase {
            Phase::Greeting | Phase::Streaming | Phase::Ending => End::Orderly,
            Phase::Sending(..) => End::Wrong(format!("{how} behind {} bytes", self.served.bytes)),
            Phase::Asked(..) | Phase::Delayed(_) => {
                End::Wrong(format!("{how} before it got the file"))
            }
        }
    }
}

/// 40 hexadecimal digits that nobody else has. Without a file, of which there may be too many.
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
