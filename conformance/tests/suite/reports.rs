//! The reports of small runs made by hand: what each says, and that it is well-formed whatever names and texts the results have.

use conformance::claims::REGISTRY;
use conformance::report::diff::{self, Diff};
use conformance::report::{json, junit, kcidb, ktap, markdown};
use conformance::run::jsonl;
use conformance::run::record::{Environment, Record, Run, SCHEMA};
use conformance::run::red::Strictness;
use conformance::run::stored::Stored;
use conformance::runner::outcome::Isolation;
use conformance::verdict::{Judgement, Lack, Observation, Reason, Word};
use quick_xml::events::Event;
use quickcheck::{Arbitrary, Gen, QuickCheck};
use rstest::rstest;
use serde_json::Value;
use std::collections::BTreeSet;
use syscalls::Errno;

fn record(id: &str, verdict: Word) -> Record {
    let decided = matches!(verdict, Word::Holds | Word::Refuted);
    let mut seen = Observation::new();
    seen.call("sendfile(a, b)", Err(Errno::EINVAL));
    Record {
        id: id.into(),
        verdict,
        judgement: decided.then_some(Judgement::AsKnown),
        reason: (verdict == Word::Untestable)
            .then(|| Reason::new(Lack::Device, "no device #1", "modprobe dummy")),
        failure: verdict.is_failure().then(|| "it <failed> & how".to_owned()),
        observation: decided.then_some(seen),
        milliseconds: 1234,
    }
}

fn run(name: &str, records: Vec<Record>) -> Stored {
    let environment = Environment {
        schema: SCHEMA,
        conformance: "0.1.0".into(),
        kernel: format!("{name}.0-1-amd64"),
        machine: "x86_64".into(),
        uid: 0,
        arguments: vec![],
        scratch: None,
        passed_over: vec![],
        config: vec![("CONFIG_TLS".into(), "m".into())],
        lost: Isolation::default(),
        foreign: None,
    };
    Stored {
        name: name.into(),
        run: Run::new(environment, records),
    }
}

/// Two kernels that differ in one claim, with one result of every other kind.
fn two() -> Vec<Stored> {
    let changed = Record {
        judgement: Some(Judgement::Changed),
        ..record("splice.a.changed", Word::Holds)
    };
    let old = vec![
        record("sendfile.copies.pipe", Word::Refuted),
        record("splice.a.same", Word::Holds),
        changed,
    ];
    let new = vec![
        record("sendfile.copies.pipe", Word::Holds),
        record("splice.a.same", Word::Holds),
        record("splice.a.gone", Word::Untestable),
        record("splice.a.broken", Word::Broken),
        record("splice.a.slow", Word::TimeOut),
        record("splice.a.later", Word::NotReached),
    ];
    vec![run("5.10", old), run("6.1", new)]
}

type Format = fn(&mut Vec<u8>, &[Stored]);

fn strict(expected: &[&str]) -> Strictness {
    Strictness {
        strict: true,
        expected_untestable: expected.iter().map(|id| (*id).to_owned()).collect(),
        registry: REGISTRY,
    }
}

const EXPECTED: &[&str] = &["splice.a.gone"];

fn as_markdown(output: &mut Vec<u8>, runs: &[Stored]) {
    markdown::write(output, runs, &strict(EXPECTED)).expect("a vector takes all");
}
fn as_junit(output: &mut Vec<u8>, runs: &[Stored]) {
    junit::write(output, runs, &strict(EXPECTED)).expect("a vector takes all");
}
fn as_ktap(output: &mut Vec<u8>, runs: &[Stored]) {
    ktap::write(output, runs, &strict(EXPECTED)).expect("a vector takes all");
}
fn as_json(output: &mut Vec<u8>, runs: &[Stored]) {
    json::write(output, runs, REGISTRY).expect("a vector takes all");
}
fn as_kcidb(output: &mut Vec<u8>, runs: &[Stored]) {
    let submitter = kcidb::Submitter {
        origin: "nocopy".into(),
        run: Some("job 7".into()),
    };
    kcidb::write(output, runs, &submitter, REGISTRY).expect("a vector takes all");
}

fn written(format: Format, runs: &[Stored]) -> String {
    let mut output = Vec::new();
    format(&mut output, runs);
    String::from_utf8(output).expect("reports are UTF-8")
}

#[rstest]
#[case::markdown(as_markdown, &[
    "# 7 claims on 2 kernels",
    "| 6.1 | 6.1.0-1-amd64 | 2 | 0 | 1 | 1 | 1 | 1 | 0 | 0 |",
    "## Red\n\n- 5.10: splice.a.changed changed: holds here, otherwise before\n- 6.1: splice.a.broken broken: it \\<failed\\> \\& how",
    "- 6.1: 1 claim not reached (splice.a.later, ..): it \\<failed\\> \\& how",
    "## 6 claims, not the same everywhere\n\n| claim | says | 5.10 | 6.1 |\n|---|---|---|---|\n| sendfile.copies.pipe | From a file to a pipe, sendfile() makes no CPU copy. | refuted | holds |",
    "## splice: 1 claim, the same everywhere",
    "| splice.a.changed |  | **holds** (changed) |  |",
    "| splice.a.slow |  |  | **time-out** |",
    "## Findings\n\n- 5.10: **holds, changed**",
    "## Untestable\n\n| claim | on | why |\n|---|---|---|\n| splice.a.gone | 6.1 | no device #1 (to test it: modprobe dummy) |",
])]
#[case::junit(as_junit, &[
    "<testsuites name=\"conformance\" tests=\"9\" failures=\"4\" errors=\"0\">",
    "<testsuite name=\"6.1\" tests=\"6\" failures=\"3\" errors=\"0\" skipped=\"1\" time=\"7.404\">",
    "<failure type=\"not reached\"",
    "<property name=\"CONFIG_TLS\" value=\"m\"/>",
    "<property name=\"verdict of sendfile.copies.pipe\" value=\"refuted, as known\"/>",
    "<testcase name=\"splice.a.same\" classname=\"5.10/splice\" time=\"1.234\">\n      <system-out>holds, as known: sendfile(a, b) = EINVAL</system-out>\n    </testcase>",
    "<failure type=\"changed\" message=\"sendfile(a, b) = EINVAL\"/>",
    "<failure type=\"broken\" message=\"it &lt;failed&gt; &amp; how\"/>",
    "<failure type=\"time-out\"",
    "<skipped message=\"no device #1 (to test it: modprobe dummy)\"/>",
])]
#[case::ktap(as_ktap, &[
    "KTAP version 1\n1..2\n  KTAP version 1\n  # Linux 5.10.0-1-amd64 x86_64, as user 0\n  1..2\n    KTAP version 1\n    1..1\n    # refuted, as known: sendfile(a, b) = EINVAL\n    ok 1 sendfile.copies.pipe\n  ok 1 sendfile\n",
    "    not ok 2 splice.a.changed\n  not ok 2 splice\nnot ok 1 5.10\n",
    "    ok 2 splice.a.gone # SKIP no device \u{ff03}1 (to test it: modprobe dummy)\n",
    "    # broken: it <failed> & how\n    not ok 3 splice.a.broken\n",
    "\nnot ok 2 6.1\n",
])]
#[case::json(as_json, &["\"schema\": 1", "\"statement\": \"From a file to a pipe, sendfile() makes no CPU copy.\"", "\"verdict\": \"time-out\""])]
#[case::kcidb(as_kcidb, &[
    "\"id\": \"nocopy:6.1.0-1-amd64:x86_64:6.1:job 7:splice.a.gone\"",
    "\"path\": \"nocopy.sendfile.copies.pipe\"",
])]
fn a_report_says(#[case] format: Format, #[case] parts: &[&str]) {
    let report = written(format, &two());
    for part in parts {
        assert!(report.contains(part), "{part:?} is missing in\n{report}");
    }
}

#[test]
fn differences_come_first() {
    let report = written(as_markdown, &two());
    let place = |text: &str| report.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(place("## Red") < place("not the same everywhere"));
    assert!(place("not the same everywhere") < place("## splice: "));
    assert!(place("## splice: ") < place("## Untestable"));
}

#[test]
fn without_strict_a_change_is_no_failure() {
    let mut lax = Vec::new();
    let strictness = Strictness::default();
    junit::write(&mut lax, &two(), &strictness).expect("a vector takes all");
    ktap::write(&mut lax, &two(), &strictness).expect("a vector takes all");
    let lax = String::from_utf8(lax).expect("UTF-8");
    assert!(
        !lax.contains("type=\"changed\"") && lax.contains("failures=\"0\""),
        "{lax}"
    );
    assert!(lax.contains("\n    ok 2 splice.a.changed\n"), "{lax}");
}

/// As `check --strict` has it: what is untestable is a failure, unless it is named.
#[test]
fn strict_counts_untestable_as_a_failure_in_every_form() {
    let write = |strictness: &Strictness| {
        let mut report = Vec::new();
        junit::write(&mut report, &two(), strictness).expect("a vector takes all");
        ktap::write(&mut report, &two(), strictness).expect("a vector takes all");
        markdown::write(&mut report, &two(), strictness).expect("a vector takes all");
        String::from_utf8(report).expect("UTF-8")
    };
    let found = write(&strict(&[]));
    for part in [
        "<failure type=\"untestable\" message=\"no device #1",
        "    not ok 2 splice.a.gone\n",
        "- 6.1: splice.a.gone untestable, which --expect-untestable does not name",
    ] {
        assert!(found.contains(part), "{part:?} is missing in\n{found}");
    }
    assert!(!found.contains("skipped message"), "{found}");
    let named = write(&strict(EXPECTED));
    assert!(!named.contains("type=\"untestable\""), "{named}");
}

#[test]
fn kcidb_statuses_are_what_the_document_says() {
    let report: Value = serde_json::from_str(&written(as_kcidb, &two())).expect("JSON");
    let status = |end: &str| {
        let tests = report["tests"].as_array().expect("a list");
        let of_id = |test: &&Value| test["id"].as_str().is_some_and(|id| id.ends_with(end));
        let found = tests.iter().find(of_id).expect("a test");
        found["status"].as_str().expect("a word").to_owned()
    };
    let found = ["same", "changed", "gone", "broken", "slow", "later"]
        .map(|name| status(&format!(".{name}")));
    assert_eq!(found, ["PASS", "FAIL", "SKIP", "ERROR", "ERROR", "MISS"]);
}

#[test]
fn one_kernel_twice_is_one_checkout() {
    let mut runs = two();
    let mut again = runs[0].clone();
    again.name = "again".into();
    runs.push(again);
    let report: Value = serde_json::from_str(&written(as_kcidb, &runs)).expect("JSON");
    let count = |what: &str| report[what].as_array().map(Vec::len);
    assert_eq!((count("checkouts"), count("builds")), (Some(2), Some(2)));
    assert_eq!(count("tests"), Some(12));
}

// What differs.

fn differ(first: Vec<Record>, second: Vec<Record>) -> Diff {
    Diff::of(&run("5.10", first), &run("6.1", second), REGISTRY)
}

fn ids(pairs: &[diff::Pair]) -> Vec<&str> {
    pairs.iter().map(|pair| pair.id.as_str()).collect()
}

#[test]
fn every_kind_of_difference_has_its_group() {
    let mut other_facts = record("a.same.facts", Word::Holds);
    other_facts.observation = Some(Observation::new());
    let found = differ(
        vec![
            record("a.one.verdict", Word::Holds),
            record("a.same.facts", Word::Holds),
            record("a.same.all", Word::Holds),
            record("a.not.now", Word::Holds),
            record("a.not.before", Word::Untestable),
            record("a.not.ever", Word::Untestable),
            record("a.only.first", Word::Holds),
        ],
        vec![
            record("a.one.verdict", Word::Broken),
            other_facts,
            record("a.same.all", Word::Holds),
            record("a.not.now", Word::Untestable),
            record("a.not.before", Word::Refuted),
            record("a.not.ever", Word::Untestable),
            record("a.only.second", Word::Holds),
        ],
    );
    assert_eq!(ids(&found.verdicts), ["a.one.verdict"]);
    assert_eq!(ids(&found.facts), ["a.same.facts"]);
    assert_eq!(
        found.facts[0].facts[0].values,
        [Some("EINVAL".to_owned()), None]
    );
    assert_eq!(ids(&found.newly_untestable), ["a.not.now"]);
    assert_eq!(ids(&found.newly_testable), ["a.not.before"]);
    assert_eq!(found.only_first, ["a.only.first"]);
    assert_eq!(found.only_second, ["a.only.second"]);
}

#[test]
fn times_and_what_varies_are_no_difference() {
    let with = |faults, milliseconds| {
        let mut seen = Observation::new();
        seen.count("page faults meanwhile", faults);
        Record {
            observation: Some(seen),
            milliseconds,
            ..record("mmap-write.entries.count", Word::Refuted)
        }
    };
    assert!(differ(vec![with(16, 1)], vec![with(17, 2)]).is_empty());
    // The same fact of a claim that does not say that it varies.
    let other = |faults| Record {
        id: "a.b.c".into(),
        ..with(faults, 1)
    };
    assert!(!differ(vec![other(16)], vec![other(17)]).is_empty());
}

#[test]
fn a_difference_is_told_in_three_forms() {
    let runs = two();
    let found = Diff::of(&runs[0], &runs[1], REGISTRY);
    let mut output = Vec::new();
    diff::human(&mut output, &found, &runs[0], &runs[1]).expect("a vector takes all");
    diff::markdown(&mut output, &found, &runs[0], &runs[1]).expect("a vector takes all");
    let text = String::from_utf8(output).expect("UTF-8");
    for part in [
        "5.10 (Linux 5.10.0-1-amd64) -> 6.1 (Linux 6.1.0-1-amd64)",
        "1 claim, with another verdict\n  sendfile.copies.pipe  refuted -> holds",
        "4 claims, only in 6.1\n  splice.a.broken",
        "## 1 claim, with another verdict\n\n| claim | fact | 5.10 | 6.1 |\n|---|---|---|---|\n| sendfile.copies.pipe |  | refuted | holds |",
        "## 1 claim, only in 5.10\n\n- splice.a.changed",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let mut output = Vec::new();
    diff::json(&mut output, &found, &runs[0], &runs[1]).expect("a vector takes all");
    let document: Value = serde_json::from_slice(&output).expect("JSON");
    assert_eq!(document["first"][0], "5.10");
    assert_eq!(document["verdicts"][0]["id"], "sendfile.copies.pipe");
}

// Whatever the texts are.

/// Runs with names, ids and texts of the worst letters.
#[derive(Clone, Debug)]
struct Wild(Vec<Stored>);

/// Text that breaks out of what is not escaped.
fn text(g: &mut Gen) -> String {
    const WORST: &[&str] = &[
        "#",
        " # SKIP ",
        "|",
        "\n",
        "\r\n",
        "\\",
        "<",
        "]]>",
        "&amp;",
        "\"",
        "'",
        "\0",
        "\u{1b}[31m",
        "\u{fffe}",
        "`",
        "**",
        "_",
        "[a](b)",
        "<!--",
        "~~",
        "ok 1 ",
        "1..2",
        "KTAP version 1",
        " ",
        "\u{85}",
        "\u{2028}",
        "Bail out!",
        ".",
        "..",
        "\u{feff}",
        "ü",
        "\t",
    ];
    let count = usize::arbitrary(g) % 6;
    let mut text = String::new();
    for _ in 0..count {
        if bool::arbitrary(g) {
            text += g.choose(WORST).expect("there are some");
        } else {
            text.push(char::arbitrary(g));
        }
    }
    text
}

impl Arbitrary for Wild {
    fn arbitrary(g: &mut Gen) -> Self {
        let names = ["5.10".to_owned(), text(g)];
        let runs = names.into_iter().map(|name| {
            let mut used = BTreeSet::new();
            let mut records = Vec::new();
            for _ in 0..usize::arbitrary(g) % 5 {
                let id = text(g);
                if !used.insert(id.clone()) {
                    continue;
                }
                let words = [
                    Word::Holds,
                    Word::Refuted,
                    Word::Untestable,
                    Word::Broken,
                    Word::TimeOut,
                    Word::NotReached,
                ];
                let mut made = record(&id, *g.choose(&words).expect("there are some"));
                if let Some(reason) = &mut made.reason {
                    reason.what = text(g);
                    reason.remedy = text(g);
                }
                made.failure = made.failure.map(|_| text(g));
                if made.observation.is_some() {
                    let mut seen = Observation::new();
                    seen.text(text(g), text(g));
                    made.observation = Some(seen);
                }
                records.push(made);
            }
            let mut stored = run(&name, records);
            stored.run.environment.kernel = text(g);
            stored.run.environment.machine = text(g);
            stored.run.environment.config = vec![(text(g), text(g))];
            stored
        });
        Self(runs.collect())
    }
}

fn for_all(property: fn(Wild)) {
    QuickCheck::new().tests(2000).quickcheck(property);
}

fn records(wild: &Wild) -> usize {
    wild.0.iter().map(|stored| stored.run.records.len()).sum()
}

#[test]
fn any_junit_is_xml() {
    for_all(|wild| {
        let report = written(as_junit, &wild.0);
        assert!(
            report.chars().all(|letter| letter == '\n'
                || (letter >= ' ' && !matches!(letter, '\u{fffe}' | '\u{ffff}'))),
            "a letter that XML does not have in {report:?}"
        );
        let mut reader = quick_xml::Reader::from_str(&report);
        reader.config_mut().check_end_names = true;
        let (mut cases, mut depth) = (0, 0);
        loop {
            match reader.read_event().expect("well-formed") {
                Event::Start(tag) => {
                    depth += 1;
                    cases += usize::from(tag.name().as_ref() == b"testcase");
                    for attribute in tag.attributes() {
                        let attribute = attribute.expect("an attribute");
                        attribute
                            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                            .expect("escaped");
                    }
                }
                Event::End(_) => depth -= 1,
                Event::Empty(tag) => {
                    for attribute in tag.attributes() {
                        let attribute = attribute.expect("an attribute");
                        attribute
                            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                            .expect("escaped");
                    }
                }
                Event::Eof => break,
                Event::Text(_) | Event::Decl(_) | Event::GeneralRef(_) => {}
                other => panic!("{other:?} in {report}"),
            }
        }
        assert_eq!((cases, depth), (records(&wild), 0), "{report}");
    });
}

#[test]
fn any_ktap_has_its_plan_and_nothing_else() {
    for_all(|wild| {
        let report = written(as_ktap, &wild.0);
        let mut results = 0;
        let mut planned = vec![];
        for line in report.lines() {
            let inner = line.trim_start();
            let depth = (line.len() - inner.len()) / 2;
            if inner == "KTAP version 1" {
                planned.push((depth, None, 0));
            } else if let Some(count) = inner.strip_prefix("1..") {
                planned.last_mut().expect("a version line").1 = count.parse::<u32>().ok();
            } else if inner.starts_with("# ") || inner == "#" {
            } else {
                while planned.last().is_some_and(|(at, ..)| *at > depth) {
                    let (_, plan, came) = planned.pop().expect("just looked at");
                    assert_eq!(plan, Some(came), "{report}");
                }
                let (at, _, came) = planned.last_mut().expect("a version line");
                assert_eq!(*at, depth, "{line:?} in {report}");
                *came += 1;
                let rest = inner.strip_prefix("not ").unwrap_or(inner);
                let rest = rest.strip_prefix(&format!("ok {came}"));
                let rest = rest.unwrap_or_else(|| panic!("{line:?} in {report}"));
                let hashes = rest.matches('#').count();
                assert_eq!(hashes, rest.matches(" # SKIP").count(), "{line:?}");
                assert!(hashes <= 1, "{line:?}");
                results += usize::from(depth == 2);
            }
        }
        assert_eq!(results, records(&wild), "{report}");
    });
}

#[test]
fn any_markdown_has_whole_rows() {
    for_all(|wild| {
        let report = written(as_markdown, &wild.0);
        let mut columns = None;
        for line in report.lines() {
            let plain = line.replace("\\\\", "").replace("\\|", "");
            let bars = plain.matches('|').count();
            match columns {
                _ if !line.starts_with('|') => {
                    assert_eq!(bars, 0, "{line:?} in {report}");
                    assert!(
                        line.is_empty()
                            || line.starts_with("# ")
                            || line.starts_with("## ")
                            || line.starts_with("- "),
                        "{line:?}"
                    );
                    columns = None;
                }
                None => columns = Some(bars),
                Some(columns) => assert_eq!(bars, columns, "{line:?} in {report}"),
            }
            for open in ['<', '`', '['] {
                assert_eq!(
                    plain.matches(open).count(),
                    plain.matches(&format!("\\{open}")).count(),
                    "{line:?}"
                );
            }
        }
    });
}

#[test]
fn any_json_is_read_back() {
    for_all(|wild| {
        let report: Value = serde_json::from_str(&written(as_json, &wild.0)).expect("JSON");
        for (stored, read) in wild
            .0
            .iter()
            .zip(report["runs"].as_array().expect("a list"))
        {
            let claims: Vec<Record> =
                serde_json::from_value(read["claims"].clone()).expect("claims");
            assert_eq!(claims, stored.run.records);
        }
    });
}

fn no_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains('\0'),
        Value::Array(list) => list.iter().all(no_nul),
        Value::Object(fields) => fields.values().all(no_nul),
        _ => true,
    }
}

/// The patterns of `kcidb-io` 5.3, by hand: the recipe `reports-check` asks it itself.
#[test]
fn any_kcidb_has_ids_and_paths_as_its_schema_wants() {
    for_all(|wild| {
        let report: Value = serde_json::from_str(&written(as_kcidb, &wild.0)).expect("JSON");
        let tests = report["tests"].as_array().expect("a list");
        assert_eq!(tests.len(), records(&wild));
        let part = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter))
        };
        for test in tests {
            let path = test["path"].as_str().expect("a path");
            assert!(path.split('.').all(part), "{path:?}");
        }
        for build in report["builds"].as_array().expect("a list") {
            let name = build["architecture"].as_str().expect("a name");
            assert!(
                name.chars().all(|letter| letter.is_ascii_lowercase()
                    || letter.is_ascii_digit()
                    || letter == '_'),
                "{name:?}"
            );
        }
        assert!(no_nul(&report), "{report}");
    });
}

#[test]
fn any_run_is_stored_and_read_back() {
    for_all(|wild| {
        for stored in &wild.0 {
            let mut bytes = Vec::new();
            jsonl::write_run(&mut bytes, &stored.run).expect("a vector takes all");
            let read = jsonl::read(&bytes).expect("a whole run");
            assert_eq!(read.records, stored.run.records);
            assert_eq!(read.environment, stored.run.environment);
        }
    });
}
