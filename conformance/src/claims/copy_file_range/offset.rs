//! The offsets of `copy_file_range`.

use super::{about_copying, copy, files, has, holding, lie, ltp01, manual, positions, refused, seek};
use crate::claims::prelude::*;

const KEPT: &[Lie] = &[lie(What::OffsetKept), refused(libc::EINVAL)];

/// Notes where an offset is after the call.
fn offset(see: &mut Observation, fact: impl Into<String>, offset: i64) -> Noted<'_> {
    see.count(fact, offset.cast_unsigned())
}

pub const CLAIMS: &[Claim] = &[
    about_copying(
        "copy-file-range.offset.given",
        "With both offsets given, copy_file_range() copies between them, moves them, and leaves both file positions.",
    )
    .published(&[manual("DESCRIPTION"), ltp01("both offsets given")])
    .turned_by(KEPT)
    .tried(|lab, see| {
        for (name, length) in [("1", 1), ("a page and 1", page() + 1)] {
            let bytes = pattern(length + 3);
            let (source, target) = (lab.file(&bytes)?, lab.file(b"012")?);
            seek((&source, 3), (&target, 2))?;
            let (mut from, mut to) = (2, 1);
            let copied = io::until_done(length, |done| {
                copy((&source, Some(&mut from)), (&target, Some(&mut to)), length - done)
            });
            see.call(format!("copy_file_range(file at 2, file at 1, {name})"), copied).is(length);
            offset(see, format!("offset of the source after {name}"), from).is(length + 2);
            offset(see, format!("offset of the target after {name}"), to).is(length + 1);
            positions(see, &format!(" after {name}"), (&source, 3), (&target, 2))?;
            let rest: &[u8] = if length == 1 { b"2" } else { b"" };
            has(see, &format!("target after {name}"), &target, &[b"0", &bytes[2..2 + length], rest].concat())?;
        }
        Ok(())
    }),
    about_copying(
        "copy-file-range.offset.one",
        "With an offset for one side only, copy_file_range() uses the file position of the other side and moves only \
         that position.",
    )
    .published(&[manual("DESCRIPTION"), ltp01("one offset null, the other given")])
    .turned_by(KEPT)
    .tried(|lab, see| {
        for of_source in [true, false] {
            let (source, target) = (lab.file(b"abcde")?, lab.file(b"0123")?);
            seek((&source, 1), (&target, 2))?;
            let mut at = 3;
            let (name, copied) = if of_source {
                ("file at 3, file", copy((&source, Some(&mut at)), (&target, None), 1))
            } else {
                ("file, file at 3", copy((&source, None), (&target, Some(&mut at)), 1))
            };
            see.call(format!("copy_file_range({name}, 1)"), copied).is(1);
            offset(see, format!("offset ({name})"), at).is(4);
            let (at_source, at_target, expected) = if of_source { (1, 3, "01d3") } else { (2, 2, "012b") };
            positions(see, &format!(" ({name})"), (&source, at_source), (&target, at_target))?;
            holding(see, &format!("target ({name})"), &target)?.says(expected);
        }
        Ok(())
    }),
    about_copying(
        "copy-file-range.offset.negative",
        "A negative offset fails with EOVERFLOW if the range reaches offset 0, and with EINVAL if it ends before.",
    )
    .published(&[kernel("fs/read_write.c", "generic_copy_file_checks"), kernel("fs/read_write.c", "rw_verify_area")])
    .tried(|lab, see| {
        let (source, target) = files(lab)?;
        for (at, length, errno) in
            [(-1, 1, EOVERFLOW), (-2, 2, EOVERFLOW), (-2, 1, EINVAL), (-1, 0, EINVAL), (i64::MIN, 1, EINVAL)]
        {
            let name = if at == i64::MIN { "-2^63".to_owned() } else { at.to_string() };
            let copied = copy((&source, Some(&mut { at })), (&target, Some(&mut 0)), length);
            see.call(format!("copy_file_range(file at {name}, file, {length})"), copied).fails(errno);
            let copied = copy((&source, Some(&mut 0)), (&target, Some(&mut { at })), length);
            see.call(format!("copy_file_range(file, file at {name}, {length})"), copied).fails(errno);
        }
        see.length("length of the target", &target)?.is(0);
        Ok(())
    }),
];
