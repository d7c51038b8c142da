//! The same claims on many kernels, side by side, and the table of what came of them.

use super::error::{Context, Error};
use super::frames::{End, Kind};
use super::guest::Job;
use super::gvisor::Sandbox;
use super::kernels::{self, Image};
use super::modules;
use super::programs;
use super::qemu::{Accelerator, Machine, Ran};
use super::talk::plain;
use crate::claim::Claim;
use crate::foreign::Foreign;
use crate::grids::sheet::Sheet;
use crate::lab::images;
use crate::recorded;
use crate::report::{Record, Run, Strictness, jsonl, stored};
use crate::verdict::Word;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What is asked of every kernel.
#[derive(Clone, Debug)]
pub struct Order {
    /// The claims to decide.
    pub claims: Vec<&'static Claim>,
    /// Options for `conformance check` in the guest, `--filter` and the like.
    pub options: Vec<String>,
    /// Memory of each guest in MiB.
    pub memory: u32,
    /// Added to the kernel's command line.
    pub append: String,
    /// When a guest is given up.
    pub limit: Duration,
    /// The file systems of each guest's disks.
    pub disks: Vec<String>,
    /// How the processor is emulated.
    pub accelerator: Accelerator,
    /// The user that runs the claims; root, if none.
    pub uid: Option<u32>,
}

/// What came of one kernel.
#[derive(Clone, Debug)]
pub struct Row {
    /// The kernel's name.
    pub name: String,
    /// The claims that cannot be tried there for want of modules.
    pub without: Vec<String>,
    /// Its results and how the run went, or why there are none.
    pub result: Result<(Run, Ran), Error>,
}

impl Row {
    /// Whether it is of a kernel that is not Linux.
    fn is_foreign(&self) -> bool {
        kernels::foreign(&self.name).is_some()
    }
}

/// The most bytes of results, or of messages, that are taken: hundreds of times what a run has.
const MOST: usize = 16 << 20;

/// The fewest kernels of the whole matrix that must run.
const ENOUGH: usize = 5;

/// Why a matrix is red, a clause each.
///
/// A kernel that the distribution has dropped, or that is not installed here, is not red by itself: of the whole matrix, five Linux
/// kernels must have run, the oldest and the newest among them; of a part, one.
pub fn red(rows: &[Row], strictness: &Strictness, whole: bool) -> Vec<String> {
    let mut reasons = Vec::new();
    for row in rows {
        match &row.result {
            Ok((run, _)) => reasons.extend(
                run.red(&strictness.allowing(&row.without))
                    .into_iter()
                    .map(|reason| format!("{}: {reason}", row.name)),
            ),
            Err(Error::Gone(_) | Error::NotRun(_)) => {}
            Err(error) => reasons.push(format!("{}: {error}", row.name)),
        }
    }
    // What is not Linux says nothing about how much of Linux was tried.
    let linux: Vec<&Row> = rows
        .iter()
        .filter(|row| !whole || !row.is_foreign())
        .collect();
    let ran = linux.iter().filter(|row| row.result.is_ok()).count();
    let enough = if whole { ENOUGH } else { 1 };
    if ran < enough {
        reasons.push(format!(
            "{ran} of {} kernels ran, {enough} must",
            linux.len()
        ));
    }
    for row in [linux.first(), linux.last()].into_iter().flatten() {
        if whole && matches!(row.result, Err(Error::Gone(_))) {
            reasons.push(format!(
                "{} is at the end of the matrix, and gone",
                row.name
            ));
        }
    }
    reasons
}

/// The claims that need a module which the kernel comes without. Some of them may be built in, so this is what may be
/// untestable there, not what is.
pub fn without_modules(image: &Image, claims: &[&'static Claim]) -> Vec<String> {
    let there = image
        .modules
        .as_ref()
        .and_then(|directory| modules::names(directory).ok())
        .unwrap_or_default();
    // The first is the one that the claim is about; the others are what it needs in turn.
    let lacks = |claim: &&&'static Claim| {
        claim
            .modules
            .first()
            .is_some_and(|module| !there.contains(*module))
    };
    claims
        .iter()
        .filter(lacks)
        .map(|claim| claim.id.to_owned())
        .collect()
}

/// The modules that claims need.
pub fn modules(claims: &[&'static Claim]) -> BTreeSet<String> {
    let names = claims.iter().flat_map(|claim| claim.modules);
    names.map(|name| (*name).to_owned()).collect()
}

/// The disks that were asked for, and those that claims need: of a file system that can only be read, which is made with its content.
pub fn disks(asked: &[String], claims: &[&'static Claim]) -> Vec<String> {
    let is_needed = |name: &String| {
        let image = images::find(name);
        image.is_some_and(|image| !image.is_writable()) && !asked.contains(name)
    };
    let needed = modules(claims).into_iter().filter(is_needed);
    asked.iter().cloned().chain(needed).collect()
}

/// Decides the claims in a guest with this kernel.
pub fn decide(image: &Image, order: &Order) -> Result<(Run, Ran), Error> {
    let machine = Machine {
        image,
        job: Job {
            commands: vec![order.command()],
            uid: order.uid,
            disks: disks(&order.disks, &order.claims),
            ..Job::default()
        },
        modules: modules(&order.claims),
        files: programs::files(&order.claims),
        memory: order.memory,
        append: order.append.clone(),
        limit: order.limit,
        accelerator: order.accelerator,
    };
    let mut said = Said::default();
    let ran = machine.run(|kind, bytes| said.hear(kind, bytes))?;
    let run = results(&said.output, &order.claims)
        .and_then(|run| agrees(run, &ran))
        .map_err(|what| said.error(&what, ran.end.status))?;
    Ok((run, ran))
}

/// Makes a grid in a guest, whose command writes its stored form.
pub fn grid(machine: &Machine<'_>) -> Result<(Sheet, Ran), Error> {
    let mut said = Said::default();
    let ran = machine.run(|kind, bytes| said.hear(kind, bytes))?;
    let sheet = Sheet::read(&said.output)
        .and_then(|sheet| sheet_agrees(sheet, &ran))
        .map_err(|what| said.error(&what, ran.end.status))?;
    Ok((sheet, ran))
}

fn sheet_agrees(sheet: Sheet, ran: &Ran) -> Result<Sheet, String> {
    if sheet.environment.kernel != ran.release {
        return Err(format!(
            "the grid is of Linux {}, and it is Linux {}",
            plain(&sheet.environment.kernel),
            ran.release
        ));
    }
    Ok(sheet)
}

/// Decides the claims in gVisor.
pub fn decide_in_gvisor(order: &Order) -> Result<(Run, Ran), Error> {
    let sandbox = Sandbox {
        command: order.command(),
        environment: vec![],
        files: vec![],
        links: vec![],
        uid: order.uid,
        limit: order.limit,
    };
    let mut said = Said::default();
    let ended = sandbox.run(|kind, bytes| said.hear(kind, bytes))?;
    let gvisor = Foreign::gvisor(None);
    let whole = results(&said.output, &order.claims).and_then(|run| {
        let foreign = run.environment.foreign.clone().unwrap_or_default();
        if !foreign.starts_with(gvisor.name()) {
            return Err(format!(
                "the results are of Linux {}, and not of gVisor",
                plain(&run.environment.kernel)
            ));
        }
        Ok((of_this_colour(run, ended.status)?, foreign))
    });
    let (run, release) = whole.map_err(|what| said.error(&what, ended.status))?;
    let ran = Ran {
        release: plain(&release),
        end: End {
            records: 0,
            status: ended.status,
            tainted: 0,
            complaints: vec![],
        },
        boot: Duration::ZERO,
        total: ended.total,
    };
    Ok((run, ran))
}

impl Order {
    /// What is run on the other kernel, where this program is `/init`.
    fn command(&self) -> Vec<String> {
        let fixed = ["/init", "check", "--format", "jsonl"].map(str::to_owned);
        fixed
            .into_iter()
            .chain(self.options.iter().cloned())
            .collect()
    }
}

/// What came through the two streams of a guest's command.
#[derive(Default)]
struct Said {
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl Said {
    fn hear(&mut self, kind: Kind, bytes: &[u8]) {
        let stream = match kind {
            Kind::Output => &mut self.output,
            _ => &mut self.errors,
        };
        // One byte more than is taken, so that what is left out is noticed.
        let room = (MOST + 1).saturating_sub(stream.len());
        stream.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// What is wrong with the results, with the end of what was said beside them.
    fn error(&self, what: &str, status: i32) -> Error {
        let errors = String::from_utf8_lossy(&self.errors);
        let lines: Vec<String> = errors.lines().map(plain).collect();
        let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
        Error::guest(format!("{what} (exit status {status}); it said:\n  {last}"))
    }
}

/// The run in the stored form, if it is whole: the environment, each claim that was asked for once, and the end.
fn results(output: &[u8], claims: &[&'static Claim]) -> Result<Run, String> {
    if output.len() > MOST {
        return Err(format!("the results are longer than {} MiB", MOST >> 20));
    }
    let mut run = jsonl::read(output)?;
    let asked = |record: &&Record| claims.iter().any(|claim| claim.id == record.id);
    if let Some(record) = run.records.iter().find(|record| !asked(record)) {
        return Err(format!(
            "a result came of {:?}, which nobody asked for",
            record.id
        ));
    }
    let missing = |claim: &&&Claim| run.find(claim.id).is_none();
    if let Some(claim) = claims.iter().find(missing) {
        let (came, all) = (run.records.len(), claims.len());
        return Err(format!(
            "no result came of {}: {came} came of {all}",
            claim.id
        ));
    }
    run.records
        .sort_by_key(|record| claims.iter().position(|claim| claim.id == record.id));
    Ok(run)
}

/// The run, if it is of the kernel that ran, and as red or green as its exit status.
fn agrees(run: Run, ran: &Ran) -> Result<Run, String> {
    if run.environment.kernel != ran.release {
        return Err(format!(
            "the results are of Linux {}, and it is Linux {}",
            plain(&run.environment.kernel),
            ran.release
        ));
    }
    of_this_colour(run, ran.end.status)
}

/// The run, if it is as red or green as its exit status.
fn of_this_colour(run: Run, status: i32) -> Result<Run, String> {
    let red = !run.red(&Strictness::default()).is_empty();
    if status == i32::from(red) {
        Ok(run)
    } else {
        let colour = if red { "red" } else { "green" };
        Err(format!(
            "its results are {colour}, and its exit status says otherwise"
        ))
    }
}

/// Writes a run in the stored form to `DIRECTORY/NAME.jsonl`.
pub fn store(directory: &Path, name: &str, run: &Run) -> Result<(), Error> {
    std::fs::create_dir_all(directory).at(directory)?;
    let path = directory.join(format!("{name}.jsonl"));
    let mut bytes = Vec::new();
    jsonl::write_run(&mut bytes, run).at(&path)?;
    std::fs::write(&path, bytes).at(&path)
}

/// Writes a grid in its stored form to `DIRECTORY/NAME.jsonl`.
pub fn store_grid(directory: &Path, name: &str, sheet: &Sheet) -> Result<(), Error> {
    std::fs::create_dir_all(directory).at(directory)?;
    let path = directory.join(format!("{name}.jsonl"));
    let mut bytes = Vec::new();
    sheet.write(&mut bytes).at(&path)?;
    std::fs::write(&path, bytes).at(&path)
}

/// Which release the last results of a kernel are of: those that are stored, or else its record.
fn last_record(results: &Path, name: &str) -> String {
    let stored = stored::read(&results.join(format!("{name}.jsonl"))).ok();
    stored
        .as_ref()
        .or_else(|| recorded::find(name))
        .map_or_else(
            || "no record".into(),
            |stored| stored.run.environment.kernel.clone(),
        )
}

/// Calls `work` for every item, `jobs` at a time, and returns the results in order.
pub fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    // The threads live until all is done: QEMU dies with the thread that started it.
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                while let Some((index, item)) = take(&next, items) {
                    let result = work(item);
                    done.lock()
                        .expect("no worker panics with the lock")
                        .push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no worker panics with the lock");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn take<'items, T>(next: &AtomicUsize, items: &'items [T]) -> Option<(usize, &'items T)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    items.get(index).map(|item| (index, item))
}

/// Every k-th of n parts of the items, so that a fleet shares them without overlap.
pub fn partition<T>(items: Vec<T>, part: usize, parts: usize) -> Vec<T> {
    items
        .into_iter()
        .enumerate()
        .filter(|(index, _)| index % parts == part - 1)
        .map(|(_, item)| item)
        .collect()
}

fn symbol(record: Option<&Record>) -> &'static str {
    match record.map(|record| record.verdict) {
        Some(Word::Holds) => "holds",
        Some(Word::Refuted) => "refuted",
        Some(Word::Untestable) => "-",
        Some(Word::Broken) => "BROKEN",
        Some(Word::TimeOut) => "TIME-OUT",
        None => "",
    }
}

/// The table of claims and kernels, those that differ first, and a line of each kernel.
pub fn table<'a>(
    output: &mut dyn Write,
    rows: &'a [Row],
    claims: &[&'static Claim],
    results: &Path,
) -> io::Result<()> {
    let of = |rows: &mut dyn Iterator<Item = &'a Row>| -> Vec<(&'a str, &'a Run)> {
        rows.filter_map(|row| {
            let (run, _) = row.result.as_ref().ok()?;
            Some((row.name.as_str(), run))
        })
        .collect()
    };
    let ran = of(&mut rows.iter());
    let linux = of(&mut rows.iter().filter(|row| !row.is_foreign()));
    let width = claims.iter().map(|claim| claim.id.len()).max().unwrap_or(0);
    let line = |output: &mut dyn Write, first: &str, cells: Vec<&str>| {
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:<8}")).collect();
        writeln!(
            output,
            "{}",
            format!("{first:<width$}  {}", cells.join("  ")).trim_end()
        )
    };
    let decided = |claim: &Claim, runs: &[(&str, &Run)], untried: bool| -> usize {
        let cells = runs.iter().map(|(_, run)| symbol(run.find(claim.id)));
        let cells: BTreeSet<&str> = cells.filter(|cell| untried || *cell != "-").collect();
        cells.len()
    };
    let (differ, same): (Vec<&Claim>, Vec<&Claim>) = claims
        .iter()
        .copied()
        .partition(|claim| decided(claim, &linux, false) > 1);
    // A kernel that is no Linux lacks what it lacks for ever: that it cannot be tried there is a difference, too.
    let (otherwise, same): (Vec<&Claim>, Vec<&Claim>) = same
        .into_iter()
        .partition(|claim| ran.len() > linux.len() && decided(claim, &ran, true) > 1);
    for (title, claims) in [
        ("differ between these kernels", differ),
        (
            "the same on every Linux, otherwise where it is none",
            otherwise,
        ),
        ("the same on all", same),
    ] {
        if claims.is_empty() {
            continue;
        }
        let count = crate::report::human::plural(claims.len(), "claim");
        writeln!(output, "\n{count}, {title}")?;
        line(output, "", ran.iter().map(|(name, _)| *name).collect())?;
        for claim in claims {
            line(
                output,
                claim.id,
                ran.iter()
                    .map(|(_, run)| symbol(run.find(claim.id)))
                    .collect(),
            )?;
        }
    }
    writeln!(output)?;
    for row in rows {
        match &row.result {
            Ok((run, ran)) => {
                let count = |word| run.count(word);
                writeln!(
                    output,
                    "{:<8} {:<32} {:>3} hold {:>3} refuted {:>3} untestable   up in {:.1} s, done in {:.1} s",
                    row.name,
                    ran.release,
                    count(Word::Holds),
                    count(Word::Refuted),
                    count(Word::Untestable),
                    ran.boot.as_secs_f32(),
                    ran.total.as_secs_f32(),
                )?;
            }
            Err(Error::Gone(what)) => {
                let record = last_record(results, &row.name);
                writeln!(output, "{:<8} gone: {what} (last: {record})", row.name)?;
            }
            Err(Error::NotRun(why)) => writeln!(output, "{:<8} not run ({why})", row.name)?,
            Err(error) => writeln!(output, "{:<8} {error}", row.name)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(result: Result<(Run, Ran), Error>) -> Row {
        Row {
            name: "k".into(),
            without: vec![],
            result,
        }
    }

    fn ran() -> Result<(Run, Ran), Error> {
        let environment = crate::report::Environment::now(None, vec![]);
        let end = crate::vm::frames::End {
            records: 0,
            status: 0,
            tainted: 0,
            complaints: vec![],
        };
        let ran = Ran {
            release: String::new(),
            end,
            boot: Duration::ZERO,
            total: Duration::ZERO,
        };
        Ok((
            Run {
                environment,
                records: vec![],
            },
            ran,
        ))
    }

    #[test]
    fn a_kernel_that_is_gone_is_red_only_where_it_counts() {
        let gone = || Err(Error::Gone("dropped".into()));
        let red = |rows: Vec<Row>, whole| red(&rows, &Strictness::default(), whole).len();
        let six = |at: usize| {
            (0..6)
                .map(|index| row(if index == at { gone() } else { ran() }))
                .collect::<Vec<_>>()
        };
        assert_eq!(red(six(3), true), 0);
        assert_eq!(red(six(0), true), 1);
        assert_eq!(red(six(5), true), 1);
        assert_eq!(red(vec![row(ran()), row(gone()), row(ran())], true), 1);
        assert_eq!(red(vec![row(gone()), row(ran())], false), 0);
        assert_eq!(red(vec![row(gone())], false), 1);
        let foreign = |result| Row {
            name: kernels::foreign_rows()[0].name.clone(),
            ..row(result)
        };
        let not_run = || foreign(Err(Error::NotRun("not installed".into())));
        let five_and = |last: Row| (0..5).map(|_| row(ran())).chain([last]).collect();
        assert_eq!(red(five_and(not_run()), true), 0);
        assert_eq!(red(five_and(foreign(Err(Error::guest("no end")))), true), 1);
        assert_eq!(red(vec![not_run()], false), 1);
        let four_and_gvisor = (0..4).map(|_| row(ran())).chain([foreign(ran())]).collect();
        assert_eq!(red(four_and_gvisor, true), 1, "gVisor is no Linux");
        assert_eq!(
            red(vec![row(ran()), row(Err(Error::guest("panic")))], false),
            1
        );
    }

    #[test]
    fn a_kernel_that_is_gone_is_named_by_its_last_results() {
        let nowhere = Path::new("/nowhere");
        let recorded = last_record(nowhere, "5.10");
        assert!(recorded.starts_with("5.10."), "{recorded}");
        assert_eq!(last_record(nowhere, "5.10-generic"), "no record");
    }

    #[test]
    fn partitions_cover_all_once() {
        let all: Vec<u32> = (0..10).collect();
        let mut shared: Vec<u32> = (1..=3)
            .flat_map(|part| partition(all.clone(), part, 3))
            .collect();
        shared.sort_unstable();
        assert_eq!(shared, all);
    }

    #[test]
    fn results_come_in_order_whoever_is_first() {
        let items: Vec<u64> = (0..20).collect();
        assert_eq!(
            side_by_side(&items, 4, |item| item * 2),
            items.iter().map(|item| item * 2).collect::<Vec<_>>()
        );
        assert!(side_by_side::<u64, u64>(&[], 4, |item| *item).is_empty());
    }

    #[test]
    fn a_run_that_was_cut_off_is_noticed() {
        assert!(results(b"", &[]).is_err());
        assert!(results(br#"{"type":"end","claims":1}"#, &[]).is_err());
    }
}
