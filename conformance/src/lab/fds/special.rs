//! Descriptors that a special call makes, or that need a socket of a rare family or a mount.

use super::plain::CONTENT;
use crate::lab::open::{made, open, sealed_memfd};
use crate::lab::sockets::last_errno;
use crate::lab::{io, loops, mounts, privilege, sockets};
use crate::verdict::{Lack, Setup, Stop};
use std::ffi::CStr;
use std::fs::File;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use syscalls::Errno;

/// Takes ownership of a descriptor from the raw call that made it.
fn from_call(number: libc::c_long, call: &str) -> Result<OwnedFd, Stop> {
    made(libc::c_int::try_from(number).unwrap_or(-1), call)
}

/// A memfd with content and these seals.
pub fn sealed(seals: libc::c_int) -> Result<OwnedFd, Stop> {
    let memfd = sealed_memfd(0)?;
    io::pwrite_all(&memfd, &CONTENT, 0).setup("write a memfd")?;
    io::seal(&memfd, seals).setup("F_ADD_SEALS")?;
    Ok(memfd)
}

/// A memfd of one huge page. The page need not exist, because nothing has touched it.
pub fn huge_memfd() -> Result<OwnedFd, Stop> {
    const HUGE: u64 = 2 << 20;
    // SAFETY: the name ends with a zero, and the kernel copies it.
    let fd = unsafe { libc::memfd_create(c"nocopy".as_ptr(), libc::MFD_HUGETLB) };
    let file = File::from(made(fd, "memfd_create(MFD_HUGETLB)")?);
    io::truncate(&file, HUGE).setup("ftruncate")?;
    Ok(file.into())
}

/// A loop device over 64 KiB of memory.
pub fn block_device() -> Result<OwnedFd, Stop> {
    let image = File::from(sealed_memfd(0)?);
    io::pwrite_all(&image, &vec![crate::lab::alias::OLD; 1 << 16], 0).setup("write the image")?;
    loops::device_over(&image).map(|(device, _)| device.into())
}

/// Two ends of a pair of `AF_UNIX` sockets, with a message for the near one.
pub fn unix_pair(kind: libc::c_int) -> Result<(OwnedFd, OwnedFd), Stop> {
    let mut ends = [-1; 2];
    // SAFETY: socketpair writes two descriptors to the array.
    let done = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) };
    if done == -1 {
        return Err(Stop::from_setup("socketpair", last_errno()));
    }
    let (near, far) = (made(ends[0], "socketpair")?, made(ends[1], "socketpair")?);
    io::write_all(&far, &CONTENT).setup("fill a socket")?;
    Ok((near, far))
}

/// A TCP socket that waits for connections.
pub fn tcp_listener() -> Result<OwnedFd, Stop> {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0));
    let listener = listener.setup("bind a TCP socket to 127.0.0.1")?;
    listener.set_nonblocking(true).setup("FIONBIO")?;
    Ok(listener.into())
}

/// A raw IPv4 socket of an experimental protocol, connected to itself over loopback, with a packet to read.
pub fn raw_socket() -> Result<OwnedFd, Stop> {
    /// Reserved for experiments by RFC 3692.
    const EXPERIMENTAL: libc::c_int = 253;
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK;
    let socket = sockets::socket(libc::AF_INET, kind, EXPERIMENTAL).setup("socket(SOCK_RAW)")?;
    let (address, length) = sockets::loopback_address(0);
    // SAFETY: the pointer is to a sockaddr_in of `length` bytes, read during the call.
    let done = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if done == -1 {
        return Err(Stop::from_setup("connect a raw socket", last_errno()));
    }
    io::write_whole(&socket, &CONTENT).setup("send by a raw socket")?;
    Ok(socket)
}

/// A packet socket of the loopback device, for frames of an experimental type, with one to read.
pub fn packet_socket() -> Result<OwnedFd, Stop> {
    /// Local experimental `EtherType` of IEEE 802.
    const EXPERIMENTAL: u16 = 0x88b5;
    let protocol = EXPERIMENTAL.to_be();
    let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK;
    let socket = sockets::socket(libc::AF_PACKET, kind, protocol.into()).setup("socket(AF_PACKET)")?;
    // SAFETY: sockaddr_ll is plain integers, for which zero is valid.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).expect("a small number");
    address.sll_protocol = protocol;
    // SAFETY: if_nametoindex reads a string that ends with a zero.
    let index = unsafe { libc::if_nametoindex(c"lo".as_ptr()) };
    address.sll_ifindex = libc::c_int::try_from(index).expect("a small number");
    let length = libc::socklen_t::try_from(size_of_val(&address)).expect("a small structure");
    // SAFETY: the pointer is to a sockaddr_ll of `length` bytes, read during the call.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if done == -1 {
        return Err(Stop::from_setup("bind a packet socket", last_errno()));
    }
    io::write_whole(&socket, &CONTENT).setup("send by a packet socket")?;
    io::wait_for(socket.as_fd(), libc::POLLIN).setup("poll")?;
    Ok(socket)
}

/// A route netlink socket with an answer to read: the list of all devices.
pub fn netlink_socket() -> Result<OwnedFd, Stop> {
    const LENGTH: u8 = 32;
    /// `RTM_GETLINK` of include/uapi/linux/rtnetlink.h.
    const GETLINK: u8 = 18;
    /// `NLM_F_REQUEST`; `NLM_F_DUMP` in the next byte.
    const REQUEST: u8 = 1;
    const DUMP: u8 = 3;
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK;
    let socket = sockets::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE).setup("socket(AF_NETLINK)")?;
    // struct nlmsghdr, then struct ifinfomsg of zeros.
    let mut request = [0_u8; LENGTH as usize];
    request[0] = LENGTH;
    request[4] = GETLINK;
    request[6] = REQUEST;
    request[7] = DUMP;
    io::write_whole(&socket, &request).setup("send by a netlink socket")?;
    Ok(socket)
}

/// The socket to which data is written for the kernel's SHA-256, and from which the digest is read.
pub fn alg_socket() -> Result<OwnedFd, Stop> {
    let listener = sockets::socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0).setup("socket(AF_ALG)")?;
    // SAFETY: sockaddr_alg is plain integers, for which zero is valid.
    let mut address: libc::sockaddr_alg = unsafe { zeroed() };
    address.salg_family = libc::sa_family_t::try_from(libc::AF_ALG).expect("a small number");
    address.salg_type[..4].copy_from_slice(b"hash");
    address.salg_name[..6].copy_from_slice(b"sha256");
    let length = libc::socklen_t::try_from(size_of_val(&address)).expect("a small structure");
    // SAFETY: the pointer is to a sockaddr_alg of `length` bytes, read during the call; accept is asked for no address.
    let accepted = unsafe {
        if libc::bind(listener.as_raw_fd(), (&raw const address).cast(), length) == -1 {
            return Err(lacking("the kernel has no hash for AF_ALG", last_errno()));
        }
        libc::accept(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut())
    };
    made(accepted, "accept")
}

fn lacking(what: &str, errno: Errno) -> Stop {
    Stop::untestable(Lack::Kernel, format!("{what}: {errno:?}"), "use a kernel with this option")
}

/// An fanotify group that watches nothing.
pub fn fanotify() -> Result<OwnedFd, Stop> {
    // SAFETY: fanotify_init takes no pointer.
    let fd = unsafe { libc::fanotify_init(libc::FAN_CLASS_NOTIF | libc::FAN_NONBLOCK, 0) };
    made(fd, "fanotify_init")
}

/// A userfaultfd after the handshake, with no range registered.
pub fn userfaultfd() -> Result<OwnedFd, Stop> {
    /// `UFFD_USER_MODE_ONLY` (Linux 5.11) and `UFFDIO_API` of include/uapi/linux/userfaultfd.h.
    const USER_MODE_ONLY: libc::c_int = 1;
    const API: libc::Ioctl = 0xc018_aa3f;
    const VERSION: u64 = 0xaa;
    // SAFETY: userfaultfd takes flags by value.
    let call = |flags: libc::c_int| unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
    let number = match call(libc::O_NONBLOCK | USER_MODE_ONLY) {
        -1 if last_errno() == Errno::EINVAL => call(libc::O_NONBLOCK),
        made => made,
    };
    let fd = from_call(number, "userfaultfd")?;
    // struct uffdio_api: version, features, calls.
    let mut api = [VERSION, 0, 0];
    // SAFETY: the command reads and writes one struct uffdio_api, which `api` is.
    if unsafe { libc::ioctl(fd.as_raw_fd(), API, api.as_mut_ptr()) } == -1 {
        return Err(Stop::from_setup("UFFDIO_API", last_errno()));
    }
    Ok(fd)
}

/// A counter of this thread's CPU time.
pub fn perf_event() -> Result<OwnedFd, Stop> {
    /// `PERF_ATTR_SIZE_VER0`, `PERF_TYPE_SOFTWARE` and `PERF_COUNT_SW_TASK_CLOCK` of `include/uapi/linux/perf_event.h`, and
    /// the bits of `exclude_kernel` and `exclude_hv`.
    const SIZE: u32 = 64;
    const SOFTWARE: u32 = 1;
    const TASK_CLOCK: u32 = 1;
    const USER_ONLY: u32 = 1 << 5 | 1 << 6;
    let mut attributes = [0_u32; 16];
    attributes[0] = SOFTWARE;
    attributes[1] = SIZE;
    attributes[2] = TASK_CLOCK;
    attributes[10] = USER_ONLY;
    // SAFETY: the call reads `SIZE` bytes of attributes.
    let number = unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 0) };
    from_call(number, "perf_event_open")
}

/// An `io_uring` of one entry.
pub fn io_uring() -> Result<OwnedFd, Stop> {
    // struct io_uring_params, of 120 bytes.
    let mut parameters = [0_u32; 30];
    // SAFETY: the call reads and writes one struct io_uring_params.
    let number = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    from_call(number, "io_uring_setup")
}

/// A bpf map: an array of one number.
pub fn bpf_map() -> Result<OwnedFd, Stop> {
    /// `BPF_MAP_CREATE` and `BPF_MAP_TYPE_ARRAY` of include/uapi/linux/bpf.h.
    const CREATE: libc::c_int = 0;
    const ARRAY: u32 = 2;
    // Type, size of a key, size of a value, number of entries.
    let attributes = [ARRAY, 4, 4, 1];
    // SAFETY: the call reads as many bytes of attributes as it is told.
    let number = unsafe {
        let size = size_of_val(&attributes);
        libc::syscall(libc::SYS_bpf, CREATE, attributes.as_ptr(), size)
    };
    from_call(number, "bpf(BPF_MAP_CREATE)")
}

/// The context of a file system that is about to be created.
pub fn fsopen() -> Result<OwnedFd, Stop> {
    // SAFETY: the name ends with a zero.
    let number = unsafe { libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), 0) };
    from_call(number, "fsopen")
}

/// The context of a mounted file system that is about to be changed: `/`.
pub fn fspick() -> Result<OwnedFd, Stop> {
    // SAFETY: the path ends with a zero.
    let number = unsafe { libc::syscall(libc::SYS_fspick, libc::AT_FDCWD, c"/".as_ptr(), 0) };
    from_call(number, "fspick")
}

/// A mount as a descriptor: `/`.
pub fn open_tree() -> Result<OwnedFd, Stop> {
    // SAFETY: the path ends with a zero.
    let number = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, c"/".as_ptr(), 0) };
    from_call(number, "open_tree")
}

/// A set of landlock rules for files that is not applied to any process.
pub fn landlock() -> Result<OwnedFd, Stop> {
    // struct landlock_ruleset_attr of Linux 5.13: the accesses to files that it handles.
    let handled: u64 = 1;
    // SAFETY: the call reads as many bytes of attributes as it is told.
    let number = unsafe {
        let size = size_of_val(&handled);
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size, 0)
    };
    from_call(number, "landlock_create_ruleset").map_err(|stop| match stop {
        Stop::Broken(said) => Stop::untestable(Lack::Kernel, said, "boot with lsm=landlock"),
        Stop::Untestable(_) => stop,
    })
}

/// A message queue whose name has been removed. The name exists for a moment. If possible, this happens in a separate namespace,
/// so that a killed experiment leaves no queue.
pub fn message_queue() -> Result<OwnedFd, Stop> {
    let _ = privilege::unshare(libc::CLONE_NEWIPC)
        .or_else(|_| privilege::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWIPC));
    let name = format!("/nocopy-{}\0", std::process::id());
    let name = CStr::from_bytes_with_nul(name.as_bytes()).expect("one zero, at the end");
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NONBLOCK;
    let mode: libc::c_uint = 0o600;
    // SAFETY: the name ends with a zero; without attributes the kernel takes its own.
    let queue = unsafe {
        let queue = libc::mq_open(name.as_ptr(), flags, mode, std::ptr::null::<libc::mq_attr>());
        libc::mq_unlink(name.as_ptr());
        queue
    };
    made(queue, "mq_open")
}

/// The writable sysctl of the domain name, in a namespace that only this process uses.
pub fn domain_name() -> Result<OwnedFd, Stop> {
    privilege::unshare(libc::CLONE_NEWUTS).setup("unshare(CLONE_NEWUTS)")?;
    open("/proc/sys/kernel/domainname", libc::O_RDWR)
}

/// A file of debugfs that most kernels have.
pub fn debugfs() -> Result<OwnedFd, Stop> {
    let files = [c"sleep_time", c"wakeup_sources", c"split_huge_pages"];
    on_mount(c"debugfs", &files)
}

/// Opens the first of these files that exists on a new mount of this file system.
pub fn on_mount(filesystem: &CStr, files: &[&CStr]) -> Result<OwnedFd, Stop> {
    let name = filesystem.to_string_lossy();
    let mount = mounts::mounted(filesystem, &[], 0).map_err(|errno| match errno {
        Errno::ENODEV => lacking(&format!("the kernel has no {name}"), errno),
        errno => Stop::from_setup(&format!("mount {name}"), errno),
    })?;
    for file in files {
        // SAFETY: the path ends with a zero; the descriptor is owned here only.
        let fd = unsafe { libc::openat(mount.as_raw_fd(), file.as_ptr(), libc::O_RDONLY) };
        if fd != -1 {
            // SAFETY: the kernel has just made it for us.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
    Err(lacking(&format!("{name} has none of the files"), last_errno()))
}
