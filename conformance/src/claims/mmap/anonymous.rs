//! Memory of no file.

use super::{MAPPED, PRIVATE, READ, SHARED, SeeMemory, about_mmap, map_anonymous};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[about_mmap(
    "mmap.anonymous.type",
    "mmap(MAP_ANONYMOUS) fails with EINVAL with neither MAP_SHARED nor MAP_PRIVATE, and with both.",
)
.published(&[
    gvisor("mmap.cc", "MMapTest.NotPrivateOrShared, MMapTest.PrivateAndShared"),
    kernel("mm/mmap.c", "do_mmap"),
])
.tried(|_lab, see| {
    see.mapped("mmap(MAP_ANONYMOUS)", map_anonymous(page(), READ, 0))?.fails(EINVAL);
    let both = map_anonymous(page(), READ, SHARED | PRIVATE);
    see.mapped("mmap(MAP_ANONYMOUS|MAP_SHARED|MAP_PRIVATE)", both)?.fails(EINVAL);
    see.mapped("mmap(MAP_ANONYMOUS|MAP_PRIVATE)", map_anonymous(page(), READ, PRIVATE))?.says(MAPPED);
    Ok(())
})];
