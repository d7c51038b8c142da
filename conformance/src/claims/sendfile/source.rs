//! What `sendfile` takes as its source.

use super::{
    Descriptor, Fd, REFUSED, TO_PIPE, about_sendfile, arrives, content, lie, note_kinds, position, refused, send,
    sendfile,
};
use crate::claim::Gate;
use crate::claims::prelude::*;
use crate::lab::fuse::settings::Settings;
use crate::lab::fuse::{self, Fuse};
use crate::lab::{map_file, open};
use nocopy_splice::splice;

/// The claim that `sendfile` can read from a device, whose bytes are described by this word.
macro_rules! device {
    ($id:literal, $kind:ident, $name:literal, $bytes:ident, $gate:expr, $sources:expr) => {
        about_sendfile($id, concat!($name, " can be the source of sendfile() to a file."))
            .published($sources)
            .turned_by(&[refused(libc::EINVAL).where_it(true)])
            .except(&[Exception::Lacking("this kernel's sendfile() cannot read from the device")])
            .gated(&[$gate])
            .tried(|lab, see| note_device(lab, see, Fd::$kind, $bytes))
    };
}

/// Files as sources, which decide nothing.
const FILES: [Fd; 4] = [Fd::RegularFile, Fd::BlockDevice, Fd::DevUrandom, Fd::DevZero];
const OTHERS: [Fd; 5] = [Fd::PipeRead, Fd::TcpSocket, Fd::UnixStream, Fd::Eventfd, Fd::Directory];

const SEEKABLE: Gate = gate(
    "6.0",
    "splice_direct_to_actor() asks for FMODE_LSEEK in place of a regular file or block device",
    commit("97ef77c52b78", "fs: check FMODE_LSEEK to control internal pipe splicing"),
);
const NOT_YET: Source =
    commit("79025e727a84", "random: wire up fops->splice_{read,write}_iter()").denies().since("5.19").until("5.19");

pub const CLAIMS: &[Claim] = &[
    about_sendfile(
        "sendfile.source.must-be-file",
        "The source of sendfile() must be a file: a pipe, a socket, an eventfd or a directory is refused.",
    )
    .published(&[
        seed("5.1"),
        man("sendfile(2)", "DESCRIPTION").until("5.11"),
        man("sendfile(2)", "DESCRIPTION").denies().since("5.12"),
    ])
    .turned_by(&[refused(libc::EINVAL).after(0), lie(What::Accepted).where_it(true)])
    .modules(&["loop"])
    .gated(&[TO_PIPE])
    .tried(|lab, see| {
        let (socket, pipe) = (Descriptor::open(lab, Fd::TcpSocket)?, Descriptor::open(lab, Fd::PipeWrite)?);
        let sent = sendfile(&pipe, &socket, None, 4);
        see.call("sendfile(pipe, TCP socket)", sent).is_refused();
        see.count("bytes in the pipe", aside(|| pipe.written(sent.unwrap_or(0)))?.unwrap_or(0));
        let target = lab.empty_file()?;
        let mut before = 0;
        let send = |source: &Descriptor| sendfile(&target, source, None, 4);
        let came = |_source: &Descriptor, _reported| {
            let now = position(&target)?;
            Ok(Some(now - std::mem::replace(&mut before, now)))
        };
        note_kinds(lab, see, [&FILES, &OTHERS], |kind| format!("sendfile(file, {kind})"), send, came)
    }),
    about_sendfile("sendfile.source.tcp-to-pipe", "sendfile() from a TCP socket to a pipe works.")
        .published(&[
            man("sendfile(2)", "DESCRIPTION").since("5.12"),
            man("sendfile(2)", "DESCRIPTION").denies().until("5.11"),
        ])
        .turned_by(&[refused(libc::EINVAL).where_it(true)])
        .except(&[Exception::Lacking("this kernel's sendfile() cannot read from a socket")])
        .gated(&[TO_PIPE])
        .tried(|_lab, see| {
            for (what, length) in sizes() {
                let bytes = pattern(length);
                let (near, far) = sockets::tcp()?;
                aside(|| io::write_all(&far, &bytes)).setup("write")?;
                sockets::wait_for_arrival(&near, length)?;
                let pipe = pipe()?;
                let sent = send(&pipe.write, &near, None, length);
                see.call(format!("sendfile(pipe, TCP socket with {what})"), sent).is(length);
                see.holds(&format!("{what} in the pipe"), &pipe.read, &bytes)?.says(AS_SENT);
            }
            Ok(())
        }),
    about_sendfile("sendfile.source.pipe-to-pipe", "sendfile() from one pipe to another works as splice() does.")
        .published(&[
            man("sendfile(2)", "DESCRIPTION").since("5.12"),
            man("sendfile(2)", "DESCRIPTION").denies().until("5.11"),
            kernel("fs/splice.c", "do_splice_read").denies(),
        ])
        .about(&[Sysno::sendfile, Sysno::splice])
        .turned_by(&[lie(What::Accepted)])
        .gated(&[TO_PIPE])
        .tried(|lab, see| {
            let (source, target) = (Descriptor::open(lab, Fd::PipeRead)?, pipe()?);
            see.call("sendfile(pipe, other pipe)", sendfile(&target.write, &source, None, 1)).is(1);
            let spliced = splice(&source, None, &target.write, None, 1, SpliceFlags::NONBLOCK);
            see.call("splice(other pipe, pipe)", spliced).is(1);
            see.readable("bytes in the pipe", &target.read)?;
            Ok(())
        }),
    about_sendfile(
        "sendfile.source.like-mmap",
        "The source of sendfile() must support mmap()-like operations: /proc/version, which cannot be mapped, is \
         refused.",
    )
    .published(&[man("sendfile(2)", "ERRORS, EINVAL"), man("sendfile(2)", "DESCRIPTION")])
    .about(&[Sysno::sendfile, Sysno::mmap])
    .turned_by(REFUSED)
    .tried(|lab, see| {
        let (source, target) = (Descriptor::open(lab, Fd::ProcVersion)?, lab.empty_file()?);
        let mapped = map_file(&source, page()).map(|mapping| mapping.len());
        see.call("mmap(/proc/version)", mapped);
        if mapped.is_ok() {
            return Err(Stop::broken("/proc/version can be mapped"));
        }
        let sent = sendfile(&target, &source, None, page());
        see.call("sendfile(file, /proc/version)", sent).fails(EINVAL);
        let (came, mut read) = (content(&target)?, vec![0; page()]);
        let length = aside(|| io::pread_full(&source, &mut read, 0)).setup("pread")?;
        see.whether("the target has what read() gives", read[..length] == came);
        Ok(())
    }),
    device!(
        "sendfile.source.urandom",
        DevUrandom,
        "/dev/urandom",
        MIXED,
        SEEKABLE,
        &[kernel("drivers/char/random.c", "urandom_fops"), NOT_YET]
    ),
    device!(
        "sendfile.source.dev-random",
        DevRandom,
        "/dev/random",
        MIXED,
        SEEKABLE,
        &[kernel("drivers/char/random.c", "random_fops"), NOT_YET]
    ),
    device!(
        "sendfile.source.dev-zero",
        DevZero,
        "/dev/zero",
        ZEROS,
        ZERO,
        &[kernel("drivers/char/mem.c", "zero_fops")]
    ),
    device!(
        "sendfile.source.dev-full",
        DevFull,
        "/dev/full",
        ZEROS,
        ZERO,
        &[kernel("drivers/char/mem.c", "full_fops")]
    ),
    about_sendfile("sendfile.source.holes", "The holes of a memfd are sent to a TCP socket as zeros.")
        .published(&[MEASURED])
        .turned_by(&[Lie::bytes(Sysno::read, 0, b'f')])
        .tried(|_lab, see| {
            let (source, data) = (File::from(open::sealed_memfd(0)?), vec![b'f'; page()]);
            for at in [0, 4 * page()] {
                aside(|| io::pwrite_all(&source, &data, at as u64)).setup("write a memfd")?;
            }
            let bytes = [data.clone(), vec![0; 3 * page()], data].concat();
            let (near, far) = sockets::tcp()?;
            let sent = send(&near, &source, Some(&mut 0), bytes.len());
            see.call("sendfile(socket, memfd with a hole of three pages)", sent).is(bytes.len());
            arrives(see, near, &far, &bytes)
        }),
    about_sendfile(
        "sendfile.source.hidden-size",
        "sendfile() of a FUSE file with FOPEN_DIRECT_IO whose size is shown as 0 returns 0, though read() gives bytes.",
    )
    .published(&[kernel("fs/fuse/file.c", "fuse_splice_read"), kernel("mm/filemap.c", "filemap_splice_read")])
    .turned_by(&[lie(What::Returned(5)).where_it(true), lie(What::Undone(0)).where_it(false)])
    .gated(&[gate(
        "6.5",
        "splice reads from the page cache, up to the size",
        commit("2cb1e08985e3", "splice: Use filemap_splice_read() instead of generic_file_splice_read()"),
    )])
    .modules(fuse::MODULES)
    .tried(|_lab, see| {
        let fuse = Fuse::mount(b"bytes", Settings { direct_io: true, hides_sizes: true, ..Settings::default() })?;
        let file = fuse.open(File::options().read(true))?;
        see.length("length that fstat() shows", &file)?.is(0);
        see.call("read(file)", io::pread(&file, &mut [0; 99], 0)).is(5);
        let (near, far) = sockets::tcp()?;
        let mut offset = 0;
        let sent = io::until_done(5, |_| sendfile(&near, &file, Some(&mut offset), page()));
        see.call("sendfile(socket, file)", sent).is(0);
        drop(near);
        let came = io::read_full(&far, &mut [0; 99]).setup("read at the receiver")?;
        see.count("bytes at the receiver", came as u64).is(0);
        Ok(())
    }),
];

/// The sizes that are tried.
fn sizes() -> [(&'static str, usize); 3] {
    [("a byte", 1), ("a page", page()), ("three pages and a byte", 3 * page() + 1)]
}

const ZEROS: &str = "zeros";
const MIXED: &str = "of many values";

/// Sends each of the [`sizes`] from a device to a file, and notes which bytes came.
fn note_device(lab: &Lab, see: &mut Observation, kind: Fd, expected: &str) -> Result<(), Stop> {
    let (source, target) = (Descriptor::open(lab, kind)?, lab.empty_file()?);
    let mut all = 0;
    for (what, length) in sizes() {
        let sent = send(&target, &source, None, length);
        let fact =
            if length == 1 { format!("sendfile(file, {kind})") } else { format!("sendfile(file, {kind}, {what})") };
        see.call(fact, sent).is(length);
        all += length;
    }
    let bytes = content(&target)?;
    see.count("bytes in the target", bytes.len() as u64).is(all);
    let values = (0..=u8::MAX).filter(|value| bytes.contains(value)).count();
    let word = match values {
        0 => "missing",
        1 if bytes[0] == 0 => ZEROS,
        1 => "all the same",
        _ => MIXED,
    };
    see.text("which", word).says(expected);
    Ok(())
}
