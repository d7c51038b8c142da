//! What a server is told to do.

/// The file that is there from the beginning.
pub const FILE: &str = "file";

/// What the server does otherwise than a plain file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// It has reads and writes made past the page cache: `FOPEN_DIRECT_IO`, libfuse's `direct_io`.
    pub direct_io: bool,
    /// It says of every file that it has no bytes, as those do that make up what is read.
    pub hides_sizes: bool,
    /// It answers no read before `Fuse::answer`.
    pub withholds_reads: bool,
    /// It takes this many bytes of a file: what goes on from there is `EDQUOT`.
    pub quota: Option<usize>,
}
