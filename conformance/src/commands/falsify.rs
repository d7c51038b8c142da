//! `falsify`.

use crate::commands::failure::Failure;
use crate::commands::options::{Running, Selection, Sharing, select};
use crate::commands::output::{Output, open_output};
use crate::commands::running::runner;
use anstream::stream::IsTerminal;
use clap::Args;
use conformance::claims;
use conformance::falsify;
use conformance::falsify::model::{self, Effect, Examined, Extent, Kind, Score, Share, Trial};
use conformance::run::record::Environment;
use conformance::run::red::NOTHING_DECIDED;
use conformance::run::text::plural;
use conformance::verdict::Word;
use indicatif::ProgressBar;
use nocopy_host::kernel::{is_disposable, running};
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Args)]
pub struct Falsify {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    share: Sharing,
    #[command(flatten)]
    running: Running,
    /// Try only N derived lies per claim, the same ones every time
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Print every lie with its effect
    #[arg(long)]
    verbose: bool,
    /// Also write the results to FILE, as JSON Lines
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A line of the stored form.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Line<'run> {
    Environment(&'run Environment),
    Examined(&'run Examined),
    Score(Score),
}

pub fn falsify_command(options: &Falsify) -> Result<bool, Failure> {
    let selected = select(&options.selection)?;
    let claims = options.share.of(&selected);
    let release = running().map_err(|error| Failure::Usage(error.to_string()))?;
    let (mut runner, passed_over) = runner(&options.running)?;
    if options.running.jobs.is_none() {
        runner.jobs *= 4; // an experiment that was lied to may wait until its time is up
    }
    let output = options.output.as_deref();
    let mut output = output.map(|path| open_output(Some(path))).transpose()?;
    let extent = match options.sample {
        Some(count) => Extent::Sampled(count),
        None if is_disposable() => Extent::Guest,
        None => Extent::Whole,
    };
    let bar = if io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let progress = |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let _ = writeln!(io::stderr(), "lying to {}", plural(claims.len(), "claim"));
    let examined = falsify::examine(&runner, &claims, &release, extent, progress)?;
    bar.finish_and_clear();

    let scratch = runner.scratch.as_ref().map(|path| path.display().to_string());
    let environment = Environment::now(scratch, passed_over);
    if let Some(output) = &mut output {
        let mut line = |line: &Line<'_>| -> io::Result<()> {
            serde_json::to_writer(&mut *output, line)?;
            output.write_all(b"\n")
        };
        line(&Line::Environment(&environment))?;
        for claim in &examined {
            line(&Line::Examined(claim))?;
        }
        line(&Line::Score(model::score(&examined)))?;
    }
    output.map_or(Ok(()), Output::finish)?;
    let mut report = Vec::new();
    print(&mut report, &environment, &examined, options.verbose)?;
    anstream::stdout().write_all(&report)?;
    options.share.refuse_empty(selected.len())?;
    if !examined.iter().any(Examined::was_tried) {
        return Err(Failure::Red(NOTHING_DECIDED.to_owned()));
    }
    Ok(examined.iter().all(|claim| claim.red().is_empty()))
}

fn print(to: &mut impl Write, environment: &Environment, examined: &[Examined], verbose: bool) -> io::Result<()> {
    writeln!(to, "Linux {} ({})\n", environment.kernel, environment.machine)?;
    writeln!(
        to,
        "{:<42} {:<11} {:>7} {:>9} {:>9} {:>9}  what blunt lies came to",
        "claim", "verdict", "turned", "noticed", "survived", "set-up"
    )?;
    for claim in examined {
        let share = |kind| fraction(claim.share(kind));
        writeln!(
            to,
            "{:<42} {:<11} {:>7} {:>9} {:>9} {:>9}  {}",
            claim.id,
            claim.verdict.text(),
            if claim.controls { "control".into() } else { share(Kind::Contradicting) },
            share(Kind::Blunt),
            share(Kind::Tolerable),
            share(Kind::SetUp),
            effects(claim),
        )?;
        if verbose {
            for trial in &claim.trials {
                let good = if trial.is_good() { ' ' } else { '!' };
                let said = trial.said.as_deref().unwrap_or_default();
                writeln!(to, "  {good} {:?} {:?}: {} {said}", trial.kind, trial.effect, trial.lie)?;
            }
        }
    }
    writeln!(to)?;
    for claim in examined.iter().filter(|claim| claim.verdict == Word::Untestable) {
        let why = claim.why.as_deref().unwrap_or_default();
        writeln!(to, "not tried: {}: {why}", claim.id)?;
    }
    let ids = examined.iter().filter_map(|claim| claims::REGISTRY.find(&claim.id));
    for claim in ids {
        for exception in claim.exceptions {
            writeln!(to, "exception: {}: {}", claim.id, exception.reason())?;
        }
    }
    for one in model::listed() {
        if examined.iter().any(|claim| claim.id == one.claim) {
            writeln!(to, "listed: {}: {}(): {}", one.claim, one.call, one.because)?;
        }
    }
    for claim in examined {
        for reason in claim.red() {
            writeln!(to, "red: {}: {reason}", claim.id)?;
        }
    }
    let score = model::score(examined);
    writeln!(to, "{} claims can be falsified", fraction(score.falsifiable))?;
    writeln!(to, "{} contradicting lies turned the verdict", fraction(score.contradicting))?;
    writeln!(to, "{} blunt lies did not go unnoticed", fraction(score.blunt))?;
    writeln!(to, "{} tolerable lies left the verdict", fraction(score.tolerable))?;
    writeln!(to, "{} lies about set-up did not turn the verdict", fraction(score.set_up))
}

fn fraction(share: Share) -> String {
    format!("{}/{}", share.good, share.all)
}

/// How many blunt lies came to what.
fn effects(claim: &Examined) -> String {
    let effects = [
        (Effect::Turned, "turned"),
        (Effect::Seen, "seen"),
        (Effect::Untestable, "untestable"),
        (Effect::Stopped, "stopped"),
        (Effect::TimedOut, "waited for ever"),
        (Effect::Unnoticed, "unnoticed"),
    ];
    let count = |effect| {
        let is_it = |trial: &&Trial| trial.kind == Kind::Blunt && trial.effect == effect;
        claim.trials.iter().filter(is_it).count()
    };
    let words = effects.iter().map(|(effect, word)| (count(*effect), word));
    let words = words.filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    words.collect::<Vec<_>>().join(", ")
}
