//! `record`.

use crate::commands::failure::Failure;
use clap::{Args, ValueEnum};
use conformance::claims::REGISTRY;
use conformance::grids::fds::FDS;
use conformance::grids::fs::FS;
use conformance::grids::grid::Grid;
use conformance::grids::pairs::PAIRS;
use conformance::grids::records;
use conformance::grids::sheet::Sheet;
use conformance::kernel::MEASURED;
use conformance::ledger::LEDGER;
use conformance::report::diff;
use conformance::run::record::Environment;
use conformance::run::text::plural;
use conformance::run::{jsonl, recorded, stored};
use nocopy_host::kernel::{Release, Series};
use nocopy_host::replace;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct Record {
    /// What to record
    #[arg(value_enum, default_value_t = What::Claims)]
    what: What,
    /// Directory of the results [default: target/conformance, or target/grids/GRID]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Directory for the records [default: fixtures/verdicts, or fixtures/grids/GRID]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Verdicts of `conformance matrix`
    Claims,
    /// Grids of `conformance fds --kernels all`
    Fds,
    /// Grids of `conformance pairs --kernels all`
    Pairs,
    /// Grids of `conformance fs --kernels all`
    Fs,
    /// Ledgers of `conformance ledger --kernels all`
    Ledger,
}

impl What {
    /// The grid, and else the claims.
    fn grid(self) -> Option<&'static Grid> {
        match self {
            Self::Claims => None,
            Self::Fds => Some(&FDS),
            Self::Pairs => Some(&PAIRS),
            Self::Fs => Some(&FS),
            Self::Ledger => Some(&LEDGER),
        }
    }
}

pub fn record_command(options: &Record) -> Result<bool, Failure> {
    let grid = options.what.grid();
    let (results, to) = match grid {
        None => (stored::DIRECTORY.into(), "fixtures/verdicts".into()),
        Some(grid) => (Path::new(records::MADE).join(grid.name), Path::new("fixtures/grids").join(grid.name)),
    };
    let results = options.results.as_ref().unwrap_or(&results);
    let to = options.to.as_ref().unwrap_or(&to);
    // All are read and judged before the first is written: a fault in one changes none.
    let mut records = Vec::new();
    let mut changes = Vec::new();
    for series in of_results(results) {
        let name = format!("{series}.jsonl");
        let text = match grid {
            None => of_claims(&results.join(&name), series)?,
            Some(grid) => of_grid(grid, &results.join(&name), series)?,
        };
        if grid.is_none() {
            changes.extend(changes_of(series, &to.join(&name), &text));
        }
        records.push((to.join(&name), text));
    }
    std::fs::create_dir_all(to).map_err(|error| Failure::Usage(format!("{}: {error}", to.display())))?;
    for (path, text) in &records {
        replace::write(path, text)
            .map_err(|error| Failure::Usage(format!("cannot write {}: {error}", path.display())))?;
    }
    for change in changes {
        writeln!(io::stdout(), "{change}")?;
    }
    writeln!(io::stderr(), "{} in {}", plural(records.len(), "record"), to.display())?;
    Ok(true)
}

/// The series that have a record, and those that have results: a new row of the matrix.
fn of_results(results: &Path) -> Vec<Series> {
    let files = std::fs::read_dir(results).into_iter().flatten().flatten();
    let new = files.filter_map(|file| {
        let release: Release = file.file_name().to_str()?.strip_suffix(".jsonl")?.parse().ok()?;
        (release.patch.is_none() && release.local.is_empty()).then_some(release.series)
    });
    let all: BTreeSet<Series> = MEASURED.iter().copied().chain(new).collect();
    all.into_iter().collect()
}

/// What a new record says otherwise than the old one, in words: verdicts first, then facts.
fn changes_of(series: Series, old: &Path, text: &[u8]) -> Vec<String> {
    let Ok(new) = jsonl::read(text) else {
        return Vec::new();
    };
    let Ok(old) = stored::read(old) else {
        return vec![format!("{series}: a new kernel, with {}", plural(new.records.len(), "result"))];
    };
    let mut lines = Vec::new();
    let mut facts = Vec::new();
    for record in &new.records {
        match old.run.find(&record.id) {
            None => lines.push(format!("{series}: {} is new: {}", record.id, record.verdict.text())),
            Some(before) if before.verdict != record.verdict => {
                let (before, now) = (before.verdict.text(), record.verdict.text());
                lines.push(format!("{series}: {}: was {before}, is {now}: {}", record.id, record.what_happened()));
            }
            Some(before) if !diff::facts(before, record, &[]).is_empty() => facts.push(record.id.as_str()),
            Some(_) => {}
        }
    }
    let gone = old.run.records.iter().filter(|record| new.find(&record.id).is_none());
    lines.extend(gone.map(|record| format!("{series}: {} is gone", record.id)));
    if !facts.is_empty() {
        lines.push(format!("{series}: other facts, the same verdict: {}", facts.join(", ")));
    }
    lines
}

/// Results under the name of another series would be a record of a kernel that was not asked.
fn is_of(path: &Path, environment: &Environment, series: Series) -> Result<(), Failure> {
    let release: Option<Release> = environment.kernel.parse().ok();
    if release.is_some_and(|release| release.series == series) {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{}: it is of Linux {}, and would be the record of {series}",
        path.display(),
        environment.kernel
    )))
}

fn of_claims(path: &Path, series: Series) -> Result<Vec<u8>, Failure> {
    let stored = stored::read(path).map_err(|what| Failure::Usage(format!("{what} (see `conformance matrix`)")))?;
    is_of(path, &stored.run.environment, series)?;
    let text = recorded::compact(&stored.run, REGISTRY)
        .map_err(|what| Failure::Usage(format!("{}: {what}", path.display())))?;
    Ok(text.into_bytes())
}

fn of_grid(grid: &Grid, path: &Path, series: Series) -> Result<Vec<u8>, Failure> {
    let sheet = Sheet::of_file(path).map_err(|what| {
        let command = format!("conformance {} --kernels all", grid.name);
        Failure::Usage(format!("{what} (see `{command}`)"))
    })?;
    is_of(path, &sheet.environment, series)?;
    let record =
        records::compact(grid, &sheet).map_err(|what| Failure::Usage(format!("{}: {what}", path.display())))?;
    let mut text = Vec::new();
    record.write(&mut text)?;
    Ok(text)
}
