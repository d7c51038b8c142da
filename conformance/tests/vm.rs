//! The commands about other kernels: what goes wrong is one clear message with the right exit status.
//!
//! What needs a guest uses the oldest kernel if it has been fetched; otherwise, or without QEMU, the test is ignored, with the
//! command that would provide it: it is not a pass.

fn main() {
    #[cfg(feature = "vm")]
    host_only::main();
}

#[cfg(feature = "vm")]
mod host_only {
    use conformance::vm::kernels::{Cache, rows};
    use libtest_mimic::{Arguments, Completion, Failed, Trial};
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};

    type Test = Result<Completion, Failed>;

    pub fn main() {
        let arguments = Arguments::from_args();
        let trial = |name: &str, test: fn() -> Test| {
            Trial::ignorable_test(format!("host_only::{name}"), test)
        };
        let trials = vec![
            trial("unknown-kernel.names-the-known", unknown_kernel),
            trial("kernel-file-that-is-not-there", no_such_file),
            trial("dynamic-program.says-how-to-build", dynamic_program),
            trial("bad-options.one-line", bad_options),
            trial("no-apt-and-no-cache.says-what-to-do", nothing_to_fetch_with),
            trial("guest.without-qemu.says-what-to-install", without_qemu),
            trial("guest.output-and-status-come-back", output_and_status),
            trial("guest.decides-a-claim", decides),
            trial("guest.other-series-than-expected", other_series),
            trial("guest.damaged-kernel", damaged_kernel),
            trial("guest.panic-has-the-console", panic),
            trial("guest.that-never-ends-is-given-up", never_ends),
            trial("guest.dies-with-its-parent", dies_with_parent),
        ];
        libtest_mimic::run(&arguments, trials).exit();
    }

    const PROGRAM: &str = env!("CARGO_BIN_EXE_conformance");

    fn conformance(arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(workspace());
        command
    }

    fn workspace() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn check(good: bool, what: impl FnOnce() -> String) -> Result<(), Failed> {
        if good { Ok(()) } else { Err(what().into()) }
    }

    /// The exit status and a part of the message.
    fn expect(output: &Output, status: i32, parts: &[&str]) -> Test {
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

    /// The same, in one line.
    fn expect_line(output: &Output, parts: &[&str]) -> Test {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        check(said.lines().count() == 1, || said.clone())?;
        expect(output, 2, parts)
    }

    /// The boot file of the oldest kernel, if a guest can be had.
    fn oldest() -> Result<PathBuf, Completion> {
        let name = &rows()[0].name;
        let cache = Cache {
            directory: workspace().join("target/kernels"),
        };
        let image = cache.find(name).ok_or_else(|| {
            Completion::ignored_with(format!("no kernel here: conformance kernels fetch {name}"))
        })?;
        match Command::new("qemu-system-x86_64").arg("--version").output() {
            Ok(_) => Ok(image.boot),
            Err(_) => Err(Completion::ignored_with("no QEMU here: just setup")),
        }
    }

    /// A command on the oldest kernel, by its path, so that nothing is fetched.
    fn guest(kind: &str, arguments: &[&str]) -> Result<Command, Completion> {
        let boot = oldest()?;
        let mut command = conformance(&["vm", kind, "--accel", "tcg", "--kernel"]);
        command.arg(boot).args(arguments);
        Ok(command)
    }

    macro_rules! or_ignored {
        ($result:expr) => {
            match $result {
                Ok(value) => value,
                Err(ignored) => return Ok(ignored),
            }
        };
    }

    fn unknown_kernel() -> Test {
        expect_line(
            &conformance(&["vm", "run", "--kernel", "6.99"]).output()?,
            &["6.99", "6.12", "--kernel PATH"],
        )
    }

    fn no_such_file() -> Test {
        expect_line(
            &conformance(&["vm", "run", "--kernel", "/no/such/bzImage"]).output()?,
            &["/no/such/bzImage"],
        )
    }

    fn dynamic_program() -> Test {
        let program = ["/bin/true", "/usr/bin/true"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let Some(program) = program else {
            return Ok(Completion::ignored_with("no /bin/true"));
        };
        let output = conformance(&["vm", "exec", "--kernel", "5.10", "--", program]).output()?;
        expect_line(&output, &["not a static program", "crt-static"])
    }

    fn bad_options() -> Test {
        for (arguments, part) in [
            (&["matrix", "--partition", "3/2"][..], "--partition"),
            (&["matrix", "--partition", "0/2"], "--partition"),
            (&["matrix", "--kernels", "6.1,x"], "`x`"),
            (&["matrix", "--filter", "no such claim"], "no claim matches"),
            (&["vm", "exec", "--kernel", "6.1"], "required"),
            (
                &["vm", "run", "--kernel", "6.1", "--memory", "1"],
                "--memory",
            ),
        ] {
            expect_line(&conformance(arguments).output()?, &[part])?;
        }
        Ok(Completion::Completed)
    }

    fn nothing_to_fetch_with() -> Test {
        let empty = tempfile::tempdir()?;
        let mut command = conformance(&["kernels", "fetch", "5.10"]);
        command
            .env("NOCOPY_KERNELS", empty.path())
            .env("PATH", empty.path());
        expect_line(&command.output()?, &["apt", "--kernel PATH"]).or_else(|_| {
            // On a machine without the keyring that comes first.
            expect_line(&command.output()?, &["debian-archive-keyring"])
        })
    }

    fn without_qemu() -> Test {
        let empty = tempfile::tempdir()?;
        let mut command = or_ignored!(guest("exec", &["--", PROGRAM, "list"]));
        let output = command.env("PATH", empty.path()).output()?;
        expect_line(&output, &["just setup"])
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
        let output =
            or_ignored!(guest("run", &["--filter", "=splice.ends.pipe-needed"])).output()?;
        check(output.status.success(), || format!("{output:?}"))?;
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
        let busybox = Path::new("/bin/busybox");
        if !busybox.exists() {
            return Ok(Completion::ignored_with("no /bin/busybox: just setup"));
        }
        let output = or_ignored!(guest(
            "exec",
            &["--limit", "20", "--", "/bin/busybox", "sleep", "1000"]
        ))
        .output()?;
        // On a loaded machine it may not even have come up by then.
        expect(&output, 1, &["after 20 s"])
    }

    fn dies_with_parent() -> Test {
        let mark = format!("nocopy-vm-test-{}", std::process::id());
        let append = format!("mark={mark}");
        let busybox = Path::new("/bin/busybox");
        if !busybox.exists() {
            return Ok(Completion::ignored_with("no /bin/busybox: just setup"));
        }
        let mut command = or_ignored!(guest(
            "exec",
            &["--append", &append, "--", "/bin/busybox", "sleep", "1000"]
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
}
