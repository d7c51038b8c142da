//! The registry: every claim with its experiment, one file for each interface.

mod copy_file_range;
mod faults;
mod fuse;
mod given_pages;
mod madvise;
mod mmap;
mod mmap_manual;
mod mmap_pages;
mod mmap_write;
mod mremap;
mod msync;
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
mod zerocopy_peers;
mod zerocopy_receive;
mod zerocopy_sends;
mod zerocopy_vsock;

use crate::claim::Registry;

/// Every claim, in the order of the files.
pub const REGISTRY: Registry = Registry::new(&[
    rw::CLAIMS,
    &[
        mmap::CLAIMS,
        mmap_manual::CLAIMS,
        mmap_pages::CLAIMS,
        msync::CLAIMS,
        mremap::CLAIMS,
        madvise::CLAIMS,
        sendfile::CLAIMS,
        sendfile_manual::CLAIMS,
        sendfile_content::CLAIMS,
        sockets_peers::CLAIMS,
        waiting::CLAIMS,
        faults::CLAIMS,
        fuse::CLAIMS,
        given_pages::CLAIMS,
        zerocopy::CLAIMS,
        zerocopy_manual::CLAIMS,
        zerocopy_sends::CLAIMS,
        zerocopy_peers::CLAIMS,
        zerocopy_vsock::CLAIMS,
        zerocopy_receive::CLAIMS,
    ],
    splice::CLAIMS,
    tee::CLAIMS,
    mmap_write::CLAIMS,
    vmsplice::CLAIMS,
    pipe::CLAIMS,
    copy_file_range::CLAIMS,
    redis::CLAIMS,
]);
