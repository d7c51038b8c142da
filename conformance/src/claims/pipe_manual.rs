//! Pipes in manual pages: reading, writing, polling, packets, and the limits of a user.

use super::tools::{note_readable, pipe, raised};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Resource};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::io::{self, argument, ask};
use crate::lab::pages::{PAGE, letters_of};
use crate::lab::{Lab, privilege, sockets};
use crate::verdict::{Lack, Observation, Setup, Stop};
use nocopy_splice::{Pipe, PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe2};
use std::os::fd::{AsFd, AsRawFd};
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("pipe(7), man-pages 6.20");
const PIPE2: Source = Source::Man("pipe(2), man-pages 6.20");
const PIPE_SIZE: Source = Source::Man("pipe(7) and F_SETPIPE_SZ(2const), man-pages 6.20");
const WRITE: &[Sysno] = &[Sysno::write];
const READ: &[Sysno] = &[Sysno::read];
const POLL: &[Sysno] = &[Sysno::poll];
const GVISOR: Source = Source::Thread("gVisor @3c5eee1, test/syscalls/linux/pipe.cc");

/// More claims about pipes.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "A write() of PIPE_BUF bytes, 4096, that do not all fit into an O_NONBLOCK pipe fails with EAGAIN: none is taken.",
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/pipe/pipe12.c")],
        about: WRITE,
        lies: &Lie::otherwise(Sysno::write),
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.write.whole",
            |_lab| write_to_filled(2, 4097, 4096),
            &[("write(pipe, 4096)", Answer::Fails(Errno::EAGAIN)), ("bytes in the pipe", Answer::Is(4097))],
        )
    },
    Claim {
        statement: "A write() of more than PIPE_BUF bytes that do not all fit into an O_NONBLOCK pipe is taken in part.",
        sources: &[MAN],
        about: WRITE,
        lies: &[Lie::refused(Sysno::write, libc::EAGAIN), Lie::about(Sysno::write, What::TooMany)],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.write.partial",
            |_lab| write_to_filled(2, 4096, 8192),
            &[("write(pipe, 8192)", Answer::Is(4096)), ("bytes in the pipe", Answer::Is(8192))],
        )
    },
    Claim {
        statement: "write() of no bytes succeeds, even into a pipe without readers: no signal is raised.",
        sources: &[Source::Thread("Linux 7.3, fs/pipe.c, pipe_write"), Source::Measured],
        about: WRITE,
        lies: &[Lie::refused(Sysno::write, libc::EPIPE), Lie::about(Sysno::write, What::Raised(libc::SIGPIPE))],
        ..Claim::of_answers(
            "pipe.write.nothing",
            |_lab| write_without_readers(b""),
            &[("write(pipe without readers, 0)", Answer::Is(0)), ("signals raised", Answer::Is(0))],
        )
    },
    Claim {
        statement: "write() into a pipe without readers raises SIGPIPE and fails with EPIPE.",
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/pipe/pipe02.c and pipe08.c"), GVISOR],
        about: WRITE,
        lies: &[
            Lie::about(Sysno::write, What::OtherErrno(libc::EINVAL)),
            Lie::about(Sysno::write, What::Swallowed(libc::SIGPIPE)),
        ],
        ..Claim::of_answers(
            "pipe.errors.sigpipe",
            |_lab| write_without_readers(b"b"),
            &[("write(pipe without readers, 1)", Answer::Fails(Errno::EPIPE)), ("signals raised", Answer::Is(1))],
        )
    },
    Claim {
        statement: "read() of an empty O_NONBLOCK pipe fails with EAGAIN while there is a writer, and is 0 afterwards.",
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/pipe/pipe14.c")],
        about: READ,
        lies: &[Lie::about(Sysno::read, What::OtherErrno(libc::EIO)), Lie::refused(Sysno::read, libc::EAGAIN)],
        ..Claim::of_answers(
            "pipe.read.end",
            pipe_read_end,
            &[
                ("read(empty pipe)", Answer::Fails(Errno::EAGAIN)),
                ("read(pipe with a byte, without writers)", Answer::Is(1)),
                ("read(empty pipe without writers)", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "read() of the write end, and write() to the read end, fail with EBADF.",
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/pipe/pipe03.c")],
        about: &[Sysno::read, Sysno::write],
        lies: &[
            Lie::about(Sysno::read, What::OtherErrno(libc::EINVAL)),
            Lie::about(Sysno::write, What::OtherErrno(libc::EINVAL)),
            Lie::accepted(Sysno::read),
        ],
        ..Claim::of_answers(
            "pipe.ends.wrong",
            pipe_ends_wrong,
            &[("read(write end)", Answer::Fails(Errno::EBADF)), ("write(read end)", Answer::Fails(Errno::EBADF))],
        )
    },
    Claim {
        statement: "lseek(), pread() and pwrite() of a pipe fail with ESPIPE.",
        sources: &[MAN, GVISOR],
        about: &[Sysno::lseek, Sysno::pread64, Sysno::pwrite64],
        lies: &[
            Lie::accepted(Sysno::lseek),
            Lie::about(Sysno::pread64, What::OtherErrno(libc::EINVAL)),
            Lie::about(Sysno::pwrite64, What::OtherErrno(libc::EINVAL)),
        ],
        ..Claim::of_answers(
            "pipe.ends.no-position",
            pipe_ends_no_position,
            &[
                ("lseek(pipe, 0, SEEK_CUR)", Answer::Fails(Errno::ESPIPE)),
                ("pread(pipe, 1, 0)", Answer::Fails(Errno::ESPIPE)),
                ("pwrite(pipe, 1, 0)", Answer::Fails(Errno::ESPIPE)),
            ],
        )
    },
    Claim {
        statement: "FIONREAD says at either end how many bytes are in a pipe.",
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/pipe/pipe12.c"), GVISOR],
        about: &[Sysno::ioctl],
        lies: &[Lie::about(Sysno::ioctl, What::Output { argument: 2, value: 0 })],
        ..Claim::of_answers(
            "pipe.count.fionread",
            pipe_count_fionread,
            &[("FIONREAD of the read end", Answer::Is(8)), ("FIONREAD of the write end", Answer::Is(8))],
        )
    },
    Claim {
        statement: "O_NONBLOCK and O_CLOEXEC of pipe2() are set at both ends, and without them neither is.",
        sources: &[PIPE2, Source::Thread("LTP @6958277, testcases/kernel/syscalls/pipe2/pipe2_01.c")],
        about: &[Sysno::pipe2],
        lies: &[Lie::returned(Sysno::fcntl, 0), Lie::refused(Sysno::pipe2, libc::EINVAL).with(1, 0)],
        ..Claim::of_answers(
            "pipe.flags.both-ends",
            pipe_flags_both_ends,
            &[
                ("read end of pipe2(O_NONBLOCK|O_CLOEXEC)", Answer::Says("O_NONBLOCK FD_CLOEXEC")),
                ("write end of pipe2(O_NONBLOCK|O_CLOEXEC)", Answer::Says("O_NONBLOCK FD_CLOEXEC")),
                ("read end of pipe2(0)", Answer::Says("none")),
                ("write end of pipe2(0)", Answer::Says("none")),
            ],
        )
    },
    Claim {
        statement: "With O_DIRECT each write() is a packet, of which each read() brings one.",
        sources: &[PIPE2],
        about: &[Sysno::pipe2],
        lies: &[Lie::bytes(Sysno::read, b'b', b'x')],
        ..Claim::of_answers(
            "pipe.packets.one-each",
            |_lab| packets(&[b"aaa", b"bb"], 8),
            &[("read() number 1", Answer::Says("aaa")), ("read() number 2", Answer::Says("bb"))],
        )
    },
    Claim {
        statement: "With O_DIRECT a read() of less than a packet discards the rest of it.",
        sources: &[PIPE2],
        about: &[Sysno::pipe2],
        lies: &[Lie::bytes(Sysno::read, b'b', b'a')],
        ..Claim::of_answers(
            "pipe.packets.discarded",
            |_lab| packets(&[b"aaa", b"bb"], 2),
            &[("read() number 1", Answer::Says("aa")), ("read() number 2", Answer::Says("bb"))],
        )
    },
    Claim {
        statement: "With O_DIRECT a write() of more than PIPE_BUF bytes becomes several packets, of 4096 bytes but for the last.",
        sources: &[PIPE2],
        about: READ,
        lies: &[Lie::bytes(Sysno::read, b'b', b'a')],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.packets.split",
            pipe_packets_split,
            &[
                ("read() number 1", Answer::Is(4096)),
                ("bytes that came with read() number 1", Answer::Is(4096)),
                ("read() number 2", Answer::Is(904)),
            ],
        )
    },
    Claim {
        statement: "With O_DIRECT each packet takes a page: sixteen single bytes fill a pipe of 65536.",
        sources: &[PIPE2, Source::Measured],
        about: WRITE,
        lies: &[Lie::accepted(Sysno::write), Lie::refused(Sysno::write, libc::EAGAIN).after(3)],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.packets.pages",
            pipe_packets_pages,
            &[
                ("F_GETPIPE_SZ", Answer::Is(65536)),
                ("packets of one byte until EAGAIN", Answer::Is(16)),
                ("bytes in the pipe", Answer::Is(16)),
            ],
        )
    },
    Claim {
        statement: "F_SETPIPE_SZ of a pipe with bytes in it keeps them, whether it grows or shrinks to what they need.",
        sources: &[PIPE_SIZE, GVISOR],
        about: &[Sysno::fcntl],
        lies: &[Lie::refused(Sysno::fcntl, libc::EBUSY), Lie::bytes(Sysno::read, b'b', b'a')],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.size.keeps",
            pipe_size_keeps,
            &[
                ("F_SETPIPE_SZ 131072", Answer::Is(131_072)),
                ("F_SETPIPE_SZ 8192", Answer::Is(8192)),
                ("pages in the pipe", Answer::Says("ab")),
            ],
        )
    },
    Claim {
        statement: "A full pipe is ready for writing again when a whole page of it has been read, not before.",
        method: "Polls a full pipe of two pages, and again when one byte and when one page has been read.",
        sources: &[Source::Thread("Linux 7.3, fs/pipe.c, pipe_poll"), Source::Measured],
        about: POLL,
        lies: &[Lie::returned(Sysno::poll, 1).after(1), Lie::returned(Sysno::poll, 0).after(2)],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.poll.writable",
            pipe_poll_writable,
            &[
                ("poll() of the full pipe", Answer::Is(0)),
                ("poll() when one byte has been read", Answer::Is(0)),
                ("poll() when one page has been read", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "poll() says POLLIN of a pipe with bytes in it, POLLHUP of one without writers, POLLERR of a write end without readers.",
        sources: &[Source::Man("poll(2), man-pages 6.20")],
        about: POLL,
        lies: &[Lie::skipped(Sysno::poll)],
        ..Claim::of_answers(
            "pipe.poll.events",
            pipe_poll_events,
            &[
                ("empty pipe", Answer::Says("none")),
                ("pipe with a byte", Answer::Says("POLLIN")),
                ("pipe with a byte, without writers", Answer::Says("POLLIN POLLHUP")),
                ("empty pipe without writers", Answer::Says("POLLHUP")),
                ("write end without readers", Answer::Says("POLLOUT POLLERR")),
            ],
        )
    },
    Claim {
        statement: "pipe2() fails with EMFILE where RLIMIT_NOFILE leaves room for one descriptor, and takes none.",
        sources: &[PIPE2, Source::Thread("LTP @6958277, testcases/kernel/syscalls/pipe/pipe06.c")],
        about: &[Sysno::pipe2],
        lies: &[Lie::about(Sysno::pipe2, What::OtherErrno(libc::ENFILE)), Lie::refused(Sysno::dup, libc::EMFILE)],
        ..Claim::of_answers(
            "pipe.errors.emfile",
            pipe_errors_emfile,
            &[
                ("pipe2() with one descriptor left", Answer::Fails(Errno::EMFILE)),
                ("dup() afterwards", Answer::Succeeds),
            ],
        )
    },
    Claim {
        statement: "A pipe's read end, opened for writing by way of /proc/self/fd, is a write end of the same pipe.",
        sources: &[Source::Man("proc_pid_fd(5), man-pages 6.20"), Source::Measured],
        about: &[Sysno::openat, Sysno::write],
        lies: &[Lie::refused(Sysno::openat, libc::ENXIO), Lie::skipped(Sysno::write)],
        ..Claim::of_answers(
            "pipe.ends.reopened",
            pipe_ends_reopened,
            &[
                ("open(/proc/self/fd/read end, O_WRONLY)", Answer::Says("opened")),
                ("write(opened, 1)", Answer::Is(1)),
                ("bytes in the pipe", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "Beyond pipe-user-pages-soft a user's new pipe has two pages, 8192 bytes.",
        method: "As a user who has no other pipes: makes and grows pipes up to the limit.",
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/pipe/pipe15.c")],
        about: &[Sysno::fcntl],
        lies: &Lie::otherwise(Sysno::fcntl),
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.user.small-pipes",
            |_lab| {
                let (_all, last) = pipes_up_to_the_limit()?;
                let mut seen = Observation::new();
                seen.call("F_GETPIPE_SZ", fcntl_getpipe_size(&last.read));
                Ok(seen)
            },
            &[("F_GETPIPE_SZ", Answer::Is(8192))],
        )
    },
    Claim {
        statement: "Beyond pipe-user-pages-soft F_SETPIPE_SZ to more pages fails with EPERM, and to fewer it does not.",
        method: "As a user who has no other pipes: makes and grows pipes up to the limit.",
        sources: &[MAN],
        about: &[Sysno::fcntl],
        lies: &Lie::otherwise(Sysno::fcntl),
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "pipe.user.no-growth",
            |_lab| {
                let (_all, last) = pipes_up_to_the_limit()?;
                let mut seen = Observation::new();
                for size in [16384, 4096] {
                    seen.call(format!("F_SETPIPE_SZ {size}"), fcntl_setpipe_size(&last.write, size));
                }
                Ok(seen)
            },
            &[("F_SETPIPE_SZ 16384", Answer::Fails(Errno::EPERM)), ("F_SETPIPE_SZ 4096", Answer::Is(4096))],
        )
    },
];

/// A pipe with these flags, if the kernel has them. gVisor's pipes have no packet mode.
fn made(flags: PipeFlags) -> Result<Pipe, Stop> {
    match pipe2(flags) {
        Err(Errno::EINVAL) if flags.contains(PipeFlags::DIRECT) => Err(Stop::untestable(
            Lack::Kernel,
            "pipe2(O_DIRECT): EINVAL",
            "use a kernel whose pipes have a packet mode",
        )),
        made => made.setup("pipe2"),
    }
}

/// A pipe of `pages` pages, with these flags.
fn pipe_of(pages: usize, flags: PipeFlags) -> Result<Pipe, Stop> {
    aside(|| {
        let pipe = made(flags)?;
        io::resize_pipe(&pipe.write, pages * PAGE).setup("F_SETPIPE_SZ")?;
        Ok(pipe)
    })
}

/// Writes `count` bytes to an `O_NONBLOCK` pipe of `pages` pages that holds `filled` bytes.
fn write_to_filled(pages: usize, filled: usize, count: usize) -> Result<Observation, Stop> {
    let pipe = pipe_of(pages, PipeFlags::NONBLOCK)?;
    aside(|| io::write_all(&pipe.write, &vec![0; filled])).setup("write to a pipe")?;
    let bytes = vec![0; count];
    let mut seen = Observation::new();
    seen.call(format!("write(pipe, {count})"), io::again(|| io::write(&pipe.write, &bytes)));
    note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
    Ok(seen)
}

fn write_without_readers(bytes: &[u8]) -> Result<Observation, Stop> {
    let Pipe { read, write } = pipe()?;
    drop(read);
    let mut seen = Observation::new();
    let (done, signals) = raised(libc::SIGPIPE, || io::again(|| io::write(&write, bytes)))?;
    seen.call(format!("write(pipe without readers, {})", bytes.len()), done).count("signals raised", signals);
    Ok(seen)
}

fn pipe_read_end(_lab: &Lab) -> Result<Observation, Stop> {
    let Pipe { read, write } = aside(|| pipe2(PipeFlags::NONBLOCK)).setup("pipe2")?;
    let mut buffer = [0];
    let mut read_one = || io::again(|| io::read(&read, &mut buffer));
    let mut seen = Observation::new();
    seen.call("read(empty pipe)", read_one());
    io::write_all(&write, b"b").setup("write to a pipe")?;
    drop(write);
    seen.call("read(pipe with a byte, without writers)", read_one());
    seen.call("read(empty pipe without writers)", read_one());
    seen.text("the byte that came", char::from(buffer[0]));
    Ok(seen)
}

fn pipe_ends_wrong(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe()?;
    let mut seen = Observation::new();
    let mut buffer = [0];
    seen.call("read(write end)", io::again(|| io::read(&pipe.write, &mut buffer)));
    seen.call("write(read end)", io::again(|| io::write(&pipe.read, b"b")));
    Ok(seen)
}

fn pipe_ends_no_position(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe()?;
    aside(|| io::write_all(&pipe.write, b"b")).setup("write to a pipe")?;
    let current = libc::SEEK_CUR.cast_unsigned() as usize;
    // SAFETY: lseek takes no pointer.
    let sought = unsafe { ask(Sysno::lseek, [argument(&pipe.read), 0, current, 0, 0, 0]) };
    let mut seen = Observation::new();
    seen.call("lseek(pipe, 0, SEEK_CUR)", sought);
    seen.call("pread(pipe, 1, 0)", io::pread(&pipe.read, &mut [0], 0));
    seen.call("pwrite(pipe, 1, 0)", io::pwrite(&pipe.write, b"b", 0));
    Ok(seen)
}

fn pipe_count_fionread(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe()?;
    for bytes in [&b"abc"[..], b"defgh"] {
        aside(|| io::write_all(&pipe.write, bytes)).setup("write to a pipe")?;
    }
    let mut seen = Observation::new();
    let read_end = sockets::readable(&pipe.read)? as u64;
    seen.count("FIONREAD of the read end", read_end);
    let write_end = sockets::readable(&pipe.write)? as u64;
    seen.count("FIONREAD of the write end", write_end);
    Ok(seen)
}

fn pipe_flags_both_ends(_lab: &Lab) -> Result<Observation, Stop> {
    let both = PipeFlags::NONBLOCK | PipeFlags::CLOEXEC;
    let mut seen = Observation::new();
    for (name, flags) in [("O_NONBLOCK|O_CLOEXEC", both), ("0", PipeFlags::empty())] {
        match pipe2(flags) {
            Ok(pipe) => {
                seen.text(format!("read end of pipe2({name})"), flags_of(&pipe.read)?);
                seen.text(format!("write end of pipe2({name})"), flags_of(&pipe.write)?);
            }
            Err(errno) => {
                for end in ["read", "write"] {
                    seen.call(format!("{end} end of pipe2({name})"), Err(errno));
                }
            }
        }
    }
    Ok(seen)
}

/// The names of the flags that a descriptor has, of `O_NONBLOCK` and `FD_CLOEXEC`.
fn flags_of(fd: &impl AsFd) -> Result<String, Stop> {
    let of = |command: libc::c_int| {
        let command = command.cast_unsigned() as usize;
        // SAFETY: F_GETFL and F_GETFD take no pointer.
        aside(|| unsafe { ask(Sysno::fcntl, [argument(fd), command, 0, 0, 0, 0]) })
    };
    let has = |flags: usize, flag: libc::c_int| flags & flag.cast_unsigned() as usize != 0;
    let status = of(libc::F_GETFL).setup("F_GETFL")?;
    let descriptor = of(libc::F_GETFD).setup("F_GETFD")?;
    Ok(named(&[("O_NONBLOCK", has(status, libc::O_NONBLOCK)), ("FD_CLOEXEC", has(descriptor, libc::FD_CLOEXEC))]))
}

/// The names of the flags that are set.
fn named(flags: &[(&str, bool)]) -> String {
    let names: Vec<&str> = flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

/// Writes packets to a pipe in packet mode. Then makes as many reads, of `length` bytes each.
fn packets(written: &[&[u8]], length: usize) -> Result<Observation, Stop> {
    let pipe = made(PipeFlags::DIRECT | PipeFlags::NONBLOCK)?;
    for bytes in written {
        io::write_whole(&pipe.write, bytes).setup("write to a pipe")?;
    }
    let mut seen = Observation::new();
    for number in 1..=written.len() {
        let mut buffer = vec![0; length];
        let read = io::again(|| io::read(&pipe.read, &mut buffer)).setup("read a pipe")?;
        let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
        seen.text(format!("read() number {number}"), text);
    }
    note_readable(&mut seen, "bytes left in the pipe", &pipe.read)?;
    Ok(seen)
}

fn pipe_packets_split(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe_of(4, PipeFlags::DIRECT | PipeFlags::NONBLOCK)?;
    aside(|| io::write_whole(&pipe.write, &[b'b'; 5000])).setup("write to a pipe")?;
    let mut seen = Observation::new();
    for number in 1..=2 {
        let mut buffer = [0; 8192];
        let read = io::again(|| io::read(&pipe.read, &mut buffer));
        seen.call(format!("read() number {number}"), read);
        let came = buffer.iter().filter(|byte| **byte == b'b').count() as u64;
        seen.count(format!("bytes that came with read() number {number}"), came);
    }
    Ok(seen)
}

fn pipe_packets_pages(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe_of(16, PipeFlags::DIRECT | PipeFlags::NONBLOCK)?;
    let mut seen = Observation::new();
    let size = aside(|| fcntl_getpipe_size(&pipe.write)).setup("F_GETPIPE_SZ")?;
    seen.call("F_GETPIPE_SZ", Ok(size));
    let mut taken = 0;
    let full = loop {
        match io::again(|| io::write(&pipe.write, b"b")) {
            Ok(1) if taken < 100 => taken += 1,
            full => break full,
        }
    };
    seen.count("packets of one byte until EAGAIN", taken).call("the next write", full);
    note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
    Ok(seen)
}

fn pipe_size_keeps(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe()?;
    let content = [[b'a'; PAGE], [b'b'; PAGE]].concat();
    aside(|| io::write_all(&pipe.write, &content)).setup("write to a pipe")?;
    let mut seen = Observation::new();
    for size in [131_072, 8192] {
        let set = fcntl_setpipe_size(&pipe.write, size);
        seen.call(format!("F_SETPIPE_SZ {size}"), set);
    }
    let now = aside(|| fcntl_getpipe_size(&pipe.write));
    seen.call("F_GETPIPE_SZ", now);
    let mut bytes = vec![0; content.len()];
    io::read_full(&pipe.read, &mut bytes).setup("read a pipe")?;
    seen.text("pages in the pipe", letters_of(&bytes));
    Ok(seen)
}

fn pipe_poll_writable(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe_of(2, PipeFlags::NONBLOCK)?;
    aside(|| io::write_all(&pipe.write, &[0; 2 * PAGE])).setup("write to a pipe")?;
    let mut seen = Observation::new();
    let mut note = |fact: &str| {
        let (answer, events) = io::poll(&pipe.write, libc::POLLOUT, 0);
        seen.call(fact, answer);
        seen.text(format!("events of {fact}"), named_events(events));
    };
    note("poll() of the full pipe");
    for (name, count) in [("byte", 1), ("page", PAGE - 1)] {
        aside(|| io::read_full(&pipe.read, &mut vec![0; count])).setup("read a pipe")?;
        note(&format!("poll() when one {name} has been read"));
    }
    Ok(seen)
}

/// The names of the events that `poll` reports.
fn events(fd: &impl AsFd, asked: libc::c_short) -> String {
    let (answer, events) = io::poll(fd, asked, 0);
    match answer {
        Ok(count) if count == usize::from(events != 0) => named_events(events),
        Ok(count) => format!("{count} descriptors, {}", named_events(events)),
        Err(errno) => format!("{errno:?}"),
    }
}

fn named_events(events: libc::c_short) -> String {
    named(&[
        ("POLLIN", events & libc::POLLIN != 0),
        ("POLLOUT", events & libc::POLLOUT != 0),
        ("POLLERR", events & libc::POLLERR != 0),
        ("POLLHUP", events & libc::POLLHUP != 0),
    ])
}

fn pipe_poll_events(_lab: &Lab) -> Result<Observation, Stop> {
    let Pipe { read, write } = pipe()?;
    let mut seen = Observation::new();
    seen.text("empty pipe", events(&read, libc::POLLIN));
    aside(|| io::write_all(&write, b"b")).setup("write to a pipe")?;
    seen.text("pipe with a byte", events(&read, libc::POLLIN));
    drop(write);
    seen.text("pipe with a byte, without writers", events(&read, libc::POLLIN));
    aside(|| io::read_full(&read, &mut [0])).setup("read a pipe")?;
    seen.text("empty pipe without writers", events(&read, libc::POLLIN));
    let Pipe { read, write } = pipe()?;
    drop(read);
    seen.text("write end without readers", events(&write, libc::POLLOUT));
    Ok(seen)
}

fn pipe_errors_emfile(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe()?;
    let fd = argument(&pipe.read);
    // SAFETY: dup and close take no pointer. The new descriptor is closed here, and nothing else uses it.
    let lowest_free = aside(|| unsafe {
        let made = ask(Sysno::dup, [fd, 0, 0, 0, 0, 0])?;
        ask(Sysno::close, [made, 0, 0, 0, 0, 0])?;
        Ok::<_, Errno>(made)
    })
    .setup("dup")?;
    aside(|| privilege::limit_descriptors(lowest_free as u64 + 1)).setup("RLIMIT_NOFILE")?;
    let mut seen = Observation::new();
    let made = pipe2(PipeFlags::CLOEXEC);
    seen.call("pipe2() with one descriptor left", made.map(|_| 0));
    // SAFETY: dup takes no pointer; the descriptor that it makes is left open.
    let still = unsafe { ask(Sysno::dup, [fd, 0, 0, 0, 0, 0]) };
    seen.call("dup() afterwards", still.map(|_| 0));
    Ok(seen)
}

fn pipe_ends_reopened(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe()?;
    let path = format!("/proc/self/fd/{}\0", pipe.read.as_raw_fd());
    let here = libc::AT_FDCWD as isize;
    let flags = (libc::O_WRONLY | libc::O_NONBLOCK).cast_unsigned() as usize;
    let arguments = [here.cast_unsigned(), path.as_ptr().expose_provenance(), flags, 0, 0, 0];
    // SAFETY: openat reads a path that ends with a zero; the descriptor that it makes is left open.
    let opened = unsafe { ask(Sysno::openat, arguments) };
    let fact = "open(/proc/self/fd/read end, O_WRONLY)";
    let mut seen = Observation::new();
    match opened {
        Ok(_) => seen.text(fact, "opened"),
        Err(errno) => seen.call(fact, Err(errno)),
    };
    let bytes = b"b".as_ptr().expose_provenance();
    let end = opened.unwrap_or(io::NO_FD);
    // SAFETY: write reads the one byte.
    let written = io::again(|| unsafe { ask(Sysno::write, [end, bytes, 1, 0, 0, 0]) });
    seen.call("write(opened, 1)", written);
    note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
    Ok(seen)
}

/// Becomes a user without pipes, and makes pipes up to the user's limit. Returns them, and the first one past the limit.
fn pipes_up_to_the_limit() -> Result<(Vec<Pipe>, Pipe), Stop> {
    const LARGE: usize = 1 << 20;
    /// With the default limit, 64 pipes are enough.
    const MOST: usize = 200;
    aside(|| {
        privilege::become_another_user()?;
        let mut all = Vec::new();
        while all.len() < MOST {
            let pipe = pipe2(PipeFlags::CLOEXEC).setup("pipe2")?;
            match fcntl_getpipe_size(&pipe.read).setup("F_GETPIPE_SZ")? {
                // Past the limit a pipe has two pages, or one, as documented for Linux before 5.14.
                0..=8192 => return Ok((all, pipe)),
                // Near the limit a large size is refused.
                _ => drop(fcntl_setpipe_size(&pipe.write, LARGE)),
            }
            all.push(pipe);
        }
        Err(Stop::untestable(
            Lack::Kernel,
            "no limit is reached: /proc/sys/fs/pipe-user-pages-soft is 0 or large",
            "set it to its default: sysctl fs.pipe-user-pages-soft=16384",
        ))
    })
}
