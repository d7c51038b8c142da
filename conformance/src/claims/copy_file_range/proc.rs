//! `copy_file_range` and files of `/proc`, whose size is 0.

use super::{about_copying, copy, manual, refused};
use crate::claims::prelude::*;
use crate::lab::fds::{Descriptor, Kind as Fd};

pub const CLAIMS: &[Claim] = &[about_copying(
    "copy-file-range.proc.silent",
    "From /proc/version to another file of /proc, copy_file_range() returns 0 and copies nothing.",
)
.published(&[
    kernel("fs/read_write.c", "generic_copy_file_checks"),
    manual("BUGS").leaves_open().since("5.3").until("5.18"),
    thread(
        "golang/go#44272",
        "a copy of /proc/self/cmdline to a temporary file returns 0, though the file has content",
    )
    .leaves_open()
    .since("5.7")
    .until("5.7"),
])
.turned_by(&[refused(libc::EXDEV), Lie::returned(Sysno::copy_file_range, 1)])
.tried(|lab, see| {
    let (source, target) = (Descriptor::open(lab, Fd::ProcVersion)?, Descriptor::open(lab, Fd::ProcComm)?);
    let name = || aside(|| std::fs::read("/proc/self/comm")).setup("read /proc/self/comm");
    let (version, before) = (aside(|| std::fs::read("/proc/version")).setup("read /proc/version")?, name()?);
    let copied = copy((&source, None), (&target, None), 100);
    see.call("copy_file_range(/proc/version, /proc/self/comm, 100)", copied).is(0);
    see.whether("/proc/self/comm has changed", name()? != before).says("no");
    let mut bytes = vec![0; version.len()];
    let read = aside(|| io::read_full(&source, &mut bytes)).setup("read /proc/version")?;
    see.whether("read() of the source then gives its text", read > 0 && bytes[..read] == version).says("yes");
    Ok(())
})];
