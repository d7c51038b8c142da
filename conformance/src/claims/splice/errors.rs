//! The errors of `splice`, and the bytes that stay in the pipe.

use super::{BLOCKING, about_splice, file_holds, once, raw};
use crate::claims::prelude::*;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::fuse::{self, Fuse};
use crate::lab::{mounts, open};
use nocopy_splice::splice;
use std::ffi::CString;
use std::os::unix::net::UnixStream;

const COREUTILS: &str = "coreutils/coreutils#277";
const INTO_FILE: Source = kernel("fs/splice.c", "iter_file_splice_write");

pub const CLAIMS: &[Claim] = &[
    about_splice(
        "splice.errors.ebadf",
        "splice() fails with EBADF for a descriptor that is not open, or not open for reading (fd_in) or writing \
         (fd_out).",
    )
    .published(&[man("splice(2)", "ERRORS, EBADF"), ltp("splice03.c", "the first three cases")])
    .tried(|lab, see| {
        let file = lab.file(b"abc")?;
        let read_only = reopen(&file, File::options().read(true))?;
        let write_only = reopen(&file, File::options().write(true))?;
        let path = Descriptor::open(lab, Fd::PathOnly)?;
        let (from, to) = (filled(b"b")?, pipe()?);
        for (name, result) in [
            ("splice(-1, pipe)", raw(NO_FD, argument(&to.write), 1, 2)),
            ("splice(pipe, -1)", raw(argument(&from.read), NO_FD, 1, 2)),
            ("splice(write end, file)", once(&from.write, &file, 1)),
            ("splice(file, read end)", once(&file, &to.read, 1)),
            ("splice(write-only file, pipe)", once(&write_only, &to.write, 1)),
            ("splice(pipe, read-only file)", once(&from.read, &read_only, 1)),
            ("splice(O_PATH, pipe)", once(&path, &to.write, 1)),
        ] {
            see.call(name, result).fails(EBADF);
        }
        Ok(())
    }),
    about_splice(
        "splice.errors.sigpipe",
        "splice() into a pipe without readers, or into an AF_UNIX stream socket whose peer has closed, fails with \
         EPIPE and raises SIGPIPE.",
    )
    .published(&[kernel("fs/splice.c", "wait_for_space"), kernel("net/unix/af_unix.c", "unix_stream_sendmsg")])
    .turned_by(&[
        Lie::about(Sysno::splice, What::OtherErrno(libc::ENOLINK)),
        Lie::about(Sysno::splice, What::Swallowed(libc::SIGPIPE)),
    ])
    .tried(|lab, see| {
        let (file, from, to) = (lab.file(b"abc")?, filled(b"b")?, pipe()?);
        let (near, far) = UnixStream::pair().setup("socketpair")?;
        drop((to.read, far));
        let into = raised(libc::SIGPIPE, || splice(&file, None, &to.write, None, 1, BLOCKING))?;
        let out = raised(libc::SIGPIPE, || splice(&from.read, None, &near, None, 1, BLOCKING))?;
        for (call, (done, signals)) in
            [("splice(file, pipe without readers)", into), ("splice(pipe, AF_UNIX stream socket without peer)", out)]
        {
            see.call(call, done).fails(EPIPE);
            see.count(format!("signals raised by {call}"), signals).is(1);
        }
        Ok(())
    }),
    about_splice(
        "splice.errors.sealed",
        "splice() from a pipe into a memfd with F_SEAL_WRITE fails with EPERM, and the byte stays in the pipe.",
    )
    .published(&[
        man("F_ADD_SEALS(2const)", "DESCRIPTION, F_SEAL_WRITE").leaves_open(),
        kernel("mm/shmem.c", "shmem_write_begin"),
    ])
    .tried(|_lab, see| {
        let (pipe, sealed) = (filled(b"b")?, open::sealed_memfd(libc::F_SEAL_WRITE)?);
        see.call("splice(pipe, memfd with F_SEAL_WRITE)", once(&pipe.read, &sealed, 1)).fails(EPERM);
        see.holds("pipe's byte", &pipe.read, b"b")?.says(AS_SENT);
        Ok(())
    }),
    about_splice(
        "splice.errors.efbig",
        "splice() from a pipe into a file at its RLIMIT_FSIZE fails with EFBIG, raises SIGXFSZ, and the bytes stay in \
         the pipe.",
    )
    .published(&[
        gvisor("splice.cc", "SpliceTest.FromPipeMaxFileSize, which blocks the signal"),
        kernel("fs/read_write.c", "generic_write_check_limits"),
    ])
    .tried(|lab, see| {
        let (page, bytes) = (page(), pattern(3 * page()));
        let (file, pipe) = (lab.file(&bytes[..page])?, filled(&bytes)?);
        aside(|| io::seek(&file, page as u64)).setup("lseek")?;
        aside(|| privilege::limit_file_size(page as u64)).setup("RLIMIT_FSIZE")?;
        let (done, signals) = raised(libc::SIGXFSZ, || once(&pipe.read, &file, bytes.len()))?;
        see.call("splice(pipe of three pages, file limited to the page that it has)", done).fails(EFBIG);
        see.count("signals raised", signals).is(1);
        see.holds("pipe's bytes", &pipe.read, &bytes)?.says(AS_SENT);
        Ok(())
    }),
    about_splice(
        "splice.errors.unconnected",
        "splice() from an unconnected TCP socket fails with ENOTCONN, from an unconnected AF_UNIX stream socket with \
         EINVAL.",
    )
    .published(&[
        ltp("splice07.c", "TST_FD_UNIX_SOCK into a pipe: EBADF or EINVAL").leaves_open(),
        ltp("splice07.c", "TST_FD_INET_SOCK into a pipe, in a comment"),
        kernel("net/ipv4/tcp.c", "tcp_splice_read"),
        kernel("net/unix/af_unix.c", "unix_stream_read_generic"),
    ])
    .tried(|_lab, see| {
        let pipe = pipe()?;
        for (name, domain, errno) in [("TCP", libc::AF_INET, ENOTCONN), ("AF_UNIX", libc::AF_UNIX, EINVAL)] {
            let socket = aside(|| sockets::socket(domain, libc::SOCK_STREAM, 0)).setup("socket")?;
            see.call(format!("splice(unconnected {name} socket, pipe)"), once(&socket, &pipe.write, 1)).fails(errno);
        }
        Ok(())
    }),
    about_splice(
        "splice.errors.left-in-pipe",
        "When splice() into a socket fails as an AF_UNIX stream peer has closed (EPIPE) or a TCP peer has sent a \
         reset (ECONNRESET, then EPIPE), the bytes stay in the pipe.",
    )
    .published(&[kernel("fs/splice.c", "splice_to_socket"), kernel("net/unix/af_unix.c", "unix_stream_sendmsg")])
    .tried(|_lab, see| {
        let pipe = filled(b"bytes")?;
        let (unix, far) = UnixStream::pair().setup("socketpair")?;
        drop(far);
        let (tcp, far) = sockets::tcp()?;
        aside(|| io::write_all(&tcp, b"unread")).setup("write")?;
        aside(|| sockets::wait_for_arrival(&far, 6))?;
        drop(far); // a byte that nobody has read makes this a reset
        aside(|| io::wait_for(tcp.as_fd(), 0)).setup("poll")?;
        let into_unix = raised(libc::SIGPIPE, || once(&pipe.read, &unix, 5))?.0;
        see.call("splice(pipe, AF_UNIX socket without peer)", into_unix).fails(EPIPE);
        for (which, errno) in [("first", Errno::ECONNRESET), ("second", EPIPE)] {
            let into_tcp = raised(libc::SIGPIPE, || once(&pipe.read, &tcp, 5))?.0;
            see.call(format!("{which} splice(pipe, TCP socket after a reset)"), into_tcp).fails(errno);
        }
        see.holds("pipe's bytes", &pipe.read, b"bytes")?.says(AS_SENT);
        Ok(())
    }),
    about_splice(
        "splice.errors.enospc",
        "When a tmpfs gets full, splice() into its file returns what there was room for; the next fails with ENOSPC, \
         the rest stays.",
    )
    .published(&[thread(COREUTILS, "splice() into a file on a full tmpfs fails with ENOSPC"), INTO_FILE])
    .turned_by(&UNLIMITED)
    .sharing(&[Resource::UserPipePages])
    .tried(|_lab, see| {
        until_refused(see, "splice(pipe, file on a full tmpfs)", ENOSPC, |room| {
            let size = CString::new(room.to_string()).map_err(|_| Stop::broken("digits have no zero"))?;
            Ok(((), mounts::empty_file_within(&size)?))
        })
    }),
    about_splice(
        "splice.errors.edquot",
        "When a FUSE server fails a write with EDQUOT, splice() returns what was written before; the next fails with \
         EDQUOT, the rest stays.",
    )
    .published(&[thread(COREUTILS, "splice() passes on the errors of write()"), INTO_FILE])
    .turned_by(&UNLIMITED)
    .sharing(&[Resource::UserPipePages])
    .modules(fuse::MODULES)
    .tried(|_lab, see| until_refused(see, "splice(pipe, file at its quota)", Errno::EDQUOT, Fuse::with_quota)),
];

/// The lies of a target that fails otherwise, or has room for all.
const UNLIMITED: [Lie; 2] =
    [Lie::about(Sysno::splice, What::OtherErrno(libc::EINVAL)), Lie::returned(Sysno::splice, 1 << 16)];

/// Splices from a full pipe into a file that has room for 5/8 of its bytes, until a call fails.
fn until_refused<Keeper>(
    see: &mut Observation,
    last: &str,
    errno: Errno,
    target: impl FnOnce(usize) -> Result<(Keeper, File), Stop>,
) -> Result<(), Stop> {
    let pipe = pipe()?;
    let bytes = pattern(pipe_size(&pipe)?);
    let room = bytes.len() / 8 * 5;
    let (_keeper, file) = target(room)?;
    aside(|| io::write_all(&pipe.write, &bytes)).setup("fill a pipe")?;
    let (mut moved, mut end) = (0, Ok(0));
    while moved < bytes.len() {
        end = io::again(|| once(&pipe.read, &file, bytes.len() - moved));
        match end {
            Ok(count @ 1..) => moved += count,
            _ => break,
        }
    }
    see.count("bytes spliced before", moved as u64).is(room);
    see.call(last, end).fails(errno);
    see.holds("pipe's bytes", &pipe.read, &bytes[room..])?.says(AS_SENT);
    file_holds(see, "file's bytes", &file, &bytes[..room])
}
