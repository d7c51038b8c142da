//! `splice` through a pipe on random input does what a copy of bytes does.
//!
//! A property that only ever met easy cases shows nothing, so each counts the hard ones ([`Met`]) and fails without them.

mod check;
mod files;
mod model;

use check::{Met, below, check, were_met};
use files::{Size, length};
use model::{Source, Stream, Target, maybe_place, place};
use nocopy_splice::{
    Errno, Pipe, PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe2, splice,
};
use quickcheck::{Arbitrary, Gen};
use std::collections::VecDeque;

/// Bytes of a page, which is a slot of a pipe.
fn page_size() -> usize {
    // SAFETY: sysconf takes no pointer.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("a page has a size")
}

/// How large a pipe is asked for.
#[derive(Clone, Copy, Debug)]
struct Pages(usize);

impl Arbitrary for Pages {
    fn arbitrary(g: &mut Gen) -> Self {
        Self(*g.choose(&[1, 2, 3, 4, 16, 17, 64]).expect("some"))
    }
}

/// A pipe, and what each of its slots holds.
struct Held {
    pipe: Pipe,
    capacity: usize,
    slots: VecDeque<Vec<u8>>,
}

impl Held {
    fn new(Pages(pages): Pages) -> Self {
        let pipe = pipe2(PipeFlags::CLOEXEC).expect("pipe");
        // Not every user may have a larger one. The model goes by what the pipe is.
        let _ = fcntl_setpipe_size(&pipe.write, pages * page_size());
        let capacity = fcntl_getpipe_size(&pipe.write).expect("F_GETPIPE_SZ") / page_size();
        Self {
            pipe,
            capacity,
            slots: VecDeque::new(),
        }
    }

    fn bytes(&self) -> usize {
        self.slots.iter().map(Vec::len).sum()
    }

    fn is_full(&self) -> bool {
        self.slots.len() == self.capacity
    }

    /// Puts a file's bytes into the free slots, a page or the part of one into each, and says how many there was room for.
    fn fill(&mut self, start: u64, bytes: &[u8]) -> usize {
        let start = usize::try_from(start).expect("64 bits");
        let mut done = 0;
        while done < bytes.len() && !self.is_full() {
            let room = page_size() - (start + done) % page_size();
            let part = room.min(bytes.len() - done);
            self.slots.push_back(bytes[done..done + part].to_vec());
            done += part;
        }
        done
    }

    /// Takes bytes out, from the front.
    fn drain(&mut self, count: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let slot = self.slots.front_mut().expect("that many bytes are held");
            let part = slot.len().min(count - taken.len());
            taken.extend(slot.drain(..part));
            if slot.is_empty() {
                self.slots.pop_front();
            }
        }
        taken
    }
}

/// What is done with a pipe between two files.
#[derive(Clone, Debug)]
enum Splicing {
    In { offset: Option<u64>, len: usize },
    Out { offset: Option<u64>, len: usize },
    SeekSource(u64),
    SeekTarget(u64),
    Receive,
}

impl Arbitrary for Splicing {
    fn arbitrary(g: &mut Gen) -> Self {
        match below(g, 12) {
            0 => Self::SeekSource(place(g)),
            1 => Self::SeekTarget(place(g).min(300 << 10)),
            2 => Self::Receive,
            3..=7 => Self::In {
                offset: maybe_place(g),
                len: length(g),
            },
            _ => Self::Out {
                offset: maybe_place(g).map(|to| to.min(300 << 10)),
                len: length(g),
            },
        }
    }
}

/// One splice from the file into the pipe, as the model says.
#[track_caller]
fn splice_in(source: &mut Source, held: &mut Held, offset: Option<u64>, len: usize) {
    static SHORT: Met = Met::new("a pipe that takes a part");
    static FULL: Met = Met::new("EAGAIN of a full pipe");
    let mut now = offset;
    let flags = SpliceFlags::NONBLOCK;
    let result = splice(
        &source.file,
        now.as_mut(),
        &held.pipe.write,
        None,
        len,
        flags,
    );
    let start = offset.unwrap_or(source.position);
    let bytes = source.from(offset, len).to_vec();
    let moved = if len > 0 && held.is_full() {
        FULL.note();
        assert_eq!(result, Err(Errno::EAGAIN), "the pipe is full");
        0
    } else {
        let moved = held.fill(start, &bytes);
        SHORT.note_if(moved < bytes.len());
        assert_eq!(result, Ok(moved), "of {} bytes", bytes.len());
        moved
    };
    source.assert_moved(offset, now, moved);
}

/// The most that a splice out of the pipe moves, or the errno that it fails with.
fn splice_out_limit(held: &Held, len: usize) -> Result<usize, Errno> {
    match held.bytes() {
        0 if len > 0 => Err(Errno::EAGAIN),
        bytes => Ok(bytes.min(len)),
    }
}

#[test]
fn splice_through_a_pipe_into_a_file_does_what_a_copy_of_bytes_does() {
    static OVER: Met = Met::new("bytes written over others");
    static EMPTY: Met = Met::new("EAGAIN of an empty pipe");

    fn property(size: Size, pages: Pages, steps: Vec<Splicing>) {
        let mut source = Source::new(size);
        let mut target = Target::new();
        let mut held = Held::new(pages);
        for step in steps {
            match step {
                Splicing::SeekSource(to) => source.seek(to),
                Splicing::SeekTarget(to) => target.seek(to),
                Splicing::Receive => {}
                Splicing::In { offset, len } => splice_in(&mut source, &mut held, offset, len),
                Splicing::Out { offset, len } => {
                    let mut now = offset;
                    let flags = SpliceFlags::NONBLOCK;
                    let read = &held.pipe.read;
                    let result = splice(read, None, &target.file, now.as_mut(), len, flags);
                    assert_eq!(result, splice_out_limit(&held, len));
                    EMPTY.note_if(result.is_err());
                    let bytes = held.drain(result.unwrap_or(0));
                    OVER.note_if(
                        offset.is_some_and(|at| at < target.content.len() as u64)
                            && !bytes.is_empty(),
                    );
                    target.assert_wrote(offset, now, &bytes);
                }
            }
        }
        target.assert_content();
    }
    check(property as fn(Size, Pages, Vec<Splicing>), 300, 30);
    were_met([&OVER, &EMPTY]);
}

#[test]
fn splice_through_a_pipe_into_a_socket_moves_as_much_as_it_says() {
    static SHORT: Met = Met::new("a short count in a full socket");
    static FULL: Met = Met::new("EAGAIN of a full socket");

    fn property(size: Size, pages: Pages, steps: Vec<Splicing>) {
        let mut source = Source::new(size);
        let mut held = Held::new(pages);
        let mut stream = Stream::new();
        for step in steps {
            match step {
                Splicing::SeekSource(to) => source.seek(to),
                Splicing::SeekTarget(_) => {}
                Splicing::Receive => stream.receive(),
                Splicing::In { offset, len } => splice_in(&mut source, &mut held, offset, len),
                Splicing::Out { len, .. } => {
                    let flags = SpliceFlags::NONBLOCK;
                    let result = splice(&held.pipe.read, None, &stream.near, None, len, flags);
                    let moved = match splice_out_limit(&held, len) {
                        Err(errno) => {
                            assert_eq!(result, Err(errno), "the pipe is empty");
                            0
                        }
                        Ok(most) => {
                            let moved = stream.moved(result, most);
                            SHORT.note_if((1..most).contains(&moved));
                            FULL.note_if(result == Err(Errno::EAGAIN));
                            moved
                        }
                    };
                    stream.accepted.extend(held.drain(moved));
                }
            }
        }
        stream.assert_end();
    }
    check(property as fn(Size, Pages, Vec<Splicing>), 400, 60);
    were_met([&SHORT, &FULL]);
}
