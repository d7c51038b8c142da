//! Owned bytes of several kinds in one type.

use crate::buffer::Buffer;
use crate::pages::Pages;
use core::fmt;
use std::boxed::Box;
use std::sync::Arc;
use std::vec::Vec;

/// Owned bytes of any of the usual kinds, for a ring that sends several of them.
#[non_exhaustive]
pub enum OwnedBytes {
    /// Bytes of the program itself.
    Static(&'static [u8]),
    /// A vector.
    Vec(Vec<u8>),
    /// A boxed slice.
    Boxed(Box<[u8]>),
    /// Bytes that others read, too.
    Shared(Arc<[u8]>),
    /// Whole pages.
    Pages(Pages),
}

// SAFETY: each kind keeps the contract, and moving the enum moves only the handle.
unsafe impl Buffer for OwnedBytes {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Vec(bytes) => bytes,
            Self::Boxed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
            Self::Pages(bytes) => bytes,
        }
    }
}

/// Without the bytes.
impl fmt::Debug for OwnedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Static(_) => "Static",
            Self::Vec(_) => "Vec",
            Self::Boxed(_) => "Boxed",
            Self::Shared(_) => "Shared",
            Self::Pages(_) => "Pages",
        };
        write!(f, "{kind}({} bytes)", self.bytes().len())
    }
}

macro_rules! from {
    ($($kind:ident: $owned:ty),*) => {
        $(impl From<$owned> for OwnedBytes {
            fn from(bytes: $owned) -> Self {
                Self::$kind(bytes)
            }
        })*
    };
}

from!(Static: &'static [u8], Vec: Vec<u8>, Boxed: Box<[u8]>, Shared: Arc<[u8]>, Pages: Pages);
