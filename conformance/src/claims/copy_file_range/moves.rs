//! The bytes that `copy_file_range` moves.

use super::{about_copying, ltp01, manual, range, refused};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[about_copying(
    "copy-file-range.moves.around-page",
    "With lengths and offsets around a page boundary, the range of the target gets the bytes of the source; the rest \
     is unchanged.",
)
.published(&[manual("DESCRIPTION"), ltp01("len_arr, off_arr_values")])
.turned_by(&[Lie::skipped(Sysno::copy_file_range), refused(libc::EINVAL)])
.method(
    "Copies 11 bytes, a page, one byte less and one more, and two pages and 808 bytes, from and to the offsets 0, 17, \
     a page, one less and one more. After each copy it compares the whole target.",
)
.tried(|lab, see| {
    let page = page();
    let content = pattern(4 * page);
    let source = lab.file(&content)?;
    let (mut whole, mut same, mut last) = (0, 0, Ok(0));
    let offsets = [0, 17, page - 1, page, page + 1];
    for length in [11, page - 1, page, 2 * page + 808, page + 1] {
        for (from, to) in offsets.iter().flat_map(|from| offsets.map(|to| (*from, to))) {
            let mut expected = vec![b't'; 4 * page];
            let target = lab.file(&expected)?;
            let at = |offset: usize| i64::try_from(offset).expect("a page");
            last = range((&source, at(from)), (&target, at(to)), length);
            whole += u64::from(last == Ok(length));
            expected[to..to + length].copy_from_slice(&content[from..from + length]);
            let mut bytes = vec![0; 4 * page + 1];
            let count = aside(|| io::pread_full(&target, &mut bytes, 0)).setup("read the target")?;
            same += u64::from(bytes[..count] == expected);
        }
    }
    see.call("last copy_file_range(file, file)", last).is(page + 1);
    see.count("copies of the whole length, of 125", whole).is(125);
    see.count("targets with these bytes and no others changed, of 125", same).is(125);
    Ok(())
})];
