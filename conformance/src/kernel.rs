//! The series that were measured, and what the running kernel is configured for.
//!
//! Probes come first, the configuration second, the version last. Distributions backport changes, so no experiment asks for the
//! version. The version only selects the known verdicts.

#![forbid(unsafe_code)]

use crate::fixtures;
use nocopy_host::kernel::{Series, is_disposable, uname};

/// How to give a kernel a feature that it lacks: the command that loads its module, or, in a guest, the kernel option to look for.
pub fn to_have(option: &str, modules: &str) -> String {
    if is_disposable() {
        format!("use a kernel with {option}, or give its modules with --modules DIR")
    } else {
        format!("load its module as root: modprobe {modules}")
    }
}

/// Every series on which the claims were measured, oldest first: those that have a record.
pub const MEASURED: &[Series] = fixtures::SERIES;
/// The oldest of them.
pub const OLDEST: Series = MEASURED[0];
/// The newest of them.
pub const NEWEST: Series = MEASURED[MEASURED.len() - 1];

/// The configuration options that decide whether claims can be tried, for the stored results.
const CONFIG_FACTS: &[&str] = &[
    "CONFIG_USER_NS",
    "CONFIG_NET_NS",
    "CONFIG_PID_NS",
    "CONFIG_TASK_IO_ACCOUNTING",
    "CONFIG_DUMMY",
    "CONFIG_IFB",
    "CONFIG_VSOCKETS",
    "CONFIG_TRANSPARENT_HUGEPAGE",
    "CONFIG_TLS",
    "CONFIG_IO_URING",
];

/// The kernel's configuration options of interest, if the kernel or `/boot` has its configuration.
pub fn config_facts() -> Vec<(String, String)> {
    let Some(config) = config() else {
        return Vec::new();
    };
    let value = |option: &str| {
        config.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('=')).unwrap_or("n").to_owned()
    };
    CONFIG_FACTS.iter().map(|option| ((*option).to_owned(), value(option))).collect()
}

fn config() -> Option<String> {
    let mut text = String::new();
    if let Ok(packed) = std::fs::File::open("/proc/config.gz") {
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed), &mut text).ok()?;
        return Some(text);
    }
    std::fs::read_to_string(format!("/boot/config-{}", uname().0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_ordered_by_number() {
        assert!(MEASURED.is_sorted());
    }
}
