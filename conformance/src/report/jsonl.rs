//! The stored form: JSON Lines, from which all other reports are derived.
//!
//! Schema 1. Each line is an object with a `type`:
//!
//! | `type` | when | fields |
//! |---|---|---|
//! | `environment` | first | those of [`Environment`]: `schema`, `conformance`, `kernel`, `machine`, `uid`, `arguments`, `scratch`, `passed_over`, `config`, `lost` |
//! | `claim` | one per claim, in the order of their ends | those of [`Record`]: `id`, `verdict`, `judgement`, `reason`, `failure`, `observation`, `milliseconds`; what does not apply is left out, as are no milliseconds |
//! | `end` | last | `claims`: how many lines of type `claim` there were |
//!
//! A file without the `end` line, or with another number of claims, is of a run that was cut off. An observation is a list of
//! facts: `fact`, and one of `returned`, `errno`, `count`, `text` or `entries` (pairs of system call and count).

use super::human::plural;
use super::{Environment, Record, Run, SCHEMA};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, Write};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Line {
    /// The first line.
    Environment(Environment),
    /// A result.
    Claim(Record),
    /// The last line.
    End {
        /// How many results there were.
        claims: usize,
    },
}

/// Writes one line and flushes it, so that a reader sees results as they come.
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
    write(
        output,
        &Line::End {
            claims: run.records.len(),
        },
    )
}

/// The run in the stored form, if it is whole: one environment of this schema, each claim once, and the end with their number.
///
/// # Errors
///
/// What is wrong with it, in a clause about "the results".
pub fn read(bytes: &[u8]) -> Result<Run, String> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| format!("the results are no text: {error}"))?;
    let mut environment: Option<Environment> = None;
    let mut records: Vec<Record> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut ended = None;
    for (number, line) in (1..).zip(text.lines()) {
        if ended.is_some() {
            return Err(format!(
                "line {number} of the results comes after their end"
            ));
        }
        if number == 1 {
            of_this_schema(line)?;
        }
        let line = serde_json::from_str(line)
            .map_err(|error| format!("line {number} of the results cannot be read: {error}"))?;
        match line {
            Line::Environment(_) if environment.is_some() => {
                return Err("there are two environments in the results".into());
            }
            Line::Environment(found) => environment = Some(found),
            _ if environment.is_none() => {
                return Err("the results do not begin with the environment".into());
            }
            Line::Claim(record) => {
                if !seen.insert(record.id.clone()) {
                    return Err(format!("two results came of {}", record.id));
                }
                records.push(record);
            }
            Line::End { claims } => ended = Some(claims),
        }
    }
    let environment = environment.ok_or("no results came")?;
    let came = records.len();
    match ended {
        None => Err(format!(
            "the results have no end, after {}",
            plural(came, "claim")
        )),
        Some(said) if said != came => Err(format!("{came} results came of {said} that were sent")),
        Some(_) => Ok(Run {
            environment,
            records,
        }),
    }
}

/// Another schema may have other fields: it is named before they are missed.
fn of_this_schema(line: &str) -> Result<(), String> {
    let value: serde_json::Value = serde_json::from_str(line)
        .map_err(|error| format!("line 1 of the results cannot be read: {error}"))?;
    match value.get("schema") {
        Some(schema) if *schema != SCHEMA => {
            Err(format!("the results have schema {schema}, not {SCHEMA}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn lines_can_be_read_back() {
        let line = Line::Environment(Environment::now(
            Some("/scratch".into()),
            vec!["/full: ENOSPC".into()],
        ));
        let mut stored = Vec::new();
        write(&mut stored, &line).expect("a vector takes all");
        assert_eq!(stored.last(), Some(&b'\n'));
        assert_eq!(
            serde_json::from_slice::<Line>(&stored).expect("what was written can be read"),
            line
        );
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
        // All but the last line feed belongs to a run.
        for length in 0..WHOLE.len() - 1 {
            assert!(read(&WHOLE.as_bytes()[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn what_is_twice_or_too_few_is_noticed() {
        let lines: Vec<&str> = WHOLE.lines().collect();
        for (lines, mentions) in [
            (
                vec![lines[0], lines[0], lines[1], lines[2]],
                "two environments",
            ),
            (vec![lines[0], lines[1], lines[1], lines[2]], "two results"),
            (vec![lines[0], lines[2]], "0 results came of 1"),
            (
                vec![lines[0], lines[1], lines[2], lines[2]],
                "after their end",
            ),
        ] {
            let error = read(lines.join("\n").as_bytes()).expect_err("not whole");
            assert!(error.contains(mentions), "{error}");
        }
        assert!(read(b"\xff").expect_err("no text").contains("no text"));
    }
}
