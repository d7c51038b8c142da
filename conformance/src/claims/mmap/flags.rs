//! The flags of `mmap`: the type, unknown ones, and ignored ones.

use super::{
    DONE, MAPPED, READ, SHARED, SeeMapped, VALIDATE, WRITE, about_mmap, byte_of, first_of, map, store_in_child,
};
use crate::claims::prelude::*;
use crate::lab::pages::lettered;

/// No flag has this bit.
const UNKNOWN: usize = 1 << 22;
const BOTH: usize = (libc::MAP_SHARED | libc::MAP_PRIVATE) as usize;
const DENYWRITE: usize = libc::MAP_DENYWRITE as usize;
const EXECUTABLE: usize = libc::MAP_EXECUTABLE as usize;

pub const CLAIMS: &[Claim] = &[
    about_mmap(
        "mmap.flags.shared-and-private",
        "mmap() of a file with MAP_SHARED|MAP_PRIVATE succeeds: the value is MAP_SHARED_VALIDATE.",
    )
    .published(&[
        kernel("include/uapi/linux/mman.h", "MAP_SHARED_VALIDATE"),
        thread(
            "linux-mm, 1562573141-11258-1-git-send-email-zhongjiang@huawei.com",
            "mmap() of a file with both flags succeeds on 4.19; the answer is that this is deliberate",
        )
        .since("4.19"),
        man("mmap(2)", "DESCRIPTION, The flags argument").leaves_open().since("4.15"),
    ])
    .turned_by(&[Lie::refused(Sysno::mmap, libc::EINVAL).with(3, BOTH as u64)])
    .tried(|lab, see| {
        let file = lettered(lab, 1)?;
        let area = map(&file, page(), READ | WRITE, BOTH, 0);
        see.mapped("mmap(MAP_SHARED|MAP_PRIVATE)", area)?.says(MAPPED);
        see.text("store in a child", store_in_child(area.unwrap_or(io::NOWHERE), b'z')?).says(DONE);
        see.text("byte of the file afterwards", byte_of(&file, 0)?).says('z');
        let unknown = map(&file, page(), READ, BOTH | UNKNOWN, 0);
        see.mapped("mmap(MAP_SHARED|MAP_PRIVATE, flag 1 << 22)", unknown)?.fails(EOPNOTSUPP);
        Ok(())
    }),
    about_mmap(
        "mmap.flags.unknown",
        "An unknown flag is ignored with MAP_SHARED and fails with EOPNOTSUPP with MAP_SHARED_VALIDATE.",
    )
    .published(&[
        man("mmap(2)", "DESCRIPTION, MAP_SHARED_VALIDATE").since("4.15"),
        ltp("mmap20.c", "test_mmap").since("4.15"),
        commit("1c9725974074", "mm: introduce MAP_SHARED_VALIDATE, a mechanism to safely define new mmap flags")
            .since("4.15"),
    ])
    .turned_by(&[
        Lie::accepted(Sysno::mmap),
        Lie::refused(Sysno::mmap, libc::EINVAL).with(3, (UNKNOWN | SHARED) as u64),
    ])
    .tried(|lab, see| {
        let file = lettered(lab, 1)?;
        let with = |flags| map(&file, page(), READ, flags | UNKNOWN, 0);
        see.mapped("mmap(MAP_SHARED, flag 1 << 22)", with(SHARED))?.says(MAPPED);
        see.mapped("mmap(MAP_SHARED_VALIDATE, flag 1 << 22)", with(VALIDATE))?.fails(EOPNOTSUPP);
        Ok(())
    }),
    about_mmap(
        "mmap.flags.denywrite",
        "mmap() ignores MAP_DENYWRITE and MAP_EXECUTABLE: a file open for writing is mapped and can be written.",
    )
    .published(&[
        man("mmap(2)", "DESCRIPTION, MAP_DENYWRITE"),
        man("mmap(2)", "DESCRIPTION, MAP_EXECUTABLE"),
        man("mmap(2)", "ERRORS, ETXTBSY").denies(),
    ])
    .about(&[Sysno::mmap, Sysno::pwrite64])
    .turned_by(&[Lie::refused(Sysno::mmap, libc::EINVAL), Lie::refused(Sysno::pwrite64, libc::ETXTBSY)])
    .tried(|lab, see| {
        let each = [("MAP_DENYWRITE", DENYWRITE), ("MAP_EXECUTABLE", EXECUTABLE), ("both", DENYWRITE | EXECUTABLE)];
        for (name, flags) in each {
            let file = lettered(lab, 1)?;
            let area = map(&file, page(), READ, SHARED | flags, 0);
            see.mapped(format!("mmap(file open for writing, {name})"), area)?.says(MAPPED);
            see.call(format!("pwrite(file, \"b\", 0), {name}"), io::pwrite(&file, b"b", 0)).is(1);
            see.text(format!("first byte of the mapping, {name}"), first_of(area)?).says('b');
        }
        Ok(())
    }),
];
