//! Mappings of sealed files.

use super::{MAPPED, PRIVATE, READ, SHARED, SeeMapped, WRITE, about_mmap, map, protect};
use crate::claims::prelude::*;
use crate::lab::open::sealed_memfd;

pub const CLAIMS: &[Claim] = &[about_mmap(
    "mmap.sealed.write",
    "With F_SEAL_WRITE, a memfd can be mapped privately, and shared for reading; shared for writing fails with EPERM.",
)
.published(&[man("mmap(2)", "ERRORS, EPERM"), gvisor("memfd.cc", "MemfdTest.SealWriteWithMmap").since("6.13")])
.turned_by(&[Lie::accepted(Sysno::mmap), Lie::about(Sysno::mmap, What::OtherErrno(libc::EACCES))])
.tried(|_lab, see| {
    let sealed = sealed_memfd(libc::F_SEAL_WRITE)?;
    let with = |protection, flags| map(&sealed, page(), protection, flags, 0);
    see.mapped("mmap(sealed memfd, PROT_WRITE, MAP_SHARED)", with(WRITE, SHARED))?.fails(EPERM);
    see.mapped("mmap(sealed memfd, PROT_READ|PROT_WRITE, MAP_SHARED)", with(READ | WRITE, SHARED))?.fails(EPERM);
    see.mapped("mmap(sealed memfd, PROT_READ|PROT_WRITE, MAP_PRIVATE)", with(READ | WRITE, PRIVATE))?.says(MAPPED);
    let shared = with(READ, SHARED);
    see.mapped("mmap(sealed memfd, PROT_READ, MAP_SHARED)", shared)?.says(MAPPED);
    if let Ok(area) = shared {
        see.call("mprotect(shared page, PROT_WRITE)", protect(area, page(), READ | WRITE));
    }
    Ok(())
})];
