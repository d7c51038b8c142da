//! The kernel's log, as far as it shows bugs.

/// Whether a line of the kernel's log shows a bug: no healthy run has such a line.
pub fn is_complaint(line: &str) -> bool {
    [
        "BUG:",
        "WARNING:",
        "Oops",
        "Kernel panic",
        "soft lockup",
        "detected stall",
        "Call Trace",
    ]
    .iter()
    .any(|sign| line.contains(sign))
}

/// The lines of the kernel's log that show a bug.
pub fn complaints() -> Vec<String> {
    let mut log = vec![0_u8; 1 << 20];
    let length = libc::c_int::try_from(log.len()).expect("1 MiB");
    // SAFETY: reads at most `length` bytes of the log into the buffer (3 is SYSLOG_ACTION_READ_ALL).
    let read = unsafe { libc::klogctl(3, log.as_mut_ptr().cast(), length) };
    log.truncate(usize::try_from(read).unwrap_or(0));
    let log = String::from_utf8_lossy(&log);
    log.lines()
        .filter(|line| is_complaint(line))
        .map(str::to_owned)
        .collect()
}

/// The taint bits that a run must not set: machine check (4), bad page (5), died before (7), warning (9), soft lockup (14). The
/// other bits are about the licences of modules.
pub const DYING: u64 = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 9 | 1 << 14;

/// The taint bits of this kernel.
pub fn tainted() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/kernel/tainted").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}
