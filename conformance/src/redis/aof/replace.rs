//! Files that are written without a name, and get it when they are complete.
//!
//! A new file has no name (`O_TMPFILE`) until its bytes are on the disk, so that nothing is left of it however the program ends. On
//! a file system without such files, it has a temporary name. Every name that exists before the last step begins with [`OWN`] or is
//! recorded in a journal. Before the next attempt, [`recover`] removes these files, and no others.

#![forbid(unsafe_code)]

use super::bad::{At, Bad, bad};
use nocopy_host::input::open_regular;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The prefix of our temporary names.
const OWN: &str = "nocopy-";
/// The first line of a journal.
const JOURNAL: &str = "nocopy append-only file, unfinished\n";
/// The mode with which a server makes its files.
const MODE: u32 = 0o644;

/// The properties of a file that a write changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    pub(super) fn of(data: &Metadata) -> Self {
        Self { inode: data.ino(), length: data.len(), modified: (data.mtime(), data.mtime_nsec()) }
    }
}

/// A directory that is locked: only this program adds files to it, as long as this lives.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    directory: File,
}

impl Place {
    pub(super) fn lock(path: &Path) -> Result<Self, Bad> {
        let mut options = OpenOptions::new();
        let options = options.read(true).custom_flags(libc::O_DIRECTORY);
        let directory = options.open(path).at(path)?;
        match directory.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), directory }),
            Err(TryLockError::WouldBlock) => Err(bad(path, "another program adds to it: try again when it has ended")),
            Err(TryLockError::Error(error)) => Err(Bad::Io(path.to_owned(), error)),
        }
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn owner(&self) -> Result<Metadata, Bad> {
        self.directory.metadata().at(&self.path)
    }

    pub(super) fn sync(&self) -> Result<(), Bad> {
        self.directory.sync_all().at(&self.path)
    }

    fn remove(&self, name: &str) -> Result<(), Bad> {
        let path = self.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.at(&path),
        }
    }
}

/// Directories that were made on the way to one. They are removed when this is dropped, unless they are kept.
#[derive(Debug, Default)]
pub(super) struct Directories(Vec<PathBuf>);

impl Directories {
    /// Makes the missing directories.
    pub(super) fn make(path: &Path) -> Result<Self, Bad> {
        let missing = path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        let mut made = Self::default();
        for path in missing.into_iter().rev() {
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                done => {
                    done.at(&path)?;
                    made.0.push(path);
                }
            }
        }
        Ok(made)
    }

    pub(super) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Directories {
    fn drop(&mut self) {
        // Directories that have files of others in them stay.
        for path in self.0.iter().rev() {
            let _ = fs::remove_dir(path);
        }
    }
}

/// A file that does not have its name yet. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct New<'place> {
    place: &'place Place,
    /// The name that it will have.
    pub(super) name: String,
    pub(super) file: File,
    /// Its temporary name, if the file system has no files without a name.
    temporary: Option<String>,
}

impl<'place> New<'place> {
    pub(super) fn create(place: &'place Place, name: &str) -> Result<Self, Bad> {
        let (mode, flags) = (Mode::from(MODE), OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC);
        let unnamed = rustix::fs::openat(&place.directory, ".", flags, mode);
        // A name is given through /proc.
        let has_proc = Path::new("/proc/self/fd").exists();
        match unnamed {
            Ok(file) if has_proc => Ok(Self { place, name: name.to_owned(), file: file.into(), temporary: None }),
            // This file system or kernel does not support it.
            Ok(_) | Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                Self::create_named(place, name)
            }
            Err(errno) => Err(Bad::Io(place.path.clone(), errno.into())),
        }
    }

    fn create_named(place: &'place Place, name: &str) -> Result<Self, Bad> {
        let temporary = own_name(name);
        let path = place.join(&temporary);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true).mode(MODE);
        Ok(Self { place, name: name.to_owned(), file: options.open(&path).at(&path)?, temporary: Some(temporary) })
    }

    /// The path that it will have.
    pub(super) fn path(&self) -> PathBuf {
        self.place.join(&self.name)
    }

    /// The path at which another process can open it now.
    fn path_now(&self) -> PathBuf {
        match &self.temporary {
            Some(name) => self.place.join(name),
            None => format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into(),
        }
    }

    /// Gives it the owner of another file, and its permissions if `is_file`: the server must be able to open it like that file.
    pub(super) fn be_like(&self, other: &Metadata, is_file: bool) -> Result<(), Bad> {
        let own = self.file.metadata().at(&self.path())?;
        if (own.uid(), own.gid()) != (other.uid(), other.gid()) {
            let changed = std::os::unix::fs::fchown(&self.file, Some(other.uid()), Some(other.gid()));
            if changed.is_err() && is_file && own.uid() != other.uid() {
                return Err(bad(
                    &self.path(),
                    format!(
                        "the server's files belong to user {}, and only root can make another for that user: run this as that user \
                         or as root",
                        other.uid()
                    ),
                ));
            }
        }
        if is_file {
            let permissions = other.permissions();
            self.file.set_permissions(permissions).at(&self.path())?;
        }
        Ok(())
    }

    /// Gives it its name, which must be unused.
    fn link(&self) -> Result<(), Bad> {
        self.link_as(&self.name)
    }

    fn link_as(&self, name: &str) -> Result<(), Bad> {
        let directory = &self.place.directory;
        let linked = if let Some(temporary) = &self.temporary {
            match rustix::fs::linkat(directory, temporary, directory, name, AtFlags::empty()) {
                // This file system allows only one name per file.
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {
                    let flags = RenameFlags::NOREPLACE;
                    rustix::fs::renameat_with(directory, temporary, directory, name, flags)
                }
                linked => linked,
            }
        } else {
            let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            rustix::fs::linkat(CWD, path, directory, name, AtFlags::SYMLINK_FOLLOW)
        };
        linked.map_err(|errno| match errno {
            Errno::EXIST => is_in_the_way(&self.place.join(name)),
            other => Bad::Io(self.place.join(name), other.into()),
        })
    }

    /// Gives it its name, in place of the file that has the name now.
    pub(super) fn replace(self) -> Result<(), Bad> {
        let own = own_name(&self.name);
        if self.temporary.is_none() {
            self.link_as(&own)?;
        }
        let path = self.path();
        fs::rename(self.place.join(&own), &path).at(&path)
    }

    /// Gives it its name, if the name is unused.
    pub(super) fn publish(self) -> Result<(), Bad> {
        self.link()
    }
}

impl Drop for New<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = self.place.remove(temporary);
        }
    }
}

pub(super) fn is_in_the_way(path: &Path) -> Bad {
    bad(
        path,
        "it exists, no manifest names it, and this program did not make it: move it away, or name another directory",
    )
}

/// The temporary name of a file that will have this name.
fn own_name(name: &str) -> String {
    if name.starts_with(OWN) { format!("{name}.tmp") } else { format!("{OWN}{name}") }
}

/// A change of several files: all of them get their names, and then a manifest that names them replaces the old one. Until then, a
/// journal records the files that have their names.
pub(super) struct Commit<'place> {
    place: &'place Place,
    journal: String,
    linked: Vec<String>,
    is_done: bool,
}

impl<'place> Commit<'place> {
    /// Begins: writes the journal and syncs it to the disk.
    pub(super) fn begin(place: &'place Place, aof: &str, files: &[New<'_>]) -> Result<Self, Bad> {
        let mut text = JOURNAL.to_owned();
        for new in files {
            let stamp = Stamp::of(&new.file.metadata().at(&new.path())?);
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}", Entry { name: new.name.clone(), stamp });
        }
        let mut journal = New::create(place, &journal_name(aof))?;
        journal.file.write_all(text.as_bytes()).at(&journal.path())?;
        journal.file.sync_all().at(&journal.path())?;
        let commit = Self { place, journal: journal.name.clone(), linked: Vec::new(), is_done: false };
        journal.publish()?;
        place.sync()?;
        Ok(commit)
    }

    /// Gives files their names.
    pub(super) fn link(&mut self, files: &[New<'_>]) -> Result<(), Bad> {
        for new in files {
            new.link()?;
            self.linked.push(new.name.clone());
        }
        self.place.sync()
    }

    /// Replaces the old manifest with the new one.
    pub(super) fn end(mut self, manifest: New<'_>) -> Result<(), Bad> {
        manifest.replace()?;
        self.is_done = true;
        self.place.sync()
    }
}

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            for name in &self.linked {
                let _ = self.place.remove(name);
            }
        }
        let _ = self.place.remove(&self.journal);
    }
}

fn journal_name(aof: &str) -> String {
    format!("{OWN}{aof}.pending")
}

/// Whether a name is a temporary one that an attempt for this append-only file gives.
fn is_own_name(aof: &str, name: &str) -> bool {
    let rest = name.strip_prefix(OWN).and_then(|name| name.strip_prefix(aof));
    rest.is_some_and(|rest| {
        let is_numbered = rest.strip_prefix('.').and_then(|rest| rest.split_once('.'));
        let is_numbered = is_numbered
            .is_some_and(|(number, ending)| number.parse::<u64>().is_ok() && matches!(ending, "base.rdb" | "incr.aof"));
        is_numbered || matches!(rest, "" | ".manifest" | ".pending.tmp" | ".check")
    })
}

/// A line of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    stamp: Stamp,
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Stamp { inode, length, modified: (seconds, nanoseconds) } = self.stamp;
        let name = &self.name;
        write!(f, "{inode} {length} {seconds} {nanoseconds} {name}")
    }
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(5, ' ');
        let stamp = Stamp {
            inode: words.next()?.parse().ok()?,
            length: words.next()?.parse().ok()?,
            modified: (words.next()?.parse().ok()?, words.next()?.parse().ok()?),
        };
        let name = words.next().filter(|name| !name.is_empty() && !name.contains('/'))?;
        Some(Self { name: name.to_owned(), stamp })
    }
}

/// Removes the files that a killed attempt has left. `is_named` returns whether the manifest names a file: such a file stays.
pub(super) fn recover(place: &Place, aof: &str, is_named: impl Fn(&str) -> bool) -> Result<(), Bad> {
    let journal = journal_name(aof);
    let path = place.join(&journal);
    match open_regular(&path).and_then(io::read_to_string) {
        Ok(text) => {
            let lines = text.strip_prefix(JOURNAL).map(str::lines);
            for entry in lines.into_iter().flatten().filter_map(Entry::parse) {
                let found = fs::symlink_metadata(place.join(&entry.name));
                let is_ours = found.is_ok_and(|found| Stamp::of(&found) == entry.stamp);
                if is_ours && !is_named(&entry.name) {
                    place.remove(&entry.name)?;
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Bad::Io(path, error)),
    }
    for entry in fs::read_dir(&place.path).at(&place.path)? {
        let entry = entry.at(&place.path)?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_own_name(aof, name)) else {
            continue;
        };
        let path = place.join(name);
        if entry.file_type().at(&path)?.is_dir() {
            fs::remove_dir_all(&path).at(&path)?;
        } else {
            place.remove(name)?;
        }
    }
    // The journal is removed last: until then, the next attempt has the same information.
    place.remove(&journal)
}

/// A directory in which a tool sees an append-only file as it will be. It is removed when this is dropped.
pub(super) struct Preview(PathBuf);

impl Preview {
    /// Makes it with these new files, these existing files, and this manifest.
    pub(super) fn make(
        place: &Place,
        aof: &str,
        new: &[New<'_>],
        old: &[String],
        manifest: (&str, &str),
    ) -> Result<Self, Bad> {
        let path = place.join(&format!("{OWN}{aof}.check"));
        fs::create_dir(&path).at(&path)?;
        let preview = Self(path);
        let there = fs::canonicalize(&place.path).at(&place.path)?;
        let new = new.iter().map(|new| (&new.name, new.path_now()));
        let old = old.iter().map(|name| (name, there.join(name)));
        for (name, target) in new.chain(old) {
            let target = if target.is_absolute() { target } else { there.join(target.file_name().unwrap_or_default()) };
            let link = preview.0.join(name);
            std::os::unix::fs::symlink(target, &link).at(&link)?;
        }
        let (name, text) = manifest;
        let manifest = preview.0.join(name);
        fs::write(&manifest, text).at(&manifest)?;
        Ok(preview)
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Preview {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The path at which another process can open a new file without a manifest.
pub(super) fn path_now(new: &New<'_>) -> PathBuf {
    new.path_now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::redis::servers::Directory;
    use rstest::rstest;

    const AOF: &str = "a.aof";

    fn new<'place>(place: &'place Place, name: &str, is_unnamed: bool) -> New<'place> {
        let mut new =
            if is_unnamed { New::create(place, name) } else { New::create_named(place, name) }.expect("created");
        new.file.write_all(name.as_bytes()).expect("written");
        new
    }

    fn names(place: &Place) -> Vec<String> {
        let entries = fs::read_dir(&place.path).expect("read");
        let names = entries.map(|entry| entry.expect("read").file_name());
        let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_one_at_a_time_adds_to_a_directory() {
        let directory = Directory::new().expect("a directory");
        let first = Place::lock(directory.path()).expect("locked");
        let refused = Place::lock(directory.path()).expect_err("locked already");
        assert!(refused.to_string().contains("another program adds"), "{refused}");
        drop(first);
        Place::lock(directory.path()).expect("free again");
    }

    #[rstest]
    fn nothing_is_left_of_a_file_that_gets_no_name(#[values(true, false)] is_unnamed: bool) {
        let directory = Directory::new().expect("a directory");
        let place = Place::lock(directory.path()).expect("locked");
        let file = new(&place, "file", is_unnamed);
        assert_eq!(names(&place).is_empty(), is_unnamed);
        drop(file);
        assert_eq!(names(&place), Vec::<String>::new());
    }

    #[rstest]
    fn no_file_of_somebody_else_is_replaced(#[values(true, false)] is_unnamed: bool) {
        let directory = Directory::new().expect("a directory");
        let place = Place::lock(directory.path()).expect("locked");
        fs::write(place.join("file"), "the user's").expect("written");
        let refused = new(&place, "file", is_unnamed).publish().expect_err("in the way");
        assert!(refused.to_string().contains("did not make it"), "{refused}");
        assert_eq!(names(&place), ["file"]);
        new(&place, "file", is_unnamed).replace().expect("replaced");
        assert_eq!(fs::read_to_string(place.join("file")).expect("read"), "file");
        assert_eq!(names(&place), ["file"]);
    }

    /// Simulates a kill before and after each step: the values that clean up are forgotten.
    #[rstest]
    fn what_a_killed_attempt_leaves_is_removed_by_the_next(
        #[values(0, 1, 2, 3, 4)] steps: usize,
        #[values(true, false)] is_unnamed: bool,
    ) {
        let directory = Directory::new().expect("a directory");
        let place = Place::lock(directory.path()).expect("locked");
        fs::write(place.join("a.aof.manifest"), "old").expect("written");
        fs::write(place.join("a.aof.9.incr.aof"), "the user's").expect("written");
        let files = vec![new(&place, "a.aof.1.incr.aof", is_unnamed), new(&place, "a.aof.2.incr.aof", is_unnamed)];
        let manifest = new(&place, "a.aof.manifest", is_unnamed);
        match steps {
            0 => {}
            1 => std::mem::forget(Commit::begin(&place, AOF, &files).expect("begun")),
            2 | 3 => {
                let mut commit = Commit::begin(&place, AOF, &files).expect("begun");
                commit.link(&files[..steps - 1]).expect("linked");
                std::mem::forget(commit);
            }
            _ => {
                let mut commit = Commit::begin(&place, AOF, &files).expect("begun");
                commit.link(&files).expect("linked");
                manifest.link_as("nocopy-a.aof.manifest").ok();
                std::mem::forget(commit);
            }
        }
        std::mem::forget((files, manifest));
        recover(&place, AOF, |_| false).expect("recovered");
        assert_eq!(names(&place), ["a.aof.9.incr.aof", "a.aof.manifest"]);
        assert_eq!(fs::read_to_string(place.join("a.aof.manifest")).expect("read"), "old");
    }

    #[test]
    fn a_file_that_a_journal_names_and_another_has_replaced_stays() {
        let directory = Directory::new().expect("a directory");
        let place = Place::lock(directory.path()).expect("locked");
        let files = [new(&place, "a.aof.1.incr.aof", true), new(&place, "a.aof.2.incr.aof", true)];
        let mut commit = Commit::begin(&place, AOF, &files).expect("begun");
        commit.link(&files).expect("linked");
        std::mem::forget(commit);
        fs::remove_file(place.join("a.aof.1.incr.aof")).expect("removed");
        fs::write(place.join("a.aof.1.incr.aof"), "the user's").expect("written");
        recover(&place, AOF, |name| name == "a.aof.2.incr.aof").expect("recovered");
        assert_eq!(names(&place), ["a.aof.1.incr.aof", "a.aof.2.incr.aof"]);
    }

    #[test]
    fn names_that_are_like_ours_stay() {
        let own = ["", ".manifest", ".pending.tmp", ".check", ".1.base.rdb", ".20.incr.aof"];
        for name in own {
            assert!(is_own_name(AOF, &format!("nocopy-a.aof{name}")), "{name}");
        }
        for name in [".bak", ".1.incr.aof.bak", ".x.incr.aof", "2", ".pending", ".1.hist"] {
            assert!(!is_own_name(AOF, &format!("nocopy-a.aof{name}")), "{name}");
        }
        assert!(!is_own_name(AOF, "a.aof.1.incr.aof"));
        let directory = Directory::new().expect("a directory");
        let place = Place::lock(directory.path()).expect("locked");
        fs::write(place.join("nocopy-a.aof.bak"), "the user's").expect("written");
        fs::create_dir(place.join("nocopy-a.aof-old")).expect("made");
        recover(&place, AOF, |_| false).expect("recovered");
        assert_eq!(names(&place), ["nocopy-a.aof-old", "nocopy-a.aof.bak"]);
    }

    #[test]
    fn a_commit_that_fails_leaves_the_old_state() {
        let directory = Directory::new().expect("a directory");
        let place = Place::lock(directory.path()).expect("locked");
        fs::write(place.join("a.aof.2.incr.aof"), "the user's").expect("written");
        let files = [new(&place, "a.aof.1.incr.aof", true), new(&place, "a.aof.2.incr.aof", true)];
        let mut commit = Commit::begin(&place, AOF, &files).expect("begun");
        commit.link(&files).expect_err("in the way");
        drop(commit);
        assert_eq!(names(&place), ["a.aof.2.incr.aof"]);
    }

    #[test]
    fn directories_that_are_not_kept_are_removed() {
        let directory = Directory::new().expect("a directory");
        let path = directory.join("one").join("two");
        drop(Directories::make(&path).expect("made"));
        assert!(!directory.join("one").exists());
        Directories::make(&path).expect("made").keep();
        assert!(path.exists());
        drop(Directories::make(&path).expect("nothing to make"));
        assert!(path.exists());
    }

    #[test]
    fn a_fifo_is_refused_and_not_waited_for() {
        let directory = Directory::new().expect("a directory");
        let path = directory.join("fifo");
        rustix::fs::mkfifoat(CWD, &path, Mode::from(MODE)).expect("a FIFO");
        let error = open_regular(&path).expect_err("refused");
        assert!(error.to_string().contains("not a regular file"), "{error}");
        assert!(open_regular(Path::new("/dev/null")).is_err());
        assert!(open_regular(directory.path()).is_err());
    }
}
