//! Prints one entry of an error queue as this kernel makes it, as a fixture: `cargo run --example capture -- NAME`.
//!
//! Names: `tcp-ipv4`, `tcp-ipv6`, `tcp-coalesced`, `tcp-mixed`, `tcp-timestamp`, `tcp-truncated`, `udp-ipv4`,
//! `udp-timestamp`, `udp-icmp`, all over loopback, and `udp-to ADDRESS:PORT`, for a host that is not local.

use nocopy_msg_zerocopy::{
    BorrowedFd, Message, MsgFlags, SendFlags, enable, messages, recv_error_queue, send_copied,
    send_zerocopy,
};
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::{env, process};

/// Prints a line. Without a reader the rest is of no use.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        if writeln!(std::io::stdout(), $($words)*).is_err() {
            process::exit(1);
        }
    }};
}

/// Enough for any entry.
const ROOM: usize = 512;

static BYTES: [u8; 1000] = [7; 1000];

/// What is asked for before the send.
#[derive(Clone, Copy, PartialEq)]
enum Also {
    Nothing,
    /// `SO_TIMESTAMPING`: entries of their own, between the completions.
    SendTimes,
    /// `SO_TIMESTAMP`: one more message in every entry.
    ReceiveTimes,
}

fn main() {
    let arguments: Vec<String> = env::args_os()
        .skip(1)
        .map(|it| it.to_string_lossy().into_owned())
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["tcp-ipv4"] => tcp("127.0.0.1:0", 1, Also::Nothing, ROOM),
        ["tcp-ipv6"] => tcp("[::1]:0", 1, Also::Nothing, ROOM),
        ["tcp-coalesced"] => tcp("127.0.0.1:0", 5, Also::Nothing, ROOM),
        ["tcp-mixed"] => tcp("127.0.0.1:0", 2, Also::ReceiveTimes, ROOM),
        ["tcp-timestamp"] => tcp("127.0.0.1:0", 1, Also::SendTimes, ROOM),
        ["tcp-truncated"] => tcp("127.0.0.1:0", 1, Also::Nothing, 24),
        ["udp-ipv4"] => udp(None, Also::Nothing),
        ["udp-timestamp"] => udp(None, Also::SendTimes),
        ["udp-to", address] => udp(Some(address), Also::Nothing),
        ["udp-icmp"] => icmp(),
        _ => {
            eprintln!("usage: capture NAME, see the head of the file for the names");
            process::exit(2);
        }
    };
    if let Err(error) = done {
        eprintln!("capture: {error}");
        process::exit(1);
    }
}

fn tcp(address: &str, sends: usize, also: Also, room: usize) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    send(&near, sends, also)?;
    far.read_exact(&mut vec![0; sends * BYTES.len()])?;
    print_entries(&near, room)
}

fn udp(to: Option<&str>, also: Also) -> io::Result<()> {
    let far = UdpSocket::bind("127.0.0.1:0")?;
    let near = UdpSocket::bind("0.0.0.0:0")?;
    match to {
        Some(address) => near.connect(address)?,
        None => near.connect(far.local_addr()?)?,
    }
    send(&near, 1, also)?;
    print_entries(&near, ROOM)
}

fn icmp() -> io::Result<()> {
    let near = UdpSocket::bind("127.0.0.1:0")?;
    let closed = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    near.connect(closed)?;
    set(near.as_raw_fd(), libc::SOL_IP, libc::IP_RECVERR, 1)?;
    send_copied(&near, &BYTES, SendFlags::empty())?;
    print_entries(&near, ROOM)
}

fn send<'fd, S>(socket: &'fd S, sends: usize, also: Also) -> io::Result<()>
where
    S: AsRawFd,
    &'fd S: Into<BorrowedFd<'fd>>,
{
    if also == Also::ReceiveTimes {
        set(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMP, 1)?;
    }
    if also == Also::SendTimes {
        let flags = libc::SOF_TIMESTAMPING_TX_SOFTWARE
            | libc::SOF_TIMESTAMPING_TX_SCHED
            | libc::SOF_TIMESTAMPING_SOFTWARE
            | libc::SOF_TIMESTAMPING_OPT_ID
            | libc::SOF_TIMESTAMPING_OPT_CMSG;
        set(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPING,
            flags,
        )?;
    }
    let socket = enable(socket)?;
    for _ in 0..sends {
        // SAFETY: an immutable static never changes and is never freed.
        unsafe { send_zerocopy(socket, &BYTES, SendFlags::empty()) }?;
    }
    Ok(())
}

fn set(fd: i32, level: i32, option: i32, value: u32) -> io::Result<()> {
    // SAFETY: 4 readable bytes, as long as is said.
    let set = unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), 4) };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Waits for the first entry, and prints every entry that is there, each as one capture.
fn print_entries<'fd, S>(socket: &'fd S, room: usize) -> io::Result<()>
where
    S: AsRawFd,
    &'fd S: Into<BorrowedFd<'fd>>,
{
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: 0,
        revents: 0,
    };
    // SAFETY: one pollfd, writable during the call.
    if unsafe { libc::poll(&raw mut poll, 1, 30_000) } != 1 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut control = vec![0; room];
    while let Ok(received) = recv_error_queue(socket, &mut control) {
        assert!(received.flags.contains(MsgFlags::ERRQUEUE));
        let control = &control[..received.control_len];
        say!("kernel = {:?}", kernel.trim());
        say!("flags = {:#x}", received.flags.bits());
        let hex: Vec<String> = control.iter().map(|byte| format!("{byte:02x}")).collect();
        let hex = hex.concat();
        say!("hex = \"{hex}\"");
        for message in messages(control) {
            say!("\n[[expect]]");
            match message {
                Ok(Message::Completion(it)) => say!(
                    "kind = \"completion\"\nlo = {}\nhi = {}\ncopied = {}",
                    it.lo,
                    it.hi,
                    it.copied
                ),
                Ok(Message::Other(it)) => {
                    say!("kind = \"other\"\nlevel = {}\ntype = {}", it.level, it.kind);
                    say!("data_len = {}", it.data.len());
                    if let Some(error) = it.extended_error() {
                        say!("errno = {}\norigin = {}", error.errno, error.origin);
                    }
                }
                Err(error) => say!("kind = \"malformed\"\nerror = \"{error:?}\""),
            }
        }
        say!();
    }
    Ok(())
}
