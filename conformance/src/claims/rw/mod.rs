//! `read` and `write`, with which the other calls are compared.

pub(super) mod copies;
pub(super) mod dma;
pub(super) mod entries;
pub(super) mod faults;
pub(super) mod switches;
pub(super) mod write;
