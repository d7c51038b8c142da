//! The first screen, and the grids of descriptors and file systems.

use super::layout::{claim_link, page as in_layout};
use crate::bench::plan::{Kind, Placement};
use crate::bench::plans::CONGESTION;
use crate::bench::run::{Outcome, Run};
use crate::grids::cells::Cells;
use crate::grids::fds::FDS;
use crate::grids::fs::FS;
use crate::grids::grid::Grid;
use crate::grids::pairs::PAIRS;
use crate::grids::records;
use crate::grids::sheet::Sheet;
use crate::ways::sinks::Sink;
use maud::{Markup, html};
use serde::Serialize;
use std::collections::BTreeMap;

/// A cell on every kernel: from which kernel on (its index) it has which answer.
pub(super) type Runs = Vec<(usize, String)>;

/// The grid of pairs, for the script.
#[derive(Serialize)]
pub(super) struct Pairs {
    kernels: Vec<&'static str>,
    sources: Vec<String>,
    sinks: Vec<String>,
    routes: Vec<String>,
    /// By `source to sink`: the best that a route does.
    best: BTreeMap<String, Vec<(usize, &'static str)>>,
    /// By `source to sink`, and then by route.
    cells: BTreeMap<String, BTreeMap<String, Runs>>,
    /// The claims that decide a cell, as above.
    claims: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// How many times as fast as read and write of 64 KiB: by sink and route, the lowest and highest of the recorded machines.
    costs: BTreeMap<&'static str, BTreeMap<&'static str, (f64, f64)>>,
}

/// The answers of one cell on all kernels.
fn runs(records: &[(&'static str, Sheet)], row: &str, column: &str) -> Runs {
    let mut runs = Runs::new();
    for (index, (_, sheet)) in records.iter().enumerate() {
        let found = sheet.rows.iter().find(|other| other.row == row);
        let text = match found {
            None => "not measured".to_owned(),
            Some(row) => {
                row.lacking.as_ref().map_or_else(|| row.cell(column), |reason| format!("{ABSENT}: {}", reason.what))
            }
        };
        if runs.last().is_none_or(|(_, last)| *last != text) {
            runs.push((index, text));
        }
    }
    runs
}

/// The columns of a grid, of all its records.
fn columns(records: &[(&'static str, Sheet)]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for column in records.iter().flat_map(|(_, sheet)| sheet.columns()) {
        if !columns.iter().any(|known| known == column) {
            columns.push(column.to_owned());
        }
    }
    columns
}

/// Ends of a row of pairs.
fn ends(row: &str) -> (&str, &str) {
    row.split_once(" to ").unwrap_or((row, ""))
}

pub(super) fn pairs() -> Pairs {
    let records = records::of_grid(&PAIRS);
    let routes = columns(&records);
    let (mut sources, mut sinks): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let (mut best, mut cells, mut claims) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let known = Cells::load();
    for row in PAIRS.row_names() {
        let (source, sink) = ends(row);
        for (list, end) in [(&mut sources, source), (&mut sinks, sink)] {
            if !list.iter().any(|known| known == end) {
                list.push(end.to_owned());
            }
        }
        let of_row: BTreeMap<_, _> = routes.iter().map(|route| (route.clone(), runs(&records, row, route))).collect();
        best.insert(row.to_owned(), best_of(&of_row, records.len()));
        cells.insert(row.to_owned(), of_row);
        let of_row: BTreeMap<_, Vec<String>> = routes
            .iter()
            .map(|route| {
                (route.clone(), known.claims((PAIRS.name, row, route)).into_iter().map(str::to_owned).collect())
            })
            .filter(|(_, ids): &(String, Vec<String>)| !ids.is_empty())
            .collect();
        if !of_row.is_empty() {
            claims.insert(row.to_owned(), of_row);
        }
    }
    let kernels = records.iter().map(|(name, _)| *name).collect();
    Pairs { kernels, sources, sinks, routes, best, cells, claims, costs: costs() }
}

/// The recorded runs of the benchmark: 64 MiB of a file, both ends on one processor.
const RUNS: [&str; 2] =
    [include_str!("../../../fixtures/bench/run.json"), include_str!("../../../fixtures/bench/epyc.json")];

/// Routes of the grid and sinks of the grid, by their names in the benchmark.
const TIMED: [(&str, &str); 6] = [
    ("mmap-write", "mmap+write"),
    ("sendfile", "sendfile"),
    ("splice", "splice, pipe 1 MiB"),
    ("vmsplice", "vmsplice, pipe 1 MiB"),
    ("msg-zerocopy", "MSG_ZEROCOPY, mapped"),
    ("copy-file-range", "copy_file_range"),
];
const SINKS: [(&str, &str); 4] =
    [("TCP socket", "TCP"), ("AF_UNIX socket", "AF_UNIX"), ("pipe", "pipe 64 KiB"), ("regular file", "file")];

fn costs() -> BTreeMap<&'static str, BTreeMap<&'static str, (f64, f64)>> {
    const LENGTH: usize = 64 << 20;
    let mut costs: BTreeMap<_, BTreeMap<_, (f64, f64)>> = BTreeMap::new();
    for text in RUNS {
        let run: Run = serde_json::from_str(text).expect("a test reads it");
        let is_meant = |outcome: &&Outcome| {
            let is_paced = outcome.congestion.as_ref().is_some_and(|name| name != CONGESTION);
            outcome.kind == Kind::Ways
                && outcome.placement == Placement::Same
                && outcome.length == LENGTH
                && !is_paced
                && (outcome.congestion.is_some() || outcome.sink != Sink::Tcp.name())
        };
        for outcome in run.outcomes.iter().filter(is_meant) {
            let Some((sink, _)) = SINKS.iter().find(|(_, name)| outcome.sink == *name) else { continue };
            for (route, name) in TIMED {
                let Some(line) = outcome.find(name) else { continue };
                let ratio = (line.faster.median * 100.0).round() / 100.0;
                let range = costs.entry(*sink).or_default().entry(route).or_insert((ratio, ratio));
                *range = (range.0.min(ratio), range.1.max(ratio));
            }
        }
    }
    costs
}

/// The first screen. The script fills the table for the chosen kernel and the cell that is looked at; without it, the table is of the
/// newest kernel.
pub(super) fn front(pairs: &Pairs) -> Markup {
    let newest = pairs.kernels.len() - 1;
    let body = html! {
        p {
            "From what to what can Linux move bytes without a copy, by which call, and since when? Choose a kernel, then a pair. "
            "Every answer is what that kernel did with 16 KiB, not what is written of it."
        }
        form.kernel {
            label for="kernel" { "Kernel" }
            input id="kernel" type="range" min="0" max=(newest) value=(newest) step="1" aria-describedby="kernels";
            output id="release" for="kernel" { "Linux " (pairs.kernels[newest]) }
            p id="kernels" { "x86-64: " (pairs.kernels.join(", ")) }
        }
        ul.legend {
            li { span.shared { "shared" } " the receiver gets the source's own pages: no copy, and a later change of the source reaches it" }
            li { span.copied { "copied" } " some route works, each copies" }
            li { span.taken { "taken" } " a route works; whether it copies cannot be seen" }
            li { span.no { "no" } " no route works there" }
            li { span.untried { "untried" } " that kernel package lacks the source or the sink" }
        }
        div.wide tabindex="0" role="region" aria-label="Pairs of source and sink" {
            table id="pairs" {
                thead { tr {
                    th scope="col" { "from \\ to" }
                    @for sink in &pairs.sinks { th scope="col" { (sink) } }
                } }
                tbody { @for source in &pairs.sources {
                    tr {
                        th scope="row" { (source) }
                        @for sink in &pairs.sinks {
                            @let pair = format!("{source} to {sink}");
                            @let best = pairs.best[&pair].last().map_or("", |(_, word)| word);
                            td { button type="button" class=(best) data-pair=(pair) aria-pressed="false" {
                                span.hidden { (pair) ": " } (best)
                            } }
                        }
                    }
                } }
            }
        }
        section id="pair" aria-live="polite" { p { "Choose a pair to see each route." } noscript { p { "That needs scripts; the lists above do not." } } }
        h2 { "Asked often" }
        ul {
            li { a href="fallback.html" { "After which errno of sendfile, splice or copy_file_range may I fall back, and what has gone by then?" } }
            li { "May I overwrite or truncate a file that I have sent? Not where the table says shared: "
                (claim_link("", "sendfile.copies.tcp")) "; after a truncation: " (claim_link("", "sendfile.sharing.pages-ext4"))
                ", and by file system: " a href="file-systems.html" { "truncated, punched" } "." }
            li { "What does " a href="indexes.html#O_APPEND" { "O_APPEND" } " do? Which socket takes "
                a href="indexes.html#SO_ZEROCOPY" { "SO_ZEROCOPY" } ", since when? See also " a href="descriptors.html" { "descriptors" } "." }
        }
        script src="pairs.js" {}
    };
    in_layout("", "index.html", "Can I zero-copy?", &body)
}

/// The best that a route does for a pair, on each of so many kernels.
fn best_of(row: &BTreeMap<String, Runs>, kernels: usize) -> Vec<(usize, &'static str)> {
    let of_routes: Vec<&Runs> =
        row.iter().filter(|(route, _)| !route.starts_with("chosen")).map(|(_, runs)| runs).collect();
    let mut best: Vec<(usize, &str)> = Vec::new();
    for kernel in 0..kernels {
        let last = of_routes.iter().filter_map(|runs| runs.iter().rfind(|(from, _)| *from <= kernel));
        let answers: Vec<&str> = last.map(|(_, text)| text.as_str()).collect();
        let word = best_answer(&answers);
        if best.last().is_none_or(|(_, last)| *last != word) {
            best.push((kernel, word));
        }
    }
    best
}

fn best_answer(answers: &[&str]) -> &'static str {
    if answers.contains(&"shared") {
        "shared"
    } else if answers.contains(&"copied") {
        "copied"
    } else if answers.iter().any(|text| text.parse::<u64>().is_ok()) {
        "taken"
    } else if answers.iter().all(|text| text.starts_with(ABSENT)) {
        "untried"
    } else {
        "no"
    }
}

/// How the answer of a row begins that a kernel cannot have.
const ABSENT: &str = "not there";

pub(super) fn descriptors() -> Markup {
    let body = html! {
        p { "What each kind of descriptor answers to each call: the return value, an errno, or that the call sleeps." }
        (table(&FDS))
    };
    in_layout("", "descriptors.html", "Descriptors", &body)
}

pub(super) fn file_systems() -> Markup {
    let body = html! {
        p {
            "What each file system does under each call, and what a receiver gets of a file that was truncated or punched after it had been sent. "
            "A kernel that lacks a file system is left out of its row."
        }
        (table(&FS))
    };
    in_layout("", "file-systems.html", "File systems", &body)
}

/// A grid with all kernels in each cell: one answer, or one for each interval of kernels.
fn table(grid: &'static Grid) -> Markup {
    let records = records::of_grid(grid);
    let columns = columns(&records);
    let known = Cells::load();
    let last = records.len();
    html! {
        div.wide tabindex="0" role="region" aria-label={ "Grid of " (grid.what) } {
            table.small {
                thead { tr { th scope="col" { (grid.what) } @for column in &columns { th scope="col" { (column) } } } }
                tbody { @for row in grid.row_names() {
                    tr id=(row.replace([' ', ','], "-")) {
                        th scope="row" { (row) }
                        @for column in &columns {
                            @let runs = runs(&records, row, column);
                            @let there: Vec<_> = (0..runs.len()).filter(|at| !runs[*at].1.starts_with(ABSENT)).collect();
                            td {
                                @match there.as_slice() {
                                    [] => span.undecided { "-" },
                                    [only] => (runs[*only].1),
                                    several => @for at in several {
                                        @let end = runs.get(at + 1).map_or(last, |next| next.0) - 1;
                                        div {
                                            span.since {
                                                (records[runs[*at].0].0)
                                                @if end != runs[*at].0 { "–" (records[end].0) }
                                            }
                                            " " (runs[*at].1)
                                        }
                                    },
                                }
                                @for id in known.claims((grid.name, row, column)) { div { (claim_link("", id)) } }
                            }
                        }
                    }
                } }
            }
        }
    }
}
