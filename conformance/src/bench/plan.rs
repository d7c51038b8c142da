//! Plans: what the benchmark compares.

use crate::bench::peers::Peer;
use crate::ways::methods::Method;
use crate::ways::sinks::Sink;
use serde::Deserialize;
use serde::Serialize;
/// The suffix of the name of the second series of the contender that is measured twice.
pub const AGAIN: &str = " again";

/// One of the ways of sending that a plan compares.
#[derive(Clone, Debug)]
pub struct Contender {
    /// The name that is printed.
    pub name: String,
    /// How it sends.
    pub how: How,
}

/// How a contender sends.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// By a method of this project, in this program.
    Method(Method),
    /// By another program.
    Peer(Peer),
}

/// The purpose of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The ways of sending to a sink.
    Ways,
    /// The ways of sending with files of another size. A small file is sent many times in a trial, so the cost per file counts
    /// each time.
    Size,
    /// `splice` with pipes of other capacities.
    Pipe,
    /// Calls that send more or fewer bytes at a time.
    Chunk,
    /// Programs of other authors.
    Peers,
    /// Programs between two connections.
    Relays,
}

/// A comparison of contenders that send to one sink.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its purpose.
    pub kind: Kind,
    /// The sink.
    pub sink: Sink,
    /// The processors that are used.
    pub placement: Placement,
    /// The congestion control of TCP. `None` is the system's default.
    pub congestion: Option<String>,
    /// The number of bytes that are sent.
    pub length: usize,
    /// How many times they are sent in one trial.
    pub repeat: usize,
    /// The number of rounds.
    pub rounds: usize,
    /// The contenders. All are compared with the first one.
    pub contenders: Vec<Contender>,
    /// The index of the contender that is measured twice. The last contender is its second series.
    pub twice: usize,
}

/// The processors on which the two processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Both on one processor: the wall time is the cost of both.
    Same,
    /// On two processors.
    Split,
}
