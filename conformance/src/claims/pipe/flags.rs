//! The flags of `pipe2`.

use super::{done, raw_pipe2};
use crate::claims::prelude::*;
use crate::lab::waiting::wait_until;
use crate::runner::SUPERVISE;
use nocopy_splice::{PipeFlags, pipe2};
use std::process::{Child, Command, Stdio};

pub const CLAIMS: &[Claim] = &[
    claim(
        "pipe.flags.unknown",
        "pipe2() fails with EINVAL and writes nothing for a flag other than O_CLOEXEC, O_DIRECT, O_NONBLOCK, \
         O_NOTIFICATION_PIPE.",
    )
    .published(&[
        man("pipe(2)", "ERRORS, EINVAL"),
        man("pipe(2)", "RETURN VALUE"),
        gvisor("pipe.cc", "Pipe2Test.BadOptions"),
    ])
    .about(&[Sysno::pipe2])
    .turned_by(&Lie::otherwise(Sysno::pipe2))
    .tried(|_lab, see| {
        const NOTIFICATION: libc::c_int = libc::O_EXCL;
        let known = libc::O_CLOEXEC | libc::O_DIRECT | libc::O_NONBLOCK | NOTIFICATION;
        let unknown = (0..32).map(|bit| 1 << bit).filter(|flag| known & flag == 0);
        let refused = unknown.filter(|flag| raw_pipe2(*flag) == (Err(EINVAL), [-1, -1])).count();
        see.count("flags of 28 with which pipe2() fails with EINVAL and writes nothing", refused as u64).is(28);
        let (made, ends) = raw_pipe2(libc::O_CLOEXEC | libc::O_NONBLOCK);
        see.call("pipe2(O_CLOEXEC|O_NONBLOCK)", made).is(0);
        see.whether("it writes two descriptors", ends[0] >= 0 && ends[1] >= 0).says("yes");
        Ok(())
    }),
    claim("pipe.flags.both-ends", "pipe2() sets O_NONBLOCK and O_CLOEXEC at both ends if asked, and neither if not.")
        .published(&[
            man("pipe(2)", "DESCRIPTION, O_CLOEXEC"),
            man("pipe(2)", "DESCRIPTION, O_NONBLOCK"),
            ltp("pipe2_01.c", "F_GETFD with no flag and with O_CLOEXEC"),
            gvisor("pipe.cc", "PipeTest.Flags, without O_NONBLOCK; Pipe2Test.CloExec"),
        ])
        .about(&[Sysno::pipe2])
        .turned_by(&[Lie::returned(Sysno::fcntl, 0), Lie::refused(Sysno::pipe2, libc::EINVAL).with(1, 0)])
        .tried(|_lab, see| {
            let (nonblock, cloexec) = (PipeFlags::NONBLOCK, PipeFlags::CLOEXEC);
            let cases = [
                ("0", PipeFlags::empty()),
                ("O_NONBLOCK", nonblock),
                ("O_CLOEXEC", cloexec),
                ("O_NONBLOCK|O_CLOEXEC", nonblock | cloexec),
            ];
            for (name, flags) in cases {
                let made = pipe2(flags);
                see.call(format!("pipe2({name})"), done(&made)).is(0);
                let Ok(pipe) = made else { continue };
                for (end, fd) in [("read", AsFd::as_fd(&pipe.read)), ("write", AsFd::as_fd(&pipe.write))] {
                    see.text(format!("flags of the {end} end of pipe2({name})"), flags_of(&fd)?).says(name);
                }
            }
            Ok(())
        }),
    claim(
        "pipe.flags.executed",
        "An executed program has neither end of a pipe made with O_CLOEXEC, and both ends of one made without it.",
    )
    .published(&[
        man("execve(2)", "DESCRIPTION, Effect on process attributes"),
        man("pipe(2)", "DESCRIPTION, O_CLOEXEC"),
        ltp("pipe2_02.c", "the write end, O_CLOEXEC"),
    ])
    .about(&[Sysno::pipe2])
    .turned_by(&[Lie::refused(Sysno::read, libc::EAGAIN), Lie::accepted(Sysno::write)])
    .method(
        "Starts a program, and closes an end here. If the program has the end, the pipe still has a reader or writer.",
    )
    .tried(|_lab, see| {
        let cases = [
            ("pipe with O_CLOEXEC", PipeFlags::CLOEXEC, Err(EPIPE), Ok(0)),
            ("pipe", PipeFlags::empty(), Ok(1), Err(EAGAIN)),
        ];
        for (name, flags, after_write, after_read) in cases {
            let flags = flags | PipeFlags::NONBLOCK;
            let (written, read) = (pipe2(flags).setup("pipe2")?, pipe2(flags).setup("pipe2")?);
            let mut program = program_that_waits()?;
            drop((written.read, read.write));
            let (done, _) = raised(libc::SIGPIPE, || io::again(|| io::write(&written.write, b"b")))?;
            see.call(format!("write({name}, read end closed here)"), done).gives(after_write);
            let done = io::again(|| io::read(&read.read, &mut [0]));
            see.call(format!("read({name}, write end closed here)"), done).gives(after_read);
            aside(|| program.wait()).setup("wait for the program")?; // closes its standard input
        }
        Ok(())
    }),
];

/// The flags that a descriptor has, of `O_NONBLOCK` and `O_CLOEXEC`, as they are given to `pipe2`.
fn flags_of(fd: &impl AsFd) -> Result<&'static str, Stop> {
    let has = |command: libc::c_int, flag: libc::c_int| {
        // SAFETY: F_GETFL and F_GETFD take no pointer.
        let flags = unsafe { ask(Sysno::fcntl, [argument(fd), command.cast_unsigned() as usize, 0, 0, 0, 0]) };
        flags.map(|flags| flags & flag.cast_unsigned() as usize != 0).setup("fcntl")
    };
    Ok(match (has(libc::F_GETFL, libc::O_NONBLOCK)?, has(libc::F_GETFD, libc::FD_CLOEXEC)?) {
        (true, true) => "O_NONBLOCK|O_CLOEXEC",
        (true, false) => "O_NONBLOCK",
        (false, true) => "O_CLOEXEC",
        (false, false) => "0",
    })
}

/// Starts this program as a child. It waits for commands on its standard input, and ends when that is closed.
fn program_that_waits() -> Result<Child, Stop> {
    aside(|| {
        let mut command = Command::new("/proc/self/exe");
        command.arg(SUPERVISE).stdin(Stdio::piped()).stdout(Stdio::null());
        let program = command.spawn().setup("start a program")?;
        let pid = libc::pid_t::try_from(program.id()).map_err(|_| Stop::broken("a wide pid"))?;
        // execve() may return here before the program's descriptors are closed. The program itself starts a session.
        // SAFETY: getsid takes no pointer.
        wait_until(|| match unsafe { libc::getsid(pid) } {
            -1 => Err(Stop::broken("the program has ended")),
            session => Ok(session == pid),
        })?;
        Ok(program)
    })
}
