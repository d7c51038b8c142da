//! The directory of fetched kernels.

#![forbid(unsafe_code)]

use crate::error::{Context, Error};
use crate::kernels::{Image, resolve};
use nocopy_host::replace;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The directory of fetched kernels.
#[derive(Clone, Debug)]
pub struct Cache {
    /// `target/kernels`, or the directory in `NOCOPY_KERNELS`.
    pub directory: PathBuf,
}

impl Cache {
    /// The directory in `NOCOPY_KERNELS`, or `target/kernels`. A relative path begins at the workspace in which the program runs, or
    /// else at the current directory.
    pub fn open() -> Self {
        let named = std::env::var_os("NOCOPY_KERNELS").filter(|name| !name.is_empty());
        let directory = named.map_or_else(|| PathBuf::from("target/kernels"), PathBuf::from);
        // cargo runs the tests of a package, and therefore their runner, in the package's directory.
        let here = std::env::current_dir().unwrap_or_default();
        let mut above = here.ancestors();
        let workspace = above.find(|directory| directory.join("Cargo.lock").exists());
        Self {
            directory: match workspace {
                Some(workspace) => workspace.join(directory),
                None => directory,
            },
        }
    }

    /// The directory of one kernel.
    pub fn of(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The fetched kernel of this name, if it is complete.
    pub fn find(&self, name: &str) -> Option<Image> {
        let text = std::fs::read(self.of(name).join("image.json")).ok()?;
        let image: Image = serde_json::from_slice(&text).ok()?;
        let length = image.boot.metadata().ok()?.len();
        let has_kernel = image.bytes.is_none_or(|bytes| bytes == length);
        let has_modules = image.modules.as_ref().is_none_or(|path| path.is_dir());
        (has_kernel && has_modules).then_some(image)
    }

    /// Notes in `directory` that a kernel is complete. The note is written last, so that an interrupted fetch is repeated.
    pub fn keep(directory: &Path, image: &Image) -> Result<(), Error> {
        let path = directory.join("image.json");
        let text = serde_json::to_vec_pretty(image).expect("an image is plain data");
        std::fs::write(&path, text).at(&path)
    }

    /// Makes the directory and marks it as a cache, so that [`clean`](Self::clean) recognizes it.
    ///
    /// # Errors
    ///
    /// If it contains files that nocopy does not put there: then it is not a cache, and must not become one.
    pub fn make(&self) -> Result<(), Error> {
        let marker = self.directory.join(MARKER);
        if marker.is_file() {
            return Ok(());
        }
        if self.directory.exists() && !self.directory.is_dir() {
            return Err(Error::host(format!(
                "{}: Not a directory (name a cache of kernels with NOCOPY_KERNELS)",
                self.directory.display()
            )));
        }
        std::fs::create_dir_all(&self.directory).at(&self.directory)?;
        if let Some(other) = self.names()?.iter().find(|name| !is_own(name)) {
            return Err(Error::host(format!(
                "{} is not a cache of kernels, for `{other}` is in it: name an empty or new directory with NOCOPY_KERNELS",
                self.directory.display()
            )));
        }
        replace::write(&marker, MARKED.as_bytes()).at(&marker)
    }

    /// Waits until no other process fetches into this cache. The lock lasts as long as the file is open.
    pub fn lock(&self) -> Result<File, Error> {
        self.make()?;
        let path = self.directory.join(LOCK);
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).open(&path);
        let file = file.at(&path)?;
        file.lock().at(&path)?;
        Ok(file)
    }

    /// The names in the directory, sorted.
    fn names(&self) -> Result<Vec<String>, Error> {
        let entries = std::fs::read_dir(&self.directory).at(&self.directory)?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.at(&self.directory)?.file_name();
            names.push(name.to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Removes the files that nocopy has put there, or, with `dry`, only lists them.
    ///
    /// # Errors
    ///
    /// If the directory is not marked as a cache.
    pub fn clean(&self, dry: bool) -> Result<Cleaned, Error> {
        let mut cleaned = Cleaned::default();
        if !self.directory.exists() {
            return Ok(cleaned);
        }
        let marker = self.directory.join(MARKER);
        if !marker.is_file() && self.names()?.is_empty() {
            return Ok(cleaned);
        }
        if !marker.is_file() {
            return Err(Error::host(format!(
                "{} has no file `{MARKER}`, which nocopy puts into its caches: nothing was removed; name the cache with \
                 NOCOPY_KERNELS, or remove the directory yourself",
                self.directory.display()
            )));
        }
        for name in self.names()? {
            let path = self.directory.join(&name);
            if name == MARKER {
                continue;
            }
            if is_own(&name) {
                cleaned.remove(&path, &name, dry)?;
            } else {
                cleaned.left.push(path);
            }
        }
        // The marker is removed last, so that an interrupted removal can be repeated. It stays if other files stay.
        if cleaned.left.is_empty() {
            cleaned.remove_one(&marker, dry)?;
            if !dry {
                std::fs::remove_dir(&self.directory).at(&self.directory)?;
            }
        }
        Ok(cleaned)
    }
}

/// The file by which a cache is recognized.
const MARKER: &str = "nocopy-cache";
const MARKED: &str = "Kernels and disks that `conformance` has fetched and made. `conformance kernels clean` removes them.\n";
/// The file that a process locks while it fetches.
const LOCK: &str = "lock";
/// The prefix of the directory of a kernel that is being fetched.
const FETCHING: &str = "fetching-";

/// Whether a name in a cache is one that nocopy gives.
fn is_own(name: &str) -> bool {
    let kernel = name.strip_prefix(FETCHING).unwrap_or(name);
    [MARKER, LOCK, "accelerator", "apt", "disks"].contains(&name)
        || name.starts_with(&format!(".{MARKER}.nocopy-"))
        || resolve(kernel).is_ok()
}

/// The result of [`Cache::clean`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// The removed entries with their sizes in bytes: each a kernel, all disks or all package lists.
    pub removed: Vec<(PathBuf, u64)>,
    /// Files that are not nocopy's, and are still there.
    pub left: Vec<PathBuf>,
}

impl Cleaned {
    /// Removes an entry of a cache: files with names that nocopy gives, and directories that are then empty.
    fn remove(&mut self, path: &Path, name: &str, dry: bool) -> Result<(), Error> {
        let is_directory = path.symlink_metadata().at(path)?.is_dir();
        if !is_directory {
            return self.remove_one(path, dry);
        }
        let is_of_it: fn(&str) -> bool = match name {
            // The state of apt, which only apt writes.
            "apt" => |_| true,
            "disks" => |name| [".img", ".new"].iter().any(|end| name.ends_with(end)),
            _ => |name| {
                ["image.json", "vmlinux", "vmlinuz"].contains(&name)
                    || [".deb", ".ko", ".ko.xz", ".ko.gz", ".ko.zst"]
                        .iter()
                        .any(|end| name.ends_with(end))
            },
        };
        let mut bytes = 0;
        let before = self.left.len();
        self.remove_tree(path, is_of_it, dry, &mut bytes)?;
        if self.left.len() == before || bytes > 0 {
            self.removed.push((path.to_owned(), bytes));
        }
        Ok(())
    }

    /// Does not follow symbolic links: one that leads elsewhere is not ours.
    fn remove_tree(
        &mut self,
        directory: &Path,
        is_of_it: fn(&str) -> bool,
        dry: bool,
        bytes: &mut u64,
    ) -> Result<(), Error> {
        let before = self.left.len();
        for entry in std::fs::read_dir(directory).at(directory)? {
            let entry = entry.at(directory)?;
            let (path, kind) = (entry.path(), entry.file_type().at(directory)?);
            if kind.is_dir() {
                self.remove_tree(&path, is_of_it, dry, bytes)?;
            } else if kind.is_file() && is_of_it(&entry.file_name().to_string_lossy()) {
                *bytes += entry.metadata().at(&path)?.len();
                if !dry {
                    std::fs::remove_file(&path).at(&path)?;
                }
            } else {
                self.left.push(path);
            }
        }
        if self.left.len() == before && !dry {
            std::fs::remove_dir(directory).at(directory)?;
        }
        Ok(())
    }

    fn remove_one(&mut self, path: &Path, dry: bool) -> Result<(), Error> {
        let known = path.symlink_metadata().at(path)?;
        if !known.is_file() {
            self.left.push(path.to_owned());
            return Ok(());
        }
        if !dry {
            std::fs::remove_file(path).at(path)?;
        }
        self.removed.push((path.to_owned(), known.len()));
        Ok(())
    }
}

/// A kernel's directory during the fetch. It has another name until it is complete, and is removed if it is not completed.
pub struct Fetching {
    /// The directory for the kernel's files.
    pub directory: PathBuf,
    /// Its name after the fetch.
    pub to: PathBuf,
}

impl Fetching {
    /// Begins with an empty directory, while the cache is [locked](Cache::lock). Files of this kernel that a killed process left are
    /// removed.
    pub fn begin(cache: &Cache, name: &str) -> Result<Self, Error> {
        let begun = Self {
            directory: cache.directory.join(format!("{FETCHING}{name}")),
            to: cache.of(name),
        };
        Self::remove(&begun.directory)?;
        std::fs::create_dir(&begun.directory).at(&begun.directory)?;
        Ok(begun)
    }

    /// Removes the files of a kernel. A user's file among them is an error.
    fn remove(directory: &Path) -> Result<(), Error> {
        if !directory.exists() {
            return Ok(());
        }
        let mut cleaned = Cleaned::default();
        cleaned.remove(directory, "", false)?;
        match cleaned.left.first() {
            None => Ok(()),
            Some(path) => Err(Error::host(format!(
                "{} is not a part of a kernel: move it out of the cache",
                path.display()
            ))),
        }
    }

    /// Gives the directory the kernel's name.
    pub fn finish(self) -> Result<(), Error> {
        Self::remove(&self.to)?;
        std::fs::rename(&self.directory, &self.to).at(&self.to)
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let _ = Self::remove(&self.directory); // already gone if it was renamed
    }
}
