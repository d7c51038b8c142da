//! A transfer: bytes on their way from a source to a sink.

#![forbid(unsafe_code)]

use crate::carriers::Carrier;
use crate::carriers::step::{Halt, Left, Side};
use crate::choice::{CLONED, LARGE, Stability, Way};
use crate::chooser::Chooser;
use crate::error::{Error, Stopped};
use crate::fallback::is_refusal;
use crate::kind::{SinkKind, SourceKind, ask};
use crate::outcome::{Ended, Notified, Outcome, Reason, Refusal, Segment, Segments};
use crate::pool::Pool;
use crate::route::Route;
use crate::sys;
use rustix::event::PollFlags;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use syscalls::{Errno, Sysno};

/// The longest piece of one call: a call on a file cannot be interrupted, and 1 GiB from a slow disk takes seconds.
const PIECE: u64 = 1 << 30;

/// The largest offset. No byte of a file is past it, and an offset past it is the kernel's to refuse.
const LARGEST: u64 = i64::MAX as u64;

/// After this number of refusals, only new ones are noted.
const REFUSALS: usize = 64;

/// The state of a transfer after [`Transfer::advance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The budget is used up.
    Budget,
    /// It can continue after this event.
    Waits(Wait),
    /// It has ended.
    Ended,
}

/// An event that a transfer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The source has more, or has ended: `POLLIN`.
    Source,
    /// The sink can take more: `POLLOUT`.
    Sink,
    /// A completion is in the sink's error queue: `POLLERR`, which `poll` always reports.
    Completions,
}

/// What a transfer with a choice is made of.
pub(crate) struct Choosing {
    pub(crate) stability: Stability,
    pub(crate) kinds: (SourceKind, SinkKind),
    pub(crate) is_asked: bool,
    pub(crate) message: Option<usize>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) offset: Option<u64>,
    pub(crate) length: Option<u64>,
    pub(crate) looks_back: bool,
}

/// Source, sink and what else is left of a transfer.
#[derive(Debug)]
pub struct Parts<Source, Sink> {
    /// The source.
    pub source: Source,
    /// The sink.
    pub sink: Sink,
    /// The bytes that had left the source after those that the sink took, in their order. Empty for a range of a file, and for a
    /// file whose position could be moved back.
    pub held: Vec<u8>,
    /// What became of the bytes.
    pub outcome: Outcome,
}

/// A source that is sent to a sink: all of it, a part, or a range of a file. Both may be descriptors or references to descriptors.
///
/// A transfer continues after a short count and after `EINTR`. It stops at the end of a budget, when it must wait, and at its end.
/// So many transfers can share one event loop. A program with a single one calls [`run`](Self::run), or [`copy`](crate::copy()).
///
/// Two ways to begin: a [`Request`](crate::Request) chooses the route and takes another one where it is refused;
/// [`Transfer::by`] keeps to one route, and reports a refusal as a failure.
///
/// Dropping a transfer closes a pipe with bytes in it. [`into_parts`](Self::into_parts) gives them back.
#[derive(Debug)]
pub struct Transfer<Source, Sink> {
    source: Source,
    sink: Sink,
    /// None: the next step chooses.
    carrier: Option<Carrier>,
    /// None: one route was given.
    chooser: Option<Chooser>,
    /// The route that was given.
    given: Option<Route>,
    /// Where the range begins. None: at the source's position, or in a stream.
    start: Option<u64>,
    length: u64,
    /// Whether the caller asked for this length.
    is_bounded: bool,
    /// How it ends when so many bytes are taken: a range that goes past the largest offset ends as the source does.
    whole: Ended,
    taken: u64,
    steps: u64,
    looks_back: bool,
    /// The choice is made again as soon as the carrier has sent something and holds nothing.
    is_leaving: bool,
    /// The source's size at the beginning, if it is a file and a route was given.
    size_before: Option<u64>,
    /// For a source that is mapped: its size, if that is known to be less than the end of the range.
    limit: Option<u64>,
    /// Why no more is sent, while completions may still be outstanding.
    ending: Option<Ended>,
    ended: Option<Ended>,
    segments: Segments,
    refusals: Vec<Refusal>,
    unasked: Unasked,
}

/// Bytes that have left a stream and reached no sink.
#[derive(Debug, Default)]
struct Unasked(u64);

/// See [`dropped_bytes`].
static DROPPED: AtomicU64 = AtomicU64::new(0);

impl Drop for Unasked {
    fn drop(&mut self) {
        if self.0 > 0 {
            DROPPED.fetch_add(self.0, Ordering::Relaxed);
            event!(
                ERROR,
                bytes = self.0,
                "a transfer was dropped with bytes of a stream"
            );
        }
    }
}

/// The bytes that had left a stream when their transfer was dropped, in this process. What nobody takes by
/// [`Transfer::into_parts`] is gone: a proxy that goes on with such a connection has a gap in it.
pub fn dropped_bytes() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

impl<Source: AsFd, Sink: AsFd> Transfer<Source, Sink> {
    /// A range of a file by one route. Nothing is sent yet. The source is read at explicit offsets, and its position does not change.
    /// A transfer that ended early can be resumed by any route at `start` plus [`Outcome::bytes`]; by `MSG_ZEROCOPY` again, use
    /// [`by_after`](Self::by_after). Writing to a peer that is gone raises `SIGPIPE`, except by `MSG_ZEROCOPY`.
    ///
    /// # Errors
    ///
    /// The kernel's errno: for example, if the pipe cannot have this capacity, or if the socket does not support `SO_ZEROCOPY`.
    /// With `MSG_ZEROCOPY` it fails with `EBUSY` if the socket has the option already: completions of earlier sends could be taken
    /// for those of this transfer.
    pub fn by(
        route: Route,
        source: Source,
        start: u64,
        length: u64,
        sink: Sink,
    ) -> Result<Self, Errno> {
        Self::by_from(route, source, start, length, sink, None)
    }

    /// The same on a socket on which `earlier` was the last to send with `MSG_ZEROCOPY`, however that transfer ended. Its
    /// outstanding completions are read and not counted.
    ///
    /// # Errors
    ///
    /// As [`by`](Self::by), except `EBUSY`.
    pub fn by_after(
        earlier: &Outcome,
        route: Route,
        source: Source,
        start: u64,
        length: u64,
        sink: Sink,
    ) -> Result<Self, Errno> {
        let next_id = earlier.notified.map(|notified| notified.next_id);
        Self::by_from(route, source, start, length, sink, next_id)
    }

    fn by_from(
        route: Route,
        source: Source,
        start: u64,
        length: u64,
        sink: Sink,
        next_id: Option<u32>,
    ) -> Result<Self, Errno> {
        let carrier = Carrier::of(route, source.as_fd(), sink.as_fd(), next_id)?;
        let mut transfer = Self::new(source, sink, Some(start), length.min(u64::MAX - start));
        transfer.carrier = Some(carrier);
        transfer.given = Some(route);
        transfer.looks_back = true;
        transfer.size_before = transfer.size();
        transfer.look_at_size();
        Ok(transfer)
    }

    pub(crate) fn choosing(choosing: Choosing, source: Source, sink: Sink) -> Self {
        let Choosing {
            stability,
            kinds: (from, to),
            is_asked,
            message,
            pool,
            offset,
            length,
            looks_back,
        } = choosing;
        let mut chooser = Chooser::new(stability, from, to, is_asked, message, pool);
        let is_bounded = length.is_some();
        let most = match offset {
            Some(offset) if offset <= LARGEST => LARGEST - offset,
            offset => u64::MAX - offset.unwrap_or(0),
        };
        let is_cut = length.is_some_and(|length| length > most);
        let length = length.map_or(most, |length| length.min(most));
        chooser.look_at_source(source.as_fd(), length);
        let mut transfer = Self::new(source, sink, offset, length);
        transfer.chooser = Some(chooser);
        transfer.is_bounded = is_bounded;
        if is_cut {
            transfer.whole = Ended::SourceEnded;
        }
        transfer.looks_back = looks_back;
        transfer
    }

    fn new(source: Source, sink: Sink, start: Option<u64>, length: u64) -> Self {
        Self {
            source,
            sink,
            carrier: None,
            chooser: None,
            given: None,
            start,
            length,
            is_bounded: true,
            whole: Ended::Complete,
            taken: 0,
            steps: 0,
            looks_back: false,
            is_leaving: false,
            size_before: None,
            limit: None,
            ending: None,
            ended: None,
            segments: Segments::default(),
            refusals: Vec::new(),
            unasked: Unasked(0),
        }
    }

    /// Sends until the sink has taken `budget` more bytes, or until it must stop. A blocking source or sink can make it sleep. To a
    /// sink with messages, the budget is rounded up to whole messages.
    pub fn advance(&mut self, budget: u64) -> State {
        let unit = self.chooser.as_ref().map_or(1, Chooser::unit);
        let budget = budget.checked_next_multiple_of(unit).unwrap_or(u64::MAX);
        let goal = self.taken.saturating_add(budget).min(self.length);
        let state = self.advance_to(goal);
        self.rest();
        state
    }

    /// Between two calls of `advance`, nothing is held that a file still has.
    fn rest(&mut self) {
        let is_in_file = self.start.is_some();
        let Some(chooser) = &self.chooser else { return };
        let held = self.held();
        if held > 0
            && !is_in_file
            && chooser.is_file()
            && sys::has_taken_back(self.source.as_fd(), held)
        {
            self.carrier = None;
            self.is_leaving = false;
        }
        if let Some(carrier) = &mut self.carrier {
            carrier.rest(is_in_file);
            if self.is_leaving && carrier.held() == 0 {
                self.carrier = None;
                self.is_leaving = false;
            }
        }
        self.unasked.0 = if is_in_file { 0 } else { self.held() };
    }

    fn advance_to(&mut self, goal: u64) -> State {
        while self.ended.is_none() {
            if self.ending.is_none() && self.taken == self.length {
                self.ending = Some(self.whole);
            }
            let done = if let Some(ending) = self.ending {
                self.finish().map(|()| self.ended = Some(ending))
            } else if self.limit.is_some_and(|limit| limit <= self.at()) {
                self.ending = self.is_behind_the_end().then_some(Ended::SourceEnded);
                Ok(())
            } else if self.taken == goal {
                return State::Budget;
            } else {
                self.step(goal)
            };
            if let Err(halt) = done
                && let Some(wait) = self.halted(halt)
            {
                return State::Waits(wait);
            }
        }
        State::Ended
    }

    fn finish(&mut self) -> Result<(), Halt> {
        self.carrier
            .as_mut()
            .map_or(Ok(()), |carrier| carrier.finish(self.sink.as_fd()))
    }

    fn step(&mut self, goal: u64) -> Result<(), Halt> {
        let most = self.choose(goal)?;
        let Some(carrier) = &mut self.carrier else {
            return Ok(());
        };
        self.steps += 1;
        let start = self.start.unwrap_or(0);
        let left = self.limit.unwrap_or(u64::MAX).min(start + goal) - (start + self.taken);
        let left = Left {
            offset: self.start.map(|start| start + self.taken),
            length: usize::try_from(left.min(most)).unwrap_or(usize::MAX),
        };
        let answer = carrier.step(self.source.as_fd(), self.sink.as_fd(), left);
        self.answered(answer)
    }

    /// Goes on after the first call, which was made by `sendfile` already.
    pub(crate) fn go_on_after(&mut self, answer: Result<usize, Halt>) {
        self.carrier = self
            .chooser
            .as_mut()
            .map(|chooser| chooser.take(Way::Sendfile));
        self.steps += 1;
        if let Err(halt) = self.answered(answer) {
            self.halted(halt);
        }
    }

    fn answered(&mut self, answer: Result<usize, Halt>) -> Result<(), Halt> {
        // What the sink took is taken, whatever the offset says of it.
        let count = match answer {
            Ok(count) | Err(Halt::Disagrees(_, count)) => count as u64,
            Err(_) => 0,
        };
        self.taken += count;
        let asked = match answer {
            // Nothing may replace it: the kernel may report it only once.
            Err(Halt::Call(call, errno, _)) if !is_refusal(call, errno) => Ok(()),
            Ok(_) if self.taken == self.length => Ok(()),
            _ => self.ask(),
        };
        if count > 0 {
            self.note(count);
        }
        asked?;
        match answer {
            // A device, whose offset means nothing.
            Err(Halt::Disagrees(..)) if self.chooser.as_ref().is_some_and(|one| !one.is_file()) => {
                Ok(())
            }
            answer => answer.map(drop),
        }
    }

    /// One call has not sent everything, so the kernel is asked what both ends are, if it was not.
    fn ask(&mut self) -> Result<(), Halt> {
        let Some(chooser) = self.chooser.as_mut().filter(|chooser| !chooser.is_asked()) else {
            return Ok(());
        };
        let failed = |errno| Halt::Call(Sysno::fstat, errno, Side::Source);
        let kinds = ask(self.source.as_fd(), self.sink.as_fd()).map_err(failed)?;
        if chooser.has_learnt(kinds) {
            return Ok(());
        }
        Err(Halt::HasMessages)
    }

    /// Takes a way, if there is none now. Returns how many bytes one call may move.
    fn choose(&mut self, goal: u64) -> Result<u64, Halt> {
        let Some(chooser) = &mut self.chooser else {
            // The offset and the count together are less than the largest offset.
            return Ok(match self.given {
                Some(Route::Sendfile | Route::CopyFileRange) => PIECE,
                _ => u64::MAX,
            });
        };
        if self.carrier.is_none() {
            // Without a length, a source is small until it has turned out to be large.
            let is_open = self.is_bounded || self.taken >= LARGE;
            let guess = if is_open { u64::MAX } else { self.taken };
            let (mut passed, at) = (Vec::new(), self.taken);
            let report = |route, reason| passed.push(Refusal { route, at, reason });
            let carrier = chooser.pick(guess.min(goal - self.taken), report);
            if chooser.can_overlap() {
                let (source, sink) = (self.source.as_fd(), self.sink.as_fd());
                let from = self.start.map(|start| start + self.taken);
                let overlaps = sys::overlaps(source, from, self.length - self.taken, sink);
                if overlaps.is_ok_and(|overlaps| overlaps) {
                    return Err(Halt::Overlaps);
                }
            }
            self.carrier = Some(carrier);
            event!(DEBUG, route = %chooser.taken().0, is_shared = chooser.taken().1, at, kinds = ?chooser.kinds(), "a way is taken");
            for refusal in passed {
                self.refuse(refusal);
            }
        }
        let way = self.chooser.as_ref().map_or(Way::ReadWrite, Chooser::way);
        Ok(match self.turning_point(way) {
            Some(point) if self.taken < point => point - self.taken,
            _ if way == Way::Clone => u64::MAX,
            _ => PIECE,
        })
    }

    /// The number of bytes after which a source without a length has turned out to be large, and the choice is made again.
    const fn turning_point(&self, way: Way) -> Option<u64> {
        match way {
            Way::Sendfile if !self.is_bounded => Some(LARGE),
            Way::CopyFileRange if !self.is_bounded => Some(CLONED),
            _ => None,
        }
    }

    /// Counts what the sink has taken, and looks whether another way is better from here.
    fn note(&mut self, count: u64) {
        if let Some(chooser) = &mut self.chooser
            && count > 0
        {
            chooser.has_moved();
        }
        let (route, is_shared) = match (&self.chooser, self.given) {
            (Some(chooser), _) => chooser.taken(),
            (None, Some(route)) => (route, !route.takes_a_copy()),
            (None, None) => return,
        };
        self.segments.add(Segment {
            route,
            bytes: count,
            is_shared,
        });
        let Some(chooser) = &self.chooser else { return };
        let way = chooser.way();
        // After a clone, what is left are no whole blocks.
        let is_large = way == Way::Clone || self.turning_point(way) == Some(self.taken);
        let is_empty = self
            .carrier
            .as_ref()
            .is_none_or(|carrier| carrier.held() == 0);
        if is_large || self.is_leaving && count > 0 && is_empty {
            self.carrier = None;
            self.is_leaving = false;
        }
    }

    /// The event to wait for, if there is one. Without an event, the transfer continues or has ended.
    fn halted(&mut self, halt: Halt) -> Option<Wait> {
        match halt {
            Halt::Call(_, Errno::EINTR, _) => {}
            Halt::Call(call, Errno::EAGAIN, side) => return self.must_wait(call, side),
            Halt::Completions => return Some(Wait::Completions),
            Halt::Disagrees(call, _) => self.give_up(Ended::Disagrees(call)),
            Halt::HasMessages => self.give_up(Ended::HasMessages),
            Halt::Overlaps => self.give_up(Ended::Overlaps),
            _ if self.chooser.is_some() => self.stopped(halt),
            Halt::Nothing(_) if self.is_behind_the_end() => self.ending = Some(Ended::SourceEnded),
            // A write that reaches the end of the mapping may take no bytes, not even those before the end.
            Halt::Call(_, Errno::EFAULT, _) if self.look_at_size() => {}
            Halt::Nothing(call) => self.give_up(Ended::Stuck(call)),
            Halt::Call(call, errno, _) => self.give_up(Ended::Failed(call, errno)),
            Halt::NoPipe => self.give_up(Ended::Failed(Sysno::pipe2, Errno::EMFILE)),
        }
        None
    }

    fn must_wait(&mut self, call: Sysno, side: Side) -> Option<Wait> {
        let (source, sink) = (self.source.as_fd(), self.sink.as_fd());
        let returns = |fd| sys::is_nonblocking(fd).unwrap_or(false);
        let is_ready = |fd, event| {
            // An entry in the error queue is always reported, and is no such event.
            let happened = sys::poll(fd, event, Some(Duration::ZERO));
            happened.is_ok_and(|events| events.intersects(event | PollFlags::HUP))
        };
        let wait = match side {
            Side::Source => returns(source).then_some(Wait::Source),
            Side::Sink => returns(sink).then_some(Wait::Sink),
            Side::Either if returns(source) || returns(sink) => {
                let is_full = is_ready(source, PollFlags::IN) && !is_ready(sink, PollFlags::OUT);
                Some(if is_full { Wait::Sink } else { Wait::Source })
            }
            Side::Either => None,
        };
        // A source that is ready all the same: it is at an urgent byte, where splice of a non-blocking socket has nothing, or its
        // bytes have come since. A read says which.
        if wait == Some(Wait::Source)
            && let Some(chooser) = &mut self.chooser
            && chooser.way() == Way::Splice
            && self
                .carrier
                .as_ref()
                .is_none_or(|carrier| carrier.held() == 0)
            && is_ready(source, PollFlags::IN)
        {
            self.carrier = Some(chooser.copy());
            self.is_leaving = true;
            return None;
        }
        if wait.is_none() {
            // The timeout of a blocking descriptor.
            self.give_up(Ended::Failed(call, Errno::EAGAIN));
        } else if wait == Some(Wait::Sink)
            && let Some(chooser) = &mut self.chooser
            && chooser.waited()
        {
            self.leave();
        }
        wait
    }

    /// Chooses again: now, or when the carrier holds nothing any more.
    fn leave(&mut self) {
        self.is_leaving = self
            .carrier
            .as_ref()
            .is_some_and(|carrier| carrier.held() > 0);
        if !self.is_leaving {
            self.carrier = None;
        }
    }

    /// A chosen way has moved nothing: takes another one, or ends.
    fn stopped(&mut self, halt: Halt) {
        let (Some(chooser), Some(carrier)) = (&mut self.chooser, &mut self.carrier) else {
            return;
        };
        let (route, _) = chooser.taken();
        let at = self.taken;
        let reason = match halt {
            Halt::Call(call, errno, _) => {
                // EINVAL may be of O_APPEND, which is of this descriptor alone.
                let appends = |fd| sys::appends(fd).unwrap_or(false);
                let is_of_kinds = errno != Errno::EINVAL
                    || !appends(self.source.as_fd()) && !appends(self.sink.as_fd());
                if !chooser.refuse(call, errno, is_of_kinds) {
                    return self.give_up(Ended::Failed(call, errno));
                }
                Reason::Errno(call, errno)
            }
            Halt::Nothing(call) if carrier.held() > 0 => {
                if chooser.way() == Way::ReadWrite {
                    return self.give_up(Ended::Stuck(call));
                }
                chooser.drop_way();
                Reason::Nothing(call)
            }
            // The source is shorter than what was to be cloned, and the next way says where it ends.
            Halt::Nothing(Sysno::ioctl) => {
                chooser.drop_way();
                self.carrier = None;
                return;
            }
            Halt::Nothing(call) if chooser.doubts(call, at) => {
                // A stream has passed what splice stops at, once a read has returned something.
                self.is_leaving = call == Sysno::splice;
                self.carrier = Some(chooser.copy());
                let reason = Reason::Nothing(call);
                return self.refuse(Refusal { route, at, reason });
            }
            Halt::Nothing(_) => {
                let ended = if self.is_bounded {
                    Ended::SourceEnded
                } else {
                    Ended::Complete
                };
                self.ending = Some(ended);
                return;
            }
            Halt::NoPipe => {
                chooser.drop_way();
                Reason::NoPipe
            }
            Halt::Disagrees(..) | Halt::Completions | Halt::Overlaps | Halt::HasMessages => return,
        };
        self.refuse(Refusal { route, at, reason });
        let Some(carrier) = &mut self.carrier else {
            return;
        };
        // What is in the pipe goes first.
        self.is_leaving = carrier.copy_the_rest();
        if !self.is_leaving {
            self.carrier = None;
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        event!(DEBUG, route = %refusal.route, at = refusal.at, reason = ?refusal.reason, "a way is refused");
        // A peer can have one repeated for ever.
        let is_known =
            |known: &Refusal| known.route == refusal.route && known.reason == refusal.reason;
        if self.refusals.len() < REFUSALS || !self.refusals.iter().any(is_known) {
            self.refusals.push(refusal);
        }
    }

    fn give_up(&mut self, ended: Ended) {
        // The completions that have arrived are read; it does not wait for more.
        let _ = self.finish();
        self.ended = Some(ended);
    }

    /// The current offset in the source, or the number of bytes taken from it.
    fn at(&self) -> u64 {
        self.start.unwrap_or(0) + self.taken
    }

    fn held(&self) -> u64 {
        self.carrier.as_ref().map_or(0, Carrier::held)
    }

    /// Whether the source has no bytes past those that were taken, by its current size. A source without a size (`/proc`) has no
    /// more bytes.
    fn is_behind_the_end(&mut self) -> bool {
        self.look_at_size();
        let at = self.at() + self.held();
        self.size().is_none_or(|size| size <= at)
    }

    /// Updates the limit from the source's size. Returns whether the limit changed.
    fn look_at_size(&mut self) -> bool {
        let end = self.at() - self.taken + self.length;
        let maps = self.given.is_some_and(Route::maps);
        let limit = self.size().filter(|size| maps && *size < end);
        std::mem::replace(&mut self.limit, limit) != limit
    }

    fn size(&self) -> Option<u64> {
        sys::file_size(self.source.as_fd())
    }

    /// Bytes that the sink has taken so far.
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    /// The number of steps of the route so far. Each step is one or two calls.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The kernel's reports about `MSG_ZEROCOPY` sends so far.
    pub fn notified(&self) -> Option<Notified> {
        self.carrier.as_ref().and_then(Carrier::notified)
    }

    /// The source.
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// The sink.
    pub const fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Sleeps until the event has happened, or a signal has arrived.
    ///
    /// # Errors
    ///
    /// The errno of `ppoll`.
    pub fn wait(&self, wait: Wait) -> Result<(), Errno> {
        let sink = self.sink.as_fd();
        let until = |fd, event| {
            let events = sys::poll(fd, event, None)?;
            // What somebody else leaves in the error queue is reported at once, every time.
            if !events.is_empty() && !events.intersects(event | PollFlags::HUP) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        };
        match wait {
            Wait::Source => until(self.source.as_fd(), PollFlags::IN),
            Wait::Sink => until(sink, PollFlags::OUT),
            Wait::Completions => {
                // POLLERR is always reported. A connection that has ended is always ready; its last completions arrive when the
                // kernel drops the queued data.
                if sys::poll(sink, PollFlags::empty(), None)?.contains(PollFlags::HUP) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            }
        }
    }

    /// Sends to the end, sleeps where it must wait, and returns the result.
    pub fn run(mut self) -> Outcome {
        self.drive();
        self.outcome()
    }

    /// Sends to the end, and sleeps where it must wait.
    pub fn drive(&mut self) {
        loop {
            match self.advance(u64::MAX) {
                State::Ended => return,
                State::Budget => {}
                State::Waits(wait) => {
                    if let Err(errno) = self.wait(wait) {
                        self.cut_off(Sysno::ppoll, errno);
                    }
                }
            }
        }
    }

    /// It cannot be waited for.
    pub(crate) fn cut_off(&mut self, call: Sysno, errno: Errno) {
        self.ended = Some(Ended::Failed(call, errno));
    }

    /// The result, at any point of the transfer. Held bytes of a stream are dropped, and counted.
    pub fn outcome(self) -> Outcome {
        let Parts { outcome, held, .. } = self.into_parts();
        drop(Unasked(held.len() as u64));
        outcome
    }

    /// Sends to the end; an end that is not the source's or the range's is an error, with the bytes that have left the source.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub fn complete(mut self) -> Result<Outcome, Error> {
        self.drive();
        self.end()
    }

    /// The outcome of a transfer that has ended. An end that is not the source's or the range's is an error.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub fn end(self) -> Result<Outcome, Error> {
        let Parts { outcome, held, .. } = self.into_parts();
        match outcome.ended {
            Ended::Complete | Ended::SourceEnded => Ok(outcome),
            Ended::HasMessages if outcome.bytes == 0 => Err(match outcome.kinds {
                Some((SourceKind::Datagram, _)) => Error::SourceHasMessages,
                _ => Error::NeedsMessageSize,
            }),
            _ => Err(Error::Stopped(Box::new(Stopped { outcome, held }))),
        }
    }

    /// Takes it apart, at any point: what became of the bytes, and those that have left the source and not reached the sink.
    pub fn into_parts(mut self) -> Parts<Source, Sink> {
        self.unasked.0 = 0;
        let held = self.held();
        let shrank_to = || {
            let has_shrunk = |size: &u64| {
                *size < self.at() && (self.given.is_none() || Some(*size) < self.size_before)
            };
            self.size().filter(has_shrunk)
        };
        let is_shared = self.segments.iter().any(|segment| segment.is_shared);
        let is_at_risk = self.looks_back && self.start.is_some() && self.taken > 0 && is_shared;
        // A file's position is moved back to the first byte that the sink has not taken. A stream has none.
        let is_back =
            held > 0 && self.start.is_none() && sys::has_taken_back(self.source.as_fd(), held);
        let mut outcome = Outcome {
            bytes: self.taken,
            ended: self.ended.unwrap_or(Ended::Abandoned),
            held: if is_back { 0 } else { held },
            shrank_to: if is_at_risk { shrank_to() } else { None },
            notified: self.notified(),
            kinds: self.chooser.as_ref().map(Chooser::kinds),
            segments: self.segments,
            refusals: self.refusals,
        };
        let is_kept = held > 0 && !is_back && self.start.is_none();
        let held = self
            .carrier
            .filter(|_| is_kept)
            .map_or_else(Vec::new, Carrier::into_bytes);
        if is_kept {
            outcome.held = held.len() as u64;
        }
        Parts {
            source: self.source,
            sink: self.sink,
            held,
            outcome,
        }
    }
}
