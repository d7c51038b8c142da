//! The command line as its user meets it.

use rstest::rstest;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output};

fn conformance(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conformance"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[rstest]
#[case(&["show", "nonsense"], "nonsense")]
#[case(&["show"], "required")]
#[case(&["--no-such-flag"], "--no-such-flag")]
#[case(&["check", "--filter", "no such claim"], "no claim matches")]
#[case(&["check", "--timeout", "0"], "--timeout")]
#[case(&["check", "--jobs", "0"], "--jobs")]
#[case(&["check", "--jobs", "many"], "--jobs")]
#[case(&["check", "--format", "xml"], "xml")]
#[case(&["check", "--output", "/"], "/")]
#[case(&["check", "--output", "/proc/none/report"], "/proc/none/report")]
#[case(&["check", "--scratch", "/proc"], "/proc")]
#[case(&["check", "--scratch", "/no/such/directory"], "/no/such/directory")]
#[case(&["check", "--strict", "--expect-untestable", "nonsense"], "nonsense")]
#[case(&["check", "--expect-untestable", "splice.copies.tcp"], "--strict")]
fn bad_usage_is_one_line_and_exit_status_2(#[case] arguments: &[&str], #[case] mentions: &str) {
    let output = conformance(arguments);
    let message = text(&output.stderr);
    let complaint: Vec<&str> = message
        .lines()
        .filter(|line| !line.starts_with("deciding"))
        .collect();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(complaint.len(), 1, "{message}");
    assert!(complaint[0].contains(mentions), "{message}");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn the_stored_form_is_complete() {
    let output = conformance(&["check", "--source", "seed", "--format", "jsonl"]);
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines[0]["type"], "environment");
    assert_eq!(lines[0]["schema"], 1);
    let claims: BTreeSet<&str> = lines
        .iter()
        .filter(|line| line["type"] == "claim")
        .filter_map(|line| line["id"].as_str())
        .collect();
    let expected: BTreeSet<&str> = conformance::claims::registry()
        .iter()
        .filter(|claim| claim.is_of_document())
        .map(|claim| claim.id)
        .collect();
    assert_eq!(claims, expected);
    let end = lines.last().expect("a last line");
    assert_eq!(
        (&end["type"], &end["claims"]),
        (&"end".into(), &expected.len().into())
    );
    assert_eq!(lines.len(), expected.len() + 2);
}

#[test]
fn the_document_is_printed_in_its_order_and_whole() {
    let output = conformance(&["check", "--source", "seed"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = text(&output.stdout);
    assert!(!report.contains('\u{1b}'), "colour codes in a pipe");
    let printed: BTreeSet<&str> = report
        .lines()
        .filter_map(|line| {
            line.strip_prefix("  S")
                .map(|_| line.trim_start().split(' ').next().unwrap_or(""))
        })
        .collect();
    assert_eq!(printed.len(), 67, "{printed:?}");
    let sections: Vec<usize> = [
        "\n1.1  ",
        "\n2.1  ",
        "\n3.4  ",
        "\n-  Performance",
        "\n4.1  ",
        "\n6.2  ",
        "\n9  ",
    ]
    .iter()
    .map(|section| {
        report
            .find(section)
            .unwrap_or_else(|| panic!("no section {section:?}"))
    })
    .collect();
    assert!(sections.is_sorted());
}

#[test]
fn a_report_to_a_file_is_the_report() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("report");
    let output = conformance(&[
        "check",
        "--filter",
        "=splice.call.present",
        "--output",
        path.to_str().expect("UTF-8"),
    ]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "");
    let report = std::fs::read_to_string(path).expect("the report");
    assert!(
        report.contains("splice.call.present") && report.contains("1 claim:"),
        "{report}"
    );
}

#[test]
fn show_tells_all_about_a_claim_and_decides_it() {
    let output = conformance(&["show", "splice.sample.file-to-socket"]);
    let shown = text(&output.stdout);
    for part in [
        "said by",
        "section 3.3",
        "known",
        "5.10 to 7.3",
        "decided by",
        "S28",
        "refuted",
        "EINVAL",
    ] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
}

#[test]
fn show_takes_a_statement_too() {
    let shown = text(&conformance(&["show", "s28"]).stdout);
    assert!(
        shown.contains("S28 false") && shown.contains("splice.sample.file-to-socket"),
        "{shown}"
    );
}

#[test]
fn list_names_every_claim_once() {
    let listed = text(&conformance(&["list"]).stdout);
    let ids: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let expected: Vec<&str> = conformance::claims::registry()
        .iter()
        .map(|claim| claim.id)
        .collect();
    assert_eq!(ids, expected);
}
