//! `conformance check`: decides claims on this kernel.

use super::failure::Failure;
use super::options::{Running, Selection, Strict, select};
use super::output::{open_output, progress};
use super::running::run;
use clap::{Args, ValueEnum};
use conformance::report::human;
use conformance::run::jsonl::{self, Line};
use nocopy_host::interrupt;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    running: Running,
    /// Format of the report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Write the report to FILE instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    strict: Strict,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Human,
    /// The stored form, one JSON object per line
    Jsonl,
}

pub fn check_command(options: &Check) -> Result<bool, Failure> {
    let claims = select(&options.selection)?;
    let strictness = options.strict.of_claims(&claims)?;
    interrupt::watch()?;
    let mut output = open_output(options.output.as_deref())?;
    // Colour codes are for terminals; a file gets plain text.
    let plain = options.output.is_some();
    let progress = progress(claims.len());
    let lines = |line: &Line| {
        if options.format == Format::Jsonl {
            jsonl::write(&mut output, line)
        } else {
            Ok(())
        }
    };
    let run = run(&claims, &options.running, &progress, lines)?;
    progress.finish_and_clear();
    if options.format == Format::Human {
        let mut report = Vec::new();
        human::whole(
            &mut report,
            &run,
            options.selection.is_of_document(),
            &strictness,
        )?;
        if plain {
            anstream::StripStream::new(&mut output as &mut dyn Write).write_all(&report)?;
        } else {
            output.write_all(&report)?;
        }
    }
    output.finish()?;
    let red = run.red(&strictness);
    if options.format == Format::Jsonl {
        let mut summary = Vec::new();
        human::summary(&mut summary, &run, &strictness)?;
        // The results are written: a summary that cannot be printed changes nothing.
        let _ = anstream::stderr().write_all(&summary);
    }
    Ok(red.is_empty())
}
