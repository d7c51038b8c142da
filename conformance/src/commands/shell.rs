//! `conformance completions` and `man`: what a shell and `man` read, made from the options themselves.

use super::failure::Failure;
use super::output::{cannot_write, open_output};
use clap::{Args, Command};
use clap_complete::Shell;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args)]
pub struct Completions {
    /// The shell that reads it
    shell: Shell,
}

#[derive(Args)]
pub struct Man {
    /// Directory that the pages are written into, one for each command, and is made if it is not there
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

pub fn completions_command(options: &Completions, mut command: Command) -> Result<bool, Failure> {
    // It writes to memory, because it panics where it cannot write.
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut command, "conformance", &mut text);
    let mut output = open_output(None)?;
    output.write_all(&text)?;
    output.finish()?;
    Ok(true)
}

pub fn man_command(options: &Man, command: Command) -> Result<bool, Failure> {
    fs::create_dir_all(&options.output).map_err(|error| cannot_write(&options.output, &error))?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut all = vec![command];
    while let Some(command) = all.pop() {
        let page = clap_mangen::Man::new(command.clone());
        let mut output = open_output(Some(&options.output.join(page.get_filename())))?;
        page.render(&mut output)?;
        output.finish()?;
        all.extend(command.get_subcommands().filter(|one| !one.is_hide_set()).cloned());
    }
    Ok(true)
}
