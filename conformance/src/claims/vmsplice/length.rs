//! The length of the memory that `vmsplice` is given.

use super::{NONBLOCK, about_vmsplice, give, give_named, memory_of};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[
    about_vmsplice("vmsplice.length.zero-no-pipe", "vmsplice() of 0 bytes to a regular file fails with EBADF.")
        .published(&[man("vmsplice(2)", "ERRORS, EBADF"), kernel("fs/splice.c", "SYSCALL_DEFINE4(vmsplice)").denies()])
        .turned_by(&[Lie::refused(Sysno::vmsplice, libc::EBADF)])
        .tried(|lab, see| {
            let file = lab.empty_file()?;
            see.call("vmsplice(file, no buffers)", give_named(&file, &[], 2)).fails(EBADF);
            see.call("vmsplice(file, an empty buffer)", give(&file, b"", NONBLOCK)).fails(EBADF);
            see.call("vmsplice(file, 1 byte)", give(&file, b"b", NONBLOCK)).fails(EBADF);
            Ok(())
        }),
    about_vmsplice(
        "vmsplice.length.pipe-room",
        "With SPLICE_F_NONBLOCK, vmsplice() of more page-aligned memory than an empty pipe holds fills the pipe.",
    )
    .published(&[kernel("fs/splice.c", "iter_to_pipe"), kernel("fs/splice.c", "add_to_pipe")])
    .turned_by(&[Lie::about(Sysno::vmsplice, What::TooMany), Lie::refused(Sysno::vmsplice, libc::EAGAIN)])
    .method("The memory begins at a page. Other memory takes one page of the pipe more.")
    .sharing(&[Resource::UserPipePages])
    .tried(|_lab, see| {
        let pipe = pipe()?;
        let size = pipe_size(&pipe)?;
        let bytes = pattern(3 * size);
        let memory = memory_of(&bytes)?;
        let given = give(&pipe.write, &memory, NONBLOCK);
        see.call("vmsplice(pipe, three times its size, SPLICE_F_NONBLOCK)", given).is(size);
        see.holds("the pipe's bytes", &pipe.read, &bytes[..size])?.says(AS_SENT);
        Ok(())
    }),
];
