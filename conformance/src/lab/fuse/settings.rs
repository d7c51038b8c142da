//! Settings of the FUSE server.

/// The file that exists from the beginning.
pub const FILE: &str = "file";

/// How the server differs from a plain file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Reads and writes bypass the page cache: `FOPEN_DIRECT_IO`, `direct_io` in libfuse.
    pub direct_io: bool,
    /// It reports a size of zero for every file, as servers do that generate the content when it is read.
    pub hides_sizes: bool,
    /// With `hides_sizes`, it reports this size in place of zero.
    pub shown_size: u64,
    /// It answers no read before `Fuse::answer` is called.
    pub withholds_reads: bool,
    /// It takes this many bytes of a file. A write past this offset fails with `EDQUOT`.
    pub quota: Option<usize>,
}
