//! `coverage`.

use crate::commands::failure::Failure;
use clap::Args;
use conformance::claims::REGISTRY;
use conformance::pages::coverage;
use std::io::Write;

#[derive(Args)]
pub struct Coverage {
    /// Text to search for in suite, file or assertion (all must match)
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
    /// Only assertions that are not covered yet
    #[arg(long)]
    open: bool,
}

pub fn coverage_command(options: &Coverage) -> Result<bool, Failure> {
    let coverage = coverage::Coverage::load();
    let mut entries = coverage.matching(&options.texts);
    if entries.is_empty() {
        return Err(Failure::Usage(format!(
            "no assertion of another test suite matches `{}`: `conformance coverage` names them all",
            options.texts.join(" ")
        )));
    }
    let mut output = anstream::stdout().lock();
    if options.open {
        entries.retain(|entry| entry.is_open());
        if entries.is_empty() {
            writeln!(output, "no assertion of these is open")?;
            return Ok(true);
        }
    }
    coverage::human(&mut output, &coverage, &entries, REGISTRY)?;
    Ok(true)
}
