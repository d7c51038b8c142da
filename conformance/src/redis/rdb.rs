//! Files that Redis and Valkey save: the checks before one is sent, and the servers that can load it.
//!
//! A replica drops its data before it loads a file. If the file is damaged, the data is lost, and the replica may end (Redis 7.0
//! does if the checksum is wrong). So everything is checked here that can be checked without reading keys: the header, the mark of
//! the end, and the checksum.

#![forbid(unsafe_code)]

use crc::{CRC_64_REDIS, Crc, Digest, Table};
use std::fmt;
use std::io::{self, Read};

/// The program that wrote the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `REDIS`: Redis, and Valkey up to 8.
    Redis,
    /// `VALKEY`: Valkey since 9.
    Valkey,
}

/// The first nine bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The program that wrote it.
    pub format: Format,
    /// The version of the format.
    pub version: u32,
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.format {
            Format::Redis => write!(f, "REDIS{:04}", self.version),
            Format::Valkey => write!(f, "VALKEY{:03}", self.version),
        }
    }
}

/// The length of a header.
const HEADER: usize = 9;
/// The checksum at the end.
const CHECKSUM: usize = 8;
/// The mark of the end, before it.
const END: u8 = 0xff;
/// Since this version of the format, there is a checksum.
const CHECKED: u32 = 5;

impl Header {
    /// Parses a header from a file's first bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let header = std::str::from_utf8(bytes.get(..HEADER)?).ok()?;
        let number = |digits: &str| {
            let all = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| all)
        };
        let (format, digits) = match header.strip_prefix("REDIS") {
            Some(digits) => (Format::Redis, digits),
            None => (Format::Valkey, header.strip_prefix("VALKEY")?),
        };
        let version = number(digits)?;
        Some(Self { format, version })
    }
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Its header.
    pub header: Header,
    /// Its length in bytes.
    pub length: u64,
    /// Whether it has a checksum. A file that was saved with `rdbchecksum no` has none, and damage to it is not noticed.
    pub has_checksum: bool,
}

/// Why a file is not sent.
#[derive(Debug)]
pub enum Bad {
    /// It does not begin with a header, but with these bytes.
    Header(Vec<u8>),
    /// It is cut off: it has this many bytes, and no mark of the end.
    CutOff(u64),
    /// Its checksum is not that of its bytes.
    Checksum {
        /// The checksum in the file.
        said: u64,
        /// The checksum of its bytes.
        counted: u64,
    },
    /// It cannot be read.
    Unreadable(io::Error),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(bytes) => write!(
                f,
                "not an RDB file: it begins with \"{}\", not with REDIS or VALKEY and a version",
                bytes.escape_ascii()
            ),
            Self::CutOff(length) => {
                write!(f, "truncated: the last of its {length} bytes are not an end mark and a checksum")
            }
            Self::Checksum { said, counted } => {
                write!(f, "damaged or truncated: its checksum is {said:016x}, that of its bytes {counted:016x}")
            }
            Self::Unreadable(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// Reads a file to its end and checks it.
pub fn check(mut file: impl Read) -> Result<Checked, Bad> {
    let mut digest = CRC.digest();
    let mut buffer = vec![0; 1 << 20];
    let mut header = None;
    // The bytes that may be the mark and the checksum are held back until the end of the file is known.
    let mut kept = Vec::new();
    let mut length = 0_u64;
    loop {
        let count = match file.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if count == 0 {
            break;
        }
        length += count as u64;
        kept.extend_from_slice(&buffer[..count]);
        if header.is_none() && kept.len() >= HEADER {
            let first = kept[..HEADER].to_vec();
            header = Some(Header::of(&first).ok_or(Bad::Header(first))?);
        }
        if let Some(known) = kept.len().checked_sub(CHECKSUM + 1)
            && header.is_some()
        {
            digest.update(&kept[..known]);
            kept.drain(..known);
        }
    }
    let header = header.ok_or_else(|| Bad::Header(kept.clone()))?;
    if header.version < CHECKED && header.format == Format::Redis {
        return match kept.last() {
            Some(&END) => Ok(Checked { header, length, has_checksum: false }),
            _ => Err(Bad::CutOff(length)),
        };
    }
    let (mark, checksum) = match kept.split_first() {
        Some((&END, checksum)) if length >= (HEADER + CHECKSUM + 1) as u64 => (END, checksum),
        _ => return Err(Bad::CutOff(length)),
    };
    digest.update(&[mark]);
    let said = u64::from_le_bytes(checksum.try_into().map_err(|_| Bad::CutOff(length))?);
    let counted = digest.finalize();
    if said != 0 && said != counted {
        return Err(Bad::Checksum { said, counted });
    }
    Ok(Checked { header, length, has_checksum: said != 0 })
}

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// A place where the RDB at the beginning of an append-only file may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The offset of the first byte after it.
    pub at: u64,
    /// Whether a checksum proves it. Without one (`rdbchecksum no`) the bytes of a value may look the same.
    pub has_checksum: bool,
}

/// Finds the end of an RDB that other bytes may follow: a mark of the end and then the checksum of all bytes up to it, or zeros
/// instead of a checksum. The keys are not read.
pub struct Ends<R> {
    source: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    is_over: bool,
    /// The offset of the next byte.
    at: u64,
    digest: Digest<'static, u64, Table<16>>,
    has_checksum: bool,
}

impl<R: Read> Ends<R> {
    /// Begins at the start of a file.
    pub fn new(source: R) -> Result<Self, Bad> {
        let mut ends = Self {
            source,
            buffer: vec![0; 1 << 20],
            start: 0,
            end: 0,
            is_over: false,
            at: 0,
            digest: CRC.digest(),
            has_checksum: true,
        };
        ends.fill(HEADER)?;
        let first = &ends.buffer[..ends.end.min(HEADER)];
        let header = Header::of(first).ok_or_else(|| Bad::Header(first.to_vec()))?;
        ends.has_checksum = header.format != Format::Redis || header.version >= CHECKED;
        ends.take(HEADER);
        Ok(ends)
    }

    /// Finds the next place. A place with a checksum is the end, and the caller does not ask for another.
    pub fn find(&mut self) -> Result<Option<End>, Bad> {
        loop {
            let there = &self.buffer[self.start..self.end];
            let Some(mark) = there.iter().position(|byte| *byte == END) else {
                self.take(there.len());
                if self.is_over {
                    return Ok(None);
                }
                self.fill(1)?;
                continue;
            };
            self.take(mark + 1);
            if !self.has_checksum {
                let (at, has_checksum) = (self.at, false);
                return Ok(Some(End { at, has_checksum }));
            }
            let Some(said) = self.said()? else {
                continue;
            };
            let has_checksum = said != 0 && said == self.digest.clone().finalize();
            if has_checksum {
                self.go_to_last_of_equals()?;
            }
            if has_checksum || said == 0 {
                let at = self.at + CHECKSUM as u64;
                return Ok(Some(End { at, has_checksum }));
            }
        }
    }

    /// The eight bytes after the last mark, as a checksum. `None`, if there are fewer.
    fn said(&mut self) -> io::Result<Option<u64>> {
        self.fill(CHECKSUM)?;
        let rest = &self.buffer[self.start..self.end];
        let checksum = rest.first_chunk::<CHECKSUM>();
        Ok(checksum.map(|bytes| u64::from_le_bytes(*bytes)))
    }

    /// After a mark with its checksum, goes to the last mark of those that follow without a byte between them and have theirs.
    ///
    /// A CRC whose lowest byte is the mark is shifted by a byte when it takes another mark. Then both marks are followed by their
    /// checksums, and a zero follows the first checksum. Neither a key nor a command can begin with this zero, so the last mark is
    /// the end.
    fn go_to_last_of_equals(&mut self) -> io::Result<()> {
        loop {
            self.fill(1 + CHECKSUM)?;
            let there = &self.buffer[self.start..self.end];
            let Some([END, said @ ..]) = there.first_chunk::<{ 1 + CHECKSUM }>() else {
                return Ok(());
            };
            let mut digest = self.digest.clone();
            digest.update(&[END]);
            if u64::from_le_bytes(*said) != digest.finalize() {
                return Ok(());
            }
            self.take(1);
        }
    }

    fn take(&mut self, count: usize) {
        self.digest.update(&self.buffer[self.start..self.start + count]);
        self.start += count;
        self.at += count as u64;
    }

    /// Reads until this many bytes are in the buffer, or the file has ended.
    fn fill(&mut self, count: usize) -> io::Result<()> {
        if self.end - self.start >= count {
            return Ok(());
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < count && !self.is_over {
            match self.source.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    let read = read?;
                    self.end += read;
                    self.is_over = read == 0;
                }
            }
        }
        Ok(())
    }
}

/// A server's program and version, as the server reports them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Redis or Valkey.
    pub program: Format,
    /// Its version: major and minor.
    pub version: (u32, u32),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = match self.program {
            Format::Redis => "Redis",
            Format::Valkey => "Valkey",
        };
        write!(f, "{program} {}.{}", self.version.0, self.version.1)
    }
}

/// The newest version of the format that a Redis loads, by the version of that Redis.
const REDIS: &[((u32, u32), u32)] =
    &[((2, 6), 6), ((3, 2), 7), ((4, 0), 8), ((5, 0), 9), ((7, 0), 10), ((7, 2), 11), ((7, 4), 12)];
/// The newest version of the Redis format that a Valkey loads. Redis writes newer ones since 7.4.
const VALKEY_REDIS: u32 = 11;
/// Since this version, Valkey writes a different format.
const VALKEY_OWN: (u32, u32) = (9, 0);

impl Server {
    /// Parses the reply to `INFO server`.
    pub fn of_info(info: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.trim().strip_prefix(name));
            line.and_then(version)
        };
        if let Some(version) = field("valkey_version:") {
            let program = Format::Valkey;
            return Some(Self { program, version });
        }
        let program = Format::Redis;
        field("redis_version:").map(|version| Self { program, version })
    }

    /// Whether it loads a file with this header. A server newer than those known here is taken to load what the newest known one
    /// loads.
    pub fn loads(&self, header: Header) -> bool {
        match (self.program, header.format) {
            (Format::Redis, Format::Redis) => {
                let known = REDIS.iter().rev().find(|(since, _)| *since <= self.version);
                known.is_some_and(|(_, newest)| header.version <= *newest)
            }
            (Format::Redis, Format::Valkey) => false,
            (Format::Valkey, Format::Redis) => header.version <= VALKEY_REDIS,
            (Format::Valkey, Format::Valkey) => self.version >= VALKEY_OWN,
        }
    }
}

/// The first two numbers of a version.
pub fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use quickcheck::quickcheck;

    /// A file that has these bytes in place of keys: the checks here do not read keys.
    pub(crate) fn file(body: &[u8]) -> Vec<u8> {
        let mut bytes = [b"REDIS0010", body, &[END]].concat();
        let sum = Crc::<u64, Table<16>>::new(&CRC_64_REDIS).checksum(&bytes);
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    /// The file that `redis-server` 7.0.15 saved without a key, except for the times in it.
    #[test]
    fn the_checksum_is_that_of_redis() {
        let crc = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);
        // The value in Redis' own test of crc64.c.
        assert_eq!(crc.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    quickcheck! {
        fn a_whole_file_is_good(body: Vec<u8>) -> bool {
            let bytes = file(&body);
            let found = check(&bytes[..]).expect("a file");
            found.length == bytes.len() as u64 && found.has_checksum
        }

        fn a_changed_byte_is_noticed(body: Vec<u8>, at: usize, other: u8) -> bool {
            let mut bytes = file(&body);
            let at = at % bytes.len();
            if bytes[at] == other {
                return true;
            }
            bytes[at] = other;
            // A checksum of zeros means no checksum. One changed byte gives that only in a file that has seven zeros already.
            check(&bytes[..]).is_err() || bytes.ends_with(&[0; 8])
        }

        /// The file may be followed by any bytes. No command begins with a zero.
        fn the_end_of_one_is_found(body: Vec<u8>, rest: Vec<u8>) -> bool {
            if rest.first() == Some(&0) {
                return true;
            }
            let bytes = [file(&body), rest].concat();
            let mut ends = Ends::new(&bytes[..]).expect("a header");
            let end = std::iter::from_fn(|| ends.find().expect("read")).find(|end| end.has_checksum);
            end.is_some_and(|end| end.at == file(&body).len() as u64)
        }

        fn a_file_that_is_cut_off_is_noticed(body: Vec<u8>, at: usize) -> bool {
            let bytes = file(&body);
            let at = at % bytes.len();
            check(&bytes[..at]).is_err()
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |bytes: &[u8]| check(bytes).expect_err("bad").to_string();
        assert!(said(b"").contains("not an RDB file"));
        assert!(said(b"*1\r\n$4\r\nPING\r\n").contains("*1\\r\\n$4\\r"));
        assert!(said(b"REDISx010").contains("not an RDB file"));
        assert!(said(b"REDIS0010").contains("truncated"));
        assert!(said(&file(b"keys")[..20]).contains("truncated"));
        let mut bytes = file(b"keys");
        bytes[10] ^= 1;
        assert!(said(&bytes).contains("damaged"));
    }

    /// The checksum up to the first mark has a mark as its lowest byte.
    #[test]
    fn of_two_marks_with_their_checksums_the_second_is_the_end() {
        let bytes = file(&[154, 229, 1, END]);
        assert!(check(&bytes[..bytes.len() - 1]).expect("a shorter file").has_checksum);
        for rest in [&b""[..], b"*1", &[END; 20]] {
            let all = [&bytes[..], rest].concat();
            let mut ends = Ends::new(&all[..]).expect("a header");
            let found = ends.find().expect("read");
            assert_eq!(found.map(|end| end.at), Some(bytes.len() as u64), "{rest:?}");
        }
    }

    #[test]
    fn one_without_a_checksum_has_none() {
        let mut bytes = file(b"keys");
        let end = bytes.len() - CHECKSUM;
        bytes[end..].fill(0);
        assert!(!check(&bytes[..]).expect("a file").has_checksum);
        let mut ends = Ends::new(&bytes[..]).expect("a header");
        let (at, has_checksum) = (bytes.len() as u64, false);
        assert_eq!(ends.find().expect("read"), Some(End { at, has_checksum }));
        assert_eq!(ends.find().expect("read"), None);
        let mut ends = Ends::new(&b"REDIS0004keys\xff*1"[..]).expect("a header");
        assert_eq!(ends.find().expect("read").map(|end| end.at), Some(14));
    }

    #[test]
    fn who_loads_what() {
        let header = |text: &str| Header::of(text.as_bytes()).expect("a header");
        let server = |info: &str| Server::of_info(info).expect("a server");
        let redis = server("# Server\r\nredis_version:7.0.15\r\n");
        assert_eq!(redis.to_string(), "Redis 7.0");
        assert!(redis.loads(header("REDIS0010")) && !redis.loads(header("REDIS0011")));
        assert!(!redis.loads(header("VALKEY080")));
        let valkey = server("# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n");
        assert!(valkey.loads(header("REDIS0011")) && !valkey.loads(header("REDIS0012")));
        assert!(!valkey.loads(header("VALKEY080")));
        assert!(server("valkey_version:9.1.2").loads(header("VALKEY080")));
        assert!(server("redis_version:8.0.2").loads(header("REDIS0012")));
        assert_eq!(Server::of_info("nonsense"), None);
    }
}
