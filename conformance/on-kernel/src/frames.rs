//! The channel between host and guest: length-framed records with a checksum, over a port that has no other user.
//!
//! A record is `kind` (one byte), length (u32, little endian), CRC-32 of the payload, payload. The console is another port, so
//! kernel messages cannot get in between. The checksum detects any other bytes.
//!
//! A guest with a virtio port hears, too. Records about one of several commands begin with its number (u32, little endian).

#![forbid(unsafe_code)]

use std::io::{self, Write};

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The guest is up; the payload is `uname -r`.
    Hello,
    /// Standard output of the command in the guest.
    Output,
    /// Standard error of the command in the guest.
    Error,
    /// The end marker: how the guest ended ([`End`]).
    End,
    /// Of a numbered command: standard output.
    OutputOf,
    /// Of a numbered command: standard error.
    ErrorOf,
    /// Of a numbered command: so many bytes of its input were taken (u32).
    TookOf,
    /// Of a numbered command: its exit status (i32), 128 + n for signal n.
    ExitOf,
    /// Of a numbered command: why it could not be started.
    FailureOf,
    /// To the guest: a part of a file ([`Part`], then its bytes).
    File,
    /// To the guest, of a numbered command: start it ([`Start`](crate::job::Start)).
    StartOf,
    /// To the guest, of a numbered command: bytes for its input; none is the end.
    InputOf,
    /// To the guest, of a numbered command: kill its process group.
    KillOf,
    /// To the guest: end, when no command runs.
    Quit,
    /// To the guest: the end marker has come.
    Heard,
}

impl Kind {
    /// Whether only the host sends it.
    pub fn is_to_guest(self) -> bool {
        matches!(
            self,
            Self::File | Self::StartOf | Self::InputOf | Self::KillOf | Self::Quit | Self::Heard
        )
    }
}

/// Those of a session are no text, so that what is written into the port by mistake is not one of them.
const KINDS: [(u8, Kind); 15] = [
    (b'H', Kind::Hello),
    (b'O', Kind::Output),
    (b'E', Kind::Error),
    (b'Z', Kind::End),
    (0x81, Kind::OutputOf),
    (0x82, Kind::ErrorOf),
    (0x83, Kind::TookOf),
    (0x84, Kind::ExitOf),
    (0x85, Kind::FailureOf),
    (0x86, Kind::File),
    (0x87, Kind::StartOf),
    (0x88, Kind::InputOf),
    (0x89, Kind::KillOf),
    (0x8a, Kind::Quit),
    (0x8b, Kind::Heard),
];

/// The head of a part of a file. It is followed by a zero and the bytes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// The path in the guest.
    pub path: String,
    /// The permissions.
    pub mode: u32,
    /// Whether this part begins the file.
    pub is_first: bool,
    /// Whether this part ends it. Until then the guest has the old file, or none, at the path.
    pub is_last: bool,
}

/// The number of a command and the rest of a payload.
pub fn numbered(payload: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = payload.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

/// A payload about a command.
pub fn of(number: u32, rest: &[u8]) -> Vec<u8> {
    [&number.to_le_bytes(), rest].concat()
}

/// The payload of the end marker.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct End {
    /// The number of records before it.
    pub records: u64,
    /// The exit status of the command, 128 + n for signal n.
    pub status: i32,
    /// `/proc/sys/kernel/tainted`.
    pub tainted: u64,
    /// Lines of the kernel's log that report a bug.
    pub complaints: Vec<String>,
    /// The part of the job that the guest could not do, so that it ran nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

const HEADER: usize = 9;
/// The longest payload. A larger length means that the record is damaged.
const LONGEST: usize = 1 << 20;
/// The most bytes of a file in one record.
pub const PIECE: usize = LONGEST - (64 << 10);

/// Writes one record.
pub fn write(output: &mut impl Write, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let (letter, _) = KINDS
        .iter()
        .find(|(_, known)| *known == kind)
        .expect("every kind has a letter");
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut record = Vec::with_capacity(HEADER + payload.len());
    record.push(*letter);
    record.extend(length.to_le_bytes());
    record.extend(crc32fast::hash(payload).to_le_bytes());
    record.extend(payload);
    output.write_all(&record)
}

/// Takes records from a growing byte stream.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    /// Where the next record begins.
    start: usize,
    taken: u64,
}

impl Reader {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The number of records taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether there are bytes left that are not a whole record yet.
    pub fn is_cut(&self) -> bool {
        self.start < self.bytes.len()
    }

    /// The next whole record, if there is one.
    ///
    /// # Errors
    ///
    /// If the bytes are not a record: something else has written to the port.
    pub fn take(&mut self) -> Result<Option<(Kind, Vec<u8>)>, String> {
        let there = &self.bytes[self.start..];
        let Some(header) = there.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let damaged = |what: &str| {
            format!(
                "record {} of the result channel is damaged: {what}",
                self.taken
            )
        };
        let kind = KINDS
            .iter()
            .find(|(letter, _)| *letter == header[0])
            .map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| damaged("unknown kind"))?;
        let number = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let length = usize::try_from(number(1)).map_err(|error| error.to_string())?;
        if length > LONGEST {
            return Err(damaged("too long"));
        }
        let checksum = number(5);
        let Some(payload) = there.get(HEADER..HEADER + length) else {
            return Ok(None);
        };
        if crc32fast::hash(payload) != checksum {
            return Err(damaged("checksum"));
        }
        let payload = payload.to_vec();
        self.start += HEADER + length;
        self.taken += 1;
        Ok(Some((kind, payload)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn records_survive_any_cuts(payloads: Vec<Vec<u8>>, cut: usize) -> bool {
            let mut stream = Vec::new();
            for payload in &payloads {
                write(&mut stream, Kind::Output, payload).expect("a vector takes all");
            }
            let mut reader = Reader::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut % 7 + 1) {
                reader.push(piece);
                while let Some((Kind::Output, payload)) = reader.take().expect("undamaged") {
                    seen.push(payload);
                }
            }
            seen == payloads && !reader.is_cut()
        }

        fn a_changed_byte_is_noticed(payload: Vec<u8>, at: usize, by: u8) -> bool {
            let mut stream = Vec::new();
            write(&mut stream, Kind::Hello, &payload).expect("a vector takes all");
            let at = at % stream.len();
            stream[at] ^= by.max(1);
            let mut reader = Reader::default();
            reader.push(&stream);
            // An error, an incomplete record, or another kind: never the original record.
            reader.take() != Ok(Some((Kind::Hello, payload)))
        }
    }
}
