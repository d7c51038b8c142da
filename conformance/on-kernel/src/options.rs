//! The options, and what follows from them.

#![forbid(unsafe_code)]

use on_kernel::cache::Cache;
use on_kernel::error::Error;
use on_kernel::kernels::Image;
use on_kernel::machine::Accelerator;
use on_kernel::named::{Kind, Named};
use on_kernel::plan::Plan;
use on_kernel::project::{Defaults, Project};
use std::path::PathBuf;
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
    /// The kernel.
    pub kernel: Named,
    /// The rest.
    pub all: Defaults,
    /// The project's file, if there is one.
    pub project: Option<PathBuf>,
}

impl Options {
    /// Finds the kernel, and adds what `on-kernel.toml` says.
    pub fn chosen(&self) -> Result<Chosen, Error> {
        let here = std::env::current_dir().unwrap_or_default();
        let (project, path) = Project::of(&here)?;
        let name = self.kernel.as_deref().unwrap_or_default();
        let modules = self.modules.as_deref();
        let kernel = Named::find(name, modules, self.expect.as_deref(), &project)?;
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
        let mut of_project = kernel.defaults.clone().or(project.defaults);
        // The file names what may be set; the command line, what has to be.
        let is_set = |text: &String| text.contains('=') || std::env::var_os(text).is_some();
        of_project.env.retain(is_set);
        Ok(Chosen {
            kernel,
            all: own.or(of_project),
            project: path,
        })
    }
}

impl Chosen {
    /// The kernel to start, fetched if it is one of the distribution.
    pub fn image(
        &self,
        mirror: Option<&str>,
        is_dry: bool,
        say: &dyn Fn(&str),
    ) -> Result<Image, Error> {
        let Named { name, kind, .. } = &self.kernel;
        match kind {
            Kind::File(_) if mirror.is_some() => {
                Err(Error::host("--mirror is for kernels of the distribution"))
            }
            Kind::Package(row) if is_dry => Cache::open().find(&row.name).ok_or_else(|| {
                let name = &row.name;
                Error::host(format!("{name} is not fetched: on-kernel {name} --fetch"))
            }),
            kind => kind.image(name, mirror, say),
        }
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
