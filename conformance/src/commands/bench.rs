//! `bench`.

use crate::{Failure, open_output};
use anstream::stream::IsTerminal;
use clap::{Args, ValueEnum};
use conformance::bench::trial::Placement;
use conformance::bench::{self, AGAIN, BASE, Outcome, Plan, Source, TWICE, report};
use conformance::lab::Lab;
use conformance::ledger::sinks::Sink;
use conformance::verdict::Stop;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Args)]
pub struct Options {
    /// How many rounds, each with every method once
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = rounds)]
    rounds: usize,
    /// How much one transfer sends, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = mebibytes)]
    mib: usize,
    /// Only sinks whose name contains this (can be repeated)
    #[arg(long, value_name = "TEXT")]
    sink: Vec<String>,
    /// How to report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Write the report there instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The directory for files [default: the first usable of $TMPDIR, /tmp, /var/tmp, /dev/shm]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Human,
    /// For a page
    Markdown,
    /// For programs
    Json,
}

fn rounds(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 3..=10_000) => Ok(number),
        _ => Err("a number from 3 to 10000".into()),
    }
}

fn mebibytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=4096) => Ok(number),
        _ => Err("a number from 1 to 4096".into()),
    }
}

/// The methods that are compared, where the sink takes them.
const METHODS: &[&str] = &[
    BASE,
    "read+write 1 MiB",
    "mmap+write",
    "mmap+write 1 MiB",
    TWICE,
    AGAIN,
    "splice, pipe 64 KiB",
    "splice, pipe 1 MiB",
    "vmsplice, pipe 1 MiB",
    "write of memory",
];
/// To TCP besides.
const TO_TCP: &[&str] = &["MSG_ZEROCOPY, mapped", "MSG_ZEROCOPY, memory"];
/// To a file besides.
const TO_FILE: &[&str] = &["copy_file_range"];
/// What is asked of TCP: the default of many systems paces even on loopback.
const CONGESTION: &str = "reno";

/// All that is compared, as far as the sinks are wanted.
fn plans(options: &Options) -> Vec<Plan> {
    let is_tcp = |sink| matches!(sink, Sink::Tcp | Sink::TcpDropped);
    let plan = |sink, placement, congestion: Option<&str>| Plan {
        sink,
        placement,
        congestion: congestion.map(str::to_owned),
        methods: match sink {
            Sink::Tcp => [METHODS, TO_TCP].concat(),
            Sink::File => [METHODS, TO_FILE].concat(),
            _ => METHODS.to_vec(),
        },
    };
    let mut plans: Vec<Plan> = Sink::ALL
        .iter()
        .map(|sink| plan(*sink, Placement::Same, is_tcp(*sink).then_some(CONGESTION)))
        .collect();
    plans.push(plan(Sink::Tcp, Placement::Split, Some(CONGESTION)));
    plans.push(Plan {
        methods: vec![BASE, TWICE, AGAIN],
        ..plan(Sink::Tcp, Placement::Same, None)
    });
    plans.retain(|plan| {
        let named = |text: &String| plan.sink.name().contains(text.as_str());
        options.sink.is_empty() || options.sink.iter().any(named)
    });
    plans
}

pub fn bench_command(options: &Options) -> Result<bool, Failure> {
    let (scratch, passed_over) = crate::scratch(options.scratch.as_deref())?;
    if scratch.is_none() {
        let why = passed_over.join("; ");
        return Err(Failure::Usage(format!(
            "{why} (name a writable directory with --scratch)"
        )));
    }
    let plans = plans(options);
    if plans.is_empty() {
        let names: Vec<&str> = Sink::ALL.iter().map(|sink| sink.name()).collect();
        return Err(Failure::Usage(format!(
            "no sink matches: there are {}",
            names.join(", ")
        )));
    }
    let lab = Lab::new(scratch);
    let unusable = |stop: Stop| Failure::Usage(format!("nothing can be measured here: {stop:?}"));
    let length = options.mib << 20;
    let source = Source::on_tmpfs(length).map_err(unusable)?;
    // A file is copied on one file system.
    let beside = Source::on_scratch(&lab, length).map_err(unusable)?;
    let trials: usize = plans.iter().map(|plan| plan.methods.len()).sum();
    let progress = progress(trials * (options.rounds + 1));
    let before = load();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for plan in &plans {
        let name = plan.sink.name();
        progress.set_message(name);
        let source = if plan.sink == Sink::File {
            &beside
        } else {
            &source
        };
        let made = bench::run(&lab, source, plan, options.rounds, || progress.inc(1));
        outcomes.push(made.map_err(|stop| Failure::Usage(format!("{name}: {stop:?}")))?);
    }
    progress.finish_and_clear();
    let mut output = open_output(options.output.as_deref())?;
    if options.format == Format::Json {
        serde_json::to_writer(&mut output, &outcomes).map_err(io::Error::from)?;
        writeln!(output)?;
    } else {
        report::write(&mut *output, &outcomes, options.format == Format::Markdown)?;
        writeln!(
            output,
            "\n{} MiB of tmpfs (to a file: of its file system), {}; the system's congestion control is {}; load average {before} before, {} after",
            options.mib,
            if source.is_locked {
                "locked in memory"
            } else {
                "not locked: RLIMIT_MEMLOCK"
            },
            setting("/proc/sys/net/ipv4/tcp_congestion_control"),
            load()
        )?;
    }
    output.flush()?;
    Ok(true)
}

fn setting(path: &str) -> String {
    std::fs::read_to_string(path).map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}

/// That of the last minute.
fn load() -> String {
    let text = setting("/proc/loadavg");
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn progress(trials: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    ProgressBar::new(trials as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
