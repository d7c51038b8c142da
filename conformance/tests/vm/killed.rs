//! Commands that write files of the user's, ended at random moments: the old file is there or the new one, whole, and nothing
//! else. Of a killed process at most one file is left, which the next run removes.
//!
//! `NOCOPY_KILLS=100` ends each command so often.

use super::fake::{Fake, Step, Store, end, marker, record};
use super::support::{PROGRAM, Test, check, conformance, or_ignored, workspace};
use conformance::run::jsonl;
use conformance::run::jsonl::Line;
use conformance::run::record::Environment;
use conformance::run::stored;
use conformance::verdict::Word;
use libtest_mimic::{Completion, Failed, Trial};
use on_kernel::frames::Kind;
use on_kernel::job::EXIT_PASSED;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Test| {
        Trial::ignorable_test(format!("host_only::killed.{name}"), test)
    };
    vec![
        trial("report", report),
        trial("record", record_of_claims),
        trial("matrix", matrix),
        trial("fetch", fetch),
        trial("check.reports-what-it-has", check_is_ended),
    ]
}

fn kills() -> u64 {
    let asked = std::env::var("NOCOPY_KILLS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// What is in a directory and below: names and contents.
type Content = BTreeMap<PathBuf, Vec<u8>>;

fn content(directory: &Path) -> std::io::Result<Content> {
    let mut found = Content::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                found.insert(path.clone(), vec![]);
                directories.push(path);
            } else {
                found.insert(path.clone(), std::fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

/// Runs the command to its end, and then again and again, ended by a signal at a random moment of that time. Before each run
/// `reset` makes the old state; after it `is_good` judges what is there. Files of ours are those with `.nocopy-` in their names.
fn at_random_moments(
    directory: &Path,
    command: impl Fn() -> Command,
    reset: impl Fn() -> std::io::Result<()>,
    is_good: impl Fn(&Content) -> Result<(), String>,
) -> Test {
    let quiet = || {
        let mut command = command();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    reset()?;
    let begun = Instant::now();
    let status = quiet().status()?;
    let whole = begun.elapsed();
    let after = content(directory)?;
    is_good(&after).map_err(|what| format!("not ended, {status}: {what}"))?;
    let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGKILL];
    let mut random = fastrand::Rng::with_seed(21);
    let mut ended = 0;
    for round in 0..kills() {
        let signal = signals[usize::try_from(round % 4).expect("small")];
        reset()?;
        let mut child = quiet().spawn()?;
        std::thread::sleep(whole.mul_f64(random.f64()));
        // SAFETY: signals a child that has not been waited for.
        unsafe { libc::kill(child.id().cast_signed(), signal) };
        let status = child.wait()?;
        ended += u64::from(status.signal() == Some(signal));
        let left = content(directory)?;
        let (ours, rest): (Content, Content) = left
            .into_iter()
            .partition(|(path, _)| path.to_string_lossy().contains(".nocopy-"));
        let context = |what: &str| format!("signal {signal} in round {round}, {status}: {what}");
        let most = usize::from(signal == libc::SIGKILL);
        check(ours.len() <= most, || {
            context(&format!("left {:?}", ours.keys()))
        })?;
        is_good(&rest).map_err(|what| context(&what))?;
    }
    check(ended > 0, || "no run was ended before its end".to_owned())?;
    // What a killed run has left is gone after the next one.
    quiet().status()?;
    let left = content(directory)?;
    check(
        !left
            .keys()
            .any(|path| path.to_string_lossy().contains(".nocopy-")),
        || format!("left for good: {:?}", left.keys()),
    )?;
    Ok(Completion::Completed)
}

fn report() -> Test {
    let directory = tempfile::tempdir()?;
    let target = directory.path().join("report");
    let command = || {
        let mut command = conformance(&["report", "--format", "json", "--output"]);
        command.arg(&target);
        command.args([
            "fixtures/verdicts/5.10.jsonl",
            "fixtures/verdicts/6.1.jsonl",
        ]);
        command
    };
    command().stderr(Stdio::null()).status()?;
    let whole = std::fs::read(&target)?;
    at_random_moments(
        directory.path(),
        command,
        || std::fs::write(&target, "old"),
        |found| {
            let now = &found[&target];
            if now == b"old" || *now == whole {
                Ok(())
            } else {
                Err(format!(
                    "half a report: {} of {} bytes",
                    now.len(),
                    whole.len()
                ))
            }
        },
    )
}

fn record_of_claims() -> Test {
    let directory = tempfile::tempdir()?;
    let from = workspace().join("fixtures/verdicts");
    let command = || {
        let mut command = conformance(&["record", "--results", "fixtures/verdicts", "--to"]);
        command.arg(directory.path());
        command
    };
    let names: Vec<String> = std::fs::read_dir(&from)?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    command().stderr(Stdio::null()).status()?;
    let whole = content(directory.path())?;
    check(whole.len() == names.len(), || format!("{:?}", whole.keys()))?;
    at_random_moments(
        directory.path(),
        command,
        || {
            names
                .iter()
                .try_for_each(|name| std::fs::write(directory.path().join(name), "old"))
        },
        |found| {
            let half = found
                .iter()
                .find(|(path, bytes)| *bytes != b"old" && whole.get(*path) != Some(bytes));
            match half {
                None => Ok(()),
                Some((path, _)) => Err(format!("{} is neither old nor new", path.display())),
            }
        },
    )
}

const RELEASE: &str = "5.10.0-1-test";
const ASKED: [&str; 2] = ["splice.ends.pipe-needed", "sendfile.call.present"];

/// What a guest sends that decides the two claims.
fn honest_script() -> Vec<Step> {
    let mut said = Vec::new();
    let environment = Environment {
        kernel: RELEASE.into(),
        ..Environment::now(None, vec![])
    };
    let result = |id: &str| Line::Claim(super::support::result(id, Word::Holds));
    for line in [
        Line::Environment(environment),
        result(ASKED[0]),
        result(ASKED[1]),
        Line::End { claims: 2 },
    ] {
        jsonl::write(&mut said, &line).expect("a vector takes all");
    }
    let output = record(Kind::Output, &said);
    vec![
        Step::Results(record(Kind::Hello, RELEASE.as_bytes())),
        Step::Results(output),
        Step::Results(marker(&end(2, 0))),
        Step::Exit(EXIT_PASSED),
    ]
}

/// The results of a kernel are the old ones or the new, and whatever has ended is a run in the stored form.
fn matrix() -> Test {
    let fake = Fake::new(&honest_script())?;
    let cache = tempfile::tempdir()?;
    let kernel = cache.path().join("5.10");
    std::fs::create_dir(&kernel)?;
    let image = serde_json::json!({
        "name": "5.10", "expect": "5.10", "boot": "/proc/self/exe", "modules": null, "packages": [],
    });
    std::fs::write(kernel.join("image.json"), image.to_string())?;
    let results = tempfile::tempdir()?;
    let target = results.path().join("5.10.jsonl");
    let command = || {
        let mut command =
            conformance(&["matrix", "--kernels", "5.10", "--accel", "tcg", "--disks="]);
        fake.first_for(&mut command)
            .env("NOCOPY_KERNELS", cache.path())
            .arg("--results")
            .arg(results.path());
        let filters = ASKED.iter().map(|id| format!("--filter=={id}"));
        command.args(filters);
        command
    };
    at_random_moments(
        results.path(),
        command,
        || std::fs::write(&target, "old"),
        |found| {
            if found.len() != 1 {
                return Err(format!("{:?}", found.keys()));
            }
            if found[&target] == b"old" {
                return Ok(());
            }
            stored::read(&target).map(drop)
        },
    )
}

/// A kernel is in the cache whole or not at all, and what a killed fetch has left does not keep the next one from fetching.
fn fetch() -> Test {
    or_ignored!(super::host::fetching_tools());
    let store = Store::new(&super::host::package(4 << 20)?)?;
    let command = || super::host::fetch(&store);
    let kernel = store.cache().join("5.10/vmlinuz");
    let reset = || {
        if store.cache().exists() {
            std::fs::remove_dir_all(store.cache())?;
        }
        std::fs::create_dir(store.cache())
    };
    at_random_moments(&store.cache(), command, reset, |found| {
        let is_marked = found.contains_key(&store.cache().join("5.10/image.json"));
        let is_whole = found
            .get(&kernel)
            .is_some_and(|bytes| bytes.len() == 4 << 20);
        if is_marked && !is_whole {
            return Err("a kernel that is not whole is taken for fetched".to_owned());
        }
        Ok(())
    })?;
    check(kernel.exists(), || "the last run has fetched".to_owned())?;
    Ok(Completion::Completed)
}

/// `check` that is told to end reports what it has decided, with the rest as not reached, and ends by the signal.
fn check_is_ended() -> Test {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // How long the first claim takes depends on what else this machine does.
        let mut delay = Duration::from_millis(200);
        while !check_ended_after(delay, signal)? {
            delay *= 2;
            check(delay < Duration::from_mins(1), || {
                "no claim was decided before the signal".to_owned()
            })?;
        }
    }
    Ok(Completion::Completed)
}

/// Whether the signal came after the first result.
fn check_ended_after(delay: Duration, signal: libc::c_int) -> Result<bool, Failed> {
    let directory = tempfile::tempdir()?;
    let target = directory.path().join("results.jsonl");
    let mut command = Command::new(PROGRAM);
    command
        .args([
            "check", "--jobs", "1", "--filter", "splice.", "--format", "jsonl", "--output",
        ])
        .arg(&target)
        .stderr(Stdio::piped())
        .stdin(Stdio::null());
    let child = command.spawn()?;
    let pid = child.id();
    std::thread::sleep(delay);
    // SAFETY: signals a child that has not been waited for.
    unsafe { libc::kill(pid.cast_signed(), signal) };
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    check(output.status.signal() == Some(signal), || {
        format!("{}: {said}", output.status)
    })?;
    if !target.exists() {
        return Ok(false);
    }
    check(said.contains("not reached"), || said.clone())?;
    let found = stored::read(&target).map_err(Failed::from)?;
    let unreached = found.run.count(Word::NotReached);
    if unreached == found.run.records.len() {
        return Ok(false);
    }
    check(0 < unreached, || "all are reached".to_owned())?;
    let report = conformance(&["report", "--format", "markdown"])
        .arg(&target)
        .output()?;
    let page = String::from_utf8_lossy(&report.stdout).into_owned();
    check(report.status.code() == Some(1), || format!("{report:?}"))?;
    check(
        page.contains("## Red") && page.contains("not reached"),
        || page.clone(),
    )?;
    Ok(true)
}
