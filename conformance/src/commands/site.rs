//! `conformance site`: the registry, the records and the grids as a static site.

use super::failure::Failure;
use super::output::{cannot_write, open_output};
use clap::Args;
use conformance::claims::REGISTRY;
use conformance::run::text::plural;
use conformance::site;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args)]
pub struct Site {
    /// Directory that the site is written into, and is made if it is not there; files of the same names are replaced
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

pub fn site_command(options: &Site) -> Result<bool, Failure> {
    let files = site::files(REGISTRY.all().collect())?;
    let claims = options.output.join("claim");
    fs::create_dir_all(&claims).map_err(|error| cannot_write(&claims, &error))?;
    let number = files.len();
    for (name, text) in files {
        let mut output = open_output(Some(&options.output.join(name)))?;
        output.write_all(text.as_bytes())?;
        output.finish()?;
    }
    println!("{}: open {}", plural(number, "file"), options.output.join("index.html").display());
    Ok(true)
}
