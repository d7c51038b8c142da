//! The registry: every claim with its experiment, one file for each interface.

mod copy_file_range;
mod copy_file_range_manual;
mod faults;
mod fuse;
mod given_pages;
mod madvise;
mod mmap;
mod mmap_end;
mod mmap_manual;
mod mmap_pages;
mod mmap_peers;
mod mmap_write;
mod mremap;
mod msync;
mod o_direct;
mod pipe;
mod pipe_manual;
mod prelude;
mod read_write;
mod redis;
mod redis_servers;
mod sendfile;
mod sendfile_content;
mod sendfile_manual;
mod sockets_peers;
mod splice;
mod splice_content;
mod splice_manual;
mod splice_peers;
mod tee;
mod tools;
mod vmsplice;
mod vmsplice_manual;
mod vmsplice_memory;
mod waiting;
mod zerocopy;

use crate::claim::Registry;

/// Every claim, in the order of the files.
pub const REGISTRY: Registry = Registry::new(&[
    &[
        read_write::CLAIMS,
        mmap::CLAIMS,
        mmap_manual::CLAIMS,
        mmap_pages::CLAIMS,
        mmap_peers::CLAIMS,
        mmap_end::CLAIMS,
        msync::CLAIMS,
        mremap::CLAIMS,
        madvise::CLAIMS,
        sendfile::CLAIMS,
        sendfile_manual::CLAIMS,
        sendfile_content::CLAIMS,
        splice::CLAIMS,
        splice_manual::CLAIMS,
        splice_content::CLAIMS,
        splice_peers::CLAIMS,
        o_direct::CLAIMS,
        sockets_peers::CLAIMS,
        vmsplice::CLAIMS,
        vmsplice_manual::CLAIMS,
        vmsplice_memory::CLAIMS,
        pipe::CLAIMS,
        pipe_manual::CLAIMS,
        waiting::CLAIMS,
        faults::CLAIMS,
        fuse::CLAIMS,
        given_pages::CLAIMS,
        copy_file_range::CLAIMS,
        copy_file_range_manual::CLAIMS,
        redis::CLAIMS,
        redis_servers::CLAIMS,
    ],
    tee::CLAIMS,
    mmap_write::CLAIMS,
    zerocopy::CLAIMS,
]);
