//! The workspace's test programs, built by cargo for a guest.

use on_kernel::error::{Context, Error};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The programs that cargo has built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// Test programs.
    pub tests: Vec<PathBuf>,
    /// Ordinary programs that tests start.
    pub programs: Vec<PathBuf>,
}

/// Builds the tests with optimisation, because a guest is slow.
pub fn build(arguments: &[String]) -> Result<Built, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--no-run", "--release", "--message-format", "json-render-diagnostics"]);
    if !arguments.iter().any(|argument| argument == "--package" || argument == "-p") {
        command.arg("--workspace");
    }
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo, which builds the tests")?;
    if !output.status.success() {
        return Err(Error::host("cargo could not build the tests"));
    }
    let built = built(&String::from_utf8_lossy(&output.stdout));
    if built.tests.is_empty() { Err(Error::host("cargo built no tests")) } else { Ok(built) }
}

/// Test programs that take long in an emulated guest, in tenths of a second, as measured on Linux 7.3. The others take little longer
/// than their start. A wrong number only costs time.
const WEIGHTS: &[(&str, u32)] = &[
    ("environments", 350),
    ("runner", 270),
    ("grids", 210),
    ("suite", 180),
    ("properties", 120),
    ("liar", 90),
    ("ring", 40),
    ("conformance", 40),
];
const WEIGHT_OF_OTHERS: u32 = 3;

fn weight(test: &Path) -> u32 {
    // Cargo appends a hash to the name.
    let name = test.file_name().unwrap_or_default().to_string_lossy();
    let name = name.rsplit_once('-').map_or(&*name, |(name, _)| name);
    WEIGHTS.iter().find(|(known, _)| *known == name).map_or(WEIGHT_OF_OTHERS, |(_, weight)| *weight)
}

/// Distributes the tests so that every guest has about the same work: the longest first, each to the guest with the least work so
/// far.
pub fn shares(tests: &[PathBuf], guests: usize) -> Vec<Vec<&PathBuf>> {
    let mut longest_first: Vec<&PathBuf> = tests.iter().collect();
    longest_first.sort_by_key(|test| std::cmp::Reverse(weight(test)));
    let mut shares = vec![(0, Vec::new()); guests.max(1)];
    for test in longest_first {
        let least = shares.iter_mut().min_by_key(|(sum, _)| *sum);
        let (sum, share) = least.expect("there is one");
        *sum += weight(test);
        share.push(test);
    }
    shares.into_iter().map(|(_, share)| share).collect()
}

/// Reads cargo's messages.
fn built(messages: &str) -> Built {
    let mut built = Built::default();
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let Some(path) = message["executable"].as_str().map(PathBuf::from) else {
            continue;
        };
        let is_example = message["target"]["kind"] == serde_json::json!(["example"]);
        match message["profile"]["test"].as_bool() {
            _ if is_example => {}
            Some(true) => built.tests.push(path),
            _ => built.programs.push(path),
        }
    }
    built
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_tests_are_told_apart() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["test"]},"profile":{"test":true},"executable":"/t/a"}
{"reason":"compiler-artifact","target":{"kind":["bin"]},"profile":{"test":false},"executable":"/t/b"}
{"reason":"compiler-artifact","target":{"kind":["example"]},"profile":{"test":false},"executable":"/t/c"}
{"reason":"compiler-artifact","target":{"kind":["lib"]},"profile":{"test":false},"executable":null}
{"reason":"build-finished","success":true}"#;
        assert_eq!(built(messages), Built { tests: vec!["/t/a".into()], programs: vec!["/t/b".into()] });
    }

    #[test]
    fn every_test_is_run_once_and_the_long_ones_apart() {
        let names = ["a-1", "environments-2", "b-3", "grids-4", "runner-5", "c"];
        let tests: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
        for guests in 1..4 {
            let shares = shares(&tests, guests);
            assert_eq!(shares.len(), guests);
            let mut all: Vec<&PathBuf> = shares.concat();
            all.sort();
            let mut expected: Vec<&PathBuf> = tests.iter().collect();
            expected.sort();
            assert_eq!(all, expected);
        }
        let two = shares(&tests, 2);
        assert_eq!(two[0][0].to_str(), Some("environments-2"));
        assert_eq!(two[1][0].to_str(), Some("runner-5"));
        assert!(two[1].contains(&&tests[3]), "grids: {two:?}");
    }
}
