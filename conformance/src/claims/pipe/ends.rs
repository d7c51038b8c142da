//! The two ends of a pipe.

use crate::claims::prelude::*;
use nocopy_splice::PipeFlags;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

pub const CLAIMS: &[Claim] = &[
    claim("pipe.ends.wrong", "read() of a pipe's write end, and write() to its read end, fail with EBADF.")
        .published(&[man("read(2)", "ERRORS, EBADF"), man("write(2)", "ERRORS, EBADF"), ltp("pipe03.c", "verify_pipe")])
        .about(&[Sysno::read, Sysno::write])
        .turned_by(&[
            Lie::about(Sysno::read, What::OtherErrno(libc::EINVAL)),
            Lie::about(Sysno::write, What::OtherErrno(libc::EINVAL)),
            Lie::accepted(Sysno::read),
        ])
        .tried(|_lab, see| {
            let pipe = pipe()?;
            see.call("read(write end)", io::again(|| io::read(&pipe.write, &mut [0]))).fails(EBADF);
            see.call("write(read end)", io::again(|| io::write(&pipe.read, b"b"))).fails(EBADF);
            Ok(())
        }),
    claim("pipe.ends.no-position", "lseek(), pread() and pwrite() of a pipe fail with ESPIPE.")
        .published(&[man("lseek(2)", "ERRORS, ESPIPE"), gvisor("pipe.cc", "PipeTest.Seek"), man("pread(2)", "ERRORS")])
        .about(&[Sysno::lseek, Sysno::pread64, Sysno::pwrite64])
        .turned_by(&[
            Lie::accepted(Sysno::lseek),
            Lie::about(Sysno::pread64, What::OtherErrno(libc::EINVAL)),
            Lie::about(Sysno::pwrite64, What::OtherErrno(libc::EINVAL)),
        ])
        .tried(|_lab, see| {
            let pipe = filled(b"b")?;
            for (end, fd) in [("read", AsFd::as_fd(&pipe.read)), ("write", AsFd::as_fd(&pipe.write))] {
                for (name, from) in [("SEEK_SET", 0), ("SEEK_CUR", 1), ("SEEK_END", 2)] {
                    // SAFETY: lseek takes no pointer.
                    let sought = unsafe { ask(Sysno::lseek, [argument(&fd), 0, from, 0, 0, 0]) };
                    see.call(format!("lseek({end} end, 0, {name})"), sought).fails(Errno::ESPIPE);
                }
            }
            see.call("pread(pipe, 1, 0)", io::pread(&pipe.read, &mut [0], 0)).fails(Errno::ESPIPE);
            see.call("pwrite(pipe, 1, 0)", io::pwrite(&pipe.write, b"b", 0)).fails(Errno::ESPIPE);
            Ok(())
        }),
    claim(
        "pipe.ends.reopened",
        "Opening a pipe's read end for writing through /proc/self/fd gives a write end of the same pipe.",
    )
    .published(&[kernel("fs/pipe.c", "fifo_open")])
    .about(&[Sysno::openat, Sysno::write])
    .turned_by(&[Lie::refused(Sysno::openat, libc::ENXIO), Lie::skipped(Sysno::write)])
    .tried(|_lab, see| {
        let Pipe { read, write } = aside(|| super::made(PipeFlags::NONBLOCK))?;
        let path = format!("/proc/self/fd/{}", read.as_raw_fd());
        let opened = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path);
        let opened = opened.map_err(|error| Errno::new(error.raw_os_error().unwrap_or(0)));
        see.call("open(/proc/self/fd/read end, O_WRONLY)", super::done(&opened)).succeeds();
        drop(write);
        let byte = io::again(|| io::read(&read, &mut [0]));
        see.call("read(empty pipe, other write end closed)", byte).fails(EAGAIN);
        let written = opened.and_then(|end| io::again(|| io::write(&end, b"b")));
        see.call("write(opened, 1)", written).is(1);
        see.holds("the pipe's byte", &read, b"b")?.says(AS_SENT);
        Ok(())
    }),
];
