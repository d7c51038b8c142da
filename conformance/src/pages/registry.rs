//! The registry as pages: one for each interface, the statements of the source document, and an index.
//!
//! All of it comes from the registry, the records of the matrix and the source document, and a test compares it with them.

#![forbid(unsafe_code)]

use crate::claim::Claim;
use crate::claim::source::{Kind, Source, Stance};
use crate::kernel::{MEASURED, NEWEST, OLDEST};
use crate::known::Known;
use crate::pages::open;
use crate::pages::open::Edge;
use crate::report::markdown::escaped_in_cells;
use crate::run::answer::{Answer, answers, needed};
use crate::run::recorded;
use crate::run::text::plural;
use crate::seed::{Document, Language};
use crate::verdict::{Observation, Value, Word, errno_name};
use nocopy_host::kernel::Series;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The word for what is known of a claim on a series; in parentheses where only the kernels below and above were measured.
pub fn word_on(claim: &Claim, series: Series) -> String {
    let known = Known::of(claim);
    match (known.on(series), known.between(series)) {
        (Some(word), _) => word.text().to_owned(),
        (None, Some(true)) => "(holds)".into(),
        (None, Some(false)) => "(refuted)".into(),
        (None, None) => "not measured".into(),
    }
}

/// The sources that a kernel contradicts, with those kernels.
pub fn contradicted(claim: &Claim) -> Vec<(&'static Source, Vec<Series>)> {
    let known = Known::of(claim);
    let against =
        |source: &'static Source| (source, known.against(source).iter().map(|release| release.series).collect());
    claim.sources.iter().map(against).filter(|(_, kernels): &(_, Vec<Series>)| !kernels.is_empty()).collect()
}

/// Whether a kernel contradicts one of its sources.
pub fn is_contradicted(claim: &Claim) -> bool {
    !contradicted(claim).is_empty()
}

/// The pages: names and texts. `README.md` is the index.
pub fn pages(claims: &[&'static Claim]) -> Vec<(String, String)> {
    let edges = open::edges(claims);
    let document = Document::load();
    let mut pages = vec![("README.md".to_owned(), front(claims, &edges))];
    for (interface, of_it) in by_interface(claims) {
        pages.push((format!("{interface}.md"), interface_page(interface, &of_it, &edges, &document)));
    }
    pages.push(("statements.md".to_owned(), statements(claims, &document)));
    pages.push(("index.md".to_owned(), index(claims)));
    pages
}

/// One page with these claims only.
pub fn page(claims: &[&'static Claim]) -> String {
    let edges = open::edges(claims);
    let document = Document::load();
    let pages = by_interface(claims).into_iter();
    pages.map(|(interface, of_it)| interface_page(interface, &of_it, &edges, &document)).collect::<Vec<_>>().join("\n")
}

macro_rules! line {
    ($page:expr, $($text:tt)*) => { writeln!($page, $($text)*).expect("a string takes all") };
}

/// The claims of each interface, in the registry's order.
pub(crate) fn by_interface(claims: &[&'static Claim]) -> Vec<(&'static str, Vec<&'static Claim>)> {
    let mut interfaces: Vec<(&str, Vec<&Claim>)> = Vec::new();
    for claim in claims.iter().copied() {
        let name = claim.interface();
        match interfaces.iter_mut().find(|(known, _)| *known == name) {
            Some((_, of_it)) => of_it.push(claim),
            None => interfaces.push((name, vec![claim])),
        }
    }
    interfaces
}

fn front(claims: &[&'static Claim], edges: &[Edge]) -> String {
    let mut page = String::new();
    let contradicted: Vec<_> = claims.iter().filter(|claim| is_contradicted(claim)).collect();
    line!(
        page,
        "# What is known of Linux zero-copy I/O\n\n\
         {} on Linux {OLDEST} to {NEWEST} (x86-64). {} of them contradict something that is published. Made from the registry and the \
         records by `just claims`: change those, not these pages. `conformance find TEXT` searches the same, and `conformance show ID` \
         decides a claim on the running kernel.\n\n\
         [The statements of the source document](statements.md) · [Index by errno, flag, file system and call](index.md)\n",
        plural(claims.len(), "claim"),
        contradicted.len(),
    );
    totals(&mut page, claims, edges);
    line!(page, "\n## Contradicted\n");
    line!(page, "What is published for a kernel, and what that kernel does instead.\n");
    for claim in contradicted {
        let places: Vec<String> = self::contradicted(claim)
            .iter()
            .map(|(source, kernels)| format!("{} {} ({})", source.stance.verb(), source, range(kernels)))
            .collect();
        line!(page, "- {} {} {}", link(claim.id), claim.statement, places.join("; "));
    }
    page
}

/// A row per interface and a column per kernel, with the numbers of claims that hold, are refuted, and could not be tried.
fn totals(page: &mut String, claims: &[&'static Claim], edges: &[Edge]) {
    line!(
        page,
        "Per interface and kernel: claims that hold, are refuted, could not be tried. Last column: claims for which a version that \
         matters has no measured kernel beside it ([open edges](../open-edges.md)).\n"
    );
    let kernels: Vec<String> = MEASURED.iter().map(ToString::to_string).collect();
    line!(page, "| | {} | not bracketed |", kernels.join(" | "));
    line!(page, "|---|{}--:|", "--:|".repeat(kernels.len()));
    for (interface, of_it) in by_interface(claims) {
        write!(page, "| [{interface}]({interface}.md) |").expect("a string takes all");
        for series in MEASURED {
            let mut counts: BTreeMap<Option<bool>, usize> = BTreeMap::new();
            for claim in &of_it {
                let holds = Known::of(claim).on(*series).filter(|word| word.is_decided());
                *counts.entry(holds.map(|word| word == Word::Holds)).or_default() += 1;
            }
            let count = |holds| counts.get(&holds).copied().unwrap_or(0);
            write!(page, " {} {} {} |", count(Some(true)), count(Some(false)), count(None))
                .expect("a string takes all");
        }
        let open = of_it.iter().filter(|claim| edges.iter().any(|edge| edge.claims.contains(&claim.id)));
        line!(page, " {} |", open.count());
    }
}

fn interface_page(interface: &str, claims: &[&'static Claim], edges: &[Edge], document: &Document) -> String {
    let mut page = String::new();
    line!(page, "# {interface}: {}\n", plural(claims.len(), "claim"));
    let mut subjects: Vec<(&str, usize)> = Vec::new();
    for claim in claims {
        match subjects.iter_mut().find(|(subject, _)| *subject == claim.subject()) {
            Some((_, count)) => *count += 1,
            None => subjects.push((claim.subject(), 1)),
        }
    }
    let contents: Vec<String> =
        subjects.iter().map(|(subject, count)| format!("[{subject}](#{interface}.{subject}) {count}")).collect();
    line!(page, "{}\n", contents.join(" · "));
    let contradicted: Vec<_> = claims.iter().filter(|claim| is_contradicted(claim)).collect();
    if !contradicted.is_empty() {
        line!(page, "Contradicted by a kernel:\n");
        for claim in contradicted {
            line!(page, "- {} {}", anchor_link(claim.id), claim.statement);
        }
        line!(page, "");
    }
    for (subject, _) in subjects {
        line!(page, "## <a id=\"{interface}.{subject}\"></a>{interface}.{subject}\n");
        for claim in claims.iter().filter(|claim| claim.subject() == subject) {
            entry(&mut page, claim, edges, document);
        }
    }
    page
}

fn entry(page: &mut String, claim: &'static Claim, edges: &[Edge], document: &Document) {
    line!(page, "### <a id=\"{0}\"></a>{0}\n\n{1}\n", claim.id, claim.statement);
    for answer in answers(claim) {
        line!(page, "- {}", in_page(&answer));
    }
    for stance in [Stance::Asserts, Stance::Denies, Stance::LeavesOpen, Stance::NotReread] {
        let of_it: Vec<String> = claim
            .sources
            .iter()
            .filter(|source| source.stance == stance)
            .map(|source| with_judgement(claim, source))
            .collect();
        let verb = match stance {
            Stance::Asserts if claim.sources.iter().all(|source| source.kind == Kind::Measured) => "source",
            stance => stance.by(),
        };
        if !of_it.is_empty() {
            line!(page, "- {verb}: {}", of_it.join("; "));
        }
    }
    let statements = document.statements.iter().filter(|statement| statement.all_claims().any(|id| id == claim.id));
    let ids: Vec<String> = statements.map(|statement| format!("[{0}](statements.md#{0})", statement.id)).collect();
    if !ids.is_empty() {
        line!(page, "- decides: {}", ids.join(", "));
    }
    let needed = recorded::newest(claim.id).map(needed).unwrap_or_default();
    if !claim.method.is_empty() {
        line!(page, "- method: {}", claim.method);
    }
    if !needed.is_empty() {
        line!(page, "- holds if: {}", needed.iter().map(|fact| format!("`{fact}`")).collect::<Vec<_>>().join(", "));
    }
    let (file, line) = (claim.at.file(), claim.at.line());
    let short = file.strip_prefix("conformance/src/").unwrap_or(file);
    line!(page, "- code: [{short}:{line}](../../src/{short}#L{line}); `conformance show {}`", claim.id);
    for edge in edges.iter().filter(|edge| edge.claims.contains(&claim.id)) {
        let since = edge.since.map(|since| format!("Linux {since}: ")).unwrap_or_default();
        line!(page, "- not bracketed: {since}{} (needs {})", edge.what, edge.needs.join(", "));
    }
    line!(page, "");
}

/// An answer with the kernels and the word emphasised, facts as code.
fn in_page(answer: &Answer) -> String {
    let beginning = format!("**{}** on {}", answer.verdict.text(), answer.range());
    if let Some(reason) = &answer.reason {
        return format!("{beginning}: {reason}");
    }
    let facts: Vec<String> = answer
        .instead
        .iter()
        .map(|fact| match &fact.expected {
            Some(expected) => format!("`{fact}` (for the sentence: {expected})"),
            None => format!("`{fact}`"),
        })
        .collect();
    if facts.is_empty() { beginning } else { format!("{beginning}: {}", facts.join(", ")) }
}

/// A source, with the kernels that contradict it.
fn with_judgement(claim: &Claim, source: &Source) -> String {
    let known = Known::of(claim);
    let against: Vec<Series> = known.against(source).iter().map(|release| release.series).collect();
    if against.is_empty() { source.to_string() } else { format!("{source} (**not so** on {})", range(&against)) }
}

/// Series as ranges of measured neighbours: `5.10 to 6.1, 7.3`.
pub(crate) fn range(kernels: &[Series]) -> String {
    let mut ranges: Vec<(Series, Series)> = Vec::new();
    for series in kernels {
        let at = MEASURED.iter().position(|other| other == series);
        let before = at.and_then(|at| at.checked_sub(1)).map(|at| MEASURED[at]);
        match ranges.last_mut() {
            Some((_, last)) if Some(*last) == before => *last = *series,
            _ => ranges.push((*series, *series)),
        }
    }
    let words = ranges.iter().map(|(from, to)| if from == to { from.to_string() } else { format!("{from} to {to}") });
    words.collect::<Vec<_>>().join(", ")
}

fn link(id: &str) -> String {
    let interface = id.split('.').next().unwrap_or(id);
    format!("[{id}]({interface}.md#{id})")
}

fn anchor_link(id: &str) -> String {
    format!("[{id}](#{id})")
}

/// The statements of the source document, with their claims.
fn statements(claims: &[&'static Claim], document: &Document) -> String {
    let mut page = String::from("# The statements of the source document\n");
    let newest = recorded::find(&NEWEST.to_string()).expect("the newest kernel has a record");
    for section in &document.sections {
        line!(page, "\n## {} {} {}\n", section.number, section.english, section.chinese);
        for statement in document.of_section(section) {
            let standing = statement.standing(|id| newest.run.find(id).map(|record| record.verdict));
            line!(
                page,
                "<a id=\"{0}\"></a>**{0}** *{standing}* on {NEWEST}. {1} {2}\n",
                statement.id,
                statement.sentence(Language::English),
                statement.sentence(Language::Chinese)
            );
            if let Some(reason) = &statement.reason {
                line!(page, "- {reason}");
            }
            for line in timed(&statement.recorded) {
                line!(page, "- {line}");
            }
            for (word, ids) in [("part", &statement.claims), ("against it", &statement.denied_by)] {
                for claim in ids.iter().filter_map(|id| claims.iter().find(|claim| claim.id == id)) {
                    let words: Vec<String> = answers(claim).iter().map(in_page).collect();
                    line!(page, "- {word}: {} {} {}", link(claim.id), claim.statement, words.join("; "));
                }
            }
            line!(page, "");
        }
    }
    page
}

/// The recorded ratios of these ways to read+write, with their interval: 1 GiB to a TCP socket that one reads.
pub(crate) fn timed(names: &[String]) -> Vec<String> {
    const LENGTH: u64 = 1 << 30;
    let run: serde_json::Value =
        serde_json::from_str(include_str!("../../../fixtures/bench/run.json")).expect("a test reads it");
    let outcomes = run["outcomes"].as_array().into_iter().flatten();
    let of_document = outcomes.filter(|outcome| {
        outcome["kind"] == "ways"
            && outcome["sink"] == "TCP"
            && outcome["congestion"] == "reno"
            && outcome["length"] == LENGTH
    });
    let mut lines = Vec::new();
    for outcome in of_document {
        for line in outcome["lines"].as_array().into_iter().flatten() {
            let name = line["name"].as_str().unwrap_or_default();
            let [low, median, high] = ["low", "median", "high"].map(|key| line["faster"][key].as_f64());
            if let (true, Some(low), Some(median), Some(high)) =
                (names.iter().any(|wanted| wanted == name), low, median, high)
            {
                let cpus = if outcome["placement"] == "same" { "one processor" } else { "two processors" };
                lines.push(format!(
                    "timed on {} ({}, {cpus}, {}), which decides nothing: {name} {median:.2} times as fast as read+write [{low:.2} to {high:.2}]",
                    run["kernel"].as_str().unwrap_or_default(),
                    run["processor"].as_str().unwrap_or_default(),
                    run["date"].as_str().unwrap_or_default(),
                ));
            }
        }
    }
    lines
}

/// The prefixes of flags.
const FLAGS: &[&str] = &[
    "SPLICE_F_",
    "MSG_",
    "MAP_",
    "MADV_",
    "MREMAP_",
    "MS_",
    "O_",
    "SO_",
    "TCP_",
    "UDP_",
    "F_",
    "PROT_",
    "SEEK_",
    "POLL",
    "EPOLL",
    "SIG",
    "IP_",
    "RLIMIT_",
    "SIOC",
    "FS_",
    "SO_EE_",
    "PR_",
    "MLOCK_",
    "FALLOC_FL_",
    "RWF_",
    "MFD_",
    "CAP_",
];
const FILE_SYSTEMS: &[&str] = &[
    "ext4",
    "xfs",
    "btrfs",
    "tmpfs",
    "ramfs",
    "vfat",
    "nfs",
    "overlay",
    "overlayfs",
    "squashfs",
    "erofs",
    "fuse",
    "/proc",
    "/sys",
    "hugetlbfs",
    "memfd",
];

/// Claims by the names that they are about.
type Index = BTreeMap<String, BTreeSet<&'static str>>;

/// Indexes by errno, flag, file system and call, with their headings.
pub(crate) fn indexes(claims: &[&'static Claim]) -> [(&'static str, Index); 4] {
    let mut by_errno = Index::new();
    let mut by_flag = Index::new();
    let mut by_file_system = Index::new();
    let mut by_call = Index::new();
    for claim in claims {
        for call in claim.about {
            by_call.entry(call.name().to_owned()).or_default().insert(claim.id);
        }
        for errno in errnos(claim) {
            by_errno.entry(errno).or_default().insert(claim.id);
        }
        for word in words(claim) {
            if FLAGS.iter().any(|flag| word.starts_with(flag) && word.len() > flag.len()) && is_constant(&word) {
                by_flag.entry(word.clone()).or_default().insert(claim.id);
            }
            let lower = word.to_lowercase();
            if let Some(known) =
                FILE_SYSTEMS.iter().find(|known| lower == **known || lower.starts_with(&format!("{known}/")))
            {
                by_file_system.entry((*known).to_owned()).or_default().insert(claim.id);
            }
        }
    }
    [("Errnos", by_errno), ("Flags and options", by_flag), ("File systems", by_file_system), ("System calls", by_call)]
}

/// The indexes as a page.
fn index(claims: &[&'static Claim]) -> String {
    let mut page = String::from("# Index\n");
    for (heading, index) in indexes(claims) {
        line!(page, "\n## {heading}\n\n| | claims |\n|---|---|");
        for (name, ids) in index {
            let links: Vec<String> = ids.iter().map(|id| link(id)).collect();
            line!(page, "| {} | {} |", escaped_in_cells(&name), links.join(" "));
        }
    }
    page
}

/// The errnos that its kernels returned, or that its sentence names.
pub fn errnos(claim: &Claim) -> BTreeSet<String> {
    let facts =
        recorded::of(claim.id).filter_map(|(_, record)| record.observation.as_ref()).flat_map(Observation::facts);
    let seen = facts.filter_map(|fact| match fact.value {
        Value::Errno(errno) => Some(errno_name(errno)),
        _ => None,
    });
    let named = claim.statement.split(|letter: char| !letter.is_ascii_alphanumeric());
    let named = named.filter(|word| word.len() > 2 && word.starts_with('E') && is_constant(word));
    seen.chain(named.map(str::to_owned)).collect()
}

fn is_constant(word: &str) -> bool {
    word.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
}

/// The words of its sentence, its method and the names of its facts.
fn words(claim: &Claim) -> BTreeSet<String> {
    let facts = recorded::newest(claim.id).into_iter().flat_map(Observation::facts).map(|fact| fact.fact.as_str());
    let texts = facts.chain([claim.statement, claim.method]);
    let separates = |letter: char| !(letter.is_ascii_alphanumeric() || "_/".contains(letter));
    texts.flat_map(|text| text.split(separates)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
