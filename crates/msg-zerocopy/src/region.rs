//! The memory that a ring sends from.

/// Bytes that a [`Ring`](crate::Ring) can own.
///
/// # Safety
///
/// `bytes_mut` always returns the same bytes at the same address, also after the value was moved, until it is dropped;
/// nothing else writes or frees them while the value lives; and if the value is forgotten they are never freed.
pub unsafe trait Region {
    /// The bytes.
    fn bytes_mut(&mut self) -> &mut [u8];
}

// SAFETY: a static exclusive reference: moving it moves no byte, nobody else has access, nothing ever frees it.
unsafe impl Region for &'static mut [u8] {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

#[cfg(feature = "std")]
// SAFETY: a box owns its bytes on the heap: moving it moves no byte, and only its drop frees them.
unsafe impl Region for std::boxed::Box<[u8]> {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}
