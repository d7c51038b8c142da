//! The process that keeps a guest.

#![forbid(unsafe_code)]

use crate::error::{Context, Error};
use crate::frames::{self, Kind, PIECE, Part, Reader};
use crate::job::Job;
use crate::keep::order::{Order, Request, address, is_ours, start_time};
use crate::machine::description::Machine;
use crate::machine::started::{Channel, Started};
use crate::plan::Plan;
use crate::program;
use nocopy_host::process;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The main function of a keeper. What goes wrong is told to its clients.
pub fn main() {
    let mut order = Vec::new();
    let read = io::stdin().read_to_end(&mut order);
    let Some(order) = read
        .ok()
        .and_then(|_| serde_json::from_slice::<Order>(&order).ok())
    else {
        return;
    };
    // What the first client has open is not this process's to keep open.
    process::close_all_but(&[]);
    let _ = std::env::set_current_dir("/");
    let named = address(&order.name)
        .and_then(|address| UnixListener::bind_addr(&address).context("name a socket"));
    let Ok(listener) = named else {
        return; // another keeper was faster
    };
    let owner = pidfd(order.owner).ok();
    let Some(owner) = owner.filter(|_| start_time(order.owner) == order.since) else {
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

/// The bytes for a client after which the guest is not heard until the client has read some.
const MOST_UNREAD: usize = 1 << 20;
/// The size of a file that is not brought again if it has not changed.
const LARGE: u64 = 1 << 20;

struct Client {
    socket: UnixStream,
    /// What it has not read.
    unread: VecDeque<u8>,
    records: Reader,
    /// Its command, until the guest is known to take commands.
    request: Option<Request>,
    /// Whether its command has been started.
    has_started: bool,
    is_over: bool,
}

impl Client {
    fn tell(&mut self, kind: Kind, payload: &[u8]) {
        frames::write(&mut self.unread, kind, payload).expect("a queue takes all");
    }

    /// Writes what it can take now.
    fn flush(&mut self) {
        while !self.unread.is_empty() {
            match self.socket.write(self.unread.as_slices().0) {
                Ok(count) => drop(self.unread.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.is_over |= error.kind() != io::ErrorKind::WouldBlock;
                    return;
                }
            }
        }
    }
}

struct Keeper {
    /// Closed when the guest takes no more commands.
    listener: Option<UnixListener>,
    /// Readable when the owner has ended.
    owner: OwnedFd,
    clients: BTreeMap<u32, Client>,
    next: u32,
    /// The large files that the guest has, by their places.
    files: BTreeMap<String, Identity>,
}

/// What a file was when it was brought.
type Identity = (PathBuf, [u64; 3], [i64; 4], u32);

fn identity(path: &Path) -> Result<Identity, Error> {
    let file = path.metadata().at(path)?;
    Ok((
        path.to_owned(),
        [file.dev(), file.ino(), file.len()],
        [
            file.mtime(),
            file.mtime_nsec(),
            file.ctime(),
            file.ctime_nsec(),
        ],
        file.mode(),
    ))
}

/// Why a keeper ends or goes on otherwise.
enum End {
    /// The owner has ended, or the kernel has complained and the last command has ended.
    Over,
    /// The kernel has no virtio port.
    NoSession,
}

impl Keeper {
    fn new(listener: UnixListener, owner: OwnedFd) -> Self {
        Self {
            listener: Some(listener),
            owner,
            clients: BTreeMap::new(),
            next: 1,
            files: BTreeMap::new(),
        }
    }

    fn keep(&mut self, plan: &Plan) {
        match self.serve(plan) {
            Ok(End::Over) => {}
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
            let mut others: Vec<BorrowedFd<'_>> = vec![self.owner.as_fd()];
            let numbers: Vec<u32> = self.clients.keys().copied().collect();
            others.extend(self.clients.values().map(|client| client.socket.as_fd()));
            others.extend(self.listener.as_ref().map(AsFd::as_fd));
            let is_unread = self
                .clients
                .values()
                .any(|client| !client.unread.is_empty());
            let limit = Duration::from_millis(if is_unread { 20 } else { 500 });
            // A client that reads nothing holds up the others, and nothing else.
            let is_long = |client: &Client| client.unread.len() > MOST_UNREAD;
            guest.is_held = self.clients.values().any(is_long);
            let ready = guest.wait(limit, &others)?;
            let Some((owner, clients)) = ready.others.split_first() else {
                unreachable!("as many as were asked for");
            };
            let new = clients.get(numbers.len()).copied().unwrap_or(false);
            if *owner {
                return Ok(End::Over);
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
            if new {
                self.accept()?;
            }
            for number in readable {
                self.hear(number, &mut guest);
            }
            if guest.channel == Some(Channel::Virtio) {
                self.begin_all(&mut guest);
            }
            self.clients.values_mut().for_each(Client::flush);
            self.clients.retain(|number, client| {
                if client.is_over && client.has_started {
                    guest.send(Kind::KillOf, &frames::of(*number, &[]));
                }
                !client.is_over
            });
            if self.listener.is_none() && self.clients.is_empty() {
                return Ok(End::Over);
            }
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
            let Some(listener) = &self.listener else {
                return;
            };
            let fds = [listener.as_fd(), self.owner.as_fd()].map(|fd| fd.as_raw_fd());
            match process::poll(&fds, None) {
                Ok(ready) if !ready[1] && self.accept().is_ok() => {}
                _ => return,
            }
        }
    }

    fn tell_all(&mut self, kind: Kind, payload: &[u8]) {
        const LIMIT: Duration = Duration::from_secs(2);
        for client in self.clients.values_mut() {
            client.tell(kind, payload);
            let _ = client.socket.set_nonblocking(false);
            let _ = client.socket.set_write_timeout(Some(LIMIT));
            client.flush();
        }
    }

    fn accept(&mut self) -> Result<(), Error> {
        let Some(listener) = &self.listener else {
            return Ok(());
        };
        loop {
            match listener.accept() {
                Ok((socket, _)) if is_ours(&socket).is_ok() => {
                    socket.set_nonblocking(true).context("fcntl")?;
                    let client = Client {
                        socket,
                        unread: VecDeque::new(),
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
        if kind == Kind::ExitOf && rest.get(4..).is_some_and(|lines| lines != b"[]") {
            self.listener = None; // what else happens in such a guest says nothing
        }
        client.tell(kind, &frames::of(0, rest));
    }

    /// Takes what a client says.
    fn hear(&mut self, number: u32, guest: &mut Started) {
        let mut buffer = vec![0; 64 << 10];
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        match client.socket.read(&mut buffer) {
            Ok(count) if count > 0 => client.records.push(&buffer[..count]),
            Err(error)
                if [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock]
                    .contains(&error.kind()) =>
            {
                return;
            }
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
            let identity = identity(from)?;
            let [_, _, length] = identity.1;
            if self.files.get(to) == Some(&identity) {
                continue;
            }
            let (content, mode) = program::content(from)?;
            // An empty file has a part, too.
            let mut pieces = content.chunks(PIECE).collect::<Vec<_>>();
            if pieces.is_empty() {
                pieces.push(&[]);
            }
            let count = pieces.len();
            for (index, piece) in pieces.into_iter().enumerate() {
                let part = Part {
                    path: to.clone(),
                    mode: mode & 0o777,
                    is_first: index == 0,
                    is_last: index + 1 == count,
                };
                let mut payload = serde_json::to_vec(&part).expect("plain data");
                payload.push(0);
                payload.extend_from_slice(piece);
                guest.send(Kind::File, &payload);
            }
            // A command may change or remove what it finds, so small files are brought each time.
            self.files.remove(to);
            if length > LARGE {
                self.files.insert(to.clone(), identity);
            }
        }
        let start = serde_json::to_vec(&request.start).expect("plain data");
        guest.send(Kind::StartOf, &frames::of(number, &start));
        Ok(())
    }
}
