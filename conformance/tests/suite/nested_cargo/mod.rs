//! Cargo, run by a test on another package: as a user would run it, whatever this test was started with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Variables that would make a nested build another build than the one that is asked for.
fn is_foreign(variable: &str) -> bool {
    variable.ends_with("RUSTFLAGS")
        || variable.ends_with("RUSTDOCFLAGS")
        || variable.starts_with("CARGO_PROFILE_")
        || variable == "CARGO_BUILD_TARGET"
}

/// Runs `cargo <arguments>` in `directory`: without the network, and if that fails once more with it.
///
/// # Panics
///
/// If cargo cannot be started or fails, with what it said.
pub fn cargo(directory: &Path, target: &Path, arguments: &[&str], flags: Option<&str>) -> Output {
    let run = |network: &[&str]| {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        for (variable, _) in std::env::vars_os() {
            if variable.to_str().is_some_and(is_foreign) {
                command.env_remove(variable);
            }
        }
        if let Some(flags) = flags {
            command.env("CARGO_ENCODED_RUSTFLAGS", flags);
        }
        command
            .args(arguments)
            .args(network)
            .current_dir(directory)
            .env("CARGO_TARGET_DIR", target)
            .output()
            .expect("cargo can be started")
    };
    let mut output = run(&["--offline"]);
    if !output.status.success() {
        output = run(&[]);
    }
    assert!(
        output.status.success(),
        "cargo {} in {}:\n{}{}",
        arguments.join(" "),
        directory.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The files that a `cargo build --message-format=json` has made.
#[allow(
    dead_code,
    reason = "each test target compiles this module for itself, and not each builds"
)]
pub fn artifacts(output: &Output) -> Vec<PathBuf> {
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let messages = lines.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    messages
        .filter(|message| message["reason"] == "compiler-artifact")
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|name| name.as_str().map(PathBuf::from))
        .collect()
}
