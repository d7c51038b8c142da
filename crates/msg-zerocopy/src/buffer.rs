//! What a ring may hold: bytes that stay where they are and as they are.

/// Bytes that a [`Ring`](crate::Ring) can own while the kernel reads them.
///
/// Implemented for `&'static [u8]` and [`Pages`](crate::Pages), and with the feature `std` for `Vec<u8>`, `Box<[u8]>`,
/// `Arc<[u8]>` and for `OwnedBytes`, which is any of them. Memory that the compiler does not know to be stable,
/// such as a sealed memfd of another crate, comes in by an implementation of the caller's own.
///
/// # Safety
///
/// - `bytes` returns the same bytes at the same address each time, also after the value was moved.
/// - While the value lives, nothing writes or frees these bytes: no code of this program, no other process, no other
///   mapping of the same memory.
/// - If the value is forgotten, they are never written and never freed.
pub unsafe trait Buffer {
    /// The bytes.
    fn bytes(&self) -> &[u8];
}

/// Memory that [`Slots`](crate::Slots) can cut into parts and write to.
///
/// # Safety
///
/// - `bytes_mut` returns the same bytes at the same address each time, also after the value was moved.
/// - While the value lives, nothing else reads, writes or frees them.
/// - If the value is forgotten, they are never written and never freed.
pub unsafe trait Region {
    /// The bytes.
    fn bytes_mut(&mut self) -> &mut [u8];
}

// SAFETY: a shared reference for ever: nothing writes or frees what it names, and moving it moves no byte.
unsafe impl Buffer for &'static [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

// SAFETY: as for a slice.
unsafe impl<const N: usize> Buffer for &'static [u8; N] {
    fn bytes(&self) -> &[u8] {
        *self
    }
}

// SAFETY: an exclusive reference for ever: nobody else has access, moving it moves no byte, nothing ever frees it.
unsafe impl Region for &'static mut [u8] {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

#[cfg(feature = "std")]
mod with_std {
    use super::{Buffer, Region};
    use std::boxed::Box;
    use std::sync::Arc;
    use std::vec::Vec;

    // SAFETY: a vector owns its bytes on the heap: moving it moves no byte, and only `&mut` or its drop changes or frees them.
    unsafe impl Buffer for Vec<u8> {
        fn bytes(&self) -> &[u8] {
            self
        }
    }

    // SAFETY: as for a vector.
    unsafe impl Buffer for Box<[u8]> {
        fn bytes(&self) -> &[u8] {
            self
        }
    }

    // SAFETY: while one owner lives, no other can write (`Arc::get_mut` asks for the only one) and none frees; a forgotten one
    // counts for ever.
    unsafe impl Buffer for Arc<[u8]> {
        fn bytes(&self) -> &[u8] {
            self
        }
    }

    // SAFETY: moving the box moves neither the value in it nor the value's bytes, and what the value promises holds for it there.
    unsafe impl Buffer for Box<dyn Buffer + Send + Sync> {
        fn bytes(&self) -> &[u8] {
            (**self).bytes()
        }
    }

    // SAFETY: a box owns its bytes on the heap: moving it moves no byte, and only its drop frees them.
    unsafe impl Region for Box<[u8]> {
        fn bytes_mut(&mut self) -> &mut [u8] {
            self
        }
    }

    // SAFETY: as for a box; a region is never resized, since only its bytes are given out.
    unsafe impl Region for Vec<u8> {
        fn bytes_mut(&mut self) -> &mut [u8] {
            self
        }
    }
}
