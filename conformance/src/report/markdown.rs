//! The matrix in GitHub's Markdown: differences first, then each interface, new findings, and claims that could not be tried.

#![forbid(unsafe_code)]

use crate::claim::Registry;
use crate::run::record::Record;
use crate::run::red::{Strictness, red_of_all};
use crate::run::stored::{Stored, ids, interface, interfaces};
use crate::run::text::{one_line, plural};
use crate::verdict::{Judgement, Word};
use std::collections::BTreeSet;
use std::io::{self, Write};

/// Writes the report.
pub fn write(output: &mut dyn Write, runs: &[Stored], strictness: &Strictness) -> io::Result<()> {
    let ids = ids(runs, strictness.registry);
    writeln!(output, "# {} on {}\n", plural(ids.len(), "claim"), plural(runs.len(), "kernel"))?;
    kernels(output, runs)?;
    red(output, runs, strictness)?;
    let (differ, same): (Vec<String>, Vec<String>) = ids.into_iter().partition(|id| differs(runs, id));
    if !differ.is_empty() {
        writeln!(output, "\n## {}, not the same everywhere\n", plural(differ.len(), "claim"))?;
        table(output, runs, &differ, strictness.registry)?;
    }
    for about in interfaces(&same) {
        let of_it = same.iter().filter(|id| interface(id) == about);
        let of_it: Vec<String> = of_it.cloned().collect();
        let count = plural(of_it.len(), "claim");
        writeln!(output, "\n## {}: {count}, the same everywhere\n", escaped(about))?;
        table(output, runs, &of_it, strictness.registry)?;
    }
    findings(output, runs)?;
    untestable(output, runs)
}

/// A line per kernel.
fn kernels(output: &mut dyn Write, runs: &[Stored]) -> io::Result<()> {
    writeln!(
        output,
        "| kernel | release | hold | refuted | untestable | broken | timed out | not reached | new | changed |"
    )?;
    writeln!(output, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for Stored { name, run } in runs {
        writeln!(
            output,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            escaped(name),
            escaped(&run.environment.kernel),
            run.count(Word::Holds),
            run.count(Word::Refuted),
            run.count(Word::Untestable),
            run.count(Word::Broken),
            run.count(Word::TimeOut),
            run.count(Word::NotReached),
            run.judged(Judgement::NewFinding).count(),
            run.judged(Judgement::Changed).count(),
        )?;
    }
    Ok(())
}

fn red(output: &mut dyn Write, runs: &[Stored], strictness: &Strictness) -> io::Result<()> {
    let runs = runs.iter().map(|stored| (stored.name.as_str(), &stored.run));
    let red = red_of_all(runs, strictness);
    if red.is_empty() {
        return Ok(());
    }
    writeln!(output, "\n## Red\n")?;
    red.iter().try_for_each(|reason| writeln!(output, "- {}", escaped(reason)))
}

/// Verdicts without a record, and changes.
fn findings(output: &mut dyn Write, runs: &[Stored]) -> io::Result<()> {
    let is_news = |record: &Record| matches!(record.judgement, Some(Judgement::NewFinding | Judgement::Changed));
    let found: Vec<(&str, &Record)> = all(runs).filter(|(_, record)| is_news(record)).collect();
    if found.is_empty() {
        return Ok(());
    }
    writeln!(output, "\n## Findings\n")?;
    found.into_iter().try_for_each(|(name, record)| item(output, name, record))
}

fn all(runs: &[Stored]) -> impl Iterator<Item = (&str, &Record)> {
    runs.iter().flat_map(|stored| {
        let records = stored.run.records.iter();
        records.map(|record| (stored.name.as_str(), record))
    })
}

fn item(output: &mut dyn Write, name: &str, record: &Record) -> io::Result<()> {
    writeln!(
        output,
        "- {}: **{}** {}: {}",
        escaped(name),
        record.words(),
        escaped(&record.id),
        escaped(&record.what_happened())
    )
}

/// Whether the kernels have different results. A claim that could not be tried, or was not tried, is also a difference.
fn differs(runs: &[Stored], id: &str) -> bool {
    let words: BTreeSet<Option<&str>> = runs.iter().map(|stored| Some(stored.run.find(id)?.verdict.text())).collect();
    words.len() > 1
}

fn table(output: &mut dyn Write, runs: &[Stored], ids: &[String], registry: Registry) -> io::Result<()> {
    let names = runs.iter().map(|stored| escaped(&stored.name));
    let names: Vec<String> = names.collect();
    writeln!(output, "| claim | says | {} |", names.join(" | "))?;
    writeln!(output, "|---|---|{}", "---|".repeat(runs.len()))?;
    for id in ids {
        let says = registry.find(id).map_or("", |claim| claim.statement);
        let cells: Vec<String> = runs.iter().map(|stored| cell(stored.run.find(id))).collect();
        writeln!(output, "| {} | {} | {} |", escaped(id), escaped(says), cells.join(" | "))?;
    }
    Ok(())
}

fn cell(record: Option<&Record>) -> String {
    let Some(record) = record else {
        return String::new();
    };
    let word = match record.verdict {
        Word::Untestable => "-",
        other => other.text(),
    };
    match (record.verdict, record.judgement) {
        (verdict, _) if verdict.is_failure() => format!("**{word}**"),
        (_, Some(judgement @ (Judgement::NewFinding | Judgement::Changed))) => {
            format!("**{word}** ({})", judgement.words())
        }
        _ => word.to_owned(),
    }
}

/// Every claim with the kernels on which it could not be tried, by reason.
fn untestable(output: &mut dyn Write, runs: &[Stored]) -> io::Result<()> {
    let mut reasons: Vec<(&str, String, Vec<&str>)> = Vec::new();
    for (name, record) in all(runs).filter(|(_, record)| record.verdict == Word::Untestable) {
        let why = record.what_happened();
        match reasons.iter_mut().find(|(id, reason, _)| *id == record.id && *reason == why) {
            Some((_, _, names)) => names.push(name),
            None => reasons.push((&record.id, why, vec![name])),
        }
    }
    if reasons.is_empty() {
        return Ok(());
    }
    writeln!(output, "\n## Untestable\n\n| claim | on | why |\n|---|---|---|")?;
    for (id, why, names) in reasons {
        writeln!(output, "| {} | {} | {} |", escaped(id), escaped(&names.join(", ")), escaped(&why))?;
    }
    Ok(())
}

/// The text in one line, without characters that end a cell.
pub fn escaped_in_cells(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}

/// The text in one line, without characters that begin or end a cell, emphasis, link, code or tag.
pub fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for letter in one_line(text).chars() {
        if matches!(letter, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&') {
            safe.push('\\');
        }
        safe.push(letter);
    }
    safe
}
