//! The one ptrace engine: sees every system call of a process tree and shows it to a hook.
//!
//! The runner owns it; experiments never trace themselves. It uses `PTRACE_O_TRACESYSGOOD` and `PTRACE_GETREGSET`, which
//! old kernels and unprivileged users have. [`record::Recorder`] counts; what lies is another hook of the same engine.

pub mod record;

use std::collections::HashMap;
use std::io;
use std::mem;

/// A system call at its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The thread that makes it.
    pub tid: libc::pid_t,
    /// Its number.
    pub number: u64,
    /// Its arguments, as they are in the registers.
    pub arguments: [u64; 6],
}

/// What looks at the calls.
pub trait Hook {
    /// The thread is about to enter the kernel.
    fn enter(&mut self, call: &Call);
    /// The kernel has answered `result`, negative for an errno.
    fn exit(&mut self, call: &Call, result: i64);
}

/// Follows a process and all that it starts.
pub struct Engine<'hook> {
    hook: &'hook mut dyn Hook,
    /// Every traced thread, with the call that it is in.
    threads: HashMap<libc::pid_t, Option<Call>>,
}

/// Offers this process to its parent as tracee and stops until it follows. Called by the child.
///
/// # Errors
///
/// `EPERM` where a filter, a container or another tracer forbids it.
pub fn offer() -> io::Result<()> {
    // SAFETY: PTRACE_TRACEME takes no pointer.
    if unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: stops this process only; the parent continues it.
    unsafe { libc::raise(libc::SIGSTOP) };
    Ok(())
}

impl<'hook> Engine<'hook> {
    /// Takes over `child`, which is in the stop of [`offer`].
    pub fn follow(child: libc::pid_t, hook: &'hook mut dyn Hook) -> io::Result<Self> {
        let options = libc::PTRACE_O_TRACESYSGOOD
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_EXITKILL;
        // SAFETY: PTRACE_SETOPTIONS takes its options by value.
        if unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, child, 0, options) } == -1 {
            return Err(io::Error::last_os_error());
        }
        let mut engine = Self {
            hook,
            threads: HashMap::new(),
        };
        engine.threads.insert(child, None);
        proceed(child, 0);
        Ok(engine)
    }

    /// Handles a stop that `waitpid` reported and lets the thread go on.
    pub fn stopped(&mut self, tid: libc::pid_t, status: libc::c_int) {
        let signal = libc::WSTOPSIG(status);
        if signal == libc::SIGTRAP | 0x80 {
            self.system_call(tid);
            proceed(tid, 0);
        } else if status >> 16 != 0 {
            // An event of clone or fork: the new thread reports itself.
            proceed(tid, 0);
        } else if signal == libc::SIGSTOP && !self.threads.contains_key(&tid) {
            // The stop with which a traced newcomer begins.
            self.threads.insert(tid, None);
            proceed(tid, 0);
        } else {
            proceed(tid, signal);
        }
    }

    fn system_call(&mut self, tid: libc::pid_t) {
        // A thread killed while it stood here has no registers any more; its end is reported next.
        let Ok(registers) = Registers::of(tid) else {
            return;
        };
        let entered = self.threads.entry(tid).or_default();
        match entered.take() {
            None => {
                let call = registers.call(tid);
                *entered = Some(call);
                self.hook.enter(&call);
            }
            Some(call) => self.hook.exit(&call, registers.result()),
        }
    }
}

/// Lets a stopped thread run to its next system call stop, with `signal` delivered.
fn proceed(tid: libc::pid_t, signal: libc::c_int) {
    // SAFETY: PTRACE_SYSCALL takes no pointer. A thread that died meanwhile is ESRCH, and waitpid reports it.
    unsafe { libc::ptrace(libc::PTRACE_SYSCALL, tid, 0, signal) };
}

/// The general registers of a stopped thread.
struct Registers(libc::user_regs_struct);

#[cfg(target_arch = "x86_64")]
impl Registers {
    fn of(tid: libc::pid_t) -> io::Result<Self> {
        const NT_PRSTATUS: libc::c_int = 1;
        // SAFETY: user_regs_struct is plain integers, for which zero is valid.
        let mut registers: libc::user_regs_struct = unsafe { mem::zeroed() };
        let mut area = libc::iovec {
            iov_base: (&raw mut registers).cast(),
            iov_len: size_of::<libc::user_regs_struct>(),
        };
        // SAFETY: `area` describes `registers`, which the kernel fills, and is itself written (iov_len).
        let done = unsafe { libc::ptrace(libc::PTRACE_GETREGSET, tid, NT_PRSTATUS, &raw mut area) };
        if done == -1 {
            Err(io::Error::last_os_error())
        } else {
            Ok(Self(registers))
        }
    }

    fn call(&self, tid: libc::pid_t) -> Call {
        let Self(r) = self;
        Call {
            tid,
            number: r.orig_rax,
            arguments: [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9],
        }
    }

    fn result(&self) -> i64 {
        self.0.rax.cast_signed()
    }
}
