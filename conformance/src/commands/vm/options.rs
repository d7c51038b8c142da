//! Options of guests.

use crate::commands::failure::Failure;
use crate::commands::options::{Selection, Strict, select};
use clap::{Args, ValueEnum};
use conformance::vm::chosen::{Chosen, Kind};
use conformance::vm::matrix::Order;
use on_kernel::cache::Cache;
use on_kernel::error::Error;
use on_kernel::job::Job;
use on_kernel::kernels::{ForeignKind, Image};
use on_kernel::machine::{Accelerator, Machine};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args)]
pub struct From_ {
    /// Mirror of the distribution [default: the one in this machine's apt configuration]
    #[arg(long, value_name = "URL")]
    pub(super) mirror: Option<String>,
}

/// The number after it is no user: calls take it for "as it is".
pub(super) const MOST_UID: i64 = u32::MAX as i64 - 1;

/// How claims are decided in a guest.
#[derive(Args)]
pub struct Deciding {
    #[command(flatten)]
    pub(super) strict: Strict,
    /// CPU seconds for one experiment; the wall-clock limit is six times as long [default: 20]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub(super) timeout: Option<u64>,
}

/// Kernels beside those of a list.
#[derive(Args)]
pub struct Named {
    /// Kernel by name or path, also one of yours, with the directory of its modules (can be repeated)
    #[arg(long, value_name = "NAME|[NAME=]PATH[:MODULES]")]
    pub(super) kernel: Vec<String>,
}

#[derive(Args)]
pub struct MachineOptions {
    /// Kernel: of the matrix (6.1), an exact release (6.1.0-47), a name of on-kernel.toml, or the path of a bzImage or vmlinux
    #[arg(long, value_name = "NAME|[NAME=]PATH[:MODULES]")]
    pub(super) kernel: String,
    /// For a kernel by path: directory with its modules
    #[arg(long, value_name = "DIR")]
    pub(super) modules: Option<PathBuf>,
    /// For a kernel by path: required beginning of its release
    #[arg(long, value_name = "SERIES")]
    pub(super) expect: Option<String>,
    #[command(flatten)]
    pub(super) guest: GuestOptions,
    #[command(flatten)]
    pub(super) from: From_,
}

#[derive(Args)]
pub struct GuestOptions {
    /// Memory of a guest in MiB [default: 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(128..))]
    pub(super) memory: Option<u32>,
    /// Arguments to add to the kernel's command line
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(super) append: Option<String>,
    /// Kill the guest after this many seconds [default: 300, for a grid 900]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: Option<u64>,
    /// Disks of the guest by file system: ext4, xfs, btrfs, f2fs, vfat, exfat, ntfs3, squashfs, erofs, iso9660 (none: --disks=)
    /// [default: ext4]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) disks: Option<Vec<String>>,
    /// Accelerator [default: auto]
    #[arg(long, value_enum)]
    pub(super) accel: Option<Accel>,
    /// Run as this user instead of root
    #[arg(long, value_name = "UID", value_parser = clap::value_parser!(u32).range(..=MOST_UID))]
    pub(super) uid: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Accel {
    /// KVM if a guest boots under it, otherwise TCG
    Auto,
    /// Translation in user space
    Tcg,
    /// The host's kernel
    Kvm,
}

pub(in crate::commands) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

impl From_ {
    /// Only packages are fetched: a mirror is an error if none of these is one.
    pub(super) fn has_use(&self, kernels: &[Chosen]) -> Result<(), Error> {
        let is_fetched = |kernel: &Chosen| matches!(kernel.kind, Kind::Package(_));
        if self.mirror.is_some() && !kernels.iter().any(is_fetched) {
            return Err(Error::host("--mirror is for kernels that are fetched, and a file or program is named"));
        }
        Ok(())
    }
}

impl Named {
    /// All names, in the order in which they are given.
    pub(super) fn and(&self, names: &[String]) -> Vec<String> {
        [names, &self.kernel].concat()
    }
}

impl MachineOptions {
    /// The kernel that is named.
    pub(super) fn chosen(&self) -> Result<Chosen, Error> {
        let modules = self.modules.as_deref();
        let kernel = Chosen::with(&self.kernel, modules, self.expect.as_deref())?;
        self.from.has_use(std::slice::from_ref(&kernel))?;
        Ok(kernel)
    }

    /// Its file, fetched if it is a kernel of the distribution.
    pub(super) fn image(&self) -> Result<Image, Error> {
        self.image_of(&self.chosen()?)
    }

    pub(super) fn image_of(&self, kernel: &Chosen) -> Result<Image, Error> {
        kernel.image(self.from.mirror.as_deref(), &say)
    }
}

impl GuestOptions {
    /// The options that are given.
    pub(super) fn given(&self) -> Vec<&'static str> {
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
    pub(super) fn fit(&self, kind: ForeignKind, name: &str) -> Result<(), Failure> {
        let useful: &[&str] = match kind {
            ForeignKind::Gvisor => &["--limit", "--uid"],
            ForeignKind::UserModeLinux => &["--limit", "--uid", "--memory", "--append"],
        };
        match self.given().iter().find(|option| !useful.contains(option)) {
            Some(option) => {
                Err(Failure::Usage(format!("{name} is a program and not a machine: {option} says nothing about it")))
            }
            None => Ok(()),
        }
    }

    /// No name is no disk.
    pub(super) fn disks(&self) -> Vec<String> {
        match &self.disks {
            None => vec!["ext4".to_owned()],
            Some(named) => {
                let named = named.iter().filter(|name| !name.is_empty());
                named.cloned().collect()
            }
        }
    }

    pub(super) fn limit(&self) -> Duration {
        Duration::from_secs(self.limit.unwrap_or(300))
    }

    pub(super) fn memory(&self) -> u32 {
        self.memory.unwrap_or(1024)
    }

    pub(super) fn machine<'image>(&self, image: &'image Image, job: Job) -> Machine<'image> {
        Machine {
            image,
            job: Job { uid: self.uid, disks: self.disks(), ..job },
            modules: std::collections::BTreeSet::new(),
            files: vec![],
            memory: self.memory(),
            append: self.append.clone().unwrap_or_default(),
            limit: self.limit(),
            accelerator: self.accelerator(image),
            console: None,
        }
    }

    pub(super) fn accelerator(&self, image: &Image) -> Accelerator {
        match self.accel.unwrap_or(Accel::Auto) {
            _ if image.user_mode => Accelerator::UserMode,
            Accel::Auto => Accelerator::find(&Cache::open(), image),
            Accel::Tcg => Accelerator::Tcg,
            Accel::Kvm => Accelerator::Kvm,
        }
    }

    pub(super) fn order(
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
