//! Other people's test suites: the assertions in their files about these interfaces, and the parts of nocopy that decide them.
//!
//! `fixtures/coverage.toml` answers "does nocopy cover LTP's splice03?". A file with several assertions has several entries. Each
//! entry has one answer: claims, tests, why it is not for nocopy, or what a missing claim would do.

#![forbid(unsafe_code)]

use crate::claim::Registry;
use crate::known::Known;
use crate::report::human::paragraph;
use crate::run::text::plural;
use anstyle::{AnsiColor, Style};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io::{self, Write};

/// `fixtures/coverage.toml` at the time of the build.
const FIXTURE: &str = include_str!("../../../fixtures/coverage.toml");

/// The suites, and all of their assertions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// The suites that were read.
    #[serde(rename = "suite")]
    pub suites: Vec<Suite>,
    /// Their assertions, in the order of their files.
    #[serde(rename = "entry")]
    pub entries: Vec<Entry>,
}

/// A test suite of another project.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// The name by which entries refer to it.
    pub name: String,
    /// Its owner, and the location of its files.
    pub what: String,
    /// The version that was read.
    pub read: String,
    /// The files that were read. Each of them has entries, and no other file has one.
    pub files: Vec<String>,
    /// Files that a claim cites for a sentence. What else they assert is about other calls, and is not listed.
    #[serde(default)]
    pub cited: Vec<String>,
}

/// One thing that a file of a suite asserts.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "Raw")]
pub struct Entry {
    /// The suite.
    pub suite: String,
    /// The file, as in the suite's list.
    pub file: String,
    /// The assertion, in our words.
    pub assertion: String,
    /// The part of nocopy that decides it.
    pub answer: Answer,
}

/// The answer of nocopy to an assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The claims whose experiments decide it.
    Claims(Vec<String>),
    /// The tests of this workspace that decide it, as `file::function`.
    Tests(Vec<String>),
    /// Why it is not for nocopy.
    NotApplicable(String),
    /// It is for nocopy, but nothing decides it yet. This is what a claim would do.
    Open(String),
}

/// An entry as it is written in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    suite: String,
    file: String,
    assertion: String,
    claims: Option<Vec<String>>,
    tests: Option<Vec<String>>,
    why: Option<String>,
    open: Option<String>,
}

impl TryFrom<Raw> for Entry {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let answers = [
            raw.claims.map(Answer::Claims),
            raw.tests.map(Answer::Tests),
            raw.why.map(Answer::NotApplicable),
            raw.open.map(Answer::Open),
        ];
        let mut answers = answers.into_iter().flatten();
        let (Some(answer), None) = (answers.next(), answers.next()) else {
            let (suite, file, assertion) = (raw.suite, raw.file, raw.assertion);
            return Err(format!("{suite} {file}: \"{assertion}\" has not exactly one of claims, tests, why and open"));
        };
        Ok(Self { suite: raw.suite, file: raw.file, assertion: raw.assertion, answer })
    }
}

impl Coverage {
    /// Reads the fixture.
    ///
    /// # Panics
    ///
    /// Never in a build whose tests pass: the fixture is part of the program.
    pub fn load() -> Self {
        Self::parse(FIXTURE).expect("fixtures/coverage.toml is checked by a test")
    }

    /// Reads a document of this form. Returns the first error in it, if there is one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let coverage: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        coverage.check()?;
        Ok(coverage)
    }

    /// Checks the rules that the types cannot express: entries and the lists of files agree, there are no duplicates, and nothing is
    /// empty.
    fn check(&self) -> Result<(), String> {
        let mut listed = BTreeSet::new();
        let mut names = BTreeSet::new();
        for suite in &self.suites {
            if !names.insert(&suite.name) {
                return Err(format!("the suite {} is there twice", suite.name));
            }
            for file in &suite.files {
                if !listed.insert((&suite.name, file)) {
                    return Err(format!("{} lists {file} twice", suite.name));
                }
            }
        }
        let mut assertions = BTreeSet::new();
        let mut without_entry = listed.clone();
        for entry in &self.entries {
            let place = (&entry.suite, &entry.file);
            let name = entry.place();
            if !listed.contains(&place) {
                return Err(format!("{name} is in no suite's list of files"));
            }
            without_entry.remove(&place);
            if !assertions.insert((place, &entry.assertion)) {
                return Err(format!("{name}: \"{}\" is there twice", entry.assertion));
            }
            if entry.answer.is_empty() {
                return Err(format!("{name}: \"{}\" has no answer", entry.assertion));
            }
        }
        match without_entry.first() {
            Some((suite, file)) => Err(format!("{suite} {file} has no entry")),
            None => Ok(()),
        }
    }

    /// The entries that match all of these texts, in lower or upper case.
    ///
    /// A text that is the name of a file, with or without its directory, matches only this file: `splice03` does not match
    /// `vmsplice03`. Any other text matches if it occurs in the suite, the file or the assertion.
    pub fn matching(&self, texts: &[String]) -> Vec<&Entry> {
        let fits = |entry: &Entry, text: &str| {
            let is_file = self.entries.iter().any(|other| other.is_of(text));
            if is_file {
                return entry.is_of(text);
            }
            let parts = [&entry.suite, &entry.file, &entry.assertion];
            parts.iter().any(|part| part.to_lowercase().contains(text))
        };
        let texts: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
        let all = |entry: &&Entry| texts.iter().all(|text| fits(entry, text));
        self.entries.iter().filter(all).collect()
    }

    /// The version of a suite that was read.
    pub fn version(&self, suite: &str) -> &str {
        let found = self.suites.iter().find(|other| other.name == suite);
        found.map_or("", |suite| &suite.read)
    }
}

impl Entry {
    /// Its suite and file.
    pub fn place(&self) -> String {
        format!("{} {}", self.suite, self.file)
    }

    /// Whether this is the name of its file, in lower case.
    fn is_of(&self, name: &str) -> bool {
        let file = self.file.to_lowercase();
        file == name || file.rsplit_once('/').is_some_and(|(_, last)| last == name)
    }

    /// Whether nothing decides it yet.
    pub fn is_open(&self) -> bool {
        matches!(self.answer, Answer::Open(_))
    }
}

impl Answer {
    fn is_empty(&self) -> bool {
        match self {
            Self::Claims(names) | Self::Tests(names) => names.is_empty() || names.iter().any(String::is_empty),
            Self::NotApplicable(text) | Self::Open(text) => text.is_empty(),
        }
    }
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const PLAIN: Style = Style::new();
const OPEN: Style = AnsiColor::Yellow.on_default();

/// For a terminal: the entries by file, each with its answer, and the number of entries of each kind.
pub fn human(output: &mut dyn Write, coverage: &Coverage, entries: &[&Entry], registry: Registry) -> io::Result<()> {
    let mut file = String::new();
    for entry in entries {
        if file != entry.place() {
            file = entry.place();
            let version = coverage.version(&entry.suite);
            writeln!(output, "{BOLD}{file}{BOLD:#}  {version}\n")?;
        }
        paragraph(output, "  ", &entry.assertion, PLAIN)?;
        answer(output, &entry.answer, registry)?;
        writeln!(output)?;
    }
    let count = |is: fn(&Answer) -> bool| entries.iter().filter(|entry| is(&entry.answer)).count();
    writeln!(
        output,
        "{BOLD}{}{BOLD:#}: {} decided by claims, {} by tests, {} not for nocopy, {} open",
        plural(entries.len(), "assertion"),
        count(|answer| matches!(answer, Answer::Claims(_))),
        count(|answer| matches!(answer, Answer::Tests(_))),
        count(|answer| matches!(answer, Answer::NotApplicable(_))),
        count(|answer| matches!(answer, Answer::Open(_))),
    )
}

fn answer(output: &mut dyn Write, answer: &Answer, registry: Registry) -> io::Result<()> {
    const BELOW: &str = "            ";
    match answer {
        Answer::Claims(ids) => {
            for claim in ids.iter().filter_map(|id| registry.find(id)) {
                writeln!(output, "      claim {}", claim.id)?;
                paragraph(output, BELOW, claim.statement, DIM)?;
                let finds: Vec<String> = Known::of(claim).intervals().iter().map(ToString::to_string).collect();
                paragraph(output, BELOW, &finds.join(", "), DIM)?;
            }
        }
        Answer::Tests(tests) => {
            for test in tests {
                writeln!(output, "      test  {test}")?;
            }
        }
        Answer::NotApplicable(why) => paragraph(output, "      not for nocopy: ", why, DIM)?,
        Answer::Open(what) => paragraph(output, "      open: ", what, OPEN)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const SUITE: &str = "[[suite]]\nname = 'LTP'\nwhat = 'tests'\nread = '1'\nfiles = ['a01']\n";

    fn entry(file: &str, answer: &str) -> String {
        format!("[[entry]]\nsuite = 'LTP'\nfile = '{file}'\nassertion = 'It is so.'\n{answer}\n")
    }

    fn wrong(text: &str) -> String {
        match Coverage::parse(text) {
            Err(what) => what,
            Ok(coverage) => panic!("taken: {coverage:?}"),
        }
    }

    #[rstest]
    #[case("", "exactly one of")]
    #[case("claims = ['a.b.c']\nwhy = 'no'", "exactly one of")]
    #[case("open = 'later'\ntests = ['a.rs::b']", "exactly one of")]
    #[case("claims = []", "has no answer")]
    #[case("tests = ['']", "has no answer")]
    #[case("why = ''", "has no answer")]
    #[case("because = 'no'", "because")]
    fn an_entry_has_one_answer(#[case] answer: &str, #[case] mentions: &str) {
        let what = wrong(&format!("{SUITE}{}", entry("a01", answer)));
        assert!(what.contains(mentions), "{what}");
    }

    #[test]
    fn entries_and_lists_of_files_agree_both_ways() {
        let open = entry("a01", "open = 'later'");
        let text = format!("{SUITE}{open}");
        assert_eq!(Coverage::parse(&text).expect("good").entries.len(), 1);
        let unlisted = wrong(&format!("{text}{}", entry("b02", "open = 'later'")));
        assert_eq!(unlisted, "LTP b02 is in no suite's list of files");
        let longer = text.replace("['a01']", "['a01', 'b02']");
        assert_eq!(wrong(&longer), "LTP b02 has no entry");
        let twice = text.replace("['a01']", "['a01', 'a01']");
        assert_eq!(wrong(&twice), "LTP lists a01 twice");
        assert_eq!(wrong(&format!("{SUITE}{text}")), "the suite LTP is there twice");
    }

    #[test]
    fn an_assertion_is_there_once() {
        let text = format!("{SUITE}{0}{0}", entry("a01", "open = 'later'"));
        assert_eq!(wrong(&text), "LTP a01: \"It is so.\" is there twice");
    }

    #[rstest]
    #[case(&["SPLICE03"], 7)]
    #[case(&["vmsplice03"], 1)]
    #[case(&["ltp", "splice03", "espipe"], 2)]
    #[case(&["short_splice_read.sh"], 4)]
    #[case(&["ltp", "nfs"], 1)]
    #[case(&["splice03", "no such text"], 0)]
    fn each_text_must_fit(#[case] texts: &[&str], #[case] count: usize) {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        assert_eq!(Coverage::load().matching(&texts).len(), count);
    }
}
