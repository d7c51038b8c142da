//! The end of `splice`'s input.

use super::{BLOCKING, about_splice, all, once};
use crate::claims::prelude::*;
use nocopy_splice::splice;
use std::os::unix::net::UnixStream;

pub const CLAIMS: &[Claim] = &[
    about_splice(
        "splice.end.zero",
        "splice() returns 0 at a file's end, from an empty pipe without writers, and from a socket whose peer has \
         closed.",
    )
    .published(&[man("splice(2)", "RETURN VALUE"), gvisor("splice.cc", "SpliceTest.ToPipeEOF, of an empty file")])
    .tried(|lab, see| {
        let file = lab.file(b"abc")?;
        let (empty, into) = two()?;
        aside(|| io::seek(&file, 3)).setup("lseek")?;
        see.call("splice(file at its end, pipe)", once(&file, &into.write, 1)).is(0);
        drop(empty.write);
        see.call("splice(pipe without writers, file)", once(&empty.read, &file, 1)).is(0);
        let (near, far) = UnixStream::pair().setup("socketpair")?;
        drop(far);
        see.call("splice(AF_UNIX socket whose peer has closed, pipe)", once(&near, &into.write, 1)).is(0);
        let (near, far) = sockets::tcp()?;
        drop(far);
        io::wait_for(near.as_fd(), libc::POLLIN).setup("poll")?;
        see.call("splice(TCP socket whose peer has closed, pipe)", once(&near, &into.write, 1)).is(0);
        Ok(())
    }),
    about_splice(
        "splice.end.left-in-pipe",
        "After a TCP peer has closed, splice() from the socket returns 0, and bytes spliced into the pipe before can \
         still be spliced to another socket.",
    )
    .published(&[
        man("splice(2)", "RETURN VALUE"),
        thread(
            "haproxy/haproxy#2505",
            "bytes in the pipe were lost when the client was shut down before they had gone on",
        )
        .leaves_open(),
    ])
    .turned_by(&[Lie::refused(Sysno::splice, libc::ECONNRESET), Lie::skipped(Sysno::splice)])
    .tried(|_lab, see| {
        let content = pattern(3000);
        let ((near, far), (other, receiver), pipe) = (sockets::tcp()?, sockets::tcp()?, pipe()?);
        aside(|| io::write_all(&far, &content)).setup("write")?;
        aside(|| sockets::wait_for_arrival(&near, 3000))?;
        see.call("splice(TCP socket, pipe, 3000)", all(&near, &pipe.write, 3000)).is(3000);
        drop(far);
        let end = io::again(|| splice(&near, None, &pipe.write, None, 1, BLOCKING));
        see.call("splice(TCP socket whose peer has closed, pipe)", end).is(0);
        drop(pipe.write);
        see.call("splice(pipe, other TCP socket, 3000)", all(&pipe.read, &other, 3000)).is(3000);
        drop(other);
        see.receives(RECEIVED, &receiver, &content)?.says(AS_SENT);
        Ok(())
    }),
];
