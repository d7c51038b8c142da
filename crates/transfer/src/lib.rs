//! Copies bytes from one Linux descriptor to another by the best route, and reports what became of them.
//!
//! ```no_run
//! use nocopy_transfer::{Stability, copy};
//! use std::{fs::File, net::TcpStream};
//!
//! let file = File::open("index.html")?;
//! let socket = TcpStream::connect("127.0.0.1:8080")?;
//! let outcome = copy(&file, &socket, Stability::Shared)?;
//! println!("{outcome}"); // 70000 bytes, 70000 by sendfile (shared)
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! - [`copy`] and [`copy_range`] are for one copy that may sleep. A [`Request`] begins a [`Transfer`], which an event loop advances
//!   in pieces.
//! - [`Stability`] says whether the sink may see what the source becomes later. There is no default.
//! - The route is chosen by the kinds of source and sink ([`choice::TABLE`]), without a look at the kernel's version. Where a call is
//!   refused ([`fallback::TABLE`]), the next route goes on at the same byte, after the bytes that are in the pipe.
//! - [`Outcome`] says which route took how many bytes, whether they are shared or copied, and why other routes were not taken. After
//!   a failure it has the exact number of bytes that the sink took, and [`Stopped::held`] those that had left a stream.
//! - [`Sender`] is for owned memory: `MSG_ZEROCOPY` where it helps, and each buffer comes back.
//! - [`delivery::confirm`] waits until the peer has read everything: a call that sends returns before.
//!
//! # Positions
//!
//! [`copy`] reads from the source's position and moves it, as `read` does; [`copy_range`] reads at an offset and moves nothing. The
//! sink is written to at its own position, or at its end if it has `O_APPEND`. A source ends where a call finds no more bytes: a file
//! that grows is read as far as it is then, one that shrinks ends early, and a file of `/proc` is read until it has no more.
//!
//! # Signals
//!
//! A write to a socket or pipe whose reader is gone raises `SIGPIPE`. A copy by read and write to a TCP, `AF_UNIX`, vsock or UDP socket does not (`MSG_NOSIGNAL`);
//! `sendfile` and `splice` have no such flag. A Rust program ignores the signal from its start; one with another `main` should, too.
//!
//! # Urgent data
//!
//! `splice` from TCP returns 0 at an urgent byte, as at the end (claim `splice.source.tcp-urgent`), and `EAGAIN` from a socket that does not
//! block, so a read decides which it is. The
//! urgent byte itself is not in the stream: it waits for `recv` with `MSG_OOB`.
//!
//! # Forks
//!
//! Transfers lend pipes from a [`Pool`]. A child of a fork lends none of its parent's, and takes none back that were lent before.
//!
//! 64-bit Linux only. What has been run is x86-64.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("nocopy-transfer is for 64-bit Linux, as the crates that it is built on");

/// One event for subscribers, with the feature `tracing`.
macro_rules! event {
    ($level:ident, $($field:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::event!(tracing::Level::$level, $($field)*);
    };
}

mod carriers;
pub mod choice;
mod chooser;
pub mod delivery;
mod error;
pub mod fallback;
mod kind;
mod memory;
mod outcome;
mod pool;
mod request;
mod route;
mod sender;
mod sys;
#[cfg(feature = "tokio")]
pub mod tokio;
mod transfer;

pub use choice::Stability;
pub use error::{Error, Stopped};
pub use kind::{Endpoint, Hint, SinkKind, SourceKind};
pub use memory::forget_refusals;
pub use nocopy_msg_zerocopy::{Buffer, OwnedBytes, RingError, Ticket};
pub use outcome::{Ended, Notified, Outcome, Reason, Refusal, Segment, Segments};
pub use pool::Pool;
pub use request::Request;
pub use route::{Route, WHOLE};
pub use sender::{Copies, Counts, LEAST, Sender, Sent};
pub use syscalls::{Errno, Sysno};
pub use transfer::{Parts, State, Transfer, Wait, dropped_bytes};

/// Copies everything from the source's position on to the sink, and sleeps where it must wait.
///
/// # Errors
///
/// [`Error::NeedsMessageSize`] if the sink is a socket with messages; [`Error::Stopped`] with the count of bytes that the sink took,
/// if a call fails.
pub fn copy(
    source: &impl Endpoint,
    sink: &impl Endpoint,
    stability: Stability,
) -> Result<Outcome, Error> {
    Request::new(stability).begin(source, sink)?.complete()
}

/// Copies `length` bytes from `offset` of a file to the sink, and sleeps where it must wait. The file's position does not move. If the
/// file ends earlier, the outcome has [`Ended::SourceEnded`].
///
/// # Errors
///
/// As [`copy`]; `ESPIPE` if the source has no offsets.
pub fn copy_range(
    source: &impl Endpoint,
    offset: u64,
    length: u64,
    sink: &impl Endpoint,
    stability: Stability,
) -> Result<Outcome, Error> {
    Request::new(stability)
        .range(offset, length)
        .complete(source, sink)
}
