//! Ids that are not claims any more, with what became of them. An id is never used again.

#![forbid(unsafe_code)]

use serde::Deserialize;
use std::sync::LazyLock;

/// An id that is no longer a claim, or the number of a statement that is no longer one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    /// The id.
    pub id: String,
    /// The claim that decides the same, if there is one.
    pub successor: Option<String>,
    /// Why it was retired, in a clause.
    pub because: String,
}

/// Every retired id: `fixtures/retired.toml`.
///
/// # Panics
///
/// Never in a build whose tests pass: the list is part of the program.
pub fn all() -> &'static [Retired] {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        retired: Vec<Retired>,
    }
    static ALL: LazyLock<Vec<Retired>> = LazyLock::new(|| {
        let file: File =
            toml::from_str(include_str!("../../../fixtures/retired.toml")).expect("fixtures/retired.toml is valid");
        file.retired
    });
    &ALL
}

/// What became of an id.
pub fn find(id: &str) -> Option<&'static Retired> {
    all().iter().find(|retired| retired.id == id)
}

impl Retired {
    /// The reason and the successor, in a clause.
    pub fn words(&self) -> String {
        match &self.successor {
            Some(successor) => format!("{}; see `{successor}`", self.because),
            None => self.because.clone(),
        }
    }
}
