//! Records of grids: the answers of every kernel of the matrix. `just record-grids` writes them to `fixtures/grids`.
//!
//! A record is a whole grid in the stored form, without the columns that differ from run to run. Another run on the same kernel
//! makes the same record.

#![forbid(unsafe_code)]

use super::grid::Grid;
use super::sheet::Sheet;
use crate::run::red::Strictness;
use crate::verdict::Observation;
use nocopy_host::kernel::Release;

/// The directory in which the grids of guests are stored, relative to the working directory. It has a directory for each grid,
/// and a file for each kernel.
pub const MADE: &str = "target/grids";

/// The record of a grid on a kernel of the matrix.
///
/// # Panics
///
/// Never, if the tests pass: the records are part of the program, and a test parses them.
pub fn find(grid: &Grid, kernel: &str) -> Option<Sheet> {
    let (_, text) = grid.records.iter().find(|(name, _)| *name == kernel)?;
    Some(Sheet::read(text.as_bytes()).expect("the records are checked by a test"))
}

/// The records of a grid with the kernels' names, oldest first.
pub fn of_grid(grid: &Grid) -> Vec<(&'static str, Sheet)> {
    let names = grid.records.iter().map(|(name, _)| *name);
    names.filter_map(|name| Some((name, find(grid, name)?))).collect()
}

/// Turns a grid into a record, if it is complete and green.
///
/// # Errors
///
/// The reason why it cannot be a record.
pub fn compact(grid: &Grid, sheet: &Sheet) -> Result<Sheet, String> {
    if sheet.grid != grid.name {
        return Err(format!("it is of the grid `{}`, not of `{}`", sheet.grid, grid.name));
    }
    if let Some(red) = sheet.red().first() {
        return Err(format!("{red}: that says nothing of the kernel"));
    }
    let here: Vec<&str> = sheet.rows.iter().map(|row| row.row.as_str()).collect();
    let all = grid.row_names();
    if here != all {
        return Err(format!("it has {} rows of {}: a record is of all", here.len(), all.len()));
    }
    let mut record = Sheet { environment: sheet.environment.steady(), ..sheet.clone() };
    for cells in record.rows.iter_mut().filter_map(|row| row.cells.as_mut()) {
        let mut steady = Observation::new();
        for fact in cells.facts().iter().filter(|fact| !(grid.varies)(&fact.fact)) {
            steady.push(fact.fact.clone(), fact.value.clone());
        }
        *cells = steady;
    }
    Ok(record)
}

/// The reasons why a grid is red, one clause each:
///
/// - a row that failed
/// - a contradiction inside the grid
/// - a grid in which no row was decided
/// - in strict mode with a record, a difference from the record
/// - in strict mode without a record, a row that is unexpectedly untestable on this machine, and not in the record of its series
pub fn red(grid: &Grid, sheet: &Sheet, record: Option<&Sheet>, strictness: &Strictness) -> Vec<String> {
    let mut reasons = sheet.red();
    reasons.extend((grid.disagreements)(sheet));
    if reasons.is_empty() && sheet.rows.iter().all(|row| row.cells.is_none()) {
        reasons.push("nothing was decided: no row could be tried".to_owned());
    }
    if !strictness.strict {
        return reasons;
    }
    let expected = |row: &str| strictness.expected_untestable.iter().any(|name| name == row);
    if let Some(record) = record {
        // An untestable row that `--expect-untestable` names is not a difference.
        let mut kept = sheet.clone();
        kept.rows.retain(|row| row.lacking.is_none() || !expected(&row.row));
        reasons.extend(unlike(grid, record, &kept));
        return reasons;
    }
    let known = of_series(grid, sheet);
    let is_known = |name: &str| {
        let mut rows = known.iter().flat_map(|known| &known.rows);
        rows.any(|row| row.row == name && row.lacking.is_some())
    };
    let lacking = sheet.rows.iter().filter_map(|row| {
        let name = &row.row;
        let reason = row.lacking.as_ref();
        let reason = reason.filter(|_| !expected(name) && !is_known(name))?;
        Some(format!("{name} untestable, which --expect-untestable does not name: {reason}"))
    });
    reasons.extend(lacking);
    reasons
}

/// The record of the series of the kernel on which a grid was made.
fn of_series(grid: &Grid, sheet: &Sheet) -> Option<Sheet> {
    let release: Release = sheet.environment.kernel.parse().ok()?;
    find(grid, &release.series.to_string())
}

/// The differences between a grid of a kernel without a record and the record of its series, one clause each: new findings.
pub fn news(grid: &Grid, sheet: &Sheet, kernel: &str) -> Vec<String> {
    let has_record = find(grid, kernel).is_some();
    let record = of_series(grid, sheet).filter(|_| !has_record);
    record.map_or_else(Vec::new, |record| unlike(grid, &record, sheet))
}

/// The differences between a grid and its record, one clause each: cells with another answer, and rows that only one of them has.
/// Rows that were left out on purpose are not compared.
pub fn unlike(grid: &Grid, record: &Sheet, sheet: &Sheet) -> Vec<String> {
    let mut found = Vec::new();
    for row in &sheet.rows {
        let Some(known) = record.rows.iter().find(|other| other.row == row.row) else {
            found.push(format!("{}: the record has no such row", row.row));
            continue;
        };
        match (&known.lacking, &row.lacking) {
            (None, Some(reason)) => found.push(format!("{}: {reason}", row.row)),
            (Some(_), None) => found.push(format!("{}: not in the record", row.row)),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
    let cells = super::sheet::differences(&[record, sheet], grid.varies);
    found.extend(cells.iter().map(|cell| {
        let [known, now] = cell.cells.as_slice() else {
            unreachable!("two sheets were compared");
        };
        format!("{}, {}: {now}, recorded {known}", cell.row, cell.column)
    }));
    found
}
