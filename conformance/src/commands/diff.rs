//! `diff`.

use crate::{Failure, open_output};
use clap::{Args, ValueEnum};
use conformance::recorded;
use conformance::report::diff;
use conformance::report::stored::{self, Stored};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct Diff {
    /// A kernel by name (its results in target/conformance, or else its record), recorded:NAME, or a file of results
    #[arg(value_name = "A")]
    first: String,
    /// The same of the other
    #[arg(value_name = "B")]
    second: String,
    /// How to report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Write the report there instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
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

pub fn diff_command(options: &Diff) -> Result<bool, Failure> {
    let first = find(&options.first)?;
    let second = find(&options.second)?;
    let found = diff::Diff::of(&first, &second);
    let mut output = open_output(options.output.as_deref())?;
    match options.format {
        Format::Human => diff::human(&mut output, &found, &first, &second)?,
        Format::Markdown => diff::markdown(&mut output, &found, &first, &second)?,
        Format::Json => diff::json(&mut output, &found, &first, &second)?,
    }
    output.flush()?;
    Ok(found.is_empty())
}

fn find(name: &str) -> Result<Stored, Failure> {
    if let Some(name) = name.strip_prefix("recorded:") {
        return recorded::find(name).cloned().ok_or_else(|| {
            let names = recorded::names().join(", ");
            Failure::Usage(format!("no record is of `{name}`: there are {names}"))
        });
    }
    let kept = Path::new(stored::DIRECTORY).join(format!("{name}.jsonl"));
    let path = if Path::new(name).is_file() {
        PathBuf::from(name)
    } else if kept.is_file() {
        kept
    } else {
        return recorded::find(name).cloned().ok_or_else(|| {
            Failure::Usage(format!(
                "`{name}` is neither a file nor a kernel with results in {} or a record: `conformance matrix` makes results",
                stored::DIRECTORY
            ))
        });
    };
    stored::read(&path).map_err(Failure::Usage)
}
