//! Every source to every sink, whole and in pieces: all bytes arrive, once and in order, and the outcome says by which route.

mod common;

use common::{From, MESSAGE, SINKS, SOURCES, To, pattern, set_nonblocking, sink, source};
use nocopy_transfer::{Ended, Outcome, Request, Route, Stability, State, choice};
use std::sync::LazyLock;

/// More than any queue takes, and no multiple of a page.
const LENGTH: usize = (3 << 20) + 4711;

/// How the transfer is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// In one go, with descriptors that sleep.
    Whole,
    /// In pieces of this budget, with descriptors that do not sleep.
    Pieces(u64),
}

fn send(from: From, to: To, stability: Stability, how: How, length: Option<u64>) -> Outcome {
    static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| pattern(LENGTH));
    let content = &*CONTENT;
    let near = source(from, content);
    let wanted = length.map_or(LENGTH, |length| usize::try_from(length).expect("a length"));
    let (out, far) = sink(to, wanted);
    let mut request = Request::new(stability);
    if let Some(length) = length {
        request = request.at_most(length);
    }
    if to == To::Datagrams {
        request = request.messages(MESSAGE);
    }
    if how != How::Whole {
        set_nonblocking(&near);
        set_nonblocking(&out);
    }
    let mut transfer = request.begin(&near, &out).expect("what it needs");
    match how {
        How::Whole => transfer.drive(),
        How::Pieces(budget) => loop {
            let before = transfer.taken();
            let state = transfer.advance(budget);
            let budget = if to == To::Datagrams {
                budget.next_multiple_of(MESSAGE as u64)
            } else {
                budget
            };
            assert!(
                transfer.taken() - before <= budget,
                "{from:?} to {to:?}: over the budget"
            );
            match state {
                State::Ended => break,
                State::Budget => assert_eq!(transfer.taken() - before, budget),
                State::Waits(wait) => transfer.wait(wait).expect("poll"),
            }
        },
    }
    let outcome = transfer.outcome();
    let what = format!("{from:?} to {to:?}, {stability:?}, {how:?}: {outcome}");
    assert_eq!(outcome.ended, Ended::Complete, "{what}");
    assert_eq!((outcome.bytes, outcome.held), (wanted as u64, 0), "{what}");
    assert_eq!(
        outcome
            .segments
            .iter()
            .map(|segment| segment.bytes)
            .sum::<u64>(),
        outcome.bytes,
        "{what}"
    );
    if let Some(bytes) = far.received(out) {
        assert!(bytes == content[..wanted], "other bytes arrived: {what}");
    }
    let (source, sink) = outcome.kinds.expect("it was chosen");
    let row = choice::row(source, sink);
    assert!(
        stability == Stability::Shared || !outcome.is_shared(),
        "{what}"
    );
    let first = row.ways(stability)[0].way;
    if first == choice::Way::ReadWrite {
        assert!(
            outcome
                .segments
                .iter()
                .all(|it| matches!(it.route, Route::ReadWrite { .. })),
            "{what}"
        );
    }
    outcome
}

#[test]
fn whole() {
    for from in SOURCES {
        for to in SINKS {
            for stability in [Stability::Shared, Stability::Snapshot] {
                for length in [None, Some(LENGTH as u64), Some(LENGTH as u64 / 2), Some(0)] {
                    send(from, to, stability, How::Whole, length);
                }
            }
        }
    }
}

#[test]
fn in_pieces() {
    for from in SOURCES {
        for to in SINKS {
            for stability in [Stability::Shared, Stability::Snapshot] {
                for budget in [100_500, 2 << 20] {
                    send(
                        from,
                        to,
                        stability,
                        How::Pieces(budget),
                        Some(LENGTH as u64),
                    );
                }
            }
        }
    }
}

/// What the table promises is what is done where nothing is refused.
#[test]
fn the_first_way_is_taken() {
    let taken = |from, to, stability, length: Option<u64>| {
        let outcome = send(from, to, stability, How::Whole, length);
        assert_eq!(outcome.refusals, [], "{from:?} to {to:?}");
        outcome.segments[0].route.name()
    };
    let (shared, snapshot) = (Stability::Shared, Stability::Snapshot);
    let all = Some(LENGTH as u64);
    let small = Some(70_000);
    assert_eq!(taken(From::File, To::Tcp, shared, small), "sendfile");
    assert_eq!(taken(From::File, To::Tcp, shared, all), "splice");
    assert_eq!(taken(From::File, To::Tcp, snapshot, all), "read-write");
    assert_eq!(taken(From::File, To::Pipe, shared, all), "splice");
    assert_eq!(taken(From::File, To::Append, shared, all), "read-write");
    assert_eq!(taken(From::File, To::Terminal, snapshot, all), "sendfile");
    assert_eq!(taken(From::Tcp, To::Tcp, shared, all), "splice");
    assert_eq!(taken(From::Tcp, To::Tcp, snapshot, all), "read-write");
    assert_eq!(taken(From::Pipe, To::File, snapshot, all), "splice");
}

/// Without a length, a file begins with `sendfile` and goes on with a pipe once it has turned out to be large.
#[test]
fn a_large_file_of_unknown_length_changes_its_way() {
    let outcome = send(From::File, To::Tcp, Stability::Shared, How::Whole, None);
    let routes: Vec<_> = outcome
        .segments
        .iter()
        .map(|segment| (segment.route.name(), segment.bytes))
        .collect();
    assert_eq!(
        routes,
        [
            ("sendfile", choice::LARGE),
            ("splice", LENGTH as u64 - choice::LARGE)
        ]
    );
}
