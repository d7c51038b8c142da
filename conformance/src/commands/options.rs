//! Options that several commands have.

use super::failure::Failure;
use clap::{Args, ValueEnum};
use conformance::claim::Claim;
use conformance::claim::retired;
use conformance::claim::source::Kind;
use conformance::claims;
use conformance::pages::search::did_you_mean;
use conformance::run::red::Strictness;
use conformance::run::text::plural;
use conformance::seed::{Document, Language};
use std::env;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What is red in addition to broken experiments, time-outs and a run that decides nothing.
#[derive(Args)]
pub struct Strict {
    /// Fail also on a verdict that differs from the record of this series, and on untestable claims
    #[arg(long)]
    pub strict: bool,
    /// With --strict, a claim (of a grid, a row) that may be untestable (can be repeated)
    #[arg(long, value_name = "ID", requires = "strict")]
    pub expect_untestable: Vec<String>,
}

impl Strict {
    /// As the reports take it. Every name must be of what the run is about.
    pub fn of<'name>(&self, names: impl IntoIterator<Item = &'name str>) -> Result<Strictness, Failure> {
        let names: Vec<&str> = names.into_iter().collect();
        let unused = |id: &&String| !names.contains(&id.as_str());
        if let Some(id) = self.expect_untestable.iter().find(unused) {
            return Err(Failure::Usage(format!("--expect-untestable {id}: nothing of that name is in this run")));
        }
        Ok(Strictness {
            strict: self.strict,
            expected_untestable: self.expect_untestable.clone(),
            registry: claims::REGISTRY,
        })
    }

    pub fn of_claims(&self, claims: &[&'static Claim]) -> Result<Strictness, Failure> {
        self.of(claims.iter().map(|claim| claim.id))
    }
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    #[default]
    Human,
    /// One JSON document
    Json,
}

#[derive(Args)]
pub struct Selection {
    /// Only claims whose id contains TEXT; `=ID` matches exactly (can be repeated)
    #[arg(long, value_name = "TEXT")]
    pub filter: Vec<String>,
    /// Only claims with this kind of source
    #[arg(long, value_enum)]
    pub source: Option<SourceKind>,
}

/// The option by which several machines share a selection.
#[derive(Args)]
pub struct Sharing {
    /// Only part K of N of the selected claims, to share them between machines
    #[arg(long, value_name = "K/N")]
    pub partition: Option<Part>,
}

impl Sharing {
    /// The claims of this part, in their order.
    pub fn of(&self, selected: &[&'static Claim]) -> Vec<&'static Claim> {
        let all = selected.iter().copied();
        match self.partition {
            Some(part) => part.of(all).collect(),
            None => all.collect(),
        }
    }

    /// An empty part decides nothing, which is red.
    pub fn refuse_empty(&self, selected: usize) -> Result<(), Failure> {
        match self.partition {
            Some(part) if part.of(0..selected).next().is_none() => {
                Err(Failure::Red(format!("part {part} is empty: {} selected", plural(selected, "claim"))))
            }
            _ => Ok(()),
        }
    }
}

/// Part `index` of `of` parts. Each item of a list is in exactly one part, and the sizes of parts differ by one at most.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// From 0.
    index: usize,
    of: usize,
}

impl Part {
    /// The items of this part. Neighbours, which often take a similar time, are in different parts.
    pub fn of<T>(self, items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        items.skip(self.index).step_by(self.of)
    }
}

impl FromStr for Part {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('/').and_then(|(part, parts)| {
            let (part, of): (usize, usize) = (part.parse().ok()?, parts.parse().ok()?);
            let index = part.checked_sub(1)?;
            (index < of).then_some(Self { index, of })
        });
        parsed.ok_or("expected K/N with 1 <= K <= N, for example 1/3")
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.of)
    }
}

/// The languages of the source document's headings and statements.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tongue {
    /// English
    En,
    /// Chinese
    Zh,
}

impl Tongue {
    /// The language that is asked for, or that of the environment's messages.
    pub fn language(asked: Option<Self>) -> Language {
        let of_environment = || {
            let mut variables = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter();
            let locale = variables.find_map(|name| env::var(name).ok().filter(|it| !it.is_empty()));
            Language::of_locale(&locale.unwrap_or_default())
        };
        match asked {
            Some(Self::En) => Language::English,
            Some(Self::Zh) => Language::Chinese,
            None => of_environment(),
        }
    }
}

#[derive(Args)]
pub struct Running {
    /// Number of experiments to run at a time [default: one per CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// CPU seconds for one experiment; the wall-clock limit is six times as long [default: 20]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub timeout: Option<u64>,
    /// Directory for files [default: the first usable of $TMPDIR, /tmp, /var/tmp, /dev/shm]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
}

impl Running {
    /// An option that is given.
    pub fn given(&self) -> Option<&'static str> {
        let options = [
            (self.jobs.is_some(), "--jobs"),
            (self.timeout.is_some(), "--timeout"),
            (self.scratch.is_some(), "--scratch"),
        ];
        let given = options.into_iter().find(|(is_given, _)| *is_given);
        given.map(|(_, name)| name)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SourceKind {
    /// The source document
    Seed,
    /// Manual pages
    Man,
    /// Kernel documents
    Doc,
    /// Test suites: kselftest, LTP, gVisor, liburing
    Test,
    /// The kernel's source and commits
    Kernel,
    /// Threads, bug reports and the sources of other programs
    Thread,
    /// Our own experiments
    Measured,
}

pub fn select(selection: &Selection) -> Result<Vec<&'static Claim>, Failure> {
    // All claims of a statement decide it, also those against it, whatever their source.
    let document = selection.is_of_document().then(Document::load);
    let wanted = |claim: &Claim| {
        let by_source = match (&document, selection.source) {
            (Some(document), _) => document.is_decided_by(claim),
            (None, None) => true,
            (None, Some(kind)) => claim.sources.iter().any(|source| kind.is_of(source.kind)),
        };
        let by_id = selection.filter.is_empty() || selection.filter.iter().any(|filter| named_by(claim.id, filter));
        by_source && by_id
    };
    let registry: Vec<_> = claims::REGISTRY.all().collect();
    if let Some(filter) =
        selection.filter.iter().find(|filter| !registry.iter().any(|claim| named_by(claim.id, filter)))
    {
        let name = filter.trim_start_matches('=');
        if let Some(retired) = retired::find(name) {
            return Err(Failure::Usage(format!("--filter {filter}: `{name}` is retired: {}", retired.words())));
        }
        let like = did_you_mean(name, registry.iter().map(|claim| claim.id));
        return Err(Failure::Usage(format!(
            "no claim matches --filter {filter}{like}; `conformance find {name}` searches in the sentences"
        )));
    }
    let claims: Vec<_> = registry.into_iter().filter(|claim| wanted(claim)).collect();
    if claims.is_empty() {
        return Err(Failure::Usage(
            "no claim matches both --filter and --source: `conformance list` names them all".into(),
        ));
    }
    Ok(claims)
}

/// The first name that stands twice among these.
pub fn twice(names: &[String]) -> Option<&String> {
    let mut places = names.iter().enumerate();
    let again = places.find(|(at, name)| names[..*at].contains(name));
    again.map(|(_, name)| name)
}

/// Whether a filter means a name: it is a part of it, or, after a `=`, all of it.
pub fn named_by(name: &str, filter: &str) -> bool {
    match filter.strip_prefix('=') {
        Some(whole) => name == whole,
        None => name.contains(filter),
    }
}

impl Selection {
    /// Whether the source document alone is asked for.
    pub fn is_of_document(&self) -> bool {
        self.source == Some(SourceKind::Seed)
    }

    /// The same selection as options of a command line.
    #[cfg(feature = "vm")]
    pub fn options(&self) -> Vec<String> {
        let filters = self.filter.iter().flat_map(|filter| ["--filter".to_owned(), filter.clone()]);
        let source = self.source.and_then(|source| Some(source.to_possible_value()?.get_name().to_owned()));
        filters.chain(source.into_iter().flat_map(|source| ["--source".to_owned(), source])).collect()
    }
}

impl SourceKind {
    /// Whether a kind of publication is meant.
    pub fn is_of(self, kind: Kind) -> bool {
        match kind {
            Kind::Seed => self == Self::Seed,
            Kind::Man => self == Self::Man,
            Kind::Document => self == Self::Doc,
            Kind::Selftest | Kind::Ltp | Kind::Gvisor | Kind::Liburing => self == Self::Test,
            Kind::Kernel | Kind::Commit => self == Self::Kernel,
            Kind::Thread | Kind::Program => self == Self::Thread,
            Kind::Measured => self == Self::Measured,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;
    use rstest::rstest;

    fn parts(of: usize) -> impl Iterator<Item = Part> {
        (1..=of).map(move |part| format!("{part}/{of}").parse().expect("a part"))
    }

    quickcheck! {
        // Stable, disjoint and complete; no part is more than one item larger than another.
        fn parts_are_a_partition(count: u8, of: u8) -> bool {
            let (count, of) = (usize::from(count), usize::from(of) + 1);
            let made = || parts(of).map(|part| part.of(0..count).collect()).collect();
            let (once, again): (Vec<Vec<usize>>, Vec<Vec<usize>>) = (made(), made());
            let mut all = once.concat();
            let in_order = once.iter().all(|part| part.is_sorted());
            all.sort_unstable();
            let sizes = || once.iter().map(Vec::len);
            once == again
                && in_order
                && all == (0..count).collect::<Vec<_>>()
                && sizes().max() <= sizes().min().map(|size| size + 1)
        }
    }

    #[test]
    fn a_part_is_printed_as_it_is_given() {
        let printed: Vec<String> = parts(3).map(|part| part.to_string()).collect();
        assert_eq!(printed, ["1/3", "2/3", "3/3"]);
    }

    #[rstest]
    #[case("")]
    #[case("1")]
    #[case("0/3")]
    #[case("4/3")]
    #[case("1/0")]
    #[case("-1/3")]
    #[case("1/3/3")]
    #[case("a/b")]
    fn what_is_not_a_part_is_refused(#[case] text: &str) {
        assert!(text.parse::<Part>().is_err(), "{text}");
    }
}
