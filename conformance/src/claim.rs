//! A claim: one published sentence about kernel behaviour, with the experiment that decides it.

#![forbid(unsafe_code)]

use crate::interpose::lie::{Lie, What};
use crate::kernel::{NEWEST, OLDEST};
use crate::lab::Lab;
use crate::verdict::{Find, Lack, Observation, Reason, Stop, Value, Verdict};
use nocopy_host::kernel::Series;
use std::collections::BTreeSet;
use std::fmt;
use syscalls::{Errno, Sysno};

/// One entry of the registry.
///
/// It is written with [`Claim::new`] and struct update, so that an entry names only the fields that it sets:
///
/// ```
/// # use conformance::claim::{Claim, always, seed};
/// # use conformance::verdict::{Observation, Verdict};
/// # use syscalls::{Errno, Sysno};
/// const CLAIM: Claim = Claim {
///     statement: "A pipe can be spliced onto itself.",
///     method: "One splice() with both ends of the same pipe.",
///     sources: &[seed("3.3")],
///     finds: always(false),
///     about: &[Sysno::splice],
///     ..Claim::new(
///         "splice.ends.same-pipe",
///         |_lab| {
///             let mut seen = Observation::new();
///             seen.call("splice(pipe, same pipe)", Err(Errno::EINVAL)); // the real call stands here
///             Ok(seen)
///         },
///         |seen| Verdict::holds_if(seen.succeeded("splice(pipe, same pipe)")),
///     )
/// };
/// ```
#[derive(Clone, Copy)]
pub struct Claim {
    /// `<interface>.<subject>.<fact>`, lower case, never reused.
    pub id: &'static str,
    /// The sentence as its source asserts it, in our words. A false sentence is stated as published, and refuted.
    pub statement: &'static str,
    /// How the experiment decides it, for the reader of a verdict.
    pub method: &'static str,
    /// The documents and people that assert it.
    pub sources: &'static [Source],
    /// The verdicts that were measured, per interval of kernels.
    pub finds: &'static [Find],
    /// The system calls that the claim is about.
    pub about: &'static [Sysno],
    /// The behaviour of a kernel on which the opposite is true. Each of these lies must turn the verdict.
    pub lies: &'static [Lie],
    /// Exceptions to the rules for lies.
    pub exceptions: &'static [Exception],
    /// Shared state that it touches, in addition to that of its interface ([`Claim::shares`]).
    pub resources: &'static [Resource],
    /// Facts that differ between runs on one kernel, such as how often the sender had to ask. Records and comparisons leave them
    /// out.
    pub varies: &'static [&'static str],
    /// Versions in which, as documented, the observed behaviour changed. The verdict need not have changed with it.
    pub gates: &'static [Gate],
    /// Kernel modules that it needs if they are not built in. A guest loads them first.
    pub modules: &'static [&'static str],
    /// Programs that it runs. A guest gets them from the host, if the host has them.
    pub programs: &'static [&'static str],
    /// Whether the interposer counts its kernel entries.
    pub traced: bool,
    /// Produces an observation on the running kernel.
    pub run: Experiment,
    /// Computes the verdict from the observation: a pure function.
    pub decide: fn(&Observation) -> Verdict,
    /// Values that facts must have for the claim to hold, in addition to `decide`.
    pub answers: &'static [(&'static str, Answer)],
}

/// The value that a fact must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The call fails with this errno.
    Fails(Errno),
    /// The call succeeds, whatever it returns.
    Succeeds,
    /// The call, or a count, is this number.
    Is(u64),
    /// A word.
    Says(&'static str),
}

impl Answer {
    /// Whether the observation has this answer for a fact.
    #[track_caller]
    pub fn is_given(self, seen: &Observation, fact: &str) -> bool {
        match (self, seen.value(fact)) {
            (Self::Fails(errno), Value::Errno(number)) => errno.into_raw() == *number,
            (Self::Succeeds, Value::Returned(_)) => true,
            (Self::Is(number), Value::Returned(seen) | Value::Count(seen)) => number == *seen,
            (Self::Says(word), Value::Text(seen)) => word == seen,
            _ => false,
        }
    }
}

/// An experiment. It runs in a separate process.
pub type Experiment = fn(&Lab) -> Result<Observation, Stop>;

impl Claim {
    /// A claim with its experiment and nothing else; the rest is filled in by struct update.
    pub const fn new(id: &'static str, run: Experiment, decide: fn(&Observation) -> Verdict) -> Self {
        Self {
            id,
            statement: "",
            method: "",
            sources: &[],
            finds: &[],
            about: &[],
            lies: &[],
            exceptions: &[],
            resources: &[],
            varies: &[],
            gates: &[],
            modules: &[],
            programs: &[],
            traced: false,
            run,
            decide,
            answers: &[],
        }
    }

    /// A claim that holds if the facts have these answers.
    pub const fn of_answers(id: &'static str, run: Experiment, answers: &'static [(&'static str, Answer)]) -> Self {
        Self {
            method: "Makes the calls and compares the kernel's answers.",
            answers,
            ..Self::new(id, run, |_| Verdict::Holds)
        }
    }

    /// Whether a verdict is known for a series.
    pub fn is_known_on(&self, series: Series) -> bool {
        self.finds.iter().any(|find| find.spans(series))
    }

    /// Decides an observation.
    ///
    /// # Panics
    ///
    /// If the experiment did not note a fact that the claim uses: a mistake in the claim, reported as `broken`.
    pub fn verdict(&self, seen: &Observation) -> Verdict {
        let is_absent = |(fact, answer): &&(&str, Answer)| {
            *answer != Answer::Fails(Errno::ENOSYS) && seen.failed_with(fact, Errno::ENOSYS)
        };
        if let Some((fact, _)) = self.answers.iter().find(is_absent) {
            return Verdict::Untestable(Reason::new(
                Lack::Kernel,
                format!("there is no such call: {fact} = ENOSYS"),
                "use a kernel that has the call, without a filter that hides it",
            ));
        }
        let wrong = |(fact, answer): &&(&str, Answer)| !answer.is_given(seen, fact);
        match self.answers.iter().find(wrong) {
            Some(_) => Verdict::Refuted,
            None => (self.decide)(seen),
        }
    }

    /// The shared resources that it touches, in the order in which they are taken. A claim holds them while it runs.
    ///
    /// Every claim about `MSG_ZEROCOPY` pins memory, which is charged to the user. Up to Linux 5.15, an ordinary user may lock 64
    /// KiB by default; two such claims together would need more.
    pub fn shares(&self) -> BTreeSet<Resource> {
        let pinned = (self.interface() == "zerocopy").then_some(Resource::UserMemlock);
        self.resources.iter().copied().chain(pinned).collect()
    }

    /// Whether the source document is one of its sources.
    pub fn is_of_document(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::Seed(_)))
    }

    /// The interface that it is about: the id up to the first dot.
    pub fn interface(&self) -> &'static str {
        self.id.split('.').next().unwrap_or(self.id)
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A rule for lies that does not apply to a claim, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// The claim reads counters inside the kernel, which no lie reaches. Controls in the experiment show that it can fail.
    Controls(&'static str),
    /// The kernel lacks the feature, and no lie can supply it: a refuted verdict need not turn.
    Lacking(&'static str),
    /// Lies of this kind about this call.
    Of(Sysno, What, &'static str),
}

impl Exception {
    /// The experiment asks for the result of the call itself, so it does not repeat an interrupted call.
    pub const fn asked(call: Sysno) -> Self {
        Self::Of(call, What::Interrupted, "the answer is what is asked for")
    }

    /// The reason, in a line.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Controls(reason) | Self::Lacking(reason) | Self::Of(_, _, reason) => reason,
        }
    }

    /// Whether it covers a lie: the kind must be the same. The number in it does not matter, except for the errno of a refusal.
    pub fn covers(&self, lie: &Lie) -> bool {
        let Self::Of(call, what, _) = self else {
            return false;
        };
        *call == lie.call
            && match (what, &lie.what) {
                (What::Refused(errno), What::Refused(told)) => errno == told,
                (what, told) => std::mem::discriminant(what) == std::mem::discriminant(told),
            }
    }
}

/// All claims, in the order in which they are run and shown. It is passed to the code that looks up claims.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registry(&'static [&'static [Claim]]);

impl Registry {
    /// The claims of these files.
    pub const fn new(files: &'static [&'static [Claim]]) -> Self {
        Self(files)
    }

    /// Every claim.
    pub fn all(self) -> impl Iterator<Item = &'static Claim> {
        self.0.iter().copied().flatten()
    }

    /// The claim with this id.
    pub fn find(self, id: &str) -> Option<&'static Claim> {
        self.all().find(|claim| claim.id == id)
    }
}

/// The origin of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The source document, by section.
    Seed(&'static str),
    /// A manual page with its release: `sendfile(2), man-pages 6.20`.
    Man(&'static str),
    /// A kernel document with its release.
    Doc(&'static str),
    /// A thread, a commit or a program's source.
    Thread(&'static str),
    /// No publication: found by our experiments.
    Measured,
}

/// A section of the source document.
pub const fn seed(section: &'static str) -> Source {
    Source::Seed(section)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed(section) => write!(f, "source document, section {section}"),
            Self::Man(text) | Self::Doc(text) | Self::Thread(text) => f.write_str(text),
            Self::Measured => f.write_str("measured"),
        }
    }
}

/// A version in which something changed, according to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The first release with the change: `5.12`, or `2.6.33`.
    pub since: &'static str,
    /// The change, in a clause.
    pub what: &'static str,
    /// The source that documents it.
    pub source: Source,
}

/// A documented change.
pub const fn gate(since: &'static str, what: &'static str, source: Source) -> Gate {
    Gate { since, what, source }
}

/// State that claims share with each other and with other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Settings and counters of the whole machine.
    Machine,
    /// The user's locked and pinned memory.
    UserMemlock,
    /// The user's pipe pages.
    UserPipePages,
}

/// The same on every kernel measured.
pub const fn always(holds: bool) -> &'static [Find] {
    const HOLDS: &[Find] = &[Find { from: OLDEST, to: NEWEST, holds: true }];
    const REFUTED: &[Find] = &[Find { from: OLDEST, to: NEWEST, holds: false }];
    if holds { HOLDS } else { REFUTED }
}

/// Measured on an interval of kernels; the edge between two intervals is open.
pub const fn between(from: (u32, u32), to: (u32, u32), holds: bool) -> Find {
    Find { from: Series::new(from.0, from.1), to: Series::new(to.0, to.1), holds }
}
