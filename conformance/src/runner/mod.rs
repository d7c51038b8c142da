//! Runs claims, each in separate processes, and returns their outcomes whatever the experiments do.
//!
//! ```text
//! conformance check            the program that the user started: judges and reports
//!   └ supervisor               own session, subreaper; its stdin is the lifeline: end of file ends everything
//!       └ keeper, per claim    process 1 of a PID namespace, in a mount namespace, where that is allowed; holds the
//!           │                  claim's locks, watches time, collects the report, is the tracer of traced claims
//!           └ experiment       default signal dispositions, own process group, dies with its keeper
//! ```
//!
//! No process outlives one above it. The supervisor sees the end of the lifeline, and keepers and experiments have a parent-death
//! signal. The keeper (in a namespace, the kernel) kills the processes that an experiment started. Mounts of the experiment end with
//! its mount namespace. Each experiment has a separate directory; a file that is left there makes the experiment broken.

mod keeper;
pub mod order;
pub mod outcome;
mod scratch;
pub mod supervisor;

use crate::claim::{Claim, Resource};
use nocopy_host::interrupt;
use order::{Interposed, Limits, Message, Order, Orders, Report};
use outcome::{Isolation, Outcome};
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// The hidden command that starts the program as supervisor.
pub const SUPERVISE: &str = "__supervise";

/// The program that runs claims, and the limits.
#[derive(Clone, Debug)]
pub struct Runner {
    /// The `conformance` program, which is also the supervisor.
    pub program: PathBuf,
    /// The number of experiments that run side by side.
    pub jobs: usize,
    /// CPU seconds that one experiment may use.
    pub cpu_seconds: u64,
    /// The directory for unnamed files.
    pub scratch: Option<PathBuf>,
}

/// An experiment to run: as the claim has it, or with another tracer.
#[derive(Clone, Copy, Debug)]
pub struct Task<'claim> {
    /// The claim.
    pub claim: &'claim Claim,
    /// The tracer between the experiment and the kernel.
    pub interposed: Interposed,
    /// Its time limits; those of the runner, if none.
    pub limits: Option<Limits>,
}

impl<'claim> Task<'claim> {
    /// The experiment as the claim has it.
    pub fn of(claim: &'claim Claim) -> Self {
        Self { claim, interposed: Interposed::AsClaimed, limits: None }
    }
}

/// The reports of a runner, other than outcomes.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'run> {
    /// Before the first experiment: the isolation that the run cannot use.
    Lost(&'run Isolation),
    /// The experiment of the task with this index begins.
    Begun(usize),
}

impl Runner {
    /// Runs `claims` and calls `each` with each outcome as it arrives, in any order. Every claim has exactly one outcome.
    ///
    /// # Errors
    ///
    /// If the supervisor cannot be started. If it dies, the claims without an outcome are `broken`.
    pub fn run(
        &self,
        claims: &[&Claim],
        heard: impl FnMut(Heard<'_>),
        mut each: impl FnMut(&Claim, Outcome, u64),
    ) -> io::Result<()> {
        let tasks: Vec<Task<'_>> = claims.iter().map(|claim| Task::of(claim)).collect();
        self.run_tasks(&tasks, heard, |index, report| {
            each(claims[index], report.outcome, report.milliseconds);
        })
    }

    /// Runs `tasks` and calls `each` with the index of a task and its report, in any order, once per task.
    ///
    /// # Errors
    ///
    /// If the supervisor cannot be started. If it dies, the tasks without a report are `broken`. A signal that is
    /// [watched](interrupt::watch) for ends it, and the tasks without a report are then `not reached`.
    pub fn run_tasks(
        &self,
        tasks: &[Task<'_>],
        mut heard: impl FnMut(Heard<'_>),
        mut each: impl FnMut(usize, Report),
    ) -> io::Result<()> {
        let mut supervisor =
            Command::new(&self.program).arg(SUPERVISE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(
                |error| io::Error::new(error.kind(), format!("cannot start {}: {error}", self.program.display())),
            )?;
        let order = |task: &Task<'_>| Order {
            claim: task.claim.id.to_owned(),
            interposed: task.interposed,
            limits: task.limits.unwrap_or(Limits::of_cpu_seconds(self.cpu_seconds)),
        };
        let directory = self.scratch.as_deref().map(scratch::RunDirectory::named);
        let orders = Orders {
            tasks: tasks.iter().map(order).collect(),
            jobs: self.jobs.max(1),
            scratch: self.scratch.clone(),
            directory: directory.as_ref().map(|directory| directory.0.clone()),
        };
        // Held until the end: this is the lifeline. A supervisor that has already ended is noticed below.
        let mut lifeline = supervisor.stdin.take().expect("stdin is piped");
        let _ = writeln!(lifeline, "{}", serde_json::to_string(&orders)?);
        let lifeline = Arc::new(Mutex::new(Some(lifeline)));
        let cut = {
            let lifeline = Arc::clone(&lifeline);
            move || drop(lifeline.lock().map(|mut held| held.take()))
        };
        let at_interrupt = interrupt::at_interrupt(cut.clone());

        let mut missing = vec![true; tasks.len()];
        let mut last_words = String::from("the supervisor ended early");
        for line in BufReader::new(supervisor.stdout.take().expect("stdout is piped")).lines() {
            match line.and_then(|line| Ok(serde_json::from_str(&line)?)) {
                Ok(Message::Isolation(lost)) => heard(Heard::Lost(&lost)),
                Ok(Message::Begun { task }) if task < tasks.len() => heard(Heard::Begun(task)),
                Ok(Message::Begun { .. }) => {}
                Ok(Message::Report { task, report }) => {
                    if let Some(missing) = missing.get_mut(task)
                        && std::mem::take(missing)
                    {
                        each(task, report);
                    }
                }
                Ok(Message::End { reports }) => {
                    last_words = format!("the supervisor counted {reports} reports of {}", tasks.len());
                    break;
                }
                Err(error) => {
                    last_words = format!("the supervisor's messages cannot be read: {error}");
                    break;
                }
            }
        }
        drop(at_interrupt);
        cut();
        let status = supervisor.wait()?;
        drop(directory);
        let missed = match interrupt::came() {
            Some(signal) => Outcome::NotReached(format!("{signal} ended the run")),
            None => Outcome::Broken(format!("no result: {last_words} ({status})")),
        };
        for (task, _) in missing.iter().enumerate().filter(|(_, missing)| **missing) {
            each(task, missed.clone().into());
        }
        Ok(())
    }
}

impl Resource {
    /// The files whose `flock` stands for the resource. The second is used if the first cannot be locked.
    ///
    /// The first is a device node: it exists on every machine, is never removed, and the lock leaves no file. gVisor cannot lock
    /// devices (`ENOLCK`), but it can lock directories. The lock ends with its holder.
    fn lock_files(self) -> [&'static str; 2] {
        match self {
            Self::Machine => ["/dev/null", "/"],
            Self::UserMemlock => ["/dev/zero", "/dev"],
            Self::UserPipePages => ["/dev/full", "/proc"],
        }
    }
}
