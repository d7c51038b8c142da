//! Disks with file systems. They are made once and kept in the cache; a writable one is empty. Guests write to a snapshot of them.

use crate::cache::Cache;
use crate::error::{Context, Error};
use nocopy_host::images;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The image of a disk with this file system.
pub fn image(cache: &Cache, name: &str) -> Result<PathBuf, Error> {
    let filesystem = images::find(name).ok_or_else(|| {
        let names: Vec<&str> = images::ALL.iter().map(|known| known.name).collect();
        Error::host(format!(
            "no disk can have a `{name}`: there are {}",
            names.join(", ")
        ))
    })?;
    cache.make()?;
    let directory = cache.directory.join("disks");
    std::fs::create_dir_all(&directory).at(&directory)?;
    let path = directory
        .canonicalize()
        .at(&directory)?
        .join(format!("{name}.img"));
    once(&path, |making| {
        filesystem
            .make(making)
            .context(format!("make a disk ({})", filesystem.remedy()))
    })?;
    Ok(path)
}

/// One guest of this process makes a disk; the others wait.
static MAKING: Mutex<()> = Mutex::new(());

/// Makes a file if it does not exist. It is made as a whole or not at all.
fn once(path: &Path, make: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let _making = MAKING.lock();
    // A full disk or a crash may have left an empty file.
    if path.metadata().is_ok_and(|known| known.len() > 0) {
        return Ok(());
    }
    // It has another name until it is whole: another process may make it at the same time, and a run may be interrupted.
    let making = path.with_extension(format!("{}.new", std::process::id()));
    let made = make(&making).and_then(|()| std::fs::rename(&making, path).at(path));
    if made.is_err() {
        let _ = std::fs::remove_file(&making);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn who_want_a_disk_at_once_get_one_whole_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk.img");
        let made = AtomicUsize::new(0);
        let make = |making: &Path| {
            made.fetch_add(1, Ordering::Relaxed);
            assert!(!path.exists());
            std::fs::write(making, "whole").at(making)
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| once(&path, make).expect("made or there"));
            }
        });
        assert_eq!(made.into_inner(), 1);
        assert_eq!(std::fs::read_to_string(&path).expect("the disk"), "whole");
        assert_eq!(
            std::fs::read_dir(directory.path())
                .expect("readdir")
                .count(),
            1
        );
    }

    #[test]
    fn what_failed_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk.img");
        let cut_off = |making: &Path| {
            std::fs::write(making, "half").at(making)?;
            Err(Error::host("mkfs failed"))
        };
        assert!(once(&path, cut_off).is_err());
        assert_eq!(
            std::fs::read_dir(directory.path())
                .expect("readdir")
                .count(),
            0
        );
    }

    #[test]
    fn an_unknown_file_system_is_answered_with_the_known() {
        let cache = Cache {
            directory: "/proc/none".into(),
        };
        let error = image(&cache, "zfs")
            .expect_err("no tool for it")
            .to_string();
        assert!(error.contains("zfs") && error.contains("btrfs"), "{error}");
    }
}
