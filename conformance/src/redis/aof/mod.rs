//! Append-only files, built from files or extended with files: an RDB, and commands after it.
//!
//! Since Redis 7 an append-only file is a directory: a base, increments, and a manifest that names them. A server writes it from its
//! memory, which cannot avoid copies. But to build one from files, or to add a file of commands, means to copy files, and any
//! [route](nocopy_transfer) does that.
//!
//! Files that a server would refuse are refused before anything is written: each file is read to its end as a server
//! [reads](commands) it. No file is changed in place: an increment is added and the manifest replaced, or the single file is replaced.
//! So a signal at any moment leaves the old state or the new one.
//!
//! A server begins each file in database 0, and a transaction ends with its file.

mod bad;
pub mod commands;
mod manifest;
mod pieces;
mod replace;
mod watch;

pub use crate::redis::aof::manifest::{Manifest, Named};

use crate::lab::redis::resp;
use crate::redis::aof::commands::Names;
use crate::redis::aof::pieces::{
    Piece, Source, Tail, changed, check_loaded, copy, open_transaction, refuse_changed, refuse_symlink, to_cut,
};
use crate::redis::aof::replace::{Commit, Directories, New, Place, Preview, recover};
use crate::redis::aof::watch::Watch;
use bad::{At, Bad, bad};
use nocopy_host::input::open_regular;
use nocopy_transfer::{Ended, Route};
use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files into which the base and the commands are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A base and one increment with all commands.
    One,
    /// A base and an increment for each file of commands.
    Many,
    /// A single file with everything, as before Redis 7.
    Single,
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, Bad> {
        self.map_err(|error| Bad::Io(path.to_owned(), error))
    }
}

/// The directory of an append-only file, its name, and how it is written.
#[derive(Clone, Debug)]
pub struct Aof {
    /// The directory: `appenddirname` of a server.
    pub path: PathBuf,
    /// The prefix of its files' names: `appendfilename` of a server.
    pub name: String,
    /// The route by which bytes are copied to its files. Without one, `copy_file_range`, and another route if that is refused.
    pub route: Option<Route>,
    /// The database in which each file of commands begins, if it is not the one that is selected at that point.
    pub select: Option<u32>,
    /// Commands that are allowed although they are not in the list.
    pub allowed: Vec<String>,
    /// `redis-check-aof`, if it is to check the result before that is published.
    pub checker: Option<PathBuf>,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrote {
    /// The file.
    pub path: PathBuf,
    /// The number of its bytes that are new.
    pub bytes: u64,
    /// The selected database at its end, if it has commands.
    pub database: Option<u32>,
}

/// The result of a build or an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The files.
    pub files: Vec<Wrote>,
    /// The files of commands, each with the database in which it begins.
    pub begins: Vec<(PathBuf, u32)>,
    /// The manifest, if there is one.
    pub manifest: Option<PathBuf>,
    /// The output of `redis-check-aof`.
    pub checked: Vec<u8>,
}

/// A file to write.
struct Output<'a> {
    named: Named,
    pieces: Vec<Piece<'a>>,
    database: Option<u32>,
}

impl Aof {
    fn manifest_path(&self) -> PathBuf {
        self.path.join(self.manifest_name())
    }

    fn manifest_name(&self) -> String {
        format!("{}.manifest", self.name)
    }

    /// Its manifest, if it has one.
    pub fn manifest(&self) -> Result<Option<Manifest>, Bad> {
        let path = self.manifest_path();
        match open_regular(&path).and_then(io::read_to_string) {
            Ok(text) => Manifest::parse(&text).map(Some).map_err(|why| bad(&path, why)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Bad::Io(path, error)),
        }
    }

    /// Builds a new one from an RDB file and files of commands, or from only one kind of them.
    pub fn build(&self, rdb: Option<&Path>, commands: &[PathBuf], shape: Shape) -> Result<Written, Bad> {
        self.check_name()?;
        if rdb.is_none() && commands.is_empty() {
            return Err(bad(
                &self.path,
                "nothing to build it from: name an RDB file (--rdb FILE), files of commands, or both",
            ));
        }
        let base = rdb.map(Source::rdb).transpose()?;
        let commands = self.sources(commands)?;
        let watch = Watch::begin();
        let directories = Directories::make(&self.path)?;
        let place = Place::lock(&self.path)?;
        let manifest = self.recover(&place)?;
        let is_there = manifest.is_some() || (shape == Shape::Single && place.join(&self.name).exists());
        if is_there {
            return Err(bad(
                &self.path,
                format!(
                    "there is an append-only file {} already: `redis aof extend` adds files of commands to it",
                    self.name
                ),
            ));
        }
        let owner = place.owner()?;
        let (outputs, begins) = self.outputs(base.as_ref(), &commands, shape);
        for output in &outputs {
            let path = place.join(&output.named.name);
            if fs::symlink_metadata(&path).is_ok() {
                return Err(replace::is_in_the_way(&path));
            }
        }
        let manifest = Manifest(outputs.iter().map(|output| output.named.clone()).collect());
        let (mut made, files) = self.write_all(&place, outputs, (&owner, false), &watch)?;
        refuse_changed(base.iter().chain(&commands))?;
        let mut written = Written {
            files,
            begins,
            manifest: (shape != Shape::Single).then(|| self.manifest_path()),
            checked: Vec::new(),
        };
        if shape == Shape::Single {
            written.checked = self.check_one(&made[0])?;
            watch.look()?;
            made.swap_remove(0).publish()?;
            place.sync()?;
        } else {
            let text = manifest.to_string();
            written.checked = self.check_all(&place, &made, &[], &text)?;
            watch.look()?;
            let new = self.new_manifest(&place, &text, &owner, false)?;
            let mut commit = Commit::begin(&place, &self.name, &made)?;
            commit.link(&made)?;
            commit.end(new)?;
        }
        directories.keep();
        Ok(written)
    }

    /// The files of a new one, and the database in which each file of commands begins.
    fn outputs<'a>(
        &self,
        base: Option<&'a Source>,
        commands: &'a [Source],
        shape: Shape,
    ) -> (Vec<Output<'a>>, Vec<(PathBuf, u32)>) {
        let mut tail = Tail::default();
        if shape == Shape::Single {
            let mut pieces: Vec<_> = base.into_iter().map(Piece::whole).collect();
            pieces.extend(self.pieces(commands, &mut tail));
            let database = (!commands.is_empty()).then_some(tail.database);
            let named = Named::new(self.name.clone(), 1, 'b');
            return (vec![Output { named, pieces, database }], tail.begins);
        }
        let mut outputs = Vec::new();
        if let Some(base) = base {
            let named = Named::new(format!("{}.1.base.rdb", self.name), 1, 'b');
            outputs.push(Output { named, pieces: vec![Piece::whole(base)], database: None });
        }
        let increments: Vec<&[Source]> = match shape {
            Shape::Many => commands.chunks(1).collect(),
            _ => vec![commands],
        };
        for (sequence, commands) in (1..).zip(increments) {
            tail.start_file();
            let pieces = self.pieces(commands, &mut tail);
            let named = Named::new(format!("{}.{sequence}.incr.aof", self.name), sequence, 'i');
            outputs.push(Output { named, pieces, database: Some(tail.database) });
        }
        (outputs, tail.begins)
    }

    /// Adds files of commands to one that no server has open. With `is_to_cut`, a transaction that is open at its end is cut off.
    pub fn extend(&self, commands: &[PathBuf], is_to_cut: bool) -> Result<Written, Bad> {
        self.check_name()?;
        // Files of commands may be long, so a missing directory is reported before they are read.
        fs::metadata(&self.path).at(&self.path)?;
        let commands = self.sources(commands)?;
        let mut watch = Watch::begin();
        let place = Place::lock(&self.path)?;
        let manifest = self.recover(&place)?;
        match manifest {
            Some(manifest) => self.add_increment(&place, &manifest, &commands, is_to_cut, &mut watch),
            None => self.add_to_one(&place, &commands, is_to_cut, &mut watch),
        }
    }

    fn check_name(&self) -> Result<(), Bad> {
        if self.name.is_empty() || self.name.contains(['/', ' ', '\n']) {
            let name = &self.name;
            return Err(bad(&self.path, format!("{name:?} is not a file name that a manifest can have")));
        }
        Ok(())
    }

    fn sources(&self, paths: &[PathBuf]) -> Result<Vec<Source>, Bad> {
        let names = Names::Known(&self.allowed);
        paths.iter().map(|path| Source::commands(path, names)).collect()
    }

    /// Removes the files that a killed attempt has left, and returns the manifest.
    fn recover(&self, place: &Place) -> Result<Option<Manifest>, Bad> {
        let manifest = self.manifest()?;
        let named = manifest.iter().flat_map(|manifest| &manifest.0);
        let named: HashSet<&str> = named.map(|named| named.name.as_str()).collect();
        recover(place, &self.name, |name| named.contains(name))?;
        Ok(manifest)
    }

    fn add_increment(
        &self,
        place: &Place,
        manifest: &Manifest,
        commands: &[Source],
        is_to_cut: bool,
        watch: &mut Watch,
    ) -> Result<Written, Bad> {
        let path = self.manifest_path();
        refuse_symlink(&path)?;
        manifest.check().map_err(|why| bad(&path, why))?;
        let loaded = manifest.loaded();
        let last = *loaded
            .last()
            .ok_or_else(|| bad(&path, "it names no file: remove it, and `redis aof build` makes another"))?;
        let mut old = Manifest(manifest.0.clone());
        let old_manifest = watch.lease(&path)?;
        let is_as_read = io::read_to_string(old_manifest).at(&path)?;
        if Manifest::parse(&is_as_read).ok().as_ref() != Some(manifest) {
            return Err(bad(&path, "it was changed while it was read"));
        }
        let cut = check_files(place, &loaded, is_to_cut, watch)?;
        let last_path = place.join(&last.name);
        let last_file = watch.lease(&last_path)?.try_clone().at(&last_path)?;
        let mut outputs = Vec::new();
        if let Some(length) = cut {
            let whole = self.unused(place, &old, last.kind);
            for named in old.0.iter_mut().filter(|named| named.name == last.name) {
                named.kind = 'h';
            }
            let piece = Piece::Part { file: &last_file, path: &last_path, length };
            outputs.push(Output { named: whole, pieces: vec![piece], database: None });
        }
        old.0.extend(outputs.iter().map(|output| output.named.clone()));
        let mut tail = Tail::default();
        let pieces = self.pieces(commands, &mut tail);
        let added = self.unused(place, &old, 'i');
        old.0.push(added.clone());
        outputs.push(Output { named: added, pieces, database: Some(tail.database) });
        let like = (&last_file.metadata().at(&last_path)?, true);
        let (made, files) = self.write_all(place, outputs, like, watch)?;
        refuse_changed(commands)?;
        let text = old.to_string();
        let there: Vec<String> =
            loaded.iter().map(|named| named.name.clone()).filter(|name| cut.is_none() || *name != last.name).collect();
        watch.release()?;
        let checked = self.check_all(place, &made, &there, &text)?;
        watch.take_again()?;
        let owner = fs::metadata(&path).at(&path)?;
        let new = self.new_manifest(place, &text, &owner, true)?;
        let mut commit = Commit::begin(place, &self.name, &made)?;
        commit.link(&made)?;
        watch.look()?;
        commit.end(new)?;
        Ok(Written { files, begins: tail.begins, manifest: Some(path), checked })
    }

    fn add_to_one(
        &self,
        place: &Place,
        commands: &[Source],
        is_to_cut: bool,
        watch: &mut Watch,
    ) -> Result<Written, Bad> {
        let path = place.join(&self.name);
        refuse_symlink(&path)?;
        if !path.exists() {
            return Err(bad(
                &self.path,
                format!(
                    "no append-only file is here, neither {} nor {}: `redis aof build` makes one",
                    self.manifest_name(),
                    self.name
                ),
            ));
        }
        let old = watch.lease(&path)?.try_clone().at(&path)?;
        let summary = check_loaded(&old, &path, true, Names::Any)?;
        let length = match summary.open {
            Some(at) if is_to_cut => at,
            Some(at) => return Err(bad(&path, to_cut(at))),
            None => summary.end,
        };
        let mut tail =
            Tail { database: summary.database.unwrap_or(0), is_line_open: summary.is_line_open, begins: Vec::new() };
        let pieces = self.pieces(commands, &mut tail);
        let mut new = New::create(place, &self.name)?;
        new.be_like(&old.metadata().at(&path)?, true)?;
        if rustix::fs::ioctl_ficlone(&new.file, &old).is_ok() {
            new.file.set_len(length).at(&path)?;
        } else {
            let piece = Piece::Part { file: &old, path: &path, length };
            self.write(&new.file, &path, &[piece], watch)?;
        }
        new.file.seek(SeekFrom::End(0)).at(&path)?;
        let bytes = self.write(&new.file, &path, &pieces, watch)?;
        refuse_changed(commands)?;
        watch.release()?;
        let checked = self.check_one(&new)?;
        watch.take_again()?;
        watch.look()?;
        new.replace()?;
        place.sync()?;
        let database = Some(tail.database);
        Ok(Written { files: vec![Wrote { path, bytes, database }], begins: tail.begins, manifest: None, checked })
    }

    /// The next file of this kind, with an unused name.
    fn unused(&self, place: &Place, manifest: &Manifest, kind: char) -> Named {
        let same = manifest.0.iter().filter(|named| named.kind == kind || named.kind == 'h');
        let highest = same.map(|named| named.sequence).max().unwrap_or(0);
        let ending = if kind == 'b' { "base.rdb" } else { "incr.aof" };
        let names =
            (highest + 1..).map(|sequence| Named::new(format!("{}.{sequence}.{ending}", self.name), sequence, kind));
        let mut unused = names.filter(|named| fs::symlink_metadata(place.join(&named.name)).is_err());
        unused.next().expect("a directory has room for no file of each number")
    }

    /// The pieces to write for these commands at this tail.
    fn pieces<'a>(&self, commands: &'a [Source], tail: &mut Tail) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        for source in commands {
            if std::mem::take(&mut tail.is_line_open) {
                pieces.push(Piece::Bytes(b"\n".to_vec()));
            }
            if let Some(number) = self.select {
                let select = resp::command(&[b"SELECT", number.to_string().as_bytes()]);
                pieces.push(Piece::Bytes(select));
                tail.database = number;
            }
            tail.begins.push((source.path.clone(), tail.database));
            tail.database = source.database.unwrap_or(tail.database);
            tail.is_line_open = source.is_line_open;
            pieces.push(Piece::whole(source));
        }
        // A server would write its next command into that line.
        if tail.is_line_open {
            pieces.push(Piece::Bytes(b"\n".to_vec()));
        }
        pieces
    }

    /// Writes new files. They get the owner of `other`, and its permissions if that is a file.
    fn write_all<'place>(
        &self,
        place: &'place Place,
        outputs: Vec<Output<'_>>,
        (other, is_file): (&Metadata, bool),
        watch: &Watch,
    ) -> Result<(Vec<New<'place>>, Vec<Wrote>), Bad> {
        let (mut made, mut files) = (Vec::new(), Vec::new());
        for output in outputs {
            let path = place.join(&output.named.name);
            let new = New::create(place, &output.named.name)?;
            new.be_like(other, is_file)?;
            let bytes = self.write(&new.file, &path, &output.pieces, watch)?;
            let database = output.database;
            files.push(Wrote { path, bytes, database });
            made.push(new);
        }
        Ok((made, files))
    }

    /// Writes these pieces to the end of a new file, and syncs it to the disk. Returns the number of bytes.
    fn write(&self, mut file: &File, path: &Path, pieces: &[Piece<'_>], watch: &Watch) -> Result<u64, Bad> {
        let before = file.metadata().at(path)?.len();
        let mut length = 0;
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => {
                    file.write_all(bytes).at(path)?;
                    length += bytes.len() as u64;
                }
                Piece::Part { file: source, path: from, length: part } => {
                    self.transfer(source, from, *part, file, path, watch)?;
                    length += part;
                }
            }
        }
        file.sync_all().at(path)?;
        let now = file.metadata().at(path)?.len();
        if now == before + length {
            Ok(length)
        } else {
            Err(bad(path, format!("{now} bytes long, not {}", before + length)))
        }
    }

    fn transfer(
        &self,
        source: &File,
        from: &Path,
        length: u64,
        file: &File,
        path: &Path,
        watch: &Watch,
    ) -> Result<(), Bad> {
        let outcome = copy(self.route, source, length, file, watch)?;
        let advice = match self.route {
            Some(_) => {
                ". Without --route another is taken where one is refused; --route read-write works with every file"
            }
            None => "",
        };
        match outcome.ended {
            Ended::Complete if outcome.shrank_to.is_none() => Ok(()),
            Ended::Complete | Ended::SourceEnded => Err(changed(from)),
            _ => Err(bad(path, format!("{outcome}{advice}"))),
        }
    }

    /// Makes a manifest that is synced to the disk and does not have its name yet.
    fn new_manifest<'place>(
        &self,
        place: &'place Place,
        text: &str,
        owner: &Metadata,
        is_file: bool,
    ) -> Result<New<'place>, Bad> {
        let mut new = New::create(place, &self.manifest_name())?;
        let path = new.path();
        new.be_like(owner, is_file)?;
        new.file.write_all(text.as_bytes()).at(&path)?;
        new.file.sync_all().at(&path)?;
        Ok(new)
    }

    /// Runs `redis-check-aof` on the files as they will be.
    fn check_all(&self, place: &Place, new: &[New<'_>], old: &[String], manifest: &str) -> Result<Vec<u8>, Bad> {
        let Some(checker) = &self.checker else {
            return Ok(Vec::new());
        };
        let name = self.manifest_name();
        let preview = Preview::make(place, &self.name, new, old, (&name, manifest))?;
        self.run(checker, &preview.join(&name))
    }

    fn check_one(&self, new: &New<'_>) -> Result<Vec<u8>, Bad> {
        match &self.checker {
            Some(checker) => self.run(checker, &replace::path_now(new)),
            None => Ok(Vec::new()),
        }
    }

    fn run(&self, checker: &Path, path: &Path) -> Result<Vec<u8>, Bad> {
        let output = Command::new(checker).arg(path).output().at(checker)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        Err(bad(
            &self.path,
            format!("redis-check-aof finds it bad ({}), and nothing was changed:\n{}", output.status, said.trim_end()),
        ))
    }
}

/// Checks the files of a manifest, which no other process may have open. Returns the offset of the transaction that is open at the
/// end of the last file.
fn check_files(place: &Place, loaded: &[&Named], is_to_cut: bool, watch: &mut Watch) -> Result<Option<u64>, Bad> {
    for (number, named) in loaded.iter().enumerate() {
        let path = place.join(&named.name);
        let file = watch.lease(&path)?;
        let summary = check_loaded(file, &path, named.kind == 'b', Names::Any)?;
        let is_last = number + 1 == loaded.len();
        match summary.open {
            Some(at) if !is_last => {
                let then = "refuses a file that ends so and is not the last";
                return Err(bad(&path, open_transaction(at, then)));
            }
            Some(at) if !is_to_cut => return Err(bad(&path, to_cut(at))),
            open if is_last => return Ok(open),
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::redis::servers::Directory;
    use crate::redis::rdb::tests::file as rdb_file;
    use std::os::unix::fs::MetadataExt;

    fn in_new_directory() -> (Directory, Aof) {
        let directory = Directory::new().expect("a directory");
        let aof = Aof {
            path: directory.join("appendonlydir"),
            name: "appendonly.aof".to_owned(),
            route: None,
            select: None,
            allowed: Vec::new(),
            checker: None,
        };
        (directory, aof)
    }

    fn write(directory: &Directory, name: &str, bytes: &[u8]) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, bytes).expect("written");
        path
    }

    /// Every file of a directory, with its content.
    fn all(path: &Path) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(path).into_iter().flatten();
        let files = entries.map(|entry| {
            let entry = entry.expect("read");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).unwrap_or_default())
        });
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    }

    const COMMAND: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    const OPEN: &[u8] = b"*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nPING\r\n";
    const SELECT: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$1\r\n5\r\n";

    #[test]
    fn what_is_added_is_an_increment_of_its_own() {
        let (directory, aof) = in_new_directory();
        let rdb = write(&directory, "rdb", &rdb_file(b"keys"));
        let commands = write(&directory, "commands", COMMAND);
        let written = aof.build(Some(&rdb), std::slice::from_ref(&commands), Shape::One).expect("built");
        assert_eq!(written.files.len(), 2);
        let text = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
        let manifest = written.manifest.expect("a manifest");
        assert_eq!(fs::read_to_string(&manifest).expect("read"), text);
        let added = aof.extend(&[commands.clone(), commands], false).expect("extended");
        assert_eq!(added.files[0].bytes, 2 * COMMAND.len() as u64);
        assert_eq!(fs::read(&added.files[0].path).expect("read"), COMMAND.repeat(2));
        assert_eq!(fs::read(&written.files[1].path).expect("read"), COMMAND);
        let more = "file appendonly.aof.2.incr.aof seq 2 type i\n";
        assert_eq!(fs::read_to_string(&manifest).expect("read"), format!("{text}{more}"));
        assert_eq!(all(&aof.path).len(), 4);
    }

    #[test]
    fn one_file_is_replaced_by_a_longer_one() {
        let (directory, aof) = in_new_directory();
        let rdb = write(&directory, "rdb", &rdb_file(b"keys"));
        let commands = write(&directory, "commands", COMMAND);
        let written = aof.build(Some(&rdb), std::slice::from_ref(&commands), Shape::Single).expect("built");
        let path = &written.files[0].path;
        let before = File::open(path).expect("opened").metadata().expect("read").ino();
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
        aof.extend(&[commands], false).expect("extended");
        let expected = [rdb_file(b"keys"), COMMAND.repeat(2)].concat();
        assert!(fs::read(path).expect("read") == expected);
        let data = fs::metadata(path).expect("read");
        assert_ne!(data.ino(), before);
        assert_eq!(data.mode() & 0o777, 0o600);
        assert_eq!(all(&aof.path).len(), 1);
    }

    /// A refused request changes nothing, and leaves no files.
    #[test]
    fn what_is_refused_changes_nothing() {
        let (directory, aof) = in_new_directory();
        let commands = write(&directory, "commands", COMMAND);
        let bad = [
            (&COMMAND[..9], "truncated command at offset 0"),
            (&b"PING\r\n"[..], "starts neither"),
            (&b"*1\r\n:1\r\n"[..], "the length of an argument"),
            (OPEN, "has no EXEC"),
            (&rdb_file(b"keys")[..], "Only the base"),
        ];
        for (at, (bytes, why)) in bad.iter().enumerate() {
            let bad = write(&directory, &format!("bad{at}"), bytes);
            for shape in [Shape::One, Shape::Many, Shape::Single] {
                let paths = [commands.clone(), bad.clone(), commands.clone()];
                let said = aof.build(None, &paths, shape).expect_err("refused").to_string();
                assert!(said.contains(why), "{said}");
                assert!(!aof.path.exists());
            }
        }
        let said = aof.build(None, &[], Shape::One).expect_err("refused").to_string();
        assert!(said.contains("nothing to build it from"), "{said}");
        aof.build(None, std::slice::from_ref(&commands), Shape::Many).expect("built");
        let before = all(&aof.path);
        for (at, (_, why)) in bad.iter().enumerate() {
            let bad = directory.join(&format!("bad{at}"));
            let said = aof.extend(&[commands.clone(), bad], false).expect_err("refused").to_string();
            assert!(said.contains(why), "{said}");
            assert_eq!(all(&aof.path), before);
        }
        let said = aof.build(None, std::slice::from_ref(&commands), Shape::One).expect_err("refused");
        assert!(said.to_string().contains("redis aof extend"), "{said}");
        // Another descriptor for the file is open.
        let file = File::open(aof.path.join("appendonly.aof.1.incr.aof")).expect("opened");
        let said = aof.extend(&[commands], false).expect_err("refused").to_string();
        assert!(said.contains("has it open"), "{said}");
        drop(file);
        assert_eq!(all(&aof.path), before);
    }

    #[test]
    fn commands_after_an_rdb_are_checked_too() {
        let (directory, aof) = in_new_directory();
        let commands = write(&directory, "commands", COMMAND);
        fs::create_dir(&aof.path).expect("made");
        let path = aof.path.join("appendonly.aof");
        let mut without = rdb_file(b"keys\xff\0\0\0\0\0\0\0\0*more");
        let end = without.len() - 8;
        without[end..].fill(0);
        for rdb in [rdb_file(b"keys"), rdb_file(&b"\xff".repeat(300)), without] {
            fs::write(&path, [&rdb[..], COMMAND, SELECT].concat()).expect("written");
            let written = aof.extend(std::slice::from_ref(&commands), false).expect("extended");
            assert_eq!(written.begins[0].1, 5);
            for (bytes, why) in [(&COMMAND[..9], "truncated command"), (b"x", "starts neither"), (OPEN, "no EXEC")] {
                let all = [&rdb[..], COMMAND, bytes].concat();
                fs::write(&path, &all).expect("written");
                let said = aof.extend(std::slice::from_ref(&commands), false).expect_err("refused");
                assert!(said.to_string().contains(why), "{said}");
                assert!(fs::read(&path).expect("read") == all);
            }
        }
        let mut damaged = rdb_file(b"keys");
        damaged[10] ^= 1;
        fs::write(&path, damaged).expect("written");
        let said = aof.extend(&[commands], false).expect_err("refused").to_string();
        assert!(said.contains("damaged or truncated"), "{said}");
    }

    #[test]
    fn an_open_transaction_is_cut_off_where_that_is_asked_for() {
        for is_one in [true, false] {
            let (directory, aof) = in_new_directory();
            let commands = write(&directory, "commands", COMMAND);
            let (name, shape) =
                if is_one { ("appendonly.aof", Shape::Single) } else { ("appendonly.aof.1.incr.aof", Shape::One) };
            aof.build(None, std::slice::from_ref(&commands), shape).expect("built");
            let path = aof.path.join(name);
            let open = [SELECT, OPEN].concat();
            fs::write(&path, &open).expect("written");
            let before = all(&aof.path);
            let said = aof.extend(std::slice::from_ref(&commands), false).expect_err("refused");
            assert!(said.to_string().contains("at offset 23 has no EXEC"), "{said}");
            assert!(said.to_string().contains("--cut-open-transaction"), "{said}");
            assert_eq!(all(&aof.path), before);
            aof.extend(&[commands], true).expect("extended");
            if is_one {
                assert_eq!(all(&aof.path), [("appendonly.aof".to_owned(), [SELECT, COMMAND].concat())]);
            } else {
                let files = all(&aof.path);
                let bytes: Vec<&[u8]> = files.iter().map(|(_, bytes)| &bytes[..]).collect();
                let text = "file appendonly.aof.1.incr.aof seq 1 type h\nfile appendonly.aof.2.incr.aof seq 2 type i\n\
                            file appendonly.aof.3.incr.aof seq 3 type i\n";
                assert_eq!(bytes, [&open[..], SELECT, COMMAND, text.as_bytes()]);
            }
        }
    }

    #[test]
    fn the_database_of_what_is_added_is_named() {
        let (directory, mut aof) = in_new_directory();
        let select = write(&directory, "select", SELECT);
        let commands = write(&directory, "commands", COMMAND);
        let both = [select, commands.clone()];
        let of = |written: &Written| written.begins.iter().map(|(_, at)| *at).collect::<Vec<_>>();
        let written = aof.build(None, &both, Shape::One).expect("built");
        assert_eq!((of(&written), written.files[0].database), (vec![0, 5], Some(5)));
        // A server begins each file in database 0.
        let written = aof.extend(std::slice::from_ref(&commands), false).expect("extended");
        assert_eq!((of(&written), written.files[0].database), (vec![0], Some(0)));
        aof.select = Some(7);
        let written = aof.extend(&both, false).expect("extended");
        assert_eq!((of(&written), written.files[0].database), (vec![7, 7], Some(7)));
        let seven = SELECT.to_ascii_lowercase();
        let seven = String::from_utf8(seven).expect("text").replace("\r\n5", "\r\n7").replace("select", "SELECT");
        let expected = [seven.as_bytes(), SELECT, seven.as_bytes(), COMMAND].concat();
        assert_eq!(fs::read(&written.files[0].path).expect("read"), expected);
    }

    /// The next bytes would be a part of the annotation.
    #[test]
    fn an_annotation_without_an_end_gets_one() {
        let (directory, aof) = in_new_directory();
        let open = write(&directory, "open", b"#TS:1");
        aof.build(None, &[open.clone(), open], Shape::Single).expect("built");
        let path = aof.path.join("appendonly.aof");
        assert_eq!(fs::read(&path).expect("read"), b"#TS:1\n#TS:1\n");
        fs::write(&path, b"#TS:1").expect("written");
        let commands = write(&directory, "commands", COMMAND);
        aof.extend(&[commands], false).expect("extended");
        assert_eq!(fs::read(&path).expect("read"), [b"#TS:1\n", COMMAND].concat());
    }

    #[test]
    fn a_file_that_is_in_the_way_stays() {
        let (directory, aof) = in_new_directory();
        let commands = write(&directory, "commands", COMMAND);
        fs::create_dir(&aof.path).expect("made");
        let path = aof.path.join("appendonly.aof.2.incr.aof");
        fs::write(&path, "the user's").expect("written");
        let both = [commands.clone(), commands.clone()];
        let said = aof.build(None, &both, Shape::Many).expect_err("refused").to_string();
        assert!(said.contains("did not make it"), "{said}");
        assert_eq!(all(&aof.path).len(), 1);
        aof.build(None, std::slice::from_ref(&commands), Shape::One).expect("built");
        let written = aof.extend(&[commands], false).expect("extended");
        assert!(written.files[0].path.ends_with("appendonly.aof.3.incr.aof"));
        assert_eq!(fs::read(&path).expect("read"), b"the user's");
    }

    /// A server accepts a truncated file only as the last one.
    #[test]
    fn each_file_of_the_manifest_is_checked() {
        let (directory, aof) = in_new_directory();
        let commands = write(&directory, "commands", COMMAND);
        aof.build(None, &[commands.clone(), commands.clone()], Shape::Many).expect("built");
        for (number, text) in [(1, "is not the last"), (2, "--cut-open-transaction")] {
            let path = aof.path.join(format!("appendonly.aof.{number}.incr.aof"));
            fs::write(&path, OPEN).expect("written");
            let said = aof.extend(std::slice::from_ref(&commands), false).expect_err("refused");
            assert!(said.to_string().contains(text), "{said}");
            fs::write(&path, rdb_file(b"keys")).expect("written");
            let said = aof.extend(std::slice::from_ref(&commands), false).expect_err("refused");
            assert!(said.to_string().contains("Only the base"), "{said}");
            fs::write(&path, COMMAND).expect("written");
        }
        fs::remove_file(aof.path.join("appendonly.aof.1.incr.aof")).expect("removed");
        aof.extend(&[commands], false).expect_err("a file is missing");
    }

    #[test]
    fn a_symbolic_link_is_not_replaced() {
        let (directory, aof) = in_new_directory();
        let commands = write(&directory, "commands", COMMAND);
        fs::create_dir(&aof.path).expect("made");
        std::os::unix::fs::symlink(&commands, aof.path.join("appendonly.aof")).expect("linked");
        let said = aof.extend(std::slice::from_ref(&commands), false).expect_err("refused");
        assert!(said.to_string().contains("symbolic link"), "{said}");
        assert_eq!(fs::read(&commands).expect("read"), COMMAND);
    }
}
