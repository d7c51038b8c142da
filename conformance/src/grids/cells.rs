//! Which claims decide the cells that are worth one: those that are not the same on every kernel of the matrix, and those that
//! are not what a document says.
//!
//! `fixtures/grids/cells.toml` names them. A test compares it with the [records](super::records) both ways: whoever records a
//! kernel that answers otherwise has to write the claim, and a cell that has become the same everywhere has to go.

#![forbid(unsafe_code)]

use serde::Deserialize;
use std::collections::BTreeSet;

/// `fixtures/grids/cells.toml`, as it was when the program was built.
const FIXTURE: &str = include_str!("../../../fixtures/grids/cells.toml");

/// Every cell with claims.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cells {
    /// In the order of the file.
    #[serde(rename = "cells")]
    pub entries: Vec<Entry>,
}

/// The cells that are in these rows and these columns.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The grid.
    pub grid: String,
    /// The rows' names.
    pub rows: Vec<String>,
    /// The columns' names.
    pub columns: Vec<String>,
    /// The claims that decide what is in them.
    pub claims: Vec<String>,
    /// The document from which they differ. Without one, kernels differ.
    pub document: Option<String>,
    /// What that says, in our words.
    pub says: Option<String>,
}

/// One cell: its grid, its row, its column.
pub type Cell<'entry> = (&'entry str, &'entry str, &'entry str);

impl Entry {
    /// Its cells.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        self.rows.iter().flat_map(move |row| {
            let columns = self.columns.iter();
            columns.map(move |column| (self.grid.as_str(), row.as_str(), column.as_str()))
        })
    }
}

impl Cells {
    /// Reads the fixture.
    ///
    /// # Panics
    ///
    /// Never in a build whose tests pass: the fixture is part of the program.
    pub fn load() -> Self {
        Self::parse(FIXTURE).expect("fixtures/grids/cells.toml is checked by a test")
    }

    /// Reads a document of this form.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let cells: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut known = BTreeSet::new();
        for entry in &cells.entries {
            if entry.claims.is_empty() || entry.cells().next().is_none() {
                return Err(format!("{entry:?} has no cell or no claim"));
            }
            if entry.document.is_some() != entry.says.is_some() {
                return Err(format!(
                    "{entry:?} has a document or what it says, not both"
                ));
            }
            for cell in entry.cells() {
                if !known.insert((cell, entry.document.is_some())) {
                    return Err(format!("{cell:?} is there twice"));
                }
            }
        }
        Ok(cells)
    }

    /// The claims that decide a cell.
    pub fn claims(&self, cell: Cell<'_>) -> Vec<&str> {
        let entries = self.entries.iter();
        let of_cell = entries.filter(|entry| entry.cells().any(|other| other == cell));
        let mut claims = Vec::new();
        for claim in of_cell.flat_map(|entry| &entry.claims) {
            if !claims.contains(&claim.as_str()) {
                claims.push(claim.as_str());
            }
        }
        claims
    }
}
