//! `conformance matrix`.

use crate::commands::failure::Failure;
use crate::commands::options::{Part, Selection, select};
use crate::commands::vm::options::{Deciding, From_, GuestOptions, Named, say};
use clap::Args;
use conformance::report::human;
use conformance::vm::chosen::Chosen;
use conformance::vm::matrix::{self, Plan};
use nocopy_host::interrupt;
use on_kernel::kernels::Image;
use on_kernel::machine::Accelerator;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args)]
pub struct Matrix {
    /// Only these kernels, comma-separated, or `all` [default: all, unless --kernel names one]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    kernels: Vec<String>,
    #[command(flatten)]
    more: Named,
    /// Number of guests to run at a time [default: one per CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Only part K of N of the kernels, to share the matrix between machines
    #[arg(long, value_name = "K/N")]
    partition: Option<Part>,
    #[command(flatten)]
    guest: GuestOptions,
    #[command(flatten)]
    from: From_,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    deciding: Deciding,
    /// Directory for the results, a file per kernel
    #[arg(long, value_name = "DIR", default_value = "target/conformance")]
    results: PathBuf,
}

pub fn matrix_command(options: &Matrix) -> Result<bool, Failure> {
    let names = options.more.and(&options.kernels);
    let mut kernels = Chosen::all(&names)?;
    let whole = kernels.iter().any(|kernel| !kernel.is_named) && options.partition.is_none();
    if let Some(part) = options.partition {
        kernels = part.of(kernels.into_iter()).collect();
    }
    options.from.has_use(&kernels)?;
    let claims = select(&options.selection)?;
    let strictness = options.deciding.strict.of_claims(&claims)?;
    interrupt::watch()?;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let plan = Plan {
        kernels: &kernels,
        claims: &claims,
        results: &options.results,
        mirror: options.from.mirror.as_deref(),
        jobs: options.jobs.map_or(cpus, usize::from),
    };
    let order = |first: Option<&Image>| -> Result<_, Failure> {
        let accelerator = first.map_or(Accelerator::UserMode, |image| options.guest.accelerator(image));
        let by = first.map_or_else(String::new, |_| format!(" by {}", accelerator.name()));
        let order = options.guest.order(&options.selection, &options.deciding, accelerator)?;
        Ok((order, by))
    };
    let results = matrix::run(&plan, order, &say)?;
    let mut report = Vec::new();
    matrix::table(&mut report, &results, &claims, &options.results)?;
    for (name, run) in matrix::runs(&results) {
        for record in human::worth_a_word(run) {
            writeln!(report, "{name}: {record}")?;
        }
    }
    let red = matrix::red(&results, &strictness, whole);
    for reason in &red {
        writeln!(report, "red: {reason}")?;
    }
    if matrix::runs(&results).next().is_some() {
        let directory = options.results.display();
        writeln!(report, "results: {directory}")?;
    }
    anstream::stdout().write_all(&report)?;
    Ok(red.is_empty())
}
