//! The parent of one experiment: holds its locks, limits its time, collects its report, and cleans up after it.

use super::outcome::panic_message;
use crate::claim::{Claim, Resource};
use crate::interpose::liar::Liar;
use crate::interpose::record::{self, Recorder};
use crate::interpose::{self, Engine};
use crate::lab::Lab;
use crate::lab::settings::AsBefore;
use crate::runner::order::{Interposed, Limits, Order, Report};
use crate::runner::outcome::Outcome;
use crate::verdict::{Lack, Observation, Setup, Stop, Value};
use nocopy_host::process::{self, Ended};
use std::ffi::c_int;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// The number of bytes that are kept of an experiment's report, and of its standard error.
const OUTPUT_BYTES: usize = 1 << 20;
/// The number of characters of the standard error that are quoted.
const STDERR_QUOTED: usize = 2000;

/// Runs the experiment of `claim` as ordered, writes its report to `results`, and ends the process.
pub fn keep(claim: &Claim, order: &Order, lab: &Lab, results: BorrowedFd<'_>, own_namespace: bool) -> ! {
    process::die_with_parent();
    // SAFETY: setpgid and prctl(PR_SET_CHILD_SUBREAPER) take no pointers.
    unsafe {
        libc::setpgid(0, 0);
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    }
    // The lifeline and the supervisor's output do not belong to us: an experiment must not hold or write them.
    process::stdio_to_null();
    process::close_all_but(&[results.as_raw_fd()]);
    let kept = lock(claim).and_then(|locks| {
        // Under the lock, so that no other experiment changes them meanwhile.
        let settings = claim.shares().contains(&Resource::Machine).then(AsBefore::now);
        let report = watch(claim, order, lab)?;
        drop(settings);
        Ok((locks, report))
    });
    let report = match kept {
        Ok((_locks, report)) => report,
        Err(Stop::Untestable(reason)) => Outcome::Untestable(reason).into(),
        Err(Stop::Broken(what)) => Outcome::Broken(what).into(),
    };
    if !own_namespace {
        process::kill_descendants(); // in a namespace, the kernel does this when we exit
    }
    let report = serde_json::to_vec(&report).expect("a report is plain data");
    let written = results.try_clone_to_owned().and_then(|results| File::from(results).write_all(&report));
    process::exit(c_int::from(written.is_err()))
}

/// Takes the claim's resources, and waits for their holders. The locks end when the last copy of the files is closed.
fn lock(claim: &Claim) -> Result<Vec<File>, Stop> {
    let lock = |path: &str| {
        let file = File::open(path)?;
        // SAFETY: flock takes no pointer; the descriptor is open.
        let done = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) };
        if done == -1 { Err(io::Error::last_os_error()) } else { Ok(file) }
    };
    let first_that_locks = |[device, directory]: [&str; 2]| match lock(device) {
        Err(error) if error.raw_os_error() == Some(libc::ENOLCK) => lock(directory),
        done => done,
    };
    // Always in the same order, so that two claims cannot wait for each other.
    let resources = claim.shares();
    resources.into_iter().map(|resource| first_that_locks(resource.lock_files()).setup("lock a resource")).collect()
}

/// Starts the experiment and follows it until it ends.
fn watch(claim: &Claim, order: &Order, lab: &Lab) -> Result<Report, Stop> {
    let limits = order.limits;
    let traced = claim.traced || order.interposed != Interposed::AsClaimed;
    let children = ChildSignals::open().setup("signalfd")?;
    let (report, report_writer) = io::pipe().setup("pipe")?;
    let (stderr, stderr_writer) = io::pipe().setup("pipe")?;
    let pid = process::fork(|| experiment(claim, traced, limits, lab, &report_writer, &stderr_writer)).setup("fork")?;
    drop((report_writer, stderr_writer));
    // Also set here, so that the group exists before it can be killed.
    // SAFETY: setpgid takes no pointer.
    unsafe { libc::setpgid(pid, pid) };

    let mut hook = match order.interposed {
        Interposed::AsClaimed => Liar::new(None, Recorder::default()),
        Interposed::Recorder => Liar::new(None, Recorder::of_all_calls()),
        Interposed::Liar(lie) => Liar::new(Some(lie), Recorder::default()),
    };
    let deadline = Instant::now() + Duration::from_secs(limits.wall_seconds);
    let mut watched = Watched { pid, report: Output::new(report), stderr: Output::new(stderr), children, deadline };
    let ended = watched.until_the_end(traced.then_some(&mut hook))?;
    // Processes that the experiment started may still hold the pipes: they end now, then the rest is read.
    process::kill(-pid);
    watched.report.drain();
    watched.stderr.drain();
    Ok(Report {
        outcome: watched.outcome(ended, &hook.recorder, limits),
        calls: hook.recorder.take_calls(),
        told: hook.told(),
        milliseconds: 0,
    })
}

struct Watched {
    pid: libc::pid_t,
    report: Output,
    stderr: Output,
    children: ChildSignals,
    deadline: Instant,
}

impl Watched {
    /// Waits for the end of the experiment; reads its output and follows its system calls meanwhile. None if its time limit was
    /// reached.
    fn until_the_end(&mut self, mut hook: Option<&mut Liar>) -> Result<Option<Ended>, Stop> {
        let mut engine: Option<Engine<'_>> = None;
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                process::kill(self.pid);
                return Ok(None);
            }
            self.wait_for_news(left)?;
            while let Some((tid, status)) = process::reap_one() {
                if libc::WIFSTOPPED(status) {
                    match &mut engine {
                        Some(engine) => engine.stopped(tid, status),
                        None => {
                            if let Some(hook) = hook.take() {
                                let followed = Engine::follow(tid, hook);
                                engine = Some(followed.setup("ptrace(PTRACE_SETOPTIONS)")?);
                            }
                        }
                    }
                } else if tid == self.pid {
                    return Ok(Some(Ended::of(status)));
                }
            }
        }
    }

    fn wait_for_news(&mut self, limit: Duration) -> Result<(), Stop> {
        let fds = [self.children.fd(), self.report.fd(), self.stderr.fd()];
        let ready = process::poll(&fds, Some(limit)).setup("poll")?;
        if ready[0] {
            self.children.clear();
        }
        if ready[1] {
            self.report.read();
        }
        if ready[2] {
            self.stderr.read();
        }
        Ok(())
    }

    /// The outcome, from the report, the end and the trace.
    fn outcome(&self, ended: Option<Ended>, recorder: &Recorder, limits: Limits) -> Outcome {
        let said = self.stderr.quoted();
        let broken = |what: String| Outcome::Broken(what + &said);
        match ended {
            None => {
                return Outcome::TimedOut(format!("not done after {} s{said}", limits.wall_seconds));
            }
            Some(Ended::Signalled(libc::SIGXCPU)) => {
                return Outcome::TimedOut(format!("used {} s of CPU time{said}", limits.cpu_seconds));
            }
            Some(Ended::Exited(0)) => {}
            Some(ended) => return broken(format!("the experiment ended: {ended}")),
        }
        let text = String::from_utf8_lossy(&self.report.bytes);
        let mut reports = text.lines();
        match (reports.next().map(serde_json::from_str::<Outcome>), reports.next()) {
            (None, _) => broken("the experiment ended without a report".into()),
            (Some(_), Some(_)) => broken("the experiment reported more than once".into()),
            (Some(Err(error)), None) => broken(format!("the experiment's report cannot be read: {error}")),
            (Some(Ok(Outcome::Seen(seen))), None) => fill_in(seen, recorder),
            (Some(Ok(outcome)), None) => outcome,
        }
    }
}

/// Fills in the counted kernel entries for which the experiment left a place.
fn fill_in(mut seen: Observation, recorder: &Recorder) -> Outcome {
    for fact in seen.facts_mut() {
        if let Value::Traced(index) = fact.value {
            let Some(calls) = recorder.stretch(index) else {
                return Outcome::Broken(format!(
                    "nothing was counted for `{}`: is the claim marked as traced?",
                    fact.fact
                ));
            };
            fact.value = Value::Entries(calls);
        }
    }
    Outcome::Seen(seen)
}

/// The experiment's process.
fn experiment(
    claim: &Claim,
    traced: bool,
    limits: Limits,
    lab: &Lab,
    mut report: &PipeWriter,
    stderr: &PipeWriter,
) -> ! {
    process::die_with_parent();
    // SAFETY: setpgid takes no pointer; dup2 replaces only our own standard error.
    unsafe {
        libc::setpgid(0, 0);
        libc::dup2(stderr.as_raw_fd(), 2);
    }
    process::close_all_but(&[report.as_raw_fd()]);
    process::default_signals();
    process::limit_cpu(limits.cpu_seconds);
    let run = || -> Result<Observation, Stop> {
        if traced {
            interpose::offer().map_err(|error| {
                Stop::untestable(
                    Lack::Privilege,
                    format!("kernel entries cannot be counted, ptrace is refused: {error}"),
                    "run where a process may trace its child: no seccomp filter, no tracer around it",
                )
            })?;
        }
        claim.run.run(lab)
    };
    let ran = catch_unwind(AssertUnwindSafe(run));
    record::over();
    let outcome = match ran {
        Ok(Ok(seen)) => Outcome::Seen(seen),
        Ok(Err(Stop::Untestable(reason))) => Outcome::Untestable(reason),
        Ok(Err(Stop::Broken(what))) => Outcome::Broken(what),
        Err(panic) => Outcome::Broken(format!("the experiment panicked: {}", panic_message(&*panic))),
    };
    let mut line = serde_json::to_vec(&outcome).expect("an outcome is plain data");
    line.push(b'\n');
    let written = report.write_all(&line);
    process::exit(c_int::from(written.is_err()))
}

/// One of the experiment's output pipes. It is read as data arrives.
struct Output {
    pipe: Option<PipeReader>,
    bytes: Vec<u8>,
}

impl Output {
    fn new(pipe: PipeReader) -> Self {
        Self { pipe: Some(pipe), bytes: Vec::new() }
    }

    /// The descriptor for poll, which ignores -1.
    fn fd(&self) -> c_int {
        self.pipe.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut buffer = [0; 4096];
        match pipe.read(&mut buffer) {
            Ok(count) if count > 0 => {
                // Output past the limit is read, so that its writer does not wait, and dropped.
                let room = OUTPUT_BYTES - self.bytes.len();
                self.bytes.extend_from_slice(&buffer[..count.min(room)]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => self.pipe = None,
        }
    }

    /// Reads the available data, without waiting for writers that are being killed.
    fn drain(&mut self) {
        while self.pipe.is_some() && process::poll(&[self.fd()], Some(Duration::ZERO)).is_ok_and(|ready| ready[0]) {
            self.read();
        }
    }

    /// The end of the text, for a message.
    fn quoted(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let text = text.trim();
        if text.is_empty() {
            return String::new();
        }
        let from = text.char_indices().rev().nth(STDERR_QUOTED).map_or(0, |(index, _)| index);
        format!("; its standard error: {}", &text[from..])
    }
}

/// `SIGCHLD` as a descriptor.
struct ChildSignals {
    fd: OwnedFd,
}

impl ChildSignals {
    fn open() -> io::Result<Self> {
        let fd = process::signals(&[libc::SIGCHLD])?;
        Ok(Self { fd })
    }

    fn fd(&self) -> c_int {
        self.fd.as_raw_fd()
    }

    fn clear(&self) {
        let mut buffer = [0_u8; 16 * size_of::<libc::signalfd_siginfo>()];
        // SAFETY: the pointer and length are of `buffer`. The data is not needed: waitpid reports everything.
        unsafe { libc::read(self.fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    }
}
