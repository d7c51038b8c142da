//! `fds` and the other grids.

#[cfg(feature = "vm")]
use super::vm::{grids::GridMachines, options::say};
use crate::commands::failure::Failure;
use crate::commands::options::{Running, Strict};
use crate::commands::output::open_output;
use crate::commands::running::runner;
use clap::{Args, ValueEnum};
use conformance::claim::Claim;
use conformance::grids::grid::Grid;
use conformance::grids::records;
use conformance::grids::sheet::{Row, Sheet, differences, write_differences};
use conformance::ledger::{self, LEDGER};
use conformance::run::record::Environment;
use conformance::run::red::Strictness;
use conformance::runner::Heard;
use conformance::runner::outcome::Isolation;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args)]
pub struct GridOptions {
    /// Only rows whose name contains this (can be repeated)
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    #[command(flatten)]
    running: Running,
    /// Format of the report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Write the report to FILE instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show the records of these kernels (comma-separated, or `all`); of several, what differs
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "strict")]
    recorded: Vec<String>,
    #[command(flatten)]
    strict: Strict,
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
        let is_idle = |text: &&String| {
            let mut rows = grid.rows.iter();
            !rows.any(|row| row.statement.contains(text.as_str()))
        };
        if let Some(text) = self.filter.iter().find(is_idle) {
            return Err(Failure::Usage(format!(
                "no {} matches --filter {text}: `conformance {}` without --filter shows them all",
                grid.what, grid.name
            )));
        }
        Ok(grid.rows.iter().filter(wanted).collect())
    }

    /// An option that the asked for kind of run has no use for is an error.
    fn check_use(&self) -> Result<(), Failure> {
        #[cfg(feature = "vm")]
        let (in_guests, of_guests) = (self.machines.are_named(), self.machines.without_use());
        #[cfg(not(feature = "vm"))]
        let (in_guests, of_guests): (bool, Option<&str>) = (false, None);
        let is_recorded = !self.recorded.is_empty();
        let what = match (is_recorded, in_guests) {
            (true, true) => Some("--recorded and --kernels exclude each other".to_owned()),
            (true, false) | (false, true) => self
                .running
                .given()
                .map(|option| format!("{option} is for the running kernel, and other kernels are asked for")),
            (false, false) => None,
        };
        let idle = of_guests
            .filter(|_| !in_guests)
            .map(|option| format!("{option} says something about guests: name kernels with --kernels"));
        let doubled = crate::commands::options::twice(&self.recorded);
        let doubled = doubled.map(|again| format!("--recorded names {again} twice"));
        match what.or(idle).or(doubled) {
            Some(what) => Err(Failure::Usage(what)),
            None => Ok(()),
        }
    }
}

pub fn grid_command(grid: &Grid, options: &GridOptions) -> Result<bool, Failure> {
    let rows = options.rows(grid)?;
    options.check_use()?;
    let names: Vec<&str> = rows.iter().map(|row| row.statement).collect();
    let strictness = options.strict.of(names)?;
    let mut output = open_output(options.output.as_deref())?;
    let (sheets, green) = if !options.recorded.is_empty() {
        let sheets = recorded(grid, &rows, &options.recorded)?;
        let green = red(grid, &sheets, false, &strictness).is_empty();
        (sheets, green)
    } else if let Some(sheets) = in_guests(grid, options, &rows)? {
        let reasons = red(grid, &sheets, true, &strictness);
        for reason in &reasons {
            writeln!(std::io::stderr(), "red: {reason}")?;
        }
        (sheets, reasons.is_empty())
    } else {
        let sheet = here(grid, &rows, &options.running)?;
        let reasons = records::red(grid, &sheet, None, &strictness);
        for reason in &reasons {
            writeln!(std::io::stderr(), "red: {reason}")?;
        }
        (vec![(String::new(), sheet)], reasons.is_empty())
    };
    report_all(&mut output, grid, &sheets, options.format)?;
    output.finish()?;
    Ok(green)
}

/// The grids of guests, if kernels are named.
#[cfg(feature = "vm")]
fn in_guests(
    grid: &Grid,
    options: &GridOptions,
    rows: &[&'static Claim],
) -> Result<Option<Vec<(String, Sheet)>>, Failure> {
    if !options.machines.are_named() {
        return Ok(None);
    }
    let filters = options.filter.iter();
    let arguments = filters.flat_map(|text| ["--filter".to_owned(), text.clone()]);
    let sheets = options.machines.sheets(grid, rows, arguments.collect())?;
    for (kernel, sheet) in &sheets {
        for found in records::news(grid, sheet, &kernel.name) {
            say(&format!("{}: new finding: {found}", kernel.name));
        }
    }
    let sheets = sheets.into_iter();
    Ok(Some(sheets.map(|(kernel, sheet)| (kernel.name, sheet)).collect()))
}

#[cfg(not(feature = "vm"))]
#[expect(clippy::unnecessary_wraps, reason = "as with guests")]
fn in_guests(
    _grid: &Grid,
    _options: &GridOptions,
    _rows: &[&'static Claim],
) -> Result<Option<Vec<(String, Sheet)>>, Failure> {
    Ok(None)
}

/// Why some sheets are red, a clause each that begins with the kernel's name. Guests are of the kernels that have records.
fn red(grid: &Grid, sheets: &[(String, Sheet)], in_guests: bool, strictness: &Strictness) -> Vec<String> {
    let of = |(name, sheet): &(String, Sheet)| {
        let record = records::find(grid, name).filter(|_| in_guests);
        let reasons = records::red(grid, sheet, record.as_ref(), strictness);
        let reasons = reasons.into_iter();
        reasons.map(|reason| format!("{name}: {reason}")).collect::<Vec<_>>()
    };
    sheets.iter().flat_map(of).collect()
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
    Ok(())
}

/// The records of kernels with these names, as far as the rows are wanted.
fn recorded(grid: &Grid, rows: &[&'static Claim], names: &[String]) -> Result<Vec<(String, Sheet)>, Failure> {
    let known = conformance::run::recorded::names();
    let all = ["all".to_owned()];
    let names = if names == all { known.iter().copied().map(str::to_owned).collect() } else { names.to_vec() };
    let found = names.into_iter().map(|name| {
        let mut sheet = records::find(grid, &name).ok_or_else(|| {
            let known = known.join(", ");
            Failure::Usage(format!("no grid is recorded of `{name}`: there are {known}"))
        })?;
        sheet.rows.retain(|row| rows.iter().any(|wanted| wanted.statement == row.row));
        Ok((name, sheet))
    });
    found.collect()
}

/// One sheet as a table; of several what differs between them, with the claims that decide it.
fn report_all(output: &mut dyn Write, grid: &Grid, sheets: &[(String, Sheet)], format: Format) -> Result<(), Failure> {
    if let [(_, sheet)] = sheets {
        return report(output, sheet, format);
    }
    if format == Format::Jsonl {
        return Err(Failure::Usage(
            "--format jsonl is for one kernel: the grids of several guests are in --results".into(),
        ));
    }
    let all: Vec<&Sheet> = sheets.iter().map(|(_, sheet)| sheet).collect();
    let names: Vec<String> = sheets.iter().map(|(name, _)| name.clone()).collect();
    let found = differences(&all, grid.varies);
    write_differences(output, grid.name, &names, &found, format == Format::Markdown)?;
    writeln!(output)?;
    for (name, sheet) in sheets {
        writeln!(output, "{name}: {}", sheet.summary())?;
    }
    writeln!(output, "{} cells differ", found.len())?;
    Ok(())
}

/// Makes a grid on the running kernel.
fn here(grid: &Grid, rows: &[&'static Claim], running: &Running) -> Result<Sheet, Failure> {
    (grid.prepare)();
    let (runner, passed_over) = runner(running)?;
    let scratch = runner.scratch.as_ref();
    let mut environment = Environment::now(scratch.map(|path| path.display().to_string()), passed_over);
    let mut lost = Isolation::default();
    let mut found: Vec<(usize, Row)> = Vec::new();
    let place = |claim: &Claim| rows.iter().position(|row| row.id == claim.id);
    runner.run(
        rows,
        |heard| {
            if let Heard::Lost(found) = heard {
                lost = found.clone();
            }
        },
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
    Ok(Sheet { grid: grid.name.to_owned(), environment, rows })
}
