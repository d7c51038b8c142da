//! The same claims on many kernels, side by side, and the table of their verdicts.

use super::chosen::Chosen;
use super::programs;
use crate::claim::Claim;
use crate::foreign::{self, Foreign};
use crate::grids::sheet::Sheet;
use crate::lab::danger;
use crate::run::record::{Environment, Record, Run};
use crate::run::recorded;
use crate::run::red::{Strictness, red_of_all};
use crate::run::text::plural;
use crate::run::{jsonl, stored};
use crate::verdict::{Lack, Reason, Word};
use nocopy_host::images;
use nocopy_host::interrupt;
use nocopy_host::replace::{self, Replacement};
use on_kernel::error::{Context, Error};
use on_kernel::frames::Kind;
use on_kernel::gvisor::Sandbox;
use on_kernel::job::Job;
use on_kernel::kernels::Image;
use on_kernel::machine::{Accelerator, Machine, Ran};
use on_kernel::talk::plain;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The order for every kernel.
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
    /// The time limit of a guest.
    pub limit: Duration,
    /// The file systems on each guest's disks.
    pub disks: Vec<String>,
    /// How the processor is emulated.
    pub accelerator: Accelerator,
    /// The user that runs the claims; root, if none.
    pub uid: Option<u32>,
    /// CPU seconds that one experiment may use; the default, if none.
    pub timeout: Option<u64>,
}

/// The result of one kernel.
#[derive(Clone, Debug)]
pub struct Row {
    /// The kernel's name.
    pub name: String,
    /// Whether the user named it. Otherwise it is here as a row of the whole matrix.
    pub is_named: bool,
    /// Whether it is a program.
    pub is_foreign: bool,
    /// Its verdicts, or the error.
    pub result: Result<Decided, Error>,
}

/// The claims on one kernel.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The results. Claims that an interrupted guest did not reach are in them as not reached.
    pub run: Run,
    /// Why the guest was interrupted, if it was, with the messages of its kernel.
    pub broke_off: Option<String>,
    /// From the start of QEMU to the first record, if that is known.
    pub boot: Option<Duration>,
    /// From the start of QEMU to its end.
    pub total: Duration,
}

impl Decided {
    /// The results, judged as those of this kernel.
    #[must_use]
    pub fn judged_for(self, kernel: &Chosen) -> Self {
        Self { run: kernel.judged(self.run), ..self }
    }

    /// The release and the duration, for one line of output.
    pub fn times(&self) -> String {
        let up = self.boot.map(|boot| format!("up in {:.1} s, ", boot.as_secs_f32()));
        let total = self.total.as_secs_f32();
        format!("{}done in {total:.1} s", up.unwrap_or_default())
    }
}

/// The most bytes of results, or of messages, that are kept: hundreds of times the size of a usual run.
const MOST: usize = 16 << 20;

/// The fewest kernels of the whole matrix that must have run.
const ENOUGH: usize = 5;

/// Why a matrix is red, in one clause each.
///
/// - A kernel that was named by the user is red if the distribution has dropped it or if it is not installed here.
/// - Of the whole matrix, at least five Linux kernels must have run, and the distribution must still have the oldest and the newest.
///   Kernels that were named beside it do not count.
/// - Of other kernels, at least one must have run.
pub fn red(rows: &[Row], strictness: &Strictness, whole: bool) -> Vec<String> {
    let mut reasons = Vec::new();
    for row in rows {
        match &row.result {
            Ok(Decided { broke_off, .. }) => {
                reasons.extend(broke_off.iter().map(|why| format!("{}: {why}", row.name)));
            }
            Err(Error::Gone(_) | Error::NotRun(_)) if !row.is_named => {}
            Err(error) => reasons.push(format!("{}: {error}", row.name)),
        }
    }
    let mut runs = runs(rows).peekable();
    if runs.peek().is_some() {
        reasons.extend(red_of_all(runs, strictness));
    }
    // A kernel that is not Linux does not count as a tried Linux, and one of the user's not as one of the matrix.
    let linux: Vec<&Row> = rows.iter().filter(|row| !whole || !row.is_foreign && !row.is_named).collect();
    let ran = linux.iter().filter(|row| row.result.is_ok()).count();
    let enough = if whole { ENOUGH } else { 1 };
    if ran < enough {
        reasons.push(format!("{ran} of {} kernels ran, {enough} must", linux.len()));
    }
    for row in [linux.first(), linux.last()].into_iter().flatten() {
        if whole && matches!(row.result, Err(Error::Gone(_))) {
            reasons.push(format!("{} is at the end of the matrix, and gone", row.name));
        }
    }
    reasons
}

/// The kernels that have results.
pub fn runs(rows: &[Row]) -> impl Iterator<Item = (&str, &Run)> {
    rows.iter().filter_map(|row| {
        let decided = row.result.as_ref().ok()?;
        Some((row.name.as_str(), &decided.run))
    })
}

/// The modules that claims need.
pub fn modules(claims: &[&'static Claim]) -> BTreeSet<String> {
    let names = claims.iter().flat_map(|claim| claim.modules);
    names.map(|name| (*name).to_owned()).collect()
}

/// The disks that were asked for, and those that claims need. If none was asked for, only needed read-only disks are added: they are
/// made with their content.
pub fn disks(asked: &[String], claims: &[&'static Claim]) -> Vec<String> {
    let is_needed = |name: &String| {
        let image = images::find(name);
        image.is_some_and(|image| !image.is_writable() || !asked.is_empty()) && !asked.contains(name)
    };
    let needed = modules(claims).into_iter().filter(is_needed);
    asked.iter().cloned().chain(needed).collect()
}

/// Decides the claims in a guest with this kernel. Claims that may crash it are decided after the others, each in a separate guest.
pub fn decide(image: &Image, order: &Order) -> Result<Decided, Error> {
    let mut decided = decide_once(image, order, &order.claims, false)?;
    let put_off = |record: &Record| {
        let reason = record.reason.as_ref();
        reason.is_some_and(|reason| reason.kind == Lack::Survival)
    };
    for at in 0..decided.run.records.len() {
        let record = &decided.run.records[at];
        let claim = order.claims.iter().find(|claim| claim.id == record.id);
        let Some(claim) = claim.filter(|_| put_off(record) && decided.broke_off.is_none()) else {
            continue;
        };
        let alone = decide_once(image, order, &[*claim], true)?;
        decided.total += alone.total;
        let found = alone.run.find(claim.id).cloned();
        let record = &mut decided.run.records[at];
        match (found, alone.broke_off) {
            (Some(found), None) => *record = found,
            // It is known that the experiment ends the guest; the verdict is not known.
            (_, why) => {
                let why = why.unwrap_or_default();
                record.reason = Some(Reason::new(
                    Lack::Survival,
                    format!("it ended a guest with this kernel, of its own: {why}"),
                    "take a kernel with the repair",
                ));
            }
        }
    }
    Ok(decided)
}

/// Boots once. With `alone`, only the result of this claim can be lost with the guest.
fn decide_once(image: &Image, order: &Order, claims: &[&'static Claim], alone: bool) -> Result<Decided, Error> {
    let only = claims.iter().filter(|_| alone).flat_map(|claim| ["--filter".to_owned(), format!("={}", claim.id)]);
    let options = if alone { &[][..] } else { &order.options };
    let mut command = order.command(options);
    command.extend(only);
    let environment = alone.then(|| (danger::ALONE.to_owned(), "1".to_owned()));
    let machine = Machine {
        image,
        job: Job {
            commands: vec![command],
            environment: environment.into_iter().collect(),
            uid: order.uid,
            disks: disks(&order.disks, claims),
            ..Job::default()
        },
        modules: modules(claims),
        files: programs::files(claims)?,
        memory: order.memory,
        append: order.append.clone(),
        limit: order.limit,
        accelerator: order.accelerator,
        console: None,
    };
    let mut said = Said::default();
    let begun = Instant::now();
    match machine.run(|kind, bytes| said.hear(kind, bytes)) {
        Ok(ran) => {
            let mut run = results(&said.output, claims)
                .and_then(|run| agrees(run, &ran))
                .map_err(|what| said.error(&what, ran.end.status))?;
            if image.user_mode {
                run.excused = foreign::excused(&image.name);
            }
            Ok(Decided { run, broke_off: None, boot: Some(ran.boot), total: ran.total })
        }
        Err(Error::Guest(why)) => said.as_far_as(why, claims, begun.elapsed()),
        Err(error) => Err(error),
    }
}

/// Makes a grid in a guest. The command of the guest prints the stored form.
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
pub fn decide_in_gvisor(order: &Order) -> Result<Decided, Error> {
    let sandbox = Sandbox {
        command: order.command(&order.options),
        environment: vec![],
        files: vec![],
        uid: order.uid,
        limit: order.limit,
    };
    let mut said = Said::default();
    let begun = Instant::now();
    let ended = match sandbox.run(|kind, bytes| said.hear(kind, bytes)) {
        Ok(ended) => ended,
        Err(Error::Guest(why)) => return said.as_far_as(why, &order.claims, begun.elapsed()),
        Err(error) => return Err(error),
    };
    let gvisor = Foreign::gvisor(None);
    let whole = results(&said.output, &order.claims).and_then(|run| {
        let foreign = run.environment.foreign.clone().unwrap_or_default();
        if !foreign.starts_with(gvisor.name()) {
            return Err(format!("the results are of Linux {}, and not of gVisor", plain(&run.environment.kernel)));
        }
        of_this_colour(run, ended.status)
    });
    Ok(Decided {
        run: whole.map_err(|what| said.error(&what, ended.status))?,
        broke_off: None,
        boot: None,
        total: ended.total,
    })
}

impl Order {
    /// The command for the other kernel, where this program is `/init`.
    fn command(&self, options: &[String]) -> Vec<String> {
        let fixed = ["/init", "check", "--format", "jsonl"].map(str::to_owned);
        let timeout = self.timeout.into_iter().flat_map(|seconds| ["--timeout".to_owned(), seconds.to_string()]);
        fixed.into_iter().chain(timeout).chain(options.iter().cloned()).collect()
    }
}

/// The output of a guest's command, by stream.
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
        // One byte more than the limit, so that the reader notices that bytes were left out.
        let room = (MOST + 1).saturating_sub(stream.len());
        stream.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The results that had arrived when the guest was interrupted. Claims that were running are broken; the rest was not reached.
    fn as_far_as(&self, why: String, claims: &[&'static Claim], total: Duration) -> Result<Decided, Error> {
        let found = jsonl::read_as_far_as(&self.output);
        let Some(environment) = found.environment else {
            return Err(Error::guest(why));
        };
        let first = why.lines().next().unwrap_or_default();
        let first = first.trim_end_matches("; its console ends:");
        let record = |claim: &&'static Claim| {
            let came = found.records.iter().find(|record| record.id == claim.id);
            let is_running = found.running.iter().any(|id| id == claim.id);
            match came {
                Some(record) => record.clone(),
                None if is_running => Record {
                    verdict: Word::Broken,
                    ..Record::not_reached(claim.id, format!("it was running when the guest broke off: {first}"))
                },
                None => Record::not_reached(claim.id, format!("the guest broke off: {first}")),
            }
        };
        Ok(Decided {
            run: Run::new(environment, claims.iter().map(record).collect()),
            broke_off: Some(why),
            boot: None,
            total,
        })
    }

    /// An error about the results, with the last lines of standard error.
    fn error(&self, what: &str, status: i32) -> Error {
        let errors = String::from_utf8_lossy(&self.errors);
        let lines: Vec<String> = errors.lines().map(plain).collect();
        let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
        Error::guest(format!("{what} (exit status {status}); it said:\n  {last}"))
    }
}

/// The run in the stored form, if it is complete: the environment, each requested claim once, and the end.
fn results(output: &[u8], claims: &[&'static Claim]) -> Result<Run, String> {
    if output.len() > MOST {
        return Err(format!("the results are longer than {} MiB", MOST >> 20));
    }
    let mut run = jsonl::read(output)?;
    let asked = |record: &&Record| claims.iter().any(|claim| claim.id == record.id);
    if let Some(record) = run.records.iter().find(|record| !asked(record)) {
        return Err(format!("unexpected result for {:?}", record.id));
    }
    let missing = |claim: &&&Claim| run.find(claim.id).is_none();
    if let Some(claim) = claims.iter().find(missing) {
        let (came, all) = (run.records.len(), claims.len());
        return Err(format!("the results are incomplete: {came} of {all} results, and none of {}", claim.id));
    }
    run.records.sort_by_key(|record| claims.iter().position(|claim| claim.id == record.id));
    Ok(run)
}

/// The run, if it is from the kernel that ran, and as red or green as its exit status.
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
        Err(format!("its results are {colour}, and its exit status says otherwise"))
    }
}

/// The results of a guest that sent none, for this reason: no claim was reached.
pub fn unreached(kernel: &str, why: &str, claims: &[&'static Claim]) -> Run {
    let first = why.lines().next().unwrap_or_default();
    let environment = Environment { kernel: format!("{kernel} (no results came)"), ..Environment::now(None, vec![]) };
    let records = claims.iter().map(|claim| Record::not_reached(claim.id, format!("no results came: {first}")));
    Run::new(environment, records.collect())
}

/// Makes the directory for results, and checks that files can be written there, before a guest runs in vain.
pub fn prepare(directory: &Path) -> Result<(), Error> {
    if directory.exists() && !directory.is_dir() {
        return Err(Error::host(format!("{} is a file, and results go into a directory", directory.display())));
    }
    std::fs::create_dir_all(directory).at(directory)?;
    let probe = Replacement::begin(&directory.join("results.jsonl"));
    probe.map(drop).at(directory)
}

/// Writes a run in the stored form to `DIRECTORY/NAME.jsonl`.
pub fn store(directory: &Path, name: &str, run: &Run) -> Result<(), Error> {
    let path = directory.join(format!("{name}.jsonl"));
    let mut bytes = Vec::new();
    jsonl::write_run(&mut bytes, run).at(&path)?;
    replace::write(&path, &bytes).at(&path)
}

/// Writes a grid in its stored form to `DIRECTORY/NAME.jsonl`.
pub fn store_grid(directory: &Path, name: &str, sheet: &Sheet) -> Result<(), Error> {
    let path = directory.join(format!("{name}.jsonl"));
    let mut bytes = Vec::new();
    sheet.write(&mut bytes).at(&path)?;
    replace::write(&path, &bytes).at(&path)
}

/// The release of the last results of a kernel: the stored results, or else its record.
fn last_record(results: &Path, name: &str) -> String {
    let stored = stored::read(&results.join(format!("{name}.jsonl"))).ok();
    stored
        .as_ref()
        .or_else(|| recorded::find(name))
        .map_or_else(|| "no record".into(), |stored| stored.run.environment.kernel.clone())
}

/// Calls `work` for every item, `jobs` at a time, and returns the results in order.
pub fn side_by_side<T: Sync, R: Send>(items: &[T], jobs: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    // The threads live until all work is done: QEMU dies with the thread that started it.
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                while let Some((index, item)) = take(&next, items) {
                    let result = work(item);
                    done.lock().expect("no worker panics with the lock").push((index, result));
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

fn symbol(record: Option<&Record>) -> &'static str {
    match record.map(|record| record.verdict) {
        Some(Word::Holds) => "holds",
        Some(Word::Refuted) => "refuted",
        Some(Word::Untestable) => "-",
        Some(Word::Broken) => "BROKEN",
        Some(Word::TimeOut) => "TIME-OUT",
        Some(Word::NotReached) => "NOT RUN",
        None => "",
    }
}

/// The table of claims and kernels, those that differ first, and a line for each kernel. Without a result there is no table.
pub fn table(output: &mut dyn Write, rows: &[Row], claims: &[&'static Claim], results: &Path) -> io::Result<()> {
    let ran: Vec<(&str, &Run)> = runs(rows).collect();
    let width = claims.iter().map(|claim| claim.id.len()).max().unwrap_or(0);
    let line = |output: &mut dyn Write, first: &str, cells: Vec<&str>| {
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:<8}")).collect();
        writeln!(output, "{}", format!("{first:<width$}  {}", cells.join("  ")).trim_end())
    };
    // An untestable claim is also a difference.
    let is_same = |claim: &&Claim, linux: bool| {
        let counted = rows.iter().filter(|row| !linux || !row.is_foreign);
        let counted = counted.filter_map(|row| row.result.as_ref().ok());
        let cells = counted.map(|decided| symbol(decided.run.find(claim.id)));
        let cells: BTreeSet<&str> = cells.collect();
        cells.len() <= 1
    };
    let (same, other): (Vec<&Claim>, Vec<&Claim>) = claims.iter().copied().partition(|claim| is_same(claim, false));
    let (otherwise, differ): (Vec<&Claim>, Vec<&Claim>) = other.into_iter().partition(|claim| is_same(claim, true));
    for (title, claims) in [
        ("differ between these kernels", differ),
        ("the same on every Linux kernel, different on others", otherwise),
        ("the same on all", same),
    ] {
        if claims.is_empty() || ran.is_empty() {
            continue;
        }
        let count = crate::run::text::plural(claims.len(), "claim");
        writeln!(output, "\n{count}, {title}")?;
        line(output, "", ran.iter().map(|(name, _)| *name).collect())?;
        for claim in claims {
            line(output, claim.id, ran.iter().map(|(_, run)| symbol(run.find(claim.id))).collect())?;
        }
    }
    writeln!(output)?;
    for row in rows {
        match &row.result {
            Ok(decided) => {
                let count = |word| decided.run.count(word);
                let unreached = match count(Word::NotReached) {
                    0 => String::new(),
                    count => format!(" {count:>3} not reached"),
                };
                writeln!(
                    output,
                    "{:<8} {:<32} {:>3} hold {:>3} refuted {:>3} untestable{unreached}   {}",
                    row.name,
                    release(&decided.run),
                    count(Word::Holds),
                    count(Word::Refuted),
                    count(Word::Untestable),
                    decided.times(),
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

/// The foreign kernel's name, or the release.
pub fn release(run: &Run) -> String {
    let environment = &run.environment;
    plain(environment.foreign.as_ref().unwrap_or(&environment.kernel))
}

/// What is run on many kernels.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'run> {
    /// The kernels.
    pub kernels: &'run [Chosen],
    /// What is decided on each.
    pub claims: &'run [&'static Claim],
    /// Where the results are stored, a file per kernel.
    pub results: &'run Path,
    /// Where packages are fetched from, if not by this machine's apt configuration.
    pub mirror: Option<&'run str>,
    /// How many guests run side by side.
    pub jobs: usize,
}

/// Fetches the kernels, decides the claims on each, and stores each result as soon as it is there. `order` gets the first kernel that
/// is booted, if there is one, and returns the order and the word for the accelerator. `say` prints progress.
///
/// # Errors
///
/// Where no kernel could be had, or results cannot be stored.
pub fn run<E: From<Error>>(
    plan: &Plan<'_>,
    order: impl FnOnce(Option<&Image>) -> Result<(Order, String), E>,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Vec<Row>, E> {
    prepare(plan.results)?;
    // One after the other: apt locks its state, and the network is one.
    let image = |kernel: &Chosen| kernel.image(plan.mirror, say);
    // gVisor has no image.
    let images: Vec<(&Chosen, Option<Result<Image, Error>>)> =
        plan.kernels.iter().map(|kernel| (kernel, (!kernel.is_gvisor()).then(|| image(kernel)))).collect();
    let linux = || images.iter().filter_map(|(_, image)| image.as_ref());
    let booted = |image: &&Image| !image.user_mode;
    let first = linux().filter_map(|image| image.as_ref().ok()).find(booted);
    if first.is_none() {
        match linux().find_map(|image| image.as_ref().err()) {
            // None is asked for that is booted.
            None | Some(Error::NotRun(_)) if !images.is_empty() => {}
            why => {
                let why = why.map_or_else(|| "none was asked for".into(), ToString::to_string);
                return Err(Error::host(format!("no kernel could be had: {why}")).into());
            }
        }
    }
    let (order, by) = order(first)?;
    say(&format!("{} on {}{by}", plural(plan.claims.len(), "claim"), plural(images.len(), "kernel")));
    Ok(side_by_side(&images, plan.jobs, |(kernel, image)| {
        let name = &kernel.name;
        let result = match (interrupt::came(), image) {
            (Some(signal), _) => Err(Error::guest(format!("{signal} ended the run before it"))),
            (None, None) => decide_in_gvisor(&order),
            (None, Some(Err(error))) => Err(error.clone()),
            (None, Some(Ok(image))) => decide(image, &order),
        };
        let result = result.map(|decided| decided.judged_for(kernel));
        // At once, so that a fault in another kernel's run does not lose it.
        let result = match result {
            Ok(decided) => store(plan.results, name, &decided.run).map(|()| decided),
            // Older results of this kernel must not pass for today's.
            Err(Error::Guest(why)) => {
                let run = unreached(name, &why, plan.claims);
                store(plan.results, name, &run).and(Err(Error::Guest(why)))
            }
            Err(error) => Err(error),
        };
        let how = match &result {
            Ok(decided) => format!("{} {}", release(&decided.run), decided.times()),
            Err(Error::NotRun(_)) => "not run".to_owned(),
            Err(_) => "failed".to_owned(),
        };
        say(&format!("{name}: {how}"));
        Row { name: name.clone(), is_named: kernel.is_named, is_foreign: kernel.program().is_some(), result }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(result: Result<Decided, Error>) -> Row {
        Row { name: "k".into(), is_named: false, is_foreign: false, result }
    }

    fn ran() -> Result<Decided, Error> {
        let environment = crate::run::record::Environment::now(None, vec![]);
        let holds = Record { verdict: Word::Holds, ..Record::not_reached("a.b.c", "") };
        Ok(Decided { run: Run::new(environment, vec![holds]), broke_off: None, boot: None, total: Duration::ZERO })
    }

    #[test]
    fn a_kernel_that_is_gone_is_red_only_where_it_counts() {
        let gone = || Err(Error::Gone("dropped".into()));
        let red = |rows: Vec<Row>, whole| red(&rows, &Strictness::default(), whole).len();
        let named = |row: Row| Row { is_named: true, ..row };
        let six = |at: usize| (0..6).map(|index| row(if index == at { gone() } else { ran() })).collect::<Vec<_>>();
        assert_eq!(red(six(3), true), 0);
        assert_eq!(red(six(0), true), 1);
        assert_eq!(red(six(5), true), 1);
        assert_eq!(red(vec![row(ran()), row(gone()), row(ran())], true), 1);
        assert_eq!(red(vec![row(gone()), row(ran())], false), 0);
        assert_eq!(red(vec![row(gone())], false), 1);
        let foreign = |result| Row { is_foreign: true, ..row(result) };
        let not_run = || foreign(Err(Error::NotRun("not installed".into())));
        let five_and = |last: Row| (0..5).map(|_| row(ran())).chain([last]).collect();
        assert_eq!(red(five_and(not_run()), true), 0);
        assert_eq!(red(five_and(foreign(Err(Error::guest("no end")))), true), 1);
        assert_eq!(red(vec![not_run()], false), 1);
        let four_and = |last: Row| (0..4).map(|_| row(ran())).chain([last]).collect();
        assert_eq!(red(four_and(foreign(ran())), true), 1, "gVisor is no Linux");
        assert_eq!(red(four_and(named(row(ran()))), true), 1, "one of the user's");
        assert_eq!(red(five_and(named(row(ran()))), true), 0);
        assert_eq!(red(five_and(named(row(gone()))), true), 1);
        let fault = || row(Err(Error::guest("panic")));
        assert_eq!(red(vec![row(ran()), fault()], false), 1);
        assert_eq!(red(vec![row(ran()), named(row(gone()))], false), 1);
        assert_eq!(red(vec![row(ran()), named(not_run())], false), 1);
    }

    #[test]
    fn a_kernel_that_is_gone_is_named_by_its_last_results() {
        let nowhere = Path::new("/nowhere");
        let recorded = last_record(nowhere, "5.10");
        assert!(recorded.starts_with("5.10."), "{recorded}");
        assert_eq!(last_record(nowhere, "5.10-generic"), "no record");
    }

    #[test]
    fn results_come_in_order_whoever_is_first() {
        let items: Vec<u64> = (0..20).collect();
        assert_eq!(side_by_side(&items, 4, |item| item * 2), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert!(side_by_side::<u64, u64>(&[], 4, |item| *item).is_empty());
    }

    #[test]
    fn a_run_that_was_cut_off_is_noticed() {
        assert!(results(b"", &[]).is_err());
        assert!(results(br#"{"type":"end","claims":1}"#, &[]).is_err());
    }

    #[test]
    fn without_a_result_there_is_no_table() {
        let claims: Vec<_> = crate::claims::REGISTRY.all().collect();
        let rows = [row(Err(Error::guest("it panicked")))];
        let mut text = Vec::new();
        table(&mut text, &rows, &claims, Path::new("/nowhere")).expect("a vector takes all");
        let text = String::from_utf8(text).expect("text");
        assert_eq!(text, "\nk        it panicked\n");
    }

    /// A claim that is untestable on one kernel differs from a claim that holds.
    #[test]
    fn untestable_is_a_difference() {
        let claims: &Vec<_> = &crate::claims::REGISTRY.all().take(1).collect();
        let of = |verdict| {
            let mut row = row(ran());
            let decided = row.result.as_mut().expect("results");
            decided.run.records = vec![Record { verdict, ..Record::not_reached(claims[0].id, "") }];
            row
        };
        let rows = [of(Word::Holds), of(Word::Untestable)];
        let mut text = Vec::new();
        table(&mut text, &rows, claims, Path::new("/nowhere")).expect("a vector takes all");
        let text = String::from_utf8(text).expect("text");
        assert!(text.contains("1 claim, differ"), "{text}");
        assert!(!text.contains("the same"), "{text}");
    }

    #[test]
    fn results_that_came_before_a_guest_broke_off_are_kept() {
        let claims: &Vec<_> = &crate::claims::REGISTRY.all().take(3).collect();
        let environment = crate::run::record::Environment::now(None, vec![]);
        let holds = Record { verdict: Word::Holds, failure: None, ..Record::not_reached(claims[0].id, "") };
        let mut said = Said::default();
        for line in [
            jsonl::Line::Environment(environment),
            jsonl::Line::Begin { id: claims[0].id.into() },
            jsonl::Line::Claim(holds),
            jsonl::Line::Begin { id: claims[1].id.into() },
        ] {
            jsonl::write(&mut said.output, &line).expect("a vector takes all");
        }
        said.output.extend(b"{\"type\":\"cla");
        let decided = said.as_far_as("it panicked\nits console ends".into(), claims, Duration::ZERO).expect("results");
        let words: Vec<Word> = decided.run.records.iter().map(|record| record.verdict).collect();
        assert_eq!(words, [Word::Holds, Word::Broken, Word::NotReached]);
        let failure = |at: usize| decided.run.records[at].failure.clone().unwrap_or_default();
        assert!(failure(1).contains("running when the guest broke off: it panicked"));
        assert!(failure(2).contains("the guest broke off: it panicked"));
        let red = red(&[row(Ok(decided))], &Strictness::default(), false);
        assert_eq!(red.len(), 3, "{red:?}");
        let nothing = Said::default().as_far_as("it panicked".into(), claims, Duration::ZERO);
        assert!(matches!(nothing, Err(Error::Guest(_))));
    }
}
