//! A file to real replicas: Redis and Valkey, in each of their modes, by each route. Where they are not installed it is said, and not
//! counted as passed.

#[path = "redis/files.rs"]
mod files;
#[path = "redis/kills.rs"]
mod kills;

use conformance::lab::redis::resp::command;
use conformance::lab::redis::servers;
use conformance::lab::redis::servers::{Client, Directory, Program, Reply, Running};
use conformance::redis::rdb;
use conformance::verdict::Stop;
use libtest_mimic::{Arguments, Failed, Trial};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

type Tried = Result<(), Failed>;

/// How long a master may take to say what is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

const ROUTES: &[&str] = &[
    "sendfile",
    "splice",
    "mmap-write",
    "read-write",
    "msg-zerocopy",
    "auto",
];
const INTO_FILES: &[&str] = &[
    "sendfile",
    "splice",
    "mmap-write",
    "read-write",
    "copy-file-range",
];
const MODES: &[&str] = &["disabled", "on-empty-db", "swapdb"];
const FRAMINGS: &[&str] = &["length", "mark"];

fn main() {
    let mut arguments = Arguments::from_args();
    // Most of their time is spent waiting for servers, which look at what has happened once a second.
    arguments.test_threads = arguments.test_threads.or(Some(8));
    let mut trials = Vec::new();
    let mut programs = Vec::new();
    for (name, program) in [("redis", Program::redis()), ("valkey", Program::valkey())] {
        // Guests and kernels of long ago have no servers.
        let of = |what: &str| format!("host_only::{name}::{what}");
        let program = match program {
            Ok(program) => program,
            Err(Stop::Untestable(reason)) => {
                // Nothing is counted as passed that was not tried.
                eprintln!("UNTESTABLE {name}: {} ({})", reason.what, reason.remedy);
                let ignored = Trial::test(of("untestable"), || Ok(())).with_ignored_flag(true);
                trials.push(ignored);
                continue;
            }
            Err(Stop::Broken(what)) => panic!("{what}"),
        };
        programs.push(program.clone());
        for route in ROUTES {
            for mode in MODES {
                for framing in FRAMINGS {
                    let program = program.clone();
                    let of_trial = of(&format!("syncs::{route}::{mode}::{framing}"));
                    trials.push(Trial::test(of_trial, move || {
                        syncs(&program, route, mode, framing)
                    }));
                }
            }
        }
        for route in INTO_FILES {
            for shape in ["one", "many", "single"] {
                let program = program.clone();
                let of_trial = of(&format!("aof::{route}::{shape}"));
                trials.push(Trial::test(of_trial, move || aof(&program, route, shape)));
            }
        }
        let has_other = is_another_file_system();
        if !has_other {
            eprintln!("UNTESTABLE {OTHER_FILE_SYSTEM}: no file system of its own (mount -t tmpfs)");
        }
        let other_program = program.clone();
        trials.push(
            Trial::test(of("files_of_another_file_system_are_copied"), move || {
                files_of_another_file_system_are_copied(&other_program)
            })
            .with_ignored_flag(!has_other),
        );
        // SAFETY: geteuid takes nothing and always succeeds.
        let is_root = unsafe { libc::geteuid() } == 0;
        if !is_root {
            eprintln!("UNTESTABLE files of another user: only root makes them (sudo)");
        }
        let other_program = program.clone();
        trials.push(
            Trial::test(
                of("new_files_belong_to_the_user_of_the_old_ones"),
                move || new_files_belong_to_the_user_of_the_old_ones(&other_program),
            )
            .with_ignored_flag(!is_root),
        );
        for (what, case) in CASES {
            let program = program.clone();
            trials.push(Trial::test(of(what), move || case(&program)));
        }
    }
    for (name, what) in kills::ALL {
        for (has_unnamed, on) in [(true, ""), (false, "without_unnamed_files::")] {
            let name = format!(
                "host_only::killed_at_every_call::{on}{name}_leaves_the_old_state_or_the_new_one"
            );
            trials.push(Trial::test(name, move || {
                kills::at_every_call_leaves_the_old_state_or_the_new_one(*what, has_unnamed)
            }));
        }
    }
    for (name, what) in kills::ALL.iter().filter(|_| !programs.is_empty()) {
        let programs = programs.clone();
        let name = format!("host_only::killed::{name}_leaves_the_old_state_or_the_new_one");
        trials.push(Trial::test(name, move || {
            kills::leaves_the_old_state_or_the_new_one(*what, &programs)
        }));
    }
    if programs.len() == 2 {
        let name = "host_only::both::command_files_are_accepted_if_and_only_if_servers_load_them";
        trials.push(Trial::test(name, move || {
            files::command_files_are_accepted_if_and_only_if_servers_load_them(&programs)
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// A file system that is another than that of temporary files, on most machines.
const OTHER_FILE_SYSTEM: &str = "/dev/shm";

fn is_another_file_system() -> bool {
    let device = |path: &Path| fs::metadata(path).ok().map(|data| data.dev());
    let other = device(Path::new(OTHER_FILE_SYSTEM));
    other.is_some() && other != device(&std::env::temp_dir())
}

type Case = (&'static str, fn(&Program) -> Tried);

/// Each of them with one server's program.
const CASES: &[Case] = &[
    (
        "a_client_stores_the_same_file",
        a_client_stores_the_same_file,
    ),
    ("a_password_is_asked_for", a_password_is_asked_for),
    ("commands_follow_the_file", commands_follow_the_file),
    (
        "a_waiting_replica_hears_that_its_master_is_alive",
        a_waiting_replica_hears_that_its_master_is_alive,
    ),
    ("a_damaged_file_is_not_sent", a_damaged_file_is_not_sent),
    (
        "a_file_that_is_too_new_is_not_sent",
        a_file_that_is_too_new_is_not_sent,
    ),
    (
        "a_file_that_is_cut_off_meanwhile_is_told",
        a_file_that_is_cut_off_meanwhile_is_told,
    ),
    (
        "a_replica_that_is_killed_is_told",
        a_replica_that_is_killed_is_told,
    ),
    (
        "a_replica_that_is_stopped_keeps_nobody_waiting",
        a_replica_that_is_stopped_keeps_nobody_waiting,
    ),
    ("five_replicas_at_once", five_replicas_at_once),
    ("tls_is_refused", tls_is_refused),
    (
        "strangers_are_answered_and_leave_nothing",
        strangers_are_answered_and_leave_nothing,
    ),
    ("the_old_command_syncs", the_old_command_syncs),
    (
        "a_file_that_grows_meanwhile_is_sent_as_announced",
        a_file_that_grows_meanwhile_is_sent_as_announced,
    ),
    (
        "a_file_that_is_replaced_meanwhile_is_sent_as_it_was",
        a_file_that_is_replaced_meanwhile_is_sent_as_it_was,
    ),
    (
        "a_file_that_is_written_meanwhile_arrives_as_it_is",
        a_file_that_is_written_meanwhile_arrives_as_it_is,
    ),
    ("little_memory_may_be_locked", little_memory_may_be_locked),
    (
        "a_replica_that_leaves_with_all_has_all",
        a_replica_that_leaves_with_all_has_all,
    ),
    ("a_stopped_master_goes_on", a_stopped_master_goes_on),
    ("more_than_one_call_can_send", more_than_one_call_can_send),
    (
        "commands_are_passed_on_as_they_come",
        commands_are_passed_on_as_they_come,
    ),
    ("a_stopped_replica_goes_on", a_stopped_replica_goes_on),
    (
        "a_replica_that_dies_at_any_moment_is_told",
        a_replica_that_dies_at_any_moment_is_told,
    ),
    (
        "a_master_that_is_killed_at_any_moment_leaves_nothing",
        a_master_that_is_killed_at_any_moment_leaves_nothing,
    ),
    (
        "an_end_with_unread_input_loses_nothing",
        an_end_with_unread_input_loses_nothing,
    ),
    (
        "a_replica_with_little_patience_stays_connected",
        a_replica_with_little_patience_stays_connected,
    ),
    ("only_this_machine_is_served", only_this_machine_is_served),
    (
        "an_answer_is_no_part_of_the_file",
        an_answer_is_no_part_of_the_file,
    ),
    (
        "whoever_does_not_read_is_left",
        whoever_does_not_read_is_left,
    ),
    ("too_many_wait_for_their_turn", too_many_wait_for_their_turn),
    (
        "a_fifo_or_device_is_not_waited_for",
        a_fifo_or_device_is_not_waited_for,
    ),
    (
        "commands_that_a_replica_refuses_are_not_served",
        commands_that_a_replica_refuses_are_not_served,
    ),
    ("only_a_replica_has_all", only_a_replica_has_all),
    (
        "an_end_with_a_slow_replica_is_waited_for_asleep",
        an_end_with_a_slow_replica_is_waited_for_asleep,
    ),
    (
        "what_the_checker_refuses_is_not_there",
        what_the_checker_refuses_is_not_there,
    ),
    (
        "an_open_transaction_is_refused_or_cut_off",
        an_open_transaction_is_refused_or_cut_off,
    ),
    (
        "an_option_that_is_refused_is_explained",
        an_option_that_is_refused_is_explained,
    ),
    (
        "added_commands_go_to_the_database_that_is_named",
        added_commands_go_to_the_database_that_is_named,
    ),
    (
        "the_list_of_commands_is_that_of_the_servers",
        files::the_list_of_commands_is_that_of_the_servers,
    ),
    (
        "two_that_add_at_once_do_not_lose_commands",
        two_that_add_at_once_do_not_lose_commands,
    ),
];

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands where a value is mapped"
)]
fn told(stop: Stop) -> Failed {
    format!("{stop:?}").into()
}

/// Sends a signal to a child that has not been waited for.
fn signal(pid: u32, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(pid).expect("a pid");
    // SAFETY: kill takes no pointer; a child that has not been waited for keeps its number.
    unsafe { libc::kill(pid, signal) };
}

/// `conformance redis serve`, which is ended when this is dropped.
struct Master {
    child: Child,
    address: SocketAddr,
    /// What it says, line by line, to its end.
    said: Receiver<String>,
    seen: Vec<String>,
    report: PathBuf,
    _directory: Directory,
}

impl Master {
    fn start(rdb: &Path, options: &[&str]) -> Result<Self, Failed> {
        Self::of(&mut Self::command(rdb, options))
    }

    fn command(rdb: &Path, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
        command
            .args(["redis", "serve", "--listen", "127.0.0.1:0"])
            .args(["--format", "json", "--ping", "0.5", "--rdb"])
            .arg(rdb)
            .args(options)
            .stdin(Stdio::null());
        command
    }

    fn of(command: &mut Command) -> Result<Self, Failed> {
        let directory = Directory::new().map_err(told)?;
        let report = directory.join("report");
        command
            .arg("--output")
            .arg(&report)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stderr = BufReader::new(child.stderr.take().ok_or("no standard error")?);
        let (say, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Nobody listens once the test has ended.
                let _ = say.send(line);
            }
        });
        let line = said.recv_timeout(PATIENCE).unwrap_or_default();
        let port = line
            .trim_end()
            .rsplit(' ')
            .next()
            .and_then(|word| word.parse().ok());
        let Some(port) = port else {
            // It ends by itself, or has said nothing for too long.
            if line.is_empty() {
                child.kill()?;
            }
            let status = child.wait()?;
            let rest: Vec<String> = said.iter().collect();
            return Err(format!("{status}: {line} {}", rest.join(" ")).into());
        };
        Ok(Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            said,
            seen: Vec::new(),
            report,
            _directory: directory,
        })
    }

    /// Waits until it has said this of somebody.
    fn hears(&mut self, words: &str) -> Tried {
        loop {
            if self.seen.iter().any(|line| line.contains(words)) {
                return Ok(());
            }
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(_) => return Err(format!("it has not said {words:?}: {:?}", self.seen).into()),
            }
        }
    }

    /// Tells it to end, and waits until it has: its report.
    fn end(mut self) -> Result<(ExitStatus, serde_json::Value), Failed> {
        signal(self.child.id(), libc::SIGTERM);
        self.wait()
    }

    /// Waits until it has ended by itself.
    fn wait(&mut self) -> Result<(ExitStatus, serde_json::Value), Failed> {
        let since = Instant::now();
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if since.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                None => {
                    let said: Vec<String> = self.said.try_iter().collect();
                    return Err(format!("it does not end: {:?} {said:?}", self.seen).into());
                }
            }
        };
        let text = fs::read_to_string(&self.report)?;
        Ok((status, serde_json::from_str(&text)?))
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file that a server of this program has saved, and what it has in memory with it.
struct Saved {
    path: PathBuf,
    digest: String,
    directory: Directory,
}

fn saved(program: &Program) -> Result<Saved, Failed> {
    saved_with(program, &["PING"])
}

/// The same with more in it.
fn saved_with(program: &Program, more: &[&str]) -> Result<Saved, Failed> {
    let options = ["--rdbcompression", "no"];
    let mut server = Running::start(program, &options).map_err(told)?;
    servers::fill(&mut server).map_err(told)?;
    server.ask(more).map_err(told)?;
    servers::saved(&mut server).map_err(told)?;
    let directory = server.end().map_err(told)?;
    // The digest is that of the file once loaded: what is volatile in memory is not in it.
    let path = directory.join("source.rdb");
    fs::rename(directory.join("dump.rdb"), &path)?;
    let loads = Directory::new().map_err(told)?;
    fs::copy(&path, loads.join("dump.rdb"))?;
    let mut reference = Running::start_in(loads, program, &[]).map_err(told)?;
    let digest = reference.digest().map_err(told)?;
    Ok(Saved {
        path,
        digest,
        directory,
    })
}

fn replica(program: &Program, master: SocketAddr, options: &[&str]) -> Result<Running, Failed> {
    let port = master.port().to_string();
    let all = [&["--replicaof", "127.0.0.1", &port][..], options].concat();
    Running::start(program, &all).map_err(told)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "so that calls read as sentences"
)]
fn equal<T: PartialEq + std::fmt::Debug>(found: T, expected: T, what: &str) -> Tried {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: {found:?}, not {expected:?}").into())
    }
}

fn syncs(program: &Program, route: &str, mode: &str, framing: &str) -> Tried {
    let saved = saved(program)?;
    let options = ["--route", route, "--framing", framing];
    let master = Master::start(&saved.path, &options)?;
    let mut server = replica(program, master.address, &["--repl-diskless-load", mode])?;
    server.wait_for_sync().map_err(told)?;
    equal(
        server.digest().map_err(told)?,
        saved.digest.clone(),
        "what the replica has",
    )?;
    if mode == "disabled" {
        let stored = fs::read(server.file("dump.rdb"))?;
        equal(
            stored == fs::read(&saved.path)?,
            true,
            "the file is the same",
        )?;
    }
    let mut master = master;
    master.hears("has all")?;
    let (status, report) = master.end()?;
    equal(status.code(), Some(0), "exit status")?;
    let length = fs::metadata(&saved.path)?.len();
    let one = &report["replicas"][0];
    equal(one["bytes"].as_u64(), Some(length), "bytes of the report")?;
    has_replicas(&report, 1)?;
    if route == "msg-zerocopy" {
        // Over loopback every one of them is copied after all.
        equal(one["copied"].as_u64(), one["sends"].as_u64(), "copied")?;
    }
    drop(saved.directory);
    Ok(())
}

/// Whether a master's report is of so many.
fn has_replicas(report: &serde_json::Value, number: usize) -> Tried {
    let found = report["replicas"].as_array().map(Vec::len);
    equal(found, Some(number), "replicas of the report")
}

fn a_client_stores_the_same_file(program: &Program) -> Tried {
    let saved = saved(program)?;
    let client = servers::tool("redis-cli").map_err(told)?;
    for framing in FRAMINGS {
        let mut master = Master::start(&saved.path, &["--framing", framing, "--until", "1"])?;
        let got = saved.directory.join("got.rdb");
        let port = master.address.port().to_string();
        let output = Command::new(&client)
            .args(["-p", &port, "--rdb"])
            .arg(&got)
            .output()?;
        equal(output.status.success(), true, "redis-cli")?;
        equal(
            fs::read(&got)? == fs::read(&saved.path)?,
            true,
            "the file is the same",
        )?;
        let (status, _) = master.wait()?;
        equal(status.code(), Some(0), "it ends after one")?;
    }
    Ok(())
}

fn a_password_is_asked_for(program: &Program) -> Tried {
    let saved = saved(program)?;
    let options = ["--replica-version", "valkey-9.1", "--force"];
    let mut master =
        Master::of(Master::command(&saved.path, &options).env("NOCOPY_PASSWORD", "secret"))?;
    let mut stranger = Client::new(master.address)?;
    let refused = stranger.ask(&["PSYNC", "?", "-1"])?;
    equal(
        matches!(refused, Reply::Error(ref line) if line.starts_with("NOAUTH")),
        true,
        "without one",
    )?;
    let refused = stranger.ask(&["AUTH", "wrong"])?;
    equal(
        matches!(refused, Reply::Error(ref line) if line.starts_with("WRONGPASS")),
        true,
        "with another",
    )?;
    let mut server = replica(program, master.address, &["--masterauth", "secret"])?;
    server.wait_for_sync().map_err(told)?;
    master.hears("has all")?;
    let (_, report) = master.end()?;
    has_replicas(&report, 1)
}

fn commands_follow_the_file(program: &Program) -> Tried {
    let saved = saved(program)?;
    let path = saved.directory.join("commands");
    let commands = [
        command(&[b"SELECT", b"0"]),
        command(&[b"SET", b"added", b"later"]),
    ]
    .concat();
    fs::write(&path, &commands)?;
    let options = ["--commands", path.to_str().ok_or("a name")?];
    let mut master = Master::start(&saved.path, &options)?;
    let mut server = replica(program, master.address, &[])?;
    server.wait_for_sync().map_err(told)?;
    master.hears("has all")?;
    let value = server.ask(&["GET", "added"]).map_err(told)?;
    equal(value, Reply::Bytes(Some(b"later".to_vec())), "the value")?;
    let offset = server
        .info("replication", "slave_repl_offset")
        .map_err(told)?;
    equal(
        offset.parse::<usize>()? >= commands.len(),
        true,
        "the offset",
    )
}

/// It has a patience of three seconds, and waits for four.
fn a_waiting_replica_hears_that_its_master_is_alive(program: &Program) -> Tried {
    let saved = saved(program)?;
    let mut master = Master::start(&saved.path, &["--delay", "4"])?;
    let mut server = replica(program, master.address, &["--repl-timeout", "3"])?;
    server.wait_for_sync().map_err(told)?;
    master.hears("has all")?;
    let (_, report) = master.end()?;
    has_replicas(&report, 1)
}

fn a_damaged_file_is_not_sent(program: &Program) -> Tried {
    let saved = saved(program)?;
    let whole = fs::read(&saved.path)?;
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    let cases: [(&str, &[u8]); 3] = [
        ("damaged", &changed),
        ("truncated", &whole[..whole.len() / 2]),
        ("not an RDB file", b"*1\r\n$4\r\nPING\r\n"),
    ];
    for (words, bytes) in cases {
        let path = saved.directory.join("bad.rdb");
        fs::write(&path, bytes)?;
        match Master::start(&path, &[]) {
            Err(failed) => {
                let said = failed.message().unwrap_or_default().to_owned();
                equal(
                    said.contains(words) && said.contains("exit status: 2"),
                    true,
                    &said,
                )?;
            }
            Ok(_) => return Err(format!("{words}: it was served").into()),
        }
    }
    Ok(())
}

/// The replica keeps what it has.
fn a_file_that_is_too_new_is_not_sent(program: &Program) -> Tried {
    let saved = saved(program)?;
    let mut bytes = fs::read(&saved.path)?;
    bytes[..9].copy_from_slice(b"REDIS0099");
    let end = bytes.len() - 8;
    // As of a server that writes no checksums.
    bytes[end..].fill(0);
    let path = saved.directory.join("new.rdb");
    fs::write(&path, &bytes)?;
    let mut server = Running::start(program, &[]).map_err(told)?;
    server.ask(&["SET", "own", "1"]).map_err(told)?;
    let mut master = Master::start(&path, &[])?;
    let port = master.address.port().to_string();
    server
        .ask(&["REPLICAOF", "127.0.0.1", &port])
        .map_err(told)?;
    master.hears("does not load REDIS0099")?;
    equal(
        server.ask(&["GET", "own"]).map_err(told)?,
        Reply::Bytes(Some(b"1".to_vec())),
        "its own data",
    )?;
    let (status, _) = master.end()?;
    equal(status.code(), Some(1), "exit status")
}

/// Large enough that no socket takes it at once.
fn large(saved: &Saved) -> Result<PathBuf, Failed> {
    let path = saved.directory.join("large.rdb");
    let mut file = File::create(&path)?;
    file.write_all(b"REDIS0007")?;
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        file.write_all(&piece)?;
    }
    // No keys, which nobody here reads.
    file.write_all(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0])?;
    rdb::check(File::open(&path)?).map_err(|bad| bad.to_string())?;
    Ok(path)
}

/// One that takes the file as slowly as it likes.
fn slow_replica(master: SocketAddr) -> Result<TcpStream, Failed> {
    let mut socket = TcpStream::connect(master)?;
    socket.write_all(b"*3\r\n$8\r\nREPLCONF\r\n$8\r\nrdb-only\r\n$1\r\n1\r\nSYNC\r\n")?;
    Ok(socket)
}

/// What it hears before a file of this length.
fn announcement(length: u64) -> String {
    format!("+OK\r\n${length}\r\n")
}

/// Takes a whole file of this length, and goes.
fn takes_all(master: SocketAddr, length: u64, what: &str) -> Tried {
    let all = announcement(length).len() as u64 + length;
    let mut socket = slow_replica(master)?.take(all);
    let came = std::io::copy(&mut socket, &mut std::io::sink())?;
    equal(came, all, what)
}

fn a_file_that_is_cut_off_meanwhile_is_told(program: &Program) -> Tried {
    let saved = saved(program)?;
    let path = large(&saved)?;
    for route in ROUTES {
        let mut master = Master::start(&path, &["--route", route])?;
        let mut socket = slow_replica(master.address)?;
        master.hears("gets the file")?;
        std::thread::sleep(Duration::from_millis(100));
        File::options().write(true).open(&path)?.set_len(60 << 20)?;
        let mut all = Vec::new();
        // It ends early: the connection is closed, in whatever way.
        let _ = socket.read_to_end(&mut all);
        master.hears("truncated")?;
        let (status, _) = master.end()?;
        equal(status.code(), Some(1), route)?;
        large(&saved)?;
    }
    Ok(())
}

fn a_replica_that_is_killed_is_told(program: &Program) -> Tried {
    let saved = saved(program)?;
    let path = large(&saved)?;
    for route in ROUTES {
        let mut master = Master::start(&path, &["--route", route])?;
        let mut socket = slow_replica(master.address)?;
        socket.read_exact(&mut [0; 1000])?;
        // With bytes unread it is reset.
        drop(socket);
        master.hears("after")?;
        let (status, report) = master.end()?;
        equal(status.code(), Some(1), route)?;
        equal(
            report["replicas"][0]["error"].is_string(),
            true,
            "the report says it",
        )?;
    }
    Ok(())
}

fn a_replica_that_is_stopped_keeps_nobody_waiting(program: &Program) -> Tried {
    let saved = saved(program)?;
    let path = large(&saved)?;
    for route in ROUTES {
        let mut master = Master::start(&path, &["--route", route])?;
        let stopped = slow_replica(master.address)?;
        master.hears("gets the file")?;
        let mut other = slow_replica(master.address)?;
        let mut head = [0; 64];
        let first = other.read(&mut head)?;
        equal(
            head.starts_with(b"+OK\r\n"),
            true,
            &head[..first].escape_ascii().to_string(),
        )?;
        // A third of a gigabyte a second at least, if the other has not to be waited for: it ends at all.
        let length = fs::metadata(&path)?.len();
        let mut left = length.saturating_sub(first as u64 - 5);
        let mut piece = vec![0; 1 << 20];
        while left > 64 {
            left = left.saturating_sub(other.read(&mut piece)? as u64);
        }
        drop(stopped);
        let (_, report) = master.end()?;
        let whole = report["replicas"].as_array().ok_or("replicas")?;
        let whole = whole
            .iter()
            .filter(|one| one["bytes"].as_u64() == Some(length));
        equal(whole.count(), 1, "those that got all")?;
    }
    Ok(())
}

/// What a slow replica gets, of which it has not read a byte so far, once `meanwhile` has happened.
fn arrives(
    route: &str,
    path: &Path,
    meanwhile: impl FnOnce(&Path, &mut TcpStream) -> Tried,
) -> Result<Vec<u8>, Failed> {
    let mut master = Master::start(path, &["--route", route])?;
    let mut socket = slow_replica(master.address)?;
    master.hears("gets the file")?;
    std::thread::sleep(Duration::from_millis(50));
    let length = fs::metadata(path)?.len();
    meanwhile(path, &mut socket)?;
    let head = announcement(length);
    let mut all = vec![0; head.len() + usize::try_from(length)?];
    socket.read_exact(&mut all)?;
    let rest = all.split_off(head.len());
    equal(
        String::from_utf8_lossy(&all).into_owned(),
        head,
        "the announcement",
    )?;
    Ok(rest)
}

/// By every route, whatever happens meanwhile, what arrives is the file as it was.
fn arrives_as_it_was(program: &Program, meanwhile: fn(&Path) -> Tried) -> Tried {
    let saved = saved(program)?;
    for route in ROUTES {
        let path = large(&saved)?;
        let before = fs::read(&path)?;
        let came = arrives(route, &path, |path, _| meanwhile(path))?;
        equal(came == before, true, route)?;
    }
    Ok(())
}

fn a_file_that_grows_meanwhile_is_sent_as_announced(program: &Program) -> Tried {
    arrives_as_it_was(program, |path| {
        let mut file = File::options().append(true).open(path)?;
        Ok(file.write_all(&[b'y'; 1000])?)
    })
}

/// As a server saves: beside, then in its place.
fn a_file_that_is_replaced_meanwhile_is_sent_as_it_was(program: &Program) -> Tried {
    arrives_as_it_was(program, |path| {
        let beside = path.with_extension("temp");
        fs::write(&beside, b"other")?;
        Ok(fs::rename(beside, path)?)
    })
}

/// In place, so it is not to be done: of what a call has taken already, the pages may still be the file's.
fn a_file_that_is_written_meanwhile_arrives_as_it_is(program: &Program) -> Tried {
    let saved = saved(program)?;
    for route in ROUTES {
        let path = large(&saved)?;
        let came = arrives(route, &path, |path, _| {
            let mut file = File::options().write(true).open(path)?;
            file.write_all(b"REDIS0007")?;
            let piece = vec![b'y'; 1 << 20];
            for _ in 0..64 {
                file.write_all(&piece)?;
            }
            Ok(())
        })?;
        // The first megabyte had left the file when it was written, by every route.
        let old = came[9..100_000]
            .iter()
            .filter(|byte| **byte == b'x')
            .count();
        let copies = matches!(*route, "read-write" | "mmap-write" | "msg-zerocopy");
        // Over loopback MSG_ZEROCOPY copies what is delivered: all of it that a socket holds may be.
        if *route != "msg-zerocopy" {
            equal(old > 0, copies, route)?;
        }
        // The last had not.
        let end = &came[came.len() - 100_000..came.len() - 9];
        equal(end.iter().all(|byte| *byte == b'y'), true, route)?;
    }
    Ok(())
}

/// Little can be pinned, or nothing at all: what cannot be is waited for, or copied, and nothing is lost. So it is for root without a
/// capability.
fn little_memory_may_be_locked(program: &Program) -> Tried {
    let saved = saved(program)?;
    let path = large(&saved)?;
    let length = fs::metadata(&path)?.len();
    let head = announcement(length).len() as u64;
    for limit in [1 << 20, 64 << 10, 0] {
        let options = ["--route", "msg-zerocopy", "--until", "1"];
        let mut command = Master::command(&path, &options);
        // SAFETY: the calls take no lock and no memory: a number each, or one structure that they read.
        unsafe {
            command.pre_exec(move || {
                const CAP_IPC_LOCK: libc::c_int = 14;
                libc::prctl(libc::PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0);
                let limit = libc::rlimit {
                    rlim_cur: limit,
                    rlim_max: limit,
                };
                match libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let mut master = Master::of(&mut command)?;
        let mut socket = slow_replica(master.address)?;
        let mut all = Vec::new();
        Read::by_ref(&mut socket)
            .take(head + length)
            .read_to_end(&mut all)?;
        drop(socket);
        let (status, report) = master.wait()?;
        equal(status.code(), Some(0), "exit status")?;
        equal(
            all.ends_with(&fs::read(&path)?),
            true,
            "the file is the same",
        )?;
        has_replicas(&report, 1)?;
        let one = &report["replicas"][0];
        let number = |name: &str| one[name].as_u64().ok_or("a number");
        // A piece is 256 KiB.
        equal(number("unpinned")? > 0, limit < 256 << 10, &one.to_string())?;
        // Whoever asks again and again takes a hundred thousand.
        equal(number("steps")? < 10_000, true, &one.to_string())?;
    }
    Ok(())
}

/// Whoever has all may go at once: that the kernel is not done with the file's pages is no loss.
fn a_replica_that_leaves_with_all_has_all(program: &Program) -> Tried {
    let saved = saved(program)?;
    for route in ROUTES {
        let mut master = Master::start(&saved.path, &["--route", route])?;
        let length = fs::metadata(&saved.path)?.len();
        for _ in 0..50 {
            takes_all(master.address, length, route)?;
        }
        master.hears("has all")?;
        let (status, report) = master.end()?;
        equal(status.code(), Some(0), &format!("{route}: {report}"))?;
        has_replicas(&report, 50)?;
    }
    Ok(())
}

/// It is stopped and goes on, again and again: calls are interrupted, and nothing is lost.
fn a_stopped_master_goes_on(program: &Program) -> Tried {
    let saved = saved(program)?;
    for route in ROUTES {
        let path = large(&saved)?;
        let master = Master::start(&path, &["--route", route])?;
        let mut socket = slow_replica(master.address)?;
        let length = fs::metadata(&path)?.len();
        let mut left = length + announcement(length).len() as u64;
        let mut piece = vec![0; 1 << 20];
        let mut all = Vec::new();
        while left > 0 {
            for number in [libc::SIGSTOP, libc::SIGCONT] {
                signal(master.child.id(), number);
            }
            let count = socket.read(&mut piece)?;
            equal(count > 0, true, "it ends early")?;
            all.extend_from_slice(&piece[..count]);
            left -= count as u64;
        }
        equal(all.ends_with(&fs::read(&path)?), true, route)?;
        drop(socket);
        let (status, _) = master.end()?;
        equal(status.code(), Some(0), route)?;
    }
    Ok(())
}

/// Two gigabytes and more, most of which are a hole.
fn more_than_one_call_can_send(program: &Program) -> Tried {
    let saved = saved(program)?;
    let path = saved.directory.join("huge.rdb");
    let file = File::create(&path)?;
    let length = (2_u64 << 30) + (1 << 20);
    (&file).write_all(b"REDIS0007")?;
    file.set_len(length)?;
    let options = [
        "--force",
        "--route",
        "sendfile",
        "--most",
        "4294967296",
        "--until",
        "1",
    ];
    let mut master = Master::start(&path, &options)?;
    takes_all(master.address, length, "bytes")?;
    let (status, _) = master.wait()?;
    equal(status.code(), Some(0), "exit status")
}

/// A real replica is stopped while it gets the file, and goes on after a while, in which its master waits and does nothing.
fn a_stopped_replica_goes_on(program: &Program) -> Tried {
    let saved = saved_with(program, &["DEBUG", "POPULATE", "8000", "more", "4000"])?;
    for route in ROUTES {
        let options = ["--route", route, "--most", "65536"];
        let mut master = Master::start(&saved.path, &options)?;
        let mut server = replica(program, master.address, &[])?;
        master.hears("gets the file")?;
        signal(server.pid(), libc::SIGSTOP);
        std::thread::sleep(Duration::from_millis(500));
        signal(server.pid(), libc::SIGCONT);
        server.wait_for_sync().map_err(told)?;
        equal(server.digest().map_err(told)?, saved.digest.clone(), route)?;
        let (status, report) = master.end()?;
        equal(status.code(), Some(0), route)?;
        // Whoever asks again and again uses all of the time.
        let cpu = report["cpu"].as_f64().ok_or("no CPU time")?;
        equal(cpu < 0.4, true, &format!("{route}: {cpu} s of CPU"))?;
    }
    Ok(())
}

/// By SIGKILL: its master is there for the next one.
fn a_replica_that_dies_at_any_moment_is_told(program: &Program) -> Tried {
    let saved = saved(program)?;
    let mut random = fastrand::Rng::with_seed(9);
    for route in ROUTES {
        let mut master = Master::start(&saved.path, &["--route", route, "--most", "4096"])?;
        for _ in 0..5 {
            let mut server = replica(program, master.address, &[])?;
            std::thread::sleep(Duration::from_micros(random.u64(..60_000)));
            signal(server.pid(), libc::SIGKILL);
            let has_ended = server.wait_until(|server| Ok(server.ended().is_some()));
            equal(has_ended.map_err(told)?, true, "it has ended")?;
        }
        let mut last = replica(program, master.address, &[])?;
        last.wait_for_sync().map_err(told)?;
        equal(last.digest().map_err(told)?, saved.digest.clone(), route)?;
        master.hears("has all")?;
        let (_, report) = master.end()?;
        let whole = report["replicas"].as_array().ok_or("replicas")?;
        let whole = whole.iter().filter(|one| one["error"].is_null()).count();
        equal(whole > 0, true, &format!("{route}: {report}"))?;
    }
    Ok(())
}

/// By SIGKILL, while two replicas sync: no process, no file, and the port can be listened on.
fn a_master_that_is_killed_at_any_moment_leaves_nothing(program: &Program) -> Tried {
    let saved = saved(program)?;
    let path = large(&saved)?;
    let place = Directory::new().map_err(told)?;
    let mut random = fastrand::Rng::with_seed(7);
    for at in 0..20 {
        let route = ROUTES[at % ROUTES.len()];
        let mut command = Master::command(&path, &["--route", route]);
        command.env("TMPDIR", place.path()).process_group(0);
        let mut master = Master::of(&mut command)?;
        let readers = [0; 2].map(|_| {
            let address = master.address;
            std::thread::spawn(move || {
                let socket = slow_replica(address).ok()?;
                // As much as comes: it ends early, in whatever way.
                std::io::copy(&mut { socket }, &mut std::io::sink()).ok()
            })
        });
        std::thread::sleep(Duration::from_micros(random.u64(..40_000)));
        master.child.kill()?;
        master.child.wait()?;
        for reader in readers {
            reader.join().map_err(|_| "a reader panicked")?;
        }
        let group = libc::pid_t::try_from(master.child.id())?;
        // SAFETY: kill takes no pointer, and signal 0 does nothing but ask.
        let is_left = unsafe { libc::kill(-group, 0) } == 0;
        equal(is_left, false, "a process is left")?;
        equal(fs::read_dir(place.path())?.count(), 0, "files are left")?;
        // As a server listens.
        std::net::TcpListener::bind(master.address)?;
    }
    Ok(())
}

/// A socket that is closed with input unread is reset, and what is on its way is lost: so the input is read first.
fn an_end_with_unread_input_loses_nothing(program: &Program) -> Tried {
    let saved = saved(program)?;
    let length = fs::metadata(&saved.path)?.len();
    for route in ROUTES {
        let mut master = Master::start(&saved.path, &["--route", route])?;
        let mut socket = slow_replica(master.address)?;
        let mut first = [0; 5];
        socket.read_exact(&mut first)?;
        let mut rest = Vec::new();
        let head = format!("${length}\r\n").len() as u64;
        Read::by_ref(&mut socket)
            .take(head + length / 2)
            .read_to_end(&mut rest)?;
        socket.write_all(&b"\n".repeat(10_000))?;
        signal(master.child.id(), libc::SIGTERM);
        socket.write_all(&b"\n".repeat(10_000))?;
        socket.read_to_end(&mut rest)?;
        let (_, report) = master.wait()?;
        // Whether the socket has taken all of it or not.
        let sent = report["replicas"][0]["bytes"].as_u64();
        equal(
            Some(rest.len() as u64 - head),
            sent,
            &format!("{route}: {report}"),
        )?;
    }
    Ok(())
}

/// It leaves a master that says nothing for three seconds.
fn a_replica_with_little_patience_stays_connected(program: &Program) -> Tried {
    let saved = saved(program)?;
    let mut master = Master::start(&saved.path, &[])?;
    let mut server = replica(program, master.address, &["--repl-timeout", "3"])?;
    server.wait_for_sync().map_err(told)?;
    std::thread::sleep(Duration::from_millis(4500));
    equal(server_link(&mut server)?.as_str(), "up", "the link")?;
    let log = server.log();
    equal(log.contains("MASTER timeout"), false, &log)?;
    master.hears("has all")?;
    let (_, report) = master.end()?;
    has_replicas(&report, 1)
}

/// Unless it is said otherwise.
fn only_this_machine_is_served(program: &Program) -> Tried {
    let saved = saved(program)?;
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
        command.args(["redis", "serve", "--listen", address, "--rdb"]);
        let output = command.arg(&saved.path).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        equal(output.status.code(), Some(2), &said)?;
        equal(said.contains("--allow-remote"), true, &said)?;
    }
    let listen = ["--listen", "0.0.0.0:0", "--allow-remote"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    command.args([
        "redis", "serve", "--format", "json", "--until", "1", "--rdb",
    ]);
    let mut master = Master::of(command.arg(&saved.path).args(listen).stdin(Stdio::null()))?;
    let address = SocketAddr::from(([127, 0, 0, 1], master.address.port()));
    let length = fs::metadata(&saved.path)?.len();
    takes_all(address, length, "bytes")?;
    equal(master.wait()?.0.code(), Some(0), "exit status")
}

/// A replica that asks while it gets the file has no answer: a real master keeps it back as well.
fn an_answer_is_no_part_of_the_file(program: &Program) -> Tried {
    let saved = saved(program)?;
    let path = large(&saved)?;
    let before = fs::read(&path)?;
    for route in ROUTES {
        let came = arrives(route, &path, |_, socket| {
            let asked = [
                command(&[b"PING"]),
                command(&[b"REPLCONF", b"capa", b"eof"]),
            ]
            .concat();
            Ok(socket.write_all(&asked.repeat(100))?)
        })?;
        equal(came == before, true, route)?;
    }
    Ok(())
}

fn whoever_does_not_read_is_left(program: &Program) -> Tried {
    let saved = saved(program)?;
    let mut master = Master::start(&saved.path, &[])?;
    let mut deaf = TcpStream::connect(master.address)?;
    deaf.set_write_timeout(Some(PATIENCE))?;
    let pings = command(&[b"PING"]).repeat(4096);
    // It is closed when too much is unread.
    while deaf.write_all(&pings).is_ok() {}
    master.hears("does not read")?;
    let mut server = replica(program, master.address, &[])?;
    server.wait_for_sync().map_err(told)?;
    let (status, _) = master.end()?;
    equal(status.code(), Some(1), "it is told of")
}

/// With few descriptors: those who are there are served, and the others when these have left.
fn too_many_wait_for_their_turn(program: &Program) -> Tried {
    let saved = saved(program)?;
    let mut command = Master::command(&saved.path, &["--until", "20"]);
    // SAFETY: setrlimit reads one structure.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit {
                rlim_cur: 24,
                rlim_max: 24,
            };
            match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let mut master = Master::of(&mut command)?;
    let address = master.address;
    let idle: Vec<TcpStream> = (0..30)
        .map(|_| TcpStream::connect(address))
        .collect::<Result<_, _>>()?;
    master.hears("no more connections are accepted for now")?;
    drop(idle);
    let length = fs::metadata(&saved.path)?.len();
    for _ in 0..20 {
        takes_all(address, length, "bytes")?;
    }
    let (status, report) = master.wait()?;
    equal(status.code(), Some(0), &report.to_string())?;
    let cpu = report["cpu"].as_f64().ok_or("no CPU time")?;
    equal(cpu < 1.0, true, &format!("{cpu} s of CPU"))?;
    has_replicas(&report, 20)
}

fn commands_are_passed_on_as_they_come(program: &Program) -> Tried {
    let saved = saved(program)?;
    let mut command_of = Master::command(&saved.path, &["--commands", "-"]);
    let mut master = Master::of(command_of.stdin(Stdio::piped()))?;
    let address = master.address;
    let mut first = replica(program, address, &[])?;
    first.wait_for_sync().map_err(told)?;
    let mut commands = master.child.stdin.take().ok_or("no standard input")?;
    let all = [
        command(&[b"SELECT", b"0"]),
        command(&[b"SET", b"added", b"later"]),
    ]
    .concat();
    let (half, rest) = all.split_at(all.len() - 9);
    commands.write_all(half)?;
    std::thread::sleep(Duration::from_millis(300));
    // Half a command is not passed on, and the link stays up.
    equal(
        first.ask(&["EXISTS", "added"]).map_err(told)?,
        Reply::Line("0".into()),
        "half of it",
    )?;
    commands.write_all(rest)?;
    let mut second = replica(program, address, &[])?;
    second.wait_for_sync().map_err(told)?;
    for server in [&mut first, &mut second] {
        let is_there = server
            .wait_until(|server| Ok(server.ask(&["EXISTS", "added"])? == Reply::Line("1".into())));
        equal(is_there.map_err(told)?, true, "the whole of it")?;
    }
    let status = server_link(&mut first)?;
    equal(status.as_str(), "up", "the link")?;
    drop(commands);
    let (status, _) = master.end()?;
    equal(status.code(), Some(0), "exit status")
}

fn server_link(server: &mut Running) -> Result<String, Failed> {
    server
        .info("replication", "master_link_status")
        .map_err(told)
}

fn five_replicas_at_once(program: &Program) -> Tried {
    let saved = saved(program)?;
    let mut master = Master::start(&saved.path, &["--route", "auto", "--most", "65536"])?;
    let mut servers = Vec::new();
    for mode in ["disabled", "swapdb", "on-empty-db", "disabled", "swapdb"] {
        servers.push(replica(
            program,
            master.address,
            &["--repl-diskless-load", mode],
        )?);
    }
    for server in &mut servers {
        server.wait_for_sync().map_err(told)?;
        equal(
            server.digest().map_err(told)?,
            saved.digest.clone(),
            "what the replica has",
        )?;
    }
    master.hears("has all")?;
    let began = Instant::now();
    let (_, report) = master.end()?;
    equal(began.elapsed() < Duration::from_secs(10), true, "it ends")?;
    has_replicas(&report, 5)
}

fn tls_is_refused(program: &Program) -> Tried {
    let saved = saved(program)?;
    let mut master = Master::start(&saved.path, &[])?;
    let mut socket = TcpStream::connect(master.address)?;
    socket.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")?;
    master.hears("TLS")?;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    Ok(())
}

fn strangers_are_answered_and_leave_nothing(program: &Program) -> Tried {
    let saved = saved(program)?;
    let master = Master::start(&saved.path, &[])?;
    let mut client = Client::new(master.address)?;
    equal(client.ask(&["PING"])?, Reply::Line("PONG".into()), "PING")?;
    let refused = client.ask(&["GET", "key"])?;
    equal(
        matches!(refused, Reply::Error(ref line) if line.contains("unknown command")),
        true,
        "GET",
    )?;
    drop(client);
    drop(TcpStream::connect(master.address)?);
    let mut nonsense = TcpStream::connect(master.address)?;
    nonsense.write_all(b"*1\r\n:1\r\n")?;
    let mut answer = String::new();
    nonsense.read_to_string(&mut answer)?;
    equal(answer.contains("was to come"), true, &answer)?;
    let (status, report) = master.end()?;
    equal(status.code(), Some(1), "who has said nonsense is told of")?;
    has_replicas(&report, 1)
}

/// As a replica does whose `PSYNC` is not known.
fn the_old_command_syncs(program: &Program) -> Tried {
    let saved = saved(program)?;
    let mut master = Master::start(&saved.path, &["--force", "--until", "1"])?;
    let mut socket = TcpStream::connect(master.address)?;
    socket.write_all(b"SYNC\r\n")?;
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let length = fs::metadata(&saved.path)?.len();
    equal(line, format!("${length}\r\n"), "the announcement")?;
    let mut bytes = vec![0; usize::try_from(length)?];
    reader.read_exact(&mut bytes)?;
    equal(
        bytes == fs::read(&saved.path)?,
        true,
        "the file is the same",
    )?;
    drop(reader);
    let (status, _) = master.wait()?;
    equal(status.code(), Some(0), "exit status")
}

/// `conformance redis aof`: its exit status, and what it says.
fn put_together(arguments: &[&str]) -> Result<(Option<i32>, String), Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    let output = command.args(["redis", "aof"]).args(arguments).output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

/// Commands that set as many keys, with names that begin so.
fn commands(prefix: &str, number: usize) -> Vec<u8> {
    let value = "v".repeat(300);
    let set = |at: usize| command(&[b"SET", format!("{prefix}{at}").as_bytes(), value.as_bytes()]);
    let sets = (0..number).flat_map(set);
    command(&[b"SELECT", b"0"])
        .into_iter()
        .chain(sets)
        .collect()
}

/// A server loads what was put together, adds to it, and loads what was put behind that.
fn aof(program: &Program, route: &str, shape: &str) -> Tried {
    let saved = saved(program)?;
    let home = Directory::new().map_err(told)?;
    let name = |path: &Path| path.to_str().map(str::to_owned).ok_or("a name");
    let file = |what: &str, bytes: &[u8]| -> Result<String, Failed> {
        let path = saved.directory.join(what);
        fs::write(&path, bytes)?;
        Ok(name(&path)?)
    };
    let (first, second) = (commands("a", 500), commands("b", 500));
    let (one, other) = (file("one", &first)?, file("other", &second)?);
    // What a server has that loads the file and gets the commands.
    let loads = Directory::new().map_err(told)?;
    fs::copy(&saved.path, loads.join("dump.rdb"))?;
    let mut reference = Running::start_in(loads, program, &[]).map_err(told)?;
    for at in 0..500 {
        for prefix in ["a", "b"] {
            let value = "v".repeat(300);
            reference
                .ask(&["SET", &format!("{prefix}{at}"), &value])
                .map_err(told)?;
        }
    }
    let expected = reference.digest().map_err(told)?;
    let place = match shape {
        "single" => name(home.path())?,
        _ => name(&home.join("appendonlydir"))?,
    };
    let rdb = name(&saved.path)?;
    let build = [
        "build",
        "--directory",
        &place,
        "--route",
        route,
        "--shape",
        shape,
        "--rdb",
        &rdb,
        &one,
        &other,
    ];
    let (code, said) = put_together(&build)?;
    equal(code, Some(0), &said)?;
    if program.name == "Redis" {
        let checks = servers::tool("redis-check-aof").map_err(told)?;
        let path = match shape {
            "single" => home.join("appendonly.aof"),
            _ => home.join("appendonlydir/appendonly.aof.manifest"),
        };
        let checked = Command::new(checks).arg(path).output()?;
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        equal(checked.status.code(), Some(0), &said)?;
    }
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Running::start_in(home, program, &options).map_err(told)?;
    equal(
        server.digest().map_err(told)?,
        expected,
        "what the server has",
    )?;
    server.ask(&["SET", "of the server", "1"]).map_err(told)?;
    // Since Redis 7 it is a directory, whatever it was.
    let place = name(&server.file("appendonlydir"))?;
    let third = file("third", &commands("c", 10))?;
    let extend = ["extend", "--directory", &place, "--route", route, &third];
    let (code, said) = put_together(&extend)?;
    equal((code, said.contains("has it open")), (Some(2), true), &said)?;
    let home = server.end().map_err(told)?;
    let cut_off = file("cut off", &first[..first.len() - 3])?;
    let (code, said) = put_together(&["extend", "--directory", &place, &third, &cut_off])?;
    equal(
        (code, said.contains("truncated command")),
        (Some(2), true),
        &said,
    )?;
    let (code, said) = put_together(&extend)?;
    equal(code, Some(0), &said)?;
    let mut server = Running::start_in(home, program, &options).map_err(told)?;
    let size = server.ask(&["DBSIZE"]).map_err(told)?.to_string();
    let before: usize = reference
        .ask(&["DBSIZE"])
        .map_err(told)?
        .to_string()
        .parse()?;
    equal(
        size,
        (before + 11).to_string(),
        "keys behind the second start",
    )?;
    let last = server
        .ask(&["EXISTS", "of the server", "c9"])
        .map_err(told)?;
    equal(last, Reply::Line("2".into()), "the last ones")
}

/// The second is refused, or waits for its turn and stands behind: no command is lost.
fn two_that_add_at_once_do_not_lose_commands(program: &Program) -> Tried {
    let home = Directory::new().map_err(told)?;
    let path = home.join("first");
    fs::write(&path, commands("a", 2000))?;
    let (place, source) = (
        home.join("appendonlydir"),
        path.to_str().ok_or("a name")?.to_owned(),
    );
    let place = place.to_str().ok_or("a name")?.to_owned();
    let (code, said) = put_together(&["build", "--directory", &place, &source])?;
    equal(code, Some(0), &said)?;
    let (mut added, mut refused) = (1, 0);
    for _ in 0..10 {
        let both = [0, 1].map(|_| {
            let (place, source) = (place.clone(), source.clone());
            std::thread::spawn(move || {
                put_together(&[
                    "extend",
                    "--directory",
                    &place,
                    "--route",
                    "sendfile",
                    &source,
                ])
            })
        });
        for one in both {
            let (code, said) = one.join().map_err(|_| "it panicked")??;
            match code {
                Some(0) => added += 1,
                Some(2) if said.contains("has it open") || said.contains("adds to it") => {
                    refused += 1;
                }
                _ => return Err(said.into()),
            }
        }
    }
    equal(added + refused, 21, "all of them")?;
    let one = fs::metadata(&path)?.len();
    let mut bytes = 0;
    for entry in fs::read_dir(&place)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(".incr.aof") {
            bytes += entry.metadata()?.len();
        }
    }
    equal(bytes, added * one, "bytes")?;
    let mut server = Running::start_in(home, program, &["--appendonly", "yes"]).map_err(told)?;
    equal(
        server.ask(&["DBSIZE"]).map_err(told)?,
        Reply::Line("2000".into()),
        "keys",
    )
}

/// What it prints, once it has ended: it is killed if it does not.
fn ends(command: &mut Command) -> Result<(Option<i32>, String), Failed> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let since = Instant::now();
    while child.try_wait()?.is_none() {
        if since.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Err(format!("{command:?} does not end").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code(), said))
}

fn conformance(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    command.arg("redis").args(arguments);
    command
}

fn a_fifo_or_device_is_not_waited_for(program: &Program) -> Tried {
    let saved = saved(program)?;
    let home = Directory::new().map_err(told)?;
    let name = |path: &Path| path.to_str().map(str::to_owned).ok_or("a name");
    let fifo = name(&home.join("fifo"))?;
    let made = Command::new("mkfifo").arg(&fifo).status()?;
    equal(made.success(), true, "mkfifo")?;
    let good = name(&home.join("good"))?;
    fs::write(&good, commands("a", 1))?;
    let place = name(&home.join("appendonlydir"))?;
    let built = name(&home.join("built"))?;
    let (code, said) = put_together(&["build", "--directory", &built, &good])?;
    equal(code, Some(0), &said)?;
    let rdb = name(&saved.path)?;
    for bad in [&fifo, "/dev/null", "/dev/zero"] {
        let cases: [&[&str]; 6] = [
            &["aof", "build", "--directory", &place, "--rdb", bad],
            &["aof", "build", "--directory", &place, bad],
            &[
                "aof",
                "build",
                "--directory",
                &place,
                "--shape",
                "single",
                &good,
                bad,
            ],
            &["aof", "extend", "--directory", &built, bad],
            &["serve", "--listen", "127.0.0.1:0", "--rdb", bad],
            &[
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--rdb",
                &rdb,
                "--commands",
                bad,
            ],
        ];
        for case in cases {
            let (code, said) = ends(&mut conformance(case))?;
            let is_refused = (code, said.contains("not a regular file"));
            equal(is_refused, (Some(2), true), &format!("{case:?}: {said}"))?;
        }
    }
    equal(
        home.join("appendonlydir").exists(),
        false,
        "nothing is left",
    )?;
    let build = ["aof", "build", "--directory", &fifo, &good];
    let (code, said) = ends(&mut conformance(&build))?;
    equal(
        (code, said.contains("Not a directory")),
        (Some(2), true),
        &said,
    )
}

/// Before anybody is served: a replica would drop the link, and sync again and again.
fn commands_that_a_replica_refuses_are_not_served(program: &Program) -> Tried {
    let saved = saved(program)?;
    let good = command(&[b"SET", b"added", b"later"]);
    let rdb = fs::read(&saved.path)?;
    let cases: [(&[u8], &str); 9] = [
        (b"root:x:0:0:root:/root:/bin/bash\n", "starts neither"),
        (&good[..good.len() - 3], "truncated command"),
        (b"\r\n", "starts neither"),
        (b"*0\r\n", "a command of 0 arguments"),
        (b"*1\n$4\r\nPING\r\n", "not written as servers write it"),
        (&rdb, "Only the base"),
        (&command(&[b"MULTI"]), "has no EXEC"),
        (&command(&[b"NOSUCH"]), "is not known"),
        (&command(&[b"SET", b"a"]), "does not take 1 arguments"),
    ];
    let path = saved.directory.join("commands");
    let name = path.to_str().ok_or("a name")?;
    for (bytes, why) in cases {
        fs::write(&path, [&good[..], bytes].concat())?;
        // An RDB is refused at the front as well.
        if why == "Only the base" {
            fs::write(&path, bytes)?;
        }
        let mut serve = Master::command(&saved.path, &["--commands", name]);
        let (code, said) = ends(&mut serve)?;
        equal((code, said.contains(why)), (Some(2), true), &said)?;
        equal(said.contains("listening"), false, &said)?;
    }
    // Annotations are for files.
    fs::write(&path, [b"#TS:1700000000\r\n", &good[..]].concat())?;
    let mut master = Master::start(&saved.path, &["--commands", name])?;
    let mut server = replica(program, master.address, &[])?;
    server.wait_for_sync().map_err(told)?;
    master.hears("has all")?;
    equal(server_link(&mut server)?.as_str(), "up", "the link")?;
    let value = server.ask(&["GET", "added"]).map_err(told)?;
    equal(value, Reply::Bytes(Some(b"later".to_vec())), "the value")
}

/// A client or a health check is no replica.
fn only_a_replica_has_all(program: &Program) -> Tried {
    let saved = saved(program)?;
    let mut master = Master::start(&saved.path, &[])?;
    for _ in 0..3 {
        let mut client = Client::new(master.address)?;
        equal(client.ask(&["PING"])?, Reply::Line("PONG".into()), "PING")?;
        client.ask(&["GET", "key"])?;
    }
    drop(TcpStream::connect(master.address)?);
    signal(master.child.id(), libc::SIGTERM);
    let (status, report) = master.wait()?;
    equal(status.code(), Some(0), "exit status")?;
    has_replicas(&report, 0)?;
    let said: Vec<String> = master.said.iter().collect();
    equal(said, Vec::new(), "what it says of them")?;
    // In words.
    let mut human = Command::new(env!("CARGO_BIN_EXE_conformance"));
    let human = human.args(["redis", "serve", "--listen", "127.0.0.1:0", "--rdb"]);
    let mut child = human
        .arg(&saved.path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stderr.take().ok_or("no standard error")?).read_line(&mut line)?;
    signal(child.id(), libc::SIGTERM);
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_short = text.starts_with("no replica, ") && text.lines().count() == 1;
    equal(is_short, true, &text)
}

/// It waits for the replica's end, and for nothing else: completions of sends that are over do not keep it awake.
fn an_end_with_a_slow_replica_is_waited_for_asleep(program: &Program) -> Tried {
    let saved = saved(program)?;
    let path = large(&saved)?;
    for route in ROUTES {
        let mut master = Master::start(&path, &["--route", route])?;
        let mut socket = slow_replica(master.address)?;
        master.hears("gets the file")?;
        let mut piece = vec![0; 64 << 10];
        socket.read_exact(&mut piece)?;
        std::thread::sleep(Duration::from_millis(200));
        signal(master.child.id(), libc::SIGTERM);
        // As slowly as it can, for as long as it is there.
        let reader = std::thread::spawn(move || {
            for _ in 0..100 {
                std::thread::sleep(Duration::from_millis(20));
                if !socket.read(&mut piece).is_ok_and(|count| count > 0) {
                    break;
                }
            }
        });
        let (status, report) = master.wait()?;
        reader.join().map_err(|_| "a reader panicked")?;
        equal(status.code(), Some(1), route)?;
        let wakes = report["wakes"].as_u64().ok_or("no count")?;
        equal(
            wakes < 2000,
            true,
            &format!("{route}: it woke up {wakes} times"),
        )?;
        let seconds = report["replicas"][0]["seconds"].as_f64();
        let is_real = seconds.is_some_and(|seconds| seconds >= 0.2);
        equal(is_real, true, &format!("{route}: {report}"))?;
    }
    Ok(())
}

/// What `redis-check-aof` refuses and servers load.
fn what_the_checker_refuses_is_not_there(program: &Program) -> Tried {
    let home = Directory::new().map_err(told)?;
    let name = |path: &Path| path.to_str().map(str::to_owned).ok_or("a name");
    let (good, bad) = (name(&home.join("good"))?, name(&home.join("bad"))?);
    fs::write(&good, commands("a", 10))?;
    fs::write(&bad, command(&[b"EXEC"]))?;
    for shape in ["one", "many", "single"] {
        let place = home.join(shape);
        let place_name = name(&place)?;
        let build = |file: &str| {
            let build = [
                "build",
                "--check",
                "--shape",
                shape,
                "--directory",
                &place_name,
            ];
            put_together(&[&build[..], &[file]].concat())
        };
        let (code, said) = build(&bad)?;
        let is_refused = (code, said.contains("Unexpected EXEC"), place.exists());
        equal(is_refused, (Some(2), true, false), &said)?;
        let (code, said) = build(&good)?;
        equal((code, said.contains("valid")), (Some(0), true), &said)?;
        let before = files::contents(&place)?;
        let extend =
            |file: &str| put_together(&["extend", "--check", "--directory", &place_name, file]);
        let (code, said) = extend(&bad)?;
        equal(
            (code, said.contains("Unexpected EXEC")),
            (Some(2), true),
            &said,
        )?;
        equal(files::contents(&place)? == before, true, "as it was")?;
        let (code, said) = extend(&good)?;
        equal((code, said.contains("valid")), (Some(0), true), &said)?;
    }
    let options = ["--appendonly", "yes", "--appenddirname", "one"];
    let mut server = Running::start_in(home, program, &options).map_err(told)?;
    let size = server.ask(&["DBSIZE"]).map_err(told)?;
    equal(size, Reply::Line("10".into()), "keys")
}

/// `copy_file_range` does not go from one to another (`EXDEV`): the next route does.
fn files_of_another_file_system_are_copied(program: &Program) -> Tried {
    let home = Directory::new().map_err(told)?;
    let other = Directory::below(Path::new(OTHER_FILE_SYSTEM)).map_err(told)?;
    let name = |path: &Path| path.to_str().map(str::to_owned).ok_or("a name");
    let source = name(&other.join("commands"))?;
    fs::write(&source, commands("a", 2000))?;
    let place = name(&home.join("appendonlydir"))?;
    let named = ["--route", "copy-file-range", "--directory", &place, &source];
    for what in ["build", "extend"] {
        let (code, said) = put_together(&[&[what], &named[..]].concat())?;
        let helps = said.contains("EXDEV") && said.contains("--route read-write");
        equal((code, helps), (Some(2), true), &said)?;
        let (code, said) = put_together(&[what, "--directory", &place, &source])?;
        equal(code, Some(0), &said)?;
    }
    let mut server = Running::start_in(home, program, &["--appendonly", "yes"]).map_err(told)?;
    let size = server.ask(&["DBSIZE"]).map_err(told)?;
    equal(size, Reply::Line("2000".into()), "keys")
}

/// A server cuts it off at its start, and what is added after it as well.
fn an_open_transaction_is_refused_or_cut_off(program: &Program) -> Tried {
    let open = [
        command(&[b"SET", b"a", b"1"]),
        command(&[b"MULTI"]),
        command(&[b"SET", b"open", b"1"]),
    ]
    .concat();
    for shape in ["one", "single"] {
        let home = Directory::new().map_err(told)?;
        let name = |path: &Path| path.to_str().map(str::to_owned).ok_or("a name");
        let (first, more) = (name(&home.join("first"))?, name(&home.join("more"))?);
        fs::write(&first, command(&[b"SET", b"a", b"1"]))?;
        fs::write(&more, command(&[b"SET", b"z", b"9"]))?;
        let (place, file) = if shape == "single" {
            (home.path().to_owned(), home.join("appendonly.aof"))
        } else {
            let place = home.join("appendonlydir");
            let file = place.join("appendonly.aof.1.incr.aof");
            (place, file)
        };
        let place = name(&place)?;
        let (code, said) =
            put_together(&["build", "--shape", shape, "--directory", &place, &first])?;
        equal(code, Some(0), &said)?;
        // As a server does that is killed.
        fs::write(&file, &open)?;
        let extend = ["extend", "--directory", &place, &more];
        let (code, said) = put_together(&extend)?;
        let helps = said.contains("--cut-open-transaction");
        equal((code, helps), (Some(2), true), &said)?;
        equal(fs::read(&file)? == open, true, "as it was")?;
        let (code, said) = put_together(&[&extend[..], &["--cut-open-transaction"]].concat())?;
        equal(code, Some(0), &said)?;
        let mut server =
            Running::start_in(home, program, &["--appendonly", "yes"]).map_err(told)?;
        equal(server.log().contains("Truncating"), false, &server.log())?;
        let found = server.ask(&["EXISTS", "a", "z"]).map_err(told)?;
        equal(found, Reply::Line("2".into()), shape)?;
        let found = server.ask(&["EXISTS", "open"]).map_err(told)?;
        equal(found, Reply::Line("0".into()), shape)?;
    }
    Ok(())
}

/// A server that is not root's could not open them otherwise.
fn new_files_belong_to_the_user_of_the_old_ones(program: &Program) -> Tried {
    const USER: u32 = 54_321;
    for shape in ["one", "single"] {
        let home = Directory::new().map_err(told)?;
        let name = |path: &Path| path.to_str().map(str::to_owned).ok_or("a name");
        let source = name(&home.join("first"))?;
        fs::write(&source, commands("a", 10))?;
        let place = home.join("data");
        fs::create_dir(&place)?;
        std::os::unix::fs::chown(&place, Some(USER), Some(USER))?;
        let place_name = name(&place)?;
        let (code, said) = put_together(&[
            "build",
            "--shape",
            shape,
            "--directory",
            &place_name,
            &source,
        ])?;
        equal(code, Some(0), &said)?;
        let (code, said) = put_together(&["extend", "--directory", &place_name, &source])?;
        equal(code, Some(0), &said)?;
        for entry in fs::read_dir(&place)? {
            let entry = entry?;
            let data = entry.metadata()?;
            equal(
                (data.uid(), data.gid()),
                (USER, USER),
                &format!("{entry:?}"),
            )?;
        }
        if shape == "one" {
            let options = ["--appendonly", "yes", "--appenddirname", "data"];
            drop(Running::start_in(home, program, &options).map_err(told)?);
        }
    }
    Ok(())
}

fn an_option_that_is_refused_is_explained(program: &Program) -> Tried {
    let saved = saved(program)?;
    let rdb = saved.path.to_str().ok_or("a name")?.to_owned();
    let place = saved.directory.join("aof");
    let place = place.to_str().ok_or("a name")?.to_owned();
    let cases: [(&[&str], &str); 6] = [
        (
            &["serve", "--rdb", &rdb, "--listen", ":17001"],
            "127.0.0.1:7000",
        ),
        (
            &[
                "serve",
                "--rdb",
                &rdb,
                "--listen",
                "127.0.0.1:0",
                "--most",
                "10 apples",
            ],
            "64K",
        ),
        (
            &[
                "serve",
                "--rdb",
                &rdb,
                "--listen",
                "127.0.0.1:0",
                "--most",
                "0",
            ],
            "at least 1",
        ),
        (
            &["aof", "build", "--directory", &place, "--route", "foo"],
            "read-write, mmap-write, sendfile, splice, copy-file-range",
        ),
        (
            &["aof", "build", "--directory", &place, "--name", "a/b", &rdb],
            "not a file name",
        ),
        (
            &["aof", "build", "--directory", &place],
            "nothing to build it from",
        ),
    ];
    for (case, why) in cases {
        let (code, said) = ends(&mut conformance(case))?;
        let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
        equal((code, words.contains(why)), (Some(2), true), &said)?;
    }
    // A name and a unit.
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    command.args(["redis", "serve", "--listen", "localhost:0", "--most", "64K"]);
    command.args(["--format", "json", "--rdb", &rdb]);
    let master = Master::of(command.stdin(Stdio::null()))?;
    equal(master.end()?.0.code(), Some(0), "exit status")
}

/// What is added begins where a server says that it does.
fn added_commands_go_to_the_database_that_is_named(program: &Program) -> Tried {
    for (shape, of_file) in [("one", "0"), ("single", "5")] {
        let home = Directory::new().map_err(told)?;
        let name = |path: &Path| path.to_str().map(str::to_owned).ok_or("a name");
        let select = [command(&[b"SELECT", b"5"]), command(&[b"SET", b"a", b"1"])].concat();
        let (first, more) = (name(&home.join("first"))?, name(&home.join("more"))?);
        fs::write(&first, select)?;
        fs::write(&more, command(&[b"INCR", b"z"]))?;
        let place = if shape == "single" {
            home.path().to_owned()
        } else {
            home.join("appendonlydir")
        };
        let place = name(&place)?;
        let (code, said) =
            put_together(&["build", "--shape", shape, "--directory", &place, &first])?;
        equal(
            (code, said.contains("ends in database 5")),
            (Some(0), true),
            &said,
        )?;
        let (code, said) = put_together(&["extend", "--directory", &place, &more])?;
        let is_named = said.contains(&format!("begins in database {of_file}"));
        equal((code, is_named), (Some(0), true), &said)?;
        let (code, said) =
            put_together(&["extend", "--select", "9", "--directory", &place, &more])?;
        equal(
            (code, said.contains("begins in database 9")),
            (Some(0), true),
            &said,
        )?;
        let mut server =
            Running::start_in(home, program, &["--appendonly", "yes"]).map_err(told)?;
        for (number, key) in [("5", "a"), (of_file, "z"), ("9", "z")] {
            server.ask(&["SELECT", number]).map_err(told)?;
            let found = server.ask(&["GET", key]).map_err(told)?;
            equal(
                found,
                Reply::Bytes(Some(b"1".to_vec())),
                &format!("{shape}: {key} in {number}"),
            )?;
        }
    }
    Ok(())
}
