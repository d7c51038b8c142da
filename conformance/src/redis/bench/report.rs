//! The output of the benchmark of replicas: tables and pictures.

#![forbid(unsafe_code)]

use super::{Line, Receiver, Run, SENDERS, Taken};
use crate::bench::plots::{Picture, bars};
use crate::bench::stats::{Interval, median, ratio};
use crate::run::table::draw;
use std::error::Error;
use std::io::{self, Write};

/// The expectations for a sender: the factor by which it must take less CPU than a real master that saves a file first, and, for
/// some, the maximum of the 99th percentile of one event in milliseconds. The lower end of the factor's interval decides.
const BARS: &[(&str, f64, Option<f64>)] =
    &[("sendfile", 3.0, None), ("splice, pipe 1 MiB", 3.0, None), ("auto, 1 MiB a call", 2.0, Some(5.0))];

impl Receiver {
    /// Its printed name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Null => "replica that drops it",
            Self::Replica => "real replica",
        }
    }
}

impl Line {
    /// The median of the rounds, with the minimum and the maximum.
    fn of(&self, figure: fn(&Taken) -> f64) -> [f64; 3] {
        let mut values: Vec<f64> = self.taken.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        let ends = (values.first().copied(), values.last().copied());
        [ends.0.unwrap_or(f64::NAN), median(&values), ends.1.unwrap_or(f64::NAN)]
    }

    /// The time for which one replica was served without a break: the median of the rounds.
    fn served(&self, at: usize) -> Option<f64> {
        let values: Option<Vec<f64>> = self.taken.iter().map(|one| Some(one.served?[at])).collect();
        values.map(|values| median(&values))
    }

    /// The factor by which it takes less CPU than another, round by round.
    fn saves(&self, master: &Self) -> Interval {
        let rounds = master.taken.iter().zip(&self.taken);
        ratio(&rounds.map(|(one, own)| (one.cpu, own.cpu)).collect::<Vec<_>>())
    }

    /// The expectation for it, and whether it was met.
    fn judged(&self, master: &Self) -> (String, &'static str) {
        let bar = BARS.iter().find(|(name, ..)| *name == self.sender);
        bar.map_or((String::new(), ""), |(_, times, limit)| {
            let is_short = limit.is_none_or(|limit| self.served(0).is_some_and(|most| most < limit));
            let is_met = self.saves(master).low >= *times && is_short;
            let limit = limit.map_or_else(String::new, |limit| format!(", under {limit:.0} ms"));
            (format!("at least {times:.1}{limit}"), if is_met { "met" } else { "MISSED" })
        })
    }
}

impl Run {
    fn to(&self, receiver: Receiver) -> Vec<&Line> {
        let lines = self.lines.iter();
        lines.filter(|line| line.receiver == receiver).collect()
    }

    fn of(&self, sender: &str, receiver: Receiver) -> Option<&Line> {
        let lines = self.to(receiver);
        lines.into_iter().find(|line| line.sender == sender)
    }

    fn caption(&self) -> String {
        format!("{}; {}, {} bytes, {}", self.on, self.server, self.length, self.on.congestion)
    }
}

/// Writes a table for each receiver, with the expectations.
pub fn write(output: &mut dyn Write, run: &Run, markdown: bool) -> io::Result<()> {
    let [before, after] = &run.on.load;
    let rounds = run.lines.first().map_or(0, |line| line.taken.len());
    writeln!(
        output,
        "{}; {}, {} bytes, {rounds} rounds; congestion control {}; load average {before} before, {after} after\n",
        run.on, run.server, run.length, run.on.congestion
    )?;
    for receiver in [Receiver::Null, Receiver::Replica] {
        let lines = run.to(receiver);
        let Some(master) = lines.first() else {
            continue;
        };
        let heading = if markdown { "### " } else { "" };
        writeln!(output, "{heading}to a {}\n", receiver.word())?;
        let head = ["", "sender's CPU, s", "times less", "one event, ms: 99 %", "longest", "expected", ""];
        let mut table = vec![head.map(str::to_owned).to_vec()];
        for line in &lines {
            let [least, cpu, most] = line.of(|one| one.cpu);
            let event = |at| line.served(at).map_or_else(|| "-".to_owned(), |time| format!("{time:.2}"));
            let (expected, word) = line.judged(master);
            table.push(vec![
                line.sender.clone(),
                format!("{cpu:.3} ({least:.3}-{most:.3})"),
                line.saves(master).to_string(),
                event(0),
                event(1),
                expected,
                word.to_owned(),
            ]);
        }
        draw(output, &table, markdown)?;
        writeln!(output)?;
    }
    Ok(())
}

/// Writes the table for operators, of two runs with different congestion controls.
pub fn summary(output: &mut dyn Write, run: &Run, other: &Run) -> io::Result<()> {
    let (one, two) = (&run.on.congestion, &other.on.congestion);
    let head = [
        String::new(),
        "sender's CPU, s".to_owned(),
        format!("times less, {one}"),
        two.clone(),
        format!("to one that drops it, {one}"),
        two.clone(),
        "longest event, ms".to_owned(),
    ];
    let mut table = vec![head.to_vec()];
    for (name, _) in SENDERS {
        let saves = |run: &Run, receiver| {
            let both = run.of(name, receiver).zip(run.to(receiver).first().copied());
            both.map_or_else(String::new, |(line, master)| line.saves(master).to_string())
        };
        let (loads, drops) = (Receiver::Replica, Receiver::Null);
        let cpu = run.of(name, loads).map(|line| line.of(|one| one.cpu)[1]);
        let longest = run.of(name, drops).and_then(|line| line.served(1));
        table.push(vec![
            (*name).to_owned(),
            cpu.map_or_else(String::new, |cpu| format!("{cpu:.2}")),
            saves(run, loads),
            saves(other, loads),
            saves(run, drops),
            saves(other, drops),
            longest.map_or_else(|| "-".to_owned(), |time| format!("{time:.1}")),
        ]);
    }
    draw(output, &table, true)
}

/// A picture for each receiver.
pub fn pictures(run: &Run) -> Result<Vec<Picture>, Box<dyn Error>> {
    let receivers = [(Receiver::Null, "null.svg"), (Receiver::Replica, "replica.svg")];
    let drawn = receivers.into_iter().filter_map(|(receiver, name)| {
        let lines = run.to(receiver);
        let rows: Vec<_> = lines.iter().map(|line| (line.sender.clone(), line.of(|one| one.cpu))).collect();
        let title = format!("seconds of the sender's CPU, to a {}", receiver.word());
        (!rows.is_empty()).then(|| Ok((name, bars(&title, &run.caption(), &rows)?)))
    });
    drawn.collect()
}
