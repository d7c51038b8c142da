//! The registry as a page: `conformance/CLAIMS.md`, an entry per claim, grouped by interface.
//!
//! All of it comes from the registry, the records of the matrix and the source document, and a test compares it with them.

#![forbid(unsafe_code)]

use crate::claim::{Claim, Source};
use crate::kernel::{MEASURED, NEWEST, OLDEST};
use crate::pages::open;
use crate::pages::open::Edge;
use crate::report::human::known;
use crate::report::markdown::escaped;
use crate::run::recorded;
use crate::run::text::plural;
use crate::seed::Document;
use crate::verdict::Word;
use nocopy_host::kernel::Series;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// The known verdict on a claim for one series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// It holds there.
    Holds,
    /// It is refuted there.
    Refuted,
    /// The matrix tried it there, and it was untestable, for the reason in the record.
    Untestable,
    /// No kernel of that series was tried.
    NotMeasured,
}

impl Known {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Refuted => "refuted",
            Self::Untestable => "untestable",
            Self::NotMeasured => "not measured",
        }
    }

    /// The verdict in the record of the series, if there is one; else the verdict that the claim has for that interval of kernels.
    pub fn of(claim: &Claim, series: Series) -> Self {
        let record = recorded::find(&series.to_string());
        match record.and_then(|stored| stored.run.find(claim.id)) {
            Some(found) if found.verdict == Word::Holds => Self::Holds,
            Some(found) if found.verdict == Word::Refuted => Self::Refuted,
            Some(_) => Self::Untestable,
            None => match claim.finds.iter().find(|find| find.spans(series)) {
                Some(find) if find.holds => Self::Holds,
                Some(_) => Self::Refuted,
                None => Self::NotMeasured,
            },
        }
    }
}

/// Whether a source other than our experiments asserts it, and a kernel refutes it.
pub fn is_contradicted(claim: &Claim) -> bool {
    let is_published = |source: &Source| *source != Source::Measured;
    claim.sources.iter().any(is_published) && claim.finds.iter().any(|find| !find.holds)
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
            let mut counts: BTreeMap<Known, usize> = BTreeMap::new();
            for claim in &of_it {
                *counts.entry(Known::of(claim, *series)).or_default() += 1;
            }
            let count = |known: Known| counts.get(&known).copied().unwrap_or(0);
            write!(
                output,
                " {} {} {} |",
                count(Known::Holds),
                count(Known::Refuted),
                count(Known::Untestable) + count(Known::NotMeasured)
            )?;
        }
        let open = of_it.iter().filter(|claim| edges.iter().any(|edge| edge.claims.contains(&claim.id)));
        writeln!(output, " {} |", open.count())?;
    }
    Ok(())
}

fn entry(output: &mut dyn Write, claim: &'static Claim, edges: &[Edge], document: &Document) -> io::Result<()> {
    writeln!(output, "- **`{}`** {}", claim.id, escaped(claim.statement))?;
    let mut finds: Vec<String> = claim.finds.iter().map(known).collect();
    let untried: Vec<String> = MEASURED
        .iter()
        .filter(|series| Known::of(claim, **series) == Known::Untestable)
        .map(ToString::to_string)
        .collect();
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
