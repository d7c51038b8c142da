//! `claims.json`: every claim with its sources and what each kernel did, for other programs.
//!
//! The dimensions are release, architecture and page size. What two measured kernels bracket is between them: no version is invented.

use crate::claim::Claim;
use crate::claim::source::{Kind, Source};
use crate::known::Known;
use crate::run::recorded;
use crate::seed::Document;
use crate::verdict::{Fact, Observation, Word};
use serde::Serialize;

/// The version of the schema. It grows with a change that a reader can notice.
pub const VERSION: u32 = 1;

/// The whole file.
#[derive(Serialize)]
pub struct Data {
    schema: u32,
    conformance: &'static str,
    environments: Vec<Environment>,
    claims: Vec<Entry>,
}

/// Where claims were decided.
#[derive(Serialize)]
struct Environment {
    name: &'static str,
    release: &'static str,
    architecture: &'static str,
    /// In bytes, if it is known.
    page_size: Option<u32>,
}

#[derive(Serialize)]
struct Entry {
    id: &'static str,
    sentence: &'static str,
    method: &'static str,
    calls: Vec<&'static str>,
    code: Code,
    statements: Vec<String>,
    sources: Vec<Said>,
    results: Vec<Outcome>,
    changes: Vec<Change>,
}

#[derive(Serialize)]
struct Code {
    file: &'static str,
    line: u32,
}

/// A source, and the environments that contradict it.
#[derive(Serialize)]
struct Said {
    kind: &'static str,
    name: &'static str,
    place: &'static str,
    edition: Option<&'static str>,
    stance: String,
    since: Option<&'static str>,
    until: Option<&'static str>,
    contradicted_by: Vec<String>,
}

/// What neighbouring environments did alike.
#[derive(Serialize)]
struct Outcome {
    environments: Vec<&'static str>,
    verdict: &'static str,
    reason: Option<String>,
    facts: Vec<Fact>,
}

/// Two neighbours that decided otherwise: the change is between them.
#[derive(Serialize)]
struct Change {
    after: String,
    not_after: String,
    verdict: &'static str,
}

impl Data {
    /// The data of these claims.
    pub fn of(claims: &[&'static Claim], document: &Document) -> Self {
        let stored = recorded::names().into_iter().filter_map(|name| Some((name, recorded::find(name)?)));
        let environments = stored.map(|(name, stored)| {
            let environment = &stored.run.environment;
            let architecture = environment.machine.as_str();
            Environment {
                name,
                release: &environment.kernel,
                architecture,
                page_size: (architecture == "x86_64").then_some(4096),
            }
        });
        Self {
            schema: VERSION,
            conformance: env!("CARGO_PKG_VERSION"),
            environments: environments.collect(),
            claims: claims.iter().map(|claim| entry(claim, document)).collect(),
        }
    }
}

fn entry(claim: &'static Claim, document: &Document) -> Entry {
    let statements = document.statements.iter().filter(|statement| statement.all_claims().any(|id| id == claim.id));
    Entry {
        id: claim.id,
        sentence: claim.statement,
        method: claim.method,
        calls: claim.about.iter().map(syscalls::Sysno::name).collect(),
        code: Code { file: claim.at.file(), line: claim.at.line() },
        statements: statements.map(|statement| statement.id.clone()).collect(),
        sources: claim.sources.iter().map(|source| said(claim, source)).collect(),
        results: results(claim),
        changes: changes(claim),
    }
}

fn said(claim: &Claim, source: &Source) -> Said {
    let kind = match source.kind {
        Kind::Seed => "source-document",
        Kind::Man => "manual-page",
        Kind::Document => "kernel-document",
        Kind::Selftest => "kernel-selftest",
        Kind::Kernel => "kernel-source",
        Kind::Ltp => "ltp",
        Kind::Gvisor => "gvisor",
        Kind::Liburing => "liburing",
        Kind::Commit => "kernel-commit",
        Kind::Thread => "thread",
        Kind::Program => "program",
        Kind::Measured => "measured",
    };
    let against = Known::of(claim);
    let against = against.against(source);
    Said {
        kind,
        name: source.name,
        place: source.at,
        edition: source.edition,
        stance: source.stance.verb().replace(' ', "-"),
        since: source.since,
        until: source.until,
        contradicted_by: against.iter().map(|release| release.series.to_string()).collect(),
    }
}

fn results(claim: &Claim) -> Vec<Outcome> {
    let mut results: Vec<Outcome> = Vec::new();
    for (stored, record) in recorded::of(claim.id) {
        let facts = record.observation.as_ref().map(Observation::facts).unwrap_or_default();
        let reason = record.reason.as_ref().map(|reason| reason.what.clone());
        let verdict = word(record.verdict);
        match results.last_mut() {
            Some(last) if last.verdict == verdict && last.reason == reason && last.facts == facts => {
                last.environments.push(&stored.name);
            }
            _ => results.push(Outcome { environments: vec![&stored.name], verdict, reason, facts: facts.to_vec() }),
        }
    }
    results
}

fn changes(claim: &Claim) -> Vec<Change> {
    let intervals = Known::of(claim).intervals();
    let pairs = intervals.iter().zip(intervals.iter().skip(1));
    let change = pairs.map(|(before, after)| Change {
        after: before.to.to_string(),
        not_after: after.from.to_string(),
        verdict: word(if after.holds { Word::Holds } else { Word::Refuted }),
    });
    change.collect()
}

const fn word(word: Word) -> &'static str {
    match word {
        Word::Holds => "holds",
        Word::Refuted => "refuted",
        Word::Untestable => "untestable",
        Word::Broken | Word::TimeOut | Word::NotReached => "failed",
    }
}
