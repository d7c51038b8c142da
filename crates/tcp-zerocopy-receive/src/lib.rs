//! [`TCP_ZEROCOPY_RECEIVE`](https://lwn.net/Articles/752188/) as one raw system call, and an owned window for the pages that it
//! maps.
//!
//! A TCP socket can be mapped. The mapping is empty until [`getsockopt_tcp_zerocopy_receive()`] moves whole pages of the receive queue
//! into it, instead of copying their bytes. What is not a whole page is copied into a small buffer, or left for `recv`.
//! [`Window`] is the safe layer: it owns such a mapping, and what it has received is borrowed from it until the next receive.
//!
//! | part of the stream | where it is | who says how much |
//! |---|---|---|
//! | whole pages | in the window, not copied | [`Received::mapped`] |
//! | the bytes after them | copied to a buffer of yours | [`Received::copied`] |
//! | what cannot be mapped | still queued: `recv` | [`Received::recv_skip_hint`] |
//!
//! **The mapped bytes are not a `&[u8]`**: a sender on the same machine may be able to change them, see [`Mapped`].
//!
//! ```no_run
//! # #[cfg(feature = "std")] {
//! use nocopy_tcp_zerocopy_receive::{Errno, Window};
//! use std::io::Read;
//!
//! # fn process(_: &[u8]) {}
//! let (mut socket, _) = std::net::TcpListener::bind("127.0.0.1:9000")?.accept()?;
//! let mut window = Window::new(&socket, 1 << 20)?;
//! let (mut page, mut rest) = ([0; 4096], vec![0; 1 << 16]);
//! let mut is_ready = false;
//! loop {
//!     let received = match window.receive_pages(&socket) {
//!         Err(Errno::EIO) => break, // the end of the stream
//!         received => received?,
//!     };
//!     for offset in (0..received.mapped.len()).step_by(page.len()) {
//!         let count = received.mapped.read_at(offset, &mut page);
//!         process(&page[..count]);
//!     }
//!     let most = match (received.is_nothing(), received.recv_skip_hint) {
//!         (false, 0) => continue, // more may be mapped
//!         (false, hint) => hint.min(rest.len()),
//!         (true, _) if is_ready => 1, // the end, an error or an urgent byte: `read` tells
//!         (true, _) => {
//!             socket.peek(&mut [0])?; // waits
//!             is_ready = true;
//!             continue;
//!         }
//!     };
//!     is_ready = false;
//!     match socket.read(&mut rest[..most])? {
//!         0 => break,
//!         count => process(&rest[..count]),
//!     }
//! }
//! # }
//! # #[cfg(feature = "std")]
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! There is no allocation, no libc function and, without the feature `std`, no `std`. 64-bit Linux only, without s390x. What has
//! been run is x86-64.
//!
//! A claim that is named in this documentation, such as `zerocopy.recv.loopback`, is an experiment of this crate's repository: `conformance show
//! zerocopy.recv.loopback` prints how it is decided and what each kernel does.
#![no_std]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "nocopy-tcp-zerocopy-receive is for 64-bit Linux: elsewhere there is no such option or mmap has another ABI"
);
#[cfg(target_arch = "s390x")]
compile_error!(
    "nocopy-tcp-zerocopy-receive is not for s390x, where mmap takes its arguments in a struct"
);

#[cfg(feature = "std")]
extern crate std;

mod abi;
mod bits;
mod call;
mod fd;
mod flags;
mod window;

pub use abi::TcpZerocopyReceive;
pub use call::getsockopt_tcp_zerocopy_receive;
pub use fd::BorrowedFd;
pub use flags::ReceiveFlags;
pub use syscalls::Errno;
pub use window::{Mapped, Received, Window};
