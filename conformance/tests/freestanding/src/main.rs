//! `freestanding FILE`: copies the file to standard output by `nocopy-sendfile`. Without FILE it copies standard input,
//! which must be a file too. The exit status is 0 or the errno.
//!
//! There is no std, no libc and no start file here: what is in the program is the crate and these lines.
#![no_std]
#![no_main]

use core::arch::naked_asm;
use core::panic::PanicInfo;

use nocopy_sendfile::{BorrowedFd, Errno, MAX_COUNT, sendfile};
use syscalls::{Sysno, syscall1, syscall2};

/// Where the kernel starts the program, with `argc` and `argv` on the stack.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    naked_asm!("mov rdi, rsp", "call {main}", main = sym main)
}

/// # Safety
///
/// `stack` is what the kernel has put on the stack: `argc`, and that many pointers to the arguments.
unsafe extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: `argc`, and if it says so a second argument behind it.
    let path = unsafe { if *stack > 1 { *stack.add(2) } else { 0 } };
    exit(match copy(path) {
        Ok(()) => 0,
        Err(errno) => errno.into_raw(),
    })
}

fn exit(status: i32) -> ! {
    loop {
        // SAFETY: nothing is a pointer.
        let _ = unsafe { syscall1(Sysno::exit_group, status.cast_unsigned() as usize) };
    }
}

fn copy(path: usize) -> Result<(), Errno> {
    let input = if path == 0 {
        0
    } else {
        // SAFETY: a C string, which the kernel reads during the call.
        unsafe { syscall2(Sysno::open, path, 0) }?
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "a descriptor is an int"
    )]
    // SAFETY: nobody closes it.
    let input = unsafe { BorrowedFd::borrow_raw(input as i32) };
    // SAFETY: nobody closes it.
    let output = unsafe { BorrowedFd::borrow_raw(1) };
    while sendfile(output, input, None, MAX_COUNT)? > 0 {}
    Ok(())
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(101)
}
