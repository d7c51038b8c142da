//! What goes wrong on the host before there is a guest.

use super::support::{PROGRAM, Test, conformance, expect_line, guest, or_ignored};
use libtest_mimic::{Completion, Trial};
use std::path::Path;

pub fn trials() -> Vec<Trial> {
    let trial =
        |name: &str, test: fn() -> Test| Trial::ignorable_test(format!("host_only::{name}"), test);
    vec![
        trial("unknown-kernel.names-the-known", unknown_kernel),
        trial("kernel-file-that-is-not-there", no_such_file),
        trial("dynamic-program.says-how-to-build", dynamic_program),
        trial("bad-options.one-line", bad_options),
        trial("no-apt-and-no-cache.says-what-to-do", nothing_to_fetch_with),
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
