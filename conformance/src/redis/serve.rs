//! A master that has one file and nothing else. Replicas sync from it, in one thread, by any route.
//!
//! All waiting is in one place, [`Server::run`]. A replica is a [`Link`] with a [`Dialogue`](super::dialogue::Dialogue), which decides
//! what it is sent. The file is sent by a [`Transfer`], which has a separate offset, pipe and error queue for each replica. It is given
//! a budget each time its socket can take more, so that no replica waits for another.

#![forbid(unsafe_code)]

pub use super::dialogue::Framing;
use super::dialogue::{End, Output, PIECE, Phase, Situation, Step, Terms, refusal, unknown};
use super::rdb::{Checked, Server as Version};
pub use super::replica::Served;
use super::replica::{Replica, identity};
use crate::lab::completions::Completions;
use crate::lab::redis::link::Link;
use crate::lab::redis::resp;
use nocopy_host::process;
use nocopy_transfer::{Request, Route, Stability, State, Transfer, Wait};
use rustix::event::{Timespec, epoll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The data for replicas, and the conditions.
#[derive(Clone, Debug)]
pub struct Options {
    /// The route by which the file's bytes are sent. None: the best one.
    pub route: Option<Route>,
    /// The number of bytes that one replica gets before the others have their turn, and the size of one call.
    pub budget: u64,
    /// The form in which the file is announced.
    pub framing: Framing,
    /// The user, if it is not the default one, and the password.
    pub login: Option<(String, String)>,
    /// The time that a replica waits for the file. Meanwhile it gets signs that its master is alive.
    pub delay: Duration,
    /// The interval of the `PING`s to a replica that has everything.
    pub ping: Duration,
    /// Whether replicas on other machines are served. A replica that is served loses its data.
    pub allow_remote: bool,
    /// Whether the file is also sent to replicas that cannot load it, or that do not report their version.
    pub force: bool,
    /// The version of every replica that does not report one.
    pub version: Option<Version>,
    /// Commands that follow the file. They must be complete. More may come: see [`Server::follow`].
    pub commands: Vec<u8>,
    /// The number of replicas after which the master ends.
    pub until: Option<usize>,
}

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The error in the commands, if there was one.
    pub error: Option<String>,
    /// Each replica that got bytes of the file or had an error.
    pub replicas: Vec<Served>,
    /// Seconds of CPU of this thread.
    pub cpu: f64,
    /// The longest time for which one replica was served without a break, in milliseconds.
    pub longest: f64,
    /// The 99th percentile of these times.
    pub percentile: f64,
    /// How often the thread woke up, because of an event or because a tenth of a second had passed.
    pub wakes: u64,
}

/// An event of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// This replica gets the file.
    Begins(SocketAddr),
    /// Its socket has taken this many bytes of the file.
    Progress(SocketAddr, u64),
    /// It has acknowledged everything, or has closed the connection in order after it got the file.
    Done(SocketAddr),
    /// It is not served, or is no longer served, for this reason.
    Left(SocketAddr, String),
}

/// The interval of attempts to accept a connection, after one has failed.
const FULL: Duration = Duration::from_millis(500);
/// The time that an orderly end may take.
const END: Duration = Duration::from_secs(2);

/// A master that has one file.
pub struct Server<'run> {
    listener: TcpListener,
    epoll: OwnedFd,
    rdb: Rc<File>,
    terms: Terms,
    options: &'run Options,
    replicas: BTreeMap<u64, Replica>,
    next: u64,
    summary: Vec<Served>,
    stretches: Vec<Duration>,
    news: VecDeque<News>,
    commands: Vec<u8>,
    /// The source of more commands, and the beginning of a command that is not complete.
    more: Option<(File, Vec<u8>)>,
    error: Option<String>,
    /// Whether no more connections can be accepted.
    is_full: bool,
    ends: Option<Instant>,
}

const LISTENER: u64 = 0;
const STOP: u64 = 1;
const MORE: u64 = 2;
/// From here on, keys of replicas are even. Keys of the connections that ask them for their version are odd.
const FIRST: u64 = 4;
/// The most bytes of commands that are kept for later replicas.
const KEPT: usize = 256 << 20;
/// The most bytes of unread answers. A replica with more is dropped.
const DEAF: usize = 1 << 20;
/// The most times that are kept for the percentile.
const REMEMBERED: usize = 1 << 20;

impl<'run> Server<'run> {
    /// Prepares to serve a file that was [checked](super::rdb::check).
    pub fn new(listener: TcpListener, rdb: File, checked: Checked, options: &'run Options) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(LISTENER);
        epoll::add(&epoll, &listener, data, epoll::EventFlags::IN)?;
        Ok(Self {
            listener,
            epoll,
            rdb: Rc::new(rdb),
            terms: Terms {
                identity: identity()?,
                login: options.login.clone(),
                header: checked.header,
                length: checked.length,
                force: options.force,
                framing: options.framing,
                delay: options.delay,
                ping: options.ping,
            },
            options,
            replicas: BTreeMap::new(),
            next: FIRST,
            summary: Vec::new(),
            stretches: Vec::new(),
            news: VecDeque::new(),
            commands: options.commands.clone(),
            more: None,
            error: None,
            is_full: false,
            ends: None,
        })
    }

    /// Passes commands on as they arrive from a pipe or socket.
    pub fn follow(&mut self, more: File) -> io::Result<()> {
        let data = epoll::EventData::new_u64(MORE);
        epoll::add(&self.epoll, &more, data, epoll::EventFlags::IN)?;
        self.more = Some((more, Vec::new()));
        Ok(())
    }

    /// Serves until `stop` is readable, or until the requested number of replicas was served. Calls `told` for each event.
    pub fn run(mut self, stop: impl AsFd, mut told: impl FnMut(News)) -> io::Result<Summary> {
        let data = epoll::EventData::new_u64(STOP);
        epoll::add(&self.epoll, &stop, data, epoll::EventFlags::IN)?;
        let before = own_cpu();
        let mut began = Instant::now();
        let mut events = Vec::with_capacity(64);
        let mut wakes = 0;
        loop {
            wakes += 1;
            events.clear();
            let timeout = Timespec::try_from(Duration::from_millis(100)).ok();
            let buffer = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, buffer, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    STOP => {
                        epoll::delete(&self.epoll, &stop)?;
                        self.stop()?;
                    }
                    MORE => self.hear_more()?,
                    key => self.serve(key, event.flags),
                }
            }
            self.look_at_clocks();
            if self.is_full && self.ends.is_none() && began.elapsed() >= FULL {
                began = Instant::now();
                self.listen(true)?;
            }
            for news in self.news.drain(..) {
                told(news);
            }
            let served = self.summary.iter().filter(|one| one.error.is_none()).count();
            let done = self.replicas.values();
            let done = done.filter(|one| one.dialogue.is_done()).count();
            if self.options.until.is_some_and(|until| served + done >= until) {
                self.stop()?;
            }
            if let Some(since) = self.ends {
                self.end_all();
                if self.replicas.is_empty() || since.elapsed() > END {
                    break;
                }
            }
        }
        let keys: Vec<u64> = self.replicas.keys().copied().collect();
        for key in keys {
            // A replica that got no bytes of the file has lost nothing.
            let has_some = self.replicas.get(&key).is_some_and(|one| one.served.bytes > 0);
            let late = End::Wrong("it did not end in time".to_owned());
            self.leave(key, if has_some { &late } else { &End::Orderly });
        }
        for news in self.news.drain(..) {
            told(news);
        }
        self.stretches.sort_unstable();
        let milliseconds = |at: usize| {
            let stretch = self.stretches.get(at).copied().unwrap_or_default();
            stretch.as_secs_f64() * 1e3
        };
        let last = self.stretches.len().saturating_sub(1);
        Ok(Summary {
            error: self.error,
            cpu: Duration::from_nanos(own_cpu() - before).as_secs_f64(),
            longest: milliseconds(last),
            percentile: milliseconds(last * 99 / 100),
            wakes,
            replicas: self.summary,
        })
    }

    /// Stops accepting connections.
    fn stop(&mut self) -> io::Result<()> {
        if self.ends.is_none() {
            self.ends = Some(Instant::now());
            epoll::delete(&self.epoll, &self.listener)?;
        }
        Ok(())
    }

    /// Reads more commands, and passes complete ones on.
    fn hear_more(&mut self) -> io::Result<()> {
        let Some((file, rest)) = &mut self.more else {
            return Ok(());
        };
        let mut piece = vec![0; PIECE];
        let count = match file.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            count => count?,
        };
        rest.extend_from_slice(&piece[..count]);
        let is_cut_off = count == 0 && !rest.is_empty();
        let why = match resp::whole(rest) {
            Err(bad) => Some(bad.to_string()),
            Ok(length) => {
                self.commands.extend(rest.drain(..length));
                let is_too_much = self.commands.len() + rest.len() > KEPT;
                if is_cut_off {
                    Some("the last one is truncated".to_owned())
                } else if is_too_much {
                    Some(format!("they are more than {KEPT} bytes, which are kept for replicas that come later"))
                } else {
                    None
                }
            }
        };
        if count == 0 || why.is_some() {
            epoll::delete(&self.epoll, &*file)?;
            self.more = None;
        }
        self.error = self.error.take().or(why.map(|why| format!("the commands: {why}")));
        let keys: Vec<u64> = self.replicas.keys().copied().collect();
        for key in keys {
            match self.send(key) {
                Ok(()) => self.wait_for(key),
                Err(end) => self.leave(key, &end),
            }
        }
        Ok(())
    }

    /// Sets whether epoll reports new connections.
    fn listen(&mut self, is_to: bool) -> io::Result<()> {
        let flags = if is_to { epoll::EventFlags::IN } else { epoll::EventFlags::empty() };
        let data = epoll::EventData::new_u64(LISTENER);
        epoll::modify(&self.epoll, &self.listener, data, flags)?;
        self.is_full = !is_to;
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        let (socket, peer) = match self.listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Ok(()),
            // Usually too many descriptors are open. The connection waits, and the listener is ignored for a while.
            Err(error) => {
                if !self.is_full {
                    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
                    let why = format!("no more connections are accepted for now: {error}");
                    self.news.push_back(News::Left(unknown, why));
                }
                return self.listen(false);
            }
        };
        let key = self.next;
        self.next += 2;
        let replica = match self.replica(socket, peer, key) {
            Ok(replica) => replica,
            Err(error) => {
                self.news.push_back(News::Left(peer, error.to_string()));
                return Ok(());
            }
        };
        self.replicas.insert(key, replica);
        if !peer.ip().is_loopback() && !self.options.allow_remote {
            let why = "it is not of this machine, and would lose its own data: --allow-remote if it is to";
            self.leave(key, &End::Wrong(why.to_owned()));
        }
        Ok(())
    }

    /// Makes a replica of a new connection.
    fn replica(&self, socket: TcpStream, peer: SocketAddr, key: u64) -> io::Result<Replica> {
        let link = Link::new(socket)?;
        let data = epoll::EventData::new_u64(key);
        epoll::add(&self.epoll, &link, data, epoll::EventFlags::IN)?;
        Replica::new(link, peer, &self.terms, self.options.version.clone())
    }

    /// Handles an event of one replica, and updates its registration with epoll.
    fn serve(&mut self, key: u64, flags: epoll::EventFlags) {
        let replica = key & !1;
        let began = Instant::now();
        let served = if key == replica { self.hear(key, flags) } else { self.hear_what_it_is(replica, flags) };
        if self.stretches.len() < REMEMBERED {
            self.stretches.push(began.elapsed());
        }
        match served {
            Ok(()) => self.wait_for(replica),
            Err(end) => self.leave(replica, &end),
        }
    }

    /// A replica's dialogue, and what it depends on now.
    fn dialogue(&mut self, key: u64) -> Option<(&mut Replica, Situation<'_>)> {
        let situation =
            Situation { terms: &self.terms, commands: &self.commands, more: self.more.is_some(), now: Instant::now() };
        Some((self.replicas.get_mut(&key)?, situation))
    }

    fn hear(&mut self, key: u64, flags: epoll::EventFlags) -> Result<(), End> {
        let length = self.terms.length;
        let Some((replica, at)) = self.dialogue(key) else {
            return Ok(());
        };
        // The transfer is over, and no code waits for these completions. Unread, they keep the socket ready.
        if flags.contains(epoll::EventFlags::ERR) && replica.sending.is_none() {
            // Any other error is one of the connection, which the read below returns.
            let _ = Completions::now(&replica.link);
        }
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP) {
            let closed = |replica: &Replica, how| replica.dialogue.closed(how, replica.served.bytes);
            match replica.link.read() {
                Ok(Some(bytes)) => {
                    let mut out = Output::default();
                    let heard = replica.dialogue.hear(&bytes, &at, &mut out);
                    self.apply(key, &out)?;
                    heard?;
                }
                Ok(None) => {
                    replica.hang_up(length)?;
                    return Err(closed(replica, "it has closed the connection"));
                }
                Err(error) => return Err(closed(replica, &error.to_string())),
            }
        }
        let Some(replica) = self.replicas.get(&key) else {
            return Ok(());
        };
        if replica.link.waiting() > DEAF {
            return Err(End::Wrong("it does not read what it is answered".to_owned()));
        }
        let is_full = matches!(replica.sending, Some((_, Some(_))));
        let has_room = flags.intersects(epoll::EventFlags::OUT | epoll::EventFlags::ERR);
        // The socket had no room before, and still has none.
        if is_full && !has_room { Ok(()) } else { self.send(key) }
    }

    /// Does what a dialogue asks for. The bytes are sent when the socket takes them.
    fn apply(&mut self, key: u64, out: &Output) -> Result<(), End> {
        let Some(replica) = self.replicas.get_mut(&key) else {
            return Ok(());
        };
        replica.link.say(&out.bytes);
        for step in &out.steps {
            match step {
                Step::Begins => self.news.push_back(News::Begins(replica.peer)),
                Step::Done => self.news.push_back(News::Done(replica.peer)),
                Step::Ask(port) => {
                    let address = SocketAddr::new(replica.peer.ip(), *port);
                    let asked = ask(address).and_then(|link| {
                        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT;
                        let data = epoll::EventData::new_u64(key | 1);
                        epoll::add(&self.epoll, &link, data, flags)?;
                        Ok(link)
                    });
                    let asked = asked.map_err(|error| unknown(&error.to_string()))?;
                    replica.asked = Some(asked);
                }
                Step::Send => {
                    replica.link.flush()?;
                    replica.began = Instant::now();
                    let (source, sink) = (Rc::clone(&self.rdb), replica.link.socket());
                    let (route, length) = (self.options.route, self.terms.length);
                    let transfer = match route {
                        Some(route) => Transfer::by(route, source, 0, length, sink)
                            .map_err(|errno| format!("{route} cannot be prepared: {errno:?}")),
                        None => Request::new(Stability::Shared)
                            .range(0, length)
                            .look_back()
                            .begin(source, sink)
                            .map_err(|error| error.to_string()),
                    };
                    let transfer = transfer.map_err(End::Wrong)?;
                    replica.sending = Some((Box::new(transfer), Some(Wait::Sink)));
                }
            }
        }
        Ok(())
    }

    /// Reads a replica's answer about its version from the other connection.
    fn hear_what_it_is(&mut self, key: u64, flags: epoll::EventFlags) -> Result<(), End> {
        let Some(replica) = self.replicas.get_mut(&key) else {
            return Ok(());
        };
        let Some(link) = &mut replica.asked else {
            return Ok(());
        };
        if flags.contains(epoll::EventFlags::OUT) {
            link.flush().map_err(|error| unknown(&error.to_string()))?;
            if link.is_flushed() {
                let data = epoll::EventData::new_u64(key | 1);
                epoll::modify(&self.epoll, &*link, data, epoll::EventFlags::IN).map_err(io::Error::from)?;
            }
        }
        let answer = link.read().map_err(|error| unknown(&error.to_string()))?;
        let Some((replica, at)) = self.dialogue(key) else {
            return Ok(());
        };
        let mut out = Output::default();
        let bytes = answer.as_deref().unwrap_or_default();
        replica.dialogue.hear_answer(bytes, answer.is_some(), &at, &mut out)?;
        if !matches!(replica.dialogue.phase(), Phase::Asked(_)) {
            // This drops the other connection, which also removes it from epoll.
            replica.asked = None;
        }
        self.apply(key, &out)
    }

    /// Sends as much as the socket takes, within the budget.
    fn send(&mut self, key: u64) -> Result<(), End> {
        let budget = self.options.budget;
        let Some((replica, at)) = self.dialogue(key) else {
            return Ok(());
        };
        replica.link.flush()?;
        if !replica.link.is_flushed() {
            return Ok(());
        }
        let Some((transfer, waits)) = &mut replica.sending else {
            let mut out = Output::default();
            replica.dialogue.turn(&at, &mut out);
            self.apply(key, &out)?;
            if let Some(replica) = self.replicas.get_mut(&key) {
                replica.link.flush()?;
            }
            return Ok(());
        };
        let state = transfer.advance(budget);
        replica.served.bytes = transfer.taken();
        replica.served.steps = transfer.steps();
        let progress = News::Progress(replica.peer, transfer.taken());
        *waits = match state {
            State::Budget => Some(Wait::Sink),
            State::Waits(wait) => Some(wait),
            State::Ended => None,
        };
        let finished = if state == State::Ended { replica.finish() } else { Ok(()) };
        self.news.push_back(progress);
        finished
    }

    /// Performs the actions that are due at this time.
    fn look_at_clocks(&mut self) {
        let keys: Vec<u64> = self.replicas.keys().copied().collect();
        for key in keys {
            let Some((replica, at)) = self.dialogue(key) else {
                continue;
            };
            let mut out = Output::default();
            let is_due = replica.dialogue.clock(&at, &mut out);
            let done = is_due.and_then(|is_due| {
                self.apply(key, &out)?;
                if is_due {
                    self.send(key)?;
                }
                Ok(is_due)
            });
            match done {
                Ok(true) => self.wait_for(key),
                Ok(false) => {}
                Err(end) => self.leave(key, &end),
            }
        }
    }

    /// Registers with epoll the events that a replica waits for.
    fn wait_for(&mut self, key: u64) {
        let Some(replica) = self.replicas.get(&key) else {
            return;
        };
        let takes = matches!(replica.sending, Some((_, Some(Wait::Sink))));
        let mut flags = epoll::EventFlags::IN;
        if takes || !replica.link.is_flushed() {
            flags |= epoll::EventFlags::OUT;
        }
        let data = epoll::EventData::new_u64(key);
        if let Err(errno) = epoll::modify(&self.epoll, &replica.link, data, flags) {
            self.leave(key, &End::Wrong(io::Error::from(errno).to_string()));
        }
    }

    /// Ends a connection, and keeps its result.
    fn leave(&mut self, key: u64, end: &End) {
        let Some(mut replica) = self.replicas.remove(&key) else {
            return;
        };
        replica.stop();
        if let End::Wrong(why) = end {
            if replica.served.bytes == 0 {
                // Sent if the socket takes it: the replica writes the reason to its log.
                replica.link.say(&refusal(why));
                let _ = replica.link.flush();
            }
            replica.served.error = Some(why.clone());
            self.news.push_back(News::Left(replica.peer, why.clone()));
        } else if let Some(why) = &replica.served.error {
            self.news.push_back(News::Left(replica.peer, why.clone()));
        } else if !replica.dialogue.is_done() && replica.served.bytes > 0 {
            self.news.push_back(News::Done(replica.peer));
        }
        // A connection that got nothing and had no error was only a probe, and not a replica.
        if replica.served.bytes > 0 || replica.served.error.is_some() {
            self.summary.push(replica.served);
        }
    }

    /// Ends all connections in order: each replica reads the data in flight, and closes.
    fn end_all(&mut self) {
        for replica in self.replicas.values_mut() {
            let phase = replica.dialogue.phase();
            if phase == Phase::Ending {
                continue;
            }
            if !matches!(phase, Phase::Greeting | Phase::Streaming) {
                replica.served.error = Some("the master was stopped".to_owned());
            }
            replica.stop();
            (replica.asked, replica.sending) = (None, None);
            replica.dialogue.end();
            let _ = replica.link.socket().shutdown(Shutdown::Write);
        }
    }
}

/// Connects to a server and asks for its version; the request is sent when the socket is writable.
fn ask(address: SocketAddr) -> io::Result<Link> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut link = Link::new(TcpStream::from(socket))?;
    link.say(&resp::command(&[b"INFO", b"server"]));
    Ok(link)
}

/// The CPU time of this thread, in nanoseconds.
fn own_cpu() -> u64 {
    process::nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID)
}
