//! The errors of `copy_file_range`.

use super::{about_copying, control, copy, files, holding, lie, ltp02, manual, one, range, refused_between};
use crate::claims::prelude::*;
use crate::lab::attributes::Attribute;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::filesystems::{file_on, filesystem_of};
use crate::lab::loops;
use crate::lab::open::sealed_memfd;

/// A memfd with these bytes.
fn memfd(bytes: &[u8]) -> Result<File, Stop> {
    let memfd = File::from(sealed_memfd(0)?);
    aside(|| io::pwrite_all(&memfd, bytes, 0)).setup("write a memfd")?;
    Ok(memfd)
}

const NOT_REGULAR: Source = manual("ERRORS, EINVAL");

pub const CLAIMS: &[Claim] = &[
    about_copying(
        "copy-file-range.errors.append",
        "copy_file_range() fails with EBADF if its target is open with O_APPEND.",
    )
    .published(&[
        manual("ERRORS, EBADF"),
        ltp02("append to file"),
        thread("rust-lang/rust#82410", "io::copy() into a file that is open for appending fails with EBADF"),
    ])
    .tried(|lab, see| {
        let (source, target) = files(lab)?;
        let append = reopen(&target, File::options().append(true))?;
        see.call("copy_file_range(file, O_APPEND file)", one(&source, &append)).fails(EBADF);
        control(see, &source, &target)
    }),
    about_copying(
        "copy-file-range.errors.kinds",
        "As the source of copy_file_range(), a directory fails with EISDIR; a pipe, a TCP socket and /dev/zero fail \
         with EINVAL.",
    )
    .published(&[manual("ERRORS, EISDIR"), NOT_REGULAR])
    .tried(|lab, see| {
        let (source, target) = files(lab)?;
        for kind in [Fd::Directory, Fd::PipeRead, Fd::TcpSocket, Fd::DevZero] {
            let refused = if kind == Fd::Directory { EISDIR } else { EINVAL };
            let copied = one(&Descriptor::open(lab, kind)?, &target);
            see.call(format!("copy_file_range({kind}, file)"), copied).fails(refused);
        }
        control(see, &source, &target)
    }),
    about_copying(
        "copy-file-range.errors.target-kinds",
        "As the target of copy_file_range(), a directory fails with EISDIR; a pipe, /dev/zero and /dev/null fail with \
         EINVAL.",
    )
    .published(&[manual("ERRORS, EISDIR"), NOT_REGULAR, ltp02("directory, char device, pipe")])
    .tried(|lab, see| {
        let (source, target) = files(lab)?;
        for kind in [Fd::Directory, Fd::PipeWrite, Fd::PipeRead, Fd::DevZero, Fd::DevNull] {
            let refused = if kind == Fd::Directory { EISDIR } else { EINVAL };
            let copied = one(&source, &Descriptor::open(lab, kind)?);
            see.call(format!("copy_file_range(file, {kind})"), copied).fails(refused);
        }
        control(see, &source, &target)
    }),
    refused_between(
        "copy-file-range.errors.two-file-systems",
        "Between file systems of two types, copy_file_range() fails with EXDEV.",
    )
    .tried(|lab, see| {
        let (disk, name) = file_on(lab, &["ext4", "xfs", "btrfs"])?;
        aside(|| io::pwrite_all(&disk, b"abc", 0)).setup("write the file")?;
        see.text("file system of the file", name);
        let (proc, memory, target) = (Descriptor::open(lab, Fd::ProcVersion)?, memfd(b"abc")?, memfd(b"")?);
        see.call("copy_file_range(/proc/version, memfd)", one(&proc, &target)).fails(EXDEV);
        see.call("copy_file_range(file, memfd)", one(&disk, &target)).fails(EXDEV);
        see.length("length of the memfd", &target)?.is(0);
        see.call("copy_file_range(memfd, file)", one(&memory, &disk)).fails(EXDEV);
        holding(see, "file", &disk)?.says("abc");
        Ok(())
    }),
    about_copying(
        "copy-file-range.errors.ebadf",
        "copy_file_range() fails with EBADF if its source is open for writing only or its target for reading only.",
    )
    .published(&[manual("ERRORS, EBADF"), ltp02("readonly file")])
    .tried(|lab, see| {
        let (source, target) = files(lab)?;
        let write_only = reopen(&source, File::options().write(true))?;
        let read_only = reopen(&target, File::options().read(true))?;
        see.call("copy_file_range(write-only file, file)", one(&write_only, &target)).fails(EBADF);
        see.call("copy_file_range(file, read-only file)", one(&source, &read_only)).fails(EBADF);
        control(see, &source, &target)
    }),
    about_copying("copy-file-range.errors.efbig", "A copy to offset 2^63 - 1 of the target fails with EFBIG.")
        .published(&[manual("ERRORS, EFBIG"), ltp02("max file size").since("5.3").until("5.18")])
        .tried(|lab, see| {
            let name = aside(|| filesystem_of(lab.scratch()?).setup("statfs"))?;
            see.text("file system of the file", name);
            let (source, target) = files(lab)?;
            for (name, source, target) in [("file", source, target), ("memfd", memfd(b"abc")?, memfd(b"")?)] {
                let copied = copy((&source, None), (&target, Some(&mut { i64::MAX })), 1);
                see.call(format!("copy_file_range({name}, {name} at 2^63 - 1, 1)"), copied).fails(EFBIG);
                see.length(&format!("length of the target {name}"), &target)?.is(0);
            }
            Ok(())
        }),
    about_copying(
        "copy-file-range.errors.size-limit",
        "A copy to a target offset at RLIMIT_FSIZE fails with EFBIG and raises SIGXFSZ; one that begins below it \
         copies up to it, without a signal.",
    )
    .published(&[kernel("fs/read_write.c", "generic_write_check_limits"), manual("ERRORS, EFBIG").leaves_open()])
    .turned_by(&[lie(What::OtherErrno(libc::EINVAL)), lie(What::Swallowed(libc::SIGXFSZ))])
    .tried(|lab, see| {
        let (source, target) = (lab.file(b"abc")?, lab.file(b"01")?);
        aside(|| privilege::limit_file_size(2)).setup("RLIMIT_FSIZE")?;
        for (name, at, result, count) in [("at its limit, 1", 2, Err(EFBIG), 1), ("1 below its limit, 3", 1, Ok(1), 0)]
        {
            let call = || copy((&source, Some(&mut 0)), (&target, Some(&mut { at })), if count == 1 { 1 } else { 3 });
            let (copied, signals) = raised(libc::SIGXFSZ, call)?;
            see.call(format!("copy_file_range(file, file {name})"), copied).gives(result);
            see.count(format!("signals raised by the copy {name}"), signals).is(count);
        }
        holding(see, "target", &target)?.says("0a");
        Ok(())
    }),
    about_copying(
        "copy-file-range.errors.sealed",
        "Into a memfd with F_SEAL_WRITE, or past the end of one with F_SEAL_GROW, copy_file_range() fails with EPERM.",
    )
    .published(&[
        kernel("mm/shmem.c", "shmem_write_begin"),
        man("F_GET_SEALS(2const)", "DESCRIPTION, F_SEAL_WRITE").leaves_open(),
        man("F_GET_SEALS(2const)", "DESCRIPTION, F_SEAL_GROW").leaves_open(),
    ])
    .tried(|_lab, see| {
        let (source, written, grown) = (memfd(b"abc")?, memfd(b"01")?, memfd(b"01")?);
        aside(|| io::seal(&written, libc::F_SEAL_WRITE).and_then(|()| io::seal(&grown, libc::F_SEAL_GROW)))
            .setup("F_ADD_SEALS")?;
        see.call("copy_file_range(memfd, memfd with F_SEAL_WRITE, 1)", one(&source, &written)).fails(EPERM);
        holding(see, "memfd with F_SEAL_WRITE", &written)?.says("01");
        let past = range((&source, 0), (&grown, 2), 1);
        see.call("copy_file_range(memfd, memfd with F_SEAL_GROW at its end, 1)", past).fails(EPERM);
        let inside = range((&source, 0), (&grown, 0), 1);
        see.call("copy_file_range(memfd, memfd with F_SEAL_GROW at 0, 1)", inside).is(1);
        holding(see, "memfd with F_SEAL_GROW", &grown)?.says("a1");
        Ok(())
    }),
    about_copying(
        "copy-file-range.errors.immutable",
        "Into a file made immutable after it was opened for writing, copy_file_range() fails with EPERM.",
    )
    .published(&[manual("ERRORS, EPERM"), ltp02("immutable file").since("5.3").until("5.18")])
    .tried(|lab, see| {
        let (target, name) = file_on(lab, &["ext4", "xfs", "btrfs", "f2fs"])?;
        let (source, _) = file_on(lab, &[&name])?;
        aside(|| io::pwrite_all(&source, b"abc", 0)).setup("write the file")?;
        see.text("file system", name);
        control(see, &source, &target)?;
        Attribute::Immutable.set(&target, true)?;
        see.call("copy_file_range(file, immutable file, 1)", one(&source, &target)).fails(EPERM);
        see.length("length of the immutable file", &target)?.is(1);
        // The attribute is removed again. Otherwise a file that has a name after all could not be removed by root.
        Attribute::Immutable.set(&target, false)
    }),
    about_copying(
        "copy-file-range.errors.not-open",
        "copy_file_range() fails with EBADF if one of its descriptors is not open or was opened with O_PATH.",
    )
    .published(&[
        manual("ERRORS, EBADF"),
        man("open(2)", "DESCRIPTION, O_PATH").since("2.6.39"),
        ltp02("closed file descriptor"),
    ])
    .tried(|lab, see| {
        let (file, path) = (lab.file(b"abc")?, Descriptor::open(lab, Fd::PathOnly)?);
        let (file, path) = (argument(&file), argument(&path));
        for (name, from, to) in [
            ("-1, file", NO_FD, file),
            ("file, -1", file, NO_FD),
            ("O_PATH, file", path, file),
            ("file, O_PATH", file, path),
        ] {
            // SAFETY: both offsets are null.
            let copied = unsafe { ask(Sysno::copy_file_range, [from, 0, to, 0, 1, 0]) };
            see.call(format!("copy_file_range({name})"), copied).fails(EBADF);
        }
        Ok(())
    }),
    about_copying(
        "copy-file-range.errors.pidfd",
        "copy_file_range() fails with EINVAL if its source or its target is a pidfd.",
    )
    .published(&[
        NOT_REGULAR.leaves_open(),
        manual("ERRORS, EXDEV").leaves_open().since("5.19"),
        kernel("fs/libfs.c", "prepare_anon_dentry").denies(),
    ])
    .gated(&[gate("6.9", "pidfds have a file system of their own, pidfs", commit("cb12fd8e0dab", "pidfd: add pidfs"))])
    .turned_by(&[
        lie(What::OtherErrno(libc::EXDEV)).where_it(true),
        lie(What::OtherErrno(libc::EINVAL)).where_it(false),
    ])
    .tried(|lab, see| {
        let (file, pidfd) = (lab.file(b"abc")?, Descriptor::open(lab, Fd::Pidfd)?);
        let kind = aside(|| io::status(&pidfd)).setup("fstat")?.st_mode & libc::S_IFMT;
        see.whether("the pidfd is a regular file by fstat()", kind == libc::S_IFREG);
        see.call("copy_file_range(pidfd, file)", one(&pidfd, &file)).fails(EINVAL);
        see.call("copy_file_range(file, pidfd)", one(&file, &pidfd)).fails(EINVAL);
        Ok(())
    }),
    about_copying(
        "copy-file-range.errors.block-device",
        "copy_file_range() fails with EINVAL if its source or its target is a block device.",
    )
    .published(&[NOT_REGULAR, ltp02("block device")])
    .modules(&["loop"])
    .tried(|lab, see| {
        let (file, disk) = (lab.file(b"abc")?, memfd(b"")?);
        aside(|| io::truncate(&disk, 1 << 16)).setup("ftruncate")?;
        let (device, _path) = loops::device_over(&disk)?;
        see.call("copy_file_range(file, block device)", one(&file, &device)).fails(EINVAL);
        see.call("copy_file_range(block device, file)", one(&device, &file)).fails(EINVAL);
        Ok(())
    }),
];
