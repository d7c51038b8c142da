//! A guest whose output and exit status are this program's.

use crate::commands::failure::Failure;
use on_kernel::frames::Kind;
use on_kernel::machine::Machine;
use std::io::{self, Write};
use std::path::Path;

/// Where a file stands in the guest.
pub(super) fn inside(path: &Path) -> String {
    format!("/files/{}", file_name(path))
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Runs a guest whose output and exit status are ours.
pub(super) fn run_through(guest: &Machine<'_>) -> Result<bool, Failure> {
    let mut written = Ok(());
    let ran = guest.run(|kind, bytes| pass_through(kind, bytes, &mut written))?;
    all_written(written)?;
    status(ran.end.status)
}

/// Writes what a guest says to our own streams, and keeps the first error.
pub(super) fn pass_through(kind: Kind, bytes: &[u8], written: &mut io::Result<()>) {
    let done = match kind {
        Kind::Output => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
        _ => io::stderr().write_all(bytes),
    };
    if written.is_ok() {
        *written = done;
    }
}

pub(super) fn all_written(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        // Who reads no more still wants the status.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Usage(format!("cannot write what the guest says: {error}")))
        }
        _ => Ok(()),
    }
}

/// The exit status of what ran is ours.
pub(super) fn status(status: i32) -> Result<bool, Failure> {
    if status == 0 { Ok(true) } else { Err(Failure::Status(status)) }
}
