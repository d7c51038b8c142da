//! What kernels do about a claim, in words: from the recorded facts, per interval of kernels.

#![forbid(unsafe_code)]

use crate::claim::Claim;
use crate::run::record::Record;
use crate::run::recorded;
use crate::verdict::{Expected, Fact, Observation, Word};
use nocopy_host::kernel::{Release, Series};

/// What neighbouring kernels of the matrix did alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The oldest and the newest of them.
    pub kernels: (Series, Series),
    /// Their number.
    pub count: usize,
    /// The verdict.
    pub verdict: Word,
    /// For a refuted claim: the facts that contradict it.
    pub instead: Vec<Fact>,
    /// Why it is untestable there.
    pub reason: Option<String>,
}

/// What the kernels of the matrix did about a claim, oldest first.
pub fn answers(claim: &Claim) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    for (stored, record) in recorded::of(claim.id) {
        let Ok(release) = stored.run.environment.kernel.parse::<Release>() else {
            continue;
        };
        let series = release.series;
        let instead = contradicting(record);
        let reason = record.reason.as_ref().map(|reason| reason.what.clone());
        match answers.last_mut() {
            Some(last) if last.verdict == record.verdict && last.instead == instead && last.reason == reason => {
                last.kernels.1 = series;
                last.count += 1;
            }
            _ => answers.push(Answer { kernels: (series, series), count: 1, verdict: record.verdict, instead, reason }),
        }
    }
    answers
}

/// The facts of a refuted claim that are not as its sentence needs them; all facts, where a record has no expectations.
fn contradicting(record: &Record) -> Vec<Fact> {
    let Some(seen) = record.observation.as_ref().filter(|_| record.verdict == Word::Refuted) else {
        return Vec::new();
    };
    let unmet: Vec<Fact> = seen.unmet().cloned().collect();
    if unmet.is_empty() { seen.facts().to_vec() } else { unmet }
}

impl Answer {
    /// The kernels: `6.1`, or `5.10 to 7.3`.
    pub fn range(&self) -> String {
        let (from, to) = self.kernels;
        if from == to { from.to_string() } else { format!("{from} to {to}") }
    }

    /// The facts that contradict the sentence, with what it needs in their place.
    pub fn facts(&self) -> String {
        let facts: Vec<String> = self.instead.iter().map(instead).collect();
        facts.join("; ")
    }

    /// The verdict and what the kernels do instead: `refuted on 5.10 to 6.1: splice(/dev/zero, pipe) = EINVAL, not success`.
    pub fn words(&self) -> String {
        let beginning = format!("{} on {}", self.verdict.text(), self.range());
        match (&self.reason, self.instead.is_empty()) {
            (Some(reason), _) => format!("{beginning}: {reason}"),
            (None, true) => beginning,
            (None, false) => format!("{beginning}: {}", self.facts()),
        }
    }
}

/// A fact with what the sentence needs in its place.
pub fn instead(fact: &Fact) -> String {
    match &fact.expected {
        None => fact.to_string(),
        Some(expected @ Expected::SaysNot(_)) => format!("{fact}, where it must be {expected}"),
        Some(expected) => format!("{fact}, not {expected}"),
    }
}

/// The facts that decide the sentence, with what it needs: `tee(pipe, same pipe) = EINVAL`.
pub fn needed(seen: &Observation) -> Vec<String> {
    let decided = seen.facts().iter().filter_map(|fact| {
        let expected = fact.expected.as_ref()?;
        Some(if fact.fact.ends_with(')') || !matches!(expected, Expected::Says(_)) {
            format!("{} = {expected}", fact.fact)
        } else {
            format!("{}: {expected}", fact.fact)
        })
    });
    decided.collect()
}
