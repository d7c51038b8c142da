//! `MAP_LOCKED`.

use super::{MAPPED, PRIVATE, READ, SeeMapped, about_mmap, lock, map, mapped, unmap};
use crate::claims::prelude::*;
use crate::lab::pages::lettered;

const LOCKED: usize = libc::MAP_LOCKED as usize;

pub const CLAIMS: &[Claim] = &[about_mmap(
    "mmap.locked.counted",
    "mmap(MAP_LOCKED) of four pages of a file adds their size to VmLck of /proc/self/status.",
)
.published(&[man("mlock(2)", "VERSIONS, Linux"), man("mmap(2)", "DESCRIPTION, MAP_LOCKED")])
.turned_by(&[Lie::bytes(Sysno::read, b'6', b'7')])
.sharing(&[Resource::UserMemlock])
.tried(|lab, see| {
    let file = lettered(lab, 4)?;
    // RLIMIT_MEMLOCK must allow it.
    let area = mapped(&file, 4, READ, PRIVATE)?;
    for index in 0..4 {
        lock(area + index * page())?;
    }
    aside(|| unmap(area, 4 * page())).setup("munmap")?;
    let before = locked()?;
    see.mapped("mmap(four pages, MAP_LOCKED)", map(&file, 4 * page(), READ, PRIVATE | LOCKED, 0))?.says(MAPPED);
    see.count("KiB added to VmLck", locked()?.saturating_sub(before)).is(4 * page() / 1024);
    Ok(())
})];

/// The process's locked memory in KiB.
fn locked() -> Result<u64, Stop> {
    let text = std::fs::read_to_string("/proc/self/status").setup("read /proc/self/status")?;
    let field = text.lines().find_map(|line| line.strip_prefix("VmLck:"));
    let number = field.and_then(|field| field.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| {
        Stop::untestable(Lack::Kernel, "/proc/self/status has no VmLck", "use a kernel that counts locked memory there")
    })
}
