//! `conformance list`: claims and statements, with what is known of them.

use crate::commands::failure::Failure;
use crate::commands::options::{Selection, select};
use crate::commands::output::open_output;
use clap::{Args, ValueEnum};
use conformance::claim::Claim;
use conformance::claims::REGISTRY;
use conformance::known::Known;
use conformance::pages::registry::{contradicted, errnos, page, word_on};
use conformance::pages::{open, search};
use conformance::run::answer::answers;
use conformance::seed::{Document, Language};
use conformance::verdict::Word;
use nocopy_host::kernel::{Release, Series};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    selection: Selection,
    /// Only the claims of an interface: splice, sendfile, zerocopy, ...
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Only claims in which a kernel returned this errno, or whose sentence names it
    #[arg(long, value_name = "ERRNO")]
    errno: Option<String>,
    /// Only claims about this system call
    #[arg(long, value_name = "NAME")]
    call: Option<String>,
    /// Only claims of which a source says what a kernel contradicts
    #[arg(long)]
    contradicted: bool,
    /// Add the known verdict on this kernel (6.12, or a release from uname), in parentheses if only kernels around it were measured;
    /// with --contradicted, only its own
    #[arg(long, value_name = "SERIES")]
    kernel: Option<Release>,
    /// List instead the open edges: versions at which something changed and that no kernels bracket
    #[arg(long, conflicts_with_all = ["contradicted", "kernel", "format", "statements"])]
    open: bool,
    /// List instead the statements of the source document
    #[arg(long, conflicts_with_all = ["contradicted", "kernel", "interface", "errno", "call", "filter", "source"])]
    statements: bool,
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
    /// A page with sources and what kernels do; `conformance pages` writes all of them
    Markdown,
    /// One JSON array
    Json,
    /// A JSON object per line
    Jsonl,
}

pub fn list_command(options: &List, language: Language) -> Result<bool, Failure> {
    let mut output = open_output(options.output.as_deref())?;
    if options.statements {
        statements(&mut output, options.format, language)?;
        output.finish()?;
        return Ok(true);
    }
    let claims = wanted(options)?;
    let series = options.kernel.as_ref().map(|release| release.series);
    if options.open {
        open::human(&mut output, &open::edges(&claims))?;
        output.finish()?;
        return Ok(true);
    }
    match options.format {
        Format::Markdown => output.write_all(page(&claims).as_bytes())?,
        Format::Json => {
            writeln!(output, "{:#}", claims.iter().map(|claim| of_claim(claim)).collect::<Value>())?;
        }
        Format::Jsonl => claims.iter().try_for_each(|claim| writeln!(output, "{}", of_claim(claim)))?,
        Format::Human => {
            for claim in claims {
                let word = series.map_or(String::new(), |series| format!("{:<12} ", word_on(claim, series)));
                writeln!(output, "{:<40} {word}{}", claim.id, claim.statement)?;
                if options.contradicted {
                    for (source, kernels) in contradicted(claim) {
                        let kernels: Vec<String> = kernels.iter().map(ToString::to_string).collect();
                        writeln!(
                            output,
                            "{:<40} {} {source}; not so on {}",
                            "",
                            source.stance.verb(),
                            kernels.join(", ")
                        )?;
                    }
                    for answer in answers(claim).iter().filter(|answer| !answer.instead.is_empty()) {
                        writeln!(output, "{:<40} {}", "", answer.words())?;
                    }
                }
            }
        }
    }
    output.finish()?;
    Ok(true)
}

/// The claims that all options select.
fn wanted(options: &List) -> Result<Vec<&'static Claim>, Failure> {
    let mut claims = select(&options.selection)?;
    let interfaces: BTreeSet<&str> = REGISTRY.all().map(Claim::interface).collect();
    if let Some(name) = options.interface.as_deref() {
        if !interfaces.contains(name) {
            let like = search::did_you_mean(name, interfaces.iter().copied());
            let all: Vec<&str> = interfaces.into_iter().collect();
            return Err(Failure::Usage(format!("no interface `{name}`{like}; there are {}", all.join(", "))));
        }
        claims.retain(|claim| claim.interface() == name);
    }
    if let Some(name) = options.call.as_deref() {
        claims.retain(|claim| claim.about.iter().any(|call| call.name() == name));
    }
    if let Some(name) = options.errno.as_deref() {
        claims.retain(|claim| errnos(claim).contains(&name.to_uppercase()));
    }
    if options.contradicted {
        let series = options.kernel.as_ref().map(|release| release.series);
        let is_there = |kernels: &[Series]| series.is_none_or(|series| kernels.contains(&series));
        claims.retain(|claim| {
            let mut sources = contradicted(claim).into_iter();
            let by_kind = |kind| options.selection.source.is_none_or(|wanted| wanted.is_of(kind));
            sources.any(|(source, kernels)| is_there(&kernels) && by_kind(source.kind))
        });
    }
    if claims.is_empty() {
        let what = [
            options.errno.as_deref().map(|errno| format!("--errno {errno}")),
            options.call.as_deref().map(|call| format!("--call {call}")),
            options.contradicted.then(|| "--contradicted".to_owned()),
        ];
        let what: Vec<String> = what.into_iter().flatten().collect();
        return Err(Failure::Usage(format!("no claim fits {}: leave one of the options out", what.join(" "))));
    }
    Ok(claims)
}

/// A claim with all that is known of it.
pub fn of_claim(claim: &Claim) -> Value {
    let known = Known::of(claim);
    let sources: Vec<Value> = claim
        .sources
        .iter()
        .map(|source| {
            let against: Vec<String> = known.against(source).iter().map(ToString::to_string).collect();
            json!({
                "text": source.to_string(), "name": source.name, "at": source.at, "stance": source.stance.verb(),
                "since": source.since, "until": source.until, "contradicted_on": against,
            })
        })
        .collect();
    let answers: Vec<Value> = answers(claim)
        .iter()
        .map(|answer| {
            json!({
                "from": answer.kernels.0.to_string(), "to": answer.kernels.1.to_string(), "verdict": answer.verdict.text(),
                "instead": answer.instead, "reason": answer.reason,
            })
        })
        .collect();
    json!({
        "id": claim.id, "statement": claim.statement, "sources": sources, "known": answers,
        "calls": claim.about.iter().map(syscalls::Sysno::name).collect::<Vec<_>>(),
        "method": claim.method, "file": claim.at.file(), "line": claim.at.line(),
    })
}

/// The statements of the source document, with how they stand on the newest recorded kernel.
fn statements(output: &mut dyn Write, format: Format, language: Language) -> Result<(), Failure> {
    let document = Document::load();
    let verdict = |id: &str| -> Option<Word> {
        let claim = REGISTRY.find(id)?;
        Known::of(claim).on(conformance::kernel::NEWEST)
    };
    let of = |statement: &conformance::seed::Statement| {
        json!({
            "id": statement.id, "english": statement.english, "chinese": statement.chinese, "sections": statement.sections,
            "standing": statement.standing(verdict).to_string(), "claims": statement.claims, "denied_by": statement.denied_by,
            "reason": statement.reason,
        })
    };
    match format {
        Format::Human | Format::Markdown => {
            for statement in &document.statements {
                writeln!(
                    output,
                    "{:<5} {:<14} {}",
                    statement.id,
                    statement.standing(verdict),
                    statement.sentence(language)
                )?;
            }
        }
        Format::Json => writeln!(output, "{:#}", document.statements.iter().map(of).collect::<Value>())?,
        Format::Jsonl => document.statements.iter().try_for_each(|statement| writeln!(output, "{}", of(statement)))?,
    }
    Ok(())
}
