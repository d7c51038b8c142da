//! An append-only file, put together from files: what a server has in memory as an RDB, and commands behind.
//!
//! Since Redis 7 it is a directory: a base, increments, and a manifest that names them. A server writes to it what it has in memory, for
//! which there is nothing to be gained here. But to build one from files, or to put a file of commands behind one, is to copy files,
//! and that is done by any [route](crate::routes).
//!
//! Nothing is changed that is not whole: commands are read to their end before the first of them is written, what was added is cut off
//! again if it cannot be added to the end, and the manifest names a file when that is on the disk.

use super::rdb;
use super::resp;
use crate::routes::{Ended, Route, Transfer};
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Into which files the base and the commands go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A base and one increment with all commands.
    One,
    /// A base and an increment for each file of commands.
    Many,
    /// One file with all, as before Redis 7.
    Single,
}

/// What goes wrong.
#[derive(Debug)]
pub enum Bad {
    /// This file, and why.
    File(PathBuf, String),
    /// A call.
    Io(PathBuf, io::Error),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

/// Says which file it was.
trait At<T> {
    fn at(self, path: &Path) -> Result<T, Bad>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, Bad> {
        self.map_err(|error| Bad::Io(path.to_owned(), error))
    }
}

fn bad(path: &Path, why: impl fmt::Display) -> Bad {
    Bad::File(path.to_owned(), why.to_string())
}

/// One file of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name in the directory.
    pub name: String,
    /// Its number.
    pub sequence: u64,
    /// `b` for a base, `i` for an increment, `h` for history.
    pub kind: char,
    /// What else is said of it, as it stands there.
    pub rest: String,
}

/// The files that make up an append-only file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest(pub Vec<Named>);

impl Manifest {
    /// Of a manifest's text. A line that is not whole is no line: Redis refuses it, too.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("its last line has no end".to_owned());
        }
        // As Redis reads them: what is white at their ends says nothing.
        let lines = text.split_terminator('\n');
        let lines = lines.map(|line| line.trim_matches([' ', '\t', '\r']));
        let lines = lines.filter(|line| !line.starts_with('#'));
        let named = lines.map(|line| {
            let refused = || format!("\"{}\" names no file", line.escape_debug());
            let mut words = line.split(' ');
            let mut field = |name: &str| {
                let is_there = words.next() == Some(name);
                words.next().filter(|_| is_there).ok_or_else(refused)
            };
            let name = field("file")?.to_owned();
            let sequence = field("seq")?.parse().map_err(|_| refused())?;
            let kind = match field("type")? {
                "b" => 'b',
                "i" => 'i',
                "h" => 'h',
                _ => return Err(refused()),
            };
            if name.is_empty() || name.contains('/') {
                return Err(refused());
            }
            let rest = words.collect::<Vec<_>>().join(" ");
            Ok(Named {
                name,
                sequence,
                kind,
                rest,
            })
        });
        named.collect::<Result<_, _>>().map(Self)
    }

    /// The last increment.
    pub fn last(&self) -> Option<&Named> {
        self.0.iter().rev().find(|named| named.kind == 'i')
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|named| {
            let space = if named.rest.is_empty() { "" } else { " " };
            let (name, sequence, kind, rest) =
                (&named.name, named.sequence, named.kind, &named.rest);
            writeln!(f, "file {name} seq {sequence} type {kind}{space}{rest}")
        })
    }
}

/// An append-only file's directory, and how it is named.
#[derive(Clone, Debug)]
pub struct Aof {
    /// The directory, which a server calls `appenddirname`.
    pub path: PathBuf,
    /// What its files' names begin with, `appendfilename`.
    pub name: String,
    /// How bytes are brought to its files.
    pub route: Route,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The files, with how many bytes of them are new.
    pub files: Vec<(PathBuf, u64)>,
    /// The manifest, if there is one.
    pub manifest: Option<PathBuf>,
}

impl Aof {
    fn manifest_path(&self) -> PathBuf {
        self.path.join(format!("{}.manifest", self.name))
    }

    /// Its manifest, if it has one.
    pub fn manifest(&self) -> Result<Option<Manifest>, Bad> {
        let path = self.manifest_path();
        match fs::read_to_string(&path) {
            Ok(text) => Manifest::parse(&text)
                .map(Some)
                .map_err(|why| bad(&path, why)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Bad::Io(path, error)),
        }
    }

    /// Builds a new one, of an RDB file if there is one, and files of commands.
    pub fn build(
        &self,
        rdb: Option<&Path>,
        commands: &[PathBuf],
        shape: Shape,
    ) -> Result<Written, Bad> {
        if let Some(rdb) = rdb {
            let file = File::open(rdb).at(rdb)?;
            rdb::check(&file).map_err(|why| bad(rdb, why))?;
        }
        for path in commands {
            check_commands(path)?;
        }
        fs::create_dir_all(&self.path).at(&self.path)?;
        if self.manifest()?.is_some() {
            return Err(bad(
                &self.path,
                "there is one already: leave out the RDB file to extend it",
            ));
        }
        let all = commands.iter().map(PathBuf::as_path);
        if shape == Shape::Single {
            let sources: Vec<&Path> = rdb.into_iter().chain(all).collect();
            let made = self.make(&self.name, &sources)?;
            return Ok(Written {
                files: self.name_all(&[made])?,
                manifest: None,
            });
        }
        let commands: Vec<&Path> = all.collect();
        let base = rdb.map(|rdb| ('b', 1, "base.rdb", vec![rdb]));
        let increments: Vec<_> = match shape {
            Shape::One => vec![('i', 1, "incr.aof", commands)],
            _ => (1..)
                .zip(commands)
                .map(|(sequence, path)| ('i', sequence, "incr.aof", vec![path]))
                .collect(),
        };
        let mut manifest = Manifest::default();
        let mut made = Vec::new();
        for (kind, sequence, ending, sources) in base.into_iter().chain(increments) {
            let name = format!("{}.{sequence}.{ending}", self.name);
            made.push(self.make(&name, &sources)?);
            manifest.0.push(Named {
                name,
                sequence,
                kind,
                rest: String::new(),
            });
        }
        let files = self.name_all(&made)?;
        self.write_manifest(&manifest)?;
        Ok(Written {
            files,
            manifest: Some(self.manifest_path()),
        })
    }

    /// Puts commands behind the last increment of one that no server has open.
    pub fn extend(&self, commands: &[PathBuf]) -> Result<Written, Bad> {
        for path in commands {
            check_commands(path)?;
        }
        let manifest = self.manifest()?;
        let path = match &manifest {
            Some(manifest) => {
                for named in &manifest.0 {
                    refuse_if_open(&self.path.join(&named.name))?;
                }
                let last = manifest
                    .last()
                    .ok_or_else(|| bad(&self.manifest_path(), "it names no increment"))?;
                self.path.join(&last.name)
            }
            None => self.path.join(&self.name),
        };
        refuse_if_open(&path)?;
        // Not O_APPEND, into which sendfile, splice and copy_file_range do not go.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .at(&path)?;
        lock(&file, &path)?;
        check_whole(&file, &path)?;
        let sources: Vec<&Path> = commands.iter().map(PathBuf::as_path).collect();
        let length = self.append(&file, &path, &sources)?;
        Ok(Written {
            files: vec![(path, length)],
            manifest: manifest.map(|_| self.manifest_path()),
        })
    }

    /// A file of all of these, which is on the disk when this returns, and does not have its name yet. Whoever is ended meanwhile
    /// leaves nothing that is in the way of the next.
    fn make(&self, name: &str, sources: &[&Path]) -> Result<Made, Bad> {
        let path = self.path.join(name);
        refuse_to_replace(&path)?;
        let beside = self.path.join(format!("temp-{name}"));
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&beside).at(&beside)?;
        lock(&file, &beside)?;
        let mut made = Made {
            path,
            beside,
            file,
            length: 0,
        };
        made.file.set_len(0).at(&made.beside)?;
        made.length = self.append(&made.file, &made.beside, sources)?;
        Ok(made)
    }

    /// Gives files their names: with how many bytes they have.
    fn name_all(&self, all: &[Made]) -> Result<Vec<(PathBuf, u64)>, Bad> {
        let named = all.iter().map(|made| {
            refuse_to_replace(&made.path)?;
            fs::rename(&made.beside, &made.path).at(&made.path)?;
            Ok((made.path.clone(), made.length))
        });
        let named = named.collect::<Result<_, Bad>>()?;
        sync_directory(&self.path)?;
        Ok(named)
    }

    /// Adds all of these to the end, and has the disk hold it: how many bytes. If it cannot, the file is as it was.
    fn append(&self, mut file: &File, path: &Path, sources: &[&Path]) -> Result<u64, Bad> {
        let end = file.seek(SeekFrom::End(0)).at(path)?;
        let added = sources.iter().try_fold(0, |sum, source| {
            Ok::<u64, Bad>(sum + self.transfer(source, file, path)?)
        });
        let added = added.and_then(|length| {
            let now = file.metadata().at(path)?.len();
            if now == end + length {
                file.sync_all().at(path)?;
                Ok(length)
            } else {
                Err(bad(
                    path,
                    format!(
                        "{now} bytes long, not {}: another has written to it",
                        end + length
                    ),
                ))
            }
        });
        if added.is_err() {
            file.set_len(end).at(path)?;
            file.sync_all().at(path)?;
        }
        added
    }

    fn transfer(&self, source: &Path, file: &File, path: &Path) -> Result<u64, Bad> {
        let opened = File::open(source).at(source)?;
        let length = opened.metadata().at(source)?.len();
        let failed =
            |errno: syscalls::Errno| bad(path, format!("{} into it: {errno:?}", self.route));
        let transfer = Transfer::begin(self.route, &opened, 0, length, file).map_err(failed)?;
        let outcome = transfer.run();
        match outcome.ended {
            Ended::Complete if outcome.shrank_to.is_none() => Ok(length),
            Ended::Failed(call, errno) => Err(bad(path, format!("{}: {errno:?}", call.name()))),
            ended => Err(bad(
                source,
                format!("it was changed while it was read: {ended:?}"),
            )),
        }
    }

    /// Writes the manifest: beside the old one, then in its place.
    fn write_manifest(&self, manifest: &Manifest) -> Result<(), Bad> {
        let path = self.manifest_path();
        let beside = self.path.join(format!("temp-{}.manifest", self.name));
        let mut file = File::create(&beside).at(&beside)?;
        file.write_all(manifest.to_string().as_bytes())
            .at(&beside)?;
        file.sync_all().at(&beside)?;
        fs::rename(&beside, &path).at(&path)?;
        sync_directory(&self.path)
    }
}

/// A file that is written beside its name, and locked. It is removed with this, if it has not got its name.
struct Made {
    path: PathBuf,
    beside: PathBuf,
    file: File,
    length: u64,
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.beside);
    }
}

/// Nobody's file is written over.
fn refuse_to_replace(path: &Path) -> Result<(), Bad> {
    if path.exists() {
        return Err(bad(
            path,
            "it is there, and no manifest names it: it is of an attempt that was ended, or its manifest is lost: remove it, or name \
             another directory",
        ));
    }
    Ok(())
}

fn sync_directory(path: &Path) -> Result<(), Bad> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .at(path)
}

/// Two that add at once would lose what the other adds.
fn lock(file: &File, path: &Path) -> Result<(), Bad> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(bad(path, "another program adds to it")),
        Err(TryLockError::Error(error)) => Err(Bad::Io(path.to_owned(), error)),
    }
}

/// A server that has it open would write over what is added. It has no lock; but a lease is given on what nobody else has open.
fn refuse_if_open(path: &Path) -> Result<(), Bad> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .at(path)?;
    // Who opens it meanwhile waits, and we are told by a signal: not by SIGIO, which ends a program that does not expect it.
    // SAFETY: fcntl with F_SETSIG and F_SETLEASE takes a number.
    let given = unsafe {
        libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG);
        libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK)
    };
    let why = io::Error::last_os_error();
    if given == 0 {
        return Ok(());
    }
    let is_open = why.kind() == io::ErrorKind::WouldBlock;
    match (is_open, who_has(&file)) {
        (_, Some(pid)) => Err(bad(
            path,
            format!(
                "process {pid} has it open: stop the server, which would write over what is added"
            ),
        )),
        (true, None) => Err(bad(
            path,
            "another process has it open: stop the server, which would write over what is added",
        )),
        // No leases on this file system: nobody that can be seen has it.
        (false, None) => Ok(()),
    }
}

/// Of `asm-generic/fcntl.h`.
const F_SETSIG: libc::c_int = 10;

/// Another process that has a file open, as far as it can be seen.
fn who_has(file: &File) -> Option<u32> {
    let own = file.metadata().ok()?;
    let is_same = |path: PathBuf| {
        let other = fs::metadata(path).ok();
        other.is_some_and(|other| (other.dev(), other.ino()) == (own.dev(), own.ino()))
    };
    let processes = fs::read_dir("/proc").ok()?;
    let numbers =
        processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut others = numbers.filter(|pid| *pid != std::process::id());
    others.find(|pid| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd"));
        let mut fds = fds.into_iter().flatten();
        fds.any(|entry| entry.is_ok_and(|entry| is_same(entry.path())))
    })
}

/// Reads a file of commands to its end: every one is whole.
fn check_commands(path: &Path) -> Result<(), Bad> {
    let file = File::open(path).at(path)?;
    check_whole(&file, path)
}

/// Whether it is whole commands, or an RDB with such behind, which is not looked into.
fn check_whole(mut file: &File, path: &Path) -> Result<(), Bad> {
    file.rewind().at(path)?;
    let mut rest = Vec::new();
    let mut whole = 0_u64;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count.at(path)?,
        };
        if count == 0 {
            break;
        }
        rest.extend_from_slice(&buffer[..count]);
        if whole == 0 && rdb::Header::of(&rest).is_some() {
            return Ok(());
        }
        if let Some(other) = rest.first().filter(|byte| **byte != b'*' && **byte != b'#') {
            let other = other.escape_ascii();
            return Err(bad(
                path,
                format!("behind {whole} bytes stands \"{other}\", which begins no command"),
            ));
        }
        let length =
            resp::whole(&rest).map_err(|why| bad(path, format!("behind {whole} bytes: {why}")))?;
        rest.drain(..length);
        whole += length as u64;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(bad(
            path,
            format!(
                "its last command is cut off: {} bytes behind {whole} are none",
                rest.len()
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::rdb::tests::file as rdb_file;
    use crate::redis::servers::Directory;
    use quickcheck::quickcheck;
    use rstest::rstest;

    quickcheck! {
        fn a_manifest_is_read_as_it_was_written(numbers: Vec<(u64, u8)>) -> bool {
            let named = numbers.into_iter().map(|(sequence, kind)| Named {
                name: format!("appendonly.aof.{sequence}.incr.aof"),
                sequence,
                kind: ['b', 'i', 'h'][usize::from(kind % 3)],
                rest: if kind > 127 { "startoffset 7".to_owned() } else { String::new() },
            });
            let manifest = Manifest(named.collect());
            Manifest::parse(&manifest.to_string()) == Ok(manifest)
        }

        fn no_text_is_a_panic(text: String) -> bool {
            Manifest::parse(&text).is_ok() || Manifest::parse(&text).is_err()
        }
    }

    #[rstest]
    #[case("file a seq 1 type b", "no end")]
    #[case("file a seq x type b\n", "names no file")]
    #[case("file a/b seq 1 type b\n", "names no file")]
    #[case("file a seq 1 type z\n", "names no file")]
    #[case("nonsense\n", "names no file")]
    fn what_is_no_manifest(#[case] text: &str, #[case] why: &str) {
        let said = Manifest::parse(text).expect_err("none");
        assert!(said.contains(why), "{said}");
    }

    fn in_new_directory() -> (Directory, Aof) {
        let directory = Directory::new().expect("a directory");
        let aof = Aof {
            path: directory.join("appendonlydir"),
            name: "appendonly.aof".to_owned(),
            route: Route::Sendfile,
        };
        (directory, aof)
    }

    fn write(directory: &Directory, name: &str, bytes: &[u8]) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, bytes).expect("written");
        path
    }

    const COMMAND: &[u8] = b"*1\r\n$4\r\nPING\r\n";

    #[test]
    fn what_is_added_stands_behind() {
        let (directory, aof) = in_new_directory();
        let rdb = write(&directory, "rdb", &rdb_file(b"keys"));
        let commands = write(&directory, "commands", COMMAND);
        let written = aof
            .build(Some(&rdb), std::slice::from_ref(&commands), Shape::One)
            .expect("built");
        assert_eq!(written.files.len(), 2);
        let text = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
        let manifest = written.manifest.expect("a manifest");
        assert_eq!(fs::read_to_string(manifest).expect("read"), text);
        let added = aof.extend(&[commands.clone(), commands]).expect("extended");
        assert_eq!(added.files[0].1, 2 * COMMAND.len() as u64);
        assert_eq!(
            fs::read(&added.files[0].0).expect("read"),
            COMMAND.repeat(3)
        );
    }

    /// Nothing is changed by what is refused.
    #[test]
    fn what_is_not_whole_is_not_added() {
        let (directory, aof) = in_new_directory();
        let commands = write(&directory, "commands", COMMAND);
        let written = aof
            .build(None, std::slice::from_ref(&commands), Shape::Many)
            .expect("built");
        let path = &written.files[0].0;
        for (bytes, why) in [
            (&COMMAND[..9], "cut off"),
            (&b"PING\r\n"[..], "begins no command"),
            (&b"*1\r\n:1\r\n"[..], "was to come"),
        ] {
            let bad = write(&directory, "bad", bytes);
            let said = aof
                .extend(&[commands.clone(), bad])
                .expect_err("refused")
                .to_string();
            assert!(said.contains(why), "{said}");
            assert_eq!(fs::read(path).expect("read"), COMMAND);
        }
        let said = aof
            .build(None, std::slice::from_ref(&commands), Shape::One)
            .expect_err("refused");
        assert!(said.to_string().contains("already"), "{said}");
        // Somebody else adds, or has it open.
        let file = File::open(path).expect("opened");
        file.lock().expect("locked");
        let said = aof.extend(&[commands]).expect_err("refused").to_string();
        assert!(
            said.contains("adds to it") || said.contains("has it open"),
            "{said}"
        );
    }
}
