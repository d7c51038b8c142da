//! `poll` of a pipe.

use super::{USER, pipe_of, put};
use crate::claims::prelude::*;
use nocopy_splice::PipeFlags;

const POLL: &[Sysno] = &[Sysno::ppoll];

pub const CLAIMS: &[Claim] = &[
    claim(
        "pipe.poll.writable",
        "A full pipe is ready for writing (POLLOUT) once a whole page of it has been read, and not after one byte.",
    )
    .published(&[kernel("fs/pipe.c", "pipe_poll")])
    .about(POLL)
    .turned_by(&[Lie::returned(Sysno::ppoll, 1).after(1), Lie::returned(Sysno::ppoll, 0).after(2)])
    .sharing(USER)
    .tried(|_lab, see| {
        let pipe = pipe_of(2, PipeFlags::NONBLOCK)?;
        fill(&pipe, 2 * page())?;
        for (after, count, ready) in [("nothing", 0, "none"), ("a byte", 1, "none"), ("a page", page() - 1, "POLLOUT")]
        {
            aside(|| io::read_full(&pipe.read, &mut vec![0; count])).setup("read a pipe")?;
            see.text(format!("full pipe after {after} has been read"), events(&pipe.write, libc::POLLOUT)).says(ready);
        }
        Ok(())
    }),
    claim(
        "pipe.poll.events",
        "poll() reports POLLIN for bytes, POLLHUP without writers (read end), POLLERR without readers (write end).",
    )
    .published(&[
        man("poll(2)", "DESCRIPTION, POLLIN"),
        man("poll(2)", "DESCRIPTION, POLLHUP"),
        man("poll(2)", "DESCRIPTION, POLLERR"),
    ])
    .about(POLL)
    .turned_by(&[Lie::skipped(Sysno::ppoll)])
    .tried(|_lab, see| {
        let Pipe { read, write } = pipe()?;
        see.text("empty pipe", events(&read, libc::POLLIN)).says("none");
        put(&write, b"b")?;
        see.text("pipe with a byte", events(&read, libc::POLLIN)).says("POLLIN");
        drop(write);
        see.text("pipe with a byte, without writers", events(&read, libc::POLLIN)).says("POLLIN POLLHUP");
        aside(|| io::read_full(&read, &mut [0])).setup("read a pipe")?;
        see.text("empty pipe without writers", events(&read, libc::POLLIN)).says("POLLHUP");
        let write = pipe()?.write;
        see.text("write end without readers, nothing asked for", events(&write, 0)).says("POLLERR");
        Ok(())
    }),
];

/// The names of the events that `poll` reports.
fn events(fd: &impl AsFd, asked: libc::c_short) -> String {
    let (answer, events) = io::ppoll(fd, asked, 0);
    match answer {
        Ok(count) if count == usize::from(events != 0) => named(events),
        other => format!("{}, {}", returned(other), named(events)),
    }
}

fn named(events: libc::c_short) -> String {
    let names =
        [(libc::POLLIN, "POLLIN"), (libc::POLLOUT, "POLLOUT"), (libc::POLLERR, "POLLERR"), (libc::POLLHUP, "POLLHUP")];
    let set: Vec<&str> = names.iter().filter(|(event, _)| events & event != 0).map(|(_, name)| *name).collect();
    if set.is_empty() { "none".to_owned() } else { set.join(" ") }
}
