//! Peers: programs of other authors that do the same work. They start on a signal and report their times.
//!
//! A peer has the source at descriptor 0 and the sink at 1. It reads a byte from 3 before it begins. At the end it writes four
//! 64-bit numbers to 4: the start and the end by the monotonic clock, the CPU time between them, and the number of bytes. Its
//! arguments are the name of the contender and the length. `nocopy-peers` (`conformance/peers`) is such a program for each Rust
//! library; Python runs a script. `nginx` is different: it is asked for the file.

use super::relays::{self, Haproxy, Relay};
use super::servers::{Entry, Server, cpu_of, directory_of};
use crate::lab::io;
use crate::verdict::{Setup, Stop};
use nocopy_host::programs;
use std::ffi::c_int;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A way of sending that another author has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A contender that the program `nocopy-peers` implements.
    Program(&'static str),
    /// Python's `socket.sendfile`.
    Python,
    /// A server that sends the file on request.
    Nginx(Nginx),
    /// A program that copies from one connection to another.
    Relay(Relay),
}

/// A server that runs as long as the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nginx {
    name: &'static str,
    pid: libc::pid_t,
    port: u16,
}

/// The contenders that `nocopy-peers` implements.
const OF_RUST: &[&str] = &[
    "nocopy-transfer, shared",
    "nocopy-transfer, snapshot",
    "nocopy-transfer, tokio",
    "libc",
    "rustix",
    "nix",
    "sendfile crate",
    "std::io::copy",
    "tokio::io::copy",
];

/// Python's `socket.sendfile`, with the same protocol as the other peers.
const SCRIPT: &str = include_str!("peer.py");

impl Peer {
    /// The name that is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Program(name) => name,
            Self::Python => "Python socket.sendfile",
            Self::Nginx(server) => server.name,
            Self::Relay(relay) => relay.name(),
        }
    }

    /// Replaces this process by the program. `ends` are the source, the sink, and the descriptors for the start signal and the
    /// report. Returns only if that fails, with the error.
    pub fn exec(self, ends: [BorrowedFd<'_>; 4], told: [c_int; 2], length: usize) -> std::io::Error {
        let (program, arguments) = match self {
            Self::Program(name) => (program(), vec![name.to_owned(), length.to_string()]),
            Self::Python => (PathBuf::from("python3"), ["-I", "-S", "-c", SCRIPT].map(str::to_owned).to_vec()),
            Self::Relay(Relay::Program(name)) => (program(), vec![format!("relay: {name}"), length.to_string()]),
            Self::Nginx(_) | Self::Relay(Relay::Haproxy(_)) => return std::io::ErrorKind::Unsupported.into(),
        };
        // Some peers read from the file position.
        // SAFETY: lseek takes no pointer.
        unsafe { libc::lseek(ends[0].as_raw_fd(), 0, libc::SEEK_SET) };
        // The duplicates must not have numbers that are replaced below.
        let moved = ends.map(|fd| {
            // SAFETY: a duplicate, in a process that will execute another program.
            unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD, FREE) }
        });
        for (from, to) in moved.into_iter().zip([0, 1, told[0], told[1]]) {
            // SAFETY: as above.
            if unsafe { libc::dup2(from, to) } == -1 {
                return std::io::Error::last_os_error();
            }
            // SAFETY: as above.
            unsafe { libc::close(from) };
        }
        Command::new(program).args(arguments).exec()
    }
}

/// A peer does not use descriptors from this number on.
const FREE: c_int = 10;

/// The program, which is built into the same directory as this one.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name("nocopy-peers")
}

/// The peers of this machine. For a missing one there is a remedy.
pub struct Peers {
    /// The peers that send a file and are installed.
    pub found: Vec<Peer>,
    /// Those that copy from one connection to another.
    pub relays: Vec<Relay>,
    /// The peers that are missing, with how to install them.
    pub missing: Vec<String>,
    /// The servers, which end when this is dropped.
    servers: Vec<Server>,
}

impl Peers {
    /// Finds the peers, and starts the servers for a file.
    pub fn find(source: &File, congestion: &str) -> Result<Self, Stop> {
        let mut peers = Self { found: Vec::new(), relays: Vec::new(), missing: Vec::new(), servers: Vec::new() };
        if program().exists() {
            peers.found.extend(OF_RUST.iter().copied().map(Peer::Program));
        } else {
            let what = OF_RUST.join(", ");
            return Err(Stop::broken(format!(
                "{what} and our own are compared by {}, which is not there: cargo build --release --package nocopy-peers",
                program().display()
            )));
        }
        if programs::find("python3").is_some() {
            peers.found.push(Peer::Python);
        } else {
            peers.missing.push("Python: apt install python3".to_owned());
        }
        if let Some(program) = programs::find_of_root("nginx") {
            for (name, is_on) in [("nginx, sendfile on", true), ("nginx, sendfile off", false)] {
                let (nginx, server) = start_nginx(&program, name, is_on, source, congestion)?;
                peers.found.push(Peer::Nginx(nginx));
                peers.servers.push(server);
            }
        } else {
            peers.missing.push("nginx: apt install nginx-light".to_owned());
        }
        peers.relays.extend(relays::OF_RUST.iter().copied().map(Relay::Program));
        if let Some(program) = programs::find_of_root("haproxy") {
            for (name, is_on) in relays::HAPROXY {
                let (haproxy, server) = Haproxy::start(&program, name, *is_on, congestion)?;
                peers.relays.push(Relay::Haproxy(haproxy));
                peers.servers.push(server);
            }
        } else {
            peers.missing.push("HAProxy: apt install haproxy".to_owned());
        }
        Ok(peers)
    }
}

/// Starts nginx for a file, with its one worker.
fn start_nginx(
    program: &Path,
    name: &'static str,
    is_on: bool,
    source: &File,
    congestion: &str,
) -> Result<(Nginx, Server), Stop> {
    let entry = Entry::new(congestion)?;
    let directory = directory_of("nginx", entry.port)?;
    let own = std::process::id();
    let root = format!("/proc/{own}/fd");
    let word = if is_on { "on" } else { "off" };
    let directory_name = directory.display();
    let configuration = format!(
        "daemon off; user root; worker_processes 1; pid {directory_name}/pid; error_log {directory_name}/log;\n\
         events {{ worker_connections 16; }}\n\
         http {{ access_log off; sendfile {word}; keepalive_timeout 0; default_type text/plain;\n\
         client_body_temp_path {directory_name}; proxy_temp_path {directory_name};\n\
         fastcgi_temp_path {directory_name}; uwsgi_temp_path {directory_name}; scgi_temp_path {directory_name};\n\
         server {{ listen 127.0.0.1:{}; location = /source {{ alias {root}/{}; }} }} }}\n",
        entry.port,
        source.as_raw_fd()
    );
    let path = directory.join("nginx.conf");
    fs::write(&path, configuration).setup("write nginx.conf")?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&path).arg("-e").arg(directory.join("log"));
    let port = entry.port;
    let mut server = entry.serve(directory, |listener| {
        command.env("NGINX", format!("{listener};"));
        Ok(command)
    })?;
    let pid = server.worker()?;
    Ok((Nginx { name, pid, port }, server))
}

impl Nginx {
    /// Connects to the server. The connection waits until the server accepts it.
    pub fn connect(self) -> Result<TcpStream, Stop> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        TcpStream::connect(address).setup("connect to nginx")
    }

    /// The CPU time that the worker has used, in nanoseconds.
    pub fn cpu(self) -> Result<u64, Stop> {
        cpu_of(self.pid)
    }
}

/// Requests the file, and reads the head of the answer.
pub fn ask(server: &OwnedFd) -> Result<(), Stop> {
    io::write_all(server, b"GET /source HTTP/1.0\r\n\r\n").setup("ask nginx")?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if io::read_full(server, &mut byte).setup("read the head")? == 0 {
            return Err(Stop::broken("nginx has no answer"));
        }
        head.push(byte[0]);
    }
    if head.starts_with(b"HTTP/1.1 200") {
        Ok(())
    } else {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        Err(Stop::broken(format!("nginx says {}", line.escape_ascii())))
    }
}
