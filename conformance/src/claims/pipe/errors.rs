//! Errors of `write` to a pipe, and of `pipe2`.

use super::raw_pipe2;
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[
    claim(
        "pipe.errors.sigpipe",
        "write() into a pipe without readers raises SIGPIPE and, if the signal is caught, fails with EPIPE.",
    )
    .published(&[
        man("write(2)", "ERRORS, EPIPE"),
        ltp("pipe08.c", "EPIPE and one signal"),
        gvisor("pipe.cc", "PipeTest.ReaderSideCloses"),
    ])
    .about(&[Sysno::write])
    .turned_by(&[
        Lie::about(Sysno::write, What::OtherErrno(libc::EINVAL)),
        Lie::about(Sysno::write, What::Swallowed(libc::SIGPIPE)),
    ])
    .tried(|_lab, see| {
        let write = pipe()?.write;
        let (done, signals) = raised(libc::SIGPIPE, || io::again(|| io::write(&write, b"b")))?;
        see.call("write(pipe without readers, 1)", done).fails(EPIPE);
        see.count("signals raised", signals).is(1);
        Ok(())
    }),
    claim(
        "pipe.errors.emfile",
        "pipe2() fails with EMFILE and writes nothing if RLIMIT_NOFILE leaves only one descriptor, which stays free.",
    )
    .published(&[
        man("pipe(2)", "ERRORS, EMFILE"),
        man("pipe(2)", "RETURN VALUE"),
        man("getrlimit(2)", "DESCRIPTION, RLIMIT_NOFILE"),
        ltp("pipe06.c", "run, of pipe()"),
        kernel("fs/pipe.c", "__do_pipe_flags"),
    ])
    .about(&[Sysno::pipe2])
    .turned_by(&[Lie::about(Sysno::pipe2, What::OtherErrno(libc::ENFILE)), Lie::refused(Sysno::dup, libc::EMFILE)])
    .tried(|_lab, see| {
        let (pipe, other) = two()?;
        let lowest_free = argument(&other.read);
        drop(other);
        aside(|| privilege::limit_descriptors(lowest_free as u64 + 1)).setup("RLIMIT_NOFILE")?;
        let (made, ends) = raw_pipe2(libc::O_CLOEXEC);
        see.call("pipe2() with one descriptor left", made).fails(EMFILE);
        see.whether("it writes nothing", ends == [-1, -1]).says("yes");
        // SAFETY: dup takes no pointer; the descriptor that it makes is left open.
        let still = unsafe { ask(Sysno::dup, [argument(&pipe.read), 0, 0, 0, 0, 0]) };
        see.call("dup() afterwards", still.map(|_| 0)).succeeds();
        Ok(())
    }),
];
