//! Relays: programs that copy from one TCP connection to another, as a proxy does.

use super::servers::{Entry, Server, cpu_of, directory_of};
use crate::verdict::{Setup, Stop};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::process::Command;

/// A program that copies from one connection to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relay {
    /// A contender that the program `nocopy-peers` implements.
    Program(&'static str),
    /// A server that runs as long as the benchmark.
    Haproxy(Haproxy),
}

/// The relays that `nocopy-peers` implements. The first one is the base.
pub const OF_RUST: &[&str] = &[
    "tokio::io::copy_bidirectional",
    "read+write 64 KiB",
    "splice, pipe 64 KiB",
    "splice, pipe 1 MiB",
    "tokio-splice2",
    "nocopy-transfer, shared",
    "nocopy-transfer, snapshot",
    "nocopy-transfer, tokio",
];

/// `HAProxy` with and without splice.
pub const HAPROXY: &[(&str, bool)] = &[("HAProxy, splice on", true), ("HAProxy, splice off", false)];

impl Relay {
    /// The name that is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Program(name) => name,
            Self::Haproxy(server) => server.name,
        }
    }
}

/// `HAProxy`, which copies what a server sends to the client that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Haproxy {
    name: &'static str,
    pid: libc::pid_t,
    /// Where clients ask.
    port: u16,
    /// Where it asks: a listener of this process, which lives as long.
    feed: i32,
}

impl Haproxy {
    /// Starts it. The client's connection inherits the congestion control of the listener, and so does the server's.
    pub(super) fn start(
        program: &Path,
        name: &'static str,
        is_on: bool,
        congestion: &str,
    ) -> Result<(Self, Server), Stop> {
        let (entry, feed) = (Entry::new(congestion)?, Entry::new(congestion)?);
        let directory = directory_of("haproxy", entry.port)?;
        let (path, port, server_port) = (directory.join("haproxy.cfg"), entry.port, feed.port);
        let option = if is_on { "option splice-response" } else { "" };
        let command = |listener| {
            let configuration = format!(
                "global\n nbthread 1\n maxconn 16\n\
                 defaults\n mode tcp\n {option}\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
                 frontend clients\n bind fd@{listener}\n default_backend servers\n\
                 backend servers\n server one 127.0.0.1:{server_port}\n"
            );
            fs::write(&path, configuration).setup("write haproxy.cfg")?;
            let mut command = Command::new(program);
            command.arg("-db").arg("-f").arg(&path);
            Ok(command)
        };
        let server = entry.serve(directory, command)?;
        let feed = std::mem::ManuallyDrop::new(feed.into_listener());
        Ok((Self { name, pid: server.pid(), port, feed: feed.as_raw_fd() }, server))
    }

    /// Asks for a connection. Returns the server's end and the client's.
    pub(super) fn connect(self) -> Result<(TcpStream, TcpStream), Stop> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let client = TcpStream::connect(address).setup("connect to HAProxy")?;
        // SAFETY: the listener is never closed.
        let feed = TcpListener::from(unsafe { BorrowedFd::borrow_raw(self.feed) }.try_clone_to_owned().setup("dup")?);
        let mut polled = [PollFd::new(&feed, PollFlags::IN)];
        let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
        if poll(&mut polled, Some(&limit)).unwrap_or(0) == 0 {
            return Err(Stop::broken("HAProxy does not ask the server"));
        }
        let (server, _) = feed.accept().setup("accept")?;
        Ok((server, client))
    }

    /// The CPU time that it has used, in nanoseconds.
    pub(super) fn cpu(self) -> Result<u64, Stop> {
        cpu_of(self.pid)
    }
}
