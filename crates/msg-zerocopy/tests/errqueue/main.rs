//! The captured control messages of this folder, each against what its file says that it must parse to.
//!
//! The files are compiled in, so that this binary runs on any machine, a guest without the sources included. They are little
//! endian.

use nocopy_msg_zerocopy::abi::{
    IP_RECVERR, IPV6_RECVERR, PACKET_TX_TIMESTAMP, SOL_IP, SOL_IPV6, SOL_PACKET, SOL_VSOCK,
    VSOCK_RECVERR,
};
use nocopy_msg_zerocopy::{Completion, Malformed, Message, messages};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// One file, as its README describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Capture {
    kernel: String,
    synthetic: bool,
    how: String,
    flags: i32,
    hex: String,
    expect: Vec<Expected>,
}

/// One message that the parser must yield.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Expected {
    Completion {
        lo: u32,
        hi: u32,
        copied: bool,
    },
    Other {
        level: i32,
        r#type: i32,
        data_len: usize,
        errno: Option<u32>,
        origin: Option<u8>,
        /// The address after the error.
        offender: Option<String>,
        /// The number of the send that a timestamp is of.
        stamped: Option<u32>,
        /// Seconds and nanoseconds, of the first time.
        time: Option<[i64; 2]>,
    },
    Malformed {
        error: String,
    },
}

impl Expected {
    /// The parser's answer in the words of the files.
    fn of(message: Result<Message<'_>, Malformed>) -> Self {
        match message {
            Ok(Message::Completion(Completion { lo, hi, copied })) => {
                Self::Completion { lo, hi, copied }
            }
            Ok(Message::Other(other)) => {
                let error = other.extended_error();
                Self::Other {
                    level: other.level,
                    r#type: other.kind,
                    data_len: other.data.len(),
                    errno: error.map(|error| error.errno),
                    origin: error.map(|error| error.origin),
                    offender: other.offender().map(|address| address.to_string()),
                    stamped: other.stamped().map(|stamped| stamped.id),
                    time: other
                        .timestamps()
                        .map(|it| [it.software.seconds, it.software.nanoseconds]),
                }
            }
            Err(malformed) => Self::Malformed {
                error: format!("{malformed:?}"),
            },
        }
    }
}

impl Capture {
    fn read(text: &str) -> Self {
        toml::from_str(text).expect("a capture as the README describes it")
    }

    fn control(&self) -> Vec<u8> {
        assert!(self.hex.is_ascii() && self.hex.len().is_multiple_of(2));
        (0..self.hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&self.hex[at..at + 2], 16).expect("hexadecimal"))
            .collect()
    }

    /// Level and type of the first message, by its place in the bytes and not by the parser.
    fn first_header(&self) -> (i32, i32) {
        let control = self.control();
        let number =
            |at: usize| i32::from_le_bytes(control[at..at + 4].try_into().expect("four bytes"));
        (number(8), number(12))
    }

    fn completions(&self) -> impl Iterator<Item = (u32, u32)> {
        self.expect.iter().filter_map(|expected| match expected {
            Expected::Completion { lo, hi, .. } => Some((*lo, *hi)),
            _ => None,
        })
    }
}

macro_rules! captures {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!($name, ".toml")))),*]
    };
}

/// Every file by its name.
const CAPTURES: &[(&str, &str)] = captures![
    "cut-data",
    "cut-header",
    "failed",
    "huge-length",
    "packet",
    "packet-timestamp",
    "tcp-coalesced",
    "tcp-ipv4",
    "tcp-ipv6",
    "tcp-mixed",
    "tcp-timestamp",
    "tcp-truncated",
    "three",
    "udp-icmp",
    "udp-ipv4",
    "udp-uncopied",
    "unpadded",
    "vsock",
    "wrapped",
    "zero-length",
];

fn capture(name: &str) -> Capture {
    let found = CAPTURES.iter().find(|(other, _)| *other == name);
    Capture::read(found.expect("a capture").1)
}

#[test]
fn it_parses_to_what_its_file_says() {
    for (name, text) in CAPTURES {
        let capture = Capture::read(text);
        let control = capture.control();
        let parsed: Vec<_> = messages(&control).map(Expected::of).collect();
        assert_eq!(parsed, capture.expect, "{name}: {}", capture.how);
    }
}

#[test]
fn its_file_agrees_with_itself() {
    for (name, text) in CAPTURES {
        let capture = Capture::read(text);
        assert_eq!(capture.synthetic, capture.kernel == "none", "{name}");
        assert!(!capture.how.is_empty(), "{name}");
        let is_of_queue = capture.flags & libc::MSG_ERRQUEUE != 0;
        assert!(is_of_queue, "{name}: not from an error queue");
        assert!(!capture.expect.is_empty(), "{name} expects nothing");
        let malformed = capture
            .expect
            .iter()
            .position(|expected| matches!(expected, Expected::Malformed { .. }));
        assert!(
            malformed.is_none_or(|at| at + 1 == capture.expect.len()),
            "{name} expects something after an error"
        );
        // A kernel cuts its own messages only where the buffer was too small, and says so.
        if !capture.synthetic {
            let cut = capture.flags & libc::MSG_CTRUNC != 0;
            assert_eq!(malformed.is_some(), cut, "{name}");
        }
    }
}

#[test]
fn there_is_a_completion_of_each_family() {
    for (capture, header) in [
        (capture("tcp-ipv4"), (SOL_IP, IP_RECVERR)),
        (capture("udp-ipv4"), (SOL_IP, IP_RECVERR)),
        (capture("tcp-ipv6"), (SOL_IPV6, IPV6_RECVERR)),
        (capture("vsock"), (SOL_VSOCK, VSOCK_RECVERR)),
        (capture("packet"), (SOL_PACKET, PACKET_TX_TIMESTAMP)),
    ] {
        assert_eq!(capture.first_header(), header, "{}", capture.how);
        assert_eq!(capture.completions().count(), 1, "{}", capture.how);
    }
}

#[test]
fn there_is_a_truncated_one() {
    let capture = capture("tcp-truncated");
    assert_ne!(capture.flags & libc::MSG_CTRUNC, 0);
    assert_eq!(capture.completions().count(), 0, "the completion is lost");
}

#[test]
fn there_is_a_range_over_the_wrap() {
    assert!(capture("wrapped").completions().any(|(lo, hi)| lo > hi));
}

#[test]
fn there_are_other_messages_among_completions() {
    for capture in [capture("tcp-mixed"), capture("three")] {
        let completions = capture.completions().count();
        assert!((1..capture.expect.len()).contains(&completions));
    }
}

#[test]
fn host_only_every_file_is_listed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errqueue");
    let names = std::fs::read_dir(directory)
        .expect("readdir")
        .filter_map(|entry| {
            let name = entry.expect("readdir").file_name();
            Some(name.to_str()?.strip_suffix(".toml")?.to_owned())
        });
    let names: BTreeSet<String> = names.collect();
    let listed = CAPTURES.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(names, listed.collect::<BTreeSet<_>>());
}
