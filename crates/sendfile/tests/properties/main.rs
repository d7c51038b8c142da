//! `sendfile` on random input does what a copy of bytes does.
//!
//! A property that only ever met easy cases shows nothing, so each counts the hard ones ([`Met`]) and fails without them.

mod check;
mod files;
mod model;

use check::{Met, below, check, were_met};
use files::{Size, length};
use model::{Source, Stream, Target, maybe_place, place};
use nocopy_sendfile::{Errno, sendfile};
use quickcheck::{Arbitrary, Gen};

/// What is done with files by `sendfile`.
#[derive(Clone, Debug)]
enum Sending {
    Send {
        offset: Option<u64>,
        count: usize,
    },
    SeekSource(u64),
    /// Of a file as the target.
    SeekTarget(u64),
    /// Of a socket as the target: the receiver reads all.
    Receive,
}

impl Arbitrary for Sending {
    fn arbitrary(g: &mut Gen) -> Self {
        match below(g, 10) {
            0 => Self::SeekSource(place(g)),
            // Not far: what lies between is read again by the test.
            1 => Self::SeekTarget(place(g).min(300 << 10)),
            2 => Self::Receive,
            _ => Self::Send {
                offset: maybe_place(g),
                count: length(g),
            },
        }
    }
}

#[test]
fn sendfile_into_a_file_does_what_a_copy_of_bytes_does() {
    static SHORT: Met = Met::new("a count beyond the end");
    static BEYOND: Met = Met::new("an offset beyond the end");
    static HOLE: Met = Met::new("a hole in the target");

    fn property(size: Size, steps: Vec<Sending>) {
        let mut source = Source::new(size);
        let mut target = Target::new();
        for step in steps {
            match step {
                Sending::SeekSource(to) => source.seek(to),
                Sending::SeekTarget(to) => target.seek(to),
                Sending::Receive => {}
                Sending::Send { offset, count } => {
                    let mut now = offset;
                    let moved = sendfile(&target.file, &source.file, now.as_mut(), count);
                    let bytes = source.from(offset, count).to_vec();
                    assert_eq!(moved, Ok(bytes.len()));
                    SHORT.note_if((1..count).contains(&bytes.len()));
                    BEYOND.note_if(offset.is_some_and(|at| at > size.0 as u64) && count > 0);
                    HOLE.note_if(
                        target.position > target.content.len() as u64 && !bytes.is_empty(),
                    );
                    source.assert_moved(offset, now, bytes.len());
                    target.assert_wrote(None, None, &bytes);
                }
            }
        }
        target.assert_content();
    }
    check(property as fn(Size, Vec<Sending>), 250, 16);
    were_met([&SHORT, &BEYOND, &HOLE]);
}

#[test]
fn sendfile_into_a_socket_moves_as_much_as_it_says() {
    static SHORT: Met = Met::new("a short count in a full socket");
    static FULL: Met = Met::new("EAGAIN of a full socket");
    static BEYOND: Met = Met::new("an offset beyond the end");

    fn property(size: Size, steps: Vec<Sending>) {
        let mut source = Source::new(size);
        let mut stream = Stream::new();
        for step in steps {
            match step {
                Sending::SeekSource(to) => source.seek(to),
                Sending::SeekTarget(_) => {}
                Sending::Receive => stream.receive(),
                Sending::Send { offset, count } => {
                    let mut now = offset;
                    let result = sendfile(&stream.near, &source.file, now.as_mut(), count);
                    let bytes = source.from(offset, count).to_vec();
                    let moved = stream.moved(result, bytes.len());
                    SHORT.note_if((1..bytes.len()).contains(&moved));
                    FULL.note_if(result == Err(Errno::EAGAIN));
                    BEYOND.note_if(offset.is_some_and(|at| at > size.0 as u64) && count > 0);
                    source.assert_moved(offset, now, moved);
                    stream.accepted.extend_from_slice(&bytes[..moved]);
                }
            }
        }
        stream.assert_end();
    }
    check(property as fn(Size, Vec<Sending>), 250, 24);
    were_met([&SHORT, &FULL, &BEYOND]);
}
