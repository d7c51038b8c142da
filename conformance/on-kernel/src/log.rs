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
        .take(20)
        .map(str::to_owned)
        .collect()
}
