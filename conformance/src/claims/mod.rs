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
mod zerocopy_manual;
mod zerocopy_old;
mod zerocopy_peers;
mod zerocopy_receive;
mod zerocopy_sends;
mod zerocopy_vsock;

use crate::claim::Registry;

/// Every claim, by interface and subject.
pub const REGISTRY: Registry = Registry::new(&[
    &[
        zerocopy_manual::CLAIMS,
        zerocopy_old::CLAIMS,
        zerocopy_peers::CLAIMS,
        zerocopy_receive::CLAIMS,
        zerocopy_sends::CLAIMS,
        zerocopy_vsock::CLAIMS,
    ],
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
