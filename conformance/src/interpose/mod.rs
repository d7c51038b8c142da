//! The ptrace engine: sees every system call of a process tree and passes it to a hook.
//!
//! The runner owns it; experiments never trace themselves. It uses `PTRACE_O_TRACESYSGOOD` and `PTRACE_GETREGSET`, which old kernels
//! and unprivileged users have. There are two hooks: [`record::Recorder`] counts and records calls, and [`liar::Liar`] changes the
//! visible results of calls as a [`lie::Lie`] describes.

pub mod derive;
pub mod liar;
pub mod lie;
pub mod record;
pub mod strace;
pub mod tracee;

use std::collections::{HashMap, HashSet};
use std::io;
use tracee::{Registers, Tracee};

/// A system call at its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The thread that makes it.
    pub tid: libc::pid_t,
    /// The number of that thread in the tree, from 0, in the order of their first stops.
    pub thread: u32,
    /// Its number.
    pub number: u64,
    /// Its arguments, as they are in the registers.
    pub arguments: [u64; 6],
    /// Memory of the thread that is unused during the call.
    pub scratch: u64,
}

impl Call {
    /// The stopped thread.
    pub fn tracee(&self) -> Tracee {
        Tracee { tid: self.tid }
    }
}

/// The action at the entry of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The call is made unchanged.
    AsAsked,
    /// The call is made with other arguments. The thread does not notice.
    With([u64; 6]),
    /// The call is not made.
    Skipped,
}

/// Sees and changes calls.
pub trait Hook {
    /// A thread has started another thread, or a process.
    fn started(&mut self, _by: libc::pid_t, _tid: libc::pid_t) {}
    /// Whether a new thread must wait before its first call until its creator is known.
    fn asks_who_started(&self) -> bool {
        false
    }
    /// The thread is about to enter the kernel.
    fn enter(&mut self, call: &Call) -> Entry;
    /// The kernel has returned `result`, negative for an errno. The thread gets the return value of this function. The result of a
    /// skipped call is `ENOSYS`.
    fn exit(&mut self, _call: &Call, result: i64) -> i64 {
        result
    }
    /// A signal is about to be delivered. The thread gets the signal that this returns, or none for 0.
    fn signal(&mut self, _tid: libc::pid_t, signal: libc::c_int) -> libc::c_int {
        signal
    }
}

/// Follows a process, and all threads and processes that it starts.
pub struct Engine<'hook> {
    hook: &'hook mut dyn Hook,
    /// Every traced thread.
    threads: HashMap<libc::pid_t, Thread>,
    /// Threads that were reported as started, and have not made their first stop.
    expected: HashSet<libc::pid_t>,
    /// Threads that wait in their first stop until their creator is known.
    held: HashSet<libc::pid_t>,
}

/// A traced thread.
#[derive(Clone, Copy, Debug)]
struct Thread {
    /// Its number in the order of first stops.
    index: u32,
    /// The call that it is in, and the action at the entry of the call.
    inside: Option<(Call, Entry)>,
}

/// Offers this process to its parent as tracee, and stops until the parent follows it. Called by the child.
///
/// # Errors
///
/// `EPERM`, if a filter, a container or another tracer forbids it.
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
            | libc::PTRACE_O_TRACEEXEC
            | libc::PTRACE_O_EXITKILL;
        // SAFETY: PTRACE_SETOPTIONS takes its options by value.
        if unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, child, 0, options) } == -1 {
            return Err(io::Error::last_os_error());
        }
        let mut engine = Self { hook, threads: HashMap::new(), expected: HashSet::new(), held: HashSet::new() };
        engine.first_stop(child);
        proceed(child, 0);
        Ok(engine)
    }

    /// Handles a stop that `waitpid` reported, and lets the thread continue.
    pub fn stopped(&mut self, tid: libc::pid_t, status: libc::c_int) {
        let signal = libc::WSTOPSIG(status);
        if signal == libc::SIGTRAP | 0x80 {
            self.system_call(tid);
            proceed(tid, 0);
        } else if status >> 16 != 0 {
            // An event of clone, fork or exec. A new thread reports its first stop separately, before or after it.
            if status >> 16 != libc::PTRACE_EVENT_EXEC {
                self.has_started(tid);
            }
            proceed(tid, 0);
        } else if signal == libc::SIGSTOP && !self.threads.contains_key(&tid) {
            // The first stop of a new tracee.
            if self.expected.remove(&tid) || !self.hook.asks_who_started() {
                self.first_stop(tid);
                proceed(tid, 0);
            } else {
                self.held.insert(tid);
            }
        } else {
            proceed(tid, self.hook.signal(tid, signal));
        }
    }

    fn has_started(&mut self, by: libc::pid_t) {
        let mut started: libc::c_ulong = 0;
        // SAFETY: the kernel writes one long, which `started` is.
        if unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, by, 0, &raw mut started) } == -1 {
            return; // killed in the meantime
        }
        let Ok(tid) = libc::pid_t::try_from(started) else {
            return;
        };
        self.hook.started(by, tid);
        if self.held.remove(&tid) {
            self.first_stop(tid);
            proceed(tid, 0);
        } else if !self.threads.contains_key(&tid) {
            self.expected.insert(tid);
        }
    }

    fn first_stop(&mut self, tid: libc::pid_t) -> &mut Thread {
        let index = u32::try_from(self.threads.len()).unwrap_or(u32::MAX);
        self.threads.entry(tid).or_insert(Thread { index, inside: None })
    }

    fn system_call(&mut self, tid: libc::pid_t) {
        // A thread that was killed during the stop has no registers; its end is reported next.
        let Ok(mut registers) = Registers::of(tid) else {
            return;
        };
        let thread = *self.first_stop(tid);
        let inside = match thread.inside {
            None => {
                let call = Call {
                    tid,
                    thread: thread.index,
                    number: registers.number(),
                    arguments: registers.arguments(),
                    scratch: registers.scratch(),
                };
                let entry = self.hook.enter(&call);
                match entry {
                    Entry::AsAsked => {}
                    Entry::With(arguments) => registers.set_arguments(arguments),
                    Entry::Skipped => registers.set_number(u64::MAX),
                }
                if entry != Entry::AsAsked {
                    registers.store(tid);
                }
                Some((call, entry))
            }
            Some((call, entry)) => {
                let result = registers.result();
                let shown = self.hook.exit(&call, result);
                if shown != result || entry != Entry::AsAsked {
                    registers.set_result(shown);
                    registers.set_arguments(call.arguments);
                    registers.store(tid);
                }
                None
            }
        };
        self.first_stop(tid).inside = inside;
    }
}

/// Lets a stopped thread run to its next system call stop, with `signal` delivered.
fn proceed(tid: libc::pid_t, signal: libc::c_int) {
    // SAFETY: PTRACE_SYSCALL takes no pointer. A thread that died in the meantime is ESRCH, and waitpid reports it.
    unsafe { libc::ptrace(libc::PTRACE_SYSCALL, tid, 0, signal) };
}
