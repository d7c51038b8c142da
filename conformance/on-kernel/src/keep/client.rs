//! A command that is run in a kept guest.

use crate::error::{Context, Error};
use crate::frames::{self, Kind, PIECE, Reader};
use crate::job::WINDOW;
use crate::keep::order::{KEEP, Order, Request, is_ours, start_time};
use crate::modules;
use crate::pack::Packed;
use crate::plan::Plan;
use nocopy_host::{interrupt, local, process};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The result of a command in a kept guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ended with this status.
    Ended(i32),
    /// No guest is kept, for this reason: boot one for the command.
    NoSession(&'static str),
}

/// Runs a command in the guest that is kept for our parent. `output` gets its output.
///
/// # Errors
///
/// [`Error::Guest`], if the guest has died, its kernel has complained, or the plan's limit is over.
pub fn run(
    plan: &Plan,
    packed: &Packed,
    mut output: impl FnMut(Kind, &[u8]),
) -> Result<Outcome, Error> {
    let owner = std::os::unix::process::parent_id();
    let owner = i32::try_from(owner).expect("a process number");
    if owner <= 1 {
        return Ok(Outcome::NoSession(
            "this process has no parent with which a guest could end",
        ));
    }
    let since = start_time(owner);
    let name = format!(
        "on-kernel-{}-{owner}-{since}-{:x}",
        process::effective_user(),
        identity(plan)
    );
    let order = Order {
        plan: plan.clone(),
        owner,
        since,
        name,
    };
    let request = Request {
        start: packed.start.clone(),
        files: packed.files.clone(),
    };
    let request = serde_json::to_vec(&request).expect("plain data");
    if request.len() > PIECE {
        return Err(Error::host(
            "too many files for a guest that is kept: bring fewer by --with, or run without --keep",
        ));
    }
    let begun = Instant::now();
    // A keeper may end at the moment at which it is found. A command that it has not begun can have another one.
    for _ in 0..3 {
        let Some(socket) = connect(&order, begun)? else {
            return Ok(Outcome::NoSession(
                "another user has its socket, or the connection is not accepted",
            ));
        };
        if let Some(outcome) = attempt(socket, &request, (plan, packed, begun), &mut output)? {
            return Ok(outcome);
        }
    }
    Err(Error::guest(
        "three processes that kept the guest have ended",
    ))
}

/// A number for all that makes one guest unlike another: the plan, and the files as they are now.
fn identity(plan: &Plan) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_vec(plan)
        .expect("plain data")
        .hash(&mut hasher);
    let modules = plan.image.modules.as_deref();
    let listed = modules.and_then(|directory| modules::paths(directory).ok());
    let own = Path::new("/proc/self/exe");
    let files = [own, &plan.image.boot].map(Path::to_owned);
    for path in files.into_iter().chain(listed.into_iter().flatten()) {
        if let Ok(file) = path.metadata() {
            let time = (
                file.mtime(),
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec(),
            );
            (path, file.dev(), file.ino(), file.len(), time).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// Runs the command by this keeper. `None`, if that has ended without having begun it.
fn attempt(
    mut socket: UnixStream,
    request: &[u8],
    (plan, packed, begun): (&Plan, &Packed, Instant),
    output: &mut impl FnMut(Kind, &[u8]),
) -> Result<Option<Outcome>, Error> {
    // A keeper without a guest says so and closes: what it said can be read.
    let _ = frames::write(&mut socket, Kind::StartOf, &frames::of(0, request));
    let mut input = packed.start.input;
    // Until the command is begun: its input must not be lost if another guest runs it.
    let mut on_the_way = WINDOW;
    let mut is_begun = false;
    let mut records = Reader::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        if let Some(signal) = interrupt::came() {
            return Err(Error::guest(format!("{signal} ended the run")));
        }
        if begun.elapsed() > plan.limit {
            return Err(Error::guest(format!(
                "the command has not ended after {} s",
                plan.limit.as_secs()
            )));
        }
        let stdin = if input && on_the_way < WINDOW { 0 } else { -1 };
        let fd = socket.as_raw_fd();
        let ready = process::poll(&[fd, stdin], Some(Duration::from_millis(500)));
        let ready = ready.context("poll")?;
        if ready[1] {
            let count = io::stdin()
                .read(&mut buffer)
                .context("read standard input")?;
            input = count > 0;
            on_the_way += count;
            tell(&mut socket, Kind::InputOf, &frames::of(0, &buffer[..count]))?;
        }
        if !ready[0] {
            continue;
        }
        match socket.read(&mut buffer) {
            Err(error) if !is_begun && error.kind() == io::ErrorKind::ConnectionReset => {
                return Ok(None);
            }
            Ok(0) if !is_begun => return Ok(None),
            Ok(0) => return Err(Error::guest("the process that kept the guest has ended")),
            Ok(count) => records.push(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("hear the guest's keeper"),
        }
        while let Some((kind, payload)) = records.take().map_err(Error::guest)? {
            let rest = frames::numbered(&payload).map_or(&[][..], |(_, rest)| rest);
            match kind {
                Kind::OutputOf => output(Kind::Output, rest),
                Kind::ErrorOf => output(Kind::Error, rest),
                Kind::TookOf => {
                    let count = rest
                        .first_chunk()
                        .map_or(0, |bytes| u32::from_le_bytes(*bytes));
                    on_the_way = on_the_way.saturating_sub(count as usize);
                    if count == 0 {
                        is_begun = true;
                        on_the_way = 0;
                    }
                }
                Kind::ExitOf => return ended(rest).map(Some),
                Kind::FailureOf => {
                    let why = String::from_utf8_lossy(rest);
                    let program = packed.start.command.first().map_or("", String::as_str);
                    return Err(Error::host(format!("{program}: {why}, in the guest")));
                }
                Kind::Error => {
                    return Err(Error::guest(String::from_utf8_lossy(&payload).into_owned()));
                }
                Kind::Quit => {
                    return Ok(Some(Outcome::NoSession("its kernel has no virtio console")));
                }
                _ => return Err(Error::guest("the guest's keeper says what it should not")),
            }
        }
    }
}

/// The exit status, and what the kernel has complained of meanwhile.
fn ended(rest: &[u8]) -> Result<Outcome, Error> {
    let (status, complaints) = rest
        .split_first_chunk()
        .ok_or_else(|| Error::guest("the guest sent no exit status"))?;
    let complaints: Vec<String> = serde_json::from_slice(complaints).unwrap_or_default();
    if complaints.is_empty() {
        return Ok(Outcome::Ended(i32::from_le_bytes(*status)));
    }
    let complaints: Vec<String> = complaints
        .iter()
        .map(|line| crate::talk::plain(line))
        .collect();
    Err(Error::guest(format!(
        "the kernel complained: {}",
        complaints.join(" | ")
    )))
}

fn tell(socket: &mut UnixStream, kind: Kind, payload: &[u8]) -> Result<(), Error> {
    frames::write(socket, kind, payload).context("tell the guest's keeper")
}

/// Connects to the keeper, and starts one if no keeper runs. `None`, if another user has the name or the connection is not accepted.
fn connect(order: &Order, begun: Instant) -> Result<Option<UnixStream>, Error> {
    const LIMIT: Duration = Duration::from_secs(20);
    let limit = LIMIT.min(order.plan.limit);
    let mut is_started = false;
    loop {
        match local::connect_now(&order.name) {
            Ok(socket) => {
                let is_usable = is_ours(&socket).is_ok() && socket.set_nonblocking(false).is_ok();
                let timed = socket.set_write_timeout(Some(order.plan.limit));
                return Ok(Some(socket).filter(|_| is_usable && timed.is_ok()));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && !is_started => {
                // Others may do the same at this moment: only one of the keepers gets the name.
                start(order)?;
                is_started = true;
            }
            Err(_) if interrupt::came().is_some() || begun.elapsed() > limit => return Ok(None),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn start(order: &Order) -> Result<(), Error> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(KEEP)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: setsid takes no pointer: safe after fork. A signal of the terminal is for the commands.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        });
    }
    let mut child = command.spawn().context("start the guest's keeper")?;
    let mut stdin = child.stdin.take().expect("piped");
    let order = serde_json::to_vec(order).expect("plain data");
    // One that has ended already was not needed.
    let _ = stdin.write_all(&order);
    Ok(())
}
