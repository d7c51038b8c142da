//! The ledger: what each way of sending costs, counted and not timed.
//!
//! A row is a [`Method`], an experiment for the [runner](crate::runner); its facts are named after a [`Sink`] and a [`Quantity`]. So
//! a ledger is a grid, kept, compared and made in guests as the others are, and [`table`] lays it out as people read it.

pub mod table;

use crate::claim::Claim;
use crate::grids::attempt::ignore_sigpipe;
use crate::grids::grid::{Grid, recorded};
use crate::grids::sheet::Sheet;
use crate::interpose::record::aside;
use crate::lab::alias::{self, Sharing};
use crate::lab::copied::{Sender, Watch};
use crate::lab::usage::Usage;
use crate::lab::{Lab, io, netns, pattern};
use crate::process;
use crate::routes::Route;
use crate::verdict::{Lack, Observation, Setup, Stop, Value, Verdict};
use crate::ways::methods::{self, Method, Refused};
use crate::ways::sinks::{Receiver, Sink};

/// How much is sent at once where the article speaks of one transfer.
pub const CHUNK: usize = 64 << 10;
/// What is sent besides, a quarter of [`WHOLE`]: what costs twice as much for twice the bytes is told from what is paid once.
pub const QUARTER: usize = WHOLE / 4;
/// What is sent.
pub const WHOLE: usize = 16 << 20;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// CPU copies of each byte on the way from the source to the sink: was the page shared? Of [`alias::LENGTH`] bytes.
    Copies,
    /// The same as the kernel's copy functions count it for [`QUARTER`], to a socket, in a guest.
    Counted,
    /// What they count of the receiver.
    CountedOfReceiver,
    /// System calls of the sender for [`CHUNK`].
    CallsOfChunk,
    /// System calls of the sender for [`QUARTER`].
    CallsOfQuarter,
    /// System calls of the sender for [`WHOLE`].
    Calls,
    /// Page faults of the sender for each MiB: by where a mapping comes to stand, one more or less.
    Faults,
    /// `MSG_ZEROCOPY` sends for [`WHOLE`], and what their completions say.
    Completions,
    /// System calls by which the sender waits for completions and reads them, for [`WHOLE`]: how many come together differs.
    CompletionCalls,
    /// Times that the sender went to sleep.
    Slept,
    /// Times that the sender lost the processor.
    Preempted,
    /// Times that the receiver was woken.
    Woken,
}

impl Quantity {
    /// Every one, in the order of the tables.
    pub const ALL: &[Self] = &[
        Self::Copies,
        Self::Counted,
        Self::CountedOfReceiver,
        Self::CallsOfChunk,
        Self::CallsOfQuarter,
        Self::Calls,
        Self::Faults,
        Self::Completions,
        Self::CompletionCalls,
        Self::Slept,
        Self::Preempted,
        Self::Woken,
    ];

    /// What it is called behind the sink, in the name of a fact.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copies => "copies",
            Self::Counted => "copies counted",
            Self::CountedOfReceiver => "receiver's copies counted",
            Self::CallsOfChunk => "calls for 64 KiB",
            Self::CallsOfQuarter => "calls for 4 MiB",
            Self::Calls => "calls for 16 MiB",
            Self::Faults => "page faults per MiB",
            Self::Completions => "completions",
            Self::CompletionCalls => "calls for completions",
            Self::Slept => "sender slept",
            Self::Preempted => "sender preempted",
            Self::Woken => "receiver woken",
        }
    }

    /// Whether it differs from run to run.
    pub const fn varies(self) -> bool {
        matches!(
            self,
            Self::Faults | Self::CompletionCalls | Self::Slept | Self::Preempted | Self::Woken
        )
    }

    /// The quantity of a fact's name.
    pub fn of_fact(fact: &str) -> Option<Self> {
        let (_, name) = fact.split_once(": ")?;
        Self::ALL.iter().copied().find(|other| other.name() == name)
    }
}

/// The name of a fact.
pub fn fact(sink: Sink, quantity: Quantity) -> String {
    format!("{}: {}", sink.name(), quantity.name())
}

/// Every method × every sink.
pub const LEDGER: Grid = Grid {
    name: "ledger",
    what: "way of sending",
    rows: ROWS,
    on_disks: false,
    // How mappings are aligned decides how often they fault.
    prepare: process::fix_addresses,
    varies: |column| Quantity::of_fact(column).is_some_and(Quantity::varies),
    tidy: apart,
    disagreements,
    records: recorded!("ledger"),
};

/// The facts, with the calls that are made for completions apart from those that send.
fn apart(seen: &Observation) -> Observation {
    const FOR_COMPLETIONS: [&str; 3] = ["poll", "recvmsg", "restart_syscall"];
    let mut apart = Observation::new();
    for fact in seen.facts() {
        let Value::Entries(calls) = &fact.value else {
            apart.push(fact.fact.clone(), fact.value.clone());
            continue;
        };
        let is_for_completions =
            |(name, _): &&(String, u64)| FOR_COMPLETIONS.contains(&name.as_str());
        let (reads, sends): (Vec<_>, Vec<_>) = calls.iter().partition(is_for_completions);
        apart.push(
            fact.fact.clone(),
            Value::Entries(sends.into_iter().cloned().collect()),
        );
        let whole = fact.fact.strip_suffix(Quantity::Calls.name());
        if let Some(sink) = whole.filter(|_| !reads.is_empty()) {
            let name = format!("{sink}{}", Quantity::CompletionCalls.name());
            apart.push(name, Value::Entries(reads.into_iter().cloned().collect()));
        }
    }
    apart
}

/// What the sinks need.
const MODULES: &[&str] = &["veth", "dummy", "vsock_loopback"];

macro_rules! rows {
    ($($at:literal)*) => {
        /// Two experiments per method: under a tracer calls are counted, and without one what a tracer changes.
        const ROWS: &[Claim] = &[$(
            Claim {
                statement: methods::ALL[$at].0,
                traced: true,
                modules: MODULES,
                ..Claim::new(concat!("ledger: ", $at), row::<$at, true>, |_| Verdict::Holds)
            },
            Claim {
                statement: methods::ALL[$at].0,
                modules: MODULES,
                ..Claim::new(concat!("ledger: ", $at, " untraced"), row::<$at, false>, |_| Verdict::Holds)
            },
        )*];
    };
}
rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
const _: () = assert!(
    ROWS.len() == 2 * methods::ALL.len(),
    "every method has a row"
);

/// What is needed once, as a page or two more of the heap, is not what the bytes cost.
const ONCE: u64 = 2;

/// The row of the method with this number.
fn row<const AT: usize, const TRACED: bool>(lab: &Lab) -> Result<Observation, Stop> {
    ignore_sigpipe()?;
    let (_, method) = methods::ALL[AT];
    let content = pattern(WHOLE);
    let source = lab.file(&content)?;
    let mut seen = Observation::new();
    for sink in Sink::ALL {
        if let Err(refused) = method.is_for(*sink) {
            if TRACED {
                seen.text(fact(*sink, Quantity::Copies), refused);
            }
            continue;
        }
        // Every method finds it there or not.
        if let Err(Stop::Untestable(_)) = aside(|| sink.open(lab)) {
            if TRACED {
                seen.text(fact(*sink, Quantity::Copies), "not here");
            }
            continue;
        }
        let account = Account {
            lab,
            method: method.within(*sink),
            sink: *sink,
            source: &source,
            content: &content,
            is_traced: TRACED,
        };
        if TRACED {
            account.count(&mut seen)?;
        } else {
            account.watch(&mut seen)?;
        }
    }
    Ok(seen)
}

/// One method and one sink.
struct Account<'row> {
    lab: &'row Lab,
    method: Method,
    sink: Sink,
    source: &'row std::fs::File,
    content: &'row [u8],
    is_traced: bool,
}

/// What one transfer was.
struct Sent {
    calls: Value,
    usage: Usage,
    woken: u64,
    completions: Option<String>,
}

impl Account<'_> {
    /// What a tracer counts.
    fn count(&self, seen: &mut Observation) -> Result<(), Stop> {
        let mut note = |quantity, value| {
            seen.push(fact(self.sink, quantity), value);
        };
        let copies = match self.copies() {
            Err(Refused::By(what)) => {
                note(Quantity::Copies, Value::Text(what));
                return Ok(());
            }
            Err(Refused::Stop(stop)) => return Err(stop),
            Ok(copies) => copies,
        };
        note(Quantity::Copies, copies);
        if self.sink.is_socket() {
            let (sender, receiver) = self.counted()?;
            note(Quantity::Counted, sender);
            note(Quantity::CountedOfReceiver, receiver);
        }
        note(Quantity::CallsOfChunk, self.send(CHUNK)?.calls);
        let quarter = self.send(QUARTER)?;
        note(Quantity::CallsOfQuarter, quarter.calls);
        let whole = self.send(WHOLE)?;
        note(Quantity::Calls, whole.calls);
        if let Some(completions) = whole.completions {
            note(Quantity::Completions, Value::Text(completions));
        }
        Ok(())
    }

    /// What a tracer would change.
    fn watch(&self, seen: &mut Observation) -> Result<(), Stop> {
        if let Err(Refused::By(_)) = self.copies() {
            return Ok(());
        }
        let faults = |length| -> Result<u64, Stop> {
            let (one, other) = (self.send(length)?.usage, self.send(length)?.usage);
            Ok(one.minor_faults.min(other.minor_faults))
        };
        let faults = (faults(WHOLE)? + ONCE).saturating_sub(faults(QUARTER)?);
        let faults = faults / ((WHOLE - QUARTER) >> 20) as u64;
        let whole = self.send(WHOLE)?;
        // Datagrams are mapped one by one, and how often each faults depends on where it comes to stand.
        if !self.sink.is_lost() {
            seen.count(fact(self.sink, Quantity::Faults), faults);
        }
        for (quantity, count) in [
            (Quantity::Slept, whole.usage.voluntary),
            (Quantity::Preempted, whole.usage.involuntary),
            (Quantity::Woken, whole.woken),
        ] {
            seen.count(fact(self.sink, quantity), count);
        }
        Ok(())
    }

    /// How many of the hops from the source to the sink copied.
    fn copies(&self) -> Result<Value, Refused> {
        let hops = self.method.hops(self.lab, self.sink)?;
        if self.sink.is_lost() {
            return Ok(Value::Text("not seen".into()));
        }
        if hops.contains(&Sharing::Mixed) {
            return Ok(Value::Text("partly shared".into()));
        }
        let copied = hops.iter().filter(|hop| **hop == Sharing::Copied);
        Ok(Value::Count(copied.count() as u64))
    }

    /// Copies of each byte by sender and receiver, as the kernel's functions count them.
    fn counted(&self) -> Result<(Value, Value), Stop> {
        let sender = Sender {
            reads: matches!(self.method, Method::Route(Route::ReadWrite { .. })),
            is_unix: self.sink == Sink::Unix,
            by_workers: matches!(self.method, Method::Uring(_)),
        };
        let watch = if netns::is_disposable() {
            aside(|| Watch::begin(sender, self.source))
        } else {
            Err(Stop::untestable(
                Lack::Device,
                "not here",
                "run it in a guest",
            ))
        };
        let watch = match watch {
            Err(Stop::Untestable(reason)) => {
                return Ok((Value::Text(reason.what.clone()), Value::Text(reason.what)));
            }
            watch => watch?,
        };
        self.send(QUARTER)?;
        let copied = aside(|| watch.end())?;
        Ok((per_byte(copied.sending), per_byte(copied.receiving)))
    }

    /// Sends the first `length` bytes of the source, and has every byte compared at the other end.
    fn send(&self, length: usize) -> Result<Sent, Stop> {
        let ends = aside(|| self.sink.open(self.lab))?;
        let receiver =
            Receiver::start(self.sink, ends.far, &self.content[..length], self.is_traced);
        let mut transfer = self
            .method
            .begin(self.source, &ends.near, &self.content[..length])?;
        // So that the completions, which may come one by one, find memory that has been used before.
        drop(std::hint::black_box(vec![1_u8; 100 << 10]));
        let before = Usage::now();
        let (calls, sent) = self.lab.entries(|| transfer.drive());
        let usage = Usage::now().since(before);
        sent.setup("send")?;
        let notified = transfer.end()?;
        if receiver.is_none() && !self.sink.is_lost() {
            let mut bytes = vec![0; length + 1];
            let came = io::pread_full(&ends.near, &mut bytes, 0).setup("read what was written")?;
            if bytes[..came] != self.content[..length] {
                let said = format!("the file has other bytes, {came} of {length}");
                return Err(Stop::broken(said));
            }
        }
        drop(ends.near);
        let woken = receiver.map_or(Ok(0), Receiver::end)?;
        Ok(Sent {
            calls,
            usage,
            woken,
            completions: notified.map(|of| format!("{} of {} copied", of.copied, of.sends)),
        })
    }
}

/// Where the two ways of counting copies, by sharing and by the kernel's functions, do not agree: a sentence each. One of them is wrong
/// then, and nothing that the ledger says of copies is to be believed. What one of them does not count is not compared.
pub fn disagreements(sheet: &Sheet) -> Vec<String> {
    let mut found = Vec::new();
    for row in &sheet.rows {
        let Some(cells) = &row.cells else { continue };
        let value = |sink, quantity| {
            let name = fact(sink, quantity);
            let known = cells.facts().iter().find(|fact| fact.fact == name)?;
            number(&known.value)
        };
        for sink in Sink::ALL {
            let is_read = !matches!(sink, Sink::TcpDropped | Sink::Udp);
            let receiver = Some(f64::from(u8::from(is_read)));
            for (whose, by_sharing, by_functions) in [
                ("", value(*sink, Quantity::Copies), Quantity::Counted),
                ("the receiver's ", receiver, Quantity::CountedOfReceiver),
            ] {
                if let Some(shared) = by_sharing
                    && let Some(counted) = value(*sink, by_functions)
                    && (shared - counted).abs() > f64::EPSILON
                {
                    found.push(format!(
                        "{} to {}: {whose}copies are {shared} by what is shared, and {counted} by the kernel's copy functions",
                        row.row,
                        sink.name()
                    ));
                }
            }
        }
    }
    found
}

/// A count, or the fraction that [`per_byte`] says.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Count(count) => u32::try_from(*count).ok().map(f64::from),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// So many times [`QUARTER`]: a number where it is one, but for a few bytes that others have copied, or twice.
fn per_byte(bytes: u64) -> Value {
    let hundredths = (bytes * 100 + QUARTER as u64 / 2) / QUARTER as u64;
    match (hundredths / 100, hundredths % 100) {
        (whole, 0..=10) => Value::Count(whole),
        (whole, 90..) => Value::Count(whole + 1),
        (whole, rest) => Value::Text(format!("{whole}.{rest:02}")),
    }
}

/// What the article's numbers are about is as long as what shows that it was shared.
const _: () = assert!(alias::LENGTH <= CHUNK, "a pipe holds it");
