//! A directory for each experiment, in one for the run. An experiment's files have no name; a file with a name was left there by
//! mistake.
//!
//! The runner names the run's directory. The supervisor makes it after it has read the name, when nothing can end it before it
//! removes the directory. So the process that makes the directory is never the only one that knows it and then dies. The supervisor
//! removes it after the end of the lifeline, and the runner removes it after the end of the supervisor. At least one of the two
//! lives long enough.
#![forbid(unsafe_code)]

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};

/// The directory of a run. It is removed with its content when this is dropped.
pub(super) struct RunDirectory(pub(super) PathBuf);

impl RunDirectory {
    /// Names one below `scratch`.
    pub(super) fn named(scratch: &Path) -> Self {
        // Never the name of another run, even of one that is over: the runner and the supervisor both remove it.
        let random = RandomState::new().build_hasher().finish();
        Self(scratch.join(format!(".nocopy-run-{random:016x}")))
    }

    /// Makes the directory. None if no directory can be made: then experiments use `scratch` itself.
    pub(super) fn make(self) -> Option<Self> {
        fs::create_dir(&self.0).ok().map(|()| self)
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        // Already gone if the supervisor was first.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes an experiment's directory. Returns an error with the names in it, if it was not empty.
pub(super) fn remove(directory: &Path) -> Result<(), String> {
    let Err(error) = fs::remove_dir(directory) else {
        return Ok(());
    };
    let mut names: Vec<String> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names.truncate(10);
    let left = if names.is_empty() { error.to_string() } else { names.join(", ") };
    match fs::remove_dir_all(directory) {
        Ok(()) => Err(left),
        Err(error) => Err(format!("{left}, which cannot be removed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_is_named_and_removed() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let make = || RunDirectory::named(scratch.path()).make().expect("a directory");
        let (run, other) = (make(), make());
        assert_ne!(run.0, other.0);
        let (good, bad) = (run.0.join("good"), run.0.join("bad"));
        for directory in [&good, &bad] {
            fs::create_dir(directory).expect("a directory");
        }
        fs::write(bad.join("file"), "bytes").expect("a file");
        fs::create_dir(bad.join("directory")).expect("a directory");
        assert_eq!(remove(&good), Ok(()));
        assert_eq!(remove(&bad), Err("directory, file".to_owned()));
        assert!(!bad.exists());
        fs::write(run.0.join("more"), "bytes").expect("a file");
        drop((run, other));
        assert_eq!(fs::read_dir(scratch.path()).expect("readdir").count(), 0);
    }

    #[test]
    fn where_no_directory_can_be_made_there_is_none() {
        assert!(RunDirectory::named("/proc".as_ref()).make().is_none());
    }
}
