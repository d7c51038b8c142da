//! `copy_file_range` on random input does what a copy of bytes does.
//!
//! A property that only ever met easy cases shows nothing, so each counts the hard ones ([`Met`]) and fails without them.

mod check;
mod files;
#[expect(
    dead_code,
    reason = "the file is the same in crates that send to sockets"
)]
mod model;

use check::{Met, below, check, were_met};
use files::{LARGEST, Size, file, length, pattern};
use model::{Source, Target, maybe_place, place};
use nocopy_copy_file_range::{CopyFileRangeFlags, Errno, copy_file_range};
use quickcheck::{Arbitrary, Gen};
use std::fs::File;
use std::os::unix::fs::FileExt;

const NONE: CopyFileRangeFlags = CopyFileRangeFlags::empty();

/// Not far: what lies between is read again by the test.
const FARTHEST: u64 = 300 << 10;

/// How many bytes a call has copied, of the most that it could. btrfs and XFS share whole blocks, and leave what is not whole to
/// the next call.
#[track_caller]
fn moved(copied: Result<usize, Errno>, most: usize) -> usize {
    let moved = copied.expect("a copy");
    assert!(moved <= most, "{moved} of {most} bytes");
    assert!(moved > 0 || most == 0, "0 is the end, and there is more");
    moved
}

/// What is done with two files.
#[derive(Clone, Debug)]
enum Copying {
    Copy {
        off_in: Option<u64>,
        off_out: Option<u64>,
        len: usize,
    },
    SeekSource(u64),
    SeekTarget(u64),
}

impl Arbitrary for Copying {
    fn arbitrary(g: &mut Gen) -> Self {
        match below(g, 10) {
            0 => Self::SeekSource(place(g)),
            1 => Self::SeekTarget(place(g).min(FARTHEST)),
            _ => Self::Copy {
                off_in: maybe_place(g),
                off_out: maybe_place(g).map(|at| at.min(FARTHEST)),
                len: length(g),
            },
        }
    }
}

#[test]
fn a_copy_into_another_file_does_what_a_copy_of_bytes_does() {
    static SHORT: Met = Met::new("a length beyond the end");
    static BEYOND: Met = Met::new("an offset beyond the end");
    static HOLE: Met = Met::new("a hole in the target");
    static OVER: Met = Met::new("bytes that were there before");

    fn property(size: Size, steps: Vec<Copying>) {
        let mut source = Source::new(size);
        let mut target = Target::new();
        for step in steps {
            match step {
                Copying::SeekSource(to) => source.seek(to),
                Copying::SeekTarget(to) => target.seek(to),
                Copying::Copy {
                    off_in,
                    off_out,
                    len,
                } => {
                    let (mut from, mut to) = (off_in, off_out);
                    let copied = copy_file_range(
                        &source.file,
                        from.as_mut(),
                        &target.file,
                        to.as_mut(),
                        len,
                        NONE,
                    );
                    let most = source.from(off_in, len).len();
                    let bytes = source.from(off_in, moved(copied, most)).to_vec();
                    let start = off_out.unwrap_or(target.position);
                    let end = target.content.len() as u64;
                    SHORT.note_if((1..len).contains(&most));
                    BEYOND.note_if(off_in.is_some_and(|at| at > size.0 as u64) && len > 0);
                    HOLE.note_if(start > end && !bytes.is_empty());
                    OVER.note_if(start < end && !bytes.is_empty());
                    source.assert_moved(off_in, from, bytes.len());
                    target.assert_wrote(off_out, to, &bytes);
                }
            }
        }
        target.assert_content();
    }
    check(property as fn(Size, Vec<Copying>), 250, 16);
    were_met([&SHORT, &BEYOND, &HOLE, &OVER]);
}

/// Two places of one file, within it or not far beyond.
#[derive(Clone, Debug)]
struct Within {
    from: u64,
    to: u64,
    len: usize,
}

impl Arbitrary for Within {
    fn arbitrary(g: &mut Gen) -> Self {
        Self {
            from: place(g).min(FARTHEST),
            to: place(g).min(FARTHEST),
            len: length(g).min(LARGEST),
        }
    }
}

fn read(file: &File, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0).expect("read");
    assert_eq!(file.metadata().expect("fstat").len(), length as u64);
    bytes
}

#[test]
fn a_copy_within_a_file_is_one_or_is_refused() {
    static APART: Met = Met::new("ranges apart");
    static OVERLAP: Met = Met::new("ranges that overlap");
    static LONGER: Met = Met::new("a file that becomes longer");

    fn property(size: Size, ranges: Vec<Within>) {
        let mut content = pattern(size.0);
        let file = file(&content);
        for Within { from, to, len } in ranges {
            let (mut now_from, mut now_to) = (from, to);
            let copied = copy_file_range(
                &file,
                Some(&mut now_from),
                &file,
                Some(&mut now_to),
                len,
                NONE,
            );
            let as_index = |at| usize::try_from(at).expect("64 bits");
            let (start, place) = (as_index(from), as_index(to));
            // What there is to copy: the range is cut at the end first.
            let count = len.min(content.len().saturating_sub(start));
            if start < place + count && place < start + count {
                OVERLAP.note();
                assert_eq!(copied, Err(Errno::EINVAL));
                assert_eq!((now_from, now_to), (from, to));
            } else {
                let count = moved(copied, count);
                assert_eq!((now_from, now_to), (from + count as u64, to + count as u64));
                if count > 0 {
                    APART.note();
                    LONGER.note_if(place + count > content.len());
                    let end = content.len().max(place + count);
                    content.resize(end, 0);
                    content.copy_within(start..start + count, place);
                }
            }
        }
        assert!(read(&file, content.len()) == content, "other bytes");
    }
    check(property as fn(Size, Vec<Within>), 250, 16);
    were_met([&APART, &OVERLAP, &LONGER]);
}
