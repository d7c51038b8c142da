//! [`MSG_ZEROCOPY`](https://docs.kernel.org/networking/msg_zerocopy.html): sends whose bytes the kernel reads later, from
//! where they are.
//!
//! In layers, each usable without those above it:
//!
//! 1. **Raw calls.** [`enable`] and [`is_enabled`] (`SO_ZEROCOPY`), [`send_zerocopy`] and [`sendmsg_zerocopy`],
//!    [`send_copied`], [`recv_error_queue`]. Each makes one system call and returns the kernel's own number or errno. The
//!    sends are `unsafe`: bytes that change before their completion change on the wire.
//! 2. **A parser** of control messages, [`messages`]: over plain bytes, it cannot panic and loses nothing.
//! 3. **A tracker** of sends in flight, [`Tracker`].
//! 4. **A ring** of slots, [`Ring`]: safe, for TCP.
//!
//! ```no_run
//! # #[cfg(feature = "std")] {
//! use nocopy_msg_zerocopy::{Errno, Ring, RingError};
//! use std::net::TcpStream;
//!
//! let socket = TcpStream::connect("192.0.2.1:9000")?;
//! let region = vec![0; 1 << 20].into_boxed_slice();
//! let mut ring = Ring::<_, 8, 4>::new(&socket, region).map_err(|refused| refused.error)?;
//!
//! for number in 0..100 {
//!     let mut slot = loop {
//!         ring.reap_all()?; // a real program polls for POLLERR instead of turning here
//!         if ring.in_flight() < 8 {
//!             break ring.take().expect("fewer than 8 sends hold fewer than 8 slots");
//!         }
//!     };
//!     let bytes = slot.bytes_mut();
//!     bytes.fill(number);
//!     let len = bytes.len();
//!     slot.commit(len);
//!     while ring.queued() > 0 {
//!         match ring.send_or_copy() {
//!             Ok(_) => {}
//!             Err(RingError::Errno(Errno::ENOBUFS) | RingError::TrackerFull) => drop(ring.reap_all()?),
//!             Err(error) => return Err(error.into()),
//!         }
//!     }
//! }
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! There is no allocation, no libc function and, without the feature `std`, no `std`. 64-bit Linux only. What has been
//! run is x86-64.
#![no_std]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "nocopy-msg-zerocopy is for 64-bit Linux: elsewhere control messages have another layout"
);

#[cfg(feature = "std")]
extern crate std;

pub mod abi;
mod control;
mod enable;
mod error_queue;
mod fd;
mod flags;
mod region;
mod ring;
mod send;
mod slots;
mod tracker;

pub use abi::{IoVec, MsgHdr};
pub use control::{
    Completion, ExtendedError, Malformed, Message, Messages, Other, messages, put_message,
};
pub use enable::{Enabled, enable, is_enabled};
pub use error_queue::{Received, recv_error_queue};
pub use fd::BorrowedFd;
pub use flags::{MsgFlags, SendFlags};
pub use region::Region;
pub use ring::{Reaped, Refused, Ring, RingError, Slot, Stats};
pub use send::{send_copied, send_zerocopy, sendmsg_zerocopy};
pub use syscalls::Errno;
pub use tracker::{Tracker, TrackerError};
