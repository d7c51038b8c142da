//! The errors of `mmap` that depend on the file and the length.

use super::{MAPPED, PRIVATE, READ, SHARED, SeeMapped, TYPES, WRITE, about_mmap, map};
use crate::claims::prelude::*;
use crate::lab::attributes::Attribute;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::unnamed::unnamed_file;
use crate::lab::volumes::Volume;

pub const CLAIMS: &[Claim] = &[
    about_mmap(
        "mmap.errors.einval",
        "mmap() of a file fails with EINVAL for length 0, an unaligned offset, or neither MAP_SHARED nor MAP_PRIVATE.",
    )
    .published(&[man("mmap(2)", "ERRORS, EINVAL"), ltp("mmap06.c", "length 0, and no mapping type")])
    .tried(|lab, see| {
        let file = lab.file(b"bytes")?;
        see.mapped("mmap(length 0)", map(&file, 0, READ, PRIVATE, 0))?.fails(EINVAL);
        see.mapped("mmap(offset 1)", map(&file, page(), READ, PRIVATE, 1))?.fails(EINVAL);
        see.mapped("mmap(neither shared nor private)", map(&file, page(), READ, 0, 0))?.fails(EINVAL);
        see.mapped("mmap(a page, MAP_PRIVATE)", map(&file, page(), READ, PRIVATE, 0))?.says(MAPPED);
        Ok(())
    }),
    about_mmap(
        "mmap.errors.eacces",
        "mmap(PROT_WRITE, MAP_SHARED) of a file that is open for reading only fails with EACCES.",
    )
    .published(&[man("mmap(2)", "ERRORS, EACCES"), gvisor("mmap.cc", "MMapFileTest.WriteSharedOnReadOnlyFd")])
    .tried(|lab, see| {
        let file = reopen(&lab.file(b"bytes")?, File::options().read(true))?;
        let with = |protection| map(&file, page(), protection, SHARED, 0);
        see.mapped("mmap(read-only file, PROT_WRITE, MAP_SHARED)", with(WRITE))?.fails(EACCES);
        see.mapped("mmap(read-only file, PROT_READ|PROT_WRITE, MAP_SHARED)", with(READ | WRITE))?.fails(EACCES);
        see.mapped("mmap(read-only file, PROT_READ, MAP_SHARED)", with(READ))?.says(MAPPED);
        Ok(())
    }),
    about_mmap(
        "mmap.errors.write-only",
        "A file that is open for writing only cannot be mapped, shared or private, with any protection: EACCES.",
    )
    .published(&[man("mmap(2)", "ERRORS, EACCES"), gvisor("mmap.cc", "MMapFileParamTest.WriteOnlyFd")])
    .tried(|lab, see| {
        const NAMES: [&str; 8] = ["none", "read", "write", "read|write", "exec", "read|exec", "write|exec", "all"];
        let file = reopen(&lab.file(b"bytes")?, File::options().write(true))?;
        for (protection, name) in NAMES.iter().enumerate() {
            for (kind, flags) in TYPES {
                see.mapped(format!("mmap({name}, {kind})"), map(&file, page(), protection, flags, 0))?.fails(EACCES);
            }
        }
        Ok(())
    }),
    about_mmap("mmap.errors.proc", "mmap() of a file of /proc that cannot be mapped fails with ENODEV.")
        .published(&[man("mmap(2)", "ERRORS, ENODEV").leaves_open(), kernel("fs/proc/inode.c", "pde_mmap").denies()])
        .turned_by(&[Lie::about(Sysno::mmap, What::OtherErrno(libc::ENODEV))])
        .tried(|lab, see| {
            let kinds = [Fd::ProcVersion, Fd::ProcMaps, Fd::ProcNet, Fd::ProcKallsyms, Fd::ProcMem];
            kinds.iter().try_for_each(|kind| tried_on(lab, see, *kind, &[("", PRIVATE)], ENODEV))
        }),
    about_mmap(
        "mmap.errors.no-regular-file",
        "mmap() of a descriptor that does not refer to a regular file fails with EACCES.",
    )
    .published(&[
        man("mmap(2)", "ERRORS, EACCES"),
        gvisor("mmap.cc", "MMapTest.MapDirectory").denies(),
        gvisor("mmap.cc", "MMapTest.MapDevZeroShared").denies(),
    ])
    .turned_by(&[Lie::refused(Sysno::mmap, libc::EACCES)])
    .tried(|lab, see| {
        // The write end of a pipe is not open for reading, which is EACCES in any case.
        let ends = [Fd::PipeRead, Fd::PipeWrite, Fd::UdpSocket, Fd::TcpSocket, Fd::PacketSocket];
        for kind in ends.into_iter().chain([Fd::Directory, Fd::Eventfd]) {
            tried_on(lab, see, kind, &[("", PRIVATE)], EACCES)?;
        }
        let devices = [Fd::BlockDevice, Fd::DevZero, Fd::DevRandom, Fd::DevUrandom];
        let types = [("", PRIVATE), (", shared", SHARED)];
        devices.iter().try_for_each(|kind| tried_on(lab, see, *kind, &types, EACCES))
    }),
    about_mmap(
        "mmap.errors.append",
        "On ext4, mmap(PROT_WRITE, MAP_SHARED) of an append-only file (chattr +a) fails with EACCES.",
    )
    .published(&[man("mmap(2)", "ERRORS, EACCES")])
    .turned_by(&[
        Lie::about(Sysno::mmap, What::OtherErrno(libc::EPERM)).with(3, SHARED as u64),
        Lie::refused(Sysno::mmap, libc::EACCES).with(3, SHARED as u64),
    ])
    .modules(&["loop", "ext4"])
    .tried(|lab, see| {
        let volume = Volume::mount(lab, "ext4")?;
        let file = aside(|| unnamed_file(&volume.directory)).setup("create a file")?;
        aside(|| io::truncate(&file, page() as u64)).setup("ftruncate")?;
        let append = reopen(&file, File::options().read(true).append(true))?;
        let shared = || map(&append, page(), READ | WRITE, SHARED, 0);
        see.mapped("mmap(O_APPEND, PROT_WRITE, MAP_SHARED)", shared())?.says(MAPPED);
        Attribute::AppendOnly.set(&file, true)?;
        let refused = shared();
        // The attribute is cleared so that the file can be removed.
        Attribute::AppendOnly.set(&file, false)?;
        see.mapped("mmap(append-only file, PROT_WRITE, MAP_SHARED)", refused)?.fails(EACCES);
        Ok(())
    }),
    about_mmap(
        "mmap.errors.enomem",
        "mmap() of a file with a length of 2^48 or 2^62 bytes, or of 2^64 less a page plus one, fails with ENOMEM.",
    )
    .published(&[kernel("mm/mmap.c", "do_mmap, __get_unmapped_area"), man("mmap(2)", "ERRORS, EINVAL").denies()])
    .tried(|lab, see| {
        let (file, most) = (lab.file(b"bytes")?, 0_usize.wrapping_sub(page()) + 1);
        for (name, length) in [("2^48", 1 << 48), ("2^62", 1 << 62), ("2^64 - a page + 1", most)] {
            see.mapped(format!("mmap(length {name})"), map(&file, length, READ, PRIVATE, 0))?.fails(ENOMEM);
        }
        Ok(())
    }),
    about_mmap(
        "mmap.errors.ebadf",
        "mmap() fails with EBADF for a descriptor that is not open and for one that was opened with O_PATH.",
    )
    .published(&[man("mmap(2)", "ERRORS, EBADF"), man("open(2)", "DESCRIPTION, O_PATH")])
    .tried(|lab, see| {
        let closed = argument(&lab.file(b"bytes")?);
        for (name, fd) in [("-1", NO_FD), ("closed descriptor", closed)] {
            // SAFETY: at an address of the kernel's choice a mapping overlaps nothing.
            let area = unsafe { ask(Sysno::mmap, [0, page(), READ, PRIVATE, fd, 0]) };
            see.mapped(format!("mmap({name})"), area)?.fails(EBADF);
        }
        let path = Descriptor::open(lab, Fd::PathOnly)?;
        see.mapped("mmap(O_PATH file)", map(&path, page(), READ, PRIVATE, 0))?.fails(EBADF);
        Ok(())
    }),
];

/// Maps a descriptor of a kind, if this machine has it.
fn tried_on(lab: &Lab, see: &mut Observation, kind: Fd, types: &[(&str, usize)], errno: Errno) -> Result<(), Stop> {
    let descriptor = match Descriptor::open(lab, kind) {
        Err(Stop::Untestable(reason)) => {
            see.text(format!("mmap({kind})"), format!("not tried, {}", reason.what));
            return Ok(());
        }
        opened => opened?,
    };
    for (name, flags) in types {
        see.mapped(format!("mmap({kind}{name})"), map(&descriptor, page(), READ, *flags, 0))?.fails(errno);
    }
    Ok(())
}
