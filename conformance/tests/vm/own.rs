//! Kernels of the user's beside those of the matrix: their names, their results, and what is made of a difference from the record.
//!
//! The guests are played by an emulator of our own ([`super::fake`]), but for one with the oldest kernel, if that is fetched.

use super::fake::{Fake, Step, end, record};
use super::lies::{ASKED, FAILED, PASSED, RELEASE, ends, hello, output, text};
use super::support::{
    Test, check, conformance, expect, expect_line, oldest, or_ignored, red, result,
};
use conformance::grids::fds::FDS;
use conformance::grids::records;
use conformance::grids::sheet::Sheet;
use conformance::run::jsonl::Line;
use conformance::run::record::{Environment, Record};
use conformance::run::{recorded, stored};
use conformance::verdict::{Judgement, Value, Word};
use libtest_mimic::{Completion, Failed, Trial};
use on_kernel::frames::Kind;
use std::path::Path;
use std::process::{Command, Output};

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Test| {
        Trial::ignorable_test(format!("host_only::own.{name}"), test)
    };
    vec![
        trial("difference.is-a-new-finding-and-stored", own_is_a_finding),
        trial("difference.of-a-row-is-a-change", row_has_changed),
        trial(
            "difference.of-another-release-is-a-new-finding",
            exact_is_a_finding,
        ),
        trial("difference.in-one-guest-is-a-new-finding", one_guest),
        trial("grid.difference-is-a-new-finding", grid_of_an_own_kernel),
        trial("names.wrong-ones-are-one-line", wrong_names),
        trial("project.its-names-are-kernels", names_of_a_project),
        trial("project.wrong-names-are-one-line", wrong_names_of_a_project),
        trial("exec.by-name-and-path", exec_by_name_and_path),
        trial("guest.beside-nothing-else", real_guest),
    ]
}

/// A result of the recorded release, changed to the other verdict, as the guest judges it.
fn contradiction(id: &str) -> Result<Record, Failed> {
    let known = recorded::find("5.10").and_then(|stored| stored.run.find(id));
    let verdict = match known.ok_or("no record")?.verdict {
        Word::Holds => Word::Refuted,
        _ => Word::Holds,
    };
    Ok(Record {
        judgement: Some(Judgement::Changed),
        ..result(id, verdict)
    })
}

/// A healthy guest on this release that says these lines.
fn guest(release: &str, lines: &[String]) -> Vec<Step> {
    let mut script = vec![Step::Results(record(Kind::Hello, release.as_bytes()))];
    script.extend(lines.iter().map(|line| output(line)));
    script.extend([ends(&end(script.len() as u64, 0)), PASSED]);
    script
}

/// A guest whose first claim contradicts the record of its series.
fn contradicting(release: &str) -> Result<Fake, Failed> {
    let environment = Line::Environment(Environment {
        kernel: release.into(),
        ..Environment::now(None, vec![])
    });
    let lines = [
        environment,
        Line::Claim(contradiction(ASKED[0])?),
        Line::Claim(result(ASKED[1], Word::Holds)),
        Line::End { claims: 2 },
    ];
    let lines: Vec<String> = lines.iter().map(text).collect();
    Ok(Fake::new(&guest(release, &lines))?)
}

/// A command with that emulator.
fn with(fake: &Fake, arguments: &[&str]) -> Command {
    let mut command = conformance(arguments);
    fake.first_for(&mut command).args(["--accel", "tcg"]);
    command
}

/// `matrix` of two claims, strictly; the results go beside the emulator.
fn matrix(fake: &Fake, kernels: &[&str]) -> std::io::Result<Output> {
    with(fake, &["matrix", "--disks=", "--strict"])
        .args(ASKED.map(|id| format!("--filter=={id}")))
        .arg("--results")
        .arg(fake.file("results"))
        .args(kernels)
        .output()
}

fn named(name: &str, fake: &Fake) -> String {
    format!("{name}={}", fake.file("kernel").display())
}

/// Green or red, printed with this judgement, and stored with it under the kernel's name.
fn is_judged(fake: &Fake, name: &str, output: &Output, judgement: Judgement) -> Test {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_red = judgement == Judgement::Changed;
    check(output.status.code() == Some(i32::from(is_red)), || {
        format!("{output:?}")
    })?;
    let line = format!("{name}: {}: {}", judgement.words(), ASKED[0]);
    check(said.contains(&line), || format!("no `{line}` in {said}"))?;
    check(said.contains("red: ") == is_red, || said.clone())?;
    let path = fake.file("results").join(format!("{name}.jsonl"));
    let stored = stored::read(&path).map_err(Failed::from)?;
    let found = stored.run.find(ASKED[0]).ok_or("no result")?;
    check(found.judgement == Some(judgement), || format!("{found:?}"))?;
    Ok(Completion::Completed)
}

fn own_is_a_finding() -> Test {
    let fake = contradicting(RELEASE)?;
    let output = matrix(&fake, &["--kernel", &named("mine", &fake)])?;
    is_judged(&fake, "mine", &output, Judgement::NewFinding)?;
    // By its path alone, and two side by side.
    let path = fake.file("kernel").display().to_string();
    let output = matrix(
        &fake,
        &["--kernel", &path, "--kernel", &named("other", &fake)],
    )?;
    is_judged(&fake, "kernel", &output, Judgement::NewFinding)?;
    is_judged(&fake, "other", &output, Judgement::NewFinding)
}

fn row_has_changed() -> Test {
    let fake = contradicting(RELEASE)?;
    fake.fetched("5.10", "5.10")?;
    let kernels = ["--kernels", "5.10", "--kernel", &named("mine", &fake)];
    let output = matrix(&fake, &kernels)?;
    is_judged(&fake, "5.10", &output, Judgement::Changed)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let of_own = format!("mine: new finding: {}", ASKED[0]);
    check(said.contains(&of_own), || said.clone())?;
    check(!said.contains("red: mine"), || said.clone())?;
    Ok(Completion::Completed)
}

/// An exact release is another patch level of its series, unless it is the recorded one.
fn exact_is_a_finding() -> Test {
    let known = &recorded::find("5.10").ok_or("no record")?.run.environment;
    for (release, judgement) in [
        (RELEASE, Judgement::NewFinding),
        (&known.kernel, Judgement::Changed),
    ] {
        let fake = contradicting(release)?;
        fake.fetched("5.10.0-1", "5.10")?;
        let output = matrix(&fake, &["--kernels", "5.10.0-1"])?;
        is_judged(&fake, "5.10.0-1", &output, judgement)?;
    }
    Ok(Completion::Completed)
}

fn one_guest() -> Test {
    let fake = contradicting(RELEASE)?;
    let kernel = named("mine", &fake);
    let output = with(
        &fake,
        &["vm", "run", "--disks=", "--strict", "--kernel", &kernel],
    )
    .args(ASKED.map(|id| format!("--filter=={id}")))
    .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    check(output.status.success(), || format!("{output:?}"))?;
    check(said.contains("1 new, 0 changed"), || said.clone())?;
    Ok(Completion::Completed)
}

/// The record of 5.10 with one answer changed, of an own kernel and of the row.
fn grid_of_an_own_kernel() -> Test {
    let mut sheet: Sheet = records::find(&FDS, "5.10").ok_or("no record")?;
    let row = sheet.rows.iter_mut().find(|row| row.row == "regular file");
    let cells = row.and_then(|row| row.cells.as_mut()).ok_or("no cells")?;
    let mut changed = conformance::verdict::Observation::new();
    for fact in cells.facts() {
        let is_it = fact.fact == "tee from";
        let value = if is_it {
            Value::Errno(1)
        } else {
            fact.value.clone()
        };
        changed.push(fact.fact.clone(), value);
    }
    *cells = changed;
    let mut stored = Vec::new();
    sheet.write(&mut stored)?;
    let lines: Vec<String> = String::from_utf8(stored)?
        .lines()
        .map(|line| format!("{line}\n"))
        .collect();
    let fake = Fake::new(&guest(&sheet.environment.kernel, &lines))?;
    fake.fetched("5.10", "5.10")?;
    let fds = |kernel: &[&str]| {
        with(&fake, &["fds", "--strict"])
            .arg("--results")
            .arg(fake.file("grids"))
            .args(kernel)
            .output()
    };
    let found = "new finding: regular file, tee from: ";
    expect(
        &fds(&["--kernel", &named("mine", &fake)])?,
        0,
        &[&format!("mine: {found}")],
    )?;
    check(fake.file("grids/mine.jsonl").exists(), || {
        "not stored".into()
    })?;
    let of_row = fds(&["--kernels", "5.10"])?;
    expect(&of_row, 1, &["red: 5.10: regular file, tee from: "])?;
    let said = String::from_utf8_lossy(&of_row.stderr).into_owned();
    check(!said.contains("new finding"), || said.clone())?;
    Ok(Completion::Completed)
}

fn wrong_names() -> Test {
    let fake = Fake::new(&[])?;
    let kernel = fake.file("kernel").display().to_string();
    let own = |name: &str| named(name, &fake);
    let twice = "two kernels are called";
    for (arguments, parts) in [
        (
            &["matrix", "--kernel", &own("6.1")][..],
            &["`6.1` already means"][..],
        ),
        (
            &["vm", "run", "--kernel", &own("all")],
            &["`all` already means"],
        ),
        (&["matrix", "--kernel", &own("a/../b")], &["a/../b="]),
        (
            &["matrix", "--kernel", &own("a b")],
            &["`a b` cannot be the name", "NAME=PATH"],
        ),
        (
            &["fds", "--kernel", &own(".a")],
            &["`.a` cannot be the name"],
        ),
        (
            &["matrix", "--kernel", &own("a"), "--kernel", &own("a")],
            &[twice, "NAME=PATH"],
        ),
        (
            &["fs", "--kernel", &kernel, "--kernel", &kernel],
            &[twice, "NAME=PATH"],
        ),
        (
            &["matrix", "--kernels", "5.10", "--kernel", "5.10"],
            &[twice],
        ),
        (&["ledger", "--kernels", "5.10,5.10"], &[twice]),
        (&["matrix", "--kernels", "all", "--kernel", "6.1"], &[twice]),
        (&["fds", "--kernel", "gvisor"], &["gvisor has no grids"]),
        (
            &["matrix", "--kernel", &own("a"), "--mirror", "x"],
            &["--mirror"],
        ),
        (
            &["fds", "--kernel", &own("a"), "--recorded", "5.10"],
            &["--recorded"],
        ),
        (&["fds", "--guests", "2"], &["--guests", "--kernels"]),
        (
            &[
                "vm",
                "run",
                "--kernel",
                &format!("{kernel}:/a"),
                "--modules",
                "/b",
            ],
            &["--modules another"],
        ),
        (
            &["matrix", "--kernel", "mine=/etc/passwd"],
            &["is not a kernel", "bzImage"],
        ),
        (
            &["matrix", "--kernel", "mine"],
            &["no kernel is called `mine`", "--kernel PATH"],
        ),
        (
            &["kernels", "fetch", &own("mine")],
            &["mine is not fetched: it is the file"],
        ),
    ] {
        expect_line(&conformance(arguments).output()?, parts)?;
    }
    Ok(Completion::Completed)
}

/// A command in a directory with this `on-kernel.toml`, where the emulator and its kernel are.
fn in_project(fake: &Fake, project: &str, arguments: &[&str]) -> std::io::Result<Command> {
    let file = fake.file("on-kernel.toml");
    std::fs::write(&file, project)?;
    let mut command = conformance(arguments);
    let directory = file.parent().unwrap_or(Path::new("/"));
    fake.first_for(&mut command).current_dir(directory);
    Ok(command)
}

const PROJECT: &str = r#"
[kernels.mine]
path = "kernel"
expect = "5.10"

[kernels.newer]
path = "kernel"
expect = "6.1"

[kernels.lts]
kernel = "5.10"
"#;

fn names_of_a_project() -> Test {
    let fake = contradicting(RELEASE)?;
    fake.fetched("5.10", "5.10")?;
    let listed = in_project(&fake, PROJECT, &["kernels", "list"])?.output()?;
    let said = String::from_utf8_lossy(&listed.stdout).into_owned();
    check(said.contains("mine ") && said.contains("lts "), || {
        said.clone()
    })?;
    let run = |arguments: &[&str]| {
        in_project(&fake, PROJECT, arguments)?
            .args(["--accel", "tcg", "--disks=", "--strict"])
            .args(ASKED.map(|id| format!("--filter=={id}")))
            .output()
    };
    let in_results = ["matrix", "--results", "results"];
    let output = run(&[&in_results[..], &["--kernels", "mine,lts"]].concat())?;
    // A package of the distribution has changed, whatever it is called.
    is_judged(&fake, "lts", &output, Judgement::Changed)?;
    let output = run(&[&in_results[..], &["--kernel", "mine"]].concat())?;
    is_judged(&fake, "mine", &output, Judgement::NewFinding)?;
    let newer = ["it is Linux 5.10.0-1-test", "6.1 was expected"];
    red(&run(&["vm", "run", "--kernel", "newer"])?, &newer)?;
    // An option has the last word.
    let expected = run(&["vm", "run", "--kernel", "newer", "--expect", "5.10"])?;
    expect(&expected, 0, &[])
}

fn wrong_names_of_a_project() -> Test {
    let fake = Fake::new(&[])?;
    let of_row = "[kernels.\"6.1\"]\npath = \"kernel\"";
    for (project, kernel, parts) in [
        (
            PROJECT,
            "mien",
            &[
                "no kernel is called `mien`",
                "on-kernel.toml has lts, mine, newer",
            ][..],
        ),
        (of_row, "6.1", &["in on-kernel.toml: `6.1` already means"]),
        (
            "[kernels.\"a:b\"]\npath = \"kernel\"",
            "a:b",
            &["`a:b` cannot be the name"],
        ),
        (
            "[kernels.mine]\npath = \"nosuch\"",
            "mine",
            &["/nosuch: No such file"],
        ),
        (
            "[kernels.mine]\nkernel = \"6.99\"",
            "mine",
            &["no kernel is called `6.99`"],
        ),
        ("[kernels", "6.1", &["on-kernel.toml: line 1"]),
    ] {
        for command in [&["matrix"][..], &["fds"], &["vm", "run"], &["vm", "shell"]] {
            let arguments = [command, &["--kernel", kernel]].concat();
            expect_line(&in_project(&fake, project, &arguments)?.output()?, parts)?;
        }
    }
    let arguments = ["vm", "run", "--kernel", "lts", "--expect", "5.10"];
    let output = in_project(&fake, PROJECT, &arguments)?.output()?;
    expect_line(&output, &["lts is a kernel of the matrix", "--expect"])
}

fn exec_by_name_and_path() -> Test {
    let fake = Fake::new(&[hello(), output("said\n"), ends(&end(2, 3)), FAILED])?;
    let kernel = named("mine", &fake);
    let program = fake.file("program").display().to_string();
    let output = with(&fake, &["vm", "exec", "--disks=", "--kernel", &kernel])
        .args(["--", &program])
        .output()?;
    expect(&output, 3, &[])?;
    check(output.stdout == b"said\n", || format!("{output:?}"))?;
    Ok(Completion::Completed)
}

/// The oldest kernel as one of the user's, under a name that the user chose.
fn real_guest() -> Test {
    let boot = or_ignored!(oldest());
    let directory = tempfile::tempdir()?;
    let kernel = format!("mine={}", boot.display());
    let results = ["--results", directory.path().to_str().ok_or("not UTF-8")?];
    let output = conformance(&["matrix", "--kernel", &kernel, "--accel", "tcg", "--disks="])
        .args(["--filter", "=splice.ends.pipe-needed"])
        .args(results)
        .output()?;
    expect(&output, 0, &["1 claim on 1 kernel", "mine: 5.10."])?;
    let path = directory.path().join("mine.jsonl");
    let stored = stored::read(&path).map_err(Failed::from)?;
    check(stored.run.environment.kernel.starts_with("5.10."), || {
        format!("{stored:?}")
    })?;
    let filter = ["--filter", "regular file"];
    let output = conformance(&["fds", "--kernel", &kernel, "--accel", "tcg", "--strict"])
        .args(filter)
        .args(results)
        .output()?;
    // What is recorded of this kernel is not news.
    expect(&output, 0, &["mine: 5.10."])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    check(!said.contains("new finding"), || said.clone())?;
    Ok(Completion::Completed)
}
