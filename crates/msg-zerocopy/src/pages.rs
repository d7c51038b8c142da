//! Memory of whole pages, aligned to them: no page of it holds anything else, so none is pinned twice.

use crate::buffer::{Buffer, Region};
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::{NonNull, slice_from_raw_parts_mut, with_exposed_provenance_mut};
use libc::c_int;
use syscalls::{Errno, Sysno, syscall2, syscall6};

/// Private memory of its own pages, zero at first.
///
/// A buffer that shares a page with other memory makes the kernel pin that page, too, and two buffers in one page pin it
/// twice. Bytes of whole pages avoid both; huge pages make one pin of 512.
///
/// ```
/// use nocopy_msg_zerocopy::Pages;
///
/// let mut pages = Pages::new(100_000)?;
/// pages[..5].copy_from_slice(b"hello");
/// assert_eq!((pages.len(), pages[99_999]), (100_000, 0));
/// # Ok::<(), nocopy_msg_zerocopy::Errno>(())
/// ```
pub struct Pages {
    bytes: NonNull<[u8]>,
    /// How much is mapped: at least the bytes.
    mapped: usize,
}

// SAFETY: the mapping is this value's alone, like a box: any thread may use or drop it.
unsafe impl Send for Pages {}
// SAFETY: a shared reference only reads.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps `len` bytes, aligned to a page.
    ///
    /// [`mmap(2)`](https://man7.org/linux/man-pages/man2/mmap.2.html) of private anonymous memory: one call, never retried.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: 0 bytes
    /// - `ENOMEM`: no room, or more mappings than `vm.max_map_count`
    /// - `EAGAIN`: locked memory is wanted (`mlockall`) and the limit reached
    pub fn new(len: usize) -> Result<Self, Errno> {
        Self::map(len, len, 0)
    }

    /// Maps `len` bytes of huge pages of `1 << log2` bytes: 21 for 2 MiB, 30 for 1 GiB.
    ///
    /// `mmap` with `MAP_HUGETLB`: one call, never retried. The length that is mapped is rounded up to huge pages.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: 0 bytes, a size that the machine does not have, or `log2` 0
    /// - `ENOMEM`: the pool has no such pages (`/proc/sys/vm/nr_hugepages`)
    pub fn huge(len: usize, log2: u8) -> Result<Self, Errno> {
        // 0 is the kernel's default size, which is not known here.
        let log2 = if log2 == 0 { u8::MAX } else { log2 };
        let mapped = 1_usize
            .checked_shl(u32::from(log2))
            .and_then(|size| len.checked_next_multiple_of(size))
            .ok_or(Errno::EINVAL)?;
        // The kernel reads six bits of it.
        let size = c_int::from(log2 & 0x3f) << libc::MAP_HUGE_SHIFT;
        Self::map(len, mapped, libc::MAP_HUGETLB | size)
    }

    fn map(len: usize, mapped: usize, flags: c_int) -> Result<Self, Errno> {
        // A slice has at most `isize::MAX` bytes; the kernel has no such mapping either, and 0 bytes it refuses itself.
        if isize::try_from(len).is_err() {
            return Err(Errno::ENOMEM);
        }
        // SAFETY: a new mapping at an address that the kernel chooses: nothing that exists is touched.
        let address = unsafe {
            syscall6(
                Sysno::mmap,
                0,
                mapped,
                (libc::PROT_READ | libc::PROT_WRITE).cast_unsigned() as usize,
                (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags).cast_unsigned() as usize,
                usize::MAX,
                0,
            )
        }?;
        let first = with_exposed_provenance_mut::<u8>(address);
        let bytes = NonNull::new(slice_from_raw_parts_mut(first, len)).ok_or(Errno::ENOMEM)?;
        Ok(Self { bytes, mapped })
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `bytes` are mapped, zero or written, and this value's alone until its drop.
        unsafe { self.bytes.as_ref() }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` is the only access.
        unsafe { self.bytes.as_mut() }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let address = self.bytes.as_ptr().expose_provenance();
        // SAFETY: the range is a mapping of this value's own, and nothing uses it after the drop.
        let _ = unsafe { syscall2(Sysno::munmap, address, self.mapped) };
    }
}

/// Address and length, without the bytes.
impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pages({:p}, {} bytes)", self.bytes, self.bytes.len())
    }
}

// SAFETY: a private mapping of this value's own: moving the value moves no byte, only `&mut` writes, only the drop frees.
unsafe impl Buffer for Pages {
    fn bytes(&self) -> &[u8] {
        self
    }
}

// SAFETY: as above; a forgotten value is never unmapped.
unsafe impl Region for Pages {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}
