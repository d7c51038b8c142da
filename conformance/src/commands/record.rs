//! `record`.

use crate::Failure;
use clap::{Args, ValueEnum};
use conformance::grids::sheet::Sheet;
use conformance::grids::{self, Grid, records};
use conformance::kernel::MEASURED;
use conformance::ledger::LEDGER;
use conformance::recorded;
use conformance::replace;
use conformance::report::human::plural;
use conformance::report::stored;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct Record {
    /// What is recorded
    #[arg(value_enum, default_value_t = What::Claims)]
    what: What,
    /// Where the results are [default: target/conformance, or target/grids/GRID]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Where the records go [default: fixtures/verdicts, or fixtures/grids/GRID]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// What `conformance matrix` has found of the claims
    Claims,
    /// The grids that `conformance fds --kernels all` has made
    Fds,
    /// The grids that `conformance fs --kernels all` has made
    Fs,
    /// The ledgers that `conformance ledger --kernels all` has made
    Ledger,
}

impl What {
    /// The grid, and else the claims.
    fn grid(self) -> Option<&'static Grid> {
        match self {
            Self::Claims => None,
            Self::Fds => Some(&grids::FDS),
            Self::Fs => Some(&grids::FS),
            Self::Ledger => Some(&LEDGER),
        }
    }
}

pub fn record_command(options: &Record) -> Result<bool, Failure> {
    let grid = options.what.grid();
    let (results, to) = match grid {
        None => (stored::DIRECTORY.into(), "fixtures/verdicts".into()),
        Some(grid) => (
            Path::new(records::MADE).join(grid.name),
            Path::new("fixtures/grids").join(grid.name),
        ),
    };
    let results = options.results.as_ref().unwrap_or(&results);
    let to = options.to.as_ref().unwrap_or(&to);
    // All are read before one is written: half a matrix is none.
    let mut records = Vec::new();
    for series in MEASURED {
        let name = format!("{series}.jsonl");
        let text = match grid {
            None => of_claims(&results.join(&name))?,
            Some(grid) => of_grid(grid, &results.join(&name))?,
        };
        records.push((to.join(&name), text));
    }
    std::fs::create_dir_all(to)
        .map_err(|error| Failure::Usage(format!("{}: {error}", to.display())))?;
    for (path, text) in &records {
        replace::write(path, text)
            .map_err(|error| Failure::Usage(format!("cannot write {}: {error}", path.display())))?;
    }
    writeln!(
        io::stderr(),
        "{} in {}",
        plural(records.len(), "record"),
        to.display()
    )?;
    Ok(true)
}

fn of_claims(path: &Path) -> Result<Vec<u8>, Failure> {
    let stored = stored::read(path)
        .map_err(|what| Failure::Usage(format!("{what} (see `conformance matrix`)")))?;
    let text = recorded::compact(&stored.run)
        .map_err(|what| Failure::Usage(format!("{}: {what}", path.display())))?;
    Ok(text.into_bytes())
}

fn of_grid(grid: &Grid, path: &Path) -> Result<Vec<u8>, Failure> {
    let sheet = Sheet::of_file(path).map_err(|what| {
        let command = format!("conformance {} --kernels all", grid.name);
        Failure::Usage(format!("{what} (see `{command}`)"))
    })?;
    let record = records::compact(grid, &sheet)
        .map_err(|what| Failure::Usage(format!("{}: {what}", path.display())))?;
    let mut text = Vec::new();
    record.write(&mut text)?;
    Ok(text)
}
