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
    let file = File::from(sealed_memfd(0)?);
    aside(|| io::truncate(&file, page() as u64)).setup("ftruncate")?;
    for (kind, flags) in TYPES {
        for of_file in [true, false] {
            let (mut shown, mut expected) = (Vec::new(), Vec::new());
            for protection in 0..=(READ | WRITE | EXECUTE) {
                let area = if of_file {
                    map(&file, page(), protection, flags, 0)
                } else {
                    map_anonymous(page(), protection, flags)
                };
                shown.push(match area {
                    Ok(area) => mapping_at(area)?.map_or("none".to_owned(), |found| found.access),
                    Err(errno) => format!("{errno:?}"),
                });
                let given = [(READ, 'r'), (WRITE, 'w'), (EXECUTE, 'x')];
                let given = given.iter().map(|(bit, letter)| if protection & bit == 0 { '-' } else { *letter });
                expected.push(given.chain(kind.chars().take(1)).collect::<String>());
            }
            let what = if of_file { "a memfd" } else { "no file" };
            see.text(format!("{kind} mappings of {what}"), shown.join(" ")).says(expected.join(" "));
        }
    }
    Ok(())
})];
