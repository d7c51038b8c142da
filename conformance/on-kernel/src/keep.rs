//! One guest for many commands: a process keeps it as long as the program lives that started the first command.
//!
//! ```text
//! cargo test ─┬─ on-kernel --keep (test program 1) ──┐
//!             ├─ on-kernel --keep (test program 2) ──┼── socket ── keeper ══ guest
//!             └─ ...                                 ┘
//! ```
//!
//! The first command starts the keeper, which boots the guest; the others find it by the name of its socket: their parent, their
//! user, and the machine that they want. When the parent ends, the keeper kills the guest and ends. If it is killed itself, the
//! guest dies with it, and the next command starts another one.

use crate::error::{Context, Error};
use crate::frames::{self, Kind, PIECE, Part, Reader};
use crate::job::{Job, Start, WINDOW};
use crate::machine::description::Machine;
use crate::machine::started::{Channel, Started};
use crate::pack::Packed;
use crate::plan::Plan;
use crate::program;
use nocopy_host::{interrupt, process};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// The hidden command of a keeper.
pub const KEEP: &str = "__keep";

/// What a keeper is told at its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    plan: Plan,
    owner: i32,
    name: String,
}

/// What a client asks of its keeper.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Request {
    start: Start,
    files: Vec<(String, PathBuf)>,
}

/// The result of a command in a kept guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ended with this status.
    Ended(i32),
    /// The kernel has no virtio port, so that a guest of it takes no commands: boot one for the command.
    NoSession,
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
    let plan_text = serde_json::to_string(plan).expect("plain data");
    let mut hasher = DefaultHasher::new();
    plan_text.hash(&mut hasher);
    let name = format!(
        "on-kernel-{}-{owner}-{}-{:x}",
        process::effective_user(),
        start_time(owner),
        hasher.finish()
    );
    let order = Order {
        plan: plan.clone(),
        owner,
        name: name.clone(),
    };
    let mut socket = connect(&name, &order)?;
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
    // A keeper without a guest says so and closes: what it said can be read.
    let _ = frames::write(&mut socket, Kind::StartOf, &frames::of(0, &request));
    let mut input = packed.start.input;
    // Until the command is begun: its input must not be lost if another guest runs it.
    let mut on_the_way = WINDOW;
    let mut records = Reader::default();
    let begun = Instant::now();
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
        let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
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
                        on_the_way = 0; // it is begun
                    }
                }
                Kind::ExitOf => return ended(rest),
                Kind::FailureOf => {
                    let why = String::from_utf8_lossy(rest);
                    let program = packed.start.command.first().map_or("", String::as_str);
                    return Err(Error::host(format!("{program}: {why}, in the guest")));
                }
                Kind::Error => {
                    return Err(Error::guest(String::from_utf8_lossy(&payload).into_owned()));
                }
                Kind::Quit => return Ok(Outcome::NoSession),
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

/// When a process was started, in clock ticks after boot: its number may have been another's before.
fn start_time(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let time = fields.split_whitespace().nth(19);
    time.and_then(|time| time.parse().ok()).unwrap_or(0)
}

fn address(name: &str) -> Result<SocketAddr, Error> {
    SocketAddr::from_abstract_name(name).context("name a socket")
}

/// Connects to the keeper, which is started if there is none.
fn connect(name: &str, order: &Order) -> Result<UnixStream, Error> {
    const LIMIT: Duration = Duration::from_secs(20);
    let address = address(name)?;
    let begun = Instant::now();
    let mut is_started = false;
    loop {
        match UnixStream::connect_addr(&address) {
            Ok(socket) => {
                is_ours(&socket)?;
                return Ok(socket);
            }
            Err(_) if !is_started => {
                // Others may do the same at this moment: only one of the keepers gets the name.
                start(order)?;
                is_started = true;
            }
            Err(_) if begun.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error).context("find the guest's keeper"),
        }
    }
}

/// Names of such sockets belong to nobody, so both sides look who the other is.
fn is_ours(socket: &UnixStream) -> Result<(), Error> {
    let peer = rustix::net::sockopt::socket_peercred(socket).map_err(io::Error::from);
    if peer.context("ask who is there")?.uid.as_raw() == process::effective_user() {
        Ok(())
    } else {
        Err(Error::host("another user has the socket of this guest"))
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

/// The main function of a keeper. What goes wrong is told to its clients.
pub fn main() {
    let Ok(order) = serde_json::from_reader::<_, Order>(io::stdin().lock()) else {
        return;
    };
    let Ok(listener) = address(&order.name)
        .and_then(|address| UnixListener::bind_addr(&address).context("name a socket"))
    else {
        return; // another keeper was faster
    };
    let Ok(owner) = pidfd(order.owner) else {
        return; // it has ended
    };
    if listener.set_nonblocking(true).is_ok() {
        Keeper::new(listener, owner).keep(&order.plan);
    }
}

fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

struct Client {
    socket: UnixStream,
    records: Reader,
    /// Its command, until the guest is known to take commands.
    request: Option<Request>,
    /// Whether its command has been started.
    has_started: bool,
    is_over: bool,
}

struct Keeper {
    listener: UnixListener,
    /// Readable when the owner has ended.
    owner: OwnedFd,
    clients: BTreeMap<u32, Client>,
    next: u32,
    /// The files that the guest has, with their size and time here.
    files: BTreeSet<(String, PathBuf, u64, Option<SystemTime>)>,
}

/// Why a keeper ends or goes on otherwise.
enum End {
    /// The owner has ended.
    Owner,
    /// The kernel has no virtio port.
    NoSession,
}

impl Keeper {
    fn new(listener: UnixListener, owner: OwnedFd) -> Self {
        Self {
            listener,
            owner,
            clients: BTreeMap::new(),
            next: 1,
            files: BTreeSet::new(),
        }
    }

    fn keep(&mut self, plan: &Plan) {
        match self.serve(plan) {
            Ok(End::Owner) => {}
            Ok(End::NoSession) => self.refuse(),
            Err(error) => {
                // Those who have just come are told, too.
                let _ = self.accept();
                self.tell_all(Kind::Error, error.to_string().as_bytes());
            }
        }
    }

    /// Keeps one guest.
    fn serve(&mut self, plan: &Plan) -> Result<End, Error> {
        let job = Job {
            session: true,
            ..Job::default()
        };
        let machine: Machine<'_> = plan.machine(job, vec![]);
        let archive = machine.archive()?;
        let mut guest = Started::new(&machine, &archive)?;
        drop(archive);
        let begun = Instant::now();
        loop {
            let mut others: Vec<BorrowedFd<'_>> = vec![self.listener.as_fd(), self.owner.as_fd()];
            let numbers: Vec<u32> = self.clients.keys().copied().collect();
            others.extend(self.clients.values().map(|client| client.socket.as_fd()));
            let ready = guest.wait(Duration::from_millis(500), &others)?;
            let [new, owner, clients @ ..] = ready.others.as_slice() else {
                unreachable!("as many as were asked for");
            };
            if *owner {
                return Ok(End::Owner);
            }
            let readable: Vec<u32> = numbers
                .into_iter()
                .zip(clients)
                .filter_map(|(number, ready)| ready.then_some(number))
                .collect();
            let heard = guest.hear(|kind, payload| self.route(kind, payload));
            if let Err(lie) = heard {
                return Err(guest.failed(&lie));
            }
            if guest.channel == Some(Channel::Serial) {
                return Ok(End::NoSession);
            }
            if *new {
                self.accept()?;
            }
            for number in readable {
                self.hear(number, &mut guest);
            }
            if guest.channel == Some(Channel::Virtio) {
                self.begin_all(&mut guest);
            }
            self.clients.retain(|number, client| {
                if client.is_over && client.has_started {
                    guest.send(Kind::KillOf, &frames::of(*number, &[]));
                }
                !client.is_over
            });
            if guest.talk.release().is_none() && begun.elapsed() > plan.limit {
                return Err(guest.failed(&machine.overdue(&guest)));
            }
            let has_ended = guest.talk.finish().is_ok();
            if has_ended || guest.is_silent() || !ready.machine {
                let status = guest.try_wait()?;
                if has_ended || status.is_some() {
                    // A session ends when the host says so, and the host has not.
                    let what = machine.judge(&guest, status).err();
                    let what = what.unwrap_or_else(|| "the guest has ended".to_owned());
                    return Err(guest.failed(&what));
                }
            }
        }
    }

    /// Tells clients that there is no guest for them, until the owner ends.
    fn refuse(&mut self) {
        loop {
            self.tell_all(Kind::Quit, &[]);
            self.clients.clear();
            let fds = [self.listener.as_fd(), self.owner.as_fd()];
            let fds = fds.map(|fd| std::os::fd::AsRawFd::as_raw_fd(&fd));
            match process::poll(&fds, None) {
                Ok(ready) if !ready[1] && self.accept().is_ok() => {}
                _ => return,
            }
        }
    }

    fn tell_all(&mut self, kind: Kind, payload: &[u8]) {
        for client in self.clients.values_mut() {
            let _ = frames::write(&mut client.socket, kind, payload);
        }
    }

    fn accept(&mut self) -> Result<(), Error> {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) if is_ours(&socket).is_ok() => {
                    let client = Client {
                        socket,
                        records: Reader::default(),
                        request: None,
                        has_started: false,
                        is_over: false,
                    };
                    self.clients.insert(self.next, client);
                    self.next += 1;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accept a command"),
            }
        }
    }

    /// Passes on what the guest says of a command.
    fn route(&mut self, kind: Kind, payload: &[u8]) {
        let Some((number, rest)) = frames::numbered(payload) else {
            return;
        };
        let Some(client) = self.clients.get_mut(&number) else {
            return; // its client has gone
        };
        if matches!(kind, Kind::ExitOf | Kind::FailureOf) {
            client.has_started = false;
        }
        if kind == Kind::FailureOf {
            self.files.clear(); // perhaps one of them could not be written
        }
        let is_written = frames::write(&mut client.socket, kind, &frames::of(0, rest)).is_ok();
        client.is_over |= !is_written;
    }

    /// Takes what a client says.
    fn hear(&mut self, number: u32, guest: &mut Started) {
        let mut buffer = vec![0; 64 << 10];
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        match client.socket.read(&mut buffer) {
            Ok(count) if count > 0 => client.records.push(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            _ => {
                client.is_over = true;
                return;
            }
        }
        loop {
            let Some(client) = self.clients.get_mut(&number) else {
                return;
            };
            let (kind, payload) = match client.records.take() {
                Ok(Some(record)) => record,
                Ok(None) => return,
                Err(_) => {
                    client.is_over = true;
                    return;
                }
            };
            let rest = frames::numbered(&payload).map_or(&[][..], |(_, rest)| rest);
            match kind {
                Kind::InputOf => guest.send(kind, &frames::of(number, rest)),
                Kind::StartOf => match serde_json::from_slice(rest) {
                    Ok(request) => client.request = Some(request),
                    Err(_) => client.is_over = true,
                },
                _ => {}
            }
        }
    }

    /// Starts the commands that wait for it.
    fn begin_all(&mut self, guest: &mut Started) {
        let waiting: Vec<(u32, Request)> = self
            .clients
            .iter_mut()
            .filter_map(|(number, client)| Some((*number, client.request.take()?)))
            .collect();
        for (number, request) in waiting {
            let (kind, rest) = match self.begin(number, &request, guest) {
                Ok(()) => (Kind::TookOf, 0_u32.to_le_bytes().to_vec()),
                Err(error) => (Kind::FailureOf, error.to_string().into_bytes()),
            };
            if let Some(client) = self.clients.get_mut(&number) {
                client.has_started = kind == Kind::TookOf;
            }
            self.route(kind, &frames::of(number, &rest));
        }
    }

    /// Sends the files that the guest does not have, and starts the command.
    fn begin(&mut self, number: u32, request: &Request, guest: &mut Started) -> Result<(), Error> {
        for (to, from) in &request.files {
            let metadata = from.metadata().at(from)?;
            let file = (
                to.clone(),
                from.clone(),
                metadata.len(),
                metadata.modified().ok(),
            );
            if self.files.contains(&file) {
                continue;
            }
            let (content, mode) = program::content(from)?;
            // An empty file has a part, too.
            let mut pieces = content.chunks(PIECE).collect::<Vec<_>>();
            if pieces.is_empty() {
                pieces.push(&[]);
            }
            for (index, piece) in pieces.into_iter().enumerate() {
                let part = Part {
                    path: to.clone(),
                    mode: mode & 0o777,
                    is_first: index == 0,
                };
                let mut payload = serde_json::to_vec(&part).expect("plain data");
                payload.push(0);
                payload.extend_from_slice(piece);
                guest.send(Kind::File, &payload);
            }
            self.files.retain(|known| known.0 != *to);
            self.files.insert(file);
        }
        let start = serde_json::to_vec(&request.start).expect("plain data");
        guest.send(Kind::StartOf, &frames::of(number, &start));
        Ok(())
    }
}
