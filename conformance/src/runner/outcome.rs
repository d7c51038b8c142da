//! What becomes of an experiment, and what a run could not use.

#![forbid(unsafe_code)]

use crate::verdict::{Observation, Reason};
use serde::{Deserialize, Serialize};
use std::any::Any;

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
    /// The run ended before it did: red.
    NotReached(String),
}

/// What a run could not use, found by the supervisor before the first claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Why experiments have no PID namespace of their own.
    pub pid_namespace: Option<String>,
    /// Why nothing can be traced.
    pub ptrace: Option<String>,
}

/// The text of a panic.
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
