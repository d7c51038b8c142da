//! `conformance find`: claims and statements by words.

use super::failure::Failure;
use super::output::open_output;
use clap::Args;
use conformance::claims::REGISTRY;
use conformance::pages::search;
use std::io::Write;

#[derive(Args)]
pub struct Find {
    /// Words that must all occur: in ids, sentences, sources, facts, errnos, bugs or statements
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
    /// Most results that are shown
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    most: u32,
}

pub fn find_command(options: &Find) -> Result<bool, Failure> {
    let found = search::find(REGISTRY, &options.text);
    if found.is_empty() {
        let text = options.text.join(" ");
        return Err(Failure::Usage(format!("no claim or statement has all of these words: {text}; try fewer of them")));
    }
    let most = options.most as usize;
    let mut output = open_output(None)?;
    for found in found.iter().take(most) {
        writeln!(output, "{:<40} {}", found.id, found.sentence)?;
    }
    if found.len() > most {
        writeln!(output, "and {} more: give more words, or --most {}", found.len() - most, found.len())?;
    }
    output.finish()?;
    Ok(true)
}
