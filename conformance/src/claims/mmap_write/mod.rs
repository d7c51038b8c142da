//! `mmap` and `write`.

pub(super) mod copies;
pub(super) mod entries;
pub(super) mod sample;
pub(super) mod zerocopy;
