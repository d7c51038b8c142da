//! The choice for one transfer: which way next, and what has been refused.

#![forbid(unsafe_code)]

use crate::carriers::step::Side;
use crate::carriers::{Carrier, Writing};
use crate::choice::{self, Row, Stability, Way};
use crate::fallback::is_refusal;
use crate::kind::{SinkKind, SourceKind};
use crate::memory;
use crate::outcome::Reason;
use crate::pool::{BUFFER, BUFFER_TO_PIPE, Pool};
use crate::route::Route;
use nocopy_mmap::{SealedMapping, fcntl_get_seals};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use syscalls::{Errno, Sysno};

/// From this number of bytes on, a question about the source costs less than a copy.
const WORTH_ASKING: u64 = 64 << 10;

#[derive(Debug)]
pub(crate) struct Chooser {
    stability: Stability,
    source: SourceKind,
    sink: SinkKind,
    /// Whether the kernel said so, and not the types.
    is_asked: bool,
    /// The row of these kinds.
    row: &'static Row,
    /// The size of a message, for a sink with messages.
    message: Option<usize>,
    pool: Arc<Pool>,
    /// Ways that are not taken any more.
    refused: Ways,
    /// Refusals that the process remembers as soon as another way has moved bytes: before that, the descriptors may be at fault.
    news: Vec<(Way, Errno)>,
    /// The sink had to be waited for: nothing is held for it that a file still has.
    has_waited: bool,
    way: Way,
    /// The route of this way, and whether it leaves pages of the source with the sink.
    taken: (Route, bool),
}

/// A set of ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ways(u8);

impl Ways {
    const fn add(&mut self, way: Way) {
        self.0 |= 1 << way as u8;
    }

    const fn has(self, way: Way) -> bool {
        self.0 & (1 << way as u8) != 0
    }
}

impl Chooser {
    pub(crate) fn new(
        stability: Stability,
        source: SourceKind,
        sink: SinkKind,
        is_asked: bool,
        message: Option<usize>,
        pool: Arc<Pool>,
    ) -> Self {
        let mut chooser = Self {
            stability,
            source,
            sink,
            is_asked,
            row: choice::row(source, sink),
            message,
            pool,
            refused: Ways::default(),
            news: Vec::new(),
            has_waited: false,
            way: Way::ReadWrite,
            taken: (Route::Sendfile, false),
        };
        chooser.set(Way::ReadWrite);
        chooser
    }

    fn set(&mut self, way: Way) {
        self.way = way;
        self.taken = (self.route(way), self.row.shares(way));
    }

    pub(crate) const fn kinds(&self) -> (SourceKind, SinkKind) {
        (self.source, self.sink)
    }

    pub(crate) const fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// The kernel says that the ends are of these kinds. False if these need what a caller must say.
    pub(crate) fn has_learnt(&mut self, (source, sink): (SourceKind, SinkKind)) -> bool {
        (self.source, self.sink, self.is_asked) = (source, sink, true);
        self.row = choice::row(source, sink);
        self.set(self.way);
        source != SourceKind::Datagram && (sink != SinkKind::Datagram || self.message.is_some())
    }

    /// A snapshot of what cannot change is sent like anything else.
    pub(crate) fn look_at_source(&mut self, source: BorrowedFd<'_>, left: u64) {
        let row = self.row;
        if self.stability == Stability::Snapshot
            && self.source == SourceKind::File
            && left >= WORTH_ASKING
            && row.shared != row.snapshot
            && never_changes(source)
        {
            self.stability = Stability::Shared;
        }
    }

    /// Takes the first way that is left, and reports those that are passed over for a reason.
    pub(crate) fn pick(&mut self, left: u64, mut report: impl FnMut(Route, Reason)) -> Carrier {
        let ways = self.row.ways(self.stability);
        let open = |step: &&choice::Step| {
            let holds = step.way == Way::Splice && !self.has_pipe();
            left >= step.least
                && !self.refused.has(step.way)
                && !(holds && self.has_waited && self.is_file())
        };
        let mut taken = Way::ReadWrite;
        for step in ways.iter().filter(open) {
            if step.way != Way::ReadWrite
                && memory::remembers(step.way, Some((self.source, self.sink)))
            {
                report(self.route(step.way), Reason::Remembered);
                continue;
            }
            taken = step.way;
            break;
        }
        self.take(taken)
    }

    /// Takes read and write, for as long as the caller wants.
    pub(crate) fn copy(&mut self) -> Carrier {
        self.take(Way::ReadWrite)
    }

    /// Takes this way.
    pub(crate) fn take(&mut self, way: Way) -> Carrier {
        self.set(way);
        match way {
            Way::Clone => Carrier::Clone,
            Way::CopyFileRange => Carrier::CopyFileRange,
            Way::Sendfile => Carrier::Sendfile,
            // A file is always ready.
            Way::Splice if self.has_pipe() && self.is_file() => Carrier::Splice(Side::Sink),
            Way::Splice if self.has_pipe() => Carrier::Splice(Side::Either),
            Way::Splice => Carrier::through(Arc::clone(&self.pool), self.writing()),
            Way::ReadWrite => {
                Carrier::buffer(Arc::clone(&self.pool), self.buffer(), self.writing())
            }
        }
    }

    const fn writing(&self) -> Writing {
        match (self.sink, self.message) {
            (SinkKind::Datagram, Some(size)) => Writing::Messages(size),
            (
                SinkKind::Tcp
                | SinkKind::Tls
                | SinkKind::Unix
                | SinkKind::Vsock
                | SinkKind::Datagram,
                _,
            ) => Writing::Send,
            _ => Writing::Write,
        }
    }

    /// The sink takes a multiple of this number of bytes, except at the end.
    pub(crate) fn unit(&self) -> u64 {
        match self.writing() {
            Writing::Messages(size) => size as u64,
            Writing::Write | Writing::Send => 1,
        }
    }

    const fn has_pipe(&self) -> bool {
        matches!(self.source, SourceKind::Pipe) || matches!(self.sink, SinkKind::Pipe)
    }

    pub(crate) const fn is_file(&self) -> bool {
        matches!(self.source, SourceKind::File | SourceKind::BlockDevice)
    }

    /// Whether 0 from this call may not be the end of the source: `splice` stops at an urgent byte, and `copy_file_range` finds
    /// nothing in a file without a size (`/proc`).
    pub(crate) fn doubts(&self, call: Sysno, taken: u64) -> bool {
        match call {
            Sysno::splice => matches!(
                self.source,
                SourceKind::Tcp | SourceKind::Unix | SourceKind::Other
            ),
            Sysno::copy_file_range => taken == 0,
            _ => false,
        }
    }

    /// Whether source and sink can be overlapping ranges of one file, or one pipe: a copy would read what it has just written.
    pub(crate) const fn can_overlap(&self) -> bool {
        matches!(
            (self.source, self.sink),
            (SourceKind::File, SinkKind::File | SinkKind::Append)
                | (SourceKind::Pipe, SinkKind::Pipe)
        )
    }

    /// The way that is taken now.
    pub(crate) const fn way(&self) -> Way {
        self.way
    }

    /// The route that is taken now, and whether it leaves pages of the source with the sink.
    pub(crate) const fn taken(&self) -> (Route, bool) {
        self.taken
    }

    const fn buffer(&self) -> usize {
        match (self.sink, self.message) {
            (SinkKind::Pipe, _) => BUFFER_TO_PIPE,
            (SinkKind::Datagram, Some(size)) => size,
            _ => BUFFER,
        }
    }

    const fn route(&self, way: Way) -> Route {
        match way {
            Way::Clone => Route::Clone,
            Way::CopyFileRange => Route::CopyFileRange,
            Way::Sendfile => Route::Sendfile,
            Way::Splice if self.has_pipe() => Route::Splice { pipe: 0 },
            Way::Splice => Route::Splice { pipe: 1 << 20 },
            Way::ReadWrite => Route::ReadWrite {
                buffer: self.buffer(),
            },
        }
    }

    /// The sink had to be waited for. Returns whether another way shall be taken.
    pub(crate) const fn waited(&mut self) -> bool {
        self.has_waited = true;
        self.is_file() && !self.has_pipe() && matches!(self.way, Way::Splice)
    }

    /// Whether another way may be tried after this errno. If so, this one is not taken again.
    /// It is remembered if it may speak of these kinds, and not of these descriptors alone.
    pub(crate) fn refuse(&mut self, call: Sysno, errno: Errno, is_of_kinds: bool) -> bool {
        if self.way == Way::ReadWrite || !is_refusal(call, errno) {
            return false;
        }
        if is_of_kinds {
            self.news.push((self.way, errno));
        }
        self.drop_way();
        true
    }

    /// The way that is taken now has moved bytes.
    pub(crate) fn has_moved(&mut self) {
        for (way, errno) in self.news.drain(..) {
            memory::remember(way, (self.source, self.sink), errno);
        }
    }

    /// Does not take this way again.
    pub(crate) const fn drop_way(&mut self) {
        self.refused.add(self.way);
    }
}

/// Whether nobody can write to the file or shorten it: a memfd with these seals, or a file system that is never written.
fn never_changes(source: BorrowedFd<'_>) -> bool {
    const SQUASHFS: i64 = 0x7371_7368;
    const EROFS: i64 = 0xE0F5_E1E2;
    if let Ok(seals) = fcntl_get_seals(source) {
        return seals.contains(SealedMapping::NEEDED);
    }
    rustix::fs::fstatfs(source).is_ok_and(|status| [SQUASHFS, EROFS].contains(&status.f_type))
}
