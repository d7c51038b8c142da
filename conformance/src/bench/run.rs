//! A run of the benchmark: all rounds of every plan.

use super::stats::{Interval, median, ratio};
use super::trial::{Figures, Trial};
use crate::bench::plan::{Contender, How, Kind, Placement, Plan};
use crate::lab::{Lab, io, open, pattern};
use crate::verdict::{Setup, Stop};
use crate::ways::methods::Method;
use nocopy_transfer::{Route, Stability};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File};

/// The maximum difference between the two series of one contender, in percent.
pub const NOISE: f64 = 10.0;

/// The file that is sent, and its content.
pub struct Source {
    file: File,
    content: Vec<u8>,
    /// Whether the whole content is locked in memory.
    pub is_locked: bool,
}

impl Source {
    /// A file with `length` bytes of a pattern on the kernel's internal tmpfs. It is locked in memory if that is permitted.
    pub fn on_tmpfs(length: usize) -> Result<Self, Stop> {
        Self::of(File::from(open::sealed_memfd(0)?), length)
    }

    /// The same in the scratch directory, on the file system of the files that a sink of kind file writes.
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
            // SAFETY: the range lies in the mapping, and locking does not change it.
            let locked = unsafe { libc::mlock(mapping.as_ptr().cast(), length) } == 0;
            // The file's pages stay locked while the mapping exists, which is until the process ends.
            std::mem::forget(mapping);
            locked
        });
        Ok(Self { file, content, is_locked: locked.unwrap_or(false) })
    }
}

/// The results of a contender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// The median wall time for 1 GiB, in milliseconds.
    pub wall: f64,
    /// The median CPU time of the sender for 1 GiB, in milliseconds.
    pub sender: f64,
    /// The median CPU time of the receiver for 1 GiB, in milliseconds.
    pub receiver: f64,
    /// How many times as fast as the base it is.
    pub faster: Interval,
    /// The ratio of the base's sender CPU time to this one's.
    pub sender_saves: Interval,
    /// The same ratio for the CPU time of sender and receiver together.
    pub both_save: Interval,
}

impl Line {
    /// GB/s.
    pub fn speed(&self) -> f64 {
        const GIB: f64 = (1 << 30) as f64;
        GIB / self.wall / 1e6
    }
}

/// What `nocopy-transfer` has chosen, against the fastest single route of the odd rounds: compared on the even rounds, so that no
/// route is best by luck.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Choice {
    /// The contender with a choice.
    pub name: String,
    /// The fastest single route.
    pub best: String,
    /// How many times as fast as that route it is.
    pub ratio: Interval,
}

/// The results of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The purpose of the plan.
    pub kind: Kind,
    /// The sink.
    pub sink: String,
    /// The processors.
    pub placement: Placement,
    /// The requested congestion control.
    pub congestion: Option<String>,
    /// The number of bytes that were sent.
    pub length: usize,
    /// How many times they were sent in one trial.
    pub repeat: usize,
    /// The number of rounds.
    pub rounds: usize,
    /// The contender that was measured twice.
    pub twice: String,
    /// The ratio of its two series of wall times.
    pub noise: Interval,
    /// The contenders, the base first.
    pub lines: Vec<Line>,
    /// The contenders that choose a route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
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

    /// The line with which all others are compared.
    pub fn base(&self) -> Option<&Line> {
        self.lines.first()
    }
}

/// The machine and the time of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conditions {
    /// The kernel's release.
    pub kernel: String,
    /// The processor's name.
    pub processor: String,
    /// The day, as 2026-11-28.
    pub date: String,
    /// The system's default congestion control.
    pub congestion: String,
    /// The load average of one minute, before and after the run.
    pub load: [String; 2],
}

impl Conditions {
    /// The conditions now.
    pub fn here() -> Self {
        let load = load();
        Self {
            kernel: nocopy_host::kernel::uname().0,
            processor: processor(),
            date: today(),
            congestion: setting("/proc/sys/net/ipv4/tcp_congestion_control"),
            load: [load.clone(), load],
        }
    }

    /// Whether something else was running before.
    pub fn is_busy(&self) -> bool {
        self.load[0].parse::<f64>().is_ok_and(|load| load >= 1.0)
    }

    /// Records the load at the end of the run.
    pub fn end(&mut self) {
        self.load[1] = load();
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {}, {}, {}", self.kernel, self.processor, self.date)
    }
}

/// The processor's name in /proc/cpuinfo, or else the architecture.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()));
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn setting(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}

/// The load average of the last minute.
fn load() -> String {
    let text = setting("/proc/loadavg");
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// A run of the benchmark.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The conditions of the run.
    #[serde(flatten)]
    pub on: Conditions,
    /// Whether the source was locked in memory.
    pub is_locked: bool,
    /// How fast the machine copies memory: bytes of a block, and GB/s.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memory: Vec<(usize, f64)>,
    /// The peers and sinks that were not measured, with the reason.
    pub missing: Vec<String>,
    /// The results of each plan.
    pub outcomes: Vec<Outcome>,
}

/// The current date, in UTC.
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

/// Makes all trials of a plan. `told` is called after each trial.
pub fn run(lab: &Lab, source: &Source, plan: &Plan, mut told: impl FnMut()) -> Result<Outcome, Stop> {
    let trial = Trial::of(lab, &source.file, &source.content[..plan.length], plan)?;
    // The first round warms up, and the receiver compares every byte in it.
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
    let of = |at: usize, figure: fn(&Figures) -> f64| -> Vec<f64> { figures[at].iter().map(figure).collect() };
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
        choices: choices(plan, figures),
    }
}

fn choices(plan: &Plan, figures: &[Vec<Figures>]) -> Vec<Choice> {
    let walls = |at: usize, odd: usize| -> Vec<f64> {
        figures[at].iter().skip(odd).step_by(2).map(|figures| figures.wall.as_secs_f64()).collect()
    };
    let mut choices = Vec::new();
    for (at, contender) in plan.contenders.iter().enumerate() {
        let How::Method(Method::Chosen(stability, _)) = contender.how else { continue };
        // The second series of a contender is no rival.
        let rivals = plan.contenders.iter().enumerate().take(plan.contenders.len() - 1);
        let rivals = rivals.filter(|(_, rival)| match rival.how {
            How::Method(Method::Route(Route::ReadWrite { .. } | Route::MmapWrite { .. } | Route::CopyFileRange)) => {
                true
            }
            How::Method(Method::Route(_)) => stability == Stability::Shared,
            _ => false,
        });
        let best = rivals.min_by(|(one, _), (other, _)| median(&walls(*one, 1)).total_cmp(&median(&walls(*other, 1))));
        if let Some((best, rival)) = best {
            let pairs: Vec<(f64, f64)> = walls(best, 0).into_iter().zip(walls(at, 0)).collect();
            choices.push(Choice { name: contender.name.clone(), best: rival.name.clone(), ratio: ratio(&pairs) });
        }
    }
    choices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plans::Wanted;
    use std::time::Duration;

    /// The best route is that of the odd rounds, and a copy is compared with copies.
    #[test]
    fn a_choice_is_compared_on_other_rounds_than_its_rival_is_found_on() {
        let wanted = Wanted { rounds: 4, length: 1 << 20, full: false, peers: vec![], relays: vec![] };
        let plans = wanted.plans();
        let plan = &plans[0];
        let at = |name: &str| plan.contenders.iter().position(|one| one.name == name).expect("a contender");
        let of = |wall| Figures {
            wall: Duration::from_millis(wall),
            sender: Duration::from_millis(1),
            receiver: Duration::ZERO,
        };
        let mut figures = vec![vec![of(100); 4]; plan.contenders.len()];
        figures[at("sendfile")] = vec![of(80), of(20), of(80), of(20)];
        figures[at("mmap+write")] = vec![of(90), of(50), of(90), of(50)];
        figures[at("chosen, shared")] = vec![of(40); 4];
        figures[at("chosen, snapshot")] = vec![of(45); 4];
        let [shared, snapshot] = &choices(plan, &figures)[..] else { panic!("two choices") };
        assert_eq!((&*shared.name, &*shared.best), ("chosen, shared", "sendfile"));
        assert_eq!((&*snapshot.name, &*snapshot.best), ("chosen, snapshot", "mmap+write"));
        let is = |ratio: Interval, expected: f64| (ratio.median - expected).abs() < 1e-9;
        assert!(is(shared.ratio, 2.0) && is(snapshot.ratio, 2.0), "{shared:?} {snapshot:?}");
    }
}
