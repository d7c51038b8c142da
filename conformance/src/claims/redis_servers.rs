//! The Redis proposals of the source document, with real servers: the files that they open, their calls, and the data that they
//! load.
//!
//! Redis must be installed (`just setup-redis`). If Valkey is installed as well, both must behave the same.

use super::redis::{AOF_FLAGS, REPLICATION};
use crate::claim::source::{Source, seed};
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::{aside, start_aside};
use crate::lab::redis::resp;
use crate::lab::redis::resp::{Next, command};
use crate::lab::redis::servers;
use crate::lab::redis::servers::{Directory, Program, Reply, Running};
use crate::lab::watch::{self, READING, Seen, WRITING, Watch};
use crate::lab::{Lab, io, privilege, sockets};
use crate::verdict::{Observation, Setup, Stop, Verdict, errno_name};
use nocopy_sendfile::sendfile;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use syscalls::{Errno, Sysno};

/// The programs that are started. The second is a control.
const PROGRAMS: &[&str] = &["redis-server", "dd"];
const RENAME: Source = Source::Thread("redis src/rdb.c, rdbSave: a temporary file and rename()");
const DISKLESS: Source = Source::Thread("redis.conf of 7.0: repl-diskless-sync yes");
/// The attempt in Redis that was reverted.
const REVERTED: Source = Source::Thread("redis 6.0.5, 61074b43a: revert of the sendfile() of redis/redis#7096");

/// The number of descriptors that a server needs, including those that watch it.
const DESCRIPTORS: u64 = 128;

/// Claims about real servers.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "A server appends to its append-only file by write().",
        method: "Has a real server's calls told by seccomp while it is sent commands with appendfsync always: which of those that \
                 write or send are about the file. Reads the file.",
        sources: &[seed("4.1"), AOF_FLAGS],
        about: &[Sysno::write],
        lies: &[Lie::about(Sysno::read, What::Garbled)],
        programs: PROGRAMS,
        ..Claim::of_answers(
            "redis.aof.server-writes",
            |lab| each(lab, aof_server_writes),
            &[
                ("calls into its AOF", Answer::Says("write")),
                ("its AOF", Answer::Says("has the commands, as they were said")),
            ],
        )
    },
    Claim {
        statement: "A server that starts opens its append-only file with O_APPEND, so that sendfile() into it is refused.",
        method: "Takes the descriptor of a real server's file (pidfd_getfd) and calls sendfile() with it.",
        sources: &[AOF_FLAGS],
        about: &[Sysno::sendfile],
        lies: &[Lie::accepted(Sysno::sendfile), Lie::about(Sysno::sendfile, What::OtherErrno(libc::EBADF))],
        exceptions: &[Exception::asked(Sysno::sendfile)],
        programs: PROGRAMS,
        ..Claim::of_answers(
            "redis.aof.opened-at-start",
            |lab| each(lab, aof_opened_at_start),
            &[
                ("its AOF at start", Answer::Says("with O_APPEND")),
                ("sendfile(its AOF at start, file)", Answer::Says("EINVAL")),
            ],
        )
    },
    Claim {
        statement: "A server has its append-only file open with O_APPEND whenever it writes one, so that sendfile() into it is refused.",
        method: "Takes the descriptor of a real server's file after BGREWRITEAOF, and after CONFIG SET appendonly yes, and calls \
                 sendfile() with it.",
        sources: &[AOF_FLAGS, Source::Measured],
        about: &[Sysno::sendfile],
        lies: &[Lie::refused(Sysno::sendfile, libc::EINVAL)],
        programs: PROGRAMS,
        ..Claim::of_answers(
            "redis.aof.opened-anew",
            |lab| each(lab, aof_opened_anew),
            &[
                ("sendfile(its AOF after BGREWRITEAOF, file)", Answer::Says("EINVAL")),
                ("sendfile(its AOF after CONFIG SET, file)", Answer::Says("EINVAL")),
            ],
        )
    },
    Claim {
        statement: "A server that has rewritten its append-only file writes over what others have put behind it.",
        method: "Puts a command behind a real server's file by sendfile(), has it write another, and reads the file: once it has \
                 rewritten it. After its start, when it has O_APPEND, what is added stays.",
        sources: &[Source::Measured],
        about: &[Sysno::sendfile],
        lies: &[Lie::about(Sysno::read, What::Garbled)],
        programs: PROGRAMS,
        ..Claim::of_answers(
            "redis.aof.added-behind",
            |lab| each(lab, aof_added_behind),
            &[("what was added after BGREWRITEAOF", Answer::Says("is written over"))],
        )
    },
    Claim {
        statement: "A master sends its RDB file with one write(socket, rdb_buf, rdb_size).",
        method: "Has the calls of a real master that saves a file first told by seccomp while a replica syncs. That a whole file in \
                 one write() is seen as such is shown with dd.",
        sources: &[seed("4.2"), REPLICATION],
        about: &[Sysno::write],
        exceptions: &[Exception::Controls(
            "what another program calls is told by the kernel: dd is seen to write a file of that size at once",
        )],
        varies: &["calls", "bytes of the file"],
        programs: PROGRAMS,
        ..Claim::of_answers(
            "redis.rdb.master-writes",
            |lab| each(lab, rdb_master_writes),
            &[("the whole file", Answer::Says("in one call"))],
        )
    },
    Claim {
        statement: "A master, as it is set by default, has an RDB file to send, so that sendfile() could send it.",
        method: "Has a real master's calls told by seccomp while a replica syncs: from what it reads what it sends. With \
                 repl-diskless-sync no it is seen to read the file.",
        sources: &[seed("4.2"), seed("4.3"), DISKLESS],
        about: &[Sysno::read],
        exceptions: &[Exception::Controls(
            "what another program calls is told by the kernel: with repl-diskless-sync no it is seen to read a file",
        )],
        programs: PROGRAMS,
        ..Claim::of_answers(
            "redis.rdb.default-has-file",
            |lab| each(lab, rdb_default_has_file),
            &[("what it sends comes from", Answer::Says("a file"))],
        )
    },
    Claim {
        statement: "A replica loads an RDB file that sendfile() has sent.",
        method: "Is a master to a real server, sends it the file that it has saved before by sendfile() with an offset, waits for its \
                 link, and compares what it has stored.",
        sources: &[seed("4.2"), seed("4.3"), Source::Thread("redis/redis#7096")],
        about: &[Sysno::sendfile],
        lies: &[Lie::about(Sysno::read, What::Garbled)],
        programs: PROGRAMS,
        ..Claim::of_answers(
            "redis.replica.loads",
            |lab| each(lab, replica_loads),
            &[("the replica's link", Answer::Says("up")), ("what the replica has stored", Answer::Says("the file"))],
        )
    },
    Claim {
        statement: "sendfile(fd, rdb_fd, NULL, rdb_size), its result unused as in the sample, brings the file to real replicas.",
        method: "Makes the sample's call once for each of two real replicas that are busy meanwhile (held when they read), on \
                 non-blocking sockets as a server's are and with one descriptor of the file, and asks them what they miss.",
        sources: &[seed("4.3"), REPLICATION],
        about: &[Sysno::sendfile],
        lies: &[Lie::returned(Sysno::sendfile, 1 << 40)],
        exceptions: &[Exception::asked(Sysno::sendfile)],
        varies: &[
            "bytes of the file",
            "sendfile(first replica, file, NULL, size)",
            "sendfile(second replica, file, NULL, size)",
            "bytes that the first replica misses",
            "bytes that the second replica misses",
        ],
        programs: PROGRAMS,
        ..Claim::of_answers(
            "redis.replica.sample",
            |lab| each(lab, replica_sample),
            &[("the first replica", Answer::Says("has all")), ("the second replica", Answer::Says("has all"))],
        )
    },
    Claim {
        statement: "What sendfile() has sent of an RDB file reaches the replica as it was, though the file is written in place \
                    afterwards.",
        method: "Sends a copy of a real server's file to a replica that is held when it reads, writes another value of the same length \
                 into the copy, and asks the replica. With read() and write() it has the old value.",
        sources: &[Source::Measured],
        about: &[Sysno::sendfile],
        lies: &[Lie::skipped(Sysno::pwrite64)],
        programs: PROGRAMS,
        ..Claim::of_answers(
            "redis.replica.written-in-place",
            |lab| each(lab, replica_written_in_place),
            &[("the value, by sendfile", Answer::Says("old"))],
        )
    },
    Claim {
        statement: "A server may save while its RDB file is being sent by sendfile(): the file that is open stays as it was.",
        method: "Sends half of a real server's file, has it save other data, sends the rest, and compares.",
        sources: &[RENAME],
        about: &[Sysno::sendfile],
        lies: &[Lie::about(Sysno::read, What::Garbled)],
        programs: PROGRAMS,
        ..Claim::of_answers(
            "redis.rdb.saved-meanwhile",
            |lab| each(lab, rdb_saved_meanwhile),
            &[
                ("bytes that arrived", Answer::Says("those of the old file")),
                ("the name is", Answer::Says("that of another file")),
            ],
        )
    },
    Claim {
        statement: "In an event loop, one sendfile() of a whole RDB file does no more than one of 16 KiB: the socket is non-blocking.",
        method: "Makes both calls, with a file in memory, for sockets whose peers do not read. With peers that read, the longest call \
                 is shown in microseconds, which decides nothing.",
        sources: &[REVERTED],
        about: &[Sysno::sendfile],
        lies: &[Lie::returned(Sysno::sendfile, 16 << 10)],
        exceptions: &[Exception::asked(Sysno::sendfile)],
        varies: &[
            "sendfile(non-blocking socket, whole file)",
            "longest call, whole file, microseconds",
            "longest call, 16 KiB, microseconds",
        ],
        ..Claim::new("redis.loop.whole-file", loop_whole_file, |seen| {
            Verdict::holds_if(
                seen.returned("sendfile(non-blocking socket, whole file)")
                    <= seen.returned("sendfile(non-blocking socket, 16 KiB)"),
            )
        })
    },
];

type Experiment = fn(&Lab, &Program, &mut Told) -> Result<(), Stop>;

/// Makes an experiment with every installed server. A fact has one value if all servers agree. If not, it has a value for each
/// server.
fn each(lab: &Lab, experiment: Experiment) -> Result<Observation, Stop> {
    privilege::may_have_descriptors(DESCRIPTORS)?;
    // Without a working loopback connection, the client of a server would wait for ever.
    sockets::tcp()?;
    let redis = aside(Program::redis)?;
    let valkey = aside(Program::valkey).ok();
    let mut told = Told::default();
    for program in std::iter::once(redis).chain(valkey) {
        told.server = program.name;
        experiment(lab, &program, &mut told)?;
    }
    let mut seen = Observation::new();
    for (what, said) in &told.facts {
        let (_, first) = &said[0];
        let text = if said.iter().all(|(_, word)| word == first) {
            first.clone()
        } else {
            let each = said.iter().map(|(server, word)| format!("{server}: {word}"));
            each.collect::<Vec<_>>().join(", ")
        };
        seen.text(what.as_str(), text);
    }
    Ok(seen)
}

/// The values of each fact, by server.
#[derive(Default)]
struct Told {
    server: &'static str,
    facts: Vec<(String, Vec<(&'static str, String)>)>,
}

impl Told {
    fn note(&mut self, what: &str, word: impl fmt::Display) {
        let of_server = (self.server, word.to_string());
        match self.facts.iter_mut().find(|(name, _)| name == what) {
            Some((_, words)) => words.push(of_server),
            None => self.facts.push((what.to_owned(), vec![of_server])),
        }
    }

    fn call(&mut self, what: &str, result: Result<usize, Errno>) {
        match result {
            Ok(count) => self.note(what, count),
            Err(errno) => self.note(what, errno_name(errno.into_raw())),
        }
    }
}

fn start(lab: &Lab, program: &Program, options: &[&str]) -> Result<Running, Stop> {
    start_by(lab, program, options, |command| start_aside(command).spawn().setup("start a server"))
}

fn start_watched(lab: &Lab, program: &Program, options: &[&str], calls: &[Sysno]) -> Result<(Running, Watch), Stop> {
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
fn tell(server: &mut Running, commands: &[&[&str]]) -> Result<(), Stop> {
    aside(|| {
        for words in commands {
            if let Reply::Error(error) = server.ask(words)? {
                return Err(Stop::broken(format!("{}: {error}", words.join(" "))));
            }
        }
        Ok(())
    })
}

/// The content of a file. The interposer sees the read.
fn content(path: &Path) -> Result<Vec<u8>, Stop> {
    let mut file = aside(|| File::open(path)).setup("open a server's file")?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).setup("read a server's file")?;
    Ok(bytes)
}

const APPENDS: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];
/// The append-only files of a server: the one that it has at start, and those that it makes anew.
const FIRST_AOF: &str = "appendonly.aof.1.incr.aof";
const SECOND_AOF: &str = "appendonly.aof.2.incr.aof";
const THIRD_AOF: &str = "appendonly.aof.3.incr.aof";

fn aof_path(server: &Running, name: &str) -> std::path::PathBuf {
    server.file("appendonlydir").join(name)
}

fn names(calls: &[Seen]) -> String {
    let names: BTreeSet<&str> = calls.iter().map(|seen| seen.call.name()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

fn aof_server_writes(lab: &Lab, program: &Program, told: &mut Told) -> Result<(), Stop> {
    let (mut server, watch) = start_watched(lab, program, APPENDS, WRITING)?;
    let commands: [&[&str]; 3] = [&["SET", "key", "1"], &["APPEND", "key", "2"], &["DEL", "key"]];
    aside(|| watch.take());
    tell(&mut server, &commands)?;
    let mut calls = aside(|| watch.take());
    calls.retain(|seen| seen.is_of(FIRST_AOF));
    if calls.is_empty() {
        return Err(Stop::broken("no call into its AOF was told"));
    }
    told.note("calls into its AOF", names(&calls));
    let said = commands.iter().flat_map(|words| {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        command(&words)
    });
    let expected: Vec<u8> = command(&[b"SELECT", b"0"]).into_iter().chain(said).collect();
    let is_so = content(&aof_path(&server, FIRST_AOF))? == expected;
    told.note("its AOF", if is_so { "has the commands, as they were said" } else { "has something else" });
    Ok(())
}

/// Notes how a server has opened its append-only file, and calls `sendfile()` with the server's descriptor.
fn note_opened(lab: &Lab, server: &Running, name: &str, when: &str, told: &mut Told) -> Result<(), Stop> {
    let source = lab.file(&command(&[b"SET", b"ours", b"1"]))?;
    let (aof, flags) = aside(|| watch::open_file(server.pid(), name))?
        .ok_or_else(|| Stop::broken(format!("the server has no {name} open")))?;
    let with = if flags & libc::O_APPEND == 0 { "without O_APPEND" } else { "with O_APPEND" };
    told.note(&format!("its AOF {when}"), with);
    let sent = sendfile(&aof, &source, Some(&mut 0), 1 << 20);
    told.call(&format!("sendfile(its AOF {when}, file)"), sent);
    Ok(())
}

fn aof_opened_at_start(lab: &Lab, program: &Program, told: &mut Told) -> Result<(), Stop> {
    let server = start(lab, program, APPENDS)?;
    note_opened(lab, &server, FIRST_AOF, "at start", told)
}

fn aof_opened_anew(lab: &Lab, program: &Program, told: &mut Told) -> Result<(), Stop> {
    let mut server = start(lab, program, APPENDS)?;
    rewrite(&mut server, &["BGREWRITEAOF"])?;
    note_opened(lab, &server, SECOND_AOF, "after BGREWRITEAOF", told)?;
    tell(&mut server, &[&["CONFIG", "SET", "appendonly", "no"]])?;
    rewrite(&mut server, &["CONFIG", "SET", "appendonly", "yes"])?;
    note_opened(lab, &server, THIRD_AOF, "after CONFIG SET", told)
}

fn rewrite(server: &mut Running, words: &[&str]) -> Result<(), Stop> {
    tell(server, &[words])?;
    aside(|| server.wait_for_rewrite())
}

fn aof_added_behind(lab: &Lab, program: &Program, told: &mut Told) -> Result<(), Stop> {
    let mut server = start(lab, program, APPENDS)?;
    add_behind(lab, &mut server, FIRST_AOF, "at start", told)?;
    rewrite(&mut server, &["BGREWRITEAOF"])?;
    add_behind(lab, &mut server, SECOND_AOF, "after BGREWRITEAOF", told)
}

fn add_behind(lab: &Lab, server: &mut Running, name: &str, when: &str, told: &mut Told) -> Result<(), Stop> {
    let ours = command(&[b"SET", b"ours", b"1"]);
    // A longer value: at the old offset it would overwrite the whole other command.
    let theirs = ["SET", "theirs", "a value that is longer"];
    tell(server, &[&["SET", "first", "1"]])?;
    let path = aof_path(server, name);
    let before = aside(|| fs::read(&path)).setup("read the AOF")?;
    let source = lab.file(&ours)?;
    let mut file = aside(|| File::options().write(true).open(&path)).setup("open the AOF")?;
    aside(|| file.seek(SeekFrom::End(0))).setup("lseek")?;
    send(&file, &source, 0..ours.len() as u64)?;
    let length = aside(|| file.metadata()).setup("look at the AOF")?.len();
    if length != (before.len() + ours.len()) as u64 {
        return Err(Stop::broken("what was added is not there"));
    }
    tell(server, &[&theirs])?;
    let after = content(&path)?;
    let theirs = command(&theirs.map(str::as_bytes));
    let word = if after == [&before[..], &theirs].concat() {
        "is written over"
    } else if after == [&before[..], &ours, &theirs].concat() {
        "is there"
    } else {
        "is among something else"
    };
    told.note(&format!("what was added {when}"), word);
    Ok(())
}

/// A master with data, a watch of its calls that read or write, and a server that can be its replica.
struct Pair {
    master: Running,
    watch: Watch,
    replica: Running,
}

impl Pair {
    fn start(lab: &Lab, program: &Program, options: &[&str]) -> Result<Self, Stop> {
        // By default, a master waits 5 seconds for more replicas.
        let at_once = ["--rdbcompression", "no", "--repl-diskless-sync-delay", "0"];
        let calls = [READING, WRITING].concat();
        let (mut master, watch) = start_watched(lab, program, &[options, &at_once].concat(), &calls)?;
        tell(&mut master, &[&["DEBUG", "POPULATE", "1000", "key", "700"]])?;
        // How the replica loads is nothing to the master. Valkey looks only once a second whether a file is complete.
        let replica = start(lab, program, &["--repl-diskless-load", "swapdb"])?;
        Ok(Self { master, watch, replica })
    }

    /// The calls of the master while the replica syncs.
    fn sync(&mut self) -> Result<Vec<Seen>, Stop> {
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
    fn part(&mut self) -> Result<(), Stop> {
        tell(&mut self.replica, &[&["REPLICAOF", "NO", "ONE"]])?;
        tell(&mut self.master, &[&["DEBUG", "CHANGE-REPL-ID"]])
    }
}

fn rdb_master_writes(lab: &Lab, program: &Program, told: &mut Told) -> Result<(), Stop> {
    let mut pair = Pair::start(lab, program, &["--repl-diskless-sync", "no"])?;
    let calls = pair.sync()?;
    let path = pair.master.file("dump.rdb");
    let length = aside(|| fs::metadata(&path)).setup("look at the RDB file")?.len();
    let (sent, read): (Vec<Seen>, Vec<Seen>) = calls
        .into_iter()
        .filter(|seen| {
            let sends = WRITING.contains(&seen.call) && seen.is_of_kind("socket");
            sends || READING.contains(&seen.call) && seen.is_of("dump.rdb")
        })
        .partition(|seen| WRITING.contains(&seen.call));
    if sent.is_empty() || read.is_empty() {
        return Err(Stop::broken("no call that reads or sends the file was told"));
    }
    told.note("calls that send", names(&sent));
    told.note("calls that read the file", names(&read));
    let largest = |calls: &[Seen]| calls.iter().map(Seen::count).max().unwrap_or(0);
    told.note("bytes of the file", length);
    told.note("calls", sent.len() as u64);
    told.note("most bytes that a call is to send", largest(&sent));
    told.note("the whole file", if largest(&sent) >= length { "in one call" } else { "in pieces" });
    let written = aside(|| written_by_dd(&path, length))?;
    if written != length {
        return Err(Stop::broken(format!("dd writes {length} bytes at once, and {written} were seen")));
    }
    Ok(())
}

/// The maximum number of bytes of one write by dd, when dd copies a whole file with one block.
fn written_by_dd(path: &Path, length: u64) -> Result<u64, Stop> {
    let mut command = Command::new("dd");
    command
        .arg(format!("if={}", path.display()))
        .args(["of=/dev/null", &format!("bs={length}"), "status=none"])
        .stdin(Stdio::null());
    let (mut child, watch) = Watch::start(start_aside(&mut command), WRITING)?;
    child.wait().setup("wait for dd")?;
    let calls = watch.take();
    let into = calls.iter().filter(|seen| seen.is_of("/dev/null"));
    Ok(into.map(Seen::count).max().unwrap_or(0))
}

fn rdb_default_has_file(lab: &Lab, program: &Program, told: &mut Told) -> Result<(), Stop> {
    let mut pair = Pair::start(lab, program, &[])?;
    for (what, is_diskless) in [("what it sends comes from", true), ("with repl-diskless-sync no it comes from", false)]
    {
        if !is_diskless {
            pair.part()?;
            let no = ["CONFIG", "SET", "repl-diskless-sync", "no"];
            tell(&mut pair.master, &[&no])?;
        }
        let calls = pair.sync()?;
        // Reads that are at least as large as a piece of the data.
        let reads = calls.iter().filter(|seen| READING.contains(&seen.call) && seen.count() >= 4096);
        let kinds: BTreeSet<&str> = reads
            .filter_map(|seen| match seen {
                seen if seen.is_of("dump.rdb") => Some("a file"),
                seen if seen.is_of_kind("pipe") => Some("a pipe"),
                _ => None,
            })
            .collect();
        if kinds.is_empty() {
            return Err(Stop::broken("no call that reads what it sends was told"));
        }
        told.note(what, kinds.into_iter().collect::<Vec<_>>().join(" and "));
    }
    Ok(())
}

/// A server that stores the file when it becomes a replica, and a watch that can hold its reads.
fn start_replica(lab: &Lab, program: &Program, options: &[&str]) -> Result<(Running, Watch), Stop> {
    let options = [options, &["--repl-diskless-load", "disabled"]].concat();
    start_watched(lab, program, &options, READING)
}

/// Makes a server a replica of this experiment. Returns the connection on which it waits for the file.
fn asking(server: &mut Running) -> Result<TcpStream, Stop> {
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

/// Announces a file of this length.
fn announce(socket: &mut TcpStream, length: u64) -> Result<(), Stop> {
    let head = format!("+FULLRESYNC {} 0\r\n${length}\r\n", "0".repeat(40));
    aside(|| socket.write_all(head.as_bytes())).setup("announce the file")
}

/// Sends a part of a file to a blocking socket or to a file.
fn send(sink: &impl AsFd, file: &File, part: Range<u64>) -> Result<(), Stop> {
    let mut offset = part.start;
    while offset < part.end {
        let left = usize::try_from(part.end - offset).unwrap_or(usize::MAX);
        let before = offset;
        let sent = sendfile(sink, file, Some(&mut offset), left).setup("sendfile")?;
        if sent == 0 || offset != before + sent as u64 {
            let why = format!("sendfile() returned {sent}, and moved {before} to {offset}");
            return Err(Stop::broken(why));
        }
    }
    Ok(())
}

/// Whether a replica's link comes up within the time that small files need.
fn comes_up(replica: &mut Running) -> Result<bool, Stop> {
    let since = Instant::now();
    aside(|| {
        while since.elapsed() < Duration::from_secs(3) {
            if replica.info("replication", "master_link_status")? == "up" {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(false)
    })
}

/// The file that a server saves after these commands.
fn saved(server: &mut Running, commands: &[&[&str]]) -> Result<std::path::PathBuf, Stop> {
    tell(server, commands)?;
    aside(|| servers::saved(server))
}

fn replica_loads(lab: &Lab, program: &Program, told: &mut Told) -> Result<(), Stop> {
    let (mut replica, _) = start_replica(lab, program, &[])?;
    let path = aside(|| {
        servers::fill(&mut replica)?;
        servers::saved(&mut replica)
    })?;
    let bytes = aside(|| fs::read(&path)).setup("read the RDB file")?;
    let file = aside(|| File::open(&path)).setup("open the RDB file")?;
    // The file and the data that it has later come from the connection.
    aside(|| fs::remove_file(&path)).setup("remove the RDB file")?;
    tell(&mut replica, &[&["FLUSHALL"]])?;
    let mut socket = asking(&mut replica)?;
    announce(&mut socket, bytes.len() as u64)?;
    send(&socket, &file, 0..bytes.len() as u64)?;
    let link = if comes_up(&mut replica)? { "up" } else { "down" };
    told.note("the replica's link", link);
    let kept = replica.file("dump.rdb");
    let is_there = aside(|| kept.try_exists()).setup("look for the stored file")?;
    let is_same = is_there && content(&kept)? == bytes;
    told.note("what the replica has stored", if is_same { "the file" } else { "something else" });
    Ok(())
}

fn replica_sample(lab: &Lab, program: &Program, told: &mut Told) -> Result<(), Stop> {
    let plain = ["--rdbcompression", "no"];
    let (mut first, watch) = start_replica(lab, program, &plain)?;
    let path = saved(&mut first, &[&["DEBUG", "POPULATE", "8000", "key", "4000"]])?;
    let rdb = aside(|| File::open(&path)).setup("open the RDB file")?;
    let length = aside(|| rdb.metadata()).setup("look at the RDB file")?.len();
    told.note("bytes of the file", length);
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    let (second, second_watch) = start_replica(lab, program, &plain)?;
    let mut replicas = Vec::new();
    for (name, mut replica, watch) in [("first", first, watch), ("second", second, second_watch)] {
        let mut socket = asking(&mut replica)?;
        watch.hold();
        announce(&mut socket, length)?;
        aside(|| io::set_nonblocking(&socket)).setup("O_NONBLOCK")?;
        let sent = sendfile(&socket, &rdb, None, size);
        told.call(&format!("sendfile({name} replica, file, NULL, size)"), sent);
        let took = match sent {
            Ok(count) if count < size => "a part".to_owned(),
            Ok(_) => "all".to_owned(),
            Err(errno) => format!("{errno:?}"),
        };
        told.note(&format!("sendfile() to the {name} replica sends"), took);
        watch.release();
        let left = length.saturating_sub(sent.unwrap_or(0) as u64);
        if left > 0 {
            // It has read everything that was sent, and waits for the rest.
            let waits = aside(|| {
                replica.wait_until(|replica| {
                    let misses = replica.info("replication", "master_sync_left_bytes")?;
                    Ok(misses == left.to_string())
                })
            })?;
            if !waits {
                return Err(Stop::broken("the replica does not say what it misses"));
            }
        }
        told.note(&format!("bytes that the {name} replica misses"), left);
        told.note(&format!("the {name} replica"), if left == 0 { "has all" } else { "waits for the rest" });
        replicas.push((replica, socket));
    }
    Ok(())
}

fn replica_written_in_place(lab: &Lab, program: &Program, told: &mut Told) -> Result<(), Stop> {
    let plain = ["--rdbcompression", "no", "--rdbchecksum", "no"];
    let (mut first, watch) = start_replica(lab, program, &plain)?;
    let path = saved(&mut first, &[&["SET", "key", &"old ".repeat(1000)]])?;
    let bytes = aside(|| fs::read(&path)).setup("read the RDB file")?;
    let at = bytes.windows(8).position(|window| window == b"old old ");
    let at = at.ok_or_else(|| Stop::broken("the RDB file does not have the value"))?;
    // The value that it has later comes from the connection.
    tell(&mut first, &[&["FLUSHALL"]])?;
    let (second, second_watch) = start_replica(lab, program, &plain)?;
    let mut replicas = Vec::new();
    for (way, mut replica, watch) in [("sendfile", first, watch), ("read and write", second, second_watch)] {
        let file = aside(|| {
            let path = replica.file("sent.rdb");
            fs::write(&path, &bytes)?;
            File::options().read(true).write(true).open(&path)
        });
        let file = file.setup("copy the RDB file")?;
        let mut socket = asking(&mut replica)?;
        watch.hold();
        announce(&mut socket, bytes.len() as u64)?;
        if way == "sendfile" {
            send(&socket, &file, 0..bytes.len() as u64)?;
        } else {
            aside(|| socket.write_all(&bytes)).setup("write")?;
        }
        io::pwrite_all(&file, "new ".repeat(1000).as_bytes(), at as u64).setup("pwrite")?;
        watch.release();
        replicas.push((way, replica, socket));
    }
    // Both load meanwhile: Valkey looks only once a second whether a file is complete.
    for (way, mut replica, _socket) in replicas {
        let value =
            if comes_up(&mut replica)? { aside(|| replica.ask(&["GET", "key"]))?.to_string() } else { String::new() };
        let word = match value.get(..4) {
            Some("old ") => "old",
            Some("new ") => "new",
            _ => "none",
        };
        told.note(&format!("the value, by {way}"), word);
    }
    Ok(())
}

fn rdb_saved_meanwhile(lab: &Lab, program: &Program, told: &mut Told) -> Result<(), Stop> {
    let mut server = start(lab, program, &["--rdbcompression", "no"])?;
    let path = saved(&mut server, &[&["DEBUG", "POPULATE", "100", "key", "700"]])?;
    let bytes = aside(|| fs::read(&path)).setup("read the RDB file")?;
    let file = aside(|| File::open(&path)).setup("open the RDB file")?;
    let (near, far) = sockets::tcp()?;
    let (half, length) = (bytes.len() as u64 / 2, bytes.len() as u64);
    send(&near, &file, 0..half)?;
    saved(&mut server, &[&["FLUSHALL"], &["SET", "other", "data"]])?;
    send(&near, &file, half..length)?;
    aside(|| near.shutdown(std::net::Shutdown::Write)).setup("shutdown")?;
    let mut came = vec![0; bytes.len() + 1];
    let count = io::read_full(&far, &mut came).setup("read")?;
    told.note("bytes that arrived", if came[..count] == bytes { "those of the old file" } else { "others" });
    let number = |data: fs::Metadata| data.ino();
    let named = aside(|| fs::metadata(&path)).setup("look at the name")?;
    let open = aside(|| file.metadata()).setup("look at the file")?;
    let is_other = number(named) != number(open);
    told.note("the name is", if is_other { "that of another file" } else { "that of the same file" });
    Ok(())
}

/// The number of bytes that a loop sends.
const WHOLE: u64 = 8 << 20;

fn loop_whole_file(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.empty_file()?;
    aside(|| io::truncate(&file, WHOLE)).setup("ftruncate")?;
    let mut seen = Observation::new();
    for (name, most) in [("whole file", WHOLE), ("16 KiB", 16 << 10)] {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        // Nothing reads, so the count is the room in the socket.
        let (near, _far) = sockets::tcp()?;
        aside(|| io::set_nonblocking(&near)).setup("O_NONBLOCK")?;
        let mut offset = 0;
        let sent = sendfile(&near, &file, Some(&mut offset), most);
        seen.call(format!("sendfile(non-blocking socket, {name})"), sent);
        // The count may differ from run to run. This detects a wrong one.
        let moved = if sent.is_ok_and(|count| offset == count as u64) { "the same" } else { "another" };
        seen.text(format!("{name}: the count and what the offset moved by"), moved);
        let longest = aside(|| longest_call(&file, most))?;
        let longest = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        seen.count(format!("longest call, {name}, microseconds"), longest);
    }
    Ok(seen)
}

/// The longest duration of one call, while the file is sent to a socket whose peer reads.
fn longest_call(file: &File, most: usize) -> Result<Duration, Stop> {
    let (near, far) = sockets::tcp()?;
    io::set_nonblocking(&near).setup("O_NONBLOCK")?;
    let reader = std::thread::spawn(move || std::io::copy(&mut &far, &mut std::io::sink()));
    let (mut offset, mut longest) = (0, Duration::ZERO);
    while offset < WHOLE {
        let began = Instant::now();
        let sent = sendfile(&near, file, Some(&mut offset), most);
        longest = longest.max(began.elapsed());
        match sent {
            Ok(_) => {}
            Err(Errno::EAGAIN) => {
                io::poll(&near, libc::POLLOUT, -1).0.setup("poll")?;
            }
            Err(errno) => return Err(Stop::from_setup("sendfile", errno)),
        }
    }
    drop(near);
    let read = reader.join();
    read.map_err(|_| Stop::broken("the receiver panicked"))?.setup("read")?;
    Ok(longest)
}
