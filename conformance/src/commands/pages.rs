//! `conformance pages`: the registry as Markdown.

use super::failure::Failure;
use super::output::open_output;
use clap::Args;
use conformance::claims::REGISTRY;
use conformance::pages::registry;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args)]
pub struct Pages {
    /// Directory that the pages are written into; files of the same names are replaced
    directory: PathBuf,
}

pub fn pages_command(options: &Pages) -> Result<bool, Failure> {
    if !options.directory.is_dir() {
        return Err(Failure::Usage(format!("{}: not a directory; make it first", options.directory.display())));
    }
    for (name, text) in registry::pages(&REGISTRY.all().collect::<Vec<_>>()) {
        let mut output = open_output(Some(&options.directory.join(name)))?;
        output.write_all(text.as_bytes())?;
        output.finish()?;
    }
    Ok(true)
}
