//! What goes wrong on the host before there is a guest.

use super::fake::Store;
use super::support::{PROGRAM, Test, check, conformance, expect, expect_line, guest, or_ignored};
use libtest_mimic::{Completion, Trial};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

pub fn trials() -> Vec<Trial> {
    let trial =
        |name: &str, test: fn() -> Test| Trial::ignorable_test(format!("host_only::{name}"), test);
    vec![
        trial("unknown-kernel.names-the-known", unknown_kernel),
        trial("kernel-file-that-is-not-there", no_such_file),
        trial("dynamic-program.runs-with-its-libraries", dynamic_program),
        trial("bad-options.one-line", bad_options),
        trial("no-apt-and-no-cache.says-what-to-do", nothing_to_fetch_with),
        trial("cache.of-the-workspace", cache_of_the_workspace),
        trial("two-files-for-one-place", two_files_for_one_place),
        trial("fetch.no-mirror", no_mirror),
        trial(
            "fetch.cache-that-is-no-directory",
            cache_that_is_no_directory,
        ),
        trial("fetch.damaged-package", damaged_package),
        trial("fetch.package-without-kernel", package_without_kernel),
        trial("fetch.disk-full", disk_full),
        trial(
            "fetch.apt-configuration-of-the-system-is-not-read",
            own_configuration,
        ),
        trial("clean.without-marker.refused", clean_without_marker),
        trial("clean.removes-only-its-own", clean_removes_its_own),
        trial("cache.not-in-a-directory-of-others", cache_among_others),
        trial("kernel-that-is-none.before-a-guest", kernel_that_is_none),
        trial("modules.none-in-the-directory", no_modules),
        trial(
            "matrix.results-that-cannot-be-written.before-a-guest",
            results_unwritable,
        ),
        trial("options-without-use", options_without_use),
        trial("fetch.cut-in-the-cache", cut_in_the_cache),
        trial("guest.without-qemu.says-what-to-install", without_qemu),
    ]
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
    let mut command = or_ignored!(guest("exec", &["--disks=", "--", program]));
    expect(&command.output()?, 0, &[])
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
fn no_mirror() -> Test {
    let empty = tempfile::tempdir()?;
    let mut command = conformance(&["kernels", "fetch", "5.10", "--mirror", "http://127.0.0.1:9"]);
    command.env("NOCOPY_KERNELS", empty.path());
    or_ignored!(fetching_tools());
    expect_line(
        &command.output()?,
        &["apt-get update", "127.0.0.1:9", "--mirror"],
    )
}

fn cache_that_is_no_directory() -> Test {
    let file = tempfile::NamedTempFile::new()?;
    let mut command = conformance(&["kernels", "fetch", "5.10", "--mirror", "http://127.0.0.1:9"]);
    command.env("NOCOPY_KERNELS", file.path());
    or_ignored!(fetching_tools());
    expect_line(&command.output()?, &["Not a directory"])
}

/// Fetching needs Debian's tools and keyring.
pub fn fetching_tools() -> Result<(), Completion> {
    let keyring = Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists();
    let tool = |name: &str| Command::new(name).arg("--version").output().is_ok();
    if keyring && tool("apt-get") && tool("dpkg-deb") {
        Ok(())
    } else {
        Err(Completion::ignored_with(
            "needs apt-get, dpkg-deb and debian-archive-keyring",
        ))
    }
}

/// A package with a file of this size as its kernel.
pub fn package(size: usize) -> std::io::Result<Vec<u8>> {
    let directory = tempfile::tempdir()?;
    let (from, to) = (directory.path().join("from"), directory.path().join("deb"));
    std::fs::create_dir_all(from.join("DEBIAN"))?;
    std::fs::create_dir_all(from.join("boot"))?;
    let control = "Package: x\nVersion: 1\nArchitecture: amd64\nMaintainer: nobody <n@example.org>\nDescription: x\n";
    std::fs::write(from.join("DEBIAN/control"), control)?;
    std::fs::write(
        from.join("boot/vmlinuz-5.10.0-1-cloud-amd64"),
        vec![7; size],
    )?;
    let mut build = Command::new("dpkg-deb");
    build.args(["-Zgzip", "--build"]).arg(&from).arg(&to);
    let built = build.output()?;
    assert!(built.status.success(), "{built:?}");
    std::fs::read(to)
}

pub fn fetch(store: &Store) -> Command {
    let mut command = conformance(&["kernels", "fetch", "5.10", "--mirror", "http://127.0.0.1:9"]);
    store.first_for(&mut command);
    command
}

/// Exit status 2, the last line is the message, and the cache does not take the kernel for fetched.
fn expect_not_fetched(store: &Store, output: &Output, parts: &[&str]) -> Test {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let own: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("conformance: "))
        .collect();
    check(
        own.len() == 1 && said.lines().last() == Some(own[0]),
        || said.clone(),
    )?;
    let listed = conformance(&["kernels", "list"])
        .env("NOCOPY_KERNELS", store.cache())
        .output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    check(!listed.contains("5.10.1-1"), || listed.clone())?;
    expect(output, 2, parts)
}

fn damaged_package() -> Test {
    or_ignored!(fetching_tools());
    let whole = package(4 << 20)?;
    for damaged in [
        &b"no package"[..],
        &whole[..whole.len() / 2],
        &whole[..100],
        b"",
    ] {
        let store = Store::new(damaged)?;
        expect_not_fetched(&store, &fetch(&store).output()?, &["damaged package"])?;
    }
    Ok(Completion::Completed)
}

fn package_without_kernel() -> Test {
    or_ignored!(fetching_tools());
    let store = Store::new(&package(0)?)?;
    expect_not_fetched(&store, &fetch(&store).output()?, &["hold no vmlinuz"])
}

/// The file system does not take the kernel; as soon as it does, the same command succeeds.
fn disk_full() -> Test {
    // The package is taken, the kernel in it is not.
    const LIMIT: u64 = 1 << 20;
    or_ignored!(fetching_tools());
    let store = Store::new(&package(4 << 20)?)?;
    let mut command = fetch(&store);
    // SAFETY: the limit is read during the call; signal takes no pointer: both are safe after fork. The signal is ignored, so
    // that a write fails as on a full disk.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit {
                rlim_cur: LIMIT,
                rlim_max: libc::RLIM_INFINITY,
            };
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit);
            Ok(())
        });
    }
    expect_not_fetched(&store, &command.output()?, &["File too large"])?;
    expect(&fetch(&store).output()?, 0, &[])
}

/// A kernel in the cache that was cut is fetched again.
fn cut_in_the_cache() -> Test {
    or_ignored!(fetching_tools());
    let store = Store::new(&package(1 << 20)?)?;
    expect(&fetch(&store).output()?, 0, &["fetching"])?;
    let again = fetch(&store).output()?;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    check(!said.contains("fetching"), || said.clone())?;
    let kernel = store.cache().join("5.10/vmlinuz");
    std::fs::File::options()
        .write(true)
        .open(&kernel)?
        .set_len(1000)?;
    expect(&fetch(&store).output()?, 0, &["fetching"])?;
    check(kernel.metadata()?.len() == 1 << 20, || "not mended".into())?;
    Ok(Completion::Completed)
}

/// cargo runs tests, and so its runner, in the package's directory: the cache is the workspace's all the same.
fn cache_of_the_workspace() -> Test {
    let workspace = tempfile::tempdir()?;
    let package = workspace.path().join("crates/a");
    let kernel = workspace.path().join("target/kernels/5.10");
    std::fs::create_dir_all(&package)?;
    std::fs::create_dir_all(&kernel)?;
    std::fs::write(workspace.path().join("Cargo.lock"), "")?;
    let image = serde_json::json!({
        "name": "5.10", "expect": "5.10", "boot": "/proc/self/exe", "modules": null,
        "packages": [{ "name": "of-this-workspace", "version": "1", "sha256": "" }],
    });
    std::fs::write(kernel.join("image.json"), image.to_string())?;
    let mut command = conformance(&["kernels", "list"]);
    let output = command
        .current_dir(&package)
        .env_remove("NOCOPY_KERNELS")
        .output()?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    check(listed.contains("of-this-workspace"), || listed.clone())?;
    Ok(Completion::Completed)
}

fn two_files_for_one_place() -> Test {
    let directory = tempfile::tempdir()?;
    let other = directory.path().join("conformance");
    std::fs::write(&other, "")?;
    let output = conformance(&[
        "vm", "exec", "--kernel", PROGRAM, "--accel", "tcg", "--with",
    ])
    .arg(format!("{}:{PROGRAM}", other.display()))
    .args(["--", PROGRAM])
    .output()?;
    expect_line(
        &output,
        &["two files for", PROGRAM, "--with FILE:GUEST_PATH"],
    )
}

/// What the system's apt is told, in files and by others' programs, says nothing about ours.
fn own_configuration() -> Test {
    or_ignored!(fetching_tools());
    let store = Store::new(&package(1 << 20)?)?;
    expect(&fetch(&store).output()?, 0, &["fetching"])?;
    let text = std::fs::read_to_string(store.cache().join("apt/bullseye-security/apt.conf"))?;
    let directory = tempfile::tempdir()?;
    let parts = directory.path().join("parts");
    std::fs::create_dir(&parts)?;
    std::fs::write(parts.join("50other.conf"), "NocoPy::Other \"read\";\n")?;
    // The configuration as it is, and one that reads parts: that apt would have read them is shown beside.
    let own = directory.path().join("own.conf");
    let reads = directory.path().join("reads.conf");
    std::fs::write(&own, &text)?;
    let line = format!("Dir::Etc::parts \"{}\";\n", parts.display());
    std::fs::write(
        &reads,
        text.replace("Dir::Etc::parts \"/dev/null\";\n", &line),
    )?;
    for (config, expected) in [(&own, false), (&reads, true)] {
        let dump = Command::new("apt-config")
            .arg("dump")
            .env("APT_CONFIG", config)
            .output()?;
        let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
        check(dump.contains("NocoPy::Other") == expected, || dump.clone())?;
        let of_system = dump.contains("APT::NeverAutoRemove");
        check(!of_system, || {
            format!("the system's files were read: {dump}")
        })?;
    }
    Ok(Completion::Completed)
}

fn clean(directory: &Path, arguments: &[&str]) -> std::io::Result<Output> {
    conformance(&["kernels", "clean"])
        .args(arguments)
        .env("NOCOPY_KERNELS", directory)
        .output()
}

fn clean_without_marker() -> Test {
    let home = tempfile::tempdir()?;
    std::fs::write(home.path().join("thesis.txt"), "x")?;
    std::fs::create_dir_all(home.path().join("5.10/modules"))?;
    expect_line(
        &clean(home.path(), &[])?,
        &["nothing was removed", "NOCOPY_KERNELS"],
    )?;
    check(home.path().join("thesis.txt").exists(), || "lost".into())?;
    check(home.path().join("5.10/modules").exists(), || "lost".into())?;
    expect(&clean(Path::new("/no/such/cache"), &[])?, 0, &[])
}

/// In a cache of ours: kernels and disks go, what somebody else has put there stays, and is named.
fn clean_removes_its_own() -> Test {
    or_ignored!(fetching_tools());
    let store = Store::new(&package(1 << 20)?)?;
    expect(&fetch(&store).output()?, 0, &["fetching"])?;
    let at = |name: &str| store.cache().join(name);
    std::fs::write(at("5.10/notes.txt"), "mine")?;
    std::fs::write(at("thesis.txt"), "mine")?;
    std::fs::create_dir(at("disks"))?;
    std::fs::write(at("disks/ext4.img"), "made")?;
    std::os::unix::fs::symlink("/etc", at("6.1"))?;
    let dry = clean(&store.cache(), &["--dry-run"])?;
    let said = String::from_utf8_lossy(&dry.stdout).into_owned();
    check(
        said.contains("would remove") && said.contains("thesis.txt"),
        || said.clone(),
    )?;
    check(at("5.10/vmlinuz").exists(), || {
        "a dry run has removed".into()
    })?;
    let done = clean(&store.cache(), &[])?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    for name in ["5.10/notes.txt", "thesis.txt", "6.1", "nocopy-cache"] {
        check(at(name).symlink_metadata().is_ok(), || {
            format!("{name} is gone: {said}")
        })?;
    }
    for name in ["5.10/vmlinuz", "5.10/image.json", "disks", "apt"] {
        check(!at(name).exists(), || format!("{name} is there: {said}"))?;
    }
    check(said.contains("left ") && said.contains("notes.txt"), || {
        said.clone()
    })?;
    check(Path::new("/etc/passwd").exists(), || {
        "followed a link".into()
    })?;
    for name in ["5.10/notes.txt", "thesis.txt", "6.1"] {
        std::fs::remove_file(at(name))?;
    }
    expect(&clean(&store.cache(), &[])?, 0, &[])?;
    check(!store.cache().exists(), || "it is there".into())?;
    Ok(Completion::Completed)
}

/// A directory with files of others is not made a cache, which `clean` would take for one.
fn cache_among_others() -> Test {
    or_ignored!(fetching_tools());
    let home = tempfile::tempdir()?;
    std::fs::write(home.path().join("thesis.txt"), "x")?;
    let output = conformance(&["kernels", "fetch", "5.10", "--mirror", "http://127.0.0.1:9"])
        .env("NOCOPY_KERNELS", home.path())
        .output()?;
    expect_line(&output, &["thesis.txt", "not a cache", "NOCOPY_KERNELS"])?;
    let names = std::fs::read_dir(home.path())?.count();
    check(names == 1, || format!("{names} files"))?;
    Ok(Completion::Completed)
}

fn kernel_that_is_none() -> Test {
    let directory = tempfile::tempdir()?;
    let fifo = directory.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status()?;
    check(made.success(), || "mkfifo".into())?;
    let empty = directory.path().join("empty");
    std::fs::write(&empty, "")?;
    for path in [
        &fifo,
        &empty,
        Path::new("/etc/passwd"),
        Path::new("/dev/zero"),
    ] {
        let mut command = conformance(&["vm", "run", "--kernel"]);
        expect_line(
            &command.arg(path).output()?,
            &["is not a kernel", "bzImage"],
        )?;
    }
    Ok(Completion::Completed)
}

fn no_modules() -> Test {
    let empty = tempfile::tempdir()?;
    let output = conformance(&["vm", "run", "--kernel", PROGRAM, "--modules"])
        .arg(empty.path())
        .output()?;
    expect_line(&output, &["has no module"])
}

fn results_unwritable() -> Test {
    for command in [&["matrix"][..], &["fds"]] {
        let output = conformance(command)
            .args(["--kernels", "5.10", "--results", "/proc/no"])
            .output()?;
        expect_line(&output, &["/proc/no"])?;
    }
    let output = conformance(&["vm", "run", "--kernel", "5.10", "--output", "/proc/no/x"]);
    let mut output = output;
    expect_line(&output.output()?, &["cannot write /proc/no/x"])
}

/// What the program would not use is an error, and says so.
fn options_without_use() -> Test {
    for (arguments, parts) in [
        (
            &["fds", "--memory", "512"][..],
            &["--memory", "--kernels"][..],
        ),
        (&["fds", "--results", "x"], &["--kernels"]),
        (&["fds", "--mirror", "x"], &["--mirror", "--kernels"]),
        (
            &["fds", "--recorded", "5.10", "--kernels", "5.10"],
            &["--recorded"],
        ),
        (&["fds", "--recorded", "5.10", "--jobs", "1"], &["--jobs"]),
        (&["fds", "--recorded", "5.10", "--strict"], &["--strict"]),
        (
            &["fs", "--kernels", "5.10", "--scratch", "/tmp"],
            &["--scratch"],
        ),
        (
            &["fds", "--filter", "pipe", "--filter", "nosuch"],
            &["--filter nosuch"],
        ),
        (
            &["check", "--filter", "splice.", "--filter", "nosuch"],
            &["--filter nosuch"],
        ),
        (
            &[
                "check",
                "--filter",
                "splice.",
                "--strict",
                "--expect-untestable",
                "rw.call.present",
            ],
            &["--expect-untestable rw.call.present"],
        ),
        (
            &[
                "vm",
                "run",
                "--kernel",
                "5.10",
                "--filter",
                "splice.",
                "--strict",
                "--expect-untestable",
                "x",
            ],
            &["--expect-untestable x"],
        ),
        (
            &[
                "matrix",
                "--kernels",
                "5.10",
                "--strict",
                "--expect-untestable",
                "x",
            ],
            &["--expect-untestable x"],
        ),
        (
            &["fds", "--strict", "--expect-untestable", "x"],
            &["--expect-untestable x"],
        ),
        (
            &["vm", "run", "--kernel", "5.10", "--modules", "/tmp"],
            &["kernel of the matrix"],
        ),
        (
            &["vm", "run", "--kernel", PROGRAM, "--mirror", "x"],
            &["--mirror"],
        ),
        (
            &["vm", "run", "--kernel", "gvisor", "--memory", "512"],
            &["--memory", "gvisor"],
        ),
        (
            &["vm", "run", "--kernel", "uml", "--disks", "ext4"],
            &["--disks", "uml"],
        ),
        (
            &["kernels", "fetch", "gvisor"],
            &["installed", "setup-foreign"],
        ),
        (
            &[
                "report",
                "--format",
                "junit",
                "--origin",
                "x",
                "fixtures/verdicts/5.10.jsonl",
            ],
            &["--origin", "kcidb"],
        ),
    ] {
        expect_line(&conformance(arguments).output()?, parts)?;
    }
    Ok(Completion::Completed)
}
