//! What the benchmark prints.

#![forbid(unsafe_code)]

use super::stats::Interval;
use super::trial::Placement;
use super::{BASE, Line, NOISE, Outcome};
use crate::grids::sheet::draw;
use crate::ledger::sinks::Sink;
use std::io::{self, Write};

/// A ratio that is expected on one processor, of 64 MiB in memory and with the congestion control reno.
struct Bar {
    sink: Sink,
    method: &'static str,
    what: &'static str,
    ratio: fn(&Line) -> Interval,
    at_least: f64,
}

const BARS: &[Bar] = &[
    Bar {
        sink: Sink::Tcp,
        method: "sendfile",
        what: "faster",
        ratio: |line| line.faster,
        at_least: 1.6,
    },
    Bar {
        sink: Sink::Tcp,
        method: "sendfile",
        what: "sender's CPU saved",
        ratio: |line| line.sender_saves,
        at_least: 3.3,
    },
    Bar {
        sink: Sink::TcpDropped,
        method: "splice, pipe 1 MiB",
        what: "faster",
        ratio: |line| line.faster,
        at_least: 2.8,
    },
    Bar {
        sink: Sink::Unix,
        method: "sendfile",
        what: "faster",
        ratio: |line| line.faster,
        at_least: 1.6,
    },
    Bar {
        sink: Sink::LargePipe,
        method: "sendfile",
        what: "faster",
        ratio: |line| line.faster,
        at_least: 2.2,
    },
    Bar {
        sink: Sink::PipeToNull,
        method: "sendfile",
        what: "faster",
        ratio: |line| line.faster,
        at_least: 6.0,
    },
];

/// The article's table of one gigabyte (3.5): milliseconds, and percent of the CPU.
const CLAIMED: &[(&str, &str, f64)] = &[
    ("read+write", BASE, 100.0),
    ("mmap+write", "mmap+write", 60.0),
    ("sendfile", "sendfile", 30.0),
    ("splice", "splice, pipe 64 KiB", 30.0),
];

/// Writes a table for each plan, the article's table, and the bars.
pub fn write(output: &mut dyn Write, outcomes: &[Outcome], markdown: bool) -> io::Result<()> {
    for outcome in outcomes {
        plan(output, outcome, markdown)?;
        writeln!(output)?;
    }
    article(output, outcomes, markdown)?;
    writeln!(output)?;
    bars(output, outcomes, markdown)
}

fn title(output: &mut dyn Write, text: &str, markdown: bool) -> io::Result<()> {
    writeln!(output, "{}{text}\n", if markdown { "### " } else { "" })
}

fn place(outcome: &Outcome) -> String {
    let processors = match outcome.placement {
        Placement::Same => "on one CPU",
        Placement::Split => "on two CPUs",
    };
    let congestion = outcome.congestion.as_ref();
    let congestion = congestion.map_or_else(String::new, |name| format!(", {name}"));
    format!("{}, {processors}{congestion}", outcome.sink)
}

fn plan(output: &mut dyn Write, outcome: &Outcome, markdown: bool) -> io::Result<()> {
    let text = format!(
        "{}: {} rounds; sendfile against itself {}{}",
        place(outcome),
        outcome.rounds,
        outcome.noise,
        if outcome.is_quiet() {
            String::new()
        } else {
            format!(": more than {NOISE} % apart, so these ratios decide nothing")
        }
    );
    title(output, &text, markdown)?;
    let head = [
        "",
        "times as fast",
        "sender's CPU saved",
        "CPU of both saved",
        "ms/GiB",
        "CPU sender",
        "CPU receiver",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for line in &outcome.lines {
        let is_base = line.method == BASE;
        let ratio = |ratio: Interval| {
            if is_base {
                "1".to_owned()
            } else {
                ratio.to_string()
            }
        };
        lines.push(vec![
            line.method.to_owned(),
            ratio(line.faster),
            ratio(line.sender_saves),
            ratio(line.both_save),
            format!("{:.0}", line.wall),
            format!("{:.0}", line.sender),
            format!("{:.0}", line.receiver),
        ]);
    }
    draw(output, &lines, markdown)
}

/// The article's table, with what was measured to TCP under each condition.
fn article(output: &mut dyn Write, outcomes: &[Outcome], markdown: bool) -> io::Result<()> {
    title(
        output,
        "the article's table of 1 GB (3.5), and what was measured to TCP over loopback, ms for 1 GiB",
        markdown,
    )?;
    let of_tcp: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| outcome.sink == Sink::Tcp.name())
        .collect();
    let mut head = vec![String::new(), "claimed".into(), "times as fast".into()];
    for outcome in &of_tcp {
        head.push(place(outcome));
        head.push("times as fast".into());
        head.push("CPU of both, % of the first".into());
    }
    let mut lines = vec![head];
    for (name, method, claimed) in CLAIMED {
        let mut line = vec![
            (*name).to_owned(),
            format!("{claimed:.0} ms, {claimed:.0} %"),
            format!("{:.2}", 100.0 / claimed),
        ];
        for outcome in &of_tcp {
            let (Some(found), Some(base)) = (outcome.find(method), outcome.find(BASE)) else {
                continue;
            };
            line.push(format!("{:.0}", found.wall));
            line.push(if *method == BASE {
                "1".into()
            } else {
                found.faster.to_string()
            });
            let both = (found.sender + found.receiver) / (base.sender + base.receiver);
            line.push(format!("{:.0}", both * 100.0));
        }
        lines.push(line);
    }
    draw(output, &lines, markdown)
}

fn bars(output: &mut dyn Write, outcomes: &[Outcome], markdown: bool) -> io::Result<()> {
    title(
        output,
        "what is expected of the lower end, on one CPU with reno",
        markdown,
    )?;
    let head = ["", "", "", "at least", "measured", ""];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for bar in BARS {
        let of_bar = |outcome: &&Outcome| {
            let is_plain = outcome
                .congestion
                .as_deref()
                .is_none_or(|name| name == "reno");
            outcome.sink == bar.sink.name() && outcome.placement == Placement::Same && is_plain
        };
        let Some(outcome) = outcomes.iter().find(of_bar) else {
            continue;
        };
        let Some(line) = outcome.find(bar.method) else {
            continue;
        };
        let ratio = (bar.ratio)(line);
        let word = match () {
            () if !outcome.is_quiet() => "too noisy to say",
            () if ratio.low >= bar.at_least => "met",
            () => "MISSED",
        };
        lines.push(vec![
            bar.sink.name().to_owned(),
            bar.method.to_owned(),
            bar.what.to_owned(),
            format!("{:.1}", bar.at_least),
            ratio.to_string(),
            word.to_owned(),
        ]);
    }
    draw(output, &lines, markdown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(low: f64, high: f64) -> Interval {
        Interval {
            low,
            median: f64::midpoint(low, high),
            high,
        }
    }

    fn outcome(noise: Interval) -> Outcome {
        let line = |method, faster| Line {
            method,
            wall: 300.0,
            sender: 100.0,
            receiver: 100.0,
            faster,
            sender_saves: interval(3.5, 4.0),
            both_save: interval(2.0, 2.5),
        };
        Outcome {
            sink: Sink::Tcp.name(),
            placement: Placement::Same,
            congestion: Some("reno".into()),
            rounds: 21,
            noise,
            lines: vec![
                line(BASE, interval(1.0, 1.0)),
                line("sendfile", interval(1.5, 1.9)),
            ],
        }
    }

    fn written(noise: Interval) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes, &[outcome(noise)], false).expect("a report");
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// The lower end decides.
    #[test]
    fn a_bar_is_met_or_missed_by_the_lower_end() {
        let text = written(interval(0.98, 1.02));
        let line = |ratio: &str, word: &str| {
            let mut lines = text.lines();
            lines.any(|line| line.contains(ratio) && line.ends_with(word))
        };
        assert!(line("1.70 [1.50-1.90]", "MISSED"), "{text}");
        assert!(line("3.75 [3.50-4.00]", "met"), "{text}");
        assert!(!text.contains("decide nothing"), "{text}");
    }

    #[test]
    fn noise_decides_nothing() {
        let text = written(interval(0.98, 1.2));
        assert!(text.contains("decide nothing"), "{text}");
        assert!(!text.contains("MISSED") && !text.contains(" met"), "{text}");
        assert_eq!(text.matches("too noisy to say").count(), 2, "{text}");
    }
}
