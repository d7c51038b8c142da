//! Programs of this machine that claims run ([`Claim::programs`]), packed for a guest with the libraries that they load.

#![forbid(unsafe_code)]

use crate::claim::Claim;
use crate::lab::redis::servers::on_path;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs that claims run and this machine has, and their libraries, as pairs of a name in the guest and a path here. A name
/// that begins with a slash is a path in the guest; any other name is in `/files`.
pub fn files(claims: &[&'static Claim]) -> Vec<(String, PathBuf)> {
    let names: BTreeSet<&str> = claims
        .iter()
        .flat_map(|claim| claim.programs)
        .copied()
        .collect();
    let mut files = BTreeMap::new();
    for name in names {
        if let Some(path) = on_path(name) {
            files.extend(libraries(&path));
            files.insert(name.to_owned(), path);
        }
    }
    files.into_iter().collect()
}

/// The claims that run a program which this machine does not have.
pub fn without(claims: &[&'static Claim]) -> Vec<String> {
    let lacks = |claim: &&&Claim| claim.programs.iter().any(|name| on_path(name).is_none());
    let without = claims.iter().filter(lacks);
    without.map(|claim| claim.id.to_owned()).collect()
}

/// The libraries that the dynamic linker loads for a program, and the linker. Empty for a static program.
fn libraries(program: &Path) -> Vec<(String, PathBuf)> {
    let said = Command::new("ldd").arg(program).output();
    let said = said.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said)
        .lines()
        .filter_map(library)
        .collect()
}

/// A line of ldd: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f..)`, or only the path of the linker.
fn library(line: &str) -> Option<(String, PathBuf)> {
    let (found, _) = line.trim().rsplit_once(" (0x")?;
    let (name, path) = found.split_once(" => ").unwrap_or((found, found));
    path.starts_with('/')
        .then(|| (name.to_owned(), PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ldd_says_is_read() {
        let here = |line| library(line).map(|(name, path)| (name, path.display().to_string()));
        let both = |name: &str, path: &str| Some((name.to_owned(), path.to_owned()));
        assert_eq!(
            here("\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007fd4a9b21000)"),
            both("libm.so.6", "/lib/x86_64-linux-gnu/libm.so.6")
        );
        assert_eq!(
            here("\t/lib64/ld-linux-x86-64.so.2 (0x00007fd4aa5d3000)"),
            both("/lib64/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2")
        );
        assert_eq!(here("\tlinux-vdso.so.1 (0x00007ffc6a5f9000)"), None);
        assert_eq!(here("\tlibnone.so => not found"), None);
        assert_eq!(here("\tnot a dynamic executable"), None);
    }
}
