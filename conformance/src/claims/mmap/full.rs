//! Stores for which a disk has no room.

use super::{DONE, READ, SHARED, SIGBUS, WRITE, about_mmap, byte_of, drop_cache, mapped, store_in_child, unmap};
use crate::claims::prelude::*;
use crate::lab::pages::{UNHARMED, store};
use crate::lab::{ext4, mounts};

pub const CLAIMS: &[Claim] = &[about_mmap(
    "mmap.full.hole",
    "On a full ext4 with blocks of 1 KiB, a store into a hole of a mapped file raises SIGBUS, with delalloc \
     and with nodelalloc; one with room is kept.",
)
.published(&[
    ltp("mmap16.c", "run_single"),
    commit("d6320cbfc929", "ext4: fix mmap data corruption when blocksize < pagesize"),
    commit("0572639ff66d", "ext4: fix mmap data corruption in nodelalloc mode when blocksize < pagesize"),
])
.turned_by(&[UNHARMED, Lie::bytes(Sysno::pread64, b'z', 0)])
.modules(&["loop", "ext4"])
.method(
    "Stores past the first block of a mapped file that was made a page long; stores again when there is room, and \
     reads what is on the disk.",
)
.tried(|_lab, see| {
    for option in [c"delalloc", c"nodelalloc"] {
        let name = option.to_string_lossy();
        let mount = ext4::mount(&[option])?;
        let unnamed = || aside(|| mounts::unnamed_file(&mount)).setup("create a file");
        let (file, filler) = (unnamed()?, unnamed()?);
        aside(|| io::pwrite_all(&file, &[b'a'; ext4::BLOCK], 0)).setup("write the file")?;
        let area = mapped(&file, 1, READ | WRITE, SHARED)?;
        // SAFETY: the page belongs to this function, and the byte lies in the file.
        unsafe { store(area, b'b') };
        aside(|| io::truncate(&file, page() as u64)).setup("ftruncate")?;
        let full = aside(|| fill(&filler))?;
        see.call(format!("pwrite() when full, {name}"), full);
        if full != Err(ENOSPC) {
            return Err(Stop::broken("the file system is not full"));
        }
        let hole = area + ext4::BLOCK;
        see.text(format!("store into the hole, {name}"), store_in_child(hole, b'z')?).says(SIGBUS);
        aside(|| io::truncate(&filler, 0)).setup("ftruncate")?;
        aside(|| filler.sync_all()).setup("fsync")?;
        see.text(format!("store with room, {name}"), store_in_child(hole, b'z')?).says(DONE);
        aside(|| unmap(area, page())).setup("munmap")?;
        aside(|| drop_cache(&file))?;
        see.text(format!("byte on the disk, {name}"), byte_of(&file, ext4::BLOCK)?).says('z');
    }
    Ok(())
})];

/// Writes blocks until there is no room even after a write-back. Returns the result of the last write.
fn fill(filler: &File) -> Result<Result<usize, Errno>, Stop> {
    let (block, mut end, mut synced) = ([b'f'; ext4::BLOCK], 0, None);
    loop {
        match io::pwrite(filler, &block, end) {
            Ok(count @ 1..) => end += count as u64,
            Err(errno @ (EPERM | EIO)) => return Err(Stop::from_setup("fill the file system", errno)),
            last if synced == Some(end) => return Ok(last),
            _ => {
                filler.sync_all().setup("fsync")?;
                synced = Some(end);
            }
        }
    }
}
