//! A replica, as its master sees it: its connections, the transfer of the file, and its result.

#![forbid(unsafe_code)]

use super::dialogue::{Dialogue, End, Output, Terms};
use super::rdb::Server as Version;
use crate::lab::redis::link::Link;
use nocopy_transfer::Notified;
use nocopy_transfer::{Ended, State, Transfer, Wait};
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

/// The transfer of the file, and the event that it waits for.
pub type Sending = (Box<Transfer<Rc<File>, Rc<TcpStream>>>, Option<Wait>);

pub struct Replica {
    pub link: Link,
    pub peer: SocketAddr,
    pub dialogue: Dialogue,
    /// The connection that asks it for its version, in the phase `Asked`.
    pub asked: Option<Link>,
    /// In the phase `Sending`.
    pub sending: Option<Sending>,
    pub began: Instant,
    pub served: Served,
}

impl Replica {
    /// A replica that has connected.
    pub fn new(link: Link, peer: SocketAddr, terms: &Terms, version: Option<Version>) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            link,
            peer,
            dialogue: Dialogue::new(terms, version, identity()?, now),
            asked: None,
            sending: None,
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

    /// The transfer has ended: all bytes of the file are in the socket, or there was an error.
    pub fn finish(&mut self) -> Result<(), End> {
        let Some((transfer, _)) = self.sending.take() else {
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
                return Err(End::Wrong(format!("{} after {} bytes: {errno:?}", call.name(), outcome.bytes)));
            }
            (ended, _) => return Err(End::Wrong(format!("it ended early: {ended:?}"))),
        }
        self.sent()
    }

    /// The replica sends nothing more. A replica that has the whole file may close the connection before the kernel has reported all
    /// completions. The kernel reports those when it drops the data of the connection.
    pub fn hang_up(&mut self, length: u64) -> Result<(), End> {
        let Some((transfer, _)) = &mut self.sending else {
            return Ok(());
        };
        // A mark would still have to follow the file.
        if transfer.taken() < length || self.dialogue.has_mark() {
            return Ok(());
        }
        if transfer.advance(0) == State::Ended {
            return self.finish();
        }
        let notified = transfer.notified();
        self.note(notified);
        self.sending = None;
        self.sent()
    }

    /// The socket has taken the whole file.
    fn sent(&mut self) -> Result<(), End> {
        let mut out = Output::default();
        self.dialogue.sent(Instant::now(), &mut out);
        self.link.say(&out.bytes);
        self.link.flush()?;
        Ok(())
    }

    /// Nothing more is sent. Notes what the replica has got until now.
    pub fn stop(&mut self) {
        if let Some((transfer, _)) = &self.sending {
            let notified = transfer.notified();
            self.note(notified);
        }
        self.served.is_replica = self.dialogue.is_replica();
        self.served.acknowledged = self.dialogue.acknowledged();
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
}

/// 40 random hexadecimal digits. They are not read from a file, because all descriptors may be in use.
pub fn identity() -> io::Result<String> {
    let mut bytes = [0; 20];
    let mut got = 0;
    while got < bytes.len() {
        got += rustix::rand::getrandom(&mut bytes[got..], GetRandomFlags::empty())?;
    }
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    Ok(digits.collect())
}
