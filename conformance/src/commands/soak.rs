//! `soak`.

use crate::commands::failure::Failure;
use anstream::stream::IsTerminal;
use clap::Args;
use conformance::lab::Lab;
use conformance::run::text::plural;
use conformance::soak::{Case, Failed, Passed, Soak};
use conformance::verdict::Stop;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Args)]
pub struct Options {
    /// Total to send, in GiB
    #[arg(long, value_name = "GIB", default_value_t = 1.0, value_parser = gibibytes)]
    gib: f64,
    /// Seed of the cases [default: a new one every time]
    #[arg(long, value_name = "SEED", conflicts_with = "case")]
    seed: Option<u64>,
    /// Run only the case with this seed, which a failed run prints
    #[arg(long, value_name = "SEED", conflicts_with = "gib")]
    case: Option<u64>,
    /// Number of times to run that case
    #[arg(long, value_name = "N", default_value_t = 1, requires = "case", value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// No signals
    #[arg(long)]
    no_signals: bool,
    /// Directory for files [default: the first usable of $TMPDIR, /tmp, /var/tmp, /dev/shm]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

/// About a MiB: less is no transfer.
const LEAST: f64 = 0.001;

fn gibibytes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (LEAST..=1e6).contains(&number) => Ok(number),
        Ok(_) => Err(format!("a number from {LEAST} to 1000000")),
        Err(error) => Err(error.to_string()),
    }
}

/// What the cases came to.
#[derive(Default)]
struct Count {
    transfers: usize,
    bytes: u64,
    told: usize,
    zeroed: u64,
}

impl Count {
    fn add(&mut self, passed: Passed) {
        self.transfers += 1;
        self.bytes += passed.bytes;
        self.told += usize::from(passed.told);
        self.zeroed += passed.zeroed;
    }
}

pub fn soak_command(options: &Options) -> Result<bool, Failure> {
    let (scratch, passed_over) = crate::commands::running::scratch(options.scratch.as_deref())?;
    if scratch.is_none() {
        let why = passed_over.join("; ");
        return Err(Failure::Usage(format!("{why} (name a writable directory with --scratch)")));
    }
    let unusable = |stop: Stop| Failure::Usage(format!("nothing can be sent here: {stop}"));
    let soak = Soak::new(Lab::new(scratch)).map_err(unusable)?;
    let mut output = io::stdout().lock();
    let mut count = Count::default();
    if let Some(seed) = options.case {
        let case = case_of(options, seed);
        writeln!(output, "{case}")?;
        for _ in 0..options.times {
            if !run(&soak, &case, &mut count, &mut output)? {
                return Ok(false);
            }
        }
        return summary(&mut output, &count);
    }
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    writeln!(output, "seed {seed}")?;
    let mut seeds = fastrand::Rng::with_seed(seed);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // at most a million GiB, and positive
    let wanted = (options.gib * f64::from(1 << 30)) as u64;
    let progress = bar(wanted);
    while count.bytes < wanted {
        let case = case_of(options, seeds.u64(..));
        if !run(&soak, &case, &mut count, &mut output)? {
            return Ok(false);
        }
        progress.set_position(count.bytes);
    }
    progress.finish_and_clear();
    summary(&mut output, &count)
}

fn case_of(options: &Options, seed: u64) -> Case {
    let case = Case::of(seed);
    Case { has_signals: case.has_signals && !options.no_signals, ..case }
}

/// Whether nothing was lost in silence.
fn run(soak: &Soak, case: &Case, count: &mut Count, output: &mut dyn Write) -> Result<bool, Failure> {
    let what = match soak.run(case) {
        Ok(passed) => {
            count.add(passed);
            return Ok(true);
        }
        Err(Failed::Silent(what)) => format!("silent loss: {what}"),
        Err(Failed::Stopped(stop)) => format!("it could not be run: {stop}"),
    };
    let Case { seed, .. } = case;
    writeln!(output, "{case}")?;
    writeln!(output, "red: {what}\nagain: conformance soak --case {seed} --times 100")?;
    Ok(false)
}

fn summary(output: &mut dyn Write, count: &Count) -> Result<bool, Failure> {
    writeln!(
        output,
        "{}, {:.2} GiB: {} truncated or short with a report, 0 bytes lost silently",
        plural(count.transfers, "transfer"),
        gib(count.bytes),
        count.told
    )?;
    if count.zeroed > 0 {
        writeln!(
            output,
            "{} bytes arrived as zeros: the file was truncated or punched after its pages were given away",
            count.zeroed
        )?;
    }
    Ok(true)
}

/// A bar on a terminal, nothing elsewhere.
fn bar(bytes: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {binary_bytes} of {binary_total_bytes}, {eta}")
        .expect("a constant template");
    ProgressBar::new(bytes).with_style(style)
}

#[allow(clippy::cast_precision_loss)] // two digits are printed
fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}
