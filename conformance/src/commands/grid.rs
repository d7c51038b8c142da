//! `fds` and the other grids.

#[cfg(feature = "vm")]
use super::vm::GridMachines;
use crate::{Failure, Running, open_output, runner};
use clap::{Args, ValueEnum};
use conformance::claim::Claim;
use conformance::grids::Grid;
use conformance::grids::records;
use conformance::grids::sheet::{Row, Sheet, differences, write_differences};
use conformance::ledger::{self, LEDGER};
use conformance::report::Environment;
use conformance::runner::Isolation;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args)]
pub struct GridOptions {
    /// Only rows whose name contains this (can be repeated)
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    #[command(flatten)]
    running: Running,
    /// How to report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Write the report there instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show what was recorded on these kernels of the matrix, separated by commas, or on `all`: of several, what differs
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    recorded: Vec<String>,
    #[cfg(feature = "vm")]
    #[command(flatten)]
    machines: GridMachines,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Human,
    /// For a page
    Markdown,
    /// The stored form, one JSON object per line
    Jsonl,
}

impl GridOptions {
    fn rows(&self, grid: &Grid) -> Result<Vec<&'static Claim>, Failure> {
        let wanted = |row: &&Claim| {
            let named = |text: &String| row.statement.contains(text.as_str());
            self.filter.is_empty() || self.filter.iter().any(named)
        };
        let rows: Vec<_> = grid.rows.iter().filter(wanted).collect();
        if rows.is_empty() {
            return Err(Failure::Usage(format!(
                "no {} matches: `conformance {}` without --filter shows them all",
                grid.what, grid.name
            )));
        }
        Ok(rows)
    }
}

pub fn grid_command(grid: &Grid, options: &GridOptions) -> Result<bool, Failure> {
    let rows = options.rows(grid)?;
    if !options.recorded.is_empty() {
        let sheets = recorded(grid, &rows, &options.recorded)?;
        let mut output = open_output(options.output.as_deref())?;
        return report_all(&mut *output, &sheets, options.format);
    }
    #[cfg(feature = "vm")]
    if options.machines.are_named() {
        let arguments: Vec<String> = options
            .filter
            .iter()
            .flat_map(|text| ["--filter".to_owned(), text.clone()])
            .collect();
        let sheets = options.machines.sheets(grid, &rows, arguments)?;
        let mut output = open_output(options.output.as_deref())?;
        let green = report_all(&mut *output, &sheets, options.format)?;
        return Ok(options.machines.are_as_recorded(grid, &sheets)? && green);
    }
    let mut output = open_output(options.output.as_deref())?;
    let sheet = here(grid, &rows, &options.running)?;
    report(&mut *output, &sheet, options.format)?;
    Ok(sheet.red().is_empty())
}

fn report(output: &mut dyn Write, sheet: &Sheet, format: Format) -> Result<(), Failure> {
    match format {
        Format::Jsonl => sheet.write(output)?,
        Format::Human | Format::Markdown if sheet.grid == LEDGER.name => {
            ledger::table::write(output, sheet, format == Format::Markdown)?;
            writeln!(output, "\nkernel {}", sheet.environment.kernel)?;
        }
        Format::Human | Format::Markdown => {
            sheet.table(output, format == Format::Markdown)?;
            writeln!(output, "\n{}", sheet.summary())?;
        }
    }
    output.flush()?;
    Ok(())
}

/// The records of kernels with these names, as far as the rows are wanted.
fn recorded(
    grid: &Grid,
    rows: &[&'static Claim],
    names: &[String],
) -> Result<Vec<(String, Sheet)>, Failure> {
    let known = conformance::recorded::names();
    let all = ["all".to_owned()];
    let names = if names == all {
        known.iter().copied().map(str::to_owned).collect()
    } else {
        names.to_vec()
    };
    let found = names.into_iter().map(|name| {
        let mut sheet = records::find(grid, &name).ok_or_else(|| {
            let known = known.join(", ");
            Failure::Usage(format!(
                "no grid is recorded of `{name}`: there are {known}"
            ))
        })?;
        sheet
            .rows
            .retain(|row| rows.iter().any(|wanted| wanted.statement == row.row));
        Ok((name, sheet))
    });
    found.collect()
}

/// One sheet as a table; of several what differs between them, with the claims that decide it.
fn report_all(
    output: &mut dyn Write,
    sheets: &[(String, Sheet)],
    format: Format,
) -> Result<bool, Failure> {
    let green = sheets.iter().all(|(_, sheet)| sheet.red().is_empty());
    if let [(_, sheet)] = sheets {
        report(output, sheet, format)?;
        return Ok(green);
    }
    if format == Format::Jsonl {
        return Err(Failure::Usage(
            "--format jsonl is for one kernel: the grids of several guests are in --results".into(),
        ));
    }
    let all: Vec<&Sheet> = sheets.iter().map(|(_, sheet)| sheet).collect();
    let names: Vec<String> = sheets.iter().map(|(name, _)| name.clone()).collect();
    let found = differences(&all);
    let grid = all.first().map_or("", |sheet| &sheet.grid);
    write_differences(output, grid, &names, &found, format == Format::Markdown)?;
    writeln!(output)?;
    for (name, sheet) in sheets {
        writeln!(output, "{name}: {}", sheet.summary())?;
        for reason in sheet.red() {
            writeln!(output, "{name}: RED: {reason}")?;
        }
    }
    writeln!(output, "{} cells differ", found.len())?;
    output.flush()?;
    Ok(green)
}

/// Makes a grid on the running kernel.
fn here(grid: &Grid, rows: &[&'static Claim], running: &Running) -> Result<Sheet, Failure> {
    (grid.prepare)();
    let (runner, passed_over) = runner(running)?;
    let scratch = runner.scratch.as_ref();
    let mut environment =
        Environment::now(scratch.map(|path| path.display().to_string()), passed_over);
    let mut lost = Isolation::default();
    let mut found: Vec<(usize, Row)> = Vec::new();
    let place = |claim: &Claim| rows.iter().position(|row| row.id == claim.id);
    runner.run(
        rows,
        |isolation| lost = isolation.clone(),
        |claim, outcome, _milliseconds| {
            found.extend(place(claim).map(|at| (at, Row::of(claim.statement, outcome))));
        },
    )?;
    environment.lost = lost;
    found.sort_by_key(|(at, _)| *at);
    let mut rows: Vec<Row> = Vec::new();
    for (_, row) in found {
        match rows.last_mut().filter(|last| last.row == row.row) {
            Some(last) => last.join(row),
            None => rows.push(row),
        }
    }
    for cells in rows.iter_mut().filter_map(|row| row.cells.as_mut()) {
        *cells = (grid.tidy)(cells);
    }
    Ok(Sheet {
        grid: grid.name.to_owned(),
        environment,
        rows,
    })
}
