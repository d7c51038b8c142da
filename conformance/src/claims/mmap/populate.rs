//! `MAP_POPULATE`.

use super::{MAPPED, PRIVATE, READ, SeeMapped, TYPES, about_mmap, drop_cache, first_of, is_mapped, map, on_disks};
use crate::claims::prelude::*;
use crate::lab::open::sealed_memfd;
use crate::lab::pages::{account, lettered, resident, touch};

const POPULATE: usize = libc::MAP_POPULATE as usize;
const PAGES: usize = 16;

pub const CLAIMS: &[Claim] = &[
    about_mmap(
        "mmap.populate.resident",
        "After mmap(MAP_POPULATE) of a memfd, shared or private, all its pages are in memory and in the page table.",
    )
    .published(&[man("mmap(2)", "DESCRIPTION, MAP_POPULATE")])
    .turned_by(&[Lie::about(Sysno::mincore, What::Output { argument: 2, value: 0 })])
    .varying(&["ext4: pages in memory", "xfs: pages in memory"])
    .method("Sixteen pages of a new file. Of a file on a disk, which may stay in memory, the facts decide nothing.")
    .tried(|lab, see| {
        let all = format!("{PAGES}, Rss {} kB", PAGES * page() / 1024);
        for (kind, flags) in TYPES {
            let file = File::from(sealed_memfd(0)?);
            aside(|| io::truncate(&file, (PAGES * page()) as u64)).setup("ftruncate")?;
            see.text(format!("memfd, {kind}: pages in memory"), in_memory(&file, flags)?).says("0, Rss 0 kB");
            let populated = in_memory(&file, flags | POPULATE)?;
            see.text(format!("memfd, {kind}, MAP_POPULATE: pages in memory"), populated).says(&all);
        }
        for (file, name) in aside(|| on_disks(lab)).unwrap_or_default() {
            aside(|| io::pwrite_all(&file, &vec![b'a'; PAGES * page()], 0)).setup("write a file")?;
            aside(|| drop_cache(&file))?;
            see.text(format!("{name}: pages in memory"), in_memory(&file, PRIVATE)?);
            see.text(format!("{name}, MAP_POPULATE: pages in memory"), in_memory(&file, PRIVATE | POPULATE)?);
        }
        Ok(())
    }),
    about_mmap("mmap.populate.behind-the-end", "mmap(MAP_POPULATE) of four pages of a file of one page succeeds.")
        .published(&[
            man("mmap(2)", "DESCRIPTION, MAP_POPULATE"),
            gvisor("mmap.cc", "MMapFileParamTest.MapPopulateShort"),
        ])
        .turned_by(&[Lie::refused(Sysno::mmap, libc::EFAULT), Lie::bytes(Sysno::read, b'a', 0)])
        .tried(|lab, see| {
            let file = lettered(lab, 1)?;
            for (kind, flags) in TYPES {
                let area = map(&file, 4 * page(), READ, flags | POPULATE, 0);
                see.mapped(format!("mmap(four pages of one, MAP_POPULATE, {kind})"), area)?.says(MAPPED);
                see.text(format!("first byte, {kind}"), first_of(area)?).says('a');
                let fourth = area.map_or(io::NOWHERE, |area| area + 3 * page());
                see.call(format!("write(pipe, fourth page, {kind})"), touch(fourth)?);
            }
            Ok(())
        }),
];

/// Maps a file: how many of its pages are in memory by `mincore`, and how much of the mapping is in the page table.
fn in_memory(file: &File, flags: usize) -> Result<String, Stop> {
    match map(file, PAGES * page(), READ, flags, 0) {
        Ok(area) if is_mapped(area)? => Ok(format!("{}, Rss {}", resident(area, PAGES)?, account(area, "Rss")?)),
        other => Ok(format!("{other:?}")),
    }
}
