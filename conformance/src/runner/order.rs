//! The messages between the program, its supervisor and the keepers.

#![forbid(unsafe_code)]

use super::outcome::{Isolation, Outcome};
use crate::interpose::lie::Lie;
use crate::interpose::record::Made;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The tracer between an experiment and the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interposed {
    /// None, or a tracer that counts for a claim that is `traced`.
    AsClaimed,
    /// A tracer that records every call.
    Recorder,
    /// A tracer that applies a lie.
    Liar(Lie),
}

/// The report of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The outcome of the experiment.
    pub outcome: Outcome,
    /// Every call that it made, if calls were recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Made>,
    /// How often the lie changed something.
    #[serde(default)]
    pub told: u64,
    /// The duration.
    #[serde(default)]
    pub milliseconds: u64,
}

impl From<Outcome> for Report {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, calls: Vec::new(), told: 0, milliseconds: 0 }
    }
}

/// A message of the supervisor, one line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Message {
    Isolation(Isolation),
    Begun { task: usize },
    Report { task: usize, report: Report },
    End { reports: usize },
}

/// The supervisor's orders: the first line on its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    pub tasks: Vec<Order>,
    pub jobs: usize,
    pub scratch: Option<PathBuf>,
    /// A directory below it, with one directory for each experiment.
    pub directory: Option<PathBuf>,
}

/// A task, as the supervisor gets it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub claim: String,
    pub interposed: Interposed,
    pub limits: Limits,
}

/// The time limits of one experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// CPU seconds that it may use.
    pub cpu_seconds: u64,
    /// Seconds of the wall clock: a limit for an experiment that waits for ever.
    pub wall_seconds: u64,
}

impl Limits {
    /// The wall-clock limit is generous, for a loaded machine.
    pub fn of_cpu_seconds(cpu_seconds: u64) -> Self {
        const WALL_PER_CPU: u64 = 6;
        Self { cpu_seconds, wall_seconds: cpu_seconds * WALL_PER_CPU }
    }
}
