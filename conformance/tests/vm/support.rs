//! What the tests of guests share.

use conformance::run::record::Record;
use conformance::verdict::Word;
use libtest_mimic::{Completion, Failed};
use on_kernel::cache::Cache;
use on_kernel::kernels::rows;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub type Test = Result<Completion, Failed>;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_conformance");

/// The program, run in the workspace.
pub fn conformance(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .current_dir(workspace())
        // A guest would get this program twice.
        .env_remove("CARGO_BIN_EXE_conformance");
    command
}

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn check(good: bool, what: impl FnOnce() -> String) -> Result<(), Failed> {
    if good { Ok(()) } else { Err(what().into()) }
}

/// The exit status and parts of the message.
pub fn expect(output: &Output, status: i32, parts: &[&str]) -> Test {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    check(output.status.code() == Some(status), || {
        format!("{}: {said}", output.status)
    })?;
    for part in parts {
        check(said.contains(part), || {
            format!("`{part}` is missing in: {said}")
        })?;
    }
    check(!said.contains("panicked at"), || said.clone())?;
    Ok(Completion::Completed)
}

/// The same, in one line, with exit status 2.
pub fn expect_line(output: &Output, parts: &[&str]) -> Test {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    check(said.lines().count() == 1, || said.clone())?;
    expect(output, 2, parts)
}

/// Exit status 1 and a message of our own whose first line has these parts.
pub fn red(output: &Output, parts: &[&str]) -> Test {
    expect(output, 1, parts)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let own = said.lines().find(|line| line.starts_with("conformance: "));
    let own = own.ok_or_else(|| said.clone())?;
    for part in parts {
        check(own.contains(part), || format!("`{part}` is not in: {own}"))?;
    }
    Ok(Completion::Completed)
}

/// Where kernels have been fetched to: where the program looks when it is run in the workspace.
pub fn cache() -> Cache {
    let named = std::env::var_os("NOCOPY_KERNELS").map(PathBuf::from);
    Cache {
        directory: named.unwrap_or_else(|| workspace().join("target/kernels")),
    }
}

/// The boot file of the oldest kernel, if a guest can be had.
pub fn oldest() -> Result<PathBuf, Completion> {
    let name = &rows()[0].name;
    let image = cache().find(name).ok_or_else(|| {
        Completion::ignored_with(format!("no kernel here: conformance kernels fetch {name}"))
    })?;
    match Command::new("qemu-system-x86_64").arg("--version").output() {
        Ok(_) => Ok(image.boot),
        Err(_) => Err(Completion::ignored_with("no QEMU here: just setup")),
    }
}

/// A command on the oldest kernel, by its path, so that nothing is fetched.
pub fn guest(kind: &str, arguments: &[&str]) -> Result<Command, Completion> {
    let boot = oldest()?;
    let mut command = conformance(&["vm", kind, "--accel", "tcg", "--kernel"]);
    command.arg(boot).args(arguments);
    Ok(command)
}

/// A kernel that is not QEMU's brings a program's output and exit status back.
pub fn brings_output_and_status(kernel: &str) -> Test {
    let run = |arguments: &[&str]| {
        conformance(&["vm", "exec", "--kernel", kernel, "--", PROGRAM])
            .args(arguments)
            .output()
    };
    let output = run(&["--version"])?;
    check(output.stdout.starts_with(b"conformance "), || {
        String::from_utf8_lossy(&output.stdout).into_owned()
    })?;
    expect(&output, 0, &[])?;
    expect(&run(&["show", "no-such-claim"])?, 2, &["no-such-claim"])
}

/// A claim's result as a report has it, with nothing but its verdict.
pub fn result(id: &str, verdict: Word) -> Record {
    Record {
        id: id.into(),
        verdict,
        judgement: None,
        reason: None,
        failure: None,
        observation: None,
        milliseconds: 1,
    }
}

/// The static busybox, which is the only program in some guests.
pub fn busybox() -> Result<&'static str, Completion> {
    const BUSYBOX: &str = "/bin/busybox";
    if Path::new(BUSYBOX).exists() {
        Ok(BUSYBOX)
    } else {
        Err(Completion::ignored_with("no /bin/busybox: just setup"))
    }
}

/// The value, or the end of the test: what it needs is not here.
macro_rules! or_ignored {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(ignored) => return Ok(ignored),
        }
    };
}
pub(crate) use or_ignored;

/// What becomes of a script that root runs in a guest on the oldest kernel is as `judge` says.
pub fn script(script: &str, judge: impl FnOnce(&Output) -> Test) -> Test {
    let busybox = or_ignored!(busybox());
    let arguments = ["--disks=", "--", busybox, "sh", "-c", script];
    judge(&or_ignored!(guest("exec", &arguments)).output()?)
}
