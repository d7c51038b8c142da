//! [`MSG_ZEROCOPY`](https://docs.kernel.org/networking/msg_zerocopy.html): sends whose bytes the kernel reads later, from
//! where they are.
//!
//! In layers, each usable without those above it:
//!
//! 1. **Raw calls.** [`enable`], [`disable`] and [`is_enabled`] (`SO_ZEROCOPY`), [`send_zerocopy`] and [`sendmsg_zerocopy`],
//!    [`sendmmsg_zerocopy`], [`send_copied`], [`recv_error_queue`], [`recvmmsg_error_queue`]. Each makes one system call and returns the kernel's own number or errno. The
//!    sends are `unsafe`: bytes that change before their completion change on the wire.
//! 2. **A parser** of control messages, [`messages`]: over plain bytes, it cannot panic and loses nothing. Timestamps and ICMP
//!    errors, which arrive beside completions, are data ([`Other`]).
//! 3. **A tracker** of sends in flight, [`Tracker`].
//! 4. **A ring**, [`Ring`]: safe, for TCP. It owns its socket and the buffers that it sends, and gives each back when the
//!    kernel no longer reads it. [`Slots`] cuts one region into buffers that are used again.
//!
//! ```no_run
//! # #[cfg(feature = "std")] {
//! use nocopy_msg_zerocopy::Ring;
//! use std::{net::TcpStream, time::Duration};
//!
//! const PATIENCE: Duration = Duration::from_secs(10);
//! let socket = TcpStream::connect("192.0.2.1:9000")?;
//! let mut ring = Ring::<Vec<u8>>::with_capacity(socket, 8)?;
//!
//! ring.push(vec![b'.'; 1 << 20])?;
//! if ring.send_all(PATIENCE).and_then(|()| ring.wait_idle(PATIENCE)).is_err() {
//!     ring.abort()?; // a peer that does not read: reset the connection, get the memory back
//!     ring.wait_idle(PATIENCE)?;
//! }
//! while let Some(done) = ring.finished() {
//!     println!("{} of {} bytes were taken", done.taken, done.buffer.len());
//! }
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Vsock
//!
//! The raw calls, the parser and [`recv_error_queue`] work; the ring and a [`Tracker`] that counts calls do not fit. Where a claim
//! could be tried, it was decided alike on Linux 6.12 to 6.18 and on 7.2 to 7.3.
//!
//! | | | claim |
//! |---|---|---|
//! | [`enable`] | before it is connected too, since Linux 6.7; 524 (5.10) or `EOPNOTSUPP` (6.1) before | `zerocopy.socket.vsock` |
//! | [`send_zerocopy`], [`sendmsg_zerocopy`] | pieces need no alignment; not copied, over loopback neither | `zerocopy.vsock.pieces`, `zerocopy.copies.vsock-loopback` |
//! | 192 KiB | one completion | `zerocopy.vsock.large` |
//! | more than the receiver's buffer, such as 400 KiB | copied, and **several ids for one call** | `zerocopy.vsock.beyond-buffer`, `zerocopy.vsock.ids` |
//! | `SOCK_SEQPACKET` | as a stream | `zerocopy.vsock.seqpacket` |
//! | memory that is not mapped | `ENOMEM`, not `EFAULT` | `zerocopy.vsock.unmapped` |
//! | the flag without `SO_ZEROCOPY` | sent, and no completion | `zerocopy.vsock.flag-only` |
//! | [`recv_error_queue`] | `EAGAIN` when empty; on 5.10 it takes **ordinary data** | `zerocopy.queue.vsock-empty` |
//!
//! No result of a call says how many ids it took. A program that sends less than the receiver has room for sees one each. Nobody has tried
//! [`sendmmsg_zerocopy`] and [`recvmmsg_error_queue`] there, or datagrams.
//!
//! There is no allocation, no libc function and, without the feature `std`, no `std`. 64-bit Linux only. What has been
//! run is x86-64.
//!
//! A claim that is named in this documentation, such as `zerocopy.socket.tcp`, is an experiment of this crate's repository: `conformance show
//! zerocopy.socket.tcp` prints how it is decided and what each kernel does.
#![no_std]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "nocopy-msg-zerocopy is for 64-bit Linux. On 32 bits control messages have another layout; nobody has run it on Android, whose kernel is the same"
);

#[cfg(feature = "std")]
extern crate std;

pub mod abi;
mod bits;
mod buffer;
mod control;
mod decoded;
mod enable;
mod error;
mod error_queue;
mod fd;
mod flags;
mod flight;
#[cfg(feature = "std")]
mod model;
#[cfg(feature = "std")]
mod owned_bytes;
mod owned_fd;
mod pages;
mod ring;
mod send;
mod several;
mod slots;
mod socket;
mod tracker;

pub use abi::{IoVec, MsgHdr};
pub use buffer::{Buffer, Region};
pub use control::{
    Completion, ExtendedError, Malformed, Message, Messages, Other, messages, put_message,
    udp_segment,
};
pub use decoded::{Icmp, Stage, Stamped, Time, Timestamps};
pub use enable::{Enabled, disable, enable, is_enabled};
pub use error::{Full, Refused, RingError};
pub use error_queue::{Received, recv_error_queue};
pub use fd::BorrowedFd;
pub use flags::{MsgFlags, SendFlags};
pub use flight::{Done, Place, Places, Ticket};
#[cfg(feature = "std")]
pub use owned_bytes::OwnedBytes;
pub use owned_fd::OwnedFd;
pub use pages::Pages;
#[cfg(feature = "std")]
pub use ring::Boxed;
pub use ring::{Reaped, Ring, Stats, Wants};
pub use send::{send_copied, send_zerocopy, sendmsg_copied, sendmsg_zerocopy};
pub use several::{ErrorEntry, MMsgHdr, recvmmsg_error_queue, sendmmsg_zerocopy};
pub use slots::{Part, Slot, Slots};
pub use socket::{IntoSocket, Shutdown, Socket};
pub use syscalls::Errno;
pub use tracker::{Tracker, TrackerError};
