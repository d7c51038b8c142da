//! The program: the only process of a guest, a supervisor of experiments, or the command line.

#![forbid(unsafe_code)]

mod commands;

use conformance::claims;
use conformance::runner::supervisor;
use conformance::surveys;
#[cfg(feature = "vm")]
use on_kernel::machine::home::END_GROUP;
use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "vm")]
    if on_kernel::guest::is_guest() {
        on_kernel::guest::main();
    }
    if supervisor::is_asked_for() {
        let experiments: Vec<_> = claims::REGISTRY.all().chain(surveys::rows()).collect();
        return match supervisor::main(&experiments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE, // the program that started it notices the missing end
        };
    }
    #[cfg(feature = "vm")]
    if std::env::args_os().nth(1).is_some_and(|first| first == END_GROUP) {
        on_kernel::machine::home::end_group();
        return ExitCode::SUCCESS;
    }
    commands::main()
}
