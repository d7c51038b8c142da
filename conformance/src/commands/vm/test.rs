//! `conformance vm test`.

use crate::commands::failure::Failure;
use crate::commands::vm::options::MachineOptions;
use crate::commands::vm::through::{file_name, status};
use conformance::vm::matrix;
use conformance::vm::workspace;
use on_kernel::error::Error;
use on_kernel::job::Job;
use on_kernel::kernels::Image;
use on_kernel::machine::Machine;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(super) fn test(machine: &MachineOptions, arguments: &[String]) -> Result<bool, Failure> {
    let image = machine.image()?;
    let mut built = workspace::build(arguments)?;
    // `vm falsify` and `vm run` do this on their own.
    let elsewhere = ["falsify-", "claims-"];
    built.tests.retain(|path| {
        let name = file_name(path);
        !elsewhere.iter().any(|prefix| name.starts_with(prefix))
    });
    // As many guests as processors, each with its share of the test programs: one guest has one processor.
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(built.tests.len());
    let shares = workspace::shares(&built.tests, cpus);
    let results = matrix::side_by_side(&shares, cpus, |tests| {
        let mut output = Vec::new();
        let guest = guest_of_tests(machine, &image, &built.programs, tests);
        let ran = guest.run(|_, bytes| {
            output.extend_from_slice(bytes);
        });
        // Whole, so that two guests' lines do not mix.
        let written = io::stdout().lock().write_all(&output);
        (ran, written)
    });
    let (mut worst, mut wrong) = (0, Vec::new());
    for (ran, written) in results {
        written?;
        match ran {
            Ok(ran) if worst == 0 => worst = ran.end.status,
            Ok(_) => {}
            Err(Error::Guest(what)) => wrong.push(what),
            Err(error) => return Err(error.into()),
        }
    }
    if wrong.is_empty() { status(worst) } else { Err(Failure::Red(wrong.join("\nconformance: "))) }
}

/// A guest that runs test programs, which may start the workspace's programs.
pub(super) fn guest_of_tests<'image>(
    machine: &MachineOptions,
    image: &'image Image,
    programs: &[PathBuf],
    tests: &[&PathBuf],
) -> Machine<'image> {
    // The host decides recorded facts again, and makes reports of stored results. A guest has one processor; tests that wait for
    // each other's time limits wait together.
    let skip = ["host_only", "decide::", "reports::"].map(|tests| ["--skip", tests]);
    let skip = skip.concat().into_iter().chain(["--test-threads", "4"]);
    let skip: Vec<String> = skip.map(str::to_owned).collect();
    let commands = tests.iter().map(|path| std::iter::once(text(path)).chain(skip.clone()).collect());
    let job = Job { commands: commands.collect(), ..Job::default() };
    let mut guest = machine.guest.machine(image, job);
    // No network cards: tests run the claims side by side, and a card that one of them has is not there for another.
    let claims: Vec<_> = conformance::claims::REGISTRY.all().collect();
    let modules = claims.iter().flat_map(|claim| claim.modules).filter(|module| **module != "vmxnet3");
    guest.modules = modules.map(|name| (*name).to_owned()).collect();
    // Where cargo has put them: tests find the programs of their package there.
    guest.files = tests.iter().copied().chain(programs).map(|path| (text(path), path.clone())).collect();
    guest
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
