//! The server's side of FUSE: the part of `include/uapi/linux/fuse.h` that one directory of files in memory needs.

#![forbid(unsafe_code)]

use super::settings::{FILE, Settings};
use nocopy_host::process;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{SystemTime, UNIX_EPOCH};
use syscalls::Errno;

/// The maximum number of bytes in one write. A request is slightly longer.
const MAX_WRITE: usize = 1 << 16;
/// The byte that the experiment sends to have reads answered. Any other byte is the new content of the file.
pub(super) const ANSWER: u8 = 0;
/// The number of the root directory. The numbers of the files follow.
const ROOT: u64 = 1;

/// The part of `enum fuse_opcode` that is answered. Any other request gets `ENOSYS`, and the kernel then does without it.
mod opcode {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const UNLINK: u32 = 10;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const OPENDIR: u32 = 27;
    pub const READDIR: u32 = 28;
    pub const RELEASEDIR: u32 = 29;
    pub const CREATE: u32 = 35;
    pub const INTERRUPT: u32 = 36;
    pub const DESTROY: u32 = 38;
    pub const BATCH_FORGET: u32 = 42;
}

/// A file. It keeps its number after its name is removed.
struct Node {
    name: Option<Vec<u8>>,
    content: Vec<u8>,
    mode: u32,
    user: u32,
    group: u32,
    /// Seconds and nanoseconds.
    changed: (u64, u32),
}

/// A request, in the kernel's order of bytes: `struct fuse_in_header` and what follows it.
struct Request<'bytes> {
    opcode: u32,
    unique: u64,
    node: u64,
    user: u32,
    group: u32,
    body: Fields<'bytes>,
}

/// Bytes that hold numbers.
#[derive(Clone, Copy)]
struct Fields<'bytes>(&'bytes [u8]);

impl<'bytes> Fields<'bytes> {
    fn long(self, at: usize) -> Result<u64, Errno> {
        let bytes = self.0.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u64::from_ne_bytes).ok_or(Errno::EINVAL)
    }

    fn word(self, at: usize) -> Result<u32, Errno> {
        let bytes = self.0.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_ne_bytes).ok_or(Errno::EINVAL)
    }

    fn size(self, at: usize) -> Result<usize, Errno> {
        usize::try_from(self.long(at)?).map_err(|_| Errno::EFBIG)
    }

    /// The string that begins at `at` and ends with a zero.
    fn name(self, at: usize) -> Result<&'bytes [u8], Errno> {
        let rest = self.0.get(at..).ok_or(Errno::EINVAL)?;
        Ok(rest.split(|byte| *byte == 0).next().unwrap_or(rest))
    }
}

impl<'bytes> Request<'bytes> {
    const HEADER: usize = 40;

    fn parse(bytes: &'bytes [u8]) -> Result<Self, Errno> {
        let fields = Fields(bytes);
        Ok(Self {
            opcode: fields.word(4)?,
            unique: fields.long(8)?,
            node: fields.long(16)?,
            user: fields.word(24)?,
            group: fields.word(28)?,
            body: Fields(bytes.get(Self::HEADER..).ok_or(Errno::EINVAL)?),
        })
    }
}

/// A sequence of numbers, for an answer.
#[derive(Default)]
struct Answer(Vec<u8>);

impl Answer {
    fn long(mut self, number: u64) -> Self {
        self.0.extend(number.to_ne_bytes());
        self
    }

    fn word(mut self, number: u32) -> Self {
        self.0.extend(number.to_ne_bytes());
        self
    }

    /// Appends zeros up to this length.
    fn filled(mut self, length: usize) -> Vec<u8> {
        self.0.resize(length, 0);
        self.0
    }
}

/// Answers the requests.
pub(super) struct Server<'ends> {
    device: &'ends File,
    line: &'ends UnixStream,
    settings: Settings,
    nodes: Vec<Node>,
    /// Reads that are not answered yet, with the number of the request.
    withheld: Vec<(u64, Vec<u8>)>,
    withholds: bool,
}

impl<'ends> Server<'ends> {
    /// A server with one file. `line` is the connection to the experiment: the server reports each withheld read on it, and the
    /// experiment sends [`ANSWER`] on it to have them answered.
    pub fn new(device: &'ends File, line: &'ends UnixStream, content: &[u8], settings: Settings) -> Self {
        let file = Node {
            name: Some(FILE.into()),
            content: content.to_vec(),
            mode: libc::S_IFREG | 0o600,
            user: process::effective_user(),
            group: process::effective_group(),
            changed: now(),
        };
        Self { device, line, settings, nodes: vec![file], withheld: Vec::new(), withholds: settings.withholds_reads }
    }

    /// Answers requests until the mount or the experiment has ended.
    pub fn serve(&mut self) {
        let mut bytes = vec![0; MAX_WRITE + 4096];
        let ends = [self.device.as_raw_fd(), self.line.as_raw_fd()];
        loop {
            let Ok(ready) = process::poll(&ends, None) else {
                return;
            };
            if ready[1] && !self.hear() {
                return;
            }
            if !ready[0] {
                continue;
            }
            let read = self.device.read(&mut bytes);
            match read.map_err(|error| error.raw_os_error()) {
                Ok(count) => self.take(&bytes[..count]),
                // ENOENT: the request was withdrawn in the meantime.
                Err(Some(libc::EINTR | libc::EAGAIN | libc::ENOENT)) => {}
                Err(_) => return,
            }
        }
    }

    /// Reads one command from the experiment. Returns whether the experiment still runs.
    fn hear(&mut self) -> bool {
        let mut word = [0];
        if !self.line.read(&mut word).is_ok_and(|count| count > 0) {
            return false;
        }
        match word {
            [ANSWER] => {
                self.withholds = false;
                for (unique, bytes) in std::mem::take(&mut self.withheld) {
                    self.reply(unique, Ok(bytes));
                }
                true
            }
            [byte] => {
                self.nodes[0].content.fill(byte);
                self.line.write_all(&word).is_ok()
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let Ok(request) = Request::parse(bytes) else {
            return;
        };
        match request.opcode {
            // These requests have no answer.
            opcode::FORGET | opcode::BATCH_FORGET => {}
            opcode::INTERRUPT => self.interrupt(&request),
            opcode::READ if self.withholds => match self.read(&request) {
                Ok(bytes) => {
                    self.withheld.push((request.unique, bytes));
                    // An error means that the experiment has ended, and needs no report.
                    let _ = self.line.write_all(b"r");
                }
                failed => self.reply(request.unique, failed),
            },
            _ => {
                let answer = self.answer(&request);
                self.reply(request.unique, answer);
            }
        }
    }

    /// Cancels a withheld read whose caller no longer waits.
    fn interrupt(&mut self, request: &Request) {
        let given_up = request.body.long(0);
        if let Some(at) = self.withheld.iter().position(|(unique, _)| Ok(*unique) == given_up) {
            let (unique, _) = self.withheld.swap_remove(at);
            self.reply(unique, Err(Errno::EINTR));
        }
    }

    /// Sends an answer: `struct fuse_out_header` and what follows it.
    fn reply(&mut self, unique: u64, answer: Result<Vec<u8>, Errno>) {
        const HEADER: usize = 16;
        let (errno, body) = match answer {
            Ok(body) => (0, body),
            Err(errno) => (-errno.into_raw(), Vec::new()),
        };
        let length = u32::try_from(HEADER + body.len()).unwrap_or(0);
        let header = Answer::default().word(length).word(errno.cast_unsigned()).long(unique);
        let mut bytes = header.filled(HEADER);
        bytes.extend(body);
        // A withdrawn request cannot be answered.
        let _ = self.device.write(&bytes);
    }

    fn answer(&mut self, request: &Request) -> Result<Vec<u8>, Errno> {
        let body = request.body;
        match request.opcode {
            opcode::INIT => Ok(initial(body.word(8)?)),
            opcode::LOOKUP => self.entry(self.named(body.name(0)?)?),
            opcode::GETATTR => self.attributes(request.node),
            opcode::SETATTR => {
                self.change(request)?;
                self.attributes(request.node)
            }
            opcode::UNLINK => {
                let number = self.named(body.name(0)?)?;
                self.node_mut(number)?.name = None;
                Ok(Vec::new())
            }
            opcode::OPEN => {
                self.node(request.node)?;
                Ok(self.opened())
            }
            opcode::OPENDIR => Ok(vec![0; 16]),
            opcode::READDIR => Ok(self.names(body.size(8)?)),
            opcode::READ => self.read(request),
            opcode::WRITE => self.write(request),
            opcode::STATFS => {
                // Blocks, free, available; inodes, free; the size of a block, the longest name.
                let counts = [1 << 20; 5].into_iter().fold(Answer::default(), Answer::long);
                Ok(counts.word(4096).word(255).word(4096).filled(80))
            }
            opcode::CREATE => {
                let (mode, name) = (body.word(4)?, body.name(16)?.to_vec());
                if self.named(&name).is_ok() {
                    return Err(Errno::EEXIST);
                }
                self.nodes.push(Node {
                    name: Some(name.clone()),
                    content: Vec::new(),
                    mode,
                    user: request.user,
                    group: request.group,
                    changed: now(),
                });
                let mut answer = self.entry(self.named(&name)?)?;
                answer.extend(self.opened());
                Ok(answer)
            }
            opcode::RELEASE | opcode::RELEASEDIR | opcode::FLUSH | opcode::FSYNC | opcode::DESTROY => Ok(Vec::new()),
            _ => Err(Errno::ENOSYS),
        }
    }

    fn named(&self, name: &[u8]) -> Result<u64, Errno> {
        let is_it = |node: &Node| node.name.as_deref() == Some(name);
        let at = self.nodes.iter().position(is_it).ok_or(Errno::ENOENT)?;
        Ok(ROOT + 1 + at as u64)
    }

    fn index(number: u64) -> Result<usize, Errno> {
        let index = number.checked_sub(ROOT + 1).ok_or(Errno::EISDIR)?;
        usize::try_from(index).map_err(|_| Errno::ENOENT)
    }

    fn node(&self, number: u64) -> Result<&Node, Errno> {
        self.nodes.get(Self::index(number)?).ok_or(Errno::ENOENT)
    }

    fn node_mut(&mut self, number: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(Self::index(number)?).ok_or(Errno::ENOENT)
    }

    /// `struct fuse_attr`.
    fn attr(&self, number: u64) -> Result<Vec<u8>, Errno> {
        let (size, mode, links, user, group, (seconds, nanoseconds)) = if number == ROOT {
            let owner = (process::effective_user(), process::effective_group());
            (0, libc::S_IFDIR | 0o755, 2, owner.0, owner.1, (0, 0))
        } else {
            let node = self.node(number)?;
            let size = if self.settings.hides_sizes { self.settings.shown_size } else { node.content.len() as u64 };
            let links = u32::from(node.name.is_some());
            (size, node.mode, links, node.user, node.group, node.changed)
        };
        let blocks = size.div_ceil(512);
        let longs = [number, size, blocks, seconds, seconds, seconds];
        let words = [nanoseconds, nanoseconds, nanoseconds, mode, links, user, group, 0, 4096];
        let answer = longs.into_iter().fold(Answer::default(), Answer::long);
        Ok(words.into_iter().fold(answer, Answer::word).filled(88))
    }

    /// `struct fuse_attr_out`: the kernel has to ask again each time.
    fn attributes(&self, number: u64) -> Result<Vec<u8>, Errno> {
        let mut answer = vec![0; 16];
        answer.extend(self.attr(number)?);
        Ok(answer)
    }

    /// `struct fuse_entry_out`: the same.
    fn entry(&self, number: u64) -> Result<Vec<u8>, Errno> {
        let mut answer = Answer::default().long(number).filled(40);
        answer.extend(self.attr(number)?);
        Ok(answer)
    }

    /// `struct fuse_open_out`.
    fn opened(&self) -> Vec<u8> {
        const DIRECT_IO: u32 = 1;
        let flags = if self.settings.direct_io { DIRECT_IO } else { 0 };
        Answer::default().long(0).word(flags).filled(16)
    }

    /// `struct fuse_dirent` for each name, from an offset, which is a count of names.
    fn names(&self, from: usize) -> Vec<u8> {
        let mut answer = Vec::new();
        let named = self.nodes.iter().enumerate().filter_map(|(at, node)| Some((at, node.name.as_ref()?)));
        for (at, name) in named.skip_while(|(at, _)| *at < from) {
            let number = ROOT + 1 + at as u64;
            let length = u32::try_from(name.len()).unwrap_or(0);
            let head = Answer::default().long(number).long(at as u64 + 1).word(length);
            let mut entry = head.word(libc::DT_REG.into()).filled(24);
            entry.extend(name);
            entry.resize(entry.len().next_multiple_of(8), 0);
            answer.extend(entry);
        }
        answer.truncate(4096);
        answer
    }

    fn read(&self, request: &Request) -> Result<Vec<u8>, Errno> {
        let (offset, size) = (request.body.size(8)?, request.body.word(16)? as usize);
        let content = &self.node(request.node)?.content;
        let rest = content.get(offset..).unwrap_or_default();
        Ok(rest[..size.min(rest.len())].to_vec())
    }

    fn write(&mut self, request: &Request) -> Result<Vec<u8>, Errno> {
        const HEADER: usize = 40;
        let (offset, asked) = (request.body.size(8)?, request.body.word(16)? as usize);
        let size = match self.settings.quota {
            Some(quota) if offset >= quota => return Err(Errno::EDQUOT),
            Some(quota) => asked.min(quota - offset),
            None => asked,
        };
        let bytes = request.body.0.get(HEADER..HEADER + size).ok_or(Errno::EINVAL)?;
        let node = self.node_mut(request.node)?;
        node.resize(offset.saturating_add(size).max(node.content.len()))?;
        node.content[offset..offset + size].copy_from_slice(bytes);
        node.changed = now();
        let size = u32::try_from(size).map_err(|_| Errno::EINVAL)?;
        Ok(Answer::default().word(size).filled(8))
    }

    fn change(&mut self, request: &Request) -> Result<(), Errno> {
        const MODE: u32 = 1;
        const SIZE: u32 = 8;
        const TIME: u32 = 32;
        const TIME_NOW: u32 = 256;
        let body = request.body;
        let asked = body.word(0)?;
        let node = self.node_mut(request.node)?;
        if asked & MODE != 0 {
            node.mode = body.word(68)?;
        }
        if asked & SIZE != 0 {
            node.resize(body.size(16)?)?;
            node.changed = now();
        }
        if asked & TIME_NOW != 0 {
            node.changed = now();
        } else if asked & TIME != 0 {
            node.changed = (body.long(40)?, body.word(60)?);
        }
        Ok(())
    }
}

impl Node {
    /// Sets the length. The whole content is kept in memory, including holes.
    fn resize(&mut self, length: usize) -> Result<(), Errno> {
        const LONGEST: usize = 1 << 28;
        if length > LONGEST {
            return Err(Errno::EFBIG);
        }
        self.content.resize(length, 0);
        Ok(())
    }
}

/// `struct fuse_init_out`. Reads are not asynchronous: each reader requests one read at a time and waits for it.
fn initial(readahead: u32) -> Vec<u8> {
    /// `FUSE_BIG_WRITES`.
    const FLAGS: u32 = 1 << 5;
    let head = Answer::default().word(7).word(31).word(readahead).word(FLAGS);
    // Then two short numbers for which the kernel has defaults, and a time granularity of one nanosecond.
    let max_write = u32::try_from(MAX_WRITE).unwrap_or(4096);
    head.word(0).word(max_write).word(1).filled(64)
}

fn now() -> (u64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs(), since.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_short_is_refused() {
        let long = [0; Request::HEADER];
        assert!(Request::parse(&long).is_ok());
        assert!(Request::parse(&long[1..]).is_err());
        assert_eq!(Fields(b"1234").word(1), Err(Errno::EINVAL));
        assert_eq!(Fields(b"name\0more").name(0), Ok(&b"name"[..]));
        assert_eq!(Fields(b"name").name(5), Err(Errno::EINVAL));
    }
}
