//! Where a claim's sentence is published, and what is said there.

#![forbid(unsafe_code)]

use nocopy_host::kernel::{Release, Series};
use std::fmt;

/// The release of the manual pages that were read.
pub const MAN_PAGES: &str = "man-pages 6.20";
/// The release of the kernel whose documents, tests and sources were read.
pub const LINUX: &str = "Linux 7.3";

/// A document, test or thread that speaks about a claim's sentence.
///
/// It [asserts](Stance::Asserts) the sentence unless it is changed with [`denies`](Self::denies) or
/// [`leaves_open`](Self::leaves_open):
///
/// ```
/// use conformance::claim::source::man;
/// let source = man("vmsplice(2)", "DESCRIPTION, SPLICE_F_GIFT").denies().since("2.6.17");
/// assert_eq!(source.to_string(), "vmsplice(2), DESCRIPTION, SPLICE_F_GIFT (man-pages 6.20), of Linux 2.6.17 and later");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The kind of publication.
    pub kind: Kind,
    /// The page, document, file, thread or commit.
    pub name: &'static str,
    /// The place in it: section and errno, heading, function, test case; for a thread, what it reports.
    pub at: &'static str,
    /// The release whose edition has the text, if it is not the one that was read of all others.
    pub edition: Option<&'static str>,
    /// What it says about the sentence.
    pub stance: Stance,
    /// The first kernel that it speaks of.
    pub since: Option<&'static str>,
    /// The last kernel that it speaks of.
    pub until: Option<&'static str>,
}

/// What a source says about a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stance {
    /// It states the sentence.
    Asserts,
    /// It states the opposite.
    Denies,
    /// It leaves the behaviour open: unspecified, or "may".
    LeavesOpen,
    /// It could not be read where this was written.
    NotReread,
}

impl Stance {
    /// The verb, as in the pages.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Asserts => "asserts",
            Self::Denies => "denies",
            Self::LeavesOpen => "leaves open",
            Self::NotReread => "not re-read",
        }
    }

    /// The words before the name of a source, beside a sentence.
    pub const fn by(self) -> &'static str {
        match self {
            Self::Asserts => "asserted by",
            Self::Denies => "denied by",
            Self::LeavesOpen => "left open by",
            Self::NotReread => "not re-read",
        }
    }
}

/// The kinds of publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The source document, by section.
    Seed,
    /// A manual page.
    Man,
    /// A document of the kernel.
    Document,
    /// A test of the kernel's own.
    Selftest,
    /// A source file of the kernel.
    Kernel,
    /// A test of LTP.
    Ltp,
    /// A test of gVisor.
    Gvisor,
    /// A test or manual page of liburing.
    Liburing,
    /// A commit of the kernel.
    Commit,
    /// A bug report, a review, a mailing-list thread.
    Thread,
    /// The source or documentation of another program.
    Program,
    /// No publication: found by our experiments.
    Measured,
}

const fn of(kind: Kind, name: &'static str, at: &'static str) -> Source {
    Source { kind, name, at, edition: None, stance: Stance::Asserts, since: None, until: None }
}

/// A section of the source document.
pub const fn seed(section: &'static str) -> Source {
    of(Kind::Seed, section, "")
}

/// A manual page, `tee(2)`, and a place in it: a section, or a section and an errno or flag, `ERRORS, EINVAL`.
pub const fn man(page: &'static str, at: &'static str) -> Source {
    of(Kind::Man, page, at)
}

/// A document of the kernel, without `Documentation/`, and a heading in it.
pub const fn doc(file: &'static str, heading: &'static str) -> Source {
    of(Kind::Document, file, heading)
}

/// A test of the kernel's own, without `tools/testing/selftests/`, and a case in it.
pub const fn selftest(file: &'static str, case: &'static str) -> Source {
    of(Kind::Selftest, file, case)
}

/// A source file of the kernel, and a function or structure in it. It speaks of the release that was read and later ones.
pub const fn kernel(file: &'static str, function: &'static str) -> Source {
    of(Kind::Kernel, file, function).since("7.3")
}

/// A test of LTP, `tee02.c`, and a case in it.
pub const fn ltp(file: &'static str, case: &'static str) -> Source {
    of(Kind::Ltp, file, case)
}

/// A file of gVisor's system call tests, `splice.cc`, and a test in it.
pub const fn gvisor(file: &'static str, test: &'static str) -> Source {
    of(Kind::Gvisor, file, test)
}

/// A file of liburing, and a test or a section in it.
pub const fn liburing(file: &'static str, test: &'static str) -> Source {
    of(Kind::Liburing, file, test)
}

/// A commit of the kernel: its hash and subject.
pub const fn commit(hash: &'static str, subject: &'static str) -> Source {
    of(Kind::Commit, hash, subject)
}

/// A bug report or another thread, and what it reports, in a clause.
pub const fn thread(name: &'static str, reports: &'static str) -> Source {
    of(Kind::Thread, name, reports)
}

/// Another program, and the place in its source or documentation.
pub const fn program(name: &'static str, at: &'static str) -> Source {
    of(Kind::Program, name, at)
}

/// No publication: our experiments found it.
pub const MEASURED: Source = of(Kind::Measured, "", "");

impl Source {
    /// The source states the opposite of the sentence.
    #[must_use]
    pub const fn denies(mut self) -> Self {
        self.stance = Stance::Denies;
        self
    }

    /// The source leaves open whether the sentence is true.
    #[must_use]
    pub const fn leaves_open(mut self) -> Self {
        self.stance = Stance::LeavesOpen;
        self
    }

    /// The source could not be read again, so it has no stance.
    #[must_use]
    pub const fn unread(mut self) -> Self {
        self.stance = Stance::NotReread;
        self
    }

    /// The text is in an older edition only: that of this release.
    #[must_use]
    pub const fn edition(mut self, release: &'static str) -> Self {
        self.edition = Some(release);
        self
    }

    /// The first kernel that the source speaks of.
    #[must_use]
    pub const fn since(mut self, release: &'static str) -> Self {
        self.since = Some(release);
        self
    }

    /// The last kernel that the source speaks of.
    #[must_use]
    pub const fn until(mut self, release: &'static str) -> Self {
        self.until = Some(release);
        self
    }

    /// Whether it speaks of the kernels of a series.
    pub fn speaks_of(&self, series: Series) -> bool {
        let parsed = |release: Option<&str>| release.and_then(|text| text.parse().ok()).map(|it: Release| it.series);
        parsed(self.since).is_none_or(|since| since <= series) && parsed(self.until).is_none_or(|until| series <= until)
    }

    /// Whether a kernel of a series, on which the sentence is true or false, contradicts it.
    pub fn is_contradicted(&self, series: Series, holds: bool) -> bool {
        let opposite = match self.stance {
            Stance::Asserts => !holds,
            Stance::Denies => holds,
            Stance::LeavesOpen | Stance::NotReread => false,
        };
        opposite && self.kind != Kind::Measured && self.speaks_of(series)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, at, edition, .. } = self;
        let read = |usual| edition.unwrap_or(usual);
        match kind {
            Kind::Seed => write!(f, "source document, section {name}")?,
            Kind::Measured => f.write_str("measured")?,
            _ if at.is_empty() => f.write_str(name)?,
            Kind::Man => write!(f, "{name}, {at} ({})", read(MAN_PAGES))?,
            Kind::Document => write!(f, "Documentation/{name}, {at} ({})", read(LINUX))?,
            Kind::Selftest => write!(f, "kselftest {name}, {at} ({})", read(LINUX))?,
            Kind::Kernel => write!(f, "{name}, {at} ({})", read(LINUX))?,
            Kind::Ltp => write!(f, "LTP {name}, {at}")?,
            Kind::Gvisor => write!(f, "gVisor {name}, {at}")?,
            Kind::Liburing => write!(f, "liburing {name}, {at}")?,
            Kind::Commit => write!(f, "commit {name}, {at}")?,
            Kind::Thread => write!(f, "{name}: {at}")?,
            Kind::Program => write!(f, "{name}, {at}")?,
        }
        match (self.since, self.until) {
            (None, None) => Ok(()),
            (Some(_), None) if *kind == Kind::Kernel => Ok(()),
            (Some(since), None) => write!(f, ", of Linux {since} and later"),
            (None, Some(until)) => write!(f, ", of Linux up to {until}"),
            (Some(since), Some(until)) => write!(f, ", of Linux {since} to {until}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const PAGE: Source = man("sendfile(2)", "ERRORS, EINVAL");

    #[rstest]
    #[case(PAGE, false, true)]
    #[case(PAGE, true, false)]
    #[case(PAGE.denies(), true, true)]
    #[case(PAGE.denies(), false, false)]
    #[case(PAGE.leaves_open(), false, false)]
    #[case(PAGE.leaves_open(), true, false)]
    #[case(PAGE.unread(), false, false)]
    #[case(PAGE.since("6.13"), false, false)]
    #[case(PAGE.since("6.12"), false, true)]
    #[case(PAGE.until("6.11"), false, false)]
    #[case(PAGE.since("2.6.33").until("6.12"), false, true)]
    #[case(MEASURED, false, false)]
    fn a_source_is_contradicted_in_its_range_only(#[case] source: Source, #[case] holds: bool, #[case] against: bool) {
        assert_eq!(source.is_contradicted(Series::new(6, 12), holds), against);
    }

    #[test]
    fn an_older_edition_is_named() {
        let source = doc("networking/msg_zerocopy.rst", "Transmission").until("6.2");
        let place = "Documentation/networking/msg_zerocopy.rst, Transmission";
        assert_eq!(source.to_string(), format!("{place} ({LINUX}), of Linux up to 6.2"));
        assert_eq!(source.edition("Linux 5.10").to_string(), format!("{place} (Linux 5.10), of Linux up to 6.2"));
    }
}
