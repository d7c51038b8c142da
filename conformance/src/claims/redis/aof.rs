//! The append-only file.

use super::{about_servers, content, each, is_redis_7, send};
use crate::claims::prelude::*;
use crate::lab::redis::resp::words;
use crate::lab::redis::roles::{aof, rewrite, start, start_watched, tell};
use crate::lab::redis::servers::Running;
use crate::lab::watch::{self, WRITING};
use nocopy_sendfile::sendfile;
use std::io::{Seek, SeekFrom};

/// How a server opens the file when it starts.
const AT_START: Source = program("redis 7.0.15 src/aof.c", "aofOpenIfNeededOnServerStart");

const OPTIONS: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];
/// The append-only files of a server: the one that it has at start, and those that it makes anew.
const FIRST: &str = "appendonly.aof.1.incr.aof";
const SECOND: &str = "appendonly.aof.2.incr.aof";
const THIRD: &str = "appendonly.aof.3.incr.aof";

pub const CLAIMS: &[Claim] = &[
    claim("redis.aof.sendfile", "sendfile(aof_fd, source_fd, NULL, len) writes to an AOF that is open with O_APPEND.")
        .published(&[seed("4.1"), man("sendfile(2)", "ERRORS, EINVAL").denies(), AT_START.leaves_open()])
        .about(&[Sysno::sendfile])
        .turned_by(&[Lie::accepted(Sysno::sendfile)])
        .tried(|lab, see| {
            let bytes = pattern(16);
            let (source, aof, plain) = (lab.file(&bytes)?, lab.empty_file()?, lab.empty_file()?);
            let append = reopen(&aof, File::options().append(true).create(true))?;
            see.call("sendfile(O_APPEND file, file, NULL, 16)", sendfile(&append, &source, None, 16)).is(16);
            see.length("length of the O_APPEND file", &aof)?;
            let sent = io::until_done(16, |done| sendfile(&plain, &source, None, 16 - done));
            see.call("sendfile(file, file, NULL, 16)", sent).is(16);
            let mut there = [0; 17];
            let count = aside(|| io::pread_full(&plain, &mut there, 0)).setup("pread")?;
            see.text("the file", as_sent(there[..count] == bytes)).says(AS_SENT);
            Ok(())
        }),
    about_servers("redis.aof.server-writes", "A Redis server appends commands to its AOF by write().", &[Sysno::write])
        .published(&[seed("4.1"), program("redis 7.0.15 src/aof.c", "aofWrite")])
        .turned_by(&[Lie::about(Sysno::read, What::Garbled)])
        .method("The kernel names the calls of the server that write or send, by seccomp.")
        .tried(each!(|lab, program, see| {
            let (mut server, watch) = start_watched(lab, program, OPTIONS, WRITING)?;
            let commands: [&[&str]; 3] = [&["SET", "key", "1"], &["APPEND", "key", "2"], &["DEL", "key"]];
            aside(|| watch.take());
            tell(&mut server, &commands)?;
            let mut calls = aside(|| watch.take());
            calls.retain(|seen| seen.is_of(FIRST));
            see.text("calls into its AOF", watch::names(&calls)).says("write");
            let sent = commands.iter().flat_map(|command| words(command));
            let expected: Vec<u8> = words(&["SELECT", "0"]).into_iter().chain(sent).collect();
            let is_so = content(&aof(&server, FIRST))? == expected;
            see.whether("its AOF has the commands and no others", is_so).says("yes");
            Ok(())
        })),
    about_servers(
        "redis.aof.opened-at-start",
        "A Redis server opens its AOF with O_APPEND when it starts, so sendfile() into it fails with EINVAL.",
        &[Sysno::sendfile],
    )
    .published(&[AT_START, man("sendfile(2)", "ERRORS, EINVAL")])
    .turned_by(&[Lie::accepted(Sysno::sendfile), Lie::about(Sysno::sendfile, What::OtherErrno(libc::EBADF))])
    .method(TAKEN)
    .tried(each!(|lab, program, see| {
        let server = start(lab, program, OPTIONS)?;
        let sent = opened(lab, see, &server, FIRST, "at start", "with O_APPEND")?;
        see.call("sendfile(its AOF at start, file)", sent).fails(EINVAL);
        Ok(())
    })),
    about_servers(
        "redis.aof.opened-anew",
        "After BGREWRITEAOF or CONFIG SET appendonly yes, the AOF of a Redis 7 server is open without O_APPEND: \
         sendfile() into it succeeds.",
        &[Sysno::sendfile],
    )
    .published(&[program("redis 7.0.15 src/aof.c", "openNewIncrAofForAppend")])
    .turned_by(&[Lie::refused(Sysno::sendfile, libc::EINVAL)])
    .method(TAKEN)
    .tried(each!(|lab, program, see| {
        let mut server = start(lab, program, OPTIONS)?;
        is_redis_7(program, &mut server)?;
        for (name, when) in [(SECOND, "after BGREWRITEAOF"), (THIRD, "after CONFIG SET")] {
            if name == SECOND {
                rewrite(&mut server, &["BGREWRITEAOF"])?;
            } else {
                tell(&mut server, &[&["CONFIG", "SET", "appendonly", "no"]])?;
                rewrite(&mut server, &["CONFIG", "SET", "appendonly", "yes"])?;
            }
            let before = aside(|| std::fs::read(aof(&server, name))).setup("read the AOF")?;
            let sent = opened(lab, see, &server, name, when, "without O_APPEND")?;
            see.call(format!("sendfile(its AOF {when}, file)"), sent).is(words(OURS).len());
            tell(&mut server, &[THEIRS])?;
            let after = content(&aof(&server, name))?;
            let is_so = after.starts_with(&[before, words(OURS)].concat()) && after.ends_with(&words(THEIRS));
            see.whether(format!("{when}, its next command follows these bytes"), is_so).says("yes");
        }
        Ok(())
    })),
    about_servers(
        "redis.aof.added-behind",
        "After BGREWRITEAOF, a Redis 7 server overwrites what another process has appended to its AOF.",
        &[Sysno::sendfile],
    )
    .published(&[MEASURED])
    .turned_by(&[Lie::about(Sysno::read, What::Garbled)])
    .tried(each!(|lab, program, see| {
        let mut server = start(lab, program, OPTIONS)?;
        is_redis_7(program, &mut server)?;
        add(lab, see, &mut server, "sendfile() at start", "is there")?;
        rewrite(&mut server, &["BGREWRITEAOF"])?;
        add(lab, see, &mut server, "sendfile() after BGREWRITEAOF", "is written over")?;
        add(lab, see, &mut server, "write() after BGREWRITEAOF", "is written over")
    })),
];

const TAKEN: &str = "Shares the descriptor of the server's file (pidfd_getfd), and calls sendfile() with it.";

const OURS: &[&str] = &["SET", "ours", "1"];
/// A longer value: at the old offset it overwrites the whole other command.
const THEIRS: &[&str] = &["SET", "theirs", "a value that is longer"];

/// Notes how a server has opened its file, and returns the result of `sendfile()` with the server's descriptor.
fn opened(
    lab: &Lab,
    see: &mut Observation,
    server: &Running,
    name: &str,
    when: &str,
    expected: &str,
) -> Result<Result<usize, Errno>, Stop> {
    let source = lab.file(&words(OURS))?;
    let (aof, flags) = aside(|| watch::open_file(server.pid(), name))?
        .ok_or_else(|| Stop::broken(format!("the server has no {name} open")))?;
    let with = if flags & libc::O_APPEND == 0 { "without O_APPEND" } else { "with O_APPEND" };
    see.text(format!("its AOF {when}"), with).says(expected);
    Ok(sendfile(&aof, &source, Some(&mut 0), 1 << 20))
}

/// Appends a command to a server's file, has the server append another, and notes what has become of the first.
fn add(lab: &Lab, see: &mut Observation, server: &mut Running, how: &str, expected: &str) -> Result<(), Stop> {
    let path = aof(server, if how.ends_with("start") { FIRST } else { SECOND });
    tell(server, &[&["SET", "first", "1"]])?;
    let before = aside(|| std::fs::read(&path)).setup("read the AOF")?;
    let (ours, source) = (words(OURS), lab.file(&words(OURS))?);
    let mut file = aside(|| File::options().write(true).open(&path)).setup("open the AOF")?;
    aside(|| file.seek(SeekFrom::End(0))).setup("lseek")?;
    if how.starts_with("write") {
        aside(|| io::write_all(&file, &ours)).setup("write to the AOF")?;
    } else {
        send(&file, &source, 0..ours.len() as u64)?;
    }
    if aside(|| std::fs::read(&path)).setup("read the AOF")? != [&before[..], &ours].concat() {
        return Err(Stop::broken("what was added is not there"));
    }
    tell(server, &[THEIRS])?;
    let after = content(&path)?;
    let word = match after.strip_prefix(&before[..]) {
        Some(rest) if rest == words(THEIRS) => "is written over",
        Some(rest) if rest == [ours, words(THEIRS)].concat() => "is there",
        _ => "is among something else",
    };
    see.text(format!("what was added by {how}"), word).says(expected);
    Ok(())
}
