//! `conformance vm run` and `vm falsify`.

use crate::commands::failure::Failure;
use crate::commands::options::{Selection, select};
use crate::commands::output::open_output;
use crate::commands::vm::options::{Deciding, MachineOptions};
use crate::commands::vm::through::run_through;
use conformance::foreign::Foreign;
use conformance::report::human;
use conformance::run::jsonl;
use conformance::vm::{matrix, programs};
use nocopy_host::interrupt;
use on_kernel::error::Error;
use on_kernel::job::Job;
use on_kernel::machine::Accelerator;
use std::io::Write;
use std::path::Path;

pub(super) fn decide(
    machine: &MachineOptions,
    selection: &Selection,
    deciding: &Deciding,
    output: Option<&Path>,
) -> Result<bool, Failure> {
    let claims = select(selection)?;
    let strictness = deciding.strict.of_claims(&claims)?;
    interrupt::watch()?;
    // Before the guest is started, so that a wrong name costs nothing.
    let output = output.map(|path| open_output(Some(path))).transpose()?;
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
    human::whole(&mut report, run, selection.is_of_document(), &strictness)?;
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
    anstream::stdout().write_all(&report)?;
    match decided.broke_off {
        Some(why) => Err(Failure::Red(why)),
        None => Ok(run.red(&strictness).is_empty()),
    }
}

pub(super) fn falsify(
    machine: &MachineOptions,
    selection: &Selection,
    sample: Option<usize>,
    verbose: bool,
) -> Result<bool, Failure> {
    let claims = select(selection)?;
    let image = machine.image()?;
    let mut command = vec!["/init".to_owned(), "falsify".to_owned()];
    command.extend(selection.options());
    command.extend(
        sample
            .into_iter()
            .flat_map(|count| ["--sample".to_owned(), count.to_string()]),
    );
    command.extend(verbose.then(|| "--verbose".to_owned()));
    let job = Job {
        commands: vec![command],
        ..Job::default()
    };
    let mut guest = machine.guest.machine(&image, job);
    guest.modules = matrix::modules(&claims);
    guest.files.extend(programs::files(&claims)?);
    guest.job.disks = matrix::disks(&guest.job.disks, &claims);
    run_through(&guest)
}
