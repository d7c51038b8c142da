//! The workspace's own test programs, built by cargo for a guest.

use super::error::{Context, Error};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What cargo has built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// Test programs.
    pub tests: Vec<PathBuf>,
    /// Ordinary programs, which tests start.
    pub programs: Vec<PathBuf>,
}

/// Builds the tests with the profile `guest`: optimised and stripped, because a guest is slow and its memory holds them all.
pub fn build(arguments: &[String]) -> Result<Built, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "test",
        "--no-run",
        "--profile",
        "guest",
        "--message-format",
        "json-render-diagnostics",
    ]);
    if !arguments
        .iter()
        .any(|argument| argument == "--package" || argument == "-p")
    {
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
    if built.tests.is_empty() {
        Err(Error::host("cargo built no tests"))
    } else {
        Ok(built)
    }
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
        assert_eq!(
            built(messages),
            Built {
                tests: vec!["/t/a".into()],
                programs: vec!["/t/b".into()]
            }
        );
    }
}
