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
    assert!(folders.len() >= 7, "there are seven crates: {folders:?}");
    folders
}

/// The crates that a crate is made of: the names of their folders, which stand beside its own. A primitive has none.
pub fn parts(folder: &Path) -> Vec<String> {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = manifest.parse().expect("a manifest");
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
    let paths = dependencies
        .into_iter()
        .flat_map(toml::Table::values)
        .filter_map(|dependency| dependency.get("path")?.as_str());
    paths
        .filter_map(|path| path.strip_prefix("../"))
        .map(str::to_owned)
        .collect()
}
