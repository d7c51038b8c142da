//! Maps cells to the claims that decide them. A cell needs a claim if kernels of the matrix answer it differently, or if the
//! answer differs from a document.
//!
//! `fixtures/grids/cells.toml` has the list. A test compares it with the [records](super::records) in both directions. A new
//! record with another answer needs a claim, and an entry whose cells have become the same on all kernels must be removed.

#![forbid(unsafe_code)]

use serde::Deserialize;
use std::collections::BTreeSet;

/// `fixtures/grids/cells.toml`, as it was when the program was built.
const FIXTURE: &str = include_str!("../../../fixtures/grids/cells.toml");

/// All entries.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cells {
    /// The entries, in the order of the file.
    #[serde(rename = "cells")]
    pub entries: Vec<Entry>,
}

/// The cells in these rows and columns, with their claims.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The grid.
    pub grid: String,
    /// The rows' names.
    pub rows: Vec<String>,
    /// The columns' names.
    pub columns: Vec<String>,
    /// The claims that decide these cells.
    pub claims: Vec<String>,
    /// The document from which the cells differ. `None` if kernels differ.
    pub document: Option<String>,
    /// A summary of what the document says.
    pub says: Option<String>,
}

/// One cell: its grid, its row, its column.
pub type Cell<'entry> = (&'entry str, &'entry str, &'entry str);

impl Entry {
    /// The cells of the entry.
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
    /// Never, if the tests pass: the fixture is part of the program, and a test parses it.
    pub fn load() -> Self {
        Self::parse(FIXTURE).expect("fixtures/grids/cells.toml is checked by a test")
    }

    /// Parses a document in this format.
    ///
    /// # Errors
    ///
    /// A description of the first mistake.
    pub fn parse(text: &str) -> Result<Self, String> {
        let cells: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut known = BTreeSet::new();
        for entry in &cells.entries {
            if entry.claims.is_empty() || entry.cells().next().is_none() {
                return Err(format!("{entry:?} has no cell or no claim"));
            }
            if entry.document.is_some() != entry.says.is_some() {
                return Err(format!("{entry:?} has a document or what it says, not both"));
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
