//! What goes wrong on the host before there is a guest.

use super::fake::Store;
use super::support::{
    PROGRAM, Test, check, conformance, expect, expect_line, guest, or_ignored, workspace,
};
use conformance::vm::kernels::{foreign_rows, rows};
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
        trial("dynamic-program.says-how-to-build", dynamic_program),
        trial("bad-options.one-line", bad_options),
        trial("no-apt-and-no-cache.says-what-to-do", nothing_to_fetch_with),
        trial("cache.of-the-workspace", cache_of_the_workspace),
        trial("two-files-of-one-name", two_files_of_one_name),
        trial("fetch.no-mirror", no_mirror),
        trial(
            "fetch.cache-that-is-no-directory",
            cache_that_is_no_directory,
        ),
        trial("fetch.damaged-package", damaged_package),
        trial("fetch.package-without-kernel", package_without_kernel),
        trial("fetch.disk-full", disk_full),
        trial("fetch.cut-in-the-cache", cut_in_the_cache),
        trial("guest.without-qemu.says-what-to-install", without_qemu),
        trial(
            "workflow.has-a-job-for-every-kernel",
            workflow_of_the_matrix,
        ),
    ]
}

/// The workflow names the kernels, because a job that asks the program would have to build it first.
fn workflow_of_the_matrix() -> Test {
    let path = workspace().join(".github/workflows/matrix.yml");
    let text = std::fs::read_to_string(path)?;
    let named = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("kernel: "));
    let named: Vec<String> = serde_json::from_str(named.unwrap_or_default())?;
    let linux = rows()
        .into_iter()
        .filter(|row| !row.optional)
        .map(|row| row.name);
    let foreign = foreign_rows().into_iter().map(|row| row.name);
    let listed: Vec<String> = linux.chain(foreign).collect();
    check(named == listed, || {
        format!(".github/workflows/matrix.yml has {named:?}, fixtures/kernels.toml {listed:?}")
    })?;
    Ok(Completion::Completed)
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
fn fetching_tools() -> Result<(), Completion> {
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
fn package(size: usize) -> std::io::Result<Vec<u8>> {
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

fn fetch(store: &Store) -> Command {
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

fn two_files_of_one_name() -> Test {
    let directory = tempfile::tempdir()?;
    let other = directory.path().join("conformance");
    std::fs::write(&other, "")?;
    let output = conformance(&[
        "vm", "exec", "--kernel", PROGRAM, "--accel", "tcg", "--with",
    ])
    .arg(&other)
    .args(["--", PROGRAM])
    .output()?;
    expect_line(&output, &["two files are called conformance"])
}
