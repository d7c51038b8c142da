//! The flags of `splice`, and `O_NONBLOCK`.

use super::{BLOCKING, NONBLOCK, about_splice, file_holds, more_than_fits, once, raw, sleeper};
use crate::claims::prelude::*;
use crate::lab::filesystems::filesystem_of;
use crate::lab::waiting::wait_until;
use nocopy_splice::{IoVec, splice, vmsplice_to_pipe};
use std::os::unix::net::UnixStream;

pub const CLAIMS: &[Claim] = &[
    about_splice(
        "splice.flags.nonblock",
        "With SPLICE_F_NONBLOCK, or O_NONBLOCK set on the pipe, splice() from an empty pipe into a file or pipe, or \
         from one into a full pipe, fails with EAGAIN.",
    )
    .published(&[man("splice(2)", "ERRORS, EAGAIN"), gvisor("splice.cc", "SpliceTest.NonBlocking, of an empty pipe")])
    .sharing(&[Resource::UserPipePages])
    .method("A kernel that does not look at the flag sleeps until the time limit, which is red.")
    .tried(|lab, see| {
        let (file, empty, full) = (lab.file(b"abc")?, pipe()?, full()?);
        let (from, to) = (filled(b"b")?, pipe()?);
        for (name, flags) in [("SPLICE_F_NONBLOCK", NONBLOCK), ("0, the pipe has O_NONBLOCK", BLOCKING)] {
            if flags == BLOCKING {
                io::set_nonblocking(&empty.read).setup("F_SETFL")?;
                io::set_nonblocking(&full.write).setup("F_SETFL")?;
            }
            for (ends, done) in [
                ("empty pipe, file", splice(&empty.read, None, &file, None, 1, flags)),
                ("empty pipe, other pipe", splice(&empty.read, None, &to.write, None, 1, flags)),
                ("file, full pipe", splice(&file, None, &full.write, None, 1, flags)),
                ("other pipe, full pipe", splice(&from.read, None, &full.write, None, 1, flags)),
            ] {
                see.call(format!("splice({ends}, {name})"), done).fails(EAGAIN);
            }
        }
        Ok(())
    }),
    about_splice(
        "splice.flags.nonblock-unix",
        "splice() from an empty AF_UNIX stream socket without O_NONBLOCK fails with EAGAIN under SPLICE_F_NONBLOCK.",
    )
    .published(&[
        man("splice(2)", "DESCRIPTION, SPLICE_F_NONBLOCK").leaves_open(),
        kernel("net/unix/af_unix.c", "unix_stream_splice_read"),
    ])
    .tried(|_lab, see| {
        let ((near, _far), pipe) = (UnixStream::pair().setup("socketpair")?, pipe()?);
        see.call("splice(empty AF_UNIX socket, pipe, SPLICE_F_NONBLOCK)", once(&near, &pipe.write, 1)).fails(EAGAIN);
        Ok(())
    }),
    about_splice(
        "splice.flags.nonblock-tcp",
        "In spite of SPLICE_F_NONBLOCK, splice() from an empty TCP or UDP socket, or of more than a TCP socket has \
         room for, sleeps if the socket has no O_NONBLOCK.",
    )
    .published(&[
        man("splice(2)", "DESCRIPTION, SPLICE_F_NONBLOCK").leaves_open(),
        thread("golang/go#59041", "a comment reads the page so: the call can block even with the flag").leaves_open(),
        kernel("net/ipv4/tcp.c", "tcp_splice_read"),
        kernel("net/socket.c", "sock_read_iter"),
        kernel("fs/splice.c", "splice_to_socket"),
    ])
    .turned_by(&does_not_wait(Sysno::splice))
    .sharing(&[Resource::UserPipePages])
    .tried(|_lab, see| {
        let (near, far) = sockets::tcp()?;
        from_empty(see, "TCP", near, |_| io::write_all(&far, b"b").setup("write"))?;
        let (near, far) = aside(sockets::udp)?;
        from_empty(see, "UDP", far, |_| io::write_all(&near, b"b").setup("write"))?;
        let (bytes, Pipe { read, write: _write }, near, far) = more_than_fits()?;
        let caller = sleeper(read, near, bytes.len(), NONBLOCK)?;
        let wake = |_: &Caller| {
            drain(far.into());
            Ok(())
        };
        see.sleeps("splice(pipe of 1 MiB, TCP socket, SPLICE_F_NONBLOCK)", caller, wake)?.at_least(1);
        Ok(())
    }),
    about_splice(
        "splice.flags.unknown",
        "splice() fails with EINVAL if a flag bit other than the four SPLICE_F_* bits is set.",
    )
    .published(&[kernel("fs/splice.c", "SYSCALL_DEFINE6(splice)")])
    .tried(|lab, see| {
        let (file, pipe) = (lab.file(b"abc")?, pipe()?);
        let with = |flags| raw(argument(&file), argument(&pipe.write), 1, flags);
        let refused = (4..32).filter(|bit| with(1 << bit) == Err(EINVAL)).count();
        see.count("bits from 4 to 31 with which splice(file, pipe) fails with EINVAL", refused as u64).is(28);
        see.call("splice(file, pipe, 0xf)", with(0xf)).is(1);
        see.holds("pipe's byte", &pipe.read, b"a")?.says(AS_SENT);
        Ok(())
    }),
    about_splice(
        "splice.flags.known",
        "splice() accepts SPLICE_F_MOVE, SPLICE_F_NONBLOCK, SPLICE_F_MORE and SPLICE_F_GIFT, each alone and all \
         together.",
    )
    .published(&[man("splice(2)", "DESCRIPTION"), selftest("net/tls.c", "tls.splice_more, without MOVE")])
    .turned_by(&[Lie::refused(Sysno::splice, libc::EINVAL)])
    .tried(|lab, see| {
        let (source, target, pipe) = (lab.file(b"abcde")?, lab.empty_file()?, pipe()?);
        let flags = [("MOVE", 1), ("NONBLOCK", 2), ("MORE", 4), ("GIFT", 8), ("all four", 15)];
        for (name, flag) in flags {
            let into = raw(argument(&source), argument(&pipe.write), 1, flag);
            see.call(format!("splice(file, pipe, {name})"), into).is(1);
            let out = raw(argument(&pipe.read), argument(&target), 1, flag);
            see.call(format!("splice(pipe, file, {name})"), out).is(1);
        }
        file_holds(see, "second file's bytes", &target, b"abcde")
    }),
    about_splice(
        "splice.flags.more-holds",
        "With SPLICE_F_MORE, splice() of ten bytes into a TCP socket holds them back; without, it sends them at once.",
    )
    .published(&[
        thread("daeuniverse/dae#1115", "SPLICE_F_MORE on the last piece of a message delays short answers by 200 ms"),
        man("splice(2)", "DESCRIPTION, SPLICE_F_MORE").leaves_open(),
    ])
    .turned_by(&[Lie::about(Sysno::ioctl, What::Output { argument: 2, value: 0 }).with(1, sockets::SIOCOUTQNSD)])
    .method("Held bytes go after 200 ms, so of ten tries with the flag the first that still sees them decides.")
    .tried(|_lab, see| {
        let (near, far) = sockets::tcp()?; // Nagle's algorithm, which also holds bytes, is off
        let mut sent = 0;
        let mut held = |flags| -> Result<(Result<usize, Errno>, u64), Stop> {
            let pipe = filled(b"ten bytes!")?;
            let done = io::until_done(10, |done| splice(&pipe.read, None, &near, None, 10 - done, flags | NONBLOCK));
            let unsent = sockets::unsent(&near)?;
            sent += done.unwrap_or(0);
            sockets::wait_for_arrival(&far, sent)?;
            wait_until(|| Ok(aside(|| sockets::unacknowledged(&near))? == 0))?;
            Ok((done, unsent as u64))
        };
        let (done, without) = held(BLOCKING)?;
        see.call("splice(pipe of 10, TCP socket)", done).is(10).count("bytes held", without).is(0);
        let mut with = held(SpliceFlags::MORE)?;
        for _ in 1..10 {
            if with == (Ok(10), 0) {
                with = held(SpliceFlags::MORE)?;
            }
        }
        see.call("splice(pipe of 10, TCP socket, SPLICE_F_MORE)", with.0).is(10);
        see.count("bytes held with SPLICE_F_MORE", with.1).is(10);
        Ok(())
    }),
    about_splice(
        "splice.flags.move-copies-into-file",
        "With SPLICE_F_GIFT and SPLICE_F_MOVE, pages go from memory through a pipe into a file without a copy.",
    )
    .published(&[
        man("vmsplice(2)", "DESCRIPTION, SPLICE_F_GIFT").leaves_open(),
        man("splice(2)", "DESCRIPTION, SPLICE_F_MOVE").denies().since("2.6.21"),
        doc("filesystems/splice.rst", "splice API").leaves_open(),
    ])
    .about(&[Sysno::splice, Sysno::vmsplice])
    .turned_by(alias::SHARING_LIES)
    .gated(&[gate("2.6.21", "SPLICE_F_MOVE does nothing", man("splice(2)", "DESCRIPTION, SPLICE_F_MOVE"))])
    .tried(|lab, see| {
        see.text("file system", filesystem_of(lab.scratch()?).setup("statfs")?);
        let mut memory = alias::memory(alias::LENGTH)?;
        let (file, pipe) = (lab.empty_file()?, pipe()?);
        let given = io::until_done(alias::LENGTH, |done| {
            // SAFETY: the write end of a pipe; the memory outlives the pipe.
            unsafe { vmsplice_to_pipe(&pipe.write, &[IoVec::new(&memory[done..])], SpliceFlags::GIFT) }
        });
        see.call("vmsplice(pipe, four pages, SPLICE_F_GIFT)", given).is(alias::LENGTH);
        let moved = io::until_done(alias::LENGTH, |done| {
            splice(&pipe.read, None, &file, None, alias::LENGTH - done, SpliceFlags::MOVE)
        });
        see.call("splice(pipe, file, SPLICE_F_MOVE)", moved).is(alias::LENGTH);
        see.readable("bytes left in the pipe", &pipe.read)?.is(0);
        memory.fill(alias::NEW);
        let mut bytes = vec![0; alias::LENGTH];
        let length = io::pread_full(&file, &mut bytes, 0).setup("read the file")?;
        see.count("bytes in the file", length as u64).is(alias::LENGTH);
        see.text("memory changed after the transfer, file's bytes", Sharing::of(&bytes[..length])?)
            .says(Sharing::Shared);
        Ok(())
    }),
];

/// Notes that `splice` from an empty socket with `SPLICE_F_NONBLOCK` sleeps until a byte arrives.
fn from_empty(
    see: &mut Observation,
    name: &str,
    socket: impl AsFd + Send + 'static,
    wake: impl FnOnce(&Caller) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let Pipe { read, write } = pipe()?;
    let caller = sleeper(socket, write, 1, NONBLOCK)?;
    see.sleeps(&format!("splice(empty {name} socket, pipe, SPLICE_F_NONBLOCK)"), caller, wake)?.is(1);
    see.holds(&format!("byte from the {name} socket"), &read, b"b")?.says(AS_SENT);
    Ok(())
}
