//! The registry: every claim with its experiment. The path is the id: `splice.source.alg` is in `splice/source.rs`.

mod copy_file_range;
mod faults;
mod fuse;
mod given_pages;
mod mmap;
mod mmap_write;
mod pipe;
mod prelude;
mod redis;
mod rw;
mod sendfile;
mod sendfile_content;
mod sendfile_manual;
mod sockets_peers;
mod splice;
mod tee;
mod tools;
mod vmsplice;
mod waiting;
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
        faults::CLAIMS,
        fuse::CLAIMS,
        given_pages::CLAIMS,
        sendfile::CLAIMS,
        sendfile_content::CLAIMS,
        sendfile_manual::CLAIMS,
        sockets_peers::CLAIMS,
        waiting::CLAIMS,
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
    splice::CLAIMS,
    tee::CLAIMS,
    vmsplice::CLAIMS,
    pipe::CLAIMS,
    copy_file_range::CLAIMS,
    zerocopy::CLAIMS,
    redis::CLAIMS,
]);
