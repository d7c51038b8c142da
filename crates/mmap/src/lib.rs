//! [`mmap(2)`](https://man7.org/linux/man-pages/man2/mmap.2.html) and its neighbours as raw system calls, memfds with seals,
//! and owned mappings that are honest about who else writes.
//!
//! The wrappers [`mmap()`], [`munmap()`], [`msync()`], [`madvise()`], [`mremap()`], [`memfd_create()`],
//! [`fcntl_add_seals()`] and [`fcntl_get_seals()`] have the C name, the C argument order and the C meaning. Each makes exactly
//! one system call, returns the kernel's own errno, and never retries. There is no allocation, no libc function and, without the
//! feature `std`, no `std`.
//!
//! Above them are three owned mappings, and the difference is who can change the bytes:
//!
//! | type | of | others can change it | is a `[u8]` |
//! |---|---|---|---|
//! | [`Mapping`] | a file | yes, and truncate it | no: [`Mapping::read_at`], `unsafe` [`Mapping::as_slice`] |
//! | [`PrivateAnonymous`] | nothing | no | yes, to read and write |
//! | [`SealedMapping`] | a memfd whose seals were checked | no, the kernel forbids it | yes, to read |
//!
//! ```
//! # #[cfg(feature = "std")] {
//! use nocopy_mmap::{MapFlags, Mapping, MemfdFlags, Prot, memfd_create};
//! use std::io::Write;
//!
//! let file = memfd_create(c"example", MemfdFlags::CLOEXEC)?;
//! let mut file = std::fs::File::from(std::os::fd::OwnedFd::from(file));
//! file.write_all(b"hello")?;
//! let mapping = Mapping::of_file(5, Prot::READ, MapFlags::PRIVATE, &file, 0)?;
//!
//! let mut bytes = [0; 4];
//! assert_eq!(mapping.read_at(1, &mut bytes), Ok(4));
//! assert_eq!(&bytes, b"ello");
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! 64-bit Linux only, without s390x. What has been run is x86-64.
//!
//! A claim that is named in this documentation, such as `mmap-write.sample.truncated-efault`, is an experiment of this crate's repository: `conformance show
//! mmap-write.sample.truncated-efault` prints how it is decided and what each kernel does.
#![no_std]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "nocopy-mmap is for 64-bit Linux. On 32 bits mmap has another number and counts its offset in other units; nobody has run it on Android, whose kernel is the same"
);
#[cfg(target_arch = "s390x")]
compile_error!("nocopy-mmap is not for s390x, where mmap takes its arguments in a struct");

#[cfg(feature = "std")]
extern crate std;

mod abi;
mod bits;
mod calls;
mod error;
mod fd;
mod flags;
mod mapping;
mod memfd;
mod owned_fd;
mod safe;

pub use calls::{madvise, mmap, mremap, msync, munmap};
pub use error::MapError;
pub use fd::BorrowedFd;
pub use flags::{Advice, MapFlags, MemfdFlags, MremapFlags, MsyncFlags, Prot, Seals};
pub use mapping::Mapping;
pub use memfd::{fcntl_add_seals, fcntl_get_seals, memfd_create};
pub use owned_fd::OwnedFd;
pub use safe::{PrivateAnonymous, SealedMapping};
pub use syscalls::Errno;
