//! The errors of `tee`.

use super::{BLOCKING, NONBLOCK, about_tee, raw};
use crate::claims::prelude::*;
use nocopy_splice::tee;

pub const CLAIMS: &[Claim] = &[
    about_tee(
        "tee.errors.ebadf-undocumented",
        "tee() fails with EBADF for a descriptor that is not open, a write end as input and a read end as output.",
    )
    .published(&[kernel("fs/splice.c", "SYSCALL_DEFINE4(tee)"), kernel("fs/splice.c", "do_tee")])
    .tried(|_lab, see| {
        let (from, to) = (filled(b"bytes")?, pipe()?);
        let (input, output) = (argument(&from.read), argument(&to.write));
        see.call("tee(-1, pipe)", raw(NO_FD, output, 5, 2)).fails(EBADF);
        see.call("tee(pipe, -1)", raw(input, NO_FD, 5, 2)).fails(EBADF);
        see.call("tee(write end, pipe)", tee(&from.write, &to.write, 5, NONBLOCK)).fails(EBADF);
        see.call("tee(pipe, read end)", tee(&from.read, &to.read, 5, NONBLOCK)).fails(EBADF);
        see.call("tee(pipe, other pipe)", tee(&from.read, &to.write, 1, NONBLOCK)).is(1);
        see.readable("bytes in the other pipe", &to.read)?.is(1);
        Ok(())
    }),
    about_tee(
        "tee.errors.mode-first",
        "tee() from a write-only file, or into a read-only one, fails with EBADF; with EINVAL if it is open for both.",
    )
    .published(&[kernel("fs/splice.c", "do_tee"), man("tee(2)", "ERRORS, EINVAL").denies()])
    .tried(|lab, see| {
        let file = lab.file(b"bytes")?;
        let write_only = reopen(&file, File::options().write(true))?;
        let read_only = reopen(&file, File::options().read(true))?;
        let pipe = filled(b"bytes")?;
        see.call("tee(write-only file, pipe)", tee(&write_only, &pipe.write, 5, NONBLOCK)).fails(EBADF);
        see.call("tee(file, pipe)", tee(&file, &pipe.write, 5, NONBLOCK)).fails(EINVAL);
        see.call("tee(pipe, read-only file)", tee(&pipe.read, &read_only, 5, NONBLOCK)).fails(EBADF);
        see.call("tee(pipe, file)", tee(&pipe.read, &file, 5, NONBLOCK)).fails(EINVAL);
        Ok(())
    }),
    about_tee(
        "tee.errors.sigpipe",
        "tee() from a pipe with bytes into a pipe without readers raises SIGPIPE and fails with EPIPE.",
    )
    .published(&[kernel("fs/splice.c", "link_pipe")])
    .turned_by(&[
        Lie::about(Sysno::tee, What::OtherErrno(libc::EINVAL)),
        Lie::about(Sysno::tee, What::Swallowed(libc::SIGPIPE)),
    ])
    .tried(|_lab, see| {
        let (from, to) = (filled(b"bytes")?, pipe()?);
        drop(to.read);
        let (done, signals) = raised(libc::SIGPIPE, || tee(&from.read, &to.write, 5, BLOCKING))?;
        see.call("tee(pipe, pipe without readers)", done).fails(EPIPE);
        see.count("signals raised", signals).is(1);
        Ok(())
    }),
];
