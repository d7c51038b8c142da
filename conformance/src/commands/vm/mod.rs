//! `vm`, `kernels` and `matrix`: other kernels.

mod exec;
pub mod grids;
pub mod kernels;
pub mod matrix;
pub(super) mod options;
mod run;
mod shell;
mod test;
mod through;

use crate::commands::failure::Failure;
use crate::commands::options::{Selection, Sharing};
use crate::commands::vm::options::{Deciding, MachineOptions};
use crate::commands::vm::run::{Printed, decide, falsify};
use clap::Subcommand;
use conformance::seed::Language;
use on_kernel::error::Error;
use std::path::PathBuf;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Host(message) | Error::Gone(message) | Error::NotRun(message) => Self::Usage(message),
            Error::Guest(message) => Self::Red(message),
        }
    }
}

#[derive(Subcommand)]
pub enum Vm {
    /// Decide claims on another kernel
    Run {
        #[command(flatten)]
        machine: MachineOptions,
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        deciding: Deciding,
        /// Also write the results to FILE, as JSON Lines
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Print what differs from these results, and exit with 1 if anything does
        #[arg(long, value_name = "FILE|NAME|recorded:NAME")]
        baseline: Option<String>,
    },
    /// Run `conformance falsify` on another kernel
    Falsify {
        #[command(flatten)]
        machine: MachineOptions,
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        share: Sharing,
        /// Try only N derived lies per claim, the same ones every time
        #[arg(long, value_name = "N")]
        sample: Option<usize>,
        /// Print every lie with its effect
        #[arg(long)]
        verbose: bool,
    },
    /// Run a program on another kernel; its output and exit status are this command's
    Exec {
        #[command(flatten)]
        machine: MachineOptions,
        /// File or directory to bring, at its own path or another (can be repeated)
        #[arg(long, value_name = "PATH[:GUEST_PATH]")]
        with: Vec<String>,
        /// Kernel module to load first, with its dependencies (can be repeated)
        #[arg(long, value_name = "NAME")]
        module: Vec<String>,
        /// The program and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run the workspace's tests on another kernel, except those that need cargo or the sources
    Test {
        #[command(flatten)]
        machine: MachineOptions,
        /// Arguments for the build, such as `--package NAME`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Open a shell on another kernel (needs busybox)
    Shell {
        #[command(flatten)]
        machine: MachineOptions,
    },
}

impl Vm {
    /// Whether the report has the source document's headings and statements.
    pub fn prints_document(&self) -> bool {
        matches!(self, Self::Run { selection, .. } if selection.is_of_document())
    }
}

pub fn vm_command(command: &Vm, language: Language) -> Result<bool, Failure> {
    match command {
        Vm::Run { machine, selection, deciding, output, baseline } => {
            let printed = Printed { output: output.as_deref(), baseline: baseline.as_deref(), language };
            decide(machine, selection, deciding, &printed)
        }
        Vm::Falsify { machine, selection, share, sample, verbose } => {
            falsify(machine, selection, share, *sample, *verbose)
        }
        Vm::Exec { machine, with, module, command } => exec::exec(machine, with, module, command),
        Vm::Test { machine, arguments } => test::test(machine, arguments),
        Vm::Shell { machine } => shell::shell(machine),
    }
}
