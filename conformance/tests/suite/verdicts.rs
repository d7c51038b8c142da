//! The registry and the records of `fixtures/verdicts` say the same, and the guide names what neither can.

use conformance::claims;
use conformance::kernel::MEASURED;
use conformance::known::Known;
use conformance::pages::open;
use conformance::run::answer::answers;
use conformance::run::record::Record;
use conformance::run::recorded;
use conformance::run::stored::Stored;
use conformance::verdict::{Judgement, Observation, Verdict, Word};
use nocopy_host::kernel::{Release, Series};

fn records() -> Vec<(Series, &'static Stored)> {
    let names = recorded::names().into_iter();
    let series = |name: &str| name.parse().expect("a name is a series");
    names
        .map(|name| {
            let release: Release = series(name);
            (
                release.series,
                recorded::find(name).expect("it has just been named"),
            )
        })
        .collect()
}

/// The verdict of a record that has one.
fn verdict(record: &Record) -> Option<Verdict> {
    match record.verdict {
        Word::Holds => Some(Verdict::Holds),
        Word::Refuted => Some(Verdict::Refuted),
        _ => None,
    }
}

#[test]
fn what_is_recorded_is_what_was_measured() {
    let recorded: Vec<Series> = records().into_iter().map(|(series, _)| series).collect();
    assert_eq!(recorded, MEASURED);
    for (series, stored) in records() {
        let kernel = &stored.run.environment.kernel;
        let release: Release = kernel.parse().expect("a release");
        assert_eq!(release.series, series, "{kernel}");
    }
}

#[test]
fn every_claim_is_recorded_everywhere_or_says_why_not() {
    for (series, stored) in records() {
        let ids: Vec<&str> = stored
            .run
            .records
            .iter()
            .map(|record| record.id.as_str())
            .collect();
        let registry: Vec<&str> = claims::REGISTRY.all().map(|claim| claim.id).collect();
        assert_eq!(ids, registry, "{series}: `just record` makes it again");
        for record in &stored.run.records {
            let why = record.reason.as_ref().map(|reason| reason.what.as_str());
            match record.verdict {
                Word::Holds | Word::Refuted => assert_eq!(why, None, "{series} {}", record.id),
                Word::Untestable => {
                    assert!(
                        why.is_some_and(|why| !why.is_empty()),
                        "{series} {}",
                        record.id
                    );
                }
                _ => panic!("{series} {}: red", record.id),
            }
        }
    }
}

#[test]
fn every_record_is_what_is_known() {
    for (series, stored) in records() {
        let release: Release = stored.run.environment.kernel.parse().expect("a release");
        for record in &stored.run.records {
            let claim = claims::REGISTRY.find(&record.id).expect("a claim");
            let judged = match record.verdict {
                Word::Holds => Some(Known::of(claim).judge(true, &release)),
                Word::Refuted => Some(Known::of(claim).judge(false, &release)),
                _ => None,
            };
            let expected = verdict(record).map(|_| Judgement::AsKnown);
            assert_eq!(judged, expected, "{series} {}", record.id);
            assert_eq!(record.judgement, expected, "{series} {}", record.id);
        }
    }
}

/// A claim that no kernel could decide would be a claim about nothing.
#[test]
fn every_claim_was_decided_by_a_kernel() {
    for claim in claims::REGISTRY.all() {
        assert!(!Known::of(claim).intervals().is_empty(), "{}", claim.id);
    }
}

/// The answer of a refuted claim is what the kernel does instead.
#[test]
fn every_refuted_entry_shows_a_fact() {
    let mut refuted = 0;
    for claim in claims::REGISTRY.all() {
        for answer in answers(claim)
            .iter()
            .filter(|answer| answer.verdict == Word::Refuted)
        {
            refuted += 1;
            assert!(
                !answer.instead.is_empty(),
                "{} on {}",
                claim.id,
                answer.range()
            );
            let all_expected = answer.instead.iter().all(|fact| fact.expected.is_some());
            assert!(
                all_expected,
                "{} on {}: no fact contradicts it",
                claim.id,
                answer.range()
            );
        }
    }
    assert!(refuted > 100, "{refuted}");
}

/// A name that stands twice would make one fact hide another.
#[test]
fn no_fact_is_named_twice() {
    for (series, stored) in records() {
        for record in &stored.run.records {
            let mut names = std::collections::BTreeSet::new();
            for fact in record.observation.iter().flat_map(Observation::facts) {
                assert!(
                    names.insert(&fact.fact),
                    "{series} {}: {}",
                    record.id,
                    fact.fact
                );
            }
        }
    }
}

/// The pure part of a claim, on what eleven kernels did.
#[test]
fn every_record_is_decided_as_it_was() {
    let mut decided = 0;
    for (series, stored) in records() {
        for record in &stored.run.records {
            let claim = claims::REGISTRY.find(&record.id).expect("a claim");
            let Some(seen) = &record.observation else {
                continue;
            };
            if claim.varies.is_empty() {
                decided += 1;
                let again = claim.verdict(seen);
                assert_eq!(Some(again), verdict(record), "{series} {}", record.id);
            }
        }
    }
    assert!(decided > 500, "{decided}");
}

#[test]
fn what_is_not_whole_or_not_green_is_no_record() {
    let stored = recorded::find("6.1").expect("it is recorded");
    let error = |change: &dyn Fn(&mut Vec<Record>)| {
        let mut run = stored.run.clone();
        change(&mut run.records);
        recorded::compact(&run, claims::REGISTRY).expect_err("no record")
    };
    let fewer = error(&|records| {
        records.pop();
    });
    assert!(fewer.contains("no result of redis"), "{fewer}");
    let red = error(&|records| records[0].verdict = Word::Broken);
    assert!(red.contains("rw.copies.tcp is broken"), "{red}");
    let other = error(&|records| {
        let mut record = records[0].clone();
        record.id = "no.such.claim".into();
        records.push(record);
    });
    assert!(other.contains("no.such.claim"), "{other}");
}

/// Facts of a record that vary are left out, so none of their names is there; that they are names is for a run to show.
#[test]
fn no_fact_that_varies_is_recorded() {
    for (series, stored) in records() {
        for claim in claims::REGISTRY.all() {
            let record = stored.run.find(claim.id).expect("it is recorded");
            for fact in record.observation.iter().flat_map(Observation::facts) {
                assert!(
                    !claim.varies.contains(&fact.fact.as_str()),
                    "{series} {}: {}",
                    claim.id,
                    fact.fact
                );
            }
        }
    }
}

#[test]
fn gates_are_releases_with_a_reason() {
    let mut gates = 0;
    for claim in claims::REGISTRY.all() {
        for gate in claim.gates {
            gates += 1;
            let release: Result<Release, _> = gate.since.parse();
            assert!(
                release.is_ok_and(|release| release.local.is_empty()),
                "{}",
                gate.since
            );
            assert!(
                !gate.what.is_empty() && !gate.what.ends_with('.'),
                "{}",
                gate.what
            );
        }
    }
    assert!(gates > 10, "{gates}");
}

/// By its documented version, or as the gap that it is.
#[test]
fn every_edge_between_verdicts_is_listed_if_no_neighbours_bracket_it() {
    let edges = open::edges(&claims::REGISTRY.all().collect::<Vec<_>>());
    for claim in claims::REGISTRY.all() {
        for pair in Known::of(claim).intervals().windows(2) {
            let (below, above) = (pair[0].to, pair[1].from);
            let neighbours = below.major == above.major && below.minor + 1 == above.minor;
            let is_it = |edge: &open::Edge| {
                edge.claims.contains(&claim.id)
                    && edge.measured == (Some(below), Some(above))
                    && !edge.what.contains("not the verdict")
            };
            assert!(neighbours || edges.iter().any(is_it), "{}", claim.id);
        }
    }
}

mod host_only {
    use super::{claims, open, recorded, records};

    #[test]
    fn a_record_has_nothing_that_differs_from_run_to_run() {
        for (series, stored) in records() {
            let environment = &stored.run.environment;
            assert_eq!(environment.scratch, None, "{series}");
            assert!(environment.arguments.is_empty(), "{series}");
            for record in &stored.run.records {
                assert_eq!(record.milliseconds, 0, "{series} {}", record.id);
            }
            let again = recorded::compact(&stored.run, claims::REGISTRY).expect("it is a record");
            let path = format!(
                "{}/../fixtures/verdicts/{series}.jsonl",
                env!("CARGO_MANIFEST_DIR")
            );
            let file = std::fs::read_to_string(path).expect("the record");
            assert!(again == file, "{series} is not as `just record` writes it");
        }
    }

    #[test]
    fn the_page_names_every_open_edge() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/open-edges.md");
        let page = std::fs::read_to_string(page).expect("the page");
        let table = open::markdown(&open::edges(&claims::REGISTRY.all().collect::<Vec<_>>()));
        assert!(
            page.contains(&table),
            "the table of docs/open-edges.md of open edges is to be\n{table}"
        );
    }
}
