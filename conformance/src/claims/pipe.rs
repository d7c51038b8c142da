//! Pipes: their capacity and its limits.

use super::tools::{pipe, raised};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Resource};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::io::{self, ask};
use crate::lab::open::open_present;
use crate::lab::settings::Setting;
use crate::lab::waiting::wait_until;
use crate::lab::{Lab, privilege};
use crate::runner::SUPERVISE;
use crate::verdict::{Lack, Observation, Setup, Stop};
use nocopy_splice::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe2};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("pipe(7) and F_SETPIPE_SZ(2const), man-pages 6.20");
const FCNTL: &[Sysno] = &[Sysno::fcntl];
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::fcntl);

/// Claims about pipes.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "The capacity of a new pipe is 16 pages, 65536 bytes.",
        sources: &[MAN, Source::Thread("LTP pipe2_04; gVisor pipe.cc")],
        about: FCNTL,
        lies: OTHERWISE,
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.size.default",
            pipe_size_default,
            &[("F_GETPIPE_SZ", Answer::Is(65536)), ("bytes written until EAGAIN", Answer::Is(65536))],
        )
    },
    Claim {
        statement: "F_SETPIPE_SZ rounds up to a power of two of pages, one page at least, and returns what was set.",
        sources: &[MAN, Source::Thread("LTP fcntl30; gVisor pipe.cc, SetSize")],
        about: FCNTL,
        lies: OTHERWISE,
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.size.rounded",
            pipe_size_rounded,
            &[
                ("F_SETPIPE_SZ 0", Answer::Is(4096)),
                ("F_SETPIPE_SZ 1", Answer::Is(4096)),
                ("F_SETPIPE_SZ 4097", Answer::Is(8192)),
                ("F_SETPIPE_SZ 12289", Answer::Is(16384)),
                ("F_GETPIPE_SZ", Answer::Is(16384)),
            ],
        )
    },
    Claim {
        statement: "A pipe cannot be made smaller than what is in it: EBUSY.",
        sources: &[MAN, Source::Thread("gVisor pipe.cc")],
        about: FCNTL,
        lies: OTHERWISE,
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.size.busy",
            pipe_size_busy,
            &[
                ("F_SETPIPE_SZ 4096 with two pages in the pipe", Answer::Fails(Errno::EBUSY)),
                ("F_GETPIPE_SZ afterwards", Answer::Is(65536)),
            ],
        )
    },
    Claim {
        statement: "Without CAP_SYS_RESOURCE, F_SETPIPE_SZ beyond /proc/sys/fs/pipe-max-size fails with EPERM.",
        sources: &[MAN, Source::Thread("LTP fcntl37")],
        about: FCNTL,
        lies: &[Lie::about(Sysno::fcntl, What::OtherErrno(libc::ENOLINK)), Lie::accepted(Sysno::fcntl)],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.size.maximum",
            pipe_size_maximum,
            &[("F_SETPIPE_SZ one beyond the maximum", Answer::Fails(Errno::EPERM))],
        )
    },
    Claim {
        statement: "F_SETPIPE_SZ of more than 2^31 bytes fails with EINVAL.",
        sources: &[Source::Thread("LTP fcntl37; Linux 7.3, fs/pipe.c, round_pipe_size"), Source::Measured],
        about: FCNTL,
        lies: OTHERWISE,
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.size.too-large",
            pipe_size_too_large,
            &[("F_SETPIPE_SZ 2^31 + 1", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "F_SETPIPE_SZ takes the argument of fcntl() as 64 bits: more than 32 are too many.",
        method: "Asks for 4 GiB + 4097 bytes. Where only 32 bits count, that is 4097, rounded up.",
        sources: &[Source::Thread("Linux 5.10, fs/fcntl.c; Linux 7.3, fs/fcntl.c, argi"), Source::Measured],
        about: FCNTL,
        lies: &[Lie::accepted(Sysno::fcntl), Lie::refused(Sysno::fcntl, libc::EINVAL).where_it(false)],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.size.argument-width",
            pipe_size_argument_width,
            &[("F_SETPIPE_SZ 2^32 + 4097", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "F_GETPIPE_SZ and F_SETPIPE_SZ of a descriptor that is no pipe fail with EBADF.",
        sources: &[Source::Thread("gVisor pipe.cc; Linux 7.3, fs/pipe.c, pipe_fcntl"), Source::Measured],
        about: FCNTL,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "pipe.size.no-pipe",
            pipe_size_no_pipe,
            &[
                ("F_GETPIPE_SZ of a file", Answer::Fails(Errno::EBADF)),
                ("F_SETPIPE_SZ of a file", Answer::Fails(Errno::EBADF)),
            ],
        )
    },
    Claim {
        statement: "pipe2() with an unknown flag fails with EINVAL.",
        sources: &[Source::Man("pipe(2), man-pages 6.20"), Source::Thread("LTP pipe2_02")],
        about: &[Sysno::pipe2],
        lies: &Lie::otherwise(Sysno::pipe2),
        ..Claim::of_answers(
            "pipe.flags.unknown",
            pipe_flags_unknown,
            &[("pipe2(O_APPEND)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "Without CAP_SYS_RESOURCE a new pipe is no larger than /proc/sys/fs/pipe-max-size.",
        method: "On a machine that nobody needs afterwards: sets the limit to 32768, makes a pipe, and puts the limit back.",
        sources: &[
            MAN,
            Source::Thread("LTP @6958277, testcases/kernel/syscalls/fcntl/fcntl35.c; Linux commit 086e774a57fb"),
        ],
        about: FCNTL,
        lies: &[Lie::returned(Sysno::fcntl, 1 << 16)],
        resources: &[Resource::Machine, Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.size.limit-of-new",
            |_lab| {
                let setting = Setting::change(MAXIMUM, "32768")?;
                privilege::drop_sys_resource().setup("drop CAP_SYS_RESOURCE")?;
                let pipe = pipe()?;
                drop(setting);
                let mut seen = Observation::new();
                seen.call("F_GETPIPE_SZ", fcntl_getpipe_size(&pipe.read));
                Ok(seen)
            },
            &[("F_GETPIPE_SZ", Answer::Is(32768))],
        )
    },
    Claim {
        statement: "A program that is executed has neither end of a pipe with O_CLOEXEC, and both of one without.",
        method: "Starts a program that waits, closes one end here, and asks the pipe whether somebody else has it: write() fails with \
                 EPIPE if nobody reads, and read() returns 0 if nobody writes.",
        sources: &[
            Source::Man("pipe(2), man-pages 6.20"),
            Source::Thread("LTP @6958277, testcases/kernel/syscalls/pipe2/pipe2_02.c"),
        ],
        about: &[Sysno::pipe2],
        lies: &[Lie::refused(Sysno::read, libc::EAGAIN), Lie::accepted(Sysno::write)],
        ..Claim::of_answers(
            "pipe.flags.executed",
            pipe_flags_executed,
            &[
                ("write(pipe with O_CLOEXEC, read end closed here)", Answer::Fails(Errno::EPIPE)),
                ("read(pipe with O_CLOEXEC, write end closed here)", Answer::Is(0)),
                ("write(pipe, read end closed here)", Answer::Is(1)),
                ("read(pipe, write end closed here)", Answer::Fails(Errno::EAGAIN)),
            ],
        )
    },
    Claim {
        statement: "Writes of one byte each fill a pipe like any other bytes: they share its pages.",
        method: "Writes single bytes into a pipe of one page until there is no room.",
        sources: &[MAN],
        about: &[Sysno::write],
        lies: &[Lie::refused(Sysno::write, libc::EAGAIN).after(100)],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.pages.small-writes",
            pipe_pages_small_writes,
            &[("single bytes that a pipe of 4096 takes", Answer::Is(4096))],
        )
    },
];

fn pipe_size_default(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe2(PipeFlags::NONBLOCK).setup("pipe2")?;
    let mut seen = Observation::new();
    seen.call("F_GETPIPE_SZ", fcntl_getpipe_size(&pipe.write));
    let written = io::fill(&pipe.write, &[0; 4096]).setup("fill a pipe")?;
    seen.count("bytes written until EAGAIN", written);
    Ok(seen)
}

fn pipe_size_rounded(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe()?;
    let mut seen = Observation::new();
    for size in [0, 1, 4097, 12289] {
        seen.call(format!("F_SETPIPE_SZ {size}"), fcntl_setpipe_size(&pipe.write, size));
    }
    seen.call("F_GETPIPE_SZ", fcntl_getpipe_size(&pipe.write));
    Ok(seen)
}

/// The maximum capacity of a pipe, except for processes with `CAP_SYS_RESOURCE`.
const MAXIMUM: &str = "/proc/sys/fs/pipe-max-size";

fn pipe_size_busy(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe()?;
    io::write_all(&pipe.write, &[0; 8192]).setup("write to a pipe")?;
    let mut seen = Observation::new();
    seen.call("F_SETPIPE_SZ 4096 with two pages in the pipe", fcntl_setpipe_size(&pipe.write, 4096));
    seen.call("F_GETPIPE_SZ afterwards", fcntl_getpipe_size(&pipe.write));
    Ok(seen)
}

fn pipe_size_maximum(_lab: &Lab) -> Result<Observation, Stop> {
    let remedy = "use a kernel that shows the limit of pipes";
    let mut options = File::options();
    let mut file = open_present(MAXIMUM.as_ref(), options.read(true), Lack::Kernel, remedy)?;
    let mut text = String::new();
    file.read_to_string(&mut text).setup("read the limit of pipes")?;
    let maximum: usize = text.trim().parse().map_err(|_| Stop::broken("pipe-max-size is no number"))?;
    let pipe = pipe()?;
    privilege::drop_sys_resource().setup("drop CAP_SYS_RESOURCE")?;
    let mut seen = Observation::new();
    seen.call("F_SETPIPE_SZ one beyond the maximum", fcntl_setpipe_size(&pipe.write, maximum + 1));
    Ok(seen)
}

/// `F_SETPIPE_SZ` with an argument of any width.
fn set_size(fd: &impl AsRawFd, size: usize) -> Result<usize, Errno> {
    let fd = usize::try_from(fd.as_raw_fd()).unwrap_or(io::NO_FD);
    let command = usize::try_from(libc::F_SETPIPE_SZ).expect("a small number");
    // SAFETY: F_SETPIPE_SZ takes its argument by value.
    unsafe { ask(Sysno::fcntl, [fd, command, size, 0, 0, 0]) }
}

fn pipe_size_too_large(_lab: &Lab) -> Result<Observation, Stop> {
    let (_read, write) = std::io::pipe().setup("pipe")?;
    let mut seen = Observation::new();
    seen.call("F_SETPIPE_SZ 2^31 + 1", set_size(&write, (1 << 31) + 1));
    Ok(seen)
}

fn pipe_size_argument_width(_lab: &Lab) -> Result<Observation, Stop> {
    let (_read, write) = std::io::pipe().setup("pipe")?;
    let mut seen = Observation::new();
    seen.call("F_SETPIPE_SZ 2^32 + 4097", set_size(&write, (1 << 32) + 4097));
    Ok(seen)
}

fn pipe_size_no_pipe(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.empty_file()?;
    let mut seen = Observation::new();
    seen.call("F_GETPIPE_SZ of a file", fcntl_getpipe_size(&file));
    seen.call("F_SETPIPE_SZ of a file", fcntl_setpipe_size(&file, 4096));
    Ok(seen)
}

fn pipe_flags_unknown(_lab: &Lab) -> Result<Observation, Stop> {
    let mut ends = [0_i32; 2];
    let flags = usize::try_from(libc::O_APPEND).expect("a small number");
    // SAFETY: pipe2 writes two ints through its pointer.
    let done = unsafe { ask(Sysno::pipe2, [ends.as_mut_ptr().expose_provenance(), flags, 0, 0, 0, 0]) };
    let mut seen = Observation::new();
    seen.call("pipe2(O_APPEND)", done);
    Ok(seen)
}

fn pipe_pages_small_writes(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe2(PipeFlags::NONBLOCK).setup("pipe2")?;
    aside(|| io::resize_pipe(&pipe.write, 4096)).setup("F_SETPIPE_SZ")?;
    let mut taken = 0;
    let full = loop {
        match io::again(|| io::write(&pipe.write, b"b")) {
            Ok(1) if taken < 10_000 => taken += 1,
            full => break full,
        }
    };
    let mut seen = Observation::new();
    seen.count("single bytes that a pipe of 4096 takes", taken).call("the next write", full);
    Ok(seen)
}

/// Starts this program as a child. It waits for commands on its standard input, and ends when that is closed.
fn program_that_waits() -> Result<Child, Stop> {
    aside(|| {
        let mut command = Command::new("/proc/self/exe");
        command.arg(SUPERVISE).stdin(Stdio::piped());
        let program = command.stdout(Stdio::null()).spawn().setup("start a program")?;
        let pid = libc::pid_t::try_from(program.id()).map_err(|_| Stop::broken("a wide pid"))?;
        // execve() lets the caller continue before the new program has closed its descriptors. The program itself starts a
        // session.
        // SAFETY: getsid takes no pointer.
        wait_until(|| match unsafe { libc::getsid(pid) } {
            -1 => Err(Stop::broken("the program has ended")),
            session => Ok(session == pid),
        })?;
        Ok(program)
    })
}

fn pipe_flags_executed(_lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    for (name, flags) in [("pipe with O_CLOEXEC", PipeFlags::CLOEXEC), ("pipe", PipeFlags::empty())] {
        let flags = flags | PipeFlags::NONBLOCK;
        let written = pipe2(flags).setup("pipe2")?;
        let read = pipe2(flags).setup("pipe2")?;
        let mut program = program_that_waits()?;
        drop((written.read, read.write));
        let (done, _) = raised(libc::SIGPIPE, || io::again(|| io::write(&written.write, b"b")))?;
        seen.call(format!("write({name}, read end closed here)"), done);
        let done = io::again(|| io::read(&read.read, &mut [0]));
        seen.call(format!("read({name}, write end closed here)"), done);
        aside(|| {
            drop(program.stdin.take());
            program.wait()
        })
        .setup("wait for the program")?;
    }
    Ok(seen)
}
