//! Finds claims and statements by words, and names by likeness.

#![forbid(unsafe_code)]

use crate::claim::{Claim, Registry};
use crate::pages::coverage::{Answer, Coverage};
use crate::pages::registry::errnos;
use crate::run::recorded;
use crate::seed::{Document, Language};

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The claim's id, or the statement's number.
    pub id: String,
    /// Its sentence.
    pub sentence: String,
    /// How well it fits: higher is better.
    pub score: u32,
}

/// What is searched of a claim or statement, with the weight of a word that stands in it.
struct Entry {
    id: String,
    sentence: String,
    fields: Vec<(u32, String)>,
}

/// The claims and statements with all of these words, the best first.
///
/// Ids, sentences, sources, recorded facts, errnos, assertions of other suites and the source document are searched. A word fits if a
/// word of the text begins with it.
pub fn find(registry: Registry, words: &[String]) -> Vec<Found> {
    let words: Vec<String> = words
        .iter()
        .flat_map(|text| text.split_whitespace())
        .map(str::to_lowercase)
        .filter(|word| !word.is_empty())
        .collect();
    if words.is_empty() {
        return Vec::new();
    }
    let coverage = Coverage::load();
    let document = Document::load();
    let claims = registry.all().map(|claim| of_claim(claim, &coverage, &document));
    let statements = document.statements.iter().map(|statement| Entry {
        id: statement.id.clone(),
        sentence: statement.english.clone(),
        fields: vec![
            (20, statement.id.to_lowercase()),
            (6, statement.english.to_lowercase()),
            (6, statement.sentence(Language::Chinese).to_owned()),
            (2, statement.reason.clone().unwrap_or_default().to_lowercase()),
        ],
    });
    let mut found: Vec<Found> = claims
        .chain(statements)
        .filter_map(|entry| {
            let scores: Vec<u32> = words.iter().map(|word| score(word, &entry.fields)).collect();
            let all = scores.iter().all(|score| *score > 0);
            all.then(|| Found { id: entry.id, sentence: entry.sentence, score: scores.iter().sum() })
        })
        .collect();
    found.sort_by(|one, other| other.score.cmp(&one.score).then_with(|| one.id.cmp(&other.id)));
    found
}

fn of_claim(claim: &Claim, coverage: &Coverage, document: &Document) -> Entry {
    let newest = recorded::newest(claim.id);
    let sources: Vec<String> = claim.sources.iter().map(ToString::to_string).collect();
    let of_suites = coverage.entries.iter().filter(|entry| match &entry.answer {
        Answer::Claims(ids) => ids.iter().any(|id| id == claim.id),
        Answer::Tests(_) | Answer::NotApplicable(_) | Answer::Open(_) => false,
    });
    let suites: Vec<String> =
        of_suites.map(|entry| format!("{} {} {}", entry.suite, entry.file, entry.assertion)).collect();
    let statements = document.statements.iter().filter(|statement| statement.all_claims().any(|id| id == claim.id));
    let statements: Vec<String> =
        statements.map(|statement| format!("{} {}", statement.id, statement.english)).collect();
    let fields = [
        (20, claim.id.to_owned()),
        (8, claim.statement.to_owned()),
        (6, errnos(claim).into_iter().collect::<Vec<_>>().join(" ")),
        (4, sources.join(" ")),
        (3, suites.join(" ")),
        (3, statements.join(" ")),
        (2, newest.map(ToString::to_string).unwrap_or_default()),
        (2, claim.method.to_owned()),
    ];
    Entry {
        id: claim.id.to_owned(),
        sentence: claim.statement.to_owned(),
        fields: fields.into_iter().map(|(weight, text)| (weight, text.to_lowercase())).collect(),
    }
}

/// The weight of the best field that has the word; twice as much if it is a whole word there.
fn score(word: &str, fields: &[(u32, String)]) -> u32 {
    let is_separator = |letter: char| !(letter.is_alphanumeric() || letter == '_');
    let of_field = |(weight, text): &(u32, String)| {
        if text.split(is_separator).any(|other| other == word) || text.split_whitespace().any(|other| other == word) {
            2 * weight
        } else if text.split(is_separator).any(|other| other.starts_with(word)) || text.contains(word) {
            *weight
        } else {
            0
        }
    };
    fields.iter().map(of_field).max().unwrap_or(0)
}

/// The name most like this one, if any is like it.
pub fn nearest<'name>(name: &str, names: impl IntoIterator<Item = &'name str>) -> Option<&'name str> {
    const ALIKE: f64 = 0.8;
    let like = names.into_iter().map(|other| (strsim::jaro_winkler(name, other), other));
    let best = like.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (best.0 > ALIKE).then_some(best.1)
}

/// `: did you mean X?`, or nothing.
pub fn did_you_mean<'name>(name: &str, names: impl IntoIterator<Item = &'name str>) -> String {
    nearest(name, names).map(|nearest| format!(": did you mean `{nearest}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::REGISTRY;

    #[test]
    fn by_id_errno_and_source() {
        let first = |text: &str| find(REGISTRY, &[text.to_owned()]).first().map(|found| found.id.clone());
        assert_eq!(first("tee.ends.same-pipe").as_deref(), Some("tee.ends.same-pipe"));
        assert_eq!(first("tee same pipe EINVAL").as_deref(), Some("tee.ends.same-pipe"));
        assert_eq!(first("S22").as_deref(), Some("S22"));
        assert_eq!(first("no-such-word-anywhere"), None);
        assert_eq!(find(REGISTRY, &[String::new()]), []);
    }

    #[test]
    fn a_typo_finds_its_name() {
        assert_eq!(
            nearest("tee.ends.same-pip", ["tee.ends.same-pipe", "tee.ends.both-pipes"]),
            Some("tee.ends.same-pipe")
        );
        assert_eq!(nearest("qqqq", ["tee.ends.same-pipe"]), None);
    }
}
