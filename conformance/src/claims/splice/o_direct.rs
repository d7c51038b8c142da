//! Sources that are open with `O_DIRECT`.

use super::{NONBLOCK, about_splice, all};
use crate::claim::source::Source;
use crate::claims::prelude::*;
use crate::lab::filesystems::{is_on_disk, places};
use crate::lab::open::{sealed_memfd, set_status_flags};
use crate::lab::unnamed::unnamed_file;
use crate::lab::volumes::Volume;
use nocopy_host::images::{BYTE, CONTENT, LENGTH};
use nocopy_splice::splice;
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;

/// The number of the descriptor is not noted.
const NUMBER: &[Exception] =
    &[Exception::asked(Sysno::openat), Exception::Of(Sysno::openat, What::Returned(0), "a number is no descriptor")];

/// Where the kernel does not open the file, nothing follows.
const NOT_OPENED: &[Exception] =
    &[NUMBER[0], NUMBER[1], Exception::Lacking("no lie opens a file that the kernel does not open")];

/// The claim that a file on a mounted file system can be opened with `O_DIRECT`, and its bytes are spliced.
macro_rules! row {
    ($filesystem:literal, $file:literal, $sources:expr) => {
        about_splice(
            concat!("splice.o-direct.", $filesystem),
            concat!("A file on ", $file, " can be opened with O_DIRECT, and splice() gives its bytes."),
        )
        .published($sources)
        .about(&[Sysno::openat, Sysno::splice])
        .turned_by(&[Lie::refused(Sysno::openat, libc::EINVAL)])
        .except(NOT_OPENED)
        .tried(|lab, see| {
            let volume = Volume::mount(lab, $filesystem)?;
            let path = volume.directory.join(CONTENT);
            if volume.is_writable {
                aside(|| std::fs::write(&path, [BYTE; LENGTH])).setup("write a file")?;
            }
            let opened = open_direct(&path);
            see.call("open(file, O_DIRECT)", opened.map(|_| 0)).is(0);
            let Ok(fd) = opened else { return Ok(()) };
            let (file, pipe) = (owned(fd)?, pipe()?);
            see.call("splice(file, pipe)", all(&file, &pipe.write, LENGTH)).is(LENGTH);
            see.holds("pipe's bytes", &pipe.read, &[BYTE; LENGTH])?.says(AS_SENT);
            Ok(())
        })
    };
}

const TMPFS: Source = thread("tmpfs: trivial support for direct IO", "a commit of Linux 6.6").unread();
const EROFS: Source =
    thread("erofs: dio support for non-tailpacked uncompressed file", "a commit of Linux 5.15").unread();

pub const CLAIMS: &[Claim] = &[
    about_splice(
        "splice.o-direct.shares",
        "From a file on a disk file system that is open with O_DIRECT, splice() copies: the pipe keeps the old bytes.",
    )
    .published(&[
        thread("uutils/coreutils#9609", "a comment: with O_DIRECT, splice() falls back to a copy"),
        kernel("fs/splice.c", "do_splice_read"),
    ])
    .turned_by(alias::SHARING_LIES)
    .tried(|lab, see| {
        let places = places(lab.scratch()?);
        let on_disk: Vec<_> = places.iter().filter(|place| is_on_disk(&place.filesystem)).collect();
        if on_disk.is_empty() {
            let remedy = "name a directory on a local disk with --scratch DIR";
            return Err(Stop::untestable(Lack::Device, "no scratch directory is on a disk", remedy));
        }
        for place in on_disk {
            let file = aside(|| unnamed_file(&place.directory)).setup("create a file")?;
            aside(|| io::pwrite_all(&file, &[alias::OLD; alias::LENGTH], 0)).setup("write the file")?;
            aside(|| file.sync_all()).setup("fsync")?;
            set_status_flags(&file, libc::O_DIRECT)?;
            let (pipe, mut offset) = (pipe()?, 0);
            alias::send_all(|done| splice(&file, Some(&mut offset), &pipe.write, None, alias::LENGTH - done, NONBLOCK))
                .setup("splice")?;
            set_status_flags(&file, 0)?;
            alias::change(&file)?;
            let mut bytes = vec![0; alias::LENGTH];
            let count = io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
            see.text(format!("{}: file changed, pipe's bytes", place.filesystem), Sharing::of(&bytes[..count])?)
                .says(Sharing::Copied);
        }
        Ok(())
    }),
    claim("splice.o-direct.memfd", "A memfd, a file on tmpfs, cannot be opened with O_DIRECT: EINVAL.")
        .published(&[
            thread("frugalos/cannyls#10", "on 4.18, open() with O_DIRECT on tmpfs fails with EINVAL").until("6.5"),
            thread("nodejs/node#57047", "on 6.11.10, reading with O_DIRECT works on tmpfs").denies().since("6.11"),
            man("open(2)", "NOTES, O_DIRECT").leaves_open(),
        ])
        .about(&[Sysno::openat])
        .turned_by(&[
            Lie::refused(Sysno::openat, libc::EINVAL).where_it(false),
            Lie::about(Sysno::openat, What::OtherErrno(libc::ENOLINK)).where_it(true),
        ])
        .except(NUMBER)
        .gated(&[gate("6.6", "tmpfs takes O_DIRECT", TMPFS)])
        .tried(|_lab, see| {
            let memfd = sealed_memfd(0)?;
            aside(|| io::write_all(&memfd, &[BYTE; LENGTH])).setup("write a memfd")?;
            let opened = open_direct(Path::new(&format!("/proc/self/fd/{}", memfd.as_raw_fd())));
            see.call("open(/proc/self/fd/N of a memfd, O_DIRECT)", opened.map(|_| 0)).fails(EINVAL);
            let Ok(fd) = opened else { return Ok(()) };
            let (file, pipe) = (owned(fd)?, pipe()?);
            let step = |done| splice(&file, None, &pipe.write, None, LENGTH - done, NONBLOCK);
            aside(|| io::all_done(LENGTH, step)).setup("splice")?;
            see.holds("pipe's bytes", &pipe.read, &[BYTE; LENGTH])?;
            Ok(())
        }),
    row!(
        "overlay",
        "an overlay of directories on tmpfs",
        &[
            man("open(2)", "NOTES, O_DIRECT").leaves_open(),
            kernel("fs/overlayfs/inode.c", "ovl_aops"),
            kernel("mm/shmem.c", "shmem_file_open"),
        ]
    )
    .modules(&["overlay"]),
    row!(
        "erofs",
        "erofs that is not compressed",
        &[man("open(2)", "NOTES, O_DIRECT").leaves_open(), kernel("fs/erofs/data.c", "erofs_aops")]
    )
    .modules(&["erofs", "loop"])
    .gated(&[gate("5.15", "erofs reads uncompressed files directly", EROFS)]),
];

/// Opens a path with `O_DIRECT`. The number is a descriptor if `owned` accepts it.
fn open_direct(path: &Path) -> Result<usize, Errno> {
    let path = CString::new(path.as_os_str().as_encoded_bytes()).expect("a path without a zero");
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_DIRECT).cast_unsigned() as usize;
    let at = (libc::AT_FDCWD as isize).cast_unsigned();
    // SAFETY: the path ends with a zero, and lives until after the call.
    unsafe { ask(Sysno::openat, [at, path.as_ptr().expose_provenance(), flags, 0, 0, 0]) }
}

/// The file of a descriptor that `open_direct` has returned, if it is one and has the flag.
fn owned(fd: usize) -> Result<File, Stop> {
    let fd = libc::c_int::try_from(fd).map_err(|_| Stop::broken("no descriptor"))?;
    // SAFETY: F_GETFL takes no pointer, and any number is valid.
    let flags = aside(|| unsafe { libc::fcntl(fd, libc::F_GETFL) });
    if flags == -1 || flags & libc::O_DIRECT == 0 {
        return Err(Stop::broken("the descriptor is none, or has no O_DIRECT"));
    }
    // SAFETY: fcntl has accepted the number as a descriptor, and openat has just made it for the caller alone.
    Ok(unsafe { File::from_raw_fd(fd) })
}
