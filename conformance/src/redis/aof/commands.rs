//! The grammar of an append-only file's commands, as a server reads the file at its start.
//!
//! It differs from the protocol of a connection. Redis 7.0.15 and Valkey 9.1.2 were started with each of these cases, and agree:
//!
//! - A line starts with `*` (a command) or `#` (an annotation, skipped). Anything else stops the server: an inline command, an empty
//!   line, `*0`, a NUL.
//! - A line is read with `fgets` into 1024 bytes. A line of 1023 bytes or more without a newline ends there, and the rest is a
//!   separate line. The last annotation needs no newline.
//! - Numbers are read with `atoi` and `strtol`. These accept spaces, a sign, a count that wraps at 2³², and anything after the
//!   digits. A negative length ends the process.
//! - The two bytes after an argument are skipped without a check.
//! - The name of a command is looked up without regard to case, with its subcommand if it has any. An unknown name stops the server.
//!   Valkey also checks the number of arguments; Redis calls the command without a check and reads past its arguments.
//! - In a transaction, every command except `EXEC` is queued. `MULTI` inside and `EXEC` outside are harmless errors. `DISCARD` and
//!   `RESET` inside end the process at the `EXEC`. The server drops a transaction that is open at the end of the file.
//! - `WAIT`, `PSYNC`, `SYNC`, `SHUTDOWN` and `DEBUG` can end the process or block it. No server writes them to a file.
//! - An error reply of a command (wrong type, `SELECT` of a database that does not exist) changes nothing and does not stop the
//!   server.
//!
//! `redis-check-aof` is stricter in some of these.

#![forbid(unsafe_code)]

use crate::redis::rdb::Header;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::LazyLock;

/// The longest line: the part that `fgets` puts into the loader's buffer.
const LINE: usize = 1023;
/// The number of bytes of one read.
const PIECE: usize = 256 << 10;
/// The number of bytes that are kept of an argument; no name is longer.
const KEPT: usize = 64;
/// Commands that no server writes to its file, and that can end or block a server that loads them.
const DEADLY: &[&[u8]] = &[b"wait", b"psync", b"sync", b"shutdown", b"debug"];

/// The commands that are allowed in a file.
#[derive(Clone, Copy, Debug)]
pub enum Names<'a> {
    /// Those that both Redis 7.0 and Valkey 9.1 know, with a number of arguments that both accept; and these names, with any number.
    Known(&'a [String]),
    /// Any command, because a server has written the file.
    Any,
}

/// A command of the list.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The number of arguments including the name; a negative number is a minimum.
    arity: i64,
    /// Whether Redis 7.0 also knows it.
    is_redis: bool,
    has_subcommands: bool,
}

static KNOWN: LazyLock<HashMap<&'static [u8], Known>> = LazyLock::new(|| {
    let mut known = HashMap::new();
    for (name, arity, is_redis) in list() {
        if let Some((container, _)) = name.split_once('|')
            && let Some(container) = known.get_mut(container.as_bytes())
        {
            let container: &mut Known = container;
            container.has_subcommands = true;
        }
        let command = Known { arity, is_redis, has_subcommands: false };
        known.insert(name.as_bytes(), command);
    }
    known
});

/// The known commands: the name (`config|get`), the number of arguments (a negative number is a minimum), and whether Redis 7.0
/// knows the command. Valkey 9.1 knows all of them.
pub fn list() -> impl Iterator<Item = (&'static str, i64, bool)> {
    let lines = include_str!("commands.txt").lines();
    lines.filter_map(|line| {
        let mut words = line.split(' ');
        let name = words.next().filter(|name| *name != "#")?;
        let arity = words.next()?.parse().ok()?;
        Some((name, arity, words.next().is_none()))
    })
}

/// An error, and its place.
#[derive(Debug)]
pub struct Bad {
    /// The offset in the file.
    pub at: u64,
    /// The error.
    pub why: Why,
}

/// An error.
#[derive(Debug)]
pub enum Why {
    /// The file ends within a command.
    Truncated {
        /// The number of its bytes in the file.
        left: u64,
    },
    /// A line starts with this byte.
    Line(u8),
    /// A line starts with the header of an RDB file.
    Rdb(Header),
    /// A command has this number of arguments.
    Arguments(i32),
    /// This byte stands in place of the length of an argument.
    NoLength(u8),
    /// An argument has this length.
    Length(i64),
    /// No server on the list knows this command.
    Unknown(String),
    /// Valkey 9.1 knows this command, but Redis 7.0 does not.
    OnlyValkey(String),
    /// The command takes another number of arguments.
    Arity {
        /// Its name.
        name: String,
        /// The number in the file, including the name.
        found: i32,
    },
    /// The command can end or block the server that loads it.
    Deadly(String),
    /// The command ends the server if it is queued in a transaction.
    Queued(String),
    /// The file cannot be read.
    Io(io::Error),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match &self.why {
            Why::Truncated { left } => {
                write!(f, "truncated command at offset {at} ({left} trailing bytes)")
            }
            Why::Line(byte) => {
                write!(f, "offset {at}: \"{}\" starts neither a command (*) nor an annotation (#)", byte.escape_ascii())
            }
            Why::Rdb(header) => write!(
                f,
                "offset {at}: an RDB file ({header}) starts here. Only the base of an append-only file may start with one: \
                 pass it to `aof build --rdb`"
            ),
            Why::Arguments(count) => write!(f, "offset {at}: a command of {count} arguments"),
            Why::NoLength(byte) => {
                write!(f, "offset {at}: \"{}\" where the length of an argument ($) is expected", byte.escape_ascii())
            }
            Why::Length(length) => write!(f, "offset {at}: an argument of {length} bytes"),
            Why::Unknown(name) => write!(
                f,
                "offset {at}: command \"{name}\" is not known to Redis 7.0 and Valkey 9.1, and a server refuses the whole file for \
                 one that it does not know: --allow-command {name} if yours knows it"
            ),
            Why::OnlyValkey(name) => write!(
                f,
                "offset {at}: command \"{name}\" is known to Valkey 9.1 and not to Redis 7.0, which would refuse the whole file: \
                 --allow-command {name} if your server knows it"
            ),
            Why::Arity { name, found } => {
                write!(f, "offset {at}: command \"{name}\" does not take {} arguments", found - 1)
            }
            Why::Deadly(name) => write!(
                f,
                "offset {at}: command \"{name}\" can end or hold the server that loads it: --allow-command {name} if it is meant"
            ),
            Why::Queued(name) => {
                write!(f, "offset {at}: \"{name}\" in a transaction (MULTI): the server that loads it ends at the EXEC")
            }
            Why::Io(error) => write!(f, "offset {at}: {error}"),
        }
    }
}

/// One entry of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A line for people and tools, or a part of a long one.
    Annotation,
    /// A command. A replica accepts it only in its canonical form.
    Command {
        /// Its place in the file.
        range: Range<u64>,
        /// Whether its lines are as servers write them.
        is_canonical: bool,
    },
}

/// A summary of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The offset of its end.
    pub end: u64,
    /// The number of commands.
    pub commands: u64,
    /// The selected database at the end, if the commands select one.
    pub database: Option<u32>,
    /// The offset of the first `MULTI` of a transaction without `EXEC`.
    pub open: Option<u64>,
    /// Whether it ends in an annotation without a newline: added bytes would become part of the annotation.
    pub is_line_open: bool,
}

/// Reads a file to its end and checks it. `at` is the offset of the input's first byte in the file.
pub fn check(input: impl Read, at: u64, names: Names<'_>) -> Result<Summary, Bad> {
    let mut reader = Reader::new(input, at, names);
    while reader.entry()?.is_some() {}
    Ok(reader.summary)
}

/// The first bytes of an argument.
#[derive(Clone, Copy, Debug)]
struct Start {
    bytes: [u8; KEPT],
    length: u64,
}

impl Start {
    const EMPTY: Self = Self { bytes: [0; KEPT], length: 0 };

    /// The whole argument, if it was kept.
    fn whole(&self) -> Option<&[u8]> {
        self.bytes.get(..usize::try_from(self.length).ok()?)
    }

    fn lower(&self) -> Self {
        let mut lower = *self;
        lower.bytes.make_ascii_lowercase();
        lower
    }

    fn text(&self) -> String {
        let kept = self.whole().unwrap_or(&self.bytes);
        kept.escape_ascii().to_string()
    }
}

/// Reads a file entry by entry, in limited memory.
#[derive(Debug)]
pub struct Reader<'a, R> {
    input: Input<R>,
    names: Names<'a>,
    summary: Summary,
    /// The database that is selected when the open transaction is executed.
    queued: Option<u32>,
}

impl<'a, R: Read> Reader<'a, R> {
    /// Makes a reader of an input whose first byte has this offset in the file.
    pub fn new(input: R, at: u64, names: Names<'a>) -> Self {
        Self {
            input: Input::new(input, at),
            names,
            summary: Summary { end: at, commands: 0, database: None, open: None, is_line_open: false },
            queued: None,
        }
    }

    /// The summary of the part that was read so far.
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Reads the next entry. None at the end of the file.
    pub fn entry(&mut self) -> Result<Option<Entry>, Bad> {
        let at = self.input.at;
        let line = self.input.line().map_err(|error| bad(at, error))?;
        let line = &self.input.buffer[line];
        let is_whole = line.ends_with(b"\n");
        let entry = match line {
            [] => return Ok(None),
            [b'#', ..] => {
                self.summary.is_line_open = !is_whole && line.len() < LINE;
                Entry::Annotation
            }
            [b'*'] => return Err(self.truncated(at)),
            [b'*', 0, ..] => return Err(bad(at, Why::Line(0))),
            [b'*', digits @ ..] => {
                let number = number_of(digits);
                // `atoi`: the low 32 bits of what `strtol` returns.
                #[expect(clippy::cast_possible_truncation, reason = "as atoi does")]
                let count = number as i32;
                let is_canonical = is_plain(digits) && i64::from(count) == number;
                if count < 1 {
                    return Err(bad(at, Why::Arguments(count)));
                }
                let is_canonical = self.command(at, count, is_canonical)?;
                self.summary.is_line_open = false;
                let range = at..self.input.at;
                Entry::Command { range, is_canonical }
            }
            [other, ..] => {
                let why = Header::of(line).map_or(Why::Line(*other), Why::Rdb);
                return Err(bad(at, why));
            }
        };
        self.summary.end = self.input.at;
        Ok(Some(entry))
    }

    /// Reads the arguments of the command at this offset. Returns whether all of it is canonical.
    fn command(&mut self, at: u64, count: i32, mut is_canonical: bool) -> Result<bool, Bad> {
        let mut words = [Start::EMPTY; 2];
        for number in 0..count {
            let line_at = self.input.at;
            let line = self.input.line().map_err(|error| bad(line_at, error))?;
            let length = match &self.input.buffer[line] {
                [] => return Err(self.truncated(at)),
                [b'$', length @ ..] => {
                    is_canonical &= is_plain(length);
                    number_of(length)
                }
                [other, ..] => return Err(bad(line_at, Why::NoLength(*other))),
            };
            let Ok(length) = u64::try_from(length) else {
                return Err(bad(line_at, Why::Length(length)));
            };
            let word = usize::try_from(number).ok().and_then(|at| words.get_mut(at));
            let mut after = Start::EMPTY;
            let is_there = self.input.skip(length, word);
            let is_there = is_there.and_then(|is_there| Ok(is_there && self.input.skip(2, Some(&mut after))?));
            if !is_there.map_err(|error| bad(line_at, error))? {
                return Err(self.truncated(at));
            }
            is_canonical &= after.whole() == Some(b"\r\n");
        }
        self.obey(at, count, &words)?;
        self.summary.commands += 1;
        Ok(is_canonical)
    }

    /// Checks a command's name, and follows its effect on the transaction and the database.
    fn obey(&mut self, at: u64, count: i32, words: &[Start; 2]) -> Result<(), Bad> {
        let name = words[0].lower();
        let found = look_up(self.names, &name, &words[1].lower(), count);
        found.map_err(|why| bad(at, why))?;
        let is_open = self.summary.open.is_some();
        match name.whole() {
            Some(b"multi") if !is_open => {
                self.summary.open = Some(at);
                self.queued = None;
            }
            Some(b"exec") if is_open => {
                self.summary.open = None;
                self.summary.database = self.queued.or(self.summary.database);
            }
            Some(b"discard" | b"reset") if is_open => {
                return Err(bad(at, Why::Queued(words[0].text())));
            }
            Some(b"reset") => self.summary.database = Some(0),
            Some(b"select") if count == 2 => {
                if let Some(number) = words[1].whole().and_then(database) {
                    let selected = if is_open { &mut self.queued } else { &mut self.summary.database };
                    *selected = Some(number);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The file ends within the command at this offset.
    fn truncated(&self, at: u64) -> Bad {
        let left = self.input.at - at;
        bad(at, Why::Truncated { left })
    }
}

fn bad(at: u64, why: impl Into<Why>) -> Bad {
    let why = why.into();
    Bad { at, why }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Checks whether the servers know this command with this number of arguments.
fn look_up(names: Names<'_>, name: &Start, subcommand: &Start, count: i32) -> Result<(), Why> {
    let Names::Known(allowed) = names else {
        return Ok(());
    };
    let unknown = || Why::Unknown(name.text());
    let word = name.whole().ok_or_else(unknown)?;
    if allowed.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(word)) {
        return Ok(());
    }
    if DEADLY.contains(&word) {
        return Err(Why::Deadly(name.text()));
    }
    // In the list, a bar separates a command and its subcommand. It is not part of any name.
    let found = KNOWN.get(word).filter(|_| !word.contains(&b'|'));
    let mut found = found.ok_or_else(unknown)?;
    let mut whole = name.text();
    if found.has_subcommands && count > 1 {
        whole = format!("{whole} {}", subcommand.text());
        let full = subcommand.whole().map(|second| [word, b"|", second].concat());
        let full = full.and_then(|full| KNOWN.get(full.as_slice()));
        found = full.ok_or_else(|| Why::Unknown(whole.clone()))?;
    }
    let count = i64::from(count);
    let is_taken = if found.arity < 0 { count >= -found.arity } else { count == found.arity };
    if !found.is_redis {
        Err(Why::OnlyValkey(whole))
    } else if is_taken {
        Ok(())
    } else {
        let found = i32::try_from(count).unwrap_or(i32::MAX);
        Err(Why::Arity { name: whole, found })
    }
}

/// The database that `SELECT` selects with this argument: plain digits.
fn database(digits: &[u8]) -> Option<u32> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let is_plain = is_number && (digits == b"0" || !digits.starts_with(b"0"));
    let number = std::str::from_utf8(digits).ok().filter(|_| is_plain)?;
    number.parse().ok().filter(|number| i32::try_from(*number).is_ok())
}

/// The result of `strtol`: the digits after spaces and a sign, 0 without digits, and the nearest limit if they overflow.
fn number_of(text: &[u8]) -> i64 {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let skipped = text.iter().take_while(|byte| is_space(byte)).count();
    let (is_negative, digits) = match &text[skipped..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_i64, |number, digit| {
        let number = number.saturating_mul(10);
        let digit = i64::from(digit - b'0');
        if is_negative { number.saturating_sub(digit) } else { number.saturating_add(digit) }
    })
}

/// Whether the rest of a line is as servers write it: digits without leading zeros, then `\r\n`.
fn is_plain(rest: &[u8]) -> bool {
    rest.strip_suffix(b"\r\n").is_some_and(|digits| {
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        is_number && (digits.len() == 1 || digits[0] != b'0')
    })
}

/// A file that is read piece by piece.
#[derive(Debug)]
struct Input<R> {
    source: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    is_over: bool,
    /// The offset of the next byte in the file.
    at: u64,
}

impl<R: Read> Input<R> {
    fn new(source: R, at: u64) -> Self {
        Self { source, buffer: vec![0; PIECE], start: 0, end: 0, is_over: false, at }
    }

    /// Reads more bytes after those in the buffer, which are fewer than a piece.
    fn more(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let count = loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                count => break count?,
            }
        };
        self.end += count;
        self.is_over = count == 0;
        Ok(())
    }

    /// Takes the next line with its newline, as `fgets` reads it. Returns its place in the buffer, empty at the end of the file.
    fn line(&mut self) -> io::Result<Range<usize>> {
        loop {
            let there = &self.buffer[self.start..self.end];
            let window = &there[..there.len().min(LINE)];
            let end = window.iter().position(|byte| *byte == b'\n');
            let is_all = window.len() == LINE || self.is_over;
            match end.map(|end| end + 1).or(is_all.then_some(window.len())) {
                Some(length) => {
                    let line = self.start..self.start + length;
                    self.start = line.end;
                    self.at += length as u64;
                    return Ok(line);
                }
                None => self.more()?,
            }
        }
    }

    /// Skips this many bytes, and keeps the first of them. Returns whether all were there.
    fn skip(&mut self, length: u64, mut keep: Option<&mut Start>) -> io::Result<bool> {
        let mut done = 0;
        while done < length {
            if self.start == self.end {
                if self.is_over {
                    return Ok(false);
                }
                self.more()?;
                continue;
            }
            let there = &self.buffer[self.start..self.end];
            let left = usize::try_from(length - done).unwrap_or(usize::MAX);
            let piece = &there[..there.len().min(left)];
            if let Some(keep) = &mut keep
                && let Some(room) = usize::try_from(done).ok().and_then(|done| keep.bytes.get_mut(done..))
            {
                let count = room.len().min(piece.len());
                room[..count].copy_from_slice(&piece[..count]);
            }
            done += piece.len() as u64;
            self.start += piece.len();
            self.at += piece.len() as u64;
        }
        if let Some(keep) = keep {
            keep.length = length;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::redis::resp::command;
    use quickcheck::quickcheck;
    use rstest::rstest;

    fn found(bytes: &[u8]) -> Result<Summary, Bad> {
        check(bytes, 0, Names::Known(&[]))
    }

    fn set(key: &str) -> Vec<u8> {
        command(&[b"SET", key.as_bytes(), b"1"])
    }

    /// Returns at most one byte per read.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(1);
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    quickcheck! {
        fn a_command_is_read_as_it_was_written(values: Vec<Vec<u8>>) -> bool {
            let sets = values.iter().map(|value| command(&[b"SET", value, value]));
            let bytes = sets.collect::<Vec<_>>().concat();
            let expected = Summary {
                end: bytes.len() as u64,
                commands: values.len() as u64,
                database: None,
                open: None,
                is_line_open: false,
            };
            found(&bytes).is_ok_and(|summary| summary == expected)
        }

        fn pieces_do_not_matter(bytes: Vec<u8>) -> bool {
            let text = |result: Result<Summary, Bad>| format!("{result:?}");
            let bytes = [&set("a")[..], &bytes].concat();
            text(found(&bytes)) == text(check(Slow(&bytes), 0, Names::Known(&[])))
        }
    }

    /// Both servers loaded each of these to the end.
    #[rstest]
    #[case::empty(b"")]
    #[case::newline_alone(b"*1\n$4\nPING\r\n")]
    #[case::spaces_after(b"*1 \r\n$4 \r\nPING\r\n")]
    #[case::spaces_before(b"* 1\r\n$\t4\r\nPING\r\n")]
    #[case::signs(b"*+1\r\n$+4\r\nPING\r\n")]
    #[case::letters_after(b"*1abc\r\n$4xyz\r\nPING\r\n")]
    #[case::anything_after_an_argument(b"*1\r\n$4\r\nPINGxy")]
    #[case::a_count_that_wraps(b"*4294967297\r\n$4\r\nPING\r\n")]
    #[case::annotation(b"#TS:1700000000\r\n*1\r\n$4\r\nPING\r\n")]
    #[case::any_annotation(b"#TS:no number\n#\n")]
    #[case::lower_case(b"*1\r\n$4\r\npInG\r\n")]
    #[case::nested(b"*1\r\n$5\r\nMULTI\r\n*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nEXEC\r\n")]
    #[case::exec_alone(b"*1\r\n$4\r\nEXEC\r\n")]
    #[case::discard_alone(b"*1\r\n$7\r\nDISCARD\r\n")]
    #[case::empty_argument(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n")]
    #[case::subcommand(b"*2\r\n$6\r\nCONFIG\r\n$4\r\nhelp\r\n")]
    fn what_servers_load(#[case] bytes: &[u8]) {
        found(bytes).expect("good");
        let before = set("a");
        let summary = found(&[&before[..], bytes, &before].concat()).expect("good");
        assert!(summary.commands >= 2);
    }

    /// Each of these stopped both servers, or was cut off by them.
    #[rstest]
    #[case::cut_off(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r", "truncated command at offset 27 (26 trailing")]
    #[case::no_arguments_yet(b"*2\r\n", "truncated command at offset 27 (4 trailing")]
    #[case::star(b"*", "truncated command at offset 27 (1 trailing")]
    #[case::newline_alone(b"*1\n$4\nPING\n", "truncated command")]
    #[case::inline(b"PING\r\n", "\"P\" starts neither")]
    #[case::blank_line(b"\r\n", "\"\\r\" starts neither")]
    #[case::garbage(b"\x01", "\"\\x01\" starts neither")]
    #[case::zeros(&[0; 9], "\"\\x00\" starts neither")]
    #[case::nul(b"*\x001\r\n", "\"\\x00\" starts neither")]
    #[case::no_command(b"*0\r\n", "a command of 0 arguments")]
    #[case::negative(b"*-1\r\n", "a command of -1 arguments")]
    #[case::no_number(b"*x\r\n", "a command of 0 arguments")]
    #[case::integer(b"*1\r\n:1\r\n", "\":\" where the length")]
    #[case::negative_length(b"*1\r\n$-1\r\n", "an argument of -1 bytes")]
    #[case::too_short(b"*1\r\n$3\r\nPING\r\n", "\"pin\" is not known")]
    #[case::rdb(b"REDIS0010\xfa", "Only the base")]
    #[case::valkey_rdb(b"VALKEY080\xfa", "Only the base")]
    #[case::unknown(b"*1\r\n$5\r\nNOSUC\r\n", "\"nosuc\" is not known")]
    #[case::empty_name(b"*1\r\n$0\r\n\r\n", "\"\" is not known")]
    #[case::of_the_list(b"*2\r\n$10\r\nconfig|get\r\n$1\r\na\r\n", "is not known")]
    #[case::no_subcommand(b"*2\r\n$6\r\nCONFIG\r\n$3\r\nFOO\r\n", "\"config foo\" is not known")]
    #[case::too_few(b"*2\r\n$3\r\nSET\r\n$1\r\na\r\n", "\"set\" does not take 1 arguments")]
    #[case::too_many(b"*3\r\n$4\r\nINCR\r\n$1\r\na\r\n$1\r\na\r\n", "\"incr\" does not take 2")]
    #[case::wait(b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n1\r\n", "can end or hold")]
    #[case::discard(b"*1\r\n$5\r\nMULTI\r\n*1\r\n$7\r\nDISCARD\r\n", "\"DISCARD\" in a transaction")]
    #[case::reset(b"*1\r\n$5\r\nMULTI\r\n*1\r\n$5\r\nRESET\r\n", "\"RESET\" in a transaction")]
    fn what_servers_refuse(#[case] bytes: &[u8], #[case] why: &str) {
        let bad = found(&[&set("a")[..], bytes].concat()).expect_err("bad");
        let text = bad.to_string();
        assert!(text.contains(why), "{text}");
    }

    /// `fgets` has room for 1023 bytes.
    #[test]
    fn a_long_line_is_read_in_pieces() {
        let line = |length: usize| [b"#".repeat(length - 1), b"\n".to_vec(), set("a")].concat();
        // The rest of a line is a separate line: if it starts with '#', it is also an annotation.
        assert!(found(&line(3000)).is_ok());
        let of_letters = |length: usize| {
            let letters = b"x".repeat(length - 2);
            [b"#".to_vec(), letters, b"\n".to_vec(), set("a")].concat()
        };
        assert!(found(&of_letters(1023)).is_ok());
        let bad = found(&of_letters(1024)).expect_err("its newline is a line");
        assert_eq!(bad.at, 1023);
        // A command that follows in the middle of a line is read.
        let bytes = [b"#".to_vec(), b"x".repeat(1022), set("a")].concat();
        assert_eq!(found(&bytes).expect("good").commands, 1);
        let spaces = [b"*1".to_vec(), b" ".repeat(1021), b"$4\r\nPING\r\n".to_vec()].concat();
        assert_eq!(found(&spaces).expect("good").commands, 1);
    }

    #[test]
    fn transactions_and_databases_are_followed() {
        let words = |words: &[&str]| {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            command(&words)
        };
        let all = |all: &[&[&str]]| -> Vec<u8> { all.iter().flat_map(|one| words(one)).collect() };
        let database = |bytes: &[u8]| found(bytes).expect("good").database.expect("selected");
        assert_eq!(database(&all(&[&["SELECT", "5"], &["PING"]])), 5);
        assert_eq!(database(&all(&[&["select", "5"], &["RESET"]])), 0);
        for other in ["x", "+3", " 3", "03", "-1", "99999999999"] {
            let bytes = all(&[&["SELECT", "5"], &["SELECT", other]]);
            assert_eq!(database(&bytes), 5, "SELECT {other:?} is an error");
        }
        // Queued: the database is selected when the transaction is executed.
        let open = all(&[&["SELECT", "2"], &["MULTI"], &["SELECT", "4"]]);
        let summary = found(&open).expect("good");
        assert_eq!((summary.database, summary.open), (Some(2), Some(23)));
        assert_eq!(database(&[open, words(&["EXEC"])].concat()), 4);
        let nested = all(&[&["MULTI"], &["MULTI"], &["EXEC"], &["EXEC"]]);
        assert_eq!(found(&nested).expect("good").open, None);
    }

    #[test]
    fn a_line_that_is_open_is_noticed() {
        assert!(found(b"#").expect("good").is_line_open);
        assert!(!found(b"#\n").expect("good").is_line_open);
        assert!(!found(&[&b"#\n"[..], &set("a")].concat()).expect("good").is_line_open);
        assert!(!found(&b"#".repeat(1023)).expect("good").is_line_open);
    }

    #[test]
    fn commands_are_allowed_by_name() {
        let bytes = [command(&[b"JSON.SET", b"a"]), command(&[b"DEBUG"])].concat();
        let allowed = ["json.set".to_owned(), "debug".to_owned()];
        assert!(check(&bytes[..], 0, Names::Known(&allowed)).is_ok());
        assert!(check(&bytes[..], 0, Names::Known(&allowed[1..])).is_err());
        assert!(check(&bytes[..], 0, Names::Any).is_ok());
        let valkeys = command(&[b"HSETEX", b"a", b"FIELDS", b"1", b"b", b"c"]);
        let text = found(&valkeys).expect_err("bad").to_string();
        assert!(text.contains("not to Redis 7.0"), "{text}");
    }

    #[test]
    fn what_is_canonical() {
        let is_canonical = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes, 0, Names::Any);
            match reader.entry() {
                Ok(Some(Entry::Command { is_canonical, range })) => {
                    assert_eq!(range, 0..bytes.len() as u64);
                    is_canonical
                }
                other => panic!("{other:?}"),
            }
        };
        assert!(is_canonical(b"*1\r\n$4\r\nPING\r\n"));
        assert!(is_canonical(b"*2\r\n$4\r\nPING\r\n$0\r\n\r\n"));
        for other in [
            &b"*1\n$4\r\nPING\r\n"[..],
            b"*01\r\n$4\r\nPING\r\n",
            b"*4294967297\r\n$4\r\nPING\r\n",
            b"*1\r\n$ 4\r\nPING\r\n",
            b"*1\r\n$4\r\nPINGxy",
        ] {
            assert!(!is_canonical(other), "{}", other.escape_ascii());
        }
    }

    /// In limited memory, whatever its length: skipped bytes are not kept.
    #[test]
    fn a_large_argument_takes_one_pass() {
        let length = 64_u64 << 20;
        let head = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${length}\r\n");
        let body = io::repeat(b'x').take(length);
        let input = head.as_bytes().chain(body).chain(&b"\r\n"[..]);
        let summary = check(input, 0, Names::Known(&[])).expect("good");
        assert_eq!(summary.end, head.len() as u64 + length + 2);
    }
}
