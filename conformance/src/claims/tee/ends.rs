//! What `tee` takes as its ends.

use super::{NONBLOCK, about_tee};
use crate::claims::prelude::*;
use nocopy_splice::tee;
use std::os::unix::net::UnixStream;

pub const CLAIMS: &[Claim] = &[
    about_tee(
        "tee.ends.both-pipes",
        "tee() fails with EINVAL if one end is a regular file or AF_UNIX stream socket open in the needed direction.",
    )
    .published(&[
        man("tee(2)", "ERRORS, EINVAL"),
        ltp("tee02.c", "a file as input, and as output"),
        gvisor("splice.cc", "TeeTest.RegularFile"),
        kernel("fs/splice.c", "do_tee"),
    ])
    .tried(|lab, see| {
        let (file, (near, _far)) = (lab.file(b"bytes")?, UnixStream::pair().setup("socketpair")?);
        let (from, to) = (filled(b"bytes")?, pipe()?);
        see.call("tee(file, pipe)", tee(&file, &to.write, 5, NONBLOCK)).fails(EINVAL);
        see.call("tee(pipe, file)", tee(&from.read, &file, 5, NONBLOCK)).fails(EINVAL);
        see.call("tee(AF_UNIX socket, pipe)", tee(&near, &to.write, 5, NONBLOCK)).fails(EINVAL);
        see.call("tee(pipe, AF_UNIX socket)", tee(&from.read, &near, 5, NONBLOCK)).fails(EINVAL);
        see.call("tee(pipe, other pipe)", tee(&from.read, &to.write, 1, NONBLOCK)).is(1);
        see.readable("bytes in the other pipe", &to.read)?.is(1);
        Ok(())
    }),
    about_tee("tee.ends.same-pipe", "tee() from a pipe into the same pipe fails with EINVAL.")
        .published(&[
            man("tee(2)", "ERRORS, EINVAL"),
            ltp("tee02.c", "both ends of one pipe"),
            gvisor("splice.cc", "TeeTest.SamePipe"),
            kernel("fs/splice.c", "do_tee"),
        ])
        .tried(|_lab, see| {
            let (from, to) = (filled(b"bytes")?, pipe()?);
            see.call("tee(pipe, same pipe)", tee(&from.read, &from.write, 5, NONBLOCK)).fails(EINVAL);
            see.call("tee(pipe, other pipe)", tee(&from.read, &to.write, 1, NONBLOCK)).is(1);
            see.readable("bytes in the other pipe", &to.read)?.is(1);
            Ok(())
        }),
];
