//! `redis aof` ended by a signal at any moment: what is there is the old state or the new one, and the same command works again.

use super::{INTO_FILES, Tried, commands, equal, signal, told};
use conformance::interpose::{Call, Engine, Entry, Hook};
use conformance::lab::redis::servers::{Directory, Program, Running};
use conformance::redis::rdb;
use fastrand::Rng;
use libtest_mimic::Failed;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Number of kills of each command, unless `NOCOPY_KILLS` is set: enough for each signal with each route.
const KILLS: usize = 24;
const SIGNALS: &[libc::c_int] = &[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGKILL];
/// The keys of each file of commands.
const KEYS: usize = 3000;
/// The same where it is killed at every call.
const FEW_KEYS: usize = 3;

/// A command that is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    Build,
    BuildOne,
    Extend,
    ExtendOne,
}

pub const ALL: &[(&str, What)] = &[
    ("build", What::Build),
    ("build_of_one_file", What::BuildOne),
    ("extend", What::Extend),
    ("extend_of_one_file", What::ExtendOne),
];

/// Everything below a directory: files with their bytes, directories without.
type State = BTreeMap<PathBuf, Option<Vec<u8>>>;

fn state(home: &Path) -> Result<State, Failed> {
    let mut all = State::new();
    let mut open = vec![home.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.strip_prefix(home)?.to_owned();
            if path.is_dir() {
                all.insert(name, None);
                open.push(path);
            } else {
                all.insert(name, Some(fs::read(path)?));
            }
        }
    }
    Ok(all)
}

fn restore(home: &Path, state: &State) -> Tried {
    fs::remove_dir_all(home)?;
    fs::create_dir(home)?;
    for (name, bytes) in state {
        match bytes {
            Some(bytes) => fs::write(home.join(name), bytes)?,
            None => fs::create_dir(home.join(name))?,
        }
    }
    Ok(())
}

/// What is given to the command.
struct Sources {
    _directory: Directory,
    rdb: PathBuf,
    first: PathBuf,
    second: PathBuf,
}

fn command(what: What, home: &Path, sources: &Sources, route: Option<&str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    command.args(["redis", "aof"]);
    let is_one = matches!(what, What::BuildOne | What::ExtendOne);
    let place = if is_one {
        home.to_owned()
    } else {
        home.join("appendonlydir")
    };
    match what {
        What::Build => command.arg("build"),
        What::BuildOne => command.args(["build", "--shape", "single"]),
        What::Extend | What::ExtendOne => command.arg("extend"),
    };
    command.arg("--directory").arg(place);
    if let Some(route) = route {
        command.args(["--route", route]);
    }
    if matches!(what, What::Build | What::BuildOne) {
        command.arg("--rdb").arg(&sources.rdb).arg(&sources.first);
    } else {
        command.arg(&sources.second);
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// What is there without what a killed attempt has left: the old state or the new one; and how many files are left besides.
fn settled<'a>(
    found: &State,
    old: &'a State,
    new: &'a State,
) -> Result<(&'a State, usize), Failed> {
    let holds = |state: &State| {
        state
            .iter()
            .all(|(name, bytes)| found.get(name) == Some(bytes))
    };
    let manifest = Path::new("appendonlydir/appendonly.aof.manifest");
    let is_new = holds(new);
    let is_old = holds(old) && (old.contains_key(manifest) || !found.contains_key(manifest));
    let settled = match (is_new, is_old) {
        (true, _) => new,
        (false, true) => old,
        _ => return Err(format!("neither old nor new: {:?}", found.keys()).into()),
    };
    Ok((settled, found.len() - settled.len()))
}

/// Whether it has ended in one of the ways in which it may.
fn may_end(status: ExitStatus, number: libc::c_int) -> bool {
    status.code() == Some(0) || status.signal() == Some(number)
}

/// What is done to which files, and what is there before and after.
struct Case {
    sources: Sources,
    home: PathBuf,
    old: State,
    new: State,
    /// How long it takes.
    seconds: f64,
    _directory: Directory,
}

impl Case {
    fn new(what: What, keys: usize) -> Result<Self, Failed> {
        let directory = Directory::new().map_err(told)?;
        let sources = Sources {
            rdb: directory.join("dump.rdb"),
            first: directory.join("first"),
            second: directory.join("second"),
            _directory: directory,
        };
        // An RDB that every server loads: it has no keys.
        fs::write(&sources.rdb, b"REDIS0007\xff\0\0\0\0\0\0\0\0")?;
        rdb::check(fs::File::open(&sources.rdb)?).map_err(|bad| bad.to_string())?;
        fs::write(&sources.first, commands("a", keys))?;
        fs::write(&sources.second, commands("b", keys))?;
        let directory = Directory::new().map_err(told)?;
        let home = directory.join("home");
        fs::create_dir(&home)?;
        let before = match what {
            What::Extend => Some(What::Build),
            What::ExtendOne => Some(What::BuildOne),
            _ => None,
        };
        if let Some(build) = before {
            let status = command(build, &home, &sources, None).status()?;
            equal(status.code(), Some(0), "a build")?;
        }
        let old = state(&home)?;
        let began = Instant::now();
        let status = command(what, &home, &sources, None).status()?;
        equal(status.code(), Some(0), "not killed")?;
        Ok(Self {
            seconds: began.elapsed().as_secs_f64(),
            new: state(&home)?,
            sources,
            home,
            old,
            _directory: directory,
        })
    }
}

/// The same command works again, and removes what is left.
fn works_again(
    what: What,
    home: &Path,
    sources: &Sources,
    route: Option<&str>,
    (is_new, new): (bool, &State),
    at: &str,
) -> Tried {
    let again = command(what, home, sources, route).output()?;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    let is_there_already = is_new && matches!(what, What::Build | What::BuildOne);
    let expected = if is_there_already { Some(2) } else { Some(0) };
    equal(again.status.code(), expected, &format!("{at}: {said}"))?;
    let after = state(home)?;
    if !is_new || is_there_already {
        equal(
            after == *new,
            true,
            &format!("{at}, made again: {:?}", after.keys()),
        )?;
    }
    let is_own = |name: &PathBuf| name.to_string_lossy().contains("nocopy-");
    equal(
        after.keys().any(is_own),
        false,
        &format!("{at}: {:?}", after.keys()),
    )
}

/// Ended before each system call that it makes, by SIGKILL and by SIGTERM. Without unnamed files (`O_TMPFILE`), as on some file systems,
/// a new file has a name of its own meanwhile.
pub fn at_every_call_leaves_the_old_state_or_the_new_one(what: What, has_unnamed: bool) -> Tried {
    let Case {
        sources,
        home,
        old,
        new,
        ..
    } = &Case::new(what, FEW_KEYS)?;
    let (mut most_left, mut were_new, mut kills) = (0, 0, 0);
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        for at in 0.. {
            restore(home, old)?;
            let killer = Killer {
                at,
                signal,
                refuses_unnamed: !has_unnamed,
                calls: 0,
            };
            let (status, is_killed) = killed_by(&mut command(what, home, sources, None), killer)?;
            let text = format!("killed at call {at} by signal {signal}: {status}");
            if !is_killed {
                equal(status.code(), Some(0), &text)?;
                break;
            }
            kills += 1;
            equal(may_end(status, signal), true, &text)?;
            let found = state(home)?;
            let (settled, left) = settled(&found, old, new)?;
            let is_new = std::ptr::eq(settled, new);
            were_new += usize::from(is_new);
            if signal != libc::SIGKILL {
                equal(
                    left,
                    0,
                    &format!("{text}: files are left: {:?}", found.keys()),
                )?;
            }
            most_left = most_left.max(left);
            if left > 0 || is_new {
                works_again(what, home, sources, None, (is_new, new), &text)?;
            }
        }
    }
    println!(
        "{kills} kills, one before each call; {were_new} had the new state; at most {most_left} files were left by SIGKILL"
    );
    equal(
        were_new > 0 && were_new < kills,
        true,
        "both states are seen",
    )
}

/// Sends a signal before a call, and refuses files without a name if it is to.
struct Killer {
    at: usize,
    signal: libc::c_int,
    refuses_unnamed: bool,
    calls: usize,
}

impl Killer {
    fn is_refused(&self, call: &Call) -> bool {
        let flags = u64::from(libc::O_TMPFILE.cast_unsigned());
        let is_open = i64::try_from(call.number) == Ok(libc::SYS_openat);
        self.refuses_unnamed && is_open && call.arguments[2] & flags == flags
    }
}

impl Hook for Killer {
    fn enter(&mut self, call: &Call) -> Entry {
        if self.calls == self.at {
            call.tracee().signal(self.signal);
        }
        self.calls += 1;
        if self.is_refused(call) {
            Entry::Skipped
        } else {
            Entry::AsAsked
        }
    }

    fn exit(&mut self, call: &Call, result: i64) -> i64 {
        if self.is_refused(call) {
            -i64::from(libc::EOPNOTSUPP)
        } else {
            result
        }
    }
}

/// Runs a command and lets this send its signal: how it ended, and whether it made so many calls.
fn killed_by(command: &mut Command, mut killer: Killer) -> Result<(ExitStatus, bool), Failed> {
    // SAFETY: PTRACE_TRACEME takes no pointer, and allocates nothing.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let child = command.stderr(Stdio::null()).spawn()?;
    let pid = libc::pid_t::try_from(child.id())?;
    let stopped = || {
        let mut status = 0;
        // SAFETY: waitpid writes one integer.
        let found = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        if found == pid {
            Ok(status)
        } else {
            Err(std::io::Error::last_os_error())
        }
    };
    // It stops once it has started the program.
    stopped()?;
    let mut engine = Engine::follow(pid, &mut killer)?;
    let status = loop {
        let status = stopped()?;
        if !libc::WIFSTOPPED(status) {
            break ExitStatus::from_raw(status);
        }
        engine.stopped(pid, status);
    };
    Ok((status, killer.calls > killer.at))
}

/// Kills it at random moments, `NOCOPY_KILLS` times.
pub fn leaves_the_old_state_or_the_new_one(what: What, programs: &[Program]) -> Tried {
    let kills = match std::env::var("NOCOPY_KILLS") {
        Ok(text) => text.parse()?,
        Err(_) => KILLS,
    };
    let Case {
        sources,
        home,
        old,
        new,
        seconds,
        ..
    } = &Case::new(what, KEYS)?;
    // How long it takes, which depends on what else this machine does.
    let mut whole = *seconds;
    let mut random = Rng::with_seed(11);
    let (mut were_new, mut most_left, mut were_killed) = (0, 0, 0);
    for kill in 0..kills {
        let number = SIGNALS[kill % SIGNALS.len()];
        let route = (kill / SIGNALS.len()) % (INTO_FILES.len() + 1);
        let route = INTO_FILES.get(route).copied();
        restore(home, old)?;
        let mut child = command(what, home, sources, route).spawn()?;
        // Most of the time it reads and checks: half of the moments are of the end, when it writes.
        let from = if kill % 2 == 0 { 0.0 } else { 0.6 };
        let share = from + (1.1 - from) * random.f64();
        std::thread::sleep(Duration::from_secs_f64(whole * share));
        signal(child.id(), number);
        let status = child.wait()?;
        let at = format!("kill {kill} by signal {number}, {route:?}: {status}");
        equal(may_end(status, number), true, &at)?;
        let is_killed = status.signal().is_some();
        were_killed += usize::from(is_killed);
        whole *= if is_killed { 1.05 } else { 0.9 };
        let found = state(home)?;
        let (settled, left) = settled(&found, old, new)?;
        let is_new = std::ptr::eq(settled, new);
        were_new += usize::from(is_new);
        if number != libc::SIGKILL {
            equal(
                left,
                0,
                &format!("{at}: files are left: {:?}", found.keys()),
            )?;
        }
        most_left = most_left.max(left);
        loads(&programs[kill % programs.len()], &found, keys(what, is_new))?;
        works_again(what, home, sources, route, (is_new, new), &at)?;
    }
    println!(
        "{kills} kills: {were_killed} before its end; {were_new} had the new state; at most {most_left} files were left by SIGKILL"
    );
    Ok(())
}

/// The keys that a server has with this state, if it has an append-only file.
fn keys(what: What, is_new: bool) -> Option<usize> {
    match (what, is_new) {
        (What::Build | What::BuildOne, false) => None,
        (What::Extend | What::ExtendOne, true) => Some(2 * KEYS),
        _ => Some(KEYS),
    }
}

fn loads(program: &Program, found: &State, keys: Option<usize>) -> Tried {
    let directory = Directory::new().map_err(told)?;
    for (name, bytes) in found {
        match bytes {
            Some(bytes) => fs::write(directory.path().join(name), bytes)?,
            None => fs::create_dir(directory.path().join(name))?,
        }
    }
    let mut server =
        Running::start_in(directory, program, &["--appendonly", "yes"]).map_err(told)?;
    let is_truncated = server.log().contains("Truncating the AOF");
    equal(is_truncated, false, &server.log())?;
    let size = server.ask(&["DBSIZE"]).map_err(told)?.to_string();
    equal(size, keys.unwrap_or(0).to_string(), "keys")
}
