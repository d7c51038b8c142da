//! What it costs to send a file to a replica: this program by each route, and real masters, in one run and round by round.
//!
//! What is compared is the CPU time of who sends, the main thread of a real master. How long it takes is decided by the replica.

use super::resp;
use super::servers::{self, Directory, Program, Reply, Running};
use crate::bench::stats::median;
use crate::grids::sheet::draw;
use crate::verdict::{Setup, Stop};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A real master that saves a file first.
    OnDisk,
    /// A real master that does not.
    Diskless,
    /// `redis serve`, with these options.
    Ours(&'static [&'static str]),
}

/// Every sender with the name that users are told; a real master first, with which all are compared.
pub const SENDERS: &[(&str, Sender)] = &[
    ("master, disk-based", Sender::OnDisk),
    ("master, diskless", Sender::Diskless),
    (
        "read+write 16 KiB",
        Sender::Ours(&["--route", "read-write", "--most", "16384"]),
    ),
    (
        "read+write 1 MiB",
        Sender::Ours(&["--route", "read-write", "--most", "1048576"]),
    ),
    (
        "mmap+write",
        Sender::Ours(&["--route", "mmap-write", "--most", "1073741824"]),
    ),
    (
        "sendfile",
        Sender::Ours(&["--route", "sendfile", "--most", "1073741824"]),
    ),
    (
        "splice, pipe 1 MiB",
        Sender::Ours(&["--route", "splice", "--most", "1073741824"]),
    ),
    ("auto, 1 MiB a call", Sender::Ours(&["--route", "auto"])),
    (
        "MSG_ZEROCOPY",
        Sender::Ours(&["--route", "msg-zerocopy", "--most", "1073741824"]),
    ),
];

/// Who receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Receiver {
    /// A real replica, which loads it.
    Replica,
    /// One that reads and drops it.
    Null,
}

/// What one transfer took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Taken {
    /// Seconds of CPU of the sender.
    pub cpu: f64,
    /// Seconds until the receiver had all.
    pub wall: f64,
    /// For how long one replica was served at once, in milliseconds: 99 times of 100, and at most. Of `redis serve`.
    pub served: Option<[f64; 2]>,
}

/// What came of a sender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Its name.
    pub sender: String,
    /// To whom.
    pub receiver: Receiver,
    /// Each round.
    pub taken: Vec<Taken>,
}

impl Line {
    /// The median of what each round took, with the least and the most.
    pub fn of(&self, figure: fn(&Taken) -> f64) -> [f64; 3] {
        let mut values: Vec<f64> = self.taken.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        let ends = (values.first().copied(), values.last().copied());
        [
            ends.0.unwrap_or(f64::NAN),
            median(&values),
            ends.1.unwrap_or(f64::NAN),
        ]
    }
}

/// What everything is sent from: a file, and masters that have loaded it.
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

/// The length of each value. In the file it takes a little more, with its key.
const VALUE: usize = 3000;

impl Bench {
    /// Makes a file of about so many MiB, and starts the masters. `own` is this program.
    pub fn new(program: Program, own: PathBuf, mib: usize) -> Result<Self, Stop> {
        let plain = ["--rdbcompression", "no"];
        let mut first = Running::start(&program, &plain)?;
        let number = (mib << 20) / (VALUE + 20);
        let words = [
            "DEBUG",
            "POPULATE",
            &number.to_string(),
            "key",
            &VALUE.to_string(),
        ];
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
        let diskless = loaded(&[
            "--repl-diskless-sync",
            "yes",
            "--repl-diskless-sync-delay",
            "0",
        ])?;
        let length = fs::metadata(&rdb).setup("look at the file")?.len();
        Ok(Self {
            rdb,
            length,
            program,
            own,
            on_disk,
            diskless,
            _directory: directory,
        })
    }

    /// One transfer.
    pub fn run(&self, sender: Sender, receiver: Receiver) -> Result<Taken, Stop> {
        match sender {
            Sender::OnDisk => {
                let last = match receiver {
                    // What it says of one that only stores the file.
                    Receiver::Null => "RDB transfer completed",
                    Receiver::Replica => "ynchronization with replica",
                };
                let lines = ["Background saving terminated", last];
                self.by_master(&self.on_disk, receiver, lines)
            }
            Sender::Diskless => self.by_master(
                &self.diskless,
                receiver,
                [
                    "Starting BGSAVE",
                    "Diskless rdb transfer, done reading from pipe",
                ],
            ),
            Sender::Ours(options) => self.by_us(receiver, options),
        }
    }

    fn by_master(
        &self,
        master: &Running,
        receiver: Receiver,
        [first, last]: [&str; 2],
    ) -> Result<Taken, Stop> {
        let before = master.log().len();
        let (address, program) = (master.address, self.program.clone());
        let mut receiving = Some(thread::spawn(move || receive(receiver, &program, address)));
        let join = |receiving: &mut Option<thread::JoinHandle<Result<(), Stop>>>| {
            let joined = receiving.take().map(thread::JoinHandle::join);
            joined
                .map_or(Ok(Ok(())), |ended| ended)
                .map_err(|_| Stop::broken("the receiver panicked"))?
        };
        // Its CPU time is that between two lines of its log.
        let mut at: [Option<(u64, Instant)>; 2] = [None, None];
        let since = Instant::now();
        while at[1].is_none() {
            if since.elapsed() > Duration::from_mins(3) {
                return Err(Stop::broken(format!(
                    "the master does not send: {}",
                    master.log()
                )));
            }
            let log = master.log();
            for (at, words) in at.iter_mut().zip([first, last]) {
                if at.is_none() && log[before..].contains(words) {
                    *at = Some((cpu_of(master.pid())?, Instant::now()));
                }
            }
            if receiving
                .as_ref()
                .is_some_and(thread::JoinHandle::is_finished)
            {
                join(&mut receiving)?;
            }
            thread::sleep(Duration::from_millis(1));
        }
        join(&mut receiving)?;
        let [Some((began, start)), Some((ended, end))] = at else {
            return Err(Stop::broken(
                "the master's log has one line and not the other",
            ));
        };
        Ok(Taken {
            cpu: Duration::from_nanos(ended - began).as_secs_f64(),
            wall: (end - start).as_secs_f64(),
            served: None,
        })
    }

    fn by_us(&self, receiver: Receiver, options: &[&str]) -> Result<Taken, Stop> {
        let mut child = Command::new(&self.own)
            .args(["redis", "serve", "--listen", "127.0.0.1:0", "--until", "1"])
            .args(["--format", "json", "--ping", "0.5", "--rdb"])
            .arg(&self.rdb)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .setup("start redis serve")?;
        let said = child
            .stderr
            .take()
            .ok_or_else(|| Stop::broken("no standard error"))?;
        let mut said = BufReader::new(said);
        let mut line = String::new();
        said.read_line(&mut line).setup("hear redis serve")?;
        let port = line
            .trim_end()
            .rsplit(' ')
            .next()
            .and_then(|word| word.parse().ok());
        let port: u16 = port.ok_or_else(|| Stop::broken(format!("redis serve: {line}")))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let began = Instant::now();
        receive(receiver, &self.program, address)?;
        let wall = began.elapsed().as_secs_f64();
        let mut text = String::new();
        let mut output = child
            .stdout
            .take()
            .ok_or_else(|| Stop::broken("no output"))?;
        output.read_to_string(&mut text).setup("hear redis serve")?;
        child.wait().setup("wait for redis serve")?;
        let report: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| Stop::broken(format!("redis serve: {error}: {text}")))?;
        let number = |name: &str| report[name].as_f64().unwrap_or(f64::NAN);
        if report["replicas"][0]["bytes"].as_u64() != Some(self.length) {
            return Err(Stop::broken(format!("redis serve: {text}")));
        }
        Ok(Taken {
            cpu: number("cpu"),
            wall,
            served: Some([number("percentile"), number("longest")]),
        })
    }
}

/// CPU time of a process's main thread, in nanoseconds.
fn cpu_of(pid: u32) -> Result<u64, Stop> {
    let path = format!("/proc/{pid}/task/{pid}/schedstat");
    let text = fs::read_to_string(path).setup("the master's CPU time")?;
    let first = text.split(' ').next().and_then(|word| word.parse().ok());
    first.ok_or_else(|| Stop::broken("the master has no CPU time"))
}

fn receive(receiver: Receiver, program: &Program, master: SocketAddr) -> Result<(), Stop> {
    match receiver {
        Receiver::Null => drop_all(master).setup("read the file"),
        Receiver::Replica => {
            let port = master.port().to_string();
            let mut replica = Running::start(program, &["--replicaof", "127.0.0.1", &port])?;
            replica.wait_for_sync()?;
            // So that a master has heard of it.
            thread::sleep(Duration::from_millis(1200));
            Ok(())
        }
    }
}

/// Syncs as a replica does, and drops what comes.
fn drop_all(master: SocketAddr) -> std::io::Result<()> {
    let socket = TcpStream::connect(master)?;
    let mut reader = BufReader::with_capacity(256 << 10, socket);
    for words in [
        &[&b"REPLCONF"[..], b"capa", b"eof"][..],
        &[b"REPLCONF", b"rdb-only", b"1"],
    ] {
        // A real master wants nothing to be on its way when it is asked for the file.
        reader.get_mut().write_all(&resp::command(words))?;
        reader.read_line(&mut String::new())?;
    }
    reader.get_mut().write_all(&resp::command(&[b"SYNC"]))?;
    let head = loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(head) = line.strip_prefix('$') {
            break head.trim_end().to_owned();
        }
        if line.starts_with('-') {
            return Err(std::io::Error::other(line));
        }
    };
    if let Ok(length) = head.parse() {
        let came = std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
        return if came == length {
            Ok(())
        } else {
            Err(std::io::ErrorKind::UnexpectedEof.into())
        };
    }
    let mark = head
        .strip_prefix("EOF:")
        .unwrap_or_default()
        .as_bytes()
        .to_vec();
    let mut end = Vec::new();
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
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

/// What is expected of a sender: how many times less CPU than a real master takes that saves a file first, and, where one event is
/// to be short, how many milliseconds it takes 99 times of 100.
const BARS: &[(&str, f64, Option<f64>)] = &[
    ("sendfile", 3.0, None),
    ("splice, pipe 1 MiB", 3.0, None),
    ("auto, 1 MiB a call", 2.0, Some(5.0)),
];

/// What users are told of a receiver.
pub const fn word(receiver: Receiver) -> &'static str {
    match receiver {
        Receiver::Null => "replica that drops it",
        Receiver::Replica => "real replica",
    }
}

/// Writes a table for each receiver, and what was expected.
pub fn write(output: &mut dyn Write, lines: &[Line], markdown: bool) -> std::io::Result<()> {
    for receiver in [Receiver::Null, Receiver::Replica] {
        let of: Vec<&Line> = lines
            .iter()
            .filter(|line| line.receiver == receiver)
            .collect();
        let Some(master) = of.first().map(|line| line.of(|one| one.cpu)[1]) else {
            continue;
        };
        let heading = if markdown { "### " } else { "" };
        writeln!(output, "{heading}to a {}\n", word(receiver))?;
        let head = [
            "",
            "CPU, s",
            "times less",
            "wall, s",
            "one event, ms: 99 %, most",
            "expected",
            "",
        ];
        let mut table = vec![head.map(str::to_owned).to_vec()];
        for line in of {
            let [least, cpu, most] = line.of(|one| one.cpu);
            let wall = line.of(|one| one.wall)[1];
            let served = |at: usize| -> Option<f64> {
                let values: Option<Vec<f64>> =
                    line.taken.iter().map(|one| Some(one.served?[at])).collect();
                values.map(|values| median(&values))
            };
            let bar = BARS.iter().find(|(name, ..)| *name == line.sender);
            let (expected, word) = bar.map_or((String::new(), ""), |(_, times, limit)| {
                let is_short = limit.is_none_or(|limit| served(0).is_some_and(|most| most < limit));
                let is_met = master / cpu >= *times && is_short;
                let limit =
                    limit.map_or_else(String::new, |limit| format!(", under {limit:.0} ms"));
                (
                    format!("at least {times:.1}{limit}"),
                    if is_met { "met" } else { "MISSED" },
                )
            });
            table.push(vec![
                line.sender.clone(),
                format!("{cpu:.3} ({least:.3}-{most:.3})"),
                format!("{:.2}", master / cpu),
                format!("{wall:.2}"),
                match (served(0), served(1)) {
                    (Some(percentile), Some(most)) => format!("{percentile:.2} {most:.2}"),
                    _ => "-".to_owned(),
                },
                expected,
                word.to_owned(),
            ]);
        }
        draw(output, &table, markdown)?;
        writeln!(output)?;
    }
    Ok(())
}
