//! `conformance vm exec`.

use crate::commands::failure::Failure;
use crate::commands::vm::options::MachineOptions;
use crate::commands::vm::through::{all_written, pass_through, run_through, status};
use on_kernel::gvisor::Sandbox;
use on_kernel::job::Job;
use on_kernel::pack::Wanted;

pub(super) fn exec(
    machine: &MachineOptions,
    with: &[String],
    modules: &[String],
    command: &[String],
) -> Result<bool, Failure> {
    let wanted = Wanted { command: command.to_vec(), with: with.to_vec(), environment: vec![], uid: machine.guest.uid };
    let packed = wanted.pack()?;
    let start = packed.start;
    let kernel = machine.chosen()?;
    if kernel.is_gvisor() {
        let sandbox = Sandbox {
            command: start.command,
            environment: start.environment,
            files: packed.files,
            uid: machine.guest.uid,
            limit: machine.guest.limit(),
        };
        let mut written = Ok(());
        let ended = sandbox.run(|kind, bytes| pass_through(kind, bytes, &mut written))?;
        all_written(written)?;
        return status(ended.status);
    }
    let image = machine.image_of(&kernel)?;
    let mut guest = machine.guest.machine(
        &image,
        Job {
            commands: vec![start.command],
            environment: start.environment,
            directory: start.directory,
            input: start.input,
            ..Job::default()
        },
    );
    guest.modules = modules.iter().cloned().collect();
    guest.job.required = modules.iter().map(|name| name.replace('-', "_")).collect();
    guest.files = packed.files;
    run_through(&guest)
}
