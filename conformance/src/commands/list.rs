//! `list`.

use crate::commands::failure::Failure;
use crate::commands::options::{Selection, select};
use crate::commands::output::open_output;
use clap::{Args, ValueEnum};
use conformance::kernel::Release;
use conformance::pages::catalogue;
use conformance::pages::catalogue::Known;
use conformance::pages::open;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    selection: Selection,
    /// Only claims that somebody has published and a kernel contradicts
    #[arg(long)]
    contradicted: bool,
    /// What is known of each on this kernel (6.12, or a release as uname gives it); with --contradicted, those that it contradicts
    #[arg(long, value_name = "SERIES")]
    kernel: Option<Release>,
    /// List instead the versions with which something changed, next to which no kernel has been measured, and how to
    #[arg(long, conflicts_with_all = ["contradicted", "kernel", "format"])]
    open: bool,
    /// How to list
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Write the list there instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people, a line per claim
    Human,
    /// A page, as conformance/CLAIMS.md: each with its sources and what is known
    Markdown,
}

pub fn list_command(options: &List) -> Result<bool, Failure> {
    let mut claims = select(&options.selection)?;
    let series = options.kernel.as_ref().map(|release| release.series);
    if options.contradicted {
        claims.retain(|claim| {
            let there = series.is_none_or(|series| Known::of(claim, series) == Known::Refuted);
            catalogue::is_contradicted(claim) && there
        });
    }
    let mut output = open_output(options.output.as_deref())?;
    if options.open {
        open::human(&mut output, &open::edges(&claims))?;
    } else if options.format == Format::Markdown {
        catalogue::write(&mut output, &claims)?;
    } else {
        for claim in claims {
            match series {
                None => writeln!(output, "{:<40} {}", claim.id, claim.statement)?,
                Some(series) => writeln!(
                    output,
                    "{:<40} {:<12} {}",
                    claim.id,
                    Known::of(claim, series).word(),
                    claim.statement
                )?,
            }
        }
    }
    output.finish()?;
    Ok(true)
}
