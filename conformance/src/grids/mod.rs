//! Grids: what everything of a kind answers to every call, on the running kernel.
//!
//! A grid is data of a run, not a claim: each cell is what was seen. What every kernel of the matrix answered is kept in
//! [`records`]; cells that differ between kernels, or from what is documented, have claims in the registry, as [`cells`] says. A row is an experiment for the [runner](crate::runner), so it has a process of its
//! own, with its limits; each cell has a thread, so that a call that sleeps is seen to do so and holds up no other.

pub mod cells;
pub mod fds;
pub mod fs;
pub mod records;
pub mod sheet;

use crate::claim::Claim;
use crate::interpose::record::aside;
use crate::lab::sleeper::{Caller, interrupt_with};
use crate::ledger::LEDGER;
use crate::verdict::{Observation, Stop, Value};
use std::path::{Path, PathBuf};
use std::time::Duration;
use syscalls::{Errno, Sysno};

/// A grid.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// The command by which it is made.
    pub name: &'static str,
    /// What is in the rows, for its title.
    pub what: &'static str,
    /// An experiment per row, whose facts are the cells. The row's name is its statement.
    pub rows: &'static [Claim],
    /// Whether a guest needs a disk of every kind.
    pub on_disks: bool,
    /// What is done before its experiments are started.
    pub prepare: fn(),
    /// Which columns differ from run to run: they are no part of a record, and their differences are none.
    pub varies: fn(&str) -> bool,
    /// What is made of the facts of a row.
    pub tidy: fn(&Observation) -> Observation,
}

impl Grid {
    /// The names of its rows. Several experiments after each other may fill one row.
    pub fn row_names(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.rows.iter().map(|row| row.statement).collect();
        names.dedup();
        names
    }
}

/// Every kind of descriptor × every call.
pub const FDS: Grid = Grid {
    name: "fds",
    what: "descriptor",
    rows: fds::ROWS,
    on_disks: false,
    prepare: || {},
    varies: |_| false,
    tidy: Observation::clone,
};

/// Every file system × every call, and what can happen to a file.
pub const FS: Grid = Grid {
    name: "fs",
    what: "file system",
    rows: fs::ROWS,
    on_disks: true,
    prepare: || {},
    varies: |_| false,
    tidy: Observation::clone,
};

/// Every grid.
pub const ALL: &[Grid] = &[FDS, FS, LEDGER];

/// The grid of this name.
pub fn find(name: &str) -> Option<&'static Grid> {
    ALL.iter().find(|grid| grid.name == name)
}

/// The experiments of all grids, for the supervisor.
pub fn rows() -> impl Iterator<Item = &'static Claim> {
    ALL.iter().flat_map(|grid| grid.rows)
}

/// What became of a call.
enum Answer {
    Returned(Result<usize, Errno>),
    Sleeps,
}

impl Answer {
    /// As the value of a cell: with the bytes that came at the other end, where that is known and another number.
    fn value(self, came: Option<u64>) -> Value {
        match (self, came) {
            (Self::Sleeps, _) => Value::Text("sleeps".into()),
            (Self::Returned(Err(errno)), Some(came)) if came > 0 => {
                Value::Text(format!("{errno:?}, and {came} came"))
            }
            (Self::Returned(Err(errno)), _) => Value::Errno(errno.into_raw()),
            (Self::Returned(Ok(count)), Some(came)) if came != count as u64 => {
                Value::Text(format!("{count}, and {came} came"))
            }
            (Self::Returned(Ok(count)), _) => Value::Returned(count as u64),
        }
    }
}

/// How long a call that seems to sleep is given to return, lest what it waits for is only on its way in the kernel. What a server of
/// the experiment's own still has to do is not measured by time.
const ON_ITS_WAY: Duration = Duration::from_millis(20);

/// Makes a call in a thread of its own, and leaves it there if it sleeps: it ends with the process.
fn attempt(
    call: Sysno,
    work: impl FnOnce() -> Result<usize, Errno> + Send + 'static,
) -> Result<Answer, Stop> {
    let caller = Caller::start(call, work)?;
    if caller.sleeps()? {
        loop {
            let was_quiet = is_quiet();
            std::thread::sleep(ON_ITS_WAY);
            if caller.has_returned() {
                break;
            }
            if was_quiet && is_quiet() {
                return Ok(Answer::Sleeps);
            }
        }
    }
    caller.join().map(Answer::Returned)
}

/// Whether nothing that could end a sleep is at work: no other thread of this process, and no child, such as a FUSE server, which
/// on a busy machine may wait long for a processor.
fn is_quiet() -> bool {
    let works = |path: PathBuf| {
        let stat = aside(|| std::fs::read_to_string(path.join("stat"))).unwrap_or_default();
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        rest.is_some_and(|rest| rest.starts_with(['R', 'D']))
    };
    aside(|| {
        let own = std::fs::read_link("/proc/thread-self").unwrap_or_default();
        let tasks = std::fs::read_dir("/proc/self/task")
            .into_iter()
            .flatten()
            .flatten();
        let tasks: Vec<PathBuf> = tasks.map(|entry| entry.path()).collect();
        let children = tasks.iter().flat_map(|task| {
            let list = std::fs::read_to_string(task.join("children")).unwrap_or_default();
            let paths = list
                .split_whitespace()
                .map(|pid| Path::new("/proc").join(pid));
            paths.collect::<Vec<_>>()
        });
        let children: Vec<PathBuf> = children.collect();
        let others = tasks
            .into_iter()
            .filter(|task| task.file_name() != own.file_name());
        !others.chain(children).any(works)
    })
}

/// A write to what nobody reads is an answer, too: `EPIPE`.
pub(crate) fn ignore_sigpipe() -> Result<(), Stop> {
    interrupt_with(libc::SIGPIPE)
}
