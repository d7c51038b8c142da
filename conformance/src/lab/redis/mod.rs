//! Real servers, and the protocol that is spoken with them.

pub mod link;
pub mod resp;
pub mod roles;
pub mod servers;
