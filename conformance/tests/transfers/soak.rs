//! The soak: cases are their seeds', nothing is lost in silence, and a loss that is made is noticed.

use crate::common;
use conformance::lab::sinks::Kind;
use conformance::soak::{
    Case, Change, Failed, Receiver, Refused, Soak, Spoil, Way, lines_of_these_sizes,
};
use nocopy_transfer::{Ended, Route};
use rstest::rstest;
use serial_test::serial;
use std::process::Command;

fn soak() -> Soak {
    Soak::new(common::lab()).expect("a scratch directory")
}

/// Nothing happens to it.
fn quiet(route: Route, sink: Kind) -> Case {
    Case {
        seed: 0,
        way: Way::By(route),
        from: None,
        sink,
        start: 5000,
        length: 300_000,
        available: 300_000,
        budget: None,
        receiver: Receiver {
            at_most: 10_000,
            is_slow: false,
            dies_after: None,
        },
        change: None,
        has_signals: false,
    }
}

#[test]
fn a_seed_is_its_case() {
    let seeds = || 0..2000;
    assert!(seeds().map(Case::of).eq(seeds().map(Case::of)));
    let met = |wanted: fn(&Case) -> bool| seeds().map(Case::of).filter(wanted).count();
    for name in Route::ALL.iter().map(Route::name) {
        let cases = seeds().map(Case::of);
        let is_of = |case: &Case| matches!(case.way, Way::By(route) if route.name() == name);
        let count = cases.filter(is_of).count();
        assert!(count > 100, "{name}: {count} of 2000");
    }
    assert!(met(|case| matches!(case.way, Way::Chosen { refused: None, .. })) > 200);
    assert!(
        met(|case| matches!(
            case.way,
            Way::Chosen {
                refused: Some(_),
                ..
            }
        )) > 200
    );
    assert!(met(|case| case.from.is_some()) > 200);
    assert!(met(|case| case.change.is_some()) > 200);
    assert!(met(|case| case.receiver.dies_after.is_some()) > 200);
    assert!(met(|case| case.has_signals) > 200);
    assert!(met(|case| case.budget.is_some()) > 200);
}

// The kernel's filter of `just test-old` hides copy_file_range, which cases need.
#[test]
#[serial]
fn copy_file_range_and_all_other_routes_lose_nothing_in_silence() {
    let soak = soak();
    for seed in 0..60 {
        let case = Case::of(seed);
        let passed = soak.run(&case);
        assert!(passed.is_ok(), "{case}: {passed:?}");
    }
}

const SPOILS: [(&str, Spoil); 7] = [
    ("a byte is missing", |_, bytes| {
        bytes.pop();
    }),
    ("a byte is too many", |_, bytes| bytes.push(0)),
    ("a byte is another", |_, bytes| bytes[100_000] ^= 1),
    ("a page is zeros", |_, bytes| bytes[4096..8192].fill(0)),
    ("a page came twice", |_, bytes| {
        bytes.copy_within(4096..8192, 8192);
    }),
    ("more was told than sent", |outcome, _| outcome.bytes += 1),
    ("it ended early", |outcome, bytes| {
        outcome.bytes -= 1;
        outcome.ended = Ended::SourceEnded;
        bytes.pop();
    }),
];

#[rstest]
#[serial]
fn a_loss_is_noticed(#[values(Kind::Tcp, Kind::Unix, Kind::Pipe, Kind::File)] sink: Kind) {
    each_spoil_is_noticed(&soak(), &quiet(Route::ReadWrite { buffer: 7000 }, sink));
}

fn each_spoil_is_noticed(soak: &Soak, case: &Case) {
    assert!(soak.run(case).is_ok());
    for (what, spoil) in SPOILS {
        let spoilt = soak.run_spoilt(case, spoil);
        assert!(
            matches!(spoilt, Err(Failed::Silent(_))),
            "{what}: {spoilt:?}"
        );
    }
}

/// Of a stream, also what is left is looked at.
#[rstest]
#[serial]
fn a_loss_of_a_stream_is_noticed(#[values(Kind::Tcp, Kind::Unix, Kind::Pipe)] from: Kind) {
    let soak = soak();
    let stability = nocopy_transfer::Stability::Shared;
    let case = Case {
        way: Way::Chosen {
            stability,
            refused: None,
        },
        from: Some(from),
        ..quiet(Route::Sendfile, Kind::Unix)
    };
    each_spoil_is_noticed(&soak, &case);
    // The reader dies, and what the sink did not take is told of: one byte more is too many.
    let dying = Case {
        receiver: Receiver {
            dies_after: Some(10_000),
            ..case.receiver
        },
        ..case
    };
    let passed = soak.run(&dying).expect("nothing is lost");
    assert!(passed.told && passed.bytes < dying.length, "{passed:?}");
    let more: Spoil = |outcome, _| outcome.bytes += 1;
    let spoilt = soak.run_spoilt(&dying, more);
    assert!(matches!(spoilt, Err(Failed::Silent(_))), "{spoilt:?}");
}

#[test]
#[serial]
fn the_command_says_what_it_did_and_how_to_repeat_it() {
    let soak = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
        let output = command.arg("soak").args(arguments).output();
        let output = output.expect("the program");
        let text = String::from_utf8(output.stdout).expect("text");
        let error = String::from_utf8(output.stderr).expect("text");
        (output.status.code(), text, error)
    };
    // A seed whose case needs no call of after 3.17.
    let seed = (0..1000)
        .find(|seed| Case::of(*seed).way == Way::By(Route::Sendfile))
        .expect("a seed")
        .to_string();
    let (status, text, error) = soak(&["--case", &seed, "--times", "3"]);
    assert_eq!((status, error.as_str()), (Some(0), ""));
    assert!(text.contains(&format!("seed: {seed}")), "{text}");
    assert!(text.contains("3 transfers"), "{text}");
    assert!(text.contains("0 bytes lost silently"), "{text}");
    for wrong in [
        ["--gib", "0"].as_slice(),
        &["--gib", "much"],
        &["--seed", "-1"],
        &["--times", "2"],
        &["--case", "1", "--seed", "1"],
        &["--scratch", "/nonexistent"],
    ] {
        let (status, text, error) = soak(wrong);
        assert_eq!(status, Some(2), "{wrong:?}: {text}{error}");
        assert!(text.is_empty(), "{wrong:?}: {text}");
        assert_eq!(error.lines().count(), 1, "{wrong:?}: {error}");
    }
}

/// Each line of the fall-back table, at the first call and in the middle.
#[test]
#[serial]
fn copy_file_range_and_other_calls_are_refused_and_nothing_is_lost() {
    let soak = soak();
    for line in lines_of_these_sizes() {
        for (sink, at) in [
            (Kind::File, 0),
            (Kind::Tcp, 0),
            (Kind::Tcp, 100_000),
            (Kind::Pipe, 1),
        ] {
            let refused = Some(Refused { line, at });
            let stability = nocopy_transfer::Stability::Shared;
            let way = Way::Chosen { stability, refused };
            let case = Case {
                way,
                ..quiet(Route::Sendfile, sink)
            };
            let passed = soak.run(&case);
            assert!(
                passed.is_ok_and(|passed| passed.bytes == case.length && !passed.told),
                "{case}"
            );
        }
    }
}

/// A truncation after the pages were given away is not silent: its zeros are counted.
#[test]
fn zeros_of_a_truncated_file_are_counted() {
    let soak = soak();
    let cut = |route| {
        let case = Case {
            // When all is with the sink, to within what its pipe of 64 KiB still holds.
            change: Some((300_000, Change::Truncate(290_001))),
            receiver: Receiver {
                at_most: 10_000,
                is_slow: true,
                dies_after: None,
            },
            ..quiet(route, Kind::Pipe)
        };
        soak.run(&case).expect("nothing is lost in silence").zeroed
    };
    // Whose bytes are copies has none; the others have the rest of a page at least, or were read before.
    assert_eq!(cut(Route::ReadWrite { buffer: 64 << 10 }), 0);
    let given = (0..20).map(|_| cut(Route::Splice { pipe: 1 << 20 }));
    assert!(given.max() > Some(0));
}
