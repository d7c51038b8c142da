//! Files that are opened with `O_DIRECT`, as sources: the file systems that support them.

use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception, gate};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::open;
use crate::lab::volumes::Volume;
use crate::lab::{Lab, io};
use crate::verdict::{Observation, Setup, Stop};
use nocopy_host::images::{CONTENT, LENGTH};
use nocopy_splice::{SpliceFlags, splice};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use syscalls::{Errno, Sysno};

const OPENED: &str = "open(file, O_DIRECT)";

/// The claim that files of a file system cannot be opened with `O_DIRECT`.
macro_rules! o_direct_claim {
    ($id:literal, $filesystem:literal, $run:expr) => {
        Claim {
            statement: concat!("A file on ", $filesystem, " cannot be open with O_DIRECT."),
            method: "Opens one. Where that works, splices it: all of its bytes must come.",
            sources: &[MAN, Source::Measured],
            about: &[Sysno::openat],
            lies: &[
                Lie::refused(Sysno::openat, libc::EINVAL).where_it(false),
                Lie::about(Sysno::openat, What::OtherErrno(libc::ENOLINK)).where_it(true),
            ],
            exceptions: &[
                Exception::asked(Sysno::openat),
                Exception::Of(Sysno::openat, What::Returned(0), "a number is no descriptor"),
            ],
            ..Claim::of_answers($id, $run, &[(OPENED, Answer::Fails(Errno::EINVAL))])
        }
    };
}

const MAN: Source = Source::Man("open(2), man-pages 6.20: \"filesystems may not implement the flag\"");

/// Claims about `O_DIRECT`.
pub const CLAIMS: &[Claim] = &[
    Claim {
        gates: &[gate(
            "6.6",
            "tmpfs takes O_DIRECT",
            Source::Thread("the commit \"tmpfs: trivial support for direct IO\""),
        )],
        ..o_direct_claim!("splice.o-direct.memfd", "tmpfs", |_lab| {
            let memfd = open::sealed_memfd(0)?;
            aside(|| io::write_all(&memfd, &[b'O'; LENGTH])).setup("write a memfd")?;
            opened(Path::new(&format!("/proc/self/fd/{}", memfd.as_raw_fd())))
        })
    },
    Claim {
        modules: &["overlay"],
        ..o_direct_claim!("splice.o-direct.overlay", "an overlay of directories on tmpfs", |lab| on_volume(
            lab, "overlay"
        ))
    },
    Claim {
        modules: &["erofs", "loop"],
        gates: &[gate(
            "5.15",
            "erofs reads uncompressed files directly",
            Source::Thread("the commit \"erofs: dio support for non-tailpacked uncompressed file\""),
        )],
        ..o_direct_claim!("splice.o-direct.erofs", "erofs", |lab| on_volume(lab, "erofs"))
    },
];

/// Observes a file of [`LENGTH`] bytes on a file system that is mounted for it.
fn on_volume(lab: &Lab, filesystem: &str) -> Result<Observation, Stop> {
    let volume = Volume::mount(lab, filesystem)?;
    let path = volume.directory.join(CONTENT);
    if volume.is_writable {
        aside(|| std::fs::write(&path, [b'O'; LENGTH])).setup("write a file")?;
    }
    opened(&path)
}

/// Opens a file of [`LENGTH`] bytes with `O_DIRECT`, and splices it if that succeeds.
fn opened(path: &Path) -> Result<Observation, Stop> {
    let path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Stop::broken("a path with a zero"))?;
    let flags = usize::try_from(libc::O_RDONLY | libc::O_CLOEXEC | libc::O_DIRECT).expect("small numbers");
    let at = (libc::AT_FDCWD as isize).cast_unsigned();
    let arguments = [at, path.as_ptr().expose_provenance(), flags, 0, 0, 0];
    // SAFETY: the path ends with a zero, and lives until after the call.
    let opened = unsafe { io::ask(Sysno::openat, arguments) };
    let mut seen = Observation::new();
    seen.call(OPENED, opened.map(|_| 0));
    let Ok(fd) = opened else { return Ok(seen) };
    let fd = libc::c_int::try_from(fd).map_err(|_| Stop::broken("no descriptor"))?;
    // SAFETY: F_GETFL takes no pointer, and any number is valid.
    let flags = aside(|| unsafe { libc::fcntl(fd, libc::F_GETFL) });
    if flags == -1 || flags & libc::O_DIRECT == 0 {
        return Err(Stop::broken("the descriptor is none, or has no O_DIRECT"));
    }
    // SAFETY: fcntl has accepted the number as a descriptor, and openat has just made it for this function alone.
    let file = unsafe { File::from_raw_fd(fd) };
    let pipe = super::tools::pipe()?;
    let spliced = aside(|| {
        io::until_done(LENGTH, |done| splice(&file, None, &pipe.write, None, LENGTH - done, SpliceFlags::NONBLOCK))
    });
    seen.call("splice(file, pipe)", spliced);
    let mut bytes = vec![0; LENGTH];
    aside(|| io::read_full(&pipe.read, &mut bytes)).setup("read the pipe")?;
    if spliced != Ok(LENGTH) || bytes != [b'O'; LENGTH] {
        return Err(Stop::broken(format!("other bytes came, or fewer: {spliced:?}")));
    }
    Ok(seen)
}
