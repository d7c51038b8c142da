//! Replicas whose master is the experiment.

use super::{about_servers, content, each, send};
use crate::claims::prelude::*;
use crate::lab::redis::roles::{announce, asking, comes_up, saved, start_replica, taken};
use crate::lab::redis::servers::{self, Running};
use nocopy_sendfile::sendfile;
use std::io::Write;
use std::net::TcpStream;

/// Notes whether a replica has loaded and stored a file. It is not asked if the file was not sent whole.
fn note_loaded(
    see: &mut Observation,
    (replica, socket): (&mut Running, &TcpStream),
    bytes: &[u8],
    is_sent: bool,
) -> Result<(), Stop> {
    let is_up = is_sent && comes_up(replica, socket)?;
    see.text("the replica's link", if is_up { "up" } else { "down" }).says("up");
    let kept = replica.file("dump.rdb");
    let is_same = aside(|| kept.try_exists()).setup("look for the stored file")? && content(&kept)? == bytes;
    see.text("what the replica has stored", if is_same { "the file" } else { "something else" }).says("the file");
    Ok(())
}

pub const CLAIMS: &[Claim] = &[
    about_servers(
        "redis.replica.loads",
        "A replica loads an RDB file that was sent to it by sendfile().",
        &[Sysno::sendfile],
    )
    .published(&[seed("4.2"), seed("4.3"), program("redis 6.0.4 src/replication.c", "sendBulkToSlave, HAVE_SENDFILE")])
    .turned_by(&[Lie::about(Sysno::read, What::Garbled)])
    .tried(each!(|lab, program, see| {
        let (mut replica, _) = start_replica(lab, program, &[])?;
        aside(|| servers::fill(&mut replica))?;
        let path = saved(&mut replica, &[])?;
        let (file, bytes) = taken(&mut replica, &path)?;
        let mut socket = asking(&mut replica)?;
        announce(&mut socket, bytes.len() as u64)?;
        send(&socket, &file, 0..bytes.len() as u64)?;
        note_loaded(see, (&mut replica, &socket), &bytes, true)?;
        see.text("a number at the replica", aside(|| replica.ask(&["GET", "number"]))?).says("12345");
        Ok(())
    })),
    about_servers(
        "redis.replica.sample",
        "The write handler of the sample, sendfile(fd, rdb_fd, NULL, rdb_size) at each event, sends the whole RDB \
         file to a replica.",
        &[Sysno::sendfile],
    )
    .published(&[seed("4.3"), program("redis 7.0.15 src/replication.c", "updateSlavesWaitingBgsave").leaves_open()])
    .turned_by(&[Lie::refused(Sysno::sendfile, libc::EINVAL)])
    .except(&[Exception::Of(
        Sysno::sendfile,
        What::Refused(libc::EAGAIN),
        "after EAGAIN the loop waits for the next event: one such call more is in no fact",
    )])
    .method(
        "Calls it whenever poll() reports POLLOUT, until it returns 0, which the sample does not look at. The replica \
         is held while the first call is made, and the socket has a small send buffer.",
    )
    .tried(each!(|lab, program, see| {
        let (mut replica, watch) = start_replica(lab, program, &["--rdbcompression", "no"])?;
        let path = saved(&mut replica, &[&["DEBUG", "POPULATE", "1500", "key", "700"]])?;
        let (file, bytes) = taken(&mut replica, &path)?;
        let mut socket = asking(&mut replica)?;
        watch.hold();
        announce(&mut socket, bytes.len() as u64)?;
        aside(|| sockets::resize_buffer(&socket, libc::SO_SNDBUF, 1 << 16))?;
        aside(|| io::set_nonblocking(&socket)).setup("O_NONBLOCK")?;
        let (mut total, mut first) = (0, None);
        let last = loop {
            aside(|| io::wait_for(socket.as_fd(), libc::POLLOUT)).setup("poll")?;
            let sent = sendfile(&socket, &file, None, bytes.len());
            first.get_or_insert(sent);
            watch.release();
            match sent {
                Ok(1..) => total += sent.unwrap_or(0),
                Err(EAGAIN) => {}
                last => break last,
            }
        };
        let is_part = first.is_some_and(|sent| sent.is_ok_and(|count| count > 0 && count < bytes.len()));
        see.whether("the first call sends a part", is_part);
        see.call("the last call", last).is(0);
        let is_sent = total == bytes.len();
        see.whether("the counts add up to the file", is_sent).says("yes");
        note_loaded(see, (&mut replica, &socket), &bytes, is_sent)
    })),
    about_servers(
        "redis.replica.written-in-place",
        "If an RDB file without a checksum is written in place between sendfile() and the replica's read(), the \
         replica loads the new bytes.",
        &[Sysno::sendfile],
    )
    .published(&[MEASURED, man("sendfile(2)", "NOTES").leaves_open()])
    .turned_by(&[Lie::skipped(Sysno::pwrite64)])
    .method(
        "Sends a file to a replica that is held when it reads, and changes a value in the file. The control \
         sends it by read() and write().",
    )
    .tried(each!(|lab, program, see| {
        let plain = ["--rdbcompression", "no", "--rdbchecksum", "no"];
        let (mut first, watch) = start_replica(lab, program, &plain)?;
        let path = saved(&mut first, &[&["SET", "key", &"old ".repeat(1000)]])?;
        let (_, bytes) = taken(&mut first, &path)?;
        let at = bytes.windows(8).position(|window| window == b"old old ");
        let at = at.ok_or_else(|| Stop::broken("the RDB file does not have the value"))?;
        let (second, second_watch) = start_replica(lab, program, &plain)?;
        let mut replicas = Vec::new();
        for (way, mut replica, watch) in [("sendfile", first, watch), ("read and write", second, second_watch)] {
            let file = lab.file(&bytes)?;
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
        for (way, mut replica, socket) in replicas {
            let is_up = comes_up(&mut replica, &socket)?;
            let value = aside(|| replica.ask(&["GET", "key"]))?.to_string();
            let word = match value.get(..4) {
                Some("old ") if is_up => "old",
                Some("new ") if is_up => "new",
                _ => "none",
            };
            see.text(format!("the value, by {way}"), word).says(if way == "sendfile" { "new" } else { "old" });
        }
        Ok(())
    })),
];
