//! What a caller asks for.

#![forbid(unsafe_code)]

use crate::carriers::by_sendfile;
use crate::carriers::step::Left;
use crate::choice::{self, Stability, Way};
use crate::error::Error;
use crate::kind::{Endpoint, Hint, SinkKind, SourceKind, ask};
use crate::memory;
use crate::outcome::{Ended, Outcome, Segment, Segments};
use crate::pool::Pool;
use crate::route::Route;
use crate::transfer::{Choosing, Transfer};
use std::os::fd::AsFd;
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
    /// messages. Only a small range of a `File`, to a type of socket that takes its pages, is begun without a question: it is one
    /// `sendfile`, and the kernel is asked if that does not send everything. (A stream's type that was
    /// made of another socket is then believed: what is sent to it goes in messages as `sendfile` makes them, and an overlap with the source is not seen.)
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
        let of_types = self.one_call(source.hint(), sink.hint());
        self.begin_as(of_types, source, sink)
    }

    /// Begins, and asks the kernel what both ends are if that is not given.
    fn begin_as<Source: AsFd, Sink: AsFd>(
        self,
        of_types: Option<(SourceKind, SinkKind)>,
        source: Source,
        sink: Sink,
    ) -> Result<Transfer<Source, Sink>, Error> {
        let kinds = match of_types {
            Some(kinds) => kinds,
            None => ask(&source, &sink).map_err(|errno| Error::Call(Sysno::fstat, errno))?,
        };
        if kinds.0 == SourceKind::Datagram {
            return Err(Error::SourceHasMessages);
        }
        if kinds.1 == SinkKind::Datagram && self.message.is_none() {
            return Err(Error::NeedsMessageSize);
        }
        let pool = self.pool.unwrap_or_else(|| Arc::clone(Pool::of_process()));
        Ok(Transfer::choosing(
            Choosing {
                stability: self.stability,
                kinds,
                is_asked: of_types.is_none(),
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

    /// The whole transfer. If its first call sends everything, nothing is made for it but the outcome.
    pub(crate) fn complete(
        self,
        source: &impl Endpoint,
        sink: &impl Endpoint,
    ) -> Result<Outcome, Error> {
        let (Some(kinds), Some(length)) = (self.one_call(source.hint(), sink.hint()), self.length)
        else {
            return self.begin(source, sink)?.complete();
        };
        let left = Left {
            offset: self.offset,
            length: usize::try_from(length).unwrap_or(usize::MAX),
        };
        let answer = by_sendfile(source.as_fd(), sink.as_fd(), left);
        if answer.is_ok_and(|count| count as u64 == length) {
            let mut segments = Segments::default();
            segments.add(Segment {
                route: Route::Sendfile,
                bytes: length,
                is_shared: choice::row(kinds.0, kinds.1).shares(Way::Sendfile),
            });
            return Ok(Outcome {
                bytes: length,
                ended: Ended::Complete,
                held: 0,
                shrank_to: None,
                notified: None,
                kinds: Some(kinds),
                segments,
                refusals: Vec::new(),
            });
        }
        let mut transfer = self.begin_as(Some(kinds), source, sink)?;
        transfer.go_on_after(answer);
        transfer.complete()
    }

    /// What the types say the ends are, if one `sendfile` may be the whole transfer: a small range of a file, to what takes its pages.
    fn one_call(&self, source: Hint, sink: Hint) -> Option<(SourceKind, SinkKind)> {
        let (from, to) = (source.source()?, sink.sink()?);
        // Messages of a size are made by `send`.
        if self.message.is_some() {
            return None;
        }
        let length = self
            .length
            .filter(|length| *length > 0 && self.offset.is_some())?;
        let ways = choice::row(from, to).ways(self.stability);
        let first = ways.iter().find(|step| step.least <= length)?;
        let is_one_call = from == SourceKind::File
            && first.way == Way::Sendfile
            && !memory::remembers(Way::Sendfile, None);
        is_one_call.then_some((from, to))
    }
}
