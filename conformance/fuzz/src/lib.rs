//! What must be true of any bytes, one function per fuzz target. A violation is a panic.
//!
//! The targets call these, and so does the test `corpus` of the suite, which needs no fuzzer: this file is part of both.

use conformance::lab::redis::resp;
use conformance::lab::redis::resp::Next;
use conformance::redis::aof::Manifest;
use conformance::redis::aof::commands::{self, Entry, Names, Reader};
use conformance::redis::dialogue::{Dialogue, Framing, Output, Situation, Step, Terms, UNREAD};
use conformance::redis::rdb;
use conformance::run::jsonl;
use conformance::run::jsonl::Line;
use nocopy_host::kernel::Release;
use nocopy_msg_zerocopy::abi::{IP_RECVERR, IPV6_RECVERR, SOL_IP, SOL_IPV6, SOL_SOCKET};
use nocopy_msg_zerocopy::{
    Completion, ExtendedError, Malformed, Message, Other, Timestamps, Tracker, TrackerError,
    messages, put_message,
};
use on_kernel::{frames, image};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A name, and what must not panic.
pub type Target = (&'static str, fn(&[u8]));

/// What is fuzzed: the target's name, which is also that of its corpus, and its function.
pub const TARGETS: [Target; 12] = [
    ("aof", aof),
    ("control_messages", control_messages),
    ("dialogue", dialogue),
    ("error_queue", error_queue),
    ("frames", frames),
    ("image", image),
    ("manifest", manifest),
    ("rdb", rdb),
    ("release", release),
    ("report_line", report_line),
    ("resp", resp),
    ("tracker", tracker),
];

/// Any bytes as control messages: the walk ends, an error is the last item, what was accepted comes back the same
/// after it is written anew, and times and addresses are those of the bytes.
pub fn error_queue(control: &[u8]) {
    let mut walk = messages(control);
    let mut accepted = Vec::new();
    let mut items = 0;
    while let Some(item) = walk.next() {
        items += 1;
        assert!(items <= control.len() / 16 + 1, "more items than headers");
        if let Ok(message) = item {
            if let Message::Other(other) = message {
                decoded(&other);
            }
            accepted.push(message);
        } else {
            assert_eq!(walk.next(), None, "an item after the error");
            break;
        }
    }

    let mut written = vec![0; control.len() + 8 + accepted.len() * 16];
    let mut at = 0;
    for message in &accepted {
        let out = &mut written[at..];
        at += match message {
            Message::Completion(it) => {
                assert!(it.contains(it.lo) && it.contains(it.hi) && it.count() > 0);
                let data = ExtendedError::of_completion(*it).to_bytes();
                put_message(out, SOL_IP, IP_RECVERR, &data)
            }
            Message::Other(it) => put_message(out, it.level, it.kind, it.data),
        }
        .expect("no longer than it was");
    }
    let again: Vec<_> = messages(&written[..at])
        .map(|item| item.expect("well-formed"))
        .collect();
    assert_eq!(again, accepted);
}

/// What a message says beside completions stands in its bytes, and only in messages of the right level, type and length.
fn decoded(other: &Other<'_>) {
    let Other { level, kind, data } = *other;
    let is_socket = level == SOL_SOCKET;
    let has_address = [(SOL_IP, IP_RECVERR), (SOL_IPV6, IPV6_RECVERR)].contains(&(level, kind));
    if let Some(times) = other.timestamps() {
        assert!(is_socket && (data.len() == 48 || data.len() == 16));
        let Timestamps {
            software,
            legacy,
            hardware,
            ..
        } = times;
        let first = [software.seconds, software.nanoseconds];
        let mut words = data
            .chunks_exact(8)
            .map(|word| i64::from_ne_bytes(word.try_into().expect("eight bytes")));
        assert_eq!(words.next(), Some(first[0]));
        let second = words.next().expect("two at least");
        assert!(first[1] == second || Some(first[1]) == second.checked_mul(1000));
        let rest: Vec<_> = words.collect();
        let both = [legacy, hardware].map(|time| [time.seconds, time.nanoseconds]);
        match data.len() {
            16 => assert!(legacy.is_unset() && hardware.is_unset()),
            _ => assert_eq!(rest, both.concat()),
        }
    }
    if let Some(address) = other.offender() {
        let bytes = &data[16..];
        assert!(has_address && address.port().to_be_bytes() == bytes[2..4]);
        match address.ip() {
            IpAddr::V4(ip) => assert_eq!(ip.octets(), bytes[4..8]),
            IpAddr::V6(ip) => assert_eq!(ip.octets(), bytes[8..24]),
        }
    }
    if let Some(icmp) = other.icmp() {
        assert!(!is_socket && matches!(data[4], 2 | 3));
        assert_eq!([icmp.kind, icmp.code], data[5..7]);
        assert_eq!(icmp.offender, other.offender());
    }
    if let Some(stamped) = other.stamped() {
        assert!(!is_socket && data[4] == 4 && stamped.id.to_ne_bytes() == data[12..16]);
        assert_eq!(other.icmp(), None);
    }
}

/// Any sequence of sends and completions: the tracker agrees with a set of the ids in flight, and a refusal changes
/// nothing.
pub fn tracker(script: &[u8]) {
    let Some((first, script)) = script.split_first_chunk::<4>() else {
        return;
    };
    let first = u32::from_le_bytes(*first);
    let mut tracker = Tracker::<1>::starting_at(first);
    // By their distance from the first, so that the order is right over the wrap.
    let mut flying = BTreeSet::new();
    let mut sent = 0_u32;
    for step in script.chunks(3) {
        match *step {
            [0..=127, start, len] => {
                let lo = flying.first().copied().unwrap_or(sent);
                let lo = first
                    .wrapping_add(lo)
                    .wrapping_add(u32::from(start))
                    .wrapping_sub(8);
                let hi = lo.wrapping_add(u32::from(len)).wrapping_sub(1);
                let ids =
                    || (0..=hi.wrapping_sub(lo)).map(|at| lo.wrapping_sub(first).wrapping_add(at));
                let bad = ids().find(|id| !flying.contains(id));
                let got = tracker.complete(Completion {
                    lo,
                    hi,
                    copied: false,
                });
                match bad {
                    None => {
                        assert_eq!(got, Ok(()));
                        for id in ids() {
                            flying.remove(&id);
                        }
                    }
                    Some(id) => {
                        let name = first.wrapping_add(id);
                        let want = if id < sent {
                            TrackerError::AlreadyComplete(name)
                        } else {
                            TrackerError::NotSent(name)
                        };
                        assert_eq!(got, Err(want));
                    }
                }
            }
            [sends, ..] => {
                let sends = sends % 128;
                for _ in 0..sends {
                    let full = flying.first().is_some_and(|oldest| sent - oldest >= 64);
                    assert_eq!(tracker.is_full(), full);
                    if full {
                        assert_eq!(tracker.sent(), Err(TrackerError::Full));
                        break;
                    }
                    assert_eq!(tracker.sent(), Ok(first.wrapping_add(sent)));
                    flying.insert(sent);
                    sent += 1;
                }
            }
            [] => {}
        }
        assert_eq!(tracker.in_flight() as usize, flying.len());
        let oldest = flying.first().map(|id| first.wrapping_add(*id));
        assert_eq!(tracker.oldest(), oldest);
    }
}

/// Any control messages, written into too little room or enough: what fits comes back, what does not leaves no trace.
///
/// The script: how much room there is, then for each message its level, type and length, and its bytes.
pub fn control_messages(script: &[u8]) {
    let Some((room, mut script)) = script.split_first() else {
        return;
    };
    let mut out = vec![0xa5; usize::from(*room)];
    let (mut at, mut written) = (0, Vec::new());
    while let Some(([level, kind, length], rest)) = script.split_first_chunk() {
        let (data, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        script = rest;
        // The levels and types of errors are among the small ones.
        let (level, kind) = (i32::from(*level), i32::from(*kind));
        let before = out.clone();
        if let Some(taken) = put_message(&mut out[at..], level, kind, data) {
            let end = at + taken;
            let padding = &out[at + 16 + data.len()..end];
            assert!(padding.iter().all(|byte| *byte == 0));
            assert!(padding.len() < 8 && end % 8 == 0);
            assert_eq!(out[end..], before[end..], "written past the message");
            at = end;
            written.push((level, kind, data));
        } else {
            assert!(out.len() - at < (16 + data.len()).next_multiple_of(8));
            assert_eq!(out, before, "a refusal has written");
        }
    }
    let mut walk = messages(&out[..at]);
    for (level, kind, data) in written {
        match walk.next().expect("as many as were written") {
            Ok(Message::Other(it)) => assert_eq!((it.level, it.kind, it.data), (level, kind, data)),
            Ok(Message::Completion(it)) => {
                let error = ExtendedError::read(data).expect("long enough");
                assert_eq!(error.completion(), Some(it));
            }
            // The level and type of an extended error, without one.
            Err(error) => {
                let is_error =
                    [(SOL_IP, IP_RECVERR), (SOL_IPV6, IPV6_RECVERR)].contains(&(level, kind));
                assert!(is_error && data.len() < 16, "{error}");
                assert_eq!(error, Malformed::ErrorCut);
                assert_eq!(walk.next(), None);
                return;
            }
        }
    }
    assert_eq!(walk.next(), None);
}

/// Any bytes on the result channel, in any pieces: the records do not depend on the pieces, written anew they are the
/// bytes, and what is damaged stays so.
pub fn frames(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else {
        return;
    };
    let read = |piece: usize| {
        let mut reader = frames::Reader::default();
        let (mut records, mut error) = (Vec::new(), None);
        for bytes in stream.chunks(piece) {
            reader.push(bytes);
            while error.is_none() {
                match reader.take() {
                    Ok(Some(record)) => records.push(record),
                    Ok(None) => break,
                    Err(what) => error = Some(what),
                }
            }
        }
        assert_eq!(reader.taken(), records.len() as u64);
        if error.is_some() {
            assert_eq!(reader.take().err(), error, "damage that heals");
        }
        (records, error, reader.is_cut())
    };
    let in_pieces = read(usize::from(*piece) + 1);
    assert_eq!(in_pieces, read(stream.len().max(1)), "pieces matter");
    let (records, error, cut) = in_pieces;
    let mut again = Vec::new();
    for (kind, payload) in &records {
        frames::write(&mut again, *kind, payload).expect("a vector takes all");
    }
    assert!(stream.starts_with(&again), "other bytes than were read");
    assert_eq!(error.is_some() || cut, again.len() < stream.len());
}

/// Any bytes as a line of stored results, and as a whole run: what is accepted comes back the same after it is written anew.
pub fn report_line(bytes: &[u8]) {
    if let Ok(run) = jsonl::read(bytes) {
        let mut stored = Vec::new();
        jsonl::write_run(&mut stored, &run).expect("a vector takes all");
        let again = jsonl::read(&stored).expect("what was written can be read");
        assert_eq!(again.environment, run.environment);
        assert_eq!(again.records, run.records);
    }
    let Ok(line) = serde_json::from_slice::<Line>(bytes) else {
        return;
    };
    let mut stored = Vec::new();
    jsonl::write(&mut stored, &line).expect("a vector takes all");
    assert_eq!(stored.iter().filter(|byte| **byte == b'\n').count(), 1);
    let again: Line = serde_json::from_slice(&stored).expect("what was written can be read");
    assert_eq!(again, line);
}

/// Any text as a kernel's release: what is accepted prints as what parses to the same.
pub fn release(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(release) = text.parse::<Release>() {
        assert_eq!(release.to_string().parse(), Ok(release));
    }
}

/// Any bytes as a kernel: an ELF with an entry, or none.
pub fn image(bytes: &[u8]) {
    if let Some(kernel) = image::bootable_elf(bytes) {
        assert!(kernel.starts_with(b"\x7fELF"));
    }
}

/// Any bytes from a replica, in any pieces: the commands do not depend on the pieces, nor whether what follows is none, and written
/// anew they are read the same.
pub fn resp(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else {
        return;
    };
    let read = |piece: usize| {
        let (mut came, mut commands, mut is_bad) = (Vec::new(), Vec::new(), false);
        for bytes in stream.chunks(piece) {
            came.extend_from_slice(bytes);
            while !is_bad {
                match resp::next(&came) {
                    Ok(Next::Command(command, length)) => {
                        assert!(!command.is_empty() && length <= came.len());
                        commands.push(command);
                        came.drain(..length);
                    }
                    Ok(Next::Nothing(length)) => {
                        assert!(length > 0);
                        came.drain(..length);
                    }
                    Ok(Next::Unfinished) => break,
                    Err(_) => is_bad = true,
                }
            }
        }
        (commands, is_bad)
    };
    let whole = read(stream.len().max(1));
    assert_eq!(read(usize::from(*piece) + 1), whole, "pieces matter");
    for command in &whole.0 {
        let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        let again = resp::command(&words);
        let same = Next::Command(command.clone(), again.len());
        assert_eq!(resp::next(&again), Ok(same));
    }
    if let Ok(length) = resp::whole(stream) {
        assert!(length <= stream.len());
        assert_eq!(resp::whole(&stream[..length]), Ok(length));
    }
}

/// Any bytes as what happens between a master and one replica, whose words may be cut at any place. The first byte is the terms; then an
/// event is a byte for its kind, a byte for its size, and the bytes that arrive.
pub fn dialogue(bytes: &[u8]) {
    let Some((flags, mut script)) = bytes.split_first() else {
        return;
    };
    let is_set = |bit: u8| flags & (1 << bit) != 0;
    let terms = Terms {
        identity: "0".repeat(40),
        login: is_set(0).then(|| ("default".to_owned(), "secret".to_owned())),
        header: rdb::Header {
            format: rdb::Format::Redis,
            version: if is_set(1) { 99 } else { 10 },
        },
        length: 100,
        force: is_set(2),
        framing: if is_set(3) {
            Framing::Mark
        } else {
            Framing::Length
        },
        delay: Duration::from_millis(500),
        ping: Duration::from_secs(10),
    };
    let version = is_set(4).then_some(rdb::Server {
        program: rdb::Format::Redis,
        version: (7, 0),
    });
    let now = Instant::now();
    let mut played = Played {
        dialogue: Dialogue::new(&terms, version, MARK.to_owned(), now),
        terms,
        now,
        commands: Vec::new(),
        more: true,
        heard: Vec::new(),
        steps: Vec::new(),
        is_sent: false,
        before: Vec::new(),
        after: Vec::new(),
    };
    while let [kind, size, rest @ ..] = script {
        let length = if kind % 6 < 2 { usize::from(*size) } else { 0 };
        let (came, rest) = rest.split_at(rest.len().min(length));
        script = rest;
        if !played.event(*kind, *size, came) {
            break;
        }
    }
    played.look_back();
}

const MARK: &str = "1111111111111111111111111111111111111111";

/// A dialogue, and all that has happened in it.
struct Played {
    dialogue: Dialogue,
    terms: Terms,
    now: Instant,
    commands: Vec<u8>,
    more: bool,
    /// All bytes from the replica, in lower case.
    heard: Vec<u8>,
    steps: Vec<Step>,
    /// Whether the file was sent.
    is_sent: bool,
    /// The bytes between the promise and the head of the file.
    before: Vec<u8>,
    /// The bytes after the file and its mark.
    after: Vec<u8>,
}

impl Played {
    /// Returns whether the dialogue goes on.
    fn event(&mut self, kind: u8, size: u8, came: &[u8]) -> bool {
        if kind % 6 == 2 {
            self.now += Duration::from_millis(100) * u32::from(size);
        }
        let at = Situation {
            terms: &self.terms,
            commands: &self.commands,
            more: self.more,
            now: self.now,
        };
        let mut out = Output::default();
        let dialogue = &mut self.dialogue;
        let mut goes_on = true;
        match kind % 6 {
            0 => {
                let (mut bytewise, mut said) = (dialogue.clone(), Output::default());
                let mut bytes = came.chunks(1);
                let is_bad = bytes.any(|byte| bytewise.hear(byte, &at, &mut said).is_err());
                goes_on = dialogue.hear(came, &at, &mut out).is_ok();
                assert_eq!((goes_on, &out), (!is_bad, &said), "pieces matter");
                self.heard.extend(came.to_ascii_lowercase());
            }
            1 => {
                let is_open = kind & 0x80 == 0;
                goes_on = dialogue.hear_answer(came, is_open, &at, &mut out).is_ok();
            }
            2 => goes_on = dialogue.clock(&at, &mut out).is_ok(),
            3 => dialogue.turn(&at, &mut out),
            4 => {
                dialogue.sent(self.now, &mut out);
                self.is_sent |= self.steps.contains(&Step::Send);
                if out.bytes == MARK.as_bytes() {
                    assert_eq!(self.terms.framing, Framing::Mark);
                    out.bytes.clear();
                }
            }
            _ if self.more => {
                let database = [b'0' + size % 10];
                self.commands.extend(resp::command(&[b"SELECT", &database]));
                self.more = size & 0x80 == 0;
            }
            _ => {}
        }
        assert!(self.dialogue.unread() <= UNREAD + came.len());
        assert!(out.bytes.len() <= 64 * (came.len() + 2) + self.commands.len());
        let was_promised = self.steps.contains(&Step::Begins);
        self.steps.extend(&out.steps);
        if self.is_sent {
            self.after.extend(&out.bytes);
        } else if was_promised && !self.steps.contains(&Step::Send) {
            self.before.extend(&out.bytes);
        }
        goes_on
    }

    /// What must be true of all of it.
    fn look_back(&self) {
        let count =
            |wanted: fn(&Step) -> bool| self.steps.iter().filter(|step| wanted(step)).count();
        let asked = count(|step| matches!(step, Step::Ask(_)));
        let promised = count(|step| *step == Step::Begins);
        let sent = count(|step| *step == Step::Send);
        let done = count(|step| *step == Step::Done);
        let is_ordered = done <= sent && sent <= promised && promised <= 1;
        assert!(asked <= 1 && is_ordered, "{:?}", self.steps);
        assert!(done == 0 || self.is_sent, "done without the file");
        let heard = |word: &[u8]| self.heard.windows(word.len()).any(|part| part == word);
        if self.terms.login.is_some() {
            assert!(asked + promised == 0 || heard(b"secret"), "no password");
        }
        if self.terms.header.version == 99 && !self.terms.force {
            let is_wanted = promised == 0 || heard(b"rdb-only");
            assert!(is_wanted, "nothing loads this file");
        }
        let is_sign = |byte: &u8| *byte == b'\n';
        assert!(self.before.iter().all(is_sign), "not a sign of life");
        let whole = resp::whole(&self.after);
        assert_eq!(whole, Ok(self.after.len()), "not commands");
    }
}

/// Any bytes as a file of commands, in any pieces: what is read does not depend on the pieces, a command that is written as servers write
/// it is one to a replica, and what is accepted can be added to.
pub fn aof(bytes: &[u8]) {
    let Some((piece, file)) = bytes.split_first() else {
        return;
    };
    let read = |piece: usize| {
        let mut reader = Reader::new(Pieces(file, piece), 0, Names::Known(&[]));
        let mut entries = Vec::new();
        let error = loop {
            match reader.entry() {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) => break None,
                Err(bad) => break Some(bad.to_string()),
            }
        };
        (entries, error, *reader.summary())
    };
    let in_pieces = read(usize::from(*piece) + 1);
    assert_eq!(in_pieces, read(file.len().max(1)), "pieces matter");
    let (entries, error, summary) = in_pieces;
    let commands = entries.iter().filter_map(|entry| match entry {
        Entry::Annotation => None,
        Entry::Command {
            range,
            is_canonical,
        } => Some((range, *is_canonical)),
    });
    let mut at = 0;
    let mut number = 0;
    for (range, is_canonical) in commands {
        let place = |offset: u64| usize::try_from(offset).expect("in the file");
        let command = &file[place(range.start)..place(range.end)];
        assert!(range.start >= at && command.starts_with(b"*"));
        at = range.end;
        number += 1;
        if is_canonical {
            assert_eq!(resp::whole(command), Ok(command.len()));
        }
    }
    assert_eq!(summary.commands, number);
    if error.is_none() {
        assert_eq!(summary.end, file.len() as u64);
        let newline: &[u8] = if summary.is_line_open { b"\n" } else { b"" };
        let longer = [file, newline, &resp::command(&[b"PING"])].concat();
        let added = commands::check(&longer[..], 0, Names::Known(&[])).expect("one more");
        assert_eq!((added.commands, added.open), (number + 1, summary.open));
    }
}

/// At most this many bytes a read.
struct Pieces<'a>(&'a [u8], usize);

impl std::io::Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.len().min(self.1).min(buffer.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

/// Any text as the manifest of an append-only file: what is accepted prints as what parses to the same.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(manifest) = Manifest::parse(text) {
        assert_eq!(Manifest::parse(&manifest.to_string()), Ok(manifest));
    }
}

/// Any bytes as an RDB file: one that is accepted is not when a byte is missing, nor, if it has a checksum, when a bit is another.
pub fn rdb(bytes: &[u8]) {
    let Ok(checked) = rdb::check(bytes) else {
        return;
    };
    assert_eq!(checked.length, bytes.len() as u64);
    if checked.has_checksum {
        // The front of an append-only file.
        let longer = [bytes, b"*1\r\n"].concat();
        let mut ends = rdb::Ends::new(&longer[..]).expect("a header");
        let found = std::iter::from_fn(|| ends.find().expect("read")).find(|end| end.has_checksum);
        // A server stops at the first end, which may be before the last.
        assert!(found.is_some_and(|end| end.at <= checked.length));
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut other = bytes.to_vec();
            other[at] ^= 1;
            let is_bad = rdb::check(&other[..]).is_err();
            // The checksum may be the one that says that there is none.
            let is_none = other.ends_with(&[0; 8]);
            assert!(is_bad || is_none, "bit 0 of byte {at} is not noticed");
        }
    }
}
