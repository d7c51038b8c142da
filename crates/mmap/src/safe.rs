//! The two kinds of mapping that no other code can change, and that therefore are slices.

use core::ops::{Deref, DerefMut};
use core::ptr::{self, NonNull};
use core::slice;

use syscalls::{Errno, Sysno, syscall5};

use crate::abi;
use crate::calls::mmap;
use crate::error::MapError;
use crate::fd::BorrowedFd;
use crate::flags::{MapFlags, Prot, Seals};
use crate::mapping::Mapping;
use crate::memfd::fcntl_get_seals;

/// Zeroed memory of one's own, in whole pages, unmapped when it is dropped.
///
/// It is a `[u8]`: no file and no other process is behind it. A child that is forked has its own copy.
///
/// # Faults
///
/// A page gets its memory at the first touch. If memory runs out, the OOM killer ends a process, perhaps this one.
#[derive(Debug)]
pub struct PrivateAnonymous(Mapping);

impl PrivateAnonymous {
    /// Maps `length` bytes. One [`mmap()`].
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `length` 0
    /// - `ENOMEM`: no memory, no such range of addresses, or too many mappings
    ///
    /// # Example
    ///
    /// ```
    /// let mut memory = nocopy_mmap::PrivateAnonymous::new(1 << 16)?;
    /// memory[9] = 7;
    /// assert_eq!(memory[8..11], [0, 7, 0]);
    /// # Ok::<(), nocopy_mmap::Errno>(())
    /// ```
    pub fn new(length: usize) -> Result<Self, Errno> {
        let prot = Prot::READ | Prot::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
        // SAFETY: without MAP_FIXED nothing is replaced, and the address goes nowhere but into the mapping.
        let start = unsafe { mmap(ptr::null_mut(), length, prot, flags, None, 0) }?;
        // SAFETY: a new mapping, which nobody else knows. Where the kernel chooses, it never takes the page at 0.
        Ok(Self(unsafe {
            Mapping::from_raw(NonNull::new_unchecked(start), length)
        }))
    }
}

impl PrivateAnonymous {
    /// The mapping, to be advised or locked.
    #[must_use]
    pub const fn mapping(&self) -> &Mapping {
        &self.0
    }
}

impl Deref for PrivateAnonymous {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: readable, without a file, and only `&mut self` changes it.
        unsafe { self.0.as_slice() }
    }
}

impl DerefMut for PrivateAnonymous {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, writable, and `&mut self` is the only way to it.
        unsafe { slice::from_raw_parts_mut(self.0.as_ptr(), self.0.len()) }
    }
}

/// A whole memfd that can no longer change, mapped for reading and unmapped when it is dropped.
///
/// It is a `[u8]`, because the kernel keeps it so: a file with [`Seals::SHRINK`] keeps every page that it has, so that no touch is
/// `SIGBUS`, and one with [`Seals::WRITE`] keeps its bytes. That seal is not given while a shared mapping exists that can be written,
/// and none can be made afterwards.
///
/// **[`Seals::FUTURE_WRITE`] is not enough**: it leaves the writable mappings that exist, and who has one still changes
/// the bytes. A memfd that came from another process and has only this one is refused.
///
/// # Faults
///
/// A hole in the file gets its memory at the first touch. If memory runs out, the OOM killer ends a process, perhaps this one.
#[derive(Debug)]
pub struct SealedMapping(Mapping);

impl SealedMapping {
    /// The seals without which there is no mapping.
    pub const NEEDED: Seals = Seals::SHRINK.union(Seals::WRITE);

    /// Checks the seals and maps all of the file.
    ///
    /// Up to three system calls, in this order: `F_GET_SEALS`, `statx` (Linux 4.11) for the size, `mmap` with `MAP_PRIVATE`. Seals do not go
    /// away and a sealed file does not shrink, so what was seen first still holds at the end. (`MAP_SHARED` for
    /// reading was refused for a memfd with `F_SEAL_WRITE` by kernels older than those measured.)
    ///
    /// # Errors
    ///
    /// - [`MapError::NotSealed`]: the file lacks these of [`SealedMapping::NEEDED`]
    /// - [`MapError::Kernel`]: `EINVAL` if it can have no seals or is empty, else as [`mmap()`]
    ///
    /// # Example
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// use nocopy_mmap::{MemfdFlags, SealedMapping, fcntl_add_seals, memfd_create};
    /// use std::io::Write;
    ///
    /// let file = memfd_create(c"config", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    /// let mut file = std::fs::File::from(std::os::fd::OwnedFd::from(file));
    /// file.write_all(b"answer = 42")?;
    /// fcntl_add_seals(&file, SealedMapping::NEEDED)?;
    /// assert_eq!(*SealedMapping::new(&file)?, *b"answer = 42");
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new<'fd>(fd: impl Into<BorrowedFd<'fd>>) -> Result<Self, MapError> {
        let fd = fd.into();
        let lacking = Self::NEEDED - fcntl_get_seals(fd)?;
        if !lacking.is_empty() {
            return Err(MapError::NotSealed(lacking));
        }
        let length = size(fd)?;
        Mapping::of_file(length, Prot::READ, MapFlags::PRIVATE, fd, 0).map(Self)
    }
}

impl SealedMapping {
    /// The mapping, to be advised or locked.
    #[must_use]
    pub const fn mapping(&self) -> &Mapping {
        &self.0
    }
}

impl Deref for SealedMapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: readable. `new` saw the seals, which do not go away: the file has at least these bytes, and nobody can
        // change them. The mapping is private and not writable, and nobody has its address but through this slice.
        unsafe { self.0.as_slice() }
    }
}

/// The size of an open file.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the crate is for 64-bit systems only"
)]
fn size(fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    let mut answer = abi::Statx::zeroed();
    // SAFETY: the path is an empty C string, which the kernel reads; `answer` is ours and as large as the struct that the
    // kernel writes during the call. It keeps neither pointer.
    unsafe {
        syscall5(
            Sysno::statx,
            fd.to_arg(),
            c"".as_ptr().expose_provenance(),
            (libc::AT_EMPTY_PATH as isize).cast_unsigned(),
            abi::STATX_SIZE,
            (&raw mut answer).expose_provenance(),
        )
    }?;
    Ok(answer.size as usize)
}
