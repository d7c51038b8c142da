//! The matrix: the kernels that are available, and those that have been fetched.

use crate::error::{Context, Error};
use crate::modules;
use nocopy_host::kernel::{Release, Series};
use nocopy_host::programs;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// `kernels.toml` at the time of the build.
const FIXTURE: &str = include_str!("../kernels.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    kernel: Vec<Row>,
    foreign: Vec<ForeignRow>,
}

/// A kernel of the matrix that is a program: it is started, not booted, and installed, not fetched.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignRow {
    /// Its name in the matrix.
    pub name: String,
    /// Its kind.
    pub kind: ForeignKind,
    /// The program that runs it.
    pub program: String,
    /// Debian's package of that program.
    pub package: String,
    /// The beginning of its release, if it is Linux.
    #[serde(default)]
    pub series: String,
}

/// The kind of such a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForeignKind {
    /// Not Linux, in a sandbox: [`super::gvisor`].
    Gvisor,
    /// Linux as a process of Linux, with the guest's initramfs.
    UserModeLinux,
}

impl ForeignRow {
    /// Finds User-mode Linux, if it is installed: the program, and its modules.
    ///
    /// # Errors
    ///
    /// [`Error::NotRun`], if it is not installed, or if this processor cannot run it.
    pub fn user_mode_linux(&self) -> Result<Image, Error> {
        const MODULES: &str = "/usr/lib/uml/modules";
        let boot = programs::find(&self.program).ok_or_else(|| {
            Error::NotRun(format!(
                "{} is not installed: run `just setup-foreign` (Debian: apt-get install {})",
                self.program, self.package
            ))
        })?;
        if let Some(why) = unfit_processor() {
            return Err(Error::NotRun(why));
        }
        Ok(Image {
            name: self.name.clone(),
            expect: self.series.clone(),
            packages: vec![],
            boot,
            bytes: None,
            modules: Some(PathBuf::from(MODULES)).filter(|path| path.is_dir()),
            user_mode: true,
        })
    }
}

/// Why this machine's processor cannot run a guest of User-mode Linux, if it cannot.
///
/// Debian's User-mode Linux 6.1 keeps 2696 bytes of a process's floating-point state (`HOST_FP_SIZE` in arch/x86/um/user-offsets.c),
/// which is enough for AVX-512 and protection keys. With AMX the state has 11 KiB, and the host's ptrace refuses it with EFAULT: the
/// guest's first program is killed.
fn unfit_processor() -> Option<String> {
    const KEPT: u32 = 2696;
    // The XSAVE leaf: the size of the state that this machine's kernel has enabled.
    let enabled = std::arch::x86_64::__cpuid_count(0xd, 0).ebx;
    (enabled > KEPT).then(|| {
        format!(
            "this processor's floating-point state has {enabled} bytes (AMX), and User-mode Linux knows {KEPT}: run it on another \
             machine, or in a virtual one without AMX"
        )
    })
}

/// A kernel of the matrix, by series. The package is chosen when it is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name in the matrix: `6.1`, or `6.1-generic`.
    pub name: String,
    /// The beginning of its `uname -r`.
    pub series: String,
    /// The distribution's suite.
    pub suite: String,
    /// The distribution's flavour: `cloud-amd64`, or `amd64` for the generic one.
    pub flavour: String,
    /// Whether the distribution's index has the modules.
    #[serde(default = "yes")]
    pub modules: bool,
    /// Whether it runs only if it is named.
    #[serde(default)]
    pub optional: bool,
    /// The release, if it is to be no other one of the series.
    #[serde(skip)]
    pub exact: Option<String>,
}

fn yes() -> bool {
    true
}

impl Row {
    /// The series as a number.
    ///
    /// # Panics
    ///
    /// Never in a build whose tests pass.
    pub fn series(&self) -> Series {
        let release: Release = self
            .series
            .parse()
            .expect("kernels.toml is checked by a test");
        release.series
    }
}

fn fixture() -> Fixture {
    toml::from_str(FIXTURE).expect("kernels.toml is checked by a test")
}

/// Every Linux of the matrix, oldest first.
///
/// # Panics
///
/// Never in a build whose tests pass: the fixture is part of the program.
pub fn rows() -> Vec<Row> {
    fixture().kernel
}

/// Every kernel of the matrix that is a program.
///
/// # Panics
///
/// Never in a build whose tests pass.
pub fn foreign_rows() -> Vec<ForeignRow> {
    fixture().foreign
}

/// The foreign kernel of this name.
pub fn foreign(name: &str) -> Option<ForeignRow> {
    foreign_rows().into_iter().find(|row| row.name == name)
}

/// Whether the matrix has a kernel of this name.
pub fn is_known(name: &str) -> bool {
    foreign(name).is_some() || rows().iter().any(|row| row.name == name)
}

/// The row of this name.
///
/// # Errors
///
/// Lists the names of the rows, if there is no such row.
pub fn row(name: &str) -> Result<Row, Error> {
    let rows = rows();
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    let unknown = || {
        let foreign = foreign_rows().into_iter().map(|row| row.name);
        let names = names
            .iter()
            .map(|name| (*name).to_owned())
            .chain(foreign)
            .collect::<Vec<_>>()
            .join(", ");
        Error::host(format!(
            "no kernel is called `{name}`: there are {names}, or --kernel PATH for a file of yours"
        ))
    };
    rows.iter()
        .find(|row| row.name == name)
        .cloned()
        .ok_or_else(unknown)
}

/// The row of this name, or one for an exact release of a row's series: `6.1.0-47`, `6.12.43`.
///
/// # Errors
///
/// Lists the names of the rows, if it is neither.
pub fn resolve(name: &str) -> Result<Row, Error> {
    let unknown = match row(name) {
        Ok(row) => return Ok(row),
        Err(unknown) => unknown,
    };
    let Ok(release) = name.parse::<Release>() else {
        return Err(unknown);
    };
    let is_exact = release.patch.is_some() && is_word(name);
    let of_series = rows()
        .into_iter()
        .find(|row| !row.optional && row.series() == release.series);
    of_series
        .filter(|_| is_exact)
        .map(|row| Row {
            name: name.to_owned(),
            exact: Some(name.to_owned()),
            ..row
        })
        .ok_or(unknown)
}

/// Whether a name has only what releases of packages have, so that it can be the name of a directory.
fn is_word(name: &str) -> bool {
    name.chars()
        .all(|letter| letter.is_ascii_alphanumeric() || ".+-~".contains(letter))
}

/// A kernel that can be booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its name in reports.
    pub name: String,
    /// The beginning of its `uname -r`; any release, if empty.
    pub expect: String,
    /// The packages that it comes from, with version and SHA-256 from the signed index.
    pub packages: Vec<Package>,
    /// The file to boot: an ELF with a PVH note, or a bzImage.
    pub boot: PathBuf,
    /// The length of that file, if it was fetched.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// The directory with its modules, if it has any.
    pub modules: Option<PathBuf>,
    /// Whether it is User-mode Linux, a program that needs no emulator.
    #[serde(default)]
    pub user_mode: bool,
}

/// A package as the signed index describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its checksum.
    pub sha256: String,
}

/// Whether a file begins like a kernel that QEMU can start. Only regular files are opened: opening a pipe would wait for its writer.
fn is_bootable(path: &Path) -> io::Result<bool> {
    // The boot protocol's signature of a bzImage.
    const SIGNATURE: (usize, &[u8]) = (0x202, b"HdrS");
    if !path.metadata()?.is_file() {
        return Ok(false);
    }
    let mut start = Vec::new();
    File::open(path)?.take(1024).read_to_end(&mut start)?;
    let (at, text) = SIGNATURE;
    Ok(start.starts_with(b"\x7fELF") || start.get(at..at + text.len()) == Some(text))
}

/// A kernel file of the user, with or without modules.
pub fn own(kernel: &Path, modules: Option<&Path>, expect: Option<&str>) -> Result<Image, Error> {
    let boot = kernel.canonicalize().at(kernel)?;
    if !is_bootable(&boot).at(&boot)? {
        return Err(Error::host(format!(
            "{} is not a kernel: a bzImage or an ELF (vmlinux) is wanted",
            boot.display()
        )));
    }
    let modules = modules
        .map(|path| path.canonicalize().at(path))
        .transpose()?;
    if let Some(directory) = &modules
        && modules::names(directory)?.is_empty()
    {
        return Err(Error::host(format!(
            "{} has no module (a file NAME.ko, perhaps compressed) in it",
            directory.display()
        )));
    }
    let name = boot.file_name().map_or_else(
        || "kernel".into(),
        |name| name.to_string_lossy().into_owned(),
    );
    Ok(Image {
        name,
        expect: expect.unwrap_or_default().to_owned(),
        packages: vec![],
        boot,
        bytes: None,
        modules,
        user_mode: false,
    })
}

/// A row of the matrix.
#[derive(Clone, Debug)]
pub enum Listed {
    /// A kernel of the distribution.
    Linux(Row),
    /// A kernel that is a program.
    Foreign(ForeignRow),
}

/// The rows with these names, or without names all that are not optional.
///
/// # Errors
///
/// A name that is not in the list.
pub fn listed(names: &[String]) -> Result<Vec<Listed>, Error> {
    if names.is_empty() {
        let linux = rows().into_iter().filter(|row| !row.optional);
        let foreign = foreign_rows().into_iter().map(Listed::Foreign);
        return Ok(linux.map(Listed::Linux).chain(foreign).collect());
    }
    let named = names.iter().map(|name| match foreign(name) {
        Some(row) => Ok(Listed::Foreign(row)),
        None => row(name).map(Listed::Linux),
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_fixture_is_a_matrix() {
        let rows = rows();
        let rows: Vec<Row> = rows.into_iter().filter(|row| !row.optional).collect();
        assert!(rows.len() >= 9);
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names.len(), rows.len());
        assert!(
            rows.windows(2)
                .all(|pair| pair[0].series() <= pair[1].series()),
            "oldest first"
        );
    }

    #[test]
    fn an_exact_release_is_of_its_series() {
        let row = resolve("6.1.0-47").expect("a series of the matrix");
        assert_eq!(
            (row.series.as_str(), row.exact.as_deref()),
            ("6.1", Some("6.1.0-47"))
        );
        assert_eq!(resolve("6.1").expect("a row").exact, None);
        for wrong in ["6.99.1", "6.1/../..", "6.1.0-47/x", "", ".."] {
            assert!(resolve(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_right_ones() {
        let error = row("6.99").expect_err("no such kernel").to_string();
        assert!(error.contains("6.99") && error.contains("6.1, "), "{error}");
    }
}
