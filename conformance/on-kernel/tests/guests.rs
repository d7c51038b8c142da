//! The command, with real guests. They are on the oldest kernel if it has been fetched; otherwise, or without QEMU, a test is ignored,
//! with the command that would provide it: it is not a pass.
//!
//! Most tests use one guest: it is kept for this process.

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use on_kernel::cache::Cache;
use on_kernel::kernels::{Image, rows};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

type Test = Result<Completion, Failed>;

const PROGRAM: &str = env!("CARGO_BIN_EXE_on-kernel");

fn main() {
    // A guest has no QEMU, and a kernel that is made to look old no `pidfd_open`.
    let trial =
        |name: &str, test: fn() -> Test| Trial::ignorable_test(format!("host_only::{name}"), test);
    let trials = vec![
        trial("program.with-its-libraries", with_libraries),
        trial("status.comes-back", status),
        trial("input.is-passed-on-and-ends", input),
        trial("input.of-a-command-that-reads-none", input_unread),
        trial("files.at-their-own-paths-and-others", files),
        trial("files.changed.are-brought-again", changed_file),
        trial("variables.named-ones-only", variables),
        trial("user.other-than-root", user),
        trial("kept.several-at-once", at_once),
        trial("kept.one-boot", one_boot),
        trial("kept.time-is-up.the-guest-goes-on", time_is_up),
        trial("kept.killed-client.its-command-ends", killed_client),
        trial("kept.died.the-next-gets-another", died),
        trial("kept.kernel-complains.takes-no-more", complains),
        trial("kept.other-kernel-file.other-guest", other_kernel),
        trial("kept.client-that-reads-nothing.owner-ends", stopped_client),
        trial("kept.killed-while-files-are-sent", killed_early),
        trial(
            "kept.descriptors-of-the-first-client.are-closed",
            descriptors,
        ),
        trial("kept.no-parent.boots-once", no_parent),
        trial("kept.orphans-are-waited-for", orphans),
        trial(
            "kept.files-brought-for-one.another-runs-them",
            brought_again,
        ),
        trial("output.held-open-by-a-process-left-behind", held_open),
        trial("output.reader-has-gone", reader_gone),
        trial("console.not-a-pipe-and-not-the-kernel", bad_console),
        trial("kept.ends-with-its-owner", ends_with_owner),
        trial("once.output-input-and-status", once),
        trial("serial.output-but-no-input", serial),
        trial("console.in-a-file", console),
        trial("project.names-a-kernel", project),
        trial("dry-run.starts-nothing", dry_run),
        trial("wrong.is-one-line", wrong),
        trial("list.has-every-kernel", list),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn check(good: bool, what: impl FnOnce() -> String) -> Result<(), Failed> {
    if good { Ok(()) } else { Err(what().into()) }
}

/// Where kernels have been fetched to.
fn cache() -> Cache {
    let named = std::env::var_os("NOCOPY_KERNELS").map(PathBuf::from);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Cache {
        directory: named.unwrap_or_else(|| workspace.join("target/kernels")),
    }
}

fn oldest() -> Result<(String, Image), Completion> {
    let name = rows()[0].name.clone();
    let image = cache().find(&name).ok_or_else(|| {
        Completion::ignored_with(format!("no kernel here: on-kernel {name} --fetch"))
    })?;
    match Command::new("qemu-system-x86_64").arg("--version").output() {
        Ok(_) => Ok((name, image)),
        Err(_) => Err(Completion::ignored_with("no QEMU here: just setup")),
    }
}

macro_rules! or_ignored {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(ignored) => return Ok(ignored),
        }
    };
}

fn on_kernel(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .env("NOCOPY_KERNELS", cache().directory)
        .env_remove("CARGO_BIN_EXE_on-kernel")
        .stdin(Stdio::null());
    command
}

/// A command in the guest that is kept for this process.
fn kept(options: &[&str], command: &[&str]) -> Result<Command, Completion> {
    let (name, _) = oldest()?;
    let mut kept = on_kernel(&[&name, "--accel", "tcg", "--keep"]);
    kept.args(options).arg("--").args(command);
    Ok(kept)
}

/// The exit status, and parts of the output or of the messages.
fn expect(output: &Output, status: i32, parts: &[&str]) -> Test {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
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

/// Exactly this on standard output, and status 0.
fn prints(output: &Output, text: &str) -> Test {
    expect(output, 0, &[])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    check(said == text, || format!("{said:?}, expected {text:?}"))?;
    Ok(Completion::Completed)
}

/// Gives a command this input.
fn fed(mut command: Command, input: Vec<u8>) -> std::io::Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("piped");
    let feeder = std::thread::spawn(move || {
        let _ = stdin.write_all(&input); // who reads none closes it
    });
    let output = child.wait_with_output();
    feeder.join().expect("no panic");
    output
}

fn with_libraries() -> Test {
    let output = or_ignored!(kept(&[], &["uname", "-r"])).output()?;
    expect(&output, 0, &["5.10."])
}

fn status() -> Test {
    let shell = |script: &str| kept(&[], &["sh", "-c", script]);
    expect(
        &or_ignored!(shell("echo out; echo err >&2; exit 7")).output()?,
        7,
        &["out", "err"],
    )?;
    expect(&or_ignored!(shell("kill -9 $$")).output()?, 137, &[])?;
    expect(&or_ignored!(shell("exit 125")).output()?, 125, &[])
}

/// More than fits into any buffer between here and there, both ways at once.
fn input() -> Test {
    let bytes: Vec<u8> = (0..5 << 20)
        .map(|at: u32| at.to_le_bytes()[at as usize % 4])
        .collect();
    let output = fed(or_ignored!(kept(&[], &["cat"])), bytes.clone())?;
    expect(&output, 0, &[])?;
    check(output.stdout == bytes, || {
        format!("{} bytes came back, and not the same", output.stdout.len())
    })?;
    Ok(Completion::Completed)
}

fn input_unread() -> Test {
    let output = fed(or_ignored!(kept(&[], &["true"])), vec![b'x'; 5 << 20])?;
    expect(&output, 0, &[])
}

fn files() -> Test {
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    std::fs::create_dir_all(root.join("data/below"))?;
    std::fs::write(root.join("data/below/one"), "1")?;
    std::fs::write(root.join("two"), "2")?;
    let script = "cat data/below/one /elsewhere/two; pwd";
    let options = ["--with", "data", "--with", "two:/elsewhere/two"];
    // `cat` is another program than the one that is started, with the same libraries.
    let cat = on_path("cat")?;
    let mut command = or_ignored!(kept(
        &[&options[..], &["--with", &cat]].concat(),
        &["sh", "-c", script]
    ));
    let output = command.current_dir(root).output()?;
    prints(&output, &format!("12{}\n", root.display()))
}

/// A program of this machine by its path.
fn on_path(name: &str) -> Result<String, Failed> {
    let path = nocopy_host::programs::find(name).ok_or("not installed")?;
    Ok(path.display().to_string())
}

fn changed_file() -> Test {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("file");
    let path = file.to_str().ok_or("not UTF-8")?;
    for text in ["one", "another", ""] {
        std::fs::write(&file, text)?;
        let output = or_ignored!(kept(&["--with", path], &["cat", path])).output()?;
        prints(&output, text)?;
    }
    Ok(Completion::Completed)
}

/// A program that a command is about to start is whole at every moment, although another command brings it again.
fn brought_again() -> Test {
    let cat = on_path("cat")?;
    let options = ["--with", &cat];
    let script =
        "i=0; while [ $i -lt 200 ]; do cat /dev/null || exit 1; i=$((i+1)); done; echo all";
    let mut command = or_ignored!(kept(&options, &["sh", "-c", script]));
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    for _ in 0..12 {
        let output = or_ignored!(kept(&options, &["cat", "/dev/null"])).output()?;
        prints(&output, "")?;
    }
    let output = child.wait_with_output()?;
    expect(&output, 0, &["all"])
}

fn variables() -> Test {
    let options = ["--env", "GIVEN=1 2", "--env", "HERE"];
    let script = "echo \"$GIVEN,$HERE,$OTHER,$CARGO_PKG_NAME,$NOCOPY_DISPOSABLE\"";
    let output = or_ignored!(kept(&options, &["sh", "-c", script]))
        .env("HERE", "h")
        .env("OTHER", "o")
        .env("CARGO_PKG_NAME", "p")
        .output()?;
    prints(&output, "1 2,h,,p,1\n")
}

fn user() -> Test {
    let output = or_ignored!(kept(&["--uid", "1234"], &["id", "-u"])).output()?;
    prints(&output, "1234\n")
}

fn at_once() -> Test {
    or_ignored!(oldest());
    let begin = |number: u32| -> std::io::Result<Child> {
        let script = format!("read line; echo $line {number}");
        let kept = kept(&[], &["sh", "-c", &script]).ok();
        let mut command = kept.expect("there was a kernel just now");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    };
    // All run before one of them gets its input, in the other order.
    let mut children = (0..4).map(begin).collect::<Result<Vec<_>, _>>()?;
    for child in children.iter_mut().rev() {
        child.stdin.take().expect("piped").write_all(b"line\n")?;
    }
    for (number, child) in children.into_iter().enumerate() {
        prints(&child.wait_with_output()?, &format!("line {number}\n"))?;
    }
    Ok(Completion::Completed)
}

/// The boot's identity is the kernel's own.
fn one_boot() -> Test {
    let boot = || -> Result<Result<Vec<u8>, Completion>, Failed> {
        let mut command = match kept(&[], &["cat", "/proc/sys/kernel/random/boot_id"]) {
            Ok(command) => command,
            Err(ignored) => return Ok(Err(ignored)),
        };
        Ok(Ok(command.output()?.stdout))
    };
    let (first, second) = (or_ignored!(boot()?), or_ignored!(boot()?));
    check(first.len() == 37 && first == second, || {
        format!("{first:?}, then {second:?}")
    })?;
    Ok(Completion::Completed)
}

fn time_is_up() -> Test {
    // Another limit is another guest: its boot is not a part of this one's time.
    let options = ["--timeout", "20"];
    expect(&or_ignored!(kept(&options, &["true"])).output()?, 0, &[])?;
    let output = or_ignored!(kept(&options, &["sleep", "1000"])).output()?;
    expect(&output, 125, &["has not ended after 20 s"])?;
    // The command was killed with its client.
    let script = "for pid in /proc/[0-9]*; do read line < $pid/comm; echo $line; done";
    let output = or_ignored!(kept(&options, &["sh", "-c", script])).output()?;
    expect(&output, 0, &["sh"])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    check(!said.contains("sleep"), || said.clone())?;
    Ok(Completion::Completed)
}

/// A client that is killed takes its command with it, and nothing else.
fn killed_client() -> Test {
    let mut command = or_ignored!(kept(&[], &["sh", "-c", "echo up; exec sleep 1000"]));
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut up = [0; 3];
    child.stdout.as_mut().expect("piped").read_exact(&mut up)?;
    child.kill()?;
    child.wait()?;
    let script = "for pid in /proc/[0-9]*; do read line < $pid/cmdline; echo \"$line\"; done";
    // A state that is waited for, with a generous backstop.
    for _ in 0..200 {
        let output = or_ignored!(kept(&[], &["sh", "-c", script])).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !said.contains("sleep\u{0}1000") {
            return Ok(Completion::Completed);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err("its command goes on".into())
}

/// A guest of its own, by a mark on the kernel's command line.
fn marked(mark: &str, command: &[&str]) -> Result<Command, Completion> {
    kept(&["--append", &format!("mark={mark}")], command)
}

fn died() -> Test {
    let mark = format!("died-{}", std::process::id());
    let boot = || marked(&mark, &["cat", "/proc/sys/kernel/random/boot_id"]);
    let first = or_ignored!(boot()).output()?;
    expect(&first, 0, &["-"])?;
    let crash = ["sh", "-c", "echo c > /proc/sysrq-trigger; sleep 1000"];
    let output = or_ignored!(marked(&mark, &crash)).output()?;
    expect(&output, 125, &["without an end marker", "Kernel panic"])?;
    let second = or_ignored!(boot()).output()?;
    expect(&second, 0, &["-"])?;
    check(first.stdout != second.stdout, || "the same boot".to_owned())?;
    Ok(Completion::Completed)
}

fn complains() -> Test {
    let mark = format!("complains-{}", std::process::id());
    let script = "echo 'BUG: as a driver would say' > /dev/kmsg";
    let output = or_ignored!(marked(&mark, &["sh", "-c", script])).output()?;
    expect(&output, 125, &["the kernel complained", "BUG: as a driver"])?;
    // It is said once, and of another boot: this one takes no more commands.
    let boot = ["cat", "/proc/sys/kernel/random/boot_id"];
    let second = or_ignored!(marked(&mark, &boot)).output()?;
    expect(&second, 0, &["-"])?;
    // Many lines do not hide the next one.
    let many = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do echo BUG: $n; done > /dev/kmsg";
    let output = or_ignored!(marked(&mark, &["sh", "-c", many])).output()?;
    expect(&output, 125, &["BUG: 1"])?;
    let third = or_ignored!(marked(&mark, &boot)).output()?;
    expect(&third, 0, &["-"])?;
    check(second.stdout != third.stdout, || "the same boot".to_owned())?;
    Ok(Completion::Completed)
}

/// A kernel file that is replaced, as in a bisection, is another guest.
fn other_kernel() -> Test {
    let (name, image) = or_ignored!(oldest());
    let modules = image.modules.ok_or("no modules")?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("kernel");
    std::fs::copy(&image.boot, &file)?;
    let run = || {
        let mut run = on_kernel(&[file.to_str().expect("UTF-8"), "--accel", "tcg", "--keep"]);
        run.arg("--modules").arg(&modules);
        run.args(["--", "uname", "-r"]);
        run
    };
    expect(&run().output()?, 0, &[&name])?;
    std::fs::write(&file, b"\x7fELF, and no more")?;
    expect(&run().output()?, 125, &["it never came up"])
}

/// A client that is stopped holds nothing up for ever: with the owner, all ends.
fn stopped_client() -> Test {
    let (name, _) = or_ignored!(oldest());
    let mark = format!("mark=stopped-{}", std::process::id());
    // The client writes into a pipe that is not read, which stops it as a signal would.
    let script = "\"$@\" sh -c 'while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done' & \
                  \"$@\" true; echo up >&2; read line; kill -9 $!";
    let mut owner = Command::new("sh")
        .args(["-c", script, "sh", PROGRAM, &name, "--accel", "tcg"])
        .args(["--keep", "--append", &mark, "--"])
        .env("NOCOPY_KERNELS", cache().directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut up = [0; 3];
    owner.stderr.as_mut().expect("piped").read_exact(&mut up)?;
    std::thread::sleep(Duration::from_millis(500)); // the pipes fill meanwhile; not what is decided
    owner.kill()?;
    owner.wait()?;
    let gone = wait_until(|| emulators(&mark) == 0);
    check(gone, || "the guest outlives its owner".into())?;
    Ok(Completion::Completed)
}

/// States are waited for, with a generous backstop.
fn wait_until(mut is_so: impl FnMut() -> bool) -> bool {
    (0..2000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        is_so()
    })
}

/// The command of a client that is killed before its program runs does not run, or not for long.
fn killed_early() -> Test {
    let directory = tempfile::tempdir()?;
    let big = directory.path().join("big");
    File::create(&big)?.set_len(100 << 20)?;
    let path = big.to_str().ok_or("not UTF-8")?;
    // The guest is up, so that the files are sent at once.
    expect(&or_ignored!(kept(&[], &["true"])).output()?, 0, &[])?;
    let mut child = or_ignored!(kept(&["--with", path], &["sleep", "7777"])).spawn()?;
    std::thread::sleep(Duration::from_millis(100));
    child.kill()?;
    child.wait()?;
    let script = "for pid in /proc/[0-9]*; do read line < $pid/cmdline; echo \"$line\"; done";
    for _ in 0..200 {
        let output = or_ignored!(kept(&[], &["sh", "-c", script])).output()?;
        if !String::from_utf8_lossy(&output.stdout).contains("7777") {
            return Ok(Completion::Completed);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err("it runs".into())
}

/// The keeper does not hold open what the first client has open.
fn descriptors() -> Test {
    let (name, _) = or_ignored!(oldest());
    let mark = format!("mark=descriptors-{}", std::process::id());
    let script = "exec 3>&1; \"$@\"; exec >&- 3>&-; read line";
    let mut owner = Command::new("sh")
        .args(["-c", script, "sh", PROGRAM, &name, "--accel", "tcg"])
        .args(["--keep", "--append", &mark, "--", "echo", "up"])
        .env("NOCOPY_KERNELS", cache().directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    // To its end: it is closed while the guest is kept.
    owner
        .stdout
        .take()
        .expect("piped")
        .read_to_string(&mut said)?;
    let kept = emulators(&mark);
    drop(owner.stdin.take());
    owner.wait()?;
    check(said == "up\n" && kept == 1, || {
        format!("{said:?}, {kept} guests")
    })?;
    Ok(Completion::Completed)
}

/// Without a parent, a guest would have no process to end with.
fn no_parent() -> Test {
    let (name, _) = or_ignored!(oldest());
    let unshare = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--pid",
            "--fork",
            "--mount-proc",
            PROGRAM,
        ])
        .args([
            &name,
            "--accel",
            "tcg",
            "--keep",
            "--verbose",
            "--",
            "uname",
            "-r",
        ])
        .env("NOCOPY_KERNELS", cache().directory)
        .stdin(Stdio::null())
        .output();
    match unshare {
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("unshare") => {
            Ok(Completion::ignored_with("no namespaces for this user"))
        }
        Ok(output) => expect(
            &output,
            0,
            &["5.10.", "no guest is kept: this process has no parent"],
        ),
        Err(_) => Ok(Completion::ignored_with("no unshare here")),
    }
}

/// What a command leaves behind, and ends, does not stay as a zombie.
fn orphans() -> Test {
    let script = "(sh -c 'echo $$ > /tmp/orphan' &) ; while ! read pid < /tmp/orphan; do :; done 2> /dev/null; \
                  n=0; while [ -e /proc/$pid ] && [ $n -lt 1000000 ]; do n=$((n + 1)); done; [ ! -e /proc/$pid ]";
    expect(
        &or_ignored!(kept(&[], &["sh", "-c", script])).output()?,
        0,
        &[],
    )
}

fn held_open() -> Test {
    let (name, _) = or_ignored!(oldest());
    let script = "sleep 1000 & echo done; exit 4";
    let sleep = on_path("sleep")?;
    let options = ["--with", &sleep];
    let output = or_ignored!(kept(&options, &["sh", "-c", script])).output()?;
    expect(&output, 4, &["done", "left behind holds its output open"])?;
    let mut once = on_kernel(&[&name, "--accel", "tcg", "--with", &sleep, "--"]);
    let output = once.args(["sh", "-c", script]).output()?;
    expect(&output, 4, &["done", "left behind holds its output open"])
}

/// The program ends with its reader, as in a pipeline.
fn reader_gone() -> Test {
    let (name, _) = or_ignored!(oldest());
    for options in [&["--accel", "tcg"][..], &["--accel", "tcg", "--keep"]] {
        let mut command = on_kernel(&[&name]);
        command
            .args(options)
            .args(["--", "sh", "-c", "while :; do echo y; done"]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = [0; 2];
        child.stdout.take().expect("piped").read_exact(&mut line)?;
        let status = child.wait()?;
        check(status.code() == Some(128 + 13), || format!("{status}"))?;
    }
    Ok(Completion::Completed)
}

fn bad_console() -> Test {
    let (_, image) = or_ignored!(oldest());
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    let kernel = at("kernel");
    std::fs::copy(&image.boot, &kernel)?;
    let length = kernel.metadata()?.len();
    let run = |console: &Path| {
        let mut run = on_kernel(&["--accel", "tcg", "--console"]);
        run.arg(console).arg(&kernel).args(["--", "true"]);
        run
    };
    expect(&run(&kernel).output()?, 2, &["the guest reads this file"])?;
    check(kernel.metadata()?.len() == length, || {
        "the kernel is emptied".into()
    })?;
    let pipe = at("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status()?;
    check(made.success(), || "mkfifo".into())?;
    expect(&run(&pipe).output()?, 2, &["pipe"])
}

/// The emulators with this text on their command line.
fn emulators(text: &str) -> usize {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"qemu") && String::from_utf8_lossy(&line).contains(text)
    })
    .count()
}

fn ends_with_owner() -> Test {
    let (name, _) = or_ignored!(oldest());
    let mark = format!("mark=owner-{}", std::process::id());
    // The shell is the parent, and lives until its input ends.
    let script = "\"$@\"; read line; exit 0";
    let mut owner = Command::new("sh")
        .args(["-c", script, "sh", PROGRAM, &name, "--accel", "tcg"])
        .args(["--keep", "--append", &mark, "--", "echo", "up"])
        .env("NOCOPY_KERNELS", cache().directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut up = [0; 3];
    owner.stdout.as_mut().expect("piped").read_exact(&mut up)?;
    let kept = emulators(&mark);
    drop(owner.stdin.take());
    owner.wait()?;
    check(kept == 1, || format!("{kept} guests while it lived"))?;
    for _ in 0..1000 {
        if emulators(&mark) == 0 {
            return Ok(Completion::Completed);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err("the guest outlives its owner".into())
}

fn once() -> Test {
    let (name, _) = or_ignored!(oldest());
    let mut command = on_kernel(&[&name, "--accel", "tcg", "-v", "--"]);
    command.args(["sh", "-c", "read line; echo said $line; exit 3"]);
    let output = fed(command, b"hello\n".to_vec())?;
    expect(&output, 3, &["said hello", "on-kernel: Linux 5.10."])
}

/// Without modules this kernel has no virtio.
fn serial() -> Test {
    let (_, image) = or_ignored!(oldest());
    let path = image.boot.to_str().ok_or("not UTF-8")?.to_owned();
    let run = |command: &[&str]| {
        let mut run = on_kernel(&[&path, "--accel", "tcg", "--keep", "--"]);
        run.args(command);
        run
    };
    expect(&run(&["uname", "-r"]).output()?, 0, &["5.10."])?;
    let output = fed(run(&["cat"]), b"some".to_vec())?;
    expect(&output, 2, &["no virtio console", "--with FILE"])
}

fn console() -> Test {
    let (name, _) = or_ignored!(oldest());
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("console");
    let mut command = on_kernel(&[&name, "--accel", "tcg", "--console"]);
    command
        .arg(&file)
        .args(["--", "sh", "-c", "echo seen > /dev/console"]);
    prints(&command.output()?, "")?;
    let text = std::fs::read_to_string(&file)?;
    check(text.contains("seen"), || text.clone())?;
    Ok(Completion::Completed)
}

fn project() -> Test {
    let (name, image) = or_ignored!(oldest());
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    std::os::unix::fs::symlink(&image.boot, root.join("kernel"))?;
    std::fs::write(root.join("data"), "of the project")?;
    let text = format!(
        "[defaults]\nwith = [\"data:/data\"]\n[kernels.mine]\npath = \"kernel\"\nexpect = \"{name}\"\n\
         [kernels.other]\npath = \"kernel\"\nexpect = \"6.99\"\n"
    );
    std::fs::write(root.join("on-kernel.toml"), text)?;
    let below = root.join("below");
    std::fs::create_dir(&below)?;
    let run = |kernel: &str| {
        let mut run = on_kernel(&[kernel, "--accel", "tcg", "--", "cat", "/data"]);
        run.current_dir(&below);
        run
    };
    prints(&run("mine").output()?, "of the project")?;
    expect(&run("other").output()?, 125, &["it is Linux 5.10.", "6.99"])?;
    let output = on_kernel(&["--list"]).current_dir(&below).output()?;
    expect(&output, 0, &["mine", "on-kernel.toml"])
}

fn dry_run() -> Test {
    let (name, _) = or_ignored!(oldest());
    let mut command = on_kernel(&[&name, "--dry-run", "--disk", "ext4", "--accel", "tcg"]);
    let output = command.args(["--", "uname", "-r"]).output()?;
    expect(
        &output,
        0,
        &[
            "machine  qemu-system-x86_64",
            "file     /lib",
            "ext4.img",
            "package  linux-image-5.10",
        ],
    )
}

fn wrong() -> Test {
    let line = |output: &Output, parts: &[&str]| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        check(said.lines().count() == 1, || said.clone())?;
        expect(output, 2, parts)
    };
    let run = |arguments: &[&str]| on_kernel(arguments).output();
    line(&run(&["6.99", "--", "true"])?, &["6.99", "6.12"])?;
    line(
        &run(&["6.1", "--", "no-such-program"])?,
        &["no-such-program"],
    )?;
    line(
        &run(&["6.1"])?,
        &["no program", "on-kernel KERNEL -- PROGRAM"],
    )?;
    line(
        &run(&["6.1", "--with", "/no/such/file", "--", "true"])?,
        &["/no/such/file", "No such file"],
    )?;
    line(
        &run(&["6.1", "--env", "NO_SUCH_ONE", "--", "true"])?,
        &["NO_SUCH_ONE"],
    )?;
    line(
        &run(&["/no/such/kernel", "--", "true"])?,
        &["/no/such/kernel"],
    )?;
    line(
        &run(&["/etc/hostname", "--", "true"])?,
        &["is not a kernel"],
    )?;
    line(
        &run(&["6.1", "--with", "/etc/hostname:/init", "--", "true"])?,
        &["/init is the guest's own"],
    )?;
    expect(&run(&[])?, 2, &["Usage"])?;
    expect(
        &run(&["6.1", "--fetch", "--with", "/etc/hostname"])?,
        2,
        &["--with"],
    )?;
    expect(
        &run(&["6.1", "--timeout", "0", "--", "true"])?,
        2,
        &["--timeout"],
    )
}

fn list() -> Test {
    let output = on_kernel(&["--list"]).output()?;
    let names: Vec<String> = rows().into_iter().map(|row| row.name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    expect(&output, 0, &names)
}
