//! The conditions under which a run is red.

#![forbid(unsafe_code)]

use super::record::{Record, Run};
use super::text::plural;
use crate::claim::Registry;
use crate::foreign::Foreign;
use crate::known::Known;
use crate::verdict::{Judgement, Word};
use nocopy_host::kernel::Release;

/// The results that are red in addition to broken experiments. It means the same for every command that has `--strict`.
#[derive(Clone, Debug, Default)]
pub struct Strictness {
    /// A verdict that contradicts the known one, on a measured series, is red; so is an unexpected untestable claim.
    pub strict: bool,
    /// Claims that may be untestable; for a grid, rows.
    pub expected_untestable: Vec<String>,
    /// The claims, for their known verdicts.
    pub registry: Registry,
}

impl Run {
    /// Whether the claim is expected to be testable on this run's series. It is, if it was decided on that series before, or if the
    /// series was never measured.
    fn has_been_measured(&self, id: &str, registry: Registry) -> bool {
        let running: Result<Release, _> = self.environment.kernel.parse();
        let series = running.map(|release| release.series);
        let (Some(claim), Ok(series)) = (registry.find(id), series) else {
            return true;
        };
        Known::of(claim).on(series).is_none_or(Word::is_decided)
    }

    /// Whether a claim cannot be tried on this kind of kernel, which is not a normal Linux: the claims that are known to be
    /// untestable in gVisor, and those that run programs, which its sandbox does not have.
    fn is_excused(&self, id: &str, registry: Registry) -> bool {
        let runs_programs = || registry.find(id).is_some_and(|claim| !claim.programs.is_empty());
        let in_gvisor = || runs_programs() || Foreign::gvisor(None).is_untestable(id);
        self.excused.iter().any(|excused| excused == id) || self.environment.foreign.is_some() && in_gvisor()
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
                    && self.has_been_measured(id, strictness.registry)
                    && !self.is_excused(id, strictness.registry)
                    && !strictness.expected_untestable.contains(id) =>
            {
                let reason = record.reason.as_ref().map(ToString::to_string);
                Some(format!(
                    "{id} untestable, which --expect-untestable does not name: {}",
                    reason.unwrap_or_default()
                ))
            }
            Word::Holds | Word::Refuted if strictness.strict && record.judgement == Some(Judgement::Changed) => {
                let verdict = record.verdict.text();
                Some(format!("{id} changed: {verdict} here, otherwise before"))
            }
            _ => None,
        }
    }

    /// Whether reports that count failures count this result.
    pub fn fails(&self, record: &Record, strictness: &Strictness) -> bool {
        self.why_red(record, strictness).is_some()
    }

    /// Why results are red, in one clause each. Claims that were not reached for the same reason share one clause.
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
            let claims = plural(ids.len(), "claim");
            reasons.push(format!("{claims} not reached ({}, ..): {why}", ids[0]));
        }
        reasons
    }

    /// Why the run is red, in one clause each; empty if it is green. A run without any verdict is never green.
    pub fn red(&self, strictness: &Strictness) -> Vec<String> {
        let mut reasons = self.red_results(strictness);
        if !self.has_decided() && reasons.is_empty() {
            reasons.push(NOTHING_DECIDED.to_owned());
        }
        reasons
    }
}

/// Why several runs are red, in one clause each that begins with the run's name. A run without any verdict is not red by itself: a
/// kernel may lack the subject of all these claims.
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

/// Why a run without any verdict is red.
pub const NOTHING_DECIDED: &str = "nothing was decided: no claim could be tried";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::{Claim, claim};
    use crate::run::record::Environment;
    use crate::runner::outcome::Outcome;
    use crate::verdict::{Lack, Observation, Reason};

    /// With the id of a claim that every kernel let hold.
    const CLAIM: Claim = claim("tee.ends.same-pipe", "It is so.");

    fn record(outcome: Outcome) -> Record {
        Record::of(&CLAIM, outcome, 1, &"6.18.99+deb13-cloud-amd64".parse().expect("a release"))
    }

    fn seen(result: Result<usize, syscalls::Errno>) -> Outcome {
        let mut seen = Observation::new();
        seen.call("call", result).succeeds();
        Outcome::Seen(seen)
    }

    #[test]
    fn decided_and_judged() {
        let record = record(seen(Ok(1)));
        assert_eq!((record.verdict, record.judgement), (Word::Holds, Some(Judgement::AsKnown)));
        let record = super::tests::record(seen(Err(syscalls::Errno::EINVAL)));
        assert_eq!((record.verdict, record.judgement), (Word::Refuted, Some(Judgement::Changed)));
    }

    #[test]
    fn an_experiment_without_an_expectation_is_broken_and_not_a_panic() {
        let record = record(Outcome::Seen(Observation::new()));
        assert_eq!(record.verdict, Word::Broken);
        assert!(record.failure.expect("a message").contains("expects nothing"));
    }

    #[test]
    fn red_is_what_design_says() {
        let environment = Environment::now(None, vec![]);
        let run = |outcome| Run::new(environment.clone(), vec![record(outcome)]);
        let lax = Strictness::default();
        let strict = Strictness { strict: true, expected_untestable: vec![], ..Strictness::default() };
        let expecting =
            Strictness { strict: true, expected_untestable: vec![CLAIM.id.into()], ..Strictness::default() };
        let untestable = || Outcome::Untestable(Reason::new(Lack::Device, "no device", "make one"));
        assert!(run(seen(Ok(1))).red(&strict).is_empty());
        assert_eq!(run(Outcome::Broken("x".into())).red(&lax).len(), 1);
        assert_eq!(run(Outcome::TimedOut("x".into())).red(&lax).len(), 1);
        assert!(run(seen(Err(syscalls::Errno::EINVAL))).red(&lax).is_empty());
        assert_eq!(run(seen(Err(syscalls::Errno::EINVAL))).red(&strict).len(), 1);
        assert!(run(untestable()).red_results(&lax).is_empty());
        assert_eq!(run(untestable()).red_results(&strict).len(), 1);
        assert!(run(untestable()).red_results(&expecting).is_empty());
    }

    /// Whatever is expected, a run without any verdict is red; one verdict is enough.
    #[test]
    fn nothing_decided_is_never_green() {
        let untestable = || Outcome::Untestable(Reason::new(Lack::Device, "no device", "make one"));
        let run = |outcomes: Vec<Outcome>| {
            let records = outcomes.into_iter().map(record).collect();
            Run::new(Environment::now(None, vec![]), records)
        };
        let expecting =
            Strictness { strict: true, expected_untestable: vec![CLAIM.id.into()], ..Strictness::default() };
        for strictness in [Strictness::default(), expecting] {
            let red = run(vec![untestable(), untestable()]).red(&strictness);
            assert_eq!(red, [NOTHING_DECIDED]);
            assert!(!run(vec![]).red(&strictness).is_empty());
            assert!(run(vec![untestable(), seen(Ok(1))]).red(&strictness).is_empty());
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
        assert_eq!(red, ["2 claims not reached (a.b.d, ..): SIGTERM ended the run"]);
        assert!(run.fails(&run.records[2], &Strictness::default()));
    }
}
