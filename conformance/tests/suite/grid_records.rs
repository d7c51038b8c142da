//! The recorded grids: whole, compact, and every cell that differs has its claims.

use conformance::claims;
use conformance::grids::cells::{Cell, Cells};
use conformance::grids::fds::FDS;
use conformance::grids::fs::FS;
use conformance::grids::grid::Grid;
use conformance::grids::sheet::{Sheet, differences};
use conformance::grids::{fds, records};
use conformance::kernel::MEASURED;
use conformance::known::Known;
use conformance::surveys;
use conformance::verdict::Value;
use nocopy_host::kernel::Release;
use rstest::rstest;
use std::collections::BTreeSet;

fn grid(name: &str) -> &'static Grid {
    let found = surveys::ALL.iter().find(|grid| grid.name == name);
    found.expect("a grid")
}

#[rstest]
fn every_grid_is_recorded_whole_on_every_kernel(
    #[values("fds", "pairs", "fs", "ledger")] name: &str,
) {
    let grid = grid(name);
    let records = records::of_grid(grid);
    let kernels: Vec<String> = records.iter().map(|(name, _)| (*name).to_owned()).collect();
    let measured: Vec<String> = MEASURED.iter().map(ToString::to_string).collect();
    assert_eq!(kernels, measured);
    for (kernel, record) in &records {
        let release: Release = record.environment.kernel.parse().expect("a release");
        assert_eq!(release.series.to_string(), *kernel);
        let again = records::compact(grid, record).expect("it is a record");
        assert_eq!(again, *record, "{kernel}: `just record-grids`");
        let columns = record.columns().len();
        for row in &record.rows {
            match (&row.cells, &row.lacking) {
                // A method is not for every sink.
                (Some(_), None) if name == "ledger" => {}
                (Some(cells), None) => {
                    assert_eq!(cells.facts().len(), columns, "{kernel} {}", row.row);
                }
                (None, Some(reason)) => assert!(!reason.what.is_empty(), "{kernel} {}", row.row),
                _ => panic!("{kernel} {}: neither there nor lacking", row.row),
            }
        }
    }
}

/// A row that no kernel has is none.
#[rstest]
fn every_row_is_there_on_some_kernel(#[values("fds", "pairs", "fs")] name: &str) {
    // Debian's kernels for clouds have neither, those for all machines have f2fs.
    const NOWHERE: [&str; 2] = ["f2fs", "ntfs3"];
    let records = records::of_grid(grid(name));
    for row in grid(name).rows {
        let is_there = records.iter().any(|(_, record)| {
            let of_row = record.rows.iter().find(|other| other.row == row.statement);
            of_row.is_some_and(|row| row.cells.is_some())
        });
        assert_eq!(
            is_there,
            !NOWHERE.contains(&row.statement),
            "{}",
            row.statement
        );
    }
}

/// Whoever records a kernel that answers otherwise writes the claim, and a cell that is the same everywhere has to go.
#[test]
fn the_cells_that_differ_are_those_that_have_claims() {
    let mut differ = BTreeSet::new();
    for grid in surveys::ALL {
        let records = records::of_grid(grid);
        let sheets: Vec<&Sheet> = records.iter().map(|(_, sheet)| sheet).collect();
        let found = differences(&sheets, grid.varies).into_iter();
        let found = found.filter(|found| is_an_answer(&sheets, &found.row, &found.column));
        differ.extend(found.map(|found| (grid.name.to_owned(), found.row, found.column)));
    }
    assert!(differ.len() > 20, "{}", differ.len());
    let owned =
        |(grid, row, column): Cell<'_>| (grid.to_owned(), row.to_owned(), column.to_owned());
    let cells = Cells::load();
    let entries = cells
        .entries
        .iter()
        .filter(|entry| entry.document.is_none());
    let listed: BTreeSet<_> = entries.flat_map(|entry| entry.cells().map(owned)).collect();
    let without: Vec<_> = differ.difference(&listed).collect();
    assert!(
        without.is_empty(),
        "no claim in fixtures/grids/cells.toml decides {without:?}"
    );
    let stale: Vec<_> = listed.difference(&differ).collect();
    assert!(stale.is_empty(), "the same on every kernel: {stale:?}");
}

/// Whether kernels answer otherwise, and not only lack a module without which a sink of the ledger is not there. Of `io_uring`, with
/// which the ledger compares, nothing is claimed.
fn is_an_answer(sheets: &[&Sheet], row: &str, column: &str) -> bool {
    if row.starts_with("io_uring") {
        return false;
    }
    let sink = column.split(": ").next().unwrap_or_default();
    let rows = sheets.iter().map(|sheet| {
        let found = sheet.rows.iter().find(|other| other.row == row);
        found.expect("every kernel has the row")
    });
    let there = rows.filter(|row| row.cell(&format!("{sink}: copies")) != "not here");
    let cells: BTreeSet<String> = there.map(|row| row.cell(column)).collect();
    cells.len() > 1
}

#[test]
fn every_entry_names_cells_and_claims_that_are() {
    for entry in Cells::load().entries {
        let records = records::of_grid(grid(&entry.grid));
        for (_, row, column) in entry.cells() {
            let (_, newest) = records.last().expect("a record");
            assert!(newest.rows.iter().any(|other| other.row == row), "{row}");
            assert!(newest.columns().contains(&column), "{column}");
        }
        for id in &entry.claims {
            assert!(claims::REGISTRY.find(id).is_some(), "{id} is no claim");
        }
    }
}

/// A claim that differs between kernels changes where its cell does.
#[test]
fn what_differs_is_decided_by_claims_that_differ() {
    for entry in Cells::load().entries {
        let claims = entry
            .claims
            .iter()
            .filter_map(|id| claims::REGISTRY.find(id));
        let mut intervals = claims.flat_map(|claim| Known::of(claim).intervals());
        assert!(
            entry.document.is_some() || intervals.any(|interval| !interval.holds),
            "{entry:?}: it holds on every kernel"
        );
    }
}

#[test]
fn what_contradicts_a_document_cites_it() {
    let mut documents = 0;
    for entry in Cells::load().entries {
        let Some(document) = &entry.document else {
            continue;
        };
        documents += 1;
        let claims = entry
            .claims
            .iter()
            .filter_map(|id| claims::REGISTRY.find(id));
        let mut sources = claims.flat_map(|claim| claim.sources);
        assert!(
            sources.any(|source| source.to_string().contains(document.as_str())),
            "no claim of {entry:?} cites it"
        );
    }
    assert!(documents >= 8, "{documents}");
}

/// In what words claims note what a descriptor of a kind answers, and in which column the grid of descriptors has the same.
const SAME: &[(&str, &str, &str)] = &[
    ("sendfile(file, ", ")", "sendfile from"),
    ("sendfile(", ", file)", "sendfile to"),
    ("splice(pipe, ", ")", "splice to"),
    ("splice(", ", pipe)", "splice from"),
    ("copy_file_range(", ", file)", "copy_file_range from"),
    ("copy_file_range(file, ", ")", "copy_file_range to"),
    ("mmap(", ")", "mmap"),
];

/// A success, whatever it counts, or the errno. Other words are no answer that two experiments share.
fn answer(value: &Value) -> Option<Result<(), i32>> {
    match value {
        Value::Returned(_) => Some(Ok(())),
        Value::Errno(errno) => Some(Err(*errno)),
        Value::Text(word) if word == "mapped" => Some(Ok(())),
        _ => None,
    }
}

/// Where claims and the grid of descriptors speak of the same cell, they say the same, on every kernel.
#[test]
fn claims_and_the_grid_of_descriptors_agree() {
    let mut compared = 0;
    let mut disagree = Vec::new();
    for (kernel, sheet) in records::of_grid(&FDS) {
        let stored = conformance::run::recorded::find(kernel).expect("a record");
        for record in &stored.run.records {
            let seen = record.observation.iter();
            for fact in seen.flat_map(conformance::verdict::Observation::facts) {
                for (before, after, column) in SAME {
                    let kind = fact.fact.strip_prefix(before);
                    let kind = kind.and_then(|rest| rest.strip_suffix(after));
                    let row = sheet.rows.iter().find(|row| Some(row.row.as_str()) == kind);
                    let cells = row.and_then(|row| row.cells.as_ref());
                    let cell = cells
                        .and_then(|cells| cells.facts().iter().find(|cell| cell.fact == *column));
                    let answers = cell.map(|cell| (answer(&cell.value), answer(&fact.value)));
                    if let Some((Some(grid), Some(claim))) = answers {
                        compared += 1;
                        if grid != claim {
                            disagree.push(format!(
                                "{kernel}: {}: {fact}, and the grid: {grid:?}",
                                record.id
                            ));
                        }
                    }
                }
            }
        }
    }
    assert!(compared > 400, "{compared}");
    assert_eq!(disagree, Vec::<String>::new());
}

/// The claims about what arrives of a changed file have the very facts of the grid of file systems.
#[test]
fn claims_and_the_grid_of_file_systems_agree() {
    let mut compared = 0;
    for entry in Cells::load()
        .entries
        .iter()
        .filter(|entry| entry.grid == "fs")
    {
        for (kernel, sheet) in records::of_grid(&FS) {
            let stored = conformance::run::recorded::find(kernel).expect("a record");
            let claims = entry.claims.iter().filter_map(|id| stored.run.find(id));
            let facts: Vec<_> = claims
                .filter_map(|record| record.observation.as_ref())
                .flat_map(conformance::verdict::Observation::facts)
                .collect();
            let [row] = &entry.rows[..] else { continue };
            let row = sheet.rows.iter().find(|other| other.row == *row);
            let cells = row.and_then(|row| row.cells.as_ref());
            for cell in cells.iter().flat_map(|cells| cells.facts()) {
                if let Some(fact) = facts.iter().find(|fact| fact.fact == cell.fact) {
                    compared += 1;
                    assert_eq!(
                        fact.value, cell.value,
                        "{kernel}, {}: {}",
                        entry.rows[0], cell.fact
                    );
                }
            }
        }
    }
    assert!(compared > 500, "{compared}");
}

/// The answers of LTP's splice07 and of the manual pages that hold for every kind there is.
#[test]
fn what_is_no_pipe_is_refused_by_tee_everywhere() {
    let mut refused = 0;
    for (kernel, record) in records::of_grid(&FDS) {
        for row in &record.rows {
            let Some(cells) = &row.cells else { continue };
            if row.row.starts_with("pipe, ") {
                continue;
            }
            for column in [fds::Column::TeeFrom, fds::Column::TeeTo] {
                let fact = cells.facts().iter().find(|fact| fact.fact == column.name());
                let value = &fact.expect("a cell").value;
                let is_refused = matches!(value, Value::Errno(libc::EINVAL | libc::EBADF));
                assert!(is_refused, "{kernel}: tee of {}: {value}", row.row);
                refused += 1;
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn what_is_not_whole_or_not_green_is_no_record() {
    let record = records::find(&FDS, "6.1").expect("it is recorded");
    let error = |change: &dyn Fn(&mut Sheet)| {
        let mut sheet = record.clone();
        change(&mut sheet);
        records::compact(&FDS, &sheet).expect_err("no record")
    };
    let fewer = error(&|sheet| {
        sheet.rows.pop();
    });
    assert!(fewer.contains("74 rows of 75"), "{fewer}");
    let red = error(&|sheet| sheet.rows[0].failure = Some("it hung".into()));
    assert!(red.contains("regular file: it hung"), "{red}");
    let other = error(&|sheet| sheet.grid = "fs".into());
    assert!(other.contains("of the grid `fs`"), "{other}");
}

#[test]
fn what_is_not_as_recorded_is_told() {
    let record = records::find(&FDS, "6.1").expect("it is recorded");
    assert_eq!(
        records::unlike(&FDS, &record, &record),
        Vec::<String>::new()
    );
    let mut sheet = record.clone();
    sheet.rows.truncate(3);
    assert_eq!(
        records::unlike(&FDS, &record, &sheet),
        Vec::<String>::new(),
        "left out on purpose"
    );
    let newest = records::find(&FDS, "7.3").expect("it is recorded");
    let told = records::unlike(&FDS, &record, &newest);
    assert!(
        told.contains(&"eventfd, write: EINVAL, recorded 8".to_owned()),
        "{told:#?}"
    );
    let lacking = newest.rows.len() - 1;
    sheet = newest.clone();
    sheet.rows[lacking].cells = None;
    sheet.rows[lacking].lacking = Some(conformance::verdict::Reason {
        kind: conformance::verdict::Lack::Resource,
        what: "there is none".into(),
        remedy: "make one".into(),
    });
    let told = records::unlike(&FDS, &newest, &sheet);
    assert!(
        told.iter().any(|line| line.contains("there is none")),
        "{told:#?}"
    );
}

mod host_only {
    use super::{Sheet, grid, records};
    use rstest::rstest;
    use std::process::Command;

    fn made(name: &str) -> Sheet {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
        let output = command.args([name, "--format", "jsonl"]).output();
        let output = output.expect("the program");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", output.status);
        Sheet::read(&output.stdout).expect("a grid")
    }

    #[rstest]
    fn three_grids_of_one_kernel_are_the_same(
        #[values("fds", "pairs", "fs", "ledger")] name: &str,
    ) {
        let first = made(name);
        assert_eq!(first.rows.len(), grid(name).row_names().len());
        assert_eq!(first.red(), Vec::<String>::new());
        for _ in 0..2 {
            let told = records::unlike(grid(name), &first, &made(name));
            assert_eq!(told, Vec::<String>::new());
        }
    }
}
