//! The length that `copy_file_range` is asked for.

use super::{about_copying, copy, files, holding, manual, positions, refused};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[
    about_copying(
        "copy-file-range.length.beyond-the-end",
        "From the start of a file of 3 bytes, a copy_file_range() of 4, 2^63 - 1 or 2^64 - 1 bytes copies the 3.",
    )
    .published(&[
        thread("Linux tag copy-file-range-fixes-1", "a range across the end of the source is copied up to it")
            .since("5.3"),
        kernel("fs/read_write.c", "generic_copy_file_checks"),
        manual("RETURN VALUE").leaves_open(),
        manual("ERRORS, EOVERFLOW").denies(),
    ])
    .turned_by(&[refused(libc::EOVERFLOW), refused(libc::EINVAL)])
    .tried(|lab, see| {
        for (name, length) in [("4", 4), ("2^63 - 1", usize::MAX >> 1), ("2^64 - 1", usize::MAX)] {
            let (source, target) = files(lab)?;
            let copied = io::until_done(length, |done| copy((&source, None), (&target, None), length - done));
            see.call(format!("copy_file_range(file of 3, file, {name})"), copied).is(3);
            holding(see, &format!("target of {name}"), &target)?.says("abc");
        }
        Ok(())
    }),
    about_copying("copy-file-range.length.zero", "copy_file_range() of 0 bytes returns 0 and leaves the target empty.")
        .published(&[kernel("fs/read_write.c", "vfs_copy_file_range")])
        .turned_by(&[refused(libc::EINVAL), Lie::returned(Sysno::copy_file_range, 1)])
        .tried(|lab, see| {
            let (source, target) = files(lab)?;
            see.call("copy_file_range(file, file, 0)", copy((&source, None), (&target, None), 0)).is(0);
            positions(see, "", (&source, 0), (&target, 0))?;
            see.length("length of the target", &target)?.is(0);
            Ok(())
        }),
    about_copying(
        "copy-file-range.length.overflow",
        "A range that ends past the largest offset, 2^63 - 1, fails with EOVERFLOW.",
    )
    .published(&[manual("ERRORS, EOVERFLOW"), kernel("fs/read_write.c", "generic_copy_file_checks").denies()])
    .turned_by(&[refused(libc::EOVERFLOW)])
    .method("Asks for ranges that end past 2^63 and at 2^64, of a file of 3 bytes.")
    .tried(|lab, see| {
        for (name, from, to, length) in [
            ("file at 2, file, 2^63 - 1", 2, 0, usize::MAX >> 1),
            ("file, file at 2, 2^63 - 1", 0, 2, usize::MAX >> 1),
            ("file, file, 2^63 + 5", 0, 0, (1 << 63) + 5),
            ("file at 1, file, 2^64 - 1", 1, 0, usize::MAX),
        ] {
            let (source, target) = files(lab)?;
            let copied = copy((&source, Some(&mut { from })), (&target, Some(&mut { to })), length);
            see.call(format!("copy_file_range({name})"), copied).fails(EOVERFLOW);
            see.length(&format!("({name}) length of the target"), &target)?.is(0);
        }
        Ok(())
    }),
];
