//! Programs of this machine.

#![forbid(unsafe_code)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A program by its path, or, as in a shell, by a name without a slash from `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let is_program = |path: &PathBuf| {
        let found = path.metadata();
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&directories)
        .map(|directory| directory.join(name))
        .find(is_program)
}

/// The same for what only root usually starts: Debian has servers and mkfs in directories that are not in a user's `PATH`.
pub fn find_of_root(name: &str) -> Option<PathBuf> {
    let directories = ["/usr/sbin", "/sbin"];
    let below = directories
        .iter()
        .find_map(|directory| find(&format!("{directory}/{name}")));
    below.or_else(|| find(name))
}
