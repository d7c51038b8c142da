//! Stored results, from which reports are made.

#![forbid(unsafe_code)]

use crate::claim::Registry;
use crate::run::jsonl;
use crate::run::record::Run;
use nocopy_host::input;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The directory in which `conformance matrix` keeps results, a file per kernel.
pub const DIRECTORY: &str = "target/conformance";

/// A run with the name under which it is stored: that of its kernel in the matrix.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The file's name without `.jsonl`.
    pub name: String,
    /// The run.
    pub run: Run,
}

/// The longest file of results that is read: hundreds of times the size of a usual run.
const MOST: u64 = 256 << 20;
/// The longest first line.
const FIRST_LINE: u64 = 64 << 10;

/// The bytes of a file of JSON Lines. A long file that does not begin with a line of JSON is refused before the rest is read.
///
/// # Errors
///
/// The error from the system, or a description of the wrong content.
pub fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let mut file = input::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let mut first = (&mut file).take(FIRST_LINE);
    first.read_to_end(&mut bytes).map_err(failed)?;
    let is_long = bytes.len() as u64 == FIRST_LINE;
    if is_long && !(bytes.starts_with(b"{") && bytes.contains(&b'\n')) {
        return Err(format!(
            "{}: it does not begin with a line of JSON, so it is not a file of results",
            path.display()
        ));
    }
    let mut rest = file.take(MOST);
    rest.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST {
        return Err(format!("{}: longer than {} MiB, so it is not a file of results", path.display(), MOST >> 20));
    }
    Ok(bytes)
}

/// Reads one file.
///
/// # Errors
///
/// The error, in a line that begins with the file's path.
pub fn read(path: &Path) -> Result<Stored, String> {
    let bytes = bytes(path)?;
    let run = jsonl::read(&bytes).map_err(|what| {
        let shown = path.display();
        format!("{shown}: {what}; it must be whole, as `--format jsonl` writes it")
    })?;
    let name = path.file_stem().unwrap_or_default();
    Ok(Stored { name: name.to_string_lossy().into_owned(), run })
}

/// Reads these files, or, if the list is empty, all files in the directory of results, oldest kernel first.
///
/// # Errors
///
/// The first file that cannot be read; two files with one name, which a report could not distinguish; or no file at all.
pub fn read_all(files: &[PathBuf]) -> Result<Vec<Stored>, String> {
    let found = paths(files);
    if found.is_empty() {
        return Err(format!(
            "there are no results in {DIRECTORY}: `conformance matrix` makes them, or name files of \
             `conformance check --format jsonl --output FILE`"
        ));
    }
    let mut names = BTreeSet::new();
    let mut runs = Vec::new();
    for path in found {
        let stored = read(&path)?;
        if !names.insert(stored.name.clone()) {
            return Err(format!("two files are called {}: give one of them another name", stored.name));
        }
        runs.push(stored);
    }
    if files.is_empty() {
        runs.sort_by_key(|stored| order(&stored.name));
    }
    Ok(runs)
}

/// These files, or, if the list is empty, all files in the directory of results.
pub fn paths(files: &[PathBuf]) -> Vec<PathBuf> {
    if files.is_empty() { in_directory(Path::new(DIRECTORY)) } else { files.to_vec() }
}

fn in_directory(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "jsonl")).collect()
}

/// Names that begin with a release come first, in the order of releases.
fn order(name: &str) -> (bool, Option<nocopy_host::kernel::Series>, String) {
    let release: Option<nocopy_host::kernel::Release> = name.parse().ok();
    let series = release.map(|release| release.series);
    (series.is_none(), series, name.to_owned())
}

/// The claims of some runs, each once: those of the registry in its order, then others by name.
pub fn ids<'run>(runs: impl IntoIterator<Item = &'run Stored>, registry: Registry) -> Vec<String> {
    let all: BTreeSet<&str> =
        runs.into_iter().flat_map(|stored| &stored.run.records).map(|record| record.id.as_str()).collect();
    let registry: Vec<&str> = registry.all().map(|claim| claim.id).collect();
    let known = registry.iter().copied().filter(|id| all.contains(id));
    let others = all.iter().copied().filter(|id| !registry.contains(id));
    known.chain(others).map(str::to_owned).collect()
}

/// The interfaces of some claims, each once, in the order of their first claim.
pub fn interfaces(ids: &[String]) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for id in ids {
        let interface = interface(id);
        if !found.contains(&interface) {
            found.push(interface);
        }
    }
    found
}

/// The interface that a claim is about: the id up to the first dot.
pub fn interface(id: &str) -> &str {
    id.split('.').next().unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_in_the_order_of_their_numbers() {
        let mut names = vec!["runsc", "7.3-generic", "6.1", "6.12", "5.10", "7.3"];
        names.sort_by_key(|name| order(name));
        assert_eq!(names, ["5.10", "6.1", "6.12", "7.3", "7.3-generic", "runsc"]);
    }
}
