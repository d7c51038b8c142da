//! The results of every kernel of the matrix, as `just record` wrote them to `fixtures/verdicts`.
//!
//! A record is a run in the stored form without what differs between runs: no time, no place, no facts that vary. Another run on the
//! same kernel therefore makes the same record, and a change in a record is a change of the kernel or of a claim.

#![forbid(unsafe_code)]

use crate::claim::Registry;
use crate::fixtures::VERDICTS;
use crate::run::jsonl;
use crate::run::record::{Record, Run};
use crate::run::stored::Stored;
use crate::verdict::{Judgement, Observation};
use std::sync::OnceLock;

/// The records that [`find`] has read. Each is read once.
static READ: [OnceLock<Stored>; VERDICTS.len()] = [const { OnceLock::new() }; VERDICTS.len()];

/// The kernels that have a record.
pub fn names() -> Vec<&'static str> {
    VERDICTS.iter().map(|(name, _)| *name).collect()
}

/// The record of a kernel of the matrix.
///
/// # Panics
///
/// Never in a build whose tests pass: the records are part of the program.
pub fn find(name: &str) -> Option<&'static Stored> {
    let index = VERDICTS.iter().position(|(known, _)| *known == name)?;
    let (name, text) = VERDICTS[index];
    Some(READ[index].get_or_init(|| Stored {
        name: name.to_owned(),
        run: jsonl::read(text.as_bytes()).expect("the records are checked by a test"),
    }))
}

/// What each kernel of the matrix did about a claim, oldest first.
pub fn of(id: &str) -> impl Iterator<Item = (&'static Stored, &'static Record)> {
    names().into_iter().filter_map(find).filter_map(move |stored| Some((stored, stored.run.find(id)?)))
}

/// What the newest kernel that could decide a claim did.
pub fn newest(id: &str) -> Option<&'static Observation> {
    of(id).filter_map(|(_, record)| record.observation.as_ref()).last()
}

/// The record of a run, if the run has the whole registry and is green.
///
/// # Errors
///
/// Why the run cannot be a record.
pub fn compact(run: &Run, registry: Registry) -> Result<String, String> {
    let mut records = Vec::new();
    for claim in registry.all() {
        let record =
            run.find(claim.id).ok_or_else(|| format!("it has no result of {}: a record is of all claims", claim.id))?;
        if record.verdict.is_failure() {
            let word = record.verdict.text();
            return Err(format!("{} is {word}, which says nothing of the kernel", claim.id));
        }
        records.push(Record {
            // A record is what is known.
            judgement: record.verdict.is_decided().then_some(Judgement::AsKnown),
            observation: record.observation.as_ref().map(|seen| steady(seen, claim.varies)),
            milliseconds: 0,
            ..record.clone()
        });
    }
    if let Some(other) = run.records.iter().find(|record| registry.find(&record.id).is_none()) {
        return Err(format!("it has a result for {}, which is not a claim", other.id));
    }
    let mut text = Vec::new();
    let run = Run::new(run.environment.steady(), records);
    jsonl::write_run(&mut text, &run).map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|error| error.to_string())
}

/// The observation, without the facts that vary.
fn steady(seen: &Observation, varies: &[&str]) -> Observation {
    let mut steady = Observation::new();
    for fact in seen.facts() {
        if !varies.contains(&fact.fact.as_str()) {
            steady.repeat(fact);
        }
    }
    steady
}
