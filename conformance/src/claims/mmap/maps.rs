//! `/proc/self/maps`.

use super::{EXECUTE, READ, TYPES, WRITE, about_mmap, map, map_anonymous};
use crate::claims::prelude::*;
use crate::lab::open::sealed_memfd;
use crate::lab::pages::mapping_at;

pub const CLAIMS: &[Claim] = &[about_mmap(
    "mmap.maps.shown",
    "/proc/self/maps shows each mapping with the protection and the type given to mmap().",
)
.published(&[man("proc_pid_maps(5)", "DESCRIPTION"), ltp("mmap04.c", "anonymous mappings")])
.turned_by(&[Lie::bytes(Sysno::read, b'x', b'-'), Lie::bytes(Sysno::read, b'p', b's')])
.method("Maps a memfd and anonymous memory with each of the eight protections, and looks each mapping up.")
.tried(|_lab, see| {
    let file = sealed_memfd(0)?;
    for (kind, flags) in TYPES {
        let shown = |map: &dyn Fn(usize) -> Result<usize, Errno>| {
            let each = (0..=(READ | WRITE | EXECUTE)).map(|protection| match map(protection) {
                Ok(area) => Ok(mapping_at(area)?.map_or("none".to_owned(), |found| found.access)),
                Err(errno) => Ok(format!("{errno:?}")),
            });
            Ok(each.collect::<Result<Vec<String>, Stop>>()?.join(" "))
        };
        let expected = "--- r-- -w- rw- --x r-x -wx rwx".replace(' ', &format!("{} ", &kind[..1])) + &kind[..1];
        let of_memfd = shown(&|protection| map(&file, page(), protection, flags, 0))?;
        see.text(format!("{kind} mappings of a memfd"), of_memfd).says(&expected);
        let anonymous = shown(&|protection| map_anonymous(page(), protection, flags))?;
        see.text(format!("{kind} mappings of no file"), anonymous).says(&expected);
    }
    Ok(())
})];
