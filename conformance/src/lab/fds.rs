//! Descriptors of every kind, ready to be read from or written to without waiting.

mod special;

use crate::interpose::record::aside;
use crate::lab::{Lab, alias, io, sockets};
use crate::verdict::{Lack, Observation, Setup, Stop};
use std::ffi::CString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use syscalls::Errno;

/// Every kind with its name: `$then! { Kind "name", … }`. This is the one list of them.
macro_rules! for_each_kind {
    ($then:ident) => {
        $then! {
            RegularFile "regular file",
            AppendFile "O_APPEND file",
            Memfd "memfd",
            PathOnly "O_PATH",
            Directory "directory",
            PipeRead "pipe, read end",
            PipeWrite "pipe, write end",
            TcpSocket "TCP socket",
            UdpSocket "UDP socket",
            UnixStream "AF_UNIX socket",
            Eventfd "eventfd",
            Timerfd "timerfd",
            Signalfd "signalfd",
            Inotify "inotify",
            Epoll "epoll",
            Pidfd "pidfd",
            DevNull "/dev/null",
            DevZero "/dev/zero",
            DevFull "/dev/full",
            DevUrandom "/dev/urandom",
            Terminal "terminal",
            ProcMaps "/proc/self/maps",
            ProcStatus "/proc/self/status",
            ProcVersion "/proc/version",
            ProcSysctl "/proc/sys/kernel/ostype",
            Sysfs "/sys/kernel/notes",
            TmpFile "O_TMPFILE",
            ReadOnlyFile "O_RDONLY file",
            WriteOnlyFile "O_WRONLY file",
            MemfdSealedWrite "memfd, F_SEAL_WRITE",
            MemfdSealedFutureWrite "memfd, F_SEAL_FUTURE_WRITE",
            MemfdSealedGrow "memfd, F_SEAL_GROW",
            MemfdSealedShrink "memfd, F_SEAL_SHRINK",
            MemfdHuge "memfd, MFD_HUGETLB",
            MemfdSecret "memfd_secret",
            BlockDevice "block device",
            UnixDatagram "AF_UNIX datagram",
            UnixSeqpacket "AF_UNIX seqpacket",
            TcpUnconnected "TCP, not connected",
            TcpListener "TCP, listening",
            MptcpSocket "MPTCP socket",
            TlsSender "TLS socket, sender",
            TlsReceiver "TLS socket, receiver",
            VsockSocket "vsock socket",
            RawSocket "raw socket",
            PacketSocket "packet socket",
            NetlinkSocket "netlink socket",
            AlgSocket "AF_ALG hash",
            Fanotify "fanotify",
            Userfaultfd "userfaultfd",
            PerfEvent "perf event",
            IoUring "io_uring",
            BpfMap "bpf map",
            Fsopen "fsopen",
            Fspick "fspick",
            OpenTree "open_tree",
            Landlock "landlock ruleset",
            MessageQueue "message queue",
            Namespace "/proc/self/ns/net",
            PtyMaster "pseudo-terminal, master",
            DevRandom "/dev/random",
            DevKmsg "/dev/kmsg",
            DevFuse "/dev/fuse",
            ProcMem "/proc/self/mem",
            ProcMounts "/proc/self/mounts",
            ProcPagemap "/proc/self/pagemap",
            ProcComm "/proc/self/comm",
            ProcOom "/proc/self/oom_score_adj",
            ProcNet "/proc/net/tcp",
            ProcKallsyms "/proc/kallsyms",
            SysctlWritable "/proc/sys/kernel/domainname",
            SysfsText "/sys/kernel/uevent_seqnum",
            Cgroup "cgroup.controllers",
            Debugfs "debugfs file",
            Tracefs "tracefs file",
        }
    };
}
pub(crate) use for_each_kind;

macro_rules! kinds {
    ($($kind:ident $name:literal,)*) => {
        /// Kinds of descriptors.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(
            missing_docs,
            reason = "the names say it, and `Display` says it to the user"
        )]
        pub enum Kind {
            $($kind,)*
        }

        /// Every kind.
        pub const ALL: &[Kind] = &[$(Kind::$kind,)*];

        impl Kind {
            /// The name that users are told.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}
for_each_kind!(kinds);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A descriptor of some kind, with what keeps it alive.
#[derive(Debug)]
pub struct Descriptor {
    fd: OwnedFd,
    /// The other end, so that the descriptor is neither at end of file nor broken.
    peer: Option<OwnedFd>,
    kind: Kind,
}

impl Descriptor {
    /// How many bytes have been written to it since it was opened, as its other end or its file shows, of which `reported` may
    /// still be on their way. None for a device, which keeps nothing, for what cannot be written, and where nothing tells.
    pub fn written(&self, reported: usize) -> Result<Option<u64>, Stop> {
        let size = || Ok(self.file()?.metadata().setup("fstat")?.len());
        match (self.kind, &self.peer) {
            // FIONREAD of the peer is of other things, or not there on every kernel.
            (
                Kind::PipeRead
                | Kind::TlsSender
                | Kind::TlsReceiver
                | Kind::VsockSocket
                | Kind::MptcpSocket,
                _,
            ) => Ok(None),
            (_, Some(peer)) => {
                // To a pipe or an AF_UNIX socket nothing is on its way.
                if matches!(
                    self.kind,
                    Kind::TcpSocket | Kind::UdpSocket | Kind::Terminal | Kind::PtyMaster
                ) {
                    sockets::wait_for_arrival(peer, reported)?;
                }
                Ok(Some(sockets::readable(peer)? as u64))
            }
            // The content was before the position, or at it.
            (Kind::RegularFile | Kind::Memfd, None) => {
                Ok(Some(self.file()?.stream_position().setup("lseek")?))
            }
            (Kind::AppendFile, None) => Ok(Some(size()? - CONTENT.len() as u64)),
            _ => Ok(None),
        }
    }

    fn file(&self) -> Result<File, Stop> {
        self.fd.try_clone().map(File::from).setup("dup")
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a readable descriptor holds: sixteen of these at least, where it holds anything.
const CONTENT: [u8; 16] = [alias::OLD; 16];

impl Descriptor {
    /// Opens one. Streams and files hold some bytes to read; the descriptor can be written where its kind can.
    pub fn open(lab: &Lab, kind: Kind) -> Result<Self, Stop> {
        aside(|| Self::make(lab, kind))
    }

    fn make(lab: &Lab, kind: Kind) -> Result<Self, Stop> {
        let alone = |fd: OwnedFd| {
            Ok(Self {
                fd,
                peer: None,
                kind,
            })
        };
        let between = |fd: OwnedFd, peer: OwnedFd| {
            Ok(Self {
                fd,
                peer: Some(peer),
                kind,
            })
        };
        let device = |path: &str| open(path, libc::O_RDWR).and_then(alone);
        let readable = |path: &str| open(path, libc::O_RDONLY).and_then(alone);
        match kind {
            Kind::RegularFile => alone(lab.file(&CONTENT)?.into()),
            Kind::AppendFile => {
                let file = lab.file(&CONTENT)?;
                set_status_flags(&file, libc::O_APPEND)?;
                alone(file.into())
            }
            Kind::Memfd => {
                let mut file = File::from(memfd()?);
                file.write_all(&CONTENT).setup("write a memfd")?;
                file.rewind().setup("lseek")?;
                alone(file.into())
            }
            Kind::PathOnly => open("/proc/version", libc::O_PATH).and_then(alone),
            Kind::Directory => open("/", libc::O_DIRECTORY).and_then(alone),
            Kind::PipeRead => {
                let (read, write) = std::io::pipe().setup("pipe")?;
                io::write(&write, &CONTENT).setup("fill a pipe")?;
                between(read.into(), write.into())
            }
            Kind::PipeWrite => {
                let (read, write) = std::io::pipe().setup("pipe")?;
                between(write.into(), read.into())
            }
            Kind::TcpSocket => {
                let (near, far) = sockets::tcp()?;
                io::write(&far, &CONTENT).setup("fill a socket")?;
                sockets::wait_for_arrival(&near, CONTENT.len())?;
                between(near.into(), far.into())
            }
            Kind::UdpSocket => {
                let (near, far) = sockets::udp()?;
                far.connect(near.local_addr().setup("getsockname")?)
                    .setup("connect")?;
                io::write(&far, &CONTENT).setup("fill a socket")?;
                sockets::wait_for_arrival(&near, CONTENT.len())?;
                between(near.into(), far.into())
            }
            Kind::UnixStream => {
                let (near, far) = UnixStream::pair().setup("socketpair")?;
                io::write(&far, &CONTENT).setup("fill a socket")?;
                between(near.into(), far.into())
            }
            Kind::Eventfd => {
                // SAFETY: eventfd takes no pointer. Its count of one makes it readable.
                made(unsafe { libc::eventfd(1, libc::EFD_CLOEXEC) }, "eventfd").and_then(alone)
            }
            Kind::Timerfd => {
                // SAFETY: timerfd_create takes no pointer.
                let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK) };
                made(fd, "timerfd_create").and_then(alone)
            }
            Kind::Signalfd => signalfd().and_then(alone),
            // SAFETY: inotify_init1 takes no pointer.
            Kind::Inotify => made(
                unsafe { libc::inotify_init1(libc::IN_NONBLOCK) },
                "inotify_init1",
            )
            .and_then(alone),
            // SAFETY: epoll_create1 takes no pointer.
            Kind::Epoll => made(
                unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) },
                "epoll_create1",
            )
            .and_then(alone),
            Kind::Pidfd => {
                // SAFETY: pidfd_open takes no pointer.
                let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) };
                made(libc::c_int::try_from(fd).unwrap_or(-1), "pidfd_open").and_then(alone)
            }
            Kind::DevNull => device("/dev/null"),
            Kind::DevZero => device("/dev/zero"),
            Kind::DevFull => device("/dev/full"),
            Kind::DevUrandom => device("/dev/urandom"),
            Kind::Terminal => terminal(),
            Kind::ProcMaps => readable("/proc/self/maps"),
            Kind::ProcStatus => readable("/proc/self/status"),
            Kind::ProcVersion => readable("/proc/version"),
            Kind::ProcSysctl => readable("/proc/sys/kernel/ostype"),
            Kind::Sysfs => readable("/sys/kernel/notes"),
            Kind::TmpFile => {
                let file = File::options()
                    .read(true)
                    .write(true)
                    .custom_flags(libc::O_TMPFILE)
                    .open(lab.scratch()?);
                let file = file.setup("open with O_TMPFILE")?;
                io::pwrite(&file, &CONTENT, 0).setup("write a file")?;
                alone(file.into())
            }
            Kind::ReadOnlyFile => again(&lab.file(&CONTENT)?, libc::O_RDONLY).and_then(alone),
            Kind::WriteOnlyFile => again(&lab.file(&CONTENT)?, libc::O_WRONLY).and_then(alone),
            Kind::MemfdSealedWrite => special::sealed(libc::F_SEAL_WRITE).and_then(alone),
            Kind::MemfdSealedFutureWrite => {
                special::sealed(libc::F_SEAL_FUTURE_WRITE).and_then(alone)
            }
            Kind::MemfdSealedGrow => special::sealed(libc::F_SEAL_GROW).and_then(alone),
            Kind::MemfdSealedShrink => special::sealed(libc::F_SEAL_SHRINK).and_then(alone),
            Kind::MemfdHuge => special::huge_memfd().and_then(alone),
            Kind::MemfdSecret => {
                let secret = File::from(memfd_secret()?);
                secret.set_len(CONTENT.len() as u64).setup("ftruncate")?;
                alone(secret.into())
            }
            Kind::BlockDevice => special::block_device().and_then(alone),
            Kind::UnixDatagram => {
                special::unix_pair(libc::SOCK_DGRAM).and_then(|(near, far)| between(near, far))
            }
            Kind::UnixSeqpacket => {
                special::unix_pair(libc::SOCK_SEQPACKET).and_then(|(near, far)| between(near, far))
            }
            Kind::TcpUnconnected => sockets::socket(libc::AF_INET, libc::SOCK_STREAM, 0)
                .setup("socket")
                .and_then(alone),
            Kind::TcpListener => special::tcp_listener().and_then(alone),
            Kind::MptcpSocket => {
                let (near, far) = sockets::mptcp()?;
                io::write(&far, &CONTENT).setup("fill a socket")?;
                io::wait_for(near.as_fd(), libc::POLLIN).setup("poll")?;
                between(near.into(), far.into())
            }
            Kind::TlsSender => {
                let (near, far) = sockets::ktls()?;
                io::write(&far, &CONTENT).setup("fill a socket")?;
                sockets::wait_for_arrival(&near, CONTENT.len())?;
                between(near.into(), far.into())
            }
            Kind::TlsReceiver => {
                let (near, far) = sockets::ktls()?;
                io::write(&near, &CONTENT).setup("send by TLS")?;
                io::wait_for(far.as_fd(), libc::POLLIN).setup("poll")?;
                between(far.into(), near.into())
            }
            Kind::VsockSocket => {
                let (near, far) = sockets::vsock()?;
                io::write(&far, &CONTENT).setup("fill a socket")?;
                io::wait_for(near.as_fd(), libc::POLLIN).setup("poll")?;
                between(near, far)
            }
            Kind::RawSocket => special::raw_socket().and_then(alone),
            Kind::PacketSocket => special::packet_socket().and_then(alone),
            Kind::NetlinkSocket => special::netlink_socket().and_then(alone),
            Kind::AlgSocket => special::alg_socket().and_then(alone),
            Kind::Fanotify => special::fanotify().and_then(alone),
            Kind::Userfaultfd => special::userfaultfd().and_then(alone),
            Kind::PerfEvent => special::perf_event().and_then(alone),
            Kind::IoUring => special::io_uring().and_then(alone),
            Kind::BpfMap => special::bpf_map().and_then(alone),
            Kind::Fsopen => special::fsopen().and_then(alone),
            Kind::Fspick => special::fspick().and_then(alone),
            Kind::OpenTree => special::open_tree().and_then(alone),
            Kind::Landlock => special::landlock().and_then(alone),
            Kind::MessageQueue => special::message_queue().and_then(alone),
            Kind::Namespace => readable("/proc/self/ns/net"),
            Kind::PtyMaster => {
                let Descriptor { fd, peer, .. } = terminal()?;
                let master = peer.ok_or_else(|| Stop::broken("a terminal has a master"))?;
                io::read(&fd, &mut [0; CONTENT.len()]).setup("read what was typed")?;
                io::write(&fd, &CONTENT).setup("write to a terminal")?;
                sockets::wait_for_arrival(&master, CONTENT.len())?;
                between(master, fd)
            }
            Kind::DevRandom => device("/dev/random"),
            Kind::DevKmsg => open("/dev/kmsg", libc::O_RDWR | libc::O_NONBLOCK).and_then(alone),
            Kind::DevFuse => open("/dev/fuse", libc::O_RDWR | libc::O_NONBLOCK).and_then(alone),
            Kind::ProcMem => device("/proc/self/mem"),
            Kind::ProcMounts => readable("/proc/self/mounts"),
            Kind::ProcPagemap => readable("/proc/self/pagemap"),
            Kind::ProcComm => device("/proc/self/comm"),
            Kind::ProcOom => device("/proc/self/oom_score_adj"),
            Kind::ProcNet => readable("/proc/net/tcp"),
            Kind::ProcKallsyms => readable("/proc/kallsyms"),
            Kind::SysctlWritable => special::domain_name().and_then(alone),
            Kind::SysfsText => readable("/sys/kernel/uevent_seqnum"),
            Kind::Cgroup => special::on_mount(c"cgroup2", &[c"cgroup.controllers"]).and_then(alone),
            Kind::Debugfs => {
                let files = [c"sleep_time", c"wakeup_sources", c"split_huge_pages"];
                special::on_mount(c"debugfs", &files).and_then(alone)
            }
            Kind::Tracefs => special::on_mount(c"tracefs", &[c"README"]).and_then(alone),
        }
    }
}

/// Opens a descriptor of each kind and notes what `call` does with it; a kind that this machine lacks is noted as such.
///
/// `arrived` says how many bytes have come where `call` has sent them, where that can be known: another number than the call
/// reported is noted too.
pub fn each(
    lab: &Lab,
    kinds: &[Kind],
    seen: &mut Observation,
    fact: fn(Kind) -> String,
    mut call: impl FnMut(&Descriptor) -> Result<usize, Errno>,
    mut arrived: impl FnMut(&Descriptor, usize) -> Result<Option<u64>, Stop>,
) -> Result<(), Stop> {
    for kind in kinds {
        match Descriptor::open(lab, *kind) {
            Ok(descriptor) => {
                let result = call(&descriptor);
                let reported = result.unwrap_or(0);
                seen.call(fact(*kind), result);
                if let Some(came) = aside(|| arrived(&descriptor, reported))?
                    && came != reported as u64
                {
                    seen.count(format!("{}, bytes that came", fact(*kind)), came);
                }
            }
            Err(Stop::Untestable(reason)) => {
                seen.text(fact(*kind), format!("not tried, {}", reason.what));
            }
            Err(stop) => return Err(stop),
        }
    }
    Ok(())
}

fn open(path: &str, flags: libc::c_int) -> Result<OwnedFd, Stop> {
    let access = flags & libc::O_ACCMODE;
    let mut options = File::options();
    options
        .read(access != libc::O_WRONLY)
        .write(access != libc::O_RDONLY)
        .custom_flags(flags & !libc::O_ACCMODE);
    let provide = format!("provide {path}");
    open_present(path.as_ref(), &options, Lack::Device, &provide).map(OwnedFd::from)
}

/// Opens a file of `/proc`, `/sys` or `/dev`. One that is not there, or that nothing is behind, is a lack of the machine.
pub fn open_present(
    path: &Path,
    options: &OpenOptions,
    lack: Lack,
    remedy: &str,
) -> Result<File, Stop> {
    let opened = aside(|| options.open(path));
    let errno = |error: &std::io::Error| error.raw_os_error();
    match opened {
        Err(error)
            if matches!(
                errno(&error),
                Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)
            ) =>
        {
            let what = format!("{} is not there", path.display());
            Err(Stop::untestable(lack, what, remedy))
        }
        other => other.setup(&format!("open {}", path.display())),
    }
}

/// `open(2)` of a path with any flags; a file that is made can be read and written by its owner.
pub fn open_with(path: &Path, flags: libc::c_int) -> Result<File, Stop> {
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Stop::broken("a path with a zero"))?;
    let mode: libc::c_uint = 0o600;
    // SAFETY: the path ends with a zero.
    let fd = aside(|| unsafe { libc::open(name.as_ptr(), flags | libc::O_CLOEXEC, mode) });
    made(fd, &format!("open {}", path.display())).map(File::from)
}

/// Opens the file of a descriptor once more, with this access.
fn again(file: &File, access: libc::c_int) -> Result<OwnedFd, Stop> {
    open(&format!("/proc/self/fd/{}", file.as_raw_fd()), access)
}

/// Takes a descriptor from a call that made it.
fn made(fd: libc::c_int, call: &str) -> Result<OwnedFd, Stop> {
    if fd == -1 {
        return Err(Stop::from_setup(call, sockets::last_errno()));
    }
    // SAFETY: the kernel has just made `fd` for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn memfd() -> Result<OwnedFd, Stop> {
    // SAFETY: the name ends with a zero, and the kernel copies it.
    made(
        unsafe { libc::memfd_create(c"nocopy".as_ptr(), libc::MFD_CLOEXEC) },
        "memfd_create",
    )
}

/// Sets the status flags of an open file (`O_APPEND`, `O_DIRECT`), for all its descriptors; those not named are cleared.
pub fn set_status_flags(file: &File, flags: libc::c_int) -> Result<(), Stop> {
    // SAFETY: F_SETFL takes its flags by value.
    if aside(|| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) }) == -1 {
        return Err(Stop::from_setup("F_SETFL", sockets::last_errno()));
    }
    Ok(())
}

/// A file whose memory only the processes that map it can see (since Linux 5.14, where it is switched on).
pub fn memfd_secret() -> Result<OwnedFd, Stop> {
    aside(|| {
        // SAFETY: memfd_secret takes flags by value.
        let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, 0) };
        made(fd.try_into().unwrap_or(-1), "memfd_secret")
    })
}

/// An empty memfd with these seals.
pub fn sealed_memfd(seals: libc::c_int) -> Result<OwnedFd, Stop> {
    aside(|| {
        // SAFETY: the name ends with a zero, and the kernel copies it.
        let fd = unsafe { libc::memfd_create(c"nocopy".as_ptr(), libc::MFD_ALLOW_SEALING) };
        let memfd = made(fd, "memfd_create")?;
        // SAFETY: F_ADD_SEALS takes its seals by value.
        if unsafe { libc::fcntl(memfd.as_raw_fd(), libc::F_ADD_SEALS, seals) } == -1 {
            return Err(Stop::from_setup("F_ADD_SEALS", sockets::last_errno()));
        }
        Ok(memfd)
    })
}

fn signalfd() -> Result<OwnedFd, Stop> {
    // SAFETY: sigset_t is plain integers, for which zero is valid; signalfd reads it.
    let fd = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK)
    };
    made(fd, "signalfd")
}

/// The user's side of a pseudo-terminal in raw mode, with input waiting.
fn terminal() -> Result<Descriptor, Stop> {
    let master = open("/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY)?;
    let mut number: libc::c_uint = 0;
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int and TIOCGPTN writes an unsigned int through their pointers.
    let done = unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock)
            | libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number)
    };
    if done == -1 {
        return Err(Stop::from_setup(
            "make a pseudo-terminal",
            sockets::last_errno(),
        ));
    }
    let slave = open(&format!("/dev/pts/{number}"), libc::O_RDWR | libc::O_NOCTTY)?;
    // SAFETY: termios is plain integers, for which zero is valid; the calls read and write this one.
    unsafe {
        let mut modes: libc::termios = std::mem::zeroed();
        libc::tcgetattr(slave.as_raw_fd(), &raw mut modes);
        libc::cfmakeraw(&raw mut modes);
        libc::tcsetattr(slave.as_raw_fd(), libc::TCSANOW, &raw const modes);
    }
    io::write(&master, &CONTENT).setup("type into a terminal")?;
    sockets::wait_for_arrival(&slave, CONTENT.len())?;
    Ok(Descriptor {
        fd: slave,
        peer: Some(master),
        kind: Kind::Terminal,
    })
}
