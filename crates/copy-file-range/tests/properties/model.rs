//! What a file, its position, a file that is written to, and a socket must have after calls that move bytes.

use crate::check::below;
use crate::files::{LARGEST, Size, file, length, pattern};
use quickcheck::{Arbitrary, Gen};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use syscalls::Errno;

/// Where the next `read` or `write` of a file takes place.
pub fn position(mut file: &File) -> u64 {
    file.stream_position().expect("lseek")
}

/// A place in a file: seldom far beyond its end.
pub fn place(g: &mut Gen) -> u64 {
    match below(g, 12) {
        0 => 1 << (18 + below(g, 12)),
        _ => length(g).min(LARGEST + 5000) as u64,
    }
}

/// The same, or no offset.
pub fn maybe_place(g: &mut Gen) -> Option<u64> {
    bool::arbitrary(g).then(|| place(g))
}

/// What a transfer out of a file is to return, and where it is: the offset given, or the file's position.
pub struct Source {
    pub content: Vec<u8>,
    pub file: File,
    pub position: u64,
}

impl Source {
    pub fn new(Size(size): Size) -> Self {
        let content = pattern(size);
        Self {
            file: file(&content),
            content,
            position: 0,
        }
    }

    pub fn seek(&mut self, to: u64) {
        (&self.file).seek(SeekFrom::Start(to)).expect("lseek");
        self.position = to;
    }

    /// The bytes from a place on, at most `count`.
    pub fn from(&self, offset: Option<u64>, count: usize) -> &[u8] {
        let start = offset.unwrap_or(self.position);
        let start = usize::try_from(start)
            .expect("64 bits")
            .min(self.content.len());
        let count = count.min(self.content.len() - start);
        &self.content[start..start + count]
    }

    /// After a call that moved this number of bytes.
    #[track_caller]
    pub fn assert_moved(&mut self, given: Option<u64>, now: Option<u64>, moved: usize) {
        if given.is_none() {
            self.position += moved as u64;
        }
        assert_eq!(now, given.map(|offset| offset + moved as u64), "offset");
        assert_eq!(
            position(&self.file),
            self.position,
            "position of the source"
        );
    }
}

/// A file that is written to, and what it is to hold.
pub struct Target {
    pub content: Vec<u8>,
    pub file: File,
    pub position: u64,
}

impl Target {
    pub fn new() -> Self {
        Self {
            content: Vec::new(),
            file: file(&[]),
            position: 0,
        }
    }

    pub fn seek(&mut self, to: u64) {
        (&self.file).seek(SeekFrom::Start(to)).expect("lseek");
        self.position = to;
    }

    #[track_caller]
    pub fn assert_wrote(&mut self, given: Option<u64>, now: Option<u64>, bytes: &[u8]) {
        let start = given.unwrap_or(self.position);
        if given.is_none() {
            self.position += bytes.len() as u64;
        }
        assert_eq!(
            now,
            given.map(|offset| offset + bytes.len() as u64),
            "offset"
        );
        assert_eq!(
            position(&self.file),
            self.position,
            "position of the target"
        );
        if !bytes.is_empty() {
            let start = usize::try_from(start).expect("64 bits");
            let end = start + bytes.len();
            self.content.resize(self.content.len().max(end), 0);
            self.content[start..end].copy_from_slice(bytes);
        }
    }

    #[track_caller]
    pub fn assert_content(&self) {
        let mut content = vec![0xee; self.content.len() + 1];
        let mut read = 0;
        while let count @ 1.. = self
            .file
            .read_at(&mut content[read..], read as u64)
            .expect("read the target")
        {
            read += count;
        }
        content.truncate(read);
        assert!(content == self.content, "other bytes in the target");
    }
}

/// A non-blocking stream socket and its receiver, with what is on the way.
pub struct Stream {
    pub near: UnixStream,
    far: UnixStream,
    arrived: Vec<u8>,
    /// What the socket has taken.
    pub accepted: Vec<u8>,
}

impl Stream {
    pub fn new() -> Self {
        let (near, far) = UnixStream::pair().expect("socketpair");
        for end in [&near, &far] {
            end.set_nonblocking(true).expect("O_NONBLOCK");
        }
        Self {
            near,
            far,
            arrived: Vec::new(),
            accepted: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.accepted.len() == self.arrived.len()
    }

    /// Reads what the socket has taken: all of it is there when the call that moved it has returned.
    #[track_caller]
    pub fn receive(&mut self) {
        let ended = self.far.read_to_end(&mut self.arrived);
        let ended = ended.map_err(|error| error.kind());
        assert_eq!(ended, Err(io::ErrorKind::WouldBlock), "an end, or an error");
        assert!(self.arrived == self.accepted, "other bytes arrived");
    }

    /// How many bytes the call has moved, of the most that it could.
    #[track_caller]
    pub fn moved(&self, result: Result<usize, Errno>, most: usize) -> usize {
        match result {
            // Some of them is a success too, none is not.
            Ok(moved) => {
                assert!(moved <= most, "{moved} of {most} bytes");
                assert!(moved > 0 || most == 0, "0 is the end, and there is more");
                moved
            }
            Err(Errno::EAGAIN) => {
                assert!(!self.is_empty(), "an empty socket has room");
                assert!(most > 0, "nothing to wait for");
                0
            }
            Err(errno) => panic!("{errno:?}"),
        }
    }

    /// Nothing but that has arrived, and the end comes after it.
    #[track_caller]
    pub fn assert_end(mut self) {
        self.receive();
        drop(self.near);
        let more = self.far.read_to_end(&mut self.arrived);
        assert_eq!(
            more.map_err(|error| error.kind()),
            Ok(0),
            "more bytes arrived"
        );
    }
}
