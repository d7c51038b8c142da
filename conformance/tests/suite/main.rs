//! Tests that change nothing of this process: records, pages, reports, and programs that are started. One program, because each is
//! linked statically with the whole suite. `cargo test --test suite guide::` runs those of one file.

mod bench;
mod choices;
mod cli;
#[cfg(target_arch = "x86_64")]
mod codegen;
#[cfg(feature = "vm")]
mod corpus;
mod coverage;
mod crates;
mod decide;
mod examples;
mod files;
#[cfg(target_arch = "x86_64")]
mod freestanding;
mod grid_records;
mod guide;
mod ledger;
mod nested_cargo;
mod redis_bench;
mod registry;
mod reports;
mod unsafe_code;
mod vendoring;
mod verdicts;
