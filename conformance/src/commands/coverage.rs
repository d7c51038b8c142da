//! `coverage`.

use crate::commands::failure::Failure;
use crate::commands::options::Form;
use clap::Args;
use conformance::claims::REGISTRY;
use conformance::pages::coverage;
use serde_json::{Value, json};
use std::io::Write;

#[derive(Args)]
pub struct Coverage {
    /// Text to search for in suite, file or assertion (all must match)
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
    /// Only assertions that are not covered yet
    #[arg(long)]
    open: bool,
    /// Format of the answer
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

pub fn coverage_command(options: &Coverage) -> Result<bool, Failure> {
    let coverage = coverage::Coverage::load();
    let mut entries = coverage.matching(&options.texts);
    if entries.is_empty() {
        return Err(Failure::Usage(format!(
            "no assertion of another test suite matches `{}`: `conformance coverage` names them all",
            options.texts.join(" ")
        )));
    }
    let mut output = anstream::stdout().lock();
    if options.open {
        entries.retain(|entry| entry.is_open());
        if entries.is_empty() && options.format == Form::Human {
            writeln!(output, "no assertion of these is open")?;
            return Ok(true);
        }
    }
    if options.format == Form::Json {
        let entries = entries.iter().map(|entry| of_entry(&coverage, entry)).collect::<Value>();
        writeln!(output, "{:#}", json!({ "schema": 1, "assertions": entries }))?;
        return Ok(true);
    }
    coverage::human(&mut output, &coverage, &entries, REGISTRY)?;
    Ok(true)
}

fn of_entry(coverage: &coverage::Coverage, entry: &coverage::Entry) -> Value {
    let (answer, by) = match &entry.answer {
        coverage::Answer::Claims(ids) => ("claims", json!(ids)),
        coverage::Answer::Tests(names) => ("tests", json!(names)),
        coverage::Answer::NotApplicable(why) => ("not-applicable", json!(why)),
        coverage::Answer::Open(why) => ("open", json!(why)),
    };
    json!({
        "suite": entry.suite, "version": coverage.version(&entry.suite), "file": entry.file, "assertion": entry.assertion,
        "answer": answer, "by": by,
    })
}
