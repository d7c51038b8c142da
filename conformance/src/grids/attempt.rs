//! One cell: a call that may sleep.

use crate::interpose::record::aside;
use crate::lab::sleeper::Caller;
use crate::lab::sleeper::interrupt_with;
use crate::verdict::Stop;
use crate::verdict::Value;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use syscalls::Errno;
use syscalls::Sysno;
/// What became of a call.
pub(super) enum Answer {
    Returned(Result<usize, Errno>),
    Sleeps,
}

impl Answer {
    /// As the value of a cell: with the bytes that came at the other end, where that is known and another number.
    pub(super) fn value(self, came: Option<u64>) -> Value {
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
