//! The cost of sending a file to a replica: this program by each route, and real masters, in one run and round by round.
//!
//! The benchmark compares the CPU time of the sender: of a real master, its main thread. The duration depends on the replica.

#![forbid(unsafe_code)]

pub mod report;

use crate::bench::run::Conditions;
use crate::lab::redis::servers;
use crate::lab::redis::servers::{Directory, Program, Reply, Running};
use crate::verdict::{Setup, Stop};
use nocopy_host::process;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The sender of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A real master that saves a file first.
    OnDisk,
    /// A real master that does not save a file.
    Diskless,
    /// `redis serve`, with these options.
    Ours(&'static [&'static str]),
}

/// Every sender with its printed name. A real master is first, and all others are compared with it.
pub const SENDERS: &[(&str, Sender)] = &[
    ("master, disk-based", Sender::OnDisk),
    ("master, diskless", Sender::Diskless),
    ("read+write 16 KiB", Sender::Ours(&["--route", "read-write", "--most", "16384"])),
    ("read+write 1 MiB", Sender::Ours(&["--route", "read-write", "--most", "1048576"])),
    ("mmap+write", Sender::Ours(&["--route", "mmap-write", "--most", "1073741824"])),
    ("sendfile", Sender::Ours(&["--route", "sendfile", "--most", "1073741824"])),
    ("splice, pipe 1 MiB", Sender::Ours(&["--route", "splice", "--most", "1073741824"])),
    ("auto, 1 MiB a call", Sender::Ours(&["--route", "auto"])),
    ("MSG_ZEROCOPY", Sender::Ours(&["--route", "msg-zerocopy", "--most", "1073741824"])),
];

/// The receiver of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Receiver {
    /// A real replica, which loads the file.
    Replica,
    /// A receiver that reads the file and drops it.
    Null,
}

/// The cost of one transfer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Taken {
    /// Seconds of CPU of the sender.
    pub cpu: f64,
    /// Seconds until the receiver had everything.
    pub wall: f64,
    /// For `redis serve`: the time for which one replica was served without a break, in milliseconds: the 99th percentile and the
    /// maximum.
    pub served: Option<[f64; 2]>,
}

/// The results of a sender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Its name.
    pub sender: String,
    /// The receiver.
    pub receiver: Receiver,
    /// Each round.
    pub taken: Vec<Taken>,
}

/// A run, with its conditions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The conditions.
    #[serde(flatten)]
    pub on: Conditions,
    /// The server that is the comparison, and loads the file.
    pub server: String,
    /// Bytes of the file.
    pub length: u64,
    /// The results of each sender and receiver. For each receiver, a real master is first.
    pub lines: Vec<Line>,
}

/// The source of all transfers: a file, and masters that have loaded it.
pub struct Bench {
    /// The file.
    pub rdb: PathBuf,
    /// Its length in bytes.
    pub length: u64,
    program: Program,
    own: PathBuf,
    on_disk: Running,
    diskless: Running,
    _directory: Directory,
}

/// The length of each value. In the file it takes slightly more, with its key.
const VALUE: usize = 3000;

impl Bench {
    /// Makes a file of about `mib` MiB, and starts the masters. `own` is the path of this program.
    pub fn new(program: Program, own: PathBuf, mib: usize) -> Result<Self, Stop> {
        let plain = ["--rdbcompression", "no"];
        let mut first = Running::start(&program, &plain)?;
        let number = (mib << 20) / (VALUE + 20);
        let words = ["DEBUG", "POPULATE", &number.to_string(), "key", &VALUE.to_string()];
        if let Reply::Error(error) = first.ask(&words)? {
            return Err(Stop::broken(format!("{}: {error}", words.join(" "))));
        }
        servers::saved(&mut first)?;
        let directory = first.end()?;
        let rdb = directory.join("source.rdb");
        fs::rename(directory.join("dump.rdb"), &rdb).setup("name the file")?;
        let loaded = |options: &[&str]| {
            let place = Directory::new()?;
            fs::copy(&rdb, place.join("dump.rdb")).setup("copy the file")?;
            Running::start_in(place, &program, &[&plain[..], options].concat())
        };
        let on_disk = loaded(&["--repl-diskless-sync", "no"])?;
        let diskless = loaded(&["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"])?;
        let length = fs::metadata(&rdb).setup("look at the file")?.len();
        Ok(Self { rdb, length, program, own, on_disk, diskless, _directory: directory })
    }

    /// Runs all transfers, round by round, in another order each time. Calls `told` after each.
    pub fn run(&self, receivers: &[Receiver], rounds: usize, mut told: impl FnMut()) -> Result<Vec<Line>, Stop> {
        let mut lines = Vec::new();
        for receiver in receivers {
            let mut all: Vec<Line> = SENDERS
                .iter()
                .map(|(name, _)| Line { sender: (*name).to_owned(), receiver: *receiver, taken: Vec::new() })
                .collect();
            for round in 0..rounds {
                for step in 0..SENDERS.len() {
                    let at = (round + step) % SENDERS.len();
                    let taken = self.transfer(SENDERS[at].1, *receiver)?;
                    all[at].taken.push(taken);
                    told();
                }
            }
            lines.extend(all);
        }
        Ok(lines)
    }

    /// The server that is the comparison.
    pub fn server(&mut self) -> Result<String, Stop> {
        let version = self.on_disk.info("server", "redis_version")?;
        Ok(format!("{} {version}", self.program.name))
    }

    /// Runs one transfer.
    fn transfer(&self, sender: Sender, receiver: Receiver) -> Result<Taken, Stop> {
        match sender {
            Sender::OnDisk => {
                let last = match receiver {
                    // The log line for a receiver that only stores the file.
                    Receiver::Null => "RDB transfer completed",
                    Receiver::Replica => "ynchronization with replica",
                };
                let lines = ["Background saving terminated", last];
                self.by_master(&self.on_disk, receiver, lines)
            }
            Sender::Diskless => self.by_master(
                &self.diskless,
                receiver,
                ["Starting BGSAVE", "Diskless rdb transfer, done reading from pipe"],
            ),
            Sender::Ours(options) => self.by_us(receiver, options),
        }
    }

    fn by_master(&self, master: &Running, receiver: Receiver, [first, last]: [&str; 2]) -> Result<Taken, Stop> {
        let before = master.log().len();
        let (address, program) = (master.address, self.program.clone());
        let mut receiving = Some(thread::spawn(move || receive(receiver, &program, address)));
        // The replica stays connected until its master has noticed it.
        let mut received = None;
        // The CPU time of the master is taken between two lines of its log.
        let mut at: [Option<(u64, Instant)>; 2] = [None, None];
        let since = Instant::now();
        while at[1].is_none() || received.is_none() {
            let log = master.log();
            if since.elapsed() > Duration::from_mins(3) {
                return Err(Stop::broken(format!("the master does not send: {log}")));
            }
            for (at, words) in at.iter_mut().zip([first, last]) {
                if at.is_none() && log[before..].contains(words) {
                    *at = Some((cpu_of(master.pid())?, Instant::now()));
                }
            }
            if let Some(thread) = receiving.take_if(|thread| thread.is_finished()) {
                let joined = thread.join();
                received = Some(joined.map_err(|_| Stop::broken("the receiver panicked"))??);
            }
            thread::sleep(Duration::from_millis(1));
        }
        let [Some((began, start)), Some((ended, end))] = at else {
            return Err(Stop::broken("the master's log has one line and not the other"));
        };
        Ok(Taken {
            cpu: Duration::from_nanos(ended - began).as_secs_f64(),
            wall: (end - start).as_secs_f64(),
            served: None,
        })
    }

    fn by_us(&self, receiver: Receiver, options: &[&str]) -> Result<Taken, Stop> {
        let mut serving = Serving::start(&self.own, &self.rdb, options)?;
        let began = Instant::now();
        let received = receive(receiver, &self.program, serving.address)?;
        let wall = began.elapsed().as_secs_f64();
        let report = serving.end()?;
        drop(received);
        let number = |name: &str| report[name].as_f64().unwrap_or(f64::NAN);
        if report["replicas"][0]["bytes"].as_u64() != Some(self.length) {
            return Err(Stop::broken(format!("redis serve: {report}")));
        }
        Ok(Taken { cpu: number("cpu"), wall, served: Some([number("percentile"), number("longest")]) })
    }
}

/// `redis serve`, which is ended when this is dropped.
struct Serving {
    child: Child,
    address: SocketAddr,
}

impl Serving {
    fn start(own: &Path, rdb: &Path, options: &[&str]) -> Result<Self, Stop> {
        let child = Command::new(own)
            .args(["redis", "serve", "--listen", "127.0.0.1:0"])
            .args(["--format", "json", "--ping", "0.5", "--rdb"])
            .arg(rdb)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .setup("start redis serve")?;
        let mut serving = Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) };
        let said = serving.child.stderr.take();
        let said = said.ok_or_else(|| Stop::broken("no standard error"))?;
        let mut said = BufReader::new(said);
        let mut line = String::new();
        said.read_line(&mut line).setup("hear redis serve")?;
        let last = line.trim_end().rsplit(' ').next();
        let port = last.and_then(|word| word.parse().ok());
        let port = port.ok_or_else(|| Stop::broken(format!("redis serve: {line}")))?;
        serving.address.set_port(port);
        // Its other messages are read and dropped, so that it does not block.
        thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Ok(serving)
    }

    /// Ends it in order, and returns its report. The receiver must still be connected, so that the report has it.
    fn end(&mut self) -> Result<serde_json::Value, Stop> {
        process::terminate(&self.child);
        let mut text = String::new();
        let output = self.child.stdout.take();
        let mut output = output.ok_or_else(|| Stop::broken("no output"))?;
        output.read_to_string(&mut text).setup("hear redis serve")?;
        self.child.wait().setup("wait for redis serve")?;
        serde_json::from_str(&text).map_err(|error| Stop::broken(format!("redis serve: {error}: {text}")))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of a process's main thread, in nanoseconds.
fn cpu_of(pid: u32) -> Result<u64, Stop> {
    let path = format!("/proc/{pid}/task/{pid}/schedstat");
    let text = fs::read_to_string(path).setup("the master's CPU time")?;
    let first = text.split(' ').next().and_then(|word| word.parse().ok());
    first.ok_or_else(|| Stop::broken("the master has no CPU time"))
}

/// Receives everything. Returns the replica, if there is one.
fn receive(receiver: Receiver, program: &Program, master: SocketAddr) -> Result<Option<Running>, Stop> {
    match receiver {
        Receiver::Null => servers::fetch(master).setup("read the file").map(|()| None),
        Receiver::Replica => {
            let port = master.port().to_string();
            let mut replica = Running::start(program, &["--replicaof", "127.0.0.1", &port])?;
            replica.wait_for_sync()?;
            Ok(Some(replica))
        }
    }
}
