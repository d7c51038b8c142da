//! `record`.

use crate::Failure;
use clap::Args;
use conformance::kernel::MEASURED;
use conformance::recorded;
use conformance::report::human::plural;
use conformance::report::stored;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Args)]
pub struct Record {
    /// Where the results of the matrix are
    #[arg(long, value_name = "DIR", default_value = stored::DIRECTORY)]
    results: PathBuf,
    /// Where the records go
    #[arg(long, value_name = "DIR", default_value = "fixtures/verdicts")]
    to: PathBuf,
}

pub fn record_command(options: &Record) -> Result<bool, Failure> {
    // All are read before one is written: half a matrix is none.
    let mut records = Vec::new();
    for series in MEASURED {
        let path = options.results.join(format!("{series}.jsonl"));
        let stored = stored::read(&path)
            .map_err(|what| Failure::Usage(format!("{what} (see `conformance matrix`)")))?;
        let text = recorded::compact(&stored.run)
            .map_err(|what| Failure::Usage(format!("{}: {what}", path.display())))?;
        records.push((options.to.join(format!("{series}.jsonl")), text));
    }
    std::fs::create_dir_all(&options.to)
        .map_err(|error| Failure::Usage(format!("{}: {error}", options.to.display())))?;
    for (path, text) in &records {
        std::fs::write(path, text)
            .map_err(|error| Failure::Usage(format!("cannot write {}: {error}", path.display())))?;
    }
    writeln!(
        io::stderr(),
        "{} in {}",
        plural(records.len(), "record"),
        options.to.display()
    )?;
    Ok(true)
}
