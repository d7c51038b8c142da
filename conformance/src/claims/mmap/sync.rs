//! `MAP_SYNC`.

use super::{MAPPED, READ, SHARED, SeeMapped, VALIDATE, about_mmap, map, on_disks};
use crate::claims::prelude::*;
use crate::lab::open::sealed_memfd;

const SYNC: usize = libc::MAP_SYNC as usize;

pub const CLAIMS: &[Claim] = &[
    about_mmap(
        "mmap.sync.memfd",
        "MAP_SYNC of a memfd is ignored with MAP_SHARED and fails with EOPNOTSUPP with MAP_SHARED_VALIDATE.",
    )
    .published(&[man("mmap(2)", "DESCRIPTION, MAP_SYNC").since("4.15")])
    .turned_by(&[
        Lie::refused(Sysno::mmap, libc::EOPNOTSUPP).with(3, (SHARED | SYNC) as u64),
        Lie::accepted(Sysno::mmap),
    ])
    .tried(|_lab, see| {
        let file = sealed_memfd(0)?;
        let with = |flags| map(&file, page(), READ, flags, 0);
        see.mapped("mmap(memfd, MAP_SHARED|MAP_SYNC)", with(SHARED | SYNC))?.says(MAPPED);
        see.mapped("mmap(memfd, MAP_SHARED_VALIDATE|MAP_SYNC)", with(VALIDATE | SYNC))?.fails(EOPNOTSUPP);
        Ok(())
    }),
    about_mmap("mmap.sync.disk", "MAP_SYNC of a file on ext4 or xfs that is not on DAX is ignored with MAP_SHARED.")
        .published(&[
            man("mmap(2)", "DESCRIPTION, MAP_SYNC").since("4.15"),
            kernel("fs/ext4/file.c", "ext4_file_mmap_prepare").denies(),
            kernel("fs/xfs/xfs_file.c", "xfs_file_mmap_prepare").denies(),
        ])
        .turned_by(&[Lie::refused(Sysno::mmap, libc::EOPNOTSUPP).where_it(true)])
        .except(&[Exception::Lacking("no lie makes a mapping that the kernel has refused")])
        .tried(|lab, see| {
            for (file, name) in on_disks(lab)? {
                let with = |flags| map(&file, page(), READ, flags, 0);
                see.mapped(format!("mmap({name}, MAP_SHARED)"), with(SHARED))?.says(MAPPED);
                see.mapped(format!("mmap({name}, MAP_SHARED|MAP_SYNC)"), with(SHARED | SYNC))?.says(MAPPED);
                see.mapped(format!("mmap({name}, MAP_SHARED_VALIDATE|MAP_SYNC)"), with(VALIDATE | SYNC))?;
            }
            Ok(())
        }),
];
