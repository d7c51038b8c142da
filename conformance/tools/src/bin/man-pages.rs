//! Writes the places of the manual pages that claims cite: `man-pages DIR`, with the pages unpacked in `DIR/usr/share/man`, in the
//! project's root. Prints TOML.

#![forbid(unsafe_code)]

use nocopy_tools::man_pages::{Places, cited, places, table};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn code(directory: &Path, all: &mut String) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            code(&path, all)?;
        } else {
            all.push_str(&fs::read_to_string(path)?);
        }
    }
    Ok(())
}

/// The places of a page, `tee(2)`; of a page that refers to another one, that one's.
fn read(manual: &Path, page: &str) -> Result<Places, String> {
    let (name, section) = page
        .trim_end_matches(')')
        .split_once('(')
        .ok_or(format!("{page}: not of the form tee(2)"))?;
    let folder = section.get(..1).ok_or(format!("{page}: no section"))?;
    let file = manual.join(format!("man{folder}/{name}.{section}"));
    let source =
        fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    match source
        .lines()
        .next()
        .and_then(|line| line.strip_prefix(".so "))
    {
        Some(other) => {
            let (name, section) = other
                .rsplit('/')
                .next()
                .and_then(|file| file.rsplit_once('.'))
                .ok_or("a bad .so")?;
            read(manual, &format!("{name}({section})"))
        }
        None => Ok(places(&source)),
    }
}

fn run() -> Result<(), String> {
    let directory = std::env::args().nth(1).ok_or("usage: man-pages DIR")?;
    let mut all = String::new();
    code(Path::new("conformance/src/claims"), &mut all)
        .map_err(|error| format!("conformance/src/claims: {error}"))?;
    let manual = Path::new(&directory).join("usr/share/man");
    let pages: Result<BTreeMap<String, Places>, String> = cited(&all)
        .map(|page| Ok((page.to_owned(), read(&manual, page)?)))
        .collect();
    print!("{}", table(&pages?));
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("man-pages: {error}");
            ExitCode::from(2)
        }
    }
}
