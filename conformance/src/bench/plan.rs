//! What is compared.

use crate::bench::peers::Peer;
use crate::ways::methods::Method;
use crate::ways::sinks::Sink;
use serde::Deserialize;
use serde::Serialize;
/// What the one that is measured twice is called the second time.
pub const AGAIN: &str = " again";

/// One of those that are compared.
#[derive(Clone, Debug)]
pub struct Contender {
    /// The name that users are told.
    pub name: String,
    /// How it sends.
    pub how: How,
}

/// How a contender sends.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// As a method of ours, in this program.
    Method(Method),
    /// By another program.
    Peer(Peer),
}

/// Why a plan is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The ways of sending to a sink.
    Ways,
    /// The same for a file of another size, sent again and again: what is paid once for each file is in it.
    Size,
    /// `splice` with pipes of other capacities.
    Pipe,
    /// Calls that send more or less at a time.
    Chunk,
    /// What others have written.
    Peers,
}

/// What is compared: contenders that send to one sink.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Why.
    pub kind: Kind,
    /// The sink.
    pub sink: Sink,
    /// On which processors.
    pub placement: Placement,
    /// The congestion control of TCP, if not the system's own.
    pub congestion: Option<String>,
    /// How many bytes are sent.
    pub length: usize,
    /// How often, in one trial.
    pub repeat: usize,
    /// How many rounds are made.
    pub rounds: usize,
    /// Who, the one with which all are compared first.
    pub contenders: Vec<Contender>,
    /// Which of them is measured twice: its second time is the last of them.
    pub twice: usize,
}

/// On which processors the two processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Both on the same one: the wall is what both cost.
    Same,
    /// On two.
    Split,
}
