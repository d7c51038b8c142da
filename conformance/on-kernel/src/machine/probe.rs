//! Whether KVM works.

use crate::cache::Cache;
use crate::job::Job;
use crate::kernels::Image;
use crate::machine::description::{Accelerator, Machine};
use std::collections::BTreeSet;
use std::fs::File;
use std::time::Duration;

impl Accelerator {
    /// KVM, if it works: a `/dev/kvm` that exists need not work, so a guest is booted with it once. The result is kept in the cache
    /// until the host boots again.
    pub fn find(cache: &Cache, image: &Image) -> Self {
        const LIMIT: Duration = Duration::from_secs(20);
        if File::options()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_err()
        {
            return Self::Tcg;
        }
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let note = cache.directory.join("accelerator");
        let known = std::fs::read_to_string(&note).unwrap_or_default();
        if let Some(name) = known.strip_prefix(&boot) {
            return if name.trim() == Self::Kvm.name() {
                Self::Kvm
            } else {
                Self::Tcg
            };
        }
        let machine = Machine {
            image,
            job: Job {
                commands: vec![vec!["/init".into(), "--version".into()]],
                ..Job::default()
            },
            modules: BTreeSet::new(),
            files: vec![],
            memory: 512,
            append: String::new(),
            limit: LIMIT,
            accelerator: Self::Kvm,
            console: None,
        };
        let found = if machine.run(|_, _| {}).is_ok() {
            Self::Kvm
        } else {
            Self::Tcg
        };
        // If the cache cannot be written, the next run repeats this probe.
        if cache.make().is_ok() {
            let _ = std::fs::write(&note, format!("{boot}{}\n", found.name()));
        }
        found
    }
}
