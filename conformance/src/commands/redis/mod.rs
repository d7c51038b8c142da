//! `redis`.

mod bench;

use crate::commands::failure::Failure;
use crate::commands::output::open_output;
use anstream::stream::IsTerminal;
use clap::{Args, Subcommand, ValueEnum};
use conformance::redis::aof::commands::{Entry, Names, Reader};
use conformance::redis::aof::{Aof, Shape};
use conformance::redis::rdb::{self, Format as Writer, Server as Version};
use conformance::redis::serve::{Framing, News, Options, Server, Summary};
use conformance::redis::stop::Signals;
use indicatif::{ProgressBar, ProgressStyle};
use nocopy_host::input::open_regular;
use nocopy_host::programs;
use nocopy_transfer::{Route, WHOLE};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Send an RDB file to replicas without a copy, and build append-only files from files
///
/// It helps where a master sends a file: with disk-based sync (repl-diskless-sync no), over plain TCP, and most where many replicas
/// load one file: a real master's main thread takes four times as much CPU (docs/redis.md has the table). It does not help with
/// diskless sync, the default since Redis 7, for which there is no file; with TLS; nor with writing the append-only file, which
/// comes from memory. `conformance check --filter redis` shows these with a real server.
#[derive(Subcommand)]
pub enum Redis {
    /// Serve one RDB file as a master: replicas (REPLICAOF 127.0.0.1 PORT) and `redis-cli --rdb` sync from it
    ///
    /// A replica that syncs discards its data. So the file is checked first (header, end, checksum), a replica is asked
    /// what it can load, and only loopback is served (see --force, --allow-remote). If replicas must give a password, it is
    /// taken from `NOCOPY_PASSWORD`.
    Serve(Serve),
    /// Build an append-only file from files, or extend one, while no server has it open
    ///
    /// A running server writes what it has in memory; this is for files. Each file of commands is read to its end as a server reads
    /// it when it starts (measured with Redis 7.0.15 and Valkey 9.1.2), and what a server would refuse is refused: truncated commands,
    /// inline commands, transactions without EXEC, commands that one of these servers does not know, or with a number of arguments that
    /// they do not take. Of an RDB file the header, the end and the checksum are checked, not the keys. No file is changed in place: a
    /// signal at any moment leaves the old state or the new one.
    #[command(subcommand)]
    Aof(AofCommand),
    /// Time the cost of sending a file to a replica, by each route and by real masters
    Bench(bench::Options),
}

#[derive(Subcommand)]
pub enum AofCommand {
    /// Build a new one from an RDB file, files of commands, or both
    Build {
        #[command(flatten)]
        place: Place,
        /// RDB file, as written by SAVE: the base
        #[arg(long, value_name = "FILE")]
        rdb: Option<PathBuf>,
        /// Files to write
        #[arg(long, value_enum, default_value_t = Shaped::One)]
        shape: Shaped,
        /// Files of commands, in this order
        ///
        /// In one file, the commands of each begin in the database that the one before ends in (or see --select); with --shape many
        /// each begins in database 0.
        #[arg(value_name = "COMMANDS")]
        commands: Vec<PathBuf>,
    },
    /// Extend one by files of commands: a new increment, or the one file replaced
    ///
    /// The commands of a new increment begin in database 0, those that are added to one file (as before Redis 7) in the database that
    /// it ends in; or see --select.
    Extend {
        #[command(flatten)]
        place: Place,
        /// Leave out a transaction (MULTI) without EXEC at the end of the append-only file
        #[arg(long)]
        cut_open_transaction: bool,
        /// Files of commands, in this order
        #[arg(value_name = "COMMANDS", required = true)]
        commands: Vec<PathBuf>,
    },
}

#[derive(Args)]
pub struct Place {
    /// Directory with the manifest (`appenddirname`); for one file as before Redis 7 that of the server (`dir`)
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
    /// Beginning of the file names (`appendfilename`)
    #[arg(long, value_name = "NAME", default_value = "appendonly.aof")]
    name: String,
    /// Route that copies the files: read-write, mmap-write, sendfile, splice, copy-file-range [default: copy-file-range, and another
    /// where that is refused]
    #[arg(long, value_name = "ROUTE", value_parser = into_files)]
    route: Option<Route>,
    /// Database in which each file of commands begins: puts a SELECT before it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(i32::MAX)))]
    select: Option<u32>,
    #[command(flatten)]
    allowed: Allowed,
    /// Run `redis-check-aof` on the result before it is put into place
    #[arg(long)]
    check: bool,
}

#[derive(Args)]
pub struct Allowed {
    /// Allow a command that is not known to both Redis 7.0 and Valkey 9.1, with any arguments (a module's command; may be repeated)
    #[arg(long, value_name = "NAME")]
    allow_command: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shaped {
    /// A base and one increment
    One,
    /// A base and an increment for each file of commands
    Many,
    /// One file, as before Redis 7
    Single,
}

fn into_files(text: &str) -> Result<Route, String> {
    let into_files = |route: &&Route| !matches!(route, Route::MsgZerocopy { .. } | Route::Vmsplice { .. });
    let mut routes = Route::ALL.iter().filter(into_files);
    if let Some(route) = routes.clone().find(|route| route.name() == text) {
        return Ok(*route);
    }
    let first = routes.next().map_or("", Route::name);
    let names = routes.fold(first.to_owned(), |names, route| format!("{names}, {route}"));
    Err(format!("the routes into a file are {names}"))
}

/// A number of bytes, with a unit or without.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" | "kb" | "kib" => Some(10),
        "m" | "mb" | "mib" => Some(20),
        "g" | "gb" | "gib" => Some(30),
        _ => None,
    };
    let bytes = shift.and_then(|shift| number.parse::<u64>().ok()?.checked_mul(1 << shift));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "a number of bytes, at least 1, with a unit or without: 65536, 64K, 1M".into())
}

/// An address to listen on, of digits or a name.
fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().ok().and_then(|mut all| all.next());
    found
        .filter(|_| !text.starts_with(':'))
        .ok_or_else(|| "an address and a port: 127.0.0.1:7000, [::1]:7000, localhost:7000".into())
}

#[derive(Args)]
pub struct Serve {
    /// RDB file. Replace it by rename and never write it in place: the kernel sends the file's own pages
    #[arg(long, value_name = "FILE")]
    rdb: PathBuf,
    /// Address to listen on; port 0 picks a free port and prints it
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    listen: SocketAddr,
    /// Route to the socket; auto is the best one that is not refused, at most 1 MiB per call
    #[arg(long, value_enum, default_value_t = By::Auto)]
    route: By,
    /// Maximum bytes per call, and for one replica before the next one gets its turn [default: 1 MiB]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    most: Option<u64>,
    /// How to announce the file
    #[arg(long, value_enum, default_value_t = Announced::Length)]
    framing: Announced,
    /// User that replicas must name; the password is in `NOCOPY_PASSWORD`
    #[arg(long, value_name = "NAME", default_value = "default")]
    user: String,
    /// Seconds that a replica waits for the file; it gets newlines meanwhile
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    delay: f64,
    /// Seconds between PINGs to a replica that has the whole file
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    ping: f64,
    /// File of commands to send after the RDB, checked as by `aof build` (annotations are left out); `-` streams them from
    /// standard input
    #[arg(long, value_name = "FILE")]
    commands: Option<PathBuf>,
    #[command(flatten)]
    allowed: Allowed,
    /// Exit once N replicas have the whole file
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    until: Option<u32>,
    /// Version of replicas that do not report one: redis-7.0, valkey-9.1
    #[arg(long, value_name = "PROGRAM-VERSION", value_parser = version)]
    replica_version: Option<Version>,
    /// Listen on and serve addresses beyond loopback
    #[arg(long)]
    allow_remote: bool,
    /// Send the file even if it is damaged, or if a replica may be unable to load it
    #[arg(long)]
    force: bool,
    /// Format of the final report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Write the report to FILE instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Auto,
    Sendfile,
    Splice,
    MmapWrite,
    ReadWrite,
    MsgZerocopy,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Announced {
    /// Its length first; every replica knows this
    Length,
    /// A mark before and after, for replicas that support it
    Mark,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Human,
    /// For programs
    Json,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=86400.0).contains(&number) => Ok(number),
        _ => Err("a number of seconds, a day at most".into()),
    }
}

fn version(text: &str) -> Result<Version, String> {
    let (program, version) = text.split_once('-').unwrap_or((text, ""));
    let program = match program.to_ascii_lowercase().as_str() {
        "redis" => Writer::Redis,
        "valkey" => Writer::Valkey,
        _ => return Err("as redis-7.0 or valkey-9.1".into()),
    };
    let version = rdb::version(version).ok_or("as redis-7.0 or valkey-9.1")?;
    Ok(Version { program, version })
}

pub fn redis_command(command: &Redis) -> Result<bool, Failure> {
    match command {
        Redis::Serve(serve) => serve_command(serve),
        Redis::Aof(command) => aof_command(command),
        Redis::Bench(options) => bench::bench_command(options),
    }
}

fn aof_command(command: &AofCommand) -> Result<bool, Failure> {
    let (AofCommand::Build { place, .. } | AofCommand::Extend { place, .. }) = command;
    let checker = place.check.then(|| {
        let name = "redis-check-aof";
        programs::find(name).ok_or_else(|| Failure::Usage(format!("{name}: not found (apt install redis-tools)")))
    });
    let aof = Aof {
        path: place.directory.clone(),
        name: place.name.clone(),
        route: place.route,
        select: place.select,
        allowed: place.allowed.allow_command.clone(),
        checker: checker.transpose()?,
    };
    let written = match command {
        AofCommand::Build { rdb, shape, commands, .. } => {
            let shape = match shape {
                Shaped::One => Shape::One,
                Shaped::Many => Shape::Many,
                Shaped::Single => Shape::Single,
            };
            aof.build(rdb.as_deref(), commands, shape)
        }
        AofCommand::Extend { commands, cut_open_transaction, .. } => aof.extend(commands, *cut_open_transaction),
    };
    let written = written.map_err(|bad| Failure::Usage(bad.to_string()))?;
    let mut output = io::stdout().lock();
    for (path, database) in &written.begins {
        writeln!(output, "{}: begins in database {database}", path.display())?;
    }
    for file in &written.files {
        write!(output, "{}: {} bytes", file.path.display(), file.bytes)?;
        match file.database {
            Some(database) => writeln!(output, ", ends in database {database}")?,
            None => writeln!(output)?,
        }
    }
    output.write_all(&written.checked)?;
    Ok(true)
}

const MIB: u64 = 1 << 20;

impl Serve {
    fn route(&self) -> Option<Route> {
        // As much at a time as a call is asked for.
        let most = usize::try_from(self.most()).unwrap_or(WHOLE);
        Some(match self.route {
            By::Auto => return None,
            By::Sendfile => Route::Sendfile,
            By::Splice => Route::Splice { pipe: 1 << 20 },
            By::MmapWrite => Route::MmapWrite { window: WHOLE },
            By::ReadWrite => Route::ReadWrite { buffer: most },
            By::MsgZerocopy => Route::MsgZerocopy { window: WHOLE, chunk: most.min(256 << 10) },
        })
    }

    fn most(&self) -> u64 {
        match self.route {
            By::Auto => self.most.unwrap_or(MIB).min(MIB),
            _ => self.most.unwrap_or(MIB),
        }
    }

    fn options(&self) -> Result<Options, Failure> {
        let password = std::env::var("NOCOPY_PASSWORD").ok();
        let is_file = |path: &&Path| *path != Path::new("-");
        let commands = self.commands.as_deref().filter(is_file);
        let commands = commands.map(|path| commands_of(path, &self.allowed.allow_command)).transpose()?;
        Ok(Options {
            route: self.route(),
            budget: self.most(),
            framing: match self.framing {
                Announced::Length => Framing::Length,
                Announced::Mark => Framing::Mark,
            },
            login: password.map(|password| (self.user.clone(), password)),
            delay: Duration::from_secs_f64(self.delay),
            ping: Duration::from_secs_f64(self.ping.max(0.1)),
            allow_remote: self.allow_remote,
            force: self.force,
            version: self.replica_version.clone(),
            commands: commands.unwrap_or_default(),
            until: self.until.map(|until| until as usize),
        })
    }
}

/// The commands of a file, as they are sent: without annotations.
fn commands_of(path: &Path, allowed: &[String]) -> Result<Vec<u8>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Usage(format!("{}: {error}", path.display()));
    let file = open_regular(path)
        .map_err(|error| failed(&format!("{error}; a pipe is read from standard input (--commands -)")))?;
    let mut all = Vec::new();
    { file }.read_to_end(&mut all).map_err(|error| failed(&error))?;
    let mut commands = Vec::new();
    let mut reader = Reader::new(&all[..], 0, Names::Known(allowed));
    while let Some(entry) = reader.entry().map_err(|bad| failed(&bad))? {
        let Entry::Command { range, is_canonical } = entry else {
            continue;
        };
        if !is_canonical {
            return Err(failed(&format!(
                "the command at offset {} is not written as servers write it, and a replica refuses it",
                range.start
            )));
        }
        let place = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
        commands.extend_from_slice(&all[place(range.start)..place(range.end)]);
    }
    match reader.summary().open {
        Some(at) => Err(failed(&format!(
            "the transaction (MULTI) at offset {at} has no EXEC: a replica would never execute it"
        ))),
        None => Ok(commands),
    }
}

fn serve_command(serve: &Serve) -> Result<bool, Failure> {
    if !serve.listen.ip().is_loopback() && !serve.allow_remote {
        return Err(Failure::Usage(format!(
            "{}: a replica that syncs discards its own data, so only loopback is allowed: use 127.0.0.1 or pass --allow-remote",
            serve.listen
        )));
    }
    let options = serve.options()?;
    // Before anybody is served for hours, and the summary has no place.
    let mut output = open_output(serve.output.as_deref())?;
    let name = serve.rdb.display();
    let unusable = |why: &dyn std::fmt::Display| Failure::Usage(format!("{name}: {why}"));
    let file = open_regular(&serve.rdb).map_err(|error| unusable(&error))?;
    // What is sent in any case is not read before.
    let forced = serve.force.then(|| forced(&file)).flatten();
    let checked = match forced {
        Some(checked) => checked,
        None => rdb::check(&file).map_err(|bad| unusable(&bad))?,
    };
    let listener =
        TcpListener::bind(serve.listen).map_err(|error| Failure::Usage(format!("{}: {error}", serve.listen)))?;
    // From here on they are read, and end it in order.
    let signals = Signals::take()?;
    let checksum = if checked.has_checksum { "" } else { ", without a checksum" };
    let address = listener.local_addr()?;
    eprintln!(
        "{name}: {}, {} bytes{checksum}; listening on {address}: REPLICAOF {} {}",
        checked.header,
        checked.length,
        address.ip(),
        address.port()
    );
    let progress = progress(checked.length);
    let mut server = Server::new(listener, file, checked, &options)?;
    if serve.commands.as_deref() == Some(Path::new("-")) {
        let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        server
            .follow(stdin)
            .map_err(|error| Failure::Usage(format!("standard input: {error}: a pipe is followed, a file is named")))?;
    }
    let summary = server.run(&signals, |news| tell(&progress, &news))?;
    progress.finish_and_clear();
    match serve.format {
        Format::Json => {
            serde_json::to_writer(&mut output, &summary).map_err(io::Error::from)?;
            writeln!(output)?;
        }
        Format::Human => report(&mut output, &summary)?,
    }
    output.finish()?;
    let is_good = summary.replicas.iter().all(|one| one.error.is_none());
    Ok(is_good && summary.error.is_none())
}

/// What is sent of a file that may be damaged: all of it, if it has a header.
fn forced(mut file: &File) -> Option<rdb::Checked> {
    let mut bytes = [0; 9];
    io::Seek::rewind(&mut file).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(rdb::Checked { header: rdb::Header::of(&bytes)?, length: file.metadata().ok()?.len(), has_checksum: false })
}

fn tell(progress: &ProgressBar, news: &News) {
    match news {
        News::Progress(_, bytes) => progress.set_position(*bytes),
        News::Begins(peer) => progress.suspend(|| eprintln!("{peer}: gets the file")),
        News::Done(peer) => progress.suspend(|| eprintln!("{peer}: has all")),
        News::Left(peer, why) => progress.suspend(|| eprintln!("{peer}: {why}")),
    }
}

fn report(output: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    for one in &summary.replicas {
        write!(output, "{}", one.peer)?;
        if one.is_replica {
            let (bytes, seconds, steps) = (one.bytes, one.seconds, one.steps);
            write!(output, ": {bytes} bytes in {seconds:.2} s, {steps} steps")?;
        }
        if one.sends > 0 {
            write!(output, ", {} of {} sends copied", one.copied, one.sends)?;
        }
        if one.unpinned > 0 {
            write!(output, ", {} made without the flag: nothing could be pinned (ulimit -l)", one.unpinned)?;
        }
        match &one.error {
            Some(error) => writeln!(output, ": {error}")?,
            None => writeln!(output)?,
        }
    }
    if let Some(error) = &summary.error {
        writeln!(output, "{error}")?;
    }
    let replicas = summary.replicas.iter().filter(|one| one.is_replica);
    let bytes: u64 = summary.replicas.iter().map(|one| one.bytes).sum();
    match replicas.count() {
        0 => writeln!(output, "no replica, {:.3} s of CPU", summary.cpu),
        number => writeln!(
            output,
            "{number} replicas, {bytes} bytes, {:.3} s of CPU; the longest turn of one replica took {:.2} ms, 99 of 100 took {:.2} ms \
             or less",
            summary.cpu, summary.longest, summary.percentile
        ),
    }
}

fn progress(length: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
