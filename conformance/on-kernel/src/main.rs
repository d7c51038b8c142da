//! `on-kernel`: runs a program on another Linux kernel.

#![forbid(unsafe_code)]

mod command_line;
mod options;
mod running;

use on_kernel::machine::home::{END_GROUP, end_group};
use on_kernel::{guest, keep};
use std::process::ExitCode;

fn main() -> ExitCode {
    if guest::is_guest() {
        guest::main();
    }
    match std::env::args_os().nth(1) {
        Some(first) if first == END_GROUP => {
            end_group();
            ExitCode::SUCCESS
        }
        Some(first) if first == keep::KEEP => {
            keep::main();
            ExitCode::SUCCESS
        }
        _ => running::main(),
    }
}
