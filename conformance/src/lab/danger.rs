//! Experiments that are known to crash some kernels, as data, so that no experiment crashes a machine or loses other results.
//!
//! On a kernel in such an interval the experiment is untestable outside a guest. In a guest it is postponed, and decided in a
//! separate boot after all others.

#![forbid(unsafe_code)]

use super::netns::is_disposable;
use crate::verdict::{Lack, Stop};
use nocopy_host::kernel::Series;
use nocopy_host::kernel::running;

/// The variable that is set if a crash of this guest loses no other result.
pub const ALONE: &str = "NOCOPY_ALONE";

/// A thing that some kernels do not survive.
#[derive(Clone, Copy, Debug)]
pub struct Danger {
    /// The first and the last kernel series in which some kernel crashes.
    pub kernels: (Series, Series),
    /// The effect, in a clause.
    pub what: &'static str,
    /// The report of it.
    pub source: &'static str,
}

/// Giving secret memory away by reference: by `MSG_ZEROCOPY`, or by `vmsplice`.
///
/// Measured: Linux 6.8.0 panics, 6.6.87 and 6.9.4 do not.
pub const SECRET_MEMORY: Danger = Danger {
    kernels: (Series::new(5, 14), Series::new(6, 8)),
    what: "a page of memfd_secret() that was just touched can be pinned, and a read of it then crashes the kernel",
    source: "patch \"mm/secretmem: fix GUP-fast succeeding on secretmem folios\", 2024-03-26, for 1507f51255c9 (Linux 5.14)",
};

/// Making a memfd that can be sealed.
///
/// Measured: a build of Linux 4.18-rc6 dereferences a null pointer, 4.19.78 does not.
pub const SEALS: Danger = Danger {
    kernels: (Series::new(4, 18), Series::new(4, 18)),
    what: "memfd_create(MFD_ALLOW_SEALING) or F_ADD_SEALS dereferences a null pointer in the kernel",
    source: "measured",
};

impl Danger {
    /// Returns `Ok` only if a crash would lose nothing.
    ///
    /// # Errors
    ///
    /// Untestable, if the running kernel may crash and other experiments still need it.
    pub fn avoid(&self) -> Result<(), Stop> {
        let is_alone = is_disposable() && std::env::var_os(ALONE).is_some();
        match running() {
            Ok(running) if self.threatens(running.series) && !is_alone => Err(Stop::untestable(
                Lack::Survival,
                format!("some kernels of Linux {} do not survive it: {} ({})", running.series, self.what, self.source),
                "run it in a guest, which may crash: conformance vm run --kernel KERNEL",
            )),
            _ => Ok(()),
        }
    }

    fn threatens(&self, series: Series) -> bool {
        (self.kernels.0..=self.kernels.1).contains(&series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_includes_its_ends() {
        for (series, expected) in [
            (Series::new(5, 13), false),
            (Series::new(5, 14), true),
            (Series::new(6, 8), true),
            (Series::new(6, 9), false),
        ] {
            assert_eq!(SECRET_MEMORY.threatens(series), expected, "{series}");
        }
    }

    /// It is spared only if the running kernel is in the interval.
    #[test]
    fn a_kernel_that_may_crash_is_spared() {
        let running = running().expect("a release").series;
        let danger = |series| Danger { kernels: (series, series), ..SEALS };
        let avoided = danger(running).avoid();
        assert!(matches!(avoided, Err(Stop::Untestable(reason)) if reason.kind == Lack::Survival));
        assert_eq!(danger(Series::new(2, 6)).avoid(), Ok(()));
    }
}
