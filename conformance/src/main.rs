//! The command line.

#![forbid(unsafe_code)]

mod commands;

use anstream::stream::IsTerminal;
use clap::{Args, Parser, Subcommand, ValueEnum};
use conformance::claim::{Claim, Source};
use conformance::foreign::Foreign;
use conformance::lab::filesystems::find_scratch;
use conformance::ledger::LEDGER;
use conformance::replace::{self, Replacement};
use conformance::report::jsonl::{self, Line};
use conformance::report::{Environment, Record, Run, Strictness, human};
use conformance::runner::{Heard, Runner, supervisor};
use conformance::seed::Document;
#[cfg(feature = "vm")]
use conformance::vm::qemu::END_GROUP;
use conformance::{claims, grids, input, interrupt, kernel};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Decides claims about Linux zero-copy I/O on the running kernel.
///
/// Without a command it checks all claims. Exit status: 0 green, 1 red, 2 bad usage.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    check: Check,
}

#[derive(Subcommand)]
enum Command {
    /// Run the experiments and say what holds (the default)
    Check(Check),
    /// List the claims
    List(commands::list::List),
    /// What nocopy has of the test suites of others: LTP, the kernel's own tests, gVisor, liburing
    Coverage(commands::coverage::Coverage),
    /// Make a report of stored results, in a form for people or for another program
    Report(commands::report::Report),
    /// What differs between two results; exit status 0 if nothing does, 1 if something, 2 for trouble
    Diff(commands::diff::Diff),
    /// Keep results of the matrix as records, without what differs from run to run
    Record(commands::record::Record),
    /// Lie to the experiments: a claim that no lie can turn is worth nothing
    Falsify(commands::falsify::Falsify),
    /// What every kind of descriptor answers to every call, as a grid
    Fds(commands::grid::GridOptions),
    /// What every file system does under every call, as a grid
    Fs(commands::grid::GridOptions),
    /// What each way of sending costs, counted: copies, system calls, page faults, switches; the article's tables beside it
    Ledger(commands::grid::GridOptions),
    /// Time the ways of sending against each other, round by round; the article's table beside it
    Bench(commands::bench::Options),
    /// Send random ranges by every route with faults: is every byte that is lost told of?
    Soak(commands::soak::Options),
    #[command(subcommand)]
    Redis(commands::redis::Redis),
    /// Decide claims on another kernel, or run a program there
    #[cfg(feature = "vm")]
    #[command(subcommand)]
    Vm(commands::vm::Vm),
    /// Decide claims on every kernel of the matrix and compare
    #[cfg(feature = "vm")]
    Matrix(commands::vm::Matrix),
    /// The kernels of the matrix
    #[cfg(feature = "vm")]
    #[command(subcommand)]
    Kernels(commands::vm::Kernels),
    /// Show all about one claim or statement, and decide it here
    Show {
        /// A claim (splice.copies.tcp) or a statement of the source document (S22)
        id: String,
        #[command(flatten)]
        running: Running,
    },
}

#[derive(Args)]
struct Check {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    running: Running,
    /// How to report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Write the report there instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    strict: Strict,
}

/// What is red besides broken experiments, time-outs and a run that decides nothing.
#[derive(Args)]
struct Strict {
    /// Also red: a result that contradicts what was measured on the kernel's series, and what is untestable
    #[arg(long)]
    strict: bool,
    /// With --strict: a claim that may be untestable, of a grid a row (can be repeated)
    #[arg(long, value_name = "ID", requires = "strict")]
    expect_untestable: Vec<String>,
}

impl Strict {
    /// As the reports take it. Every name must be of what the run is about.
    fn of<'name>(
        &self,
        names: impl IntoIterator<Item = &'name str>,
    ) -> Result<Strictness, Failure> {
        let names: Vec<&str> = names.into_iter().collect();
        let unused = |id: &&String| !names.contains(&id.as_str());
        if let Some(id) = self.expect_untestable.iter().find(unused) {
            return Err(Failure::Usage(format!(
                "--expect-untestable {id}: nothing of that name is in this run"
            )));
        }
        Ok(Strictness {
            strict: self.strict,
            expected_untestable: self.expect_untestable.clone(),
        })
    }

    fn of_claims(&self, claims: &[&'static Claim]) -> Result<Strictness, Failure> {
        self.of(claims.iter().map(|claim| claim.id))
    }
}

#[derive(Args)]
struct Selection {
    /// Only claims whose id contains this, or is this after a `=` (can be repeated)
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Only claims that this kind of source makes
    #[arg(long, value_enum)]
    source: Option<SourceKind>,
}

#[derive(Args)]
struct Running {
    /// How many experiments run side by side [default: one per CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// CPU seconds that one experiment may use; it may take six times as long by the wall clock [default: 20]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: Option<u64>,
    /// The directory for files [default: the first usable of $TMPDIR, /tmp, /var/tmp, /dev/shm]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

impl Running {
    /// An option that is given.
    fn given(&self) -> Option<&'static str> {
        let options = [
            (self.jobs.is_some(), "--jobs"),
            (self.timeout.is_some(), "--timeout"),
            (self.scratch.is_some(), "--scratch"),
        ];
        let given = options.into_iter().find(|(is_given, _)| *is_given);
        given.map(|(_, name)| name)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Human,
    /// The stored form, one JSON object per line
    Jsonl,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SourceKind {
    /// The source document
    Seed,
    /// Manual pages
    Man,
    /// Kernel documents
    Doc,
    /// Threads, commits and program sources
    Thread,
    /// Our own experiments
    Measured,
}

/// Why the program ends early.
enum Failure {
    /// A sentence for the user; exit status 2.
    Usage(String),
    /// Why nothing is green, in a sentence; exit status 1.
    Red(String),
    /// The exit status of a program that ran in a guest.
    #[cfg(feature = "vm")]
    Status(i32),
    /// The reader of our output is gone: nothing to say, and nobody to say it to.
    NobodyReads,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::NobodyReads
        } else {
            Self::Usage(error.to_string())
        }
    }
}

fn main() -> ExitCode {
    #[cfg(feature = "vm")]
    if conformance::vm::guest::is_guest() {
        conformance::vm::guest::main();
    }
    if supervisor::is_asked_for() {
        let experiments: Vec<_> = claims::registry()
            .into_iter()
            .chain(grids::rows())
            .collect();
        return match supervisor::main(&experiments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE, // whom it served notices the missing end
        };
    }
    #[cfg(feature = "vm")]
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == END_GROUP)
    {
        conformance::vm::qemu::end_group();
        return ExitCode::SUCCESS;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // --help and --version
            let printed = error.print().and_then(|()| io::stdout().flush());
            return match printed {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    usage(&format!("cannot write standard output: {error}"))
                }
                _ => ExitCode::SUCCESS,
            };
        }
        Err(error) => return usage(&one_line(&error.to_string())),
    };
    let done = match cli.command {
        None => check(&cli.check),
        Some(Command::Check(options)) => check(&options),
        Some(Command::List(options)) => commands::list::list_command(&options),
        Some(Command::Coverage(options)) => commands::coverage::coverage_command(&options),
        Some(Command::Report(options)) => commands::report::report_command(&options),
        Some(Command::Diff(options)) => commands::diff::diff_command(&options),
        Some(Command::Record(options)) => commands::record::record_command(&options),
        Some(Command::Falsify(options)) => commands::falsify::falsify_command(&options),
        Some(Command::Fds(options)) => commands::grid::grid_command(&grids::FDS, &options),
        Some(Command::Fs(options)) => commands::grid::grid_command(&grids::FS, &options),
        Some(Command::Ledger(options)) => commands::grid::grid_command(&LEDGER, &options),
        Some(Command::Redis(command)) => commands::redis::redis_command(&command),
        Some(Command::Bench(options)) => commands::bench::bench_command(&options),
        Some(Command::Soak(options)) => commands::soak::soak_command(&options),
        Some(Command::Show { id, running }) => show(&id, &running),
        #[cfg(feature = "vm")]
        Some(Command::Vm(command)) => commands::vm::vm_command(&command),
        #[cfg(feature = "vm")]
        Some(Command::Matrix(options)) => commands::vm::matrix_command(&options),
        #[cfg(feature = "vm")]
        Some(Command::Kernels(command)) => commands::vm::kernels_command(&command),
    };
    let code = match done {
        Ok(true) | Err(Failure::NobodyReads) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failure::Usage(message)) => usage(&message),
        Err(Failure::Red(message)) => {
            let _ = writeln!(anstream::stderr(), "conformance: {message}");
            ExitCode::FAILURE
        }
        #[cfg(feature = "vm")]
        Err(Failure::Status(status)) => ExitCode::from(u8::try_from(status).unwrap_or(1)),
    };
    interrupt::end_as_asked();
    code
}

fn usage(message: &str) -> ExitCode {
    let _ = writeln!(anstream::stderr(), "conformance: {message}");
    ExitCode::from(2)
}

/// What clap says before its first empty line, in one line and without its label.
fn one_line(message: &str) -> String {
    let first = message.split("\n\n").next().unwrap_or(message);
    let words: Vec<&str> = first.split_whitespace().collect();
    format!(
        "{} (see --help)",
        words.join(" ").trim_start_matches("error: ")
    )
}

fn select(selection: &Selection) -> Result<Vec<&'static Claim>, Failure> {
    // A statement stands as all of its claims have it: those against it, too, whoever says so.
    let document = selection.is_of_document().then(Document::load);
    let wanted = |claim: &Claim| {
        let by_source = match (&document, selection.source) {
            (Some(document), _) => document.is_decided_by(claim),
            (None, None) => true,
            (None, Some(kind)) => claim.sources.iter().any(|source| kind.matches(source)),
        };
        let by_id = selection.filter.is_empty()
            || selection
                .filter
                .iter()
                .any(|filter| named_by(claim.id, filter));
        by_source && by_id
    };
    let registry = claims::registry();
    if let Some(filter) = selection
        .filter
        .iter()
        .find(|filter| !registry.iter().any(|claim| named_by(claim.id, filter)))
    {
        return Err(Failure::Usage(format!(
            "no claim matches --filter {filter}: `conformance list` names them all"
        )));
    }
    let claims: Vec<_> = registry.into_iter().filter(|claim| wanted(claim)).collect();
    if claims.is_empty() {
        return Err(Failure::Usage(
            "no claim matches both --filter and --source: `conformance list` names them all".into(),
        ));
    }
    Ok(claims)
}

/// The first name that stands twice among these.
fn twice(names: &[String]) -> Option<&String> {
    let mut places = names.iter().enumerate();
    let again = places.find(|(at, name)| names[..*at].contains(name));
    again.map(|(_, name)| name)
}

/// Whether a filter means a name: it is a part of it, or, after a `=`, all of it.
fn named_by(name: &str, filter: &str) -> bool {
    match filter.strip_prefix('=') {
        Some(whole) => name == whole,
        None => name.contains(filter),
    }
}

impl Selection {
    /// Whether the source document alone is asked for.
    fn is_of_document(&self) -> bool {
        self.source == Some(SourceKind::Seed)
    }

    /// The same selection as options of a command line.
    #[cfg(feature = "vm")]
    fn options(&self) -> Vec<String> {
        let filters = self
            .filter
            .iter()
            .flat_map(|filter| ["--filter".to_owned(), filter.clone()]);
        let source = self
            .source
            .and_then(|source| Some(source.to_possible_value()?.get_name().to_owned()));
        filters
            .chain(
                source
                    .into_iter()
                    .flat_map(|source| ["--source".to_owned(), source]),
            )
            .collect()
    }
}

impl SourceKind {
    fn matches(self, source: &Source) -> bool {
        match source {
            Source::Seed(_) => self == Self::Seed,
            Source::Man(_) => self == Self::Man,
            Source::Doc(_) => self == Self::Doc,
            Source::Thread(_) => self == Self::Thread,
            Source::Measured => self == Self::Measured,
        }
    }
}

/// What runs claims as asked, and the directories that could not be used for files.
fn runner(running: &Running) -> Result<(Runner, Vec<String>), Failure> {
    let (scratch, passed_over) = scratch(running.scratch.as_deref())?;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runner = Runner {
        program: PathBuf::from("/proc/self/exe"),
        jobs: running.jobs.map_or(cpus, usize::from),
        cpu_seconds: running.timeout.unwrap_or(20),
        scratch,
    };
    Ok((runner, passed_over))
}

/// Runs claims. `each` is called with every line of the stored form as it comes.
fn run(
    claims: &[&'static Claim],
    running: &Running,
    progress: &ProgressBar,
    mut each: impl FnMut(&Line) -> io::Result<()>,
) -> Result<Run, Failure> {
    let release = kernel::running().map_err(|error| Failure::Usage(error.to_string()))?;
    let foreign = Foreign::running();
    let (runner, passed_over) = runner(running)?;
    let scratch = runner
        .scratch
        .as_ref()
        .map(|path| path.display().to_string());
    let mut run = Run::new(Environment::now(scratch, passed_over), Vec::new());
    // Both closures write lines; an error is kept and ends the run's output, not the run's cleaning up.
    let mut written = Ok(());
    let environment = &mut run.environment;
    let records = &mut run.records;
    let emit = std::cell::RefCell::new(|line: &Line| {
        if written.is_ok() {
            written = each(line);
        }
    });
    runner.run(
        claims,
        |heard| match heard {
            Heard::Lost(lost) => {
                environment.lost = lost.clone();
                emit.borrow_mut()(&Line::Environment(environment.clone()));
            }
            Heard::Begun(task) => {
                let id = claims[task].id.to_owned();
                emit.borrow_mut()(&Line::Begin { id });
            }
        },
        |claim, outcome, milliseconds| {
            let mut record = Record::of(claim, outcome, milliseconds, &release);
            if let Some(foreign) = &foreign {
                record.judgement = foreign.judge(claim, record.verdict);
            }
            progress.inc(1);
            emit.borrow_mut()(&Line::Claim(record.clone()));
            records.push(record);
        },
    )?;
    emit.into_inner()(&Line::End {
        claims: claims.len(),
    });
    written?;
    let position = |record: &Record| claims.iter().position(|claim| claim.id == record.id);
    run.records.sort_by_key(position);
    Ok(run)
}

fn check(options: &Check) -> Result<bool, Failure> {
    let claims = select(&options.selection)?;
    let strictness = options.strict.of_claims(&claims)?;
    interrupt::watch()?;
    let mut output = open_output(options.output.as_deref())?;
    // Colour codes are for terminals; a file gets plain text.
    let plain = options.output.is_some();
    let progress = progress(claims.len());
    let lines = |line: &Line| {
        if options.format == Format::Jsonl {
            jsonl::write(&mut output, line)
        } else {
            Ok(())
        }
    };
    let run = run(&claims, &options.running, &progress, lines)?;
    progress.finish_and_clear();
    if options.format == Format::Human {
        let mut report = Vec::new();
        human::whole(
            &mut report,
            &run,
            options.selection.is_of_document(),
            &strictness,
        )?;
        if plain {
            anstream::StripStream::new(&mut output as &mut dyn Write).write_all(&report)?;
        } else {
            output.write_all(&report)?;
        }
    }
    output.finish()?;
    let red = run.red(&strictness);
    if options.format == Format::Jsonl {
        let mut summary = Vec::new();
        human::summary(&mut summary, &run, &strictness)?;
        // The results are written; a word beside them that nobody can have changes nothing.
        let _ = anstream::stderr().write_all(&summary);
    }
    Ok(red.is_empty())
}

/// Where a report goes: standard output, a file that has its old content until [`finish`](Output::finish), or a device.
enum Output {
    Stream(Box<dyn Write>),
    File(PathBuf, Replacement),
}

impl Output {
    /// The report is whole.
    fn finish(mut self) -> Result<(), Failure> {
        self.flush()?;
        match self {
            Self::Stream(_) => Ok(()),
            Self::File(path, file) => file.commit().map_err(|error| cannot_write(&path, &error)),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.write(bytes),
            Self::File(path, file) => file.write(bytes).map_err(|error| of_file(path, &error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.flush(),
            Self::File(_, file) => file.flush(),
        }
    }
}

/// An error of a file, which names it.
fn of_file(path: &Path, error: &io::Error) -> io::Error {
    let what = format!("cannot write {}: {error}", path.display());
    io::Error::new(error.kind(), what)
}

/// The file that a report is for, or standard output.
fn open_output(path: Option<&Path>) -> Result<Output, Failure> {
    let Some(path) = path else {
        return Ok(Output::Stream(Box::new(anstream::stdout())));
    };
    let opened = if replace::is_replaceable(path) {
        Replacement::begin(path).map(|file| Output::File(path.to_owned(), file))
    } else {
        open_device(path).map(|device| Output::Stream(Box::new(device)))
    };
    opened.map_err(|error| cannot_write(path, &error))
}

/// A device, or a pipe that somebody reads: one that nobody reads is not waited for.
fn open_device(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let opened = options
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let device = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => io::Error::other("nobody reads this pipe: start its reader first"),
        _ => error,
    })?;
    input::wait_again(&device)?;
    Ok(device)
}

/// Refuses to write over what is read.
fn keep_inputs<'path>(
    output: Option<&Path>,
    inputs: impl IntoIterator<Item = &'path PathBuf>,
) -> Result<(), Failure> {
    match output.and_then(|output| input::same_file(output, inputs)) {
        Some(input) => Err(Failure::Usage(format!(
            "--output would replace {}, of which the report is made: name another file",
            input.display()
        ))),
        None => Ok(()),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(of_file(path, error).to_string())
}

/// The directory for files, and why others are not it.
fn scratch(asked: Option<&Path>) -> Result<(Option<PathBuf>, Vec<String>), Failure> {
    let (scratch, passed_over) = find_scratch(asked);
    let passed_over: Vec<String> = passed_over
        .iter()
        .map(|place| format!("no files in {}: {}", place.directory.display(), place.error))
        .collect();
    match (&scratch, asked) {
        (None, Some(asked)) => Err(Failure::Usage(format!(
            "--scratch {} cannot be used: {}",
            asked.display(),
            passed_over.join("; ")
        ))),
        _ => Ok((scratch, passed_over)),
    }
}

/// A bar on a terminal, a plain line elsewhere.
fn progress(claims: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        let _ = writeln!(io::stderr(), "deciding {}", human::plural(claims, "claim"));
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} claims")
        .expect("a constant template");
    ProgressBar::new(claims as u64).with_style(style)
}

fn show(id: &str, running: &Running) -> Result<bool, Failure> {
    let document = Document::load();
    let statement = document.find(id);
    let claims: Vec<&'static Claim> = match (claims::find(id), statement) {
        (Some(claim), _) => vec![claim],
        (None, Some(statement)) => statement.all_claims().filter_map(claims::find).collect(),
        (None, None) => {
            let message = format!(
                "`{id}` is neither a claim nor a statement of the source document (see `conformance list`)"
            );
            return Err(Failure::Usage(message));
        }
    };
    let run = run(&claims, running, &ProgressBar::hidden(), |_| Ok(()))?;
    let mut report = Vec::new();
    if let Some(statement) = statement {
        human::statement(&mut report, statement, &run)?;
        writeln!(report, "\n  {}", statement.chinese)?;
    }
    for claim in &claims {
        if statement.is_some() {
            writeln!(report)?;
        }
        human::claim(&mut report, claim)?;
        if let Some(record) = run.find(claim.id) {
            human::verdict_here(&mut report, &run, record)?;
        }
    }
    anstream::stdout().write_all(&report)?;
    Ok(run.red(&Strictness::default()).is_empty())
}
