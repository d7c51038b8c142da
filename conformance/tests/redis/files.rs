//! Random files of commands, whole and damaged: what `redis aof` accepts, Redis and Valkey load to the end, and what it refuses, one of
//! them does not.

use super::{Tried, equal, put_together, told};
use conformance::lab::redis::resp::command;
use conformance::lab::redis::servers;
use conformance::lab::redis::servers::{Client, Directory, Program, Reply, Running};
use fastrand::Rng;
use libtest_mimic::Failed;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of files, unless `NOCOPY_FILES` is set: a number, or the files from one to another (`17..18`).
const FILES: u64 = 42;
/// Where the numbers of the files begin: each makes the same file again.
const SEED: u64 = 20_26;
/// Number of workers.
const AT_ONCE: usize = 4;

/// What is done to a file.
const DAMAGES: &[&str] = &[
    "none",
    "cut off",
    "inline command",
    "blank line",
    "no arguments",
    "another byte",
    "another length",
    "an RDB in the middle",
    "an open transaction",
    "LF only",
    "a bad annotation",
    "an unknown command",
    "too few arguments",
    "DISCARD in a transaction",
];

/// A file of commands: where each begins and ends, and its bytes.
#[derive(Clone, Default)]
struct Commands {
    bytes: Vec<u8>,
    boundaries: Vec<usize>,
    /// Commands alone, as a client sends them, and how many.
    plain: Vec<u8>,
    number: usize,
}

impl Commands {
    fn push(&mut self, words: &[&[u8]]) {
        let bytes = command(words);
        self.boundaries.push(self.bytes.len());
        self.bytes.extend_from_slice(&bytes);
        self.plain.extend(bytes);
        self.number += 1;
    }

    fn random(random: &mut Rng) -> Self {
        let mut all = Self::default();
        let number = random.usize(1..60);
        let mut is_open = false;
        for _ in 0..number {
            all.push_random(random, &mut is_open);
        }
        if is_open {
            all.push(&[b"EXEC"]);
        }
        all
    }

    fn push_random(&mut self, random: &mut Rng, is_open: &mut bool) {
        // Names of a few, so that types clash, values are added to, and some are binary.
        let keys: [&[u8]; 6] = [
            b"a",
            b"b",
            b"key",
            b"\r\n*3\r\n$3\r\n",
            b"\x00\xff#",
            b"list",
        ];
        let key = keys[random.usize(..keys.len())];
        let length = match random.u8(..40) {
            0 => random.usize(..300_000),
            1..10 => 0,
            _ => random.usize(..80),
        };
        let value: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        let number = random.i64(-1000..1000).to_string();
        let number = number.as_bytes();
        let id = format!("{}-{}", random.u32(1..), random.u8(..));
        match random.u8(..24) {
            0..5 => self.push(&[b"SET", key, &value]),
            5 => self.push(&[b"set", key, number]),
            6 => self.push(&[b"RPUSH", key, &value, number]),
            7 => self.push(&[b"LPUSH", key, &value]),
            8 => self.push(&[b"HSET", key, b"field", &value, number, b"1"]),
            9 => self.push(&[b"SADD", key, &value, number]),
            10 => self.push(&[b"ZADD", key, number, &value]),
            11 => self.push(&[b"Incr", key]),
            12 => self.push(&[b"DEL", key]),
            13 => self.push(&[b"EXPIRE", key, b"100000"]),
            14 => self.push(&[b"APPEND", key, &value]),
            15 => self.push(&[b"SETEX", key, b"100000", &value]),
            16 => self.push(&[b"XADD", key, id.as_bytes(), b"field", &value]),
            17 => self.push(&[b"SELECT", random.u8(..18).to_string().as_bytes()]),
            18 => {
                let name: &[u8] = if *is_open { b"EXEC" } else { b"MULTI" };
                *is_open = !*is_open;
                self.push(&[name]);
            }
            19 => self.push(&[b"PING"]),
            20 => self.push(&[b"SET", key, &value, b"NONSENSE"]),
            21 => self.push(&[b"CONFIG", b"GET", b"databases"]),
            _ => {
                let line = format!("#TS:{}\r\n", random.u32(..));
                self.boundaries.push(self.bytes.len());
                self.bytes.extend(line.into_bytes());
            }
        }
    }

    /// Both, as one client sends them.
    fn followed_by(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.plain.extend_from_slice(&other.plain);
        both.number += other.number;
        both
    }

    fn boundary(&self, random: &mut Rng) -> usize {
        let at = random.usize(..=self.boundaries.len());
        self.boundaries.get(at).copied().unwrap_or(self.bytes.len())
    }

    fn insert(&mut self, at: usize, bytes: &[u8]) {
        self.bytes.splice(at..at, bytes.iter().copied());
    }

    /// Damages it in this way.
    fn damage(&mut self, kind: &str, rdb: &[u8], random: &mut Rng) {
        let at = self.boundary(random);
        match kind {
            "cut off" => self.bytes.truncate(random.usize(..=self.bytes.len())),
            "inline command" => self.insert(at, b"PING\r\n"),
            "blank line" => self.insert(at, [&b"\r\n"[..], b"\n"][random.usize(..2)]),
            "no arguments" => self.insert(
                at,
                [&b"*0\r\n"[..], b"*-1\r\n", b"*\r\n"][random.usize(..3)],
            ),
            "another byte" => {
                let at = random.usize(..self.bytes.len());
                self.bytes[at] = random.u8(..);
            }
            "another length" => {
                let dollars = (0..self.bytes.len() - 1).filter(|at| self.bytes[*at] == b'$');
                let dollars: Vec<usize> = dollars.collect();
                if let Some(at) = random.choice(dollars) {
                    self.bytes[at + 1] =
                        [b'0', b'1', b'3', b'9', b'-', b' ', b'+'][random.usize(..7)];
                }
            }
            // At the very front servers load it, and this program has another place for it.
            "an RDB in the middle" => self.insert(
                at.max(self.boundaries.get(1).copied().unwrap_or(self.bytes.len())),
                rdb,
            ),
            "an open transaction" => {
                self.push(&[b"MULTI"]);
                self.push(&[b"SET", b"a", b"1"]);
            }
            "LF only" => {
                let bytes = [
                    &b"*1\n$4\nPING\n"[..],
                    b"*1\n$4\nPING\r\n",
                    b"*1\r\n$4\nPINGxx",
                ][random.usize(..3)];
                self.insert(at, bytes);
            }
            "a bad annotation" => {
                let long = [
                    b"#".to_vec(),
                    b"x".repeat(random.usize(1000..1100)),
                    b"\n".to_vec(),
                ]
                .concat();
                let lines: [&[u8]; 4] = [b"#TS:x\n", b"#", b"TS:1\r\n", &long];
                self.insert(at, lines[random.usize(..4)]);
            }
            "an unknown command" => self.insert(at, &command(&[b"NOSUCH", b"a"])),
            "too few arguments" => self.insert(at, &command(&[b"SET", b"a"])),
            "DISCARD in a transaction" => {
                self.push(&[b"MULTI"]);
                self.push(&[b"DISCARD"]);
                self.push(&[b"EXEC"]);
            }
            _ => {}
        }
    }
}

/// Servers that get the same commands from a client: what a server must have loaded.
struct References(Vec<(Program, Running)>);

impl References {
    fn start(programs: &[Program]) -> Result<Self, Failed> {
        let started = programs.iter().map(|program| {
            let server = Running::start(program, &[]).map_err(told)?;
            Ok((program.clone(), server))
        });
        started.collect::<Result<_, Failed>>().map(Self)
    }

    /// What each has in memory after these: each begins in database 0.
    fn digests(&mut self, files: &[&Commands]) -> Result<Vec<String>, Failed> {
        let digests = self.0.iter_mut().map(|(_, server)| {
            server.ask(&["FLUSHALL"]).map_err(told)?;
            for file in files {
                Client::new(server.address)?.ask_all(&file.plain, file.number)?;
            }
            digest(server)
        });
        digests.collect()
    }
}

fn digest(server: &mut Running) -> Result<String, Failed> {
    let digest = server.ask(&["DEBUG", "DIGEST"]);
    let digest = digest.map_err(|stop| format!("{stop:?}: {}", server.log()))?;
    let keys = server.info("keyspace", "db0").map_err(told)?;
    let keys = keys.split(',').next().unwrap_or_default();
    Ok(format!("{digest} {keys}"))
}

/// What a server has in memory that starts with these files, if it loads them to the end.
fn loads(program: &Program, files: &Path) -> Result<Option<String>, Failed> {
    let home = Directory::new().map_err(told)?;
    copy(files, home.path())?;
    let options = ["--appendonly", "yes", "--appendfsync", "no"];
    match Running::start_in(home, program, &options) {
        Ok(mut server) => {
            if server.log().contains("Truncating the AOF") {
                return Ok(None);
            }
            match digest(&mut server) {
                // Redis reads past the arguments of a command that has too few, and may end of that later.
                Err(_)
                    if server
                        .wait_until(|server| Ok(server.ended().is_some()))
                        .map_err(told)? =>
                {
                    Ok(None)
                }
                found => found.map(Some),
            }
        }
        Err(stop) => {
            let text = format!("{stop:?}");
            let has_ended = text.contains("has ended");
            equal(has_ended, true, &text)?;
            Ok(None)
        }
    }
}

/// Every file of a directory, with what is in it.
pub fn contents(
    place: &Path,
) -> Result<std::collections::BTreeMap<std::ffi::OsString, Vec<u8>>, Failed> {
    let mut all = std::collections::BTreeMap::new();
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        all.insert(entry.file_name(), fs::read(entry.path())?);
    }
    Ok(all)
}

fn copy(from: &Path, into: &Path) -> Tried {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let path = into.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&path)?;
            copy(&entry.path(), &path)?;
        } else {
            fs::copy(entry.path(), path)?;
        }
    }
    Ok(())
}

/// What came of a run.
#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
    /// Files that a server does not load, or not with the keys that were expected.
    not_loaded: AtomicU64,
    /// Files that both servers load.
    wrongly_refused: AtomicU64,
}

/// One command of `redis aof`, and what the servers do with the files.
struct Attempt<'a> {
    what: String,
    arguments: &'a [&'a str],
    /// The directory that a server starts in.
    home: &'a Path,
    /// The same by hand, without a check.
    raw: &'a Path,
    /// What each server is to have, if it is known.
    expected: Option<Vec<String>>,
}

impl Attempt<'_> {
    /// Whether it was accepted; what is wrong is added to the faults.
    fn make(&self, common: &Common<'_>, faults: &mut Vec<String>) -> Result<bool, Failed> {
        let Common {
            programs, counts, ..
        } = common;
        let (code, said) = put_together(self.arguments)?;
        let is_accepted = code == Some(0);
        equal(
            is_accepted || code == Some(2),
            true,
            &format!("{}: {code:?} {said}", self.what),
        )?;
        let place = if is_accepted { self.home } else { self.raw };
        let found = programs.iter().map(|program| loads(program, place));
        let found = found.collect::<Result<Vec<_>, Failed>>()?;
        if is_accepted {
            counts.accepted.fetch_add(1, Ordering::Relaxed);
            let is_right = match &self.expected {
                Some(expected) => expected
                    .iter()
                    .map(Some)
                    .eq(found.iter().map(Option::as_ref)),
                None => found.iter().all(Option::is_some),
            };
            if !is_right {
                counts.not_loaded.fetch_add(1, Ordering::Relaxed);
                faults.push(format!(
                    "{} was accepted: {found:?}, not {:?}",
                    self.what, self.expected
                ));
            }
        } else {
            counts.refused.fetch_add(1, Ordering::Relaxed);
            if found.iter().all(Option::is_some) {
                counts.wrongly_refused.fetch_add(1, Ordering::Relaxed);
                faults.push(format!(
                    "{} was refused, and both load it: {said}",
                    self.what
                ));
            }
        }
        Ok(is_accepted)
    }
}

/// The manifest of files that are written by hand.
fn write_raw(home: &Path, shape: &str, rdb: Option<&[u8]>, files: &[&[u8]]) -> Tried {
    let base = rdb.unwrap_or_default();
    if shape == "single" {
        fs::write(
            home.join("appendonly.aof"),
            [base, &files.concat()].concat(),
        )?;
        return Ok(());
    }
    let place = home.join("appendonlydir");
    fs::create_dir_all(&place)?;
    let mut manifest = String::new();
    if rdb.is_some() {
        fs::write(place.join("appendonly.aof.1.base.rdb"), base)?;
        manifest.push_str("file appendonly.aof.1.base.rdb seq 1 type b\n");
    }
    for (number, bytes) in (1..).zip(files) {
        let name = format!("appendonly.aof.{number}.incr.aof");
        fs::write(place.join(&name), bytes)?;
        writeln!(manifest, "file {name} seq {number} type i")?;
    }
    fs::write(place.join("appendonly.aof.manifest"), manifest)?;
    Ok(())
}

/// What all attempts have in common.
struct Common<'a> {
    programs: &'a [Program],
    /// An RDB that both load, and the commands that make it.
    rdb: (&'a Path, &'a Commands),
    rdb_bytes: &'a [u8],
    counts: &'a Counts,
}

/// Random files: one to build from, which may be damaged, the same as it was, and one to add, which may be damaged if the first is not.
struct Files {
    kind: &'static str,
    is_first_damaged: bool,
    shape: &'static str,
    with_rdb: bool,
    first: Commands,
    whole: Commands,
    second: Commands,
}

impl Files {
    fn random(number: u64, rdb: &[u8]) -> Self {
        let mut random = Rng::with_seed(SEED.wrapping_mul(1_000_003) + number);
        let kinds = DAMAGES.len();
        // Each kind in the file to build from, and then in the file that is added.
        let at = usize::try_from(number).unwrap_or_default();
        let (kind, is_first_damaged) = (DAMAGES[at % kinds], (at / kinds).is_multiple_of(2));
        let shape = ["one", "many", "single"][random.usize(..3)];
        let with_rdb = random.bool();
        let whole = Commands::random(&mut random);
        let (mut first, mut second) = (whole.clone(), Commands::random(&mut random));
        let damaged = if is_first_damaged {
            &mut first
        } else {
            &mut second
        };
        damaged.damage(kind, rdb, &mut random);
        Self {
            kind,
            is_first_damaged,
            shape,
            with_rdb,
            first,
            whole,
            second,
        }
    }

    /// The directory of an append-only file, in that of its server.
    fn place(&self, home: &Path) -> Result<String, Failed> {
        let place = if self.shape == "single" {
            home.to_owned()
        } else {
            home.join("appendonlydir")
        };
        name(&place)
    }

    /// The bytes of the files that it is built from.
    fn built<'a>(&'a self, first: &'a Commands) -> Vec<&'a [u8]> {
        let mut files = vec![&first.bytes[..]];
        if self.shape == "many" {
            files.push(&self.whole.bytes);
        }
        files
    }

    /// The commands that are in the files that it is built from.
    fn expected<'a>(&'a self, rdb: &'a Commands) -> Vec<&'a Commands> {
        let mut all = Vec::new();
        if self.with_rdb {
            all.push(rdb);
        }
        all.push(&self.whole);
        if self.shape == "many" {
            all.push(&self.whole);
        }
        all
    }

    fn write_raw(&self, home: &Path, rdb: &[u8], files: &[&[u8]]) -> Tried {
        write_raw(home, self.shape, self.with_rdb.then_some(rdb), files)
    }
}

fn name(path: &Path) -> Result<String, Failed> {
    Ok(path.to_str().map(str::to_owned).ok_or("a name")?)
}

/// One random file to build from, and one to add.
fn one(
    number: u64,
    common: &Common<'_>,
    references: &mut References,
    faults: &mut Vec<String>,
) -> Tried {
    let files = Files::random(number, common.rdb_bytes);
    let sources = Directory::new().map_err(told)?;
    let write = |what: &str, bytes: &[u8]| -> Result<String, Failed> {
        let path = sources.join(what);
        fs::write(&path, bytes)?;
        name(&path)
    };
    let mut names = Vec::new();
    for (at, bytes) in files.built(&files.first).into_iter().enumerate() {
        names.push(write(&format!("file{at}"), bytes)?);
    }
    let (home, raw) = (
        Directory::new().map_err(told)?,
        Directory::new().map_err(told)?,
    );
    files.write_raw(raw.path(), common.rdb_bytes, &files.built(&files.first))?;
    let (place, rdb) = (files.place(home.path())?, name(common.rdb.0)?);
    let mut arguments = vec!["build", "--directory", &place, "--shape", files.shape];
    if files.with_rdb {
        arguments.extend(["--rdb", &rdb]);
    }
    arguments.extend(names.iter().map(String::as_str));
    let is_known = files.kind == "none" || !files.is_first_damaged;
    let mut expected = files.expected(common.rdb.1);
    let digests = is_known
        .then(|| references.digests(&expected))
        .transpose()?;
    let attempt = Attempt {
        what: format!("file {number} ({}), build {}", files.kind, files.shape),
        arguments: &arguments,
        home: home.path(),
        raw: raw.path(),
        expected: digests,
    };
    let is_built = attempt.make(common, faults)?;
    // What is extended is whole.
    if !is_built {
        files.write_raw(home.path(), common.rdb_bytes, &files.built(&files.whole))?;
    }
    let added = write("added", &files.second.bytes)?;
    let raw = Directory::new().map_err(told)?;
    let mut bytes = files.built(if is_built { &files.first } else { &files.whole });
    bytes.push(&files.second.bytes);
    files.write_raw(raw.path(), common.rdb_bytes, &bytes)?;
    let joined;
    if files.shape == "single" {
        // The added commands begin in the database that the file ends in.
        joined = files.whole.followed_by(&files.second);
        expected.pop();
        expected.push(&joined);
    } else {
        expected.push(&files.second);
    }
    let is_known = files.kind == "none" || (files.is_first_damaged && !is_built);
    let digests = is_known
        .then(|| references.digests(&expected))
        .transpose()?;
    let attempt = Attempt {
        what: format!("file {number} ({}), extend {}", files.kind, files.shape),
        arguments: &["extend", "--directory", &place, &added],
        home: home.path(),
        raw: raw.path(),
        expected: digests,
    };
    attempt.make(common, faults)?;
    Ok(())
}

/// Tries `NOCOPY_FILES` random files, or a few.
pub fn command_files_are_accepted_if_and_only_if_servers_load_them(programs: &[Program]) -> Tried {
    let asked = std::env::var("NOCOPY_FILES").unwrap_or_else(|_| FILES.to_string());
    let (first, end) = asked.split_once("..").unwrap_or(("0", &asked));
    let (first, end): (u64, u64) = (first.parse()?, end.parse()?);
    let number = end - first;
    // An RDB that both load is one of Redis.
    let mut server = Running::start(&programs[0], &[]).map_err(told)?;
    let mut commands = Commands::default();
    commands.push(&[b"SELECT", b"3"]);
    commands.push(&[b"SET", b"of the RDB", b"\xff\0\0\0\0\0\0\0\0*1"]);
    commands.push(&[b"RPUSH", b"list of the RDB", b"1", b"2"]);
    Client::new(server.address)?.ask_all(&commands.plain, commands.number)?;
    let rdb = servers::saved(&mut server).map_err(told)?;
    let (next, counts) = (AtomicU64::new(first), Counts::default());
    let common = Common {
        programs,
        rdb: (&rdb, &commands),
        rdb_bytes: &fs::read(&rdb)?,
        counts: &counts,
    };
    let workers: Vec<Result<Vec<String>, Failed>> = std::thread::scope(|scope| {
        let work = || {
            let mut references = References::start(programs)?;
            let mut faults = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= end {
                    return Ok(faults);
                }
                let made = one(at, &common, &mut references, &mut faults);
                made.map_err(|failed| {
                    format!("file {at}: {}", failed.message().unwrap_or_default())
                })?;
            }
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(faults) => faults,
            Err(_) => Err("a worker panicked".into()),
        });
        joined.collect()
    });
    let mut faults = Vec::new();
    for worker in workers {
        faults.extend(worker?);
    }
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{number} files, each built from and added: {} accepted, {} refused; {} accepted and not loaded, {} refused and loaded by both",
        count(&counts.accepted),
        count(&counts.refused),
        count(&counts.not_loaded),
        count(&counts.wrongly_refused)
    );
    equal(
        count(&counts.accepted) > 0 && count(&counts.refused) > 0,
        true,
        "both happen",
    )?;
    equal(faults, Vec::new(), "faults")
}

/// `COMMAND` of a server of the version that the list is of, against the list.
pub fn the_list_of_commands_is_that_of_the_servers(program: &Program) -> Tried {
    let mut server = Running::start(program, &[]).map_err(told)?;
    let field = if program.name == "Redis" {
        "redis_version"
    } else {
        "valkey_version"
    };
    let version = server.info("server", field).map_err(told)?;
    let of_list = if program.name == "Redis" {
        "7.0."
    } else {
        "9.1."
    };
    if !version.starts_with(of_list) {
        eprintln!(
            "{} {version}: the list is of {of_list}x, and is not compared",
            program.name
        );
        return Ok(());
    }
    let mut found = std::collections::BTreeMap::new();
    note(&server.ask(&["COMMAND"]).map_err(told)?, &mut found)?;
    let mut faults = Vec::new();
    for (name, arity, is_redis) in conformance::redis::aof::commands::list() {
        match found.remove(name) {
            // Where the two differ the list has what both take.
            Some(other) if other == arity || (other.abs() <= arity.abs() && arity < 0) => {}
            None if program.name == "Redis" && !is_redis => {}
            other => faults.push(format!("{name}: {other:?}, in the list {arity}")),
        }
    }
    faults.extend(found.keys().map(|name| format!("{name}: not in the list")));
    equal(faults, Vec::new(), &version)
}

/// The commands of an answer, with their subcommands.
fn note(reply: &Reply, found: &mut std::collections::BTreeMap<String, i64>) -> Tried {
    let Reply::Many(commands) = reply else {
        return Err(format!("{reply:?}").into());
    };
    for one in commands {
        let Reply::Many(fields) = one else {
            return Err(format!("{one:?}").into());
        };
        let [name, arity, ..] = &fields[..] else {
            return Err(format!("{fields:?}").into());
        };
        found.insert(name.to_string(), arity.to_string().parse()?);
        if let Some(more) = fields.get(9) {
            note(more, found)?;
        }
    }
    Ok(())
}
