//! The source document: its statements in their order, and how they stand by the claims' verdicts.

#![forbid(unsafe_code)]

use crate::claim::Claim;
use crate::claim::retired::Retired;
use crate::verdict::Word;
use serde::Deserialize;
use std::fmt;

/// `fixtures/seed.toml` at the time of the build.
const FIXTURE: &str = include_str!("../../fixtures/seed.toml");

/// Every statement of the source document.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The sections that have statements, in the document's order.
    #[serde(rename = "section")]
    pub sections: Vec<Section>,
    /// The statements, by number.
    #[serde(rename = "statement")]
    pub statements: Vec<Statement>,
    /// Numbers that are not statements any more.
    #[serde(default, rename = "retired")]
    pub retired: Vec<Retired>,
}

/// The language in which the document's headings and statements are printed. All else is English.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Chinese, in which the document is written.
    Chinese,
}

impl Language {
    /// The language of a locale such as `zh_CN.UTF-8`.
    pub fn of_locale(locale: &str) -> Self {
        let language = locale.split(['_', '.', '@']).next();
        if language == Some("zh") { Self::Chinese } else { Self::English }
    }
}

/// A section of the document.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Its number, or a word if it has none.
    pub number: String,
    /// Its subject.
    pub english: String,
    /// The same in Chinese.
    pub chinese: String,
}

impl Section {
    /// Its subject in this language.
    pub fn heading(&self, language: Language) -> &str {
        match language {
            Language::English => &self.english,
            Language::Chinese => &self.chinese,
        }
    }
}

/// One statement.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// `S01` to `S67`.
    pub id: String,
    /// The sections that make it, the first one first.
    pub sections: Vec<String>,
    /// The statement, in our words.
    pub english: String,
    /// The same in Chinese, in our words.
    pub chinese: String,
    /// The claims that are part of it: it is true if they hold.
    #[serde(default)]
    pub claims: Vec<String>,
    /// The claims that deny it: it is false if they hold.
    #[serde(default)]
    pub denied_by: Vec<String>,
    /// Why no experiment can decide it, with a source; or the part that experiments leave out.
    pub reason: Option<String>,
    /// Whether the reason refutes a part of it, for example a date, whatever the verdicts on the rest.
    #[serde(default)]
    pub refuted_in_part: bool,
    /// What the reason alone decides, for a statement without claims: a date, a book.
    pub by_reason: Option<ByReason>,
    /// Lines of the recorded benchmark that the pages print beside it. They decide nothing.
    #[serde(default)]
    pub recorded: Vec<String>,
}

/// What a reason decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByReason {
    /// The statement is true.
    True,
    /// The statement is false.
    False,
}

impl Document {
    /// Reads the fixture.
    ///
    /// # Panics
    ///
    /// Never in a build whose tests pass: the fixture is part of the program.
    pub fn load() -> Self {
        toml::from_str(FIXTURE).expect("fixtures/seed.toml is checked by a test")
    }

    /// The statement with this number.
    pub fn find(&self, id: &str) -> Option<&Statement> {
        self.statements.iter().find(|statement| statement.id.eq_ignore_ascii_case(id))
    }

    /// What became of a number that is not a statement any more.
    pub fn retired(&self, id: &str) -> Option<&Retired> {
        self.retired.iter().find(|retired| retired.id.eq_ignore_ascii_case(id))
    }

    /// The statements whose first section is this one.
    pub fn of_section<'document>(&'document self, section: &Section) -> impl Iterator<Item = &'document Statement> {
        self.statements.iter().filter(move |statement| statement.sections.first() == Some(&section.number))
    }
}

impl Document {
    /// Whether a claim decides a part of the document: it cites the document, or a statement names it, for it or against it.
    pub fn is_decided_by(&self, claim: &Claim) -> bool {
        let named = |statement: &Statement| statement.all_claims().any(|id| id == claim.id);
        claim.is_of_document() || self.statements.iter().any(named)
    }
}

impl Statement {
    /// The statement in this language, in our words.
    pub fn sentence(&self, language: Language) -> &str {
        match language {
            Language::English => &self.english,
            Language::Chinese => &self.chinese,
        }
    }

    /// Every claim that decides it.
    pub fn all_claims(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().chain(&self.denied_by).map(String::as_str)
    }

    /// How many of its parts hold, and how many claims against it, in words. Nothing where no claim decides it.
    pub fn counted(&self, verdict: impl Fn(&str) -> Option<Word>) -> String {
        let decided = |claims: &[String]| -> Vec<Word> {
            claims.iter().filter_map(|id| verdict(id)).filter(|word| word.is_decided()).collect()
        };
        let holding = |words: &[Word]| words.iter().filter(|word| **word == Word::Holds).count();
        let (parts, against) = (decided(&self.claims), decided(&self.denied_by));
        let part = |words: &[Word], what: &str| {
            (!words.is_empty()).then(|| format!("{} of {} {what} hold", holding(words), words.len()))
        };
        let words = [part(&parts, "claims for it"), part(&against, "claims against it")];
        words.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// How the statement stands by the verdicts of its claims.
    pub fn standing(&self, verdict: impl Fn(&str) -> Option<Word>) -> Standing {
        let says = |claims: &[String], as_said: Word| -> Vec<bool> {
            let decided = claims.iter().filter_map(|id| verdict(id));
            decided.filter(|word| matches!(word, Word::Holds | Word::Refuted)).map(|word| word == as_said).collect()
        };
        let mut for_it = says(&self.claims, Word::Holds);
        for_it.extend(says(&self.denied_by, Word::Refuted));
        match (for_it.contains(&true), for_it.contains(&false)) {
            (true, false) if self.refuted_in_part => Standing::Partly,
            (true, false) => Standing::True,
            (false, true) => Standing::False,
            (true, true) => Standing::Partly,
            (false, false) if self.all_claims().next().is_none() => match self.by_reason {
                Some(ByReason::True) => Standing::True,
                Some(ByReason::False) => Standing::False,
                None => Standing::NoExperiment,
            },
            (false, false) => Standing::Undecided,
        }
    }
}

/// How a statement stands on the running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Every claim of it holds.
    True,
    /// Every claim of it is refuted.
    False,
    /// Some hold, some do not.
    Partly,
    /// None of its claims could be decided here.
    Undecided,
    /// An opinion, a date or a timing, which no experiment decides.
    NoExperiment,
}

impl Standing {
    /// The word for reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::False => "false",
            Self::Partly => "partly",
            Self::Undecided => "undecided",
            Self::NoExperiment => "not tested",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims;
    use rstest::rstest;
    use std::collections::BTreeSet;

    /// History, opinions, books and timings: statements that no experiment on a running kernel decides.
    const WITHOUT_EXPERIMENT: &[&str] =
        &["S02", "S06", "S15", "S21", "S43", "S44", "S46", "S47", "S48", "S49", "S63", "S64", "S67", "S71", "S72"];

    #[test]
    fn the_statements_are_s01_to_s72_without_the_retired_one() {
        let document = Document::load();
        let retired = |id: &String| document.retired(id).is_some();
        let expected: Vec<String> = (1..=72).map(|number| format!("S{number:02}")).filter(|id| !retired(id)).collect();
        let ids: Vec<String> = document.statements.iter().map(|statement| statement.id.clone()).collect();
        assert_eq!(ids, expected);
        assert!(document.retired("S33").is_some_and(|retired| !retired.because.is_empty()));
    }

    #[test]
    fn every_statement_has_claims_or_is_one_of_those_that_cannot() {
        for statement in Document::load().statements {
            let untested = statement.all_claims().next().is_none();
            assert!(!untested || WITHOUT_EXPERIMENT.contains(&statement.id.as_str()), "{} has no claim", statement.id);
            assert!(statement.reason.is_some() || !statement.refuted_in_part, "{} is refuted by nobody", statement.id);
            assert!(!untested || statement.reason.is_some(), "{} has neither claim nor reason", statement.id);
            assert!(untested || statement.by_reason.is_none(), "{} is decided by claims", statement.id);
        }
    }

    #[test]
    fn every_claim_named_is_in_the_registry() {
        for statement in Document::load().statements {
            for id in statement.all_claims() {
                assert!(claims::REGISTRY.find(id).is_some(), "{} names {id}, which is no claim", statement.id);
            }
        }
    }

    #[test]
    fn every_claim_with_the_document_as_source_is_named_by_a_statement() {
        let document = Document::load();
        let named: BTreeSet<&str> = document.statements.iter().flat_map(Statement::all_claims).collect();
        for claim in claims::REGISTRY.all() {
            assert!(!claim.is_of_document() || named.contains(claim.id), "{} decides no statement", claim.id);
        }
    }

    /// A user that asks for the document gets all claims that its statements stand on.
    #[test]
    fn every_claim_of_a_statement_decides_the_document() {
        let document = Document::load();
        let mut others = 0;
        for id in document.statements.iter().flat_map(Statement::all_claims) {
            let claim = claims::REGISTRY.find(id).expect("a claim");
            assert!(document.is_decided_by(claim), "{id}");
            others += usize::from(!claim.is_of_document());
        }
        assert!(others > 0, "some are against it and do not cite it");
        let other = claims::REGISTRY.find("sendfile.sharing.pages-xfs").expect("a claim");
        assert!(!document.is_decided_by(other));
    }

    #[test]
    fn every_section_is_listed_and_both_languages_are_there() {
        let document = Document::load();
        let chinese = |text: &str| text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter));
        for section in &document.sections {
            assert!(document.statements.iter().any(|statement| statement.sections.contains(&section.number)));
            assert!(section.english.is_ascii() && chinese(&section.chinese), "section {}", section.number);
        }
        for statement in &document.statements {
            for number in &statement.sections {
                assert!(
                    document.sections.iter().any(|section| section.number == *number),
                    "{}: {number}",
                    statement.id
                );
            }
            assert!(!statement.english.is_empty() && !chinese(&statement.english), "{}", statement.id);
            assert!(chinese(&statement.chinese), "{}", statement.id);
        }
    }

    #[rstest]
    #[case("zh", Language::Chinese)]
    #[case("zh_CN.UTF-8", Language::Chinese)]
    #[case("zh_TW@radical", Language::Chinese)]
    #[case("zha_CN.UTF-8", Language::English)]
    #[case("en_US.UTF-8", Language::English)]
    #[case("C", Language::English)]
    #[case("", Language::English)]
    fn a_locale_has_a_language(#[case] locale: &str, #[case] expected: Language) {
        assert_eq!(Language::of_locale(locale), expected);
    }

    #[rstest]
    #[case(&[Word::Holds, Word::Holds], Word::Refuted, Standing::True)]
    #[case(&[Word::Refuted, Word::Refuted], Word::Holds, Standing::False)]
    #[case(&[Word::Holds, Word::Refuted], Word::Refuted, Standing::Partly)]
    #[case(&[Word::Holds, Word::Untestable], Word::Holds, Standing::Partly)]
    #[case(&[Word::Holds, Word::Broken], Word::Untestable, Standing::True)]
    #[case(&[Word::Untestable, Word::TimeOut], Word::Broken, Standing::Undecided)]
    fn standing(#[case] claims: &[Word], #[case] denier: Word, #[case] expected: Standing) {
        let statement = Statement {
            id: String::new(),
            sections: vec![],
            english: String::new(),
            chinese: String::new(),
            claims: vec!["0".into(), "1".into()],
            denied_by: vec!["denier".into()],
            reason: None,
            refuted_in_part: false,
            by_reason: None,
            recorded: vec![],
        };
        let verdict = |id: &str| Some(id.parse().map_or(denier, |index: usize| claims[index]));
        assert_eq!(statement.standing(verdict), expected);
    }
}
