//! Network namespaces for one experiment, and connections between them.
//!
//! Over loopback and veth the kernel must copy the data that `MSG_ZEROCOPY` has pinned, because the receiver would get the user's
//! pages. A `dummy` device (or an `ifb` without a redirection) drops the packet in its driver after "transmission". The
//! completion then reports "not copied", as for a network card. Real pairs of cards are used on a disposable machine only.

use crate::interpose::record::aside;
use crate::kernel::to_have;
use crate::lab::privilege::unshare;
use crate::lab::waiting::wait_until;
use crate::lab::{handover, io, netlink, sockets};
use crate::verdict::{Lack, Setup, Stop};
use nocopy_host::process;
use std::ffi::c_int;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use syscalls::Errno;

/// The device's address, from the block for documentation (RFC 5737). It exists in the namespaces only.
const NEAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The peer's address.
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The port on which the peer listens.
const PORT: u16 = 5001;
const DEVICE: &str = "nocopy0";

/// The length of a datagram that fits into one packet of the device.
pub const DATAGRAM: usize = 8192;

/// A UDP socket whose datagrams leave through a device that drops them.
///
/// The calling process is in a new network namespace afterwards. Without privilege it is in a new user namespace as well.
pub fn udp_into_nothing() -> Result<UdpSocket, Stop> {
    aside(make_udp_into_nothing)
}

fn make_udp_into_nothing() -> Result<UdpSocket, Stop> {
    enter()?;
    create_dropping_device()?;
    netlink::configure(DEVICE, NEAR, Some(9000)).setup("configure the device")?;
    udp_from_device()
}

fn udp_from_device() -> Result<UdpSocket, Stop> {
    let socket = UdpSocket::bind((NEAR, 0)).setup("bind to the device's address")?;
    socket.connect((FAR, 9)).setup("connect to the device's peer")?;
    Ok(socket)
}

/// Enters a new network namespace, with a new user namespace if it needs one.
fn enter() -> Result<(), Stop> {
    unshare(libc::CLONE_NEWNET).or_else(|_| unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)).map_err(|errno| {
        match errno {
            Errno::EIO => Stop::from_setup("unshare", errno),
            _ => Stop::untestable(
                Lack::Privilege,
                format!("no network namespace can be made here: unshare {errno:?}"),
                "run as root, or allow user namespaces: sysctl user.max_user_namespaces=1000",
            ),
        }
    })
}

/// Enters a new network namespace that has only loopback, and writes these settings of `/proc/sys` there.
pub fn alone(settings: &[(&str, &str)]) -> Result<(), Stop> {
    aside(|| {
        enter()?;
        netlink::up("lo").setup("bring up loopback")?;
        for (name, value) in settings {
            std::fs::write(format!("/proc/sys/{name}"), value).setup(name)?;
        }
        Ok(())
    })
}

/// Creates a device that drops its packets, of the first kind that the kernel has.
fn create_dropping_device() -> Result<(), Stop> {
    let mut refused = Vec::new();
    for kind in ["dummy", "ifb"] {
        match netlink::create(DEVICE, kind) {
            Ok(()) => return Ok(()),
            Err(errno) => refused.push(format!("{kind} {errno:?}")),
        }
    }
    Err(Stop::untestable(
        Lack::Device,
        format!("no device that drops what it sends can be made: {}", refused.join(", ")),
        to_have("CONFIG_DUMMY", "dummy"),
    ))
}

/// A TCP connection over a veth pair to a peer in another network namespace. The peer reads everything that arrives.
///
/// The calling process is in a new network namespace afterwards.
pub fn tcp_over_veth() -> Result<Remote, Stop> {
    aside(connect_over_veth)
}

fn connect_over_veth() -> Result<Remote, Stop> {
    enter()?;
    let peer = Peer::start("nocopy1")?;
    netlink::create_veth(DEVICE, "nocopy1", peer.pid).map_err(|errno| {
        Stop::untestable(Lack::Device, format!("no veth pair can be made: {errno:?}"), to_have("CONFIG_VETH", "veth"))
    })?;
    netlink::configure(DEVICE, NEAR, None).setup("configure the device")?;
    peer.connect()
}

/// A UDP socket over a veth pair, connected to a peer in another network namespace. The peer sends every datagram back.
///
/// The calling process is in a new network namespace afterwards.
pub fn udp_over_veth() -> Result<(UdpSocket, impl Sized), Stop> {
    aside(|| {
        let Remote { socket, peer } = connect_over_veth()?;
        let port = socket.local_addr().setup("getsockname")?.port();
        let datagrams = UdpSocket::bind((NEAR, port)).setup("bind a UDP socket")?;
        datagrams.connect((FAR, PORT)).setup("connect a UDP socket")?;
        Ok((datagrams, (socket, peer)))
    })
}

/// A TCP connection over two network cards that are wired to each other. This works on a disposable machine only, because it
/// takes the cards away from their users.
pub fn tcp_over_cards() -> Result<Remote, Stop> {
    aside(connect_over_cards)
}

fn connect_over_cards() -> Result<Remote, Stop> {
    let none = |what: &str| Stop::untestable(Lack::Device, what, "run it in a guest: conformance vm run --kernel 6.1");
    if !is_disposable() {
        return Err(none("this machine is not disposable: its network cards are left alone"));
    }
    if cards_of_machine() < 2 {
        return Err(none("no two network cards of the kind vmxnet3"));
    }
    // A card that another experiment has used returns some time after the end of that experiment's namespace.
    wait_until(|| Ok(cards_here()?.len() >= 2))?;
    let cards = cards_here()?;
    let [near, far, ..] = &cards[..] else {
        return Err(Stop::broken("a network card has gone"));
    };
    let peer = Peer::start(far)?;
    netlink::give_to(far, peer.pid).setup("move a network card")?;
    netlink::configure(near, NEAR, None).setup("configure a network card")?;
    peer.connect()
}

/// The number of cards that the driver has, in all namespaces.
fn cards_of_machine() -> usize {
    let devices = std::fs::read_dir("/sys/bus/pci/drivers/vmxnet3").into_iter().flatten();
    let is_device = |name: &std::ffi::OsStr| name.to_string_lossy().contains(':');
    devices.filter(|entry| entry.as_ref().is_ok_and(|entry| is_device(&entry.file_name()))).count()
}

/// The cards of this network namespace, by name.
fn cards_here() -> Result<Vec<String>, Stop> {
    let is_card = |name: &String| {
        let driver = std::fs::read_link(format!("/sys/class/net/{name}/device/driver"));
        driver.is_ok_and(|driver| driver.ends_with("vmxnet3"))
    };
    let names = std::fs::read_dir("/sys/class/net")
        .setup("list the network devices")?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()));
    Ok(names.filter(is_card).collect())
}

pub use nocopy_host::kernel::{DISPOSABLE, is_disposable};

/// A connection to a peer in another network namespace.
#[derive(Debug)]
pub struct Remote {
    /// The near end.
    pub socket: TcpStream,
    peer: Peer,
}

// The bytes that the peer sends and receives.
const IN_NAMESPACE: u8 = b'n';
const REFUSED: u8 = b'x';
const LISTENING: u8 = b'l';
const GO: u8 = b'g';

/// The process in the other namespace. It ends with the connection or with this process.
#[derive(Debug)]
struct Peer {
    pid: libc::pid_t,
    says: PipeReader,
    told: PipeWriter,
}

impl Peer {
    /// Starts the peer in a new network namespace. It configures `device` there once the device has arrived.
    fn start(device: &str) -> Result<Self, Stop> {
        let (says, say) = std::io::pipe().setup("pipe")?;
        let (hear, told) = std::io::pipe().setup("pipe")?;
        let pid = process::fork(|| {
            process::die_with_parent();
            let served = serve(device, &say, &hear);
            process::exit(c_int::from(served.is_err()));
        })
        .setup("fork")?;
        // These copies would keep the pipes open after the peer's end, so that the end would not be seen.
        drop((say, hear));
        let peer = Self { pid, says, told };
        match peer.next_step()? {
            IN_NAMESPACE => Ok(peer),
            _ => Err(Stop::untestable(
                Lack::Privilege,
                "no network namespace can be made for a peer",
                "run as root, without a filter that refuses unshare",
            )),
        }
    }

    /// Waits for the next byte from the peer.
    fn next_step(&self) -> Result<u8, Stop> {
        let mut byte = [0];
        match (&self.says).read(&mut byte) {
            Ok(1) => Ok(byte[0]),
            _ => Err(Stop::broken("the peer ended early")),
        }
    }

    fn connect(self) -> Result<Remote, Stop> {
        io::write_all(&self.told, &[GO]).setup("tell the peer")?;
        self.next_step()?;
        let socket = TcpStream::connect((FAR, PORT)).setup("connect to the peer")?;
        sockets::set_nodelay(&socket)?;
        Ok(Remote { socket, peer: self })
    }
}

/// The peer: it enters a namespace, sets an address, and reads a connection to its end.
fn serve(device: &str, say: &PipeWriter, mut hear: &PipeReader) -> Result<(), Stop> {
    let namespace = unshare(libc::CLONE_NEWNET);
    let step = if namespace.is_ok() { IN_NAMESPACE } else { REFUSED };
    io::write_all(say, &[step]).setup("say")?;
    namespace.setup("unshare")?;
    let mut byte = [0];
    hear.read_exact(&mut byte).setup("hear")?;
    netlink::configure(device, FAR, None).setup("configure the peer's device")?;
    let listener = TcpListener::bind((FAR, PORT)).setup("listen")?;
    let datagrams = UdpSocket::bind((FAR, PORT)).setup("bind a UDP socket")?;
    io::write_all(say, &[LISTENING]).setup("say")?;
    let (mut socket, _) = listener.accept().setup("accept")?;
    std::thread::spawn(move || send_back(&datagrams));
    std::io::copy(&mut socket, &mut std::io::sink()).setup("read")?;
    Ok(())
}

/// Sends every datagram back, until the process ends.
fn send_back(datagrams: &UdpSocket) {
    let mut bytes = vec![0; 1 << 16];
    loop {
        if let Ok((count, from)) = datagrams.recv_from(&mut bytes) {
            let sent = aside(|| datagrams.send_to(&bytes[..count], from));
            // A lost datagram is noticed by the other side. A shorter one would be taken for the one that was sent.
            if sent.is_ok_and(|sent| sent != count) {
                process::exit(1);
            }
        }
    }
}

/// The protocol and device of the sockets of [`Elsewhere`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// TCP, over a veth pair between two namespaces.
    Veth,
    /// UDP, through a device that drops it. One packet takes datagrams of up to [`LARGEST`].
    Dropped,
}

/// A size of datagram that fits into a packet of [`Way::Dropped`].
pub const LARGEST: usize = 60 << 10;

/// A process in separate network namespaces, which makes sockets there and passes them back. The calling process stays in its
/// namespaces.
///
/// The namespaces exist until this and all sockets in them are gone.
#[derive(Debug)]
pub struct Elsewhere {
    pid: libc::pid_t,
    asked: UnixStream,
}

impl Elsewhere {
    /// Starts the process.
    pub fn start(way: Way) -> Result<Self, Stop> {
        aside(|| {
            let (asked, asks) = UnixStream::pair().setup("socketpair")?;
            let asked_fd = asked.as_raw_fd();
            let pid = process::fork(|| {
                process::die_with_parent();
                // SAFETY: the child's copy of the parent's end, which nothing here uses.
                unsafe { libc::close(asked_fd) };
                process::exit(c_int::from(answer(way, &asks).is_err()));
            })
            .setup("fork")?;
            Ok(Self { pid, asked })
        })
    }

    /// A new connection: the end that sends, and the end that receives if the data is received at all. `congestion` is a TCP
    /// congestion control with a name of at most 16 bytes; if it is empty, the system's default is used.
    pub fn connect(&self, congestion: &str) -> Result<(OwnedFd, Option<OwnedFd>), Stop> {
        aside(|| {
            let mut name = [0; CONGESTION];
            name[..congestion.len()].copy_from_slice(congestion.as_bytes());
            (&self.asked).write_all(&name).setup("ask for a socket")?;
            let mut ends = handover::take(&self.asked)?.into_iter();
            match ends.next() {
                Some(near) => Ok((near, ends.next())),
                None => Err(Stop::untestable(
                    Lack::Privilege,
                    "no network namespace with a device of ours can be made here",
                    format!("run as root; {}", to_have("CONFIG_VETH and CONFIG_DUMMY", "-a veth dummy")),
                )),
            }
        })
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // It ends when there are no more requests.
        let _ = self.asked.shutdown(std::net::Shutdown::Both);
        process::wait(self.pid);
    }
}

/// `TCP_CA_NAME_MAX`: the maximum length of the name of a congestion control.
const CONGESTION: usize = 16;

/// The other process: it answers until there are no more requests.
fn answer(way: Way, asks: &UnixStream) -> Result<(), Stop> {
    enter()?;
    let listener = match way {
        Way::Dropped => {
            create_dropping_device()?;
            netlink::configure(DEVICE, NEAR, Some(65535)).setup("configure the device")?;
            None
        }
        Way::Veth => Some(listen_over_veth()?),
    };
    let mut name = [0; CONGESTION];
    while { asks }.read_exact(&mut name).is_ok() {
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(CONGESTION);
        match &listener {
            None => handover::give(asks, &[udp_from_device()?.as_fd()])?,
            Some(listener) => {
                let (near, far) = sockets::tcp_to(listener, &name[..length])?;
                handover::give(asks, &[near.as_fd(), far.as_fd()])?;
            }
        }
    }
    Ok(())
}

/// A listener at the far end of a veth pair, in a namespace that a thread has made.
fn listen_over_veth() -> Result<TcpListener, Stop> {
    let (entered, has_entered) = mpsc::channel();
    let (configure, is_there) = mpsc::channel::<()>();
    let thread = thread::spawn(move || -> Result<TcpListener, Stop> {
        unshare(libc::CLONE_NEWNET).setup("unshare")?;
        // SAFETY: gettid takes nothing.
        let _ = entered.send(unsafe { libc::gettid() });
        let _ = is_there.recv();
        netlink::configure("nocopy1", FAR, None).setup("configure the peer's device")?;
        TcpListener::bind((FAR, 0)).setup("listen")
    });
    let ended = || Stop::broken("the thread of the other namespace has ended early");
    let tid = has_entered.recv().map_err(|_| ended())?;
    netlink::create_veth(DEVICE, "nocopy1", tid).setup("make a veth pair")?;
    netlink::configure(DEVICE, NEAR, None).setup("configure the device")?;
    drop(configure);
    thread.join().map_err(|_| ended())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_lives_as_long_as_its_sockets() {
        let elsewhere = Elsewhere::start(Way::Veth).expect("a process");
        let (near, far) = match elsewhere.connect("reno") {
            Ok((near, far)) => (near, far.expect("two ends")),
            // As for the claims: if the machine refuses something, the test does not fail.
            Err(stop) => {
                assert!(matches!(stop, Stop::Untestable(_)), "{stop:?}");
                return;
            }
        };
        drop(elsewhere);
        io::write_all(&near, b"a").expect("written");
        drop(near);
        let mut bytes = [0; 2];
        assert_eq!(io::read_full(&far, &mut bytes), Ok(1));
    }
}
