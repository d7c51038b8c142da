//! The sinks of the ledger and the benchmark, with their receivers.

use crate::lab::netns::{self, Elsewhere, Way};
use crate::lab::usage::Usage;
use crate::lab::waiting::wait_until;
use crate::lab::{Lab, io, sockets};
use crate::verdict::{Setup, Stop};
use nocopy_splice::{SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, splice};
use nocopy_transfer::Hint;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use syscalls::Errno;

/// The number of bytes that the receiver takes at a time.
const BUFFER: usize = 256 << 10;

/// A sink, with what its receiver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// TCP over loopback, read.
    Tcp,
    /// TCP over loopback, dropped by `MSG_TRUNC`.
    TcpDropped,
    /// TCP over a veth pair between two network namespaces, read.
    Veth,
    /// An `AF_UNIX` stream socket, read.
    Unix,
    /// A vsock connection of the machine to itself, read.
    Vsock,
    /// UDP through a device that drops it. It has no receiver, so no copy is made for one.
    Udp,
    /// A pipe of 64 KiB, read.
    Pipe,
    /// A pipe of 1 MiB, read.
    LargePipe,
    /// A pipe of 1 MiB, spliced to /dev/null.
    PipeToNull,
    /// A file on the file system of the source.
    File,
}

/// Both ends of a sink.
pub struct Ends {
    /// The end that is sent to.
    pub near: OwnedFd,
    /// The end that is received from. `None` for a file, and for UDP, which is dropped.
    pub far: Option<OwnedFd>,
}

impl Sink {
    /// Every sink, in the order of the tables.
    pub const ALL: &[Self] = &[
        Self::Tcp,
        Self::TcpDropped,
        Self::Veth,
        Self::Unix,
        Self::Vsock,
        Self::Udp,
        Self::Pipe,
        Self::LargePipe,
        Self::PipeToNull,
        Self::File,
    ];

    /// The name that is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::TcpDropped => "TCP, dropped",
            Self::Veth => "veth",
            Self::Unix => "AF_UNIX",
            Self::Vsock => "vsock",
            Self::Udp => "UDP, no receiver",
            Self::Pipe => "pipe 64 KiB",
            Self::LargePipe => "pipe 1 MiB",
            Self::PipeToNull => "pipe to null",
            Self::File => "file",
        }
    }

    /// The same kind of sink, with a receiver that reads the bytes.
    #[must_use]
    pub const fn to_be_read(self) -> Self {
        match self {
            Self::TcpDropped => Self::Tcp,
            Self::PipeToNull => Self::LargePipe,
            other => other,
        }
    }

    /// Whether sends to it take flags.
    pub const fn is_socket(self) -> bool {
        matches!(self, Self::Tcp | Self::TcpDropped | Self::Veth | Self::Unix | Self::Vsock | Self::Udp)
    }

    /// Whether it has a congestion control.
    pub const fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::TcpDropped | Self::Veth)
    }

    /// Whether the data is dropped, so that it cannot be observed.
    pub const fn is_lost(self) -> bool {
        matches!(self, Self::Udp)
    }

    /// The maximum number of bytes that one call may send to it.
    pub const fn limit(self) -> usize {
        match self {
            Self::Udp => netns::LARGEST,
            _ => usize::MAX,
        }
    }

    /// What the type of its near end says in a program.
    pub const fn hint(self) -> Hint {
        match self {
            Self::Tcp | Self::TcpDropped | Self::Veth => Hint::Tcp,
            Self::Unix => Hint::Unix,
            Self::Udp => Hint::Datagram,
            Self::Pipe | Self::LargePipe | Self::PipeToNull => Hint::Pipe,
            Self::File => Hint::File,
            Self::Vsock => Hint::Unknown,
        }
    }

    /// The kind of its network namespaces, if it has any.
    pub const fn way(self) -> Option<Way> {
        match self {
            Self::Veth => Some(Way::Veth),
            Self::Udp => Some(Way::Dropped),
            _ => None,
        }
    }

    /// Receives until the end, and compares the bytes with `expected`, if it is given. Returns the number of bytes.
    pub fn take_all(self, far: &OwnedFd, expected: Option<&[u8]>) -> Result<usize, Stop> {
        self.take(far, expected, &mut buffer(expected), |_| Ok(()))
    }

    /// The same, but calls `ready` before each step.
    fn take(
        self,
        far: &OwnedFd,
        expected: Option<&[u8]>,
        buffer: &mut [u8],
        ready: impl Fn(usize) -> Result<(), Stop>,
    ) -> Result<usize, Stop> {
        match self {
            Self::TcpDropped => drop_all(far, buffer),
            Self::PipeToNull => splice_all(far, ready),
            _ => read_all(far, expected, buffer, ready),
        }
    }

    /// Opens a new sink.
    pub fn open(self, lab: &Lab) -> Result<Ends, Stop> {
        let (near, far): (OwnedFd, OwnedFd) = match self {
            Self::Veth | Self::Udp => {
                let way = self.way().unwrap_or(Way::Veth);
                let (near, far) = Elsewhere::start(way)?.connect("")?;
                return Ok(Ends { near, far });
            }
            Self::Vsock => sockets::vsock()?,
            Self::Tcp | Self::TcpDropped => {
                let (near, far) = sockets::tcp()?;
                (near.into(), far.into())
            }
            Self::Unix => {
                let (near, far) = UnixStream::pair().setup("socketpair")?;
                (near.into(), far.into())
            }
            Self::Pipe | Self::LargePipe | Self::PipeToNull => {
                let (read, write) = std::io::pipe().setup("pipe")?;
                if self != Self::Pipe {
                    fcntl_setpipe_size(&write, 1 << 20).setup("F_SETPIPE_SZ")?;
                }
                (write.into(), read.into())
            }
            Self::File => {
                return Ok(Ends { near: lab.empty_file()?.into(), far: None });
            }
        };
        Ok(Ends { near, far: Some(far) })
    }
}

/// The receiver of a sink, in a thread.
pub struct Receiver(JoinHandle<Result<u64, Stop>>);

impl Receiver {
    /// Starts a thread that receives until the end and compares the bytes with `expected`. `None` if the sink has no far end.
    ///
    /// The receiver has allocated all its memory when this returns. So the addresses of the sender's mappings, and the number of
    /// their faults, do not depend on the order of the threads. If `patient`, the receiver takes from a pipe only when it is
    /// full. Then the room in the pipe, and the result of each sending call, are the same in each run.
    pub fn start(sink: Sink, far: Option<OwnedFd>, expected: &[u8], patient: bool) -> Option<Self> {
        let far = far?;
        let expected = expected.to_vec();
        let (prepared, is_prepared) = mpsc::channel::<()>();
        let receiver = Self(thread::spawn(move || {
            let mut buffer = buffer(Some(&expected));
            drop(prepared);
            let before = Usage::now();
            // Only a pipe has a capacity.
            let capacity = fcntl_getpipe_size(&far).ok().filter(|_| patient);
            let ready = |came: usize| match capacity {
                None => Ok(()),
                Some(capacity) => {
                    let full = capacity.min(expected.len() - came);
                    wait_until(|| Ok(sockets::readable(&far)? >= full))
                }
            };
            let came = sink.take(&far, Some(&expected), &mut buffer, ready)?;
            if came == expected.len() {
                Ok(Usage::now().since(before).voluntary)
            } else {
                let all = expected.len();
                Err(Stop::broken(format!("{came} bytes of {all} came, or others")))
            }
        }));
        // The thread drops the sender without sending anything.
        let _ = is_prepared.recv();
        Some(receiver)
    }

    /// Waits until the receiver has ended. Returns how often it was woken.
    pub fn end(self) -> Result<u64, Stop> {
        self.0.join().map_err(|_| Stop::broken("the receiver panicked"))?
    }
}

/// A buffer for the receiver, whose pages have been touched.
fn buffer(expected: Option<&[u8]>) -> Vec<u8> {
    vec![1; if expected.is_some() { 1 << 20 } else { BUFFER }]
}

/// Reads until the end, and compares the bytes with `expected`, if it is given. Returns the number of bytes.
fn read_all(
    far: &OwnedFd,
    expected: Option<&[u8]>,
    buffer: &mut [u8],
    ready: impl Fn(usize) -> Result<(), Stop>,
) -> Result<usize, Stop> {
    let mut came = 0;
    loop {
        ready(came)?;
        match io::again(|| io::read(far, buffer)).setup("read")? {
            0 => return Ok(came),
            count if expected.is_none_or(|expected| expected.get(came..came + count) == Some(&buffer[..count])) => {
                came += count;
            }
            _ => return Err(Stop::broken(format!("other bytes arrived after {came}"))),
        }
    }
}

fn drop_all(far: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Stop> {
    let mut came = 0;
    loop {
        let dropped = io::again(|| io::recvmsg(far, buffer, &mut [], libc::MSG_TRUNC));
        match dropped.setup("recvmsg")?.bytes {
            0 => return Ok(came),
            count => came += count,
        }
    }
}

fn splice_all(far: &OwnedFd, ready: impl Fn(usize) -> Result<(), Stop>) -> Result<usize, Stop> {
    let null = File::options().write(true).open("/dev/null").setup("/dev/null")?;
    let mut came = 0;
    loop {
        ready(came)?;
        let spliced = splice(far, None, &null, None, 1 << 20, SpliceFlags::empty());
        match spliced {
            Ok(0) => return Ok(came),
            Ok(count) => came += count,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Stop::from_setup("splice", errno)),
        }
    }
}
