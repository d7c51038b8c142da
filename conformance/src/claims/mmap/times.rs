//! The file's times after stores.

use super::{MAPPED, READ, SHARED, SeeMapped, WRITE, about_mmap, map, on_disks, sync};
use crate::claim::source::Source;
use crate::claims::prelude::*;
use crate::lab::filesystems::{Status, set_old_time, wait_past};
use crate::lab::open::sealed_memfd;
use crate::lab::pages::store;

const TIMES: Source = man("mmap(2)", "NOTES, Timestamps changes for file-backed mappings");
const METHOD: &str =
    "Twice sets an old st_mtime, stores a byte, synchronizes, and compares the times before and after.";

pub const CLAIMS: &[Claim] = &[
    about_mmap(
        "mmap.times.disk",
        "On ext4 or xfs, the first store to a shared mapping after msync(MS_SYNC) updates st_mtime and st_ctime before \
         the next one returns.",
    )
    .published(&[TIMES])
    .turned_by(&[Lie::skipped(Sysno::fstat).after(1)])
    .method(METHOD)
    .tried(|lab, see| {
        for (file, name) in on_disks(lab)? {
            after_stores(see, &file, &name)?;
        }
        Ok(())
    }),
    about_mmap(
        "mmap.times.disk-second-store",
        "On ext4 or xfs, a second store to a page before msync(MS_SYNC) updates st_mtime and st_ctime, too.",
    )
    .published(&[TIMES])
    // The status before keeps what it was: all zeros.
    .turned_by(&[Lie::skipped(Sysno::fstat).after(0).where_it(false)])
    .method("Stores a byte, sets an old st_mtime, stores another one, synchronizes, and compares the times.")
    .tried(|lab, see| {
        let (file, name) = on_disks(lab)?.swap_remove(0);
        let area = mapped_page(see, &file, &name)?;
        // SAFETY: the page belongs to this function, and lies in the file.
        unsafe { store(area, b'x') };
        compare(see, &file, area, &mut Status::default(), &format!("the second store, {name}"))
    }),
    about_mmap(
        "mmap.times.memfd",
        "Each store to a shared mapping of a memfd updates st_mtime and st_ctime before msync(MS_SYNC) returns.",
    )
    .published(&[TIMES])
    .turned_by(&[
        Lie::skipped(Sysno::fstat).after(2).where_it(false),
        Lie::skipped(Sysno::fstat).after(1).where_it(true),
    ])
    .method(METHOD)
    .tried(|_lab, see| after_stores(see, &File::from(sealed_memfd(0)?), "memfd")),
];

/// A page of a file that has one, mapped.
fn mapped_page(see: &mut Observation, file: &File, name: &str) -> Result<usize, Stop> {
    aside(|| io::pwrite_all(file, &vec![b'a'; page()], 0)).setup("write the file")?;
    let area = map(file, page(), READ | WRITE, SHARED, 0);
    see.mapped(format!("mmap({name}, PROT_READ|PROT_WRITE, MAP_SHARED)"), area)?.says(MAPPED);
    area.setup("mmap")
}

fn after_stores(see: &mut Observation, file: &File, name: &str) -> Result<(), Stop> {
    let area = mapped_page(see, file, name)?;
    let mut status = Status::default();
    for which in ["first", "second"] {
        compare(see, file, area, &mut status, &format!("the {which} store, {name}"))?;
    }
    Ok(())
}

/// Sets an old `st_mtime`, stores, synchronizes, and compares the times.
fn compare(see: &mut Observation, file: &File, area: usize, status: &mut Status, what: &str) -> Result<(), Stop> {
    set_old_time(file)?;
    let before = status.times(file)?;
    wait_past(before[1]);
    // SAFETY: the page belongs to the caller, and lies in the file.
    unsafe { store(area, b'x') };
    aside(|| sync(area, libc::MS_SYNC)).setup("msync")?;
    let after = status.times(file)?;
    for (time, at) in [("st_mtime", 0), ("st_ctime", 1)] {
        let word = if after[at] == before[at] { "as before" } else { "updated" };
        see.text(format!("{time} after {what}"), word).says("updated");
    }
    Ok(())
}
