//! What one `copy_file_range` does.

use super::{about_copying, copy, has, lie, ltp01, manual, positions, refused, seek};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[about_copying(
    "copy-file-range.call.copies",
    "Without offsets, copy_file_range() copies from one file position to the other and moves both.",
)
.published(&[manual("DESCRIPTION"), ltp01("both offsets null")])
.turned_by(&[refused(libc::EXDEV), lie(What::PositionKept)])
.tried(|lab, see| {
    let bytes = pattern(page() + 3);
    let (source, target) = (lab.file(&bytes)?, lab.file(b"t")?);
    seek((&source, 1), (&target, 1))?;
    for (name, length, end) in [("1", 1, 2), ("a page and 1", page() + 1, page() + 3)] {
        let copied = io::until_done(length, |done| copy((&source, None), (&target, None), length - done));
        see.call(format!("copy_file_range(file, other file, {name})"), copied).is(length);
        positions(see, &format!(" after {name}"), (&source, end as u64), (&target, end as u64))?;
    }
    has(see, "target", &target, &[b"t", &bytes[1..]].concat())
})];
