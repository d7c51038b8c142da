//! What became of the bytes.

#![forbid(unsafe_code)]

use crate::kind::{SinkKind, SourceKind};
use crate::route::Route;
use std::fmt;
use std::ops::Deref;
use syscalls::{Errno, Sysno};

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The sink has taken the whole range; or all up to the end of the source, if no length was asked for.
    Complete,
    /// The source ended before the range did.
    SourceEnded,
    /// A call moved nothing, although the source has more.
    Stuck(Sysno),
    /// A call returned a count that does not match the offset that it left.
    Disagrees(Sysno),
    /// A call failed. `EAGAIN` is the timeout of a blocking descriptor (`SO_SNDTIMEO`, `SO_RCVTIMEO`).
    Failed(Sysno, Errno),
    /// Source and sink are one file, and the ranges overlap: a loop would copy what it has just written, for ever where it copies to
    /// the end of the file.
    Overlaps,
    /// An end is a socket with messages, although its type is that of a stream, and no size was named for them. Nothing more is sent.
    HasMessages,
    /// The caller took the outcome before the end.
    Abandoned,
}

/// The kernel's reports about `MSG_ZEROCOPY` sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notified {
    /// Sends that took bytes.
    pub sends: u64,
    /// Sends whose completion reports that their bytes were copied after all.
    pub copied: u64,
    /// Sends without a completion so far: the kernel still holds the file's pages.
    pub outstanding: u64,
    /// Sends that were made without the flag, because not even one could be pinned (`RLIMIT_MEMLOCK`) or queued.
    pub unpinned: u64,
    /// The id that the socket's next send with the flag will have: for `Transfer::by_after`.
    pub next_id: u32,
}

/// Bytes that one route has sent, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The route.
    pub route: Route,
    /// The bytes that the sink took.
    pub bytes: u64,
    /// Whether the sink may hold the source's pages, and so sees later changes. False: it has a copy.
    pub is_shared: bool,
}

/// After this number of segments, bytes are counted with the last one of their route.
const SEGMENTS: usize = 64;

/// The segments of a transfer, mostly one: a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segments(Few);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Few {
    #[default]
    None,
    /// Without an allocation.
    One(Segment),
    Many(Vec<Segment>),
}

impl Deref for Segments {
    type Target = [Segment];

    fn deref(&self) -> &[Segment] {
        match &self.0 {
            Few::None => &[],
            Few::One(segment) => std::slice::from_ref(segment),
            Few::Many(segments) => segments,
        }
    }
}

impl Segments {
    /// Adds bytes to the last segment, or begins another one.
    pub(crate) fn add(&mut self, more: Segment) {
        let is_same =
            |known: &&mut Segment| known.route == more.route && known.is_shared == more.is_shared;
        let same = match &mut self.0 {
            Few::None => None,
            Few::One(segment) => Some(segment).filter(is_same),
            // A peer can have routes alternate for ever: then bytes are counted with the last of their route.
            Few::Many(segments) if segments.len() >= SEGMENTS => {
                segments.iter_mut().rev().find(is_same)
            }
            Few::Many(segments) => segments.last_mut().filter(is_same),
        };
        if let Some(same) = same {
            same.bytes += more.bytes;
        } else if more.bytes > 0 {
            self.0 = match std::mem::take(&mut self.0) {
                Few::None => Few::One(more),
                Few::One(first) => Few::Many(vec![first, more]),
                Few::Many(mut segments) => {
                    segments.push(more);
                    Few::Many(segments)
                }
            };
        }
    }
}

/// Why a route was not taken, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The route.
    pub route: Route,
    /// The bytes that the sink had taken by then.
    pub at: u64,
    /// The reason.
    pub reason: Reason,
}

/// A reason not to take a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A call moved nothing and returned this errno of the fall-back set.
    Errno(Sysno, Errno),
    /// A call returned 0, and a read shall say whether the source has ended.
    Nothing(Sysno),
    /// The pool has no pipe left, within the user's share of `pipe-user-pages-soft`.
    NoPipe,
    /// `ENOSYS` or a refusal of these two kinds was seen before in this process.
    Remembered,
}

/// The result of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes that the sink has taken, from the beginning of the range.
    pub bytes: u64,
    /// How it ended.
    pub ended: Ended,
    /// Bytes after these that had left the source, and were dropped with their buffer or pipe. A range of a file still has them.
    pub held: u64,
    /// The source's size, if it is now smaller than the end of the sent range. With a route that sends the file's pages, bytes past
    /// this size may have become zeros before they were sent. Looked for if a route was given, or after `Request::look_back`.
    pub shrank_to: Option<u64>,
    /// The reports about `MSG_ZEROCOPY` sends.
    pub notified: Option<Notified>,
    /// The kinds of source and sink, where a choice was made: by the kernel, or by their types if one `sendfile` was all.
    pub kinds: Option<(SourceKind, SinkKind)>,
    /// The routes that the bytes took, in their order.
    pub segments: Segments,
    /// Why others were not taken.
    pub refusals: Vec<Refusal>,
}

impl Outcome {
    /// Bytes taken, or the errno of the call that failed, like the result of a system call.
    ///
    /// # Errors
    ///
    /// The errno of [`Ended::Failed`].
    pub const fn result(&self) -> Result<u64, Errno> {
        match self.ended {
            Ended::Failed(_, errno) => Err(errno),
            _ => Ok(self.bytes),
        }
    }

    /// Whether the sink may hold pages of the source.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.segments.iter().any(|segment| segment.is_shared)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes)?;
        for segment in self.segments.iter() {
            let how = if segment.is_shared {
                "shared"
            } else {
                "copied"
            };
            write!(f, ", {} by {} ({how})", segment.bytes, segment.route)?;
        }
        for Refusal { route, at, reason } in &self.refusals {
            match reason {
                Reason::Errno(call, errno) => {
                    write!(f, "; no {route} after {at}: {call}: {}", name(*errno))?;
                }
                Reason::Nothing(call) => write!(f, "; {route}: {call} returned 0 after {at}")?,
                Reason::NoPipe => write!(f, "; no {route} after {at}: no pipe is left")?,
                Reason::Remembered => write!(f, "; no {route}: it was refused before")?,
            }
        }
        match self.ended {
            Ended::Complete => {}
            Ended::SourceEnded => f.write_str("; the source ended")?,
            Ended::Stuck(call) => write!(f, "; {call} moved nothing")?,
            Ended::Disagrees(call) => {
                write!(f, "; {call} returned another count than its offset moved")?;
            }
            Ended::Failed(call, errno) => write!(f, "; {call}: {}", name(errno))?,
            Ended::Overlaps => {
                f.write_str("; source and sink are overlapping ranges of one file")?;
            }
            Ended::HasMessages => f.write_str("; an end has messages: name their size")?,
            Ended::Abandoned => f.write_str("; abandoned")?,
        }
        if self.held > 0 {
            write!(f, "; {} bytes had left the source", self.held)?;
        }
        Ok(())
    }
}

/// As the manual writes it.
pub(crate) fn name(errno: Errno) -> String {
    errno
        .name()
        .map_or_else(|| format!("errno {}", errno.into_raw()), ToOwned::to_owned)
}
