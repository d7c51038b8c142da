//! `kernels`, `vm` and `matrix`.

use crate::commands::failure::Failure;
use crate::commands::options::{Selection, Strict, select};
use crate::commands::output::open_output;
use clap::{Args, Subcommand, ValueEnum};
use conformance::claim::Claim;
use conformance::foreign::Foreign;
use conformance::grids::grid::Grid;
use conformance::grids::records;
use conformance::grids::sheet::Sheet;
use conformance::interrupt;
use conformance::lab::images;
use conformance::report::human;
use conformance::run::jsonl;
use conformance::run::recorded;
use conformance::run::text::plural;
use conformance::vm::error::Error;
use conformance::vm::frames::Kind;
use conformance::vm::guest::Job;
use conformance::vm::gvisor::{self, Sandbox};
use conformance::vm::kernels::{self, Cache, ForeignKind, ForeignRow, Image, Row};
use conformance::vm::matrix::{self, Asked, Order};
use conformance::vm::packages;
use conformance::vm::programs;
use conformance::vm::qemu::{Accelerator, Machine, cannot_run_alone, content};
use conformance::vm::workspace;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Host(message) | Error::Gone(message) | Error::NotRun(message) => {
                Self::Usage(message)
            }
            Error::Guest(message) => Self::Red(message),
        }
    }
}

#[derive(Subcommand)]
pub enum Kernels {
    /// List the kernels of the matrix and what has been fetched
    List,
    /// Fetch kernels (all, if none is named)
    Fetch {
        /// Names as `list` has them
        names: Vec<String>,
        #[command(flatten)]
        from: From_,
    },
    /// Remove what was fetched and made: kernels, disks, package lists. Other files stay
    Clean {
        /// Print what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Args)]
pub struct From_ {
    /// The distribution's mirror [default: the one that this machine's apt is configured for]
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
}

#[derive(Subcommand)]
pub enum Vm {
    /// Decide claims on another kernel
    Run {
        #[command(flatten)]
        machine: MachineOptions,
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        deciding: Deciding,
        /// Also write the results there, in the stored form (JSON Lines)
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Lie to the experiments on another kernel: `conformance falsify` there
    Falsify {
        #[command(flatten)]
        machine: MachineOptions,
        #[command(flatten)]
        selection: Selection,
        /// Tell only this many of the derived lies per claim, the same ones every time
        #[arg(long, value_name = "N")]
        sample: Option<usize>,
        /// Print every lie with what came of it
        #[arg(long)]
        verbose: bool,
    },
    /// Run a static program on another kernel; its output and exit status are this command's
    Exec {
        #[command(flatten)]
        machine: MachineOptions,
        /// A file that the program needs beside it (can be repeated)
        #[arg(long, value_name = "FILE")]
        with: Vec<PathBuf>,
        /// A kernel module to load first, with what it needs (can be repeated)
        #[arg(long, value_name = "NAME")]
        module: Vec<String>,
        /// The program and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run the workspace's tests on another kernel, all but those that need cargo or the sources
    Test {
        #[command(flatten)]
        machine: MachineOptions,
        /// Arguments for the build, such as `--package NAME`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Look around on another kernel (busybox, if it is installed)
    Shell {
        #[command(flatten)]
        machine: MachineOptions,
    },
}

#[derive(Args)]
pub struct Matrix {
    /// Only these kernels, separated by commas [default: all of the matrix]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    kernels: Vec<String>,
    /// How many guests run side by side [default: one per CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Only part K of N of the kernels, so that machines share the matrix
    #[arg(long, value_name = "K/N", value_parser = parse_partition)]
    partition: Option<(usize, usize)>,
    #[command(flatten)]
    guest: GuestOptions,
    #[command(flatten)]
    from: From_,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    deciding: Deciding,
    /// Where the results go, a file per kernel
    #[arg(long, value_name = "DIR", default_value = "target/conformance")]
    results: PathBuf,
}

/// When a guest that makes a grid is given up, if nothing else is said.
const GRID_LIMIT: Duration = Duration::from_mins(15);

/// The number after it is no user: calls take it for "as it is".
const MOST_UID: i64 = u32::MAX as i64 - 1;

/// How claims are decided in a guest.
#[derive(Args)]
pub struct Deciding {
    #[command(flatten)]
    strict: Strict,
    /// CPU seconds that one experiment may use; it may take six times as long by the wall clock [default: 20]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: Option<u64>,
}

#[derive(Args)]
pub struct MachineOptions {
    /// A kernel of the matrix by name, or the path of a bzImage or vmlinux
    #[arg(long, value_name = "NAME|PATH")]
    kernel: String,
    /// For a kernel by path: the directory with its modules
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
    /// For a kernel by path: what its release must begin with
    #[arg(long, value_name = "SERIES")]
    expect: Option<String>,
    #[command(flatten)]
    guest: GuestOptions,
    #[command(flatten)]
    from: From_,
}

#[derive(Args)]
pub struct GuestOptions {
    /// Memory of a guest in MiB [default: 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(128..))]
    memory: Option<u32>,
    /// Added to the kernel's command line
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    append: Option<String>,
    /// Seconds after which a guest is given up [default: 300, of a grid 900]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Disks of a guest, by their file systems: ext4, xfs, btrfs, f2fs, vfat, exfat, ntfs3, squashfs, erofs, iso9660 (none: --disks=)
    /// [default: ext4]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    disks: Option<Vec<String>>,
    /// How the processor is emulated [default: auto]
    #[arg(long, value_enum)]
    accel: Option<Accel>,
    /// Run as this user instead of root
    #[arg(long, value_name = "UID", value_parser = clap::value_parser!(u32).range(..=MOST_UID))]
    uid: Option<u32>,
}

/// The kernels on which a grid is made, instead of the running one.
#[derive(Args)]
pub struct GridMachines {
    /// Make it on these kernels of the matrix, separated by commas, or on `all`: of several, print what differs
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    kernels: Vec<String>,
    /// How many guests run side by side [default: one per CPU]
    #[arg(long, value_name = "N", requires = "kernels", value_parser = clap::value_parser!(u16).range(1..))]
    guests: Option<u16>,
    #[command(flatten)]
    guest: GuestOptions,
    #[command(flatten)]
    from: From_,
    /// Where the grids of guests go, a file per kernel [default: target/grids/GRID]
    #[arg(long, value_name = "DIR", requires = "kernels")]
    results: Option<PathBuf>,
}

impl GridMachines {
    /// Whether there are any.
    pub fn are_named(&self) -> bool {
        !self.kernels.is_empty()
    }

    /// Their names, as they were given.
    pub fn names(&self) -> &[String] {
        &self.kernels
    }

    /// Options that say something about guests, and are given although there are none.
    pub fn without_use(&self) -> Option<&'static str> {
        let of_guests = self.guest.given().first().copied();
        of_guests.or_else(|| self.from.mirror.is_some().then_some("--mirror"))
    }

    /// Makes the grid on each, and keeps it. A kernel that the distribution has dropped is left out, with a word.
    pub fn sheets(
        &self,
        grid: &Grid,
        rows: &[&'static Claim],
        arguments: Vec<String>,
    ) -> Result<Vec<(String, Sheet)>, Failure> {
        if grid.on_disks && self.guest.disks.is_some() {
            return Err(Failure::Usage(format!(
                "{} has guests with every disk: --disks says nothing about it",
                grid.name
            )));
        }
        let all = self.kernels == ["all"];
        let named = if all { &[][..] } else { &self.kernels };
        let linux = self::rows(named)?.into_iter().filter_map(|row| match row {
            Listed::Linux(row) => Some(Ok(row)),
            Listed::Foreign(_) if all => None,
            Listed::Foreign(row) => Some(Err(Failure::Usage(format!(
                "{} has no grids: they are made by Linux kernels in guests",
                row.name
            )))),
        });
        let usual = Path::new(records::MADE).join(grid.name);
        let directory = self.results.as_ref().unwrap_or(&usual);
        matrix::prepare(directory)?;
        let cache = Cache::open();
        let mirror = self.from.mirror.as_deref();
        let fetched = linux.map(|row| {
            let row = row?;
            Ok((
                row.name.clone(),
                packages::fetch(&cache, &row, mirror, &say),
            ))
        });
        let images: Vec<(String, Result<Image, Error>)> =
            fetched.collect::<Result<_, Failure>>()?;
        // A row of the ledger takes ten seconds where the processor is emulated, and more where others use it, too.
        let mut command = ["/init", grid.name, "--format", "jsonl", "--timeout", "120"]
            .map(str::to_owned)
            .to_vec();
        command.extend(arguments);
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let jobs = self.guests.map_or(cpus, usize::from);
        let made = matrix::side_by_side(&images, jobs, |(name, image)| {
            let made = image.clone().and_then(|image| {
                let job = Job {
                    commands: vec![command.clone()],
                    ..Job::default()
                };
                let mut guest = self.guest.machine(&image, job);
                guest.modules = matrix::modules(rows);
                if self.guest.limit.is_none() {
                    guest.limit = GRID_LIMIT; // a ledger takes three minutes, and this machine may be busy
                }
                if grid.on_disks {
                    let names = images::ALL.iter().map(|image| image.name.to_owned());
                    guest.job.disks = names.collect();
                }
                matrix::grid(&guest)
            });
            // At once: what comes of the others must not take it along.
            let made = made.and_then(|made| {
                matrix::store_grid(directory, name, &made.0)?;
                Ok(made)
            });
            match &made {
                Ok((_, ran)) => {
                    let (boot, total) = (ran.boot.as_secs_f32(), ran.total.as_secs_f32());
                    say(&format!(
                        "{name}: {} up in {boot:.1} s, done in {total:.1} s",
                        ran.release
                    ));
                }
                Err(error) => say(&format!("{name}: {error}")),
            }
            (name.clone(), made)
        });
        let mut sheets = Vec::new();
        for (name, made) in made {
            match made {
                Ok((sheet, _)) => sheets.push((name, sheet)),
                Err(Error::Gone(_)) if all => {}
                Err(error) => return Err(error.into()),
            }
        }
        if sheets.is_empty() {
            return Err(Failure::Usage("no kernel could be had".to_owned()));
        }
        Ok(sheets)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Accel {
    /// KVM where booting under it works, TCG elsewhere
    Auto,
    /// By translation
    Tcg,
    /// By the host's kernel
    Kvm,
}

fn parse_partition(text: &str) -> Result<(usize, usize), String> {
    let parsed = text
        .split_once('/')
        .and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
    match parsed {
        Some((part, parts)) if 0 < part && part <= parts => Ok((part, parts)),
        _ => Err("like 1/3: a part and the number of parts".into()),
    }
}

fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

impl MachineOptions {
    /// The row of a kernel that is a program, if one is named.
    fn foreign(&self) -> Option<ForeignRow> {
        let plain = self.modules.is_none() && self.expect.is_none();
        kernels::foreign(&self.kernel).filter(|_| plain)
    }

    /// Whether a kernel is named that is not Linux.
    fn is_gvisor(&self) -> bool {
        self.foreign()
            .is_some_and(|row| row.kind == ForeignKind::Gvisor)
    }

    /// The kernel, fetched if it is one of the matrix.
    fn image(&self) -> Result<Image, Error> {
        let path = Path::new(&self.kernel);
        let is_own = self.modules.is_some() || self.expect.is_some();
        if is_own && !path.exists() && kernels::is_known(&self.kernel) {
            return Err(Error::host(format!(
                "{} is a kernel of the matrix, with modules and a release of its own: leave out --modules and --expect, or name a \
                 file with --kernel PATH",
                self.kernel
            )));
        }
        if self.kernel.contains('/') || is_own {
            if self.from.mirror.is_some() {
                return Err(Error::host(
                    "--mirror is for kernels of the matrix, and --kernel names a file",
                ));
            }
            return kernels::own(path, self.modules.as_deref(), self.expect.as_deref());
        }
        match self.foreign() {
            Some(row) if row.kind == ForeignKind::UserModeLinux => return row.user_mode_linux(),
            Some(row) => {
                return Err(Error::host(format!(
                    "{} is no kernel to boot: it has `vm run` and `vm exec`",
                    row.name
                )));
            }
            None => {}
        }
        packages::fetch(
            &Cache::open(),
            &kernels::row(&self.kernel)?,
            self.from.mirror.as_deref(),
            &say,
        )
    }
}

impl GuestOptions {
    /// The options that are given.
    fn given(&self) -> Vec<&'static str> {
        let options = [
            (self.memory.is_some(), "--memory"),
            (self.append.is_some(), "--append"),
            (self.limit.is_some(), "--limit"),
            (self.disks.is_some(), "--disks"),
            (self.accel.is_some(), "--accel"),
            (self.uid.is_some(), "--uid"),
        ];
        let given = options.into_iter().filter(|(is_given, _)| *is_given);
        given.map(|(_, name)| name).collect()
    }

    /// Those that gVisor's sandbox or User-mode Linux has no use for must not be given.
    fn fit(&self, kind: ForeignKind, name: &str) -> Result<(), Failure> {
        let useful: &[&str] = match kind {
            ForeignKind::Gvisor => &["--limit", "--uid"],
            ForeignKind::UserModeLinux => &["--limit", "--uid", "--memory", "--append"],
        };
        match self.given().iter().find(|option| !useful.contains(option)) {
            Some(option) => Err(Failure::Usage(format!(
                "{name} is a program and not a machine: {option} says nothing about it"
            ))),
            None => Ok(()),
        }
    }

    /// No name is no disk.
    fn disks(&self) -> Vec<String> {
        match &self.disks {
            None => vec!["ext4".to_owned()],
            Some(named) => {
                let named = named.iter().filter(|name| !name.is_empty());
                named.cloned().collect()
            }
        }
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.limit.unwrap_or(300))
    }

    fn memory(&self) -> u32 {
        self.memory.unwrap_or(1024)
    }

    fn machine<'image>(&self, image: &'image Image, job: Job) -> Machine<'image> {
        Machine {
            image,
            job: Job {
                uid: self.uid,
                disks: self.disks(),
                ..job
            },
            modules: std::collections::BTreeSet::new(),
            files: vec![],
            memory: self.memory(),
            append: self.append.clone().unwrap_or_default(),
            limit: self.limit(),
            accelerator: self.accelerator(image),
        }
    }

    fn accelerator(&self, image: &Image) -> Accelerator {
        match self.accel.unwrap_or(Accel::Auto) {
            _ if image.user_mode => Accelerator::UserMode,
            Accel::Auto => Accelerator::find(&Cache::open(), image),
            Accel::Tcg => Accelerator::Tcg,
            Accel::Kvm => Accelerator::Kvm,
        }
    }

    fn order(
        &self,
        selection: &Selection,
        deciding: &Deciding,
        accelerator: Accelerator,
    ) -> Result<Order, Failure> {
        Ok(Order {
            claims: select(selection)?,
            options: selection.options(),
            memory: self.memory(),
            append: self.append.clone().unwrap_or_default(),
            limit: self.limit(),
            disks: self.disks(),
            accelerator,
            uid: self.uid,
            timeout: deciding.timeout,
        })
    }
}

pub fn kernels_command(command: &Kernels) -> Result<bool, Failure> {
    let cache = Cache::open();
    match command {
        Kernels::List => {
            let mut output = anstream::stdout().lock();
            for row in kernels::rows() {
                let recorded = recorded::find(&row.name).map_or_else(
                    || "not fetched".to_owned(),
                    |stored| format!("not fetched; recorded {}", stored.run.environment.kernel),
                );
                let fetched = cache.find(&row.name).map_or_else(
                    || recorded,
                    |image| {
                        image
                            .packages
                            .iter()
                            .map(|package| format!("{} {}", package.name, package.version))
                            .collect::<Vec<_>>()
                            .join(", ")
                    },
                );
                writeln!(
                    output,
                    "{:<8} {:<18} {:<12} {fetched}",
                    row.name, row.suite, row.flavour
                )?;
            }
            for row in kernels::foreign_rows() {
                let found = match row.kind {
                    ForeignKind::Gvisor => {
                        gvisor::version().map(|version| format!("{} {version}", row.program))
                    }
                    ForeignKind::UserModeLinux => row
                        .user_mode_linux()
                        .map(|image| image.boot.display().to_string()),
                };
                let installed =
                    found.unwrap_or_else(|_| "not installed: just setup-foreign".to_owned());
                let package = format!("package {}", row.package);
                writeln!(
                    output,
                    "{:<8} {package:<18} {:<12} {installed}",
                    row.name, "-"
                )?;
            }
            Ok(true)
        }
        Kernels::Fetch { names, from } => {
            interrupt::watch()?;
            for row in rows(names)? {
                let row = match row {
                    Listed::Linux(row) => row,
                    Listed::Foreign(_) if names.is_empty() => continue,
                    Listed::Foreign(row) => {
                        return Err(Failure::Usage(format!(
                            "{} is not fetched but installed: run `just setup-foreign` (Debian: apt-get install {})",
                            row.name, row.package
                        )));
                    }
                };
                let image = packages::fetch(&cache, &row, from.mirror.as_deref(), &say)?;
                say(&format!("{}: {}", row.name, image.boot.display()));
            }
            Ok(true)
        }
        Kernels::Clean { dry_run } => {
            let cleaned = cache.clean(*dry_run)?;
            let mut output = anstream::stdout().lock();
            let word = if *dry_run { "would remove" } else { "removed" };
            for (path, bytes) in &cleaned.removed {
                let mib = bytes.div_ceil(1 << 20);
                writeln!(output, "{word} {} ({mib} MiB)", path.display())?;
            }
            for path in &cleaned.left {
                writeln!(output, "left {}, which nocopy has not made", path.display())?;
            }
            if cleaned.removed.is_empty() && cleaned.left.is_empty() {
                let directory = cache.directory.display();
                writeln!(output, "nothing to remove in {directory}")?;
            }
            Ok(true)
        }
    }
}

/// A row of the matrix.
enum Listed {
    Linux(Row),
    Foreign(ForeignRow),
}

fn rows(names: &[String]) -> Result<Vec<Listed>, Error> {
    if names.is_empty() {
        let linux = kernels::rows().into_iter().filter(|row| !row.optional);
        let foreign = kernels::foreign_rows().into_iter().map(Listed::Foreign);
        return Ok(linux.map(Listed::Linux).chain(foreign).collect());
    }
    let named = names.iter().map(|name| match kernels::foreign(name) {
        Some(row) => Ok(Listed::Foreign(row)),
        None => kernels::row(name).map(Listed::Linux),
    });
    named.collect()
}

pub fn vm_command(command: &Vm) -> Result<bool, Failure> {
    match command {
        Vm::Run {
            machine,
            selection,
            deciding,
            output,
        } => decide(machine, selection, deciding, output.as_deref()),
        Vm::Falsify {
            machine,
            selection,
            sample,
            verbose,
        } => falsify(machine, selection, *sample, *verbose),
        Vm::Exec {
            machine,
            with,
            module,
            command,
        } => exec(machine, with, module, command),
        Vm::Test { machine, arguments } => test(machine, arguments),
        Vm::Shell { machine } => shell(machine),
    }
}

fn decide(
    machine: &MachineOptions,
    selection: &Selection,
    deciding: &Deciding,
    output: Option<&Path>,
) -> Result<bool, Failure> {
    let claims = select(selection)?;
    let strictness = deciding.strict.of_claims(&claims)?;
    interrupt::watch()?;
    // Before the guest is started, so that a wrong name costs nothing.
    let output = output.map(|path| open_output(Some(path))).transpose()?;
    let foreign = machine.foreign();
    if let Some(row) = &foreign {
        machine.guest.fit(row.kind, &row.name)?;
    }
    let (decided, how) = if machine.is_gvisor() {
        let order = machine.guest.order(selection, deciding, Accelerator::Tcg)?;
        (matrix::decide_in_gvisor(&order), String::new())
    } else {
        let image = machine.image()?;
        let accelerator = machine.guest.accelerator(&image);
        let order = machine.guest.order(selection, deciding, accelerator)?;
        let how = format!(", by {}", accelerator.name());
        (matrix::decide(&image, &order), how)
    };
    if let Some(mut output) = output {
        match &decided {
            Ok(decided) => jsonl::write_run(&mut output, &decided.run)?,
            // Older results must not pass for today's.
            Err(Error::Guest(why)) => {
                let run = matrix::unreached(&machine.kernel, why, &claims);
                jsonl::write_run(&mut output, &run)?;
            }
            Err(error) => return Err(error.clone().into()),
        }
        output.finish()?;
    }
    let decided = decided?;
    let run = &decided.run;
    let mut report = Vec::new();
    human::whole(&mut report, run, selection.is_of_document(), &strictness)?;
    if machine.is_gvisor() {
        let gvisor = Foreign::gvisor(None);
        writeln!(report, "\ndifferent from Linux:")?;
        for record in &run.records {
            if let Some(because) = gvisor.because(&record.id) {
                let (word, id) = (record.verdict.text(), &record.id);
                writeln!(report, "  {word:<10} {id}: {because}")?;
            }
        }
    }
    writeln!(report, "{}{how}", decided.times())?;
    anstream::stdout().write_all(&report)?;
    match decided.broke_off {
        Some(why) => Err(Failure::Red(why)),
        None => Ok(run.red(&strictness).is_empty()),
    }
}

fn falsify(
    machine: &MachineOptions,
    selection: &Selection,
    sample: Option<usize>,
    verbose: bool,
) -> Result<bool, Failure> {
    let claims = select(selection)?;
    let image = machine.image()?;
    let mut command = vec!["/init".to_owned(), "falsify".to_owned()];
    command.extend(selection.options());
    command.extend(
        sample
            .into_iter()
            .flat_map(|count| ["--sample".to_owned(), count.to_string()]),
    );
    command.extend(verbose.then(|| "--verbose".to_owned()));
    let job = Job {
        commands: vec![command],
        ..Job::default()
    };
    let mut guest = machine.guest.machine(&image, job);
    guest.modules = matrix::modules(&claims);
    guest.files.extend(programs::files(&claims));
    guest.job.disks = matrix::disks(&guest.job.disks, &claims);
    run_through(&guest)
}

fn exec(
    machine: &MachineOptions,
    with: &[PathBuf],
    modules: &[String],
    command: &[String],
) -> Result<bool, Failure> {
    let program = PathBuf::from(&command[0]);
    let content = content(&program)?;
    if let Some(reason) = cannot_run_alone(&content) {
        let program = program.display();
        return Err(Failure::Usage(format!("{program}: {reason}")));
    }
    // Programs of the package that a test starts: cargo tells its runner where they are.
    let variables = runner_variables();
    let programs = variables
        .iter()
        .filter(|(name, _)| name.starts_with("CARGO_BIN_EXE_"))
        .map(|(_, path)| PathBuf::from(path))
        .filter(|path| path.exists());
    let mut files = vec![absolute(&program)?];
    for path in with.iter().cloned().chain(programs) {
        let path = absolute(&path)?;
        if !files.contains(&path) {
            files.push(path);
        }
    }
    if let Some(twice) = files.iter().enumerate().find_map(|(at, path)| {
        files[..at]
            .iter()
            .any(|other| file_name(other) == file_name(path))
            .then_some(path)
    }) {
        return Err(Failure::Usage(format!(
            "two files are called {}: give one of them another name",
            file_name(twice)
        )));
    }
    let inside = std::iter::once(inside(&program))
        .chain(command[1..].iter().cloned())
        .collect();
    if machine.is_gvisor() {
        let sandbox = Sandbox {
            command: inside,
            environment: variables,
            files: named(&files),
            links: links(&files[1..]),
            uid: machine.guest.uid,
            limit: machine.guest.limit(),
        };
        let mut written = Ok(());
        let ended = sandbox.run(|kind, bytes| pass_through(kind, bytes, &mut written))?;
        all_written(written)?;
        return status(ended.status);
    }
    let image = machine.image()?;
    let mut guest = machine.guest.machine(
        &image,
        Job {
            commands: vec![inside],
            environment: variables,
            links: links(&files[1..]),
            ..Job::default()
        },
    );
    guest.modules = modules.iter().cloned().collect();
    guest.job.required = modules.iter().map(|name| name.replace('-', "_")).collect();
    guest.files = named(&files);
    run_through(&guest)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

/// Variables that cargo and the frameworks of tests have for a test: those of a runner are its program's, too.
fn runner_variables() -> Vec<(String, String)> {
    const THEIRS: [&str; 7] = [
        "CARGO_BIN_EXE_",
        "CARGO_CRATE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "QUICKCHECK_",
        "RUST_",
        "RUSTDOC_",
    ];
    let all = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    // Not backtraces: reading a program's symbols takes an emulated processor seconds.
    all.filter(|(name, _)| !name.ends_with("_BACKTRACE"))
        .filter(|(name, _)| THEIRS.iter().any(|theirs| name.starts_with(theirs)))
        .collect()
}

/// Files and the names that they have in the guest.
fn named(files: &[PathBuf]) -> Vec<(String, PathBuf)> {
    let named = files.iter().map(|path| (file_name(path), path.clone()));
    named.collect()
}

/// Tests know the programs of their package by the path where cargo has put them: they are there in the guest, too.
fn links(files: &[PathBuf]) -> Vec<(String, String)> {
    let links = files
        .iter()
        .map(|path| (path.display().to_string(), inside(path)));
    links.collect()
}

fn test(machine: &MachineOptions, arguments: &[String]) -> Result<bool, Failure> {
    let image = machine.image()?;
    let mut built = workspace::build(arguments)?;
    // What is a command of its own is not run twice: `vm falsify` tells lies, `vm run` decides the claims, and `record` keeps what
    // they saw, which the host decides again with other facts. Reports are made of stored results, on the host, too.
    let elsewhere = ["falsify-", "claims-", "decide-", "reports-"];
    built.tests.retain(|path| {
        let name = file_name(path);
        !elsewhere.iter().any(|prefix| name.starts_with(prefix))
    });
    // As many guests as processors, each with its share of the test programs: one guest has one processor.
    let cpus = std::thread::available_parallelism()
        .map_or(1, std::num::NonZero::get)
        .min(built.tests.len());
    let shares = workspace::shares(&built.tests, cpus);
    let results = matrix::side_by_side(&shares, cpus, |tests| {
        let mut output = Vec::new();
        let guest = guest_of_tests(machine, &image, &built.programs, tests);
        let ran = guest.run(|_, bytes| {
            output.extend_from_slice(bytes);
        });
        // Whole, so that two guests' lines do not mix.
        let written = io::stdout().lock().write_all(&output);
        (ran, written)
    });
    let (mut worst, mut wrong) = (0, Vec::new());
    for (ran, written) in results {
        written?;
        match ran {
            Ok(ran) if worst == 0 => worst = ran.end.status,
            Ok(_) => {}
            Err(Error::Guest(what)) => wrong.push(what),
            Err(error) => return Err(error.into()),
        }
    }
    if wrong.is_empty() {
        status(worst)
    } else {
        Err(Failure::Red(wrong.join("\nconformance: ")))
    }
}

/// A guest that runs test programs, which may start the workspace's programs.
fn guest_of_tests<'image>(
    machine: &MachineOptions,
    image: &'image Image,
    programs: &[PathBuf],
    tests: &[&PathBuf],
) -> Machine<'image> {
    // A guest has one processor; tests that wait for each other's time limits wait together.
    let skip = ["--skip", "host_only", "--test-threads", "4"].map(str::to_owned);
    let commands = tests
        .iter()
        .map(|path| std::iter::once(inside(path)).chain(skip.clone()).collect());
    let job = Job {
        commands: commands.collect(),
        links: links(programs),
        ..Job::default()
    };
    let mut guest = machine.guest.machine(image, job);
    // No network cards: tests run the claims side by side, and a card that one of them has is not there for another.
    let claims: Vec<_> = conformance::claims::REGISTRY.all().collect();
    let modules = claims
        .iter()
        .flat_map(|claim| claim.modules)
        .filter(|module| **module != "vmxnet3");
    guest.modules = modules.map(|name| (*name).to_owned()).collect();
    guest.files = tests
        .iter()
        .copied()
        .chain(programs)
        .map(|path| (file_name(path), path.clone()))
        .collect();
    guest
}

fn shell(machine: &MachineOptions) -> Result<bool, Failure> {
    let busybox = Path::new("/bin/busybox");
    if !busybox.exists() {
        return Err(Failure::Usage(
            "a shell needs /bin/busybox: apt-get install busybox-static".into(),
        ));
    }
    let image = machine.image()?;
    if image.user_mode {
        return Err(Failure::Usage(format!(
            "{} has no shell: `vm exec --kernel {} -- {} sh -c '..'` runs commands there",
            image.name,
            image.name,
            busybox.display()
        )));
    }
    let command = [inside(busybox), "sh".into()].to_vec();
    let job = Job {
        commands: vec![command],
        interactive: true,
        ..Job::default()
    };
    let mut guest = machine.guest.machine(&image, job);
    guest.files = vec![("busybox".into(), busybox.into())];
    guest.limit = Duration::from_hours(24);
    say("leave with `exit`; commands are `busybox NAME`");
    guest.run(|_, _| {})?;
    Ok(true)
}

/// Where a file stands in the guest.
fn inside(path: &Path) -> String {
    format!("/files/{}", file_name(path))
}

pub fn matrix_command(options: &Matrix) -> Result<bool, Failure> {
    if let Some(again) = crate::commands::options::twice(&options.kernels) {
        return Err(Failure::Usage(format!("--kernels names {again} twice")));
    }
    let mut rows = rows(&options.kernels)?;
    if let Some((part, parts)) = options.partition {
        rows = matrix::partition(rows, part, parts);
    }
    let claims = select(&options.selection)?;
    let strictness = options.deciding.strict.of_claims(&claims)?;
    interrupt::watch()?;
    matrix::prepare(&options.results)?;
    let cache = Cache::open();
    // One after the other: apt locks its state, and the network is one.
    let fetch = |row: &Row| packages::fetch(&cache, row, options.from.mirror.as_deref(), &say);
    // No image: it is not Linux.
    let images: Vec<(String, Option<Result<Image, Error>>)> = rows
        .iter()
        .map(|row| match row {
            Listed::Linux(row) => (row.name.clone(), Some(fetch(row))),
            Listed::Foreign(row) => match row.kind {
                ForeignKind::Gvisor => (row.name.clone(), None),
                ForeignKind::UserModeLinux => (row.name.clone(), Some(row.user_mode_linux())),
            },
        })
        .collect();
    let linux = || images.iter().filter_map(|(_, image)| image.as_ref());
    let booted = |image: &&Image| !image.user_mode;
    let first = linux().filter_map(|image| image.as_ref().ok()).find(booted);
    let accelerator = match (first, linux().find_map(|image| image.as_ref().err())) {
        (Some(image), _) => options.guest.accelerator(image),
        // None is asked for that is booted.
        (None, None | Some(Error::NotRun(_))) if !images.is_empty() => Accelerator::UserMode,
        (None, why) => {
            return Err(Failure::Usage(format!(
                "no kernel could be had: {}",
                why.map_or_else(|| "none was asked for".into(), ToString::to_string)
            )));
        }
    };
    let order = options
        .guest
        .order(&options.selection, &options.deciding, accelerator)?;
    let guests = match accelerator {
        Accelerator::UserMode => String::new(),
        _ => format!(" by {}", accelerator.name()),
    };
    say(&format!(
        "{} on {}{guests}",
        plural(claims.len(), "claim"),
        plural(images.len(), "kernel"),
    ));
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = options.jobs.map_or(cpus, usize::from);
    let results = matrix::side_by_side(&images, jobs, |(name, image)| {
        let result = match (interrupt::came(), image) {
            (Some(signal), _) => Err(Error::guest(format!("{signal} ended the run before it"))),
            (None, None) => matrix::decide_in_gvisor(&order),
            (None, Some(Err(error))) => Err(error.clone()),
            (None, Some(Ok(image))) => matrix::decide(image, &order),
        };
        // At once: what comes of the others must not take it along.
        let result = match result {
            Ok(decided) => matrix::store(&options.results, name, &decided.run).map(|()| decided),
            // Older results of this kernel must not pass for today's.
            Err(Error::Guest(why)) => {
                let run = matrix::unreached(name, &why, &claims);
                matrix::store(&options.results, name, &run).and(Err(Error::Guest(why)))
            }
            Err(error) => Err(error),
        };
        let how = match &result {
            Ok(decided) => format!("{} {}", matrix::release(&decided.run), decided.times()),
            Err(Error::NotRun(_)) => "not run".to_owned(),
            Err(_) => "failed".to_owned(),
        };
        say(&format!("{name}: {how}"));
        matrix::Row {
            name: name.clone(),
            result,
        }
    });
    let mut report = Vec::new();
    matrix::table(&mut report, &results, &claims, &options.results)?;
    for (name, run) in matrix::runs(&results) {
        for record in human::worth_a_word(run) {
            writeln!(report, "{name}: {record}")?;
        }
    }
    let asked = match (options.kernels.is_empty(), options.partition) {
        (false, _) => Asked::ByName,
        (true, Some(_)) => Asked::Part,
        (true, None) => Asked::All,
    };
    let red = matrix::red(&results, &strictness, asked);
    for reason in &red {
        writeln!(report, "red: {reason}")?;
    }
    if matrix::runs(&results).next().is_some() {
        let directory = options.results.display();
        writeln!(report, "results: {directory}")?;
    }
    anstream::stdout().write_all(&report)?;
    Ok(red.is_empty())
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Runs a guest whose output and exit status are ours.
fn run_through(guest: &Machine<'_>) -> Result<bool, Failure> {
    let mut written = Ok(());
    let ran = guest.run(|kind, bytes| pass_through(kind, bytes, &mut written))?;
    all_written(written)?;
    status(ran.end.status)
}

/// Writes what a guest says to our own streams, and keeps the first error.
fn pass_through(kind: Kind, bytes: &[u8], written: &mut io::Result<()>) {
    let done = match kind {
        Kind::Output => io::stdout()
            .write_all(bytes)
            .and_then(|()| io::stdout().flush()),
        _ => io::stderr().write_all(bytes),
    };
    if written.is_ok() {
        *written = done;
    }
}

fn all_written(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        // Who reads no more still wants the status.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Usage(format!(
            "cannot write what the guest says: {error}"
        ))),
        _ => Ok(()),
    }
}

/// The exit status of what ran is ours.
fn status(status: i32) -> Result<bool, Failure> {
    if status == 0 {
        Ok(true)
    } else {
        Err(Failure::Status(status))
    }
}
