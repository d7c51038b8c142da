//! The ledger as tables: one for each quantity, and the article's own table with the counted values.

#![forbid(unsafe_code)]

use super::{CHUNK, QUARTER, Quantity, WHOLE, fact};
use crate::grids::sheet::{Row, Sheet};
use crate::run::table::draw;
use crate::verdict::Value;
use crate::ways::methods;
use crate::ways::methods::Method;
use crate::ways::sinks::Sink;
use nocopy_transfer::Route;
use std::collections::BTreeSet;
use std::io::{self, Write};

/// The number of bytes for which costs are printed.
const GIB: u64 = 1 << 30;

/// A table: its title, and the cell for a method and a sink.
struct Table {
    title: &'static str,
    cell: fn(&Row, Sink) -> Option<String>,
}

const TABLES: &[Table] = &[
    Table {
        title: "CPU copies of each byte on the way to the sink; the receiver's read() is one more",
        cell: |row, sink| Some(value(row, sink, Quantity::Copies)?.to_string()),
    },
    Table {
        title: "the same as the kernel's copy functions count it, and the receiver's own copies",
        cell: |row, sink| {
            let sender = value(row, sink, Quantity::Counted)?;
            let receiver = value(row, sink, Quantity::CountedOfReceiver)?;
            Some(match sender {
                // The reason is printed once, below the table.
                Value::Text(text) if sender == receiver => in_short(text).to_owned(),
                _ => format!("{sender} and {receiver}"),
            })
        },
    },
    Table {
        title: "system calls of the sender for 1 GiB, from those for 4 and 16 MiB",
        cell: |row, sink| {
            let quarter = entries(row, sink, Quantity::CallsOfQuarter)?;
            let whole = entries(row, sink, Quantity::Calls)?;
            Some(for_a_gib(quarter, whole).to_string())
        },
    },
    Table {
        title: "page faults of the sender for 1 GiB, from those for 12 MiB",
        cell: |row, sink| {
            let Value::Count(faults) = value(row, sink, Quantity::Faults)? else {
                return None;
            };
            Some((faults * (GIB >> 20)).to_string())
        },
    },
    Table {
        title: "MSG_ZEROCOPY sends for 16 MiB, by their completions",
        cell: |row, sink| Some(value(row, sink, Quantity::Completions)?.to_string()),
    },
    Table {
        title: "context switches for 16 MiB, different in each run: sender slept, sender preempted, receiver woken",
        cell: |row, sink| {
            let of = |quantity| Some(value(row, sink, quantity)?.to_string());
            let (slept, preempted) = (of(Quantity::Slept)?, of(Quantity::Preempted)?);
            Some(format!("{slept} {preempted} {}", of(Quantity::Woken)?))
        },
    },
];

/// A line of the article's tables in section 3.5 and in section 6.1.
struct Claimed {
    name: &'static str,
    method: &'static str,
    /// Copies, including two by DMA: from the disk and to the network.
    copies: u64,
    /// "Context switches" of one transfer. The article means crossings between user and kernel.
    crossings: u64,
}

const CLAIMED: &[Claimed] = &[
    Claimed { name: "read+write", method: "read+write 64 KiB", copies: 4, crossings: 4 },
    Claimed { name: "mmap+write", method: "mmap+write", copies: 3, crossings: 2 },
    Claimed { name: "sendfile", method: "sendfile", copies: 2, crossings: 2 },
    Claimed { name: "splice", method: "splice, pipe 64 KiB", copies: 2, crossings: 2 },
    Claimed { name: "MSG_ZEROCOPY", method: "MSG_ZEROCOPY, memory", copies: 1, crossings: 2 },
];

fn value(row: &Row, sink: Sink, quantity: Quantity) -> Option<&Value> {
    let name = fact(sink, quantity);
    let facts = row.cells.as_ref()?.facts();
    Some(&facts.iter().find(|fact| fact.fact == name)?.value)
}

/// The number of system calls in a fact.
fn entries(row: &Row, sink: Sink, quantity: Quantity) -> Option<u64> {
    match value(row, sink, quantity)? {
        Value::Entries(calls) => Some(calls.iter().map(|(_, count)| count).sum()),
        _ => None,
    }
}

/// Extrapolates to 1 GiB: the calls of the whole, and those of the further bytes at the rate between a quarter and the whole.
fn for_a_gib(quarter: u64, whole: u64) -> u64 {
    let more = (GIB - WHOLE as u64) / (WHOLE - QUARTER) as u64;
    whole + whole.saturating_sub(quarter) * more
}

/// Writes all tables.
pub fn write(output: &mut dyn Write, sheet: &Sheet, markdown: bool) -> io::Result<()> {
    for (at, table) in TABLES.iter().enumerate() {
        if at > 0 {
            writeln!(output)?;
        }
        writeln!(output, "{}{}\n", if markdown { "### " } else { "" }, table.title)?;
        let mut lines = vec![head()];
        for row in &sheet.rows {
            let cells = Sink::ALL.iter().map(|sink| (table.cell)(row, *sink));
            let cells: Vec<Option<String>> = cells.collect();
            if at > 0 && cells.iter().all(Option::is_none) {
                continue;
            }
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".into()));
            lines.push(std::iter::once(row.row.clone()).chain(cells).collect());
        }
        draw(output, &lines, markdown)?;
    }
    for reason in reasons(sheet) {
        writeln!(output, "\n{reason}")?;
    }
    writeln!(output)?;
    document(output, sheet, markdown)
}

/// The first part of a reason: `not counted`.
fn in_short(reason: &str) -> &str {
    reason.split_once(": ").map_or(reason, |(beginning, _)| beginning)
}

/// The reasons why the kernel's functions were not counted, without duplicates.
fn reasons(sheet: &Sheet) -> BTreeSet<&str> {
    let cells = sheet.rows.iter().flat_map(|row| Sink::ALL.iter().map(move |sink| (row, *sink)));
    let texts = cells.filter_map(|(row, sink)| match value(row, sink, Quantity::Counted) {
        Some(Value::Text(text)) if in_short(text) != text => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

fn head() -> Vec<String> {
    let sinks = Sink::ALL.iter().map(|sink| sink.name().to_owned());
    std::iter::once(String::new()).chain(sinks).collect()
}

/// The article's table with the counted values, for TCP over loopback. Loopback has no disk and no network card, so it makes no
/// copy by DMA.
pub fn document(output: &mut dyn Write, sheet: &Sheet, markdown: bool) -> io::Result<()> {
    let title = "the article's table (3.5, 6.1), with what was counted to TCP over loopback";
    writeln!(output, "{}{title}\n", if markdown { "### " } else { "" })?;
    let mut lines = vec![
        [
            "",
            "copies, two by DMA",
            "by the CPU",
            "counted",
            "",
            "switches, of one transfer",
            "crossings counted for 64 KiB",
            "",
            "for 1 GiB",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for claimed in CLAIMED {
        let Some(row) = sheet.rows.iter().find(|row| row.row == claimed.method) else {
            continue;
        };
        let by_cpu = claimed.copies.saturating_sub(2);
        let copies = value(row, Sink::Tcp, Quantity::Copies);
        let calls = entries(row, Sink::Tcp, Quantity::CallsOfChunk);
        let crossings = calls.map(|calls| 2 * calls);
        let quarter = entries(row, Sink::Tcp, Quantity::CallsOfQuarter);
        let whole = entries(row, Sink::Tcp, Quantity::Calls);
        let of_gib = quarter.zip(whole).map(|(quarter, whole)| 2 * for_a_gib(quarter, whole));
        // A value that was not counted decides nothing.
        let word = |counted: Option<u64>, claimed: u64| match counted {
            Some(counted) if counted == claimed => "holds",
            Some(_) => "does not hold",
            None => "not counted",
        };
        let count = |value: &Value| match value {
            Value::Count(count) => Some(*count),
            _ => None,
        };
        let shown = |number: Option<u64>| number.map_or_else(|| "-".into(), |number| number.to_string());
        lines.push(vec![
            claimed.name.to_owned(),
            claimed.copies.to_string(),
            by_cpu.to_string(),
            copies.map_or_else(|| "-".into(), Value::to_string),
            word(copies.and_then(count), by_cpu).to_owned(),
            claimed.crossings.to_string(),
            shown(crossings),
            word(crossings, claimed.crossings).to_owned(),
            shown(of_gib),
        ]);
    }
    draw(output, &lines, markdown)
}

// The lookups above rely on this.
const _: () = {
    assert!(CHUNK == 64 << 10 && QUARTER == 4 << 20 && WHOLE == 16 << 20);
    assert!(matches!(methods::ALL[4].1, Method::Route(Route::Sendfile)));
};
