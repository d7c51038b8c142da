//! What the command does.

#![forbid(unsafe_code)]

use crate::command_line;
use crate::options::Options;
use nocopy_host::{interrupt, programs};
use on_kernel::cache::Cache;
use on_kernel::error::Error;
use on_kernel::frames::Kind;
use on_kernel::gvisor::Sandbox;
use on_kernel::job::Job;
use on_kernel::keep::{self, Outcome};
use on_kernel::kernels;
use on_kernel::machine::Ran;
use on_kernel::pack::{Packed, Wanted};
use on_kernel::plan::Plan;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The exit status for what this machine lacks.
const UNUSABLE: u8 = 2;
/// The exit status for a guest that failed, which `git bisect run` takes for a kernel that cannot be tried.
const FAILED: u8 = 125;

pub fn main() -> ExitCode {
    let options = match command_line::read() {
        Ok(options) => options,
        Err(status) => return status,
    };
    let done = interrupt::watch()
        .map_err(|error| Error::host(error.to_string()))
        .and_then(|()| run(&options));
    match done {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(FAILED)),
        Err(error) => {
            say(&format!("on-kernel: {error}"));
            interrupt::end_as_asked();
            ExitCode::from(match error {
                Error::Guest(_) => FAILED,
                Error::Host(_) | Error::Gone(_) | Error::NotRun(_) => UNUSABLE,
            })
        }
    }
}

fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn run(options: &Options) -> Result<i32, Error> {
    if options.list {
        return list();
    }
    if options.clean {
        return clean(options.dry_run);
    }
    let chosen = options.chosen()?;
    if let (true, Some(path)) = (options.verbose, &chosen.project) {
        say(&format!("on-kernel: {}", path.display()));
    }
    // Before the kernel is fetched, so that a wrong name costs nothing.
    let wanted = Wanted {
        command: options.command.clone(),
        with: chosen.all.with.clone(),
        environment: chosen.all.env.clone(),
        uid: options.uid,
    };
    let packed = match (options.fetch, options.shell) {
        (true, _) => None,
        (_, true) => Some(shell(&wanted)?),
        _ => Some(wanted.pack()?),
    };
    if let Some(packed) = &packed
        && chosen.kernel.kind.is_gvisor()
    {
        if options.dry_run {
            return Err(Error::host(format!(
                "{} is no machine: --dry-run says nothing about it",
                chosen.kernel.name
            )));
        }
        let limit = Duration::from_secs(chosen.all.timeout.unwrap_or(300));
        return in_gvisor(packed, limit);
    }
    let image = chosen.image(options.mirror.as_deref(), options.dry_run, &say)?;
    let Some(packed) = packed else {
        return Ok(0);
    };
    let plan = chosen.plan(image, options);
    if options.dry_run {
        return dry_run(&plan, &packed);
    }
    if options.verbose {
        let release = &plan.image.name;
        say(&format!(
            "on-kernel: {release}, by {}",
            plan.accelerator.name()
        ));
        for (to, from) in &packed.files {
            say(&format!("on-kernel: {to} ({})", from.display()));
        }
    }
    let begun = Instant::now();
    let mut written = Ok(());
    if chosen.all.keep.unwrap_or(false) && !plan.image.user_mode {
        match keep::run(&plan, &packed, |kind, bytes| {
            write(kind, bytes, &mut written);
        })? {
            Outcome::Ended(status) => {
                if options.verbose {
                    let seconds = begun.elapsed().as_secs_f32();
                    say(&format!(
                        "on-kernel: exit status {status} after {seconds:.1} s"
                    ));
                }
                return all_written(written).map(|()| status);
            }
            Outcome::NoSession(why) => {
                if options.verbose {
                    say(&format!("on-kernel: no guest is kept: {why}"));
                }
            }
        }
    }
    let ran = once(&plan, &packed, options.shell, &mut written)?;
    if options.verbose {
        let Ran {
            release,
            boot,
            total,
            ..
        } = &ran;
        let [boot, total] = [boot, total].map(Duration::as_secs_f32);
        say(&format!(
            "on-kernel: Linux {release}, up in {boot:.1} s, done in {total:.1} s"
        ));
    }
    all_written(written).map(|()| ran.end.status)
}

/// A guest for one command.
fn once(
    plan: &Plan,
    packed: &Packed,
    interactive: bool,
    written: &mut io::Result<()>,
) -> Result<Ran, Error> {
    let start = packed.start.clone();
    let job = Job {
        commands: vec![start.command],
        environment: start.environment,
        directory: start.directory,
        uid: start.uid,
        input: start.input && !interactive,
        interactive,
        ..Job::default()
    };
    let mut machine = plan.machine(job, packed.files.clone());
    if interactive {
        machine.limit = Duration::from_hours(24);
        say("leave with `exit`; commands are `busybox NAME`");
    }
    machine.run(|kind, bytes| write(kind, bytes, written))
}

/// A shell of busybox, which is a static program.
fn shell(wanted: &Wanted) -> Result<Packed, Error> {
    let busybox = programs::find("busybox")
        .ok_or_else(|| Error::host("--shell needs busybox: apt-get install busybox-static"))?;
    let wanted = Wanted {
        command: vec![busybox.display().to_string(), "sh".to_owned()],
        ..wanted.clone()
    };
    wanted.pack()
}

fn in_gvisor(packed: &Packed, limit: Duration) -> Result<i32, Error> {
    let sandbox = Sandbox {
        command: packed.start.command.clone(),
        environment: packed.start.environment.clone(),
        files: packed.files.clone(),
        uid: packed.start.uid,
        limit,
    };
    let mut written = Ok(());
    let ended = sandbox.run(|kind, bytes| write(kind, bytes, &mut written))?;
    all_written(written).map(|()| ended.status)
}

/// Writes what the program says to our own streams, and keeps the first error.
fn write(kind: Kind, bytes: &[u8], written: &mut io::Result<()>) {
    let done = match kind {
        Kind::Output => io::stdout()
            .write_all(bytes)
            .and_then(|()| io::stdout().flush()),
        _ => io::stderr().write_all(bytes),
    };
    if done
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    {
        // As a program whose reader has gone. The guest, or the command in one that is kept, ends with us.
        std::process::exit(128 + libc::SIGPIPE);
    }
    if written.is_ok() {
        *written = done;
    }
}

fn all_written(written: io::Result<()>) -> Result<(), Error> {
    match written {
        Err(error) => Err(Error::host(format!(
            "cannot write what the program says: {error}"
        ))),
        Ok(()) => Ok(()),
    }
}

fn print(lines: &[String]) -> Result<i32, Error> {
    let text = lines
        .iter()
        .fold(String::new(), |text, line| text + line + "\n");
    all_written(io::stdout().write_all(text.as_bytes())).map(|()| 0)
}

fn dry_run(plan: &Plan, packed: &Packed) -> Result<i32, Error> {
    let start = packed.start.clone();
    let job = Job {
        commands: vec![start.command.clone()],
        ..Job::default()
    };
    let machine = plan.machine(job, vec![]);
    let mut lines = vec![format!("kernel   {}", plan.image.boot.display())];
    for package in &plan.image.packages {
        lines.push(format!("package  {} {}", package.name, package.version));
    }
    lines.push(format!("machine  {}", machine.command_line()));
    lines.push(format!("program  {}", start.command.join(" ")));
    lines.push(format!("in       {}", start.directory.unwrap_or_default()));
    for (name, value) in &start.environment {
        lines.push(format!("variable {name}={value}"));
    }
    for (to, from) in &packed.files {
        let from = from.as_path();
        let same = from == Path::new(to);
        let from = if same {
            String::new()
        } else {
            format!(" from {}", from.display())
        };
        lines.push(format!("file     {to}{from}"));
    }
    print(&lines)
}

fn list() -> Result<i32, Error> {
    let cache = Cache::open();
    let mut lines = Vec::new();
    for row in kernels::rows() {
        let fetched = cache.find(&row.name);
        let fetched = fetched.map_or_else(
            || "not fetched".to_owned(),
            |image| {
                image
                    .packages
                    .first()
                    .map_or_else(String::new, |package| package.version.clone())
            },
        );
        lines.push(format!(
            "{:<12} {:<18} {:<12} {fetched}",
            row.name, row.suite, row.flavour
        ));
    }
    for row in kernels::foreign_rows() {
        let program = programs::find(&row.program);
        let there = if program.is_some() {
            "installed"
        } else {
            "not installed"
        };
        lines.push(format!(
            "{:<12} {:<18} {:<12} {there}",
            row.name, row.package, row.program
        ));
    }
    let here = std::env::current_dir().unwrap_or_default();
    let (project, path) = on_kernel::project::Project::of(&here)?;
    for (name, kernel) in project.kernels {
        let path = path.as_deref().unwrap_or(Path::new("")).display();
        let kernel = kernel
            .path
            .map_or(kernel.kernel.unwrap_or_default(), |path: PathBuf| {
                path.display().to_string()
            });
        lines.push(format!("{name:<12} {kernel} ({path})"));
    }
    print(&lines)
}

fn clean(dry: bool) -> Result<i32, Error> {
    let cleaned = Cache::open().clean(dry)?;
    let would = if dry { "would remove" } else { "removed" };
    let mut lines = Vec::new();
    for (path, bytes) in &cleaned.removed {
        lines.push(format!("{would} {} ({} MiB)", path.display(), bytes >> 20));
    }
    for path in &cleaned.left {
        lines.push(format!(
            "left {}, which is not a part of a cache",
            path.display()
        ));
    }
    if lines.is_empty() {
        lines.push(format!(
            "nothing to remove in {}",
            Cache::open().directory.display()
        ));
    }
    print(&lines)
}
