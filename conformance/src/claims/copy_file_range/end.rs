//! The end of the source of `copy_file_range`.

use super::{PAGE, about_copying, content, copy, one, position};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[about_copying(
    "copy-file-range.end.zero",
    "At and past the end of the source, copy_file_range() returns 0 and leaves the target as it is.",
)
.published(&[man(PAGE, "RETURN VALUE")])
.turned_by(&[Lie::refused(Sysno::copy_file_range, libc::EINVAL), Lie::returned(Sysno::copy_file_range, 1)])
.tried(|lab, see| {
    let (source, target) = (lab.file(b"abc")?, lab.file(b"0123")?);
    aside(|| io::seek(&target, 1)).setup("lseek")?;
    for from in [3, 4] {
        let mut at = from;
        let copied = copy((&source, Some(&mut at)), (&target, None), 1);
        see.call(format!("copy_file_range(file at offset {from} of 3, file, 1)"), copied).is(0);
        see.count(format!("offset {from} afterwards"), at.cast_unsigned()).is(from.cast_unsigned());
        aside(|| io::seek(&source, from.cast_unsigned())).setup("lseek")?;
        see.call(format!("copy_file_range(file at position {from} of 3, file, 1)"), one(&source, &target)).is(0);
        position(see, format!("position {from} afterwards"), &source)?.is(from.cast_unsigned());
    }
    position(see, "position of the target", &target)?.is(1);
    content(see, "target", &target)?.says("0123");
    Ok(())
})];
