//! Processes by system calls that `std` does not have.

use std::ffi::{CStr, c_int};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Exited(c_int),
    /// This signal ended it.
    Signalled(c_int),
    /// It stopped, and has not ended.
    Stopped,
    /// There is no such child.
    Unknown,
}

impl Ended {
    /// Decodes a status of `waitpid`.
    pub fn of(status: c_int) -> Self {
        if libc::WIFEXITED(status) {
            Self::Exited(libc::WEXITSTATUS(status))
        } else if libc::WIFSTOPPED(status) {
            Self::Stopped
        } else {
            Self::Signalled(libc::WTERMSIG(status))
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Signalled(signal) => write!(f, "signal {signal}"),
            Self::Stopped => f.write_str("stopped"),
            Self::Unknown => f.write_str("no such child"),
        }
    }
}

/// Forks; the child runs `child` and exits. Only for processes with one thread.
pub fn fork(child: impl FnOnce()) -> io::Result<libc::pid_t> {
    // SAFETY: this process has one thread, so the child may do whatever the parent could.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // Above are frames of the parent, which the child must not unwind into.
            let panicked = catch_unwind(AssertUnwindSafe(child)).is_err();
            exit(c_int::from(panicked))
        }
        pid => Ok(pid),
    }
}

/// Ends the process at once: no destructors and no exit handlers of the parent.
pub fn exit(code: c_int) -> ! {
    // SAFETY: takes no pointer and does not return.
    unsafe { libc::_exit(code) }
}

/// Waits for a child to end or stop.
pub fn wait(pid: libc::pid_t) -> Ended {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to an int that the kernel writes during the call.
        let found = unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) };
        if found == pid {
            return Ended::of(status);
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return Ended::Unknown;
        }
    }
}

/// Returns a child whose state has changed, without waiting.
pub fn reap_one() -> Option<(libc::pid_t, c_int)> {
    let mut status = 0;
    // SAFETY: the pointer is to an int that the kernel writes during the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
    (pid > 0).then_some((pid, status))
}

/// Takes the status of a child that has ended, without waiting.
pub fn reap(pid: libc::pid_t) {
    // SAFETY: a null pointer is allowed for the status.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
}

/// Sends a signal to a process, or, with a negative number, to a process group.
pub fn signal(pid: libc::pid_t, signal: c_int) {
    // SAFETY: kill takes no pointer.
    unsafe { libc::kill(pid, signal) };
}

/// Kills a process, or, with a negative number, a process group.
pub fn kill(pid: libc::pid_t) {
    signal(pid, libc::SIGKILL);
}

/// Asks a child to end, if it has not ended. A child that has not been waited for keeps its number.
pub fn terminate(child: &std::process::Child) {
    if let Ok(pid) = libc::pid_t::try_from(child.id()) {
        signal(pid, libc::SIGTERM);
    }
}

/// Whether a child has stopped since the last call. The end of the child is left to [`wait`].
pub fn has_stopped(pid: libc::pid_t) -> bool {
    let Ok(id) = libc::id_t::try_from(pid) else {
        return false;
    };
    // SAFETY: siginfo_t is plain integers, for which zero is valid; the kernel writes this one during the call, and of an answer
    // without a child the pid is zero.
    unsafe {
        let mut found: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WSTOPPED | libc::WNOHANG;
        libc::waitid(libc::P_PID, id, &raw mut found, options) == 0 && found.si_pid() == pid
    }
}

/// Kills every child except these, and the processes that this orphans to this subreaper, until no others are left.
pub fn kill_children_but(kept: &[libc::pid_t]) {
    loop {
        let mut others = children();
        others.retain(|child| !kept.contains(child));
        if others.is_empty() {
            return;
        }
        for child in others {
            kill(child);
            wait(child);
        }
    }
}

/// Puts this process into a new mount namespace. Others do not see what it mounts, and the mounts end with the process. Mounts and
/// unmounts of others are seen here.
///
/// # Errors
///
/// If that is not allowed, or if the kernel reports success and nothing happened: nothing may be mounted then.
pub fn mounts_of_its_own() -> io::Result<()> {
    let namespace = || std::fs::read_link("/proc/self/ns/mnt");
    let before = namespace()?;
    let (none, flags) = (std::ptr::null(), libc::MS_REC | libc::MS_SLAVE);
    // SAFETY: unshare takes no pointer.
    done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    if namespace()? == before {
        return Err(io::Error::other("unshare() has left the mount namespace"));
    }
    // SAFETY: mount takes a C string, and nulls for what a change of propagation does not use.
    done(unsafe { libc::mount(none, c"/".as_ptr(), none, flags, none.cast()) })?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    // Optional fields, for example `shared:N`, stand before the hyphen.
    let is_shared = |line: &str| {
        let (fields, _) = line.split_once(" - ").unwrap_or((line, ""));
        fields.contains(" shared:")
    };
    if mounts.lines().any(is_shared) {
        return Err(io::Error::other(
            "mount() has left mounts shared with others",
        ));
    }
    Ok(())
}

fn done(result: c_int) -> io::Result<()> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Kills every child, and the children that they orphan to this subreaper, until no child is left.
pub fn kill_descendants() {
    loop {
        let children = children();
        for child in &children {
            kill(*child);
        }
        while reap_one().is_some() {}
        if children.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The children of this process, including dead ones, by the parent in `/proc/PID/stat`. They have the numbers by which this process
/// knows them: `/proc` may be that of an outer PID namespace, in which every process has another number.
pub fn children() -> Vec<libc::pid_t> {
    // The /proc of a namespace that does not contain this process has no link to it.
    let Ok(own) = std::fs::read_link("/proc/self") else {
        return Vec::new();
    };
    let (Some(own), Ok(entries)) = (own.to_str(), std::fs::read_dir("/proc")) else {
        return Vec::new();
    };
    let level = numbers(own).len();
    let child = |name: &str| {
        name.parse::<libc::pid_t>().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{name}/stat")).ok()?;
        // The name in brackets may hold anything; state and parent follow the last bracket.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
        if parent != own {
            return None;
        }
        // The number in the namespace of this process: the child may be in a deeper one.
        numbers(name).get(level.checked_sub(1)?).copied()
    };
    entries
        .filter_map(|entry| child(entry.ok()?.file_name().to_str()?))
        .collect()
}

/// The numbers of a process of `/proc`, from the namespace of `/proc` to the innermost namespace of the process. A kernel that does
/// not report them has one number per process.
fn numbers(name: &str) -> Vec<libc::pid_t> {
    let status = std::fs::read_to_string(format!("/proc/{name}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.unwrap_or(name)
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// Waits until one of `fds` has something to read or has ended, or until `limit` is over. Returns which of them are ready. Minus one
/// is ignored.
pub fn poll(fds: &[c_int], limit: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<_> = fds
        .iter()
        .map(|&fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let limit = limit.map_or(-1, |limit| {
        c_int::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX)
    });
    // SAFETY: the pointer and length are of `polled`, which the kernel reads and writes during the call.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, limit) };
    if ready == -1 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(polled.iter().map(|polled| polled.revents != 0).collect())
}

/// The time of a clock, in nanoseconds.
pub fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Blocks signals, and returns a nonblocking descriptor from which they can be read.
pub fn signals(numbers: &[c_int]) -> io::Result<OwnedFd> {
    // SAFETY: sigset_t is plain integers, for which zero is valid; the calls read and write this set only, and the descriptor is new
    // and ours.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for number in numbers {
            libc::sigaddset(&raw mut set, *number);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Blocks signals in this thread. Signals that arrive meanwhile are delivered when this is dropped.
pub struct KeptBack {
    set: libc::sigset_t,
    before: libc::sigset_t,
}

impl KeptBack {
    /// Blocks these signals, except those that are ignored.
    pub fn of(numbers: &[c_int]) -> Self {
        // SAFETY: sigset_t and sigaction are plain integers and pointers, for which zero is valid; the calls read and write these only.
        unsafe {
            let mut kept: Self = std::mem::zeroed();
            libc::sigemptyset(&raw mut kept.set);
            for number in numbers {
                let mut action: libc::sigaction = std::mem::zeroed();
                libc::sigaction(*number, std::ptr::null(), &raw mut action);
                if action.sa_sigaction != libc::SIG_IGN {
                    libc::sigaddset(&raw mut kept.set, *number);
                }
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const kept.set, &raw mut kept.before);
            kept
        }
    }

    /// Whether one of them is pending.
    pub fn has_come(&self) -> bool {
        let numbers = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
        // SAFETY: zero is valid for sigset_t; the calls read and write these sets only.
        unsafe {
            let mut pending: libc::sigset_t = std::mem::zeroed();
            libc::sigpending(&raw mut pending);
            let is_in = |set: &libc::sigset_t, number| libc::sigismember(set, number) == 1;
            numbers
                .into_iter()
                .any(|number| is_in(&self.set, number) && is_in(&pending, number))
        }
    }
}

impl Drop for KeptBack {
    fn drop(&mut self) {
        // SAFETY: the call reads the set that it wrote before.
        unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.before,
                std::ptr::null_mut(),
            );
        }
    }
}

/// Makes programs that this process starts place their mappings at the same addresses each time, if that is allowed.
pub fn fix_addresses() {
    // SAFETY: personality takes no pointer.
    unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE.cast_unsigned().into()) };
}

/// Ends this process when its parent ends.
pub fn die_with_parent() {
    // SAFETY: PR_SET_PDEATHSIG takes no pointer.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Makes standard input and output `/dev/null`; standard error stays.
pub fn stdio_to_null() {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        // SAFETY: dup2 replaces descriptors of this process only.
        unsafe {
            libc::dup2(null.as_raw_fd(), 0);
            libc::dup2(null.as_raw_fd(), 1);
        }
    }
}

/// Closes every descriptor except the standard ones and `kept`: a child does not need the parent's other pipes.
///
/// Only for processes that no longer use the objects that own the other descriptors, and that end by [`exit`].
pub fn close_all_but(kept: &[c_int]) {
    let open: Vec<c_int> = match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect(),
        Err(_) => (3..1024).collect(),
    };
    for fd in open.into_iter().filter(|fd| *fd > 2 && !kept.contains(fd)) {
        // SAFETY: the owner of the number is not used any more, as the caller ensures; the directory's own descriptor is closed
        // already.
        unsafe { libc::close(fd) };
    }
}

/// Resets all signals, so that an experiment sees what a plain program sees. Rust ignores `SIGPIPE`, the keeper blocks `SIGCHLD`,
/// and the process that started us may have changed more.
pub fn default_signals() {
    // SAFETY: SIG_DFL is a valid disposition, and numbers that cannot be changed are refused; the set is plain integers,
    // emptied by sigemptyset and read by sigprocmask.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// The release of the kernel and the machine's name: `uname -r -m`.
pub fn uname() -> (String, String) {
    // SAFETY: utsname is plain bytes, for which zero is valid.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `names` is a utsname that the kernel fills and does not keep.
    unsafe { libc::uname(&raw mut names) };
    let text = |field: &[libc::c_char]| {
        // SAFETY: the kernel ends every field with a zero inside its array.
        unsafe { CStr::from_ptr(field.as_ptr()) }
            .to_string_lossy()
            .into_owned()
    };
    (text(&names.release), text(&names.machine))
}

/// The beginning of the kernel's log, if this process may read it.
pub fn kernel_log() -> Option<String> {
    const READ_ALL: c_int = 3;
    let mut log = [0_u8; 4096];
    let length = c_int::try_from(log.len()).expect("a page");
    // SAFETY: writes at most `length` bytes of the log to the array.
    let read = unsafe { libc::klogctl(READ_ALL, log.as_mut_ptr().cast(), length) };
    let read = usize::try_from(read).ok()?;
    Some(String::from_utf8_lossy(log.get(..read)?).into_owned())
}

/// The user that permissions are checked for.
pub fn effective_user() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// The group that permissions are checked for.
pub fn effective_group() -> u32 {
    // SAFETY: getegid takes nothing and cannot fail.
    unsafe { libc::getegid() }
}

/// Limits the CPU time of this process; past the limit it gets `SIGXCPU`.
pub fn limit_cpu(seconds: u64) {
    // SAFETY: rlimit is two integers; the calls read and write this one.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_CPU, &raw mut limit);
        limit.rlim_cur = limit.rlim_max.min(seconds);
        libc::setrlimit(libc::RLIMIT_CPU, &raw const limit);
    }
}

/// Pins this process to a processor, if there are that many.
pub fn pin(cpu: usize) {
    // SAFETY: a set is plain bits, for which zero is valid; the macros set one of them, and the kernel reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}
