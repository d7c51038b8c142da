//! Lists the records in `fixtures`, so that a new kernel is one file and no line of code.

use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let mut code = String::new();
    let verdicts = records(&root.join("verdicts"));
    list(
        &mut code,
        "The records of the claims, oldest kernel first",
        "VERDICTS",
        &verdicts,
    );
    write(
        &mut code,
        "/// The series of these records.\npub const SERIES: &[Series] = &[",
    );
    for ((major, minor), _) in &verdicts {
        write(&mut code, &format!("    Series::new({major}, {minor}),"));
    }
    write(&mut code, "];");
    for grid in ["fds", "pairs", "fs", "ledger"] {
        let found = records(&root.join("grids").join(grid));
        let name = grid.to_uppercase();
        list(
            &mut code,
            "The records of a grid, oldest kernel first",
            &name,
            &found,
        );
    }
    std::fs::write(out.join("records.rs"), code).expect("cargo's directory is writable");
}

/// The files `X.Y.jsonl` of a directory by series, oldest first.
fn records(directory: &Path) -> Vec<((u32, u32), PathBuf)> {
    println!("cargo::rerun-if-changed={}", directory.display());
    let files = std::fs::read_dir(directory).expect("the fixtures are beside the package");
    let mut records: Vec<_> = files
        .filter_map(|file| {
            let path = file.expect("readable").path();
            let name = path.file_name()?.to_str()?.strip_suffix(".jsonl")?;
            let (major, minor) = name.split_once('.')?;
            let series = (major.parse().ok()?, minor.parse().ok()?);
            Some((series, path.canonicalize().expect("it is there")))
        })
        .collect();
    records.sort();
    records
}

fn list(code: &mut String, what: &str, name: &str, records: &[((u32, u32), PathBuf)]) {
    write(
        code,
        &format!("/// {what}: names and texts.\npub const {name}: &[(&str, &str)] = &["),
    );
    for ((major, minor), path) in records {
        let path = path.to_str().expect("a path in UTF-8");
        write(
            code,
            &format!("    (\"{major}.{minor}\", include_str!({path:?})),"),
        );
    }
    write(code, "];");
}

fn write(code: &mut String, line: &str) {
    writeln!(code, "{line}").expect("a string takes all");
}
