//! The command line.

#![forbid(unsafe_code)]

use clap::{Parser, ValueEnum};
use on_kernel::cache::Cache;
use on_kernel::error::Error;
use on_kernel::kernels::{self, Image};
use on_kernel::machine::Accelerator;
use on_kernel::packages;
use on_kernel::plan::Plan;
use on_kernel::project::{Defaults, Project};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The number after it is no user: calls take it for "as it is".
const MOST_UID: i64 = u32::MAX as i64 - 1;

/// Run a program on another Linux kernel, in QEMU, without root and without KVM
///
/// The program gets its shared objects, the working directory, standard input, and the variables of cargo's tests. Its output and
/// exit status are this command's: `on-kernel 6.1 -- uname -r`.
///
/// As cargo's runner: CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="on-kernel 6.1 --keep --" cargo test
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
#[command(name = "on-kernel", version, max_term_width = 100, after_help = AFTER)]
pub struct Options {
    /// Kernel: a series of the distribution (6.1), an exact release (6.1.0-50), a name of on-kernel.toml, or the path of a bzImage
    /// or vmlinux
    #[arg(required_unless_present_any = ["list", "clean"])]
    pub kernel: Option<String>,
    /// The program and its arguments
    #[arg(last = true)]
    pub command: Vec<String>,

    /// File or directory to bring, at its own path or another (can be repeated)
    #[arg(long, value_name = "PATH[:GUEST_PATH]")]
    pub with: Vec<String>,
    /// Variable for the program, with a value or with the one that it has here (can be repeated)
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Run as this user instead of root
    #[arg(long, value_name = "UID", value_parser = clap::value_parser!(u32).range(..=MOST_UID))]
    pub uid: Option<u32>,
    /// Kill the guest, or a command in one that is kept, after this many seconds [default: 300]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// Keep the guest for further commands of the same parent process, such as cargo
    #[arg(long)]
    pub keep: bool,

    /// For a kernel by path: directory with its modules
    #[arg(long, value_name = "DIR", help_heading = "The machine")]
    pub modules: Option<PathBuf>,
    /// For a kernel by path: required beginning of its release
    #[arg(long, value_name = "RELEASE", help_heading = "The machine")]
    pub expect: Option<String>,
    /// Module to load first, with those that it needs (can be repeated)
    #[arg(long, value_name = "NAME", help_heading = "The machine")]
    pub load: Vec<String>,
    /// Disk with this file system (can be repeated): ext4 at /var/tmp, others at /mnt/FS
    #[arg(long, value_name = "FS", help_heading = "The machine")]
    pub disk: Vec<String>,
    /// Two network cards that are connected with each other
    #[arg(long, help_heading = "The machine")]
    pub network: bool,
    /// Memory in MiB [default: 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(128..), help_heading = "The machine")]
    pub memory: Option<u32>,
    /// Arguments to add to the kernel's command line
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        help_heading = "The machine"
    )]
    pub append: Option<String>,
    /// Accelerator
    #[arg(long, value_enum, default_value = "auto", help_heading = "The machine")]
    pub accel: Accel,
    /// Mirror of the distribution [default: the one in this machine's apt configuration]
    #[arg(long, value_name = "URL", help_heading = "The machine")]
    pub mirror: Option<String>,

    /// Open a shell in the guest instead of running a program (needs busybox)
    #[arg(long, conflicts_with_all = ["command", "keep"], help_heading = "Looking at it")]
    pub shell: bool,
    /// Write the kernel's console to FILE
    #[arg(long, value_name = "FILE", help_heading = "Looking at it")]
    pub console: Option<PathBuf>,
    /// Print what would be run, and with which files, and run nothing
    #[arg(long, help_heading = "Looking at it")]
    pub dry_run: bool,
    /// Print how long the guest takes, and which files it gets
    #[arg(long, short, help_heading = "Looking at it")]
    pub verbose: bool,

    /// List the kernels and what is fetched
    #[arg(long, conflicts_with_all = ["kernel", "clean", "fetch", "dry_run"], help_heading = "Kernels")]
    pub list: bool,
    /// Fetch the kernel, and run nothing
    #[arg(long, conflicts_with_all = ["command", "shell", "keep", "with", "env", "uid"], help_heading = "Kernels")]
    pub fetch: bool,
    /// Remove all that was fetched
    #[arg(long, conflicts_with_all = ["kernel", "fetch"], help_heading = "Kernels")]
    pub clean: bool,
}

const AFTER: &str = "Exit status: the program's; 128 + N if signal N ended it; 2 if this machine lacks something or an option is \
wrong; 125 if the guest failed: it did not come up, died, exceeded its time, or its kernel reported a bug.

Kernels are fetched by apt from the distribution's signed index into target/kernels, or into the directory in NOCOPY_KERNELS.";

/// How the processor is emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM if a guest boots under it, otherwise TCG
    Auto,
    /// Translation in user space
    Tcg,
    /// The host's kernel
    Kvm,
}

/// The options of one run, with what the project adds.
#[derive(Debug)]
pub struct Chosen {
    /// The kernel: a name of the distribution, or a path.
    pub kernel: String,
    /// The directory of its modules.
    pub modules: Option<PathBuf>,
    /// The beginning of its release.
    pub expect: Option<String>,
    /// The rest.
    pub all: Defaults,
    /// The project's file, if there is one.
    pub project: Option<PathBuf>,
}

impl Options {
    /// Adds what `on-kernel.toml` says.
    pub fn chosen(&self) -> Result<Chosen, Error> {
        let here = std::env::current_dir().unwrap_or_default();
        let (project, path) = Project::of(&here)?;
        let name = self.kernel.clone().unwrap_or_default();
        let own = Defaults {
            memory: self.memory,
            timeout: self.timeout,
            disks: (!self.disk.is_empty()).then(|| self.disk.clone()),
            network: self.network.then_some(true),
            keep: self.keep.then_some(true),
            append: self.append.clone(),
            with: self.with.clone(),
            env: self.env.clone(),
            load: self.load.clone(),
        };
        let named = project.kernels.get(&name).cloned();
        let of_kernel = named.as_ref().map(|kernel| kernel.defaults.clone());
        let mut of_project = of_kernel.unwrap_or_default().or(project.defaults);
        // The file names what may be set; the command line, what has to be.
        let is_set = |text: &String| text.contains('=') || std::env::var_os(text).is_some();
        of_project.env.retain(is_set);
        let all = own.or(of_project);
        let (kernel, modules, expect) = match named {
            None => (name, self.modules.clone(), self.expect.clone()),
            Some(kernel) => {
                let path = kernel.path.map(|path| path.display().to_string());
                let of_file = path.or(kernel.kernel);
                (
                    of_file.expect("a project's kernel has one of them"),
                    self.modules.clone().or(kernel.modules),
                    self.expect.clone().or(kernel.expect),
                )
            }
        };
        Ok(Chosen {
            kernel,
            modules,
            expect,
            all,
            project: path,
        })
    }
}

impl Chosen {
    /// Whether the kernel is a file.
    fn is_file(&self) -> bool {
        let is_path = self.kernel.contains('/');
        is_path || self.modules.is_some() || self.expect.is_some()
    }

    /// The kernel, fetched if it is one of the distribution.
    pub fn image(
        &self,
        mirror: Option<&str>,
        is_dry: bool,
        say: &dyn Fn(&str),
    ) -> Result<Image, Error> {
        if self.is_file() {
            if mirror.is_some() {
                return Err(Error::host("--mirror is for kernels of the distribution"));
            }
            let modules = self.modules.as_deref();
            return kernels::own(Path::new(&self.kernel), modules, self.expect.as_deref());
        }
        if let Some(row) = kernels::foreign(&self.kernel) {
            return match row.kind {
                kernels::ForeignKind::UserModeLinux => row.user_mode_linux(),
                kernels::ForeignKind::Gvisor => {
                    Err(Error::host(format!("{} is not a kernel to boot", row.name)))
                }
            };
        }
        let row = kernels::resolve(&self.kernel)?;
        if is_dry {
            return Cache::open().find(&row.name).ok_or_else(|| {
                let name = &row.name;
                Error::host(format!("{name} is not fetched: on-kernel {name} --fetch"))
            });
        }
        packages::fetch(&Cache::open(), &row, mirror, say)
    }

    /// The machine, without what it runs.
    pub fn plan(&self, image: Image, options: &Options) -> Plan {
        let accelerator = match options.accel {
            _ if image.user_mode => Accelerator::UserMode,
            Accel::Auto if options.dry_run => Accelerator::Tcg,
            Accel::Auto => Accelerator::find(&Cache::open(), &image),
            Accel::Tcg => Accelerator::Tcg,
            Accel::Kvm => Accelerator::Kvm,
        };
        let all = &self.all;
        let mut modules: Vec<String> = all.load.iter().map(|name| name.replace('-', "_")).collect();
        let required = modules.clone();
        modules.extend(all.network.unwrap_or(false).then(|| "vmxnet3".to_owned()));
        Plan {
            image,
            modules: modules.into_iter().collect(),
            required,
            memory: all.memory.unwrap_or(1024),
            append: all.append.clone().unwrap_or_default(),
            disks: all.disks.clone().unwrap_or_default(),
            accelerator,
            limit: Duration::from_secs(all.timeout.unwrap_or(300)),
            // A keeper has another working directory.
            console: options
                .console
                .as_ref()
                .and_then(|path| std::path::absolute(path).ok()),
        }
    }
}
