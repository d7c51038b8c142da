//! `mmap` of files that are served: behaviour in its manual page, and beyond it.

use super::tools::{note_readable, pipe, reopen};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::attributes::Attribute;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::io::{self, argument, ask};
use crate::lab::open;
use crate::lab::unnamed::unnamed_file;
use crate::lab::volumes::Volume;
use crate::lab::{Lab, alias, map_file, sockets};
use crate::verdict::{Observation, Setup, Stop};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("mmap(2), man-pages 6.20");
const MMAP: &[Sysno] = &[Sysno::mmap];
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::mmap);
pub(super) const PAGE: usize = 4096;

/// Claims about the results of `mmap`.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "mmap() of no bytes, or at an offset that is no multiple of a page, fails with EINVAL.",
        sources: &[MAN, Source::Thread("LTP mmap06; gVisor mmap.cc")],
        about: MMAP,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.errors.einval",
            |lab| {
                let file = lab.file(&[0; PAGE])?;
                let mut seen = Observation::new();
                note(&mut seen, "mmap(length 0)", map(&file, 0, READ, PRIVATE, 0))?;
                note(&mut seen, "mmap(offset 1)", map(&file, PAGE, READ, PRIVATE, 1))?;
                note(&mut seen, "mmap(neither shared nor private)", map(&file, PAGE, READ, 0, 0))?;
                Ok(seen)
            },
            &[
                ("mmap(length 0)", Answer::Fails(Errno::EINVAL)),
                ("mmap(offset 1)", Answer::Fails(Errno::EINVAL)),
                ("mmap(neither shared nor private)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "MAP_SHARED and MAP_PRIVATE together fail with EINVAL.",
        sources: &[MAN, Source::Thread("gVisor mmap.cc")],
        about: MMAP,
        lies: &[Lie::refused(Sysno::mmap, libc::EINVAL).with(3, 3)],
        ..Claim::of_answers(
            "mmap.flags.shared-and-private",
            |lab| {
                let file = lab.file(&[0; PAGE])?;
                let mut seen = Observation::new();
                note(&mut seen, "mmap(MAP_SHARED|MAP_PRIVATE)", map(&file, PAGE, READ, 3, 0))?;
                Ok(seen)
            },
            &[("mmap(MAP_SHARED|MAP_PRIVATE)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "A file not open for reading, or shared for writing and not open for both, fails with EACCES.",
        sources: &[MAN, Source::Thread("LTP mmap06; gVisor mmap.cc")],
        about: MMAP,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.errors.eacces",
            |lab| {
                let file = lab.file(&[0; PAGE])?;
                let read_only = reopen(&file, File::options().read(true))?;
                let write_only = reopen(&file, File::options().write(true))?;
                let mut seen = Observation::new();
                let private = map(&write_only, PAGE, READ, PRIVATE, 0);
                note(&mut seen, "mmap(write-only file, PROT_READ)", private)?;
                let shared = map(&read_only, PAGE, READ | WRITE, SHARED, 0);
                note(&mut seen, "mmap(read-only file, PROT_WRITE, MAP_SHARED)", shared)?;
                Ok(seen)
            },
            &[
                ("mmap(write-only file, PROT_READ)", Answer::Fails(Errno::EACCES)),
                ("mmap(read-only file, PROT_WRITE, MAP_SHARED)", Answer::Fails(Errno::EACCES)),
            ],
        )
    },
    Claim {
        statement: "A read-only file can be mapped privately for writing.",
        sources: &[MAN, Source::Thread("gVisor mmap.cc")],
        about: MMAP,
        lies: &[Lie::refused(Sysno::mmap, libc::EACCES).with(3, PRIVATE as u64)],
        ..Claim::of_answers(
            "mmap.private.read-only-file",
            |lab| {
                let file = lab.file(&[0; PAGE])?;
                let read_only = reopen(&file, File::options().read(true))?;
                let mut seen = Observation::new();
                let private = map(&read_only, PAGE, READ | WRITE, PRIVATE, 0);
                note(&mut seen, "mmap(read-only file, PROT_WRITE, MAP_PRIVATE)", private)?;
                Ok(seen)
            },
            &[("mmap(read-only file, PROT_WRITE, MAP_PRIVATE)", Answer::Says("mapped"))],
        )
    },
    Claim {
        statement: "A file whose file system does not support mapping fails with ENODEV: one of /proc.",
        method: "Maps /proc/version, which belongs to the whole system, and /proc/self/maps, which belongs to a process.",
        sources: &[MAN],
        about: MMAP,
        lies: &[Lie::about(Sysno::mmap, What::OtherErrno(libc::ENODEV))],
        ..Claim::of_answers(
            "mmap.errors.proc",
            |lab| map_each(lab, &[Fd::ProcVersion, Fd::ProcMaps]),
            &[
                ("mmap(/proc/version)", Answer::Fails(Errno::ENODEV)),
                ("mmap(/proc/self/maps)", Answer::Fails(Errno::ENODEV)),
            ],
        )
    },
    Claim {
        statement: "A descriptor that refers to no regular file fails with EACCES.",
        method: "Maps a directory, a pipe's read end, sockets, an eventfd and /dev/urandom.",
        sources: &[MAN],
        about: MMAP,
        lies: &[Lie::about(Sysno::mmap, What::OtherErrno(libc::EACCES))],
        ..Claim::of_answers(
            "mmap.errors.no-regular-file",
            |lab| map_each(lab, &[Fd::Directory, Fd::PipeRead, Fd::UdpSocket, Fd::Eventfd, Fd::DevUrandom]),
            &[
                ("mmap(directory)", Answer::Fails(Errno::EACCES)),
                ("mmap(pipe, read end)", Answer::Fails(Errno::EACCES)),
                ("mmap(UDP socket)", Answer::Fails(Errno::EACCES)),
                ("mmap(eventfd)", Answer::Fails(Errno::EACCES)),
                ("mmap(/dev/urandom)", Answer::Fails(Errno::EACCES)),
            ],
        )
    },
    Claim {
        statement: "What cannot be mapped at all fails with ENODEV; a pipe's write end, not open for reading, with EACCES.",
        sources: &[Source::Thread("gVisor mmap.cc"), Source::Measured],
        about: MMAP,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.errors.enodev",
            |lab| {
                map_each(lab, &[Fd::Directory, Fd::PipeRead, Fd::UdpSocket, Fd::Eventfd, Fd::DevUrandom, Fd::PipeWrite])
            },
            &[
                ("mmap(directory)", Answer::Fails(Errno::ENODEV)),
                ("mmap(pipe, read end)", Answer::Fails(Errno::ENODEV)),
                ("mmap(UDP socket)", Answer::Fails(Errno::ENODEV)),
                ("mmap(eventfd)", Answer::Fails(Errno::ENODEV)),
                ("mmap(/dev/urandom)", Answer::Fails(Errno::ENODEV)),
                ("mmap(pipe, write end)", Answer::Fails(Errno::EACCES)),
            ],
        )
    },
    Claim {
        statement: "A TCP socket can be mapped for reading, and not for writing: EPERM.",
        sources: &[Source::Thread("Linux 7.3, net/ipv4/tcp.c, tcp_mmap"), Source::Measured],
        about: MMAP,
        lies: &[Lie::refused(Sysno::mmap, libc::ENODEV).with(3, SHARED as u64), Lie::accepted(Sysno::mmap)],
        ..Claim::of_answers(
            "mmap.socket.tcp",
            |lab| {
                let socket = Descriptor::open(lab, Fd::TcpSocket)?;
                let mut seen = Observation::new();
                note(&mut seen, "mmap(TCP socket, PROT_READ)", map(&socket, PAGE, READ, SHARED, 0))?;
                let write = map(&socket, PAGE, READ | WRITE, SHARED, 0);
                note(&mut seen, "mmap(TCP socket, PROT_WRITE)", write)?;
                Ok(seen)
            },
            &[
                ("mmap(TCP socket, PROT_READ)", Answer::Says("mapped")),
                ("mmap(TCP socket, PROT_WRITE)", Answer::Fails(Errno::EPERM)),
            ],
        )
    },
    Claim {
        statement: "An unknown flag is ignored with MAP_SHARED and fails with EOPNOTSUPP with MAP_SHARED_VALIDATE.",
        sources: &[MAN, Source::Thread("LTP mmap20; Linux 4.15, commit 1c9725974074")],
        about: MMAP,
        lies: &[Lie::accepted(Sysno::mmap), Lie::refused(Sysno::mmap, libc::EINVAL).with(3, (UNKNOWN | SHARED) as u64)],
        ..Claim::of_answers(
            "mmap.flags.unknown",
            |lab| {
                let file = lab.file(&[0; PAGE])?;
                let mut seen = Observation::new();
                let shared = map(&file, PAGE, READ, SHARED | UNKNOWN, 0);
                note(&mut seen, "mmap(MAP_SHARED|unknown)", shared)?;
                let validate = map(&file, PAGE, READ, VALIDATE | UNKNOWN, 0);
                note(&mut seen, "mmap(MAP_SHARED_VALIDATE|unknown)", validate)?;
                Ok(seen)
            },
            &[
                ("mmap(MAP_SHARED|unknown)", Answer::Says("mapped")),
                ("mmap(MAP_SHARED_VALIDATE|unknown)", Answer::Fails(Errno::EOPNOTSUPP)),
            ],
        )
    },
    Claim {
        statement: "A memfd sealed against writing cannot be shared for writing: EPERM. Private, or for reading, it can be mapped.",
        sources: &[Source::Man("F_ADD_SEALS(2const), man-pages 6.20"), Source::Measured],
        about: MMAP,
        lies: &[Lie::accepted(Sysno::mmap), Lie::about(Sysno::mmap, What::OtherErrno(libc::EACCES))],
        ..Claim::of_answers(
            "mmap.sealed.write",
            |_lab| {
                let sealed = open::sealed_memfd(libc::F_SEAL_WRITE)?;
                let mut seen = Observation::new();
                let shared = map(&sealed, PAGE, READ | WRITE, SHARED, 0);
                note(&mut seen, "mmap(sealed memfd, PROT_WRITE, MAP_SHARED)", shared)?;
                let private = map(&sealed, PAGE, READ | WRITE, PRIVATE, 0);
                note(&mut seen, "mmap(sealed memfd, PROT_WRITE, MAP_PRIVATE)", private)?;
                note(&mut seen, "mmap(sealed memfd, MAP_SHARED)", map(&sealed, PAGE, READ, SHARED, 0))?;
                Ok(seen)
            },
            &[
                ("mmap(sealed memfd, PROT_WRITE, MAP_SHARED)", Answer::Fails(Errno::EPERM)),
                ("mmap(sealed memfd, PROT_WRITE, MAP_PRIVATE)", Answer::Says("mapped")),
                ("mmap(sealed memfd, MAP_SHARED)", Answer::Says("mapped")),
            ],
        )
    },
    Claim {
        statement: "A file that is append-only cannot be mapped shared for writing: EACCES.",
        method: "Maps a file on ext4 by a descriptor with O_APPEND, before and while it has the attribute (chattr +a).",
        sources: &[MAN],
        about: MMAP,
        modules: &["loop", "ext4"],
        lies: &[
            Lie::about(Sysno::mmap, What::OtherErrno(libc::EPERM)).with(3, SHARED as u64),
            Lie::refused(Sysno::mmap, libc::EACCES).with(3, SHARED as u64),
        ],
        ..Claim::of_answers(
            "mmap.errors.append",
            mmap_errors_append,
            &[
                ("mmap(O_APPEND, PROT_WRITE, MAP_SHARED)", Answer::Says("mapped")),
                ("mmap(append-only file, PROT_WRITE, MAP_SHARED)", Answer::Fails(Errno::EACCES)),
            ],
        )
    },
    Claim {
        statement: "munmap() of no bytes, or of an address inside a page, fails with EINVAL; of nothing mapped it succeeds.",
        sources: &[MAN, Source::Thread("LTP munmap03; gVisor mmap.cc")],
        about: &[Sysno::munmap],
        lies: OTHERWISE_MUNMAP,
        ..Claim::of_answers(
            "mmap.munmap.errors",
            |lab| {
                let file = lab.file(&[0; PAGE])?;
                let address = map(&file, PAGE, READ, PRIVATE, 0).setup("mmap")?;
                let unmap = |address: usize, length: usize| {
                    // SAFETY: the page belongs to this function, or the call is refused.
                    unsafe { ask(Sysno::munmap, [address, length, 0, 0, 0, 0]) }
                };
                let mut seen = Observation::new();
                seen.call("munmap(page, 0)", unmap(address, 0))
                    .call("munmap(page + 1, 4096)", unmap(address + 1, PAGE))
                    .call("munmap(page, 4096)", unmap(address, PAGE));
                let still = is_mapped(address)?;
                seen.text("the page", if still { "mapped" } else { "gone" });
                Ok(seen)
            },
            &[
                ("munmap(page, 0)", Answer::Fails(Errno::EINVAL)),
                ("munmap(page + 1, 4096)", Answer::Fails(Errno::EINVAL)),
                ("munmap(page, 4096)", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "A mapping lives on when its descriptor is closed.",
        sources: &[MAN, Source::Thread("gVisor mmap.cc")],
        about: MMAP,
        lies: &[Lie::bytes(Sysno::read, alias::OLD, 0)],
        ..Claim::of_answers(
            "mmap.life.descriptor-closed",
            |lab| {
                let file = lab.file(&[alias::OLD; PAGE])?;
                let mapping = map_file(&file, PAGE).setup("mmap")?;
                drop(file);
                let pipe = pipe()?;
                // SAFETY: the mapping outlives the call; no reference to it exists.
                unsafe { io::write_all_from(&pipe.write, mapping.as_ptr(), PAGE) }
                    .setup("write a mapping to a pipe")?;
                let mut bytes = vec![0; PAGE];
                io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
                let mut seen = Observation::new();
                seen.call("write(pipe, mapping)", Ok(PAGE));
                let same = bytes == [alias::OLD; PAGE];
                seen.text("bytes in the pipe", if same { "the file's" } else { "others" });
                Ok(seen)
            },
            &[("bytes in the pipe", Answer::Says("the file's"))],
        )
    },
    Claim {
        statement: "A write() of two pages of which the file has lost the second is taken in part by a pipe, and not at all by sockets.",
        sources: &[Source::Measured],
        about: &[Sysno::write],
        lies: &[Lie::accepted(Sysno::write), Lie::returned(Sysno::write, 8192)],
        ..Claim::of_answers(
            "mmap.truncated.half-there",
            |lab| {
                let file = lab.file(&[alias::OLD; 2 * PAGE])?;
                let mapping = map_file(&file, 2 * PAGE).setup("mmap")?;
                aside(|| io::truncate(&file, PAGE as u64)).setup("ftruncate")?;
                let pipe = pipe()?;
                let (unix, _far) = UnixStream::pair().setup("socketpair")?;
                let (tcp, _tcp_far) = sockets::tcp()?;
                let mut seen = Observation::new();
                for (name, target) in
                    [("pipe", AsFd::as_fd(&pipe.write)), ("AF_UNIX socket", unix.as_fd()), ("TCP socket", tcp.as_fd())]
                {
                    // SAFETY: the kernel checks every access; the range lies in the mapping.
                    let written = io::again(|| unsafe { io::write_from(&target, mapping.as_ptr(), 2 * PAGE) });
                    seen.call(format!("write({name}, mapping)"), written);
                }
                note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
                Ok(seen)
            },
            &[
                ("write(pipe, mapping)", Answer::Is(4096)),
                ("write(AF_UNIX socket, mapping)", Answer::Fails(Errno::EFAULT)),
                ("write(TCP socket, mapping)", Answer::Fails(Errno::EFAULT)),
            ],
        )
    },
    Claim {
        statement: "write() to /dev/null does not look at its memory: a mapping behind the end of its file is taken.",
        sources: &[Source::Measured],
        about: &[Sysno::write],
        lies: &[Lie::refused(Sysno::write, libc::EFAULT)],
        exceptions: &[Exception::Of(
            Sysno::write,
            What::Skipped,
            "nothing shows what a device that keeps nothing was given",
        )],
        ..Claim::of_answers(
            "mmap.truncated.dev-null",
            |lab| {
                let file = lab.file(&[alias::OLD; PAGE])?;
                let mapping = map_file(&file, PAGE).setup("mmap")?;
                aside(|| io::truncate(&file, 0)).setup("ftruncate")?;
                let null = Descriptor::open(lab, Fd::DevNull)?;
                // SAFETY: the kernel checks every access; the range lies in the mapping.
                let written = io::again(|| unsafe { io::write_from(&null, mapping.as_ptr(), 1) });
                let mut seen = Observation::new();
                seen.call("write(/dev/null, mapping behind the end of its file)", written);
                Ok(seen)
            },
            &[("write(/dev/null, mapping behind the end of its file)", Answer::Is(1))],
        )
    },
];

const OTHERWISE_MUNMAP: &[Lie] =
    &[Lie::about(Sysno::munmap, What::OtherErrno(libc::ENOLINK)), Lie::accepted(Sysno::munmap)];

pub(super) const READ: usize = libc::PROT_READ as usize;
pub(super) const WRITE: usize = libc::PROT_WRITE as usize;
pub(super) const SHARED: usize = libc::MAP_SHARED as usize;
pub(super) const PRIVATE: usize = libc::MAP_PRIVATE as usize;
pub(super) const VALIDATE: usize = libc::MAP_SHARED_VALIDATE as usize;
/// No flag has this bit.
const UNKNOWN: usize = 1 << 22;

/// Calls `mmap` with arguments that no wrapper allows. The mapping stays until the experiment ends.
pub(super) fn map(
    file: &impl AsFd,
    length: usize,
    protection: usize,
    flags: usize,
    offset: usize,
) -> Result<usize, Errno> {
    // SAFETY: at an address of the kernel's choice a mapping overlaps nothing.
    unsafe { map_with(file, 0, length, protection, flags, offset) }
}

/// The same, at an address.
///
/// # Safety
///
/// If the flags allow the mapping to replace others, nothing may use the replaced mapping afterwards.
pub(super) unsafe fn map_with(
    file: &impl AsFd,
    address: usize,
    length: usize,
    protection: usize,
    flags: usize,
    offset: usize,
) -> Result<usize, Errno> {
    let arguments = [address, length, protection, flags, argument(file), offset];
    // SAFETY: by this function's condition nothing uses a mapping that is replaced.
    unsafe { ask(Sysno::mmap, arguments) }
}

/// Maps a descriptor of each kind.
fn map_each(lab: &Lab, kinds: &[Fd]) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    for kind in kinds {
        let descriptor = Descriptor::open(lab, *kind)?;
        let mapped = map(&descriptor, PAGE, READ, PRIVATE, 0);
        note(&mut seen, &format!("mmap({kind})"), mapped)?;
    }
    Ok(seen)
}

/// Whether a page is mapped at an address. `ENOMEM` means that it is not mapped. Any other errno is an error of the experiment.
pub(super) fn is_mapped(address: usize) -> Result<bool, Stop> {
    let mut resident = [0_u8; 1];
    let resident = resident.as_mut_ptr().expose_provenance();
    // SAFETY: mincore writes one byte for the one page.
    match aside(|| unsafe { ask(Sysno::mincore, [address, 1, resident, 0, 0, 0]) }) {
        Err(Errno::ENOMEM) => Ok(false),
        answer => answer.setup("mincore").map(|_| true),
    }
}

/// Notes whether there is a mapping, and not its address.
pub(super) fn note(seen: &mut Observation, fact: &str, mapped: Result<usize, Errno>) -> Result<(), Stop> {
    match mapped {
        Ok(address) if is_mapped(address)? => seen.text(fact, "mapped"),
        Ok(_) => seen.text(fact, "no mapping at the address"),
        Err(errno) => seen.call(fact, Err(errno)),
    };
    Ok(())
}

fn mmap_errors_append(lab: &Lab) -> Result<Observation, Stop> {
    let volume = Volume::mount(lab, "ext4")?;
    let file = aside(|| unnamed_file(&volume.directory)).setup("create a file")?;
    aside(|| file.set_len(PAGE as u64)).setup("ftruncate")?;
    let append = aside(|| reopen(&file, File::options().read(true).append(true)))?;
    let mut seen = Observation::new();
    let mut ask = |fact: &str| {
        let shared = map(&append, PAGE, READ | WRITE, SHARED, 0);
        note(&mut seen, fact, shared)
    };
    ask("mmap(O_APPEND, PROT_WRITE, MAP_SHARED)")?;
    Attribute::AppendOnly.set(&file, true)?;
    ask("mmap(append-only file, PROT_WRITE, MAP_SHARED)")?;
    // The attribute is cleared so that the file can be removed.
    Attribute::AppendOnly.set(&file, false)?;
    Ok(seen)
}
