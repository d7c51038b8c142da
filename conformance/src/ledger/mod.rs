//! The ledger: the cost of each way of sending, counted and not timed.
//!
//! A row is a [`Method`], and an experiment for the [runner](crate::runner). Its facts are named after a [`Sink`] and a
//! [`Quantity`]. So a ledger is a grid: it is stored, compared and made in guests like the other grids. [`table`] prints it for
//! people.

pub mod table;

use crate::claim::Claim;
use crate::fixtures;
use crate::grids::attempt::ignore_sigpipe;
use crate::grids::grid::Grid;
use crate::grids::sheet::Sheet;
use crate::interpose::record::aside;
use crate::lab::alias::{self, Sharing};
use crate::lab::copied::{Sender, Watch};
use crate::lab::usage::Usage;
use crate::lab::{Lab, io, netns, pattern};
use crate::verdict::{Lack, Observation, Setup, Stop, Value};
use crate::ways::methods::{self, Method, Refused};
use crate::ways::sinks::{Receiver, Sink};
use nocopy_host::process;
use nocopy_transfer::Route;

/// The length of one transfer for the article's numbers.
pub const CHUNK: usize = 64 << 10;
/// The length of a second transfer, a quarter of [`WHOLE`]. The difference between both separates the costs per byte from the
/// costs that are paid once.
pub const QUARTER: usize = WHOLE / 4;
/// The length of a transfer.
pub const WHOLE: usize = 16 << 20;

/// A quantity that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// CPU copies of each byte on the way from the source to the sink. Sharing decides this: see [`alias`]. Of [`alias::LENGTH`]
    /// bytes.
    Copies,
    /// The same by the kernel's copy functions, for [`QUARTER`] bytes, to a socket, in a guest.
    Counted,
    /// The copies of the receiver by the kernel's copy functions.
    CountedOfReceiver,
    /// System calls of the sender for [`CHUNK`] bytes.
    CallsOfChunk,
    /// System calls of the sender for [`QUARTER`] bytes.
    CallsOfQuarter,
    /// System calls of the sender for [`WHOLE`] bytes.
    Calls,
    /// Page faults of the sender for each MiB. The address of a mapping can change the number by one.
    Faults,
    /// `MSG_ZEROCOPY` sends for [`WHOLE`] bytes, and how many of them their completions report as copied.
    Completions,
    /// System calls by which the sender waits for completions and reads them, for [`WHOLE`] bytes. The number of completions that
    /// come together differs.
    CompletionCalls,
    /// Times that the sender went to sleep.
    Slept,
    /// Times that the sender lost the processor.
    Preempted,
    /// Times that the receiver was woken.
    Woken,
}

impl Quantity {
    /// Every quantity, in the order of the tables.
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

    /// The name after the sink, in the name of a fact.
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
        matches!(self, Self::Faults | Self::CompletionCalls | Self::Slept | Self::Preempted | Self::Woken)
    }

    /// The quantity in the name of a fact.
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
    // The alignment of mappings decides how often they fault.
    prepare: process::fix_addresses,
    varies: |column| Quantity::of_fact(column).is_some_and(Quantity::varies),
    tidy: apart,
    disagreements,
    records: fixtures::LEDGER,
};

/// Separates the calls for completions from the calls that send.
fn apart(seen: &Observation) -> Observation {
    const FOR_COMPLETIONS: [&str; 3] = ["ppoll", "recvmsg", "restart_syscall"];
    let mut apart = Observation::new();
    for fact in seen.facts() {
        let Value::Entries(calls) = &fact.value else {
            apart.push(fact.fact.clone(), fact.value.clone());
            continue;
        };
        let is_for_completions = |(name, _): &&(String, u64)| FOR_COMPLETIONS.contains(&name.as_str());
        let (reads, sends): (Vec<_>, Vec<_>) = calls.iter().partition(is_for_completions);
        apart.push(fact.fact.clone(), Value::Entries(sends.into_iter().cloned().collect()));
        let whole = fact.fact.strip_suffix(Quantity::Calls.name());
        if let Some(sink) = whole.filter(|_| !reads.is_empty()) {
            let name = format!("{sink}{}", Quantity::CompletionCalls.name());
            apart.push(name, Value::Entries(reads.into_iter().cloned().collect()));
        }
    }
    apart
}

/// The modules that the sinks need.
const MODULES: &[&str] = &["veth", "dummy", "vsock_loopback"];

macro_rules! rows {
    ($($at:literal)*) => {
        /// Two experiments for each method. With a tracer it counts calls. Without one it counts what a tracer would change.
        const ROWS: &[Claim] = &[$(
            Claim {
                statement: methods::ALL[$at].0,
                traced: true,
                modules: MODULES,
                ..Claim::observing(concat!("ledger: ", $at), row::<$at, true>)
            },
            Claim {
                statement: methods::ALL[$at].0,
                modules: MODULES,
                ..Claim::observing(concat!("ledger: ", $at, " untraced"), row::<$at, false>)
            },
        )*];
    };
}
rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
const _: () = assert!(ROWS.len() == 2 * methods::ALL.len(), "every method has a row");

/// A cost that is paid once, such as one or two pages of the heap, is not a cost of the bytes.
const ONCE: u64 = 2;

/// The row of the method with this index.
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
        // The sink is missing for every method or for none.
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

/// The results of one transfer.
struct Sent {
    calls: Value,
    usage: Usage,
    woken: u64,
    completions: Option<String>,
}

impl Account<'_> {
    /// Notes the quantities that need a tracer, or that a tracer does not change.
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
        let mut quarter = None;
        if self.sink.is_socket() {
            let (sender, receiver, sent) = self.counted()?;
            note(Quantity::Counted, sender);
            note(Quantity::CountedOfReceiver, receiver);
            quarter = sent;
        }
        note(Quantity::CallsOfChunk, self.send(CHUNK)?.calls);
        let quarter = quarter.map_or_else(|| self.send(QUARTER), Ok)?;
        note(Quantity::CallsOfQuarter, quarter.calls);
        let whole = self.send(WHOLE)?;
        note(Quantity::Calls, whole.calls);
        if let Some(completions) = whole.completions {
            note(Quantity::Completions, Value::Text(completions));
        }
        Ok(())
    }

    /// Notes the quantities that a tracer would change.
    fn watch(&self, seen: &mut Observation) -> Result<(), Stop> {
        if let Err(Refused::By(_)) = self.copies() {
            return Ok(());
        }
        let faults = |one: &Sent, other: &Sent| one.usage.minor_faults.min(other.usage.minor_faults);
        let of_whole = (self.send(WHOLE)?, self.send(WHOLE)?);
        let of_quarter = (self.send(QUARTER)?, self.send(QUARTER)?);
        let whole = &of_whole.1;
        let of_both = (faults(&of_whole.0, whole), faults(&of_quarter.0, &of_quarter.1));
        let faults = (of_both.0 + ONCE).saturating_sub(of_both.1) / ((WHOLE - QUARTER) >> 20) as u64;
        // Datagrams are mapped one by one, and the address of each mapping decides how often it faults.
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

    /// The number of hops from the source to the sink that copied the bytes.
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

    /// The copies of each byte by the sender and by the receiver, as the kernel's functions count them, and the transfer.
    fn counted(&self) -> Result<(Value, Value, Option<Sent>), Stop> {
        let sender = Sender {
            reads: matches!(self.method, Method::Route(Route::ReadWrite { .. })),
            is_unix: self.sink == Sink::Unix,
            by_workers: matches!(self.method, Method::Uring(_)),
        };
        let watch = if netns::is_disposable() {
            aside(|| Watch::begin(sender, self.source))
        } else {
            Err(Stop::untestable(Lack::Device, "not here", "run it in a guest"))
        };
        let watch = match watch {
            Err(Stop::Untestable(reason)) => {
                return Ok((Value::Text(reason.what.clone()), Value::Text(reason.what), None));
            }
            watch => watch?,
        };
        let sent = self.send(QUARTER)?;
        let copied = aside(|| watch.end())?;
        Ok((per_byte(copied.sending), per_byte(copied.receiving), Some(sent)))
    }

    /// Sends the first `length` bytes of the source. The receiver compares every byte.
    fn send(&self, length: usize) -> Result<Sent, Stop> {
        let ends = aside(|| self.sink.open(self.lab))?;
        let receiver = Receiver::start(self.sink, ends.far, &self.content[..length], self.is_traced);
        let mut transfer = self.method.begin(self.source, &ends.near, &self.content[..length])?;
        // The completions may arrive one by one. This makes them use memory that has been touched before.
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

/// The contradictions between the two ways to count copies, by sharing and by the kernel's functions, one sentence each. If there
/// is one, one of the two is wrong, and no number of copies in the ledger can be trusted. A quantity that only one of them counts
/// is not compared.
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

/// A count, or the fraction that [`per_byte`] writes.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Count(count) => u32::try_from(*count).ok().map(f64::from),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// The ratio of `bytes` to [`QUARTER`]. It is rounded to a whole number within a tenth of one, because other code copies a few
/// bytes, and a few are copied twice.
fn per_byte(bytes: u64) -> Value {
    let hundredths = (bytes * 100 + QUARTER as u64 / 2) / QUARTER as u64;
    match (hundredths / 100, hundredths % 100) {
        (whole, 0..=10) => Value::Count(whole),
        (whole, 90..) => Value::Count(whole + 1),
        (whole, rest) => Value::Text(format!("{whole}.{rest:02}")),
    }
}

/// The transfer that shows sharing is not longer than the one for the article's numbers.
const _: () = assert!(alias::LENGTH <= CHUNK, "a pipe holds it");
