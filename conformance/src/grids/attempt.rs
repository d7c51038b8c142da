//! One cell: a call that may sleep.

use crate::interpose::record::aside;
use crate::lab::sleeper::{Caller, interrupt_with};
use crate::verdict::{Stop, Value};
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use syscalls::Errno;
use syscalls::Sysno;
/// The outcome of a call.
pub(super) enum Answer {
    Returned(Result<usize, Errno>),
    Sleeps,
}

impl Answer {
    /// The value of a cell. It includes the number of bytes that arrived at the other end, if this is known and differs from the
    /// result.
    pub(super) fn value(self, came: Option<u64>) -> Value {
        match (self, came) {
            (Self::Sleeps, _) => Value::Text("sleeps".into()),
            (Self::Returned(Err(errno)), Some(came)) if came > 0 => Value::Text(format!("{errno:?}, and {came} came")),
            (Self::Returned(Err(errno)), _) => Value::Errno(errno.into_raw()),
            (Self::Returned(Ok(count)), Some(came)) if came != count as u64 => {
                Value::Text(format!("{count}, and {came} came"))
            }
            (Self::Returned(Ok(count)), _) => Value::Returned(count as u64),
        }
    }
}

/// The time that a call that seems to sleep has left to return, in case its data is still in transit in the kernel. The work of a
/// FUSE server of the experiment has no time limit here.
const ON_ITS_WAY: Duration = Duration::from_millis(20);

/// Makes a call in a separate thread. If the call sleeps, the thread is left alone and ends with the process.
pub(super) fn attempt(
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

/// Whether nothing runs that could end a sleep: no other thread of this process, and no child. On a busy machine a child such as
/// a FUSE server may wait long for a processor.
fn is_quiet() -> bool {
    let works = |path: PathBuf| {
        let stat = aside(|| std::fs::read_to_string(path.join("stat"))).unwrap_or_default();
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        rest.is_some_and(|rest| rest.starts_with(['R', 'D']))
    };
    aside(|| {
        let own = std::fs::read_link("/proc/thread-self").unwrap_or_default();
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let tasks: Vec<PathBuf> = tasks.map(|entry| entry.path()).collect();
        let children = tasks.iter().flat_map(|task| {
            let list = std::fs::read_to_string(task.join("children")).unwrap_or_default();
            let paths = list.split_whitespace().map(|pid| Path::new("/proc").join(pid));
            paths.collect::<Vec<_>>()
        });
        let children: Vec<PathBuf> = children.collect();
        let others = tasks.into_iter().filter(|task| task.file_name() != own.file_name());
        !others.chain(children).any(works)
    })
}

/// Ignores `SIGPIPE`, so that a write without a reader is answered by `EPIPE`.
pub(crate) fn ignore_sigpipe() -> Result<(), Stop> {
    interrupt_with(libc::SIGPIPE)
}
