//! A completed grid: its stored form, its table, and comparisons.
//!
//! The stored form is JSON Lines of schema 1. The first object has the type `grid`, with the grid's name and the environment as
//! in [`crate::run::jsonl`]. Each row has an object of the type `row`. The last object has the type `end`, with the number of
//! rows.

#![forbid(unsafe_code)]

use super::cells::Cells;
use crate::run::record::{Environment, SCHEMA};
use crate::run::stored;
use crate::run::table::draw;
use crate::runner::outcome::Outcome;
use crate::verdict::{Observation, Reason, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

/// A grid with its cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// The name of the grid.
    pub grid: String,
    /// The environment in which it was made.
    pub environment: Environment,
    /// Its rows, in the grid's order.
    pub rows: Vec<Row>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The name of the row.
    pub row: String,
    /// The answers, with the column as the name of the fact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells: Option<Observation>,
    /// The reason why this machine cannot make the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacking: Option<Reason>,
    /// The description of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Line {
    Grid { grid: String, environment: Environment },
    Row(Row),
    End { rows: usize },
}

impl Row {
    /// The row for the runner's outcome.
    pub fn of(name: &str, outcome: Outcome) -> Self {
        let mut row = Self { row: name.to_owned(), cells: None, lacking: None, failure: None };
        match outcome {
            Outcome::Seen(seen) => row.cells = Some(seen),
            Outcome::Untestable(reason) => row.lacking = Some(reason),
            Outcome::Broken(failure) | Outcome::TimedOut(failure) | Outcome::NotReached(failure) => {
                row.failure = Some(failure);
            }
        }
        row
    }

    /// Adds the result of another experiment for the same row.
    pub fn join(&mut self, other: Self) {
        match (&mut self.cells, other.cells) {
            (Some(cells), Some(more)) => {
                for fact in more.facts() {
                    cells.push(fact.fact.clone(), fact.value.clone());
                }
            }
            (_, more) => self.cells = self.cells.take().and(more),
        }
        self.lacking = self.lacking.take().or(other.lacking);
        self.failure = self.failure.take().or(other.failure);
    }

    /// The text of a cell.
    pub fn cell(&self, column: &str) -> String {
        let Some(cells) = &self.cells else {
            let why = if self.failure.is_some() { "broken" } else { "-" };
            return why.to_owned();
        };
        let found = cells.facts().iter().find(|fact| fact.fact == column);
        found.map_or_else(String::new, |fact| fact.value.to_string())
    }
}

/// A cell with different answers in several sheets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its row.
    pub row: String,
    /// Its column.
    pub column: String,
    /// The text of the cell in each sheet, in the order of the sheets.
    pub cells: Vec<String>,
}

impl Sheet {
    /// The columns, in the order of their first use.
    pub fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        for fact in self.rows.iter().filter_map(|row| row.cells.as_ref()).flat_map(Observation::facts) {
            if !columns.contains(&fact.fact.as_str()) {
                columns.push(&fact.fact);
            }
        }
        columns
    }

    /// The rows that failed, one clause each.
    pub fn red(&self) -> Vec<String> {
        let failed = self.rows.iter().filter_map(|row| {
            let failure = row.failure.as_ref()?;
            Some(format!("{}: {failure}", row.row))
        });
        failed.collect()
    }

    /// Writes the stored form.
    pub fn write(&self, output: &mut dyn Write) -> io::Result<()> {
        let mut line = |line: &Line| -> io::Result<()> {
            serde_json::to_writer(&mut *output, line)?;
            output.write_all(b"\n")
        };
        line(&Line::Grid { grid: self.grid.clone(), environment: self.environment.clone() })?;
        for row in &self.rows {
            line(&Line::Row(row.clone()))?;
        }
        line(&Line::End { rows: self.rows.len() })?;
        output.flush()
    }

    /// Whether these bytes begin like the stored form of a grid.
    pub fn is_begun_by(bytes: &[u8]) -> bool {
        bytes.starts_with(br#"{"type":"grid""#)
    }

    /// Parses the stored form, which must be complete.
    ///
    /// # Errors
    ///
    /// A description of the mistake, as a clause about "the grid".
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| format!("the grid is not text: {error}"))?;
        let mut lines = (1..).zip(text.lines()).map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| format!("line {number} of the grid cannot be read: {error}"))
        });
        let Some(Line::Grid { grid, environment }) = lines.next().transpose()? else {
            return Err("the grid does not begin with its name and environment".into());
        };
        if environment.schema != SCHEMA {
            return Err(format!("the grid has schema {}, not {SCHEMA}", environment.schema));
        }
        let mut rows: Vec<Row> = Vec::new();
        let mut names = BTreeSet::new();
        for line in &mut lines {
            match line? {
                Line::Row(row) if names.insert(row.row.clone()) => rows.push(row),
                Line::Row(row) => return Err(format!("the grid has {} twice", row.row)),
                Line::Grid { .. } => return Err("there are two grids in one".into()),
                Line::End { rows: said } if said != rows.len() => {
                    return Err(format!("incomplete grid: {} of {said} rows", rows.len()));
                }
                Line::End { .. } => {
                    return match lines.next() {
                        None => Ok(Self { grid, environment, rows }),
                        Some(_) => Err("there is more after the end of the grid".into()),
                    };
                }
            }
        }
        Err(format!("the grid has no end, after {} rows", rows.len()))
    }

    /// Reads a file in the stored form.
    ///
    /// # Errors
    ///
    /// A description of the mistake, in a line that begins with the path.
    pub fn of_file(path: &Path) -> Result<Self, String> {
        let bytes = stored::bytes(path)?;
        Self::read(&bytes).map_err(|what| format!("{}: {what}", path.display()))
    }

    /// Writes the grid as a table. A list of the rows that this machine cannot make follows, and a list of the failures, with the
    /// reasons.
    pub fn table(&self, output: &mut dyn Write, markdown: bool) -> io::Result<()> {
        let columns = self.columns();
        let mut table =
            vec![std::iter::once(self.grid.as_str()).chain(columns.iter().copied()).map(str::to_owned).collect()];
        for row in self.rows.iter().filter(|row| row.lacking.is_none()) {
            let cells = columns.iter().map(|column| row.cell(column));
            table.push(std::iter::once(row.row.clone()).chain(cells).collect());
        }
        draw(output, &table, markdown)?;
        let lacking = self.rows.iter().filter_map(|row| Some((&row.row, row.lacking.as_ref()?)));
        for (at, (row, reason)) in lacking.enumerate() {
            if at == 0 {
                writeln!(output, "\nnot here:{}", if markdown { "\n" } else { "" })?;
            }
            writeln!(output, "{} {row}: {reason}", if markdown { "-" } else { " " })?;
        }
        let red = self.red();
        for (at, reason) in red.iter().enumerate() {
            if at == 0 {
                writeln!(output, "\nRED:{}", if markdown { "\n" } else { "" })?;
            }
            writeln!(output, "{} {reason}", if markdown { "-" } else { " " })?;
        }
        Ok(())
    }

    /// Counts the rows, the cells, the successful calls among them, and the rows that this machine cannot make.
    pub fn summary(&self) -> String {
        let cells = || self.rows.iter().filter_map(|row| row.cells.as_ref()).flat_map(Observation::facts);
        let is_taken = |value: &Value| match value {
            Value::Returned(_) => true,
            Value::Text(words) => ["shared", "copied"].iter().any(|word| words.starts_with(word)),
            _ => false,
        };
        let taken = cells().filter(|fact| is_taken(&fact.value)).count();
        let lacking = self.rows.iter().filter(|row| row.lacking.is_some()).count();
        format!(
            "{}: {} rows, {} cells, {taken} of them a success; {lacking} rows not here; kernel {}",
            self.grid,
            self.rows.len(),
            cells().count(),
            self.environment.kernel
        )
    }
}

/// The cells that differ between these sheets, in the order of the first sheet. Columns that differ from run to run are left out.
/// A sheet without the row does not make a difference.
pub fn differences(sheets: &[&Sheet], varies: fn(&str) -> bool) -> Vec<Difference> {
    let Some((first, _)) = sheets.split_first() else {
        return vec![];
    };
    let mut found = Vec::new();
    let mut columns = first.columns();
    for sheet in sheets {
        let more: Vec<&str> = sheet.columns();
        columns.extend(more.into_iter().filter(|column| !columns.contains(column)).collect::<Vec<_>>());
    }
    columns.retain(|column| !varies(column));
    for row in &first.rows {
        for column in &columns {
            let cells: Vec<String> = sheets
                .iter()
                .map(|sheet| {
                    let same = sheet.rows.iter().find(|other| other.row == row.row);
                    same.map_or_else(|| "-".to_owned(), |row| row.cell(column))
                })
                .collect();
            let answers: BTreeSet<&String> = cells.iter().filter(|cell| *cell != "-").collect();
            if answers.len() > 1 {
                found.push(Difference { row: row.row.clone(), column: (*column).to_owned(), cells });
            }
        }
    }
    found
}

/// Writes the differences between the sheets with these names as a table, with the claims that decide each cell.
pub fn write_differences(
    output: &mut dyn Write,
    grid: &str,
    names: &[String],
    differences: &[Difference],
    markdown: bool,
) -> io::Result<()> {
    let head =
        ["", "call"].into_iter().map(str::to_owned).chain(names.iter().cloned()).chain(["decided by".to_owned()]);
    let mut table = vec![head.collect()];
    let cells = Cells::load();
    for difference in differences {
        let place = [difference.row.clone(), difference.column.clone()];
        let claims = cells.claims((grid, &difference.row, &difference.column));
        table.push(place.into_iter().chain(difference.cells.iter().cloned()).chain([claims.join(", ")]).collect());
    }
    draw(output, &table, markdown)
}
