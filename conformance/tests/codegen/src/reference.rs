//! The system call by hand: what a wrapper is compared with.

use syscalls::Errno;

/// One `syscall` instruction, with each argument in the register that is named. An `int` is left as wide as it is: the
/// kernel reads no more of it.
macro_rules! by_hand {
    ($number:ident $(, $register:tt = $value:expr)* $(,)?) => {{
        let returned: isize;
        // SAFETY: as for the wrapper beside it, whose arguments these are.
        unsafe {
            core::arch::asm!(
                "syscall",
                inlateout("rax") syscalls::Sysno::$number as isize => returned,
                $(in($register) $value,)*
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack, preserves_flags),
            );
        }
        $crate::reference::result(returned)
    }};
}
pub(crate) use by_hand;

#[inline]
pub(crate) fn result(returned: isize) -> Result<usize, Errno> {
    if (-4095..0).contains(&returned) {
        #[expect(clippy::cast_possible_truncation, reason = "compared above")]
        Err(Errno::new(-returned as i32))
    } else {
        Ok(returned.cast_unsigned())
    }
}
