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
pub mod order;
pub mod outcome;
mod scratch;
pub mod supervisor;

use crate::claim::{Claim, Resource};
use crate::interrupt;
use order::{Interposed, Limits, Message, Order, Orders, Report};
use outcome::{Isolation, Outcome};
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// The hidden command with which the program starts itself as supervisor.
pub const SUPERVISE: &str = "__supervise";

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

/// An experiment to be run: a claim's, in its own way or with a tracer's.
#[derive(Clone, Copy, Debug)]
pub struct Task<'claim> {
    /// The claim.
    pub claim: &'claim Claim,
    /// Who stands between it and the kernel.
    pub interposed: Interposed,
    /// Its time limits; the runner's own if none.
    pub limits: Option<Limits>,
}

impl<'claim> Task<'claim> {
    /// The claim's experiment in its own way.
    pub fn of(claim: &'claim Claim) -> Self {
        Self {
            claim,
            interposed: Interposed::AsClaimed,
            limits: None,
        }
    }
}

/// What a runner reports besides outcomes.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'run> {
    /// Before the first experiment: what the run cannot use.
    Lost(&'run Isolation),
    /// The experiment of the task at this place begins.
    Begun(usize),
}

impl Runner {
    /// Runs `claims` and calls `each` as their outcomes come, in no order. Every claim has exactly one outcome.
    ///
    /// # Errors
    ///
    /// If the supervisor cannot be started. One that dies makes the claims without an outcome `broken`.
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

    /// Runs `tasks` and calls `each` with the place of a task and what it brought, in no order, once per task.
    ///
    /// # Errors
    ///
    /// If the supervisor cannot be started. One that dies makes the tasks without a report `broken`; a signal that is
    /// [watched](interrupt::watch) for ends it, and makes them `not reached`.
    pub fn run_tasks(
        &self,
        tasks: &[Task<'_>],
        mut heard: impl FnMut(Heard<'_>),
        mut each: impl FnMut(usize, Report),
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
        let order = |task: &Task<'_>| Order {
            claim: task.claim.id.to_owned(),
            interposed: task.interposed,
            limits: task
                .limits
                .unwrap_or(Limits::of_cpu_seconds(self.cpu_seconds)),
        };
        let directory = self.scratch.as_deref().map(scratch::RunDirectory::named);
        let orders = Orders {
            tasks: tasks.iter().map(order).collect(),
            jobs: self.jobs.max(1),
            scratch: self.scratch.clone(),
            directory: directory.as_ref().map(|directory| directory.0.clone()),
        };
        // Held until the end: this is the lifeline. A supervisor that is gone already is noticed below.
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
                    last_words = format!(
                        "the supervisor counted {reports} reports of {}",
                        tasks.len()
                    );
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
    /// The files whose `flock` stands for the resource: the second where the first is nothing that can be locked.
    ///
    /// Device nodes: there on every machine, never removed, and nothing is left behind. gVisor has no locks of devices
    /// (`ENOLCK`), but of directories. The lock ends with its holder.
    fn lock_files(self) -> [&'static str; 2] {
        match self {
            Self::Machine => ["/dev/null", "/"],
            Self::UserMemlock => ["/dev/zero", "/dev"],
            Self::UserPipePages => ["/dev/full", "/proc"],
        }
    }
}
