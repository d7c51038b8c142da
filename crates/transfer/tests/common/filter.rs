//! A filter of system calls: from now on, this thread gets an errno from a call. It cannot be taken back.

/// Which calls are refused.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    pub call: syscalls::Sysno,
    pub errno: i32,
    /// Only if this argument has this value, of which the lower 32 bits are compared: a descriptor, a request.
    pub argument: Option<(u32, u32)>,
}

impl Filter {
    /// Refuses the call for the rest of the thread's life.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the codes have 16 bits in a filter"
    )]
    pub fn install(self) {
        const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
        const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
        let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        let number = u32::try_from(self.call as usize).expect("a number");
        let errno = libc::SECCOMP_RET_ERRNO | u32::try_from(self.errno).expect("an errno");
        // `struct seccomp_data`: the number at 0, the arguments from 16, 8 bytes each.
        let mut program = vec![
            line(LOAD, 0, 0, 0),
            line(
                EQUAL,
                0,
                if self.argument.is_some() { 3 } else { 1 },
                number,
            ),
        ];
        if let Some((index, value)) = self.argument {
            program.extend([line(LOAD, 0, 0, 16 + 8 * index), line(EQUAL, 0, 1, value)]);
        }
        program.extend([
            line(RETURN, 0, 0, errno),
            line(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        ]);
        let length = u16::try_from(program.len()).expect("a few lines");
        let whole = libc::sock_fprog {
            len: length,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: no pointer.
        let alone = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        assert_eq!(alone, 0);
        // SAFETY: the program lives until the call has returned; the kernel copies it.
        let set = unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const whole,
                0,
                0,
            )
        };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }
}
