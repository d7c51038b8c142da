//! The report of the benchmark.

#![forbid(unsafe_code)]

use super::plans::{BASE, CONGESTION, size};
use super::stats::Interval;
use crate::bench::plan::{Kind, Placement};
use crate::bench::run::{Line, NOISE, Outcome, Run};
use crate::run::table::draw;
use crate::ways::sinks::Sink;
use std::io::{self, Write};

/// An expected ratio on one processor, for 64 MiB in memory and the congestion control reno.
struct Bar {
    kind: Kind,
    sink: Sink,
    name: &'static str,
    what: &'static str,
    ratio: fn(&Line) -> Interval,
    expected: Expected,
}

/// The expected value of a ratio.
#[derive(Clone, Copy)]
enum Expected {
    /// The lower end of the interval is at least this.
    AtLeast(f64),
    /// The interval is between these.
    Between(f64, f64),
}

const FASTER: (&str, fn(&Line) -> Interval) = ("times as fast", |line| line.faster);
const SENDER_SAVES: (&str, fn(&Line) -> Interval) = ("sender's CPU saved", |line| line.sender_saves);

const fn at_least(
    sink: Sink,
    name: &'static str,
    (what, ratio): (&'static str, fn(&Line) -> Interval),
    bar: f64,
) -> Bar {
    Bar { kind: Kind::Ways, sink, name, what, ratio, expected: Expected::AtLeast(bar) }
}

/// A wrapper of the same system call.
const fn as_fast(name: &'static str) -> Bar {
    let (what, ratio) = FASTER;
    Bar { kind: Kind::Peers, sink: Sink::Tcp, name, what, ratio, expected: Expected::Between(0.95, 1.05) }
}

const BARS: &[Bar] = &[
    at_least(Sink::Tcp, "sendfile", FASTER, 1.6),
    at_least(Sink::Tcp, "sendfile", SENDER_SAVES, 3.3),
    at_least(Sink::TcpDropped, "splice, pipe 1 MiB", FASTER, 2.8),
    at_least(Sink::Unix, "sendfile", FASTER, 1.6),
    at_least(Sink::LargePipe, "sendfile", FASTER, 2.2),
    at_least(Sink::PipeToNull, "sendfile", FASTER, 6.0),
    at_least(Sink::Udp, "MSG_ZEROCOPY of huge pages", SENDER_SAVES, 2.0),
    as_fast("libc"),
    as_fast("rustix"),
    as_fast("nix"),
    // Against a loop by hand, in the same run.
    Bar {
        kind: Kind::Peers,
        sink: Sink::Tcp,
        name: "nocopy-transfer, shared",
        what: FASTER.0,
        ratio: FASTER.1,
        expected: Expected::AtLeast(0.95),
    },
];

/// The article's table of one gigabyte (3.5). The number is both the milliseconds and the percentage of CPU.
const CLAIMED: &[(&str, &str, f64)] = &[
    ("read+write", BASE, 100.0),
    ("mmap+write", "mmap+write", 60.0),
    ("sendfile", "sendfile", 30.0),
    ("splice", "splice, pipe 64 KiB", 30.0),
];

/// Writes a table for each plan, the article's table, and the bars.
pub fn write(output: &mut dyn Write, run: &Run, markdown: bool) -> io::Result<()> {
    for outcome in &run.outcomes {
        plan(output, outcome, markdown)?;
        writeln!(output)?;
    }
    choices(output, &run.outcomes, markdown)?;
    title(output, ARTICLE, markdown)?;
    article(output, run, markdown)?;
    writeln!(output)?;
    bars(output, &run.outcomes, markdown)?;
    writeln!(output)?;
    for missing in &run.missing {
        writeln!(output, "not measured: {missing}")?;
    }
    writeln!(output, "{}", conditions(run))
}

const ARTICLE: &str = "the article's table of 1 GB (3.5), and what was measured to TCP over loopback, ms for 1 GiB";

pub(super) fn title(output: &mut dyn Write, text: &str, markdown: bool) -> io::Result<()> {
    writeln!(output, "{}{text}\n", if markdown { "### " } else { "" })
}

/// The machine of the run, its settings and its load.
fn conditions(run: &Run) -> String {
    let [before, after] = &run.on.load;
    let speeds: Vec<String> =
        run.memory.iter().map(|(bytes, speed)| format!("{speed:.1} GB/s in blocks of {}", size(*bytes))).collect();
    let memory = if speeds.is_empty() { String::new() } else { format!("; memory is copied at {}", speeds.join(", ")) };
    format!(
        "{}; a file of tmpfs (to a file: of its file system), {}; the system's congestion control is {}; load average \
         {before} before, {after} after{memory}",
        run.on,
        if run.is_locked { "locked in memory" } else { "not locked: RLIMIT_MEMLOCK" },
        run.on.congestion,
    )
}

/// The processors and the congestion control of a plan.
fn circumstances(outcome: &Outcome, own: &str) -> String {
    let processors = match outcome.placement {
        Placement::Same => "one CPU",
        Placement::Split => "two CPUs",
    };
    match &outcome.congestion {
        Some(name) => format!("{processors}, {name}"),
        None if outcome.sink == Sink::Tcp.name() && !own.is_empty() => {
            format!("{processors}, {own}")
        }
        None => processors.to_owned(),
    }
}

/// What a plan compares: its purpose, sink and size, and under what circumstances.
pub(super) fn heading(outcome: &Outcome) -> String {
    let what = match outcome.kind {
        Kind::Ways => "",
        Kind::Size => "files of one size, ",
        Kind::Pipe => "pipes, ",
        Kind::Chunk => "so much with one call, ",
        Kind::Peers => "what others have written, ",
        Kind::Relays => "from one connection to another, ",
    };
    let often = match outcome.repeat {
        1 => String::new(),
        repeat => format!(" {repeat} times"),
    };
    format!("{what}{} of {}{often}, {}", outcome.sink, size(outcome.length), circumstances(outcome, ""))
}

fn plan(output: &mut dyn Write, outcome: &Outcome, markdown: bool) -> io::Result<()> {
    let text = format!(
        "{}: {} rounds; {} against itself {}{}",
        heading(outcome),
        outcome.rounds,
        outcome.twice,
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
        "GB/s",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for (at, line) in outcome.lines.iter().enumerate() {
        let ratio = |ratio: Interval| match at {
            0 => "1".to_owned(),
            _ => ratio.to_string(),
        };
        lines.push(vec![
            line.name.clone(),
            ratio(line.faster),
            ratio(line.sender_saves),
            ratio(line.both_save),
            format!("{:.0}", line.wall),
            format!("{:.0}", line.sender),
            format!("{:.0}", line.receiver),
            format!("{:.2}", line.speed()),
        ]);
    }
    draw(output, &lines, markdown)?;
    if outcome.kind == Kind::Relays { relays(output, outcome) } else { Ok(()) }
}

/// The results for TCP with the largest file, one for each condition.
fn to_tcp(run: &Run) -> Vec<&Outcome> {
    let is_ways = |outcome: &&Outcome| outcome.kind == Kind::Ways && outcome.sink == Sink::Tcp.name();
    let of_tcp: Vec<&Outcome> = run.outcomes.iter().filter(is_ways).collect();
    let under = |outcome: &Outcome| (outcome.placement, outcome.congestion.clone());
    let is_largest = |outcome: &&&Outcome| {
        let larger = |other: &&Outcome| under(other) == under(outcome) && other.length > outcome.length;
        !of_tcp.iter().any(larger)
    };
    of_tcp.iter().filter(is_largest).copied().collect()
}

/// The article's table with the results for TCP under each condition, and a sentence about each claimed ratio.
pub fn article(output: &mut dyn Write, run: &Run, markdown: bool) -> io::Result<()> {
    let of_tcp = to_tcp(run);
    let mut head = vec![String::new(), "claimed".into(), "times as fast".into()];
    for outcome in &of_tcp {
        let mark = if outcome.is_quiet() { "" } else { ", too noisy to say" };
        head.push(circumstances(outcome, &run.on.congestion) + mark);
        head.push("times as fast".into());
        head.push("CPU of sender and of both, %".into());
    }
    let mut lines = vec![head];
    let mut sentences = Vec::new();
    for (name, method, claimed) in CLAIMED {
        let ratio = 100.0 / claimed;
        let mut line = vec![(*name).to_owned(), format!("{claimed:.0} ms, {claimed:.0} %"), format!("{ratio:.2}")];
        let (mut reached, mut missed, mut noisy) = (Vec::new(), Vec::new(), Vec::new());
        for outcome in &of_tcp {
            let (Some(found), Some(base)) = (outcome.find(method), outcome.find(BASE)) else {
                line.extend(["-", "-", "-"].map(str::to_owned));
                continue;
            };
            line.push(format!("{:.0}", found.wall));
            line.push(if *method == BASE { "1".into() } else { found.faster.to_string() });
            let sender = found.sender / base.sender;
            let both = (found.sender + found.receiver) / (base.sender + base.receiver);
            line.push(format!("{:.0} {:.0}", sender * 100.0, both * 100.0));
            let under = circumstances(outcome, &run.on.congestion);
            if !outcome.is_quiet() {
                noisy.push(under);
                continue;
            }
            let list = if found.faster.high >= ratio { &mut reached } else { &mut missed };
            list.push(format!("{under} ({:.2})", found.faster.median));
        }
        lines.push(line);
        if *method != BASE {
            sentences.push(sentence(name, ratio, &reached, &missed, &noisy));
        }
    }
    draw(output, &lines, markdown)?;
    writeln!(output)?;
    for sentence in sentences {
        writeln!(output, "{}{sentence}", if markdown { "- " } else { "" })?;
    }
    Ok(())
}

/// Says under which conditions a claimed ratio is reached and under which it is missed. If the noise is too large, it says so.
fn sentence(name: &str, ratio: f64, reached: &[String], missed: &[String], noisy: &[String]) -> String {
    let claim = format!("{name}, {ratio:.2} times as fast as read+write");
    let verdict = match (reached, missed) {
        ([], []) if !noisy.is_empty() => {
            return format!("{claim}: too noisy to say on {}", noisy.join(", on "));
        }
        ([], []) => format!("{claim}: not measured"),
        ([], missed) => format!("{claim}: nowhere; on {}", missed.join(", on ")),
        (reached, []) => format!("{claim}: on {}", reached.join(", on ")),
        (reached, missed) => format!("{claim}: on {}; not on {}", reached.join(", on "), missed.join(", on ")),
    };
    match noisy {
        [] => verdict,
        noisy => format!("{verdict}; too noisy to say on {}", noisy.join(", on ")),
    }
}

/// How much slower than the best route a choice may be.
const CHOSEN: f64 = 0.95;

fn choices(output: &mut dyn Write, outcomes: &[Outcome], markdown: bool) -> io::Result<()> {
    let head = ["", "", "", "", "best route", "times as fast as that", "upper end at least 0.95"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for outcome in outcomes {
        for choice in &outcome.choices {
            let word = match choice.ratio.high >= CHOSEN {
                _ if !outcome.is_quiet() => "too noisy to say",
                true => "met",
                false => "MISSED",
            };
            lines.push(vec![
                outcome.sink.clone(),
                size(outcome.length),
                circumstances(outcome, ""),
                choice.name.clone(),
                choice.best.clone(),
                choice.ratio.to_string(),
                word.to_owned(),
            ]);
        }
    }
    if lines.len() == 1 {
        return Ok(());
    }
    let text = "what nocopy-transfer chooses, against the route that was best on the odd rounds, on the even ones";
    title(output, text, markdown)?;
    draw(output, &lines, markdown)?;
    writeln!(output)
}

/// What splice gains in a proxy: by `HAProxy`, by the choice against its own copy, and against what a runtime does.
fn relays(output: &mut dyn Write, outcome: &Outcome) -> io::Result<()> {
    let wall = |name: &str| outcome.find(name).map(|line| line.wall);
    let gain = |slow: &str, fast: &str| Some(wall(slow)? / wall(fast)?);
    let shared = "nocopy-transfer, shared";
    for (what, slow, fast) in [
        ("HAProxy gains by splice", "HAProxy, splice off", "HAProxy, splice on"),
        ("nocopy-transfer gains by splice, against its own copy", "nocopy-transfer, snapshot", shared),
        ("nocopy-transfer against tokio::io::copy_bidirectional", "tokio::io::copy_bidirectional", shared),
        ("nocopy-transfer against HAProxy with splice", "HAProxy, splice on", shared),
    ] {
        if let Some(gain) = gain(slow, fast) {
            writeln!(output, "{what}: {gain:.2} times (medians)")?;
        }
    }
    Ok(())
}

fn bars(output: &mut dyn Write, outcomes: &[Outcome], markdown: bool) -> io::Result<()> {
    title(output, "what is expected, on one CPU with reno: of the lower end, or of the median", markdown)?;
    let head = ["", "", "", "expected", "measured", ""];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for bar in BARS {
        let of_bar = |outcome: &&Outcome| {
            let congestion = outcome.congestion.as_deref();
            outcome.kind == bar.kind
                && outcome.sink == bar.sink.name()
                && outcome.placement == Placement::Same
                && (congestion == Some(CONGESTION) || !bar.sink.is_tcp())
        };
        let Some(outcome) = outcomes.iter().find(of_bar) else {
            continue;
        };
        let Some(line) = outcome.find(bar.name) else {
            continue;
        };
        let ratio = (bar.ratio)(line);
        let (is_met, expected) = match bar.expected {
            Expected::AtLeast(bar) => (ratio.low >= bar, format!("at least {bar}")),
            Expected::Between(low, high) => ((low..=high).contains(&ratio.median), format!("{low:.2} to {high:.2}")),
        };
        let word = match is_met {
            _ if !outcome.is_quiet() => "too noisy to say",
            true => "met",
            false => "MISSED",
        };
        lines.push(vec![
            bar.sink.name().to_owned(),
            bar.name.to_owned(),
            bar.what.to_owned(),
            expected,
            ratio.to_string(),
            word.to_owned(),
        ]);
    }
    draw(output, &lines, markdown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::run::Conditions;

    fn interval(low: f64, high: f64) -> Interval {
        Interval { low, median: f64::midpoint(low, high), high }
    }

    fn outcome(placement: Placement, length: usize, noise: Interval) -> Outcome {
        let line = |name: &str, faster| Line {
            name: name.to_owned(),
            wall: 300.0,
            sender: 100.0,
            receiver: 100.0,
            faster,
            sender_saves: interval(3.5, 4.0),
            both_save: interval(2.0, 2.5),
        };
        let fast = match placement {
            Placement::Same => interval(1.5, 1.9),
            Placement::Split => interval(3.2, 3.6),
        };
        Outcome {
            kind: Kind::Ways,
            sink: Sink::Tcp.name().to_owned(),
            placement,
            congestion: Some("reno".into()),
            length,
            repeat: 1,
            rounds: 21,
            twice: "sendfile".to_owned(),
            noise,
            lines: vec![line(BASE, interval(1.0, 1.0)), line("sendfile", fast)],
            choices: vec![],
        }
    }

    fn run(outcomes: Vec<Outcome>) -> Run {
        Run {
            on: Conditions {
                kernel: "7.3".into(),
                processor: "a processor".into(),
                date: "2026-11-28".into(),
                congestion: "bbr".into(),
                load: ["0.1".into(), "0.2".into()],
            },
            is_locked: true,
            memory: vec![],
            missing: vec!["vsock: none".into()],
            outcomes,
        }
    }

    fn written(noise: Interval) -> String {
        let mut bytes = Vec::new();
        let outcomes = vec![outcome(Placement::Same, 64 << 20, noise), outcome(Placement::Split, 64 << 20, noise)];
        write(&mut bytes, &run(outcomes), false).expect("a report");
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// The lower end of the interval decides.
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
        assert!(text.contains("not measured: vsock: none"), "{text}");
    }

    /// The article claims one ratio; the machine has one for each condition.
    #[test]
    fn it_says_where_the_article_is_right() {
        let text = written(interval(0.98, 1.02));
        let expected =
            "sendfile, 3.33 times as fast as read+write: on two CPUs, reno (3.40); not on one CPU, reno (1.70)";
        assert!(text.contains(expected), "{text}");
    }

    /// The article speaks of 1 GiB, so this size is compared if it was measured.
    #[test]
    fn the_largest_file_is_compared_with_the_article() {
        let noise = interval(0.98, 1.02);
        let outcomes = [64 << 20, 1 << 30].map(|length| outcome(Placement::Same, length, noise));
        let run = run(outcomes.into());
        let chosen: Vec<usize> = to_tcp(&run).iter().map(|outcome| outcome.length).collect();
        assert_eq!(chosen, [1 << 30]);
    }

    #[test]
    fn noise_decides_nothing() {
        let text = written(interval(0.98, 1.2));
        assert!(text.contains("decide nothing"), "{text}");
        assert!(!text.contains("MISSED") && !text.contains(" met"), "{text}");
        // Two expectations, two columns, and one claimed ratio.
        assert_eq!(text.matches("too noisy to say").count(), 5, "{text}");
        assert!(!text.contains("nowhere") && !text.contains("; not on"), "{text}");
        let claim = "sendfile, 3.33 times as fast as read+write";
        let expected = format!("{claim}: too noisy to say on one CPU, reno, on two CPUs, reno");
        assert!(text.contains(&expected), "{text}");
    }
}
