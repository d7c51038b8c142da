//! The Redis protocol between a replica and its master: a stream of commands, cut at any place.

#![forbid(unsafe_code)]

use std::fmt;

/// The length limit of a command from a replica: real ones are short.
const LONGEST: usize = 64 << 10;
/// The maximum number of arguments.
const MOST: usize = 1024;

/// The first item of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A command: its arguments, and its length in bytes.
    Command(Vec<Vec<u8>>, usize),
    /// Bytes without a meaning, and their number: the newlines by which a replica shows that it is alive.
    Nothing(usize),
    /// More bytes are needed.
    Unfinished,
}

/// Why a stream is not a stream of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// A number was expected.
    Number,
    /// This byte was expected: `$`, or the end of a line.
    Expected(u8),
    /// It is longer than any command that is accepted.
    TooLong,
    /// The first bytes of TLS.
    Tls,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number => f.write_str("a length is not a number"),
            Self::Expected(byte) => write!(f, "\"{}\" was to come", byte.escape_ascii()),
            Self::TooLong => write!(f, "a command is longer than {LONGEST} bytes"),
            Self::Tls => f.write_str(
                "it speaks TLS, by which a file cannot be sent as it is: set tls-replication no, or put a tunnel between",
            ),
        }
    }
}

/// Parses the first command of these bytes; any bytes may follow it. Lengths are limited to those that a replica sends.
pub fn next(bytes: &[u8]) -> Result<Next, Bad> {
    next_within(bytes, LONGEST)
}

/// The number of these bytes that are whole commands from a master, as a replica reads them. Inline commands are an error. The
/// length limit of an argument is that of Redis, 512 MiB.
pub fn whole(bytes: &[u8]) -> Result<usize, Bad> {
    let mut at = 0;
    loop {
        if !matches!(bytes.get(at), Some(b'*' | b'\n' | b'\r') | None) {
            return Err(Bad::Expected(b'*'));
        }
        match next_within(&bytes[at..], 512 << 20)? {
            Next::Command(_, length) | Next::Nothing(length) => at += length,
            Next::Unfinished => return Ok(at),
        }
        if at == bytes.len() {
            return Ok(at);
        }
    }
}

fn next_within(bytes: &[u8], longest: usize) -> Result<Next, Bad> {
    match bytes.first() {
        None => Ok(Next::Unfinished),
        Some(b'\n' | b'\r') => Ok(Next::Nothing(1)),
        Some(b'*') => multibulk(bytes, longest),
        Some(0x16) => Err(Bad::Tls),
        Some(_) => inline(bytes, longest),
    }
}

/// An inline command such as `SYNC`, which people and old replicas send.
fn inline(bytes: &[u8], longest: usize) -> Result<Next, Bad> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return unfinished(bytes, longest);
    };
    let words = bytes[..end].split(u8::is_ascii_whitespace);
    let words: Vec<Vec<u8>> = words.filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect();
    Ok(if words.is_empty() { Next::Nothing(end + 1) } else { Next::Command(words, end + 1) })
}

fn unfinished(bytes: &[u8], longest: usize) -> Result<Next, Bad> {
    if bytes.len() > longest { Err(Bad::TooLong) } else { Ok(Next::Unfinished) }
}

fn multibulk(bytes: &[u8], longest: usize) -> Result<Next, Bad> {
    let Some((number, mut at)) = length(bytes, 0, b'*')? else {
        return Ok(Next::Unfinished);
    };
    if number > MOST && longest == LONGEST {
        return Err(Bad::TooLong);
    }
    let mut arguments = Vec::new();
    for _ in 0..number {
        let Some((length, from)) = length(bytes, at, b'$')? else {
            return unfinished(bytes, longest);
        };
        if length > longest {
            return Err(Bad::TooLong);
        }
        let end = from + length;
        match bytes.get(end..end + 2) {
            Some(b"\r\n") => arguments.push(bytes[from..end].to_vec()),
            Some(_) => return Err(Bad::Expected(b'\r')),
            None => return unfinished(bytes, longest.saturating_add(length)),
        }
        at = end + 2;
    }
    Ok(if arguments.is_empty() { Next::Nothing(at) } else { Next::Command(arguments, at) })
}

/// The number after `mark` at this offset, and the offset after its line. `None` if the line is not complete.
fn length(bytes: &[u8], at: usize, mark: u8) -> Result<Option<(usize, usize)>, Bad> {
    // The maximum number of digits in a length.
    const DIGITS: usize = 10;
    let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else {
        return Ok(None);
    };
    if rest[0] != mark {
        return Err(Bad::Expected(mark));
    }
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
        return if rest.len() > DIGITS + 2 { Err(Bad::Number) } else { Ok(None) };
    };
    let line = &rest[1..end];
    let digits = line.strip_suffix(b"\r").ok_or(Bad::Expected(b'\r'))?;
    let is_number = digits.iter().all(u8::is_ascii_digit) && digits.len() <= DIGITS;
    let text = std::str::from_utf8(digits).map_err(|_| Bad::Number)?;
    let number = text.parse().ok().filter(|_| is_number).ok_or(Bad::Number)?;
    Ok(Some((number, at + end + 1)))
}

/// Encodes a command.
pub fn command(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend(format!("${}\r\n", argument.len()).into_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// Encodes a command whose words are text.
pub fn words(words: &[&str]) -> Vec<u8> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    command(&words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;
    use rstest::rstest;

    quickcheck! {
        /// Cut at any place, it is unfinished before the cut and the same command after it.
        fn a_command_is_read_as_it_was_written(arguments: Vec<Vec<u8>>, behind: Vec<u8>) -> bool {
            if arguments.is_empty() || arguments.len() > MOST {
                return true;
            }
            let slices: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
            let bytes = command(&slices);
            let all = [&bytes[..], &behind].concat();
            (0..bytes.len()).all(|cut| next(&bytes[..cut]) == Ok(Next::Unfinished))
                && next(&all) == Ok(Next::Command(arguments, bytes.len()))
                && whole(&bytes) == Ok(bytes.len())
        }

        fn no_bytes_are_a_panic(bytes: Vec<u8>) -> bool {
            let length = match next(&bytes) {
                Ok(Next::Command(_, length) | Next::Nothing(length)) => length,
                _ => 1,
            };
            length >= 1 && (bytes.is_empty() || length <= bytes.len())
        }
    }

    #[rstest]
    #[case(b"\n\nPING\r\n", Next::Nothing(1))]
    #[case(b"SYNC\r\n", Next::Command(vec![b"SYNC".to_vec()], 6))]
    #[case(b"replconf  ack 0\n*", Next::Command(vec![b"replconf".to_vec(), b"ack".to_vec(), b"0".to_vec()], 16))]
    #[case(b"*0\r\n", Next::Nothing(4))]
    #[case(b"*1\r\n$0\r\n\r\n", Next::Command(vec![vec![]], 10))]
    #[case(b"*2\r\n$4\r\nPI", Next::Unfinished)]
    fn what_stands_first(#[case] bytes: &[u8], #[case] expected: Next) {
        assert_eq!(next(bytes), Ok(expected));
    }

    #[rstest]
    #[case(b"\x16\x03\x01\x02\x00", Bad::Tls)]
    #[case(b"*x\r\n", Bad::Number)]
    #[case(b"*-1\r\n", Bad::Number)]
    #[case(b"*1\r\n:1\r\n", Bad::Expected(b'$'))]
    #[case(b"*1\r\n$1\r\nab\r\n", Bad::Expected(b'\r'))]
    #[case(b"*99999\r\n", Bad::TooLong)]
    #[case(b"*1\r\n$99999999\r\n", Bad::TooLong)]
    #[case(b"*12345678901234567890", Bad::Number)]
    fn what_is_refused(#[case] bytes: &[u8], #[case] expected: Bad) {
        assert_eq!(next(bytes), Err(expected));
    }

    /// A replica would drop the connection and sync again.
    #[test]
    fn a_master_sends_no_inline_commands() {
        let bytes = [command(&[b"PING"]), b"PING\r\n".to_vec()].concat();
        assert_eq!(whole(&bytes), Err(Bad::Expected(b'*')));
        assert_eq!(whole(b"\r\n"), Ok(2));
    }

    #[test]
    fn a_part_of_a_command_is_not_passed_on() {
        let bytes = [command(&[b"SET", b"a", b"1"]), b"*2\r\n$3\r\nGET\r\n".to_vec()].concat();
        assert_eq!(whole(&bytes), Ok(command(&[b"SET", b"a", b"1"]).len()));
    }
}
