//! The report for people, on a terminal or in a log.

use crate::claim::{Claim, Registry};
use crate::interpose::record::Made;
use crate::interpose::strace;
use crate::known::Known;
use crate::run::answer::{answers, instead};
use crate::run::record::{Record, Run};
use crate::run::red::Strictness;
use crate::run::text::plural;
use crate::seed::{Document, Language, Standing, Statement};
use crate::verdict::{Judgement, Observation, Word};
use anstyle::{AnsiColor, Style};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

/// The width of text in a file or pipe, and the maximum on a wide terminal.
const WIDTH: usize = 110;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();
const CYAN: Style = AnsiColor::Cyan.on_default();

fn width() -> usize {
    if io::stdout().is_terminal() { textwrap::termwidth().min(WIDTH) } else { WIDTH }
}

/// Prints `text` wrapped. The first line begins with `first`, the others with the same number of spaces.
pub(crate) fn paragraph(output: &mut dyn Write, first: &str, text: &str, style: Style) -> io::Result<()> {
    let indent = " ".repeat(first.chars().count());
    let options = textwrap::Options::new(width()).initial_indent(first).subsequent_indent(&indent);
    for line in textwrap::wrap(text, options) {
        writeln!(output, "{style}{line}{style:#}")?;
    }
    Ok(())
}

fn word_style(word: Word) -> Style {
    match word {
        Word::Holds => GREEN,
        Word::Refuted => YELLOW,
        Word::Untestable => CYAN,
        Word::Broken | Word::TimeOut | Word::NotReached => RED,
    }
}

fn standing_style(standing: Standing) -> Style {
    match standing {
        Standing::True => GREEN,
        Standing::False | Standing::Partly => YELLOW,
        Standing::Undecided => CYAN,
        Standing::NoExperiment => DIM,
    }
}

/// One claim's result: verdict and id, an unexpected judgement, the sentence, and what happened.
fn record(output: &mut dyn Write, record: &Record, registry: Registry) -> io::Result<()> {
    let indent = " ".repeat(17);
    let style = word_style(record.verdict);
    let judged = match record.judgement {
        Some(judgement @ (Judgement::NewFinding | Judgement::Changed)) => {
            format!("  ({})", judgement.words())
        }
        _ => String::new(),
    };
    writeln!(output, "      {style}{:<10}{style:#} {}{RED}{judged}{RED:#}", record.verdict.text(), record.id)?;
    if let Some(claim) = registry.find(&record.id) {
        paragraph(output, &indent, claim.statement, Style::new())?;
    }
    paragraph(output, &indent, &what_happened(record), DIM)
}

/// What the kernel did; of a refuted claim, what it did instead.
fn what_happened(record: &Record) -> String {
    let seen = record.observation.as_ref().filter(|_| record.verdict == Word::Refuted);
    let unmet: Vec<String> = seen.into_iter().flat_map(Observation::unmet).map(instead).collect();
    if unmet.is_empty() { record.what_happened() } else { format!("instead: {}", unmet.join("; ")) }
}

/// The lines above every report: the environment of the run, and the isolation that was missing.
pub fn heading(output: &mut dyn Write, run: &Run) -> io::Result<()> {
    let environment = &run.environment;
    let user = if environment.uid == 0 { "root".to_owned() } else { format!("user {}", environment.uid) };
    let files =
        environment.scratch.as_ref().map_or("no directory for files".to_owned(), |path| format!("files in {path}"));
    let linux = format!("Linux {} {}", environment.kernel, environment.machine);
    let kernel = match &environment.foreign {
        None => linux,
        Some(foreign) => format!("{foreign}, which calls itself {linux}"),
    };
    writeln!(output, "{BOLD}{kernel}{BOLD:#}, as {user}, {files}")?;
    let mut lost = environment.passed_over.clone();
    if let Some(error) = &environment.lost.ptrace {
        lost.push(format!("kernel entries cannot be counted: ptrace is refused ({error})"));
    }
    if let Some(error) = &environment.lost.pid_namespace {
        lost.push(format!(
            "experiments have no PID namespace of their own ({error}); they are cleaned up by their keepers"
        ));
    }
    for lost in lost {
        paragraph(output, "lost: ", &lost, CYAN)?;
    }
    Ok(())
}

/// A run from heading to summary, in the document's order and in this language, or by interface.
pub fn whole(
    output: &mut dyn Write,
    run: &Run,
    of_document: Option<Language>,
    strictness: &Strictness,
) -> io::Result<()> {
    heading(output, run)?;
    news(output, run, strictness.registry)?;
    if let Some(language) = of_document {
        document(output, run, strictness.registry, language)?;
    } else {
        claims(output, run, strictness.registry)?;
        writeln!(output)?;
    }
    summary(output, run, strictness)
}

/// New findings and changes, in one plain line each.
pub fn worth_a_word(run: &Run) -> Vec<String> {
    let found = run.judged(Judgement::Changed).chain(run.judged(Judgement::NewFinding));
    let line = |record: &Record| {
        let judgement = record.judgement.map_or("", Judgement::words);
        format!("{judgement}: {} {}: {}", record.id, record.verdict.text(), record.what_happened())
    };
    found.map(line).collect()
}

/// The source document in order: each statement, how it stands, and the claims that decide it.
pub fn document(output: &mut dyn Write, run: &Run, registry: Registry, language: Language) -> io::Result<()> {
    let document = Document::load();
    for section in &document.sections {
        let statements: Vec<&Statement> =
            document.of_section(section).filter(|statement| concerns(statement, run, registry)).collect();
        if statements.is_empty() {
            continue;
        }
        let number =
            if section.number.starts_with(|letter: char| letter.is_ascii_digit()) { &section.number } else { "-" };
        let heading = section.heading(language);
        writeln!(output, "\n{BOLD}{number}  {heading}{BOLD:#}")?;
        for statement in statements {
            self::statement(output, statement, run, registry, language)?;
        }
    }
    let standings = document.statements.iter().filter(|statement| concerns(statement, run, registry));
    let standings: Vec<Standing> = standings.map(|statement| standing(statement, run)).collect();
    let count = |standing| standings.iter().filter(|other| **other == standing).count();
    writeln!(
        output,
        "\n{BOLD}{}{BOLD:#}: {} true, {} partly true, {} false, {} undecided here, {} not for an experiment",
        plural(standings.len(), "statement"),
        count(Standing::True),
        count(Standing::Partly),
        count(Standing::False),
        count(Standing::Undecided),
        count(Standing::NoExperiment),
    )
}

/// Whether a statement is shown: one of its claims ran, or it has no claims and the whole registry ran.
fn concerns(statement: &Statement, run: &Run, registry: Registry) -> bool {
    let mut claims = statement.all_claims().peekable();
    if claims.peek().is_none() {
        let document = Document::load();
        let of_document = registry.all().filter(|claim| document.is_decided_by(claim));
        return of_document.into_iter().all(|claim| run.find(claim.id).is_some());
    }
    claims.any(|id| run.find(id).is_some())
}

fn standing(statement: &Statement, run: &Run) -> Standing {
    statement.standing(|id| run.find(id).map(|record| record.verdict))
}

/// One statement with its claims.
pub fn statement(
    output: &mut dyn Write,
    statement: &Statement,
    run: &Run,
    registry: Registry,
    language: Language,
) -> io::Result<()> {
    let standing = standing(statement, run);
    let style = standing_style(standing);
    writeln!(output)?;
    let indent = " ".repeat(17);
    let options = textwrap::Options::new(width()).initial_indent(&indent).subsequent_indent(&indent);
    let text = textwrap::wrap(statement.sentence(language), options).join("\n");
    writeln!(output, "  {BOLD}{}{BOLD:#} {style}{standing:<10}{style:#} {}", statement.id, text.trim_start())?;
    let counted = statement.counted(|id| run.find(id).map(|record| record.verdict));
    if !counted.is_empty() {
        paragraph(output, &indent, &counted, style)?;
    }
    if let Some(reason) = &statement.reason {
        paragraph(output, &indent, reason, DIM)?;
    }
    for id in statement.all_claims() {
        if let Some(found) = run.find(id) {
            record(output, found, registry)?;
        }
    }
    Ok(())
}

/// Every claim of the run, by interface.
pub fn claims(output: &mut dyn Write, run: &Run, registry: Registry) -> io::Result<()> {
    let mut interface = "";
    for found in &run.records {
        let Some(claim) = registry.find(&found.id) else {
            continue;
        };
        if claim.interface() != interface {
            interface = claim.interface();
            writeln!(output, "\n{BOLD}{interface}{BOLD:#}")?;
        }
        record(output, found, registry)?;
    }
    Ok(())
}

/// Verdicts without a record, which are the purpose of a run on a new kernel. They are printed first.
pub fn news(output: &mut dyn Write, run: &Run, registry: Registry) -> io::Result<()> {
    for (judgement, words) in [
        (Judgement::Changed, "Changed: measured on this series before, with the other result"),
        (Judgement::NewFinding, "New findings: not known of this kernel"),
    ] {
        let found: Vec<&Record> = run.judged(judgement).collect();
        if !found.is_empty() {
            writeln!(output, "\n{BOLD}{words}{BOLD:#}")?;
            for found in found {
                record(output, found, registry)?;
            }
        }
    }
    Ok(())
}

/// The last lines: counts, and why the run is red, if it is.
pub fn summary(output: &mut dyn Write, run: &Run, strictness: &Strictness) -> io::Result<()> {
    let judged = |judgement| run.judged(judgement).count();
    let unreached = match run.count(Word::NotReached) {
        0 => String::new(),
        count => format!(", {count} not reached"),
    };
    writeln!(
        output,
        "{BOLD}{}{BOLD:#}: {} hold, {} refuted, {} untestable, {} broken, {} timed out{unreached}; {} as known, {} new, {} changed",
        plural(run.records.len(), "claim"),
        run.count(Word::Holds),
        run.count(Word::Refuted),
        run.count(Word::Untestable),
        run.count(Word::Broken),
        run.count(Word::TimeOut),
        judged(Judgement::AsKnown),
        judged(Judgement::NewFinding),
        judged(Judgement::Changed),
    )?;
    let mut slow: Vec<_> = run.records.iter().filter(|record| record.milliseconds >= SLOW).collect();
    slow.sort_by_key(|record| std::cmp::Reverse(record.milliseconds));
    if !slow.is_empty() {
        let seconds = |record: &&Record| format!("{} {} s", record.id, record.milliseconds.div_ceil(1000));
        let slowest: Vec<String> = slow.iter().take(3).map(seconds).collect();
        paragraph(output, "slowest: ", &slowest.join(", "), DIM)?;
    }
    for reason in run.red(strictness) {
        paragraph(output, "red: ", &reason, RED)?;
    }
    Ok(())
}

/// From this number of milliseconds on, an experiment is named at the end.
const SLOW: u64 = 2000;

/// A claim as in the registry: its sources, the known verdicts, and the method.
pub fn claim(output: &mut dyn Write, claim: &Claim, language: Language) -> io::Result<()> {
    writeln!(output, "{BOLD}{}{BOLD:#}", claim.id)?;
    paragraph(output, "  ", claim.statement, Style::new())?;
    let known = Known::of(claim);
    for source in claim.sources {
        let against: Vec<String> = known.against(source).iter().map(|release| release.series.to_string()).collect();
        let judged = if against.is_empty() { String::new() } else { format!("; not so on {}", against.join(", ")) };
        paragraph(output, &format!("  {:<12}", source.stance.verb()), &format!("{source}{judged}"), Style::new())?;
    }
    for answer in answers(claim) {
        paragraph(output, "  known       ", &answer.words(), Style::new())?;
    }
    let about: Vec<&str> = claim.about.iter().map(syscalls::Sysno::name).collect();
    paragraph(output, "  about       ", &about.join(", "), Style::new())?;
    if !claim.method.is_empty() {
        paragraph(output, "  decided by  ", claim.method, Style::new())?;
    }
    paragraph(output, "  code        ", &format!("{}:{}", claim.at.file(), claim.at.line()), Style::new())?;
    for statement in Document::load().statements {
        let part = if statement.claims.iter().any(|id| id == claim.id) {
            "part of"
        } else if statement.denied_by.iter().any(|id| id == claim.id) {
            "against"
        } else {
            continue;
        };
        paragraph(
            output,
            &format!("  {part:<10}  "),
            &format!("{} {}", statement.id, statement.sentence(language)),
            Style::new(),
        )?;
    }
    Ok(())
}

/// The verdict on the running kernel, for `show`.
pub fn verdict_here(output: &mut dyn Write, run: &Run, found: &Record) -> io::Result<()> {
    let style = word_style(found.verdict);
    let mut line = String::new();
    if let Some(judgement) = found.judgement {
        let _ = write!(line, ", {}", judgement.words());
    }
    writeln!(output, "  on {}  {style}{}{style:#}{line}", run.environment.kernel, found.verdict.text())?;
    paragraph(output, "  ", &what_happened(found), DIM)
}

/// The calls that an experiment makes here about its claim, as `strace` shows them.
pub fn calls(output: &mut dyn Write, claim: &Claim, made: &[Made]) -> io::Result<()> {
    /// More are cut in the middle.
    const MOST: usize = 40;
    let about = |made: &&Made| {
        let call = usize::try_from(made.number).ok().and_then(syscalls::Sysno::new);
        call.is_some_and(|call| claim.about.contains(&call) || claim.lies.iter().any(|lie| lie.call == call))
    };
    let lines = strace::listing(made.iter().filter(about));
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(output, "  calls")?;
    let left_out = lines.len().saturating_sub(MOST);
    for (at, line) in lines.iter().enumerate() {
        if left_out > 0 && at == MOST / 2 {
            writeln!(output, "    ... {left_out} more")?;
        }
        if left_out == 0 || at < MOST / 2 || at >= MOST / 2 + left_out {
            writeln!(output, "    {DIM}{line}{DIM:#}")?;
        }
    }
    Ok(())
}
