//! Running claims on this kernel.

use super::failure::Failure;
use super::options::Running;
use conformance::claim::Claim;
use conformance::foreign::Foreign;
use conformance::lab::filesystems::find_scratch;
use conformance::run::jsonl::Line;
use conformance::run::record::{Environment, Record, Run};
use conformance::runner::{Heard, Runner};
use indicatif::ProgressBar;
use nocopy_host::kernel;
use std::io;
use std::path::{Path, PathBuf};

/// What runs claims as asked, and the directories that could not be used for files.
pub fn runner(running: &Running) -> Result<(Runner, Vec<String>), Failure> {
    let (scratch, passed_over) = scratch(running.scratch.as_deref())?;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runner = Runner {
        program: PathBuf::from("/proc/self/exe"),
        jobs: running.jobs.map_or(cpus, usize::from),
        cpu_seconds: running.timeout.unwrap_or(20),
        scratch,
    };
    Ok((runner, passed_over))
}

/// Runs claims. `each` is called with every line of the stored form as it comes.
pub fn run(
    claims: &[&'static Claim],
    running: &Running,
    progress: &ProgressBar,
    mut each: impl FnMut(&Line) -> io::Result<()>,
) -> Result<Run, Failure> {
    let release = kernel::running().map_err(|error| Failure::Usage(error.to_string()))?;
    let foreign = Foreign::running();
    let (runner, passed_over) = runner(running)?;
    let scratch = runner.scratch.as_ref().map(|path| path.display().to_string());
    let mut run = Run::new(Environment::now(scratch, passed_over), Vec::new());
    // Both closures write lines; an error is kept and ends the run's output, not the run's cleaning up.
    let mut written = Ok(());
    let environment = &mut run.environment;
    let records = &mut run.records;
    let emit = std::cell::RefCell::new(|line: &Line| {
        if written.is_ok() {
            written = each(line);
        }
    });
    runner.run(
        claims,
        |heard| match heard {
            Heard::Lost(lost) => {
                environment.lost = lost.clone();
                emit.borrow_mut()(&Line::Environment(environment.clone()));
            }
            Heard::Begun(task) => {
                let id = claims[task].id.to_owned();
                emit.borrow_mut()(&Line::Begin { id });
            }
        },
        |claim, outcome, milliseconds| {
            let mut record = Record::of(claim, outcome, milliseconds, &release);
            if let Some(foreign) = &foreign {
                record.judgement = foreign.judge(claim, record.verdict);
            }
            progress.inc(1);
            emit.borrow_mut()(&Line::Claim(record.clone()));
            records.push(record);
        },
    )?;
    emit.into_inner()(&Line::End { claims: claims.len() });
    written?;
    let position = |record: &Record| claims.iter().position(|claim| claim.id == record.id);
    run.records.sort_by_key(position);
    Ok(run)
}

/// The directory for files, and why others are not it.
pub fn scratch(asked: Option<&Path>) -> Result<(Option<PathBuf>, Vec<String>), Failure> {
    let (scratch, passed_over) = find_scratch(asked);
    let passed_over: Vec<String> =
        passed_over.iter().map(|place| format!("no files in {}: {}", place.directory.display(), place.error)).collect();
    match (&scratch, asked) {
        (None, Some(asked)) => {
            Err(Failure::Usage(format!("--scratch {} cannot be used: {}", asked.display(), passed_over.join("; "))))
        }
        _ => Ok((scratch, passed_over)),
    }
}
