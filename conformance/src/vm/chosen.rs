//! Kernels as the user names them: one meaning for every `--kernel` and `--kernels`.

#![forbid(unsafe_code)]

use crate::run::record::Run;
use crate::run::recorded;
use on_kernel::cache::Cache;
use on_kernel::error::Error;
use on_kernel::kernels::{self, ForeignKind, ForeignRow, Image, Listed, Row};
use on_kernel::packages;
use on_kernel::project::{self, Project};
use std::path::Path;

/// The word for all kernels of the matrix, where several can be named.
pub const ALL: &str = "all";

/// A kernel that a command uses.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Its name in reports, and that of the file with its results.
    pub name: String,
    /// Whether the user named it. Otherwise it is here as a row of the whole matrix.
    pub is_named: bool,
    /// What it is.
    pub kind: Kind,
}

/// What a kernel is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A package of the distribution.
    Package(Row),
    /// A program that is installed.
    Program(ForeignRow),
    /// A file of the user's.
    File(Image),
}

impl Chosen {
    /// The kernel that a text names. It can be
    ///
    /// - a kernel of the matrix: `6.1`
    /// - an exact release of one of its series: `6.1.0-47`
    /// - a name in `on-kernel.toml` of this directory or one above
    /// - a file: `PATH[:MODULES]` with a `/` in it, or `NAME=PATH[:MODULES]`
    ///
    /// # Errors
    ///
    /// The text names no kernel, or two; or the file is not a kernel.
    pub fn find(text: &str) -> Result<Self, Error> {
        Self::with(text, None, None)
    }

    /// The same, and more about a file: the directory of its modules, and the beginning of its release. With either of them a text
    /// that is no name is a path.
    ///
    /// # Errors
    ///
    /// As for [`find`](Self::find); or a kernel of the distribution is named, which has modules and a release of its own.
    pub fn with(text: &str, modules: Option<&Path>, expect: Option<&str>) -> Result<Self, Error> {
        let file = |name: Option<&str>, place: &str| {
            let (path, beside) = place_and_modules(place);
            if modules.is_some() && beside.is_some() {
                return Err(Error::host(format!("`{text}` names a directory of modules, and --modules another")));
            }
            let image = kernels::own(path, modules.or(beside), expect)?;
            Ok(Self::of_file(name, image))
        };
        let named = text.split_once('=').filter(|(name, _)| !name.contains('/'));
        if let Some((name, place)) = named {
            is_free(name)?;
            return file(Some(name), place);
        }
        if text.contains('/') {
            return file(None, text);
        }
        let says_more = modules.is_some() || expect.is_some();
        let here = std::env::current_dir().unwrap_or_default();
        let (project, _) = Project::of(&here)?;
        if let Some(kernel) = project.kernels.get(text) {
            is_free(text).map_err(|error| Error::host(format!("in {}: {error}", project::FILE)))?;
            if let Some(path) = &kernel.path {
                let modules = modules.or(kernel.modules.as_deref());
                let image = kernels::own(path, modules, expect.or(kernel.expect.as_deref()))?;
                return Ok(Self::of_file(Some(text), image));
            }
            let listed = of_distribution(kernel.kernel.as_deref().unwrap_or_default())?;
            return Self::of_distribution(text, listed, says_more);
        }
        match of_distribution(text) {
            Ok(_) if says_more && Path::new(text).exists() => file(None, text),
            Ok(listed) => Self::of_distribution(text, listed, says_more),
            Err(_) if says_more => file(None, text),
            Err(unknown) if project.kernels.is_empty() => Err(unknown),
            Err(unknown) => {
                let names: Vec<&str> = project.kernels.keys().map(String::as_str).collect();
                let (file, names) = (project::FILE, names.join(", "));
                Err(Error::host(format!("{unknown}; {file} has {names}")))
            }
        }
    }

    /// The kernels that these texts name, in their order. `all`, or no text, is the whole matrix.
    ///
    /// # Errors
    ///
    /// As for [`find`](Self::find); or two kernels have one name, or one that cannot be the name of a file with results.
    pub fn all(texts: &[String]) -> Result<Vec<Self>, Error> {
        let mut found = Vec::new();
        for text in texts {
            if text == ALL {
                found.extend(matrix()?);
            } else {
                found.push(Self::find(text)?);
            }
        }
        if texts.is_empty() {
            found = matrix()?;
        }
        for (at, chosen) in found.iter().enumerate() {
            let name = &chosen.name;
            can_be_a_file(name)?;
            if found[..at].iter().any(|other| other.name == *name) {
                return Err(Error::host(format!(
                    "two kernels are called {name}: name one once, and give a file another name with --kernel NAME=PATH"
                )));
            }
        }
        Ok(found)
    }

    fn of_file(name: Option<&str>, image: Image) -> Self {
        let name = name.map_or_else(|| image.name.clone(), str::to_owned);
        Self { is_named: true, kind: Kind::File(Image { name: name.clone(), ..image }), name }
    }

    fn of_distribution(name: &str, listed: Listed, says_more: bool) -> Result<Self, Error> {
        if says_more {
            return Err(Error::host(format!(
                "{name} is a kernel of the matrix, with modules and a release of its own: leave out --modules and --expect, or name \
                 a file with --kernel PATH"
            )));
        }
        Ok(Self { name: name.to_owned(), is_named: true, kind: listed.into() })
    }

    /// Whether it is not Linux.
    pub fn is_gvisor(&self) -> bool {
        matches!(&self.kind, Kind::Program(row) if row.kind == ForeignKind::Gvisor)
    }

    /// The row of a kernel that is a program.
    pub fn program(&self) -> Option<&ForeignRow> {
        match &self.kind {
            Kind::Program(row) => Some(row),
            Kind::Package(_) | Kind::File(_) => None,
        }
    }

    /// The kernel to start, fetched from the mirror if it is a package.
    ///
    /// # Errors
    ///
    /// It cannot be had, or is not a kernel to boot.
    pub fn image(&self, mirror: Option<&str>, say: &dyn Fn(&str)) -> Result<Image, Error> {
        match &self.kind {
            Kind::Package(row) => {
                let image = packages::fetch(&Cache::open(), row, mirror, say)?;
                Ok(Image { name: self.name.clone(), ..image })
            }
            Kind::File(image) => Ok(image.clone()),
            Kind::Program(row) if row.kind == ForeignKind::UserModeLinux => row.user_mode_linux(),
            Kind::Program(row) => {
                Err(Error::host(format!("{} is not a kernel to boot: use `vm run` or `vm exec`", row.name)))
            }
        }
    }

    /// Whether a difference of this run from the record of its series is a change: the kernel is that of a row, or the very release
    /// that is recorded. What another kernel does otherwise is a new finding.
    fn can_have_changed(&self, run: &Run) -> bool {
        match &self.kind {
            Kind::Program(_) => true,
            Kind::File(_) => false,
            Kind::Package(row) if row.exact.is_none() => true,
            Kind::Package(row) => {
                recorded::find(&row.series).is_some_and(|known| known.run.environment.kernel == run.environment.kernel)
            }
        }
    }

    /// The run, judged as one of this kernel.
    pub fn judged(&self, mut run: Run) -> Run {
        if !self.can_have_changed(&run) {
            run.find_anew();
        }
        run
    }
}

impl From<Listed> for Kind {
    fn from(listed: Listed) -> Self {
        match listed {
            Listed::Linux(row) => Self::Package(row),
            Listed::Foreign(row) => Self::Program(row),
        }
    }
}

/// The whole matrix.
fn matrix() -> Result<Vec<Chosen>, Error> {
    let rows = kernels::listed(&[])?.into_iter();
    let rows = rows.map(|listed| Chosen {
        name: match &listed {
            Listed::Linux(row) => row.name.clone(),
            Listed::Foreign(row) => row.name.clone(),
        },
        is_named: false,
        kind: listed.into(),
    });
    Ok(rows.collect())
}

fn of_distribution(name: &str) -> Result<Listed, Error> {
    match kernels::foreign(name) {
        Some(row) => Ok(Listed::Foreign(row)),
        None => kernels::resolve(name).map(Listed::Linux),
    }
}

/// `PATH[:MODULES]`. A path with a colon in it is one, if there is such a file.
fn place_and_modules(text: &str) -> (&Path, Option<&Path>) {
    let whole = Path::new(text);
    match text.rsplit_once(':') {
        Some((path, modules)) if !whole.exists() => (Path::new(path), Some(Path::new(modules))),
        _ => (whole, None),
    }
}

/// The user can give this name to a kernel.
fn is_free(name: &str) -> Result<(), Error> {
    if name == ALL || kernels::is_known(name) {
        return Err(Error::host(format!("`{name}` already means kernels of the matrix: give yours another name")));
    }
    can_be_a_file(name)
}

/// Results are stored in a file of this name.
fn can_be_a_file(name: &str) -> Result<(), Error> {
    const MOST: usize = 100;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._+-~".contains(letter);
    let is_begun = name.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    if is_begun && name.len() <= MOST && name.chars().all(is_plain) {
        return Ok(());
    }
    Err(Error::host(format!(
        "`{}` cannot be the name of a file with results: use letters, digits, `.`, `_`, `+` and `-`, as in --kernel NAME=PATH",
        name.escape_default()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::{Environment, Record};
    use crate::verdict::{Judgement, Word};
    use rstest::rstest;

    #[rstest]
    #[case("6.1", None)]
    #[case("6.1.0-47", Some("6.1.0-47"))]
    fn a_package_is_named_by_series_or_release(#[case] name: &str, #[case] exact: Option<&str>) {
        let chosen = Chosen::find(name).expect("a kernel");
        let Kind::Package(row) = &chosen.kind else {
            panic!("{chosen:?}");
        };
        assert_eq!((row.series.as_str(), row.exact.as_deref()), ("6.1", exact));
        assert_eq!((chosen.name.as_str(), chosen.is_named), (name, true));
    }

    #[rstest]
    #[case("6.99", "no kernel is called `6.99`")]
    #[case("6.1=/k", "`6.1` already means")]
    #[case("gvisor=/k", "`gvisor` already means")]
    #[case("all=/k", "`all` already means")]
    #[case("=/k", "`` cannot be the name of a file")]
    #[case("a b=/k", "`a b` cannot be the name of a file")]
    #[case("..=/k", "`..` cannot be the name of a file")]
    #[case("a\n=/k", "`a\\n` cannot be the name of a file")]
    #[case("a/b=/k", "a/b=/k: No such file")]
    #[case("mine=/no/such/kernel", "/no/such/kernel: No such file")]
    fn what_names_no_kernel_is_said(#[case] text: &str, #[case] part: &str) {
        let error = Chosen::find(text).expect_err("no kernel").to_string();
        assert!(error.contains(part), "{error}");
    }

    #[rstest]
    #[case(&["6.1", "6.1"], "two kernels are called 6.1")]
    #[case(&["all", "6.1"], "two kernels are called 6.1")]
    fn each_name_is_given_once(#[case] names: &[&str], #[case] part: &str) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let error = Chosen::all(&names).expect_err("twice").to_string();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn all_is_the_matrix_and_what_is_named_beside_it_is_not() {
        let names = ["all", "6.1.0-47"].map(str::to_owned);
        let chosen = Chosen::all(&names).expect("kernels");
        let (last, rows) = chosen.split_last().expect("some");
        assert!(last.is_named && rows.iter().all(|row| !row.is_named));
        assert_eq!(rows.len(), Chosen::all(&[]).expect("kernels").len());
    }

    #[test]
    fn a_colon_is_before_the_modules_unless_the_file_has_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("linux:6");
        std::fs::write(&path, "").expect("written");
        let text = path.to_str().expect("text");
        assert_eq!(place_and_modules(text), (path.as_path(), None));
        let modules = Path::new("/m");
        let both = format!("{text}:/m");
        assert_eq!(place_and_modules(&both), (path.as_path(), Some(modules)));
    }

    fn changed(kernel: &str) -> Run {
        let environment = Environment { kernel: kernel.to_owned(), ..Environment::now(None, vec![]) };
        let record = Record {
            verdict: Word::Holds,
            judgement: Some(Judgement::Changed),
            failure: None,
            ..Record::not_reached("a.b.c", "")
        };
        Run::new(environment, vec![record])
    }

    /// The rules for red: a difference from the recorded release, or on a newer package of its row, is a change.
    #[test]
    fn a_change_is_of_the_recorded_kernel() {
        let known = &recorded::find("6.1").expect("a record").run;
        let release = &known.environment.kernel;
        for (name, kernel, expected) in [
            ("6.1", "6.1.0-99", Judgement::Changed),
            ("6.1.0-47", release, Judgement::Changed),
            ("6.1.0-47", "6.1.0-47", Judgement::NewFinding),
        ] {
            let chosen = Chosen::find(name).expect("a kernel");
            let judged = chosen.judged(changed(kernel));
            assert_eq!(judged.records[0].judgement, Some(expected), "{name} {kernel}");
        }
        let image = kernels::own(Path::new("/proc/self/exe"), None, None).expect("an ELF");
        let own = Chosen::of_file(Some("mine"), image);
        let judged = own.judged(changed(release));
        assert_eq!(judged.records[0].judgement, Some(Judgement::NewFinding));
    }
}
