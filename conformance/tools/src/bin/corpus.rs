//! The fuzzers' corpus between its two forms: `fixtures/fuzz/TARGET.txt`, an input a line in hexadecimal, which is what a diff
//! shows and a test includes; and directories with an input a file, which is what a fuzzer wants.
//!
//! `corpus unpack DIRECTORY` makes `DIRECTORY/TARGET/*`, `corpus pack DIRECTORY` replaces the fixtures by what is there.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match &arguments[..] {
        [command, directory] if command == "unpack" => unpack(Path::new(directory)),
        [command, directory] if command == "pack" => pack(Path::new(directory)),
        _ => Err("use: corpus unpack DIRECTORY, or corpus pack DIRECTORY".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/fuzz")
}

fn unpack(directory: &Path) -> Result<(), Box<dyn Error>> {
    for fixture in paths(&fixtures())? {
        let inputs = directory.join(fixture.file_stem().unwrap_or_default());
        fs::create_dir_all(&inputs).map_err(|error| at(&inputs, &error))?;
        let text = fs::read_to_string(&fixture).map_err(|error| at(&fixture, &error))?;
        for (number, line) in text.lines().enumerate() {
            let bytes = from_hex(line)
                .ok_or_else(|| format!("{}:{}: no hex", fixture.display(), number + 1))?;
            let path = inputs.join(format!("{number:04}"));
            fs::write(&path, bytes).map_err(|error| at(&path, &error))?;
        }
    }
    Ok(())
}

fn pack(directory: &Path) -> Result<(), Box<dyn Error>> {
    for inputs in paths(directory)? {
        let mut all = Vec::new();
        for path in paths(&inputs)? {
            all.push(fs::read(&path).map_err(|error| at(&path, &error))?);
        }
        // The empty input is one that every fuzzer begins with, and no line.
        all.retain(|input| !input.is_empty());
        all.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
        all.dedup();
        let mut text = String::new();
        for input in &all {
            for byte in input {
                write!(text, "{byte:02x}")?;
            }
            text.push('\n');
        }
        let name = inputs.file_name().unwrap_or_default();
        let path = fixtures().join(name).with_extension("txt");
        fs::write(&path, text).map_err(|error| at(&path, &error))?;
        println!("{}: {} inputs", path.display(), all.len());
    }
    Ok(())
}

fn paths(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(directory).map_err(|error| at(directory, &error))?;
    entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(|error| at(directory, &error))
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn from_hex(line: &str) -> Option<Vec<u8>> {
    let pairs = line.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
