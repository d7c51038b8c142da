//! The differences between two results, for a user that compares two kernels.
//!
//! Environments are not compared: the kernels are different on purpose. Facts that differ between runs on one kernel
//! ([`Claim::varies`](crate::claim::Claim::varies)) are not a difference. Two different reasons for an untestable claim are not a
//! difference either.

#![forbid(unsafe_code)]

use super::markdown::escaped;
use crate::claim::Registry;
use crate::run::record::Record;
use crate::run::stored::{Stored, ids};
use crate::run::text::{one_line, plural};
use crate::verdict::{Observation, Word};
use serde::Serialize;
use std::io::{self, Write};

/// The version of the JSON document.
pub const SCHEMA: u32 = 1;

/// The differences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Claims with different verdicts, if neither is untestable.
    pub verdicts: Vec<Pair>,
    /// Claims with the same verdict and different facts.
    pub facts: Vec<Pair>,
    /// Claims that can be tried in the first result and not in the second.
    pub newly_untestable: Vec<Pair>,
    /// Claims that can be tried in the second result and not in the first.
    pub newly_testable: Vec<Pair>,
    /// Claims that only the first result has.
    pub only_first: Vec<String>,
    /// Claims that only the second result has.
    pub only_second: Vec<String>,
}

/// A claim that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The claim.
    pub id: String,
    /// The verdicts in the first and the second result.
    pub verdicts: [Word; 2],
    /// The facts that differ.
    pub facts: Vec<Facts>,
    /// Why it is untestable in one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A fact that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Its name.
    pub fact: String,
    /// Its value in the first and the second result, if it was observed.
    pub values: [Option<String>; 2],
}

impl Diff {
    /// Compares two results.
    pub fn of(first: &Stored, second: &Stored, registry: Registry) -> Self {
        let mut diff = Self::default();
        for id in ids([first, second], registry) {
            match (first.run.find(&id), second.run.find(&id)) {
                (Some(one), Some(other)) => diff.compare(one, other, registry),
                (Some(_), None) => diff.only_first.push(id),
                (None, _) => diff.only_second.push(id),
            }
        }
        diff
    }

    fn compare(&mut self, one: &Record, other: &Record, registry: Registry) {
        let untestable = [one, other].map(|record| record.verdict == Word::Untestable);
        let reason = [one, other].iter().find_map(|record| record.reason.as_ref().map(ToString::to_string));
        let pair = Pair { id: one.id.clone(), verdicts: [one.verdict, other.verdict], facts: vec![], reason };
        match untestable {
            [true, true] => {}
            [false, true] => self.newly_untestable.push(pair),
            [true, false] => self.newly_testable.push(pair),
            [false, false] => {
                let pair =
                    Pair { facts: facts(one, other, registry.find(&one.id).map_or(&[], |claim| claim.varies)), ..pair };
                if one.verdict != other.verdict {
                    self.verdicts.push(pair);
                } else if !pair.facts.is_empty() {
                    self.facts.push(pair);
                }
            }
        }
    }

    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The groups with their titles.
    fn groups(&self) -> [(&'static str, &[Pair]); 4] {
        [
            ("with another verdict", &self.verdicts),
            ("with the same verdict and other facts", &self.facts),
            ("untestable now", &self.newly_untestable),
            ("testable now", &self.newly_testable),
        ]
    }

    /// The claims that only one result has, with a title.
    fn only(&self, names: [&str; 2]) -> [(String, &[String]); 2] {
        [(format!("only in {}", names[0]), &self.only_first), (format!("only in {}", names[1]), &self.only_second)]
    }
}

/// The facts that differ, except for those that may vary.
pub fn facts(one: &Record, other: &Record, varies: &[&str]) -> Vec<Facts> {
    let mut names: Vec<&str> = Vec::new();
    for fact in [one, other].iter().filter_map(|record| record.observation.as_ref()).flat_map(Observation::facts) {
        if !names.contains(&fact.fact.as_str()) && !varies.contains(&fact.fact.as_str()) {
            names.push(&fact.fact);
        }
    }
    // A fact may be noted more than once.
    let value = |record: &Record, name: &str| {
        let facts = record.observation.iter().flat_map(Observation::facts);
        let values: Vec<String> = facts.filter(|fact| fact.fact == name).map(|fact| fact.value.to_string()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    names
        .into_iter()
        .map(|name| Facts { fact: name.to_owned(), values: [value(one, name), value(other, name)] })
        .filter(|facts| facts.values[0] != facts.values[1])
        .collect()
}

/// Prints the differences for people.
pub fn human(output: &mut dyn Write, diff: &Diff, first: &Stored, second: &Stored) -> io::Result<()> {
    heading(output, first, second)?;
    for (title, pairs) in diff.groups() {
        if pairs.is_empty() {
            continue;
        }
        writeln!(output, "\n{}, {title}", plural(pairs.len(), "claim"))?;
        for pair in pairs {
            writeln!(output, "  {}  {}", one_line(&pair.id), words(pair))?;
            if let Some(reason) = &pair.reason {
                writeln!(output, "      {}", one_line(reason))?;
            }
            for fact in &pair.facts {
                let [one, other] = values(fact);
                writeln!(output, "      {}: {one} -> {other}", one_line(&fact.fact))?;
            }
        }
    }
    for (title, ids) in diff.only([&first.name, &second.name]) {
        if !ids.is_empty() {
            writeln!(output, "\n{}, {title}", plural(ids.len(), "claim"))?;
            for id in ids {
                writeln!(output, "  {}", one_line(id))?;
            }
        }
    }
    if diff.is_empty() {
        writeln!(output, "no difference")?;
    }
    Ok(())
}

fn heading(output: &mut dyn Write, first: &Stored, second: &Stored) -> io::Result<()> {
    let name = |stored: &Stored| {
        let kernel = &stored.run.environment.kernel;
        one_line(&format!("{} (Linux {kernel})", stored.name))
    };
    writeln!(output, "{} -> {}", name(first), name(second))
}

fn words(pair: &Pair) -> String {
    let [one, other] = pair.verdicts;
    if one == other { one.text().to_owned() } else { format!("{} -> {}", one.text(), other.text()) }
}

/// A fact that was not observed is a dash.
fn values(facts: &Facts) -> [String; 2] {
    facts.values.clone().map(|value| value.map_or_else(|| "-".to_owned(), |value| one_line(&value)))
}

/// Prints the differences in GitHub's Markdown.
pub fn markdown(output: &mut dyn Write, diff: &Diff, first: &Stored, second: &Stored) -> io::Result<()> {
    let (one, other) = (escaped(&first.name), escaped(&second.name));
    writeln!(output, "# What differs between {one} and {other}")?;
    for (title, pairs) in diff.groups() {
        if pairs.is_empty() {
            continue;
        }
        let count = plural(pairs.len(), "claim");
        writeln!(output, "\n## {count}, {title}\n\n| claim | fact | {one} | {other} |\n|---|---|---|---|")?;
        for pair in pairs {
            let id = escaped(&pair.id);
            let [a, b] = pair.verdicts.map(Word::text);
            let reason = pair.reason.as_deref().map(escaped).unwrap_or_default();
            writeln!(output, "| {id} | {reason} | {a} | {b} |")?;
            for fact in &pair.facts {
                let [a, b] = values(fact).map(|value| escaped(&value));
                writeln!(output, "| | {} | {a} | {b} |", escaped(&fact.fact))?;
            }
        }
    }
    for (title, ids) in diff.only([&one, &other]) {
        if !ids.is_empty() {
            writeln!(output, "\n## {}, {title}\n", plural(ids.len(), "claim"))?;
            for id in ids {
                writeln!(output, "- {}", escaped(id))?;
            }
        }
    }
    if diff.is_empty() {
        writeln!(output, "\nNothing.")?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Document<'diff> {
    schema: u32,
    /// Name and release.
    first: [&'diff str; 2],
    second: [&'diff str; 2],
    #[serde(flatten)]
    diff: &'diff Diff,
}

/// Prints a document with `schema`, `first` and `second` (name and release), and the fields of [`Diff`].
pub fn json(output: &mut dyn Write, diff: &Diff, first: &Stored, second: &Stored) -> io::Result<()> {
    let document = Document {
        schema: SCHEMA,
        first: [&first.name, &first.run.environment.kernel],
        second: [&second.name, &second.run.environment.kernel],
        diff,
    };
    serde_json::to_writer_pretty(&mut *output, &document)?;
    writeln!(output)
}
