//! `conformance vm exec`.

use crate::commands::failure::Failure;
use crate::commands::vm::options::MachineOptions;
use crate::commands::vm::through::{
    all_written, file_name, inside, pass_through, run_through, status,
};
use on_kernel::guest::Job;
use on_kernel::gvisor::Sandbox;
use on_kernel::qemu::{cannot_run_alone, content};
use std::path::{Path, PathBuf};

pub(super) fn exec(
    machine: &MachineOptions,
    with: &[PathBuf],
    modules: &[String],
    command: &[String],
) -> Result<bool, Failure> {
    let program = PathBuf::from(&command[0]);
    let content = content(&program)?;
    if let Some(reason) = cannot_run_alone(&content) {
        let program = program.display();
        return Err(Failure::Usage(format!("{program}: {reason}")));
    }
    // Programs of the package that a test starts: cargo tells its runner where they are.
    let variables = runner_variables();
    let programs = variables
        .iter()
        .filter(|(name, _)| name.starts_with("CARGO_BIN_EXE_"))
        .map(|(_, path)| PathBuf::from(path))
        .filter(|path| path.exists());
    let mut files = vec![absolute(&program)?];
    for path in with.iter().cloned().chain(programs) {
        let path = absolute(&path)?;
        if !files.contains(&path) {
            files.push(path);
        }
    }
    if let Some(twice) = files.iter().enumerate().find_map(|(at, path)| {
        files[..at]
            .iter()
            .any(|other| file_name(other) == file_name(path))
            .then_some(path)
    }) {
        return Err(Failure::Usage(format!(
            "two files are called {}: give one of them another name",
            file_name(twice)
        )));
    }
    let inside = std::iter::once(inside(&program))
        .chain(command[1..].iter().cloned())
        .collect();
    if machine.is_gvisor() {
        let sandbox = Sandbox {
            command: inside,
            environment: variables,
            files: named(&files),
            links: links(&files[1..]),
            uid: machine.guest.uid,
            limit: machine.guest.limit(),
        };
        let mut written = Ok(());
        let ended = sandbox.run(|kind, bytes| pass_through(kind, bytes, &mut written))?;
        all_written(written)?;
        return status(ended.status);
    }
    let image = machine.image()?;
    let mut guest = machine.guest.machine(
        &image,
        Job {
            commands: vec![inside],
            environment: variables,
            links: links(&files[1..]),
            ..Job::default()
        },
    );
    guest.modules = modules.iter().cloned().collect();
    guest.job.required = modules.iter().map(|name| name.replace('-', "_")).collect();
    guest.files = named(&files);
    run_through(&guest)
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

/// Variables that cargo and the frameworks of tests have for a test: those of a runner are its program's, too.
pub(super) fn runner_variables() -> Vec<(String, String)> {
    const THEIRS: [&str; 7] = [
        "CARGO_BIN_EXE_",
        "CARGO_CRATE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "QUICKCHECK_",
        "RUST_",
        "RUSTDOC_",
    ];
    let all = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    // Not backtraces: reading a program's symbols takes an emulated processor seconds.
    all.filter(|(name, _)| !name.ends_with("_BACKTRACE"))
        .filter(|(name, _)| THEIRS.iter().any(|theirs| name.starts_with(theirs)))
        .collect()
}

/// Files and the names that they have in the guest.
pub(super) fn named(files: &[PathBuf]) -> Vec<(String, PathBuf)> {
    let named = files.iter().map(|path| (file_name(path), path.clone()));
    named.collect()
}

/// Tests know the programs of their package by the path where cargo has put them: they are there in the guest, too.
pub(super) fn links(files: &[PathBuf]) -> Vec<(String, String)> {
    let links = files
        .iter()
        .map(|path| (path.display().to_string(), inside(path)));
    links.collect()
}
