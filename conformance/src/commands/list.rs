//! `list`.

use crate::commands::failure::Failure;
use crate::commands::options::{Selection, select};
use crate::commands::output::open_output;
use clap::{Args, ValueEnum};
use conformance::pages::catalogue;
use conformance::pages::open;
use conformance::run::known::Known;
use conformance::verdict::Word;
use nocopy_host::kernel::Release;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    selection: Selection,
    /// Only published claims that a kernel contradicts
    #[arg(long)]
    contradicted: bool,
    /// Add the known verdict on this kernel (6.12, or a release from uname); with --contradicted, only its own
    #[arg(long, value_name = "SERIES")]
    kernel: Option<Release>,
    /// List instead the open edges: versions at which something changed and that no kernels bracket
    #[arg(long, conflicts_with_all = ["contradicted", "kernel", "format"])]
    open: bool,
    /// Format of the list
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Write the list to FILE instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people, a line per claim
    Human,
    /// A page like conformance/CLAIMS.md, with sources and known verdicts
    Markdown,
}

pub fn list_command(options: &List) -> Result<bool, Failure> {
    let mut claims = select(&options.selection)?;
    let series = options.kernel.as_ref().map(|release| release.series);
    if options.contradicted {
        claims.retain(|claim| {
            let there = series.is_none_or(|series| Known::of(claim).on(series) == Some(Word::Refuted));
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
                Some(series) => {
                    writeln!(output, "{:<40} {:<12} {}", claim.id, catalogue::word_on(claim, series), claim.statement)?
                }
            }
        }
    }
    output.finish()?;
    Ok(true)
}
