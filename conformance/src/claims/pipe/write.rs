//! `write` to a pipe.

use super::{USER, pipe_of};
use crate::claims::prelude::*;
use nocopy_splice::PipeFlags;

const WRITE: &[Sysno] = &[Sysno::write];

/// `PIPE_BUF`, on every architecture.
const PIPE_BUF: usize = 4096;

pub const CLAIMS: &[Claim] = &[
    claim(
        "pipe.write.whole",
        "A write() of up to PIPE_BUF (4096) bytes into an O_NONBLOCK pipe takes all of them or fails with EAGAIN.",
    )
    .published(&[man("pipe(7)", "DESCRIPTION, PIPE_BUF")])
    .about(WRITE)
    .turned_by(&[
        Lie::about(Sysno::write, What::OtherErrno(libc::ENOLINK)),
        Lie::accepted(Sysno::write),
        Lie::shortened(Sysno::write),
    ])
    .method("Writes as many bytes and one more, then as many as there is room for. The same with room for one byte.")
    .sharing(USER)
    .tried(|_lab, see| {
        for room in [PIPE_BUF - 1, 1] {
            let (pipe, held) = (with_room(room)?, 2 * page() - room);
            let bytes = vec![b'b'; room + 1];
            let written = io::again(|| io::write(&pipe.write, &bytes));
            see.call(format!("write(pipe with room for {room}, {})", room + 1), written).fails(EAGAIN);
            see.readable(&format!("bytes in the pipe with room for {room}"), &pipe.read)?.is(held);
            let written = io::again(|| io::write(&pipe.write, &bytes[..room]));
            see.call(format!("write(pipe with room for {room}, {room})"), written).is(room);
            let all = [vec![0; held], vec![b'b'; room]].concat();
            see.holds(&format!("the pipe's bytes, filled by {room}"), &pipe.read, &all)?.says(AS_SENT);
        }
        Ok(())
    }),
    claim(
        "pipe.write.partial",
        "If an O_NONBLOCK pipe has a free page, a write() of more bytes than fit, and than PIPE_BUF, writes a part.",
    )
    .published(&[ltp("pipe12.c", "write to an empty pipe"), man("pipe(7)", "DESCRIPTION, PIPE_BUF").leaves_open()])
    .about(WRITE)
    .turned_by(&[Lie::refused(Sysno::write, libc::EAGAIN), Lie::about(Sysno::write, What::TooMany)])
    .sharing(USER)
    .tried(|_lab, see| {
        let pipe = with_room(page())?;
        let bytes = pattern(2 * page());
        let written = io::again(|| io::write(&pipe.write, &bytes));
        see.call("write(pipe with room for a page, two pages)", written).at_least(1);
        let written = written.unwrap_or(0);
        see.whether("fewer than two pages are written", written < bytes.len()).says("yes");
        let all = [&vec![0; page()], &bytes[..written]].concat();
        see.holds("the pipe's bytes", &pipe.read, &all)?.says(AS_SENT);
        Ok(())
    }),
    claim(
        "pipe.write.not-full",
        "A write() of more than PIPE_BUF bytes into an O_NONBLOCK pipe with room for a byte writes at least one.",
    )
    .published(&[man("pipe(7)", "DESCRIPTION, PIPE_BUF"), kernel("fs/pipe.c", "anon_pipe_write").denies()])
    .about(WRITE)
    .turned_by(&[Lie::accepted(Sysno::write), Lie::refused(Sysno::write, libc::EAGAIN).where_it(true)])
    .method("The room is in the last page, and what is written is a multiple of a page.")
    .sharing(USER)
    .tried(|_lab, see| {
        let pipe = with_room(page() - 1)?;
        let bytes = vec![b'b'; 2 * page()];
        let written = io::again(|| io::write(&pipe.write, &bytes));
        see.call("write(pipe with room for a page less one, two pages)", written).at_least(1);
        if written.is_err() {
            let one = io::again(|| io::write(&pipe.write, b"b"));
            see.call("write(the same pipe, 1)", one).is(1);
        }
        see.readable("bytes in the pipe", &pipe.read)?;
        Ok(())
    }),
    claim("pipe.write.nothing", "write() of 0 bytes into a pipe without readers returns 0 and raises no signal.")
        .published(&[kernel("fs/pipe.c", "anon_pipe_write"), man("write(2)", "RETURN VALUE").leaves_open()])
        .about(WRITE)
        .turned_by(&[Lie::refused(Sysno::write, libc::EPIPE), Lie::about(Sysno::write, What::Raised(libc::SIGPIPE))])
        .tried(|_lab, see| {
            let write = pipe()?.write;
            for (bytes, result, expected) in [(&b""[..], Ok(0), 0), (b"b", Err(EPIPE), 1)] {
                let (done, signals) = raised(libc::SIGPIPE, || io::again(|| io::write(&write, bytes)))?;
                see.call(format!("write(pipe without readers, {})", bytes.len()), done).gives(result);
                see.count(format!("signals raised by {} bytes", bytes.len()), signals).is(expected);
            }
            Ok(())
        }),
    claim(
        "pipe.write.full-sleeps",
        "A write() of one byte into a pipe full of pages sleeps until there is room: reading one page is enough.",
    )
    .published(&[man("pipe(7)", "DESCRIPTION, I/O on pipes and FIFOs"), ltp("pipe2_04.c", "test_pipe2, the child")])
    .about(WRITE)
    .turned_by(&does_not_wait(Sysno::write))
    .sharing(USER)
    .tried(|_lab, see| {
        let Pipe { read, write } = full()?;
        let rest = aside(|| sockets::readable(&read))? - page();
        let caller = Caller::start(Sysno::write, move || io::again(|| io::write(&write, b"b")))?;
        see.sleeps("write(full pipe, 1)", caller, |_| read_page(&read))?.is(1);
        see.holds("the pipe's bytes", &read, &[vec![0; rest], vec![b'b']].concat())?.says(AS_SENT);
        Ok(())
    }),
];

/// An `O_NONBLOCK` pipe of two pages of zeros, but for `room` bytes in the last page.
fn with_room(room: usize) -> Result<Pipe, Stop> {
    let pipe = pipe_of(2, PipeFlags::NONBLOCK)?;
    for length in [page(), page() - room] {
        aside(|| io::write_whole(&pipe.write, &vec![0; length])).setup("write to a pipe")?;
    }
    Ok(pipe)
}
