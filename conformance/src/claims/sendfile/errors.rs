//! The errors of `sendfile`.

use super::{
    Descriptor, Fd, OTHERWISE, about_sendfile, content, lie, note_refused, refused, send, sendfile, until_refused,
};
use crate::claims::prelude::*;
use crate::lab::fuse::{self, Fuse};
use crate::lab::volumes::Volume;
use crate::lab::{mounts, nfs, open};
use nocopy_splice::{PipeFlags, pipe2};
use std::ffi::CString;
use std::os::unix::net::{UnixDatagram, UnixStream};

const EAGAIN_OF_MAN: Source = man("sendfile(2)", "ERRORS, EAGAIN");
const ASKED: &str = "how much was sent before a reset can be seen at no other place";

pub const CLAIMS: &[Claim] = &[
    about_sendfile(
        "sendfile.errors.ebadf",
        "sendfile() fails with EBADF if its source is not open for reading, its target is not open for writing, or \
         either is O_PATH.",
    )
    .published(&[
        man("sendfile(2)", "ERRORS, EBADF"),
        man("open(2)", "DESCRIPTION, O_PATH"),
        ltp("sendfile03.c", "tc[1] and tc[3]"),
    ])
    .tried(|lab, see| {
        let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
        let read_only = reopen(&target, File::options().read(true))?;
        let write_only = reopen(&source, File::options().write(true))?;
        let path = Descriptor::open(lab, Fd::PathOnly)?;
        see.call("sendfile(read-only file, file)", sendfile(&read_only, &source, None, 1)).fails(EBADF);
        see.call("sendfile(file, write-only file)", sendfile(&target, &write_only, None, 1)).fails(EBADF);
        see.call("sendfile(file, O_PATH)", sendfile(&target, &path, None, 1)).fails(EBADF);
        see.call("sendfile(O_PATH, file)", sendfile(&path, &source, None, 1)).fails(EBADF);
        Ok(())
    }),
    about_sendfile("sendfile.errors.not-open", "A descriptor that is not open fails with EBADF.")
        .published(&[man("sendfile(2)", "ERRORS, EINVAL").denies(), ltp("sendfile03.c", "tc[0] and tc[2]")])
        .tried(|lab, see| {
            let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
            let call = |output: usize, input: usize| {
                // SAFETY: a null offset; the bytes go to a file of the experiment.
                unsafe { ask(Sysno::sendfile, [output, input, 0, 1, 0, 0]) }
            };
            see.call("sendfile(-1, file)", call(NO_FD, argument(&source))).fails(EBADF);
            see.call("sendfile(file, -1)", call(argument(&target), NO_FD)).fails(EBADF);
            Ok(())
        }),
    about_sendfile(
        "sendfile.errors.append",
        "A file with O_APPEND as target fails with EINVAL, with an offset or without.",
    )
    .published(&[
        man("sendfile(2)", "ERRORS, EINVAL"),
        gvisor("sendfile.cc", "SendFileTest.DoNotSendfileIfOutfileIsAppendOnly"),
    ])
    .tried(|lab, see| {
        let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
        let append = reopen(&target, File::options().append(true))?;
        see.call("sendfile(O_APPEND file, file, 0)", sendfile(&append, &source, Some(&mut 0), 1)).fails(EINVAL);
        see.call("sendfile(O_APPEND file, file, NULL)", sendfile(&append, &source, None, 1)).fails(EINVAL);
        open::set_status_flags(&target, libc::O_APPEND)?;
        see.call("sendfile(file with O_APPEND set later, file)", sendfile(&target, &source, None, 1)).fails(EINVAL);
        open::set_status_flags(&target, 0)?;
        see.call("sendfile(file with O_APPEND cleared, file)", sendfile(&target, &source, None, 1)).is(1);
        see.length("length of the target", &target)?.is(1);
        Ok(())
    }),
    about_sendfile(
        "sendfile.errors.append-order",
        "A read-only target with O_APPEND fails with EBADF: write access is checked before O_APPEND.",
    )
    .published(&[gvisor("sendfile.cc", "SendFileTest.AppendCheckOrdering")])
    .tried(|lab, see| {
        let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
        let read_only = reopen(&target, File::options().read(true))?;
        open::set_status_flags(&read_only, libc::O_APPEND)?;
        see.call("sendfile(read-only O_APPEND file, file)", sendfile(&read_only, &source, None, 1)).fails(EBADF);
        Ok(())
    }),
    about_sendfile("sendfile.errors.eagain", "Into a full pipe with O_NONBLOCK, sendfile() fails with EAGAIN.")
        .published(&[
            EAGAIN_OF_MAN,
            commit("bdeb77bc2c40", "fs: sendfile handles O_NONBLOCK of out_fd").denies().since("5.12").until("5.18"),
            gvisor("sendfile.cc", "SendFileTest.SendPipeWouldBlock").leaves_open(),
        ])
        .tried(|lab, see| {
            let source = alias::source(lab)?;
            let Pipe { read, write } = aside(|| pipe2(PipeFlags::NONBLOCK)).setup("pipe2")?;
            aside(|| io::fill(&write, &vec![0; page()])).setup("fill a pipe")?;
            let call = move || sendfile(&write, &source, Some(&mut 0), 1);
            note_refused(see, "sendfile(full pipe, file)", call, &read)
        }),
    about_sendfile(
        "sendfile.errors.eagain-unix",
        "Into an AF_UNIX stream socket with O_NONBLOCK that write() has filled, sendfile() fails with EAGAIN.",
    )
    .published(&[kernel("net/unix/af_unix.c", "unix_stream_sendmsg"), EAGAIN_OF_MAN.leaves_open()])
    .turned_by(&[lie(What::Accepted), refused(libc::EAGAIN).where_it(false)])
    .gated(&[gate(
        "6.5",
        "a socket is given a file's pages by sendmsg(MSG_SPLICE_PAGES)",
        commit("57d44a354a43", "unix: Convert unix_stream_sendpage() to use MSG_SPLICE_PAGES"),
    )])
    .method("Where the byte is taken, it was added to the last buffer in the queue, whatever the limit.")
    .tried(|lab, see| {
        let (near, _far) = aside(UnixStream::pair).setup("socketpair")?;
        note_full_socket(lab, see, "sendfile(full AF_UNIX socket, file)", &near)
    }),
    about_sendfile(
        "sendfile.errors.eagain-datagram",
        "Into a full AF_UNIX datagram socket with O_NONBLOCK, sendfile() fails with EAGAIN.",
    )
    .published(&[EAGAIN_OF_MAN, ltp("sendfile07.c", "a socket that is full of datagrams")])
    .tried(|lab, see| {
        let (near, _far) = aside(UnixDatagram::pair).setup("socketpair")?;
        note_full_socket(lab, see, "sendfile(full AF_UNIX datagram socket, file)", &near)
    }),
    about_sendfile(
        "sendfile.errors.sigpipe",
        "To an AF_UNIX stream socket or a pipe whose other end is closed, sendfile() fails with EPIPE and raises \
         SIGPIPE.",
    )
    .published(&[man("unix(7)", "ERRORS, EPIPE"), kernel("fs/splice.c", "wait_for_space")])
    .turned_by(&[lie(What::OtherErrno(libc::ENOLINK)), lie(What::Swallowed(libc::SIGPIPE))])
    .tried(|lab, see| {
        let source = alias::source(lab)?;
        let (near, _) = aside(UnixStream::pair).setup("socketpair")?;
        let Pipe { write, .. } = pipe()?;
        let ends = [("AF_UNIX socket without peer", AsFd::as_fd(&near)), ("pipe without readers", AsFd::as_fd(&write))];
        for (name, target) in ends {
            let (sent, signals) = raised(libc::SIGPIPE, || sendfile(target, &source, Some(&mut 0), 1))?;
            see.call(format!("sendfile({name}, file)"), sent).fails(EPIPE);
            see.count(format!("SIGPIPE of the {name}"), signals).is(1);
        }
        Ok(())
    }),
    about_sendfile(
        "sendfile.errors.reset",
        "If a TCP peer resets while sendfile() sleeps, it returns a short count; the next fails with EPIPE and raises \
         SIGPIPE.",
    )
    .published(&[gvisor("sendfile_socket.cc", "SendFileTest.Shutdown").leaves_open()])
    .turned_by(&[refused(libc::ECONNRESET), lie(What::Accepted)])
    .except(&[
        Exception::asked(Sysno::sendfile),
        Exception::Of(Sysno::sendfile, What::TooMany, ASKED),
        Exception::Of(Sysno::sendfile, What::TooFew, ASKED),
    ])
    .method("Sends a file larger than the buffers in a thread, and resets the connection once that sleeps.")
    .tried(|lab, see| {
        const LENGTH: usize = 64 << 20;
        let file = Arc::new(lab.empty_file()?);
        aside(|| io::truncate(&file, LENGTH as u64)).setup("ftruncate")?;
        let (near, far) = sockets::tcp()?;
        // Less than the file, whatever the system's defaults are.
        aside(|| {
            sockets::resize_buffer(&near, libc::SO_SNDBUF, 1 << 18)?;
            sockets::resize_buffer(&far, libc::SO_RCVBUF, 1 << 18)
        })?;
        let near = Arc::new(near);
        let (sink, source) = (Arc::clone(&near), Arc::clone(&file));
        let send = move || io::again(|| sendfile(&*sink, &*source, Some(&mut 0), LENGTH));
        let caller = Caller::start(Sysno::sendfile, send)?;
        if caller.sleeps()? {
            let linger = [1_i32.to_ne_bytes(), 0_i32.to_ne_bytes()];
            aside(|| sockets::set_bytes(&far, libc::SOL_SOCKET, libc::SO_LINGER, linger.as_flattened()))
                .setup("SO_LINGER")?;
        }
        drop(far);
        let how = match caller.join()? {
            Ok(1..LENGTH) => "short".to_owned(),
            result => returned(result),
        };
        see.text("sendfile() during which the peer resets", how).says("short");
        let (next, signals) = raised(libc::SIGPIPE, || io::again(|| sendfile(&*near, &*file, Some(&mut 0), 1)))?;
        see.call("sendfile() afterwards", next).fails(EPIPE);
        see.count("SIGPIPE of it", signals).is(1);
        Ok(())
    }),
    about_sendfile(
        "sendfile.errors.efbig",
        "Past RLIMIT_FSIZE, sendfile() returns what fits and raises SIGXFSZ; the next fails with EFBIG and raises it, \
         too.",
    )
    .published(&[
        kernel("fs/read_write.c", "generic_write_check_limits"),
        man("getrlimit(2)", "DESCRIPTION, RLIMIT_FSIZE").leaves_open(),
    ])
    .turned_by(&[refused(libc::EFBIG), lie(What::Swallowed(libc::SIGXFSZ))])
    .except(&[Exception::Of(Sysno::sendfile, What::Shortened, "what fits is what is counted")])
    .tried(|lab, see| {
        let bytes = pattern(2 * page());
        let (source, target) = (lab.file(&bytes)?, lab.empty_file()?);
        aside(|| privilege::limit_file_size(page() as u64)).setup("RLIMIT_FSIZE")?;
        let mut offset = 0;
        for (which, expected) in [("first", Ok(page())), ("second", Err(EFBIG))] {
            let (sent, signals) = raised(libc::SIGXFSZ, || sendfile(&target, &source, Some(&mut offset), 2 * page()))?;
            see.call(format!("{which} sendfile(file limited to a page, file of two pages)"), sent).gives(expected);
            see.count(format!("SIGXFSZ of the {which}"), signals).is(1);
        }
        see.whether("the target has the first page", content(&target)? == bytes[..page()]).says("yes");
        Ok(())
    }),
    about_sendfile("sendfile.errors.sealed", "A memfd with F_SEAL_WRITE as target fails with EPERM.")
        .published(&[kernel("mm/shmem.c", "shmem_write_begin")])
        .tried(|lab, see| {
            let (source, sealed) = (alias::source(lab)?, open::sealed_memfd(libc::F_SEAL_WRITE)?);
            let sent = sendfile(&sealed, &source, Some(&mut 0), 1);
            see.call("sendfile(memfd with F_SEAL_WRITE, file)", sent).fails(EPERM);
            Ok(())
        }),
    about_sendfile(
        "sendfile.errors.enospc",
        "When a tmpfs gets full, sendfile() into its file returns what there was room for; the next fails with ENOSPC.",
    )
    .published(&[MEASURED])
    .turned_by(&of_full(libc::EINVAL))
    .tried(|_lab, see| {
        let size = CString::new(format!("{}k", room() >> 10)).expect("no zero");
        note_full(see, "last sendfile(file on a full tmpfs, file)", &mounts::empty_file_within(&size)?, ENOSPC)
    }),
    about_sendfile(
        "sendfile.errors.edquot",
        "When the target's FUSE server is full and answers EDQUOT, sendfile() returns what it took; the next fails \
         with EDQUOT.",
    )
    .published(&[MEASURED])
    .turned_by(&of_full(libc::ENOSPC))
    .modules(fuse::MODULES)
    .tried(|_lab, see| {
        let (_fuse, target) = Fuse::with_quota(room())?;
        note_full(see, "last sendfile(file of a full FUSE server, file)", &target, Errno::EDQUOT)
    }),
    about_sendfile(
        "sendfile.errors.nfs-full",
        "On a full NFS mount, sendfile() into a file returns the whole count, and fsync() of it fails with ENOSPC.",
    )
    .published(&[man("fsync(2)", "ERRORS, ENOSPC")])
    .about(&[Sysno::sendfile, Sysno::fsync])
    .turned_by(&[Lie::accepted(Sysno::fsync)])
    .modules(nfs::MODULES)
    .method("Mounts an exported tmpfs by the kernel's NFS server in a network namespace, and fills it up.")
    .tried(|lab, see| {
        let source = alias::source(lab)?;
        let volume = Volume::mount(lab, "nfs")?;
        let target = aside(|| File::create(volume.directory.join("target"))).setup("create a file")?;
        let _filler = volume.fill_up()?;
        let sent = send(&target, &source, None, alias::LENGTH);
        see.call("sendfile(file on a full NFS, file)", sent).is(alias::LENGTH);
        // SAFETY: fsync takes no pointer.
        let synced = io::again(|| unsafe { ask(Sysno::fsync, [argument(&target), 0, 0, 0, 0, 0]) });
        see.call("fsync(file)", synced).fails(ENOSPC);
        Ok(())
    }),
];

/// Fills a socket, and notes that one more byte is refused.
fn note_full_socket(lab: &Lab, see: &mut Observation, fact: &str, near: &impl AsFd) -> Result<(), Stop> {
    aside(|| io::set_nonblocking(near)).setup("O_NONBLOCK")?;
    aside(|| io::fill(near, &[0; 1000])).setup("fill a socket")?;
    let mut offset = 0;
    see.call(fact, sendfile(near, &alias::source(lab)?, Some(&mut offset), 1)).fails(EAGAIN);
    see.count("offset afterwards", offset);
    Ok(())
}

/// The bytes for which a target without room has room.
fn room() -> usize {
    10 * page()
}

const fn of_full(other: i32) -> [Lie; 3] {
    [lie(What::OtherErrno(other)), lie(What::Skipped), OTHERWISE[2]]
}

/// Sends more bytes than there is [`room`] for, until a call fails, and notes what the target has.
fn note_full(see: &mut Observation, last: &str, target: &File, errno: Errno) -> Result<(), Stop> {
    let bytes = pattern(16 * page());
    let source = File::from(open::sealed_memfd(0)?);
    aside(|| io::write_all(&source, &bytes)).setup("write a memfd")?;
    let mut offset = 0;
    let (sent, refused) =
        until_refused(bytes.len(), |done| sendfile(target, &source, Some(&mut offset), bytes.len() - done));
    see.count("bytes that sendfile() reports in all", sent as u64).is(room());
    see.count("offset", offset).is(room());
    see.call(last, refused).fails(errno);
    see.whether("the target has these bytes", content(target)? == bytes[..room()]).says("yes");
    Ok(())
}
