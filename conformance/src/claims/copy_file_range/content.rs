//! What `copy_file_range` does with holes.

use super::{about_copying, has, manual, range};
use crate::claims::prelude::*;
use crate::lab::filesystems::{Status, file_on};

pub const CLAIMS: &[Claim] = &[about_copying(
    "copy-file-range.content.hole",
    "On ext4, copy_file_range() fills a hole of the source: the target has blocks for it.",
)
.published(&[kernel("fs/read_write.c", "vfs_copy_file_range"), manual("NOTES").leaves_open()])
.turned_by(&[Lie::skipped(Sysno::fstat)])
.tried(|lab, see| {
    let ((source, _), (target, _)) = (file_on(lab, &["ext4"])?, file_on(lab, &["ext4"])?);
    let bytes = [vec![b'a'; page()], vec![0; 16 * page()]].concat();
    aside(|| {
        io::pwrite_all(&source, &bytes[..page()], 0).setup("write the file")?;
        io::truncate(&source, bytes.len() as u64).setup("ftruncate")?;
        source.sync_all().setup("fsync")
    })?;
    let copied = range((&source, 0), (&target, 0), bytes.len());
    see.call("copy_file_range(file of a page and a hole of 16, file)", copied).is(bytes.len());
    has(see, "target", &target, &bytes)?;
    aside(|| target.sync_all()).setup("fsync")?;
    // A block of st_blocks is 512 bytes.
    let data = page() as u64 / 512;
    let [of_source, of_target] = [&source, &target].map(|file| Status::default().blocks(file));
    if of_source? > data {
        return Err(Stop::broken("the source has blocks for its hole"));
    }
    see.whether("the target has blocks for the hole", of_target? >= 17 * data).says("yes");
    Ok(())
})];
