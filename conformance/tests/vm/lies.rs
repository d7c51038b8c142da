//! Guests that lie, break off or never end, played by an emulator of our own: each is red, with one sentence that says why, and
//! neither a panic nor a longer wait than asked for. They need neither QEMU nor a kernel.

use super::fake::{Fake, Step, end, marker, record};
use super::support::{Test, check, conformance, expect, red, result};
use conformance::claims;
use conformance::run::jsonl::Line;
use conformance::run::record::Environment;
use conformance::run::stored;
use conformance::verdict::Word;
use libtest_mimic::{Completion, Trial};
use on_kernel::frames::{End, Kind};
use on_kernel::job::{EXIT_FAILED, EXIT_PASSED};
use std::path::Path;
use std::process::{Command, Output};

pub const RELEASE: &str = "5.10.0-1-test";
pub const ASKED: [&str; 2] = ["splice.ends.pipe-needed", "sendfile.call.present"];

pub fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = programs()
        .into_iter()
        .map(|(name, script, parts)| {
            Trial::ignorable_test(format!("host_only::program.{name}"), move || {
                red(&program(&script, &["--limit", "60"])?, &parts)
            })
        })
        .collect();
    trials.extend(reports().into_iter().map(|(name, lines, parts)| {
        Trial::ignorable_test(format!("host_only::report.{name}"), move || {
            report_is_red(&lines, 0, &parts)
        })
    }));
    let trial =
        |name: &str, test: fn() -> Test| Trial::ignorable_test(format!("host_only::{name}"), test);
    trials.extend([
        trial("program.honest.is-green", honest_program),
        trial("program.status-comes-back", status_comes_back),
        trial("program.never-ends.is-given-up", never_ends),
        trial("program.never-comes-up.is-given-up", never_comes_up),
        trial(
            "program.ended-and-alive.the-end-marker-decides",
            closed_and_alive,
        ),
        trial("program.powers-off.the-end-marker-decides", powers_off),
        trial("program.job-refused.is-said-at-once", refused),
        trial("report.broken-off.is-kept", broken_off),
        trial("program.floods-without-end.is-given-up", floods),
        trial("program.ends-while-others-hold-its-pipes", pipes_left_open),
        trial("program.output-that-cannot-be-written", full_output),
        trial("program.console-flood.keeps-the-end", console_flood),
        trial("program.terminal-commands-are-not-passed-on", terminal),
        trial("report.honest.is-green", honest_report),
        trial("report.green-with-status-1", status_against_report),
        trial("report.broken-with-status-0", broken_with_status_0),
    ]);
    trials
}

/// `vm exec` with the emulator of this script.
fn program(script: &[Step], options: &[&str]) -> std::io::Result<Output> {
    let fake = Fake::new(script)?;
    command(&fake, "exec", options)
        .arg("--")
        .arg(fake.file("program"))
        .output()
}

fn command(fake: &Fake, kind: &str, options: &[&str]) -> Command {
    let mut command = conformance(&["vm", kind, "--accel", "tcg", "--disks=", "--expect", "5.10"]);
    fake.first_for(&mut command)
        .arg("--kernel")
        .arg(fake.file("kernel"))
        .args(options);
    command
}

pub fn hello() -> Step {
    Step::Results(record(Kind::Hello, RELEASE.as_bytes()))
}

pub fn output(text: &str) -> Step {
    Step::Results(record(Kind::Output, text.as_bytes()))
}

pub fn ends(end: &End) -> Step {
    Step::Results(marker(end))
}

pub const PASSED: Step = Step::Exit(EXIT_PASSED);
pub const FAILED: Step = Step::Exit(EXIT_FAILED);
pub const PANIC: &str = "[    3.141592] Kernel panic - not syncing: sysrq triggered crash\r\n";

/// A record with one bit changed, `at` bytes after its start.
fn damaged(at: usize) -> Step {
    let mut bytes = record(Kind::Output, b"said");
    bytes[at] ^= 4;
    Step::Results(bytes)
}

/// Names, scripts, and what must be said.
#[expect(clippy::too_many_lines, reason = "a table")]
fn programs() -> Vec<(&'static str, Vec<Step>, Vec<&'static str>)> {
    let said = || output("said\n");
    let console = |text: &str| Step::Console(text.into());
    let cut = |step: Step, keep: usize| match step {
        Step::Results(bytes) => Step::Results(bytes[..keep].to_vec()),
        other => other,
    };
    let after = |steps: &[Step]| [&[hello(), said()], steps].concat();
    vec![
        // It does not come up.
        (
            "nothing-at-all",
            vec![PASSED],
            vec!["never came up", "exit status: 33"],
        ),
        (
            "console-only",
            vec![console("Booting\n"), Step::Exit(0)],
            vec!["never came up", "exit status: 0"],
        ),
        (
            "panic-before-it-is-up",
            vec![console(PANIC), Step::Exit(0)],
            vec!["never came up", "sysrq triggered crash"],
        ),
        (
            "first-record-cut",
            vec![cut(hello(), 12), PASSED],
            vec!["its first record is truncated"],
        ),
        (
            "output-before-hello",
            vec![said(), hello(), ends(&end(2, 0)), PASSED],
            vec!["its first record"],
        ),
        (
            "end-before-hello",
            vec![ends(&end(0, 0)), PASSED],
            vec!["its first record"],
        ),
        (
            "hello-twice",
            after(&[hello(), ends(&end(3, 0)), PASSED]),
            vec!["came up twice"],
        ),
        // It is another kernel.
        (
            "other-kernel",
            vec![
                Step::Results(record(Kind::Hello, b"5.100.1")),
                ends(&end(1, 0)),
                PASSED,
            ],
            vec!["it is Linux 5.100.1", "5.10 was expected"],
        ),
        (
            "empty-release",
            vec![
                Step::Results(record(Kind::Hello, b"")),
                ends(&end(1, 0)),
                PASSED,
            ],
            vec!["it says that it is Linux \"\""],
        ),
        (
            "release-that-is-no-text",
            vec![
                Step::Results(record(Kind::Hello, b"5.10\xff\x1b[2J")),
                ends(&end(1, 0)),
                PASSED,
            ],
            vec!["it says that it is Linux", "\\u{1b}"],
        ),
        // It breaks off.
        (
            "panic",
            after(&[console(PANIC), Step::Exit(0)]),
            vec![
                "without an end marker",
                "after 2 records",
                "sysrq triggered crash",
            ],
        ),
        (
            "reboot",
            after(&[Step::Exit(0)]),
            vec!["without an end marker", "exit status: 0"],
        ),
        (
            "killed",
            after(&[Step::Killed]),
            vec!["without an end marker", "signal: 9"],
        ),
        (
            "passed-without-end-marker",
            after(&[PASSED]),
            vec!["without an end marker", "exit status: 33"],
        ),
        (
            "end-marker-on-the-console",
            after(&[
                console(&String::from_utf8_lossy(&marker(&end(2, 0)))),
                PASSED,
            ]),
            vec!["without an end marker"],
        ),
        (
            "end-marker-as-output",
            after(&[
                output(&String::from_utf8_lossy(&marker(&end(2, 0)))),
                PASSED,
            ]),
            vec!["without an end marker"],
        ),
        (
            "end-marker-cut",
            after(&[cut(ends(&end(2, 0)), 20), PASSED]),
            vec!["without an end marker", "a part of record 2"],
        ),
        (
            "record-cut",
            after(&[cut(said(), 10), PASSED]),
            vec!["without an end marker", "a part of record 2"],
        ),
        // What it sends is not what it sent.
        (
            "checksum",
            after(&[damaged(5), ends(&end(3, 0)), PASSED]),
            vec!["record 2", "checksum"],
        ),
        (
            "payload",
            after(&[damaged(9), ends(&end(3, 0)), PASSED]),
            vec!["record 2", "checksum"],
        ),
        (
            "kind",
            after(&[damaged(0), ends(&end(3, 0)), PASSED]),
            vec!["record 2", "unknown kind"],
        ),
        (
            "length-beyond-all",
            after(&[damaged(4), ends(&end(3, 0)), PASSED]),
            vec!["record 2", "too long"],
        ),
        (
            "length-of-more-than-comes",
            after(&[damaged(2), ends(&end(3, 0)), PASSED]),
            vec!["without an end marker", "a part of record 2"],
        ),
        (
            "noise",
            after(&[Step::Results(vec![0; 100]), ends(&end(2, 0)), PASSED]),
            vec!["record 2", "unknown kind"],
        ),
        (
            "record-missing",
            after(&[ends(&end(3, 0)), PASSED]),
            vec!["2 of 3 records came"],
        ),
        (
            "record-twice",
            after(&[said(), ends(&end(2, 0)), PASSED]),
            vec!["3 of 2 records came"],
        ),
        (
            "count-of-all",
            after(&[ends(&end(u64::MAX, 0)), PASSED]),
            vec!["2 of 18446744073709551615 records came"],
        ),
        (
            "two-end-markers",
            after(&[ends(&end(2, 0)), ends(&end(2, 0)), PASSED]),
            vec!["two end markers"],
        ),
        (
            "two-end-markers-that-count",
            after(&[ends(&end(2, 0)), ends(&end(3, 0)), PASSED]),
            vec!["two end markers"],
        ),
        (
            "output-after-the-end",
            after(&[ends(&end(2, 0)), said(), PASSED]),
            vec!["a record came after the end marker"],
        ),
        (
            "part-after-the-end",
            after(&[ends(&end(2, 0)), cut(said(), 5), PASSED]),
            vec!["a part of a record came after the end marker"],
        ),
        (
            "noise-after-the-end",
            after(&[ends(&end(2, 0)), Step::Results(vec![b'\n'; 20]), PASSED]),
            vec!["record 3", "unknown kind"],
        ),
        (
            "end-marker-no-json",
            after(&[Step::Results(record(Kind::End, b"done")), PASSED]),
            vec!["the end marker cannot be read"],
        ),
        (
            "end-marker-cut-json",
            after(&[
                Step::Results(record(Kind::End, br#"{"records":2,"sta"#)),
                PASSED,
            ]),
            vec!["the end marker cannot be read"],
        ),
        // The end marker and the emulator disagree.
        (
            "says-passed-ends-failed",
            after(&[ends(&end(2, 0)), FAILED]),
            vec!["says exit status 0", "33", "ended with exit status: 35"],
        ),
        (
            "says-failed-ends-passed",
            after(&[ends(&end(2, 1)), PASSED]),
            vec!["says exit status 1", "35", "ended with exit status: 33"],
        ),
        (
            "says-passed-is-killed",
            after(&[ends(&end(2, 0)), Step::Killed]),
            vec!["ended with signal: 9"],
        ),
        (
            "negative-status-ends-passed",
            after(&[ends(&end(2, -1)), PASSED]),
            vec!["says exit status -1"],
        ),
        // The kernel is not well.
        (
            "complaint",
            after(&[
                ends(&End {
                    complaints: vec!["BUG: bad page".into()],
                    ..end(2, 0)
                }),
                PASSED,
            ]),
            vec!["the kernel complained: BUG: bad page"],
        ),
        (
            "tainted-warning",
            after(&[
                ends(&End {
                    tainted: 1 << 9,
                    ..end(2, 0)
                }),
                PASSED,
            ]),
            vec!["the kernel is tainted: 0x200"],
        ),
        (
            "tainted-died",
            after(&[
                ends(&End {
                    tainted: 1 << 7,
                    ..end(2, 0)
                }),
                PASSED,
            ]),
            vec!["the kernel is tainted: 0x80"],
        ),
        (
            "complaint-on-the-console",
            after(&[
                console("[    9.000000] BUG: soft lockup\n"),
                ends(&end(2, 0)),
                PASSED,
            ]),
            vec!["complained on its console", "BUG: soft lockup"],
        ),
        (
            "complaint-and-failed",
            after(&[
                ends(&End {
                    complaints: vec!["Oops: 0000".into()],
                    ..end(2, 1)
                }),
                FAILED,
            ]),
            vec!["the kernel complained: Oops"],
        ),
    ]
}

fn honest_program() -> Test {
    let script = [
        hello(),
        output("one\n"),
        Step::Console("BUG: says a program, not the kernel\n".into()),
        // Modules of other licences taint, too.
        ends(&End {
            tainted: 1 << 12,
            ..end(2, 0)
        }),
        PASSED,
    ];
    let output = program(&script, &[])?;
    check(output.status.success(), || format!("{output:?}"))?;
    check(output.stdout == b"one\n", || format!("{output:?}"))?;
    Ok(Completion::Completed)
}

fn status_comes_back() -> Test {
    for (status, ours) in [
        (1, 1),
        (3, 3),
        (101, 101),
        (137, 137),
        (255, 255),
        (256, 1),
        (-1, 1),
    ] {
        expect(
            &program(&[hello(), ends(&end(1, status)), FAILED], &[])?,
            ours,
            &[],
        )?;
    }
    Ok(Completion::Completed)
}

fn never_ends() -> Test {
    let output = program(&[hello(), Step::Hang], &["--limit", "2"])?;
    red(&output, &["the command has not ended after 2 s"])
}

fn never_comes_up() -> Test {
    let output = program(
        &[Step::Console("Booting\n".into()), Step::Hang],
        &["--limit", "2"],
    )?;
    red(&output, &["it has not come up after 2 s"])?;
    expect(&output, 1, &["Booting"])
}

/// All has come: that the machine does not switch itself off changes nothing.
fn closed_and_alive() -> Test {
    for script in [
        vec![hello(), ends(&end(1, 0)), Step::Close, Step::Hang],
        vec![hello(), ends(&end(1, 0)), Step::Hang],
    ] {
        expect(&program(&script, &["--limit", "2"])?, 0, &[])?;
    }
    let script = [hello(), ends(&end(1, 7)), Step::Hang];
    expect(&program(&script, &["--limit", "2"])?, 7, &[])
}

/// Without the exit port (`CONFIG_X86_IOPL_IOPERM` is not set) QEMU ends with 0, whatever the command's status.
fn powers_off() -> Test {
    for status in [0, 3] {
        let script = [
            hello(),
            output("said\n"),
            ends(&end(2, status)),
            Step::Exit(0),
        ];
        let output = program(&script, &["--limit", "60"])?;
        expect(&output, status, &[])?;
        check(output.stdout == b"said\n", || format!("{output:?}"))?;
    }
    Ok(Completion::Completed)
}

/// What a guest could not do of its job is the user's to mend: exit status 2, without a wait.
fn refused() -> Test {
    let end = End {
        refused: Some("modules of 7.3.4 do not fit Linux 6.1.0: tls.ko: Exec format error".into()),
        ..end(1, 1)
    };
    let output = program(&[hello(), ends(&end), FAILED], &["--limit", "60"])?;
    expect(
        &output,
        2,
        &["modules of 7.3.4 do not fit Linux 6.1.0", "tls.ko"],
    )
}

/// Results that came before a guest broke off are reported and kept; the claim that was running is named, with what the kernel said.
fn broken_off() -> Test {
    let begin = |id: &str| text(&Line::Begin { id: id.into() });
    let lines = [
        text(&environment()),
        begin(ASKED[0]),
        text(&claim(ASKED[0], Word::Holds)),
        begin(ASKED[1]),
    ];
    for last in [
        vec![Step::Console(PANIC.into()), Step::Exit(0)],
        vec![Step::Killed],
        vec![Step::Hang],
    ] {
        let said: Vec<Step> = lines.iter().map(|line| output(line)).collect();
        let script = [&[hello()], &said[..], &last[..]].concat();
        let fake = Fake::new(&script)?;
        let stored = fake.file("results.jsonl");
        let output = command(&fake, "run", &["--limit", "2", "--output"])
            .arg(&stored)
            .args(ASKED.iter().map(|id| format!("--filter=={id}")))
            .output()?;
        red(&output, &[])?;
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "1 hold",
            "1 broken",
            "it was running when the guest broke off",
        ] {
            check(shown.contains(part), || format!("no {part} in {shown}"))?;
        }
        let panicked = matches!(last[0], Step::Console(_));
        check(shown.contains("sysrq triggered crash") || !panicked, || {
            shown.clone()
        })?;
        let kept = stored::read(&stored).map_err(libtest_mimic::Failed::from)?;
        check(kept.run.count(Word::Holds) == 1, || format!("{kept:?}"))?;
    }
    Ok(Completion::Completed)
}

/// More than the limit lets through, with nothing between that would end the wait.
fn floods() -> Test {
    let fake = Fake::new(&[hello(), Step::Output(1 << 20)])?;
    let output = command(&fake, "exec", &["--limit", "2", "--"])
        .arg(fake.file("program"))
        .stdout(std::process::Stdio::null())
        .output()?;
    red(&output, &["the command has not ended after 2 s"])
}

fn pipes_left_open() -> Test {
    let output = program(
        &[hello(), Step::Leave(12), Step::Exit(0)],
        &["--limit", "6"],
    )?;
    red(&output, &["it ended without an end marker"])
}

fn full_output() -> Test {
    let fake = Fake::new(&[hello(), output("said\n"), ends(&end(2, 0)), PASSED])?;
    let full = std::fs::File::options().write(true).open("/dev/full")?;
    let output = command(&fake, "exec", &["--"])
        .arg(fake.file("program"))
        .stdout(full)
        .output()?;
    expect(&output, 2, &["cannot write what the guest says"])
}

fn console_flood() -> Test {
    let script = [
        hello(),
        Step::Console(PANIC.into()),
        Step::ConsoleFlood(64),
        Step::Console("the last line\n".into()),
        Step::Exit(0),
    ];
    let output = program(&script, &[])?;
    red(&output, &["without an end marker", "sysrq triggered crash"])?;
    expect(&output, 1, &["the last line"])?;
    check(output.stderr.len() < 1 << 14, || {
        output.stderr.len().to_string()
    })?;
    Ok(Completion::Completed)
}

fn terminal() -> Test {
    let output = program(
        &[hello(), Step::Console("\x1b]0;title\x07\x1b[2J\n".into())],
        &[],
    )?;
    red(&output, &["without an end marker"])?;
    check(!output.stderr.contains(&0x1b), || format!("{output:?}"))?;
    Ok(Completion::Completed)
}

// Reports.

pub fn environment() -> Line {
    Line::Environment(Environment {
        kernel: RELEASE.into(),
        ..Environment::now(None, vec![])
    })
}

fn claim(id: &str, verdict: Word) -> Line {
    Line::Claim(result(id, verdict))
}

pub fn text(line: &Line) -> String {
    format!("{}\n", serde_json::to_string(line).expect("plain data"))
}

/// What a healthy run prints.
fn whole() -> Vec<String> {
    [
        environment(),
        claim(ASKED[0], Word::Holds),
        claim(ASKED[1], Word::Holds),
        Line::End { claims: 2 },
    ]
    .iter()
    .map(text)
    .collect()
}

/// `vm run` of two claims with a guest whose records are in order and whose report is this.
fn run_of(lines: &[String], status: i32) -> std::io::Result<Output> {
    run_to(lines, status, None)
}

/// The same, with the results kept in a file.
fn run_to(lines: &[String], status: i32, kept: Option<&Path>) -> std::io::Result<Output> {
    let said: Vec<Step> = lines.iter().map(|line| output(line)).collect();
    let exit = if status == 0 { PASSED } else { FAILED };
    let count = said.len() as u64 + 1;
    let script = [&[hello()], &said[..], &[ends(&end(count, status)), exit]].concat();
    let fake = Fake::new(&script)?;
    command(&fake, "run", &["--limit", "60"])
        .args(
            ASKED
                .iter()
                .flat_map(|id| ["--filter".to_owned(), format!("={id}")]),
        )
        .args(kept.map(|_| "--output"))
        .args(kept)
        .output()
}

/// Results that were kept of an earlier run must not pass for those of this one.
fn report_is_red(lines: &[String], status: i32, parts: &[&str]) -> Test {
    let directory = tempfile::tempdir()?;
    let kept = directory.path().join("kept.jsonl");
    std::fs::write(&kept, whole().concat())?;
    let output = run_to(lines, status, Some(&kept))?;
    check(output.stdout.is_empty(), || format!("{output:?}"))?;
    let stored = std::fs::read_to_string(&kept)?;
    let reached = stored.contains(r#""verdict":"holds""#);
    check(!reached && stored.contains("no results came"), || stored)?;
    red(&output, parts)
}

/// Names, what the guest prints, and what must be said.
#[expect(clippy::too_many_lines, reason = "a table")]
fn reports() -> Vec<(&'static str, Vec<String>, Vec<&'static str>)> {
    // The healthy report with one line put in another's place.
    let with = |at: usize, line: &str| {
        let mut lines = whole();
        lines[at] = line.into();
        lines
    };
    let without = |at: usize| with(at, "");
    let twice = |at: usize| {
        let mut lines = whole();
        lines.insert(at, lines[at].clone());
        lines
    };
    let half = whole()[1][..40].to_owned();
    let other_kernel = environment_with(|environment| environment.kernel = "5.10.0-2-test".into());
    let other_schema = environment_with(|environment| environment.schema = 99);
    let unasked = text(&claim("splice.call.present", Word::Holds));
    let unknown = text(&claim("no.such.claim", Word::Holds));
    let mut after_end = whole();
    after_end.push(after_end[1].clone());
    let mut end_first = whole();
    end_first.rotate_right(1);
    vec![
        ("empty", vec![], vec!["no results came"]),
        (
            "no-json",
            vec!["Segmentation fault\n".into()],
            vec!["line 1 of the results cannot be read"],
        ),
        (
            "no-text",
            vec!["\u{0}\n".into()],
            vec!["line 1 of the results cannot be read"],
        ),
        (
            "line-cut",
            with(1, &format!("{half}\n")),
            vec!["line 2 of the results cannot be read"],
        ),
        (
            "line-cut-and-joined",
            with(1, &half),
            vec!["line 2 of the results cannot be read"],
        ),
        (
            "last-line-cut",
            with(3, "{\"type\":\"end\",\"cla"),
            vec!["line 4 of the results cannot be read"],
        ),
        (
            "end-missing",
            without(3),
            vec!["the results have no end, after 2 claims"],
        ),
        (
            "end-counts-more",
            with(3, "{\"type\":\"end\",\"claims\":3}\n"),
            vec!["2 of 3 results"],
        ),
        (
            "end-counts-negative",
            with(3, "{\"type\":\"end\",\"claims\":-1}\n"),
            vec!["line 4"],
        ),
        (
            "end-twice",
            twice(3),
            vec!["line 5 of the results comes after their end"],
        ),
        (
            "end-first",
            end_first,
            vec!["do not begin with the environment"],
        ),
        (
            "claim-after-the-end",
            after_end,
            vec!["line 5 of the results comes after their end"],
        ),
        ("claim-missing", without(1), vec!["1 of 2 results"]),
        (
            "claim-missing-and-not-counted",
            vec![
                whole()[0].clone(),
                whole()[1].clone(),
                "{\"type\":\"end\",\"claims\":1}\n".into(),
            ],
            vec!["1 of 2 results, and none of sendfile.call.present"],
        ),
        (
            "claim-twice",
            twice(1),
            vec!["two results for splice.ends.pipe-needed"],
        ),
        (
            "claim-for-another",
            with(2, &whole()[1]),
            vec!["two results for splice.ends.pipe-needed"],
        ),
        (
            "claim-nobody-asked-for",
            with(2, &unasked),
            vec!["unexpected result for \"splice.call.present\""],
        ),
        (
            "claim-nobody-knows",
            with(2, &unknown),
            vec!["unexpected result for \"no.such.claim\""],
        ),
        (
            "verdict-unknown",
            with(1, &whole()[1].replace("holds", "true")),
            vec!["line 2 of the results cannot be read"],
        ),
        (
            "environment-missing",
            without(0),
            vec!["do not begin with the environment"],
        ),
        ("environment-twice", twice(0), vec!["two environments"]),
        (
            "environment-of-another-kernel",
            with(0, &other_kernel),
            vec!["of Linux 5.10.0-2-test, and it is Linux 5.10.0-1-test"],
        ),
        (
            "environment-of-another-schema",
            with(0, &other_schema),
            vec!["schema 99"],
        ),
        (
            "longer-than-any",
            vec!["x".repeat(1 << 20); 20],
            vec!["longer than 16 MiB"],
        ),
    ]
}

fn environment_with(change: impl FnOnce(&mut Environment)) -> String {
    let Line::Environment(mut found) = environment() else {
        unreachable!("it is one")
    };
    change(&mut found);
    text(&Line::Environment(found))
}

fn honest_report() -> Test {
    for id in ASKED {
        check(claims::REGISTRY.find(id).is_some(), || {
            format!("no claim is called {id}")
        })?;
    }
    let output = run_of(&whole(), 0)?;
    check(output.status.success(), || format!("{output:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    check(said.contains("2 hold"), || said.clone())?;
    Ok(Completion::Completed)
}

fn status_against_report() -> Test {
    report_is_red(
        &whole(),
        1,
        &["green", "exit status says otherwise", "exit status 1"],
    )?;
    report_is_red(&whole(), 139, &["exit status 139"])
}

fn broken_with_status_0() -> Test {
    let mut lines = whole();
    lines[1] = text(&claim(ASKED[0], Word::Broken));
    report_is_red(
        &lines,
        0,
        &["its results are red", "exit status says otherwise"],
    )
}
