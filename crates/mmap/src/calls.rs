//! The calls on ranges of addresses, as they are.

use core::ptr;

use libc::c_int;
use syscalls::{Errno, Sysno, syscall2, syscall3, syscall5, syscall6};

use crate::fd::BorrowedFd;
use crate::flags::{Advice, MapFlags, MremapFlags, MsyncFlags, Prot};

/// An `int` as a system call argument: sign-extended, as C passes it in a register.
const fn int(value: c_int) -> usize {
    (value as isize).cast_unsigned()
}

/// Maps a file or zeroed memory.
///
/// [`mmap(2)`](https://man7.org/linux/man-pages/man2/mmap.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `addr` | address | a hint, or with [`MapFlags::FIXED`] the place; null: anywhere |
/// | `length` | bytes | not 0; the mapping has whole pages |
/// | `prot` | | [`Prot`] |
/// | `flags` | | [`MapFlags`] |
/// | `fd` | | the file; `None` (-1 for the kernel) with [`MapFlags::ANONYMOUS`]. It can be closed afterwards |
/// | `offset` | bytes | where in the file; a multiple of the page size |
///
/// Returns the address. The bytes between the end of the file and the end of its last page are zero, and what is stored there
/// does not become part of the file.
///
/// # Errors
///
/// - `EACCES`: `fd` is not open for reading; [`MapFlags::SHARED`] with [`Prot::WRITE`] and `fd` not open for writing, or
///   the file has the append-only attribute (`O_APPEND` is no obstacle, although the manual says so)
/// - `EAGAIN`: [`MapFlags::LOCKED`] above `RLIMIT_MEMLOCK`
/// - `EBADF`: `fd` is not open (or `O_PATH`), and [`MapFlags::ANONYMOUS`] is not there
/// - `EEXIST`: [`MapFlags::FIXED_NOREPLACE`], and something is there
/// - `EINVAL`: `length` 0; `offset`, or `addr` with [`MapFlags::FIXED`], is not a multiple of the page size; no type of
///   mapping, or an unknown one
/// - `EIO`: some files of `/proc`
/// - `ENODEV`: `fd` is nothing that can be mapped: directory, pipe, UDP or `AF_UNIX` socket, event descriptor, `/dev/null`
///   (the manual has `EACCES`)
/// - `ENOMEM`: no memory, no such range of addresses, or too many mappings
/// - `EOPNOTSUPP`: [`MapFlags::SHARED_VALIDATE`] with an unknown flag; [`MapFlags::SYNC`] for a file that is not DAX. On ext4
///   and xfs built with DAX this is so with [`MapFlags::SHARED`] too, which the manual has as ignored
/// - `EOVERFLOW`: `offset`, or the end of the mapping, is above `i64::MAX`; on 64-bit systems as well
/// - `EPERM`: [`Prot::EXEC`] on a file system mounted `noexec`; [`MapFlags::SHARED`] with [`Prot::WRITE`] of a memfd with
///   `F_SEAL_WRITE`; [`MapFlags::HUGETLB`] without the right
///
/// # Faults
///
/// A touch of a page that lies past the end of the file is `SIGBUS`, also when the file was longer at the time of the call and
/// somebody has truncated it since. A system call that is given such memory answers `EFAULT` instead (claim
/// `mmap-write.sample.truncated-efault`). A touch that `prot` does not allow is `SIGSEGV`.
///
/// # Safety
///
/// - With [`MapFlags::FIXED`], nothing uses what the range held before.
/// - There is no `&[u8]` over the mapping of a file unless nobody, in any process, writes the file while the slice lives:
///   [`MapFlags::PRIVATE`] shows their writes as well. [`Mapping`](crate::Mapping) does without one.
///
/// # Kernel
///
/// In all versions; `length` 0 is refused since Linux 2.6.12; each flag has its own version. The errors are the same on all kernels
/// measured, 5.10 to 7.3.
///
/// # Example
///
/// ```
/// use nocopy_mmap::{MapFlags, Prot, mmap, munmap};
///
/// let (prot, flags) = (Prot::READ | Prot::WRITE, MapFlags::PRIVATE | MapFlags::ANONYMOUS);
/// // SAFETY: anywhere, so nothing is replaced.
/// let page = unsafe { mmap(core::ptr::null_mut(), 4096, prot, flags, None, 0)? };
/// // SAFETY: our own fresh memory, and the pointer is not used afterwards.
/// unsafe {
///     assert_eq!(page.read(), 0);
///     munmap(page, 4096)?;
/// }
/// # Ok::<(), nocopy_mmap::Errno>(())
/// ```
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the crate is for 64-bit systems only"
)]
pub unsafe fn mmap(
    addr: *mut u8,
    length: usize,
    prot: Prot,
    flags: MapFlags,
    fd: Option<BorrowedFd<'_>>,
    offset: u64,
) -> Result<*mut u8, Errno> {
    // SAFETY: `addr` is a number for the kernel, which reads and writes nothing there. That nothing in use is replaced,
    // the caller vouches for.
    let address = unsafe {
        syscall6(
            Sysno::mmap,
            addr.expose_provenance(),
            length,
            int(prot.bits()),
            int(flags.bits()),
            fd.map_or(int(-1), BorrowedFd::to_arg),
            offset as usize,
        )
    }?;
    Ok(ptr::with_exposed_provenance_mut(address))
}

/// Removes mappings.
///
/// [`munmap(2)`](https://man7.org/linux/man-pages/man2/munmap.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `addr` | address | a multiple of the page size |
/// | `length` | bytes | not 0; whole pages are removed. Holes in the range are no error |
///
/// # Errors
///
/// - `EINVAL`: `length` 0, `addr` not a multiple of the page size, or not a range of user addresses
/// - `ENOMEM`: a mapping would be cut in two and there are too many
///
/// # Safety
///
/// Nothing uses the memory of these pages any more.
///
/// # Kernel
///
/// In all versions; `length` 0 is refused since Linux 2.6.12.
///
/// # Example
///
/// See [`mmap()`].
#[inline]
pub unsafe fn munmap(addr: *mut u8, length: usize) -> Result<(), Errno> {
    // SAFETY: `addr` is a number for the kernel; that nobody uses the memory, the caller vouches for.
    unsafe { syscall2(Sysno::munmap, addr.expose_provenance(), length) }?;
    Ok(())
}

/// Writes changed pages of shared mappings to their files.
///
/// [`msync(2)`](https://man7.org/linux/man-pages/man2/msync.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `addr` | address | a multiple of the page size |
/// | `length` | bytes | whole pages |
/// | `flags` | | [`MsyncFlags::SYNC`] or [`MsyncFlags::ASYNC`], not both |
///
/// It is for the disk: other mappings and `read` of the same file see a store at once.
///
/// # Errors
///
/// - `EBUSY`: [`MsyncFlags::INVALIDATE`], and memory of the range is locked
/// - `EINTR`: a signal came
/// - `EINVAL`: `addr` is not a multiple of the page size; an unknown flag; or `SYNC` with `ASYNC`
/// - `EIO`: the file could not be written
/// - `ENOMEM`: a page of the range is not mapped. `length` 0 is a success anywhere
///
/// # Kernel
///
/// In all versions. The same on all kernels measured, 5.10 to 7.3.
///
/// # Example
///
/// ```
/// # use nocopy_mmap::{Errno, MsyncFlags, msync};
/// assert_eq!(msync(core::ptr::null_mut(), 4096, MsyncFlags::SYNC), Err(Errno::ENOMEM));
/// ```
#[inline]
pub fn msync(addr: *mut u8, length: usize, flags: MsyncFlags) -> Result<(), Errno> {
    // SAFETY: `addr` is a number for the kernel, which checks it; no byte of the memory changes.
    unsafe {
        syscall3(
            Sysno::msync,
            addr.expose_provenance(),
            length,
            int(flags.bits()),
        )
    }?;
    Ok(())
}

/// Tells the kernel how memory will be used, or drops it.
///
/// [`madvise(2)`](https://man7.org/linux/man-pages/man2/madvise.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `addr` | address | a multiple of the page size |
/// | `length` | bytes | whole pages |
/// | `advice` | | [`Advice`], one of them. Not all are advice: some change what the memory holds |
///
/// # Errors
///
/// - `EACCES`: [`Advice::REMOVE`] of a mapping that is not shared and writable
/// - `EAGAIN`: something was short; it can be tried again
/// - `EBADF`: the range maps no file, and the advice needs one
/// - `EBUSY`: [`Advice::COLLAPSE`]: a page is in use
/// - `EFAULT`: [`Advice::POPULATE_READ`] or [`Advice::POPULATE_WRITE`]: a touch would be `SIGBUS`: past the end of the file, and
///   from Linux 6.12 on a page that cannot be read, of which the call never returns on 6.1
/// - `EHWPOISON`: the same two: a page is broken memory
/// - `EINVAL`: `addr` is not a multiple of the page size; an advice that the kernel does not know, or not for this memory
/// - `EIO`: the file could not be read
/// - `ENOMEM`: a page of the range is not mapped; the rest of it is done
/// - `EPERM`: [`Advice::HWPOISON`] without `CAP_SYS_ADMIN`
///
/// # Safety
///
/// Nobody relies on bytes that the advice changes, drops or makes untouchable ([`Advice::DONTNEED`], [`Advice::FREE`],
/// [`Advice::REMOVE`], [`Advice::GUARD_INSTALL`] and others): no reference, and no owner such as an allocator or a stack. The same
/// holds in a child that is forked later, where the advice is about that (`MADV_DONTFORK`, `MADV_WIPEONFORK`).
///
/// # Kernel
///
/// In all versions; each advice has its own.
///
/// # Example
///
/// ```no_run
/// # use nocopy_mmap::{Advice, Mapping, madvise};
/// # let mapping: Mapping = unimplemented!();
/// // SAFETY: this one changes no byte.
/// unsafe { madvise(mapping.as_ptr(), mapping.len(), Advice::SEQUENTIAL)? };
/// # Ok::<(), nocopy_mmap::Errno>(())
/// ```
#[inline]
pub unsafe fn madvise(addr: *mut u8, length: usize, advice: Advice) -> Result<(), Errno> {
    // SAFETY: `addr` is a number for the kernel, which checks it; what the advice does to the memory, the caller vouches
    // for.
    unsafe {
        syscall3(
            Sysno::madvise,
            addr.expose_provenance(),
            length,
            int(advice.as_raw()),
        )
    }?;
    Ok(())
}

/// Makes a mapping longer or shorter, or moves it.
///
/// [`mremap(2)`](https://man7.org/linux/man-pages/man2/mremap.2.html): one call, never retried.
///
/// | argument | unit | |
/// |---|---|---|
/// | `old_address` | address | a multiple of the page size |
/// | `old_size` | bytes | whole pages; 0: a second mapping of the same shared pages |
/// | `new_size` | bytes | not 0; whole pages |
/// | `flags` | | [`MremapFlags`] |
/// | `new_address` | address | the place with [`MremapFlags::FIXED`], a hint with [`MremapFlags::DONTUNMAP`], else not looked at (null) |
///
/// Returns the address that the mapping has now.
///
/// # Errors
///
/// - `EAGAIN`: the memory is locked, and more of it would be above `RLIMIT_MEMLOCK`
/// - `EFAULT`: the old range is not mapped
/// - `EINVAL`: an address is not a multiple of the page size; `new_size` 0; `old_size` 0 of a private mapping; the ranges overlap;
///   flags that do not go together, or an unknown one
/// - `ENOMEM`: no room at this address and no [`MremapFlags::MAYMOVE`], or no memory
///
/// # Safety
///
/// - Nothing uses the old range any more, where it moved or became shorter. With [`MremapFlags::DONTUNMAP`] it has moved, too:
///   the range stays, its bytes do not.
/// - With [`MremapFlags::FIXED`], nothing uses what the new one held before.
/// - With an `old_size` of 0 the same bytes are at two addresses afterwards: no reference to them through one of the two while
///   they are changed through the other.
///
/// # Kernel
///
/// In all versions; `old_size` 0 of a private mapping is refused since Linux 4.14.
///
/// # Example
///
/// ```
/// # use nocopy_mmap::{MapFlags, MremapFlags, Prot, mmap, mremap, munmap};
/// # let (prot, flags) = (Prot::READ | Prot::WRITE, MapFlags::PRIVATE | MapFlags::ANONYMOUS);
/// // SAFETY: our own memory; the old address is not used after the move, the new one not after the end.
/// unsafe {
///     let old = mmap(core::ptr::null_mut(), 1 << 16, prot, flags, None, 0)?;
///     old.write(7);
///     let new = mremap(old, 1 << 16, 1 << 20, MremapFlags::MAYMOVE, core::ptr::null_mut())?;
///     assert_eq!(new.read(), 7);
///     munmap(new, 1 << 20)?;
/// }
/// # Ok::<(), nocopy_mmap::Errno>(())
/// ```
#[inline]
pub unsafe fn mremap(
    old_address: *mut u8,
    old_size: usize,
    new_size: usize,
    flags: MremapFlags,
    new_address: *mut u8,
) -> Result<*mut u8, Errno> {
    // SAFETY: both addresses are numbers for the kernel, which checks them; that nobody uses the memory that goes away,
    // the caller vouches for.
    let address = unsafe {
        syscall5(
            Sysno::mremap,
            old_address.expose_provenance(),
            old_size,
            new_size,
            int(flags.bits()),
            new_address.expose_provenance(),
        )
    }?;
    Ok(ptr::with_exposed_provenance_mut(address))
}
