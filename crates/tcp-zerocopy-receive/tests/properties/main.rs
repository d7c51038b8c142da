//! A stream that is received by windows of random lengths is the stream that was sent, however it was sent.
//!
//! A property that only ever met easy cases shows nothing, so each counts the hard ones ([`Met`]) and fails without them.

mod check;
#[path = "../connection/mod.rs"]
mod connection;

use check::{Met, below, check, index_below, were_met};
use connection::{connection, page, pages, pipe, send_zerocopy, splice, wait_for_arrival};
use nocopy_tcp_zerocopy_receive::Window;
use quickcheck::{Arbitrary, Gen};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;

/// How a piece of the stream is sent.
#[derive(Clone, Copy, Debug)]
enum Way {
    Write,
    /// By `MSG_ZEROCOPY`, from this far into a page.
    Zerocopy(usize),
    /// Written to a pipe and spliced from there.
    Splice,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send(Way, usize),
    /// With this much room for the tail, or by `receive_pages`.
    Receive(Option<usize>),
    /// Reads less than the hint says.
    Less,
    Release,
    /// Another window, of this many bytes.
    Window(usize),
}

/// A number of bytes, often of whole pages.
fn length(g: &mut Gen) -> usize {
    match below(g, 4) {
        0 => 1 + index_below(g, 300),
        1 => 1 + index_below(g, 3 * page()),
        _ => (1 + index_below(g, 7)) * page(),
    }
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        match below(g, 20) {
            0..=3 => Self::Send(Way::Write, length(g)),
            4..=7 => {
                let misaligned = if bool::arbitrary(g) {
                    0
                } else {
                    index_below(g, 4096)
                };
                Self::Send(Way::Zerocopy(misaligned), length(g))
            }
            // No more than a pipe holds.
            8..=9 => Self::Send(Way::Splice, length(g)),
            10..=13 => Self::Receive(None),
            14..=16 => Self::Receive(Some(length(g).min(5000))),
            17 => Self::Less,
            18 => Self::Release,
            _ => Self::Window(length(g)),
        }
    }
}

/// More than this is not sent before it is received: the receive queue holds it, in small pieces too.
const MOST_QUEUED: usize = 48 << 10;

struct Stream {
    near: TcpStream,
    far: TcpStream,
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Stream {
    fn send(&mut self, way: Way, length: usize) {
        let start = self.sent.len();
        // 251 is the largest prime below 256: no page is like another one.
        let bytes: Vec<u8> = (start..start + length)
            .map(|at| (at % 251).to_le_bytes()[0])
            .collect();
        match way {
            Way::Write => self.far.write_all(&bytes).expect("write"),
            Way::Zerocopy(misaligned) => {
                let memory = pages(&[&vec![0xee; misaligned], &bytes[..]].concat());
                send_zerocopy(&self.far, &memory[misaligned..]);
            }
            Way::Splice => {
                let [from, to] = pipe();
                File::from(to).write_all(&bytes).expect("write");
                splice(&from, &self.far, length);
            }
        }
        self.sent.extend(bytes);
        wait_for_arrival(&self.near, self.queued());
    }

    fn queued(&self) -> usize {
        self.sent.len() - self.received.len()
    }

    /// Takes what one call gives, and returns how much `recv` is to read next.
    fn receive(&mut self, window: &mut Window, room: Option<usize>) -> usize {
        let length = window.len();
        let mut tail = vec![0xee; room.unwrap_or(0) + 1];
        let (tail, after) = tail.split_at_mut(room.unwrap_or(0));
        let received = match room {
            Some(_) => window.receive(&self.near, tail),
            None => window.receive_pages(&self.near),
        }
        .expect("the connection is open");
        let mapped = received.mapped.len();
        assert!(mapped <= length && mapped.is_multiple_of(page()));
        let mut bytes = vec![0; mapped];
        assert_eq!(received.mapped.read_at(0, &mut bytes), mapped);
        let (copied, hint, inq) = (received.copied, received.recv_skip_hint, received.inq);
        let is_nothing = received.is_nothing();
        MAPPED.note_if(mapped > 0);
        COPIED.note_if(copied > 0);
        BOTH.note_if(mapped > 0 && copied > 0);
        HINT.note_if(mapped > 0 && hint > 0);
        self.received.extend(bytes);
        self.received.extend(&tail[..copied]);
        assert_eq!(after, [0xee], "more bytes were written");
        assert!(hint <= self.queued());
        if let Some(inq) = inq {
            assert_eq!(inq, self.queued());
        }
        assert!(!is_nothing || self.queued() == 0, "bytes are queued");
        hint
    }

    fn read(&mut self, length: usize) {
        let mut bytes = vec![0; length];
        self.near.read_exact(&mut bytes).expect("read");
        self.received.extend(bytes);
    }
}

static MAPPED: Met = Met::new("pages that were mapped");
static COPIED: Met = Met::new("bytes that were copied");
static BOTH: Met = Met::new("pages, and bytes copied after them");
static HINT: Met = Met::new("pages, and bytes that cannot be mapped after them");
static LESS: Met = Met::new("less read than the hint says");

#[test]
fn a_stream_is_received_as_it_was_sent() {
    fn property(steps: Vec<Step>) {
        let (near, far) = connection();
        let mut window = Window::new(&near, 4 * page()).expect("mmap");
        let mut stream = Stream {
            near,
            far,
            sent: Vec::new(),
            received: Vec::new(),
        };
        let mut less = false;
        for step in steps {
            match step {
                Step::Send(way, length) if stream.queued() + length <= MOST_QUEUED => {
                    stream.send(way, length);
                }
                Step::Send(..) => {}
                Step::Receive(room) => {
                    let hint = stream.receive(&mut window, room);
                    LESS.note_if(less && hint > 1);
                    stream.read(if less { hint / 2 } else { hint });
                    less = false;
                }
                Step::Less => less = true,
                Step::Release => window.release().expect("madvise"),
                Step::Window(length) => {
                    window = Window::new(&stream.near, length).expect("mmap");
                }
            }
        }
        // To the end, as a program does it.
        while stream.queued() > 0 {
            let before = stream.queued();
            let hint = stream.receive(&mut window, None);
            stream.read(hint);
            assert!(stream.queued() < before, "no progress");
        }
        assert!(stream.received == stream.sent, "other bytes");
    }
    check(property as fn(Vec<Step>), 150, 40);
    were_met([&MAPPED, &COPIED, &BOTH, &HINT, &LESS]);
}
