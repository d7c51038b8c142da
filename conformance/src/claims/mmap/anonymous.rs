//! Memory of no file.

use super::{MAPPED, PRIVATE, READ, SHARED, SeeMapped, about_mmap, map_anonymous};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[about_mmap(
    "mmap.anonymous.type",
    "mmap(MAP_ANONYMOUS) fails with EINVAL with neither MAP_SHARED nor MAP_PRIVATE, and with both.",
)
.published(&[
    man("mmap(2)", "ERRORS, EINVAL"),
    // Both flags together are MAP_SHARED_VALIDATE.
    man("mmap(2)", "DESCRIPTION, MAP_SHARED_VALIDATE").denies().since("4.15"),
    gvisor("mmap.cc", "MMapTest.NotPrivateOrShared"),
    gvisor("mmap.cc", "MMapTest.PrivateAndShared"),
])
.tried(|_lab, see| {
    let with = |flags| map_anonymous(page(), READ, flags);
    see.mapped("mmap(MAP_ANONYMOUS)", with(0))?.fails(EINVAL);
    see.mapped("mmap(MAP_ANONYMOUS|MAP_SHARED|MAP_PRIVATE)", with(SHARED | PRIVATE))?.fails(EINVAL);
    see.mapped("mmap(MAP_ANONYMOUS|MAP_PRIVATE)", with(PRIVATE))?.says(MAPPED);
    Ok(())
})];
