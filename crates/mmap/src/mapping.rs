//! A mapping that is removed when it is dropped, of memory that others may change.

use core::ptr::{self, NonNull};
use core::slice;

use crate::calls::{mmap, munmap};
use crate::error::MapError;
use crate::fd::BorrowedFd;
use crate::flags::{MapFlags, Prot};

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
/// **`SIGBUS` kills the process** when a page is touched that lies past the end of the file, also if somebody has
/// truncated the file after it was mapped, and when the page cannot be read (disk error, no room on a sparse tmpfs). It is
/// not caught here. A system call that is given such memory answers `EFAULT` instead (claim
/// `mmap-write.sample.truncated-efault`). [`Advice::POPULATE_READ`](crate::Advice::POPULATE_READ) asks beforehand, from Linux 6.12
/// on: of a page that cannot be read it answers `EFAULT` there, and on 6.1 **it never returns**. On every kernel `read` of the
/// same range asks, too, and answers `EIO`.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference the memory is only copied out, by volatile reads, or used at the caller's own risk. Who
// writes to it from this program, by pointer, keeps these apart from the reads (`as_ptr`, `from_raw`).
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The flags that replace nothing and move nothing.
    const HARMLESS: MapFlags = MapFlags::from_bits_retain(
        MapFlags::SHARED.bits()
            | MapFlags::PRIVATE.bits()
            | MapFlags::SHARED_VALIDATE.bits()
            | MapFlags::LOCKED.bits()
            | MapFlags::NORESERVE.bits()
            | MapFlags::POPULATE.bits()
            | MapFlags::NONBLOCK.bits()
            | MapFlags::SYNC.bits(),
    );

    /// Maps a part of a file, wherever there is room. One [`mmap()`], with its arguments in its order.
    ///
    /// The length may go past the end of the file, see [Faults](Self#faults). For a file on hugetlbfs it is a multiple of the huge
    /// page, otherwise dropping does not unmap.
    ///
    /// # Errors
    ///
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
    /// let read = mapping.read_at(0, &mut head);
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
        let harmful = flags.bits() & !Self::HARMLESS.bits();
        if harmful != 0 {
            return Err(MapError::Flags(MapFlags::from_bits_retain(harmful)));
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
    /// - `start` and `length` are a mapping as a whole, `start` is a multiple of the page size, and no other code
    ///   unmaps, moves or replaces it.
    /// - [`Mapping::read_at`] is safe to call: this program has no `&mut` to the bytes, and no thread of it writes them at the
    ///   same time. Other processes and the kernel may.
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
    /// the protection may not allow it. A write must not happen at the same time as a [`Mapping::read_at`] in another thread.
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

    /// Copies bytes out, from `offset` on, and tells how many: fewer than there is room for where the mapping ends, 0
    /// past its end.
    ///
    /// While somebody changes the bytes the copy can hold some of the old and some of the new ones. No reference to the
    /// memory is made.
    ///
    /// # Faults
    ///
    /// `SIGBUS`, as [above](Self#faults), and `SIGSEGV` without [`Prot::READ`].
    #[must_use = "the copy may be shorter than the room for it"]
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> usize {
        let count = self.length.saturating_sub(offset).min(into.len());
        if count > 0 {
            // SAFETY: `offset` is inside the mapping, and so are the `count` bytes from there on.
            unsafe { copy_out(self.as_ptr().add(offset), &mut into[..count]) };
        }
        count
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

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone, and what borrowed from `self` is gone.
        let _ = unsafe { munmap(self.as_ptr(), self.length) };
    }
}

/// Copies bytes that may change at the same time: each is read once, in words where `from` is aligned.
///
/// # Safety
///
/// `from` is the start of `into.len()` mapped bytes.
unsafe fn copy_out(mut from: *const u8, into: &mut [u8]) {
    const WORD: usize = size_of::<u64>();
    let head = from.align_offset(WORD).min(into.len());
    let (head, rest) = into.split_at_mut(head);
    // SAFETY: each step stays within the `into.len()` bytes that the caller vouches for, and `from` is aligned to a word
    // when words are read: the head ends there, or at the end. Any bytes are a valid u64. A page that is not there is a
    // signal, which volatile reads happen exactly often enough to raise.
    unsafe {
        for byte in head {
            *byte = from.read_volatile();
            from = from.add(1);
        }
        let mut words = rest.chunks_exact_mut(WORD);
        for word in &mut words {
            #[expect(clippy::cast_ptr_alignment, reason = "aligned by the head")]
            let value = from.cast::<u64>().read_volatile();
            word.copy_from_slice(&value.to_ne_bytes());
            from = from.add(WORD);
        }
        for byte in words.into_remainder() {
            *byte = from.read_volatile();
            from = from.add(1);
        }
    }
}
