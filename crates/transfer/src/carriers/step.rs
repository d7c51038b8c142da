//! The parts of every route: the position, why it stops, and one step.

#![forbid(unsafe_code)]

use syscalls::{Errno, Sysno};

/// The rest of the range in the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    /// The place in a file. None: at the source's own position, or from a stream.
    pub(crate) offset: Option<u64>,
    pub(crate) length: usize,
}

/// Which end a call waits for if it returns `EAGAIN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Sink,
    /// The errno does not tell: `splice` from a socket into the caller's pipe.
    Either,
}

/// Why a step sent nothing to the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    Call(Sysno, Errno, Side),
    /// A call returned 0 at this offset.
    Nothing(Sysno),
    /// A call's count differs from the distance that its offset moved. The count, if the sink took it.
    Disagrees(Sysno, usize),
    Completions,
    /// The pool has no pipe.
    NoPipe,
    /// Source and sink are overlapping ranges of one file.
    Overlaps,
    /// An end has messages, and its type was that of a stream.
    HasMessages,
}

/// The result of `call`, as the result of a step.
pub(crate) fn asked(call: Sysno, side: Side, answer: Result<usize, Errno>) -> Result<usize, Halt> {
    match answer {
        Ok(0) => Err(Halt::Nothing(call)),
        Ok(count) => Ok(count),
        Err(errno) => Err(Halt::Call(call, errno, side)),
    }
}

/// The same for a call that has moved an offset. The count and the distance must be equal.
pub(crate) fn moved(
    call: Sysno,
    side: Side,
    answer: Result<usize, Errno>,
    from: Option<u64>,
    to: Option<u64>,
) -> Result<usize, Halt> {
    let count = asked(call, side, answer)?;
    match (from, to) {
        (Some(from), Some(to)) if from.checked_add(count as u64) != Some(to) => {
            Err(Halt::Disagrees(call, count))
        }
        _ => Ok(count),
    }
}
