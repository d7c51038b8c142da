//! What is known of a claim: what the kernels of the matrix did, from their records.
//!
//! A record is of one release: `6.12.118+deb13-cloud-amd64`. Between two releases that agree, the same is assumed, and marked so.

#![forbid(unsafe_code)]

use crate::claim::Claim;
use crate::claim::source::Source;
use crate::fixtures::VERDICTS;
use crate::verdict::{Judgement, Word};
use nocopy_host::kernel::{Release, Series};
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

/// What the kernels of the matrix did, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known(Vec<Row>);

/// What one kernel did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The kernel.
    pub release: Release,
    /// The verdict.
    pub verdict: Word,
}

/// Neighbouring kernels of the matrix with the same verdict. Kernels that could not decide it are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The oldest of them.
    pub from: Series,
    /// The newest of them.
    pub to: Series,
    /// Whether the claim holds there.
    pub holds: bool,
}

impl Row {
    /// Whether the claim holds there, if that is decided.
    pub fn holds(&self) -> Option<bool> {
        match self.verdict {
            Word::Holds => Some(true),
            Word::Refuted => Some(false),
            Word::Untestable | Word::Broken | Word::TimeOut | Word::NotReached => None,
        }
    }
}

impl Known {
    /// What the records have of a claim.
    pub fn of(claim: &Claim) -> Self {
        Self(ROWS.get(claim.id).cloned().unwrap_or_default())
    }

    /// These rows, oldest kernel first.
    pub fn new(rows: Vec<Row>) -> Self {
        Self(rows)
    }

    /// A row for each kernel, oldest first.
    pub fn rows(&self) -> &[Row] {
        &self.0
    }

    /// The verdict of the recorded kernel of a series.
    pub fn on(&self, series: Series) -> Option<Word> {
        self.0.iter().find(|row| row.release.series == series).map(|row| row.verdict)
    }

    /// The kernels that decided it, with whether it holds there.
    fn decided(&self) -> impl DoubleEndedIterator<Item = (&Release, bool)> {
        self.0.iter().filter_map(|row| Some((&row.release, row.holds()?)))
    }

    /// The intervals of kernels with the same verdict, oldest first.
    pub fn intervals(&self) -> Vec<Interval> {
        let mut intervals: Vec<Interval> = Vec::new();
        for (release, holds) in self.decided() {
            match intervals.last_mut() {
                Some(last) if last.holds == holds => last.to = release.series,
                _ => intervals.push(Interval { from: release.series, to: release.series, holds }),
            }
        }
        intervals
    }

    /// The kernels that contradict a source.
    pub fn against(&self, source: &Source) -> Vec<&Release> {
        let rows = self.decided().filter(|(release, holds)| source.is_contradicted(release.series, *holds));
        rows.map(|(release, _)| release).collect()
    }

    /// What the nearest recorded kernels below and above a series agree on.
    pub fn between(&self, series: Series) -> Option<bool> {
        let (_, below) = self.decided().rfind(|(release, _)| release.series < series)?;
        let (_, above) = self.decided().find(|(release, _)| release.series > series)?;
        (below == above).then_some(below)
    }

    /// Compares a verdict on `running` with what is known.
    ///
    /// | | verdict agrees | verdict differs |
    /// |---|---|---|
    /// | the recorded release, or a newer package of it | as known | changed |
    /// | another kernel of its series | as known | new finding |
    /// | between two kernels that agree with each other | as known | new finding |
    /// | any other kernel | new finding | new finding |
    pub fn judge(&self, holds: bool, running: &Release) -> Judgement {
        let same = self.decided().find(|(release, _)| release.series == running.series);
        let known = match same {
            Some((release, recorded)) if recorded != holds && is_of_package(running, release) => {
                return Judgement::Changed;
            }
            Some((_, recorded)) => recorded == holds,
            None => self.between(running.series) == Some(holds),
        };
        if known { Judgement::AsKnown } else { Judgement::NewFinding }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.holds { "holds" } else { "refuted" })?;
        if self.from == self.to {
            write!(f, " on {}", self.from)
        } else {
            write!(f, " on {} to {}", self.from, self.to)
        }
    }
}

/// Whether a kernel is the recorded one, or a newer package of the same distribution and series: its release differs in numbers only.
fn is_of_package(running: &Release, recorded: &Release) -> bool {
    let numbers = |release: &Release| -> (Vec<u32>, String) {
        let text = release.to_string();
        let is_digit = |letter: char| letter.is_ascii_digit();
        let numbers = text.split(|letter| !is_digit(letter)).filter_map(|digits| digits.parse().ok()).collect();
        (numbers, text.chars().filter(|letter| !is_digit(*letter)).collect())
    };
    let (running_numbers, running_name) = numbers(running);
    let (recorded_numbers, recorded_name) = numbers(recorded);
    running_name == recorded_name && running_numbers >= recorded_numbers
}

/// A line of a record, without what was seen.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Line {
    Environment {
        kernel: String,
    },
    Claim {
        id: String,
        verdict: Word,
    },
    #[serde(other)]
    Other,
}

/// The rows of every claim that has a record.
static ROWS: LazyLock<HashMap<String, Vec<Row>>> = LazyLock::new(|| {
    let mut rows: HashMap<String, Vec<Row>> = HashMap::new();
    for (_, text) in VERDICTS {
        let mut running = None;
        for line in text.lines() {
            match serde_json::from_str(line).expect("the records are checked by a test") {
                Line::Environment { kernel } => running = kernel.parse::<Release>().ok(),
                Line::Claim { id, verdict } => {
                    let release = running.clone().expect("a record begins with its kernel");
                    rows.entry(id).or_default().push(Row { release, verdict });
                }
                Line::Other => {}
            }
        }
    }
    rows
});

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const GAP: [(&str, Word); 5] = [
        ("5.10.0-46-cloud-amd64", Word::Refuted),
        ("6.1.0-57-cloud-amd64", Word::Refuted),
        ("6.12.118+deb13-cloud-amd64", Word::Holds),
        ("6.19.14+deb13-cloud-amd64", Word::Untestable),
        ("7.3.4+deb13-cloud-amd64", Word::Holds),
    ];

    fn known() -> Known {
        let row = |(release, verdict): (&str, Word)| Row { release: release.parse().expect("a release"), verdict };
        Known::new(GAP.map(row).to_vec())
    }

    #[rstest]
    #[case::the_recorded_one("5.10.0-46-cloud-amd64", false, Judgement::AsKnown)]
    #[case::it_has_changed("6.1.0-57-cloud-amd64", true, Judgement::Changed)]
    #[case::a_newer_package("6.1.0-58-cloud-amd64", true, Judgement::Changed)]
    #[case::a_newer_patch("6.12.200+deb13-cloud-amd64", false, Judgement::Changed)]
    #[case::an_older_package("6.1.0-47-cloud-amd64", true, Judgement::NewFinding)]
    #[case::another_build("6.12.118", false, Judgement::NewFinding)]
    #[case::another_build_agrees("6.12.43", true, Judgement::AsKnown)]
    #[case::between_two_that_agree("5.15.85", false, Judgement::AsKnown)]
    #[case::between_two_that_agree_otherwise("5.15.85", true, Judgement::NewFinding)]
    #[case::on_an_edge("6.6.87", false, Judgement::NewFinding)]
    #[case::on_an_edge_otherwise("6.6.87", true, Judgement::NewFinding)]
    #[case::untestable_there("6.19.14+deb13-cloud-amd64", true, Judgement::AsKnown)]
    #[case::newer_than_all("7.4.0", true, Judgement::NewFinding)]
    #[case::older_than_all("4.19.0", false, Judgement::NewFinding)]
    fn is_judged_by_the_nearest_records(#[case] running: &str, #[case] holds: bool, #[case] expected: Judgement) {
        assert_eq!(known().judge(holds, &running.parse().expect("a release")), expected);
    }

    #[test]
    fn kernels_that_decide_alike_are_one_interval() {
        let words: Vec<String> = known().intervals().iter().map(ToString::to_string).collect();
        assert_eq!(words, ["refuted on 5.10 to 6.1", "holds on 6.12 to 7.3"]);
    }
}
