//! What a guest is.

#![forbid(unsafe_code)]

use crate::job::Job;
use crate::kernels::Image;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// The description of a guest.
#[derive(Clone, Debug)]
pub struct Machine<'image> {
    /// The kernel.
    pub image: &'image Image,
    /// The job of the guest.
    pub job: Job,
    /// Modules to load; the modules that they need are added.
    pub modules: BTreeSet<String>,
    /// Files for `/files`, by name. A name that begins with a slash is a path in the root directory.
    pub files: Vec<(String, PathBuf)>,
    /// Memory in MiB.
    pub memory: u32,
    /// Added to the kernel's command line.
    pub append: String,
    /// The time limit of the guest.
    pub limit: Duration,
    /// How the processor is emulated.
    pub accelerator: Accelerator,
    /// A file for the console.
    pub console: Option<PathBuf>,
}

/// How the processor is emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Accelerator {
    /// By translation: works everywhere, and is about ten times slower.
    Tcg,
    /// By the host's kernel.
    Kvm,
    /// Not emulated: User-mode Linux is a program.
    UserMode,
}

impl Accelerator {
    /// Its name in QEMU and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
            Self::UserMode => "the host's processor, as a program",
        }
    }
}

impl Machine<'_> {
    /// The file systems of its disks. User-mode Linux has no disks.
    pub fn disks(&self) -> &[String] {
        if self.image.user_mode {
            &[]
        } else {
            &self.job.disks
        }
    }

    /// The name of the program that runs it.
    pub fn emulator(&self) -> &'static str {
        if self.image.user_mode {
            "User-mode Linux"
        } else {
            "QEMU"
        }
    }
}
