//! `MAP_POPULATE`.

use super::{MAPPED, PRIVATE, READ, SeeMemory, TYPES, about_mmap, drop_cache, map, on_disks};
use crate::claims::prelude::*;
use crate::lab::open::sealed_memfd;
use crate::lab::pages::{account, lettered, resident, touch};

const POPULATE: usize = libc::MAP_POPULATE as usize;
const PAGES: usize = 16;

pub const CLAIMS: &[Claim] = &[
    about_mmap(
        "mmap.populate.resident",
        "mmap(MAP_POPULATE) of a memfd, shared or private, has all its pages in memory when it returns.",
    )
    .published(&[man("mmap(2)", "DESCRIPTION, MAP_POPULATE"), ltp("mmap12.c", "page_check")])
    .turned_by(&[Lie::about(Sysno::mincore, What::Output { argument: 2, value: 0 })])
    .tried(|lab, see| {
        for (kind, flags) in TYPES {
            let file = File::from(sealed_memfd(0)?);
            aside(|| io::truncate(&file, (PAGES * page()) as u64)).setup("ftruncate")?;
            in_memory(see, &file, &format!("memfd, {kind}"), flags, Some(0))?;
            in_memory(see, &file, &format!("memfd, {kind}, MAP_POPULATE"), flags | POPULATE, Some(PAGES))?;
        }
        // A file on a disk is not always dropped from memory, so that its facts decide nothing.
        for (file, name) in aside(|| on_disks(lab)).unwrap_or_default() {
            aside(|| io::pwrite_all(&file, &vec![b'a'; PAGES * page()], 0)).setup("write a file")?;
            aside(|| drop_cache(&file))?;
            in_memory(see, &file, &name, PRIVATE, None)?;
            in_memory(see, &file, &format!("{name}, MAP_POPULATE"), PRIVATE | POPULATE, None)?;
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
                see.letter(format!("first page, {kind}"), area)?.says('a');
                let fourth = area.map_or(io::NOWHERE, |area| area + 3 * page());
                see.call(format!("write(pipe, fourth page, {kind})"), touch(fourth)?).fails(EFAULT);
            }
            Ok(())
        }),
];

/// Maps a file, and notes how many of its pages are in memory, and in the page table.
fn in_memory(
    see: &mut Observation,
    file: &File,
    name: &str,
    flags: usize,
    expected: Option<usize>,
) -> Result<(), Stop> {
    let area = map(file, PAGES * page(), READ, flags, 0);
    see.mapped(format!("mmap({name})"), area)?.says(MAPPED);
    let area = area.setup("mmap")?;
    let count = see.count(format!("pages in memory, {name}"), resident(area, PAGES)?);
    expected.map(|expected| count.is(expected));
    let rss = account(area, "Rss")?;
    let noted = see.text(format!("Rss of the mapping, {name}"), rss);
    expected.map(|expected| noted.says(format!("{} kB", expected * page() / 1024)));
    Ok(())
}
