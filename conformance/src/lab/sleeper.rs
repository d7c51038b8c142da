//! A call that may sleep, made in a separate thread. `/proc` shows whether it sleeps, so no clock is needed.

use crate::interpose::record::aside;
use crate::lab::sockets::last_errno;
use crate::lab::waiting::wait_until;
use crate::verdict::{Lack, Setup, Stop, errno_name};
use std::os::unix::thread::JoinHandleExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use syscalls::{Errno, Sysno};

/// A thread that makes one call.
#[derive(Debug)]
pub struct Caller {
    call: Sysno,
    /// Its directory in /proc.
    directory: PathBuf,
    thread: JoinHandle<Result<usize, Errno>>,
}

impl Caller {
    /// Starts the thread. `work` makes the call once, or repeats it after `EINTR`.
    pub fn start(call: Sysno, work: impl FnOnce() -> Result<usize, Errno> + Send + 'static) -> Result<Self, Stop> {
        if !Path::new("/proc/self/syscall").exists() {
            return Err(Stop::untestable(
                Lack::Kernel,
                "/proc/self/syscall does not show in which call a thread sleeps",
                "use a kernel with CONFIG_HAVE_ARCH_TRACEHOOK",
            ));
        }
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            // The number must be that of the namespace of /proc, which may differ from this process's namespace.
            let link = aside(|| std::fs::read_link("/proc/thread-self"));
            let is_known = link.is_ok();
            if tell.send(link).is_ok() && is_known { work() } else { Err(Errno::ECANCELED) }
        });
        let link =
            told.recv().map_err(|_| Stop::broken("the thread has told nothing"))?.setup("read /proc/thread-self")?;
        let directory = Path::new("/proc").join(link);
        Ok(Self { call, directory, thread })
    }

    /// Waits until the thread sleeps in the call or has returned from it. Returns whether it sleeps.
    pub fn sleeps(&self) -> Result<bool, Stop> {
        self.sleeps_with(|| Ok(true))
    }

    /// The same, for a call that may also sleep before `ready` is true: that sleep does not count.
    pub fn sleeps_with(&self, mut ready: impl FnMut() -> Result<bool, Stop>) -> Result<bool, Stop> {
        let mut sleeps = false;
        wait_until(|| {
            sleeps = ready()? && self.is_asleep();
            Ok(sleeps || self.has_returned())
        })?;
        Ok(sleeps)
    }

    /// Whether the thread sleeps in the call at this moment.
    fn is_asleep(&self) -> bool {
        // The thread may end between two reads, and its files then disappear.
        let read = |name: &str| aside(|| std::fs::read_to_string(self.directory.join(name))).ok();
        let look = || {
            let inside: usize = read("syscall")?.split(' ').next()?.parse().ok()?;
            let stat = read("stat")?;
            let state = stat.rsplit_once(')')?.1.trim_start().chars().next()?;
            Some(state == 'S' && inside == self.call as usize)
        };
        look() == Some(true)
    }

    /// Whether the call has returned.
    pub fn has_returned(&self) -> bool {
        self.thread.is_finished()
    }

    /// Sends a signal to the thread.
    pub fn signal(&self, signal: libc::c_int) -> Result<(), Stop> {
        // SAFETY: the thread has not been joined, so its id is valid.
        match unsafe { libc::pthread_kill(self.thread.as_pthread_t(), signal) } {
            0 => Ok(()),
            errno => Err(Stop::from_setup("pthread_kill", Errno::new(errno))),
        }
    }

    /// The result of the call, after it has returned.
    pub fn join(self) -> Result<Result<usize, Errno>, Stop> {
        let panicked = |_| Stop::broken("the thread that made the call panicked");
        self.thread.join().map_err(panicked)
    }
}

/// Lets a signal interrupt a sleeping call: the handler does nothing, and the call is not restarted.
pub fn interrupt_with(signal: libc::c_int) -> Result<(), Stop> {
    handle(signal, 0)
}

/// The same, with a handler that is set with `SA_RESTART`.
pub fn restart_with(signal: libc::c_int) -> Result<(), Stop> {
    handle(signal, libc::SA_RESTART)
}

fn handle(signal: libc::c_int, flags: libc::c_int) -> Result<(), Stop> {
    extern "C" fn nothing(_signal: libc::c_int) {}
    // SAFETY: sigaction is plain integers and pointers, for which zero is valid: an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as libc::sighandler_t;
    action.sa_flags = flags;
    // SAFETY: the handler does nothing, which is safe wherever it interrupts; the old action is not asked for.
    if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } == -1 {
        return Err(Stop::from_setup("sigaction", last_errno()));
    }
    Ok(())
}

/// The result of a call, in words.
pub fn returned(result: Result<usize, Errno>) -> String {
    match result {
        Ok(count) => format!("returned {count}"),
        Err(errno) => errno_name(errno.into_raw()),
    }
}
