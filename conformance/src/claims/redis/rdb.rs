//! The RDB file of a master.

use super::{about_servers, each, is_redis_7, send};
use crate::claims::prelude::*;
use crate::lab::redis::roles::{Pair, opened, saved, start, tell};
use crate::lab::watch::{self, Seen};
use nocopy_sendfile::sendfile;
use std::os::unix::fs::MetadataExt;

/// The attempt that was taken back in 6.0.5.
const SENDFILE: Source = program("redis 6.0.4 src/replication.c", "sendBulkToSlave, HAVE_SENDFILE");

const LENGTH: usize = 16 << 20;

pub const CLAIMS: &[Claim] = &[
    claim(
        "redis.rdb.one-write",
        "One write(socket, rdb_buf, rdb_size) of 16 MiB to a non-blocking TCP socket sends all of it.",
    )
    .published(&[seed("4.2"), man("write(2)", "RETURN VALUE").leaves_open()])
    .about(&[Sysno::write])
    .turned_by(&[Lie::returned(Sysno::write, 16 << 20)])
    .varying(&["write(socket whose peer does not read yet, 16 MiB)", "write(socket whose peer reads, 16 MiB)"])
    .method("The sample has no loop around its write(); that Redis's sockets do not block it does not say.")
    .tried(|_lab, see| {
        let content = pattern(LENGTH);
        for reads in [false, true] {
            let (near, far) = sockets::tcp()?;
            aside(|| io::set_nonblocking(&near)).setup("O_NONBLOCK")?;
            let mut far = Some(far.into());
            let reader = if reads { far.take().map(drain) } else { None };
            let written = io::again(|| io::write(&near, &content));
            let peer = if reads { "peer reads" } else { "peer does not read yet" };
            see.call(format!("write(socket whose {peer}, 16 MiB)"), written);
            see.whether(format!("the {peer}: one write() sends all"), written == Ok(LENGTH)).says("yes");
            // The bytes that are in the socket are sent before the connection ends.
            drop(near);
            let reader = reader.or_else(|| far.map(drain)).ok_or_else(|| Stop::broken("a socket has two ends"))?;
            let received = drained(reader)?;
            let is_so = written == Ok(received.len()) && content.starts_with(&received);
            see.whether(format!("the {peer}, and gets the first bytes, as many as returned"), is_so);
        }
        Ok(())
    }),
    claim(
        "redis.rdb.sendfile",
        "sendfile() with an offset, called again whenever a non-blocking TCP socket has room, sends a file of 1 MiB \
         whole.",
    )
    .published(&[seed("4.2"), seed("4.3"), SENDFILE])
    .about(&[Sysno::sendfile])
    .turned_by(&[Lie::about(Sysno::read, What::Garbled)])
    .varying(&["sendfile() calls that sent", "calls that found the socket full"])
    .except(&[Exception::Of(
        Sysno::sendfile,
        What::Refused(libc::EAGAIN),
        "after EAGAIN the peer reads and the loop calls again: one such call more is in no fact that is steady",
    )])
    .tried(|lab, see| {
        let content = pattern(1 << 20);
        let file = lab.file(&content)?;
        let (near, far) = sockets::tcp()?;
        io::set_nonblocking(&near).setup("O_NONBLOCK")?;
        let (mut offset, mut calls, mut full, mut reported) = (0, 0, 0, 0);
        let (mut received, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        while received.len() < content.len() {
            // The event loop of one process: it sends while there is room, and then lets the peer read.
            match sendfile(&near, &file, Some(&mut offset), content.len()) {
                Ok(count) => (calls, reported) = (calls + 1, reported + count),
                Err(EAGAIN) => full += 1,
                Err(errno) => return Err(Stop::from_setup("sendfile", errno)),
            }
            sockets::wait_for_arrival(&far, 1)?;
            let count = io::read(&far, &mut buffer).setup("read at the peer")?;
            received.extend_from_slice(&buffer[..count]);
        }
        see.count("sendfile() calls that sent", calls).count("calls that found the socket full", full);
        see.count("bytes reported as sent", reported as u64).is(content.len());
        see.text(RECEIVED, as_sent(received == content)).says(AS_SENT);
        Ok(())
    }),
    about_servers(
        "redis.rdb.master-writes",
        "A Redis master sends its RDB file with one write(socket, rdb_buf, rdb_size).",
        &[Sysno::write],
    )
    .published(&[seed("4.2"), program("redis 7.0.15 src/replication.c", "sendBulkToSlave").denies()])
    .except(&[Exception::Controls(
        "the kernel names what another program calls: dd is seen to write a file of that size at once",
    )])
    .varying(&["calls", "bytes of the file"])
    .method("The kernel names the calls of a master with repl-diskless-sync no, by seccomp, while a replica syncs.")
    .tried(each!(|lab, program, see| {
        let mut pair = Pair::start(lab, program, &["--repl-diskless-sync", "no"])?;
        let calls = pair.sync()?;
        let path = pair.master.file("dump.rdb");
        let length = aside(|| std::fs::metadata(&path)).setup("look at the RDB file")?.len();
        let of = |is_one: fn(&Seen) -> bool| calls.iter().filter(|seen| is_one(seen)).cloned().collect::<Vec<_>>();
        let sent = of(|seen| seen.writes() && seen.is_of_kind("socket"));
        let read = of(|seen| seen.reads() && seen.is_of("dump.rdb"));
        if sent.is_empty() || read.is_empty() || length <= 16 << 10 {
            return Err(Stop::broken(format!("{} sends, {} reads, {length} bytes", sent.len(), read.len())));
        }
        let largest = sent.iter().map(Seen::count).max().unwrap_or(0);
        see.text("calls that send", watch::names(&sent)).text("calls that read the file", watch::names(&read));
        see.count("bytes of the file", length).count("calls", sent.len() as u64);
        see.count("most bytes that a call is to send", largest);
        see.text("the whole file", if largest >= length { "in one call" } else { "in pieces" }).says("in one call");
        // The control: one write of a whole file is seen.
        let by_dd = aside(|| watch::written_by_dd(&path, length))?;
        see.whether("a dd with one block of that size is seen to write it at once", by_dd == length).says("yes");
        Ok(())
    })),
    about_servers(
        "redis.rdb.default-has-file",
        "By default, a Redis 7 master sends a replica what it reads from a pipe: there is no RDB file for sendfile().",
        &[Sysno::read],
    )
    .published(&[
        program("redis 7.0.15 redis.conf", "repl-diskless-sync"),
        program("redis 7.0.15 src/replication.c", "rdbPipeReadHandler"),
    ])
    .except(&[Exception::Controls(
        "the kernel names what another program calls: with repl-diskless-sync no it is seen to read a file",
    )])
    .method("The kernel names the calls of a master, by seccomp, while a replica syncs.")
    .tried(each!(|lab, program, see| {
        let mut pair = Pair::start(lab, program, &[])?;
        is_redis_7(program, &mut pair.master)?;
        for (what, expected) in
            [("what it sends comes from", "a pipe"), ("with repl-diskless-sync no it comes from", "a file")]
        {
            if expected == "a file" {
                pair.part()?;
                tell(&mut pair.master, &[&["CONFIG", "SET", "repl-diskless-sync", "no"]])?;
            }
            // Reads that are at least as large as a piece of the data.
            let calls = pair.sync()?;
            let of = |is_one: fn(&Seen) -> bool| {
                calls.iter().any(|seen| seen.reads() && seen.count() >= 4096 && is_one(seen))
            };
            let word = match (of(|seen| seen.is_of("dump.rdb")), of(|seen| seen.is_of_kind("pipe"))) {
                (true, true) => "a file and a pipe",
                (true, false) => "a file",
                (false, true) => "a pipe",
                (false, false) => "the child", // as in Redis 8, which writes to the socket
            };
            see.text(what, word).says(expected);
        }
        Ok(())
    })),
    about_servers(
        "redis.rdb.saved-meanwhile",
        "If a Redis server saves while its RDB file is being sent by sendfile(), the new file takes the name, and the \
         open one keeps its bytes.",
        &[Sysno::sendfile],
    )
    .published(&[program("redis 7.0.15 src/rdb.c", "rdbSave")])
    .turned_by(&[Lie::about(Sysno::read, What::Garbled)])
    .method("Sends half of the file to a TCP socket, has the server save other data, sends the rest, and reads.")
    .tried(each!(|lab, program, see| {
        let mut server = start(lab, program, &["--rdbcompression", "no"])?;
        let path = saved(&mut server, &[&["DEBUG", "POPULATE", "100", "key", "700"]])?;
        let (file, bytes) = opened(&path)?;
        let (near, far) = sockets::tcp()?;
        let (half, length) = (bytes.len() as u64 / 2, bytes.len() as u64);
        send(&near, &file, 0..half)?;
        saved(&mut server, &[&["FLUSHALL"], &["SET", "other", "data"]])?;
        send(&near, &file, half..length)?;
        drop(near);
        let mut came = vec![0; bytes.len() + 1];
        let count = io::read_full(&far, &mut came).setup("read")?;
        see.whether("the bytes of the old file arrive", came[..count] == bytes).says("yes");
        let named = aside(|| std::fs::metadata(&path)).setup("look at the name")?.ino();
        let open = aside(|| file.metadata()).setup("look at the file")?.ino();
        see.text("the name is", if named == open { "that of the same file" } else { "that of another file" })
            .says("that of another file");
        Ok(())
    })),
];
