//! What one `copy_file_range` does.

use super::{PAGE, about_copying, copy, has, position};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[about_copying(
    "copy-file-range.call.copies",
    "Without offsets, copy_file_range() copies from one file position to the other and moves both.",
)
.published(&[man(PAGE, "DESCRIPTION"), ltp("copy_file_range01.c", "both offsets null")])
.turned_by(&[Lie::refused(Sysno::copy_file_range, libc::EXDEV), Lie::about(Sysno::copy_file_range, What::PositionKept)])
.tried(|lab, see| {
    let bytes = pattern(page() + 3);
    let (source, target) = (lab.file(&bytes)?, lab.file(b"t")?);
    aside(|| io::seek(&source, 1).and_then(|()| io::seek(&target, 1))).setup("lseek")?;
    for (name, length, end) in [("1", 1, 2), ("a page and 1", page() + 1, page() + 3)] {
        let copied = io::until_done(length, |done| copy((&source, None), (&target, None), length - done));
        see.call(format!("copy_file_range(file, other file, {name})"), copied).is(length);
        position(see, format!("position of the source after {name}"), &source)?.is(end);
        position(see, format!("position of the target after {name}"), &target)?.is(end);
    }
    has(see, "target", &target, &[b"t", &bytes[1..]].concat())
})];
