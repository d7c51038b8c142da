//! Detects copies: the experiment changes the source after the transfer and looks at the bytes that arrive.
//!
//! If the receiver reads the changed bytes, the transfer moved references to the source's pages and the CPU copied nothing. If it
//! reads the old bytes, they were copied somewhere. This needs no clock, no counter and no privilege.

use crate::interpose::lie::Lie;
use crate::interpose::record::aside;
use crate::lab::sinks::{Kind, Sink};
use crate::lab::{Lab, io, sockets};
use crate::verdict::{Setup, Stop};
use nocopy_mmap::PrivateAnonymous;
use std::fmt;
use std::fs::File;
use std::net::UdpSocket;
use syscalls::{Errno, Sysno};

/// The length of the source: four pages, which fit into every sink's queue.
pub const LENGTH: usize = 4 * 4096;
/// Every byte of the source at the time of the transfer.
pub const OLD: u8 = b'O';
/// Every byte of the source after the change.
pub const NEW: u8 = b'N';

/// Lies that turn a shared result into a copied one, and the reverse.
///
/// The lie about `pread` applies to a sink that is a file. It has no effect where the call only checks a change.
pub const SHARING_LIES: &[Lie] = &[
    Lie::bytes(Sysno::read, NEW, OLD),
    Lie::bytes(Sysno::read, OLD, NEW),
    Lie::bytes(Sysno::pread64, NEW, OLD),
    Lie::bytes(Sysno::pread64, OLD, NEW),
];

/// The bytes that the receiver reads after the source has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// The changed bytes: the receiver was given references.
    Shared,
    /// The old bytes: the receiver was given a copy.
    Copied,
    /// Some of both.
    Mixed,
}

impl Sharing {
    /// Decides by the bytes that arrived.
    pub fn of(bytes: &[u8]) -> Result<Self, Stop> {
        let new = bytes.iter().filter(|byte| **byte == NEW).count();
        let old = bytes.iter().filter(|byte| **byte == OLD).count();
        if new + old != bytes.len() {
            return Err(Stop::broken(format!("{} more bytes arrived than were sent", bytes.len() - new - old)));
        }
        Ok(match (new, old) {
            (_, 0) => Self::Shared,
            (0, _) => Self::Copied,
            _ => Self::Mixed,
        })
    }
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Copied => "copied",
            Self::Mixed => "partly shared",
        })
    }
}

/// A file full of [`OLD`] bytes in the page cache.
pub fn source(lab: &Lab) -> Result<File, Stop> {
    lab.file(&[OLD; LENGTH])
}

/// Anonymous memory of `length` bytes, all [`OLD`].
pub fn memory(length: usize) -> Result<PrivateAnonymous, Stop> {
    let mut memory = PrivateAnonymous::new(length).setup("mmap")?;
    memory.fill(OLD);
    Ok(memory)
}

/// Changes every byte of the file to [`NEW`], and checks that it did.
pub fn change(file: &File) -> Result<(), Stop> {
    overwrite(file, &[NEW; LENGTH])
}

/// Gives the file other bytes, and checks that it has them.
fn overwrite(file: &File, bytes: &[u8]) -> Result<(), Stop> {
    let mut now = vec![0; bytes.len()];
    aside(|| {
        io::pwrite_all(file, bytes, 0).setup("change the file")?;
        io::pread(file, &mut now, 0).setup("read the changed file")
    })?;
    if now == bytes { Ok(()) } else { Err(Stop::broken("the file did not change")) }
}

/// Sends a file into a new sink by `send`, changes the file once all has arrived, and looks at what the receiver reads.
pub fn after_sending(
    lab: &Lab,
    kind: Kind,
    send: impl FnOnce(&File, &Sink) -> Result<u64, Stop>,
) -> Result<Sharing, Stop> {
    let file = source(lab)?;
    let sink = Sink::open(lab, kind)?;
    all_sent(send(&file, &sink)?)?;
    sink.settle(LENGTH)?;
    change(&file)?;
    Sharing::of(&sink.take(LENGTH)?)
}

/// The same over UDP. A datagram that differs from its checksum is not delivered, so the last two bytes keep the sum as it was.
pub fn after_datagram(lab: &Lab, send: impl FnOnce(&File, &UdpSocket) -> Result<u64, Stop>) -> Result<Sharing, Stop> {
    const BODY: usize = LENGTH - 2;
    // The checksum adds words of 16 bits modulo 2^16 - 1.
    const RESTORING: usize = (OLD - NEW) as usize * 0x101 * (BODY / 2) % 0xffff;
    let content = |byte: u8, last: usize| {
        let last = u16::try_from(last).expect("less than the modulus");
        [&[byte; BODY][..], &last.to_be_bytes()].concat()
    };
    let file = lab.file(&content(OLD, 0))?;
    let (near, far) = aside(sockets::udp)?;
    all_sent(send(&file, &near)?)?;
    overwrite(&file, &content(NEW, RESTORING))?;
    let mut bytes = [0; LENGTH];
    let count = io::again(|| io::read(&far, &mut bytes)).setup("read the datagram")?;
    if count != LENGTH {
        return Err(Stop::broken(format!("a datagram of {count} bytes")));
    }
    Sharing::of(&bytes[..BODY])
}

/// Calls `step` with the number of bytes sent so far until all are sent. A short count or an interruption does not end the loop.
pub fn send_all(step: impl FnMut(usize) -> Result<usize, Errno>) -> Result<(), Errno> {
    io::all_done(LENGTH, step)
}

/// An experiment on sharing needs all bytes to be sent; a smaller count is an error.
pub fn all_sent(sent: u64) -> Result<(), Stop> {
    if sent == LENGTH as u64 { Ok(()) } else { Err(Stop::broken(format!("{sent} bytes of {LENGTH} were sent"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_tell() {
        assert_eq!(Sharing::of(b"NNN"), Ok(Sharing::Shared));
        assert_eq!(Sharing::of(b"OOO"), Ok(Sharing::Copied));
        assert_eq!(Sharing::of(b"NNO"), Ok(Sharing::Mixed));
        assert!(matches!(Sharing::of(b"NxO"), Err(Stop::Broken(_))));
    }
}
