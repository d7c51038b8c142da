//! A machine without its job: what guests of one kind have in common.

#![forbid(unsafe_code)]

use crate::job::Job;
use crate::kernels::Image;
use crate::machine::{Accelerator, Machine};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// What a guest is, whatever it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The kernel.
    pub image: Image,
    /// Modules to load; the modules that they need are added.
    pub modules: BTreeSet<String>,
    /// Those of them that must be there.
    pub required: Vec<String>,
    /// Memory in MiB.
    pub memory: u32,
    /// Added to the kernel's command line.
    pub append: String,
    /// The file systems of its disks.
    pub disks: Vec<String>,
    /// How the processor is emulated.
    pub accelerator: Accelerator,
    /// The time limit: of a guest, or of a command in one that is kept.
    pub limit: Duration,
    /// A file for the console.
    pub console: Option<PathBuf>,
}

impl Plan {
    /// A machine with a job. The disks and the required modules of the job are those of the plan.
    pub fn machine(&self, job: Job, files: Vec<(String, PathBuf)>) -> Machine<'_> {
        Machine {
            image: &self.image,
            job: Job {
                disks: self.disks.clone(),
                required: self.required.clone(),
                ..job
            },
            modules: self.modules.clone(),
            files,
            memory: self.memory,
            append: self.append.clone(),
            limit: self.limit,
            accelerator: self.accelerator,
            console: self.console.clone(),
        }
    }
}
