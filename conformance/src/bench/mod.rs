//! The benchmark: the ways of sending, timed against each other.
//!
//! Every round has one [trial] of each method, in another order each time, so that what disturbs the machine disturbs all. A
//! method is compared with the base, `read` and `write` of 64 KiB, round by round: the [ratio] of each pair, its median and
//! interval. `sendfile` is there twice; what it differs from itself is the noise, and where that is too wide nothing is decided.
//! Times say nothing about right or wrong, so no test looks at them.

pub mod report;
pub mod stats;
pub mod trial;

use crate::lab::{Lab, fds, io, pattern};
use crate::ledger::methods::{self, Method};
use crate::ledger::sinks::Sink;
use crate::verdict::{Setup, Stop};
use serde::Serialize;
use stats::{Interval, median, ratio};
use std::fs::File;
use trial::{Figures, Placement, Trial};

/// The method with which all are compared.
pub const BASE: &str = "read+write 64 KiB";
/// The method that is measured twice.
pub const TWICE: &str = "sendfile";
/// What its second time is called.
pub const AGAIN: &str = "sendfile again";
/// How far the two may be apart, in percent.
pub const NOISE: f64 = 10.0;

/// What is compared: each way of sending to one sink.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The sink.
    pub sink: Sink,
    /// On which processors.
    pub placement: Placement,
    /// The congestion control of TCP, if not the system's own.
    pub congestion: Option<String>,
    /// The methods, by their names in [`methods::ALL`].
    pub methods: Vec<&'static str>,
}

/// What is sent.
pub struct Source {
    file: File,
    content: Vec<u8>,
    /// Whether all of it is kept in memory.
    pub is_locked: bool,
}

impl Source {
    /// So many bytes of a pattern, in a file on the kernel's own tmpfs, which are kept in memory if that is allowed.
    pub fn on_tmpfs(length: usize) -> Result<Self, Stop> {
        Self::of(File::from(fds::sealed_memfd(0)?), length)
    }

    /// The same on the file system of files that are written.
    pub fn on_scratch(lab: &Lab, length: usize) -> Result<Self, Stop> {
        Self::of(lab.empty_file()?, length)
    }

    fn of(file: File, length: usize) -> Result<Self, Stop> {
        let content = pattern(length);
        io::write_all(&file, &content).setup("write the source")?;
        let locked = crate::lab::map_file(&file, length).map(|mapping| {
            // SAFETY: the range is the mapping's own; to lock it changes nothing in it.
            let locked = unsafe { libc::mlock(mapping.as_ptr().cast(), length) } == 0;
            // The file's pages stay locked as long as the mapping is there: to the end.
            std::mem::forget(mapping);
            locked
        });
        Ok(Self {
            file,
            content,
            is_locked: locked.unwrap_or(false),
        })
    }
}

/// What came of a method.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its name.
    pub method: &'static str,
    /// Milliseconds for 1 GiB, the medians: from start to end.
    pub wall: f64,
    /// CPU of the sender.
    pub sender: f64,
    /// CPU of the receiver.
    pub receiver: f64,
    /// How many times as fast as the base it is.
    pub faster: Interval,
    /// How many times as much CPU the base's sender takes.
    pub sender_saves: Interval,
    /// How many times as much CPU both take with the base.
    pub both_save: Interval,
}

/// What came of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The sink.
    pub sink: &'static str,
    /// On which processors.
    pub placement: Placement,
    /// The congestion control that was asked for.
    pub congestion: Option<String>,
    /// How many rounds.
    pub rounds: usize,
    /// How many times as fast `sendfile` is as itself.
    pub noise: Interval,
    /// The methods, the base first.
    pub lines: Vec<Line>,
}

impl Outcome {
    /// Whether the noise is small enough to decide anything.
    pub fn is_quiet(&self) -> bool {
        self.noise.low >= 1.0 - NOISE / 100.0 && self.noise.high <= 1.0 + NOISE / 100.0
    }

    /// The line of a method.
    pub fn find(&self, method: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.method == method)
    }
}

/// Makes all trials of a plan. `told` hears of each.
pub fn run(
    lab: &Lab,
    source: &Source,
    plan: &Plan,
    rounds: usize,
    mut told: impl FnMut(),
) -> Result<Outcome, Stop> {
    let trial = Trial {
        lab,
        source: &source.file,
        content: &source.content,
        congestion: plan.congestion.as_deref(),
    };
    let find = |name: &'static str| -> Result<(&'static str, Method), Stop> {
        let known = if name == AGAIN { TWICE } else { name };
        let found = methods::ALL.iter().find(|(other, _)| *other == known);
        let (_, method) = found.ok_or_else(|| Stop::broken(format!("no method {name}")))?;
        Ok((name, *method))
    };
    let named: Vec<(&'static str, Method)> = plan
        .methods
        .iter()
        .copied()
        .map(find)
        .collect::<Result<_, _>>()?;
    // The first round is to warm up, and every byte is compared in it.
    for (_, method) in &named {
        trial.run(*method, plan.sink, plan.placement, true)?;
        told();
    }
    let mut figures: Vec<Vec<Figures>> = vec![Vec::new(); named.len()];
    for round in 0..rounds {
        for step in 0..named.len() {
            let at = (round + step) % named.len();
            let made = trial.run(named[at].1, plan.sink, plan.placement, false)?;
            figures[at].push(made);
            told();
        }
    }
    Ok(outcome(plan, source.content.len(), &named, &figures))
}

fn outcome(
    plan: &Plan,
    length: usize,
    named: &[(&'static str, Method)],
    figures: &[Vec<Figures>],
) -> Outcome {
    const GIB: usize = 1 << 30;
    #[expect(clippy::cast_precision_loss, reason = "lengths are powers of two")]
    let per_gib = GIB as f64 / length as f64 * 1e3;
    let of = |at: usize, figure: fn(&Figures) -> f64| -> Vec<f64> {
        figures[at].iter().map(figure).collect()
    };
    let at = |name: &str| named.iter().position(|(other, _)| *other == name);
    let base = at(BASE).unwrap_or(0);
    let compared = |one: usize, other: usize, figure: fn(&Figures) -> f64| {
        let pairs: Vec<(f64, f64)> = of(one, figure).into_iter().zip(of(other, figure)).collect();
        ratio(&pairs)
    };
    let wall: fn(&Figures) -> f64 = |figures| figures.wall.as_secs_f64();
    let sender: fn(&Figures) -> f64 = |figures| figures.sender.as_secs_f64();
    let receiver: fn(&Figures) -> f64 = |figures| figures.receiver.as_secs_f64();
    let both: fn(&Figures) -> f64 = |figures| figures.cpu().as_secs_f64();
    let lines = named.iter().enumerate().map(|(at, (name, _))| Line {
        method: name,
        wall: median(&of(at, wall)) * per_gib,
        sender: median(&of(at, sender)) * per_gib,
        receiver: median(&of(at, receiver)) * per_gib,
        faster: compared(base, at, wall),
        sender_saves: compared(base, at, sender),
        both_save: compared(base, at, both),
    });
    let (one, other) = (at(TWICE).unwrap_or(base), at(AGAIN).unwrap_or(base));
    Outcome {
        sink: plan.sink.name(),
        placement: plan.placement,
        congestion: plan.congestion.clone(),
        rounds: figures.first().map_or(0, Vec::len),
        noise: compared(one, other, wall),
        lines: lines.collect(),
    }
}
