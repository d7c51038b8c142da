//! `report`.

use crate::commands::failure::Failure;
use crate::commands::options::Strict;
use crate::commands::output::{keep_inputs, open_output};
use clap::{Args, ValueEnum};
use conformance::claims::REGISTRY;
use conformance::foreign;
use conformance::report::{json, junit, kcidb, ktap, markdown};
use conformance::run::red::red_of_all;
use conformance::run::stored;
use std::path::PathBuf;

#[derive(Args)]
pub struct Report {
    /// Stored results (JSON Lines), one file per kernel [default: all of target/conformance]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Format of the report
    #[arg(long, value_enum)]
    format: Format,
    /// Write the report to FILE instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    strict: Strict,
    /// For KCIDB: the CI system that submits the results [default: nocopy]
    #[arg(long, value_name = "NAME", value_parser = parse_origin)]
    origin: Option<String>,
    /// For KCIDB: id of this run, such as a job number
    #[arg(long, value_name = "TEXT")]
    run: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A page for people, differences first
    Markdown,
    /// `JUnit` XML, for GitHub, GitLab and Jenkins
    Junit,
    /// The kernel's Test Anything Protocol, version 1
    Ktap,
    /// One document of all runs
    Json,
    /// A submission to the kernel's common database of results
    Kcidb,
}

fn parse_origin(text: &str) -> Result<String, String> {
    let good = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '_');
    if !text.is_empty() && text.chars().all(good) {
        Ok(text.to_owned())
    } else {
        Err("lower-case letters, digits and _ only".into())
    }
}

pub fn report_command(options: &Report) -> Result<bool, Failure> {
    if options.format != Format::Kcidb && (options.origin.is_some() || options.run.is_some()) {
        return Err(Failure::Usage("--origin and --run are for --format kcidb".to_owned()));
    }
    let mut runs = stored::read_all(&options.files).map_err(Failure::Usage)?;
    for stored in &mut runs {
        stored.run.excused.extend(foreign::excused(&stored.name));
    }
    let ids = stored::ids(&runs, REGISTRY);
    let strictness = options.strict.of(ids.iter().map(String::as_str))?;
    keep_inputs(options.output.as_deref(), &stored::paths(&options.files))?;
    let mut output = open_output(options.output.as_deref())?;
    match options.format {
        Format::Markdown => markdown::write(&mut output, &runs, &strictness)?,
        Format::Junit => junit::write(&mut output, &runs, &strictness)?,
        Format::Ktap => ktap::write(&mut output, &runs, &strictness)?,
        Format::Json => json::write(&mut output, &runs, REGISTRY)?,
        Format::Kcidb => {
            let submitter = kcidb::Submitter {
                origin: options.origin.clone().unwrap_or_else(|| "nocopy".to_owned()),
                run: options.run.clone(),
            };
            kcidb::write(&mut output, &runs, &submitter, REGISTRY)?;
        }
    }
    output.finish()?;
    let all = runs.iter().map(|stored| (stored.name.as_str(), &stored.run));
    Ok(red_of_all(all, &strictness).is_empty())
}
