//! Real servers, and what is said to them.

pub mod link;
pub mod resp;
pub mod servers;
