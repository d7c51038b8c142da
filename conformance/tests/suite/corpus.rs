//! The fuzzers' corpus, without a fuzzer: every input that one of them found worth keeping goes through the same functions.
//!
//! `just fuzz SECONDS` looks for more, `just fuzz-corpus` keeps what it has found.
#[path = "../../fuzz/src/lib.rs"]
mod checks;

use checks::TARGETS;
use rstest::rstest;
use std::panic::catch_unwind;

macro_rules! corpora {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../../../fixtures/fuzz/", $name, ".txt")))),*]
    };
}

/// An input a line, in hexadecimal.
const CORPORA: [(&str, &str); TARGETS.len()] = corpora![
    "aof",
    "control_messages",
    "dialogue",
    "error_queue",
    "frames",
    "image",
    "manifest",
    "rdb",
    "release",
    "report_line",
    "resp",
    "tracker"
];

fn from_hex(line: &str) -> Vec<u8> {
    let pairs = line.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
        .collect()
}

#[rstest]
fn every_kept_input_passes(#[values(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)] number: usize) {
    let ((target, check), (name, corpus)) = (TARGETS[number], CORPORA[number]);
    assert_eq!(target, name);
    let mut inputs = 0;
    for line in corpus.lines() {
        inputs += 1;
        let input = from_hex(line);
        assert!(
            catch_unwind(|| check(&input)).is_ok(),
            "{target}: the input of line {inputs} fails, see above"
        );
    }
    assert!(inputs > 0, "an empty corpus");
    println!("{target}: {inputs} inputs");
}

#[test]
fn host_only_every_function_has_a_target_and_a_corpus() {
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for folder in ["conformance/fuzz/fuzz_targets", "fixtures/fuzz"] {
        let mut names: Vec<String> = std::fs::read_dir(repository.join(folder))
            .expect("a folder")
            .map(|entry| {
                let path = entry.expect("an entry").path();
                let name = path.file_stem().and_then(|name| name.to_str());
                name.expect("a name").to_owned()
            })
            .collect();
        names.sort();
        assert_eq!(names, TARGETS.map(|(name, _)| name), "{folder}");
    }
}
