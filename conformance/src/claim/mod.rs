//! A claim: one sentence about kernel behaviour, with its sources and the experiment that decides it.

#![forbid(unsafe_code)]

pub mod retired;
pub mod source;

use crate::interpose::lie::{Lie, What};
use crate::lab::Lab;
use crate::verdict::{Observation, Stop, Verdict};
use source::{Kind, Source};
use std::collections::BTreeSet;
use std::fmt;
use std::panic::Location;
use syscalls::Sysno;

/// One entry of the registry.
///
/// It is made by [`claim`], and methods add what the claim has besides. The experiment notes what it sees, and beside each fact
/// what it must be if the claim holds:
///
/// ```
/// use conformance::claim::source::{ltp, man};
/// use conformance::claim::{Claim, claim};
/// use syscalls::{Errno, Sysno};
///
/// const CLAIM: Claim = claim("splice.ends.same-pipe", "splice() of a pipe into itself fails with EINVAL.")
///     .published(&[man("splice(2)", "ERRORS, EINVAL"), ltp("splice04.c", "a pipe and itself")])
///     .about(&[Sysno::splice])
///     .tried(|_lab, see| {
///         let result = Err(Errno::EINVAL); // the real call stands here
///         see.call("splice(pipe, same pipe)", result).fails(Errno::EINVAL);
///         Ok(())
///     });
/// assert_eq!(CLAIM.interface(), "splice");
/// ```
#[derive(Clone, Copy)]
pub struct Claim {
    /// `<interface>.<subject>.<fact>`, lower case, never reused.
    pub id: &'static str,
    /// The sentence as its source asserts it, in our words. A false sentence is stated as published, and refuted.
    pub statement: &'static str,
    /// How the experiment decides it, where the names of the facts do not show it.
    pub method: &'static str,
    /// The publications that speak of the sentence.
    pub sources: &'static [Source],
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
    /// Where it is written: the file and line of its entry.
    pub at: &'static Location<'static>,
    /// Produces an observation on the running kernel.
    pub run: Experiment,
}

/// An experiment. It runs in a separate process.
#[derive(Clone, Copy)]
pub enum Experiment {
    /// It notes what it sees, and what is expected.
    Notes(fn(&Lab, &mut Observation) -> Result<(), Stop>),
    /// It returns what it saw, for a row of a grid: there is no sentence that could be true or false.
    Returns(fn(&Lab) -> Result<Observation, Stop>),
}

impl Experiment {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// If it could not be set up.
    pub fn run(self, lab: &Lab) -> Result<Observation, Stop> {
        match self {
            Self::Returns(run) => run(lab),
            Self::Notes(run) => {
                let mut seen = Observation::new();
                run(lab, &mut seen)?;
                Ok(seen)
            }
        }
    }
}

/// A claim with its sentence; the rest is added by methods.
#[track_caller]
pub const fn claim(id: &'static str, statement: &'static str) -> Claim {
    let nothing = Experiment::Notes(|_, _| Err(Stop::Broken(String::new())));
    Claim { statement, run: nothing, ..Claim::observing(id, |_| Err(Stop::Broken(String::new()))) }
}

impl Claim {
    /// An experiment without a sentence: a row of a grid.
    #[track_caller]
    pub const fn observing(id: &'static str, run: fn(&Lab) -> Result<Observation, Stop>) -> Self {
        Self {
            id,
            statement: "",
            method: "",
            sources: &[],
            about: &[],
            lies: &[],
            exceptions: &[],
            resources: &[],
            varies: &[],
            gates: &[],
            modules: &[],
            programs: &[],
            traced: false,
            at: Location::caller(),
            run: Experiment::Returns(run),
        }
    }

    /// The publications that speak of the sentence.
    #[must_use]
    pub const fn published(mut self, sources: &'static [Source]) -> Self {
        self.sources = sources;
        self
    }

    /// The system calls that it is about.
    #[must_use]
    pub const fn about(mut self, calls: &'static [Sysno]) -> Self {
        self.about = calls;
        self
    }

    /// The behaviour of a kernel on which the opposite is true. Each of these lies must turn the verdict.
    #[must_use]
    pub const fn turned_by(mut self, lies: &'static [Lie]) -> Self {
        self.lies = lies;
        self
    }

    /// Exceptions to the rules for lies.
    #[must_use]
    pub const fn except(mut self, exceptions: &'static [Exception]) -> Self {
        self.exceptions = exceptions;
        self
    }

    /// Shared state that it touches, in addition to that of its interface.
    #[must_use]
    pub const fn sharing(mut self, resources: &'static [Resource]) -> Self {
        self.resources = resources;
        self
    }

    /// Facts that differ between runs on one kernel.
    #[must_use]
    pub const fn varying(mut self, facts: &'static [&'static str]) -> Self {
        self.varies = facts;
        self
    }

    /// Versions in which, as documented, the behaviour changed.
    #[must_use]
    pub const fn gated(mut self, gates: &'static [Gate]) -> Self {
        self.gates = gates;
        self
    }

    /// Kernel modules that it needs if they are not built in.
    #[must_use]
    pub const fn modules(mut self, modules: &'static [&'static str]) -> Self {
        self.modules = modules;
        self
    }

    /// Programs that it runs.
    #[must_use]
    pub const fn programs(mut self, programs: &'static [&'static str]) -> Self {
        self.programs = programs;
        self
    }

    /// The interposer counts its kernel entries.
    #[must_use]
    pub const fn traced(mut self) -> Self {
        self.traced = true;
        self
    }

    /// How the experiment decides it, where the names of the facts do not show it.
    #[must_use]
    pub const fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// Its experiment.
    #[must_use]
    pub const fn tried(mut self, run: fn(&Lab, &mut Observation) -> Result<(), Stop>) -> Self {
        self.run = Experiment::Notes(run);
        self
    }

    /// Decides an observation.
    ///
    /// # Panics
    ///
    /// If the experiment noted no expectation: a mistake in the claim, reported as `broken`.
    pub fn verdict(&self, seen: &Observation) -> Verdict {
        match (seen.verdict(), self.run) {
            (Some(verdict), _) => verdict,
            (None, Experiment::Returns(_)) => Verdict::Holds,
            (None, Experiment::Notes(_)) => panic!("{} expects nothing", self.id),
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
        self.sources.iter().any(|source| source.kind == Kind::Seed)
    }

    /// Its subject: the id between the dots.
    pub fn subject(&self) -> &'static str {
        self.id.split('.').nth(1).unwrap_or_default()
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
