//! `conformance show`: all about one claim or statement.

use super::failure::Failure;
use super::list::of_claim;
use super::options::{Form, Running};
use super::running::{run, runner};
use clap::Args;
use conformance::claim::Claim;
use conformance::claims::REGISTRY;
use conformance::interpose::record::Made;
use conformance::pages::search;
use conformance::report::human;
use conformance::run::red::Strictness;
use conformance::runner::Task;
use conformance::runner::order::Interposed;
use conformance::seed::{Document, Language};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::io::Write;

#[derive(Args)]
pub struct Show {
    /// A claim (splice.copies.tcp), a statement of the source document (S22), or words to search for
    #[arg(required = true)]
    id: Vec<String>,
    #[command(flatten)]
    running: Running,
    /// Format of the answer
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

pub fn show_command(options: &Show, language: Language) -> Result<bool, Failure> {
    let Show { id, running, format } = options;
    let id = id.join(" ");
    let document = Document::load();
    let statement = document.find(&id);
    let claims: Vec<&'static Claim> = match (REGISTRY.find(&id), statement) {
        (Some(claim), _) => vec![claim],
        (None, Some(statement)) => statement.all_claims().filter_map(|id| REGISTRY.find(id)).collect(),
        (None, None) => return Err(Failure::Usage(unknown(&id, &document))),
    };
    let run = run(&claims, running, &ProgressBar::hidden(), |_| Ok(()))?;
    if *format == Form::Json {
        let of = |claim: &&'static Claim| {
            let mut of_it = of_claim(claim);
            of_it["here"] = json!(run.find(claim.id));
            of_it
        };
        let document = json!({
            "schema": 1,
            "environment": run.environment,
            "statement": statement.map(|statement| &statement.id),
            "claims": claims.iter().map(of).collect::<Value>(),
        });
        writeln!(anstream::stdout(), "{document:#}")?;
        return Ok(run.red(&Strictness::default()).is_empty());
    }
    let mut report = Vec::new();
    if let Some(statement) = statement {
        human::statement(&mut report, statement, &run, REGISTRY, language)?;
    }
    for claim in &claims {
        if statement.is_some() {
            writeln!(report)?;
        }
        human::claim(&mut report, claim, language)?;
        if let Some(record) = run.find(claim.id) {
            human::verdict_here(&mut report, &run, record)?;
        }
        if statement.is_none() {
            human::calls(&mut report, claim, &calls(claim, running)?)?;
        }
    }
    anstream::stdout().write_all(&report)?;
    Ok(run.red(&Strictness::default()).is_empty())
}

/// What to say about a name that is neither a claim nor a statement: what it has become, what is like it, what has its words.
fn unknown(id: &str, document: &Document) -> String {
    if let Some(retired) = document.retired(id) {
        return format!("`{id}` is no longer a statement: {}", retired.words());
    }
    if let Some(retired) = conformance::claim::retired::find(id) {
        return format!("`{id}` is retired: {}", retired.words());
    }
    let statements = document.statements.iter().map(|statement| statement.id.as_str());
    let names = REGISTRY.all().map(|claim| claim.id).chain(statements);
    let like = search::did_you_mean(id, names);
    let found = search::find(REGISTRY, &[id.to_owned()]);
    let first: Vec<&str> = found.iter().take(5).map(|found| found.id.as_str()).collect();
    let found = if first.is_empty() { String::new() } else { format!("; its words are in {}", first.join(", ")) };
    let (first, last) = (document.statements.first(), document.statements.last());
    let range = match (first, last) {
        (Some(first), Some(last)) => format!(" ({} to {})", first.id, last.id),
        _ => String::new(),
    };
    format!(
        "`{id}` is neither a claim nor a statement of the source document{range}{like}{found} (`conformance find` searches)"
    )
}

/// The calls that the experiment makes here, but for its set-up and checks. None where tracing is refused.
fn calls(claim: &'static Claim, running: &Running) -> Result<Vec<Made>, Failure> {
    let (runner, _) = runner(running)?;
    let task = Task { claim, interposed: Interposed::Recorder, limits: None };
    let mut made = Vec::new();
    runner.run_tasks(&[task], |_| {}, |_, report| made = report.calls)?;
    made.retain(|call| !call.aside);
    Ok(made)
}
