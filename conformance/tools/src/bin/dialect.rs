//! Counts sentences with phrases that a reader has to read twice, and fails above a ceiling: `dialect [--verbose]`, in the project's
//! root.

#![forbid(unsafe_code)]

use nocopy_tools::dialect::{Count, doc_comments, literals, prose};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The group in which string literals are read.
const SENTENCES: &str = "the claims' sentences";

/// What is read, and how many percent of its sentences may be flagged.
const GROUPS: &[(&str, &[&str], &str, f64)] = &[
    (
        "README, CONTRIBUTING",
        &[
            "README.md",
            "CONTRIBUTING.md",
            "conformance/on-kernel/README.md",
            "fixtures/README.md",
        ],
        "md",
        2.0,
    ),
    ("the guide", &["conformance/docs"], "md", 2.0),
    ("the crates' pages", &["crates"], "md", 3.0),
    (
        "rustdoc of conformance",
        &[
            "conformance/host/src",
            "conformance/on-kernel/src",
            "conformance/src",
        ],
        "rs",
        3.0,
    ),
    ("rustdoc of the crates", &["crates"], "rs", 3.0),
    (SENTENCES, &["conformance/src/claims"], "rs", 2.0),
];

fn files(path: &Path, kind: &str, found: &mut Vec<PathBuf>) {
    if path.is_file() && path.extension().is_some_and(|end| end == kind) {
        found.push(path.to_owned());
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name() != "target") {
        files(&entry.path(), kind, found);
    }
}

fn main() -> ExitCode {
    let verbose = std::env::args().any(|argument| argument == "--verbose");
    let mut is_red = false;
    for (name, places, kind, ceiling) in GROUPS {
        let mut found = Vec::new();
        for place in *places {
            files(Path::new(place), kind, &mut found);
        }
        if found.is_empty() {
            eprintln!("dialect: no file of {name} is here: run it in the project's root");
            return ExitCode::from(2);
        }
        found.sort();
        let mut count = Count::default();
        for path in found {
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) => {
                    eprintln!("dialect: {}: {error}", path.display());
                    return ExitCode::from(2);
                }
            };
            let texts = if *name == SENTENCES {
                literals(&text)
            } else if *kind == "md" {
                vec![prose(&text)]
            } else {
                doc_comments(&text)
            };
            for text in texts {
                count.add(&text, |sentence, phrase| {
                    if verbose {
                        println!("{}: {sentence} [{phrase}]", path.display());
                    }
                });
            }
        }
        let percent = count.percent();
        let verdict = if percent > *ceiling { "RED, " } else { "" };
        println!(
            "{name}: {} of {} sentences flagged, {percent:.1} % ({verdict}at most {ceiling} %)",
            count.flagged, count.sentences
        );
        is_red |= percent > *ceiling;
    }
    if is_red && !verbose {
        eprintln!(
            "dialect: rewrite what `cargo run -p nocopy-tools --bin dialect -- --verbose` prints"
        );
    }
    ExitCode::from(u8::from(is_red))
}
