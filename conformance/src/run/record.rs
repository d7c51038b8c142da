//! One claim's result, and all results of a run.

#![forbid(unsafe_code)]

use crate::claim::Claim;
use crate::foreign::Foreign;
use crate::kernel;
use crate::known::Known;
use crate::runner::outcome::{Isolation, Outcome, panic_message};
use crate::verdict::{Judgement, Observation, Reason, Verdict, Word};
use nocopy_host::kernel::Release;
use nocopy_host::kernel::uname;
use nocopy_host::process;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One claim's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The claim.
    pub id: String,
    /// Its verdict.
    pub verdict: Word,
    /// The verdict compared with what is known, if there is a verdict.
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
    /// How long it took. No verdict depends on it.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub milliseconds: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Record {
    /// Decides and judges the outcome of an experiment.
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
                    record.judgement = match verdict {
                        Verdict::Holds => Some(Known::of(claim).judge(true, running)),
                        Verdict::Refuted => Some(Known::of(claim).judge(false, running)),
                        Verdict::Untestable(_) => None,
                    };
                    record.decided(verdict);
                    record.observation = Some(seen);
                }
                Err(panic) => {
                    record.failure = Some(format!("deciding it panicked: {}", panic_message(&*panic)));
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

    /// The record of a claim that was not tried because the run ended.
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

    /// What the kernel did, or why that is unknown.
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

    /// Verdict and, if there is one, judgement: `refuted, as known`.
    pub fn words(&self) -> String {
        let verdict = self.verdict.text();
        self.judgement.map_or_else(|| verdict.to_owned(), |judgement| format!("{verdict}, {}", judgement.words()))
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

/// The circumstances of a run: the first line of the stored form.
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
    /// The real kernel, if it is not Linux: gVisor, with its version if that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub foreign: Option<String>,
    /// The effective user.
    pub uid: u32,
    /// The command line, without the program.
    pub arguments: Vec<String>,
    /// The directory for files.
    pub scratch: Option<String>,
    /// Directories that could not be used for files, with the errors.
    pub passed_over: Vec<String>,
    /// Configuration options that decide which claims can be tried, if the kernel reports them.
    pub config: Vec<(String, String)>,
    /// The isolation that the run could not use.
    pub lost: Isolation,
}

/// The version of the stored form that this program writes.
pub const SCHEMA: u32 = 1;

/// A whole run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The circumstances.
    pub environment: Environment,
    /// The results, in the order of the registry.
    pub records: Vec<Record>,
    /// Claims that cannot be tried on a kernel of this kind (User-mode Linux): under `--strict` they may be untestable.
    pub excused: Vec<String>,
}

impl Run {
    /// A run with these results.
    pub fn new(environment: Environment, records: Vec<Record>) -> Self {
        Self { environment, records, excused: vec![] }
    }

    /// The result of a claim.
    pub fn find(&self, id: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.id == id)
    }

    /// The number of results with this word.
    pub fn count(&self, word: Word) -> usize {
        self.records.iter().filter(|record| record.verdict == word).count()
    }

    /// The results with this judgement.
    pub fn judged(&self, judgement: Judgement) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.judgement == Some(judgement))
    }

    /// Judges changes as new findings, for a kernel that is not the recorded one.
    pub fn find_anew(&mut self) {
        for record in &mut self.records {
            if record.judgement == Some(Judgement::Changed) {
                record.judgement = Some(Judgement::NewFinding);
            }
        }
    }

    /// Whether any experiment gave a verdict.
    pub fn has_decided(&self) -> bool {
        self.records.iter().any(|record| record.verdict.is_decided())
    }
}

impl Environment {
    /// The environment of this process, before the supervisor has reported missing isolation.
    pub fn now(scratch: Option<String>, passed_over: Vec<String>) -> Self {
        let (kernel, machine) = uname();
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

    /// The environment without fields that differ between runs on one kernel: for a record.
    #[must_use]
    pub fn steady(&self) -> Self {
        Self { arguments: vec![], scratch: None, passed_over: vec![], lost: Isolation::default(), ..self.clone() }
    }
}
