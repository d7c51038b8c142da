//! The command line as its user meets it.

use rstest::rstest;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output};

/// Runs the program, in English wherever it is tested.
fn conformance(arguments: &[&str]) -> Output {
    in_locale(&[("LC_ALL", "C")], arguments)
}

fn in_locale(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    for name in ["LC_ALL", "LC_MESSAGES", "LANG"] {
        command.env_remove(name);
    }
    command
        .envs(variables.iter().copied())
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[rstest]
#[case(&["show", "nonsense"], "nonsense")]
#[case(&["show", "S99"], "S01 to S72")]
#[case(&["lst"], "'list'")]
#[case(&["check", "--filtre", "tee"], "'--filter'")]
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
#[case(&["check", "--want", "holds"], "--filter =ID")]
#[case(&["check", "--want", "holds", "--filter", "splice."], "--filter =ID")]
#[case(&["check", "--want", "true", "--filter", "=splice.call.present"], "holds, refuted")]
#[case(&["check", "--want", "holds", "--filter", "=splice.call.present", "--strict"], "--strict")]
#[case(&["check", "--want", "holds", "--filter", "=splice.call.present", "--partition", "1/1"], "--partition")]
#[case(&["check", "--want", "holds", "--filter", "=splice.call.present", "--expect-untestable", "splice.call.present"], "--expect-untestable")]
#[case(&["check", "--partition", "0/3"], "1 <= K <= N")]
#[case(&["falsify", "--partition", "4/3"], "1 <= K <= N")]
#[case(&["check", "--language", "zh"], "--source seed")]
#[case(&["check", "--source", "seed", "--format", "jsonl", "--language", "zh"], "--source seed")]
#[case(&["list", "--language", "en"], "--source seed")]
#[case(&["show", "S22", "--language", "de"], "en, zh")]
#[case(&["report"], "--format")]
#[case(&["report", "--format", "xml"], "xml")]
#[case(&["report", "--format", "junit", "/no/such/file"], "/no/such/file")]
#[case(&["report", "--format", "junit", "/dev/null"], "a device")]
#[case(&["report", "--format", "kcidb", "--origin", "No Such"], "lower-case")]
#[case(&["bench", "--from", "/no/such/file"], "/no/such/file")]
#[case(&["bench", "--from", "/dev/null"], "a device")]
#[case(&["bench", "--from", "a", "--full"], "--full")]
#[case(&["bench", "--rounds", "2"], "3 to 10000")]
#[case(&["bench", "--sink", "nonsense"], "pipe to null")]
#[case(&["redis", "serve", "--rdb", "/dev/null", "--listen", "0.0.0.0:0"], "--allow-remote")]
#[case(&["redis", "serve", "--rdb", "/no/such/file", "--listen", "127.0.0.1:0"], "/no/such/file")]
#[case(&["redis", "serve", "--rdb", "/dev/null", "--listen", "127.0.0.1:0"], "not a regular file")]
#[case(&["redis", "serve", "--rdb", "/dev/null", "--listen", "here"], "--listen")]
#[case(&["redis", "aof", "extend", "--directory", "/no/such/directory", "/dev/null"], "/no/such/directory")]
#[case(&["redis", "aof", "extend", "--directory", "/"], "COMMANDS")]
#[case(&["redis", "aof", "build", "--directory", "/", "--route", "msg-zerocopy"], "the routes into a file are read-write")]
#[case(&["soak", "--gib", "1e-30"], "0.001")]
#[case(&["fds", "--recorded", "6.1,6.1"], "names 6.1 twice")]
#[case(&["diff", "6.1"], "required")]
#[case(&["diff", "6.1", "nonsense"], "nonsense")]
#[case(&["diff", "recorded:nonsense", "6.1"], "5.10, 6.1")]
#[case(&["record", "--results", "/no/such/directory"], "/no/such/directory/5.10.jsonl")]
#[case(&["list", "--open", "--filter", "no such claim"], "no claim matches")]
#[case(&["list", "--open", "--contradicted"], "--contradicted")]
#[case(&["list", "--kernel", "six"], "not a kernel release")]
#[case(&["coverage", "no such test"], "no assertion of another test suite matches `no such test`")]
#[case(&["coverage", "splice03", "--open", "nonsense"], "splice03 nonsense")]
fn bad_usage_is_one_line_and_exit_status_2(#[case] arguments: &[&str], #[case] mentions: &str) {
    refused(arguments, mentions);
}

fn refused(arguments: &[&str], mentions: &str) {
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
    let document = conformance::seed::Document::load();
    let expected: BTreeSet<&str> = conformance::claims::REGISTRY
        .all()
        .filter(|claim| document.is_decided_by(claim))
        .map(|claim| claim.id)
        .collect();
    assert_eq!(claims, expected);
    let end = lines.last().expect("a last line");
    assert_eq!(
        (&end["type"], &end["claims"]),
        (&"end".into(), &expected.len().into())
    );
    let begun: Vec<&str> = lines
        .iter()
        .filter(|line| line["type"] == "begin")
        .filter_map(|line| line["id"].as_str())
        .collect();
    assert_eq!(begun.len(), expected.len());
    assert_eq!(begun.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(lines.len(), 2 * expected.len() + 2);
}

/// A statement stands the same whether all of the document is asked for or it alone.
#[test]
fn a_statement_stands_the_same_alone_and_in_the_document() {
    let whole = text(&conformance(&["check", "--source", "seed"]).stdout);
    let standing = |report: &str, id: &str| {
        let start = format!("  {id} ");
        let line = report.lines().find_map(|line| line.strip_prefix(&start));
        let line = line.unwrap_or_else(|| panic!("no {id} in {report}"));
        line.split("  ")
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    // Of these one part is denied by a claim that does not cite the document.
    for id in ["S17", "S27", "S39", "S22"] {
        let alone = text(&conformance(&["show", id]).stdout);
        assert_eq!(standing(&whole, id), standing(&alone, id), "{id}");
    }
    assert_eq!(standing(&whole, "S39"), "partly");
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
    assert_eq!(printed.len(), 71, "{printed:?}");
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
        "asserts",
        "section 3.3",
        "known",
        "5.10 to 7.3",
        "code",
        "splice(",
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

/// The document's headings and sentences are in one language; the rest is English.
#[rstest]
#[case(&[], &[], false)]
#[case(&[("LANG", "de_DE.UTF-8")], &[], false)]
#[case(&[("LANG", "zh_CN.UTF-8")], &[], true)]
#[case(&[("LC_MESSAGES", "zh_TW.UTF-8"), ("LANG", "C")], &[], true)]
#[case(&[("LC_ALL", ""), ("LANG", "zh_CN.UTF-8")], &[], true)]
#[case(&[("LC_ALL", "C"), ("LANG", "zh_CN.UTF-8")], &[], false)]
#[case(&[("LANG", "zh_CN.UTF-8")], &["--language", "en"], false)]
#[case(&[], &["--language", "zh"], true)]
fn the_document_is_in_the_language_of_the_user(
    #[case] variables: &[(&str, &str)],
    #[case] options: &[&str],
    #[case] is_chinese: bool,
) {
    let document = conformance::seed::Document::load();
    let statement = document.find("S04").expect("a statement");
    let section = &document.sections[0];
    let check = [
        "check",
        "--source",
        "seed",
        "--filter",
        "=splice.call.present",
    ];
    let reports = [
        check.as_slice(),
        &["show", "S04"],
        &["show", "splice.call.present"],
    ];
    for (index, arguments) in reports.into_iter().enumerate() {
        let output = in_locale(variables, &[arguments, options].concat());
        let report = text(&output.stdout);
        let expected = |words: &str, is_there| {
            assert_eq!(report.contains(words), is_there, "{words} in {report}");
        };
        expected(&statement.chinese, is_chinese);
        expected(&statement.english, !is_chinese);
        if index == 0 {
            expected(&section.chinese, is_chinese);
            expected(&section.english, !is_chinese);
        }
        expected("EBADF", true);
        let has_chinese = report.chars().any(|letter| letter >= '\u{4e00}');
        assert_eq!(has_chinese, is_chinese, "{report}");
    }
}

#[test]
fn list_names_every_claim_once() {
    let listed = text(&conformance(&["list"]).stdout);
    let ids: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let expected: Vec<&str> = conformance::claims::REGISTRY
        .all()
        .map(|claim| claim.id)
        .collect();
    assert_eq!(ids, expected);
}

#[test]
fn list_says_what_a_kernel_contradicts() {
    let ids = |arguments: &[&str]| -> Vec<String> {
        let listed = text(&conformance(arguments).stdout);
        let first = listed
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        first.map(str::to_owned).collect()
    };
    let anywhere = ids(&["list", "--contradicted"]);
    let has = |ids: &[String], id: &str| ids.iter().any(|listed| listed == id);
    assert!(has(&anywhere, "zerocopy.sample.enobufs-without-option"));
    assert!(!has(&anywhere, "splice.copies.tcp"), "it holds everywhere");
    assert!(has(
        &ids(&["list", "--contradicted", "--kernel", "5.10"]),
        "zerocopy.sample.enobufs-without-option"
    ));
    assert!(!has(
        &ids(&["list", "--contradicted", "--kernel", "6.12"]),
        "zerocopy.sample.enobufs-without-option"
    ));
    for (kernel, word) in [
        ("5.10.0-46-cloud-amd64", "refuted"),
        ("6.1", "holds"),
        ("6.2", "(holds)"), // between two kernels that were measured, with one result
        ("4.19", "not measured"),
    ] {
        let listed = text(
            &conformance(&[
                "list",
                "--kernel",
                kernel,
                "--filter",
                "=sendfile.source.urandom",
            ])
            .stdout,
        );
        assert!(listed.contains(&format!(" {word} ")), "{kernel}: {listed}");
    }
}

/// The exit status is the answer to `git bisect run`, and the report is the usual one.
#[rstest]
#[case("splice.call.present", "1 hold")]
#[case("splice.sample.file-to-socket", "1 refuted")]
fn a_wanted_verdict_is_the_exit_status(#[case] id: &str, #[case] summary: &str) {
    let filter = format!("={id}");
    let check = |more: &[&str]| conformance(&[&["check", "--filter", &filter], more].concat());
    let usual = check(&[]);
    let report = text(&usual.stdout);
    assert!(report.contains(summary), "{report}");
    for want in ["holds", "refuted"] {
        let output = check(&["--want", want]);
        let is_wanted = summary.contains(want.trim_end_matches('s'));
        let status = i32::from(!is_wanted);
        assert_eq!(output.status.code(), Some(status), "{id} --want {want}");
        assert_eq!(text(&output.stdout), report, "{id} --want {want}");
        assert_eq!(output.stderr, usual.stderr, "{id} --want {want}");
    }
}

/// What the machine lacks is neither verdict, and a commit for `git bisect run` to skip.
#[test]
fn a_wanted_verdict_without_a_directory_is_undecided() {
    for want in ["holds", "refuted"] {
        let fixed = ["check", "--filter", "=splice.call.present"];
        let more = ["--scratch", "/no/such/directory", "--want", want];
        let output = conformance(&[fixed.as_slice(), &more].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(said.contains("undecided: --scratch"), "{said}");
    }
}

/// The claims that a run has decided.
fn decided(arguments: &[&str]) -> Vec<String> {
    let output = conformance(&[arguments, &["--format", "jsonl"]].concat());
    let stdout = text(&output.stdout);
    let lines = stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let claims = lines.filter(|line| line["type"] == "claim");
    let mut ids: Vec<String> = claims
        .filter_map(|line| line["id"].as_str().map(str::to_owned))
        .collect();
    ids.sort_unstable();
    ids
}

#[test]
fn the_parts_of_a_selection_are_all_of_it() {
    let fixed = ["check", "--filter", "tee.", "--filter", ".present"];
    let whole = decided(&fixed);
    let parts: Vec<Vec<String>> = ["1/3", "2/3", "3/3"]
        .iter()
        .map(|part| decided(&[fixed.as_slice(), &["--partition", part]].concat()))
        .collect();
    assert!(whole.len() > 3, "{whole:?}");
    assert!(parts.iter().all(|part| part.len() < whole.len()));
    let mut all = parts.concat();
    all.sort_unstable();
    assert_eq!(all, whole);
}

/// A machine that got nothing to do reports that, and is not green.
#[rstest]
#[case(&["check"])]
#[case(&["check", "--strict"])]
#[case(&["check", "--strict", "--expect-untestable", "splice.call.present"])]
#[case(&["falsify"])]
fn an_empty_part_is_red(#[case] command: &[&str]) {
    let part = ["--filter", "=splice.call.present", "--partition", "2/2"];
    let output = conformance(&[command, &part].concat());
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("part 2/2 is empty: 1 claim selected"),
        "{said}"
    );
}

/// A file of results with every verdict, which the recipe `reports-check` uses, too.
const EVERY_VERDICT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/reports_check/every-verdict.jsonl"
);

mod host_only {
    use super::{EVERY_VERDICT, conformance, refused, text};
    use rstest::rstest;
    use std::process::Command;

    #[rstest]
    #[case("markdown", "## Red")]
    #[case(
        "junit",
        "<testsuite name=\"every-verdict\" tests=\"8\" failures=\"3\""
    )]
    #[case("ktap", "not ok 1 every-verdict")]
    #[case("json", "\"name\": \"every-verdict\"")]
    #[case(
        "kcidb",
        "\"id\": \"my_ci:6.6.0-made-up:x86_64:every-verdict:8:sendfile.copies.tcp\""
    )]
    fn a_report_of_a_file(#[case] format: &str, #[case] mentions: &str) {
        let submitter = ["--origin", "my_ci", "--run", "8"];
        let submitter = &submitter[..if format == "kcidb" { 4 } else { 0 }];
        let arguments = [&["report", "--format", format, EVERY_VERDICT], submitter].concat();
        let output = conformance(&arguments);
        let report = text(&output.stdout);
        // It has results that are broken.
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        assert!(report.contains(mentions), "{report}");
    }

    /// One meaning of green: a report of results ends as the run that made them did.
    #[test]
    fn a_report_is_as_green_as_its_results() {
        let report = |arguments: &[&str]| {
            let file = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../fixtures/verdicts/6.1.jsonl"
            );
            let fixed = ["report", "--format", "ktap", file];
            conformance(&[&fixed, arguments].concat()).status.code()
        };
        assert_eq!(report(&[]), Some(0));
        assert_eq!(
            report(&["--strict"]),
            Some(0),
            "what is untestable is known there"
        );
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("6.1.jsonl");
        let record = include_str!("../../../fixtures/verdicts/6.1.jsonl");
        let lines = record.lines().map(|line| {
            if !line.contains(r#""id":"sendfile.copies.ktls""#) {
                return line.to_owned();
            }
            let reason = r#"{"kind":"device","what":"no TLS","remedy":"CONFIG_TLS"}"#;
            format!(
                r#"{{"type":"claim","id":"sendfile.copies.ktls","verdict":"untestable","reason":{reason}}}"#
            )
        });
        let text: Vec<String> = lines.collect();
        std::fs::write(&file, text.join("\n")).expect("written");
        let report = |arguments: &[&str]| {
            let file = file.to_str().expect("UTF-8");
            let fixed = ["report", "--format", "junit", file];
            conformance(&[&fixed, arguments].concat()).status.code()
        };
        assert_eq!(report(&[]), Some(0));
        assert_eq!(report(&["--strict"]), Some(1));
        let expected = ["--strict", "--expect-untestable", "sendfile.copies.ktls"];
        assert_eq!(report(&expected), Some(0));
    }

    /// A run in which nothing could be tried is red, whatever may be untestable.
    #[test]
    fn nothing_decided_is_exit_status_1_under_any_option() {
        // Of the experiment's own files there are none, and nothing else is asked for.
        let id = "zerocopy.copies.network-card";
        let fixed = ["check", "--filter", "=zerocopy.copies.network-card"];
        for more in [&[][..], &["--strict", "--expect-untestable", id]] {
            let output = conformance(&[&fixed, more].concat());
            let said = text(&output.stdout);
            assert!(said.contains("1 untestable"), "{said}");
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("nothing was decided"), "{said}");
        }
    }

    #[rstest]
    #[case("holds")]
    #[case("refuted")]
    fn a_wanted_verdict_of_an_untestable_claim_is_exit_status_125(#[case] want: &str) {
        let fixed = ["check", "--filter", "=zerocopy.copies.network-card"];
        let output = conformance(&[fixed.as_slice(), &["--want", want]].concat());
        let (report, said) = (text(&output.stdout), text(&output.stderr));
        assert!(report.contains("1 untestable"), "{report}");
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(
            said.contains("undecided: zerocopy.copies.network-card untestable: "),
            "{said}"
        );
    }

    #[rstest]
    #[case(&["report", "--format", "junit", "Cargo.toml"], "Cargo.toml: line 1")]
    #[case(&["report", "--format", "junit", EVERY_VERDICT, EVERY_VERDICT], "two files are called every-verdict")]
    #[case(&["report", "--format", "junit", "--output", "/", EVERY_VERDICT], "cannot write /")]
    #[case(&["diff", "6.1", "Cargo.toml"], "Cargo.toml: line 1")]
    #[case(&["bench", "--from", "Cargo.toml"], "--format json")]
    #[case(&["report", "--format", "junit", "/dev/zero"], "must be a regular file")]
    #[case(&["diff", "6.1", "/proc/kcore"], "/proc/kcore")]
    #[case(&["bench", "--sink", "nosuch"], "--sink nosuch")]
    #[case(&["bench", "--rounds", "3", "--mib", "1", "--plots", "/proc/no"], "cannot write /proc/no")]
    #[case(&["bench", "--rounds", "3", "--mib", "1", "--output", "/proc/no"], "cannot write /proc/no")]
    fn what_is_no_result_is_one_line_and_exit_status_2(
        #[case] arguments: &[&str],
        #[case] mentions: &str,
    ) {
        refused(arguments, mentions);
    }

    #[test]
    fn without_files_a_report_is_of_all_results_in_the_order_of_kernels() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let report = |format| {
            Command::new(env!("CARGO_BIN_EXE_conformance"))
                .args(["report", "--format", format])
                .current_dir(&directory)
                .output()
                .expect("the program starts")
        };
        let empty = report("ktap");
        assert_eq!(empty.status.code(), Some(2));
        assert!(text(&empty.stderr).contains("conformance matrix"));
        let results = directory.path().join("target/conformance");
        std::fs::create_dir_all(&results).expect("a directory");
        for name in ["6.12", "6.1", "runsc"] {
            std::fs::copy(EVERY_VERDICT, results.join(format!("{name}.jsonl"))).expect("a copy");
        }
        std::fs::write(results.join("6.1.log"), "not results").expect("a file");
        let whole = text(&report("ktap").stdout);
        let names: Vec<&str> = whole
            .lines()
            .filter_map(|line| line.strip_prefix("not ok "))
            .collect();
        assert_eq!(names, ["1 6.1", "2 6.12", "3 runsc"]);
    }

    #[rstest]
    #[case(&["diff", "recorded:6.1", "recorded:6.1"], 0, "no difference")]
    #[case(&["diff", "recorded:5.10", "recorded:6.1"], 1, "sendfile.copies.pipe  refuted -> holds")]
    #[case(&["diff", EVERY_VERDICT, EVERY_VERDICT, "--format", "markdown"], 0, "Nothing.")]
    #[case(&["diff", EVERY_VERDICT, "recorded:6.1", "--format", "json"], 1, "\"made.up.claim\"")]
    fn diff_says_by_its_status_whether_there_is_one(
        #[case] arguments: &[&str],
        #[case] status: i32,
        #[case] mentions: &str,
    ) {
        let output = conformance(arguments);
        let said = text(&output.stdout);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{}",
            text(&output.stderr)
        );
        assert!(said.contains(mentions), "{said}");
    }

    #[rstest]
    #[case("5.10.0-made-up", "no result of rw.copies.tcp")]
    #[case(
        "6.6.0-made-up",
        "it is of Linux 6.6.0-made-up, and would be the record of 5.10"
    )]
    fn a_record_of_part_of_the_claims_or_of_another_kernel_is_refused(
        #[case] kernel: &str,
        #[case] mentions: &str,
    ) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let results = std::fs::read_to_string(EVERY_VERDICT).expect("readable");
        let results = results.replace("6.6.0-made-up", kernel);
        std::fs::write(directory.path().join("5.10.jsonl"), &results).expect("written");
        let directory = directory.path().to_str().expect("UTF-8");
        let output = conformance(&["record", "--results", directory, "--to", directory]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(mentions), "{said}");
    }

    #[test]
    fn a_grid_of_another_kernel_is_no_record() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let grid = include_bytes!("../../../fixtures/grids/fds/6.1.jsonl");
        std::fs::write(directory.path().join("5.10.jsonl"), grid).expect("written");
        let results = directory.path().to_str().expect("UTF-8");
        let said = ["would be the record of 5.10"].concat();
        refused(
            &["record", "fds", "--results", results, "--to", results],
            &said,
        );
    }

    /// Whoever names an input as the output, by whatever name, loses nothing.
    #[test]
    fn what_a_report_is_made_of_is_not_written_over() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| {
            let path = directory.path().join(name);
            path.to_str().expect("UTF-8").to_owned()
        };
        let (results, link) = (at("results.jsonl"), at("link"));
        std::fs::copy(EVERY_VERDICT, &results).expect("a copy");
        std::os::unix::fs::symlink(&results, &link).expect("a link");
        for output in [&results, &link] {
            for fixed in [
                &["report", "--format", "junit", &results][..],
                &["diff", &results, "recorded:6.1"],
                &["diff", "recorded:6.1", &results],
                &["bench", "--from", &results],
            ] {
                let arguments = [fixed, &["--output", output]].concat();
                refused(&arguments, "--output would replace");
            }
        }
        let kept = std::fs::read(&results).expect("readable");
        assert_eq!(kept, std::fs::read(EVERY_VERDICT).expect("readable"));
    }

    #[test]
    fn named_pipes_are_not_waited_for() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("pipe");
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success());
        let pipe = path.to_str().expect("UTF-8");
        refused(&["report", "--format", "ktap", pipe], "a named pipe");
        refused(&["bench", "--from", pipe], "a named pipe");
        let report = [
            "report",
            "--format",
            "ktap",
            EVERY_VERDICT,
            "--output",
            pipe,
        ];
        refused(&report, "this pipe has no reader");
    }

    #[test]
    fn help_that_cannot_be_written_is_no_success() {
        for option in ["--help", "--version"] {
            let full = std::fs::File::options().write(true).open("/dev/full");
            let output = Command::new(env!("CARGO_BIN_EXE_conformance"))
                .arg(option)
                .stdout(full.expect("/dev/full"))
                .output()
                .expect("the program starts");
            assert_eq!(output.status.code(), Some(2), "{option}");
            let said = text(&output.stderr);
            assert!(said.contains("standard output"), "{said}");
        }
    }

    /// A run without a measurement, or of an earlier one that has none, is not green.
    #[test]
    fn a_benchmark_of_nothing_is_exit_status_1() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("run.json");
        let run = include_str!("../../../fixtures/bench/run.json");
        let mut run: serde_json::Value = serde_json::from_str(run).expect("JSON");
        run["outcomes"] = serde_json::json!([]);
        std::fs::write(&file, run.to_string()).expect("written");
        let output = conformance(&["bench", "--from", file.to_str().expect("UTF-8")]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("nothing was measured"), "{said}");
    }
}

#[test]
fn open_edges_come_with_the_command_that_closes_them() {
    let listed = text(&conformance(&["list", "--open", "--filter", "vsock"]).stdout);
    for part in [
        "Linux 6.7: ",
        "6.1 and 6.12",
        "conformance vm run --kernel PATH --expect 6.6 --filter =zerocopy.socket.vsock",
    ] {
        assert!(listed.contains(part), "{part} is missing in\n{listed}");
    }
    let none = text(&conformance(&["list", "--open", "--filter", "=rw.copies.tcp"]).stdout);
    assert_eq!(none, "no edge of these claims is open\n");
}

/// What is for programs is one JSON document with its schema's number.
#[rstest]
#[case(&["find", "tee", "same", "pipe", "--format", "json"], "/found/0/id", "tee.ends.same-pipe")]
#[case(&["coverage", "splice04", "--format", "json"], "/assertions/0/suite", "LTP")]
#[case(&["show", "tee.ends.same-pipe", "--format", "json"], "/claims/0/here/verdict", "holds")]
#[case(&["show", "S22", "--format", "json"], "/statement", "S22")]
#[case(&["doctor", "--json", "--filter", "=tee.ends.same-pipe"], "/programs/0/programs/0", "qemu-system-x86_64")]
#[cfg_attr(feature = "vm", case(&["kernels", "list", "--format", "json"], "/kernels/0/name", "5.10"))]
fn for_programs(#[case] arguments: &[&str], #[case] place: &str, #[case] expected: &str) {
    let answer = conformance(arguments);
    assert!(answer.status.success(), "{}", text(&answer.stderr));
    let document: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    assert_eq!(document["schema"], 1);
    assert_eq!(
        document.pointer(place),
        Some(&Value::from(expected)),
        "{place}"
    );
}

#[test]
fn the_doctor_counts_what_cannot_be_decided() {
    let answer = conformance(&["doctor", "--json", "--filter", "zerocopy.socket"]);
    assert!(answer.status.success(), "{}", text(&answer.stderr));
    let document: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    let [all, decided] =
        ["claims", "decided"].map(|name| document[name].as_u64().expect("a number"));
    let undecided = document["undecided"].as_array().expect("a list").iter();
    let named: usize = undecided
        .map(|reason| reason["claims"].as_array().expect("ids").len())
        .sum();
    let failed = document["failed"].as_array().expect("a list").len();
    assert_eq!(decided + (named + failed) as u64, all);
    assert!(all > 5 && failed == 0, "{document:#}");
}

#[test]
fn shells_and_man_know_every_command() {
    let help = text(&conformance(&["--help"]).stdout);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 15, "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = text(&conformance(&["completions", shell]).stdout);
        for name in &commands {
            assert!(script.contains(name), "{shell}: {name}");
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let pages = directory.path().join("man1");
    let answer = conformance(&["man", "--output", pages.to_str().expect("UTF-8")]);
    assert!(answer.status.success(), "{}", text(&answer.stderr));
    for name in commands {
        let page =
            std::fs::read_to_string(pages.join(format!("conformance-{name}.1"))).expect(name);
        assert!(page.contains(".SH NAME"), "{name}");
    }
}

/// Two runs side by side: what both have, and an error if that is nothing.
#[test]
fn runs_of_the_benchmark_are_compared() {
    let runs = ["epyc", "run"].map(|name| {
        format!(
            "{}/../fixtures/bench/{name}.json",
            env!("CARGO_MANIFEST_DIR")
        )
    });
    let answer = conformance(&["bench", "diff", &runs[0], &runs[1]]);
    assert!(answer.status.success(), "{}", text(&answer.stderr));
    let table = text(&answer.stdout);
    let line = table
        .lines()
        .find(|line| line.starts_with("read+write 1 MiB"))
        .expect("a line");
    assert!(
        line.contains("1.45 [1.44-1.47]") && line.contains(" A "),
        "{line}"
    );
    let mut other: Value =
        serde_json::from_str(&std::fs::read_to_string(&runs[1]).expect("a run")).expect("JSON");
    other["outcomes"]
        .as_array_mut()
        .expect("plans")
        .retain(|plan| plan["kind"] == "relays");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("other.json");
    std::fs::write(&file, other.to_string()).expect("a file");
    let refused = conformance(&["bench", "diff", &runs[0], file.to_str().expect("UTF-8")]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused.stderr).contains("no plan in common"),
        "{}",
        text(&refused.stderr)
    );
}
