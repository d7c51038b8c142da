//! What a caller asks for.

#![forbid(unsafe_code)]

use crate::carriers::by_sendfile;
use crate::carriers::step::Left;
use crate::choice::{self, Stability, Way};
use crate::error::Error;
use crate::kind::{Endpoint, SinkKind, SourceKind};
use crate::memory;
use crate::outcome::{Ended, Outcome, Segment, Segments};
use crate::pool::Pool;
use crate::route::Route;
use crate::transfer::{Choosing, Transfer};
use std::sync::Arc;
use syscalls::Sysno;

/// A transfer that is not begun: from where, how many bytes, and what may happen to them.
///
/// ```no_run
/// use nocopy_transfer::{Request, Stability};
/// # let (file, socket) = (std::fs::File::open("x")?, std::net::TcpStream::connect("127.0.0.1:80")?);
/// let outcome = Request::new(Stability::Shared).range(0, 4096).begin(&file, &socket)?.run();
/// println!("{outcome}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until `begin`"]
pub struct Request {
    stability: Stability,
    offset: Option<u64>,
    length: Option<u64>,
    message: Option<usize>,
    pool: Option<Arc<Pool>>,
    looks_back: bool,
}

impl Request {
    /// From the source's position to its end. A file's position moves on; the sink is written to at its own position.
    pub const fn new(stability: Stability) -> Self {
        Self {
            stability,
            offset: None,
            length: None,
            message: None,
            pool: None,
            looks_back: false,
        }
    }

    /// Only `length` bytes from `offset` of a file, whose position does not move.
    pub const fn range(mut self, offset: u64, length: u64) -> Self {
        self.offset = Some(offset);
        self.length = Some(length);
        self
    }

    /// At most `length` bytes.
    pub const fn at_most(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    /// Sends messages of this many bytes, the last one shorter. A sink with messages (UDP) is refused without it.
    pub const fn messages(mut self, size: usize) -> Self {
        self.message = Some(if size == 0 { 1 } else { size });
        self
    }

    /// Lends pipes from this pool and not from that of the process.
    pub fn pool(mut self, pool: &Arc<Pool>) -> Self {
        self.pool = Some(Arc::clone(pool));
        self
    }

    /// Looks at the end whether the source has become shorter than what was sent: one `fstat`.
    pub const fn look_back(mut self) -> Self {
        self.looks_back = true;
        self
    }

    /// Begins; nothing is sent yet. The kernel is asked what both ends are: a `File` can be a pipe, and a `UnixStream` can have
    /// messages.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if the kernel cannot say what a descriptor is, [`Error::NeedsMessageSize`] for a sink with messages,
    /// [`Error::SourceHasMessages`] for such a source.
    pub fn begin<Source: Endpoint, Sink: Endpoint>(
        self,
        source: Source,
        sink: Sink,
    ) -> Result<Transfer<Source, Sink>, Error> {
        let call = |errno| Error::Call(Sysno::fstat, errno);
        let from = SourceKind::of(&source).map_err(call)?;
        let to = SinkKind::of(&sink).map_err(call)?;
        if from == SourceKind::Datagram {
            return Err(Error::SourceHasMessages);
        }
        if to == SinkKind::Datagram && self.message.is_none() {
            return Err(Error::NeedsMessageSize);
        }
        let pool = self.pool.unwrap_or_else(|| Arc::clone(Pool::of_process()));
        Ok(Transfer::choosing(
            Choosing {
                stability: self.stability,
                kinds: (from, to),
                message: self.message,
                pool,
                offset: self.offset,
                length: self.length,
                looks_back: self.looks_back,
            },
            source,
            sink,
        ))
    }

    /// The whole transfer, if its first call is one `sendfile` that sends everything: a small range of a file, to what takes its
    /// pages. Nothing is made for it but the outcome. What the ends are is taken from their types: if that is wrong, the call is
    /// refused, and the kernel is asked.
    pub(crate) fn complete(
        self,
        source: &impl Endpoint,
        sink: &impl Endpoint,
    ) -> Result<Outcome, Error> {
        let hints = (source.hint().source(), sink.hint().sink());
        let ((Some(from), Some(to)), Some(offset), Some(length)) =
            (hints, self.offset, self.length)
        else {
            return self.begin(source, sink)?.complete();
        };
        let row = choice::row(from, to);
        let first = row
            .ways(self.stability)
            .iter()
            .find(|step| step.least <= length);
        let is_one_call = length > 0
            && from == SourceKind::File
            && first.is_some_and(|step| step.way == Way::Sendfile)
            && !memory::remembers(Way::Sendfile, None);
        if !is_one_call {
            return self.begin(source, sink)?.complete();
        }
        let left = Left {
            offset: Some(offset),
            length: usize::try_from(length).unwrap_or(usize::MAX),
        };
        let answer = by_sendfile(source.as_fd(), sink.as_fd(), left);
        if answer.is_ok_and(|count| count as u64 == length) {
            let mut segments = Segments::default();
            let is_shared = row.shares(Way::Sendfile);
            segments.add(Segment {
                route: Route::Sendfile,
                bytes: length,
                is_shared,
            });
            return Ok(Outcome {
                bytes: length,
                ended: Ended::Complete,
                held: 0,
                shrank_to: None,
                notified: None,
                kinds: Some((from, to)),
                segments,
                refusals: Vec::new(),
            });
        }
        let mut transfer = self.begin(source, sink)?;
        transfer.go_on_after(answer);
        transfer.complete()
    }
}
