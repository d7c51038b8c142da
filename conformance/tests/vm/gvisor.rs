//! gVisor: the row comes out the same every time, says why where there is none, and believes nothing.
//!
//! The lies are told by a `runsc` of our own, a script that prints what it is given.

use super::support::{
    Test, brings_output_and_status, check, conformance, expect, expect_line, or_ignored, red,
    result,
};
use conformance::claims;
use conformance::foreign::Foreign;
use conformance::run::jsonl::Line;
use conformance::run::record::Environment;
use conformance::verdict::Word;
use libtest_mimic::{Completion, Trial};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const ASKED: &str = "sendfile.call.present";

pub fn trials() -> Vec<Trial> {
    let trial =
        |name: &str, test: fn() -> Test| Trial::ignorable_test(format!("host_only::{name}"), test);
    vec![
        trial("gvisor.three-runs-give-one-row", three_runs),
        trial("gvisor.without-rights", without_rights),
        trial("gvisor.exec-passes-output-and-status-on", exec),
        trial("gvisor.is-no-kernel-to-boot", no_kernel_to_boot),
        trial("gvisor.not-installed.the-row-says-so", not_installed),
        trial("gvisor.no-sandbox.the-row-says-why", no_sandbox),
        trial("gvisor.honest.is-green", honest),
        trial("gvisor.lies-are-red", lies),
        trial("gvisor.never-ends.is-given-up", never_ends),
    ]
}

/// Whether sandboxes can be made here.
fn installed() -> Result<(), Completion> {
    let output = conformance(&["vm", "run", "--kernel", "gvisor", "--filter", ASKED]).output();
    match output {
        Ok(output) if output.status.code() != Some(2) => Ok(()),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Completion::ignored_with(why))
        }
        Err(error) => Err(Completion::ignored_with(error.to_string())),
    }
}

fn three_runs() -> Test {
    or_ignored!(installed());
    let mut rows = Vec::new();
    for _ in 0..3 {
        let results = tempfile::tempdir()?;
        let mut command = conformance(&["matrix", "--kernels", "gvisor", "--results"]);
        let output = command.arg(results.path()).output()?;
        expect(&output, 0, &["on 1 kernel", "gvisor: gVisor "])?;
        let stored = std::fs::read_to_string(results.path().join("gvisor.jsonl"))?;
        let mut row = Vec::new();
        for line in stored.lines() {
            if let Line::Claim(record) = serde_json::from_str(line)? {
                let id = record.id.clone();
                check(
                    !matches!(record.verdict, Word::Broken | Word::TimeOut),
                    || id,
                )?;
                row.push((record.id, record.verdict, record.judgement));
            }
        }
        check(row.len() == claims::REGISTRY.all().count(), || {
            row.len().to_string()
        })?;
        rows.push(row);
    }
    check(rows[0] == rows[1] && rows[1] == rows[2], || {
        format!("{rows:?}")
    })?;
    // What is said of it without having been measured would be worth nothing.
    let word = |id: &str| {
        rows[0]
            .iter()
            .find(|(name, ..)| name == id)
            .map(|(_, word, _)| *word)
    };
    check(
        word("zerocopy.notify.every-send") == Some(Word::Refuted),
        || "completions come".into(),
    )?;
    check(
        word("vmsplice.copies.pipe") == Some(Word::Untestable),
        || "there is vmsplice".into(),
    )?;
    Ok(Completion::Completed)
}

fn without_rights() -> Test {
    or_ignored!(installed());
    let output = conformance(&[
        "vm", "run", "--kernel", "gvisor", "--uid", "65534", "--filter", ASKED,
    ])
    .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    check(said.contains("as user 65534"), || said.clone())?;
    expect(&output, 0, &[])
}

fn exec() -> Test {
    or_ignored!(installed());
    brings_output_and_status("gvisor")
}

fn no_kernel_to_boot() -> Test {
    for kind in ["shell", "falsify", "test"] {
        let output = conformance(&["vm", kind, "--kernel", "gvisor"]).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !said.contains("busybox") {
            expect_line(&output, &["gvisor is not a kernel to boot", "vm exec"])?;
        }
    }
    expect_line(
        &conformance(&["vm", "run", "--kernel", "6.99"]).output()?,
        &["gvisor"],
    )
}

/// The row of gVisor alone, and the command on it, with programs only from `path`.
fn row_and_run(path: &Path) -> std::io::Result<[Output; 2]> {
    let results = tempfile::tempdir()?;
    let filter = ["--filter", ASKED];
    Ok([
        conformance(&[
            "matrix",
            "--kernels",
            "gvisor",
            "--limit",
            "20",
            "--results",
        ])
        .arg(results.path())
        .args(filter)
        .env("PATH", path)
        .output()?,
        conformance(&["vm", "run", "--kernel", "gvisor", "--limit", "20"])
            .args(filter)
            .env("PATH", path)
            .output()?,
    ])
}

/// Not run is not green where nothing else was asked for, and says why.
fn is_not_run(path: &Path, why: &str) -> Test {
    let [row, run] = row_and_run(path)?;
    let said = String::from_utf8_lossy(&row.stdout).into_owned();
    for part in ["not run (", why, "0 of 1 kernels ran"] {
        check(said.contains(part), || {
            format!("`{part}` is missing in: {said}")
        })?;
    }
    expect(&row, 1, &[])?;
    expect_line(&run, &[why])
}

fn not_installed() -> Test {
    let empty = tempfile::tempdir()?;
    is_not_run(empty.path(), "just setup-foreign")
}

fn no_sandbox() -> Test {
    let fake = fake("echo 'running container: refused here' >&2; exit 128")?;
    is_not_run(fake.path(), "refused here")
}

/// A directory with a `runsc` that does this for the run, once it has a version and a sandbox that works.
fn runsc(then: &str) -> std::io::Result<TempDir> {
    let probe = "while [ \"$1\" != --bundle ] && [ $# -gt 1 ]; do shift; done; grep -q -e '\"--version\"' \"$2/config.json\" && exit 0";
    fake(&format!(
        "case \"$*\" in *delete*) exit 0;; esac; {probe}; {then}"
    ))
}

fn fake(then: &str) -> std::io::Result<TempDir> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("runsc");
    let script = format!(
        "#!/bin/sh\nPATH=/bin:/usr/bin\ncase \"$*\" in --version) echo 'runsc version test'; exit 0;; esac\n{then}\n"
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}

/// The lines of a run whose one claim has this outcome.
fn lines(foreign: Option<&str>, verdict: Word) -> Vec<String> {
    let mut environment = Environment::now(None, vec![]);
    environment.kernel = "4.4.0".into();
    environment.foreign = foreign.map(str::to_owned);
    let record = result(ASKED, verdict);
    let lines = [
        Line::Environment(environment),
        Line::Claim(record),
        Line::End { claims: 1 },
    ];
    lines
        .iter()
        .map(|line| serde_json::to_string(line).expect("plain data"))
        .collect()
}

/// A `runsc` that prints these lines and ends with this status.
fn saying(lines: &[String], status: i32) -> std::io::Result<TempDir> {
    let directory = runsc(&format!("cat \"$(dirname \"$0\")/lines\"; exit {status}"))?;
    let mut text = lines.join("\n");
    text.push_str(if text.is_empty() { "" } else { "\n" });
    std::fs::write(directory.path().join("lines"), text)?;
    Ok(directory)
}

fn gvisor() -> Option<&'static str> {
    Some("gVisor test")
}

fn honest() -> Test {
    assert!(gvisor().is_some_and(|name| name.starts_with(Foreign::gvisor(None).name())));
    let fake = saying(&lines(gvisor(), Word::Holds), 0)?;
    let [row, run] = row_and_run(fake.path())?;
    expect(&row, 0, &["gvisor: gVisor test"])?;
    expect(&run, 0, &[])
}

fn lies() -> Test {
    let honest = lines(gvisor(), Word::Holds);
    let table: [(&[String], i32, &str); 8] = [
        (&[], 0, "no results came"),
        (&honest[..1], 0, "have no end"),
        (&honest[..2], 0, "have no end"),
        (&[honest[0].clone(), honest[2].clone()], 0, "0 of 1 result"),
        (&honest, 1, "its results are green"),
        (&lines(gvisor(), Word::Broken), 0, "its results are red"),
        (&lines(None, Word::Holds), 0, "not of gVisor"),
        (&lines(Some("Linux"), Word::Holds), 0, "not of gVisor"),
    ];
    for (said, status, part) in table {
        let fake = saying(said, status)?;
        let [row, run] = row_and_run(fake.path())?;
        let table = String::from_utf8_lossy(&row.stdout).into_owned();
        check(
            table.contains("red: gvisor: ") && table.contains(part),
            || format!("`{part}` is missing in: {table}"),
        )?;
        expect(&row, 1, &[])?;
        red(&run, &[part])?;
    }
    for verdict in [Word::Broken, Word::TimeOut] {
        let fake = saying(&lines(gvisor(), verdict), 1)?;
        for output in row_and_run(fake.path())? {
            expect(&output, 1, &[])?;
        }
    }
    Ok(Completion::Completed)
}

fn never_ends() -> Test {
    let fake = runsc("exec sleep 1000")?;
    let mut command: Command = conformance(&[
        "vm", "run", "--kernel", "gvisor", "--limit", "1", "--filter", ASKED,
    ]);
    red(
        &command.env("PATH", fake.path()).output()?,
        &["has not ended after 1 s"],
    )
}
