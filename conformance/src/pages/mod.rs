//! Pages that are made of the registry and of what is known of it.

pub mod catalogue;
pub mod coverage;
pub mod open;
