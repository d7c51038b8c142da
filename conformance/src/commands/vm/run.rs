//! `conformance vm run` and `vm falsify`.

use crate::commands::diff::{find, inputs};
use crate::commands::failure::Failure;
use crate::commands::options::{Selection, Sharing, select};
use crate::commands::output::{keep_inputs, open_output};
use crate::commands::vm::options::{Deciding, MachineOptions};
use crate::commands::vm::through::run_through;
use conformance::claim::Claim;
use conformance::claims::REGISTRY;
use conformance::foreign::Foreign;
use conformance::report::{diff, human};
use conformance::run::jsonl;
use conformance::run::record::{Record, Run};
use conformance::run::stored::Stored;
use conformance::seed::Language;
use conformance::vm::{matrix, programs};
use nocopy_host::interrupt;
use on_kernel::error::Error;
use on_kernel::job::Job;
use on_kernel::machine::Accelerator;
use std::io::Write;
use std::path::Path;

/// Where the results go, and how they are printed.
pub(super) struct Printed<'options> {
    /// The file for the stored form.
    pub(super) output: Option<&'options Path>,
    /// The results to compare with.
    pub(super) baseline: Option<&'options str>,
    /// The language of the source document.
    pub(super) language: Language,
}

impl Printed<'_> {
    /// The results to compare with, of these claims. Others were not asked for, and are no difference.
    fn baseline(&self, claims: &[&'static Claim]) -> Result<Option<Stored>, Failure> {
        let Some(name) = self.baseline else {
            return Ok(None);
        };
        keep_inputs(self.output, &inputs([name]))?;
        let mut baseline = find(name)?;
        let is_asked = |record: &Record| claims.iter().any(|claim| claim.id == record.id);
        baseline.run.records.retain(is_asked);
        if baseline.run.records.is_empty() {
            return Err(Failure::Usage(format!("--baseline {name} has none of the selected claims")));
        }
        Ok(Some(baseline))
    }
}

pub(super) fn decide(
    machine: &MachineOptions,
    selection: &Selection,
    deciding: &Deciding,
    printed: &Printed<'_>,
) -> Result<bool, Failure> {
    let claims = select(selection)?;
    let strictness = deciding.strict.of_claims(&claims)?;
    interrupt::watch()?;
    // Before the guest is started, so that a wrong name costs nothing.
    let baseline = printed.baseline(&claims)?;
    let output = printed.output.map(|path| open_output(Some(path)));
    let output = output.transpose()?;
    let kernel = machine.chosen()?;
    if let Some(row) = kernel.program() {
        machine.guest.fit(row.kind, &row.name)?;
    }
    let (decided, how) = if kernel.is_gvisor() {
        let order = machine.guest.order(selection, deciding, Accelerator::Tcg)?;
        (matrix::decide_in_gvisor(&order), String::new())
    } else {
        let image = machine.image_of(&kernel)?;
        let accelerator = machine.guest.accelerator(&image);
        let order = machine.guest.order(selection, deciding, accelerator)?;
        let how = format!(", by {}", accelerator.name());
        (matrix::decide(&image, &order), how)
    };
    let decided = decided.map(|decided| decided.judged_for(&kernel));
    if let Some(mut output) = output {
        match &decided {
            Ok(decided) => jsonl::write_run(&mut output, &decided.run)?,
            // Older results must not pass for today's.
            Err(Error::Guest(why)) => {
                let run = matrix::unreached(&kernel.name, why, &claims);
                jsonl::write_run(&mut output, &run)?;
            }
            Err(error) => return Err(error.clone().into()),
        }
        output.finish()?;
    }
    let decided = decided?;
    let run = &decided.run;
    let mut report = Vec::new();
    let of_document = selection.is_of_document().then_some(printed.language);
    human::whole(&mut report, run, of_document, &strictness)?;
    if kernel.is_gvisor() {
        let gvisor = Foreign::gvisor(None);
        writeln!(report, "\ndifferent from Linux:")?;
        for record in &run.records {
            if let Some(because) = gvisor.because(&record.id) {
                let (word, id) = (record.verdict.text(), &record.id);
                writeln!(report, "  {word:<10} {id}: {because}")?;
            }
        }
    }
    writeln!(report, "{}{how}", decided.times())?;
    let differs = match &baseline {
        Some(baseline) if decided.broke_off.is_some() => {
            let name = &baseline.name;
            writeln!(report, "\nnot compared with {name}: the guest broke off")?;
            true
        }
        Some(baseline) => !compare(&mut report, baseline, &kernel.name, run)?,
        None => false,
    };
    anstream::stdout().write_all(&report)?;
    match decided.broke_off {
        Some(why) => Err(Failure::Red(why)),
        None => Ok(!differs && run.red(&strictness).is_empty()),
    }
}

/// Prints what differs from the baseline. True if nothing does.
fn compare(report: &mut Vec<u8>, baseline: &Stored, name: &str, run: &Run) -> Result<bool, Failure> {
    let now = Stored { name: name.to_owned(), run: run.clone() };
    let found = diff::Diff::of(baseline, &now, REGISTRY);
    writeln!(report)?;
    diff::human(report, &found, baseline, &now)?;
    Ok(found.is_empty())
}

pub(super) fn falsify(
    machine: &MachineOptions,
    selection: &Selection,
    share: &Sharing,
    sample: Option<usize>,
    verbose: bool,
) -> Result<bool, Failure> {
    let selected = select(selection)?;
    let claims = share.of(&selected);
    share.refuse_empty(selected.len())?;
    let image = machine.image()?;
    let mut command = vec!["/init".to_owned(), "falsify".to_owned()];
    command.extend(selection.options());
    let part = share.partition.into_iter();
    command.extend(part.flat_map(|part| ["--partition".to_owned(), part.to_string()]));
    command.extend(sample.into_iter().flat_map(|count| ["--sample".to_owned(), count.to_string()]));
    command.extend(verbose.then(|| "--verbose".to_owned()));
    let job = Job { commands: vec![command], ..Job::default() };
    let mut guest = machine.guest.machine(&image, job);
    guest.modules = matrix::modules(&claims);
    guest.files.extend(programs::files(&claims)?);
    guest.job.disks = matrix::disks(&guest.job.disks, &claims);
    run_through(&guest)
}
