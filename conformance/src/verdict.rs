//! The observation of an experiment, the verdict that follows from it, and the comparison with known verdicts.

#![forbid(unsafe_code)]

use crate::kernel::to_have;
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
    /// What it must be for the claim to hold, if the claim depends on it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expected: Option<Expected>,
}

/// What a fact must be for the claim to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// The call returns this number, or the count is this number.
    Is(u64),
    /// The number is at least this.
    AtLeast(u64),
    /// The number is at most this.
    AtMost(u64),
    /// The number is smaller than that of this other fact.
    FewerThan(String),
    /// The call succeeds, with any number.
    Succeeds,
    /// The call fails with this errno.
    Fails(i32),
    /// The call fails, with any errno.
    Refused,
    /// The word is this one.
    Says(String),
    /// The word is another one.
    SaysNot(String),
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
    pub fn call(&mut self, fact: impl Into<String>, result: Result<usize, Errno>) -> Noted<'_> {
        let value = match result {
            Ok(number) => Value::Returned(number as u64),
            Err(errno) => Value::Errno(errno.into_raw()),
        };
        self.push(fact, value)
    }

    /// Notes a number.
    pub fn count(&mut self, fact: impl Into<String>, count: u64) -> Noted<'_> {
        self.push(fact, Value::Count(count))
    }

    /// Notes a word.
    pub fn text(&mut self, fact: impl Into<String>, text: impl fmt::Display) -> Noted<'_> {
        self.push(fact, Value::Text(text.to_string()))
    }

    /// Notes whether something is so, as `yes` or `no`.
    pub fn whether(&mut self, fact: impl Into<String>, is_so: bool) -> Noted<'_> {
        self.text(fact, if is_so { "yes" } else { "no" })
    }

    /// Notes a value.
    pub fn push(&mut self, fact: impl Into<String>, value: Value) -> Noted<'_> {
        self.facts.push(Fact { fact: fact.into(), value, expected: None });
        Noted(self)
    }

    /// Notes a fact of another observation, with what is expected of it.
    pub fn repeat(&mut self, fact: &Fact) {
        self.facts.push(fact.clone());
    }

    /// The verdict by the expectations: the claim holds if each is met. Nothing if there is none.
    ///
    /// A call that the kernel does not have decides nothing, unless its absence is expected.
    pub fn verdict(&self) -> Option<Verdict> {
        let mut expected = self.facts.iter().filter(|fact| fact.expected.is_some()).peekable();
        expected.peek()?;
        let lacks = |fact: &&Fact| {
            let is_asked = matches!(fact.expected, Some(Expected::Fails(errno)) if errno == libc::ENOSYS);
            fact.value == Value::Errno(libc::ENOSYS) && !is_asked
        };
        if let Some(fact) = expected.clone().find(lacks) {
            return Some(Verdict::Untestable(Reason::new(
                Lack::Kernel,
                format!("there is no such call: {fact}"),
                "use a kernel that has the call, without a filter that hides it",
            )));
        }
        Some(Verdict::holds_if(expected.all(|fact| self.meets(fact))))
    }

    /// Whether a fact is as expected. A fact without an expectation is.
    pub fn meets(&self, fact: &Fact) -> bool {
        let Some(expected) = &fact.expected else {
            return true;
        };
        let number = fact.value.number();
        match (expected, &fact.value) {
            (Expected::Is(wanted), _) => number == Some(*wanted),
            (Expected::AtLeast(least), _) => number.is_some_and(|number| number >= *least),
            (Expected::AtMost(most), _) => number.is_some_and(|number| number <= *most),
            (Expected::FewerThan(other), _) => {
                let other = self.facts.iter().find(|known| known.fact == *other);
                let other = other.and_then(|known| known.value.number());
                number.zip(other).is_some_and(|(number, other)| number < other)
            }
            (Expected::Succeeds, Value::Returned(_)) | (Expected::Refused, Value::Errno(_)) => true,
            (Expected::Fails(wanted), Value::Errno(errno)) => wanted == errno,
            (Expected::Says(wanted), Value::Text(word)) => wanted == word,
            (Expected::SaysNot(other), Value::Text(word)) => other != word,
            _ => false,
        }
    }

    /// The facts that are not as expected.
    pub fn unmet(&self) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(|fact| !self.meets(fact))
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

    /// A count, or the number that a call returned.
    #[track_caller]
    pub fn counted(&self, fact: &str) -> u64 {
        let value = self.value(fact);
        value.number().unwrap_or_else(|| panic!("the fact `{fact}` is not a count but {value:?}"))
    }
}

/// The fact that was noted last. Its methods say what it must be for the claim to hold; others note the next fact.
#[derive(Debug)]
pub struct Noted<'seen>(&'seen mut Observation);

#[expect(clippy::return_self_not_must_use, reason = "the expectation has been noted; the rest is for chains")]
impl Noted<'_> {
    fn must(self, expected: Expected) -> Self {
        if let Some(fact) = self.0.facts.last_mut() {
            fact.expected = Some(expected);
        }
        self
    }

    /// The call returns this number, or the count is this number.
    pub fn is<N: TryInto<u64>>(self, number: N) -> Self {
        self.must(Expected::Is(whole(number)))
    }

    /// The number is at least this.
    pub fn at_least<N: TryInto<u64>>(self, number: N) -> Self {
        self.must(Expected::AtLeast(whole(number)))
    }

    /// The number is at most this.
    pub fn at_most<N: TryInto<u64>>(self, number: N) -> Self {
        self.must(Expected::AtMost(whole(number)))
    }

    /// The number is smaller than that of the fact that was noted before.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn fewer_than_before(self) -> Self {
        let facts = &self.0.facts;
        let before = facts.len().checked_sub(2).expect("a fact was noted before");
        let before = facts[before].fact.clone();
        self.must(Expected::FewerThan(before))
    }

    /// The call succeeds, with any number.
    pub fn succeeds(self) -> Self {
        self.must(Expected::Succeeds)
    }

    /// The call fails with this errno.
    pub fn fails(self, errno: Errno) -> Self {
        self.must(Expected::Fails(errno.into_raw()))
    }

    /// The call fails, with any errno.
    pub fn is_refused(self) -> Self {
        self.must(Expected::Refused)
    }

    /// The call has this result: the number, or the errno.
    pub fn gives(self, result: Result<usize, Errno>) -> Self {
        match result {
            Ok(number) => self.is(number),
            Err(errno) => self.fails(errno),
        }
    }

    /// The word is this one.
    pub fn says(self, word: impl fmt::Display) -> Self {
        self.must(Expected::Says(word.to_string()))
    }

    /// The word is another one.
    pub fn says_not(self, word: impl fmt::Display) -> Self {
        self.must(Expected::SaysNot(word.to_string()))
    }
}

#[expect(clippy::return_self_not_must_use, reason = "the next fact has been noted; the rest is for chains")]
impl<'seen> Noted<'seen> {
    /// Notes the result of the next system call.
    pub fn call(self, fact: impl Into<String>, result: Result<usize, Errno>) -> Noted<'seen> {
        self.0.call(fact, result)
    }

    /// Notes the next number.
    pub fn count(self, fact: impl Into<String>, count: u64) -> Noted<'seen> {
        self.0.count(fact, count)
    }

    /// Notes the next word.
    pub fn text(self, fact: impl Into<String>, text: impl fmt::Display) -> Noted<'seen> {
        self.0.text(fact, text)
    }

    /// Notes the next value.
    pub fn push(self, fact: impl Into<String>, value: Value) -> Noted<'seen> {
        self.0.push(fact, value)
    }
}

fn whole<N: TryInto<u64>>(number: N) -> u64 {
    number.try_into().unwrap_or_else(|_| panic!("a fact is no negative number"))
}

impl Value {
    /// The number that the call returned, the count, or the sum of the kernel entries.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Returned(number) | Self::Count(number) => Some(*number),
            Self::Entries(calls) => Some(calls.iter().map(|(_, count)| count).sum()),
            Self::Errno(_) | Self::Text(_) | Self::Traced(_) => None,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(number) => write!(f, "{number}"),
            Self::AtLeast(number) => write!(f, "at least {number}"),
            Self::AtMost(number) => write!(f, "at most {number}"),
            Self::FewerThan(fact) => write!(f, "fewer than for {fact}"),
            Self::Succeeds => f.write_str("success"),
            Self::Fails(errno) => f.write_str(&errno_name(*errno)),
            Self::Refused => f.write_str("failure"),
            Self::Says(word) => f.write_str(word),
            Self::SaysNot(word) => write!(f, "not {word}"),
        }
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
