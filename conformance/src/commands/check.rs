//! `conformance check`: decides claims on this kernel.

use super::failure::Failure;
use super::options::{Running, Selection, Sharing, Strict, select};
use super::output::{open_output, progress};
use super::running::run;
use clap::{Args, ValueEnum};
use conformance::report::human;
use conformance::run::jsonl::{self, Line};
use conformance::run::record::Run;
use conformance::seed::Language;
use conformance::verdict::Word;
use nocopy_host::interrupt;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    share: Sharing,
    #[command(flatten)]
    running: Running,
    /// Format of the report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Write the report to FILE instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    strict: Strict,
    /// Answer `git bisect run` about one claim: exit status 0 if this is its verdict, 1 if it is the other one, 125 if it is undecided
    #[arg(long, value_enum, value_name = "VERDICT", conflicts_with_all = ["strict", "expect_untestable", "partition"])]
    want: Option<Want>,
}

impl Check {
    /// Whether the report has the source document's headings and statements.
    pub fn prints_document(&self) -> bool {
        self.selection.is_of_document() && self.format == Format::Human
    }
}

/// The verdict that the user asks for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Want {
    /// The claim is true here
    Holds,
    /// The claim is false here
    Refuted,
}

impl Want {
    /// Whether the run, which is of one claim, has this verdict.
    fn is_met_by(self, run: &Run) -> Result<bool, Failure> {
        let record = run.records.first();
        match record.map(|record| record.verdict) {
            Some(Word::Holds) => Ok(self == Self::Holds),
            Some(Word::Refuted) => Ok(self == Self::Refuted),
            Some(Word::Untestable | Word::Broken | Word::TimeOut | Word::NotReached) | None => {
                let what = record.map(|record| {
                    let (id, verdict) = (&record.id, record.verdict.text());
                    format!("{id} {verdict}: {}", record.what_happened())
                });
                Err(Failure::Undecided(what.unwrap_or_else(|| "no result".to_owned())))
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Human,
    /// The stored form, one JSON object per line
    Jsonl,
}

pub fn check_command(options: &Check, language: Language) -> Result<bool, Failure> {
    let selected = select(&options.selection)?;
    // Every part takes the same options: names are of all that is selected.
    let strictness = options.strict.of_claims(&selected)?;
    let claims = options.share.of(&selected);
    if options.want.is_some() && claims.len() != 1 {
        return Err(Failure::Usage(format!(
            "--want is about one claim, and {} are selected: name it with --filter =ID",
            claims.len()
        )));
    }
    interrupt::watch()?;
    let mut output = open_output(options.output.as_deref())?;
    // Colour codes are for terminals; a file gets plain text.
    let plain = options.output.is_some();
    let progress = progress(claims.len());
    let lines = |line: &Line| {
        if options.format == Format::Jsonl { jsonl::write(&mut output, line) } else { Ok(()) }
    };
    let run = match run(&claims, &options.running, &progress, lines) {
        // A machine or kernel on which nothing runs does not have the other verdict.
        Err(Failure::Usage(why)) if options.want.is_some() => Err(Failure::Undecided(why)),
        run => run,
    }?;
    progress.finish_and_clear();
    if options.format == Format::Human {
        let mut report = Vec::new();
        let of_document = options.selection.is_of_document().then_some(language);
        human::whole(&mut report, &run, of_document, &strictness)?;
        if plain {
            anstream::StripStream::new(&mut output as &mut dyn Write).write_all(&report)?;
        } else {
            output.write_all(&report)?;
        }
    }
    output.finish()?;
    if options.format == Format::Jsonl {
        let mut summary = Vec::new();
        human::summary(&mut summary, &run, &strictness)?;
        // The results are written: a summary that cannot be printed changes nothing.
        let _ = anstream::stderr().write_all(&summary);
    }
    options.share.refuse_empty(selected.len())?;
    match options.want {
        Some(want) => want.is_met_by(&run),
        None => Ok(run.red(&strictness).is_empty()),
    }
}
