//! The kernel's accounts of this process: context switches, page faults, bytes read and written.

use crate::interpose::record::aside;
use crate::verdict::{Lack, Stop};

/// Context switches and page faults so far (`getrusage`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Switches because the thread had to wait.
    pub voluntary: u64,
    /// Switches because the scheduler preempted the thread.
    pub involuntary: u64,
    /// Faults without a disk read.
    pub minor_faults: u64,
}

impl Usage {
    /// The values for the calling thread now.
    pub fn now() -> Self {
        // SAFETY: rusage is plain integers, for which zero is valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` is an rusage that the kernel fills; RUSAGE_THREAD is a valid argument since Linux 2.6.26.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        Self {
            voluntary: usage.ru_nvcsw.cast_unsigned(),
            involuntary: usage.ru_nivcsw.cast_unsigned(),
            minor_faults: usage.ru_minflt.cast_unsigned(),
        }
    }

    /// The difference to `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            voluntary: self.voluntary - earlier.voluntary,
            involuntary: self.involuntary - earlier.involuntary,
            minor_faults: self.minor_faults - earlier.minor_faults,
        }
    }
}

/// The bytes that this process has read and written, by the kernel's account (`/proc/self/io`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// Bytes read to get this account, which the next account includes.
    own: u64,
    /// Bytes that read calls returned.
    pub rchar: u64,
    /// Bytes that write calls took.
    pub wchar: u64,
    /// Bytes fetched from a disk.
    pub read_bytes: u64,
}

impl Io {
    /// The values now.
    pub fn now() -> Result<Self, Stop> {
        let text = aside(|| std::fs::read_to_string("/proc/self/io")).map_err(|error| {
            Stop::untestable(
                Lack::Kernel,
                format!("/proc/self/io: {error}"),
                "use a kernel with CONFIG_TASK_IO_ACCOUNTING",
            )
        })?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
            value.ok_or_else(|| {
                Stop::untestable(
                    Lack::Kernel,
                    format!("/proc/self/io has no {name}"),
                    "use a kernel with CONFIG_TASK_IO_ACCOUNTING",
                )
            })
        };
        Ok(Self {
            own: text.len() as u64,
            rchar: field("rchar")?,
            wchar: field("wchar")?,
            read_bytes: field("read_bytes")?,
        })
    }

    /// The difference to `earlier`, without the bytes read to get the account.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            own: 0,
            rchar: self.rchar - earlier.rchar - earlier.own,
            wchar: self.wchar - earlier.wchar,
            read_bytes: self.read_bytes - earlier.read_bytes,
        }
    }
}
