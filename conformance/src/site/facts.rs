//! What the pages are made of.

use crate::claim::Claim;
use crate::pages::open;
use crate::seed::Document;

/// The registry, the source document, and what is not bracketed.
pub(super) struct Facts {
    pub(super) claims: Vec<&'static Claim>,
    pub(super) document: Document,
    pub(super) edges: Vec<open::Edge>,
}

impl Facts {
    pub(super) fn of(claims: Vec<&'static Claim>) -> Self {
        Self { edges: open::edges(&claims), document: Document::load(), claims }
    }

    pub(super) fn find(&self, id: &str) -> Option<&'static Claim> {
        self.claims.iter().copied().find(|claim| claim.id == id)
    }
}
