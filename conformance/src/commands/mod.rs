//! The command line: what is asked for, by which command it is done, and how the program ends.

mod bench;
mod check;
mod coverage;
mod diff;
mod doctor;
mod failure;
mod falsify;
mod find;
mod grid;
mod list;
mod options;
mod output;
mod pages;
mod record;
mod redis;
mod report;
mod running;
mod shell;
mod show;
mod site;
mod soak;
#[cfg(feature = "vm")]
mod vm;

use clap::{CommandFactory, Parser, Subcommand};
use conformance::grids::fds::FDS;
use conformance::grids::fs::FS;
use conformance::grids::pairs::PAIRS;
use conformance::ledger::LEDGER;
use failure::Failure;
use nocopy_host::interrupt;
use options::Tongue;
use std::io::{self, Write};
use std::process::ExitCode;

/// Decides claims about Linux zero-copy I/O on the running kernel.
///
/// Without a command it checks all claims. Exit status: 0 green, 1 red, 2 bad usage.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Language of the source document, for `--source seed` and `show` [default: that of $LANG]
    #[arg(long, global = true, value_enum)]
    language: Option<Tongue>,
    #[command(flatten)]
    check: check::Check,
}

#[derive(Subcommand)]
enum Command {
    /// Decide claims on this kernel (the default)
    Check(check::Check),
    /// List the claims
    List(list::List),
    /// Find claims and statements by words
    Find(find::Find),
    /// Say what this machine lacks, what that costs in claims, and the command that mends it
    Doctor(doctor::Doctor),
    /// Write the registry as Markdown pages
    Pages(pages::Pages),
    /// Write the registry, the records and the grids as a static site
    Site(site::Site),
    /// Show which assertions of LTP, kselftest, gVisor and liburing are covered
    Coverage(coverage::Coverage),
    /// Report stored results, for people or for another program
    Report(report::Report),
    /// Compare two results; exit status 0 if they are the same, 1 if they differ, 2 for trouble
    Diff(diff::Diff),
    /// Write results of the matrix as records
    Record(record::Record),
    /// Check that every claim can fail, by falsifying system calls under its experiment
    Falsify(falsify::Falsify),
    /// Show what every kind of descriptor answers to every call
    Fds(grid::GridOptions),
    /// Show what every route makes of every pair of source and sink
    Pairs(grid::GridOptions),
    /// Show what every file system does under every call
    Fs(grid::GridOptions),
    /// Count what each method of sending costs: copies, system calls, page faults, switches
    Ledger(grid::GridOptions),
    /// Time the methods of sending against each other, round by round
    Bench(bench::Options),
    /// Stress transfers with injected faults; fail if a byte is lost without an error
    Soak(soak::Options),
    #[command(subcommand)]
    Redis(redis::Redis),
    /// Decide claims on another kernel, or run a program there
    #[cfg(feature = "vm")]
    #[command(subcommand)]
    Vm(vm::Vm),
    /// Decide claims on every kernel of the matrix, and compare
    #[cfg(feature = "vm")]
    Matrix(vm::matrix::Matrix),
    /// List, fetch and remove the kernels of the matrix
    #[cfg(feature = "vm")]
    #[command(subcommand)]
    Kernels(vm::kernels::Kernels),
    /// Show one claim or statement, and decide it here
    Show(show::Show),
    /// Print what completes this program's command lines in a shell
    Completions(shell::Completions),
    /// Write the manual pages of this program
    Man(shell::Man),
}

/// Does what the command line asks for.
pub fn main() -> ExitCode {
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
    let language = Tongue::language(cli.language);
    let prints_document = match &cli.command {
        None => cli.check.prints_document(),
        Some(Command::Check(options)) => options.prints_document(),
        Some(Command::Show(_)) => true,
        #[cfg(feature = "vm")]
        Some(Command::Vm(command)) => command.prints_document(),
        Some(_) => false,
    };
    if cli.language.is_some() && !prints_document {
        return usage(
            "--language: only `show`, and `check` and `vm run` with `--source seed`, print the source document",
        );
    }
    let done = match cli.command {
        None => check::check_command(&cli.check, language),
        Some(Command::Check(options)) => check::check_command(&options, language),
        Some(Command::List(options)) => list::list_command(&options, language),
        Some(Command::Find(options)) => find::find_command(&options),
        Some(Command::Doctor(options)) => doctor::doctor_command(&options),
        Some(Command::Completions(options)) => shell::completions_command(&options, Cli::command()),
        Some(Command::Man(options)) => shell::man_command(&options, Cli::command()),
        Some(Command::Pages(options)) => pages::pages_command(&options),
        Some(Command::Site(options)) => site::site_command(&options),
        Some(Command::Coverage(options)) => coverage::coverage_command(&options),
        Some(Command::Report(options)) => report::report_command(&options),
        Some(Command::Diff(options)) => diff::diff_command(&options),
        Some(Command::Record(options)) => record::record_command(&options),
        Some(Command::Falsify(options)) => falsify::falsify_command(&options),
        Some(Command::Fds(options)) => grid::grid_command(&FDS, &options),
        Some(Command::Pairs(options)) => grid::grid_command(&PAIRS, &options),
        Some(Command::Fs(options)) => grid::grid_command(&FS, &options),
        Some(Command::Ledger(options)) => grid::grid_command(&LEDGER, &options),
        Some(Command::Redis(command)) => redis::redis_command(&command),
        Some(Command::Bench(options)) => bench::bench_command(&options),
        Some(Command::Soak(options)) => soak::soak_command(&options),
        Some(Command::Show(options)) => show::show_command(&options, language),
        #[cfg(feature = "vm")]
        Some(Command::Vm(command)) => vm::vm_command(&command, language),
        #[cfg(feature = "vm")]
        Some(Command::Matrix(options)) => vm::matrix::matrix_command(&options),
        #[cfg(feature = "vm")]
        Some(Command::Kernels(command)) => vm::kernels::kernels_command(&command),
    };
    let code = match done {
        Ok(true) | Err(Failure::NobodyReads) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failure::Usage(message)) => usage(&message),
        Err(Failure::Red(message)) => {
            let _ = writeln!(anstream::stderr(), "conformance: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::Undecided(message)) => {
            let _ = writeln!(anstream::stderr(), "conformance: undecided: {message}");
            ExitCode::from(125)
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
    // What clap finds alike: `tip: a similar subcommand exists: 'list'`.
    let tip = message.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let tip = tip.filter(|tip| tip.contains("similar")).map_or_else(String::new, |tip| format!(": {tip}"));
    format!("{}{tip} (see --help)", words.join(" ").trim_start_matches("error: "))
}
