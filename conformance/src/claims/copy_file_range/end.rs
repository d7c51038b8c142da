//! The end of the source of `copy_file_range`.

use super::{about_copying, copy, holding, manual, one, positions, refused, seek};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[about_copying(
    "copy-file-range.end.zero",
    "At and past the end of the source, copy_file_range() returns 0 and leaves the target as it is.",
)
.published(&[manual("RETURN VALUE")])
.turned_by(&[refused(libc::EINVAL), Lie::returned(Sysno::copy_file_range, 1)])
.tried(|lab, see| {
    let (source, target) = (lab.file(b"abc")?, lab.file(b"0123")?);
    seek((&source, 0), (&target, 1))?;
    for from in [3_u64, 4] {
        let mut at = from.cast_signed();
        let copied = copy((&source, Some(&mut at)), (&target, None), 1);
        see.call(format!("copy_file_range(file at offset {from} of 3, file, 1)"), copied).is(0);
        see.count(format!("offset {from} afterwards"), at.cast_unsigned()).is(from);
        seek((&source, from), (&target, 1))?;
        see.call(format!("copy_file_range(file at position {from} of 3, file, 1)"), one(&source, &target)).is(0);
        positions(see, &format!(" after {from}"), (&source, from), (&target, 1))?;
    }
    holding(see, "target", &target)?.says("0123");
    Ok(())
})];
