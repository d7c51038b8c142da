//! Runs a program as on an older kernel: `older [--without-zerocopy] PROGRAM ARGUMENTS`.
//!
//! Every system call that is newer than Linux 3.16 is answered with `ENOSYS`; with `--without-zerocopy` the option
//! `SO_ZEROCOPY` too is unknown (`ENOPROTOOPT`), as before 4.14. A seccomp filter does it, for the program and all that it
//! starts. Cargo takes it as a runner of tests: see the recipe `test-old`.

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the filter has x86-64 numbers");

#[path = "../../../tests/seccomp/mod.rs"]
mod seccomp;

use seccomp::step;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::{env, io};

/// The last system call of Linux 3.16 on x86-64: renameat2.
const LAST: u32 = 316;

/// The option of `setsockopt` and `getsockopt` that came with 4.14.
const SO_ZEROCOPY: u32 = 60;

// struct seccomp_data: the call's number at 0, the arguments from 16 on, eight bytes each.
const NUMBER: u32 = 0;
const OPTION: u32 = 16 + 2 * 8;

fn main() -> ExitCode {
    let mut arguments: Vec<_> = env::args_os().skip(1).collect();
    let without_zerocopy = arguments
        .first()
        .is_some_and(|first| first == "--without-zerocopy");
    if without_zerocopy {
        arguments.remove(0);
    }
    let Some((program, arguments)) = arguments.split_first() else {
        eprintln!("usage: older [--without-zerocopy] PROGRAM ARGUMENTS");
        return ExitCode::from(2);
    };
    if let Err(error) = filter(without_zerocopy) {
        eprintln!("older: the filter is refused: {error}");
        return ExitCode::from(2);
    }
    let error = Command::new(program).args(arguments).exec();
    eprintln!("older: {}: {error}", program.display());
    ExitCode::from(2)
}

fn filter(without_zerocopy: bool) -> io::Result<()> {
    let code = |code: u32| u16::try_from(code).expect("16 bits by the kernel's header");
    let load = |offset| {
        step(
            code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS),
            0,
            0,
            offset,
        )
    };
    let equal = |value, yes, no| {
        step(
            code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K),
            yes,
            no,
            value,
        )
    };
    let above = |value, yes, no| {
        step(
            code(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K),
            yes,
            no,
            value,
        )
    };
    let answer = |action| step(code(libc::BPF_RET | libc::BPF_K), 0, 0, action);
    let fail = |errno: i32| answer(libc::SECCOMP_RET_ERRNO | errno.cast_unsigned());
    let number = |call: libc::c_long| u32::try_from(call).expect("a small number");

    let mut program = vec![load(NUMBER), above(LAST, 0, 1), fail(libc::ENOSYS)];
    if without_zerocopy {
        program.extend([
            equal(number(libc::SYS_setsockopt), 1, 0),
            equal(number(libc::SYS_getsockopt), 0, 3),
            load(OPTION),
            equal(SO_ZEROCOPY, 0, 1),
            fail(libc::ENOPROTOOPT),
        ]);
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    seccomp::install(&mut program)
}
