//! The offset of `sendfile`, and the file positions.

use super::{Descriptor, Fd, about_sendfile, lie, position, refused, send, sendfile, text};
use crate::claims::prelude::*;
use crate::lab::io::NOWHERE;
use crate::lab::open;
use crate::lab::unnamed::unnamed_file;
use crate::lab::volumes::Volume;
use nocopy_mmap::{MapFlags, Mapping, Prot, mmap};
use std::ptr::NonNull;

pub const CLAIMS: &[Claim] = &[
    about_sendfile(
        "sendfile.offset.given",
        "With an offset, sendfile() reads from there, sets it after the last byte read, and keeps the file position.",
    )
    .published(&[
        man("sendfile(2)", "DESCRIPTION"),
        ltp("sendfile02.c", "tc[1], an offset of 2"),
        gvisor("sendfile.cc", "SendFileTest.SendAndUpdateGivenOffset"),
    ])
    .turned_by(&[lie(What::OffsetKept), refused(libc::EINVAL)])
    .tried(|lab, see| {
        let (source, target) = (lab.file(b"abcdefghij")?, lab.file(b"01234")?);
        aside(|| io::seek(&target, 5)).setup("lseek")?;
        let mut offset = 2;
        let sent = send(&target, &source, Some(&mut offset), 4);
        see.call("sendfile(file, file, 2, 4)", sent).is(4);
        see.count("offset afterwards", offset).is(6);
        see.count("position of the source", position(&source)?).is(0);
        see.count("position of the target", position(&target)?).is(9);
        see.text("target", text(&target)?).says("01234cdef");
        Ok(())
    }),
    about_sendfile(
        "sendfile.offset.null",
        "With a null offset, sendfile() reads from the file position and moves it by what was read.",
    )
    .published(&[
        man("sendfile(2)", "DESCRIPTION"),
        ltp("sendfile06.c", "the file position after a call with a null offset"),
        gvisor("sendfile.cc", "SendFileTest.SendAndUpdateFileOffset"),
    ])
    .turned_by(&[lie(What::PositionKept), refused(libc::EINVAL)])
    .tried(|lab, see| {
        let (source, target) = (lab.file(b"abcdef")?, lab.empty_file()?);
        for which in ["first", "second"] {
            let sent = send(&target, &source, None, 2);
            see.call(format!("{which} sendfile(file, file, NULL, 2)"), sent).is(2);
        }
        see.count("position of the source", position(&source)?).is(4);
        see.text("target", text(&target)?).says("abcd");
        Ok(())
    }),
    about_sendfile(
        "sendfile.offset.shared-position",
        "With a null offset, sendfile() moves the file position, which a duplicate of the descriptor shares.",
    )
    .published(&[man("sendfile(2)", "DESCRIPTION"), man("dup(2)", "DESCRIPTION")])
    .turned_by(&[Lie::returned(Sysno::lseek, 0), lie(What::PositionKept)])
    .tried(|lab, see| {
        let file = alias::source(lab)?;
        let duplicate = aside(|| file.try_clone()).setup("dup")?;
        let (near, _far) = sockets::tcp()?;
        see.count("position before", io::position(&file).setup("lseek")?).is(0);
        let sent = sendfile(&near, &duplicate, None, page());
        see.call("sendfile(socket, duplicate, NULL, a page)", sent).at_least(1);
        let position = io::position(&file).setup("lseek")?;
        see.count("position of the original", position).is(sent.unwrap_or(0));
        Ok(())
    }),
    about_sendfile("sendfile.offset.negative", "A negative offset fails with EINVAL, even for a count of 0.")
        .published(&[ltp("sendfile05.c", "a negative offset"), gvisor("sendfile.cc", "SendFileTest.InvalidOffset")])
        .tried(|lab, see| {
            let (source, target) = (lab.file(b"abcdef")?, lab.empty_file()?);
            for count in [1, 0] {
                let sent = sendfile(&target, &source, Some(&mut { u64::MAX }), count);
                see.call(format!("sendfile(file, file, -1, {count})"), sent).fails(EINVAL);
            }
            Ok(())
        }),
    about_sendfile(
        "sendfile.offset.bad-address",
        "An offset pointer to an address where nothing is mapped fails with EFAULT.",
    )
    .published(&[man("sendfile(2)", "ERRORS, EFAULT"), ltp("sendfile04.c", "tc[4], an unmapped buffer")])
    .tried(|lab, see| {
        let (source, target) = (lab.file(b"abcdef")?, lab.empty_file()?);
        // SAFETY: nothing is mapped at the offset's address.
        let sent = unsafe { send_with(&target, &source, NOWHERE, 1) };
        see.call("sendfile(file, file, bad address, 1)", sent).fails(EFAULT);
        Ok(())
    }),
    about_sendfile(
        "sendfile.offset.read-only",
        "With an offset in memory that can only be read, sendfile() sends the bytes and then fails with EFAULT.",
    )
    .published(&[kernel("fs/read_write.c", "SYSCALL_DEFINE4(sendfile64)")])
    .turned_by(&[lie(What::Accepted), refused(libc::EINVAL), Lie::returned(Sysno::lseek, 0)])
    .tried(|lab, see| {
        let (source, target) = (lab.file(b"abcdef")?, lab.empty_file()?);
        let offset = zeros(Prot::READ)?;
        // SAFETY: the kernel reads the offset, 0, and cannot write it.
        let sent = unsafe { send_with(&target, &source, offset.as_ptr().expose_provenance(), 4) };
        see.call("sendfile(file, file, read-only offset, 4)", sent).fails(EFAULT);
        see.count("position of the target", io::position(&target).setup("lseek")?).is(4);
        see.text("target", text(&target)?).says("abcd");
        Ok(())
    }),
    about_sendfile(
        "sendfile.offset.protected",
        "An offset in a page of PROT_NONE, PROT_EXEC or PROT_EXEC|PROT_READ fails with EFAULT.",
    )
    .published(&[man("sendfile(2)", "ERRORS, EFAULT"), ltp("sendfile04.c", "tc[0], tc[2] and tc[3]")])
    .tried(|lab, see| {
        let (source, target) = (lab.file(b"abcdef")?, lab.empty_file()?);
        for (name, protection) in [
            ("PROT_NONE", Prot::NONE),
            ("PROT_EXEC", Prot::EXEC),
            ("PROT_EXEC|PROT_READ", Prot::EXEC | Prot::READ), // the bytes are sent, as in sendfile.offset.read-only
        ] {
            let offset = zeros(protection)?;
            // SAFETY: the kernel may read the offset, 0, and cannot write it.
            let sent = unsafe { send_with(&target, &source, offset.as_ptr().expose_provenance(), 1) };
            see.call(format!("sendfile(file, file, offset in {name}, 1)"), sent).fails(EFAULT);
        }
        Ok(())
    }),
    about_sendfile(
        "sendfile.offset.unseekable",
        "sendfile() with an offset fails with ESPIPE if the source is a pipe.",
    )
    .published(&[man("sendfile(2)", "ERRORS, ESPIPE")])
    .tried(|lab, see| {
        let (source, target) = (Descriptor::open(lab, Fd::PipeRead)?, lab.empty_file()?);
        see.call("sendfile(file, pipe, 0, 1)", sendfile(&target, &source, Some(&mut 0), 1)).fails(ESPIPE);
        Ok(())
    }),
    about_sendfile(
        "sendfile.offset.behind-the-largest",
        "At offset 2^63 - 4096, sendfile() fails with EOVERFLOW on ext4 and returns 0 for memfds, which may be that \
         long.",
    )
    .published(&[man("sendfile(2)", "ERRORS, EOVERFLOW")])
    .turned_by(&[lie(What::OtherErrno(libc::EINVAL)), lie(What::Accepted)])
    .modules(&["loop", "ext4"])
    .method("Makes the calls between two files of the kind: the smaller of their largest offsets is the limit.")
    .tried(|lab, see| {
        const OFFSET: u64 = i64::MAX.unsigned_abs() - 4095;
        let volume = Volume::mount(lab, "ext4")?;
        let of_volume = || aside(|| unnamed_file(&volume.directory)).setup("create a file");
        let sent = sendfile(&of_volume()?, &of_volume()?, Some(&mut { OFFSET }), 1);
        see.call("sendfile(file on ext4, file on ext4, 2^63 - 4096, 1)", sent).fails(EOVERFLOW);
        let sent = sendfile(&open::sealed_memfd(0)?, &open::sealed_memfd(0)?, Some(&mut { OFFSET }), 1);
        see.call("sendfile(memfd, memfd, 2^63 - 4096, 1)", sent).is(0);
        Ok(())
    }),
];

/// `sendfile` with an offset at this address.
///
/// # Safety
///
/// The kernel must not be able to write there.
unsafe fn send_with(target: &File, source: &File, offset: usize, count: usize) -> Result<usize, Errno> {
    // SAFETY: the offset is not written by the caller's promise, and nothing else is a pointer.
    unsafe { ask(Sysno::sendfile, [argument(target), argument(source), offset, count, 0, 0]) }
}

/// A page of zeros with this protection. A memfd can be executed, wherever the scratch directory is.
fn zeros(protection: Prot) -> Result<Mapping, Stop> {
    let file = open::sealed_memfd(0)?;
    aside(|| io::truncate(&file, page() as u64)).setup("ftruncate")?;
    // SAFETY: anywhere, so nothing is replaced.
    let start =
        aside(|| unsafe { mmap(std::ptr::null_mut(), page(), protection, MapFlags::PRIVATE, Some((&file).into()), 0) });
    let start = NonNull::new(start.setup("mmap")?).ok_or_else(|| Stop::broken("no page could be mapped"))?;
    // SAFETY: a new mapping of a page, which nothing else refers to.
    Ok(unsafe { Mapping::from_raw(start, page()) })
}
