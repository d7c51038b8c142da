//! User-mode Linux: the same guest as in QEMU, in a kernel that is a program.

use super::support::{
    Test, brings_output_and_status, busybox, check, conformance, expect, expect_line, or_ignored,
};
use libtest_mimic::{Completion, Trial};
use on_kernel::kernels;
use std::io::Read;
use std::path::Path;

pub fn trials() -> Vec<Trial> {
    let trial =
        |name: &str, test: fn() -> Test| Trial::ignorable_test(format!("host_only::{name}"), test);
    vec![
        trial("uml.two-runs-give-one-row", two_runs),
        trial("uml.exec-passes-output-and-status-on", exec),
        trial("uml.given-up-leaves-no-process", given_up),
        trial("uml.killed.leaves-no-process", killed),
        trial("uml.not-installed.the-row-says-so", not_installed),
    ]
}

fn installed() -> Result<(), Completion> {
    let row = kernels::foreign("uml").expect("a row of the matrix");
    match row.user_mode_linux() {
        Ok(_) => Ok(()),
        Err(why) => Err(Completion::ignored_with(why.to_string())),
    }
}

fn two_runs() -> Test {
    or_ignored!(installed());
    let mut rows = Vec::new();
    for _ in 0..2 {
        let results = tempfile::tempdir()?;
        let output = conformance(&[
            "matrix",
            "--kernels",
            "uml",
            "--strict",
            "--filter",
            "splice.",
        ])
        .arg("--results")
        .arg(results.path())
        .output()?;
        expect(&output, 0, &["uml: 6.1."])?;
        let table = String::from_utf8(output.stdout)?;
        rows.push(
            table
                .lines()
                .filter(|line| line.starts_with("splice."))
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        );
    }
    check(rows[0] == rows[1] && rows[0].len() > 10, || {
        format!("{rows:?}")
    })?;
    Ok(Completion::Completed)
}

fn exec() -> Test {
    or_ignored!(installed());
    brings_output_and_status("uml")
}

fn given_up() -> Test {
    or_ignored!(installed());
    let busybox = or_ignored!(busybox());
    let directory = tempfile::tempdir()?;
    let output = conformance(&[
        "vm", "exec", "--kernel", "uml", "--limit", "5", "--", busybox, "sleep", "1000",
    ])
    .env("TMPDIR", directory.path())
    .output()?;
    expect(&output, 1, &["the command has not ended after 5 s"])?;
    let alive = processes(directory.path())?;
    check(alive == 0, || format!("{alive} processes of it live on"))?;
    let left = std::fs::read_dir(directory.path())?.count();
    check(left == 0, || {
        format!("{left} entries are left in its directory")
    })?;
    Ok(Completion::Completed)
}

/// How many processes there are of a guest: their command line names its directory, which is below ours.
fn processes(directory: &Path) -> std::io::Result<usize> {
    let mark = directory.display().to_string();
    let lines = std::fs::read_dir("/proc")?
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    Ok(lines
        .filter(|line| String::from_utf8_lossy(line).contains(&mark))
        .count())
}

fn killed() -> Test {
    or_ignored!(installed());
    let busybox = or_ignored!(busybox());
    let directory = tempfile::tempdir()?;
    let mut child = conformance(&["vm", "exec", "--kernel", "uml", "--", busybox])
        .args(["sh", "-c", "echo up; exec sleep 1000"])
        .env("TMPDIR", directory.path())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut up = [0; 3];
    child.stdout.take().ok_or("no pipe")?.read_exact(&mut up)?;
    check(processes(directory.path())? > 1, || {
        "it is one process".into()
    })?;
    child.kill()?;
    child.wait()?;
    // They are being killed by now; one that is not would sleep for ever.
    for _ in 0..6000 {
        if processes(directory.path())? == 0 {
            return Ok(Completion::Completed);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err("processes of it live on".into())
}

fn not_installed() -> Test {
    let empty = tempfile::tempdir()?;
    let results = tempfile::tempdir()?;
    let row = conformance(&["matrix", "--kernels", "uml", "--results"])
        .arg(results.path())
        .env("PATH", empty.path())
        .output()?;
    let said = String::from_utf8_lossy(&row.stdout).into_owned();
    for part in [
        "uml      not run (",
        "just setup-foreign",
        "0 of 1 kernels ran",
    ] {
        check(said.contains(part), || {
            format!("`{part}` is missing in: {said}")
        })?;
    }
    expect(&row, 1, &[])?;
    check(
        !Path::new(&results.path().join("uml.jsonl")).exists(),
        || "there are results".into(),
    )?;
    let run = conformance(&["vm", "run", "--kernel", "uml"])
        .env("PATH", empty.path())
        .output()?;
    expect_line(&run, &["linux.uml is not installed", "just setup-foreign"])
}
