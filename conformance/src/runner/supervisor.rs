//! The process between the user's process and the experiments: starts keepers, passes their results on, and ends them all.

use crate::claim::Claim;
use crate::interpose;
use crate::lab::Lab;
use crate::runner::order::{Message, Order, Orders, Report};
use crate::runner::outcome::{Isolation, Outcome};
use crate::runner::{SUPERVISE, keeper, scratch};
use nocopy_host::process::{self, Ended};
use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Whether this process was started as a supervisor.
pub fn is_asked_for() -> bool {
    std::env::args_os().nth(1).is_some_and(|first| first == SUPERVISE)
}

/// The main function of the hidden command: orders on standard input, messages on standard output.
pub fn main(registry: &[&'static Claim]) -> io::Result<()> {
    // SAFETY: setsid and prctl(PR_SET_CHILD_SUBREAPER) take no pointers.
    unsafe {
        libc::setsid();
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    }
    let mut line = String::new();
    BufReader::new(io::stdin()).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(()); // the program that started us is gone
    }
    let mut orders: Orders = serde_json::from_str(&line)?;
    let namespaces = Namespaces::probe();
    send(&Message::Isolation(Isolation {
        pid_namespace: namespaces.as_ref().err().map(ToString::to_string),
        ptrace: probe_ptrace().err().map(|error| error.to_string()),
    }))?;

    let claim = |order: &Order| registry.iter().copied().find(|claim| claim.id == order.claim);
    let claims: Vec<Option<&Claim>> = orders.tasks.iter().map(claim).collect();
    let mut running: Vec<Kept> = Vec::new();
    // The program that started us may end at any moment, and then a message to it fails. The steps below run in any case.
    let directory = orders.directory.take().map(scratch::RunDirectory);
    let directory = directory.and_then(scratch::RunDirectory::make);
    orders.directory = directory.as_ref().map(|directory| directory.0.clone());
    let served = serve(&orders, &claims, namespaces.as_ref().ok(), &mut running);
    for kept in &running {
        process::kill(kept.pid);
    }
    process::kill_descendants();
    // Already empty after a complete run.
    drop(directory);
    send(&Message::End { reports: served? })
}

/// Runs every task, at most `jobs` of them side by side, until all are done or the lifeline has ended. Returns the number of
/// reports. `running` has the tasks that still run.
fn serve(
    orders: &Orders,
    claims: &[Option<&Claim>],
    namespaces: Option<&Namespaces>,
    running: &mut Vec<Kept>,
) -> io::Result<usize> {
    let mut waiting: VecDeque<usize> = (0..orders.tasks.len()).collect();
    let mut reports = 0;
    while !(waiting.is_empty() && running.is_empty()) {
        while running.len() < orders.jobs
            && let Some(task) = next(claims, &mut waiting, running)
        {
            match Kept::start(claims[task], task, orders, namespaces) {
                Ok(kept) => {
                    running.push(kept);
                    send(&Message::Begun { task })?;
                }
                Err(error) => {
                    reports += 1;
                    let outcome = Outcome::Broken(format!("cannot start a process for it: {error}"));
                    send(&Message::Report { task, report: outcome.into() })?;
                }
            }
        }
        if !wait_for_any(running)? {
            break; // the lifeline ended
        }
        let done = running.extract_if(.., |kept| kept.ended);
        let messages: Vec<_> = done.map(Kept::finish).collect();
        if namespaces.is_none() && !messages.is_empty() {
            // The processes that the experiment of a killed keeper started are our children now.
            let keepers: Vec<_> = running.iter().map(|kept| kept.pid).collect();
            process::kill_children_but(&keepers);
        }
        for message in &messages {
            reports += 1;
            send(message)?;
        }
    }
    Ok(reports)
}

/// Takes the first task out of the queue that needs no resource of a running task.
fn next(claims: &[Option<&Claim>], waiting: &mut VecDeque<usize>, running: &[Kept]) -> Option<usize> {
    let shares = |task: usize| claims[task].map_or(BTreeSet::new(), Claim::shares);
    let held: BTreeSet<_> = running.iter().flat_map(|kept| shares(kept.task)).collect();
    let free = waiting.iter().position(|task| shares(*task).is_disjoint(&held))?;
    waiting.remove(free)
}

fn send(message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_string(message)?;
    line.push('\n');
    let mut output = io::stdout().lock();
    output.write_all(line.as_bytes())?;
    output.flush()
}

/// A keeper, as the supervisor sees it.
struct Kept {
    task: usize,
    pid: libc::pid_t,
    /// The keeper's report. End of file is the end of the keeper.
    pipe: File,
    report: Vec<u8>,
    ended: bool,
    since: Instant,
    /// The directory of the experiment, if one could be made.
    directory: Option<PathBuf>,
}

impl Kept {
    fn start(claim: Option<&Claim>, task: usize, orders: &Orders, namespaces: Option<&Namespaces>) -> io::Result<Self> {
        let order = &orders.tasks[task];
        let claim = claim.ok_or_else(|| io::Error::other("no such claim"))?;
        let (reader, writer) = io::pipe()?;
        let own_namespace = namespaces.is_some() && Namespaces::enter_new().is_ok();
        let directory = orders.directory.as_ref().map(|run| run.join(task.to_string()));
        let directory = directory.filter(|path| std::fs::create_dir(path).is_ok());
        let lab = Lab::new(directory.clone().or_else(|| orders.scratch.clone()));
        let forked = process::fork(|| {
            // Without the right to do this, the experiment cannot mount either.
            let _ = process::mounts_of_its_own();
            keeper::keep(claim, order, &lab, writer.as_fd(), own_namespace);
        });
        if own_namespace && let Some(namespaces) = namespaces {
            namespaces.back()?;
        }
        let pid = forked?;
        let pipe = File::from(OwnedFd::from(reader));
        Ok(Self { task, pid, pipe, report: Vec::new(), ended: false, since: Instant::now(), directory })
    }

    fn read(&mut self) {
        let mut buffer = [0; 4096];
        match self.pipe.read(&mut buffer) {
            Ok(count) if count > 0 => self.report.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => self.ended = true,
        }
    }

    fn finish(self) -> Message {
        let status = process::wait(self.pid);
        let report: Result<Report, _> = serde_json::from_slice(&self.report);
        let mut report =
            report.unwrap_or_else(|_| Outcome::Broken(format!("its keeper ended without a report: {status}")).into());
        if let Some(Err(left)) = self.directory.as_deref().map(scratch::remove)
            && matches!(report.outcome, Outcome::Seen(_) | Outcome::Untestable(_))
        {
            report.outcome = Outcome::Broken(format!("it left files: {left}"));
        }
        report.milliseconds = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        Message::Report { task: self.task, report }
    }
}

/// How often the supervisor looks for stopped keepers, which no descriptor reports.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Waits until a keeper sends something, or until it is time to look again. Returns false when the lifeline has ended.
fn wait_for_any(running: &mut [Kept]) -> io::Result<bool> {
    let mut fds: Vec<_> = running.iter().map(|kept| kept.pipe.as_raw_fd()).collect();
    fds.push(io::stdin().as_raw_fd());
    let ready = process::poll(&fds, Some(LOOK_AGAIN))?;
    for (kept, ready) in running.iter_mut().zip(&ready) {
        if *ready {
            kept.read();
        } else if process::has_stopped(kept.pid) {
            // A stopped keeper does not enforce its time limit. Without a PID namespace, an experiment can stop its keeper.
            process::kill(kept.pid);
        }
    }
    // No input follows the orders: if standard input is readable, the lifeline has ended.
    Ok(ready.last() != Some(&true))
}

/// Enters a new PID namespace and comes back, for the next child only.
struct Namespaces {
    own: File,
}

impl Namespaces {
    /// Tries it once, in a child: on a kernel that does not let us back, this process could not make a second child.
    fn probe() -> io::Result<Self> {
        let namespaces = Self { own: File::open("/proc/self/ns/pid")? };
        let pid = process::fork(|| {
            let refused = Self::enter_new().and_then(|()| namespaces.back()).err();
            let errno = refused.map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
            process::exit(errno);
        })?;
        match process::wait(pid) {
            Ended::Exited(0) => Ok(namespaces),
            Ended::Exited(errno) => Err(io::Error::from_raw_os_error(errno)),
            ended => Err(io::Error::other(format!("the child of a probe ended: {ended}"))),
        }
    }

    fn enter_new() -> io::Result<()> {
        // SAFETY: unshare takes no pointer; this process has one thread.
        if unsafe { libc::unshare(libc::CLONE_NEWPID) } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn back(&self) -> io::Result<()> {
        // SAFETY: setns takes no pointer; the descriptor is open.
        let done = unsafe { libc::setns(self.own.as_raw_fd(), libc::CLONE_NEWPID) };
        if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Whether a child may be traced here.
fn probe_ptrace() -> io::Result<()> {
    let pid = process::fork(|| {
        let refused = interpose::offer().err().and_then(|error| error.raw_os_error());
        process::exit(refused.unwrap_or(0));
    })?;
    match process::wait(pid) {
        // Stopped in `offer`: tracing works.
        Ended::Stopped => {
            process::kill(pid);
            process::wait(pid);
            Ok(())
        }
        Ended::Exited(code) if code != 0 => Err(io::Error::from_raw_os_error(code)),
        ended => Err(io::Error::other(format!("the tracee of a probe ended: {ended}"))),
    }
}
