//! `on-kernel.toml`: the kernels and the defaults of a project.

#![forbid(unsafe_code)]

use crate::error::{Context, Error};
use nocopy_host::input;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The name of the file. The one in the working directory or the nearest directory above it is read.
pub const FILE: &str = "on-kernel.toml";

/// What can be said of guests, by default or of one kernel. Paths in the file are relative to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Defaults {
    /// Memory in MiB.
    pub memory: Option<u32>,
    /// The limit in seconds.
    pub timeout: Option<u64>,
    /// The file systems of the disks.
    pub disks: Option<Vec<String>>,
    /// Whether there are two network cards.
    pub network: Option<bool>,
    /// Whether a guest is kept for further commands.
    pub keep: Option<bool>,
    /// Added to the kernel's command line.
    pub append: Option<String>,
    /// Files and directories to bring: `PATH`, or `PATH:GUEST_PATH`.
    pub with: Vec<String>,
    /// Variables: `NAME`, or `NAME=VALUE`.
    pub env: Vec<String>,
    /// Modules to load.
    pub load: Vec<String>,
}

/// A kernel of the project.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Kernel {
    /// A kernel of the distribution.
    pub kernel: Option<String>,
    /// A kernel file.
    pub path: Option<PathBuf>,
    /// The directory of its modules.
    pub modules: Option<PathBuf>,
    /// The beginning of its release.
    pub expect: Option<String>,
    /// What is otherwise for it.
    #[serde(default)]
    pub defaults: Defaults,
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Project {
    /// What holds for every kernel.
    pub defaults: Defaults,
    /// Kernels by name.
    pub kernels: BTreeMap<String, Kernel>,
}

impl Project {
    /// The project of a directory, with the path of its file. Without a file it says nothing.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or says what is not known, or a kernel is neither one of the distribution nor a file.
    pub fn of(directory: &Path) -> Result<(Self, Option<PathBuf>), Error> {
        let mut above = directory.ancestors().map(|above| above.join(FILE));
        let Some(path) = above.find(|path| path.exists()) else {
            return Ok((Self::default(), None));
        };
        let mut text = String::new();
        let mut file = input::open(&path).at(&path)?;
        file.read_to_string(&mut text).at(&path)?;
        let root = path.parent().unwrap_or(Path::new("/"));
        let project = Self::read(&text, root).map_err(|why| {
            let path = path.display();
            Error::host(format!("{path}: {why}"))
        })?;
        Ok((project, Some(path)))
    }

    fn read(text: &str, root: &Path) -> Result<Self, String> {
        let mut project: Self = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            format!("line {line}: {}", error.message())
        })?;
        project.defaults.check()?;
        project.defaults.relative_to(root);
        for (name, kernel) in &mut project.kernels {
            match (&kernel.kernel, &kernel.path) {
                (Some(_), None) if kernel.modules.is_none() && kernel.expect.is_none() => {}
                (Some(_), None) => {
                    return Err(format!(
                        "`{name}`: a kernel of the distribution has modules and a release of its own; leave out `modules` and `expect`"
                    ));
                }
                (None, Some(_)) => {}
                _ => return Err(format!("`{name}` needs `kernel` or `path`, and not both")),
            }
            for path in [&mut kernel.path, &mut kernel.modules]
                .into_iter()
                .flatten()
            {
                *path = root.join(&path);
            }
            kernel.defaults.check()?;
            kernel.defaults.relative_to(root);
        }
        Ok(project)
    }
}

impl Defaults {
    /// The limits of the options.
    fn check(&self) -> Result<(), String> {
        match (self.memory, self.timeout) {
            (Some(..128), _) => Err("`memory` is at least 128 (MiB)".to_owned()),
            (_, Some(0)) => Err("`timeout` is at least 1 (seconds)".to_owned()),
            _ => Ok(()),
        }
    }

    fn relative_to(&mut self, root: &Path) {
        for with in &mut self.with {
            *with = root.join(&*with).display().to_string();
        }
    }

    /// These, and where they say nothing, the others. Lists are joined, the others' first.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            memory: self.memory.or(other.memory),
            timeout: self.timeout.or(other.timeout),
            disks: self.disks.or(other.disks),
            network: self.network.or(other.network),
            keep: self.keep.or(other.keep),
            append: self.append.or(other.append),
            with: [other.with, self.with].concat(),
            env: [other.env, self.env].concat(),
            load: [other.load, self.load].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;
    use rstest::rstest;

    const WHOLE: &str = r#"
[defaults]
memory = 2048
timeout = 600
keep = true
with = ["data:/data"]
env = ["A"]

[kernels.mine]
path = "build/bzImage"
modules = "build/modules"
expect = "6.15"
defaults = { memory = 4096, env = ["B=1"] }

[kernels.lts]
kernel = "6.12"
"#;

    #[test]
    fn paths_are_relative_to_the_file_and_a_kernel_has_the_last_word() {
        let project = Project::read(WHOLE, Path::new("/p")).expect("a project");
        let mine = &project.kernels["mine"];
        assert_eq!(mine.path.as_deref(), Some(Path::new("/p/build/bzImage")));
        assert_eq!(mine.modules.as_deref(), Some(Path::new("/p/build/modules")));
        let both = mine.defaults.clone().or(project.defaults.clone());
        assert_eq!(
            (both.memory, both.timeout, both.keep),
            (Some(4096), Some(600), Some(true))
        );
        assert_eq!(both.with, ["/p/data:/data"]);
        assert_eq!(both.env, ["A", "B=1"]);
    }

    #[rstest]
    #[case("[defaults]\nmemroy = 1", "line 2: unknown field `memroy`")]
    #[case("[kernels.a]", "`a` needs `kernel` or `path`")]
    #[case("[kernels.a]\nkernel = \"6.1\"\npath = \"x\"", "and not both")]
    #[case(
        "[kernels.a]\nkernel = \"6.1\"\nmodules = \"x\"",
        "leave out `modules`"
    )]
    #[case("[kernels", "line 1")]
    #[case("[defaults]\nmemory = 1", "at least 128")]
    #[case(
        "[kernels.a]\nkernel = \"6.1\"\ndefaults = { timeout = 0 }",
        "at least 1"
    )]
    fn what_is_wrong_is_said(#[case] text: &str, #[case] part: &str) {
        let error = Project::read(text, Path::new("/")).expect_err("wrong");
        assert!(error.contains(part), "{error}");
    }

    quickcheck! {
        fn no_text_makes_it_panic(text: String) -> bool {
            Project::read(&text, Path::new("/")).is_ok() || Project::read(&text, Path::new("/")).is_err()
        }
    }
}
