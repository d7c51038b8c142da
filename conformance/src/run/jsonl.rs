//! The stored form: JSON Lines, from which all other reports are derived.
//!
//! Schema 1. Each line is an object with a `type`:
//!
//! | `type` | when | fields |
//! |---|---|---|
//! | `environment` | first | those of [`Environment`]: see below |
//! | `begin` | during the run | `id`: the experiment of this claim begins |
//! | `claim` | one per claim, in the order of their ends | those of [`Record`]: see below |
//! | `end` | last | `claims`: the number of lines of type `claim` |
//!
//! - `environment`: `schema`, `conformance`, `kernel`, `machine`, `uid`, `arguments`, `scratch`, `passed_over`, `config`, `lost`.
//! - `begin`: a claim that has begun and has no line of type `claim` was running when the run was interrupted.
//! - `claim`: `id`, `verdict`, `judgement`, `reason`, `failure`, `observation`, `milliseconds`. Fields that do not apply are left out;
//!   so is a `milliseconds` of 0.
//!
//! A file without the `end` line, or with another number of claims, is from a run that was interrupted. A run that was ended by
//! `SIGINT` or `SIGTERM` has its `end` line: the claims that it did not reach have the verdict `not-reached`. An observation is a
//! list of facts: `fact`, and one of `returned`, `errno`, `count`, `text` or `entries` (pairs of system call and count).

use crate::run::record::{Environment, Record, Run, SCHEMA};
use crate::run::text::plural;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Line {
    /// The first line.
    Environment(Environment),
    /// An experiment begins.
    Begin {
        /// Its claim.
        id: String,
    },
    /// A result.
    Claim(Record),
    /// The last line.
    End {
        /// The number of results.
        claims: usize,
    },
}

/// Writes one line and flushes it, so that a reader sees results as they arrive.
pub fn write(output: &mut dyn Write, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    output.write_all(text.as_bytes())?;
    output.flush()
}

/// Writes a whole run.
pub fn write_run(output: &mut dyn Write, run: &Run) -> io::Result<()> {
    write(output, &Line::Environment(run.environment.clone()))?;
    for record in &run.records {
        write(output, &Line::Claim(record.clone()))?;
    }
    write(output, &Line::End { claims: run.records.len() })
}

/// The run in the stored form, if it is complete: one environment of this schema, each claim once, and the end with their number.
///
/// # Errors
///
/// A clause about "the results" that describes the error.
pub fn read(bytes: &[u8]) -> Result<Run, String> {
    let found = read_as_far_as(bytes);
    let count = found.records.len();
    let environment = match (found.wrong, found.environment) {
        (Some(wrong), _) => return Err(wrong),
        (None, None) => return Err("no results came".to_owned()),
        (None, Some(environment)) => environment,
    };
    match found.ended {
        None => Err(format!("the results have no end, after {}", plural(count, "claim"))),
        Some(said) if said != count => {
            Err(format!("the results are incomplete: {count} of {}", plural(said, "result")))
        }
        Some(_) => Ok(Run::new(environment, found.records)),
    }
}

/// The results that could be read, from the beginning.
#[derive(Debug, Default)]
pub struct Found {
    /// The first line.
    pub environment: Option<Environment>,
    /// The results.
    pub records: Vec<Record>,
    /// The claims whose experiments have begun, and that have no result.
    pub running: Vec<String>,
    /// The number of results according to the last line.
    pub ended: Option<usize>,
    /// Why reading stopped early.
    pub wrong: Option<String>,
}

/// Reads results up to their end, or up to the first error.
pub fn read_as_far_as(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    found.wrong = found.take_all(bytes).err();
    found
}

impl Found {
    fn take_all(&mut self, bytes: &[u8]) -> Result<(), String> {
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let line = std::str::from_utf8(line)
                .map_err(|error| format!("line {number} of the results is not text: {error}"))?;
            if line.is_empty() && (number > 1 || bytes.is_empty()) {
                continue; // after the last line feed
            }
            if self.ended.is_some() {
                return Err(format!("line {number} of the results comes after their end"));
            }
            if number == 1 {
                of_this_schema(line)?;
            }
            let line = serde_json::from_str(line)
                .map_err(|error| format!("line {number} of the results cannot be read: {error}"))?;
            self.take(line)?;
        }
        Ok(())
    }

    fn take(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::Environment(_) if self.environment.is_some() => {
                return Err("there are two environments in the results".into());
            }
            Line::Environment(environment) => self.environment = Some(environment),
            _ if self.environment.is_none() => {
                return Err("the results do not begin with the environment".into());
            }
            Line::Begin { id } => self.running.push(id),
            Line::Claim(record) => {
                if self.records.iter().any(|known| known.id == record.id) {
                    return Err(format!("two results for {}", record.id));
                }
                self.running.retain(|id| *id != record.id);
                self.records.push(record);
            }
            Line::End { claims } => self.ended = Some(claims),
        }
        Ok(())
    }
}

/// Another schema may have other fields: its number is reported before missing fields are.
fn of_this_schema(line: &str) -> Result<(), String> {
    let value: serde_json::Value =
        serde_json::from_str(line).map_err(|error| format!("line 1 of the results cannot be read: {error}"))?;
    match value.get("schema") {
        Some(schema) if *schema != SCHEMA => Err(format!("the results have schema {schema}, not {SCHEMA}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn lines_can_be_read_back() {
        let line = Line::Environment(Environment::now(Some("/scratch".into()), vec!["/full: ENOSPC".into()]));
        let mut stored = Vec::new();
        write(&mut stored, &line).expect("a vector takes all");
        assert_eq!(stored.last(), Some(&b'\n'));
        assert_eq!(serde_json::from_slice::<Line>(&stored).expect("what was written can be read"), line);
    }

    const WHOLE: &str = concat!(
        r#"{"type":"environment","schema":1,"conformance":"0","kernel":"6.1.0","machine":"x86_64","uid":0,"arguments":[],"#,
        r#""scratch":null,"passed_over":[],"config":[],"lost":{"pid_namespace":null,"ptrace":null}}"#,
        "\n",
        r#"{"type":"claim","id":"a.b.c","verdict":"holds","milliseconds":1}"#,
        "\n",
        r#"{"type":"end","claims":1}"#,
        "\n"
    );

    #[test]
    fn a_whole_run_is_read_and_written_as_it_was() {
        let run = read(WHOLE.as_bytes()).expect("a whole run");
        assert_eq!(run.records.len(), 1);
        let mut again = Vec::new();
        write_run(&mut again, &run).expect("a vector takes all");
        assert_eq!(String::from_utf8(again).as_deref(), Ok(WHOLE));
    }

    #[rstest]
    #[case("", "no results")]
    #[case("\u{0}", "line 1")]
    #[case("{}", "line 1")]
    #[case("<testsuites/>", "line 1")]
    #[case(r#"{"type":"end","claims":0}"#, "do not begin")]
    #[case(r#"{"type":"environment","schema":2}"#, "schema 2, not 1")]
    fn what_is_no_run_is_refused(#[case] text: &str, #[case] mentions: &str) {
        let error = read(text.as_bytes()).expect_err("no run");
        assert!(error.contains(mentions), "{error}");
    }

    #[test]
    fn a_run_that_was_cut_off_anywhere_is_noticed() {
        // Everything except the last line feed is needed.
        for length in 0..WHOLE.len() - 1 {
            assert!(read(&WHOLE.as_bytes()[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn what_is_twice_or_too_few_is_noticed() {
        let lines: Vec<&str> = WHOLE.lines().collect();
        for (lines, mentions) in [
            (vec![lines[0], lines[0], lines[1], lines[2]], "two environments"),
            (vec![lines[0], lines[1], lines[1], lines[2]], "two results"),
            (vec![lines[0], lines[2]], "0 of 1 result"),
            (vec![lines[0], lines[1], lines[2], lines[2]], "after their end"),
        ] {
            let error = read(lines.join("\n").as_bytes()).expect_err("not whole");
            assert!(error.contains(mentions), "{error}");
        }
        assert!(read(b"\xff").expect_err("no text").contains("not text"));
    }

    #[test]
    fn what_came_of_a_run_that_broke_off_is_read_and_what_was_running() {
        let lines: Vec<&str> = WHOLE.lines().collect();
        let begun = |id: &str| format!(r#"{{"type":"begin","id":"{id}"}}"#);
        let all = [lines[0], &begun("a.b.c"), lines[1], &begun("a.b.d"), "{\"ty"].join("\n");
        let found = read_as_far_as(all.as_bytes());
        assert_eq!(found.records.len(), 1);
        assert_eq!(found.running, ["a.b.d"]);
        assert!(found.wrong.is_some_and(|wrong| wrong.contains("line 5")));
        assert!(read(all.as_bytes()).is_err());
    }
}
