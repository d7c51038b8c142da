//! A stopped thread: its registers and its memory.

use std::io;
use std::mem;

/// A thread that is stopped at the entry or exit of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracee {
    /// Its id, as the tracer sees it.
    pub tid: libc::pid_t,
}

impl Tracee {
    /// Copies memory at `address`. Returns how many bytes could be read.
    pub fn read(self, address: u64, bytes: &mut [u8]) -> usize {
        let (local, remote) = areas(address, bytes.as_mut_ptr(), bytes.len());
        // SAFETY: `local` is `bytes`, which the call writes; `remote` is an address of another process, checked by the kernel.
        let done = unsafe { libc::process_vm_readv(self.tid, &raw const local, 1, &raw const remote, 1, 0) };
        usize::try_from(done).unwrap_or(0)
    }

    /// Writes memory at `address` that the thread itself could write. Returns whether all of it was written.
    pub fn write(self, address: u64, bytes: &[u8]) -> bool {
        let (local, remote) = areas(address, bytes.as_ptr().cast_mut(), bytes.len());
        // SAFETY: `local` is `bytes`, which the call reads only; `remote` is an address of another process, checked by the kernel.
        let done = unsafe { libc::process_vm_writev(self.tid, &raw const local, 1, &raw const remote, 1, 0) };
        usize::try_from(done) == Ok(bytes.len())
    }

    /// The little-endian number at `address`.
    pub fn number<const SIZE: usize>(self, address: u64) -> Option<u64> {
        let mut bytes = [0; SIZE];
        if address == 0 || self.read(address, &mut bytes) != SIZE {
            return None;
        }
        let mut whole = [0; 8];
        whole[..SIZE].copy_from_slice(&bytes);
        Some(u64::from_le_bytes(whole))
    }

    /// Writes the word at `address` back unchanged, as a debugger does: a page of a private mapping becomes a copy, whatever its
    /// protection.
    pub fn touch(self, address: u64) {
        // SAFETY: the kernel checks the address, and the data goes by value. libc returns the word, of which -1 is one.
        unsafe {
            let word = libc::ptrace(libc::PTRACE_PEEKDATA, self.tid, address, 0);
            libc::ptrace(libc::PTRACE_POKEDATA, self.tid, address, word);
        }
    }

    /// Sends a signal to this thread.
    pub fn signal(self, signal: libc::c_int) {
        // SAFETY: tkill takes no pointer; a stopped tracee's id is not reused.
        unsafe { libc::syscall(libc::SYS_tkill, self.tid, signal) };
    }
}

fn areas(address: u64, local: *mut u8, length: usize) -> (libc::iovec, libc::iovec) {
    let address = usize::try_from(address).expect("64-bit");
    (
        libc::iovec { iov_base: local.cast(), iov_len: length },
        libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: length },
    )
}

/// The general registers of a stopped thread.
pub struct Registers(libc::user_regs_struct);

const NT_PRSTATUS: libc::c_int = 1;

#[cfg(target_arch = "x86_64")]
impl Registers {
    /// Reads them.
    pub fn of(tid: libc::pid_t) -> io::Result<Self> {
        // SAFETY: user_regs_struct is plain integers, for which zero is valid.
        let mut registers: libc::user_regs_struct = unsafe { mem::zeroed() };
        let mut area =
            libc::iovec { iov_base: (&raw mut registers).cast(), iov_len: size_of::<libc::user_regs_struct>() };
        // SAFETY: `area` describes `registers`, which the kernel fills, and is itself written (iov_len).
        let mut done = unsafe { libc::ptrace(libc::PTRACE_GETREGSET, tid, NT_PRSTATUS, &raw mut area) };
        if done == -1 {
            // User-mode Linux does not have the set of general registers, but has the older request for them.
            // SAFETY: the kernel fills `registers`, which has the type for this request.
            done = unsafe { libc::ptrace(libc::PTRACE_GETREGS, tid, 0, &raw mut registers) };
        }
        if done == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(registers))
    }

    /// Writes the registers back. A thread that died in the meantime has no registers, and its end is reported next.
    pub fn store(&mut self, tid: libc::pid_t) {
        let mut area = libc::iovec { iov_base: (&raw mut self.0).cast(), iov_len: size_of::<libc::user_regs_struct>() };
        // SAFETY: `area` describes our registers, which the kernel reads; the older request reads them as well.
        unsafe {
            if libc::ptrace(libc::PTRACE_SETREGSET, tid, NT_PRSTATUS, &raw mut area) == -1 {
                libc::ptrace(libc::PTRACE_SETREGS, tid, 0, &raw mut self.0);
            }
        }
    }

    /// The number of the system call that the thread is in.
    pub fn number(&self) -> u64 {
        self.0.orig_rax
    }

    /// Replaces the number. No call has the number -1: the kernel returns `ENOSYS`.
    pub fn set_number(&mut self, number: u64) {
        self.0.orig_rax = number;
    }

    /// The arguments of the system call.
    pub fn arguments(&self) -> [u64; 6] {
        let Self(r) = self;
        [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9]
    }

    /// Memory below the stack that a thread inside a system call does not use.
    pub fn scratch(&self) -> u64 {
        const BELOW: u64 = 1024; // more than the 128 bytes below the stack pointer that its function owns
        self.0.rsp - BELOW
    }

    /// Replaces the arguments.
    pub fn set_arguments(&mut self, arguments: [u64; 6]) {
        let Self(r) = self;
        [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] = arguments;
    }

    /// The result of the call, negative for an errno.
    pub fn result(&self) -> i64 {
        self.0.rax.cast_signed()
    }

    /// Replaces the result of the call.
    pub fn set_result(&mut self, result: i64) {
        self.0.rax = result.cast_unsigned();
    }
}
