//! The options, and what follows from them.

#![forbid(unsafe_code)]

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
pub const MOST_UID: u32 = u32::MAX - 1;

/// What the command line says: `command_line::HELP` explains it.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
pub struct Options {
    pub kernel: Option<String>,
    pub command: Vec<String>,
    pub with: Vec<String>,
    pub env: Vec<String>,
    pub uid: Option<u32>,
    pub timeout: Option<u64>,
    pub keep: bool,
    pub modules: Option<PathBuf>,
    pub expect: Option<String>,
    pub load: Vec<String>,
    pub disk: Vec<String>,
    pub network: bool,
    pub memory: Option<u32>,
    pub append: Option<String>,
    pub accel: Accel,
    pub mirror: Option<String>,
    pub shell: bool,
    pub console: Option<PathBuf>,
    pub dry_run: bool,
    pub verbose: bool,
    pub list: bool,
    pub fetch: bool,
    pub clean: bool,
}

/// How the processor is emulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accel {
    /// KVM if a guest boots under it, otherwise TCG
    #[default]
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
