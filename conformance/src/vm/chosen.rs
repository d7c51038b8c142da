//! Kernels as the user names them: one meaning for every `--kernel` and `--kernels`.

#![forbid(unsafe_code)]

use crate::run::record::Run;
use crate::run::recorded;
use on_kernel::error::Error;
use on_kernel::kernels::{self, ForeignRow, Image, Listed};
use on_kernel::named::{ALL, Named, can_be_a_file};
use on_kernel::project::Project;
use std::path::Path;

pub use on_kernel::named::Kind;

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

impl Chosen {
    /// The kernel that a text names, by [`Named::find`] with the project of this directory.
    ///
    /// # Errors
    ///
    /// Those of [`Named::find`], or of the project's file.
    pub fn find(text: &str) -> Result<Self, Error> {
        Self::with(text, None, None)
    }

    /// The same, and more about a file: the directory of its modules, and the beginning of its release.
    ///
    /// # Errors
    ///
    /// As for [`find`](Self::find).
    pub fn with(text: &str, modules: Option<&Path>, expect: Option<&str>) -> Result<Self, Error> {
        let here = std::env::current_dir().unwrap_or_default();
        let (project, _) = Project::of(&here)?;
        Named::find(text, modules, expect, &project).map(Self::of)
    }

    fn of(named: Named) -> Self {
        Self { name: named.name, is_named: true, kind: named.kind }
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

    /// Whether it is not Linux.
    pub fn is_gvisor(&self) -> bool {
        self.kind.is_gvisor()
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
        if self.is_gvisor() {
            return Err(Error::host(format!("{} is not a kernel to boot: use `vm run` or `vm exec`", self.name)));
        }
        self.kind.image(&self.name, mirror, say)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::{Environment, Record};
    use crate::verdict::{Judgement, Word};
    use rstest::rstest;

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
        let own = Chosen::of(Named::of_file(Some("mine"), image));
        let judged = own.judged(changed(release));
        assert_eq!(judged.records[0].judgement, Some(Judgement::NewFinding));
    }
}
