//! The result format of KCIDB (schema 5.3 of `kcidb-io`), ready for submission.
//!
//! A kernel release is a checkout, the kernel of one machine type is a build of it, and a claim is a test below `nocopy`:
//!
//! | status | meaning |
//! |---|---|
//! | `PASS` | decided, as known |
//! | `DONE` | decided, and no record exists for such a kernel |
//! | `FAIL` | changed: measured on this series before, with the other result |
//! | `ERROR` | broken or timed out: no verdict |
//! | `SKIP` | untestable |
//! | `MISS` | not reached: the run ended before it |
//!
//! The ids are made of the results alone, so that the same results are the same submission. To distinguish two runs on one kernel,
//! the submitter gives a name ([`Submitter::run`]).

#![forbid(unsafe_code)]

use crate::claim::Registry;
use crate::run::record::Record;
use crate::run::stored::Stored;
use crate::run::text::one_line;
use crate::verdict::{Judgement, Word};
use serde_json::{Value, json};
use std::io::{self, Write};

/// The submitter.
#[derive(Clone, Debug)]
pub struct Submitter {
    /// The name of the CI system, of lower-case letters, digits and `_`.
    pub origin: String,
    /// The name that distinguishes this run from others on the same kernel, such as a job's number.
    pub run: Option<String>,
}

/// The most characters of an excerpt that the schema allows.
const EXCERPT: usize = 16384;

/// Writes the submission.
pub fn write(output: &mut dyn Write, runs: &[Stored], submitter: &Submitter, registry: Registry) -> io::Result<()> {
    let mut checkouts: Vec<Value> = Vec::new();
    let mut builds: Vec<Value> = Vec::new();
    let mut tests: Vec<Value> = Vec::new();
    let add = |to: &mut Vec<Value>, new: Value| {
        // Two runs on one kernel share its checkout and build.
        if !to.contains(&new) {
            to.push(new);
        }
    };
    let origin = submitter.origin.as_str();
    for stored in runs {
        let environment = &stored.run.environment;
        let kernel = one_line(&environment.kernel);
        let checkout = format!("{origin}:{kernel}");
        let build = format!("{checkout}:{}", one_line(&environment.machine));
        add(
            &mut checkouts,
            json!({ "id": checkout, "origin": origin, "comment": format!("Linux {kernel}"), "valid": true }),
        );
        add(
            &mut builds,
            json!({
                "id": build, "checkout_id": checkout, "origin": origin, "status": "PASS",
                "architecture": architecture(&environment.machine),
                "comment": format!("the kernel that calls itself {kernel}"),
            }),
        );
        let run = submitter.run.iter().map(|run| one_line(run));
        let names = std::iter::once(one_line(&stored.name)).chain(run);
        let prefix = names.fold(build.clone(), |prefix, name| format!("{prefix}:{name}"));
        for record in &stored.run.records {
            let mut test = test(record, registry);
            test["id"] = json!(format!("{prefix}:{}", one_line(&record.id)));
            test["build_id"] = json!(build);
            test["origin"] = json!(origin);
            test["environment"] = json!({
                "comment": format!("conformance {}, as user {}", one_line(&environment.conformance), environment.uid),
            });
            tests.push(test);
        }
    }
    let submission = json!({
        "version": { "major": 5, "minor": 3 },
        "checkouts": checkouts, "builds": builds, "tests": tests,
    });
    serde_json::to_writer_pretty(&mut *output, &submission)?;
    writeln!(output)
}

fn test(record: &Record, registry: Registry) -> Value {
    let excerpt: String =
        one_line(&format!("{}: {}", record.words(), record.what_happened())).chars().take(EXCERPT).collect();
    let mut test = json!({
        "path": path(&record.id),
        "status": status(record),
        "log_excerpt": excerpt,
        "misc": { "nocopy": { "verdict": record.verdict, "judgement": record.judgement.map(Judgement::words) } },
    });
    if let Some(claim) = registry.find(&record.id) {
        test["comment"] = json!(claim.statement);
    }
    if record.milliseconds > 0 {
        let duration = std::time::Duration::from_millis(record.milliseconds);
        test["duration"] = json!(duration.as_secs_f64());
    }
    test
}

fn status(record: &Record) -> &'static str {
    match (record.verdict, record.judgement) {
        (Word::Broken | Word::TimeOut, _) => "ERROR",
        (Word::NotReached, _) => "MISS",
        (Word::Untestable, _) => "SKIP",
        (_, Some(Judgement::Changed)) => "FAIL",
        (_, Some(Judgement::AsKnown)) => "PASS",
        (_, Some(Judgement::NewFinding) | None) => "DONE",
    }
}

/// The path of a claim in the tree of tests: parts of letters, digits, `_` and `-`, separated by dots.
fn path(id: &str) -> String {
    let letter = |letter: char| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => letter,
        _ => '_',
    };
    let parts = id.split('.').filter(|part| !part.is_empty());
    let parts = parts.map(|part| part.chars().map(letter).collect::<String>());
    std::iter::once("nocopy".to_owned()).chain(parts).collect::<Vec<_>>().join(".")
}

/// The machine's name, in lower-case letters, digits and `_`.
fn architecture(machine: &str) -> String {
    let letter = |letter: char| match letter {
        'a'..='z' | '0'..='9' => letter,
        _ => '_',
    };
    machine.chars().map(letter).collect()
}
