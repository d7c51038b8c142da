//! `diff`.

use crate::commands::failure::Failure;
use crate::commands::output::{keep_inputs, open_output};
use clap::{Args, ValueEnum};
use conformance::claims::REGISTRY;
use conformance::grids::sheet::{self, Sheet};
use conformance::report::diff;
use conformance::run::stored::Stored;
use conformance::run::{recorded, stored};
use conformance::surveys;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct Diff {
    /// Kernel by name (its results in target/conformance, or its record), recorded:NAME, or a file of results or a grid
    #[arg(value_name = "A")]
    first: String,
    /// The second result, named in the same way
    #[arg(value_name = "B")]
    second: String,
    /// Format of the report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Write the report to FILE instead of standard output
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
    let names = [&*options.first, &*options.second];
    keep_inputs(options.output.as_deref(), &inputs(names))?;
    if let Some(sheets) = grids(options)? {
        return diff_of_grids(options, &sheets);
    }
    let first = find(&options.first)?;
    let second = find(&options.second)?;
    let found = diff::Diff::of(&first, &second, REGISTRY);
    let mut output = open_output(options.output.as_deref())?;
    match options.format {
        Format::Human => diff::human(&mut output, &found, &first, &second)?,
        Format::Markdown => diff::markdown(&mut output, &found, &first, &second)?,
        Format::Json => diff::json(&mut output, &found, &first, &second)?,
    }
    output.finish()?;
    Ok(found.is_empty())
}

/// The files that may be meant.
pub fn inputs<const COUNT: usize>(names: [&str; COUNT]) -> Vec<PathBuf> {
    let files = names.into_iter().flat_map(|name| [PathBuf::from(name), kept(name)]);
    files.collect()
}

/// Where the matrix keeps results of this name.
fn kept(name: &str) -> PathBuf {
    Path::new(stored::DIRECTORY).join(format!("{name}.jsonl"))
}

/// Both as grids, if they are files of such.
fn grids(options: &Diff) -> Result<Option<[Sheet; 2]>, Failure> {
    let read = |name: &str| {
        let path = Path::new(name);
        let bytes = path.is_file().then(|| stored::bytes(path)).transpose();
        let bytes = bytes.map_err(Failure::Usage)?;
        let grid = bytes.filter(|bytes| Sheet::is_begun_by(bytes));
        let sheet = grid.map(|bytes| Sheet::read(&bytes)).transpose();
        sheet.map_err(|what| Failure::Usage(format!("{name}: {what}")))
    };
    match (read(&options.first)?, read(&options.second)?) {
        (Some(first), Some(second)) if first.grid == second.grid => Ok(Some([first, second])),
        (Some(first), Some(second)) => Err(Failure::Usage(format!(
            "{} is of the grid `{}`, {} of `{}`: two of one can be compared",
            options.first, first.grid, options.second, second.grid
        ))),
        (None, None) => Ok(None),
        _ => Err(Failure::Usage(
            "one of them is a grid and the other is not: two grids can be compared, or two results of claims".into(),
        )),
    }
}

fn diff_of_grids(options: &Diff, sheets: &[Sheet; 2]) -> Result<bool, Failure> {
    let varies = surveys::find(&sheets[0].grid).map_or((|_| false) as fn(&str) -> bool, |grid| grid.varies);
    let found = sheet::differences(&sheets.each_ref(), varies);
    let mut output = open_output(options.output.as_deref())?;
    let names = sheets.each_ref().map(|sheet| sheet.environment.kernel.clone());
    match options.format {
        Format::Json => {
            serde_json::to_writer(&mut output, &found).map_err(io::Error::from)?;
            writeln!(output)?;
        }
        Format::Human | Format::Markdown => {
            let markdown = options.format == Format::Markdown;
            let grid = &sheets[0].grid;
            sheet::write_differences(&mut output, grid, &names, &found, markdown)?;
        }
    }
    output.finish()?;
    Ok(found.is_empty())
}

/// The results that a name stands for: a record, a file, or what the matrix has kept.
pub fn find(name: &str) -> Result<Stored, Failure> {
    if let Some(name) = name.strip_prefix("recorded:") {
        return recorded::find(name).cloned().ok_or_else(|| {
            let names = recorded::names().join(", ");
            Failure::Usage(format!("no record is of `{name}`: there are {names}"))
        });
    }
    let kept = kept(name);
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
