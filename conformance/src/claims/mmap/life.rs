//! What a mapping outlives, and who shares it.

use super::{DONE, MAPPED, PRIVATE, READ, SHARED, SeeMapped, TYPES, WRITE, about_mmap, map, store_in_child};
use crate::claims::prelude::*;
use crate::lab::pages::{letter, lettered, letters};

pub const CLAIMS: &[Claim] = &[
    about_mmap("mmap.life.descriptor-closed", "A mapping still shows the file after its descriptor has been closed.")
        .published(&[man("mmap(2)", "DESCRIPTION, munmap()")])
        .turned_by(&[Lie::bytes(Sysno::read, b'b', 0)])
        .tried(|lab, see| {
            for (name, flags) in TYPES {
                let file = lettered(lab, 2)?;
                let area = map(&file, 2 * page(), READ, flags, 0);
                see.mapped(format!("mmap(file, {name})"), area)?.says(MAPPED);
                drop(file);
                see.text(format!("{name} pages after close(file)"), letters(area.setup("mmap")?, 2)?).says("ab");
            }
            Ok(())
        }),
    about_mmap(
        "mmap.life.fork",
        "After fork(), the child's store shows in the parent's shared mapping of a file, and not in its private one.",
    )
    .published(&[man("mmap(2)", "DESCRIPTION, MAP_SHARED"), man("mmap(2)", "DESCRIPTION, MAP_PRIVATE")])
    .turned_by(&[Lie::bytes(Sysno::read, b'b', b'a'), Lie::bytes(Sysno::read, b'a', b'b')])
    .tried(|lab, see| {
        let file = lettered(lab, 1)?;
        // The private mapping comes first, because a store to the shared one changes the file.
        for (name, flags, byte) in [("private", PRIVATE, 'a'), ("shared", SHARED, 'b')] {
            let area = map(&file, page(), READ | WRITE, flags, 0);
            see.mapped(format!("mmap({name})"), area)?.says(MAPPED);
            let area = area.setup("mmap")?;
            see.text(format!("store to the {name} mapping in a child"), store_in_child(area, b'b')?).says(DONE);
            see.text(format!("{name} mapping after the child's store"), letter(area)?).says(byte);
        }
        Ok(())
    }),
];
