//! `struct iovec` with a lifetime, as the kernel reads it (`include/uapi/linux/uio.h`).

use core::marker::PhantomData;

/// A range of memory that is read: `struct iovec` over a `&[u8]`, or over a raw pointer.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct IoVec<'bytes> {
    base: *const u8,
    length: usize,
    bytes: PhantomData<&'bytes [u8]>,
}

impl<'bytes> IoVec<'bytes> {
    /// The range of a slice.
    #[must_use]
    pub const fn new(bytes: &'bytes [u8]) -> Self {
        Self::from_raw(bytes.as_ptr(), bytes.len())
    }
}

impl IoVec<'_> {
    /// Any range, such as a part of a mapping. What must hold for it, the call that takes it says.
    #[must_use]
    pub const fn from_raw(base: *const u8, length: usize) -> Self {
        Self {
            base,
            length,
            bytes: PhantomData,
        }
    }

    /// Where the range starts.
    #[must_use]
    pub const fn as_ptr(&self) -> *const u8 {
        self.base
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

// SAFETY: it stands for a shared slice, or for a range of which the call that takes it says what must hold.
unsafe impl Send for IoVec<'_> {}
// SAFETY: as above.
unsafe impl Sync for IoVec<'_> {}
// SAFETY: it stands for an exclusive slice, or for a range of which the call that takes it says what must hold.
unsafe impl Send for IoVecMut<'_> {}
// SAFETY: a shared reference gives the address and the length, and no access.
unsafe impl Sync for IoVecMut<'_> {}

// The kernel takes an array of these, so their layout is a matter of soundness.
const _: () = assert!(
    size_of::<IoVec<'_>>() == 16
        && core::mem::offset_of!(IoVec<'_>, base) == 0
        && core::mem::offset_of!(IoVec<'_>, length) == 8
        && size_of::<IoVecMut<'_>>() == 16
        && core::mem::offset_of!(IoVecMut<'_>, base) == 0
        && core::mem::offset_of!(IoVecMut<'_>, length) == 8
);

/// A range of memory that is written: `struct iovec` over a `&mut [u8]`, or over a raw pointer.
#[derive(Debug)]
#[repr(C)]
pub struct IoVecMut<'bytes> {
    base: *mut u8,
    length: usize,
    bytes: PhantomData<&'bytes mut [u8]>,
}

impl<'bytes> IoVecMut<'bytes> {
    /// The range of a slice.
    #[must_use]
    pub const fn new(bytes: &'bytes mut [u8]) -> Self {
        Self::from_raw(bytes.as_mut_ptr(), bytes.len())
    }
}

impl IoVecMut<'_> {
    /// Any range, such as a part of a mapping. What must hold for it, the call that takes it says.
    #[must_use]
    pub const fn from_raw(base: *mut u8, length: usize) -> Self {
        Self {
            base,
            length,
            bytes: PhantomData,
        }
    }

    /// Where the range starts.
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.base
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}
