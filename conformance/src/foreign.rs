//! Kernels that implement Linux's system calls and are not Linux: which one is running, and how it is known to differ.
//!
//! Such a kernel reports an old Linux version for programs that ask for it (gVisor reports 4.4.0, whatever calls it has), so the
//! finds for that series do not apply to it. It has a separate record, `fixtures/foreign/NAME.toml`. A claim that is not in the
//! record is expected to have the verdict of the newest Linux.

#![forbid(unsafe_code)]

use crate::claim::Claim;
use crate::kernel::NEWEST;
use crate::known;
use crate::verdict::{Judgement, Word};
use nocopy_host::kernel::SANDBOX_VERSION;
use nocopy_host::process;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

const GVISOR: &str = include_str!("../../fixtures/foreign/gvisor.toml");

const USER_MODE_LINUX: &str = include_str!("../../fixtures/foreign/uml.toml");

/// The claims that cannot be tried on a kernel of the matrix, by the name of its row. Only User-mode Linux has some.
///
/// # Panics
///
/// Never in a build whose tests pass: the list is part of the program.
pub fn excused(row: &str) -> Vec<String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Excused {
        untestable: Vec<String>,
    }
    if row != "uml" {
        return Vec::new();
    }
    let excused: Excused = toml::from_str(USER_MODE_LINUX).expect("fixtures/foreign is checked by a test");
    excused.untestable
}

/// A foreign kernel, and its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Its version, if that is known.
    version: Option<String>,
    record: Known,
}

/// `fixtures/foreign/NAME.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// Its name.
    name: String,
    /// The version that was measured.
    measured: String,
    /// By claim, the verdicts that differ from those on the newest Linux.
    otherwise: BTreeMap<String, Otherwise>,
}

/// The verdict on a claim there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Otherwise {
    verdict: Word,
    because: String,
}

impl Foreign {
    /// gVisor, of this version.
    ///
    /// # Panics
    ///
    /// Never in a build whose tests pass: the record is part of the program.
    pub fn gvisor(version: Option<String>) -> Self {
        let record = toml::from_str(GVISOR).expect("fixtures/foreign is checked by a test");
        Self { version, record }
    }

    /// The running kernel, if it is a foreign one.
    pub fn running() -> Option<Self> {
        // Its release and version are those of some Linux; its log begins with its name.
        process::kernel_log()
            .is_some_and(|log| is_gvisors(&log))
            .then(|| Self::gvisor(std::env::var(SANDBOX_VERSION).ok()))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Whether a claim is known to be untestable there.
    pub fn is_untestable(&self, id: &str) -> bool {
        let otherwise = self.record.otherwise.get(id);
        otherwise.is_some_and(|otherwise| otherwise.verdict == Word::Untestable)
    }

    /// Why the verdict on a claim is known to differ from the one on Linux.
    pub fn because(&self, id: &str) -> Option<&str> {
        let otherwise = self.record.otherwise.get(id)?;
        Some(&otherwise.because)
    }

    /// The expected verdict on a claim, if there is one.
    fn expected(&self, claim: &Claim) -> Option<Word> {
        let as_linux = || known::Known::of(claim).on(NEWEST).filter(|word| word.is_decided());
        let otherwise = self.record.otherwise.get(claim.id);
        otherwise.map_or_else(as_linux, |otherwise| Some(otherwise.verdict))
    }

    /// Compares a verdict with the expected one. A different verdict is `changed` on the version that was measured, and a new
    /// finding on any other version.
    pub fn judge(&self, claim: &Claim, verdict: Word) -> Option<Judgement> {
        match verdict {
            Word::Holds | Word::Refuted => {}
            Word::Untestable | Word::Broken | Word::TimeOut | Word::NotReached => return None,
        }
        Some(if self.expected(claim) == Some(verdict) {
            Judgement::AsKnown
        } else if self.version.as_ref() == Some(&self.record.measured) {
            Judgement::Changed
        } else {
            Judgement::NewFinding
        })
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.record.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, " {version}"))
    }
}

/// Whether a kernel's log is gVisor's: `[    0.000000] Starting gVisor...`.
fn is_gvisors(log: &str) -> bool {
    log.lines()
        .next()
        .and_then(|line| line.split_once("] "))
        .is_some_and(|(_, text)| text.starts_with("Starting gVisor"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims;
    use crate::verdict::Observation;
    use rstest::rstest;

    fn measured() -> Foreign {
        let known = Foreign::gvisor(None).record.measured;
        Foreign::gvisor(Some(known))
    }

    #[test]
    fn the_record_is_of_claims_and_of_differences() {
        let gvisor = measured();
        let mut plain = gvisor.clone();
        plain.record.otherwise.clear();
        for (id, otherwise) in &gvisor.record.otherwise {
            let claim = claims::REGISTRY.find(id).unwrap_or_else(|| panic!("no claim is called {id}"));
            assert_ne!(plain.expected(claim), Some(otherwise.verdict), "{id} is as on Linux");
            assert!(!otherwise.because.is_empty(), "{id}");
            assert!(
                matches!(otherwise.verdict, Word::Holds | Word::Refuted | Word::Untestable),
                "{id}: red is no record"
            );
        }
    }

    #[rstest]
    #[case("zerocopy.notify.every-send", Word::Refuted, Judgement::AsKnown, Judgement::AsKnown)]
    #[case("zerocopy.notify.every-send", Word::Holds, Judgement::Changed, Judgement::NewFinding)]
    #[case("splice.ends.pipe-needed", Word::Holds, Judgement::AsKnown, Judgement::AsKnown)]
    #[case("splice.ends.pipe-needed", Word::Refuted, Judgement::Changed, Judgement::NewFinding)]
    #[case("vmsplice.copies.pipe", Word::Holds, Judgement::Changed, Judgement::NewFinding)]
    fn judged_by_its_own_record(
        #[case] id: &str,
        #[case] verdict: Word,
        #[case] on_the_measured: Judgement,
        #[case] on_another: Judgement,
    ) {
        let claim = claims::REGISTRY.find(id).expect("a claim");
        assert_eq!(measured().judge(claim, verdict), Some(on_the_measured));
        let another = Foreign::gvisor(Some("another".into()));
        assert_eq!(another.judge(claim, verdict), Some(on_another));
        assert_eq!(another.judge(claim, Word::Untestable), None);
    }

    #[test]
    fn what_nobody_has_measured_is_a_finding() {
        let unknown = Claim::observing("a.b.c", |_| Ok(Observation::new()));
        assert_eq!(Foreign::gvisor(None).judge(&unknown, Word::Holds), Some(Judgement::NewFinding));
    }

    #[rstest]
    #[case("[    0.000000] Starting gVisor...\n[    0.3] Reading process obituaries...\n", true)]
    #[case("<5>[    0.000000] Linux version 6.1.0\n<6>[ 1.0] Starting gVisor\n", false)]
    #[case("[    0.000000] Linux version 4.4.0\n", false)]
    #[case("", false)]
    fn by_the_first_line_of_its_log(#[case] log: &str, #[case] is: bool) {
        assert_eq!(is_gvisors(log), is);
    }
}
