//! The privileges and limits of this process, and giving them up.

use crate::interpose::record::aside;
use crate::lab::sockets::last_errno;
use crate::verdict::{Lack, Stop};
use nocopy_host::process;
use std::path::PathBuf;
use syscalls::{Errno, Sysno, syscall};

const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_RESOURCE: u32 = 24;

/// Drops `CAP_IPC_LOCK`, which exempts from `RLIMIT_MEMLOCK`. Changes nothing for a process without it.
pub fn drop_ipc_lock() -> Result<(), Errno> {
    aside(|| give_up(CAP_IPC_LOCK))
}

/// Drops `CAP_SYS_RESOURCE`, which exempts from limits on pipes and files.
pub fn drop_sys_resource() -> Result<(), Errno> {
    aside(|| give_up(CAP_SYS_RESOURCE))
}

/// Enters new namespaces, given by the flags of `unshare(2)`. The experiment must have one thread.
///
/// `EIO` if the kernel reports success and a namespace has not changed.
pub fn unshare(flags: libc::c_int) -> Result<(), Errno> {
    let before = namespaces(flags)?;
    // SAFETY: unshare takes no pointer.
    if unsafe { libc::unshare(flags) } == -1 {
        return Err(last_errno());
    }
    let after = namespaces(flags)?;
    let kept = before.iter().zip(&after).any(|(old, new)| old == new);
    if kept { Err(Errno::EIO) } else { Ok(()) }
}

/// The namespaces of this thread, selected by flags of `unshare(2)`.
fn namespaces(flags: libc::c_int) -> Result<Vec<PathBuf>, Errno> {
    let names = [
        (libc::CLONE_NEWIPC, "ipc"),
        (libc::CLONE_NEWNET, "net"),
        (libc::CLONE_NEWNS, "mnt"),
        (libc::CLONE_NEWUSER, "user"),
        (libc::CLONE_NEWUTS, "uts"),
    ];
    let asked = names.iter().filter(|(flag, _)| flags & flag != 0);
    let read = asked.map(|(_, name)| std::fs::read_link(format!("/proc/thread-self/ns/{name}")));
    read.collect::<std::io::Result<_>>().map_err(|error| Errno::new(error.raw_os_error().unwrap_or(libc::EIO)))
}

/// Drops one of the first 32 capabilities.
fn give_up(capability: u32) -> Result<(), Errno> {
    const VERSION_3: u32 = 0x2008_0522;
    /// `struct __user_cap_header_struct` of include/uapi/linux/capability.h.
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    // Two of struct __user_cap_data_struct: effective, permitted, inheritable; capabilities 0 to 31, then 32 to 63.
    let mut data = [0_u32; 6];
    let header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: version 3 reads the header and writes two data structs, which `data` has room for.
    unsafe { syscall!(Sysno::capget, &raw const header, data.as_mut_ptr()) }?;
    data[0] &= !(1 << capability);
    data[1] &= !(1 << capability);
    // SAFETY: the header and two data structs are read during the call.
    unsafe { syscall!(Sysno::capset, &raw const header, data.as_ptr()) }?;
    let mut there = [0_u32; 6];
    // SAFETY: as above.
    unsafe { syscall!(Sysno::capget, &raw const header, there.as_mut_ptr()) }?;
    let is_there = (there[0] | there[1]) & (1 << capability) != 0;
    if is_there { Err(Errno::EIO) } else { Ok(()) }
}

/// Limits the memory that this process may lock or pin, in bytes.
pub fn limit_locked_memory(bytes: u64) -> Result<(), Errno> {
    set_limit(libc::RLIMIT_MEMLOCK, bytes)
}

/// Limits the size of files that this process may write, in bytes.
pub fn limit_file_size(bytes: u64) -> Result<(), Errno> {
    set_limit(libc::RLIMIT_FSIZE, bytes)
}

/// Limits the numbers of descriptors: all have to be smaller than this.
pub fn limit_descriptors(number: u64) -> Result<(), Errno> {
    set_limit(libc::RLIMIT_NOFILE, number)
}

/// Checks that this process, and a program that it starts, may have this number of descriptors.
pub fn may_have_descriptors(number: u64) -> Result<(), Stop> {
    // SAFETY: rlimit is two integers, for which zero is valid.
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    // SAFETY: the limit is written during the call.
    if aside(|| unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }) == -1 {
        return Err(Stop::from_setup("getrlimit(RLIMIT_NOFILE)", last_errno()));
    }
    if limit.rlim_cur >= number {
        return Ok(());
    }
    Err(Stop::untestable(
        Lack::Resource,
        format!("{} files may be open, and {number} are needed", limit.rlim_cur),
        "raise the limit of open files: ulimit -n 1024",
    ))
}

/// Makes this process run as a user without other processes and without privileges. Only root can do that.
///
/// Limits per user then apply to this process only: the number is drawn, so that experiments that run at the same time
/// are different users.
pub fn become_another_user() -> Result<(), Stop> {
    /// The first of 2^28 numbers that neither distributions nor systemd assign.
    const UNASSIGNED: u32 = 0x7000_0000;
    let refused = |call: &str, errno: Errno| {
        Stop::untestable(
            Lack::Privilege,
            format!("this process cannot become another user: {call} {errno:?}"),
            "run as root, outside of user namespaces",
        )
    };
    aside(|| {
        let mut drawn = [0; 4];
        // SAFETY: getrandom writes at most the four bytes.
        unsafe { syscall!(Sysno::getrandom, drawn.as_mut_ptr(), drawn.len(), 0) }
            .map_err(|errno| Stop::from_setup("getrandom", errno))?;
        let user = UNASSIGNED | (u32::from_ne_bytes(drawn) >> 4);
        for (call, name) in [(Sysno::setresgid, "setresgid"), (Sysno::setresuid, "setresuid")] {
            // SAFETY: the calls take no pointer. An experiment has one thread until it starts more.
            unsafe { syscall!(call, user, user, user) }.map_err(|errno| refused(name, errno))?;
        }
        let now = (process::effective_user(), process::effective_group());
        if now != (user, user) {
            return Err(Stop::broken(format!("this process has not become another user: {now:?}")));
        }
        Ok(())
    })
}

fn set_limit(resource: libc::__rlimit_resource_t, bytes: u64) -> Result<(), Errno> {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    let mut there = limit;
    there.rlim_cur = 0;
    // SAFETY: the first limit is read during the call, the second one written.
    let failed =
        unsafe { libc::setrlimit(resource, &raw const limit) == -1 || libc::getrlimit(resource, &raw mut there) == -1 };
    if failed {
        Err(last_errno())
    } else if there.rlim_cur == bytes {
        Ok(())
    } else {
        Err(Errno::EIO)
    }
}
