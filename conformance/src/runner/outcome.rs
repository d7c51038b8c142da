//! The outcome of an experiment, and the isolation that a run could not use.

#![forbid(unsafe_code)]

use crate::verdict::{Observation, Reason};
use serde::{Deserialize, Serialize};
use std::any::Any;

/// The outcome of an experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Its observation.
    Seen(Observation),
    /// It could not be tried here.
    Untestable(Reason),
    /// The experiment itself failed: red.
    Broken(String),
    /// It did not end within its time limit: red.
    TimedOut(String),
    /// The run ended before it: red.
    NotReached(String),
}

/// The isolation that a run could not use. The supervisor finds this out before the first claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Why experiments have no separate PID namespace.
    pub pid_namespace: Option<String>,
    /// Why nothing can be traced.
    pub ptrace: Option<String>,
}

/// The text of a panic.
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
