//! Records the calls of a program at their entry, without a tracer. The kernel reports each call by a seccomp notification, and
//! then makes it (`SECCOMP_RET_USER_NOTIF`, Linux 5.5).
//!
//! The experiment itself may be traced, and a process can have only one tracer, so programs that it starts are watched in this
//! way.

use crate::interpose::record::{aside, start_aside};
use crate::lab::io;
use crate::verdict::{Lack, Setup, Stop};
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use syscalls::{Errno, Sysno, syscall};

/// The calls that write, and those that could replace them.
pub const WRITING: &[Sysno] = &[
    Sysno::write,
    Sysno::writev,
    Sysno::pwrite64,
    Sysno::pwritev,
    Sysno::pwritev2,
    Sysno::sendto,
    Sysno::sendmsg,
    Sysno::sendfile,
    Sysno::splice,
    Sysno::vmsplice,
    Sysno::copy_file_range,
    Sysno::io_uring_enter,
];
/// The calls that read.
pub const READING: &[Sysno] =
    &[Sysno::read, Sysno::readv, Sysno::pread64, Sysno::preadv, Sysno::preadv2, Sysno::recvfrom, Sysno::recvmsg];

/// A call that a watched program was about to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The system call.
    pub call: Sysno,
    /// The file that the call writes to or reads from, as `/proc` names it.
    pub file: PathBuf,
    /// The descriptor's status flags.
    pub flags: i32,
    /// The call's arguments.
    pub arguments: [u64; 6],
}

impl Seen {
    /// Whether the file's name ends with `end`.
    pub fn is_of(&self, end: &str) -> bool {
        self.file.to_string_lossy().ends_with(end)
    }

    /// Whether the descriptor is of this unnamed kind: `socket`, `pipe`.
    pub fn is_of_kind(&self, kind: &str) -> bool {
        let name = self.file.to_string_lossy();
        name.split_once(':').is_some_and(|(first, _)| first == kind)
    }

    /// Whether the call is one that writes.
    pub fn writes(&self) -> bool {
        WRITING.contains(&self.call)
    }

    /// Whether the call is one that reads.
    pub fn reads(&self) -> bool {
        READING.contains(&self.call)
    }

    /// The requested number of bytes, for a call that has it as its third argument.
    pub const fn count(&self) -> u64 {
        self.arguments[2]
    }
}

/// The largest write by `dd` when it copies a whole file as one block. Shows that such a write is recorded.
pub fn written_by_dd(path: &Path, length: u64) -> Result<u64, Stop> {
    let mut command = Command::new("dd");
    command.arg(format!("if={}", path.display())).args(["of=/dev/null", &format!("bs={length}"), "status=none"]);
    let (mut child, watch) = Watch::start(start_aside(command.stdin(Stdio::null())), WRITING)?;
    child.wait().setup("wait for dd")?;
    let into = watch.take().into_iter().filter(|seen| seen.is_of("/dev/null"));
    Ok(into.map(|seen| seen.count()).max().unwrap_or(0))
}

/// The names of the calls, each once.
pub fn names(calls: &[Seen]) -> String {
    let names: BTreeSet<&str> = calls.iter().map(|seen| seen.call.name()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// The recorded calls of a program.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Shared>);

/// The state that the listening thread shares with the experiment.
#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    is_held: Mutex<bool>,
    released: Condvar,
}

/// The descriptor by which the program holds the listener for notifications. The program does not open this number itself.
const LISTENER: RawFd = 99;

impl Watch {
    /// Starts a program and watches it, with all programs that it starts. The program must exist: if it cannot be executed, the
    /// child waits for an answer for ever.
    pub fn start(command: &mut Command, calls: &[Sysno]) -> Result<(Child, Self), Stop> {
        let filter = filter(calls);
        let watched = move || {
            let program = libc::sock_fprog {
                len: u16::try_from(filter.len()).unwrap_or(u16::MAX),
                filter: filter.as_ptr().cast_mut(),
            };
            // SAFETY: between fork and exec nothing is done but system calls. `program` describes `filter`, which the kernel reads;
            // dup2 replaces a descriptor that the program does not have yet, and what it names outlives the exec.
            unsafe {
                // A watched write could not report that this number is above the limit, so this comes before the filter.
                if libc::dup2(0, LISTENER) == -1 {
                    return Err(std::io::Error::from_raw_os_error(libc::EMFILE));
                }
                if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 {
                    return Err(std::io::Error::last_os_error());
                }
                let listener = libc::syscall(
                    libc::SYS_seccomp,
                    libc::SECCOMP_SET_MODE_FILTER,
                    libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
                    &raw const program,
                );
                let listener = RawFd::try_from(listener).unwrap_or(-1);
                if listener == -1 || libc::dup2(listener, LISTENER) == -1 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: as above: the closure makes system calls only.
        let child = unsafe { command.pre_exec(watched) }.spawn();
        let child = child.map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL | libc::ENOSYS) => Stop::untestable(
                Lack::Kernel,
                format!("the kernel does not tell of a program's calls: seccomp: {error}"),
                "use Linux 5.5 or later with CONFIG_SECCOMP_FILTER",
            ),
            Some(errno) => Stop::from_setup("start a program that is watched", Errno::new(errno)),
            None => Stop::broken(format!("start a program that is watched: {error}")),
        })?;
        let listener = descriptor(child.id(), LISTENER).map_err(Refused::stop)?;
        let watch = Self::default();
        let told = watch.clone();
        thread::spawn(move || aside(|| told.listen(&listener)));
        Ok((child, watch))
    }

    /// Takes the calls recorded since the last call of this function.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut locked(&self.0.seen))
    }

    /// Makes the program wait in its next watched call, as if it were busy, until it is [released](Self::release).
    pub fn hold(&self) {
        *locked(&self.0.is_held) = true;
    }

    /// Ends the wait.
    pub fn release(&self) {
        *locked(&self.0.is_held) = false;
        self.0.released.notify_all();
    }

    /// Records each notification, until the last watched process has ended.
    fn listen(&self, listener: &OwnedFd) {
        while let Ok(notification) = receive(listener) {
            if let Some(seen) = seen(&notification) {
                locked(&self.0.seen).push(seen);
            }
            let held = locked(&self.0.is_held);
            let free = self.0.released.wait_while(held, |is_held| *is_held);
            drop(free);
            let_go_on(listener, notification.id);
        }
    }
}

/// A thread that panics leaves no inconsistent state.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The content of a notification, if the call is known and the descriptor is open in a process's first thread.
fn seen(notification: &libc::seccomp_notif) -> Option<Seen> {
    let data = &notification.data;
    let call = usize::try_from(data.nr).ok().and_then(Sysno::new)?;
    let place = match call {
        Sysno::splice | Sysno::copy_file_range => 2,
        _ => 0,
    };
    let number = RawFd::try_from(data.args[place]).ok()?;
    let (file, flags) = opened(&descriptor(notification.pid, number).ok()?)?;
    Some(Seen { call, file, flags, arguments: data.args })
}

/// The file of a descriptor, as `/proc` names it, and its status flags.
fn opened(fd: &OwnedFd) -> Option<(PathBuf, i32)> {
    let file = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    // SAFETY: F_GETFL takes no pointer.
    let flags = unsafe { syscall!(Sysno::fcntl, fd.as_raw_fd(), libc::F_GETFL) };
    Some((file, i32::try_from(flags.ok()?).ok()?))
}

/// The descriptor by which a process has an open file whose name ends with `end`, shared with this process, and its flags.
pub fn open_file(pid: u32, end: &str) -> Result<Option<(OwnedFd, i32)>, Stop> {
    /// The lowest numbers are enough for a server.
    const MOST: RawFd = 64;
    for number in 0..MOST {
        let fd = match descriptor(pid, number) {
            Ok(fd) => fd,
            Err(Refused::Closed) => continue,
            Err(refused) => return Err(refused.stop()),
        };
        if let Some((file, flags)) = opened(&fd)
            && file.to_string_lossy().ends_with(end)
        {
            return Ok(Some((fd, flags)));
        }
    }
    Ok(None)
}

/// Why a descriptor cannot be shared.
enum Refused {
    /// The process has no descriptor with this number.
    Closed,
    Other(Errno),
}

impl Refused {
    fn stop(self) -> Stop {
        match self {
            Self::Other(Errno::ENOSYS) => {
                Stop::untestable(Lack::Kernel, "there is no pidfd_getfd()", "use Linux 5.6 or later")
            }
            Self::Other(errno) => Stop::from_setup("pidfd_getfd", errno),
            Self::Closed => Stop::broken("the process has no such descriptor"),
        }
    }
}

/// Shares a descriptor of a process: the same open file, with its position and flags (`pidfd_getfd`, Linux 5.6).
///
/// This does not use `/proc`, which may belong to another pid namespace.
fn descriptor(pid: u32, number: RawFd) -> Result<OwnedFd, Refused> {
    let refused = |errno| match errno {
        Errno::EBADF => Refused::Closed,
        errno => Refused::Other(errno),
    };
    // SAFETY: the calls take numbers only, and this process owns the descriptors that they return.
    unsafe {
        let process = owned(syscall!(Sysno::pidfd_open, pid, 0).map_err(Refused::Other)?);
        let shared = syscall!(Sysno::pidfd_getfd, process.as_raw_fd(), number, 0);
        Ok(owned(shared.map_err(refused)?))
    }
}

/// Takes ownership of a descriptor that a call has returned.
///
/// # Safety
///
/// It must be a descriptor that nothing else owns.
unsafe fn owned(number: usize) -> OwnedFd {
    let number = RawFd::try_from(number).unwrap_or(-1);
    // SAFETY: the caller promises it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// A filter that makes the kernel report these calls and lets all others pass.
fn filter(calls: &[Sysno]) -> Vec<libc::sock_filter> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    /// `AUDIT_ARCH_X86_64`.
    const ARCHITECTURE: u32 = 0xc000_003e;
    let step = |code: u32, k: u32, otherwise: u8| libc::sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt: 0,
        jf: otherwise,
        k,
    };
    // The number is the first field of the data, the architecture the second.
    let mut steps = vec![step(LOAD, 4, 0), step(IS, ARCHITECTURE, 1), step(LOAD, 0, 0)];
    for call in calls {
        steps.push(step(IS, u32::try_from(call.id()).unwrap_or(u32::MAX), 1));
        steps.push(step(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0));
    }
    steps.push(step(RETURN, libc::SECCOMP_RET_ALLOW, 0));
    steps
}

/// `SECCOMP_IOCTL_NOTIF_RECV`.
const RECEIVE: libc::Ioctl = 0xc050_2100;
/// `SECCOMP_IOCTL_NOTIF_SEND`.
const ANSWER: libc::Ioctl = 0xc018_2101;

/// Waits for the next notification. `ENOENT` means that the program has ended meanwhile.
fn receive(listener: &OwnedFd) -> Result<libc::seccomp_notif, Errno> {
    loop {
        let (waited, events) = io::ppoll(listener, libc::POLLIN, -1);
        waited?;
        if events & libc::POLLHUP != 0 {
            return Err(Errno::ENOTCONN);
        }
        // SAFETY: seccomp_notif is plain integers, for which zero is valid. The kernel requires zero.
        let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        match ioctl(listener, RECEIVE, (&raw mut notification).cast()) {
            Ok(()) => return Ok(notification),
            Err(Errno::ENOENT | Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Lets the kernel make the call. An error means that the program has ended.
fn let_go_on(listener: &OwnedFd, id: u64) {
    // SAFETY: seccomp_notif_resp is plain integers, for which zero is valid.
    let mut answer: libc::seccomp_notif_resp = unsafe { std::mem::zeroed() };
    answer.id = id;
    answer.flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or_default();
    let _ = ioctl(listener, ANSWER, (&raw mut answer).cast());
}

fn ioctl(listener: &OwnedFd, request: libc::Ioctl, of: *mut c_void) -> Result<(), Errno> {
    // SAFETY: `of` is the structure of the request, which the kernel reads and writes during the call.
    unsafe { syscall!(Sysno::ioctl, listener.as_raw_fd(), request, of) }.map(drop)
}

#[cfg(test)]
mod tests {
    /// Guests do not have dd.
    mod host_only {
        use super::super::*;
        use std::process::Stdio;

        fn dd(into: &str) -> Command {
            let mut command = Command::new("dd");
            command
                .args(["if=/dev/zero", "bs=1000", "count=2", "status=none"])
                .arg(format!("of={into}"))
                .stdin(Stdio::null());
            command
        }

        #[test]
        fn the_calls_of_a_program_are_told() {
            let (mut child, watch) = Watch::start(&mut dd("/dev/null"), WRITING).expect("dd");
            assert!(child.wait().expect("it ends").success());
            let calls = watch.take();
            let [first, second] = &calls[..] else { panic!("{calls:?}") };
            for seen in [first, second] {
                assert!(seen.is_of("/dev/null") && !seen.is_of_kind("pipe"));
                assert_eq!((seen.call, seen.count()), (Sysno::write, 1000));
                assert_eq!(seen.flags & libc::O_ACCMODE, libc::O_WRONLY);
            }
            assert!(watch.take().is_empty());
        }

        #[test]
        fn a_program_that_is_held_waits() {
            let mut command = Command::new("cat");
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let (mut child, watch) = Watch::start(&mut command, WRITING).expect("cat");
            watch.hold();
            let mut input = child.stdin.take().expect("a pipe");
            std::io::Write::write_all(&mut input, b"bytes").expect("it reads");
            while watch.take().is_empty() {
                thread::yield_now();
            }
            let output = child.stdout.as_ref().expect("a pipe");
            assert_eq!(crate::lab::sockets::readable(output).expect("FIONREAD"), 0);
            watch.release();
            drop(input);
            assert_eq!(child.wait_with_output().expect("it ends").stdout, b"bytes");
        }
    }
}
