//! The example of docs/claims.md: it compiles, is green, and is turned by a lie.

use conformance::claims::prelude::*;
use conformance::falsify::examine;
use conformance::falsify::model::Extent;
use conformance::lab::filesystems::find_scratch;
use conformance::run::record::Record;
use conformance::runner::Runner;
use conformance::verdict::{Judgement, Word};
use libtest_mimic::{Failed, Trial};
use nocopy_host::kernel;
use nocopy_splice::tee;
use std::fs;
use std::path::Path;

pub const CLAIM: Claim = include!("example/claim.rs");

fn runner() -> Result<Runner, Failed> {
    Ok(Runner {
        program: std::env::current_exe()?,
        jobs: 2,
        cpu_seconds: 20,
        scratch: find_scratch(None).0,
    })
}

/// The page has what is tested here, word for word.
fn is_on_the_page() -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/claims.md"))?;
    let text = fs::read_to_string(root.join("tests/runner/example/claim.rs"))?;
    let block = format!("```rust\n{text}```\n");
    if page.contains(&block) {
        Ok(())
    } else {
        Err(format!("docs/claims.md does not have tests/runner/example/claim.rs:\n{block}").into())
    }
}

fn is_green() -> Result<(), Failed> {
    let running = kernel::running()?;
    let mut found = None;
    runner()?.run(
        &[&CLAIM],
        |_| {},
        |claim, outcome, _| found = Some(Record::of(claim, outcome, 0, &running)),
    )?;
    let found = found.ok_or("no result")?;
    if found.verdict != Word::Holds || found.judgement == Some(Judgement::Changed) {
        return Err(format!("{}: {}", found.words(), found.what_happened()).into());
    }
    Ok(())
}

fn is_falsified() -> Result<(), Failed> {
    let running = kernel::running()?;
    let examined = examine(&runner()?, &[&CLAIM], &running, Extent::Whole, |_, _| {})?;
    let [examined] = &examined[..] else {
        return Err("no result".into());
    };
    let red = examined.red();
    if !examined.was_tried() || !red.is_empty() {
        return Err(format!("{:?}: {}", examined.why, red.join("; ")).into());
    }
    Ok(())
}

/// Whoever runs `just ci` knows what a submission will be told.
fn ci_is_one_recipe() -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let script = fs::read_to_string(root.join(".ci/run"))?;
    let recipes: Vec<&str> = script
        .lines()
        .filter_map(|line| line.strip_prefix("just "))
        .collect();
    if recipes != ["setup", "setup-redis", "setup-site", "ci"] {
        return Err(format!(
            ".ci/run runs {recipes:?}: what it does not install belongs into `just ci`"
        )
        .into());
    }
    Ok(())
}

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("host_only::the_example_is_on_the_page", is_on_the_page),
        Trial::test("host_only::ci_is_one_recipe", ci_is_one_recipe),
        Trial::test("the_example_is_green", is_green),
        Trial::test("the_example_is_falsified", is_falsified),
    ]
}
