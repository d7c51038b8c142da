//! Runs claims, each in processes of its own, and brings their outcomes back whatever the experiments do.
//!
//! ```text
//! conformance check            the program that the user started: judges and reports
//!   └ supervisor               own session, subreaper; its stdin is the lifeline: end of file ends everything
//!       └ keeper, per claim    process 1 of a PID namespace, in a mount namespace, where that is allowed; holds the
//!           │                  claim's locks, watches time, collects the report, is the tracer of traced claims
//!           └ experiment       default signal dispositions, own process group, dies with its keeper
//! ```
//!
//! Nobody outlives anybody above: the supervisor sees the lifeline end, keepers and experiments have a parent-death
//! signal, and what an experiment started is killed by its keeper (by the kernel, in a namespace). What it mounted ends
//! with its mount namespace. It has a directory of its own; a file that it leaves there makes it broken.

mod keeper;
mod scratch;
pub mod supervisor;

pub use keeper::panic_message;

use crate::claim::{Claim, Resource};
use crate::verdict::{Observation, Reason};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The hidden command with which the program starts itself as supervisor.
pub const SUPERVISE: &str = "__supervise";

/// What became of an experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It saw this.
    Seen(Observation),
    /// It could not be tried here.
    Untestable(Reason),
    /// It failed to be an experiment: red.
    Broken(String),
    /// It did not end in its time: red.
    TimedOut(String),
}

/// What runs claims, and within which limits.
#[derive(Clone, Debug)]
pub struct Runner {
    /// The `conformance` program, which is its own supervisor.
    pub program: PathBuf,
    /// How many experiments run side by side.
    pub jobs: usize,
    /// CPU seconds that one experiment may use.
    pub cpu_seconds: u64,
    /// The directory for unnamed files.
    pub scratch: Option<PathBuf>,
}

/// What a run could not use, found by the supervisor before the first claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Why experiments have no PID namespace of their own.
    pub pid_namespace: Option<String>,
    /// Why nothing can be traced.
    pub ptrace: Option<String>,
}

/// A message of the supervisor, one line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Message {
    Isolation(Isolation),
    Outcome {
        id: String,
        outcome: Outcome,
        milliseconds: u64,
    },
    End {
        outcomes: usize,
    },
}

/// The supervisor's orders: the first line on its standard input.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    claims: Vec<String>,
    jobs: usize,
    limits: Limits,
    scratch: Option<PathBuf>,
    /// Below it, where the experiments have directories of their own.
    directory: Option<PathBuf>,
}

/// Time limits of one experiment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Limits {
    cpu_seconds: u64,
    wall_seconds: u64,
}

/// Wall seconds per CPU second: a backstop for an experiment that waits for ever, generous for a loaded machine.
const WALL_PER_CPU: u64 = 6;

impl Runner {
    /// Runs `claims` and calls `each` as their outcomes come, in no order. Every claim has exactly one outcome.
    ///
    /// # Errors
    ///
    /// If the supervisor cannot be started. One that dies makes the claims without an outcome `broken`.
    pub fn run(
        &self,
        claims: &[&Claim],
        mut isolation: impl FnMut(&Isolation),
        mut each: impl FnMut(&Claim, Outcome, u64),
    ) -> io::Result<()> {
        let mut supervisor = Command::new(&self.program)
            .arg(SUPERVISE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot start {}: {error}", self.program.display()),
                )
            })?;
        let directory = self
            .scratch
            .as_deref()
            .and_then(scratch::RunDirectory::make);
        let orders = Orders {
            claims: claims.iter().map(|claim| claim.id.to_owned()).collect(),
            jobs: self.jobs.max(1),
            limits: Limits {
                cpu_seconds: self.cpu_seconds,
                wall_seconds: self.cpu_seconds * WALL_PER_CPU,
            },
            scratch: self.scratch.clone(),
            directory: directory.as_ref().map(|directory| directory.0.clone()),
        };
        // Held until the end: this is the lifeline. A supervisor that is gone already is noticed below.
        let mut lifeline = supervisor.stdin.take().expect("stdin is piped");
        let _ = writeln!(lifeline, "{}", serde_json::to_string(&orders)?);

        let mut missing: Vec<&Claim> = claims.to_vec();
        let mut last_words = String::from("the supervisor ended early");
        for line in BufReader::new(supervisor.stdout.take().expect("stdout is piped")).lines() {
            match line.and_then(|line| Ok(serde_json::from_str(&line)?)) {
                Ok(Message::Isolation(lost)) => isolation(&lost),
                Ok(Message::Outcome {
                    id,
                    outcome,
                    milliseconds,
                }) => {
                    if let Some(index) = missing.iter().position(|claim| claim.id == id) {
                        each(missing.swap_remove(index), outcome, milliseconds);
                    }
                }
                Ok(Message::End { outcomes }) => {
                    last_words = format!(
                        "the supervisor counted {outcomes} outcomes of {}",
                        claims.len()
                    );
                    break;
                }
                Err(error) => {
                    last_words = format!("the supervisor's messages cannot be read: {error}");
                    break;
                }
            }
        }
        drop(lifeline);
        let status = supervisor.wait()?;
        drop(directory);
        for claim in missing {
            each(
                claim,
                Outcome::Broken(format!("no result: {last_words} ({status})")),
                0,
            );
        }
        Ok(())
    }
}

impl Resource {
    /// The file whose `flock` stands for the resource.
    ///
    /// Device nodes: there on every machine, never removed, and nothing is left behind. The lock ends with its holder.
    fn lock_file(self) -> &'static str {
        match self {
            Self::Machine => "/dev/null",
            Self::UserMemlock => "/dev/zero",
            Self::UserPipePages => "/dev/full",
        }
    }
}
