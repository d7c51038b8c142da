//! The same for [`tokio`]: waits are awaits, and no thread sleeps for a socket.
//!
//! ```no_run
//! use nocopy_transfer::{Stability, tokio::copy};
//! # async fn serve(mut file: tokio::fs::File, mut socket: tokio::net::TcpStream) -> std::io::Result<()> {
//! let outcome = copy(&mut file, &mut socket, Stability::Shared).await?;
//! # let _ = outcome; Ok(()) }
//! ```
//!
//! A file is read on the thread that polls, as `sendfile` does it: what is not in the page cache is waited for there, at most
//! [`BUDGET`] bytes before other tasks have their turn. For files that are mostly cold, copy on a thread for blocking work.
//!
//! Import what is used, not `nocopy_transfer::*`: the module is named as the crate that it is for.
//!
//! # Cancel safety
//!
//! [`drive`] borrows its transfer: a dropped future leaves the transfer as it is, to be driven on or taken apart
//! ([`Transfer::into_parts`]). [`copy`] and [`copy_bidirectional`] own theirs: if their future is dropped, bytes that had left a stream
//! and not reached the sink are gone, and [`dropped_bytes`](crate::dropped_bytes) counts them. Of a file, none are.

#![forbid(unsafe_code)]

use crate::choice::Stability;
use crate::error::Error;
use crate::kind::{Endpoint, Hint};
use crate::outcome::Outcome;
use crate::request::Request;
use crate::sys;
use crate::transfer::{State, Transfer, Wait};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use syscalls::{Errno, Sysno};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt, Interest};
use tokio::net::unix::pipe;
use tokio::net::{TcpStream, UnixStream};

/// The bytes after which another task has its turn.
pub const BUDGET: u64 = 256 << 10;

/// A source or sink of [`tokio`].
pub trait AsyncEndpoint: Endpoint {
    /// Ends what the type itself has begun: reads ahead, buffered writes.
    fn settle(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Becomes ready with the event.
    fn poll_ready(&self, wait: Wait, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Calls `work`, and forgets the event if `work` would block.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, as `work` returns it or because the event has not happened.
    fn try_io(&self, wait: Wait, work: impl FnOnce() -> io::Result<()>) -> io::Result<()>;
}

impl Endpoint for File {
    fn hint(&self) -> Hint {
        Hint::File
    }
}

impl AsyncEndpoint for File {
    async fn settle(&mut self) -> io::Result<()> {
        // What was written is in the file, or its error is reported here; and the descriptor's position is where the caller is.
        self.flush().await?;
        self.stream_position().await.map(drop)
    }

    /// A regular file is never waited for. What is waited for is a pipe or a terminal, and the runtime has no events for it in this type.
    fn poll_ready(&self, _wait: Wait, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(ErrorKind::Unsupported.into()))
    }

    fn try_io(&self, _wait: Wait, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        work()
    }
}

macro_rules! sockets {
    ($($kind:ty: $hint:ident),*) => {
        $(
            impl Endpoint for $kind {
                fn hint(&self) -> Hint {
                    Hint::$hint
                }
            }

            impl AsyncEndpoint for $kind {
                fn poll_ready(&self, wait: Wait, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                    match wait {
                        Wait::Source => self.poll_read_ready(context),
                        Wait::Sink | Wait::Completions => self.poll_write_ready(context),
                    }
                }

                fn try_io(&self, wait: Wait, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
                    let interest = match wait {
                        Wait::Source => Interest::READABLE,
                        Wait::Sink | Wait::Completions => Interest::WRITABLE,
                    };
                    self.try_io(interest, work)
                }
            }
        )*
    };
}
sockets!(TcpStream: Tcp, UnixStream: Unix);

macro_rules! pipes {
    ($($kind:ty: $ready:ident),*) => {
        $(
            impl Endpoint for $kind {
                fn hint(&self) -> Hint {
                    Hint::Pipe
                }
            }

            impl AsyncEndpoint for $kind {
                fn poll_ready(&self, _wait: Wait, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                    self.$ready(context)
                }

                fn try_io(&self, _wait: Wait, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
                    self.try_io(work)
                }
            }
        )*
    };
}
pipes!(pipe::Sender: poll_write_ready, pipe::Receiver: poll_read_ready);

/// Drives a transfer to its end. Cancel-safe: if the future is dropped, the transfer stays where it is.
///
/// A transfer with the route `MSG_ZEROCOPY` waits for completions, for which a runtime has no event, and so does a `File` that is a pipe
/// or a terminal: it is an error. One that blocks makes the runtime's thread sleep.
///
/// # Errors
///
/// Those of the runtime: it is shut down, or an end is not registered with it.
pub async fn drive<Source: AsyncEndpoint, Sink: AsyncEndpoint>(
    transfer: &mut Transfer<&Source, &Sink>,
) -> io::Result<()> {
    let mut waits = None;
    poll_fn(|context| poll(transfer, &mut waits, context)).await
}

fn poll<Source: AsyncEndpoint, Sink: AsyncEndpoint>(
    transfer: &mut Transfer<&Source, &Sink>,
    waits: &mut Option<Wait>,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    loop {
        let (source, sink) = (*transfer.source(), *transfer.sink());
        let mut state = None;
        // Inside of `try_io`: an event that happens after the kernel has said EAGAIN is not forgotten.
        let mut work = || {
            let now = transfer.advance(BUDGET);
            state = Some(now);
            match (now, *waits) {
                (State::Waits(now), Some(wait)) if now == wait => Err(ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        };
        let done = match *waits {
            None => work(),
            Some(wait @ Wait::Source) => {
                ready!(source.poll_ready(wait, context))?;
                source.try_io(wait, work)
            }
            Some(wait @ Wait::Sink) => {
                ready!(sink.poll_ready(wait, context))?;
                sink.try_io(wait, work)
            }
            Some(Wait::Completions) => return Poll::Ready(Err(ErrorKind::Unsupported.into())),
        };
        if let Err(error) = done
            && error.kind() != ErrorKind::WouldBlock
        {
            return Poll::Ready(Err(error));
        }
        match state {
            Some(State::Ended) => return Poll::Ready(Ok(())),
            Some(State::Budget) => {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(State::Waits(wait)) => *waits = Some(wait),
            // The event had not happened.
            None => {}
        }
    }
}

/// Copies everything from the source's position on to the sink.
///
/// # Errors
///
/// As [`copy`](crate::copy()).
pub async fn copy<Source: AsyncEndpoint, Sink: AsyncEndpoint>(
    source: &mut Source,
    sink: &mut Sink,
    stability: Stability,
) -> Result<Outcome, Error> {
    settle(source, sink).await?;
    one_way(&*source, &*sink, Request::new(stability)).await
}

/// Copies `length` bytes from `offset` of a file to the sink. The file's position does not move.
///
/// # Errors
///
/// As [`copy_range`](crate::copy_range()).
pub async fn copy_range<Sink: AsyncEndpoint>(
    source: &mut File,
    offset: u64,
    length: u64,
    sink: &mut Sink,
    stability: Stability,
) -> Result<Outcome, Error> {
    settle(source, sink).await?;
    one_way(
        &*source,
        &*sink,
        Request::new(stability).range(offset, length),
    )
    .await
}

async fn settle(
    source: &mut impl AsyncEndpoint,
    sink: &mut impl AsyncEndpoint,
) -> Result<(), Error> {
    let failed = |error| Error::Call(Sysno::lseek, Error::errno_of(&error));
    source.settle().await.map_err(failed)?;
    sink.settle().await.map_err(failed)
}

async fn one_way<Source: AsyncEndpoint, Sink: AsyncEndpoint>(
    source: &Source,
    sink: &Sink,
    request: Request,
) -> Result<Outcome, Error> {
    let mut transfer = request.begin(source, sink)?;
    if let Err(error) = drive(&mut transfer).await {
        transfer.cut_off(Sysno::epoll_wait, Error::errno_of(&error));
    }
    transfer.end()
}

/// Copies both ways until both ends have ended, and hands each end on: where one peer sends no more, the other one gets to know it
/// (`shutdown`).
///
/// # Errors
///
/// As [`copy`], of the direction that failed first. The other one is dropped then.
pub async fn copy_bidirectional<A: AsyncEndpoint, B: AsyncEndpoint>(
    a: &mut A,
    b: &mut B,
    stability: Stability,
) -> Result<(Outcome, Outcome), Error> {
    settle(a, b).await?;
    let (a, b) = (&*a, &*b);
    let mut there = pin!(and_shut(a, b, stability));
    let mut back = pin!(and_shut(b, a, stability));
    let (mut to_b, mut to_a) = (None, None);
    poll_fn(|context| {
        if to_b.is_none()
            && let Poll::Ready(outcome) = there.as_mut().poll(context)?
        {
            to_b = Some(outcome);
        }
        if to_a.is_none()
            && let Poll::Ready(outcome) = back.as_mut().poll(context)?
        {
            to_a = Some(outcome);
        }
        match (to_b.take(), to_a.take()) {
            (Some(to_b), Some(to_a)) => Poll::Ready(Ok((to_b, to_a))),
            (one, other) => {
                (to_b, to_a) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}

async fn and_shut<Source: AsyncEndpoint, Sink: AsyncEndpoint>(
    source: &Source,
    sink: &Sink,
    stability: Stability,
) -> Result<Outcome, Error> {
    let outcome = one_way(source, sink, Request::new(stability)).await?;
    match sys::shutdown_write(sink.as_fd()) {
        // A peer that is gone already needs not be told, and a pipe or a file has no such end.
        Ok(_) | Err(Errno::ENOTSOCK) => {}
        Err(errno) => return Err(Error::Call(Sysno::shutdown, errno)),
    }
    Ok(outcome)
}
