//! Runs commands in the guest, and passes on what they read and write.

use crate::frames::{self, Kind, Part, Reader};
use crate::guest::port::Port;
use crate::job::Start;
use crate::log;
use nocopy_host::kernel::DISPOSABLE;
use nocopy_host::process;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The programs of a guest are found here.
const PATH: &str = "/files:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The number of the only command, where the host has not numbered it.
pub const ONLY: u32 = 0;

/// A command that can be started.
pub fn prepare(start: &Start) -> io::Result<Command> {
    let (program, arguments) = start
        .command
        .split_first()
        .ok_or_else(|| io::Error::other("no command"))?;
    let directory = start.directory.as_deref().unwrap_or("/root");
    if directory != "/" {
        std::fs::create_dir_all(directory)?;
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o1777))?;
    }
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("TMPDIR", "/tmp")
        .env(DISPOSABLE, "1")
        .envs(start.environment.iter().cloned());
    if let Some(uid) = start.uid {
        command.uid(uid).gid(uid);
    }
    Ok(command)
}

/// The exit status as a shell says it: 128 + n for signal n.
pub fn code(status: ExitStatus) -> i32 {
    let signal = || 128 + status.signal().unwrap_or(0);
    status.code().unwrap_or_else(signal)
}

/// The commands that run.
#[derive(Default)]
pub struct Running {
    /// Those that run, and those that are expected: they may get input, or be killed, already.
    commands: Mutex<BTreeMap<u32, Of>>,
    /// Held by who starts a program or writes a file. A program cannot be executed while it is open for writing, and a process that is
    /// being started has what is open at that moment.
    starting: Mutex<()>,
}

/// What is known of a command.
#[derive(Default)]
struct Of {
    /// Its process group, if it has been started.
    group: Option<libc::pid_t>,
    input: Option<Sender<Vec<u8>>>,
    is_killed: bool,
}

/// The host's bytes for the input of a command.
pub type Input = Receiver<Vec<u8>>;

impl Running {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<u32, Of>) -> T) -> T {
        work(&mut self.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn starting(&self) -> MutexGuard<'_, ()> {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Expects a command. If it has input, that is taken from now on.
    pub fn expect(&self, number: u32, has_input: bool) -> Option<Input> {
        let (sender, input) = channel();
        let of = Of {
            input: has_input.then_some(sender),
            ..Of::default()
        };
        self.with(|commands| commands.insert(number, of));
        has_input.then_some(input)
    }

    /// Runs a command to its end. Its output goes to the port, in records of these kinds. Without input it reads nothing.
    pub fn run(
        &self,
        (number, input): (u32, Option<Input>),
        start: &Start,
        port: &Arc<Port>,
        [output, errors]: [Sort; 2],
    ) -> io::Result<ExitStatus> {
        let stdin = match input {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        };
        // In a new process group, so that signals that the command sends to its group do not reach process 1.
        let starting = self.starting();
        let child = prepare(start).and_then(|mut command| {
            command
                .stdin(stdin)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .process_group(0)
                .spawn()
        });
        let mut child = child.inspect_err(|_| {
            self.with(|commands| commands.remove(&number));
        })?;
        let is_killed = self.with(|commands| {
            let of = commands.entry(number).or_default();
            of.group = libc::pid_t::try_from(child.id()).ok();
            of.is_killed
        });
        drop(starting);
        if is_killed {
            self.kill(number);
        }
        if let (Some(stdin), Some(input)) = (child.stdin.take(), input) {
            // Not waited for: a process that the command leaves behind may hold the other end and read nothing.
            let port = Arc::clone(port);
            std::thread::spawn(move || feed(number, stdin, &input, &port));
        }
        let from = OwnedFd::from(child.stdout.take().expect("piped"));
        let from_errors = OwnedFd::from(child.stderr.take().expect("piped"));
        let streams = [(from, output), (from_errors, errors)];
        let streams = streams.map(|(from, sort)| Stream::start(from, sort, port));
        let status = child.wait();
        self.with(|commands| commands.remove(&number));
        let mut is_held = false;
        for stream in streams {
            is_held |= !stream?.finish();
        }
        if is_held {
            let what = "guest: a process that the command has left behind holds its output open\n";
            errors.send(port, what.as_bytes())?;
        }
        status
    }

    /// Writes a part of a file.
    fn write(&self, payload: &[u8]) -> io::Result<()> {
        let _starting = self.starting();
        part(payload)
    }

    /// Gives a command input. A command that has ended gets none.
    fn input(&self, number: u32, bytes: &[u8]) {
        self.with(|commands| {
            if let Some(of) = commands.get_mut(&number) {
                match &of.input {
                    Some(input) if !bytes.is_empty() => drop(input.send(bytes.to_vec())),
                    _ => of.input = None,
                }
            }
        });
    }

    fn kill(&self, number: u32) {
        self.with(|commands| {
            if let Some(of) = commands.get_mut(&number) {
                of.is_killed = true;
                if let Some(group) = of.group {
                    process::kill(-group);
                }
            }
        });
    }

    /// Waits, for ever, for processes that commands leave behind: this is process 1. The commands themselves are waited for elsewhere.
    pub fn reap(&self) {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            // None is started meanwhile, so that every command is known.
            let _starting = self.starting();
            let commands: BTreeSet<libc::pid_t> =
                self.with(|commands| commands.values().filter_map(|of| of.group).collect());
            let others = process::children();
            for orphan in others.into_iter().filter(|pid| !commands.contains(pid)) {
                process::reap(orphan);
            }
        }
    }
}

/// A stream of a command, on its way to the port.
struct Stream {
    from: OwnedFd,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    is_busy: AtomicBool,
    is_over: AtomicBool,
}

impl Stream {
    fn start(from: OwnedFd, sort: Sort, port: &Arc<Port>) -> io::Result<Self> {
        let file = File::from(from.try_clone()?);
        let progress = Arc::new(Progress::default());
        let (port, of_thread) = (Arc::clone(port), Arc::clone(&progress));
        std::thread::spawn(move || {
            pass_on(file, sort, &port, &of_thread.is_busy);
            of_thread.is_over.store(true, Ordering::Release);
        });
        Ok(Self { from, progress })
    }

    /// Waits until all is sent that the command has written. False if another process still holds the stream open.
    fn finish(&self) -> bool {
        const STEP: Duration = Duration::from_millis(10);
        let mut quiet = 0;
        while quiet < 20 {
            if self.progress.is_over.load(Ordering::Acquire) {
                return true;
            }
            let left = rustix::io::ioctl_fionread(&self.from).unwrap_or(0);
            let is_idle = left == 0 && !self.progress.is_busy.load(Ordering::Acquire);
            quiet = if is_idle { quiet + 1 } else { 0 };
            std::thread::sleep(STEP);
        }
        false
    }
}

/// Writes the host's bytes to a command's input, and tells the host how many were taken.
fn feed(number: u32, mut stdin: ChildStdin, input: &Receiver<Vec<u8>>, port: &Port) {
    for bytes in input {
        // A command that has closed its input takes all, as a pipe without a reader would be the end of a writer.
        let _ = stdin.write_all(&bytes);
        let took = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let _ = port.send(Kind::TookOf, &frames::of(number, &took.to_le_bytes()));
    }
}

/// The kind of record for a stream, and the number of its command if it has one.
#[derive(Clone, Copy)]
pub struct Sort {
    /// The kind.
    pub kind: Kind,
    /// The number.
    pub number: Option<u32>,
}

impl Sort {
    fn send(self, port: &Port, bytes: &[u8]) -> io::Result<()> {
        match self.number {
            Some(number) => port.send(self.kind, &frames::of(number, bytes)),
            None => port.send(self.kind, bytes),
        }
    }
}

/// Sends what comes until the end of the stream or of the port.
fn pass_on(mut from: File, sort: Sort, port: &Port, is_busy: &AtomicBool) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer);
        is_busy.store(true, Ordering::Release);
        let sent = match count {
            Ok(0) => return,
            Ok(count) => sort.send(port, &buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        };
        if sent.is_err() {
            return;
        }
        is_busy.store(false, Ordering::Release);
    }
}

/// What the host has said to the guest as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It has the end marker.
    Heard,
    /// No more commands follow.
    Quit,
}

/// Hears the host until the channel ends, and does what it says.
pub fn hear(mut from: File, port: &Arc<Port>, running: &Arc<Running>, said: &Sender<Word>) {
    let mut records = Reader::default();
    let mut buffer = vec![0; 64 << 10];
    let mut written = Ok(());
    loop {
        match from.read(&mut buffer) {
            Ok(0) => {
                // The host's end is not open, yet or any more.
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            Ok(count) => records.push(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        }
        loop {
            match records.take() {
                Ok(Some((kind, payload))) => {
                    obey(kind, &payload, &mut written, port, running, said);
                }
                Ok(None) => break,
                Err(what) => {
                    let _ = port.send(Kind::Error, format!("guest: {what}\n").as_bytes());
                    return;
                }
            }
        }
    }
}

fn obey(
    kind: Kind,
    payload: &[u8],
    written: &mut io::Result<()>,
    port: &Arc<Port>,
    running: &Arc<Running>,
    said: &Sender<Word>,
) {
    let numbered = frames::numbered(payload);
    match (kind, numbered) {
        (Kind::Heard, _) => drop(said.send(Word::Heard)),
        (Kind::Quit, _) => drop(said.send(Word::Quit)),
        (Kind::File, _) if written.is_ok() => *written = running.write(payload),
        (Kind::InputOf, Some((number, bytes))) => running.input(number, bytes),
        (Kind::KillOf, Some((number, _))) => running.kill(number),
        (Kind::StartOf, Some((number, start))) => {
            let start: Result<Start, _> = serde_json::from_slice(start);
            let takes_input = start.as_ref().is_ok_and(|start| start.input);
            let input = running.expect(number, takes_input);
            // The files of this command are whole now. One that could not be written is its failure.
            let written = std::mem::replace(written, Ok(()));
            let (port, running) = (Arc::clone(port), Arc::clone(running));
            std::thread::spawn(move || {
                let before = (log::complaints(), log::tainted());
                let run = || {
                    written?;
                    let kinds = [Kind::OutputOf, Kind::ErrorOf].map(|kind| Sort {
                        kind,
                        number: Some(number),
                    });
                    running.run((number, input), &start?, &port, kinds)
                };
                let _ = match run() {
                    Ok(status) => {
                        let complaints = serde_json::to_vec(&complaints_since(&before));
                        let mut rest = code(status).to_le_bytes().to_vec();
                        rest.extend(complaints.unwrap_or_default());
                        port.send(Kind::ExitOf, &frames::of(number, &rest))
                    }
                    Err(error) => {
                        running.with(|commands| commands.remove(&number));
                        let rest = error.to_string();
                        port.send(Kind::FailureOf, &frames::of(number, rest.as_bytes()))
                    }
                };
            });
        }
        _ => {}
    }
}

/// What the kernel has reported of itself since then, whichever command was the reason.
fn complaints_since((before, tainted): &(Vec<String>, u64)) -> Vec<String> {
    let known: BTreeSet<&String> = before.iter().collect();
    let mut lines = log::complaints();
    lines.retain(|line| !known.contains(line));
    lines.truncate(20);
    let new = log::tainted() & !tainted & log::DYING;
    if lines.is_empty() && new != 0 {
        lines.push(format!("it is tainted: {new:#x}"));
    }
    lines
}

/// Writes a part of a file.
fn part(payload: &[u8]) -> io::Result<()> {
    let end = payload.iter().position(|byte| *byte == 0);
    let (head, bytes) = payload.split_at(end.unwrap_or(payload.len()));
    let head: Part = serde_json::from_slice(head)?;
    write_part(&head, bytes.get(1..).unwrap_or_default())
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", head.path)))
}

/// Appends to a file of another name, which gets its own when it is whole: another command may be about to start a program of this
/// name, and a program that runs cannot be written.
fn write_part(head: &Part, bytes: &[u8]) -> io::Result<()> {
    let path = Path::new(&head.path);
    // One file comes after the other.
    let partial = path.with_file_name(".on-kernel-part");
    let written = append(head, &partial, bytes).and_then(|()| {
        if head.is_last {
            std::fs::rename(&partial, path)?;
        }
        Ok(())
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written
}

fn append(head: &Part, partial: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    if head.is_first {
        if let Some(above) = partial.parent() {
            std::fs::create_dir_all(above)?;
        }
        options.write(true).create_new(true).mode(head.mode);
    } else {
        options.append(true);
    }
    options.open(partial)?.write_all(bytes)
}
