//! Pages that are made from the registry and the known verdicts.

#![forbid(unsafe_code)]

pub mod coverage;
pub mod open;
pub mod registry;
pub mod search;
