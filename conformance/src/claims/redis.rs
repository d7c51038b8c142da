//! The Redis proposals of the source document, with descriptors that are opened as Redis opens them.
//!
//! This file has the kernel's results for the calls. `redis_servers` has the behaviour of real servers.

use super::tools::note_length;
use crate::claim::source::{Source, seed};
use crate::claim::{Claim, Exception};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::{Lab, io, pattern, sockets};
use crate::verdict::{Observation, Setup, Stop, Verdict};
use nocopy_sendfile::sendfile;
use nocopy_splice::{PipeFlags, SpliceFlags, pipe2, splice};
use std::fs::File;
use std::io::{Read, Seek};
use syscalls::{Errno, Sysno};

/// Redis 7.2 `openNewIncrAofForAppend` and 6.0 `startAppendOnly` open the file with these flags.
pub(super) const AOF_FLAGS: Source =
    Source::Thread("redis src/aof.c: open(O_WRONLY|O_TRUNC|O_CREAT) or (O_WRONLY|O_APPEND|O_CREAT)");
pub(super) const REPLICATION: Source =
    Source::Thread("redis src/replication.c, sendBulkToSlave: 16 KiB by read and write per event");

/// Claims about the document's Redis samples.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "write() appends to a file that is opened as Redis opens its AOF.",
        method: "Opens a file O_WRONLY|O_APPEND, as the server does, writes twice, and reads the file.",
        sources: &[seed("4.1"), AOF_FLAGS],
        about: &[Sysno::write],
        lies: &[Lie::skipped(Sysno::write), Lie::about(Sysno::read, What::Garbled)],
        ..Claim::new("redis.aof.write", redis_aof_write, |seen| {
            Verdict::holds_if(seen.is("file afterwards", "old bytes, then both writes"))
        })
    },
    Claim {
        statement: "sendfile(aof_fd, source_fd, NULL, len), as in the sample, appends to an AOF.",
        method: "Makes the call with a target that is opened O_WRONLY|O_APPEND, as the server does; splice() and copy_file_range() \
                 too. The same calls without O_APPEND are the control.",
        sources: &[seed("4.1"), AOF_FLAGS],
        about: &[Sysno::sendfile, Sysno::splice, Sysno::copy_file_range],
        lies: &[Lie::accepted(Sysno::sendfile)],
        ..Claim::new("redis.aof.sendfile", redis_aof_sendfile, |seen| {
            Verdict::holds_if(seen.succeeded("sendfile(O_APPEND file, file)"))
        })
    },
    Claim {
        statement: "One write(socket, rdb_buf, rdb_size) sends an RDB file.",
        method: "Writes 16 MiB to a non-blocking TCP socket, as a server's are, whose peer does not read.",
        sources: &[seed("4.2"), REPLICATION],
        about: &[Sysno::write],
        lies: &[Lie::returned(Sysno::write, 16 << 20)],
        varies: &["write(non-blocking socket, 16 MiB)"],
        ..Claim::new("redis.rdb.one-write", redis_rdb_one_write, |seen| {
            Verdict::holds_if(seen.returned("write(non-blocking socket, 16 MiB)") == Some(RDB_LENGTH as u64))
        })
    },
    Claim {
        statement: "An RDB file on disk can be sent to a replica by sendfile().",
        method: "Sends a file to a non-blocking TCP socket by sendfile() with an offset, going on when the socket has room; the \
                 receiver checks every byte.",
        sources: &[seed("4.2"), seed("4.3"), Source::Thread("redis/redis#7096")],
        about: &[Sysno::sendfile],
        lies: &[Lie::about(Sysno::read, What::Garbled)],
        varies: &["sendfile() calls that sent", "calls that found the socket full"],
        exceptions: &[Exception::Of(
            Sysno::sendfile,
            What::Refused(libc::EAGAIN),
            "after EAGAIN the replica reads and the loop goes on: one such call more is in no fact that is steady",
        )],
        ..Claim::new("redis.rdb.sendfile", redis_rdb_sendfile, |seen| {
            Verdict::holds_if(seen.is("bytes at the replica", "the file's"))
        })
    },
    Claim {
        statement: "sendfile(fd, rdb_fd, NULL, rdb_size) in the write handler, as in the sample, sends the file to every replica.",
        method: "Makes the sample's call for two replicas that are fed from one descriptor, and reads what each got.",
        sources: &[seed("4.3"), REPLICATION],
        about: &[Sysno::sendfile],
        lies: &[Lie::about(Sysno::sendfile, What::PositionKept)],
        ..Claim::new("redis.replica.shared-position", redis_replica_shared_position, |seen| {
            Verdict::holds_if(
                seen.counted("bytes at the first replica") == 4096
                    && seen.counted("bytes at the second replica") == 4096,
            )
        })
    },
];

/// Opens the file once more for appending, as Redis opens its AOF.
fn open_for_append(file: &File) -> Result<File, Stop> {
    super::tools::reopen(file, File::options().append(true))
}

fn redis_aof_write(lab: &Lab) -> Result<Observation, Stop> {
    let mut file = lab.file(b"old ")?;
    let aof = open_for_append(&file)?;
    let mut seen = Observation::new();
    io::write_all(&aof, b"new ").setup("write")?;
    io::write_all(&aof, b"newer").setup("write")?;
    let mut content = String::new();
    file.rewind().setup("lseek")?;
    file.read_to_string(&mut content).setup("read the file")?;
    let appended = content == "old new newer";
    seen.text("file afterwards", if appended { "old bytes, then both writes" } else { "something else" });
    Ok(seen)
}

fn redis_aof_sendfile(lab: &Lab) -> Result<Observation, Stop> {
    let source = lab.file(&pattern(64))?;
    let aof = open_for_append(&lab.empty_file()?)?;
    let plain = lab.empty_file()?;
    let mut seen = Observation::new();
    seen.call("sendfile(O_APPEND file, file)", sendfile(&aof, &source, Some(&mut 0), 16));
    seen.call("splice(pipe, O_APPEND file)", splice_into(&aof)?);
    seen.call("copy_file_range(file, O_APPEND file)", io::copy_file_range(&source, &aof, 16));
    seen.call("sendfile(file, file)", sendfile(&plain, &source, Some(&mut 0), 16));
    seen.call("splice(pipe, file)", splice_into(&plain)?);
    for (name, file) in [("O_APPEND", &aof), ("plain", &plain)] {
        note_length(&mut seen, &format!("length of the {name} file"), file)?;
    }
    if seen.failed_with("sendfile(file, file)", Errno::EINVAL) {
        return Err(Stop::broken("sendfile() is refused without O_APPEND too"));
    }
    Ok(seen)
}

fn splice_into(file: &File) -> Result<Result<usize, Errno>, Stop> {
    let pipe = pipe2(PipeFlags::CLOEXEC).setup("pipe2")?;
    io::write_all(&pipe.write, &[0; 16]).setup("write to a pipe")?;
    Ok(splice(&pipe.read, None, file, None, 16, SpliceFlags::empty()))
}

const RDB_LENGTH: usize = 16 << 20;

fn redis_rdb_one_write(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = sockets::tcp()?;
    sockets::resize_buffer(&near, libc::SO_SNDBUF, 1 << 18)?;
    sockets::resize_buffer(&far, libc::SO_RCVBUF, 1 << 18)?;
    io::set_nonblocking(&near).setup("O_NONBLOCK")?;
    let written = io::write(&near, &vec![0; RDB_LENGTH]);
    // The bytes that have not been sent are sent now, before the connection ends.
    drop(near);
    let arrived = aside(|| std::io::copy(&mut &far, &mut std::io::sink())).setup("read")?;
    let mut seen = Observation::new();
    seen.call("write(non-blocking socket, 16 MiB)", written);
    seen.text(
        "the count and what arrives",
        if written.is_ok_and(|count| count as u64 == arrived) { "the same" } else { "another" },
    );
    Ok(seen)
}

fn redis_rdb_sendfile(lab: &Lab) -> Result<Observation, Stop> {
    let content = pattern(1 << 20);
    let file = lab.file(&content)?;
    let (near, far) = sockets::tcp()?;
    io::set_nonblocking(&near).setup("O_NONBLOCK")?;
    let (mut offset, mut calls, mut full, mut reported) = (0, 0, 0, 0);
    let mut received = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while received.len() < content.len() {
        // The event loop of one process: it sends while there is room, and then lets the replica read.
        match sendfile(&near, &file, Some(&mut offset), content.len()) {
            Ok(count) => {
                calls += 1;
                reported += count;
            }
            Err(Errno::EAGAIN) => full += 1,
            Err(errno) => return Err(Stop::from_setup("sendfile", errno)),
        }
        sockets::wait_for_arrival(&far, 1)?;
        let count = io::read(&far, &mut buffer).setup("read at the replica")?;
        received.extend_from_slice(&buffer[..count]);
    }
    if reported != content.len() {
        return Err(Stop::broken(format!("{reported} bytes were reported as sent")));
    }
    let mut seen = Observation::new();
    seen.count("sendfile() calls that sent", calls).count("calls that found the socket full", full);
    seen.text("bytes at the replica", if received == content { "the file's" } else { "others" });
    Ok(seen)
}

fn redis_replica_shared_position(lab: &Lab) -> Result<Observation, Stop> {
    let content = pattern(4096);
    let file = lab.file(&content)?;
    let mut seen = Observation::new();
    let mut got = Vec::new();
    for name in ["first", "second"] {
        let (near, far) = sockets::tcp()?;
        let sent = sendfile(&near, &file, None, content.len());
        seen.call(format!("sendfile(rdb) to the {name} replica"), sent);
        // No more bytes follow, so the replica reads what it has received.
        drop(near);
        let mut bytes = vec![0; content.len()];
        let count = io::read_full(&far, &mut bytes).setup("read at the replica")?;
        let from = got.iter().map(|(_, count)| count).sum::<usize>() % content.len();
        if content.get(from..from + count) != Some(&bytes[..count]) {
            return Err(Stop::broken("a replica got other bytes"));
        }
        got.push((name, count));
    }
    for (name, count) in got {
        seen.count(format!("bytes at the {name} replica"), count as u64);
    }
    Ok(seen)
}
