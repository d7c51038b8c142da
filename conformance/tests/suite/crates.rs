//! The crates as they are found: a new one is checked without being named anywhere.

use std::path::{Path, PathBuf};

/// The folder of each crate.
pub fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let folders = std::fs::read_dir(root).expect("the folder of the crates");
    let mut folders: Vec<_> = folders
        .map(|folder| folder.expect("a crate").path())
        .filter(|folder| folder.join("Cargo.toml").exists())
        .collect();
    folders.sort();
    assert!(folders.len() >= 6, "there are six crates: {folders:?}");
    folders
}
