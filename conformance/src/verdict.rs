//! The observation of an experiment, the verdict that follows from it, and the comparison with known verdicts.

#![forbid(unsafe_code)]

use crate::kernel::to_have;
use nocopy_host::kernel::Series;
use serde::{Deserialize, Serialize};
use std::fmt;
use syscalls::Errno;

/// What the kernel did: named facts, in the order in which they were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Observation {
    facts: Vec<Fact>,
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The action or the inspected thing, in the form of the system call: `splice(file, socket)`.
    pub fact: String,
    /// Its value.
    #[serde(flatten)]
    pub value: Value,
}

/// The value of a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// The call returned this number.
    Returned(u64),
    /// The call failed with this errno.
    Errno(i32),
    /// Something counted.
    Count(u64),
    /// Something read.
    Text(String),
    /// Kernel entries by system call, counted by the interposer.
    Entries(Vec<(String, u64)>),
    /// Kernel entries of a traced stretch. The runner fills them in later.
    Traced(usize),
}

impl Observation {
    /// An empty observation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes the result of a system call.
    pub fn call(&mut self, fact: impl Into<String>, result: Result<usize, Errno>) -> &mut Self {
        let value = match result {
            Ok(number) => Value::Returned(number as u64),
            Err(errno) => Value::Errno(errno.into_raw()),
        };
        self.push(fact, value)
    }

    /// Notes a number.
    pub fn count(&mut self, fact: impl Into<String>, count: u64) -> &mut Self {
        self.push(fact, Value::Count(count))
    }

    /// Notes a word.
    pub fn text(&mut self, fact: impl Into<String>, text: impl fmt::Display) -> &mut Self {
        self.push(fact, Value::Text(text.to_string()))
    }

    /// Notes a value.
    pub fn push(&mut self, fact: impl Into<String>, value: Value) -> &mut Self {
        self.facts.push(Fact { fact: fact.into(), value });
        self
    }

    /// All facts, in order.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// All facts, for the runner to fill in.
    pub(crate) fn facts_mut(&mut self) -> &mut [Fact] {
        &mut self.facts
    }

    /// The value of a fact.
    ///
    /// # Panics
    ///
    /// If the experiment did not note it: a mistake in the claim, reported as `broken`.
    #[track_caller]
    pub fn value(&self, fact: &str) -> &Value {
        let found = self.facts.iter().find(|known| known.fact == fact);
        &found.unwrap_or_else(|| panic!("the observation has no fact `{fact}`")).value
    }

    /// Whether the call succeeded, with any number.
    #[track_caller]
    pub fn succeeded(&self, fact: &str) -> bool {
        matches!(self.value(fact), Value::Returned(_))
    }

    /// The number that the call returned.
    #[track_caller]
    pub fn returned(&self, fact: &str) -> Option<u64> {
        match self.value(fact) {
            Value::Returned(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether the call failed, with any errno. A call that was not made has not failed.
    #[track_caller]
    pub fn failed(&self, fact: &str) -> bool {
        matches!(self.value(fact), Value::Errno(_))
    }

    /// Whether the call failed with this errno.
    #[track_caller]
    pub fn failed_with(&self, fact: &str, errno: Errno) -> bool {
        self.value(fact) == &Value::Errno(errno.into_raw())
    }

    /// A count, or the number that a call returned.
    #[track_caller]
    pub fn counted(&self, fact: &str) -> u64 {
        match self.value(fact) {
            Value::Count(count) | Value::Returned(count) => *count,
            Value::Entries(calls) => calls.iter().map(|(_, count)| count).sum(),
            other => panic!("the fact `{fact}` is not a count but {other:?}"),
        }
    }

    /// How often one system call was made in a counted stretch.
    #[track_caller]
    pub fn entries(&self, fact: &str, call: &str) -> u64 {
        match self.value(fact) {
            Value::Entries(calls) => calls.iter().filter(|(name, _)| name == call).map(|(_, count)| count).sum(),
            other => panic!("the fact `{fact}` is not a list of kernel entries but {other:?}"),
        }
    }

    /// Whether a fact is this word.
    #[track_caller]
    pub fn is(&self, fact: &str, text: &str) -> bool {
        matches!(self.value(fact), Value::Text(seen) if seen == text)
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fact) in self.facts.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{fact}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Text(text) => write!(f, "{}: {text}", self.fact),
            value => write!(f, "{} = {value}", self.fact),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned(number) | Self::Count(number) => write!(f, "{number}"),
            Self::Errno(number) => write!(f, "{}", errno_name(*number)),
            Self::Text(text) => f.write_str(text),
            Self::Traced(_) => f.write_str("not counted"),
            Self::Entries(calls) => {
                let total: u64 = calls.iter().map(|(_, count)| count).sum();
                write!(f, "{total} kernel {}", if total == 1 { "entry" } else { "entries" })?;
                for (index, (name, count)) in calls.iter().enumerate() {
                    write!(f, "{}{count} {name}", if index == 0 { " (" } else { ", " })?;
                }
                if calls.is_empty() { Ok(()) } else { f.write_str(")") }
            }
        }
    }
}

/// The errno's name, or its number where it has none.
pub fn errno_name(number: i32) -> String {
    let errno = Errno::new(number);
    errno.name().map_or_else(|| format!("errno {number}"), str::to_owned)
}

/// The verdict that follows from the observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The claim is true of this kernel.
    Holds,
    /// The claim is false of this kernel.
    Refuted,
    /// It could not be tried here.
    Untestable(Reason),
}

impl Verdict {
    /// `holds` if the claim's assertion was observed, else `refuted`.
    pub fn holds_if(seen: bool) -> Self {
        if seen { Self::Holds } else { Self::Refuted }
    }
}

/// The outcome of a claim, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// It is true of this kernel.
    Holds,
    /// It is false of this kernel.
    Refuted,
    /// It could not be tried.
    Untestable,
    /// The experiment failed: red.
    Broken,
    /// The experiment did not end: red.
    TimeOut,
    /// The run ended before the experiment did: red.
    NotReached,
}

impl Word {
    /// Whether the experiment gave an answer.
    pub fn is_decided(self) -> bool {
        matches!(self, Self::Holds | Self::Refuted)
    }

    /// Whether there is no result, which makes a run red.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Broken | Self::TimeOut | Self::NotReached)
    }

    /// The word as printed.
    pub fn text(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Refuted => "refuted",
            Self::Untestable => "untestable",
            Self::Broken => "broken",
            Self::TimeOut => "time-out",
            Self::NotReached => "not reached",
        }
    }
}

/// Why a claim could not be tried, and what would make it possible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The kind of thing that is missing.
    pub kind: Lack,
    /// The missing thing, in one clause.
    pub what: String,
    /// The command or change that would make the claim testable.
    pub remedy: String,
}

/// The kinds of things that a claim can lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// A right that this user does not have.
    Privilege,
    /// A call or a protocol that this kernel does not have, or that a filter hides.
    Kernel,
    /// A device, file system or module.
    Device,
    /// Disk space, descriptors or memory.
    Resource,
    /// An event that may happen did not happen, which proves nothing.
    Witness,
    /// A kernel that does not crash.
    Survival,
}

impl Reason {
    /// Makes a reason.
    pub fn new(kind: Lack, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { kind, what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (to test it: {})", self.what, self.remedy)
    }
}

/// Why an experiment gave no observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It cannot be tried here.
    Untestable(Reason),
    /// It could not be set up, or contradicted itself: a defect, red.
    Broken(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untestable(reason) => reason.fmt(f),
            Self::Broken(what) => f.write_str(what),
        }
    }
}

impl Stop {
    /// Makes a defect.
    pub fn broken(what: impl Into<String>) -> Self {
        Self::Broken(what.into())
    }

    /// Makes a stop for something that the machine does not have.
    pub fn untestable(kind: Lack, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Untestable(Reason::new(kind, what, remedy))
    }

    /// Sorts an error of a set-up step: if the machine lacks or refuses something, it is untestable; any other error is broken.
    pub fn from_setup(what: &str, error: Errno) -> Self {
        let said = format!("{what}: {error:?}");
        match error {
            Errno::EMFILE => Self::untestable(Lack::Resource, said, "raise the limit of open files: ulimit -n 1024"),
            Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN => {
                Self::untestable(Lack::Resource, said, "free memory, files or processes of this machine")
            }
            Errno::ENOSPC | Errno::EDQUOT => {
                Self::untestable(Lack::Resource, said, "free space there, or name another directory with --scratch DIR")
            }
            Errno::EPERM | Errno::EACCES => {
                Self::untestable(Lack::Privilege, said, "run as root, or without the filter that refuses it")
            }
            Errno::ENOSYS => {
                Self::untestable(Lack::Kernel, said, "use a kernel that has the call, without a filter that hides it")
            }
            Errno::EAFNOSUPPORT
            | Errno::EPROTONOSUPPORT
            | Errno::ESOCKTNOSUPPORT
            | Errno::ENOPROTOOPT
            | Errno::EOPNOTSUPP
            | Errno::ENOTSUPP => Self::untestable(Lack::Kernel, said, "use a kernel with this protocol or option"),
            Errno::ENODEV | Errno::ENXIO => {
                Self::untestable(Lack::Device, said, to_have("this device or protocol", "NAME"))
            }
            Errno::ENETUNREACH | Errno::EADDRNOTAVAIL => {
                Self::untestable(Lack::Device, said, "bring the loopback interface up: ip link set lo up")
            }
            _ => Self::Broken(said),
        }
    }
}

/// Names the step of a set-up that failed.
pub trait Setup<T> {
    /// `what` names the step: `bind(127.0.0.1:0)`.
    fn setup(self, what: &str) -> Result<T, Stop>;
}

impl<T> Setup<T> for Result<T, Errno> {
    fn setup(self, what: &str) -> Result<T, Stop> {
        self.map_err(|errno| Stop::from_setup(what, errno))
    }
}

impl<T> Setup<T> for std::io::Result<T> {
    fn setup(self, what: &str) -> Result<T, Stop> {
        self.map_err(|error| match error.raw_os_error() {
            Some(errno) => Stop::from_setup(what, Errno::new(errno)),
            None => Stop::Broken(format!("{what}: {error}")),
        })
    }
}

/// The verdict on a claim that was measured on an interval of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Find {
    /// The oldest series on which it was measured.
    pub from: Series,
    /// The newest series on which it was measured.
    pub to: Series,
    /// Whether the claim holds there.
    pub holds: bool,
}

impl Find {
    /// Whether the interval contains a series.
    pub fn spans(&self, series: Series) -> bool {
        (self.from..=self.to).contains(&series)
    }
}

/// The verdict compared with what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Judgement {
    /// As measured before on kernels around this one.
    #[serde(rename = "as known")]
    AsKnown,
    /// No record has this verdict for this kernel.
    #[serde(rename = "new finding")]
    NewFinding,
    /// It was measured on this series, with the other verdict.
    #[serde(rename = "changed")]
    Changed,
}

impl Judgement {
    /// The judgement's words, as in the reports.
    pub fn words(self) -> &'static str {
        match self {
            Self::AsKnown => "as known",
            Self::NewFinding => "new finding",
            Self::Changed => "changed",
        }
    }

    /// Compares a verdict on `running` with `finds`. The first find that spans the series counts.
    ///
    /// | | verdict agrees | verdict contradicts |
    /// |---|---|---|
    /// | series measured | as known | changed |
    /// | series between two measured ones | as known | new finding |
    /// | outside every find | new finding | new finding |
    ///
    /// An untestable claim has no judgement.
    pub fn of(verdict: &Verdict, finds: &[Find], running: Series) -> Option<Self> {
        let holds = match verdict {
            Verdict::Holds => true,
            Verdict::Refuted => false,
            Verdict::Untestable(_) => return None,
        };
        let known = finds.iter().find(|find| find.spans(running));
        Some(match known {
            Some(find) if find.holds == holds => Self::AsKnown,
            Some(_) if crate::kernel::MEASURED.contains(&running) => Self::Changed,
            _ => Self::NewFinding,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const GAP: &[Find] = &[
        Find { from: Series::new(5, 10), to: Series::new(6, 1), holds: false },
        Find { from: Series::new(6, 12), to: Series::new(7, 3), holds: true },
    ];

    #[rstest]
    #[case(Verdict::Refuted, (5, 10), Some(Judgement::AsKnown))]
    #[case(Verdict::Refuted, (5, 15), Some(Judgement::AsKnown))]
    #[case(Verdict::Holds, (5, 15), Some(Judgement::NewFinding))]
    #[case(Verdict::Holds, (6, 1), Some(Judgement::Changed))]
    #[case(Verdict::Holds, (6, 6), Some(Judgement::NewFinding))]
    #[case(Verdict::Refuted, (6, 6), Some(Judgement::NewFinding))]
    #[case(Verdict::Holds, (6, 18), Some(Judgement::AsKnown))]
    #[case(Verdict::Refuted, (6, 18), Some(Judgement::Changed))]
    #[case(Verdict::Holds, (8, 0), Some(Judgement::NewFinding))]
    #[case(Verdict::Holds, (4, 4), Some(Judgement::NewFinding))]
    #[case(Verdict::Untestable(Reason::new(Lack::Device, "", "")), (6, 18), None)]
    fn judgement(#[case] verdict: Verdict, #[case] running: (u32, u32), #[case] expected: Option<Judgement>) {
        assert_eq!(Judgement::of(&verdict, GAP, Series::new(running.0, running.1)), expected);
    }

    #[test]
    fn an_observation_survives_its_stored_form() {
        let mut seen = Observation::new();
        seen.call("ok", Ok(7)).call("bad", Err(Errno::ENOTSUPP)).count("n", 3).text("word", "shared");
        seen.push("calls", Value::Entries(vec![("splice".into(), 32)]));
        let stored = serde_json::to_string(&seen).expect("an observation is plain data");
        assert_eq!(serde_json::from_str::<Observation>(&stored).expect("what was written can be read"), seen);
        assert_eq!(
            seen.to_string(),
            "ok = 7; bad = ENOTSUPP; n = 3; word: shared; calls = 32 kernel entries (32 splice)"
        );
    }

    #[test]
    fn a_refusal_is_untestable_and_a_mistake_is_broken() {
        let stop = |errno| Stop::from_setup("step", errno);
        assert!(matches!(stop(Errno::EMFILE), Stop::Untestable(Reason { kind: Lack::Resource, .. })));
        assert!(matches!(stop(Errno::ENOSYS), Stop::Untestable(Reason { kind: Lack::Kernel, .. })));
        assert!(matches!(stop(Errno::EBADF), Stop::Broken(_)));
    }
}
