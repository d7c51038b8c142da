//! A run of the benchmark: every plan, round by round.

use super::stats::{Interval, median, ratio};
use super::trial::{Figures, Trial};
use crate::bench::plan::Contender;
use crate::bench::plan::Kind;
use crate::bench::plan::Placement;
use crate::bench::plan::Plan;
use crate::lab::open;
use crate::lab::{Lab, io, pattern};
use crate::verdict::{Setup, Stop};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File};

/// How far the two may be apart, in percent.
pub const NOISE: f64 = 10.0;

/// What is sent: a file, and what is in it.
pub struct Source {
    file: File,
    content: Vec<u8>,
    /// Whether all of it is kept in memory.
    pub is_locked: bool,
}

impl Source {
    /// So many bytes of a pattern, in a file on the kernel's own tmpfs, which are kept in memory if that is allowed.
    pub fn on_tmpfs(length: usize) -> Result<Self, Stop> {
        Self::of(File::from(open::sealed_memfd(0)?), length)
    }

    /// The same on the file system of files that are written.
    pub fn on_scratch(lab: &Lab, length: usize) -> Result<Self, Stop> {
        Self::of(lab.empty_file()?, length)
    }

    /// The file.
    pub const fn file(&self) -> &File {
        &self.file
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

/// What came of a contender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Its name.
    pub name: String,
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
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Why it was made.
    pub kind: Kind,
    /// The sink.
    pub sink: String,
    /// On which processors.
    pub placement: Placement,
    /// The congestion control that was asked for.
    pub congestion: Option<String>,
    /// How many bytes were sent.
    pub length: usize,
    /// How often, in one trial.
    pub repeat: usize,
    /// How many rounds.
    pub rounds: usize,
    /// Which was measured twice.
    pub twice: String,
    /// How many times as fast that is as itself.
    pub noise: Interval,
    /// The contenders, the base first.
    pub lines: Vec<Line>,
}

impl Outcome {
    /// Whether the noise is small enough to decide anything.
    pub fn is_quiet(&self) -> bool {
        self.noise.low >= 1.0 - NOISE / 100.0 && self.noise.high <= 1.0 + NOISE / 100.0
    }

    /// The line of a contender.
    pub fn find(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }

    /// With what all are compared.
    pub fn base(&self) -> Option<&Line> {
        self.lines.first()
    }
}

/// What a run of a benchmark ran on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conditions {
    /// The kernel's release.
    pub kernel: String,
    /// The processor's name.
    pub processor: String,
    /// The day, as 2026-11-28.
    pub date: String,
    /// The system's own congestion control.
    pub congestion: String,
    /// The load average of a minute, before and after.
    pub load: [String; 2],
}

impl Conditions {
    /// Those of now.
    pub fn here() -> Self {
        let load = load();
        Self {
            kernel: crate::kernel::uname().0,
            processor: processor(),
            date: today(),
            congestion: setting("/proc/sys/net/ipv4/tcp_congestion_control"),
            load: [load.clone(), load],
        }
    }

    /// The run has ended.
    pub fn end(&mut self) {
        self.load[1] = load();
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Linux {}, {}, {}",
            self.kernel, self.processor, self.date
        )
    }
}

/// Its name, as far as Linux knows it.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()));
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn setting(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}

/// That of the last minute.
fn load() -> String {
    let text = setting("/proc/loadavg");
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// A run of the benchmark, with what it ran on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// On what.
    #[serde(flatten)]
    pub on: Conditions,
    /// Whether the source was locked in memory.
    pub is_locked: bool,
    /// What was not measured, and why.
    pub missing: Vec<String>,
    /// What came of each plan.
    pub outcomes: Vec<Outcome>,
}

/// The day, in UTC.
fn today() -> String {
    // SAFETY: time takes no pointer here; gmtime_r reads one number and writes one structure of plain integers and a pointer to a
    // static name, for which zero is valid.
    let day = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut day: libc::tm = std::mem::zeroed();
        libc::gmtime_r(&raw const now, &raw mut day);
        day
    };
    let (year, month) = (day.tm_year + 1900, day.tm_mon + 1);
    format!("{year}-{month:02}-{:02}", day.tm_mday)
}

/// Makes all trials of a plan. `told` hears of each.
pub fn run(
    lab: &Lab,
    source: &Source,
    plan: &Plan,
    mut told: impl FnMut(),
) -> Result<Outcome, Stop> {
    let trial = Trial::of(lab, &source.file, &source.content[..plan.length], plan)?;
    // The first round is to warm up, and every byte is compared in it.
    let make = |contender: &Contender, verify| {
        let made = trial.run(contender.how, verify);
        made.map_err(|stop| match stop {
            Stop::Broken(what) => Stop::broken(format!("{}: {what}", contender.name)),
            stop @ Stop::Untestable(_) => stop,
        })
    };
    for contender in &plan.contenders {
        make(contender, true)?;
        told();
    }
    let number = plan.contenders.len();
    let mut figures: Vec<Vec<Figures>> = vec![Vec::new(); number];
    for round in 0..plan.rounds {
        for step in 0..number {
            let at = (round + step) % number;
            figures[at].push(make(&plan.contenders[at], false)?);
            told();
        }
    }
    Ok(outcome(plan, &figures))
}

fn outcome(plan: &Plan, figures: &[Vec<Figures>]) -> Outcome {
    const GIB: usize = 1 << 30;
    #[expect(clippy::cast_precision_loss, reason = "lengths are powers of two")]
    let per_gib = GIB as f64 / (plan.length * plan.repeat) as f64 * 1e3;
    let of = |at: usize, figure: fn(&Figures) -> f64| -> Vec<f64> {
        figures[at].iter().map(figure).collect()
    };
    let compared = |one: usize, other: usize, figure: fn(&Figures) -> f64| {
        let pairs: Vec<(f64, f64)> = of(one, figure).into_iter().zip(of(other, figure)).collect();
        ratio(&pairs)
    };
    let wall: fn(&Figures) -> f64 = |figures| figures.wall.as_secs_f64();
    let sender: fn(&Figures) -> f64 = |figures| figures.sender.as_secs_f64();
    let receiver: fn(&Figures) -> f64 = |figures| figures.receiver.as_secs_f64();
    let both: fn(&Figures) -> f64 = |figures| figures.cpu().as_secs_f64();
    let lines = plan.contenders.iter().enumerate();
    let lines = lines.map(|(at, contender)| Line {
        name: contender.name.clone(),
        wall: median(&of(at, wall)) * per_gib,
        sender: median(&of(at, sender)) * per_gib,
        receiver: median(&of(at, receiver)) * per_gib,
        faster: compared(0, at, wall),
        sender_saves: compared(0, at, sender),
        both_save: compared(0, at, both),
    });
    Outcome {
        kind: plan.kind,
        sink: plan.sink.name().to_owned(),
        placement: plan.placement,
        congestion: plan.congestion.clone(),
        length: plan.length,
        repeat: plan.repeat,
        rounds: plan.rounds,
        twice: plan.contenders[plan.twice].name.clone(),
        noise: compared(plan.twice, plan.contenders.len() - 1, wall),
        lines: lines.collect(),
    }
}
