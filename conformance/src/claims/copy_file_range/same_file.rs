//! `copy_file_range` within one file.

use super::{about_copying, copy, has, holding, ltp02, manual, range};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[about_copying(
    "copy-file-range.same-file.overlap",
    "Within one file, copy_file_range() fails with EINVAL if both ranges, cut at the end of the source, overlap; else \
     it copies.",
)
.published(&[manual("ERRORS, EINVAL"), ltp02("overlaping range").since("5.3").until("5.18")])
.tried(|lab, see| {
    for (name, is_reopened) in [("same file", false), ("same file opened again", true)] {
        for (from, to, length, result, bytes) in [
            (0, 1, 2, Err(EINVAL), "abcdef"),
            (1, 0, 2, Err(EINVAL), "abcdef"),
            (0, 0, 1, Err(EINVAL), "abcdef"),
            (0, 2, 2, Ok(2), "ababef"),
            (2, 0, 2, Ok(2), "cdcdef"),
        ] {
            let file = lab.file(b"abcdef")?;
            let again = reopen(&file, File::options().read(true).write(true))?;
            let target = if is_reopened { &again } else { &file };
            let call = format!("copy_file_range(file at {from}, {name} at {to}, {length})");
            see.call(call.as_str(), range((&file, from), (target, to), length)).gives(result);
            holding(see, &format!("file after {call}"), &file)?.says(bytes);
        }
    }
    let bytes = pattern(4 * page());
    let file = lab.file(&bytes)?;
    let at = |pages: i64| pages * i64::try_from(page()).expect("a page");
    let overlapping = range((&file, 0), (&file, at(1)), 2 * page());
    see.call("copy_file_range(file at 0, same file a page on, two pages)", overlapping).fails(EINVAL);
    let touching = range((&file, 0), (&file, at(2)), 2 * page());
    see.call("copy_file_range(file at 0, same file two pages on, two pages)", touching).is(2 * page());
    has(see, "file of four pages", &file, &bytes[..2 * page()].repeat(2))?;
    // The range is cut at the end of the file before it is compared.
    let file = lab.file(b"abcdef")?;
    let cut = copy((&file, Some(&mut 0)), (&file, Some(&mut 6)), 9);
    see.call("copy_file_range(file at 0 of 6, same file at 6, 9)", cut).at_least(1);
    holding(see, "file that has grown", &file)?;
    Ok(())
})];
