//! Pages that are made from the registry and the known verdicts.

pub mod catalogue;
pub mod coverage;
pub mod open;
