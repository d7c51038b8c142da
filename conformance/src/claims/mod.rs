//! The registry: every claim with its experiment. The path is the id: `splice.source.alg` is in `splice/source.rs`.

mod copy_file_range;
mod mmap;
mod mmap_write;
mod pipe;
pub mod prelude;
mod redis;
mod rw;
mod sendfile;
mod splice;
mod tee;
pub mod tools;
mod vmsplice;
mod zerocopy;

use crate::claim::Registry;

/// Every claim, by interface and subject.
pub const REGISTRY: Registry = Registry::new(&[
    rw::CLAIMS,
    mmap::CLAIMS,
    mmap_write::CLAIMS,
    sendfile::CLAIMS,
    splice::CLAIMS,
    tee::CLAIMS,
    vmsplice::CLAIMS,
    pipe::CLAIMS,
    copy_file_range::CLAIMS,
    zerocopy::CLAIMS,
    redis::CLAIMS,
]);
