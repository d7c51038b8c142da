//! The tracker and the parser on random input do what a model does, which is a few lines over a set or plain numbers.
//!
//! A property that only ever met easy cases shows nothing, so each counts the hard ones ([`Met`]) and fails without them.

#![expect(
    clippy::needless_pass_by_value,
    reason = "quickcheck hands its inputs over"
)]

mod check;

use check::{Met, below, check, index_below, were_met};
use nocopy_msg_zerocopy::abi::{
    IP_RECVERR, IPV6_RECVERR, PACKET_TX_TIMESTAMP, SOL_IP, SOL_IPV6, SOL_PACKET, SOL_VSOCK,
    VSOCK_RECVERR,
};
use nocopy_msg_zerocopy::{
    Completion, ExtendedError, Malformed, Message, Other, Stage, Tracker, TrackerError, messages,
    put_message,
};
use quickcheck::{Arbitrary, Gen};
use std::collections::BTreeSet;
use std::net::SocketAddr;

// The tracker of completions.

/// The first id of a socket. Often so near to the end that the ids wrap.
#[derive(Clone, Copy, Debug)]
struct FirstId(u32);

impl Arbitrary for FirstId {
    fn arbitrary(g: &mut Gen) -> Self {
        Self(match below(g, 4) {
            0 => 0,
            1 => u32::arbitrary(g),
            _ => u32::MAX - u32::try_from(below(g, 200)).expect("small"),
        })
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// Some sends.
    Sends(u8),
    /// A range of ids in flight completes: it starts at the one of this rank and takes as many of its neighbours as are in
    /// flight too, at most so many.
    Completes { rank: u16, at_most: u8 },
    /// A range around the window's ends completes, whatever is in flight.
    CompletesAnything { back: u8, length: u8 },
    /// A range that may be anywhere completes.
    CompletesAnywhere { lo: u32, hi: u32 },
}

impl Arbitrary for Event {
    fn arbitrary(g: &mut Gen) -> Self {
        match below(g, 8) {
            0..=2 => Self::Sends(u8::arbitrary(g) % 24),
            3..=5 => Self::Completes {
                rank: u16::arbitrary(g),
                at_most: u8::arbitrary(g) % 12,
            },
            6 => Self::CompletesAnything {
                back: u8::arbitrary(g) % 140,
                length: u8::arbitrary(g) % 6,
            },
            _ => Self::CompletesAnywhere {
                lo: u32::arbitrary(g),
                hi: u32::arbitrary(g),
            },
        }
    }
}

/// The sends in flight, counted from the first one ever made: what does not wrap cannot be wrong about wrapping.
struct InFlight {
    first: u32,
    sent: u64,
    ordinals: BTreeSet<u64>,
}

impl InFlight {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "ids wrap: that is the point"
    )]
    fn id(&self, ordinal: u64) -> u32 {
        self.first.wrapping_add(ordinal as u32)
    }

    fn ids(&self) -> BTreeSet<u32> {
        self.ordinals.iter().map(|at| self.id(*at)).collect()
    }

    fn is_full(&self, capacity: u64) -> bool {
        self.ordinals
            .first()
            .is_some_and(|oldest| self.sent - oldest >= capacity)
    }

    /// Why a completion of `id` is refused.
    fn refusal(&self, id: u32) -> TrackerError {
        // An id of the past was sent, at most 2^31 ago.
        let ago = u64::from(self.id(self.sent).wrapping_sub(id));
        if (1..=self.sent.min(1 << 31)).contains(&ago) {
            TrackerError::AlreadyComplete(id)
        } else {
            TrackerError::NotSent(id)
        }
    }

    fn complete(&mut self, lo: u32, hi: u32) -> Result<(), TrackerError> {
        let flying = self.ids();
        let mut range = Vec::new();
        let mut id = lo;
        loop {
            if !flying.contains(&id) {
                return Err(self.refusal(id));
            }
            range.push(id);
            if id == hi {
                break;
            }
            id = id.wrapping_add(1);
        }
        let first = self.first;
        self.ordinals.retain(|ordinal| {
            #[expect(clippy::cast_possible_truncation, reason = "as in `id`")]
            let id = first.wrapping_add(*ordinal as u32);
            !range.contains(&id)
        });
        Ok(())
    }

    #[track_caller]
    fn assert_same<const WORDS: usize>(&self, tracker: &Tracker<WORDS>) {
        let ids = self.ids();
        assert_eq!(tracker.in_flight() as usize, ids.len());
        assert_eq!(tracker.is_idle(), ids.is_empty());
        assert_eq!(
            tracker.is_full(),
            self.is_full(Tracker::<WORDS>::CAPACITY.into())
        );
        assert_eq!(tracker.next_id(), self.id(self.sent));
        assert_eq!(
            tracker.oldest(),
            self.ordinals.first().map(|at| self.id(*at))
        );
        let around = Tracker::<WORDS>::CAPACITY + 8;
        for step in 0..around + 8 {
            let id = tracker.next_id().wrapping_sub(around).wrapping_add(step);
            assert_eq!(tracker.is_in_flight(id), ids.contains(&id), "id {id}");
        }
    }
}

#[test]
fn the_tracker_knows_what_is_in_flight() {
    static WRAPPED: Met = Met::new("a completed range over the wrap");
    static MERGED: Met = Met::new("a range of several ids");
    static OUT_OF_ORDER: Met = Met::new("a completion that leaves an older id");
    static FULL: Met = Met::new("a full window");
    static TWICE: Met = Met::new("a second completion");
    static UNKNOWN: Met = Met::new("a completion of what was not sent");
    static HALF: Met = Met::new("a bad range whose first id is in flight");

    fn property<const WORDS: usize>(FirstId(first): FirstId, events: Vec<Event>) {
        let mut tracker = Tracker::<WORDS>::starting_at(first);
        let mut model = InFlight {
            first,
            sent: 0,
            ordinals: BTreeSet::new(),
        };
        for event in events {
            let (lo, hi) = match event {
                Event::Sends(count) => {
                    for _ in 0..count {
                        let full = model.is_full(Tracker::<WORDS>::CAPACITY.into());
                        let expected = if full {
                            FULL.note();
                            Err(TrackerError::Full)
                        } else {
                            model.ordinals.insert(model.sent);
                            model.sent += 1;
                            Ok(model.id(model.sent - 1))
                        };
                        assert_eq!(tracker.sent(), expected);
                    }
                    model.assert_same(&tracker);
                    continue;
                }
                Event::Completes { rank, at_most } => {
                    let Some(rank) = usize::from(rank).checked_rem(model.ordinals.len()) else {
                        continue;
                    };
                    let lo = *model.ordinals.iter().nth(rank).expect("below the length");
                    let hi = (lo..=lo + u64::from(at_most))
                        .take_while(|at| model.ordinals.contains(at))
                        .last()
                        .expect("`lo` is in flight");
                    (model.id(lo), model.id(hi))
                }
                Event::CompletesAnything { back, length } => {
                    let lo = tracker.next_id().wrapping_sub(back.into()).wrapping_add(2);
                    (lo, lo.wrapping_add(length.into()))
                }
                Event::CompletesAnywhere { lo, hi } => (lo, hi),
            };
            let first_known = model.ids().contains(&lo);
            let expected = model.complete(lo, hi);
            let copied = hi % 2 == 0;
            assert_eq!(tracker.complete(Completion { lo, hi, copied }), expected);
            // After a refusal too: then the model has not moved.
            model.assert_same(&tracker);
            match expected {
                Ok(()) => {
                    WRAPPED.note_if(lo > hi);
                    MERGED.note_if(lo != hi);
                    OUT_OF_ORDER.note_if(tracker.oldest().is_some_and(|oldest| {
                        lo.wrapping_sub(oldest) < Tracker::<WORDS>::CAPACITY
                    }));
                }
                Err(error) => {
                    HALF.note_if(first_known);
                    TWICE.note_if(matches!(error, TrackerError::AlreadyComplete(_)));
                    UNKNOWN.note_if(matches!(error, TrackerError::NotSent(_)));
                }
            }
        }
    }
    check(property::<1> as fn(FirstId, Vec<Event>), 120, 60);
    check(property::<2> as fn(FirstId, Vec<Event>), 60, 60);
    were_met([
        &WRAPPED,
        &MERGED,
        &OUT_OF_ORDER,
        &FULL,
        &TWICE,
        &UNKNOWN,
        &HALF,
    ]);
}

/// As the kernel does it: a window of sends, cut into ranges anywhere, neighbours merged here and there, in any order.
#[test]
fn the_tracker_is_idle_after_any_cut_and_order_of_all_that_was_sent() {
    static WRAPPED: Met = Met::new("a window over the wrap");

    fn property(FirstId(first): FirstId, windows: Vec<(u8, Vec<u8>, Vec<u16>)>) {
        let mut tracker = Tracker::<4>::starting_at(first);
        for (sends, cuts, order) in windows {
            let start = tracker.next_id();
            for _ in 0..sends {
                tracker.sent().expect("the window is empty at its start");
            }
            let mut cuts: BTreeSet<u8> = cuts.into_iter().filter(|cut| *cut < sends).collect();
            cuts.extend([0, sends]);
            let cuts: Vec<u32> = cuts.into_iter().map(u32::from).collect();
            let mut ranges: Vec<(u32, u32)> =
                cuts.windows(2).map(|ends| (ends[0], ends[1] - 1)).collect();
            // Any permutation: each range goes to a place of its own choice.
            for (from, to) in order.iter().enumerate() {
                if !ranges.is_empty() {
                    let length = ranges.len();
                    ranges.swap(from % length, usize::from(*to) % length);
                }
            }
            // The kernel merges a new notification with the last one in the queue if they are neighbours.
            let mut queue: Vec<(u32, u32)> = Vec::new();
            for (lo, hi) in ranges {
                match queue.last_mut() {
                    Some(last) if last.1 + 1 == lo && hi % 2 == 0 => last.1 = hi,
                    _ => queue.push((lo, hi)),
                }
            }
            let mut left = u32::from(sends);
            for (lo, hi) in queue {
                let completion = Completion {
                    lo: start.wrapping_add(lo),
                    hi: start.wrapping_add(hi),
                    copied: false,
                };
                WRAPPED.note_if(completion.lo > completion.hi);
                assert_eq!(tracker.complete(completion), Ok(()));
                left -= hi - lo + 1;
                assert_eq!(tracker.in_flight(), left);
                // A second time it is refused as a whole, and nothing is freed twice.
                let id = completion.lo;
                let refused = Err(TrackerError::AlreadyComplete(id));
                assert_eq!(tracker.complete(completion), refused);
                assert_eq!(tracker.in_flight(), left);
            }
            assert!(tracker.is_idle() && tracker.oldest().is_none());
            assert_eq!(tracker.next_id(), start.wrapping_add(sends.into()));
        }
    }
    check(
        property as fn(FirstId, Vec<(u8, Vec<u8>, Vec<u16>)>),
        200,
        30,
    );
    were_met([&WRAPPED]);
}

// The parser of control messages.

/// Level and type of the messages that carry an extended error, and how long the address after it is.
const ERRORS: [(i32, i32, usize); 4] = [
    (SOL_IP, IP_RECVERR, 16),
    (SOL_IPV6, IPV6_RECVERR, 28),
    (SOL_VSOCK, VSOCK_RECVERR, 0),
    (SOL_PACKET, PACKET_TX_TIMESTAMP, 0),
];

/// A control message to write, and to read again.
#[derive(Clone, Debug)]
enum Part {
    Completion {
        family: usize,
        completion: Completion,
    },
    /// An extended error of another origin, or with an errno.
    Error { family: usize, error: ExtendedError },
    Other {
        level: i32,
        kind: i32,
        data: Vec<u8>,
    },
}

impl Arbitrary for Part {
    fn arbitrary(g: &mut Gen) -> Self {
        let family = index_below(g, ERRORS.len());
        let error = ExtendedError {
            errno: u32::arbitrary(g),
            origin: u8::arbitrary(g),
            kind: u8::arbitrary(g),
            code: u8::arbitrary(g),
            pad: u8::arbitrary(g),
            info: u32::arbitrary(g),
            data: u32::arbitrary(g),
        };
        match below(g, 3) {
            0 => Self::Completion {
                family,
                completion: Completion {
                    lo: error.info,
                    hi: error.data,
                    copied: bool::arbitrary(g),
                },
            },
            1 => Self::Error {
                family,
                error: match below(g, 2) {
                    0 => ExtendedError {
                        errno: error.errno.max(1),
                        origin: 5,
                        ..error
                    },
                    _ => ExtendedError {
                        origin: error.origin % 5,
                        ..error
                    },
                },
            },
            _ => {
                let level = i32::arbitrary(g);
                let length = index_below(g, 70);
                Self::Other {
                    // Not one of the four levels.
                    level: if (0..=300).contains(&level) { 1 } else { level },
                    kind: i32::arbitrary(g),
                    data: (0..length).map(|_| u8::arbitrary(g)).collect(),
                }
            }
        }
    }
}

impl Part {
    fn data(&self) -> Vec<u8> {
        let (family, error) = match self {
            Self::Other { data, .. } => return data.clone(),
            Self::Completion { family, completion } => {
                (family, ExtendedError::of_completion(*completion))
            }
            Self::Error { family, error } => (family, *error),
        };
        let mut data = error.to_bytes().to_vec();
        data.resize(data.len() + ERRORS[*family].2, 0xad);
        data
    }

    fn level_and_kind(&self) -> (i32, i32) {
        match self {
            Self::Other { level, kind, .. } => (*level, *kind),
            Self::Completion { family, .. } | Self::Error { family, .. } => {
                (ERRORS[*family].0, ERRORS[*family].1)
            }
        }
    }

    #[track_caller]
    fn assert_read_as(&self, message: Message<'_>) {
        let (level, kind) = self.level_and_kind();
        let data = &self.data();
        match self {
            Self::Completion { completion, .. } => {
                assert_eq!(message, Message::Completion(*completion));
            }
            Self::Error { error, .. } => {
                let other = Other { level, kind, data };
                assert_eq!(message, Message::Other(other));
                assert_eq!(other.extended_error(), Some(*error));
            }
            Self::Other { .. } => {
                let other = Other { level, kind, data };
                assert_eq!(message, Message::Other(other));
                assert_eq!(other.extended_error(), None);
            }
        }
    }
}

/// The bytes of all parts, and where each part ends without its padding.
fn written(parts: &[Part]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = vec![0xee; parts.len() * 128];
    let mut at = 0;
    let mut ends = Vec::new();
    for part in parts {
        let (level, kind) = part.level_and_kind();
        let data = part.data();
        ends.push(at + 16 + data.len());
        at += put_message(&mut bytes[at..], level, kind, &data).expect("128 bytes hold a part");
    }
    bytes.truncate(at);
    (bytes, ends)
}

#[test]
fn the_parser_reads_what_the_encoder_wrote() {
    static SEVERAL: Met = Met::new("several messages");

    fn property(parts: Vec<Part>) {
        let (bytes, _) = written(&parts);
        let mut read = 0;
        for (part, message) in parts.iter().zip(messages(&bytes)) {
            part.assert_read_as(message.expect("well-formed"));
            read += 1;
        }
        assert_eq!(messages(&bytes).count(), parts.len());
        assert_eq!(read, parts.len());
        SEVERAL.note_if(read > 3);
    }
    check(property as fn(Vec<Part>), 500, 12);
    were_met([&SEVERAL]);
}

#[test]
fn a_cut_buffer_gives_the_whole_messages_and_then_at_most_one_error() {
    static CUT: Met = Met::new("an error at the cut");
    static CLEAN: Met = Met::new("a cut between messages");

    fn property(parts: Vec<Part>) {
        let (bytes, ends) = written(&parts);
        let whole: Vec<_> = messages(&bytes).collect();
        for cut in 0..=bytes.len() {
            let complete = ends.iter().filter(|end| **end <= cut).count();
            // Nothing is left but padding: the next message starts at the next multiple of 8.
            let clean = match complete {
                0 => cut == 0,
                _ => cut <= ends[complete - 1].next_multiple_of(8),
            };
            let mut walk = messages(&bytes[..cut]);
            for message in &whole[..complete] {
                assert_eq!(walk.next().as_ref(), Some(message), "cut at {cut}");
            }
            match walk.next() {
                None => assert!(clean, "cut at {cut}: no error"),
                Some(Err(Malformed::HeaderCut | Malformed::DataCut)) => {
                    assert!(!clean, "cut at {cut}: an error");
                    CUT.note();
                }
                Some(other) => panic!("cut at {cut}: {other:?}"),
            }
            assert_eq!(walk.next(), None, "cut at {cut}: goes on");
            CLEAN.note_if(clean && complete > 1);
        }
    }
    check(property as fn(Vec<Part>), 300, 6);
    were_met([&CUT, &CLEAN]);
}

/// Well-formed messages with some bytes changed, then anything.
#[derive(Clone, Debug)]
struct Garbage(Vec<u8>);

impl Arbitrary for Garbage {
    fn arbitrary(g: &mut Gen) -> Self {
        let parts = Vec::<Part>::arbitrary(g);
        let (mut bytes, ends) = written(&parts);
        let starts = ends.iter().map(|end| end.next_multiple_of(8));
        let starts: Vec<usize> = [0].into_iter().chain(starts).collect();
        for _ in 0..below(g, 4) {
            if bytes.is_empty() {
                break;
            }
            // Mostly in a header, where the length is.
            let at = match below(g, 3) {
                0 => index_below(g, bytes.len()),
                _ => g.choose(&starts).expect("at least one") + index_below(g, 16),
            };
            let at = at.min(bytes.len() - 1);
            bytes[at] = u8::arbitrary(g);
        }
        bytes.extend(Vec::<u8>::arbitrary(g));
        Self(bytes)
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        Box::new(self.0.shrink().map(Self))
    }
}

type Walked<'a> = Result<(i32, i32, &'a [u8]), Malformed>;

/// The same walk with numbers that cannot overflow. `Err` is the whole answer to a bad message.
fn walked(bytes: &[u8]) -> Vec<Walked<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let left = &bytes[at..];
        if left.len() < 16 {
            found.push(Err(Malformed::HeaderCut));
            break;
        }
        let length = u64::from_ne_bytes(left[..8].try_into().expect("eight bytes"));
        if length < 16 {
            found.push(Err(Malformed::LengthTooSmall));
            break;
        }
        if u128::from(length) > left.len() as u128 {
            found.push(Err(Malformed::DataCut));
            break;
        }
        let length = usize::try_from(length).expect("within the bytes");
        let number =
            |at: usize| i32::from_ne_bytes(left[at..at + 4].try_into().expect("four bytes"));
        let (level, kind) = (number(8), number(12));
        let carries_error = ERRORS
            .iter()
            .any(|error| (error.0, error.1) == (level, kind));
        if carries_error && length < 32 {
            found.push(Err(Malformed::ErrorCut));
            break;
        }
        found.push(Ok((level, kind, &left[16..length])));
        at += length.next_multiple_of(8);
    }
    found
}

#[test]
fn the_parser_ends_on_any_bytes_and_says_what_they_are() {
    static ALL: [Met; 5] = [
        Met::new("a header cut"),
        Met::new("a length too small"),
        Met::new("data cut"),
        Met::new("an error cut"),
        Met::new("a message before an error"),
    ];

    fn property(Garbage(bytes): Garbage) {
        let expected = walked(&bytes);
        let mut walk = messages(&bytes);
        for expected in &expected {
            let message = walk.next().expect("an item");
            match (expected, message) {
                (Ok((level, kind, data)), Ok(Message::Other(other))) => {
                    assert_eq!(
                        (other.level, other.kind, other.data),
                        (*level, *kind, *data)
                    );
                    let completes = other
                        .extended_error()
                        .is_some_and(|error| error.origin == 5 && error.errno == 0);
                    assert!(!completes, "a completion as something else");
                }
                (Ok((_, _, data)), Ok(Message::Completion(completion))) => {
                    assert_eq!(data[..4], [0; 4], "an errno");
                    assert_eq!(data[4], 5, "the origin");
                    assert_eq!(completion.copied, data[6] & 1 == 1);
                    assert_eq!(completion.lo.to_ne_bytes(), data[8..12]);
                    assert_eq!(completion.hi.to_ne_bytes(), data[12..16]);
                }
                (Err(expected), Err(malformed)) => assert_eq!(malformed, *expected),
                (expected, message) => panic!("{message:?} where {expected:?} was written"),
            }
        }
        assert_eq!(walk.next(), None, "goes on");
        assert_eq!(walk.next(), None, "starts again");
        if let Some(Err(malformed)) = expected.last() {
            ALL[match malformed {
                Malformed::HeaderCut => 0,
                Malformed::LengthTooSmall => 1,
                Malformed::DataCut => 2,
                Malformed::ErrorCut => 3,
                other => panic!("a new kind: {other}"),
            }]
            .note();
            ALL[4].note_if(expected.len() > 1);
        }
    }
    check(property as fn(Garbage), 3000, 40);
    // Without any structure.
    check((|bytes| property(Garbage(bytes))) as fn(Vec<u8>), 1000, 300);
    were_met(ALL.each_ref());
}

/// An extended error with an address after it, or times, mostly of a right length, and mostly of a level and type that have them.
#[derive(Clone, Debug)]
struct Decodable {
    level: i32,
    kind: i32,
    data: Vec<u8>,
}

impl Arbitrary for Decodable {
    fn arbitrary(g: &mut Gen) -> Self {
        const KINDS: [(i32, i32); 10] = [
            (SOL_IP, IP_RECVERR),
            (SOL_IPV6, IPV6_RECVERR),
            (SOL_VSOCK, VSOCK_RECVERR),
            (SOL_PACKET, PACKET_TX_TIMESTAMP),
            (1, 29),
            (1, 35),
            (1, 37),
            (1, 63),
            (1, 64),
            (1, 65),
        ];
        let (level, kind) = *g.choose(&KINDS).expect("some");
        let length = match below(g, 4) {
            0 => index_below(g, 60),
            _ => *g.choose(&[16, 24, 32, 44, 48]).expect("some"),
        };
        let mut data: Vec<u8> = (0..length).map(|_| u8::arbitrary(g)).collect();
        if data.len() >= 18 && level != 1 {
            data[4] = u8::try_from(below(g, 7)).expect("small");
            let family = *g.choose(&[0_u16, 2, 10, 10, 2, 0x200]).expect("some");
            data[16..18].copy_from_slice(&family.to_ne_bytes());
        }
        // Small microseconds, as a kernel has them.
        if data.len() == 16 && level == 1 && bool::arbitrary(g) {
            data[12..16].fill(0);
        }
        Self { level, kind, data }
    }
}

/// What is decoded is what stands in the bytes, by another way to read them, and nothing else is decoded.
#[test]
fn times_and_addresses_are_what_stands_in_the_bytes() {
    static MET: [Met; 5] = [
        Met::new("an IPv4 address"),
        Met::new("an IPv6 address"),
        Met::new("an ICMP error"),
        Met::new("times"),
        Met::new("a number of a timestamp"),
    ];

    fn property(it: Decodable) {
        let Decodable { level, kind, data } = &it;
        let (level, kind) = (*level, *kind);
        let other = Other { level, kind, data };
        let is_error = ERRORS
            .iter()
            .any(|error| (error.0, error.1) == (level, kind))
            && data.len() >= 16;

        let address = data.get(16..).unwrap_or_default();
        let has_address = is_error && (level == SOL_IP || level == SOL_IPV6);
        let family = address
            .first_chunk()
            .map(|bytes| u16::from_ne_bytes(*bytes));
        match other.offender() {
            Some(SocketAddr::V4(v4)) => {
                assert!(has_address && family == Some(2) && address.len() >= 16);
                assert_eq!(v4.port().to_be_bytes(), address[2..4]);
                assert_eq!(v4.ip().octets(), address[4..8]);
                MET[0].note();
            }
            Some(SocketAddr::V6(v6)) => {
                assert!(has_address && family == Some(10) && address.len() >= 28);
                assert_eq!(v6.port().to_be_bytes(), address[2..4]);
                assert_eq!(v6.flowinfo().to_ne_bytes(), address[4..8]);
                assert_eq!(v6.ip().octets(), address[8..24]);
                assert_eq!(v6.scope_id().to_ne_bytes(), address[24..28]);
                MET[1].note();
            }
            None => assert!(
                !has_address
                    || !(family == Some(2) && address.len() >= 16
                        || family == Some(10) && address.len() >= 28)
            ),
        }

        let origin = is_error.then(|| data[4]);
        let icmp = other.icmp();
        assert_eq!(icmp.is_some(), matches!(origin, Some(2 | 3)));
        if let Some(icmp) = icmp {
            assert_eq!(icmp.errno.to_ne_bytes(), data[..4]);
            assert_eq!([icmp.kind, icmp.code], data[5..7]);
            assert_eq!(icmp.is_v6, data[4] == 3);
            assert_eq!(icmp.info.to_ne_bytes(), data[8..12]);
            assert_eq!(icmp.offender, other.offender());
            MET[2].note();
        }

        let length = match kind {
            37 | 65 => 48,
            _ => 16,
        };
        let microseconds = matches!(kind, 29 | 63);
        let word = |at: usize| {
            let bytes = data.get(at * 8..at * 8 + 8);
            bytes.map_or(0, |it| i64::from_ne_bytes(it.try_into().expect("eight")))
        };
        let scaled = i128::from(word(1)) * if microseconds { 1000 } else { 1 };
        match other.timestamps() {
            Some(times) => {
                assert!(level == 1 && data.len() == length);
                assert_eq!(times.software.seconds, word(0));
                assert_eq!(i128::from(times.software.nanoseconds), scaled);
                for (at, time) in [(2, times.legacy), (4, times.hardware)] {
                    assert_eq!((time.seconds, time.nanoseconds), (word(at), word(at + 1)));
                }
                MET[3].note();
            }
            None => {
                assert!(level != 1 || data.len() != length || i64::try_from(scaled).is_err());
            }
        }

        let stamped = other.stamped();
        assert_eq!(stamped.is_some(), origin == Some(4));
        if let Some(stamped) = stamped {
            assert_eq!(stamped.id.to_ne_bytes(), data[12..16]);
            let stage = match stamped.stage {
                Stage::Sent => 0,
                Stage::Scheduled => 1,
                Stage::Acknowledged => 2,
                Stage::Completed => 3,
                Stage::Unknown(other) => other,
                other => panic!("a new stage: {other:?}"),
            };
            assert_eq!(stage.to_ne_bytes(), data[8..12]);
            MET[4].note();
        }
    }
    check(property as fn(Decodable), 5000, 40);
    were_met(MET.each_ref());
}
