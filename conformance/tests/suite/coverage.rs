//! The cross-reference of other people's test suites: what it names is there, and the program answers by it.

use conformance::claim::source::Kind;
use conformance::claims;
use conformance::pages::coverage::{Answer, Coverage};
use rstest::rstest;
use std::collections::BTreeSet;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conformance"))
        .arg("coverage")
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn every_claim_named_is_in_the_registry() {
    for entry in Coverage::load().entries {
        let Answer::Claims(ids) = &entry.answer else {
            continue;
        };
        for id in ids {
            let place = entry.place();
            assert!(
                claims::REGISTRY.find(id).is_some(),
                "{place} names {id}, which is no claim"
            );
        }
    }
}

#[test]
fn nothing_is_named_twice_for_one_assertion() {
    for entry in Coverage::load().entries {
        if let Answer::Claims(names) | Answer::Tests(names) = &entry.answer {
            let different: BTreeSet<&String> = names.iter().collect();
            assert_eq!(different.len(), names.len(), "{}", entry.place());
        }
    }
}

#[test]
fn assertions_are_sentences_and_reasons_are_clauses() {
    for entry in Coverage::load().entries {
        let place = entry.place();
        let text = &entry.assertion;
        assert!(
            text.ends_with('.') && !text.contains("  "),
            "{place}: {text}"
        );
        if let Answer::NotApplicable(text) | Answer::Open(text) = &entry.answer {
            assert!(
                !text.ends_with('.') && !text.contains("  "),
                "{place}: {text}"
            );
        }
    }
}

#[test]
fn every_suite_says_which_version_was_read() {
    for suite in Coverage::load().suites {
        assert!(!suite.what.is_empty(), "{}", suite.name);
        assert!(
            suite.read.contains(|letter: char| letter.is_ascii_digit()),
            "{}: {}",
            suite.name,
            suite.read
        );
    }
}

/// A reader who looks up a test that a claim refers to finds it.
#[rstest]
#[case("LTP", Kind::Ltp, 20)]
#[case("gVisor", Kind::Gvisor, 5)]
fn a_file_that_a_claim_refers_to_is_listed(
    #[case] suite: &str,
    #[case] kind: Kind,
    #[case] at_least: usize,
) {
    let coverage = Coverage::load();
    let listed = coverage
        .suites
        .iter()
        .find(|other| other.name == suite)
        .expect("a suite");
    let name = |file: &str| {
        file.rsplit('/')
            .next()
            .unwrap_or(file)
            .trim_end_matches(".c")
            .to_owned()
    };
    let listed: BTreeSet<String> = listed
        .files
        .iter()
        .chain(&listed.cited)
        .map(|file| name(file))
        .collect();
    let mut found = BTreeSet::new();
    let mut missing = BTreeSet::new();
    for claim in claims::REGISTRY.all() {
        for source in claim.sources.iter().filter(|source| source.kind == kind) {
            let file = name(source.name);
            if !listed.contains(&file) {
                missing.insert(format!("{}: {file}", claim.id));
            }
            found.insert(file);
        }
    }
    assert!(
        missing.is_empty(),
        "not in fixtures/coverage.toml: {missing:#?}"
    );
    assert!(found.len() >= at_least, "{found:?}");
}

mod host_only {
    use conformance::pages::coverage::{Answer, Coverage};
    use rstest::rstest;
    use std::path::Path;

    /// Whether a source file has a test of this name: a function with its attribute, or a case of libtest-mimic.
    fn has_test(source: &str, name: &str) -> bool {
        let function = format!("fn {name}(");
        let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
        let is_test = |at: usize| {
            let mut above = lines[..at].iter().rev();
            // Attributes may take several lines; before them, something ends.
            above
                .by_ref()
                .take_while(|line| !line.is_empty() && **line != "}")
                .any(|line| *line == "#[test]" || *line == "#[rstest]")
        };
        let functions = lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.starts_with(&function));
        functions.map(|(at, _)| at).any(is_test)
            || source.contains("Trial::test(") && source.contains(&format!("\"{name}\""))
    }

    #[test]
    fn every_test_named_is_in_its_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut named = 0;
        for entry in Coverage::load().entries {
            let Answer::Tests(tests) = &entry.answer else {
                continue;
            };
            for test in tests {
                named += 1;
                let place = entry.place();
                let (file, name) = test.split_once("::").expect("file::function");
                let source = std::fs::read_to_string(root.join(file))
                    .unwrap_or_else(|error| panic!("{place} names {test}: {error}"));
                assert!(
                    has_test(&source, name),
                    "{place} names {test}, which is no test"
                );
            }
        }
        assert!(named > 0, "no test is named");
    }

    #[rstest]
    #[case("#[test]\nfn one() {}\n", true)]
    #[case(
        "    #[rstest]\n    #[case(1)]\n    fn one(#[case] number: u8) {}\n",
        true
    )]
    #[case("Trial::test(\"one\", one)", true)]
    #[case("fn one() {}\n", false)]
    #[case("#[test]\nfn other() {}\n\nfn one() {}\n", false)]
    #[case("#[test]\nfn other() {\n}\nfn one() {}\n", false)]
    #[case("#[test]\nfn one_more() {}\n", false)]
    #[case("let name = \"one\";", false)]
    fn a_test_is_told_from_other_functions(#[case] source: &str, #[case] is_test: bool) {
        assert_eq!(has_test(source, "one"), is_test);
    }
}

#[test]
fn the_program_tells_all_about_a_file() {
    let output = run(&["splice03"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for part in [
        "LTP splice03  commit 6958277",
        "A target with O_APPEND fails with EINVAL.",
        "claim splice.sink.append",
        "holds on 5.10 to 7.3",
        "7 assertions: 7 decided by claims, 0 by tests, 0 not for nocopy, 0 open",
    ] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
}

#[rstest]
#[case(&["splice04"], "test  conformance/tests/transfers/grids.rs::")]
#[case(&["ltp", "nfs"], "not for nocopy: needs an NFS server")]
#[case(&["gvisor", "--open"], "no assertion of these is open")]
#[case(&["splice03", "--open"], "no assertion of these is open")]
fn the_program_answers(#[case] arguments: &[&str], #[case] mentions: &str) {
    let output = run(arguments);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(shown.contains(mentions), "{shown}");
}

#[test]
fn without_a_text_all_assertions_are_counted() {
    let shown = text(&run(&[]).stdout);
    let entries = Coverage::load().entries;
    let count = |is: fn(&Answer) -> bool| entries.iter().filter(|entry| is(&entry.answer)).count();
    let last = format!(
        "{} assertions: {} decided by claims, {} by tests, {} not for nocopy, {} open",
        entries.len(),
        count(|answer| matches!(answer, Answer::Claims(_))),
        count(|answer| matches!(answer, Answer::Tests(_))),
        count(|answer| matches!(answer, Answer::NotApplicable(_))),
        count(|answer| matches!(answer, Answer::Open(_))),
    );
    assert_eq!(shown.lines().last(), Some(last.as_str()));
}
