//! What goes into a guest with a program: its shared objects, other files, its environment and its working directory.

#![forbid(unsafe_code)]

use crate::error::{Context, Error};
use crate::job::Start;
use crate::program;
use nocopy_host::{input, programs};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a user wants to run in a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The program and its arguments. A name without a slash is looked up in `PATH`.
    pub command: Vec<String>,
    /// Files and directories to bring: `PATH`, or `PATH:GUEST_PATH`.
    pub with: Vec<String>,
    /// Variables to set: `NAME=VALUE`, or `NAME` for the value that it has here.
    pub environment: Vec<String>,
    /// The user; root, if none.
    pub uid: Option<u32>,
}

/// A command with all that it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// The command.
    pub start: Start,
    /// Files by their paths in the guest.
    pub files: Vec<(String, PathBuf)>,
}

impl Wanted {
    /// Finds everything.
    ///
    /// # Errors
    ///
    /// [`Error::Host`]: a file that is not there or that a guest cannot run, a variable that is not set, two files for one place.
    pub fn pack(&self) -> Result<Packed, Error> {
        let mut files = BTreeMap::new();
        let (name, arguments) = self
            .command
            .split_first()
            .ok_or_else(|| Error::host("no program: on-kernel KERNEL -- PROGRAM ARGUMENTS"))?;
        let found = programs::find(name)
            .ok_or_else(|| Error::host(format!("{name}: no such program here")))?;
        let program = std::path::absolute(&found).at(&found)?;
        let environment = self.variables()?;
        // Programs of the package that a test starts: cargo tells its runner where they are.
        let programs = environment
            .iter()
            .filter(|(name, _)| name.starts_with("CARGO_BIN_EXE_"))
            .map(|(_, path)| PathBuf::from(path))
            .filter(|path| path.exists());
        for program in std::iter::once(program.clone()).chain(programs) {
            for (to, from) in program::with_libraries(&program)? {
                add(&mut files, to, from)?;
            }
        }
        for with in &self.with {
            let (from, to) = split(with);
            let from = std::path::absolute(from).at(from)?;
            let to = match to {
                Some(to) => to.to_owned(),
                None => program::same(from.clone())?.0,
            };
            if is_reserved(&to) {
                return Err(Error::host(format!(
                    "--with {with}: {to} is the guest's own: name another place with --with PATH:GUEST_PATH"
                )));
            }
            let before = files.len();
            add_all(&mut files, &to, &from, &mut Vec::new())?;
            if files.len() == before && from.is_dir() {
                return Err(Error::host(format!("--with {with}: no file is in it")));
            }
        }
        let (program, _) = program::same(program)?;
        let command = std::iter::once(program).chain(arguments.iter().cloned());
        let directory = std::env::current_dir().context("find the working directory")?;
        let (directory, _) = program::same(directory)?;
        Ok(Packed {
            start: Start {
                command: command.collect(),
                environment,
                directory: Some(directory),
                uid: self.uid,
                input: !std::io::stdin().is_terminal(),
            },
            files: files.into_iter().collect(),
        })
    }

    /// The variables of the guest: those that tests expect of cargo, then those that the user names.
    fn variables(&self) -> Result<Vec<(String, String)>, Error> {
        let mut variables = of_a_runner();
        for text in &self.environment {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => (
                    text.as_str(),
                    std::env::var(text)
                        .map_err(|error| Error::host(format!("--env {text}: {error}")))?,
                ),
            };
            if name.is_empty() {
                return Err(Error::host(format!("--env {text}: a variable has no name")));
            }
            variables.retain(|(known, _)| known != name);
            variables.push((name.to_owned(), value));
        }
        Ok(variables)
    }
}

/// Variables that cargo and the frameworks of tests have for a test: those of a runner are its program's, too.
fn of_a_runner() -> Vec<(String, String)> {
    const THEIRS: [&str; 10] = [
        "CARGO_BIN_EXE_",
        "CARGO_CRATE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_TARGET_TMPDIR",
        "LD_LIBRARY_PATH",
        "NEXTEST",
        "QUICKCHECK_",
        "RUST_",
        "RUSTDOC_",
    ];
    let all = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    // Not backtraces: reading a program's symbols takes an emulated processor seconds.
    all.filter(|(name, _)| !name.ends_with("_BACKTRACE"))
        .filter(|(name, _)| THEIRS.iter().any(|theirs| name.starts_with(theirs)))
        .collect()
}

/// The two parts of `PATH:GUEST_PATH`. A path that exists with its colon is one path.
fn split(with: &str) -> (&Path, Option<&str>) {
    match with.rsplit_once(':') {
        Some((from, to)) if to.starts_with('/') && !Path::new(with).exists() => {
            (Path::new(from), Some(to))
        }
        _ => (Path::new(with), None),
    }
}

/// Whether a place in the guest is not for files of a user: it is a mount, or the guest needs what is there.
fn is_reserved(place: &str) -> bool {
    const MOUNTS: [&str; 5] = ["dev", "proc", "sys", "modules", "later"];
    const FILES: [&str; 4] = ["init", "job.json", "tmp", "run"];
    let mut parts = place
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    match (parts.next(), parts.next()) {
        (None, _) => true,
        (Some(first), None) => MOUNTS.contains(&first) || FILES.contains(&first),
        (Some(first), Some(_)) => {
            MOUNTS.contains(&first) || place.split('/').any(|part| part == "..")
        }
    }
}

/// Adds a file, or all files of a directory. `above` has the directories that it is in.
fn add_all(
    files: &mut BTreeMap<String, PathBuf>,
    to: &str,
    from: &Path,
    above: &mut Vec<(u64, u64)>,
) -> Result<(), Error> {
    if !from.is_dir() {
        input::open(from).at(from)?;
        return add(files, to.to_owned(), from.to_owned());
    }
    let own = from.metadata().at(from)?;
    let own = (own.dev(), own.ino());
    if above.contains(&own) {
        return Err(Error::host(format!(
            "{}: a link to a directory that it is in",
            from.display()
        )));
    }
    above.push(own);
    let to = to.trim_end_matches('/');
    for entry in std::fs::read_dir(from).at(from)? {
        let path = entry.at(from)?.path();
        let name = path.file_name().unwrap_or_default();
        let name = name
            .to_str()
            .ok_or_else(|| Error::host(format!("{}: not UTF-8", path.display())))?;
        // Sockets, pipes and links to nothing are not brought.
        if path.is_dir() || path.is_file() {
            add_all(files, &format!("{to}/{name}"), &path, above)?;
        }
    }
    above.pop();
    Ok(())
}

fn add(files: &mut BTreeMap<String, PathBuf>, to: String, from: PathBuf) -> Result<(), Error> {
    match files.get(&to) {
        Some(other) if *other != from => Err(Error::host(format!(
            "two files for {to}: {} and {}; give one another place with --with FILE:GUEST_PATH",
            other.display(),
            from.display()
        ))),
        _ => {
            files.insert(to, from);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_guest_is_after_the_last_colon() {
        assert_eq!(split("a/b"), (Path::new("a/b"), None));
        assert_eq!(split("a:/b/c"), (Path::new("a"), Some("/b/c")));
        assert_eq!(split("a:b"), (Path::new("a:b"), None));
        assert_eq!(split("/x:y:/z"), (Path::new("/x:y"), Some("/z")));
    }

    #[test]
    fn a_directory_is_brought_whole_and_two_files_do_not_share_a_place() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        std::fs::create_dir(root.join("below")).expect("mkdir");
        std::fs::write(root.join("one"), "1").expect("write");
        std::fs::write(root.join("below/two"), "2").expect("write");
        std::os::unix::fs::symlink("nowhere", root.join("link")).expect("symlink");
        let mut files = BTreeMap::new();
        add_all(&mut files, "/data/", root, &mut Vec::new()).expect("readable");
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["/data/below/two", "/data/one"]);
        let error = add_all(
            &mut files,
            "/data/one",
            &root.join("below/two"),
            &mut Vec::new(),
        )
        .expect_err("taken");
        assert!(
            error.to_string().contains("two files for /data/one"),
            "{error}"
        );
        let error = add_all(&mut files, "/x", &root.join("none"), &mut Vec::new())
            .expect_err("nothing there");
        assert!(error.to_string().contains("No such file"), "{error}");
        std::os::unix::fs::symlink(".", root.join("below/again")).expect("symlink");
        let error = add_all(&mut files, "/y", root, &mut Vec::new()).expect_err("endless");
        assert!(
            error.to_string().contains("a link to a directory"),
            "{error}"
        );
    }

    #[test]
    fn places_of_the_guests_own_are_refused() {
        for place in [
            "/",
            "",
            "/init",
            "/tmp",
            "/proc/x",
            "/dev/null",
            "/x/../init",
            "/job.json",
            "//sys",
        ] {
            assert!(is_reserved(place), "{place}");
        }
        for place in [
            "/tmp/x",
            "/data",
            "/usr/bin/x",
            "/root",
            "/initial",
            "/run/x",
        ] {
            assert!(!is_reserved(place), "{place}");
        }
    }

    #[test]
    fn variables_are_those_that_are_named() {
        let wanted = |texts: &[&str]| Wanted {
            environment: texts.iter().map(|text| (*text).to_owned()).collect(),
            ..Wanted::default()
        };
        let variables = wanted(&["A=1", "A=2", "B="])
            .variables()
            .expect("variables");
        let own: Vec<_> = variables
            .iter()
            .filter(|(name, _)| name.len() == 1)
            .collect();
        assert_eq!(
            own,
            [&("A".into(), "2".into()), &("B".into(), String::new())]
        );
        let error = wanted(&["NO_SUCH_VARIABLE"])
            .variables()
            .expect_err("unset");
        assert!(error.to_string().contains("NO_SUCH_VARIABLE"), "{error}");
        assert!(wanted(&["=x"]).variables().is_err());
    }
}
