//! The offsets of `copy_file_range`.

use super::{PAGE, about_copying, content, copy, files, has, position};
use crate::claims::prelude::*;

const KEPT: &[Lie] =
    &[Lie::about(Sysno::copy_file_range, What::OffsetKept), Lie::refused(Sysno::copy_file_range, libc::EINVAL)];

/// Notes where an offset is after the call.
fn offset(see: &mut Observation, fact: impl Into<String>, offset: i64) -> Noted<'_> {
    see.count(fact, offset.cast_unsigned())
}

pub const CLAIMS: &[Claim] = &[
    about_copying(
        "copy-file-range.offset.given",
        "With both offsets given, copy_file_range() copies between them, moves them, and leaves both file positions.",
    )
    .published(&[man(PAGE, "DESCRIPTION"), ltp("copy_file_range01.c", "both offsets given")])
    .turned_by(KEPT)
    .tried(|lab, see| {
        for (name, length) in [("1", 1), ("a page and 1", page() + 1)] {
            let bytes = pattern(length + 3);
            let (source, target) = (lab.file(&bytes)?, lab.file(b"012")?);
            aside(|| io::seek(&source, 3).and_then(|()| io::seek(&target, 2))).setup("lseek")?;
            let (mut from, mut to) = (2, 1);
            let copied = io::until_done(length, |done| {
                copy((&source, Some(&mut from)), (&target, Some(&mut to)), length - done)
            });
            see.call(format!("copy_file_range(file at 2, file at 1, {name})"), copied).is(length);
            offset(see, format!("offset of the source after {name}"), from).is(length + 2);
            offset(see, format!("offset of the target after {name}"), to).is(length + 1);
            position(see, format!("position of the source after {name}"), &source)?.is(3);
            position(see, format!("position of the target after {name}"), &target)?.is(2);
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
    .published(&[man(PAGE, "DESCRIPTION"), ltp("copy_file_range01.c", "one offset null, the other given")])
    .turned_by(KEPT)
    .tried(|lab, see| {
        for of_source in [true, false] {
            let (source, target) = (lab.file(b"abcde")?, lab.file(b"0123")?);
            aside(|| io::seek(&source, 1).and_then(|()| io::seek(&target, 2))).setup("lseek")?;
            let mut at = 3;
            let (name, copied) = if of_source {
                ("file at 3, file", copy((&source, Some(&mut at)), (&target, None), 1))
            } else {
                ("file, file at 3", copy((&source, None), (&target, Some(&mut at)), 1))
            };
            see.call(format!("copy_file_range({name}, 1)"), copied).is(1);
            offset(see, format!("({name}) offset"), at).is(4);
            position(see, format!("({name}) position of the source"), &source)?.is(if of_source { 1 } else { 2 });
            position(see, format!("({name}) position of the target"), &target)?.is(if of_source { 3 } else { 2 });
            let expected = if of_source { "01d3" } else { "012b" };
            content(see, &format!("({name}) target"), &target)?.says(expected);
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
