//! Programs of this machine that claims run ([`Claim::programs`]), packed for a guest with the libraries that they load.

#![forbid(unsafe_code)]

use crate::claim::Claim;
use nocopy_host::programs;
use on_kernel::error::Error;
use on_kernel::program;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The programs that claims run and this machine has, with their libraries: paths in the guest, and paths here.
///
/// # Errors
///
/// A program cannot be read, or lacks a library.
pub fn files(claims: &[&'static Claim]) -> Result<Vec<(String, PathBuf)>, Error> {
    let names: BTreeSet<&str> = claims.iter().flat_map(|claim| claim.programs).copied().collect();
    let mut files = BTreeMap::new();
    for path in names.into_iter().filter_map(programs::find) {
        files.extend(program::with_libraries(&path)?);
    }
    Ok(files.into_iter().collect())
}

/// The claims that run a program which this machine does not have.
pub fn without(claims: &[&'static Claim]) -> Vec<String> {
    let lacks = |claim: &&&Claim| claim.programs.iter().any(|name| programs::find(name).is_none());
    let without = claims.iter().filter(lacks);
    without.map(|claim| claim.id.to_owned()).collect()
}
