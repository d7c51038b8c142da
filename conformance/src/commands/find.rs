//! `conformance find`: claims and statements by words.

use super::failure::Failure;
use super::options::Form;
use super::output::open_output;
use clap::Args;
use conformance::claims::REGISTRY;
use conformance::pages::search;
use serde_json::{Value, json};
use std::io::Write;

#[derive(Args)]
pub struct Find {
    /// Words that must all occur: in ids, sentences, sources, facts, errnos, bugs or statements
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
    /// Most results that are shown
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    most: u32,
    /// Format of the answer
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

pub fn find_command(options: &Find) -> Result<bool, Failure> {
    let found = search::find(REGISTRY, &options.text);
    if found.is_empty() {
        let text = options.text.join(" ");
        return Err(Failure::Usage(format!("no claim or statement has all of these words: {text}; try fewer of them")));
    }
    let most = options.most as usize;
    let mut output = open_output(None)?;
    if options.format == Form::Json {
        let of = |found: &search::Found| json!({ "id": found.id, "sentence": found.sentence, "score": found.score });
        let shown = found.iter().take(most).map(of).collect::<Value>();
        writeln!(output, "{:#}", json!({ "schema": 1, "number": found.len(), "found": shown }))?;
        output.finish()?;
        return Ok(true);
    }
    for found in found.iter().take(most) {
        writeln!(output, "{:<40} {}", found.id, found.sentence)?;
    }
    if found.len() > most {
        writeln!(output, "and {} more: give more words, or --most {}", found.len() - most, found.len())?;
    }
    output.finish()?;
    Ok(true)
}
