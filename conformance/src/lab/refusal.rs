//! Refuses a system call to one thread, as a sandbox does.

use crate::lab::sockets::last_errno;
use syscalls::{Errno, Sysno};

/// From now on, and for as long as the thread lives, it gets this errno from the call.
pub fn refuse(call: Sysno, errno: Errno) -> Result<(), Errno> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let step = |code: u32, k: u32, jf: u8| libc::sock_filter {
        code: u16::try_from(code).expect("a code has 16 bits"),
        jt: 0,
        jf,
        k,
    };
    let answer = libc::SECCOMP_RET_ERRNO | errno.into_raw().cast_unsigned();
    let mut program = [
        step(LOAD, 0, 0), // the number is the first field of seccomp_data
        step(IS, u32::try_from(call as usize).expect("a small number"), 1),
        step(RETURN, answer, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let length = u16::try_from(program.len()).expect("four steps");
    let filter = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: no pointer.
    let alone = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: the filter and its program are read during the call.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter, 0, 0) };
    if alone | set == 0 { Ok(()) } else { Err(last_errno()) }
}
