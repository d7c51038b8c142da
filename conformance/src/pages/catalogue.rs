//! The registry as a page: `conformance/CLAIMS.md`, an entry per claim, grouped by interface.
//!
//! All of it comes from the registry, the records of the matrix and the source document, and a test compares it with them.

#![forbid(unsafe_code)]

use crate::claim::Claim;
use crate::claim::source::Source;
use crate::kernel::{MEASURED, NEWEST, OLDEST};
use crate::pages::open;
use crate::pages::open::Edge;
use crate::report::markdown::escaped;
use crate::run::known::Known;
use crate::run::text::plural;
use crate::seed::Document;
use crate::verdict::Word;
use nocopy_host::kernel::Series;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// The word for what is known of a claim on a series.
pub fn word_on(claim: &Claim, series: Series) -> &'static str {
    Known::of(claim).on(series).map_or("not measured", Word::text)
}

/// The sources that a kernel contradicts, with those kernels.
pub fn contradicted(claim: &Claim) -> Vec<(&'static Source, Vec<Series>)> {
    let known = Known::of(claim);
    let against =
        |source: &'static Source| (source, known.against(source).iter().map(|release| release.series).collect());
    claim.sources.iter().map(against).filter(|(_, kernels): &(_, Vec<Series>)| !kernels.is_empty()).collect()
}

/// Whether a kernel contradicts one of its sources.
pub fn is_contradicted(claim: &Claim) -> bool {
    !contradicted(claim).is_empty()
}

/// Writes the page.
pub fn write(output: &mut dyn Write, claims: &[&'static Claim]) -> io::Result<()> {
    let edges = open::edges(claims);
    let contradicted = claims.iter().filter(|claim| is_contradicted(claim)).count();
    writeln!(
        output,
        "# What is known of Linux zero-copy I/O\n\n\
         {} on Linux {OLDEST} to {NEWEST} (x86-64), of which {contradicted} are contradicted by a kernel. This page is made from the \
         registry by `just claims`: change the claims, not the page. `conformance show ID` shows how one is decided and decides it on the \
         running kernel; `conformance list --contradicted` has what is published and not so.\n",
        plural(claims.len(), "claim"),
    )?;
    totals(output, claims, &edges)?;
    let document = Document::load();
    for (interface, of_it) in by_interface(claims) {
        let count = plural(of_it.len(), "claim");
        writeln!(output, "\n## {interface}: {count}")?;
        for claim in of_it {
            writeln!(output)?;
            entry(output, claim, &edges, &document)?;
        }
    }
    Ok(())
}

/// The claims of each interface, in the registry's order.
fn by_interface(claims: &[&'static Claim]) -> Vec<(&'static str, Vec<&'static Claim>)> {
    let mut interfaces: Vec<(&str, Vec<&Claim>)> = Vec::new();
    for claim in claims.iter().copied() {
        let name = claim.interface();
        match interfaces.iter_mut().find(|(known, _)| *known == name) {
            Some((_, of_it)) => of_it.push(claim),
            None => interfaces.push((name, vec![claim])),
        }
    }
    interfaces
}

/// A row per interface and a column per kernel, with the numbers of claims that hold, are refuted, and could not be tried.
fn totals(output: &mut dyn Write, claims: &[&'static Claim], edges: &[Edge]) -> io::Result<()> {
    writeln!(
        output,
        "Per interface and kernel: claims that hold, are refuted, could not be tried; then those of which a version that matters has \
         no measured kernel beside it (`conformance list --open`).\n"
    )?;
    let kernels: Vec<String> = MEASURED.iter().map(ToString::to_string).collect();
    writeln!(output, "| | {} | not bracketed |", kernels.join(" | "))?;
    writeln!(output, "|---|{}--:|", "--:|".repeat(kernels.len()))?;
    for (interface, of_it) in by_interface(claims) {
        write!(output, "| {interface} |")?;
        for series in MEASURED {
            let mut counts: BTreeMap<Option<bool>, usize> = BTreeMap::new();
            for claim in &of_it {
                let holds = Known::of(claim).on(*series).filter(|word| word.is_decided());
                *counts.entry(holds.map(|word| word == Word::Holds)).or_default() += 1;
            }
            let count = |holds| counts.get(&holds).copied().unwrap_or(0);
            write!(output, " {} {} {} |", count(Some(true)), count(Some(false)), count(None))?;
        }
        let open = of_it.iter().filter(|claim| edges.iter().any(|edge| edge.claims.contains(&claim.id)));
        writeln!(output, " {} |", open.count())?;
    }
    Ok(())
}

fn entry(output: &mut dyn Write, claim: &'static Claim, edges: &[Edge], document: &Document) -> io::Result<()> {
    writeln!(output, "- **`{}`** {}", claim.id, escaped(claim.statement))?;
    let known = Known::of(claim);
    let mut finds: Vec<String> = known.intervals().iter().map(ToString::to_string).collect();
    let untried = known.rows().iter().filter(|row| !row.verdict.is_decided());
    let untried: Vec<String> = untried.map(|row| row.release.series.to_string()).collect();
    if !untried.is_empty() {
        finds.push(format!("could not be tried on {}", untried.join(", ")));
    }
    writeln!(output, "  - known: {}", finds.join("; "))?;
    let mut sources: Vec<String> = claim.sources.iter().map(ToString::to_string).collect();
    let statements = document.statements.iter().filter(|statement| statement.all_claims().any(|id| id == claim.id));
    let ids: Vec<&str> = statements.map(|statement| statement.id.as_str()).collect();
    if !ids.is_empty() {
        sources.push(format!("statement {}", ids.join(", ")));
    }
    writeln!(output, "  - source: {}", escaped(&sources.join("; ")))?;
    for edge in edges.iter().filter(|edge| edge.claims.contains(&claim.id)) {
        let since = edge.since.map(|since| format!("Linux {since}: ")).unwrap_or_default();
        writeln!(output, "  - not bracketed: {since}{} (needs {})", escaped(&edge.what), edge.needs.join(", "))?;
    }
    Ok(())
}
