//! `conformance show`: all about one claim or statement.

use super::failure::Failure;
use super::options::Running;
use super::running::run;
use clap::Args;
use conformance::claim::Claim;
use conformance::claims::REGISTRY;
use conformance::report::human;
use conformance::run::red::Strictness;
use conformance::seed::{Document, Language};
use indicatif::ProgressBar;
use std::io::Write;

#[derive(Args)]
pub struct Show {
    /// A claim (splice.copies.tcp) or a statement of the source document (S22)
    id: String,
    #[command(flatten)]
    running: Running,
}

pub fn show_command(options: &Show, language: Language) -> Result<bool, Failure> {
    let Show { id, running } = options;
    let document = Document::load();
    let statement = document.find(id);
    let claims: Vec<&'static Claim> = match (REGISTRY.find(id), statement) {
        (Some(claim), _) => vec![claim],
        (None, Some(statement)) => statement.all_claims().filter_map(|id| REGISTRY.find(id)).collect(),
        (None, None) => {
            let message =
                format!("`{id}` is neither a claim nor a statement of the source document (see `conformance list`)");
            return Err(Failure::Usage(message));
        }
    };
    let run = run(&claims, running, &ProgressBar::hidden(), |_| Ok(()))?;
    let mut report = Vec::new();
    if let Some(statement) = statement {
        human::statement(&mut report, statement, &run, language)?;
    }
    for claim in &claims {
        if statement.is_some() {
            writeln!(report)?;
        }
        human::claim(&mut report, claim, language)?;
        if let Some(record) = run.find(claim.id) {
            human::verdict_here(&mut report, &run, record)?;
        }
    }
    anstream::stdout().write_all(&report)?;
    Ok(run.red(&Strictness::default()).is_empty())
}
