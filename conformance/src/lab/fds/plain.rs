//! The kinds that most programs use: files, pipes, sockets, terminals, and the descriptors of events.

use crate::lab::alias;
use crate::lab::open::{made, memfd, memfd_secret, open, set_status_flags};
use crate::lab::{Lab, io, sockets};
use crate::verdict::{Setup, Stop};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

/// The content of a readable descriptor, if it has any: at least these sixteen bytes.
pub(super) const CONTENT: [u8; 16] = [alias::OLD; 16];

/// A descriptor, and the other end of its connection or device.
type Ends = (OwnedFd, OwnedFd);

/// Both ends of a connection, after the bytes that `far` sends have arrived at `near`.
fn filled(near: OwnedFd, far: OwnedFd) -> Result<Ends, Stop> {
    io::write_all(&far, &CONTENT).setup("fill a socket")?;
    io::wait_for(near.as_fd(), libc::POLLIN).setup("poll")?;
    Ok((near, far))
}

/// The same as [`filled`], for sockets that report how many bytes have arrived.
fn counted(near: OwnedFd, far: OwnedFd) -> Result<Ends, Stop> {
    io::write_all(&far, &CONTENT).setup("fill a socket")?;
    sockets::wait_for_arrival(&near, CONTENT.len())?;
    Ok((near, far))
}

pub fn append_file(lab: &Lab) -> Result<OwnedFd, Stop> {
    let file = lab.file(&CONTENT)?;
    set_status_flags(&file, libc::O_APPEND)?;
    Ok(file.into())
}

/// A file in the scratch directory that never has a name.
pub fn unnamed_file(lab: &Lab) -> Result<OwnedFd, Stop> {
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(lab.scratch()?)
        .setup("open with O_TMPFILE")?;
    io::pwrite_all(&file, &CONTENT, 0).setup("write a file")?;
    Ok(file.into())
}

pub fn memfd_with_content() -> Result<OwnedFd, Stop> {
    let mut file = File::from(memfd()?);
    file.write_all(&CONTENT).setup("write a memfd")?;
    io::seek(&file, 0).setup("lseek")?;
    Ok(file.into())
}

pub fn secret() -> Result<OwnedFd, Stop> {
    let secret = File::from(memfd_secret()?);
    io::truncate(&secret, CONTENT.len() as u64).setup("ftruncate")?;
    Ok(secret.into())
}

pub fn pipe_with_content() -> Result<Ends, Stop> {
    let (read, write) = std::io::pipe().setup("pipe")?;
    io::write_all(&write, &CONTENT).setup("fill a pipe")?;
    Ok((read.into(), write.into()))
}

pub fn pipe_to_write() -> Result<Ends, Stop> {
    let (read, write) = std::io::pipe().setup("pipe")?;
    Ok((write.into(), read.into()))
}

pub fn tcp() -> Result<Ends, Stop> {
    let (near, far) = sockets::tcp()?;
    counted(near.into(), far.into())
}

pub fn tcp_unconnected() -> Result<OwnedFd, Stop> {
    sockets::socket(libc::AF_INET, libc::SOCK_STREAM, 0).setup("socket")
}

pub fn udp() -> Result<Ends, Stop> {
    let (near, far) = sockets::udp()?;
    let address = near.local_addr().setup("getsockname")?;
    far.connect(address).setup("connect")?;
    counted(near.into(), far.into())
}

pub fn unix_stream() -> Result<Ends, Stop> {
    let (near, far) = UnixStream::pair().setup("socketpair")?;
    filled(near.into(), far.into())
}

pub fn mptcp() -> Result<Ends, Stop> {
    let (near, far) = sockets::mptcp()?;
    filled(near.into(), far.into())
}

/// The end that encrypts. It holds bytes to read that its peer has sent in the clear.
pub fn tls_sender() -> Result<Ends, Stop> {
    let (near, far) = sockets::ktls()?;
    counted(near.into(), far.into())
}

/// The end that decrypts. It holds a record to read.
pub fn tls_receiver() -> Result<Ends, Stop> {
    let (near, far) = sockets::ktls()?;
    filled(far.into(), near.into())
}

pub fn vsock() -> Result<Ends, Stop> {
    let (near, far) = sockets::vsock()?;
    filled(near, far)
}

/// A counter with the value one, so that it is readable.
pub fn eventfd() -> Result<OwnedFd, Stop> {
    // SAFETY: eventfd takes no pointer.
    made(unsafe { libc::eventfd(1, libc::EFD_CLOEXEC) }, "eventfd")
}

pub fn timerfd() -> Result<OwnedFd, Stop> {
    // SAFETY: timerfd_create takes no pointer.
    let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK) };
    made(fd, "timerfd_create")
}

pub fn inotify() -> Result<OwnedFd, Stop> {
    // SAFETY: inotify_init1 takes no pointer.
    let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK) };
    made(fd, "inotify_init1")
}

pub fn epoll() -> Result<OwnedFd, Stop> {
    // SAFETY: epoll_create1 takes no pointer.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    made(fd, "epoll_create1")
}

pub fn pidfd() -> Result<OwnedFd, Stop> {
    // SAFETY: pidfd_open takes no pointer.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) };
    made(libc::c_int::try_from(fd).unwrap_or(-1), "pidfd_open")
}

pub fn signalfd() -> Result<OwnedFd, Stop> {
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
pub fn terminal() -> Result<Ends, Stop> {
    let master = open("/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY)?;
    let mut number: libc::c_uint = 0;
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int and TIOCGPTN writes an unsigned int through their pointers.
    let done = unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock)
            | libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number)
    };
    if done == -1 {
        return Err(Stop::from_setup("make a pseudo-terminal", sockets::last_errno()));
    }
    let slave = open(&format!("/dev/pts/{number}"), libc::O_RDWR | libc::O_NOCTTY)?;
    // SAFETY: termios is plain integers, for which zero is valid; the calls read and write this one.
    unsafe {
        let mut modes: libc::termios = std::mem::zeroed();
        libc::tcgetattr(slave.as_raw_fd(), &raw mut modes);
        libc::cfmakeraw(&raw mut modes);
        libc::tcsetattr(slave.as_raw_fd(), libc::TCSANOW, &raw const modes);
    }
    io::write_all(&master, &CONTENT).setup("type into a terminal")?;
    sockets::wait_for_arrival(&slave, CONTENT.len())?;
    Ok((slave, master))
}

/// The other end of a terminal, with bytes to read that a program has printed on it.
pub fn pty_master() -> Result<Ends, Stop> {
    let (slave, master) = terminal()?;
    io::read(&slave, &mut [0; CONTENT.len()]).setup("read what was typed")?;
    counted(master, slave)
}
