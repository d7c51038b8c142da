//! What a run says: the stored form, and what is derived from it.

#![forbid(unsafe_code)]

pub mod catalogue;
pub mod diff;
pub mod human;
pub mod json;
pub mod jsonl;
pub mod junit;
pub mod kcidb;
pub mod ktap;
pub mod markdown;
pub mod stored;

use crate::claim::Claim;
use crate::foreign::Foreign;
use crate::kernel::{self, Release};
use crate::process;
use crate::recorded;
use crate::runner::{Isolation, Outcome, panic_message};
use crate::verdict::{Judgement, Observation, Reason, Verdict, Word};
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One claim's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The claim.
    pub id: String,
    /// What came of it.
    pub verdict: Word,
    /// The verdict against what is known; none where there is no verdict.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub judgement: Option<Judgement>,
    /// Why it is untestable.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// Why it is broken or timed out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failure: Option<String>,
    /// What the kernel did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub observation: Option<Observation>,
    /// How long it took, for the curious: no verdict depends on it.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub milliseconds: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Record {
    /// Decides and judges what an experiment brought.
    pub fn of(claim: &Claim, outcome: Outcome, milliseconds: u64, running: &Release) -> Self {
        let mut record = Self {
            id: claim.id.to_owned(),
            verdict: Word::Broken,
            judgement: None,
            reason: None,
            failure: None,
            observation: None,
            milliseconds,
        };
        match outcome {
            Outcome::Seen(seen) => match catch_unwind(AssertUnwindSafe(|| claim.verdict(&seen))) {
                Ok(verdict) => {
                    record.judgement = Judgement::of(&verdict, claim.finds, running.series);
                    record.decided(verdict);
                    record.observation = Some(seen);
                }
                Err(panic) => {
                    record.failure =
                        Some(format!("deciding it panicked: {}", panic_message(&*panic)));
                    record.observation = Some(seen);
                }
            },
            Outcome::Untestable(reason) => record.decided(Verdict::Untestable(reason)),
            Outcome::Broken(failure) => record.failure = Some(failure),
            Outcome::TimedOut(failure) => {
                record.verdict = Word::TimeOut;
                record.failure = Some(failure);
            }
            Outcome::NotReached(why) => record = Self::not_reached(claim.id, why),
        }
        record
    }

    /// Of a claim whose experiment the end of the run has prevented.
    pub fn not_reached(id: &str, why: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            verdict: Word::NotReached,
            judgement: None,
            reason: None,
            failure: Some(why.into()),
            observation: None,
            milliseconds: 0,
        }
    }

    /// What the kernel did, or why there is nothing to say of it.
    pub fn what_happened(&self) -> String {
        let seen = self.observation.as_ref().map(ToString::to_string);
        let reason = self.reason.as_ref().map(ToString::to_string);
        match (&self.failure, seen) {
            (Some(failure), Some(seen)) => format!("{failure} ({seen})"),
            (Some(failure), None) => failure.clone(),
            (None, seen) => seen.or(reason).unwrap_or_default(),
        }
    }

    /// The interface that its claim is about: the id up to the first dot.
    pub fn interface(&self) -> &str {
        self.id.split('.').next().unwrap_or(&self.id)
    }

    /// Verdict and judgement, as far as there are any: `refuted, as known`.
    pub fn words(&self) -> String {
        let verdict = self.verdict.text();
        self.judgement.map_or_else(
            || verdict.to_owned(),
            |judgement| format!("{verdict}, {}", judgement.words()),
        )
    }

    fn decided(&mut self, verdict: Verdict) {
        self.verdict = match verdict {
            Verdict::Holds => Word::Holds,
            Verdict::Refuted => Word::Refuted,
            Verdict::Untestable(reason) => {
                self.reason = Some(reason);
                Word::Untestable
            }
        };
    }
}

/// What a run was made on and with: the first line of the stored form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The version of the stored form.
    pub schema: u32,
    /// This program's version.
    pub conformance: String,
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub machine: String,
    /// What it really is, if it is not Linux: gVisor, with its version where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub foreign: Option<String>,
    /// The effective user.
    pub uid: u32,
    /// The command line, without the program.
    pub arguments: Vec<String>,
    /// Where files were made.
    pub scratch: Option<String>,
    /// Directories that could not be used for files, with the errors.
    pub passed_over: Vec<String>,
    /// Configuration options that decide what can be tried, where the kernel tells.
    pub config: Vec<(String, String)>,
    /// What the run could not use.
    pub lost: Isolation,
}

/// The version of the stored form that this program writes.
pub const SCHEMA: u32 = 1;

/// A whole run.
#[derive(Clone, Debug)]
pub struct Run {
    /// On and with what.
    pub environment: Environment,
    /// The results, in the order of the registry.
    pub records: Vec<Record>,
    /// Claims that cannot be tried on a kernel of this kind, which is not a machine's Linux: under `--strict` they may be untestable.
    pub excused: Vec<String>,
}

/// The text in one line: whatever would end a line, or make a terminal do things, is a space.
pub fn one_line(text: &str) -> String {
    let spaces = text.replace(|letter: char| letter.is_control(), " ");
    spaces.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What counts as red beyond broken experiments: one meaning for every command that has `--strict`.
#[derive(Clone, Debug, Default)]
pub struct Strictness {
    /// A contradiction to what is known, on a measured series, is red; so is an untestable claim that is not expected.
    pub strict: bool,
    /// Claims that may be untestable; of a grid, rows.
    pub expected_untestable: Vec<String>,
}

impl Run {
    /// These results.
    pub fn new(environment: Environment, records: Vec<Record>) -> Self {
        // What is known of gVisor, and what runs programs, which its sandbox does not have.
        let in_gvisor = || {
            let runs = crate::claims::registry().into_iter();
            let runs = runs.filter(|claim| !claim.programs.is_empty());
            let runs = runs.map(|claim| claim.id.to_owned());
            runs.chain(Foreign::gvisor(None).untestable()).collect()
        };
        let excused = environment
            .foreign
            .as_ref()
            .map_or_else(Vec::new, |_| in_gvisor());
        Self {
            environment,
            records,
            excused,
        }
    }

    /// The result of a claim.
    pub fn find(&self, id: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.id == id)
    }

    /// How many have this word.
    pub fn count(&self, word: Word) -> usize {
        self.records
            .iter()
            .filter(|record| record.verdict == word)
            .count()
    }

    /// The results with this judgement.
    pub fn judged(&self, judgement: Judgement) -> impl Iterator<Item = &Record> {
        self.records
            .iter()
            .filter(move |record| record.judgement == Some(judgement))
    }

    /// Whether an experiment has given an answer on this run's series before: then it can be tried there. On a series that was
    /// never measured it should be.
    fn has_been_measured(&self, id: &str) -> bool {
        let running: Result<Release, _> = self.environment.kernel.parse();
        let series = running.map(|release| release.series);
        let (Some(claim), Ok(series)) = (crate::claims::find(id), series) else {
            return true;
        };
        let known = recorded::find(&series.to_string());
        let known = known.and_then(|stored| stored.run.find(id));
        match known {
            Some(record) => record.verdict.is_decided(),
            None => claim.is_known_on(series) || !kernel::MEASURED.contains(&series),
        }
    }

    /// Why a result is red, if it is.
    pub fn why_red(&self, record: &Record, strictness: &Strictness) -> Option<String> {
        let id = &record.id;
        match record.verdict {
            Word::Broken | Word::TimeOut | Word::NotReached => {
                let failure = record.failure.as_deref().unwrap_or("no message");
                Some(format!("{id} {}: {failure}", record.verdict.text()))
            }
            Word::Untestable
                if strictness.strict
                    && self.has_been_measured(id)
                    && !self.excused.contains(id)
                    && !strictness.expected_untestable.contains(id) =>
            {
                let reason = record.reason.as_ref().map(ToString::to_string);
                Some(format!(
                    "{id} untestable, which --expect-untestable does not name: {}",
                    reason.unwrap_or_default()
                ))
            }
            Word::Holds | Word::Refuted
                if strictness.strict && record.judgement == Some(Judgement::Changed) =>
            {
                let verdict = record.verdict.text();
                Some(format!("{id} changed: {verdict} here, otherwise before"))
            }
            _ => None,
        }
    }

    /// Whether programs that count failures count this result.
    pub fn fails(&self, record: &Record, strictness: &Strictness) -> bool {
        self.why_red(record, strictness).is_some()
    }

    /// Why results are red, a clause each; those that were not reached for one reason together.
    pub fn red_results(&self, strictness: &Strictness) -> Vec<String> {
        let mut reasons = Vec::new();
        let mut unreached: Vec<(&str, Vec<&str>)> = Vec::new();
        for record in &self.records {
            if record.verdict == Word::NotReached {
                let why = record.failure.as_deref().unwrap_or("no message");
                match unreached.iter_mut().find(|(known, _)| *known == why) {
                    Some((_, ids)) => ids.push(&record.id),
                    None => unreached.push((why, vec![&record.id])),
                }
            } else {
                reasons.extend(self.why_red(record, strictness));
            }
        }
        for (why, ids) in unreached {
            let claims = human::plural(ids.len(), "claim");
            reasons.push(format!("{claims} not reached ({}, ..): {why}", ids[0]));
        }
        reasons
    }

    /// Why the run is red, a clause each; none if it is green. A run that has decided nothing is never green.
    pub fn red(&self, strictness: &Strictness) -> Vec<String> {
        let mut reasons = self.red_results(strictness);
        if !self.has_decided() && reasons.is_empty() {
            reasons.push(NOTHING_DECIDED.to_owned());
        }
        reasons
    }

    /// Whether any experiment gave an answer.
    pub fn has_decided(&self) -> bool {
        self.records
            .iter()
            .any(|record| record.verdict.is_decided())
    }
}

/// Why several runs are red, a clause each that begins with the run's name. That one of them has decided nothing is not red by
/// itself: a kernel may lack what all these claims are about.
pub fn red_of_all<'run>(
    runs: impl IntoIterator<Item = (&'run str, &'run Run)>,
    strictness: &Strictness,
) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut has_decided = false;
    for (name, run) in runs {
        has_decided |= run.has_decided();
        let red = run.red_results(strictness).into_iter();
        reasons.extend(red.map(|reason| format!("{name}: {reason}")));
    }
    if !has_decided && reasons.is_empty() {
        reasons.push(NOTHING_DECIDED.to_owned());
    }
    reasons
}

/// Why a run without an answer is red.
pub const NOTHING_DECIDED: &str = "nothing was decided: no claim could be tried";

impl Environment {
    /// Of this process, before the supervisor has told what is lost.
    pub fn now(scratch: Option<String>, passed_over: Vec<String>) -> Self {
        let (kernel, machine) = kernel::uname();
        Self {
            schema: SCHEMA,
            conformance: env!("CARGO_PKG_VERSION").to_owned(),
            kernel,
            machine,
            foreign: Foreign::running().map(|foreign| foreign.to_string()),
            uid: process::effective_user(),
            arguments: std::env::args().skip(1).collect(),
            scratch,
            passed_over,
            config: kernel::config_facts(),
            lost: Isolation::default(),
        }
    }

    /// Without what differs from run to run on one kernel: for a record.
    #[must_use]
    pub fn steady(&self) -> Self {
        Self {
            arguments: vec![],
            scratch: None,
            passed_over: vec![],
            lost: Isolation::default(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::always;
    use crate::verdict::Lack;

    const CLAIM: Claim = Claim {
        finds: always(true),
        ..Claim::new(
            "a.b.c",
            |_| Ok(Observation::new()),
            |seen| Verdict::holds_if(seen.succeeded("call")),
        )
    };

    fn record(outcome: Outcome) -> Record {
        Record::of(&CLAIM, outcome, 1, &"6.18.1".parse().expect("a release"))
    }

    fn seen(result: Result<usize, syscalls::Errno>) -> Outcome {
        let mut seen = Observation::new();
        seen.call("call", result);
        Outcome::Seen(seen)
    }

    #[test]
    fn decided_and_judged() {
        let record = record(seen(Ok(1)));
        assert_eq!(
            (record.verdict, record.judgement),
            (Word::Holds, Some(Judgement::AsKnown))
        );
        let record = super::tests::record(seen(Err(syscalls::Errno::EINVAL)));
        assert_eq!(
            (record.verdict, record.judgement),
            (Word::Refuted, Some(Judgement::Changed))
        );
    }

    #[test]
    fn a_missing_fact_is_broken_and_not_a_panic() {
        let record = record(Outcome::Seen(Observation::new()));
        assert_eq!(record.verdict, Word::Broken);
        assert!(
            record
                .failure
                .expect("a message")
                .contains("no fact `call`")
        );
    }

    #[test]
    fn red_is_what_design_says() {
        let environment = Environment::now(None, vec![]);
        let run = |outcome| Run::new(environment.clone(), vec![record(outcome)]);
        let lax = Strictness::default();
        let strict = Strictness {
            strict: true,
            expected_untestable: vec![],
        };
        let expecting = Strictness {
            strict: true,
            expected_untestable: vec!["a.b.c".into()],
        };
        let untestable = || Outcome::Untestable(Reason::new(Lack::Device, "no device", "make one"));
        assert!(run(seen(Ok(1))).red(&strict).is_empty());
        assert_eq!(run(Outcome::Broken("x".into())).red(&lax).len(), 1);
        assert_eq!(run(Outcome::TimedOut("x".into())).red(&lax).len(), 1);
        assert!(run(seen(Err(syscalls::Errno::EINVAL))).red(&lax).is_empty());
        assert_eq!(
            run(seen(Err(syscalls::Errno::EINVAL))).red(&strict).len(),
            1
        );
        assert!(run(untestable()).red_results(&lax).is_empty());
        assert_eq!(run(untestable()).red_results(&strict).len(), 1);
        assert!(run(untestable()).red_results(&expecting).is_empty());
    }

    /// Whatever is expected, a run without an answer is red; one answer is enough.
    #[test]
    fn nothing_decided_is_never_green() {
        let untestable = || Outcome::Untestable(Reason::new(Lack::Device, "no device", "make one"));
        let run = |outcomes: Vec<Outcome>| {
            let records = outcomes.into_iter().map(record).collect();
            Run::new(Environment::now(None, vec![]), records)
        };
        let expecting = Strictness {
            strict: true,
            expected_untestable: vec!["a.b.c".into()],
        };
        for strictness in [Strictness::default(), expecting] {
            let red = run(vec![untestable(), untestable()]).red(&strictness);
            assert_eq!(red, [NOTHING_DECIDED]);
            assert!(!run(vec![]).red(&strictness).is_empty());
            assert!(
                run(vec![untestable(), seen(Ok(1))])
                    .red(&strictness)
                    .is_empty()
            );
        }
    }

    #[test]
    fn what_was_not_reached_is_one_clause_for_each_reason() {
        let records = vec![
            record(seen(Ok(1))),
            Record::not_reached("a.b.d", "SIGTERM ended the run"),
            Record::not_reached("a.b.e", "SIGTERM ended the run"),
        ];
        let run = Run::new(Environment::now(None, vec![]), records);
        let red = run.red(&Strictness::default());
        assert_eq!(
            red,
            ["2 claims not reached (a.b.d, ..): SIGTERM ended the run"]
        );
        assert!(run.fails(&run.records[2], &Strictness::default()));
    }
}
