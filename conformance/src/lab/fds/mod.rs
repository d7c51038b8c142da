//! Descriptors of every kind that can be read from, or written to, without waiting.

mod plain;
mod special;

use crate::interpose::record::aside;
use crate::lab::fds::plain::CONTENT;
use crate::lab::open::open;
use crate::lab::{Lab, sockets};
use crate::verdict::{Observation, Setup, Stop};
use std::fmt;
use std::fs::File;
use std::io::Seek;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use syscalls::Errno;

/// Every kind with its name: `$then! { Kind "name", … }`. No other list of them exists.
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
            SysfsText "/sys/kernel/fscaps",
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
            /// The name that is printed.
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
    /// The number of bytes written to it since it was opened, as its other end or its file shows. Up to `reported` of them may
    /// still be in transit, and the call waits for these.
    ///
    /// `None` in these cases:
    ///
    /// - a device, which keeps nothing
    /// - a kind that cannot be written
    /// - a kind whose count the kernel does not show
    pub fn written(&self, reported: usize) -> Result<Option<u64>, Stop> {
        let size = || Ok(self.file()?.metadata().setup("fstat")?.len());
        match (self.kind, &self.peer) {
            // FIONREAD of the peer counts something else, or is missing on some kernels.
            (Kind::PipeRead | Kind::TlsSender | Kind::TlsReceiver | Kind::VsockSocket | Kind::MptcpSocket, _) => {
                Ok(None)
            }
            (_, Some(peer)) => {
                // A pipe or an AF_UNIX socket has no bytes in transit.
                if matches!(self.kind, Kind::TcpSocket | Kind::UdpSocket | Kind::Terminal | Kind::PtyMaster) {
                    sockets::wait_for_arrival(peer, reported)?;
                }
                Ok(Some(sockets::readable(peer)? as u64))
            }
            // The position was 0 when the descriptor was opened, so it is the number of bytes written.
            (Kind::RegularFile | Kind::Memfd, None) => Ok(Some(self.file()?.stream_position().setup("lseek")?)),
            (Kind::AppendFile, None) => Ok(Some(size()? - CONTENT.len() as u64)),
            _ => Ok(None),
        }
    }

    /// The descriptor, and the other end of its connection or device, if it has one.
    pub fn into_ends(self) -> (OwnedFd, Option<OwnedFd>) {
        (self.fd, self.peer)
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

impl Descriptor {
    /// Opens a descriptor. Streams and files hold some bytes to read. The descriptor is writable if its kind is.
    pub fn open(lab: &Lab, kind: Kind) -> Result<Self, Stop> {
        aside(|| Self::make(lab, kind))
    }

    fn make(lab: &Lab, kind: Kind) -> Result<Self, Stop> {
        let alone = |fd| Ok((fd, None));
        let between = |(near, far)| Ok((near, Some(far)));
        let device = |path: &str| open(path, libc::O_RDWR).and_then(alone);
        let readable = |path: &str| open(path, libc::O_RDONLY).and_then(alone);
        let (fd, peer) = match kind {
            Kind::RegularFile => alone(lab.file(&CONTENT)?.into()),
            Kind::AppendFile => plain::append_file(lab).and_then(alone),
            Kind::Memfd => plain::memfd_with_content().and_then(alone),
            Kind::PathOnly => open("/proc/version", libc::O_PATH).and_then(alone),
            Kind::Directory => open("/", libc::O_DIRECTORY).and_then(alone),
            Kind::PipeRead => plain::pipe_with_content().and_then(between),
            Kind::PipeWrite => plain::pipe_to_write().and_then(between),
            Kind::TcpSocket => plain::tcp().and_then(between),
            Kind::UdpSocket => plain::udp().and_then(between),
            Kind::UnixStream => plain::unix_stream().and_then(between),
            Kind::Eventfd => plain::eventfd().and_then(alone),
            Kind::Timerfd => plain::timerfd().and_then(alone),
            Kind::Signalfd => plain::signalfd().and_then(alone),
            Kind::Inotify => plain::inotify().and_then(alone),
            Kind::Epoll => plain::epoll().and_then(alone),
            Kind::Pidfd => plain::pidfd().and_then(alone),
            Kind::DevNull => device("/dev/null"),
            Kind::DevZero => device("/dev/zero"),
            Kind::DevFull => device("/dev/full"),
            Kind::DevUrandom => device("/dev/urandom"),
            Kind::Terminal => plain::terminal().and_then(between),
            Kind::ProcMaps => readable("/proc/self/maps"),
            Kind::ProcStatus => readable("/proc/self/status"),
            Kind::ProcVersion => readable("/proc/version"),
            Kind::ProcSysctl => readable("/proc/sys/kernel/ostype"),
            Kind::Sysfs => readable("/sys/kernel/notes"),
            Kind::TmpFile => plain::unnamed_file(lab).and_then(alone),
            Kind::ReadOnlyFile => again(&lab.file(&CONTENT)?, libc::O_RDONLY).and_then(alone),
            Kind::WriteOnlyFile => again(&lab.file(&CONTENT)?, libc::O_WRONLY).and_then(alone),
            Kind::MemfdSealedWrite => special::sealed(libc::F_SEAL_WRITE).and_then(alone),
            Kind::MemfdSealedFutureWrite => special::sealed(libc::F_SEAL_FUTURE_WRITE).and_then(alone),
            Kind::MemfdSealedGrow => special::sealed(libc::F_SEAL_GROW).and_then(alone),
            Kind::MemfdSealedShrink => special::sealed(libc::F_SEAL_SHRINK).and_then(alone),
            Kind::MemfdHuge => special::huge_memfd().and_then(alone),
            Kind::MemfdSecret => plain::secret().and_then(alone),
            Kind::BlockDevice => special::block_device().and_then(alone),
            Kind::UnixDatagram => special::unix_pair(libc::SOCK_DGRAM).and_then(between),
            Kind::UnixSeqpacket => special::unix_pair(libc::SOCK_SEQPACKET).and_then(between),
            Kind::TcpUnconnected => plain::tcp_unconnected().and_then(alone),
            Kind::TcpListener => special::tcp_listener().and_then(alone),
            Kind::MptcpSocket => plain::mptcp().and_then(between),
            Kind::TlsSender => plain::tls_sender().and_then(between),
            Kind::TlsReceiver => plain::tls_receiver().and_then(between),
            Kind::VsockSocket => plain::vsock().and_then(between),
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
            Kind::PtyMaster => plain::pty_master().and_then(between),
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
            Kind::SysfsText => readable("/sys/kernel/fscaps"),
            Kind::Cgroup => special::on_mount(c"cgroup2", &[c"cgroup.controllers"]).and_then(alone),
            Kind::Debugfs => special::debugfs().and_then(alone),
            Kind::Tracefs => special::on_mount(c"tracefs", &[c"README"]).and_then(alone),
        }?;
        Ok(Self { fd, peer, kind })
    }
}

/// Opens a descriptor of each kind and notes the result of `call` on it. A kind that this machine lacks is noted as such.
///
/// `arrived` returns the number of bytes that have arrived where `call` has sent them, if this can be known. A number that
/// differs from the one `call` reported is noted as well.
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

/// Opens the descriptor's file once more, with this access.
fn again(file: &File, access: libc::c_int) -> Result<OwnedFd, Stop> {
    open(&format!("/proc/self/fd/{}", file.as_raw_fd()), access)
}
