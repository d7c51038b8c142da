//! `bench`.

use crate::commands::failure::Failure;
use crate::commands::output::{Output, keep_inputs, open_output};
use anstream::stream::IsTerminal;
use clap::{Args, Subcommand, ValueEnum};
use conformance::bench;
use conformance::bench::peers::Peers;
use conformance::bench::plan::{Contender, How, Kind};
use conformance::bench::plans::{CONGESTION, Wanted};
use conformance::bench::run::{Conditions, Outcome, Run, Source};
use conformance::bench::{compare, memory, plots, report};
use conformance::lab::Lab;
use conformance::verdict::Stop;
use conformance::ways::methods::Method;
use conformance::ways::sinks::Sink;
use conformance::ways::uring;
use indicatif::{ProgressBar, ProgressStyle};
use nocopy_host::input;
use nocopy_host::replace::{self, Replacement};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    what: Option<What>,
    /// Number of rounds; each runs every method once
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = rounds)]
    rounds: usize,
    /// Size of one transfer, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = mebibytes)]
    mib: usize,
    /// Also 1 GiB, other file sizes, pipe sizes and call sizes: about twelve minutes
    #[arg(long)]
    full: bool,
    /// Also other programs on the same work: Rust libraries, Python, nginx and haproxy, if installed
    #[arg(long)]
    peers: bool,
    /// Only sinks whose name contains this (can be repeated)
    #[arg(long, value_name = "TEXT")]
    sink: Vec<String>,
    #[command(flatten)]
    shown: Shown,
    /// Report an earlier run, written by `--format json`, without measuring
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rounds", "mib", "full", "peers", "sink", "scratch"])]
    from: Option<PathBuf>,
    /// Directory for files [default: the first usable of $TMPDIR, /tmp, /var/tmp, /dev/shm]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// Show two runs side by side, as `--format json` has written them: two machines, two kernels, before and after a change
    Diff {
        /// The first run
        one: PathBuf,
        /// The second run
        other: PathBuf,
        /// For a page
        #[arg(long)]
        markdown: bool,
    },
}

/// How what a benchmark has measured is shown.
#[derive(Args)]
pub struct Shown {
    /// Format of the report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Write the report to FILE instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Draw the results as SVG into this directory
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
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

pub fn bench_command(options: &Options) -> Result<bool, Failure> {
    if let Some(What::Diff { one, other, markdown }) = &options.what {
        let mut output = open_output(None)?;
        let number = compare::write(&mut output, &read(one)?, &read(other)?, *markdown)?;
        output.finish()?;
        return match number {
            0 => Err(Failure::Usage("the two runs have no plan in common: run both with the same options".to_owned())),
            _ => Ok(true),
        };
    }
    keep_inputs(options.shown.output.as_deref(), &options.from)?;
    let output = options.shown.prepare()?;
    let run = match &options.from {
        Some(path) => read(path)?,
        None => measure(options)?,
    };
    let tables = |output: &mut dyn Write, markdown| report::write(output, &run, markdown);
    options.shown.show(output, &run, || plots::draw(&run), tables)?;
    if run.outcomes.is_empty() {
        return Err(Failure::Red("nothing was measured".to_owned()));
    }
    Ok(true)
}

impl Shown {
    /// Opens what is written at the end, before a run is measured for nothing.
    pub fn prepare(&self) -> Result<Output, Failure> {
        if let Some(directory) = &self.plots {
            let probe = fs::create_dir_all(directory).and_then(|()| Replacement::begin(&directory.join("picture.svg")));
            probe.map_err(|error| crate::commands::output::cannot_write(directory, &error))?;
        }
        open_output(self.output.as_deref())
    }

    /// Draws a run, if pictures are asked for, and writes it. `tables` is told whether it is for a page.
    pub fn show<Run: Serialize>(
        &self,
        mut output: Output,
        run: &Run,
        pictures: impl FnOnce() -> Result<Vec<plots::Picture>, Box<dyn Error>>,
        tables: impl FnOnce(&mut dyn Write, bool) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if let Some(directory) = &self.plots {
            save(directory, pictures())?;
        }
        if self.format == Format::Json {
            serde_json::to_writer(&mut output, run).map_err(io::Error::from)?;
            writeln!(output)?;
        } else {
            tables(&mut output, self.format == Format::Markdown)?;
        }
        output.finish()
    }
}

/// Writes pictures into a directory, which is made if there is none.
fn save(directory: &Path, pictures: Result<Vec<plots::Picture>, Box<dyn Error>>) -> Result<(), Failure> {
    let failed = |error: &dyn fmt::Display| Failure::Usage(format!("{}: {error}", directory.display()));
    let pictures = pictures.map_err(|error| failed(&error))?;
    if pictures.is_empty() {
        let directory = directory.display();
        let _ = writeln!(
            io::stderr(),
            "{directory}: nothing that was measured is drawn: pictures are of sizes and methods (see --full)"
        );
    }
    for (name, picture) in pictures {
        let written = replace::write(&directory.join(name), picture.as_bytes());
        written.map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// A run that was written as JSON.
pub fn read<Run: DeserializeOwned>(path: &Path) -> Result<Run, Failure> {
    /// Hundreds of times what a run has.
    const MOST: u64 = 64 << 20;
    let mut text = String::new();
    input::open(path)
        .and_then(|file| file.take(MOST).read_to_string(&mut text))
        .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| {
        let path = path.display();
        Failure::Usage(format!("{path}: {error}: it is to be what `--format json` of the same command has written"))
    })
}

impl Options {
    fn wants(&self, sink: Sink) -> bool {
        let named = |text: &String| sink.name().contains(text.as_str());
        self.sink.is_empty() || self.sink.iter().any(named)
    }
}

fn measure(options: &Options) -> Result<Run, Failure> {
    let is_idle = |text: &&String| {
        let mut sinks = Sink::ALL.iter();
        !sinks.any(|sink| sink.name().contains(text.as_str()))
    };
    if let Some(text) = options.sink.iter().find(is_idle) {
        let names: Vec<String> = Sink::ALL.iter().map(|sink| format!("\"{}\"", sink.name())).collect();
        return Err(Failure::Usage(format!("no sink matches --sink {text}: there are {}", names.join(", "))));
    }
    let (scratch, passed_over) = crate::commands::running::scratch(options.scratch.as_deref())?;
    if scratch.is_none() {
        let why = passed_over.join("; ");
        return Err(Failure::Usage(format!("{why} (name a writable directory with --scratch)")));
    }
    let lab = Lab::new(scratch);
    let unusable = |stop: Stop| Failure::Usage(format!("nothing can be measured here: {stop}"));
    let mut wanted =
        Wanted { rounds: options.rounds, length: options.mib << 20, full: options.full, peers: vec![], relays: vec![] };
    let source = Source::on_tmpfs(wanted.largest()).map_err(unusable)?;
    // A file is copied on one file system.
    let beside = Source::on_scratch(&lab, wanted.length).map_err(unusable)?;
    let mut missing = Vec::new();
    let mut peers = None;
    if options.peers {
        let first = Source::on_tmpfs(wanted.length).map_err(unusable)?;
        let found = Peers::find(first.file(), CONGESTION).map_err(unusable)?;
        wanted.peers.clone_from(&found.found);
        wanted.relays.clone_from(&found.relays);
        missing.extend(found.missing.iter().cloned());
        peers = Some((found, first));
    }
    let mut plans = wanted.plans();
    plans.retain(|plan| options.wants(plan.sink));
    // Sandboxes refuse it; the other ways can be measured all the same.
    if let Err(errno) = uring::is_there() {
        let is_uring = |one: &Contender| matches!(one.how, How::Method(Method::Uring(_)));
        for plan in &mut plans {
            plan.contenders.retain(|one| !is_uring(one));
        }
        missing.push(format!("io_uring: {errno:?}"));
    }
    let trials = plans.iter().map(|plan| plan.contenders.len() * (plan.rounds + 1));
    let mut on = Conditions::here();
    if on.is_busy() {
        let load = &on.load[0];
        let _ = writeln!(io::stderr(), "this machine is busy (load average {load}): the ratios may decide nothing");
    }
    let memory = memory::speeds();
    let progress = progress(trials.sum());
    let mut outcomes: Vec<Outcome> = Vec::new();
    for plan in &plans {
        let name = plan.sink.name();
        progress.set_message(name);
        let source = match (plan.sink, plan.kind, &peers) {
            (Sink::File, _, _) => &beside,
            (_, Kind::Peers, Some((_, first))) => first,
            _ => &source,
        };
        match bench::run::run(&lab, source, plan, || progress.inc(1)) {
            Ok(outcome) => outcomes.push(outcome),
            Err(stop @ Stop::Untestable(_)) => missing.push(format!("{name}: {stop}")),
            Err(stop) => return Err(Failure::Usage(format!("{name}: {stop}"))),
        }
    }
    progress.finish_and_clear();
    on.end();
    Ok(Run { on, is_locked: source.is_locked, memory, missing, outcomes })
}

/// A bar on a terminal.
pub fn progress(trials: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    ProgressBar::new(trials as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
