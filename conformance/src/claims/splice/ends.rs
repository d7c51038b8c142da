//! What `splice` takes as its ends.

use super::{BLOCKING, NONBLOCK, about_splice, all, lengths, once, rest};
use crate::claims::prelude::*;
use crate::lab::fds::{self, Descriptor, Kind as Fd};
use crate::verdict::Fact;
use nocopy_splice::{PipeFlags, pipe2, splice};
use std::os::fd::BorrowedFd;

pub const CLAIMS: &[Claim] = &[
    about_splice(
        "splice.ends.pipe-needed",
        "splice() between a file and a TCP socket, two files or two TCP sockets fails with EINVAL: it needs a pipe.",
    )
    .published(&[man("splice(2)", "ERRORS, EINVAL"), ltp("splice03.c", "two files"), seed("3.3"), seed("5.2")])
    .tried(|lab, see| {
        let (file, other, pipe) = (lab.file(b"four")?, lab.empty_file()?, pipe()?);
        let ((socket, far), (other_socket, other_far)) = (sockets::tcp()?, sockets::tcp()?);
        aside(|| io::write_all(&far, b"four")).setup("write")?;
        aside(|| io::wait_for(socket.as_fd(), libc::POLLIN)).setup("poll")?;
        let call = |from: BorrowedFd<'_>, to: BorrowedFd<'_>| splice(from, None, to, None, 4, BLOCKING);
        see.call("splice(file, TCP socket)", call(file.as_fd(), other_socket.as_fd())).fails(EINVAL);
        see.call("splice(TCP socket, file)", call(socket.as_fd(), other.as_fd())).fails(EINVAL);
        see.call("splice(file, other file)", call(file.as_fd(), other.as_fd())).fails(EINVAL);
        see.call("splice(TCP socket, other TCP socket)", call(socket.as_fd(), other_socket.as_fd())).fails(EINVAL);
        see.call("splice(file, pipe)", all(&file, &pipe.write, 4)).is(4);
        see.call("splice(pipe, TCP socket)", all(&pipe.read, &other_socket, 4)).is(4);
        drop(other_socket);
        see.text("bytes at the socket's other end", as_sent(rest(&other_far)? == b"four")).says(AS_SENT);
        Ok(())
    }),
    about_splice(
        "splice.ends.any-descriptor",
        "With a pipe at one end, splice() takes a descriptor of any kind at the other.",
    )
    .published(&[
        man("sendfile(2)", "NOTES"),
        man("splice(2)", "NOTES"),
        man("splice(2)", "ERRORS, EINVAL").denies(),
        ltp("splice07.c", "check_splice: what fails with EBADF or EINVAL").denies(),
        seed("5.2").denies(),
        seed("3.3"),
        seed("6.1"),
        seed("7.3"),
    ])
    .turned_by(&[Lie::accepted(Sysno::splice)])
    .gated(&[ZERO])
    .tried(|lab, see| {
        let into = pipe()?;
        let from_source = |source: &Descriptor| once(source, &into.write, 4);
        fds::each(
            lab,
            READABLE,
            see,
            |kind| format!("splice({kind}, pipe)"),
            from_source,
            |_source, _reported| {
                let came = sockets::readable(&into.read)?;
                io::read_full(&into.read, &mut vec![0; came]).setup("empty the pipe")?;
                Ok(Some(came as u64))
            },
        )?;
        let into_sink = |sink: &Descriptor| {
            let pipe = aside(|| pipe2(PipeFlags::CLOEXEC))?;
            aside(|| io::write_all(&pipe.write, b"four"))?;
            once(&pipe.read, sink, 4)
        };
        fds::each(lab, WRITABLE, see, |kind| format!("splice(pipe, {kind})"), into_sink, Descriptor::written)?;
        // These are open modes and no kinds: the same file without the flag is taken.
        let is_mode = |fact: &str| fact.contains("O_PATH") || fact.contains("O_APPEND");
        let refused = |fact: &&Fact| matches!(fact.value, Value::Errno(_)) && !is_mode(&fact.fact);
        let count = see.facts().iter().filter(refused).count();
        see.count("kinds that are refused, O_PATH and O_APPEND aside", count as u64).is(0);
        Ok(())
    }),
    about_splice("splice.ends.same-pipe", "splice() from a pipe into the same pipe fails with EINVAL.")
        .published(&[man("splice(2)", "ERRORS, EINVAL"), gvisor("splice.cc", "SpliceTest.SamePipe")])
        .tried(|_lab, see| {
            let (pipe, other) = (filled(b"b")?, pipe()?);
            see.call("splice(pipe, same pipe)", once(&pipe.read, &pipe.write, 1)).fails(EINVAL);
            see.call("splice(pipe, other pipe)", once(&pipe.read, &other.write, 1)).is(1);
            see.holds("other pipe's bytes", &other.read, b"b")?.says(AS_SENT);
            Ok(())
        }),
    about_splice("splice.ends.two-pipes", "splice() moves bytes from one pipe into another.")
        .published(&[
            man("splice(2)", "HISTORY").since("2.6.31"),
            ltp("splice04.c", "pipe_pipe"),
            gvisor("splice.cc", "SpliceTest.TwoPipes"),
        ])
        .tried(|_lab, see| {
            for (name, length) in lengths() {
                let bytes = pattern(length);
                let (from, to) = (filled(&bytes)?, pipe()?);
                see.call(format!("splice(pipe, other pipe, {name})"), all(&from.read, &to.write, length)).is(length);
                see.readable(&format!("{name}: bytes left in the pipe"), &from.read)?.is(0);
                see.holds(&format!("{name}: bytes of the other pipe"), &to.read, &bytes)?.says(AS_SENT);
            }
            Ok(())
        }),
    about_splice(
        "splice.ends.two-files",
        "splice() between two files fails with EINVAL, whichever of them has an offset.",
    )
    .published(&[
        gvisor("splice.cc", "SpliceTest.TwoRegularFiles"),
        man("splice(2)", "ERRORS, EINVAL"),
        ltp("splice03.c", "two files"),
    ])
    .tried(|lab, see| {
        let (first, second) = (lab.file(b"abc")?, lab.file(b"def")?);
        let mut tried = |call: &str, from: Option<&mut u64>, to: Option<&mut u64>| {
            see.call(call, splice(&first, from, &second, to, 1, NONBLOCK)).fails(EINVAL);
        };
        tried("splice(file, other file)", None, None);
        tried("splice(file at 0, other file)", Some(&mut 0), None);
        tried("splice(file, other file at 0)", None, Some(&mut 0));
        tried("splice(file at 0, other file at 0)", Some(&mut 0), Some(&mut 0));
        Ok(())
    }),
];

const READABLE: &[Fd] = &[
    Fd::RegularFile,
    Fd::Memfd,
    Fd::TcpSocket,
    Fd::UdpSocket,
    Fd::UnixStream,
    Fd::Terminal,
    Fd::DevUrandom,
    Fd::DevZero,
    Fd::DevFull,
    Fd::DevNull,
    Fd::ProcVersion,
    Fd::ProcSysctl,
    Fd::Sysfs,
    Fd::ProcMaps,
    Fd::ProcStatus,
    Fd::Eventfd,
    Fd::Timerfd,
    Fd::Signalfd,
    Fd::Inotify,
    Fd::Epoll,
    Fd::Pidfd,
    Fd::Directory,
    Fd::PathOnly,
];

const WRITABLE: &[Fd] = &[
    Fd::RegularFile,
    Fd::Memfd,
    Fd::TcpSocket,
    Fd::UdpSocket,
    Fd::UnixStream,
    Fd::Terminal,
    Fd::DevNull,
    Fd::DevZero,
    Fd::DevUrandom,
    Fd::DevFull,
    Fd::AppendFile,
    Fd::Eventfd,
];
