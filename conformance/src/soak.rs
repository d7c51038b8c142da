//! Random transfers by every route with faults: every byte that was reported as sent must arrive unchanged, or its loss must be
//! reported.
//!
//! A [`Case`] is drawn from its seed alone, so the seed of a failed case is enough to run it again. Timing depends on the kernel: a
//! case may have to run more than once to fail again.

use crate::lab::refusal::refuse;
use crate::lab::sinks::{Kind, Sink};
use crate::lab::{Lab, io, pattern};
use crate::verdict::{Setup, Stop};
use fastrand::Rng;
use nocopy_transfer::delivery::{self, Delivery};
use nocopy_transfer::{
    Ended, Error, Outcome, Parts, Request, Route, Stability, State, Transfer, WHOLE, fallback, forget_refusals,
};
use rustix::fs::OFlags;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use syscalls::{Errno, Sysno};

/// The longest range of a case, in bytes.
pub const LONGEST: u64 = 4 << 20;

/// A change to the source during the transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Truncates it to this many bytes past the start of the range.
    Truncate(u64),
    /// Adds this many bytes.
    Grow(u64),
    /// Punches a hole, which reads as zeros.
    Punch {
        /// The offset of the hole, from the start of the range.
        offset: u64,
        /// The length of the hole.
        length: u64,
    },
}

/// The behaviour of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// It reads at most this many bytes with one call.
    pub at_most: usize,
    /// It sleeps after every call.
    pub is_slow: bool,
    /// It closes its end after this many bytes, if at all.
    pub dies_after: Option<u64>,
}

/// How the bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By one route.
    By(Route),
    /// By the best route, and by others where it is refused.
    Chosen {
        /// What the sink may get.
        stability: Stability,
        /// A call that is refused.
        refused: Option<Refused>,
    },
}

/// A call that the sending thread may not make any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The line of the fall-back table: the call and its errno.
    pub line: usize,
    /// The number of bytes that are sent before it.
    pub at: u64,
}

/// One transfer, with its faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The seed that it is drawn from.
    pub seed: u64,
    /// The way.
    pub way: Way,
    /// The kind of the source, if it is a stream. Bytes that were read from it are in no other place.
    pub from: Option<Kind>,
    /// The sink.
    pub sink: Kind,
    /// The start of the range.
    pub start: u64,
    /// The length of the range.
    pub length: u64,
    /// How much of the range the source has: the range may extend past its end.
    pub available: u64,
    /// If set, the sink does not block, and this much is sent at a time.
    pub budget: Option<u64>,
    /// The behaviour of the receiver.
    pub receiver: Receiver,
    /// The change to the source, and how many bytes are sent before it.
    pub change: Option<(u64, Change)>,
    /// A signal arrives a thousand times a second.
    pub has_signals: bool,
}

/// The lines of the fall-back table whose calls are made here: a file is cloned only if it is larger than [`LONGEST`].
pub fn lines_of_these_sizes() -> Vec<usize> {
    (0..fallback::TABLE.len()).filter(|line| fallback::TABLE[*line].call != Sysno::ioctl).collect()
}

impl Case {
    /// The case that a seed gives.
    pub fn of(seed: u64) -> Self {
        let rng = &mut Rng::with_seed(seed);
        let window = |rng: &mut Rng| match rng.u8(0..3) {
            0 => WHOLE,
            _ => rng.usize(1..1 << 20),
        };
        let pipe = |rng: &mut Rng| 1 << rng.u8(12..=20);
        let route = match rng.choice(Route::ALL).expect("there are routes") {
            Route::ReadWrite { .. } => Route::ReadWrite { buffer: rng.usize(1000..300_000) },
            Route::MmapWrite { .. } => Route::MmapWrite { window: window(rng) },
            Route::Splice { .. } => Route::Splice { pipe: pipe(rng) },
            Route::Vmsplice { .. } => Route::Vmsplice { window: window(rng), pipe: pipe(rng) },
            Route::MsgZerocopy { .. } => Route::MsgZerocopy { window: window(rng), chunk: rng.usize(1000..200_000) },
            route => *route,
        };
        let is_chosen = rng.u8(0..3) == 0;
        let anywhere = [Kind::Tcp, Kind::Unix, Kind::Pipe, Kind::File][rng.usize(0..4)];
        let sink = match route {
            _ if is_chosen => anywhere,
            Route::MsgZerocopy { .. } => Kind::Tcp,
            Route::CopyFileRange | Route::Clone => Kind::File,
            _ => anywhere,
        };
        let length = rng.u64(1..=LONGEST);
        let available = if rng.u8(0..8) == 0 { rng.u64(0..length) } else { length };
        let is_stream = sink != Kind::File;
        let change = |rng: &mut Rng| match rng.u8(0..3) {
            0 => Change::Truncate(rng.u64(0..=length)),
            1 => Change::Grow(rng.u64(1..100_000)),
            _ => Change::Punch { offset: rng.u64(0..length), length: rng.u64(1..=length) },
        };
        let chosen = |rng: &mut Rng| Way::Chosen {
            stability: if rng.bool() { Stability::Shared } else { Stability::Snapshot },
            refused: rng.bool().then(|| Refused {
                line: rng.choice(lines_of_these_sizes()).expect("there are lines"),
                at: if rng.bool() { 0 } else { rng.u64(0..length) },
            }),
        };
        let mut case = Self {
            seed,
            way: if is_chosen { chosen(rng) } else { Way::By(route) },
            from: None,
            sink,
            start: rng.u64(0..200_000),
            length,
            available,
            budget: rng.bool().then(|| rng.u64(1000..1 << 20)),
            receiver: Receiver {
                at_most: rng.usize(500..300_000),
                is_slow: is_stream && rng.u8(0..16) == 0,
                dies_after: (is_stream && rng.u8(0..5) == 0).then(|| rng.u64(0..length)),
            },
            change: (rng.u8(0..5) == 0).then(|| (rng.u64(0..length), change(rng))),
            has_signals: rng.u8(0..3) == 0,
        };
        if is_chosen && rng.bool() {
            case.from = Some([Kind::Tcp, Kind::Unix, Kind::Pipe][rng.usize(0..3)]);
            case.change = None;
        }
        case
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// The result of a case that lost nothing silently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Bytes that the sink has taken.
    pub bytes: u64,
    /// The transfer did not send the whole range to a living reader, and reported that.
    pub told: bool,
    /// Bytes that were not zeros and arrived as zeros: the file was truncated or punched after its pages had been given away.
    pub zeroed: u64,
}

/// Why a case proves nothing, or what went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Bytes were lost or changed, and no error was reported.
    Silent(String),
    /// The case could not be run.
    Stopped(Stop),
}

impl From<Stop> for Failed {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

/// Runs cases one after the other.
#[derive(Debug)]
pub struct Soak {
    lab: Lab,
    /// The content that every source has a part of.
    content: Vec<u8>,
}

/// Changes a byte of the report or of the received bytes: for the test that a loss is noticed.
pub type Spoil = fn(&mut Outcome, &mut Vec<u8>);

impl Soak {
    /// Makes its files in the lab's scratch directory. From now on the signal of [`Case::has_signals`] interrupts calls of this
    /// process.
    pub fn new(lab: Lab) -> Result<Self, Stop> {
        crate::lab::sleeper::interrupt_with(libc::SIGUSR1)?;
        let longest = usize::try_from(LONGEST).expect("a length") + 400_000;
        Ok(Self { lab, content: pattern(longest) })
    }

    /// Runs a case.
    pub fn run(&self, case: &Case) -> Result<Passed, Failed> {
        self.run_spoilt(case, |_, _| ())
    }

    /// Runs a case. `spoil` may change the report or the received bytes before the case is judged.
    pub fn run_spoilt(&self, case: &Case, spoil: Spoil) -> Result<Passed, Failed> {
        let end = usize::try_from(case.start + case.available).expect("within the content");
        let (near, far) = Sink::open(&self.lab, case.sink)?.into_ends();
        if case.budget.is_some() && case.sink != Kind::File {
            io::set_nonblocking(&near).setup("O_NONBLOCK")?;
        }
        let broken = |error: Error| Stop::broken(error.to_string());
        let (begun, feed) = match (case.way, case.from) {
            (Way::Chosen { stability, .. }, Some(kind)) => {
                let (feed, source) = Sink::open(&self.lab, kind)?.into_ends();
                let source = source.ok_or_else(|| Stop::broken("a stream has two ends"))?;
                if case.budget.is_some() {
                    io::set_nonblocking(&source).setup("O_NONBLOCK")?;
                }
                let begun = Request::new(stability).at_most(case.length).begin(source, near).map_err(broken)?;
                (Begun::OfStream(begun), Some(File::from(feed)))
            }
            (Way::Chosen { stability, .. }, None) => {
                let source = self.lab.file(&self.content[..end])?;
                let request = Request::new(stability).range(case.start, case.length).look_back();
                (Begun::OfFile(request.begin(source, near).map_err(broken)?), None)
            }
            (Way::By(route), _) => {
                let source = self.lab.file(&self.content[..end])?;
                let begun = Transfer::by(route, source, case.start, case.length, near).setup(route.name())?;
                (Begun::OfFile(begun), None)
            }
        };
        let fed = &self.content[usize::try_from(case.start).expect("within the content")..end];
        let refused = match case.way {
            Way::Chosen { refused, .. } => refused,
            Way::By(_) => None,
        };
        let over = AtomicBool::new(false);
        // SAFETY: pthread_self takes nothing.
        let sender = unsafe { libc::pthread_self() };
        let (sent, received) = thread::scope(|scope| {
            let reader = far.map(|far| scope.spawn(move || receive(File::from(far), case.receiver)));
            // All of it is written: what the transfer leaves in the source is read at the end.
            let feeder = feed.map(|mut feed| scope.spawn(move || feed.write_all(fed)));
            let over = Over(&over);
            // Signals are sent to this thread, and a refusal lasts for the life of one.
            if case.has_signals && refused.is_none() {
                let is_over = over.0;
                scope.spawn(move || {
                    while !is_over.load(Ordering::Acquire) {
                        // SAFETY: the sender is the thread that waits for this one to end.
                        unsafe { libc::pthread_kill(sender, libc::SIGUSR1) };
                        thread::sleep(Duration::from_millis(1));
                    }
                });
            }
            let sent = if refused.is_some() {
                let sender = scope.spawn(|| begun.send(case)).join();
                forget_refusals();
                sender.unwrap_or_else(|_| Err(Stop::broken("the sender panicked")))
            } else {
                begun.send(case)
            };
            drop(over);
            let feeder = feeder.map_or(Ok(Ok(())), thread::ScopedJoinHandle::join);
            let sent = match feeder {
                Ok(Ok(())) => sent,
                Ok(Err(error)) => Err(Stop::broken(format!("the source takes no more: {error}"))),
                Err(_) => Err(Stop::broken("the feeder panicked")),
            };
            (sent, reader.map(thread::ScopedJoinHandle::join))
        });
        let Sent { mut outcome, delivery, file, rest } = sent?;
        let mut bytes = match (received, &file) {
            (Some(received), _) => received.map_err(|_| Stop::broken("the receiver panicked"))?,
            (None, Some(file)) => all_of(file)?,
            (None, None) => Vec::new(),
        };
        spoil(&mut outcome, &mut bytes);
        let taken = usize::try_from(outcome.bytes).unwrap_or(usize::MAX);
        if let Some(rest) = rest
            && fed.get(taken..) != Some(&rest[..])
        {
            let what = format!("{} bytes are left, or others: {outcome:?}", rest.len());
            return Err(Failed::Silent(what));
        }
        self.judge(case, &outcome, delivery, &bytes)
    }

    fn judge(&self, case: &Case, outcome: &Outcome, delivery: Delivery, received: &[u8]) -> Result<Passed, Failed> {
        let silent = |what: String| {
            Err(Failed::Silent(format!("{what}; {outcome:?}, {delivery:?}, {} received", received.len())))
        };
        let count = received.len() as u64;
        let is_cut_off = matches!(outcome.ended, Ended::Failed(_, Errno::EPIPE | Errno::ECONNRESET))
            && case.receiver.dies_after.is_some();
        let expected = match delivery {
            // The call that failed has taken the error from the socket, and reported it.
            Delivery::All if is_cut_off => 0..=outcome.bytes,
            Delivery::All => outcome.bytes..=outcome.bytes,
            Delivery::Unread(unread) => outcome.bytes - unread..=outcome.bytes - unread,
            Delivery::Broken(_) => 0..=outcome.bytes,
        };
        if !expected.contains(&count) {
            return silent(format!("{expected:?} bytes were to be received"));
        }
        let whole = case.start + case.length;
        let was_cut = matches!(case.change, Some((_, Change::Truncate(_))));
        let is_whole = outcome.ended == Ended::Complete && outcome.bytes == case.length;
        let is_rest = outcome.ended == Ended::SourceEnded
            && (case.available < case.length || was_cut)
            && outcome.bytes < case.length;
        if !(is_whole || is_rest || is_cut_off) {
            return silent("it has no reason to end so".to_owned());
        }
        if outcome.notified.is_some_and(|notified| notified.outstanding > 0) && !is_cut_off {
            return silent("completions are outstanding".to_owned());
        }
        // The bytes that the source had, or got while references to its pages were in flight.
        let end = case.start + case.available; // it may grow, by zeros
        let sure = outcome.shrank_to.unwrap_or(whole).min(end);
        let zeros = match case.change {
            Some((_, Change::Punch { offset, length })) => case.start + offset..case.start + offset + length,
            _ => 0..0,
        };
        let source = &self.content[usize::try_from(case.start).expect("within the content")..];
        let differs = received.iter().zip(source).zip(case.start..);
        let (mut wrong, mut zeroed) = (0_u64, 0);
        for ((got, _), at) in differs.filter(|((got, was), _)| got != was) {
            let may_be_zero = at >= sure || zeros.contains(&at);
            if may_be_zero && *got == 0 {
                zeroed += 1;
            } else {
                wrong += 1;
            }
        }
        if wrong > 0 {
            return silent(format!("{wrong} bytes are others"));
        }
        Ok(Passed { bytes: outcome.bytes, told: !is_whole || delivery != Delivery::All, zeroed })
    }
}

/// Sets the flag for the other threads when the sender ends, for any reason.
struct Over<'over>(&'over AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

struct Sent {
    outcome: Outcome,
    delivery: Delivery,
    /// The sink, if it is a file. Any other sink is closed, so that its reader sees the end.
    file: Option<OwnedFd>,
    /// Of a stream: what the sink has not taken, first what had left the source, then what was still in it.
    rest: Option<Vec<u8>>,
}

/// A transfer whose source says by its type that it is a file, and one whose source is asked for.
enum Begun {
    OfFile(Transfer<File, OwnedFd>),
    OfStream(Transfer<OwnedFd, OwnedFd>),
}

impl Begun {
    fn send(self, case: &Case) -> Result<Sent, Stop> {
        match self {
            Self::OfFile(transfer) => send(case, transfer),
            Self::OfStream(transfer) => send(case, transfer),
        }
    }
}

fn send<Source: AsFd>(case: &Case, mut transfer: Transfer<Source, OwnedFd>) -> Result<Sent, Stop> {
    let source = File::from(transfer.source().as_fd().try_clone_to_owned().setup("dup")?);
    let sink = transfer.sink().try_clone().setup("dup")?;
    let mut change = case.change;
    let mut refused = match case.way {
        Way::Chosen { refused, .. } => refused,
        Way::By(_) => None,
    };
    loop {
        if let Some(Refused { line, at }) = refused
            && transfer.taken() >= at
        {
            let line = fallback::TABLE[line];
            refuse(line.call, line.errno).setup("refuse a call")?;
            refused = None;
        }
        let next = [change.map(|(at, _)| at), refused.map(|refused| refused.at)];
        let next = next.into_iter().flatten().min();
        let until_next = next.map(|at| at.saturating_sub(transfer.taken()).max(1));
        let budget = case.budget.unwrap_or(u64::MAX);
        let state = transfer.advance(until_next.unwrap_or(u64::MAX).min(budget));
        if let Some((at, what)) = change
            && transfer.taken() >= at
        {
            make(what, case, &source)?;
            change = None;
        }
        match state {
            State::Ended => break,
            State::Budget => {}
            State::Waits(wait) => transfer.wait(wait).setup("poll")?,
        }
    }
    let Parts { outcome, held, sink: own, .. } = transfer.into_parts();
    drop(own);
    let delivery = delivery::confirm(&sink).setup("wait for the receiver")?;
    let rest = case.from.map(|_| all_that_is_left(held, source)).transpose()?;
    Ok(Sent { outcome, delivery, file: (case.sink == Kind::File).then_some(sink), rest })
}

/// These bytes, and those that are still in a stream.
fn all_that_is_left(mut bytes: Vec<u8>, mut source: File) -> Result<Vec<u8>, Stop> {
    let flags = rustix::fs::fcntl_getfl(&source);
    let blocks = flags.and_then(|flags| rustix::fs::fcntl_setfl(&source, flags - OFlags::NONBLOCK));
    blocks.map_err(|error| Stop::broken(format!("O_NONBLOCK: {error}")))?;
    loop {
        match source.read_to_end(&mut bytes) {
            Ok(_) => return Ok(bytes),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Stop::broken(format!("the rest of the source: {error}"))),
        }
    }
}

fn make(change: Change, case: &Case, source: &File) -> Result<(), Stop> {
    match change {
        Change::Truncate(rest) => {
            let rest = case.start + rest.min(case.available);
            source.set_len(rest).setup("ftruncate")
        }
        Change::Grow(more) => {
            let size = source.metadata().setup("fstat")?.len();
            // Extends the file with zeros only: they are outside the range, or are the zeros that were to be sent.
            io::pwrite(source, &[0], size + more - 1).setup("pwrite").map(drop)
        }
        Change::Punch { offset, length } => io::punch(source, case.start + offset, length).setup("fallocate"),
    }
}

/// Reads to the end, or until it is to die. Returns the bytes.
fn receive(mut far: File, ways: Receiver) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; ways.at_most];
    loop {
        let more = ways.dies_after.map_or(u64::MAX, |end| end - bytes.len() as u64);
        let wanted = usize::try_from(more).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return bytes; // the rest stays unread
        }
        match far.read(&mut buffer[..wanted]) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            _ => return bytes,
        }
        if ways.is_slow {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

fn all_of(file: &OwnedFd) -> Result<Vec<u8>, Stop> {
    let size = io::status(file).setup("fstat")?.st_size;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    io::pread_full(file, &mut bytes, 0).setup("read the sink")?;
    Ok(bytes)
}
