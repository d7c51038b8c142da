//! Kernels as the user names them: one meaning for every command.

#![forbid(unsafe_code)]

use crate::cache::Cache;
use crate::error::Error;
use crate::kernels::{self, ForeignKind, ForeignRow, Image, Listed, Row};
use crate::packages;
use crate::project::{self, Defaults, Project};
use std::path::Path;

/// The word for all kernels of the list, where several can be named.
pub const ALL: &str = "all";

/// A kernel that is named.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its name in reports.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What the project says of it, if the project names it.
    pub defaults: Defaults,
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

impl Named {
    /// The kernel that a text names. It can be
    ///
    /// - a kernel of the list: `6.1`
    /// - an exact release of one of its series: `6.1.0-47`
    /// - a name in the project's `on-kernel.toml`
    /// - a file: `PATH[:MODULES]` with a `/` in it, or `NAME=PATH[:MODULES]`
    ///
    /// More can be said about a file: the directory of its modules, and the beginning of its release. With either of them a text that
    /// is no name is a path.
    ///
    /// # Errors
    ///
    /// The text names no kernel, or two; the file is not a kernel; or more is said about a kernel of the distribution, which has
    /// modules and a release of its own.
    pub fn find(
        text: &str,
        modules: Option<&Path>,
        expect: Option<&str>,
        project: &Project,
    ) -> Result<Self, Error> {
        let file = |name: Option<&str>, place: &str| {
            let (path, beside) = place_and_modules(place);
            if modules.is_some() && beside.is_some() {
                return Err(Error::host(format!(
                    "`{text}` names a directory of modules, and --modules another"
                )));
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
        if let Some(kernel) = project.kernels.get(text) {
            is_free(text).map_err(|error| Error::host(format!("in {}: {error}", project::FILE)))?;
            let found = if let Some(path) = &kernel.path {
                let modules = modules.or(kernel.modules.as_deref());
                let image = kernels::own(path, modules, expect.or(kernel.expect.as_deref()))?;
                Self::of_file(Some(text), image)
            } else {
                let listed = of_distribution(kernel.kernel.as_deref().unwrap_or_default())?;
                Self::of_distribution(text, listed, says_more)?
            };
            return Ok(Self {
                defaults: kernel.defaults.clone(),
                ..found
            });
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

    /// The file, by this name or its own.
    pub fn of_file(name: Option<&str>, image: Image) -> Self {
        let name = name.map_or_else(|| image.name.clone(), str::to_owned);
        Self {
            kind: Kind::File(Image {
                name: name.clone(),
                ..image
            }),
            name,
            defaults: Defaults::default(),
        }
    }

    fn of_distribution(name: &str, listed: Listed, says_more: bool) -> Result<Self, Error> {
        if says_more {
            return Err(Error::host(format!(
                "{name} is a kernel of the matrix, with modules and a release of its own: leave out --modules and --expect, or name \
                 the path of a file"
            )));
        }
        Ok(Self {
            name: name.to_owned(),
            kind: listed.into(),
            defaults: Defaults::default(),
        })
    }
}

impl Kind {
    /// The kernel to start, by this name, fetched from the mirror if it is a package.
    ///
    /// # Errors
    ///
    /// It cannot be had, or is not a kernel to boot.
    pub fn image(
        &self,
        name: &str,
        mirror: Option<&str>,
        say: &dyn Fn(&str),
    ) -> Result<Image, Error> {
        match self {
            Self::Package(row) => {
                let image = packages::fetch(&Cache::open(), row, mirror, say)?;
                Ok(Image {
                    name: name.to_owned(),
                    ..image
                })
            }
            Self::File(image) => Ok(image.clone()),
            Self::Program(row) if row.kind == ForeignKind::UserModeLinux => row.user_mode_linux(),
            Self::Program(row) => Err(Error::host(format!("{} is not a kernel to boot", row.name))),
        }
    }

    /// Whether it is not Linux.
    pub fn is_gvisor(&self) -> bool {
        matches!(self, Self::Program(row) if row.kind == ForeignKind::Gvisor)
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
        return Err(Error::host(format!(
            "`{name}` already means kernels of the matrix: give yours another name"
        )));
    }
    can_be_a_file(name)
}

/// Results are stored in a file of the kernel's name.
///
/// # Errors
///
/// It cannot be such a name.
pub fn can_be_a_file(name: &str) -> Result<(), Error> {
    const MOST: usize = 100;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._+-~".contains(letter);
    let is_begun = name.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    if is_begun && name.len() <= MOST && name.chars().all(is_plain) {
        return Ok(());
    }
    Err(Error::host(format!(
        "`{}` cannot be the name of a file with results: use letters, digits, `.`, `_`, `+` and `-`, as in NAME=PATH",
        name.escape_default()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn find(text: &str) -> Result<Named, Error> {
        Named::find(text, None, None, &Project::default())
    }

    #[rstest]
    #[case("6.1", None)]
    #[case("6.1.0-47", Some("6.1.0-47"))]
    fn a_package_is_named_by_series_or_release(#[case] name: &str, #[case] exact: Option<&str>) {
        let named = find(name).expect("a kernel");
        let Kind::Package(row) = &named.kind else {
            panic!("{named:?}");
        };
        assert_eq!((row.series.as_str(), row.exact.as_deref()), ("6.1", exact));
        assert_eq!(named.name, name);
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
        let error = find(text).expect_err("no kernel").to_string();
        assert!(error.contains(part), "{error}");
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
}
