//! The parser of control messages: what it accepts, what it refuses, and that it always ends.

use nocopy_msg_zerocopy::abi::{
    IP_RECVERR, IPV6_RECVERR, PACKET_TX_TIMESTAMP, SCM_TIMESTAMP_NEW, SCM_TIMESTAMP_OLD,
    SCM_TIMESTAMPING_NEW, SCM_TIMESTAMPING_OLD, SCM_TIMESTAMPNS_NEW, SCM_TIMESTAMPNS_OLD, SOL_IP,
    SOL_IPV6, SOL_PACKET, SOL_SOCKET, SOL_VSOCK, UDP_SEGMENT, VSOCK_RECVERR,
};
use nocopy_msg_zerocopy::{
    Completion, ExtendedError, Malformed, Message, Other, Stage, Time, messages, put_message,
    udp_segment,
};

/// An extended error as the kernel queues it: 16 bytes and the address of the offender.
fn with_address(error: ExtendedError, address: usize) -> Vec<u8> {
    let mut data = error.to_bytes().to_vec();
    data.resize(data.len() + address, 0);
    data
}

fn completion(lo: u32, hi: u32, copied: bool) -> Completion {
    Completion { lo, hi, copied }
}

const ICMP: ExtendedError = ExtendedError {
    errno: 111,
    origin: 2,
    kind: 3,
    code: 3,
    pad: 0,
    info: 0,
    data: 0,
};

/// Messages of every kind: level, type, data.
fn parts() -> Vec<(i32, i32, Vec<u8>)> {
    let done = |lo, hi, copied| ExtendedError::of_completion(completion(lo, hi, copied));
    vec![
        (SOL_IP, IP_RECVERR, with_address(done(0, 0, true), 16)),
        (1, 65, vec![0xaa; 48]), // timestamps
        (SOL_IP, IP_RECVERR, with_address(ICMP, 16)),
        (
            SOL_IPV6,
            IPV6_RECVERR,
            with_address(done(u32::MAX - 1, 2, false), 28),
        ),
        (7, 7, b"odd".to_vec()),
        (SOL_VSOCK, VSOCK_RECVERR, with_address(done(5, 9, false), 0)),
        (
            SOL_PACKET,
            PACKET_TX_TIMESTAMP,
            with_address(done(1, 1, true), 0),
        ),
        (9, 9, vec![]),
    ]
}

fn written(parts: &[(i32, i32, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    let mut at = 0;
    for (level, kind, data) in parts {
        at += put_message(&mut bytes[at..], *level, *kind, data).expect("room");
    }
    bytes.truncate(at);
    bytes
}

fn expected(parts: &[(i32, i32, Vec<u8>)]) -> Vec<Message<'_>> {
    let other = |at: usize| {
        let (level, kind, ref data) = parts[at];
        Message::Other(Other { level, kind, data })
    };
    vec![
        Message::Completion(completion(0, 0, true)),
        other(1),
        other(2),
        Message::Completion(completion(u32::MAX - 1, 2, false)),
        other(4),
        Message::Completion(completion(5, 9, false)),
        Message::Completion(completion(1, 1, true)),
        other(7),
    ]
}

#[test]
fn every_message_is_yielded_in_order_and_none_is_lost() {
    let parts = parts();
    let bytes = written(&parts);
    let got: Result<Vec<_>, _> = messages(&bytes).collect();
    assert_eq!(got, Ok(expected(&parts)));
}

#[test]
fn an_icmp_error_is_readable_but_is_no_completion() {
    let data = with_address(ICMP, 16);
    let mut bytes = [0; 64];
    let len = put_message(&mut bytes, SOL_IP, IP_RECVERR, &data).expect("room");
    let Some(Ok(Message::Other(other))) = messages(&bytes[..len]).next() else {
        panic!("not yielded as other");
    };
    assert_eq!(other.extended_error(), Some(ICMP));
    // The same bytes under another type mean something else.
    let stranger = Other { level: 1, ..other };
    assert_eq!(stranger.extended_error(), None);
}

#[test]
fn an_errno_or_another_origin_is_no_completion() {
    let done = ExtendedError::of_completion(completion(1, 2, false));
    assert_eq!(done.completion(), Some(completion(1, 2, false)));
    assert_eq!(ExtendedError { errno: 1, ..done }.completion(), None);
    for origin in (0..=255).filter(|origin| *origin != 5) {
        assert_eq!(ExtendedError { origin, ..done }.completion(), None);
    }
    // Only bit 0 of the code is COPIED.
    for code in 0..=255 {
        let copied = ExtendedError { code, ..done }
            .completion()
            .map(|it| it.copied);
        assert_eq!(copied, Some(code % 2 == 1));
    }
}

#[test]
fn at_every_cut_the_whole_messages_come_first_and_then_one_error() {
    let parts = parts();
    let bytes = written(&parts);
    let expected = expected(&parts);
    for cut in 0..=bytes.len() {
        // Where the messages end, without and with their padding.
        let (mut start, mut whole, mut clean) = (0, 0, cut == 0);
        for (_, _, data) in &parts {
            let end = start + 16 + data.len();
            start = end.next_multiple_of(8);
            whole += usize::from(end <= cut);
            clean |= (end..=start).contains(&cut);
        }
        let got: Vec<_> = messages(&bytes[..cut]).collect();
        let good: Vec<_> = got.iter().copied().map_while(Result::ok).collect();
        assert_eq!(good, expected[..whole], "cut at {cut}");
        assert_eq!(got.len(), whole + usize::from(!clean), "cut at {cut}");
        if !clean {
            let error = got[whole].expect_err("counted as an error");
            assert!(
                matches!(error, Malformed::HeaderCut | Malformed::DataCut),
                "cut at {cut}: {error}"
            );
        }
    }
}

#[test]
fn each_kind_of_malformed_has_its_name_and_ends_the_walk() {
    let done = ExtendedError::of_completion(completion(0, 0, false));
    let good = written(&[(SOL_IP, IP_RECVERR, with_address(done, 16))]);
    let with_len = |len: u64| {
        let mut bytes = good.clone();
        bytes[..8].copy_from_slice(&len.to_ne_bytes());
        bytes.extend_from_slice(&good);
        bytes
    };
    let errors = |bytes: &[u8]| {
        let mut walk = messages(bytes);
        let first = walk.next();
        assert_eq!(walk.next(), None, "goes on after an error");
        first.expect("an item").expect_err("an error")
    };
    assert_eq!(errors(&good[..15]), Malformed::HeaderCut);
    assert_eq!(errors(&with_len(0)), Malformed::LengthTooSmall);
    assert_eq!(errors(&with_len(15)), Malformed::LengthTooSmall);
    assert_eq!(errors(&with_len(16)), Malformed::ErrorCut);
    assert_eq!(errors(&with_len(31)), Malformed::ErrorCut);
    assert_eq!(errors(&with_len(97)), Malformed::DataCut);
    assert_eq!(errors(&with_len(u64::MAX)), Malformed::DataCut);
    assert_eq!(errors(&with_len(u64::MAX - 7)), Malformed::DataCut);
}

#[test]
fn no_change_of_one_byte_and_no_garbage_makes_it_panic_or_run_on() {
    let bound = |bytes: &[u8]| {
        let mut items = 0;
        let mut failed = false;
        for message in messages(bytes) {
            assert!(!failed, "an item after the error");
            failed = message.is_err();
            items += 1;
        }
        assert!(items <= bytes.len() / 16 + 1, "more items than headers");
    };
    let mut bytes = written(&parts());
    for at in 0..bytes.len() {
        let was = bytes[at];
        for value in 0..=255 {
            bytes[at] = value;
            bound(&bytes);
        }
        bytes[at] = was;
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..20_000 {
        let mut garbage = vec![0; round % 200];
        for byte in &mut garbage {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Mostly small numbers, so that lengths are often plausible.
            let [low, high, ..] = state.to_le_bytes();
            *byte = if low < 64 { high } else { 0 };
        }
        bound(&garbage);
    }
}

#[test]
fn a_range_may_wrap() {
    let all = completion(5, 4, false);
    assert_eq!(all.count(), 1 << 32);
    let wrapped = completion(u32::MAX, 1, false);
    assert_eq!(wrapped.count(), 3);
    let inside: Vec<_> = [u32::MAX - 1, u32::MAX, 0, 1, 2]
        .map(|id| wrapped.contains(id))
        .into();
    assert_eq!(inside, [false, true, true, true, false]);
    assert_eq!(completion(7, 7, false).count(), 1);
}

#[test]
fn what_does_not_fit_is_not_written() {
    for room in 0..24 {
        let mut out = vec![0xee; room];
        assert_eq!(put_message(&mut out, 1, 2, &[3]), None);
        assert!(out.iter().all(|byte| *byte == 0xee));
    }
    let mut out = [0xee; 32];
    assert_eq!(put_message(&mut out, 1, 2, &[3]), Some(24));
    assert_eq!(out[17..24], [0; 7], "the padding is cleared");
    assert_eq!(out[24..], [0xee; 8]);
}

/// Native numbers, one after the other.
fn numbers(numbers: &[i64]) -> Vec<u8> {
    numbers.iter().flat_map(|it| it.to_ne_bytes()).collect()
}

const fn time(seconds: i64, nanoseconds: i64) -> Time {
    Time {
        seconds,
        nanoseconds,
    }
}

#[test]
fn each_kind_of_timestamp_is_read_and_only_in_its_length() {
    let three = numbers(&[1, 2, 3, 4, 5, 6]);
    for (kind, data, expected) in [
        (SCM_TIMESTAMPING_OLD, &three[..], [(1, 2), (3, 4), (5, 6)]),
        (SCM_TIMESTAMPING_NEW, &three, [(1, 2), (3, 4), (5, 6)]),
        (SCM_TIMESTAMPNS_OLD, &three[..16], [(1, 2), (0, 0), (0, 0)]),
        (SCM_TIMESTAMPNS_NEW, &three[..16], [(1, 2), (0, 0), (0, 0)]),
        (SCM_TIMESTAMP_OLD, &three[..16], [(1, 2000), (0, 0), (0, 0)]),
        (SCM_TIMESTAMP_NEW, &three[..16], [(1, 2000), (0, 0), (0, 0)]),
    ] {
        let other = Other {
            level: SOL_SOCKET,
            kind,
            data,
        };
        let times = other.timestamps().expect("a time");
        let read = [times.software, times.legacy, times.hardware];
        assert_eq!(read, expected.map(|(a, b)| time(a, b)), "type {kind}");
        for length in 0..=three.len() {
            let cut = Other {
                data: &three[..length],
                ..other
            };
            assert_eq!(cut.timestamps().is_some(), length == data.len());
        }
        assert_eq!(
            Other {
                level: SOL_IP,
                ..other
            }
            .timestamps(),
            None
        );
        assert_eq!((other.icmp(), other.stamped()), (None, None));
        assert_eq!(other.offender(), None);
    }
    assert!(time(0, 0).is_unset() && !time(0, 1).is_unset() && !time(-1, 0).is_unset());
}

#[test]
fn microseconds_that_no_kernel_writes_are_no_time() {
    for (microseconds, is_time) in [
        (i64::MIN, false),
        (i64::MAX, false),
        (i64::MAX / 1000, true),
        (i64::MAX / 1000 + 1, false),
        (-1, true),
    ] {
        let other = Other {
            level: SOL_SOCKET,
            kind: SCM_TIMESTAMP_OLD,
            data: &numbers(&[0, microseconds]),
        };
        assert_eq!(other.timestamps().is_some(), is_time, "{microseconds}");
    }
}

#[test]
fn a_timestamp_has_its_stage_and_its_number() {
    for (info, stage) in [
        (0, Stage::Sent),
        (1, Stage::Scheduled),
        (2, Stage::Acknowledged),
        (3, Stage::Completed),
        (4, Stage::Unknown(4)),
        (u32::MAX, Stage::Unknown(u32::MAX)),
    ] {
        let error = ExtendedError {
            errno: 42,
            origin: 4,
            info,
            data: 77,
            ..ExtendedError::default()
        };
        let stamped = error.stamped().expect("the origin");
        assert_eq!((stamped.stage, stamped.id), (stage, 77));
        assert_eq!(error.completion(), None);
        let data = with_address(error, 16);
        for (level, kind) in [(SOL_IP, IP_RECVERR), (SOL_PACKET, PACKET_TX_TIMESTAMP)] {
            let data = &data;
            let other = Other { level, kind, data };
            assert_eq!(other.stamped(), Some(stamped));
            assert_eq!((other.icmp(), other.offender()), (None, None));
        }
        for origin in (0..=255).filter(|origin| *origin != 4) {
            assert_eq!(ExtendedError { origin, ..error }.stamped(), None);
        }
    }
}

#[test]
fn an_icmp_error_has_the_address_of_its_origin() {
    // A sockaddr_in, then a sockaddr_in6 over which it fits.
    let mut v4 = ICMP.to_bytes().to_vec();
    v4.extend(2_u16.to_ne_bytes());
    v4.extend([0x12, 0x34, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let other = Other {
        level: SOL_IP,
        kind: IP_RECVERR,
        data: &v4,
    };
    let icmp = other.icmp().expect("an ICMP error");
    assert_eq!((icmp.errno, icmp.is_v6), (111, false));
    assert_eq!((icmp.kind, icmp.code, icmp.info), (3, 3, 0));
    let address = Some("192.0.2.1:4660".parse().expect("an address"));
    assert_eq!((icmp.offender, other.offender()), (address, address));

    let mut v6 = ExtendedError {
        origin: 3,
        kind: 2,
        info: 1280,
        ..ICMP
    }
    .to_bytes()
    .to_vec();
    v6.extend(10_u16.to_ne_bytes());
    v6.extend([0x12, 0x34, 0, 0, 0, 0]);
    v6.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    v6.extend(7_u32.to_ne_bytes());
    let other = Other {
        level: SOL_IPV6,
        kind: IPV6_RECVERR,
        data: &v6,
    };
    let icmp = other.icmp().expect("an ICMPv6 error");
    assert_eq!((icmp.is_v6, icmp.kind, icmp.info), (true, 2, 1280));
    let address = "[2001:db8::1%7]:4660".parse().expect("an address");
    assert_eq!(icmp.offender, Some(address));

    // Cut anywhere, of another family, or where no address follows: none, and the rest is still there.
    for data in [&v4, &v6] {
        for length in 16..data.len() {
            let data = &data[..length];
            let cut = Other { data, ..other };
            assert_eq!(cut.offender(), None, "{length}");
            assert!(cut.icmp().is_some_and(|icmp| icmp.offender.is_none()));
        }
        for family in [0_u16, 1, 3, 40, u16::MAX] {
            let mut data = data.clone();
            data[16..18].copy_from_slice(&family.to_ne_bytes());
            assert_eq!(
                Other {
                    data: &data,
                    ..other
                }
                .offender(),
                None
            );
        }
        for (level, kind) in [
            (SOL_VSOCK, VSOCK_RECVERR),
            (SOL_PACKET, PACKET_TX_TIMESTAMP),
        ] {
            let other = Other { level, kind, data };
            assert_eq!(other.offender(), None);
            assert!(other.icmp().is_some_and(|icmp| icmp.offender.is_none()));
        }
        assert_eq!(
            Other {
                level: 1,
                data,
                ..other
            }
            .icmp(),
            None
        );
    }
}

#[test]
fn the_message_of_segments_is_what_the_encoder_writes() {
    for size in [0, 1, 1472, u16::MAX] {
        let mut out = [0xee; 24];
        let len = put_message(&mut out, libc::SOL_UDP, UDP_SEGMENT, &size.to_ne_bytes());
        assert_eq!((len, out), (Some(24), udp_segment(size)));
    }
}
