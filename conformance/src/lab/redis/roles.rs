//! Servers in their roles in an experiment: alone, as a master with a replica, and as a replica of the experiment. They
//! do everything aside.

use crate::interpose::record::{aside, start_aside};
use crate::lab::redis::resp::{self, Next};
use crate::lab::redis::servers::{self, Directory, Program, Reply, Running};
use crate::lab::watch::{READING, Seen, WRITING, Watch};
use crate::lab::{Lab, privilege, sockets};
use crate::verdict::{Observation, Setup, Stop};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;
use syscalls::Sysno;

/// An experiment with one server.
pub type Experiment = fn(&Lab, &Program, &mut Observation) -> Result<(), Stop>;

/// Makes an experiment with every installed server. A fact on which they differ has the value of each, in words.
pub fn each(lab: &Lab, see: &mut Observation, experiment: Experiment) -> Result<(), Stop> {
    // The descriptors of a server, and those that watch it.
    privilege::may_have_descriptors(128)?;
    // Without a working loopback connection, the client of a server would wait for ever.
    sockets::tcp()?;
    let redis = aside(Program::redis)?;
    let valkey = aside(Program::valkey).ok();
    let mut all = Vec::new();
    for program in std::iter::once(redis).chain(valkey) {
        let mut seen = Observation::new();
        experiment(lab, &program, &mut seen)?;
        all.push((program.name, seen));
    }
    for (at, fact) in all[0].1.facts().iter().enumerate() {
        let each = || all.iter().filter_map(|(name, seen)| Some((name, seen, seen.facts().get(at)?)));
        if each().all(|(_, _, one)| one == fact) {
            see.repeat(fact);
            continue;
        }
        let values: Vec<String> = each().map(|(name, _, one)| format!("{name}: {}", one.value)).collect();
        let noted = see.text(&fact.fact, values.join(", "));
        if let Some(expected) = &fact.expected
            && !each().all(|(_, seen, one)| seen.meets(one))
        {
            noted.says(expected);
        }
    }
    Ok(())
}

/// Starts a server.
pub fn start(lab: &Lab, program: &Program, options: &[&str]) -> Result<Running, Stop> {
    start_by(lab, program, options, |command| start_aside(command).spawn().setup("start a server"))
}

/// Starts a server, and watches these calls of it.
pub fn start_watched(
    lab: &Lab,
    program: &Program,
    options: &[&str],
    calls: &[Sysno],
) -> Result<(Running, Watch), Stop> {
    let mut watched = None;
    let server = start_by(lab, program, options, |command| {
        let (child, watch) = Watch::start(start_aside(command), calls)?;
        watched = Some(watch);
        Ok(child)
    })?;
    let watch = watched.ok_or_else(|| Stop::broken("the server is not watched"))?;
    Ok((server, watch))
}

fn start_by(
    lab: &Lab,
    program: &Program,
    options: &[&str],
    how: impl FnMut(&mut Command) -> Result<Child, Stop>,
) -> Result<Running, Stop> {
    aside(|| {
        let directory = Directory::below(lab.scratch()?)?;
        Running::start_by(directory, program, options, how)
    })
}

/// Sends commands to a server. A command that fails is an error.
pub fn tell(server: &mut Running, commands: &[&[&str]]) -> Result<(), Stop> {
    aside(|| {
        for words in commands {
            if let Reply::Error(error) = server.ask(words)? {
                return Err(Stop::broken(format!("{}: {error}", words.join(" "))));
            }
        }
        Ok(())
    })
}

/// The file that a server saves after these commands.
pub fn saved(server: &mut Running, commands: &[&[&str]]) -> Result<PathBuf, Stop> {
    tell(server, commands)?;
    aside(|| servers::saved(server))
}

/// A server's file, open, and its bytes.
pub fn opened(path: &Path) -> Result<(File, Vec<u8>), Stop> {
    let bytes = aside(|| fs::read(path)).setup("read the RDB file")?;
    Ok((aside(|| File::open(path)).setup("open the RDB file")?, bytes))
}

/// The same of a server that loses the file and its data, so that these come from a connection later.
pub fn taken(server: &mut Running, path: &Path) -> Result<(File, Vec<u8>), Stop> {
    let taken = opened(path)?;
    aside(|| fs::remove_file(path)).setup("remove the RDB file")?;
    tell(server, &[&["FLUSHALL"]])?;
    Ok(taken)
}

/// The path of a server's append-only file of this name.
pub fn aof(server: &Running, name: &str) -> PathBuf {
    server.file("appendonlydir").join(name)
}

/// Sends a command that makes a server rewrite its append-only file, and waits for that.
pub fn rewrite(server: &mut Running, words: &[&str]) -> Result<(), Stop> {
    tell(server, &[words])?;
    aside(|| server.wait_for_rewrite())
}

/// A master with data, a watch of its calls that read or write, and a server that can be its replica.
#[derive(Debug)]
pub struct Pair {
    /// The master.
    pub master: Running,
    watch: Watch,
    replica: Running,
}

impl Pair {
    /// Starts both. They are not linked yet.
    pub fn start(lab: &Lab, program: &Program, options: &[&str]) -> Result<Self, Stop> {
        // By default, a master waits 5 seconds for more replicas.
        let at_once = ["--rdbcompression", "no", "--repl-diskless-sync-delay", "0"];
        let calls = [READING, WRITING].concat();
        let (mut master, watch) = start_watched(lab, program, &[options, &at_once].concat(), &calls)?;
        tell(&mut master, &[&["DEBUG", "POPULATE", "1000", "key", "700"]])?;
        // The master does not depend on how the replica loads. Valkey checks
        // only once a second whether a file is complete.
        let replica = start(lab, program, &["--repl-diskless-load", "swapdb"])?;
        Ok(Self { master, watch, replica })
    }

    /// The calls of the master while the replica syncs.
    pub fn sync(&mut self) -> Result<Vec<Seen>, Stop> {
        let port = self.master.address.port().to_string();
        aside(|| {
            // While the child of an earlier sync runs, a sync has to wait.
            let is_idle =
                self.master.wait_until(|master| Ok(master.info("persistence", "rdb_bgsave_in_progress")? == "0"))?;
            if !is_idle {
                return Err(Stop::broken("the master does not end a sync"));
            }
            self.watch.take();
            self.replica.ask(&["REPLICAOF", "127.0.0.1", &port])?;
            self.replica.wait_for_sync()?;
            Ok(self.watch.take())
        })
    }

    /// Ends the link. The next sync is of the whole data again.
    pub fn part(&mut self) -> Result<(), Stop> {
        tell(&mut self.replica, &[&["REPLICAOF", "NO", "ONE"]])?;
        tell(&mut self.master, &[&["DEBUG", "CHANGE-REPL-ID"]])
    }
}

/// A server that stores the file when it becomes a replica, and a watch that can hold its reads.
pub fn start_replica(lab: &Lab, program: &Program, options: &[&str]) -> Result<(Running, Watch), Stop> {
    let options = [options, &["--repl-diskless-load", "disabled"]].concat();
    start_watched(lab, program, &options, READING)
}

/// Makes a server a replica of this experiment. Returns the connection on which it waits for the file.
pub fn asking(server: &mut Running) -> Result<TcpStream, Stop> {
    let listener = aside(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).setup("bind")?;
    let port = aside(|| listener.local_addr()).setup("getsockname")?.port().to_string();
    tell(server, &[&["REPLICAOF", "127.0.0.1", &port]])?;
    aside(|| {
        // Another process may connect to this port by mistake, because the port was free a moment ago.
        loop {
            let (mut socket, _) = listener.accept().setup("accept")?;
            if greet(&mut socket)? {
                return Ok(socket);
            }
        }
    })
}

/// Answers a replica until it requests the file. Returns false if it closes the connection before that.
fn greet(socket: &mut TcpStream) -> Result<bool, Stop> {
    let mut came = Vec::new();
    loop {
        let next = resp::next(&came).map_err(|bad| Stop::broken(format!("a replica: {bad}")))?;
        let (words, length) = match next {
            Next::Command(words, length) => (words, length),
            Next::Nothing(length) => (vec![], length),
            Next::Unfinished => {
                let mut piece = [0; 1024];
                let count = socket.read(&mut piece).unwrap_or(0);
                if count == 0 {
                    return Ok(false);
                }
                came.extend_from_slice(&piece[..count]);
                continue;
            }
        };
        came.drain(..length);
        let answer: &[u8] = match words.first().map(Vec::as_slice) {
            Some(b"PSYNC") => return Ok(true),
            Some(b"PING") => b"+PONG\r\n",
            Some(_) => b"+OK\r\n",
            None => b"",
        };
        if socket.write_all(answer).is_err() {
            return Ok(false);
        }
    }
}

/// Announces a file of this length to a replica.
pub fn announce(socket: &mut TcpStream, length: u64) -> Result<(), Stop> {
    let head = format!("+FULLRESYNC {} 0\r\n${length}\r\n", "0".repeat(40));
    aside(|| socket.write_all(head.as_bytes())).setup("announce the file")
}

/// Waits until a replica's link is up. Returns false if the replica cannot load the file and closes its connection.
pub fn comes_up(replica: &mut Running, mut socket: &TcpStream) -> Result<bool, Stop> {
    aside(|| {
        socket.set_nonblocking(true).setup("O_NONBLOCK")?;
        loop {
            if replica.info("replication", "master_link_status")? == "up" {
                return Ok(true);
            }
            match socket.read(&mut [0; 1024]) {
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(10)),
                Ok(0) | Err(_) => return Ok(false),
            }
        }
    })
}
