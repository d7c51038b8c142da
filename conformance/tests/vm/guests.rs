//! Real guests with the oldest kernel: what they say comes back, and what they do wrong is red.

use super::fake::{Fake, NAME, Step, end, marker};
use super::support::{
    PROGRAM, Test, busybox, check, conformance, expect, guest, oldest, or_ignored, red,
};
use libtest_mimic::{Completion, Failed, Trial};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::ptr;

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Test| {
        Trial::ignorable_test(format!("host_only::guest.{name}"), test)
    };
    vec![
        trial("output-and-status-come-back", output_and_status),
        trial("decides-a-claim", decides),
        trial("other-series-than-expected", other_series),
        trial("damaged-kernel", damaged_kernel),
        trial("cut-initramfs", cut_initramfs),
        trial("panic-has-the-console", panic),
        trial("panic-half-way", || {
            misbehaves(
                "echo c > /proc/sysrq-trigger",
                &["without an end marker", "Kernel panic"],
            )
        }),
        trial("reboot-half-way", || {
            misbehaves("echo b > /proc/sysrq-trigger", &["without an end marker"])
        }),
        trial("power-off-half-way", || {
            misbehaves("busybox poweroff -f", &["without an end marker"])
        }),
        trial("noise-on-the-result-channel", || {
            misbehaves(
                "echo this is no record > /dev/ttyS1",
                &["of the result channel is damaged", "unknown kind"],
            )
        }),
        trial("end-marker-on-the-console", || {
            misbehaves(
                "echo 'Z {\"records\":1,\"status\":0,\"tainted\":0,\"complaints\":[]}' > /dev/ttyS0; busybox poweroff -f",
                &["without an end marker"],
            )
        }),
        trial("kernel-without-devtmpfs", || without("devtmpfs")),
        trial("kernel-without-tmpfs", || without("tmpfs")),
        trial("forged-end-marker", forged_marker),
        trial("kernel-complains", || {
            misbehaves(
                "echo 'BUG: as a driver would say' > /dev/kmsg",
                &["the kernel complained", "BUG: as a driver would say"],
            )
        }),
        trial("programs-of-the-package-are-there", programs_of_the_package),
        trial("shell-at-a-terminal", shell),
        trial("that-never-ends-is-given-up", never_ends),
        trial("dies-with-its-parent", dies_with_parent),
    ]
}

fn output_and_status() -> Test {
    let output = or_ignored!(guest(
        "exec",
        &["--", PROGRAM, "list", "--filter", "splice."]
    ))
    .output()?;
    check(output.status.success(), || format!("{output:?}"))?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    check(listed.contains("splice.copies.tcp"), || listed.clone())?;
    // What fails there fails here, with the same status.
    let output = or_ignored!(guest("exec", &["--", PROGRAM, "show", "nonsense"])).output()?;
    expect(&output, 2, &["nonsense"])
}

fn decides() -> Test {
    let directory = tempfile::tempdir()?;
    let results = directory.path().join("5.10.jsonl");
    let kept = results.to_str().ok_or("not UTF-8")?;
    let filter = ["--filter", "=splice.ends.pipe-needed", "--output", kept];
    let output = or_ignored!(guest("run", &filter)).output()?;
    check(output.status.success(), || format!("{output:?}"))?;
    let stored = conformance::run::stored::read(&results)?;
    check(
        stored.run.records.len() == 1 && stored.run.environment.kernel.starts_with("5.10"),
        || format!("{stored:?}"),
    )?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    check(
        report.contains("Linux 5.10") && report.contains("holds"),
        || report.clone(),
    )?;
    Ok(Completion::Completed)
}

fn other_series() -> Test {
    let output = or_ignored!(guest(
        "run",
        &["--expect", "6.1", "--filter", "splice.call"]
    ))
    .output()?;
    expect(&output, 1, &["it is Linux 5.10", "6.1 was expected"])
}

fn damaged_kernel() -> Test {
    let boot = or_ignored!(oldest());
    let directory = tempfile::tempdir()?;
    let damaged = directory.path().join("vmlinux");
    let content = std::fs::read(boot)?;
    std::fs::write(&damaged, &content[..content.len() / 3])?;
    let path = damaged.to_str().ok_or("not UTF-8")?;
    let limit = ["--limit", "60", "--accel", "tcg"];
    let output = conformance(&["vm", "run", "--kernel", path])
        .args(limit)
        .output()?;
    expect(&output, 1, &["it never came up"])
        .or_else(|_| expect(&output, 1, &["it has not come up"]))
}

fn panic() -> Test {
    let output = or_ignored!(guest(
        "run",
        &["--append", "rdinit=/none init=/none root=/dev/none"]
    ))
    .output()?;
    expect(&output, 1, &["it never came up", "console", "panic"])
}

fn never_ends() -> Test {
    let output = or_ignored!(guest(
        "exec",
        &[
            "--limit",
            "20",
            "--",
            or_ignored!(busybox()),
            "sleep",
            "1000"
        ]
    ))
    .output()?;
    // On a loaded machine it may not even have come up by then.
    expect(&output, 1, &["after 20 s"])
}

fn dies_with_parent() -> Test {
    let mark = format!("nocopy-vm-test-{}", std::process::id());
    let append = format!("mark={mark}");
    let mut command = or_ignored!(guest(
        "exec",
        &[
            "--append",
            &append,
            "--",
            or_ignored!(busybox()),
            "sleep",
            "1000"
        ]
    ));
    let mut child = command.spawn()?;
    let running = || {
        let entries = std::fs::read_dir("/proc").expect("/proc");
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        pids.filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"qemu") && String::from_utf8_lossy(&line).contains(&mark)
        })
        .count()
    };
    // States are waited for, with a generous backstop.
    let wait_for = |count: usize| {
        for _ in 0..6000 {
            if running() == count {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        false
    };
    let came = wait_for(1);
    child.kill()?;
    child.wait()?;
    check(came, || "QEMU was not started".into())?;
    check(wait_for(0), || "QEMU outlives its parent".into())?;
    Ok(Completion::Completed)
}

/// Root in the guest does this and goes on if it can: it is red, and this is why.
fn misbehaves(what: &str, parts: &[&str]) -> Test {
    let script = format!("echo begun; {what}; echo ended");
    super::support::script(&script, |output| red(output, parts))
}

/// A program that writes a whole and right end marker, and the real one follows.
fn forged_marker() -> Test {
    let bytes = marker(&end(1, 0));
    let mut octal = String::new();
    for byte in &bytes {
        let _ = write!(octal, "\\{byte:03o}");
    }
    let script = format!("printf '{octal}' > /dev/ttyS1");
    super::support::script(&script, |output| red(output, &["two end markers"]))
}

fn real_qemu() -> Result<PathBuf, Failed> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(NAME))
        .find(|path| path.exists());
    Ok(found.ok_or("it was there just now")?)
}

/// A kernel without this file system, as far as the guest can tell: the name that it mounts is one that no kernel knows. And
/// without modules, disks and IPv6. Claims may be untestable for that, and none is broken.
fn without(filesystem: &str) -> Test {
    let boot = or_ignored!(oldest());
    let unknown = "x".repeat(filesystem.len());
    let fake = Fake::new(&[Step::Replace(filesystem.into(), unknown, real_qemu()?)])?;
    let mut command = conformance(&["vm", "run", "--accel", "tcg", "--disks="]);
    fake.first_for(&mut command)
        .args(["--append", "ipv6.disable=1", "--kernel"])
        .arg(&boot);
    let output = command.output()?;
    check(output.status.success(), || format!("{output:?}"))?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    check(report.contains("0 broken, 0 timed out"), || report.clone())?;
    Ok(Completion::Completed)
}

/// The kernel gets a part of its first file system.
fn cut_initramfs() -> Test {
    let boot = or_ignored!(oldest());
    let qemu = real_qemu()?;
    for hundredths in [0, 40, 99] {
        let fake = Fake::new(&[Step::Truncate(hundredths, qemu.clone())])?;
        let mut command = conformance(&["vm", "exec", "--accel", "tcg", "--disks=", "--kernel"]);
        fake.first_for(&mut command)
            .arg(&boot)
            .args(["--", PROGRAM, "list"]);
        red(&command.output()?, &["it never came up"])?;
    }
    Ok(Completion::Completed)
}

/// As a runner of cargo: a program of the package is where the host has it, and its variable says so.
fn programs_of_the_package() -> Test {
    let script =
        "test \"$RUST_TEST_THREADS\" = 3 && exec \"$CARGO_BIN_EXE_any\" list --filter splice.call";
    let output = or_ignored!(guest(
        "exec",
        &["--disks=", "--", or_ignored!(busybox()), "sh", "-c", script]
    ))
    .env("CARGO_BIN_EXE_any", PROGRAM)
    .env("RUST_TEST_THREADS", "3")
    .output()?;
    check(output.status.success(), || format!("{output:?}"))?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    check(listed.contains("splice.call.present"), || listed.clone())?;
    Ok(Completion::Completed)
}

/// A person at a terminal: waits for the prompt, types, reads, leaves.
fn shell() -> Test {
    or_ignored!(busybox());
    let mut command = or_ignored!(guest("shell", &["--disks="]));
    let (mut terminal, end) = terminal()?;
    command
        .stdin(end.try_clone()?)
        .stdout(end.try_clone()?)
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // The terminal ends when the last of the other ends is closed.
    drop((command, end));
    let mut seen = String::new();
    let prompted = read_until(&mut terminal, &mut seen, "# ")?;
    if prompted {
        terminal.write_all(b"busybox uname -r; exit\n")?;
        read_until(&mut terminal, &mut seen, "no such text: to the end")?;
    } else {
        child.kill()?;
    }
    let output = child.wait_with_output()?;
    expect(&output, 0, &["leave with `exit`"])?;
    let said = seen.lines().any(|line| line.starts_with("5.10."));
    check(said, || seen.clone())?;
    Ok(Completion::Completed)
}

/// A terminal's two ends.
fn terminal() -> std::io::Result<(File, File)> {
    let (mut ours, mut theirs) = (-1, -1);
    let (name, modes, size) = (ptr::null_mut(), ptr::null(), ptr::null());
    // SAFETY: two integers that are written; the others may be null.
    let done = unsafe { libc::openpty(&raw mut ours, &raw mut theirs, name, modes, size) };
    if done == -1 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the call has just made both for us alone.
    let (ours, theirs) = unsafe { (File::from_raw_fd(ours), File::from_raw_fd(theirs)) };
    // SAFETY: takes no pointer. The program under test must not hold our end.
    unsafe { libc::fcntl(ours.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    Ok((ours, theirs))
}

/// Reads until a text is seen, or to the end. False if it was not seen.
fn read_until(terminal: &mut File, seen: &mut String, text: &str) -> std::io::Result<bool> {
    let mut buffer = [0; 4096];
    while !seen.contains(text) {
        let mut polled = libc::pollfd {
            fd: terminal.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one structure that is read and written during the call. The limit is a backstop.
        if unsafe { libc::poll(&raw mut polled, 1, 300_000) } != 1 {
            return Ok(false);
        }
        match terminal.read(&mut buffer) {
            Ok(count) if count > 0 => seen.push_str(&String::from_utf8_lossy(&buffer[..count])),
            // EIO is how a terminal says that nobody is at its other end.
            _ => return Ok(false),
        }
    }
    Ok(true)
}
