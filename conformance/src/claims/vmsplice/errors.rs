//! The errors of `vmsplice`.

use super::{NONBLOCK, about_vmsplice, give, give_named, take};
use crate::claims::prelude::*;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::io::NOWHERE;
use crate::lab::map_file;

pub const CLAIMS: &[Claim] = &[
    about_vmsplice(
        "vmsplice.errors.ebadf",
        "vmsplice() fails with EBADF for a descriptor that is not open, for a regular file and for a TCP socket.",
    )
    .published(&[man("vmsplice(2)", "ERRORS, EBADF"), ltp("vmsplice02.c", "a descriptor that is not open, and a file")])
    .tried(|lab, see| {
        let mut memory = alias::memory(page())?;
        let (file, pipe) = (lab.file(b"bytes")?, pipe()?);
        let read_only = reopen(&file, File::options().read(true))?;
        let socket = Descriptor::open(lab, Fd::TcpSocket)?;
        let vector = [memory.as_ptr().expose_provenance(), 1];
        // SAFETY: there is no pipe, and the byte is ours.
        let none = unsafe { ask(Sysno::vmsplice, [NO_FD, vector.as_ptr().expose_provenance(), 1, 2, 0, 0]) };
        see.call("vmsplice(-1)", none).fails(EBADF);
        see.call("vmsplice(file)", give(&file, &memory[..1], NONBLOCK)).fails(EBADF);
        see.call("vmsplice(read-only file)", take(&read_only, &mut memory[..1], NONBLOCK)).fails(EBADF);
        see.call("vmsplice(TCP socket)", give(&socket, &memory[..1], NONBLOCK)).fails(EBADF);
        see.call("vmsplice(pipe)", give(&pipe.write, &memory[..1], NONBLOCK)).is(1);
        see.readable("bytes in the pipe", &pipe.read)?.is(1);
        Ok(())
    }),
    about_vmsplice(
        "vmsplice.errors.efault",
        "vmsplice() fails with EFAULT for a bad address of vector or buffer, and for a mapping past its file's end.",
    )
    .published(&[
        kernel("lib/iov_iter.c", "copy_iovec_from_user"),
        kernel("mm/gup.c", "__get_user_pages"),
        kernel("include/linux/mm.h", "vm_fault_to_errno"),
    ])
    .tried(|lab, see| {
        let pipe = pipe()?;
        // SAFETY: nothing is mapped there.
        let no_vector = unsafe { ask(Sysno::vmsplice, [argument(&pipe.write), NOWHERE, 1, 2, 0, 0]) };
        let byte_at = |buffer: usize| give_named(&pipe.write, &[buffer, 1], 2);
        see.call("vmsplice(pipe, vector at a bad address)", no_vector).fails(EFAULT);
        see.call("vmsplice(pipe, buffer at a bad address)", byte_at(NOWHERE)).fails(EFAULT);
        let memory = alias::memory(page())?;
        let unmapped = memory.as_ptr().expose_provenance();
        drop(memory);
        see.call("vmsplice(pipe, memory that was unmapped)", byte_at(unmapped)).fails(EFAULT);
        let file = lab.file(&vec![b'f'; page()])?;
        let mapping = map_file(&file, page()).setup("mmap")?;
        let mapped = mapping.as_ptr().expose_provenance();
        see.call("vmsplice(pipe, mapping of a file)", byte_at(mapped)).is(1);
        aside(|| io::truncate(&file, 0)).setup("ftruncate")?;
        see.call("vmsplice(pipe, mapping past the end of its file)", byte_at(mapped)).fails(EFAULT);
        see.readable("bytes in the pipe", &pipe.read)?.is(1);
        Ok(())
    }),
    about_vmsplice(
        "vmsplice.errors.sigpipe",
        "vmsplice() into a pipe without readers raises SIGPIPE and fails with EPIPE.",
    )
    .published(&[kernel("fs/splice.c", "wait_for_space")])
    .turned_by(&[
        Lie::about(Sysno::vmsplice, What::OtherErrno(libc::ENOLINK)),
        Lie::about(Sysno::vmsplice, What::Swallowed(libc::SIGPIPE)),
    ])
    .tried(|_lab, see| {
        let pipe = pipe()?;
        drop(pipe.read);
        let (done, signals) = raised(libc::SIGPIPE, || give(&pipe.write, b"b", NONBLOCK))?;
        see.call("vmsplice(pipe without readers)", done).fails(EPIPE);
        see.count("signals raised", signals).is(1);
        Ok(())
    }),
];
