//! Flags: numbers of bits with names, unknown ones kept.
//!
//! This file is the same, byte for byte, in every crate of nocopy that has flags.

#![forbid(unsafe_code)]

macro_rules! flags {
    ($(#[$doc:meta])* $name:ident($bits:ty) { $($(#[$bit_doc:meta])* $bit:ident = $value:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        #[repr(transparent)]
        pub struct $name($bits);

        impl $name {
            $($(#[$bit_doc])* pub const $bit: Self = Self($value);)*

            /// No flag.
            #[must_use]
            pub const fn empty() -> Self {
                Self(0)
            }

            /// Any bits, known here or not.
            #[must_use]
            pub const fn from_bits_retain(bits: $bits) -> Self {
                Self(bits)
            }

            /// The bits as the kernel gets them.
            #[must_use]
            pub const fn bits(self) -> $bits {
                self.0
            }

            /// Whether no bit is set.
            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Whether all bits of `other` are set.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// The bits of both; `|` in a constant.
            #[must_use]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// The bits that are not in `other`; `-` in a constant.
            #[must_use]
            pub const fn difference(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }
        }

        /// The names, and what has none as a number.
        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let mut left = *self;
                f.write_str(concat!(stringify!($name), "("))?;
                let mut separator = "";
                $(if !Self::$bit.is_empty() && left.contains(Self::$bit) {
                    write!(f, "{separator}{}", stringify!($bit))?;
                    separator = " | ";
                    left = left.difference(Self::$bit);
                })*
                if !left.is_empty() {
                    write!(f, "{separator}{:#x}", left.bits())?;
                }
                f.write_str(")")
            }
        }

        impl core::ops::BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                self.union(other)
            }
        }

        impl core::ops::BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                *self = self.union(other);
            }
        }

        impl core::ops::BitAnd for $name {
            type Output = Self;

            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl core::ops::Sub for $name {
            type Output = Self;

            fn sub(self, other: Self) -> Self {
                self.difference(other)
            }
        }
    };
}

pub(crate) use flags;

#[cfg(test)]
#[cfg(feature = "std")]
mod tests {
    flags! {
        /// Two flags.
        Two(u32) {
            /// The first.
            ONE = 1;
            /// The second.
            FOUR = 4;
        }
    }

    #[test]
    fn flags_have_names_and_keep_unknown_bits() {
        let shown = |bits| std::format!("{:?}", Two::from_bits_retain(bits));
        assert_eq!(
            [0, 1, 5, 0x15, 0x10].map(shown),
            [
                "Two()",
                "Two(ONE)",
                "Two(ONE | FOUR)",
                "Two(ONE | FOUR | 0x10)",
                "Two(0x10)"
            ]
        );
        let both = Two::ONE | Two::FOUR;
        assert_eq!((both & Two::ONE, both - Two::ONE), (Two::ONE, Two::FOUR));
        assert!(both.contains(Two::FOUR) && !Two::ONE.contains(both) && Two::empty().is_empty());
        let mut flags = Two::default();
        flags |= Two::from_bits_retain(0x15);
        assert_eq!(flags.difference(both).bits(), 0x10);
    }
}
