//! A mapping that is removed when it is dropped, of memory that others may change.

use core::fmt;
use core::ptr::{self, NonNull};
use core::slice;

use syscalls::{Errno, Sysno, syscall0, syscall2, syscall6};

use crate::calls::{madvise, mmap, msync, munmap};
use crate::error::MapError;
use crate::fd::BorrowedFd;
use crate::flags::{Advice, MapFlags, MsyncFlags, Prot};

/// A mapping of a file, removed by one `munmap` when it is dropped.
///
/// It is not a `&[u8]` and does not `Deref` to one: whoever has the file can change the bytes at any time, with
/// [`MapFlags::PRIVATE`] too, and Rust may assume that the bytes behind a `&[u8]` do not change. It gives the pointer and the
/// length for system calls, copies out with [`Mapping::read_at`], and leaves [`Mapping::as_slice`] to callers that know that no one
/// writes. For memory that no other code can change there are [`PrivateAnonymous`](crate::PrivateAnonymous) and
/// [`SealedMapping`](crate::SealedMapping).
///
/// Nothing is reported when `munmap` fails on drop; it can only where a mapping is cut in two and there are too many, and the
/// memory then stays mapped.
///
/// # Faults
///
/// **`SIGBUS` kills the process** when a page is touched, by [`as_ptr`](Self::as_ptr) or [`as_slice`](Self::as_slice), that lies past the end of
/// the file, also if somebody has truncated the file after it was mapped, and when the page cannot be read (disk error, no room on
/// a sparse tmpfs). It is not caught here. [`read_at`](Self::read_at) and system calls that are given such memory answer `EFAULT`
/// instead (claim `mmap-write.sample.truncated-efault`). [`Advice::POPULATE_READ`](crate::Advice::POPULATE_READ) asks beforehand, from
/// Linux 6.12 on: of a page that cannot be read it answers `EFAULT` there, and on 6.1 **it never returns**. On every kernel `read` of
/// the same range asks, too, and answers `EIO`.
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference the memory is only copied out, by the kernel, or used at the caller's own risk.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The flags that replace nothing and move nothing.
    const HARMLESS: MapFlags = MapFlags::SHARED
        .union(MapFlags::PRIVATE)
        .union(MapFlags::SHARED_VALIDATE)
        .union(MapFlags::LOCKED)
        .union(MapFlags::NORESERVE)
        .union(MapFlags::POPULATE)
        .union(MapFlags::NONBLOCK)
        .union(MapFlags::SYNC);

    /// Maps a part of a file, wherever there is room. One [`mmap()`], with its arguments in its order.
    ///
    /// The length may go past the end of the file, see [Faults](Self#faults). For a file on hugetlbfs it is a multiple of the huge
    /// page, otherwise dropping does not unmap.
    ///
    /// # Errors
    ///
    /// - [`MapError::Prot`]: without [`Prot::READ`], which [`Mapping::read_at`] needs; nothing was mapped
    /// - [`MapError::Flags`]: other flags than `SHARED`, `PRIVATE`, `SHARED_VALIDATE`, `LOCKED`, `NORESERVE`, `POPULATE`, `NONBLOCK`
    ///   and `SYNC`; nothing was mapped. [`mmap()`] and [`Mapping::from_raw`] are for those
    /// - [`MapError::Kernel`]: as [`mmap()`]; `EINVAL` for an empty file, whose `length` is 0
    ///
    /// # Example
    ///
    /// ```no_run
    /// # #[cfg(feature = "std")] {
    /// use nocopy_mmap::{MapFlags, Mapping, Prot};
    ///
    /// let file = std::fs::File::open("index.html")?;
    /// let size = usize::try_from(file.metadata()?.len()).expect("64 bits");
    /// let mapping = Mapping::of_file(size, Prot::READ, MapFlags::PRIVATE, &file, 0)?;
    /// let mut head = [0; 16];
    /// let read = mapping.read_at(0, &mut head)?;
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn of_file<'fd>(
        length: usize,
        prot: Prot,
        flags: MapFlags,
        fd: impl Into<BorrowedFd<'fd>>,
        offset: u64,
    ) -> Result<Self, MapError> {
        let harmful = flags - Self::HARMLESS;
        if !harmful.is_empty() {
            return Err(MapError::Flags(harmful));
        }
        if !prot.contains(Prot::READ) {
            return Err(MapError::Prot(prot));
        }
        let fd = fd.into();
        // SAFETY: without MAP_FIXED nothing is replaced, and the address goes nowhere but into the mapping.
        let start = unsafe { mmap(ptr::null_mut(), length, prot, flags, Some(fd), offset) }?;
        // SAFETY: a new mapping, which nobody else knows. Where the kernel chooses, it never takes the page at 0.
        Ok(unsafe { Self::from_raw(NonNull::new_unchecked(start), length) })
    }

    /// Takes over a mapping that was made otherwise.
    ///
    /// # Safety
    ///
    /// `start` and `length` are a mapping as a whole, `start` is a multiple of the page size, and no other code unmaps, moves or
    /// replaces it.
    #[must_use]
    pub const unsafe fn from_raw(start: NonNull<u8>, length: usize) -> Self {
        Self { start, length }
    }

    /// Gives start and length away: the memory stays mapped.
    #[must_use]
    pub const fn into_raw(self) -> (NonNull<u8>, usize) {
        let parts = (self.start, self.length);
        core::mem::forget(self);
        parts
    }

    /// Where the mapping starts, for system calls. Valid until it is dropped.
    ///
    /// A read or write through it is at the caller's own risk: the bytes may change meanwhile, the page may not be there, and
    /// the protection may not allow it.
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// How many bytes were asked for.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether that is none, which the kernel does not map.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Copies bytes out, from `offset` on.
    ///
    /// [`process_vm_readv(2)`](https://man7.org/linux/man-pages/man2/process_vm_readv.2.html) of this process, and `getpid`: two
    /// calls, none if there is nothing to copy. The kernel copies, so a page that is not there is an error and not a signal, and
    /// that the bytes may change meanwhile is no data race of the language: a volatile read of such memory is undefined behaviour
    /// up to Rust 1.97, because it can trap. The README has what it costs.
    ///
    /// Returns how many bytes were copied: fewer than there is room for where the mapping ends or a page is not there, 0 past its end.
    /// While somebody changes the bytes the copy can hold some of the old and some of the new ones.
    ///
    /// # Errors
    ///
    /// - `EFAULT`: the first page is not there: past the end of the file, or it cannot be read
    /// - `ENOSYS`: a kernel without `CONFIG_CROSS_MEMORY_ATTACH`
    /// - `EPERM`: a seccomp filter forbids the call
    ///
    /// # Kernel
    ///
    /// Since Linux 3.2. A process may always read itself.
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> Result<usize, Errno> {
        let count = self.length.saturating_sub(offset).min(into.len());
        if count == 0 {
            return Ok(0);
        }
        // SAFETY: no argument.
        let this_process = unsafe { syscall0(Sysno::getpid) }?;
        // Two `struct iovec`.
        let local = [into.as_mut_ptr().expose_provenance(), count];
        let remote = [self.start.as_ptr().expose_provenance() + offset, count];
        // SAFETY: the kernel reads the two lists, of one piece each, and writes at most `count` bytes to `into`, which has
        // them, during the call. The other piece is read as another process's memory would be: whatever is there, or an error.
        unsafe {
            syscall6(
                Sysno::process_vm_readv,
                this_process,
                local.as_ptr().expose_provenance(),
                1,
                remote.as_ptr().expose_provenance(),
                1,
                0,
            )
        }
    }

    /// Advises the kernel how the memory will be used. One [`madvise()`] of the whole mapping.
    ///
    /// # Errors
    ///
    /// - [`MapError::Advice`]: one that changes or removes the bytes, makes a touch fatal, or is for tests of memory errors; the kernel was
    ///   not asked. [`madvise()`] is for those
    /// - [`MapError::Kernel`]: as [`madvise()`]
    pub fn advise(&self, advice: Advice) -> Result<(), MapError> {
        if !advice.is_harmless() {
            return Err(MapError::Advice(advice));
        }
        // SAFETY: the range is this mapping, and such advice leaves its bytes and protection as they are.
        Ok(unsafe { madvise(self.as_ptr(), self.length, advice) }?)
    }

    /// Writes changed pages of a shared mapping to the file. One [`msync()`] of the whole mapping.
    ///
    /// # Errors
    ///
    /// As [`msync()`].
    pub fn sync(&self, flags: MsyncFlags) -> Result<(), Errno> {
        msync(self.as_ptr(), self.length, flags)
    }

    /// Keeps the pages in memory, and reads them in now.
    ///
    /// [`mlock(2)`](https://man7.org/linux/man-pages/man2/mlock.2.html) of the whole mapping: one call, never retried. **Of a page that
    /// cannot be read it never returns** on some kernels: see [`MapFlags::POPULATE`].
    ///
    /// # Errors
    ///
    /// - `ENOMEM`: above `RLIMIT_MEMLOCK`, or a part lies past the end of the file
    /// - `EPERM`: `RLIMIT_MEMLOCK` is 0, and `CAP_IPC_LOCK` is not there
    /// - `EAGAIN`: some pages could not be locked
    pub fn lock(&self) -> Result<(), Errno> {
        // SAFETY: a range of addresses, whose bytes stay as they are.
        unsafe { syscall2(Sysno::mlock, self.as_ptr().expose_provenance(), self.length) }.map(drop)
    }

    /// Undoes [`lock`](Self::lock). `munlock`: one call, never retried.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: too many mappings.
    pub fn unlock(&self) -> Result<(), Errno> {
        // SAFETY: as in `lock`.
        unsafe {
            syscall2(
                Sysno::munlock,
                self.as_ptr().expose_provenance(),
                self.length,
            )
        }
        .map(drop)
    }

    /// The bytes as a slice.
    ///
    /// # Safety
    ///
    /// While the slice lives, the bytes do not change: no process through the file or a shared mapping, no thread through
    /// [`Mapping::as_ptr`]. The mapping is readable, and has no bytes past the end of the file, neither now nor later.
    #[must_use]
    pub const unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: mapped until `self` is dropped, not null, and user addresses do not reach isize::MAX bytes; that it is
        // readable and does not change, the caller vouches for.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

/// Address and length, without the bytes.
impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapping({:p}, {} bytes)", self.start, self.length)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone, and what borrowed from `self` is gone.
        let _ = unsafe { munmap(self.as_ptr(), self.length) };
    }
}
